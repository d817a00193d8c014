//! Takes `.pye` files apart and puts them together again, so that one thing can be made wrong and everything else stays right.

use crate::common::image::small;
use pye::blob::Store;
use pye::elf::write::plan;
use pye::elf::{Section, Segment};
use pye::pye::directories::{ROWS_AT, Row, UNKNOWN};
use pye::pye::read::Pye;
use pye::pye::{Header, NAMES, PARTS, Part, ROWS, Record, payload};

/// A file of known contents.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) header: Header,
    /// By [`Part`]; the header's own is made from `header`.
    pub(crate) parts: [Vec<u8>; PARTS],
    /// Sections at the end that the format does not know, or knows already.
    pub(crate) extra: Vec<(&'static str, Vec<u8>)>,
    /// Alignment of a payload section, by its width.
    pub(crate) align: fn(u64) -> u64,
}

impl Parts {
    pub(crate) fn of(bytes: &[u8]) -> Parts {
        let pye = Pye::open(bytes).unwrap();
        let parts = std::array::from_fn(|i| pye.part(i).to_vec());
        Parts { header: pye.header().clone(), parts, extra: Vec::new(), align: |width| width }
    }

    pub(crate) fn record(&self, i: usize) -> Record {
        Record::parse(&self.parts[Part::Modules as usize][i * Record::LEN..][..Record::LEN]).unwrap()
    }

    /// Changes record `i`.
    pub(crate) fn edit(&mut self, i: usize, change: impl FnOnce(&mut Record)) {
        let mut record = self.record(i);
        change(&mut record);
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        self.parts[Part::Modules as usize][i * Record::LEN..][..Record::LEN].copy_from_slice(&bytes);
    }

    /// Gives the only module another table of holes.
    pub(crate) fn set_holes(&mut self, table: Vec<u8>, count: u32) {
        let len = table.len() as u32;
        self.parts[Part::Holes as usize] = table;
        self.edit(0, |r| (r.holes_len, r.hole_count) = (len, count));
    }

    /// Says of the only module that it is this `.pyc`.
    pub(crate) fn set_pyc(&mut self, pyc: &[u8]) {
        self.edit(0, |r| (r.pyc_len, r.pyc_crc) = (pyc.len() as u32, crc32fast::hash(pyc)));
        self.header.pyc_bytes = pyc.len() as u64;
    }

    /// The header section's bytes, sizes and CRCs those of the parts.
    pub(crate) fn header_bytes(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        for (row, part) in header.sections.iter_mut().zip(&self.parts[1..]) {
            *row = (part.len() as u64, crc32fast::hash(part));
        }
        let mut bytes = Vec::new();
        header.put(&mut bytes);
        bytes
    }

    pub(crate) fn assemble(&self) -> Vec<u8> {
        self.assemble_with(&self.header_bytes())
    }

    pub(crate) fn assemble_with(&self, header: &[u8]) -> Vec<u8> {
        let mut contents: Vec<(&'static str, &[u8], Segment, u64)> = Vec::new();
        let mut begun = false;
        for (i, part) in self.parts.iter().enumerate() {
            let part = if i == Part::Header as usize { header } else { part };
            let store = Store::ALL.into_iter().find(|s| payload(*s) == i);
            let (segment, align) = match store {
                Some(_) if !begun => (Segment::Payload, 4096),
                Some(store) => (Segment::Payload, (self.align)(store.width() as u64)),
                None if i >= Part::ImageCode as usize => (Segment::Image, 4096),
                None if i >= Part::Image as usize => (Segment::Image, 8),
                None => (Segment::Meta, 1),
            };
            begun |= store.is_some() && !part.is_empty();
            contents.push((NAMES[i], part, segment, align));
        }
        contents.extend(self.extra.iter().map(|(name, bytes)| (*name, &bytes[..], Segment::Payload, 1)));
        let sections: Vec<Section> = contents
            .iter()
            .map(|(name, bytes, segment, align)| Section {
                name,
                segment: *segment,
                size: bytes.len() as u64,
                align: *align,
                strings: None,
            })
            .collect();
        let skeleton = plan([0; 16], &sections, &[]).unwrap();
        let mut out = vec![0; skeleton.len as usize];
        for (at, bytes) in skeleton.offsets.iter().zip(&contents).map(|(at, c)| (*at, c.1)) {
            out[at as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        for (at, bytes) in &skeleton.parts {
            out[*at as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        out
    }
}

/// Corrects the CRC32 of a header's bytes.
pub(crate) fn fix_crc(header: &mut [u8]) {
    let at = header.len() - 8;
    let crc = crc32fast::hash(&header[..at]);
    header[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The header's bytes with so many rows: the last left out, or ones of sections that nobody knows added.
pub(crate) fn with_rows(header: &[u8], rows: usize) -> Vec<u8> {
    let mut out = header[..header.len() - 8].to_vec();
    out.resize(Header::ROWS_AT + Header::ROW_LEN * rows, 0);
    out[32..36].copy_from_slice(&(rows as u32).to_le_bytes());
    out.extend([0; 8]);
    fix_crc(&mut out);
    out
}

/// The `.pye` of a file in `valid`.
pub(crate) fn base(name: &str) -> Parts {
    let path = super::spec().join("conformance/valid").join(name);
    Parts::of(&if path.is_dir() { super::link(&path) } else { super::convert(&path) })
}

/// The package with an image that no interpreter made, of objects as 3.12 lays them out.
pub(crate) fn image() -> Vec<u8> {
    small(&super::link(&super::spec().join("conformance/valid/package")), 12, false)
}

/// Valid files that the commands do not write.
pub(crate) fn valid() -> Vec<(&'static str, Vec<u8>)> {
    let mut later = base("sample_312.pyc");
    later.header.version = (1, 7);
    // A file of a later minor version, without symbols, with a section that this version does not know, and a row for it.
    later.extra.push((".pye.later", b"a section that readers of 1.1 do not look at".to_vec()));
    let mut empty = base("package");
    empty.parts = Default::default();
    // Two buckets, both empty; the name that is empty.
    empty.parts[Part::Index as usize] = [2u32, 0, 0].iter().flat_map(|w| w.to_le_bytes()).collect();
    empty.parts[Part::Names as usize] = vec![0];
    (empty.header.modules, empty.header.pyc_bytes) = (0, 0);
    // As `pye link` writes it of `.pye` files.
    let mut unknown = base("package");
    let rows = u32::from_le_bytes(unknown.parts[Part::Directories as usize][..4].try_into().unwrap());
    unknown.parts[Part::Directories as usize].truncate(ROWS_AT + Row::LEN * rows as usize);
    unknown.parts[Part::Directories as usize][4..8].fill(0);
    for row in unknown.parts[Part::Directories as usize][ROWS_AT..].as_chunks_mut::<{ Row::LEN }>().0 {
        row[4..12].fill(0);
        row[16..].copy_from_slice(&UNKNOWN.to_le_bytes());
    }
    vec![
        ("later_minor", later.assemble_with(&with_rows(&later.header_bytes(), ROWS + 1))),
        ("empty_package", empty.assemble()),
        ("unknown_directories", unknown.assemble()),
        ("image", image()),
    ]
}
