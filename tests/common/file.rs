//! A `.pye` file to be changed in place: its sections, its tables, and its checksums put right afterwards.
//!
//! Needs nothing but pye, so that the fuzz targets use it too.

use pye::bytes::{u32_at, u64_at};
use pye::elf::read::sections;
use pye::image::{BITS, BITS_ROW, HEAD_LEN, PAGE};
use pye::pye::{Header, NAMES, PARTS, Part};

/// A `.pye`, and where its sections are.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ranges: [std::ops::Range<usize>; PARTS],
    /// Where the tables of `.pye.image`, if there is one, start: modules, patches, objects to make, pages, root, marshal data.
    pub(crate) tables: [usize; 6],
}

impl File {
    pub(crate) fn of(bytes: Vec<u8>) -> File {
        let ranges = sections(&bytes, NAMES).unwrap().map(Option::unwrap_or_default);
        let mut file = File { bytes, ranges, tables: [0; 6] };
        if file.has_image() {
            file.tables = file.tables();
        }
        file
    }

    pub(crate) fn has_image(&self) -> bool {
        !self.ranges[Part::Image as usize].is_empty()
    }

    pub(crate) fn range(&self, part: Part) -> std::ops::Range<usize> {
        self.ranges[part as usize].clone()
    }

    pub(crate) fn part(&mut self, part: Part) -> &mut [u8] {
        let range = self.range(part);
        &mut self.bytes[range]
    }

    pub(crate) fn u32(&self, part: Part, at: usize) -> u32 {
        u32_at(&self.bytes[self.range(part)], at).unwrap()
    }

    pub(crate) fn u64(&self, part: Part, at: usize) -> u64 {
        u64_at(&self.bytes[self.range(part)], at).unwrap()
    }

    pub(crate) fn set32(&mut self, part: Part, at: usize, value: u32) {
        self.part(part)[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn set64(&mut self, part: Part, at: usize, value: u64) {
        self.part(part)[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Numbers of modules, patches, made objects, pages; bytes of the root; runs.
    pub(crate) fn counts(&self) -> [usize; 6] {
        std::array::from_fn(|i| self.u32(Part::Image, 128 + 4 * i) as usize)
    }

    fn tables(&self) -> [usize; 6] {
        let counts = self.counts();
        let mut starts = [HEAD_LEN; 6];
        for (i, row) in [32, 16, 8, 4, 1].into_iter().enumerate() {
            starts[i + 1] = starts[i] + row * counts[i];
        }
        starts
    }

    /// The bytes of all object sections, which follow one another.
    pub(crate) fn objects(&self) -> std::ops::Range<usize> {
        self.range(Part::ImageCode).start..self.range(Part::ImageOnce).end
    }

    /// CRC32 of the runs of each module, of the relocations and of the pages.
    pub(crate) fn mend_inner(&mut self) {
        for module in 0..(self.tables[1] - HEAD_LEN) / 32 {
            let (first, count) = (
                self.u32(Part::Image, HEAD_LEN + 32 * module + 16),
                self.u32(Part::Image, HEAD_LEN + 32 * module + 20),
            );
            let runs = &self.bytes[self.range(Part::ImagePages)];
            let runs = runs.get(first as usize * 8..(first as usize + count as usize) * 8).unwrap_or_default();
            let crc = crc32fast::hash(runs);
            self.set32(Part::Image, HEAD_LEN + 32 * module + 4, crc);
        }
        let pages: Vec<u32> = self.bytes[self.objects()].chunks(PAGE).map(crc32fast::hash).collect();
        for (page, crc) in pages.into_iter().enumerate() {
            self.set32(Part::Image, self.tables[3] + 4 * page, crc);
            let row = &self.bytes[self.range(Part::ImageRelocations)][page * BITS_ROW..][..BITS];
            let crc = crc32fast::hash(row);
            self.set32(Part::ImageRelocations, page * BITS_ROW + BITS, crc);
        }
    }

    /// Sizes and CRC32 in the header, and its own.
    pub(crate) fn mend(&mut self) {
        let rows = (self.range(Part::Header).len() - Header::ROWS_AT - 8) / Header::ROW_LEN;
        for part in 1..=rows {
            let range = self.ranges[part].clone();
            let crc = crc32fast::hash(&self.bytes[range.clone()]);
            let row = Header::ROWS_AT + Header::ROW_LEN * (part - 1);
            self.set64(Part::Header, row, range.len() as u64);
            self.set32(Part::Header, row + 8, crc);
        }
        let header = self.part(Part::Header);
        let at = header.len() - 8;
        let crc = crc32fast::hash(&header[..at]);
        header[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Makes a section shorter, with all that says how long it is.
    pub(crate) fn resize(&mut self, part: Part, len: usize) {
        let range = self.range(part);
        let found = (0..).map(|i| u64_at(&self.bytes, 0x28).unwrap() as usize + 64 * i);
        let at = found.take(40).find(|at| {
            u64_at(&self.bytes, at + 0x18) == Some(range.start as u64)
                && u64_at(&self.bytes, at + 0x20) == Some(range.len() as u64)
        });
        let at = at.unwrap();
        self.bytes[at + 0x20..at + 0x28].copy_from_slice(&(len as u64).to_le_bytes());
        self.ranges[part as usize] = range.start..range.start + len;
    }
}
