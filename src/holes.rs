//! The table of holes: which payloads were cut out of a control stream, and where their blobs are.
//!
//! A module's holes are one run of bytes, three LEB128 numbers a hole in the order of the stream:
//! `gap`, the control bytes since the hole before; `len << 3 | kind`, the blob's characters (bytes for byte strings) and
//! its [`Kind`]; and the zigzagged difference, in characters, between the blob's offset in its section and the end of the
//! module's previous blob there, its NUL included (0 for the first). New blobs follow one another, so most are 0.

use crate::blob::{Kind, Store};
use crate::bytes::{Cursor, Sink as _, unzigzag, zigzag};
use crate::error::{Error, Result};
use crate::marshal::read::Payloads;

/// Holes as the marshal parser needs them: which payloads are missing from a control stream.
pub struct Missing<'a> {
    reader: Reader<'a>,
    /// Where the next hole is in the stream, and what the stream must announce there.
    next: Option<(usize, Hole)>,
    error: Option<Error>,
}

impl<'a> Missing<'a> {
    /// The holes of the module whose table is `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut missing = Self { reader: Reader::new(bytes), next: None, error: None };
        missing.advance(0);
        missing
    }

    fn advance(&mut self, from: usize) {
        self.next = match self.reader.next() {
            Ok(hole) => hole.and_then(|h| Some((from.checked_add(usize::try_from(h.gap).ok()?)?, h))),
            Err(error) => {
                self.error = Some(error);
                None
            }
        };
    }

    /// To be asked when the stream has been parsed: whether each hole was met.
    ///
    /// # Errors
    /// The table is broken, a hole is not at the start of a string's payload, or has not its length.
    pub fn finish(self) -> Result<()> {
        match (self.error, self.next) {
            (Some(error), _) => Err(error),
            (None, Some((at, hole))) => {
                Err(Error::malformed("every hole at a string's payload", format!("a {:?} blob elsewhere", hole.kind))
                    .at(at))
            }
            (None, None) => Ok(()),
        }
    }
}

impl Payloads for Missing<'_> {
    #[inline]
    fn present(&mut self, start: usize, len: usize) -> usize {
        match self.next {
            Some((at, hole)) if at == start => {
                // Of other text the length in UTF-8 is not known before it is converted; the module's CRC32 tells.
                if hole.kind.verbatim() && hole.len != len as u64 {
                    let got = format!("a blob of {}", hole.len);
                    self.error
                        .get_or_insert_with(|| Error::malformed(format!("the {len} bytes announced"), got).at(at));
                }
                self.advance(start);
                0
            }
            _ => len,
        }
    }
}

/// One payload cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Control bytes between the previous hole (or the start) and this one.
    pub gap: u64,
    /// How the blob stands in the `.pyc`, and which section holds it.
    pub kind: Kind,
    /// Characters, the final NUL not counted.
    pub len: u64,
    /// Characters from the start of the section.
    pub offset: u64,
}

/// Ends of the previous blob in each section, in characters: what offsets are relative to.
type Expected = [u64; Store::ALL.len()];

/// Appends holes to a module's table.
#[derive(Default)]
pub struct Writer {
    expected: Expected,
}

impl Writer {
    /// Appends one hole to `out`.
    #[inline]
    pub fn put(&mut self, hole: Hole, out: &mut Vec<u8>) {
        let expected = &mut self.expected[hole.kind.store() as usize];
        out.put_varint(hole.gap);
        out.put_varint(hole.len << 3 | hole.kind as u64);
        out.put_varint(zigzag(hole.offset.wrapping_sub(*expected) as i64));
        *expected = hole.offset + hole.len + 1;
    }
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

    /// The next hole, or nothing at the end. Offset and length are not yet held against the section.
    ///
    /// # Errors
    /// A broken number, an unknown kind, an offset below 0; the offset counts from the table's start.
    // Not an `Iterator`: callers want `?` on each, and the parser's loop wants it inlined.
    #[inline]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Hole>> {
        if self.cursor.remaining() == 0 {
            return Ok(None);
        }
        let gap = self.cursor.varint()?;
        let at = self.cursor.position();
        let packed = self.cursor.varint()?;
        let Some(kind) = Kind::from_number((packed & 7) as u8) else {
            return Err(Error::malformed("a kind of blob from 0 to 5", (packed & 7).to_string()).at(at));
        };
        let len = packed >> 3;
        let at = self.cursor.position();
        let difference = unzigzag(self.cursor.varint()?);
        let expected = &mut self.expected[kind.store() as usize];
        // Both ends bounded far below 2^63, so that byte positions cannot overflow later either.
        let offset = expected.checked_add_signed(difference).filter(|o| *o < 1 << 48 && len < 1 << 48);
        let Some(offset) = offset else {
            return Err(
                Error::malformed("a blob offset inside the section", format!("{expected} {difference:+}")).at(at)
            );
        };
        *expected = offset + len + 1;
        Ok(Some(Hole { gap, kind, len, offset }))
    }
}

impl Hole {
    /// The blob's bytes in its section, the final NUL left out.
    ///
    /// # Errors
    /// It reaches beyond the section, or no NUL follows; the offset counts from the section's start.
    #[inline]
    pub fn blob<'a>(&self, section: &'a [u8]) -> Result<&'a [u8]> {
        let width = self.kind.store().width() as u64;
        // No overflow: the reader bounds both below 2^48.
        let (start, end) = (self.offset * width, (self.offset + self.len) * width);
        let stored = usize::try_from(end + width).ok().and_then(|end| section.get(start as usize..end));
        let Some(stored) = stored else {
            return Err(Error::malformed(
                format!("a blob inside the section's {} bytes", section.len()),
                format!("one of bytes {start} to {}", end + width),
            )
            .at(start));
        };
        let (blob, nul) = stored.split_at(stored.len() - width as usize);
        if nul.iter().any(|b| *b != 0) {
            return Err(Error::malformed("a NUL after the blob", format!("{nul:02x?}")).at(end));
        }
        Ok(blob)
    }
}
