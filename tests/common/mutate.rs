//! Changes `.pye` files where it matters: a field, a row, a pointer, a section's place. Checksums can be put right afterwards, so that what is changed is not found by
//! them. All is decided by a seed.
//!
//! Used by `tests/mutants.rs` and by the fuzz target `image`; needs nothing but pye.

use pye::image::{HEAD_LEN, PAGE};
use pye::pye::directories;
use pye::pye::read::Pye;
use pye::pye::{Header, NAMES, Part, Record};
use pye::split;

use super::file::File;
use super::random::Random;

/// What is put right after a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mended {
    /// Nothing: as damage is.
    Nothing,
    /// Sizes and CRC32 of sections, and what an image holds of such. Those of the modules stay.
    Sections,
    /// Those of the modules as well. Only characters of text are changed: what else is in a module is a program for the interpreter, which pye cannot judge.
    Modules,
}

/// A changed file.
pub(crate) struct Mutant {
    pub(crate) bytes: Vec<u8>,
    /// What was done to it.
    pub(crate) what: String,
    /// Whether characters of text are others.
    pub(crate) text: bool,
}

/// Rows of fields in the file.
struct Table {
    name: &'static str,
    /// How often it is chosen, compared with others.
    weight: usize,
    /// Where it starts in the file.
    start: usize,
    /// Bytes of a row, and rows.
    row: usize,
    rows: usize,
    /// Offset in the row and bytes of each field.
    fields: &'static [(usize, usize)],
}

const BYTE: &[(usize, usize)] = &[(0, 1)];
const TWO: &[(usize, usize)] = &[(0, 2)];
const FOUR: &[(usize, usize)] = &[(0, 4)];
const PAIR: &[(usize, usize)] = &[(0, 4), (4, 4)];
/// A word of an object: an address, or two halves that are something else.
const WORD: &[(usize, usize)] = &[(0, 8), (0, 4), (4, 4)];
/// `Elf64_Ehdr`, `Elf64_Shdr`.
const ELF: &[(usize, usize)] =
    &[(4, 1), (5, 1), (16, 2), (18, 2), (32, 8), (40, 8), (52, 2), (54, 2), (56, 2), (58, 2), (60, 2), (62, 2)];
const SECTION: &[(usize, usize)] =
    &[(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)];
/// [`Header`], its rows, [`Record`] and the rows of [`directories`].
const HEADER: &[(usize, usize)] = &[(0, 8), (8, 2), (10, 2), (12, 4), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4)];
const HEADER_ROW: &[(usize, usize)] = &[(0, 8), (8, 4), (12, 4)];
const RECORD: &[(usize, usize)] = &[
    (0, 4),
    (4, 4),
    (8, 8),
    (16, 8),
    (24, 4),
    (28, 4),
    (32, 4),
    (36, 4),
    (40, 4),
    (44, 4),
    (48, 4),
    (52, 1),
    (53, 1),
    (54, 1),
    (55, 1),
    (56, 4),
    (60, 4),
];
const DIRECTORY: &[(usize, usize)] = &[(0, 4), (4, 4), (8, 4), (12, 4), (16, 8)];
/// The head of an image, its rows of modules and patches.
const HEAD: &[(usize, usize)] = &[
    (0, 4),
    (4, 4),
    (8, 8),
    (16, 8),
    (24, 4),
    (28, 4),
    (32, 8),
    (64, 4),
    (68, 4),
    (72, 8),
    (80, 8),
    (88, 8),
    (96, 8),
    (104, 8),
    (112, 8),
    (120, 8),
    (128, 4),
    (132, 4),
    (136, 4),
    (140, 4),
    (144, 4),
    (148, 4),
    (152, 4),
    (156, 4),
    (160, 8),
];
const MODULE: &[(usize, usize)] = &[(0, 4), (4, 4), (8, 8), (16, 4), (20, 4), (24, 4), (28, 4)];
const PATCH: &[(usize, usize)] = &[(0, 8), (8, 4), (12, 4)];

/// Text, by the bytes of a character.
const TEXT: [Part; 3] = [Part::Str1, Part::Str2, Part::Str4];

/// Changes one file in many ways.
pub(crate) struct Mutator {
    good: File,
    tables: Vec<Table>,
    /// Those of text.
    text: Vec<Table>,
}

impl Mutator {
    /// Of a file that is good.
    pub(crate) fn new(bytes: Vec<u8>) -> Mutator {
        let good = File::of(bytes);
        let table = |name, weight, range: std::ops::Range<usize>, row: usize, fields| Table {
            name,
            weight,
            start: range.start,
            row,
            rows: range.len() / row,
            fields,
        };
        let whole =
            |part: Part, weight, row, fields| table(NAMES[part as usize], weight, good.range(part), row, fields);
        let header = good.range(Part::Header);
        let (fields, rows) =
            (header.start..header.start + Header::ROWS_AT, header.start + Header::ROWS_AT..header.end - 8);
        let listed = good.range(Part::Directories);
        let number = |at| if listed.is_empty() { 0 } else { good.u32(Part::Directories, at) as usize };
        let first = listed.start + directories::ROWS_AT.min(listed.len());
        let entries = first + number(0) * directories::Row::LEN;
        let sections = section_headers(&good.bytes);
        let mut tables = vec![
            table("ELF header", 1, 0..64, 64, ELF),
            table("section headers", 2, sections, 64, SECTION),
            table("header", 2, fields, Header::ROWS_AT, HEADER),
            table("rows of the header", 2, rows, Header::ROW_LEN, HEADER_ROW),
            whole(Part::Modules, 8, Record::LEN, RECORD),
            whole(Part::Index, 2, 4, FOUR),
            whole(Part::Names, 2, 1, BYTE),
            table("counts of directories", 1, listed.start..first, 8, PAIR),
            table("directories", 3, first..entries, directories::Row::LEN, DIRECTORY),
            table("names of directories", 2, entries..listed.end, directories::ENTRY_LEN, FOUR),
            whole(Part::Control, 3, 1, BYTE),
            whole(Part::Holes, 4, 1, BYTE),
            whole(Part::Bytes, 1, 1, BYTE),
        ];
        let text = || -> Vec<Table> {
            let widths = [(1, BYTE), (2, TWO), (4, FOUR)];
            let tables = TEXT.into_iter().zip(widths).map(|(part, (width, fields))| whole(part, 1, width, fields));
            tables.filter(|table| table.rows > 0).collect()
        };
        tables.extend(text());
        if good.has_image() {
            let image = good.range(Part::Image);
            let places: Vec<usize> = good.tables.iter().map(|at| image.start + at).collect();
            tables.extend([
                table("head of the image", 6, image.start..image.start + HEAD_LEN, HEAD_LEN, HEAD),
                table("modules of the image", 6, places[0]..places[1], 32, MODULE),
                table("patches", 2, places[1]..places[2], 16, PATCH),
                table("objects to make", 2, places[2]..places[3], 8, PAIR),
                table("CRC32 of pages", 1, places[3]..places[4], 4, FOUR),
                table("root", 1, places[4]..places[5], 1, BYTE),
                table("marshal data", 2, places[5]..image.end, 1, BYTE),
                whole(Part::ImageRelocations, 3, 4, FOUR),
                whole(Part::ImagePages, 3, 8, PAIR),
            ]);
            let objects = [Part::ImageCode, Part::ImageNames, Part::ImageData, Part::ImagePatch, Part::ImageOnce];
            tables.extend(objects.map(|part| whole(part, 5, 8, WORD)));
        }
        tables.retain(|table| table.rows > 0);
        let text = text();
        Mutator { good, tables, text }
    }

    /// The file of this seed.
    pub(crate) fn mutant(&self, seed: u64, mended: Mended) -> Mutant {
        let mut random = Random::new(seed);
        let mut file = self.good.clone();
        let mut what = Vec::new();
        loop {
            what.push(self.change(
                &mut file,
                if mended == Mended::Modules { &self.text } else { &self.tables },
                &mut random,
            ));
            if !random.once_in(3) {
                break;
            }
        }
        let text =
            TEXT.iter().map(|part| self.good.range(*part)).any(|at| file.bytes[at.clone()] != self.good.bytes[at]);
        mend(&mut file, mended);
        if mended != Mended::Modules && random.once_in(40) {
            let len = random.below(file.bytes.len());
            file.bytes.truncate(len);
            what.push(format!("cut off at {len}"));
        }
        Mutant { bytes: file.bytes, what: what.join("; "), text }
    }

    /// The file after one change for each of `seeds`, checksums put right.
    pub(crate) fn changed(&self, seeds: impl Iterator<Item = u64>) -> Vec<u8> {
        let mut file = self.good.clone();
        for seed in seeds {
            self.change(&mut file, &self.tables, &mut Random::new(seed));
        }
        mend(&mut file, Mended::Sections);
        file.bytes
    }

    /// Changes something in one of `tables`; tells what.
    fn change(&self, file: &mut File, tables: &[Table], random: &mut Random) -> String {
        let mut chosen = random.below(tables.iter().map(|t| t.weight).sum());
        let table = tables.iter().find(|table| {
            let here = chosen < table.weight;
            chosen = chosen.wrapping_sub(table.weight);
            here
        });
        let table = table.expect("a number below the sum of weights");
        let end = table.start + table.rows * table.row;
        let row = |random: &mut Random| table.start + random.below(table.rows) * table.row;
        let (here, there) = (row(random), row(random));
        let number = (here - table.start) / table.row;
        let change = match random.below(16) {
            0 => {
                swap(&mut file.bytes, here, there, table.row);
                format!("swapped with row {}", (there - table.start) / table.row)
            }
            1 => {
                file.bytes.copy_within(there..there + table.row, here);
                format!("copy of row {}", (there - table.start) / table.row)
            }
            2 => {
                let bit = random.below(8 * table.row);
                file.bytes[here + bit / 8] ^= 1 << (bit % 8);
                format!("bit {bit} flipped")
            }
            3 => {
                let len = (*random.pick(&[4, 8, 64, 512, PAGE])).min(end - here);
                let from = random.below(file.bytes.len() - len + 1);
                file.bytes.copy_within(from..from + len, here);
                format!("{len} bytes from {from}")
            }
            4 => {
                let len = (*random.pick(&[2, 4, 8, 64, PAGE])).min(end - here);
                let value = *random.pick(&[0, 0xff, 0x7f, 0x80, b'A']);
                file.bytes[here..here + len].fill(value);
                format!("{len} bytes of {value}")
            }
            5 => shorten(file, random),
            // What another row says there.
            6 | 7 => {
                let (at, width) = *random.pick(table.fields);
                file.bytes.copy_within(there + at..there + at + width, here + at);
                format!("bytes {at} to {} of row {}", at + width, (there - table.start) / table.row)
            }
            _ => {
                let (at, width) = *random.pick(table.fields);
                let place = here + at..here + at + width;
                let mut word = [0; 8];
                word[..width].copy_from_slice(&file.bytes[place.clone()]);
                let old = u64::from_le_bytes(word);
                let new = value(old, width, file.bytes.len() as u64, random);
                file.bytes[place].copy_from_slice(&new.to_le_bytes()[..width]);
                format!("at {at} {new:#x} for {old:#x}")
            }
        };
        format!("{}, row {number}: {change}", table.name)
    }
}

/// Another value for a field of so many bytes.
fn value(old: u64, width: usize, size: u64, random: &mut Random) -> u64 {
    match random.below(12) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 1 << (8 * width - 1),
        4 => old.wrapping_add(1),
        5 => old.wrapping_sub(1),
        6 => old ^ (1 << random.below(8 * width)),
        7 => old.wrapping_add(*random.pick(&[8, 16, 64, PAGE as u64])),
        8 => old.wrapping_sub(*random.pick(&[8, 16, 64, PAGE as u64])),
        9 => size.wrapping_add(random.next() % 3).wrapping_sub(1),
        10 => random.next() % 256,
        _ => random.next(),
    }
}

/// Swaps two rows that are the same or apart.
fn swap(bytes: &mut [u8], here: usize, there: usize, len: usize) {
    (0..len).for_each(|i| bytes.swap(here + i, there + i));
}

/// Has a section of the portable form claim to be shorter.
fn shorten(file: &mut File, random: &mut Random) -> String {
    let part = 1 + random.below(Part::Bytes as usize);
    let range = file.ranges[part].clone();
    let headers = section_headers(&file.bytes);
    let header = headers.step_by(64).find(|at| {
        let word = |at: usize| file.bytes.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().unwrap()));
        word(at + 0x18) == Some(range.start as u64) && word(at + 0x20) == Some(range.len() as u64)
    });
    let Some(at) = header.filter(|_| !range.is_empty()) else { return "nothing".to_owned() };
    let len = random.below(range.len());
    file.bytes[at + 0x20..at + 0x28].copy_from_slice(&(len as u64).to_le_bytes());
    file.ranges[part] = range.start..range.start + len;
    format!("{} ends after {len} bytes", NAMES[part])
}

/// Where the section headers stand, which are last in the file.
fn section_headers(bytes: &[u8]) -> std::ops::Range<usize> {
    let at = pye::bytes::u64_at(bytes, 0x28).unwrap_or(0) as usize;
    let count = usize::from(u16::from_le_bytes([bytes[0x3c], bytes[0x3d]]));
    match at.checked_add(64 * count) {
        Some(end) if end <= bytes.len() => at..end,
        _ => 0..0,
    }
}

fn mend(file: &mut File, mended: Mended) {
    if mended == Mended::Nothing {
        return;
    }
    if mended == Mended::Modules {
        let sums = match Pye::open(&file.bytes) {
            Ok(pye) => sums(&pye),
            Err(_) => Vec::new(),
        };
        for (number, crc) in sums {
            file.set32(Part::Modules, Record::LEN * number + 36, crc);
        }
    }
    if file.has_image() {
        file.mend_inner();
    }
    file.mend();
}

/// CRC32 of the modules that can be put together.
fn sums(pye: &Pye<'_>) -> Vec<(usize, u32)> {
    let mut joined = Vec::new();
    let modules = pye.modules().filter_map(Result::ok);
    let sum = |module: pye::pye::read::Module<'_>| {
        let len = module.record.pyc_len as usize;
        split::join_into(module.control, module.holes, &pye.stores(), len, &mut joined, None).ok()?;
        Some((module.number, crc32fast::hash(&joined)))
    };
    modules.filter_map(sum).collect()
}
