//! What is not loaded: writes it anew behind what is, without debugging information, which is full of addresses, and with a reference to the file that has it.

use object::LittleEndian as LE;
use object::elf::{self, SectionHeader64, Sym64, SymbolSection};
use object::pod;

use super::file::File;
use crate::error::{Error, Result};

/// The section that names a file with debugging information: its name, NUL, padding to four bytes, CRC32 of its contents.
const DEBUG_LINK: &[u8] = b".gnu_debuglink";

/// Sections that hold no addresses, or only such that say themselves what they count from. `.gnu_debugdata` is a small ELF file of its own, with addresses of its own, which debuggers
/// treat as a separate file.
const KEPT: [&[u8]; 7] =
    [b".comment", b".symtab", b".strtab", b".note.stapsdt", b".gnu_debugdata", b".gnu_debugaltlink", DEBUG_LINK];

/// What was done.
pub(super) struct Tail {
    /// Names of the sections left out.
    pub(super) left_out: Vec<String>,
    /// What the section of that name says.
    pub(super) debug_link: Option<String>,
}

/// Writes it. `name` and `original`: the file all this is a copy of, which is referred to when it has what is left out.
pub(super) fn write(file: &mut File, name: &str, original: &[u8]) -> Result<Tail> {
    let names_index = usize::from(file.header()?.e_shstrndx.get(LE).0);
    let old = file.section_headers()?.to_vec();
    let names = old.get(names_index).ok_or_else(|| Error::malformed("names of sections", names_index.to_string()))?;
    let names = contents(file, names)?;
    let name_of = |section: &SectionHeader64<LE>| -> Result<Vec<u8>> {
        let from = names.get(section.sh_name.get(LE) as usize..).unwrap_or_default();
        let end = from.iter().position(|b| *b == 0);
        Ok(from[..end.ok_or_else(|| Error::malformed("a name of a section", "none"))?].to_vec())
    };

    // Which stay, and their new numbers; the first is no section.
    let mut numbers = vec![None; old.len()];
    let mut kept: Vec<(SectionHeader64<LE>, Vec<u8>)> = Vec::new();
    let mut left_out = Vec::new();
    for (index, section) in old.iter().enumerate() {
        let name = name_of(section)?;
        if index == 0 || section.sh_flags.get(LE).0 & elf::SHF_ALLOC.0 != 0 || KEPT.contains(&name.as_slice()) {
            numbers[index] = Some(kept.len());
            kept.push((*section, name));
        } else if index != names_index {
            left_out.push(String::from_utf8_lossy(&name).into_owned());
        }
    }
    let end = loaded_end(file)?;
    let mut out = file.bytes[..end].to_vec();
    let mut table = Vec::with_capacity(kept.len() + 2);
    let mut strings = vec![0];
    let mut debug_link = None;
    for (mut section, name) in kept {
        renumber(&mut section, &numbers)?;
        section.sh_name.set(LE, string(&mut strings, &name));
        if section.sh_type.get(LE) == elf::SHT_DYNSYM {
            let at = section.sh_offset.get(LE) as usize;
            let symbols = symbols(&contents(file, &section)?, &numbers, false)?.0;
            out[at..at + symbols.len()].copy_from_slice(&symbols);
        } else if section.sh_flags.get(LE).0 & elf::SHF_ALLOC.0 == 0 && !table.is_empty() {
            let mut bytes = contents(file, &section)?;
            if section.sh_type.get(LE) == elf::SHT_SYMTAB {
                let local;
                (bytes, local) = symbols(&bytes, &numbers, true)?;
                section.sh_info.set(LE, local);
            }
            if name == DEBUG_LINK {
                let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
                debug_link = Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
            }
            append(&mut out, &mut section, &bytes);
        }
        table.push(section);
    }
    if debug_link.is_none() && left_out.iter().any(|name| name == ".debug_info") {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(&crc32fast::hash(original).to_le_bytes());
        let mut section = empty(elf::SHT_PROGBITS, 4);
        section.sh_name.set(LE, string(&mut strings, DEBUG_LINK));
        append(&mut out, &mut section, &bytes);
        table.push(section);
        debug_link = Some(name.into());
    }
    let mut section = empty(elf::SHT_STRTAB, 1);
    section.sh_name.set(LE, string(&mut strings, b".shstrtab"));
    append(&mut out, &mut section, &strings);
    table.push(section);
    out.resize(out.len().next_multiple_of(8), 0);
    let at = out.len() as u64;
    out.extend_from_slice(pod::bytes_of_slice(&table));
    file.bytes = out;
    let header = file.header()?;
    header.e_shoff.set(LE, at);
    header.e_shnum.set(LE, table.len() as u16);
    header.e_shstrndx.set(LE, SymbolSection::new(table.len() as u32 - 1));
    Ok(Tail { left_out, debug_link })
}

/// Where the last byte of the file ends that is loaded or says what is.
fn loaded_end(file: &mut File) -> Result<usize> {
    let header = file.header()?;
    let tables = header.e_phoff.get(LE) + u64::from(header.e_phnum.get(LE)) * u64::from(header.e_phentsize.get(LE));
    let ends = file.loaded().map(|s| super::file::contents(s).end);
    let end = ends.chain([tables]).max().unwrap_or(tables);
    let got = file.bytes.len();
    let fits = usize::try_from(end).ok().filter(|end| *end <= got);
    fits.ok_or_else(|| Error::malformed("segments inside the file", format!("{end} bytes of {got}")))
}

fn contents(file: &File, section: &SectionHeader64<LE>) -> Result<Vec<u8>> {
    let at = section.sh_offset.get(LE);
    Ok(file.bytes_at(at..at.saturating_add(section.sh_size.get(LE)), "a section")?.to_vec())
}

fn append(out: &mut Vec<u8>, section: &mut SectionHeader64<LE>, bytes: &[u8]) {
    out.resize(out.len().next_multiple_of(section.sh_addralign.get(LE).clamp(1, 4096) as usize), 0);
    section.sh_offset.set(LE, out.len() as u64);
    section.sh_size.set(LE, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A header with nothing but a type and an alignment.
fn empty(kind: elf::SectionType, align: u64) -> SectionHeader64<LE> {
    let zero = Default::default();
    SectionHeader64 {
        sh_name: zero,
        sh_type: object::U32::new(LE, kind),
        sh_flags: Default::default(),
        sh_addr: Default::default(),
        sh_offset: Default::default(),
        sh_size: Default::default(),
        sh_link: zero,
        sh_info: zero,
        sh_addralign: object::U64::new(LE, align),
        sh_entsize: Default::default(),
    }
}

fn string(strings: &mut Vec<u8>, name: &[u8]) -> u32 {
    if name.is_empty() {
        return 0;
    }
    let at = strings.len() as u32;
    strings.extend_from_slice(name);
    strings.push(0);
    at
}

/// Gives the sections that a header refers to their new numbers.
fn renumber(section: &mut SectionHeader64<LE>, numbers: &[Option<usize>]) -> Result<()> {
    let new = |old: u32| {
        let number = numbers.get(old as usize).copied().flatten();
        number.map(|number| number as u32).ok_or_else(|| Error::malformed("a section that is there", old.to_string()))
    };
    section.sh_link.set(LE, new(section.sh_link.get(LE))?);
    let kind = section.sh_type.get(LE);
    if section.sh_flags.get(LE).0 & elf::SHF_INFO_LINK.0 != 0 || kind == elf::SHT_RELA {
        section.sh_info.set(LE, new(section.sh_info.get(LE))?);
    }
    Ok(())
}

/// A symbol table with the new numbers of sections, and the number of its local symbols, which come first. With `drop`, without symbols of sections that are left out.
fn symbols(table: &[u8], numbers: &[Option<usize>], drop: bool) -> Result<(Vec<u8>, u32)> {
    let rows = pod::slice_from_all_bytes::<Sym64<LE>>(table);
    let rows = rows.map_err(|()| Error::malformed("a symbol table", format!("{} bytes", table.len())))?;
    let mut out = Vec::with_capacity(table.len());
    let mut local = 0;
    for row in rows {
        let mut row = *row;
        if let Some(section) = row.st_shndx.get(LE).index() {
            match numbers.get(usize::from(section)).copied().flatten() {
                Some(number) => row.st_shndx.set(LE, SymbolSection::new(number as u32)),
                None if drop => continue,
                None => return Err(Error::malformed("a section that is loaded", section.to_string())),
            }
        }
        local += u32::from(row.st_bind() == elf::STB_LOCAL);
        out.extend_from_slice(pod::bytes_of(&row));
    }
    Ok((out, local))
}
