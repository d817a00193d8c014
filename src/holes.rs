//! The table of holes: what was cut out of a `.pyc` to leave its control stream, and how to put it back.
//!
//! A module's holes are one run of LEB128 numbers, in the order of the file. Each hole starts with `gap`, the control bytes since
//! the hole before, and `len << 3 | kind`. Then, by kind:
//! - 0 to 5, a blob of `len` characters (bytes for byte strings) of that [`Kind`]: the zigzagged difference, in characters, between the
//!   blob's offset in its section and the end of the module's previous blob there, its NUL included (0 for the first one). New blobs
//!   follow one another, so most are 0.
//! - 6, `len` references in a row (`r` and 32 bits each) with numbers below 256: a byte each.
//! - 7, the same with numbers below 65,536: two bytes each, little-endian.
//!
//! Nearly half of all objects are references, most of them in such rows: the names of a code object, its constants.

use crate::blob::{Kind, Store};
use crate::bytes::{Cursor, Sink as _, unzigzag, zigzag};
use crate::error::{Error, Result};

/// Kind number of a run of references with numbers of one byte; with numbers of two bytes it is the next one.
pub const REFERENCES: u64 = 6;

/// A blob cut out, with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// How it stands in the `.pyc`, and which section holds it.
    pub kind: Kind,
    /// Characters, the final NUL not counted.
    pub len: u64,
    /// Characters from the start of the section.
    pub offset: u64,
}

/// What fills a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill<'a> {
    /// A string's payload.
    Blob(Blob),
    /// References; their numbers, a byte each.
    References1(&'a [u8]),
    /// References; their numbers, two little-endian bytes each.
    References2(&'a [[u8; 2]]),
}

/// Ends of the previous blob in each section, in characters: what offsets are relative to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected([u64; Store::ALL.len()]);

impl Expected {
    /// Appends the place of a blob to a table whose last numbers are its gap and its length and kind.
    #[inline]
    pub fn put_place(&mut self, blob: Blob, out: &mut Vec<u8>) {
        let expected = &mut self.0[blob.kind.store() as usize];
        out.put_varint(zigzag(blob.offset.wrapping_sub(*expected) as i64));
        *expected = blob.offset + blob.len + 1;
    }
}

/// Appends the start of a hole: its gap, and its length and kind.
#[inline]
pub fn put_start(gap: u64, len: u64, kind: u64, out: &mut Vec<u8>) {
    out.put_varint(gap);
    out.put_varint(len << 3 | kind);
}

/// Reads a module's holes.
pub struct Reader<'a> {
    cursor: Cursor<'a>,
    expected: Expected,
}

impl<'a> Reader<'a> {
    /// Reads from the first byte of a module's table.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(bytes), expected: Expected::default() }
    }

    /// The next hole's gap and what fills it, or nothing at the end. A blob's place is not yet held against its section.
    ///
    /// # Errors
    /// A broken number, an offset below 0, fewer bytes than references; the offset counts from the table's start.
    #[inline(always)]
    pub fn hole(&mut self) -> Result<Option<(u64, Fill<'a>)>> {
        if self.cursor.remaining() == 0 {
            return Ok(None);
        }
        let gap = self.cursor.varint()?;
        let packed = self.cursor.varint()?;
        let len = packed >> 3;
        let Some(kind) = Kind::from_number((packed & 7) as u8) else {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let fill = if packed & 7 == REFERENCES {
                Fill::References1(self.cursor.take(len)?)
            } else {
                Fill::References2(self.cursor.take(len.saturating_mul(2))?.as_chunks().0)
            };
            return Ok(Some((gap, fill)));
        };
        let at = self.cursor.position();
        let difference = unzigzag(self.cursor.varint()?);
        let expected = &mut self.expected.0[kind.store() as usize];
        // Both ends bounded far below 2^63, so that byte positions cannot overflow later either.
        let offset = expected.checked_add_signed(difference).filter(|o| *o < 1 << 48 && len < 1 << 48);
        let Some(offset) = offset else {
            return Err(Error::malformed(
                "a blob inside the section",
                format!("{expected} {difference:+}, {len} long"),
            )
            .at(at));
        };
        *expected = offset + len + 1;
        Ok(Some((gap, Fill::Blob(Blob { kind, len, offset }))))
    }
}

impl Blob {
    /// Its bytes in its section, the final NUL left out.
    ///
    /// # Errors
    /// It reaches beyond the section; the offset counts from the section's start.
    #[inline(always)]
    pub fn bytes<'a>(&self, section: &'a [u8]) -> Result<&'a [u8]> {
        // No overflow: the reader bounds both below 2^48.
        let width = self.kind.store().width() as u64;
        let (start, end) = (self.offset * width, (self.offset + self.len) * width);
        if end + width > section.len() as u64 {
            let expected = format!("a blob inside the section's {} bytes", section.len());
            return Err(Error::malformed(expected, format!("one of bytes {start} to {}", end + width)).at(start));
        }
        Ok(&section[start as usize..end as usize])
    }

    /// That a NUL of its width follows it. Apart from [`Blob::bytes`], since looking beyond the end costs a joiner a third of its
    /// time: [`crate::pye::read::Pye::verify`] asks, and so must who points a `str` at the blob.
    ///
    /// # Errors
    /// None does, or the blob reaches beyond the section.
    pub fn terminated(&self, section: &[u8]) -> Result<()> {
        let end = self.bytes(section)?.len() + self.offset as usize * self.kind.store().width();
        let nul = &section[end..end + self.kind.store().width()];
        if nul.iter().any(|b| *b != 0) {
            return Err(Error::malformed("a NUL after the blob", format!("{nul:02x?}")).at(end));
        }
        Ok(())
    }
}
