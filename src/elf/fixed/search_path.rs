//! Where a program's libraries are looked for: its `DT_RPATH`, which comes before what the environment says.

use object::LittleEndian as LE;
use object::elf::{self, ProgramHeader64};
use object::pod;

use super::file::File;
use super::unknown;
use crate::error::{Error, Result};
use crate::limits::MAX_PROGRAM_SPAN;

/// Alignment of a segment: the largest page of the machine.
const ALIGN: u64 = if cfg!(target_arch = "aarch64") { 65536 } else { 4096 };

/// A copy of the program `bytes` that looks for its libraries in `directory` first. No address in it changes. The string table, longer by one, moves to a segment of its own at the
/// end, and so do the program headers, one more of which has no room where they are.
///
/// # Errors
/// It is not a program of 64 bits for this machine, or has no room in its dynamic section.
pub fn with_search_path(bytes: &[u8], directory: &str) -> Result<Vec<u8>> {
    let mut file = File::read(bytes, 0)?;
    let (Some(old_strings), Some(size)) = (file.value(elf::DT_STRTAB), file.value(elf::DT_STRSZ)) else {
        return Err(unknown("a table of strings", "none"));
    };
    let offset = file.offset(old_strings, size, "the string table")?;
    let mut strings = file.bytes_at(offset..offset + size, "the string table")?.to_vec();
    let path = strings.len() as u64;
    strings.extend_from_slice(directory.as_bytes());
    strings.push(0);

    // Kernels before 5.18 count on the headers to lie as far from the start in memory as in the file.
    let span = file.span();
    if span > MAX_PROGRAM_SPAN {
        return Err(Error::limit("addresses of a program", MAX_PROGRAM_SPAN, span));
    }
    let place = (file.bytes.len() as u64).max(span).next_multiple_of(ALIGN);
    let mut headers = file.segments.clone();
    let Some(last) = headers.iter().rposition(|s| s.p_type.get(LE) == elf::PT_LOAD) else {
        return Err(unknown("a segment that is loaded", "none"));
    };
    headers.insert(last + 1, ProgramHeader64 { p_type: object::U32::new(LE, elf::PT_LOAD), ..headers[last] });
    let table = (headers.len() * size_of::<ProgramHeader64<LE>>()) as u64;
    let len = table + strings.len() as u64;
    let mut set = |index: usize, len: u64| {
        let header = &mut headers[index];
        for field in [&mut header.p_offset, &mut header.p_vaddr, &mut header.p_paddr] {
            field.set(LE, place);
        }
        header.p_filesz.set(LE, len);
        header.p_memsz.set(LE, len);
    };
    set(last + 1, len);
    // It stands before all that are loaded.
    if let Some(own) = file.segments.iter().position(|s| s.p_type.get(LE) == elf::PT_PHDR) {
        set(own, table);
    }
    headers[last + 1].p_flags.set(LE, elf::PF_R);
    headers[last + 1].p_align.set(LE, ALIGN);

    file.bytes.resize(place as usize, 0);
    file.bytes.extend_from_slice(pod::bytes_of_slice(&headers));
    file.bytes.extend_from_slice(&strings);
    let header = file.header()?;
    header.e_phoff.set(LE, place);
    header.e_phnum.set(LE, header.e_phnum.get(LE) + 1);
    for header in file.section_headers()? {
        if header.sh_addr.get(LE) == old_strings && header.sh_type.get(LE) == elf::SHT_STRTAB {
            header.sh_offset.set(LE, place + table);
            header.sh_addr.set(LE, place + table);
            header.sh_size.set(LE, strings.len() as u64);
        }
    }

    let count = file.dynamic.len();
    let entries = file.dynamic_entries()?;
    for entry in &mut entries[..count] {
        match entry.d_tag.get(LE) {
            elf::DT_STRTAB => entry.d_val.set(LE, place + table),
            elf::DT_STRSZ => entry.d_val.set(LE, strings.len() as u64),
            _ => {}
        }
    }
    // DT_RUNPATH would make the loader pass over DT_RPATH, and comes after LD_LIBRARY_PATH.
    let paths = [elf::DT_RPATH, elf::DT_RUNPATH];
    let there = entries[..count].iter().position(|entry| paths.contains(&entry.d_tag.get(LE)));
    // The last entry stays the end.
    let entry = there.or((count + 1 < entries.len()).then_some(count));
    let entry = entry.ok_or_else(|| unknown("room for one more entry in the dynamic section", "none"))?;
    entries[entry].d_tag.set(LE, elf::DT_RPATH);
    entries[entry].d_val.set(LE, path);
    Ok(file.bytes)
}
