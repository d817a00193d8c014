//! Where a program's libraries are looked for: its `DT_RPATH`, which comes before what the environment says.

use object::LittleEndian as LE;
use object::elf::{self, ProgramHeader64};

use super::file::{File, contents};
use super::unknown;
use crate::error::{Error, Result};

/// A copy of the program `bytes` that looks for its libraries in `directory` first. No address in it changes: the string table, one longer, moves to the unused end of the last
/// page of its segment.
///
/// # Errors
/// It is not a program of 64 bits for this machine, or there is no room.
pub fn with_search_path(bytes: &[u8], directory: &str) -> Result<Vec<u8>> {
    let mut file = File::read(bytes, 0)?;
    let (Some(at), Some(size)) = (file.value(elf::DT_STRTAB), file.value(elf::DT_STRSZ)) else {
        return Err(unknown("a table of strings", "none"));
    };
    let offset = file.offset(at, size, "the string table")?;
    let mut strings = file.bytes_at(offset..offset + size, "the string table")?.to_vec();
    let path = strings.len() as u64;
    strings.extend_from_slice(directory.as_bytes());
    strings.push(0);

    // Behind the segment that has the table now, before whatever comes next in the file and in memory.
    let segment = file.loaded().position(|s| {
        let start = s.p_vaddr.get(LE);
        (start..start.saturating_add(s.p_filesz.get(LE))).contains(&at)
    });
    let segment = segment.and_then(|index| Some((index, *file.loaded().nth(index)?)));
    let (_, old) = segment.ok_or_else(|| unknown("a table of strings that is loaded", "none"))?;
    let (filled, memory) = (old.p_filesz.get(LE), old.p_memsz.get(LE));
    let room = free_behind(&file, &old);
    let place = filled.next_multiple_of(8);
    let grown = place + strings.len() as u64;
    if filled != memory || grown > room {
        let got = format!("{} of {} bytes", room.saturating_sub(place), strings.len());
        return Err(Error::unsupported(
            "room for one more string",
            got,
            "pin its virtual environment's interpreter on a build with an rpath",
        ));
    }
    let (new_offset, new_address) = (old.p_offset.get(LE) + place, old.p_vaddr.get(LE) + place);
    let target = new_offset as usize..new_offset as usize + strings.len();
    file.bytes[target].copy_from_slice(&strings);

    for header in file.program_headers()? {
        if header.p_type.get(LE) == elf::PT_LOAD && header.p_offset.get(LE) == old.p_offset.get(LE) {
            header.p_filesz.set(LE, grown);
            header.p_memsz.set(LE, grown);
        }
    }
    for header in file.section_headers()? {
        if header.sh_addr.get(LE) == at && header.sh_type.get(LE) == elf::SHT_STRTAB {
            header.sh_offset.set(LE, new_offset);
            header.sh_addr.set(LE, new_address);
            header.sh_size.set(LE, strings.len() as u64);
        }
    }
    set(&mut file, new_address, strings.len() as u64, path)?;
    Ok(file.bytes)
}

/// Bytes from the start of a segment up to the first that belongs to something else: in the file, and in memory, where the segment's last page ends.
fn free_behind(file: &File, segment: &ProgramHeader64<LE>) -> u64 {
    const PAGE: u64 = 4096;
    let start = segment.p_offset.get(LE);
    let end = contents(segment).end;
    let others = file.segments.iter().map(contents).map(|at| at.start);
    let sections = file.sections.iter().filter(|s| s.sh_size.get(LE) != 0 && s.sh_type.get(LE) != elf::SHT_NOBITS);
    let next = others.chain(sections.map(|s| s.sh_offset.get(LE))).filter(|at| *at >= end).min();
    let next = next.unwrap_or(end).min(file.bytes.len() as u64);
    let page = segment.p_vaddr.get(LE).saturating_add(segment.p_filesz.get(LE)).next_multiple_of(PAGE);
    (next - start).min(page - segment.p_vaddr.get(LE))
}

/// Writes the table's new place and the path into the dynamic section.
fn set(file: &mut File, strings: u64, size: u64, path: u64) -> Result<()> {
    let count = file.dynamic.len();
    let entries = file.dynamic_entries()?;
    for entry in &mut entries[..count] {
        match entry.d_tag.get(LE) {
            elf::DT_STRTAB => entry.d_val.set(LE, strings),
            elf::DT_STRSZ => entry.d_val.set(LE, size),
            _ => {}
        }
    }
    // DT_RUNPATH would make the loader pass over DT_RPATH, and comes after LD_LIBRARY_PATH.
    let paths = [elf::DT_RPATH, elf::DT_RUNPATH];
    let there = entries[..count].iter().position(|entry| paths.contains(&entry.d_tag.get(LE)));
    // The last entry stays the end.
    let place = there.or((count + 1 < entries.len()).then_some(count));
    let place = place.ok_or_else(|| unknown("room for one more entry in the dynamic section", "none"))?;
    entries[place].d_tag.set(LE, elf::DT_RPATH);
    entries[place].d_val.set(LE, path);
    Ok(())
}
