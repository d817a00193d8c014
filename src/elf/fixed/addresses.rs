//! Moves every address that the loaded part of a file holds.

use object::LittleEndian as LE;
use object::elf::{self, DynamicTag, Rela64, Sym64};

use super::file::{File, moved};
use super::{MACHINE, unknown};
use crate::error::{Error, Result};

/// Entries of the dynamic section that are addresses.
const POINTERS: [DynamicTag; 19] = [
    elf::DT_PLTGOT,
    elf::DT_HASH,
    elf::DT_STRTAB,
    elf::DT_SYMTAB,
    elf::DT_RELA,
    elf::DT_INIT,
    elf::DT_FINI,
    elf::DT_JMPREL,
    elf::DT_INIT_ARRAY,
    elf::DT_FINI_ARRAY,
    elf::DT_PREINIT_ARRAY,
    elf::DT_SYMTAB_SHNDX,
    elf::DT_RELR,
    elf::DT_GNU_HASH,
    elf::DT_TLSDESC_PLT,
    elf::DT_TLSDESC_GOT,
    elf::DT_VERSYM,
    elf::DT_VERDEF,
    elf::DT_VERNEED,
];

/// Those that are none: sizes, counts, flags, places in the string table; `DT_DEBUG` is the dynamic loader's to fill.
const VALUES: [DynamicTag; 29] = [
    elf::DT_NEEDED,
    elf::DT_PLTRELSZ,
    elf::DT_RELASZ,
    elf::DT_RELAENT,
    elf::DT_STRSZ,
    elf::DT_SYMENT,
    elf::DT_SONAME,
    elf::DT_RPATH,
    elf::DT_RUNPATH,
    elf::DT_SYMBOLIC,
    elf::DT_PLTREL,
    elf::DT_DEBUG,
    elf::DT_TEXTREL,
    elf::DT_BIND_NOW,
    elf::DT_INIT_ARRAYSZ,
    elf::DT_FINI_ARRAYSZ,
    elf::DT_PREINIT_ARRAYSZ,
    elf::DT_FLAGS,
    elf::DT_FLAGS_1,
    elf::DT_RELRSZ,
    elf::DT_RELRENT,
    elf::DT_RELACOUNT,
    elf::DT_VERDEFNUM,
    elf::DT_VERNEEDNUM,
    elf::DT_AUXILIARY,
    elf::DT_FILTER,
    // ELF for the Arm 64-bit Architecture: protections of branches, and that vector functions are called otherwise.
    DynamicTag(0x7000_0001),
    DynamicTag(0x7000_0003),
    DynamicTag(0x7000_0005),
];

/// Moves all of them. What has been moved is read no more.
pub(super) fn move_all(file: &mut File) -> Result<()> {
    if file.value(elf::DT_GNU_PRELINKED).is_some() || file.value(elf::DT_GNU_CONFLICT).is_some() {
        let help = "take the prelinking back (prelink --undo) first";
        return Err(Error::unsupported("a file as its linker wrote it", "a prelinked one", help));
    }
    relocations(file)?;
    relative_words(file)?;
    global_offset_table(file)?;
    symbols(file)?;
    dynamic(file)?;
    headers(file)
}

/// Makes the kernel load an executable where its program headers say.
pub(super) fn make_executable(file: &mut File) -> Result<()> {
    file.header()?.e_type.set(LE, elf::ET_EXEC);
    for entry in file.dynamic_entries()? {
        if entry.d_tag.get(LE) == elf::DT_FLAGS_1 {
            entry.d_val.set(LE, entry.d_val.get(LE) & !elf::DF_1_PIE.0);
        }
    }
    Ok(())
}

fn headers(file: &mut File) -> Result<()> {
    let base = file.base;
    let header = file.header()?;
    if header.e_entry.get(LE) != 0 {
        header.e_entry.set(LE, moved(header.e_entry.get(LE), base)?);
    }
    for segment in file.program_headers()? {
        // Which only says how the stack is mapped.
        if segment.p_type.get(LE) != elf::PT_GNU_STACK {
            segment.p_vaddr.set(LE, moved(segment.p_vaddr.get(LE), base)?);
            segment.p_paddr.set(LE, moved(segment.p_paddr.get(LE), base)?);
        }
    }
    for section in file.section_headers()? {
        if section.sh_flags.get(LE).0 & elf::SHF_ALLOC.0 != 0 {
            section.sh_addr.set(LE, moved(section.sh_addr.get(LE), base)?);
        }
    }
    Ok(())
}

fn dynamic(file: &mut File) -> Result<()> {
    let (base, count) = (file.base, file.dynamic.len());
    for entry in &mut file.dynamic_entries()?[..count] {
        let (tag, value) = (entry.d_tag.get(LE), entry.d_val.get(LE));
        if POINTERS.contains(&tag) {
            if value != 0 {
                entry.d_val.set(LE, moved(value, base)?);
            }
        } else if !VALUES.contains(&tag) {
            return Err(unknown("known entries in the dynamic section", format!("{:#x}", tag.0)));
        }
    }
    Ok(())
}

/// The RELA tables: that of data, and that of lazily bound functions.
fn relocations(file: &mut File) -> Result<()> {
    if let Some(kind) = file.value(elf::DT_PLTREL)
        && kind != elf::DT_RELA.0 as u64
    {
        return Err(unknown("relocations with addends", format!("DT_PLTREL {kind}")));
    }
    for (table, size) in [(elf::DT_RELA, elf::DT_RELASZ), (elf::DT_JMPREL, elf::DT_PLTRELSZ)] {
        let (Some(at), Some(size)) = (file.value(table), file.value(size)) else { continue };
        let rows = file.table_at::<Rela64<LE>>(at, size, "a table of relocations")?.to_vec();
        let mut out = Vec::with_capacity(rows.len());
        for mut row in rows {
            let (place, addend) = (row.r_offset.get(LE), row.r_addend.get(LE));
            let kind = row.r_type(LE, false);
            if MACHINE.moved.contains(&kind) {
                row.r_addend.set(LE, addend.wrapping_add_unsigned(file.base));
                // Some linkers write there what the loader will: then it is the address, too.
                let base = file.base;
                if let Ok(word) = file.word(place)
                    && word.get(LE) == addend as u64
                    && addend != 0
                {
                    word.set(LE, moved(word.get(LE), base)?);
                }
            } else if !MACHINE.kept.contains(&kind) {
                return Err(unknown("known relocations", format!("type {} for {place:#x}", kind.0)));
            } else if kind == MACHINE.slot && table == elf::DT_JMPREL {
                let stub = file.word(place)?.get(LE);
                if stub >= file.span() {
                    return Err(unknown("the address of a stub", format!("{stub:#x} at {place:#x}")));
                }
                // 0 stands for none: bound when the file is loaded.
                if stub != 0 {
                    let stub = file.moved(stub)?;
                    file.word(place)?.set(LE, stub);
                }
            }
            row.r_offset.set(LE, file.moved(place)?);
            out.push(row);
        }
        file.table_at::<Rela64<LE>>(at, size, "a table of relocations")?.copy_from_slice(&out);
    }
    Ok(())
}

/// RELR (generic ABI, "Relative relocations"): an even entry is the address of a word, an odd one a map of the 63 words that follow.
fn relative_words(file: &mut File) -> Result<()> {
    const WORD: u64 = 8;
    let (Some(at), Some(size)) = (file.value(elf::DT_RELR), file.value(elf::DT_RELRSZ)) else { return Ok(()) };
    let entries = file.table_at::<object::U64<LE>>(at, size, "a table of relative relocations")?.to_vec();
    let base = file.base;
    let mut place = 0u64;
    for (number, entry) in entries.iter().map(|entry| entry.get(LE)).enumerate() {
        let places: Vec<u64> = if entry & 1 == 0 {
            let table = file.table_at::<object::U64<LE>>(at, size, "a table of relative relocations")?;
            table[number].set(LE, moved(entry, base)?);
            place = entry.saturating_add(WORD);
            vec![entry]
        } else {
            let first = place;
            place = place.saturating_add(63 * WORD);
            (0..63).filter(|bit| entry >> (bit + 1) & 1 == 1).map(|bit| first.saturating_add(bit * WORD)).collect()
        };
        for place in places {
            let word = file.word(place)?;
            word.set(LE, moved(word.get(LE), base)?);
        }
    }
    Ok(())
}

/// The first word of the table, by which a dynamic loader would find itself.
fn global_offset_table(file: &mut File) -> Result<()> {
    let Some(table) = file.value(elf::DT_PLTGOT) else { return Ok(()) };
    let dynamic = file.segment(elf::PT_DYNAMIC).map_or(0, |segment| segment.p_vaddr.get(LE));
    let base = file.base;
    if let Ok(word) = file.word(table)
        && word.get(LE) == dynamic
    {
        word.set(LE, moved(dynamic, base)?);
    }
    Ok(())
}

fn symbols(file: &mut File) -> Result<()> {
    let base = file.base;
    for section in file.sections.clone() {
        if !matches!(section.sh_type.get(LE), elf::SHT_SYMTAB | elf::SHT_DYNSYM) {
            continue;
        }
        let at = section.sh_offset.get(LE);
        let at = at..at.saturating_add(section.sh_size.get(LE));
        for symbol in file.table::<Sym64<LE>>(at, "a symbol table")? {
            let value = symbol.st_value.get(LE);
            let kept = match symbol.st_shndx.get(LE) {
                // A value of 0 is none; another is the address of a program's own stub for the function.
                elf::SHN_UNDEF => value == 0,
                elf::SHN_ABS | elf::SHN_COMMON => true,
                _ => symbol.st_type() == elf::STT_TLS,
            };
            if !kept {
                symbol.st_value.set(LE, moved(value, base)?);
            }
        }
    }
    Ok(())
}
