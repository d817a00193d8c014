//! The `.pye` format: sections, the header, the module records, the index, what is known of [`directories`]. Reader and writer are [`read`] and
//! [`mod@write`]; the sections of an image are read and written by [`crate::image`]. The normative text is `format-spec/`.

pub mod directories;
pub mod read;
pub mod write;

use crate::blob::Store;
use crate::bytes::{Cursor, Sink as _};
use crate::error::{Error, Result};
use crate::limits::{MAX_EXPANSION, MIN_EXPANDED};

/// Format version written: readers refuse another major version and accept any minor one.
pub const MAJOR: u16 = 1;
/// See [`MAJOR`]. That of a file without an image.
pub const MINOR: u16 = 0;
/// That of a file with an image: it has more rows.
pub const MINOR_IMAGE: u16 = 1;

/// First bytes of the header section. A byte above 0x7f, CR LF, ^Z and LF: a transfer as text is noticed.
pub const MAGIC: [u8; 8] = *b"\x89pye\r\n\x1a\n";

/// The file holds a package: records have paths relative to its root, and there is an index. Otherwise it holds one module.
pub const FLAG_PACKAGE: u32 = 1;

/// The sections in file order. Payload sections bear the numbers of [`Store`] plus [`Part::Str1`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// [`Header`].
    Header = 0,
    /// [`Record`]s, sorted by name, version, optimisation and path.
    Modules = 1,
    /// Hash table from dotted name, version and optimisation to record.
    Index = 2,
    /// Names and paths, each followed by NUL.
    Names = 3,
    /// What was known of the directories that the modules stand in: [`directories`].
    Directories = 4,
    /// Control streams, one after the other.
    Control = 5,
    /// Tables of holes, one after the other.
    Holes = 6,
    /// Payload: text, one byte a character.
    Str1 = 7,
    /// Payload: text, two bytes a character.
    Str2 = 8,
    /// Payload: text, four bytes a character.
    Str4 = 9,
    /// Payload: bytes.
    Bytes = 10,
    /// Head and tables of the image: [`crate::image`]. Here and below: only in a package that has one.
    Image = 11,
    /// Where the image holds addresses of the interpreter's, a bit for each word.
    ImageRelocations = 12,
    /// The pages that each module of the image needs.
    ImagePages = 13,
    /// Objects of the image: see [`crate::image::Area`] for this and the rest.
    ImageCode = 14,
    /// Strings that get a hash.
    ImageNames = 15,
    /// What is never written.
    ImageData = 16,
    /// Tuples with slots to fill.
    ImagePatch = 17,
    /// Templates of code that runs once.
    ImageOnce = 18,
}

/// Number of sections.
pub const PARTS: usize = 19;

/// Number of rows of the header: one for each section after its own, in their order. A later minor version may add rows at the end.
pub const ROWS: usize = PARTS - 1;

/// Number of rows in a file without an image.
pub const ROWS_PORTABLE: usize = Part::Bytes as usize;

/// Their names, by [`Part`].
pub const NAMES: [&str; PARTS] = [
    ".pye.header",
    ".pye.modules",
    ".pye.index",
    ".pye.names",
    ".pye.directories",
    ".pye.control",
    ".pye.holes",
    Store::Str1.section(),
    Store::Str2.section(),
    Store::Str4.section(),
    Store::Bytes.section(),
    ".pye.image",
    ".pye.image.reloc",
    ".pye.image.pages",
    ".pye.image.code",
    ".pye.image.names",
    ".pye.image.data",
    ".pye.image.patch",
    ".pye.image.once",
];

/// The section of a payload.
pub const fn payload(store: Store) -> usize {
    Part::Str1 as usize + store as usize
}

/// The contents of the header section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes 8–11: format version.
    pub version: (u16, u16),
    /// Bytes 12–15: [`FLAG_PACKAGE`]; every other bit is reserved and zero.
    pub flags: u32,
    /// Bytes 16–19: the threshold the files were split with.
    pub min_blob: u32,
    /// Bytes 20–23: records.
    pub modules: u32,
    /// Bytes 24–31: bytes of all `.pyc` files held.
    pub pyc_bytes: u64,
    /// From byte 40 on, after their number (u32) and four zero bytes: size (u64), CRC32 (u32) and four zero bytes for each section after
    /// the header's own. Rows of a later minor version are passed over.
    pub sections: [(u64, u32); ROWS],
}

impl Header {
    /// Offset of the first row.
    pub const ROWS_AT: usize = 40;

    /// Bytes of a row.
    pub const ROW_LEN: usize = 16;

    /// Bytes of the section without an image: the fields, the rows, their CRC32, four zero bytes.
    pub const LEN: usize = Self::len(false);

    /// Bytes of the section.
    pub const fn len(image: bool) -> usize {
        Self::ROWS_AT + Self::ROW_LEN * (if image { ROWS } else { ROWS_PORTABLE }) + 8
    }

    /// Appends the section's bytes: in a version without images, without their rows.
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let rows = self.rows();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.0.to_le_bytes());
        out.extend_from_slice(&self.version.1.to_le_bytes());
        for word in [self.flags, self.min_blob, self.modules] {
            out.put_u32(word);
        }
        out.put_u64(self.pyc_bytes);
        out.put_u32(rows.len() as u32);
        out.put_u32(0);
        for &(size, crc) in rows {
            out.put_u64(size);
            out.put_u32(crc);
            out.put_u32(0);
        }
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32(crc);
        out.put_u32(0);
    }

    /// Reads the section.
    ///
    /// # Errors
    /// Wrong size, magic, CRC, reserved bits or number of rows; another major version. Offsets count from the section's start.
    pub fn parse(bytes: &[u8]) -> Result<Header> {
        // Magic and version first: another major version may have a header of another length.
        let mut cursor = Cursor::new(bytes);
        let magic = cursor.take(8)?;
        if magic != MAGIC {
            return Err(Error::malformed("the magic of a .pye file", format!("{magic:02x?}")).at(0u64));
        }
        let version = (cursor.u16()?, cursor.u16()?);
        if version.0 != MAJOR {
            return Err(Error::unsupported(
                format!("format version {MAJOR}.x"),
                format!("{}.{}", version.0, version.1),
                "convert the .pyc files again with this pye, or use the pye that wrote it",
            )
            .at(8u64));
        }
        let (flags, min_blob, modules, pyc_bytes) = (cursor.u32()?, cursor.u32()?, cursor.u32()?, cursor.u64()?);
        let rows = cursor.u32()?;
        let expected = (Self::ROWS_AT + 8) as u64 + Self::ROW_LEN as u64 * u64::from(rows);
        if bytes.len() as u64 != expected {
            let got = bytes.len().to_string();
            return Err(Error::malformed(format!("{expected} bytes for a header of {rows} rows"), got).at(32u64));
        }
        let (fields, sum) = bytes.split_at(bytes.len() - 8);
        let (crc, actual) = (Cursor::new(sum).u32()?, crc32fast::hash(fields));
        if crc != actual || sum[4..] != [0; 4] {
            return Err(Error::malformed(
                format!("CRC32 {crc:08x} and zeros"),
                format!("{actual:08x}, {:02x?}", &sum[4..]),
            )
            .at(fields.len()));
        }
        if flags & !FLAG_PACKAGE != 0 {
            return Err(Error::malformed("no reserved flags", format!("{flags:#x}")).at(12u64));
        }
        if cursor.u32()? != 0 {
            return Err(Error::malformed("four zero bytes after the number of rows", "others").at(36u64));
        }
        // A later minor version may have added sections, with rows after these.
        let newer = version.1 > MINOR_IMAGE;
        let known = if version.1 == MINOR { ROWS_PORTABLE } else { ROWS };
        if (rows as usize) < known || !newer && rows as usize != known {
            let expected =
                format!("{known} rows{} in version {MAJOR}.{}", if newer { " or more" } else { "" }, version.1);
            return Err(Error::malformed(expected, rows.to_string()).at(32u64));
        }
        let mut sections = [(0, 0); ROWS];
        for section in &mut sections[..known] {
            let at = cursor.position();
            *section = (cursor.u64()?, cursor.u32()?);
            if cursor.u32()? != 0 {
                return Err(Error::malformed("four zero bytes after a CRC", "others").at(at + 12));
            }
        }
        Ok(Header { version, flags, min_blob, modules, pyc_bytes, sections })
    }

    /// The rows that the header's version has, of those that are known.
    pub fn rows(&self) -> &[(u64, u32)] {
        &self.sections[..if self.version.1 >= MINOR_IMAGE { ROWS } else { ROWS_PORTABLE }]
    }

    /// Whether the file holds a package.
    pub fn is_package(&self) -> bool {
        self.flags & FLAG_PACKAGE != 0
    }
}

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ModuleKind {
    /// A file whose structure could not be parsed, kept byte for byte. Not in the index.
    Raw = 0,
    /// A module.
    Module = 1,
    /// A package: its `__init__`.
    Package = 2,
    /// A directory that holds modules but no `__init__`. No file stands behind it.
    Namespace = 3,
}

/// Optimisation level of a file whose name says something other than `opt-1` or `opt-2`. Not in the index.
pub const OPTIMIZATION_OTHER: u8 = 255;

/// One module: 64 bytes in the section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Bytes 0–3: offset of the dotted name in the names; the empty name when there is none.
    pub name: u32,
    /// Bytes 4–7: offset of the path, relative to the package's root; of a file of one module, its file name.
    pub path: u32,
    /// Bytes 8–15: offset of its control stream in the section.
    pub control: u64,
    /// Bytes 16–23: offset of its table of holes in the section.
    pub holes: u64,
    /// Bytes 24–27: bytes of the control stream.
    pub control_len: u32,
    /// Bytes 28–31: bytes of the table of holes.
    pub holes_len: u32,
    /// Bytes 32–35: holes.
    pub hole_count: u32,
    /// Bytes 36–39: CRC32 of the `.pyc`.
    pub pyc_crc: u32,
    /// Bytes 40–43: bytes of the `.pyc`.
    pub pyc_len: u32,
    /// Bytes 44–47: its PEP 552 flags.
    pub flags: u32,
    /// Bytes 48–51: its magic number.
    pub magic: [u8; 4],
    /// Byte 52: [`ModuleKind`].
    pub kind: ModuleKind,
    /// Byte 53: 0, 1, 2 or [`OPTIMIZATION_OTHER`].
    pub optimization: u8,
    /// Bytes 54, 55: version of Python whose layout it has; 0.0 for a raw file.
    pub python: (u8, u8),
    /// Bytes 56–63: source mtime and size, or source hash, as in the `.pyc`.
    pub word: [u8; 8],
}

impl Record {
    /// Bytes of a record.
    pub const LEN: usize = 64;

    /// Appends the record's bytes.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.name);
        out.put_u32(self.path);
        out.put_u64(self.control);
        out.put_u64(self.holes);
        for word in [self.control_len, self.holes_len, self.hole_count, self.pyc_crc, self.pyc_len, self.flags] {
            out.put_u32(word);
        }
        out.extend_from_slice(&self.magic);
        out.extend_from_slice(&[self.kind as u8, self.optimization, self.python.0, self.python.1]);
        out.extend_from_slice(&self.word);
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Too few bytes, an unknown kind or level; the offset counts from the record's start.
    pub fn parse(bytes: &[u8]) -> Result<Record> {
        let mut cursor = Cursor::new(bytes);
        let (name, path) = (cursor.u32()?, cursor.u32()?);
        let (control, holes) = (cursor.u64()?, cursor.u64()?);
        let (control_len, holes_len) = (cursor.u32()?, cursor.u32()?);
        let (hole_count, pyc_crc) = (cursor.u32()?, cursor.u32()?);
        let (pyc_len, flags) = (cursor.u32()?, cursor.u32()?);
        let mut magic = [0; 4];
        magic.copy_from_slice(cursor.take(4)?);
        let kind = match cursor.u8()? {
            0 => ModuleKind::Raw,
            1 => ModuleKind::Module,
            2 => ModuleKind::Package,
            3 => ModuleKind::Namespace,
            other => return Err(Error::malformed("a kind of module from 0 to 3", other.to_string()).at(52u64)),
        };
        let optimization = cursor.u8()?;
        if !matches!(optimization, 0..=2 | OPTIMIZATION_OTHER) {
            let got = optimization.to_string();
            return Err(Error::malformed("an optimisation level of 0, 1, 2 or 255", got).at(53u64));
        }
        let python = (cursor.u8()?, cursor.u8()?);
        let mut word = [0; 8];
        word.copy_from_slice(cursor.take(8)?);
        Ok(Record {
            name,
            path,
            control,
            holes,
            control_len,
            holes_len,
            hole_count,
            pyc_crc,
            pyc_len,
            flags,
            magic,
            kind,
            optimization,
            python,
            word,
        })
    }
}

/// The most bytes of `.pyc` that may stand behind sections of `held` bytes in all (rule V43): blobs are stored once however often they
/// are used, so without a bound a small file could claim any size.
pub fn most_pyc_bytes(held: u64) -> u64 {
    held.saturating_mul(MAX_EXPANSION).max(MIN_EXPANDED)
}

/// Whether a module can be found by name, rather than only by path.
pub fn is_indexed(name: &[u8], kind: ModuleKind, optimization: u8) -> bool {
    !name.is_empty() && kind != ModuleKind::Raw && optimization != OPTIMIZATION_OTHER
}

/// The order in which modules of one key are preferred, as CPython's path finder does: a package hides a module of its name,
/// which hides a namespace; what stands in `__pycache__` is looked at before a `.pyc` in the source's place. Of equal ones the first
/// record is found.
pub fn preference(kind: ModuleKind, path: &[u8]) -> (u8, bool) {
    let rank = match kind {
        ModuleKind::Package => 0,
        ModuleKind::Module => 1,
        ModuleKind::Raw | ModuleKind::Namespace => 2,
    };
    let cached = path.rsplit(|b| *b == b'/').nth(1) == Some(b"__pycache__");
    (rank, !cached)
}

/// Finds the preferred record of each key among records that are met in their order, so that those of one key are neighbours.
pub(crate) struct Preferred<K> {
    last: Option<(K, (u8, bool))>,
    /// The numbers of the preferred records, ascending.
    pub(crate) numbers: Vec<u32>,
}

impl<K: PartialEq> Preferred<K> {
    pub(crate) fn new() -> Self {
        Self { last: None, numbers: Vec::new() }
    }

    /// Takes the next record; `rank` is its [`preference`].
    pub(crate) fn push(&mut self, number: u32, key: K, rank: (u8, bool)) {
        match (&mut self.last, self.numbers.last_mut()) {
            (Some((last, best)), Some(winner)) if *last == key => {
                if rank < *best {
                    (*winner, *best) = (number, rank);
                }
            }
            _ => {
                self.numbers.push(number);
                self.last = Some((key, rank));
            }
        }
    }
}

/// Whether a path stays below the directory it is joined to: it is not empty, and no part of it is empty, `.` or `..`.
pub fn is_below(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').all(|part| !part.is_empty() && part != b"." && part != b"..")
}

/// Hash of a key of the index: FNV-1a, 32 bits (offset basis 0x811c9dc5, prime 0x01000193), over the dotted name, the major and
/// minor version and the optimisation level, a byte each.
pub fn index_hash(name: &[u8], python: (u8, u8), optimization: u8) -> u32 {
    name.iter()
        .chain(&[python.0, python.1, optimization])
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
