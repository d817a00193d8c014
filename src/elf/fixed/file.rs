//! The file that is being moved: its bytes, and what its headers say of them. Every place is checked before it is used.

use std::ops::Range;

use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod::{self, Pod};

use super::{Kind, MACHINE, unknown};
use crate::elf::notes::build_id;
use crate::error::{Error, Result};

/// The tables that a file must have, as errors call them.
const PROGRAM_HEADERS: &str = "program headers";
/// See [`PROGRAM_HEADERS`].
const SECTION_HEADERS: &str = "section headers";
/// See [`PROGRAM_HEADERS`].
const DYNAMIC: &str = "a dynamic section";

/// See the module.
pub(super) struct File {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// What is added to addresses.
    pub(super) base: u64,
    /// The program headers, as they were.
    pub(super) segments: Vec<ProgramHeader64<LE>>,
    /// The section headers, as they were.
    pub(super) sections: Vec<SectionHeader64<LE>>,
    /// The entries of the dynamic section, as they were, without those from the first `DT_NULL` on.
    pub(super) dynamic: Vec<elf::Dyn64<LE>>,
}

impl File {
    /// Parses the headers.
    pub(super) fn read(bytes: &[u8], base: u64) -> Result<File> {
        let mut file =
            File { bytes: bytes.to_vec(), base, segments: Vec::new(), sections: Vec::new(), dynamic: Vec::new() };
        let header = *file.header().map_err(|_| Error::malformed("an ELF file", "less than a header"))?;
        let ident = header.e_ident;
        if ident.magic != elf::ELFMAG {
            return Err(Error::malformed("an ELF file", "no ELF magic").at(0u64));
        }
        if ident.class != elf::ELFCLASS64 || ident.data != elf::ELFDATA2LSB {
            return Err(unknown("64 bits, little-endian", format!("class {}, data {}", ident.class.0, ident.data.0)));
        }
        if header.e_machine.get(LE) != MACHINE.machine {
            let got = format!("machine {}", header.e_machine.get(LE).0);
            return Err(unknown(format!("machine {}, this one's", MACHINE.machine.0), got).at(18u64));
        }
        match header.e_type.get(LE) {
            elf::ET_DYN => {}
            elf::ET_EXEC => {
                let help = "its addresses are the same in every process already: there is nothing to pin";
                return Err(Error::unsupported("a file that is loaded anywhere", "one of fixed addresses", help));
            }
            other => return Err(unknown("a program or shared library", format!("type {}", other.0)).at(16u64)),
        }
        if header.e_shnum.get(LE) == 0 {
            return Err(unknown(SECTION_HEADERS, "none"));
        }
        let table = |at: u64, count: u16, size: usize| at..at.saturating_add(u64::from(count) * size as u64);
        let segments = table(header.e_phoff.get(LE), header.e_phnum.get(LE), size_of::<ProgramHeader64<LE>>());
        file.segments = file.table(segments, PROGRAM_HEADERS)?.to_vec();
        let sections = table(header.e_shoff.get(LE), header.e_shnum.get(LE), size_of::<SectionHeader64<LE>>());
        file.sections = file.table(sections, SECTION_HEADERS)?.to_vec();
        file.dynamic = file.dynamic_entries()?.to_vec();
        let end = file.dynamic.iter().position(|entry| entry.d_tag.get(LE) == elf::DT_NULL);
        file.dynamic
            .truncate(end.ok_or_else(|| Error::malformed("a DT_NULL at the end of the dynamic section", "none"))?);
        Ok(file)
    }

    /// Whether it is a library or a program: only the latter names its dynamic loader.
    pub(super) fn kind(&self) -> Kind {
        if self.segment(elf::PT_INTERP).is_some() { Kind::Executable } else { Kind::Library }
    }

    /// The first segment of a type.
    pub(super) fn segment(&self, p_type: elf::ProgramType) -> Option<&ProgramHeader64<LE>> {
        self.segments.iter().find(|segment| segment.p_type.get(LE) == p_type)
    }

    /// The segments that are loaded.
    pub(super) fn loaded(&self) -> impl Iterator<Item = &ProgramHeader64<LE>> {
        self.segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_LOAD)
    }

    /// Bytes of addresses from 0 to the last that is loaded.
    pub(super) fn span(&self) -> u64 {
        self.loaded().map(|s| s.p_vaddr.get(LE).saturating_add(s.p_memsz.get(LE))).max().unwrap_or(0)
    }

    /// What can be said before anything is moved.
    pub(super) fn check(&self) -> Result<()> {
        let align = self.loaded().map(|s| s.p_align.get(LE)).max().unwrap_or(1).max(1);
        if !self.base.is_multiple_of(align) || self.base.checked_add(self.span()).is_none() {
            let base = self.base;
            return Err(Error::malformed(format!("a base that is a multiple of {align:#x}"), format!("{base:#x}")));
        }
        let first = self.loaded().map(|s| s.p_vaddr.get(LE)).min();
        if first.is_none_or(|first| first >= align) {
            let help = "it has been moved already; pin the file that it was made of";
            let got = first.map_or("none".into(), |first| format!("{first:#x}"));
            return Err(Error::unsupported("addresses that count from 0", got, help));
        }
        if let Some(interpreter) = self.segment(elf::PT_INTERP) {
            let name = self.bytes_at(contents(interpreter), "the name of the dynamic loader")?;
            if name.windows(7).any(|part| part == b"ld-musl") {
                let help = "musl's dynamic loader does not load libraries where they ask to be; use an image that is relocated";
                return Err(Error::unsupported("a program of the GNU C library", "one of musl", help));
            }
        }
        if let Some(table) = self.segment(elf::PT_GNU_EH_FRAME) {
            check_frames(self.bytes_at(contents(table), ".eh_frame_hdr")?)?;
        }
        Ok(())
    }

    /// The file header.
    pub(super) fn header(&mut self) -> Result<&mut FileHeader64<LE>> {
        let (header, _) =
            pod::from_bytes_mut(&mut self.bytes).map_err(|()| Error::malformed("an ELF header", "less"))?;
        Ok(header)
    }

    /// The program headers.
    pub(super) fn program_headers(&mut self) -> Result<&mut [ProgramHeader64<LE>]> {
        let at = self.header()?.e_phoff.get(LE);
        let size = (self.segments.len() * size_of::<ProgramHeader64<LE>>()) as u64;
        self.table(at..at.saturating_add(size), PROGRAM_HEADERS)
    }

    /// The section headers.
    pub(super) fn section_headers(&mut self) -> Result<&mut [SectionHeader64<LE>]> {
        let at = self.header()?.e_shoff.get(LE);
        let size = (self.sections.len() * size_of::<SectionHeader64<LE>>()) as u64;
        self.table(at..at.saturating_add(size), SECTION_HEADERS)
    }

    /// The dynamic section, with what follows its end.
    pub(super) fn dynamic_entries(&mut self) -> Result<&mut [elf::Dyn64<LE>]> {
        let at = self.segment(elf::PT_DYNAMIC).map(contents).ok_or_else(|| unknown(DYNAMIC, "none"))?;
        self.table(at, DYNAMIC)
    }

    /// A table of the file.
    pub(super) fn table<T: Pod>(&mut self, at: Range<u64>, what: &'static str) -> Result<&mut [T]> {
        let fail = || Error::malformed(what, format!("bytes {:#x} to {:#x}", at.start, at.end)).at(at.start);
        let size = at.end.checked_sub(at.start).ok_or_else(fail)?;
        let place = place(&at, self.bytes.len()).ok_or_else(fail)?;
        if !size.is_multiple_of(size_of::<T>() as u64) {
            return Err(fail());
        }
        pod::slice_from_all_bytes_mut(&mut self.bytes[place]).map_err(|()| fail())
    }

    /// A table at an address.
    pub(super) fn table_at<T: Pod>(&mut self, address: u64, size: u64, what: &'static str) -> Result<&mut [T]> {
        let at = self.offset(address, size, what)?;
        self.table(at..at + size, what)
    }

    /// Bytes of the file.
    pub(super) fn bytes_at(&self, at: Range<u64>, what: &'static str) -> Result<&[u8]> {
        let place = place(&at, self.bytes.len());
        let place = place.ok_or_else(|| Error::malformed(what, format!("bytes {:#x} to {:#x}", at.start, at.end)))?;
        Ok(&self.bytes[place])
    }

    /// Where in the file `size` bytes at `address` (one before the move) come from.
    pub(super) fn offset(&self, address: u64, size: u64, what: &'static str) -> Result<u64> {
        let found = self.loaded().find_map(|s| {
            let within = address.checked_sub(s.p_vaddr.get(LE))?;
            let inside = within.checked_add(size)? <= s.p_filesz.get(LE);
            inside.then(|| s.p_offset.get(LE).checked_add(within)).flatten()
        });
        found.ok_or_else(|| Error::malformed(what, format!("{address:#x}, which no segment of the file has")))
    }

    /// The word at an address.
    pub(super) fn word(&mut self, address: u64) -> Result<&mut object::U64<LE>> {
        let words = self.table_at::<object::U64<LE>>(address, 8, "a word that is relocated")?;
        Ok(&mut words[0])
    }

    /// An address after the move.
    pub(super) fn moved(&self, address: u64) -> Result<u64> {
        moved(address, self.base)
    }

    /// The value of an entry of the dynamic section.
    pub(super) fn value(&self, tag: elf::DynamicTag) -> Option<u64> {
        self.dynamic.iter().find(|entry| entry.d_tag.get(LE) == tag).map(|entry| entry.d_val.get(LE))
    }

    /// Where the bytes of the build-id are.
    pub(super) fn build_id(&self) -> Result<Range<usize>> {
        let notes = self.segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_NOTE);
        for segment in notes {
            let start = segment.p_offset.get(LE) as usize;
            if let Some(id) = build_id(self.bytes_at(contents(segment), "notes")?, segment.p_align.get(LE) as usize) {
                return Ok(start + id.start..start + id.end);
            }
        }
        let help = "without one nobody can tell which build a file is; link it with --build-id";
        Err(Error::unsupported("a build-id", "none", help))
    }
}

/// `address` moved up by `base`.
pub(super) fn moved(address: u64, base: u64) -> Result<u64> {
    address.checked_add(base).ok_or_else(|| Error::malformed("an address that can be moved", format!("{address:#x}")))
}

/// Where a segment's bytes are.
pub(super) fn contents(segment: &ProgramHeader64<LE>) -> Range<u64> {
    let at = segment.p_offset.get(LE);
    at..at.saturating_add(segment.p_filesz.get(LE))
}

fn place(at: &Range<u64>, len: usize) -> Option<Range<usize>> {
    (at.start <= at.end && at.end <= len as u64).then_some(at.start as usize..at.end as usize)
}

/// That the head of `.eh_frame_hdr` (Linux Standard Base, "Exception Frames") says that all of it counts from its own place.
fn check_frames(table: &[u8]) -> Result<()> {
    const OMITTED: u8 = 0xff;
    const RELATIVE_TO: u8 = 0x70;
    const PLACE: u8 = 0x10;
    const TABLE: u8 = 0x30;
    let relative = |form: u8| form == OMITTED || matches!(form & RELATIVE_TO, PLACE | TABLE);
    match table {
        // Version, forms of the pointer to .eh_frame, of the count, which is a number, and of the table.
        [1, frames, _, entries, ..] if relative(*frames) && relative(*entries) => Ok(()),
        _ => Err(unknown("an .eh_frame_hdr of distances", format!("{:02x?}", table.get(..4).unwrap_or_default()))),
    }
}
