//! Lays an ELF file out and writes all of it but the sections' contents.

use object::Endianness;
use object::elf;
use object::write::WritableBuffer;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Writer};

use super::{Section, Segment, Symbol};
use crate::error::{Error, Result};
use crate::map::PAGE;

/// Bytes of a build-id: a 128-bit hash.
pub const BUILD_ID_LEN: usize = 16;

/// A planned file: where each section goes, and every byte outside the sections.
#[derive(Debug)]
pub struct Skeleton {
    /// File offset of each section, in the order given; of an empty one, 0.
    pub offsets: Vec<u64>,
    /// Bytes of the file.
    pub len: u64,
    /// Headers and tables: file offset and bytes. What no part and no section covers is zero.
    pub parts: Vec<(u64, Vec<u8>)>,
}

/// Collects what `object` writes, without the gaps left for sections.
#[derive(Default)]
struct Parts {
    parts: Vec<(u64, Vec<u8>)>,
    len: u64,
}

impl WritableBuffer for Parts {
    fn reserve(&mut self, _size: u64) -> std::result::Result<(), ()> {
        Ok(())
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some((at, part)) if *at + part.len() as u64 == self.len => part.extend_from_slice(bytes),
            _ => self.parts.push((self.len, bytes.to_vec())),
        }
        self.len += bytes.len() as u64;
    }

    fn write_zeros(&mut self, additional: u64) {
        self.len += additional;
    }
}

/// The machine of the host: other values make objcopy, strip and linkers refuse the file.
const MACHINE: elf::Machine = if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 };

/// Plans a file of `sections`, which must be in the order of their segments, and `symbols`. A section that starts a
/// segment must be aligned to [`PAGE`], the first one apart.
///
/// # Errors
/// `object` cannot represent it.
pub fn plan(build_id: [u8; BUILD_ID_LEN], sections: &[Section], symbols: &[Symbol<'_>]) -> Result<Skeleton> {
    let wrap = |e: object::write::Error| Error::malformed("a file that ELF can represent", e.to_string());
    let mut note = Vec::with_capacity(32);
    for word in [4, BUILD_ID_LEN as u32, elf::NT_GNU_BUILD_ID.0] {
        note.extend_from_slice(&word.to_le_bytes());
    }
    note.extend_from_slice(b"GNU\0");
    note.extend_from_slice(&build_id);

    let mut buffer = Parts::default();
    let mut writer = Writer::new(Endianness::Little, true, &mut buffer);
    let present: Vec<usize> = (0..sections.len()).filter(|i| sections[*i].size != 0).collect();
    let segments: Vec<Segment> = {
        let mut list: Vec<Segment> = present.iter().map(|i| sections[*i].segment).collect();
        list.dedup();
        list
    };

    // Offsets, in file order.
    writer.reserve_file_header();
    writer.reserve_program_headers(segments.len() as u32 + 1);
    let note_name = writer.add_section_name(b".note.gnu.build-id");
    let note_index = writer.reserve_section_index();
    let note_at = writer.reserve(note.len() as u64, 4);
    let mut names = vec![None; sections.len()];
    let mut indices = vec![0; sections.len()];
    let mut offsets = vec![0; sections.len()];
    let mut extents: Vec<(u64, u64)> = Vec::new();
    for (order, &i) in present.iter().enumerate() {
        let section = &sections[i];
        let starts = order > 0 && sections[present[order - 1]].segment != section.segment;
        names[i] = Some(writer.add_section_name(section.name.as_bytes()));
        indices[i] = writer.reserve_section_index().0;
        offsets[i] = writer.reserve(section.size, section.align);
        if order == 0 {
            extents.push((0, 0));
        } else if starts {
            extents.push((offsets[i], 0));
        }
        if let Some(last) = extents.last_mut() {
            last.1 = offsets[i] + section.size - last.0;
        }
    }
    let strings: Vec<_> = symbols.iter().map(|s| writer.add_string(s.name)).collect();
    writer.reserve_symtab_section_index();
    writer.reserve_null_symbol_index();
    for symbol in symbols {
        writer.reserve_symbol_index(Some(object::write::elf::SectionIndex(indices[symbol.section])));
    }
    writer.reserve_symtab();
    writer.reserve_strtab_section_index();
    writer.reserve_strtab().map_err(wrap)?;
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().map_err(wrap)?;
    writer.reserve_section_headers();
    let len = writer.reserved_len();

    // The same order again, in bytes.
    let header = FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_DYN,
        e_machine: MACHINE,
        e_entry: 0,
        e_flags: Default::default(),
    };
    writer.write_file_header(&header).map_err(wrap)?;
    writer.write_align_program_headers();
    for &(at, size) in &extents {
        writer.write_program_header(&program_header(elf::PT_LOAD, at, size, PAGE));
    }
    writer.write_program_header(&program_header(elf::PT_NOTE, note_at, note.len() as u64, 4));
    writer.pad_until(note_at);
    writer.write(&note);
    if let Some(&last) = present.last() {
        writer.pad_until(offsets[last] + sections[last].size);
    }
    writer.write_null_symbol();
    for (symbol, name) in symbols.iter().zip(&strings) {
        writer.write_symbol(&Sym {
            section: Some(indices[symbol.section]),
            st_name: writer.string_offset(Some(*name)),
            st_info: elf::SymbolInfo::new(elf::STB_LOCAL, elf::STT_OBJECT),
            st_other: Default::default(),
            st_shndx: Default::default(),
            st_value: offsets[symbol.section] + symbol.offset,
            st_size: symbol.size,
        });
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    debug_assert_eq!(note_index.0, 1);
    writer.write_section_header(&SectionHeader {
        sh_name: writer.section_name_offset(Some(note_name)),
        sh_type: elf::SHT_NOTE,
        sh_flags: elf::SHF_ALLOC,
        sh_addr: note_at,
        sh_offset: note_at,
        sh_size: note.len() as u64,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 4,
        sh_entsize: 0,
    });
    for &i in &present {
        let section = &sections[i];
        let flags = if section.strings.is_some() { elf::SHF_MERGE | elf::SHF_STRINGS } else { Default::default() };
        writer.write_section_header(&SectionHeader {
            sh_name: writer.section_name_offset(names[i]),
            sh_type: elf::SHT_PROGBITS,
            sh_flags: elf::SHF_ALLOC | flags,
            sh_addr: offsets[i],
            sh_offset: offsets[i],
            sh_size: section.size,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: section.align,
            sh_entsize: section.strings.unwrap_or(0),
        });
    }
    // All symbols are local: two versions of a module share its name.
    writer.write_symtab_section_header(symbols.len() as u32 + 1);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    debug_assert_eq!(writer.len(), len);
    Ok(Skeleton { offsets, len, parts: buffer.parts })
}

fn program_header(p_type: elf::ProgramType, at: u64, size: u64, align: u64) -> ProgramHeader {
    ProgramHeader {
        p_type,
        p_flags: elf::PF_R,
        p_offset: at,
        p_vaddr: at,
        p_paddr: at,
        p_filesz: size,
        p_memsz: size,
        p_align: align,
    }
}
