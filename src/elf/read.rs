//! Finds sections in an untrusted ELF file, by name.

use std::ops::Range;

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader as _, SectionHeader as _};

use crate::error::{Error, Result};

/// The byte ranges of the sections named `wanted`, in that order; nothing for one that is not there.
///
/// # Errors
/// Not a little-endian ELF64 file; headers or a wanted section out of range; a wanted section twice, compressed, without
/// file contents, or overlapping another wanted one or the headers.
pub fn sections<const N: usize>(bytes: &[u8], wanted: [&'static str; N]) -> Result<[Option<Range<usize>>; N]> {
    let broken = |what: &'static str| move |e: object::read::Error| Error::malformed(what, e.to_string());
    if bytes.get(..4) != Some(&elf::ELFMAG) {
        return Err(Error::malformed("an ELF file", "no ELF magic").at(0u64));
    }
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(|e| broken("an ELF64 header")(e).at(0u64))?;
    let endian = header.endian().map_err(|e| broken("a known byte order")(e).at(5u64))?;
    if endian != Endianness::Little {
        return Err(Error::malformed("a little-endian ELF file", "a big-endian one").at(5u64));
    }
    let table_at = header.e_shoff.get(endian);
    let table = header.sections(endian, bytes).map_err(|e| broken("a section header table")(e).at(table_at))?;
    let mut found: [Option<Range<usize>>; N] = [const { None }; N];
    for (index, section) in table.enumerate() {
        // A section without a name is not one of ours; binutils write such a one first.
        let Ok(name) = table.section_name(endian, section) else { continue };
        let Some(slot) = wanted.iter().position(|w| w.as_bytes() == name) else { continue };
        let at = table_at + index.0 as u64 * 64;
        let fail =
            |expected: &'static str, got: String| Err(Error::malformed(expected, got).at(at).within(wanted[slot]));
        if section.sh_type(endian) != elf::SHT_PROGBITS {
            return fail("SHT_PROGBITS", format!("section type {:#x}", section.sh_type(endian).0));
        }
        if section.sh_flags(endian).0 & elf::SHF_COMPRESSED.0 != 0 {
            return fail("a section that can be mapped", "a compressed one".into());
        }
        if found[slot].is_some() {
            return fail("one section of that name", "two".into());
        }
        let (start, size) = (section.sh_offset(endian), section.sh_size(endian));
        let end = start.checked_add(size).filter(|end| *end <= bytes.len() as u64);
        let Some(end) = end else {
            return fail("a section inside the file", format!("{size} bytes from {start} on, of {}", bytes.len()));
        };
        found[slot] = Some(start as usize..end as usize);
    }
    let mut ranges: Vec<(Range<usize>, &str)> = found
        .iter()
        .zip(wanted)
        .filter_map(|(r, name)| Some((r.clone()?, name)))
        .filter(|(r, _)| !r.is_empty())
        .collect();
    ranges.push((0..size_of::<FileHeader64<Endianness>>(), "the ELF header"));
    ranges.sort_by_key(|(r, _)| r.start);
    for pair in ranges.windows(2) {
        if pair[1].0.start < pair[0].0.end {
            let got = format!("{} over {}", pair[1].1, pair[0].1);
            return Err(Error::malformed("sections that do not overlap", got).at(pair[1].0.start));
        }
    }
    Ok(found)
}
