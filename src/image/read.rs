//! The head of an image and its tables, checked when opened; objects are not looked at.

use super::{AREAS, Area, BITS, BITS_ROW, Counts, HEAD_LEN, Head, PAGE, relocations};
use crate::bytes::{Cursor, u32_at, u64_at};
use crate::error::{Error, Result};
use crate::pye::read::Pye;
use crate::pye::{NAMES, Part};

/// Bytes of a row of each table: modules, patches, objects to make, pages.
const ROW: [usize; 4] = [32, 16, 8, 4];
/// Their numbers.
const MODULES: usize = 0;
const PATCHES: usize = 1;
const MADE: usize = 2;
const PAGES: usize = 3;
/// Of the other counts.
const ROOT: usize = 4;
const RUNS: usize = 5;
/// Bytes of a run.
const RUN: usize = 8;

/// An image.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Its head.
    pub head: Head,
    /// The package's root, as it stood on `sys.path`.
    pub root: &'a str,
    /// Offset in the file of each object section, and their end.
    pub starts: [u64; AREAS + 1],
    counts: Counts,
    tables: [&'a [u8]; ROW.len()],
    /// Marshal data of the objects to make.
    made: &'a [u8],
    bits: &'a [u8],
    runs: &'a [u8],
}

/// A module of the image: a row of 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Bytes 0–3: the module's record in the package.
    pub record: u32,
    /// Bytes 4–7: CRC32 of its runs.
    pub crc: u32,
    /// Bytes 8–15: offset in the file of its code, a template.
    pub root: u64,
    /// Bytes 16–23: the first of its runs of pages, and how many.
    pub runs: (u32, u32),
    /// Bytes 24–31: the first of its patches, and how many.
    pub patches: (u32, u32),
}

impl Entry {
    /// All of them are looked at when an image is opened.
    #[inline]
    fn of(row: &[u8; ROW[MODULES]]) -> Entry {
        let word = |i: usize| u32::from_le_bytes([row[i], row[i + 1], row[i + 2], row[i + 3]]);
        let root = u64::from(word(8)) | u64::from(word(12)) << 32;
        Entry { record: word(0), crc: word(4), root, runs: (word(16), word(20)), patches: (word(24), word(28)) }
    }
}

impl<'a> Image<'a> {
    /// The image of a package, if it has one. Checks head and tables against their CRC32, and that all they say lies in the image.
    ///
    /// # Errors
    /// It is damaged, or of another version.
    pub fn open(pye: &Pye<'a>) -> Result<Option<Image<'a>>> {
        let part = Part::Image as usize;
        let bytes = pye.part(part);
        if bytes.is_empty() {
            return Ok(None);
        }
        Self::parse(pye, bytes).map(Some).map_err(|e| if e.section().is_some() { e } else { e.within(NAMES[part]) })
    }

    fn parse(pye: &Pye<'a>, bytes: &'a [u8]) -> Result<Image<'a>> {
        let (_, crc) = pye.header().sections[Part::Image as usize - 1];
        let actual = crc32fast::hash(bytes);
        if actual != crc {
            return Err(Error::malformed(format!("CRC32 {crc:08x}"), format!("{actual:08x}")).at(0u64));
        }
        let mut cursor = Cursor::new(bytes);
        let (head, counts) = Head::parse(&mut cursor)?;
        let short = || Error::malformed("tables as long as their counts", "shorter ones");
        let mut rest = &bytes[HEAD_LEN..];
        let mut table = |len: usize| {
            let (table, after) = rest.split_at_checked(len).ok_or_else(short)?;
            rest = after;
            Ok::<&[u8], Error>(table)
        };
        let mut tables: [&[u8]; ROW.len()] = [&[]; ROW.len()];
        for (i, rows) in tables.iter_mut().enumerate() {
            *rows = table((counts[i] as usize).checked_mul(ROW[i]).ok_or_else(short)?)?;
        }
        let root = table(counts[ROOT] as usize)?;
        let root = std::str::from_utf8(root).map_err(|e| Error::malformed("a root in UTF-8", e.to_string()))?;
        let made = rest;
        let mut starts = [0; AREAS + 1];
        let mut end = None;
        for area in Area::ALL {
            let range = pye.range(area.part());
            if range.is_empty() {
                continue;
            }
            let (start, after) = (range.start as u64, range.end as u64);
            if !start.is_multiple_of(PAGE as u64)
                || !after.is_multiple_of(PAGE as u64)
                || end.is_some_and(|e| e != start)
            {
                let error = Error::malformed("whole pages, one section after the other", format!("{start} to {after}"));
                return Err(error.within(NAMES[area.part()]));
            }
            end = Some(after);
        }
        let end = end.ok_or_else(|| Error::malformed("sections of objects", "none"))?;
        starts[AREAS] = end;
        for area in Area::ALL.into_iter().rev() {
            let range = pye.range(area.part());
            starts[area as usize] = if range.is_empty() { starts[area as usize + 1] } else { range.start as u64 };
        }
        let bits = pye.part(Part::ImageRelocations as usize);
        let runs = pye.part(Part::ImagePages as usize);
        let here = super::places(|part| (pye.range(part).start as u64, pye.range(part).len() as u64));
        if here != head.places {
            let (expected, got) =
                (format!("sections where they were written, {:08x}", head.places), format!("{here:08x}"));
            return Err(Error::malformed(expected, got).at(152u64));
        }
        let image = Image { head, root, starts, counts, tables, made, bits, runs };
        image.check()?;
        Ok(image)
    }

    fn check(&self) -> Result<()> {
        let fail = |expected: &str, got: String| Err(Error::malformed(expected.to_owned(), got));
        let pages = (self.starts[AREAS] - self.starts[0]) / PAGE as u64;
        if u64::from(self.counts[PAGES]) != pages || self.bits.len() as u64 != pages * BITS_ROW as u64 {
            return fail("a CRC32 and relocations for each page", format!("{} and {}", self.pages(), self.bits.len()));
        }
        if self.runs.len() as u64 != u64::from(self.counts[RUNS]) * RUN as u64 {
            return fail("all runs of pages", format!("{} bytes for {}", self.runs.len(), self.counts[RUNS]));
        }
        if !self.head.base.is_multiple_of(PAGE as u64) || self.head.base.checked_add(self.starts[AREAS]).is_none() {
            return fail("a base at the start of a page", format!("{:#x}", self.head.base));
        }
        for (area, hot) in Area::ALL.into_iter().zip(self.head.hot) {
            let size = self.size(area);
            if hot > size {
                return fail("a hot part inside its section", format!("{hot} bytes of {size}"));
            }
        }
        let names = self.head.names;
        if names[0] > self.head.hot[Area::Names as usize] || names[0] > names[1] || names[1] > self.size(Area::Names) {
            return fail("names inside their section", format!("{names:?}"));
        }
        if self.head.versions.0.checked_add(self.head.versions.1).is_none() || self.head.versions.0 == 0 {
            return fail("code versions that do not overflow", format!("{:?}", self.head.versions));
        }
        let mut last = None;
        let (rows, _) = self.tables[MODULES].as_chunks();
        for entry in rows.iter().map(Entry::of) {
            let within = |(first, count): (u32, u32), of: u32| first.checked_add(count).is_some_and(|end| end <= of);
            let once = self.starts[Area::Once as usize]..self.starts[AREAS];
            if !once.contains(&entry.root)
                || !entry.root.is_multiple_of(8)
                || !within(entry.runs, self.counts[RUNS])
                || !within(entry.patches, self.counts[PATCHES])
                || last.is_some_and(|last| last >= entry.record)
            {
                return fail("modules in order, with code, pages and patches of the image", format!("{entry:?}"));
            }
            last = Some(entry.record);
        }
        for patch in 0..self.counts[PATCHES] {
            let (slot, made) = self.patch(patch);
            let inside = (self.starts[Area::Patch as usize]..self.starts[AREAS]).contains(&slot);
            // The first object is the sample, and nobody's constant.
            let made_here = (1..self.counts[MADE]).contains(&made) && self.word(PATCHES, patch, 3) == 0;
            if !inside || !slot.is_multiple_of(8) || !made_here {
                return fail("patches in the image", format!("object {made} at {slot}"));
            }
        }
        for made in 0..self.counts[MADE] {
            self.made(made)?;
        }
        Ok(())
    }

    /// Bytes of a section.
    pub fn size(&self, area: Area) -> u64 {
        self.starts[area as usize + 1] - self.starts[area as usize]
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.counts[MODULES] as usize
    }

    /// Whether it has no module.
    pub fn is_empty(&self) -> bool {
        self.counts[MODULES] == 0
    }

    /// Number of pages.
    pub fn pages(&self) -> u32 {
        self.counts[PAGES]
    }

    /// Number of runs of pages, patches and objects to make, of all modules.
    pub fn rows(&self) -> (u32, u32, u32) {
        (self.counts[RUNS], self.counts[PATCHES], self.counts[MADE])
    }

    fn word(&self, table: usize, row: u32, word: usize) -> u32 {
        u32_at(self.tables[table], row as usize * ROW[table] + word * 4).unwrap_or(0)
    }

    /// Module `number` of the image.
    pub fn entry(&self, number: u32) -> Entry {
        let (rows, _) = self.tables[MODULES].as_chunks();
        rows.get(number as usize).map_or(Entry::default(), Entry::of)
    }

    /// Where module `number` stands in the section.
    pub(super) fn entry_at(number: u32) -> u64 {
        HEAD_LEN as u64 + u64::from(number) * ROW[MODULES] as u64
    }

    /// The number of the module with this record.
    pub fn find(&self, record: u32) -> Option<u32> {
        let (mut low, mut high) = (0, self.counts[MODULES]);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.word(MODULES, middle, 0).cmp(&record) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The pages a module needs, in runs: the first page, and how many.
    ///
    /// # Errors
    /// They are damaged.
    pub fn runs(&self, entry: &Entry) -> Result<impl Iterator<Item = (u32, u32)> + use<'a>> {
        let section = NAMES[Part::ImagePages as usize];
        let (start, len) = (entry.runs.0 as usize * RUN, entry.runs.1 as usize * RUN);
        let rows = self.runs.get(start..start + len).unwrap_or_default();
        let actual = crc32fast::hash(rows);
        if actual != entry.crc {
            let error =
                Error::malformed(format!("CRC32 {:08x} of a module's pages", entry.crc), format!("{actual:08x}"));
            return Err(error.at(start).within(section));
        }
        let row = |row: &[u8]| (u32_at(row, 0).unwrap_or(0), u32_at(row, 4).unwrap_or(0));
        let inside = |(first, count): (u32, u32)| first.checked_add(count).is_some_and(|end| end <= self.pages());
        if !rows.chunks(RUN).map(row).all(inside) {
            return Err(Error::malformed("pages of the image", "others").at(start).within(section));
        }
        Ok(rows.chunks(RUN).map(row))
    }

    /// Number of patches.
    pub fn patches(&self) -> u32 {
        self.counts[PATCHES]
    }

    /// A patch: offset in the file of a slot, and the number of the object to put there.
    pub fn patch(&self, number: u32) -> (u64, u32) {
        let at = number as usize * ROW[PATCHES];
        (u64_at(self.tables[PATCHES], at).unwrap_or(0), self.word(PATCHES, number, 2))
    }

    /// Marshal data of an object to make.
    ///
    /// # Errors
    /// It is not in the image.
    pub fn made(&self, number: u32) -> Result<&'a [u8]> {
        let (start, len) = (self.word(MADE, number, 0) as usize, self.word(MADE, number, 1) as usize);
        let data = start.checked_add(len).and_then(|end| self.made.get(start..end));
        data.ok_or_else(|| Error::malformed("marshal data in the image", format!("{len} bytes from {start} on")))
    }

    /// CRC32 of a page.
    pub fn crc(&self, page: u32) -> u32 {
        self.word(PAGES, page, 0)
    }

    /// As [`Image::bits`], of a page whose bits are known to be sound.
    pub(super) fn bits_unchecked(&self, page: u32) -> &'a [u8] {
        &self.bits[page as usize * BITS_ROW..][..BITS]
    }

    /// The words of a page that hold addresses in the interpreter's file: a bit each, the lowest of the first byte for the first.
    ///
    /// # Errors
    /// They are damaged.
    pub fn bits(&self, page: u32) -> Result<&'a [u8]> {
        relocations::bits(self.bits, page).map_err(|e| e.within(NAMES[Part::ImageRelocations as usize]))
    }
}
