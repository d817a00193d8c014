//! `.pyc` → control stream, table of holes and blobs; and back.
//!
//! The control stream *is* the `.pyc` file, header and trailing bytes included, with holes in it: the payloads of long strings, and runs of
//! references. Type bytes and lengths of strings stay, so [`join`] copies runs and fills holes; nothing is parsed again, and the round trip is exact by construction. A file that cannot be parsed is a control stream without holes.

use std::io::{self, Write};

use crate::blob::{self, Kind, Store};
use crate::error::{Error, Result};
use crate::holes::{self, Expected, Fill};
use crate::marshal::FLAG_REF;
use crate::marshal::pyc::Header;
use crate::marshal::read::{Parser, Sink};
use crate::marshal::version::Version;

/// Payloads of at least this many bytes are cut out unless `--min-blob` says otherwise. Chosen by measurement:
/// see `format-spec/blobs.md`.
pub const DEFAULT_MIN_BLOB: u32 = 64;

/// Shorter runs of references stay in the control stream: they would save a few bytes each, and cost [`join`] a hole.
const MIN_RUN: usize = 3;

/// One payload cut out of a `.pyc`, before it has a place in a section. 32 bytes: the linker holds one for each.
#[derive(Clone, Copy, Debug)]
pub struct Blob {
    /// Hash of the stored form, 0 until [`crate::merge::hash`] sets it.
    pub hash: u64,
    /// Where the stored form starts: in [`Split::data`], or in what that was copied to.
    pub data: u64,
    /// Bytes of the stored form, its NUL not counted.
    pub len: u32,
    /// How much of [`Split::table`] comes before its place.
    pub table: u32,
    /// How it stands in the `.pyc`, and which section stores it.
    pub kind: Kind,
}

/// A `.pyc` taken apart.
#[derive(Default)]
pub struct Split {
    /// The control stream.
    pub control: Vec<u8>,
    /// The table of holes without the blobs' places; see [`holes`].
    pub table: Vec<u8>,
    /// Number of holes.
    pub holes: u32,
    /// The blobs' stored forms, one after the other.
    pub data: Vec<u8>,
    /// The blobs, in the order of the file.
    pub blobs: Vec<Blob>,
}

impl Split {
    fn clear(&mut self) {
        self.control.clear();
        self.table.clear();
        self.holes = 0;
        self.data.clear();
        self.blobs.clear();
    }
}

/// Splits files one after the other, keeping its buffers.
#[derive(Default)]
pub struct Splitter {
    parser: Parser,
    run: Vec<u16>,
}

/// The shortest payloads that are cut out, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Of any string.
    pub text: u32,
    /// Of byte strings, when it is more.
    pub bytes: u32,
}

impl From<u32> for Thresholds {
    /// One for all.
    fn from(min_blob: u32) -> Self {
        Thresholds { text: min_blob, bytes: min_blob }
    }
}

impl Splitter {
    /// Splits `pyc` into `out`, which is cleared first. A file that cannot be split is all control stream; the error says why. So
    /// `out` is always whole.
    ///
    /// # Errors
    /// The file has no header pye knows, or its marshal data is broken.
    pub fn split(
        &mut self,
        pyc: &[u8],
        forced: Option<&'static Version>,
        thresholds: Thresholds,
        out: &mut Split,
    ) -> Result<Header> {
        let split = self.try_split(pyc, forced, thresholds, out);
        if split.is_err() {
            out.clear();
            out.control.extend_from_slice(pyc);
        }
        split
    }

    fn try_split(
        &mut self,
        pyc: &[u8],
        forced: Option<&'static Version>,
        thresholds: Thresholds,
        out: &mut Split,
    ) -> Result<Header> {
        out.clear();
        self.run.clear();
        let header = Header::parse(pyc, forced)?;
        let mut cutter = Cutter {
            input: pyc,
            thresholds,
            v2: header.version.dialect.is_v2(),
            run: &mut self.run,
            highest: 0,
            copied: 0,
            gap: 0,
            out,
        };
        self.parser.parse(pyc, header.version.header_len, header.version, &mut cutter)?;
        cutter.copy_to(pyc.len());
        Ok(header)
    }
}

/// The parser's sink that cuts.
struct Cutter<'a> {
    input: &'a [u8],
    thresholds: Thresholds,
    v2: bool,
    /// The numbers of the run of references that starts at `copied`, and the highest of them.
    run: &'a mut Vec<u16>,
    highest: u16,
    /// Input up to here is in `out`.
    copied: usize,
    /// Control bytes since the last hole.
    gap: u64,
    out: &'a mut Split,
}

impl Sink for Cutter<'_> {
    #[inline(always)]
    fn reference(&mut self, at: usize, byte: u8, number: u32) {
        // A flagged one keeps its flag in the control stream.
        let Ok(number) = u16::try_from(number) else { return };
        if byte != b'r' {
            return;
        }
        if at != self.copied + 5 * self.run.len() {
            self.copy_to(at);
        }
        self.run.push(number);
        self.highest = self.highest.max(number);
    }

    #[inline(always)]
    fn string(&mut self, _at: usize, byte: u8, start: usize, len: usize) {
        if len >= self.thresholds.text.max(1) as usize {
            self.cut(byte, start, len);
        }
    }
}

impl Cutter<'_> {
    /// Ends the run of references, if there is one, and copies the input up to `at`.
    #[inline(always)]
    fn copy_to(&mut self, at: usize) {
        if self.run.len() >= MIN_RUN {
            let wide = u64::from(self.highest > 0xff);
            holes::put_start(self.gap, self.run.len() as u64, holes::REFERENCES + wide, &mut self.out.table);
            if wide == 0 {
                self.out.table.extend(self.run.iter().map(|n| *n as u8));
            } else {
                self.out.table.extend(self.run.iter().flat_map(|n| n.to_le_bytes()));
            }
            self.end_hole(self.copied + 5 * self.run.len());
        }
        self.run.clear();
        self.highest = 0;
        self.out.control.extend_from_slice(&self.input[self.copied..at]);
        self.gap += (at - self.copied) as u64;
        self.copied = at;
    }

    #[inline(always)]
    fn end_hole(&mut self, end: usize) {
        self.out.holes += 1;
        self.copied = end;
        self.gap = 0;
    }

    fn cut(&mut self, byte: u8, start: usize, len: usize) {
        let payload = &self.input[start..start + len];
        let kind = match byte & !FLAG_REF {
            b's' => Kind::Bytes,
            b't' if self.v2 => Kind::Bytes,
            // Stays in the control stream when it has no canonical form, or when that would not fit 32 bits.
            b'u' | b't' => match blob::classify_utf8(payload) {
                Some(kind) if kind.verbatim() || len <= (u32::MAX / 4) as usize => kind,
                _ => return,
            },
            _ => blob::classify_latin1(payload),
        };
        if kind == Kind::Bytes && len < self.thresholds.bytes as usize {
            return;
        }
        self.copy_to(start);
        let data = self.out.data.len();
        if kind.verbatim() {
            self.out.data.extend_from_slice(payload);
        } else {
            blob::decode(payload, kind, &mut self.out.data);
        }
        let stored = &self.out.data[data..];
        holes::put_start(self.gap, (stored.len() / kind.store().width()) as u64, kind as u64, &mut self.out.table);
        self.out.blobs.push(Blob {
            hash: 0,
            data: data as u64,
            len: stored.len() as u32,
            table: self.out.table.len() as u32,
            kind,
        });
        self.end_hole(start + len);
    }
}

/// Puts the places of `blobs` into `table`, as [`Split`] leaves it, and appends the whole to `out`. `offsets` are the blobs' places
/// in their sections, in bytes.
pub fn place_blobs(table: &[u8], blobs: &[Blob], offsets: impl Iterator<Item = u64>, out: &mut Vec<u8>) {
    let mut expected = Expected::default();
    let mut copied = 0;
    for (blob, offset) in blobs.iter().zip(offsets) {
        out.extend_from_slice(&table[copied..blob.table as usize]);
        copied = blob.table as usize;
        let width = blob.kind.store().width() as u64;
        let place = holes::Blob { kind: blob.kind, len: u64::from(blob.len) / width, offset: offset / width };
        expected.put_place(place, out);
    }
    out.extend_from_slice(&table[copied..]);
}

/// The payload sections, by [`Store`].
pub type Stores<'a> = [&'a [u8]; Store::ALL.len()];

/// Section named in errors about a module's control stream; offsets count from that stream's start.
pub const CONTROL: &str = "the module's control stream";
/// Section named in errors about a module's table of holes; offsets count from that table's start.
pub const HOLES: &str = "the module's holes";

/// Where [`join`] writes.
pub trait Target {
    /// At least `len` bytes to write to, and the same again every time until [`Target::advance`].
    ///
    /// # Errors
    /// There is no more room, or what was written so far cannot be passed on.
    fn room(&mut self, len: usize) -> Result<&mut [u8]>;
    /// The first `len` bytes of the room have been written.
    fn advance(&mut self, len: usize);
    /// The last `len` bytes written are the payload of `blob`.
    #[inline(always)]
    fn mark(&mut self, _blob: &holes::Blob, _len: usize) {}
}

/// Where a blob's payload was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Offset of its first byte.
    pub at: usize,
    /// Bytes.
    pub len: usize,
    /// The blob.
    pub blob: holes::Blob,
}

/// A run of at most so many bytes is copied by one move of as many, the surplus being overwritten by what follows.
const STRIDE: usize = 32;
/// Most bytes asked of a [`Target`] at a time.
const CHUNK: usize = 1 << 14;

/// Joins into memory: the buffer ends up holding just the file. `marks` gets all blobs, in order, after what it holds.
///
/// # Errors
/// As [`join`], and when the file is longer than `len` or there is no memory for it.
pub fn join_into(
    control: &[u8],
    holes: &[u8],
    stores: &Stores<'_>,
    len: usize,
    out: &mut Vec<u8>,
    marks: Option<&mut Vec<Mark>>,
) -> Result<()> {
    struct Memory<'a> {
        window: &'a mut [u8],
        used: usize,
        marks: Option<&'a mut Vec<Mark>>,
    }
    impl Target for Memory<'_> {
        #[inline(always)]
        fn room(&mut self, len: usize) -> Result<&mut [u8]> {
            let left = self.window.len() - self.used;
            match self.window.get_mut(self.used..) {
                Some(room) if room.len() >= len => Ok(room),
                _ => Err(Error::malformed(format!("{left} bytes more"), len.to_string())),
            }
        }

        #[inline(always)]
        fn advance(&mut self, len: usize) {
            self.used += len;
        }

        #[inline(always)]
        fn mark(&mut self, blob: &holes::Blob, len: usize) {
            if let Some(marks) = &mut self.marks {
                marks.push(Mark { at: self.used - len, len, blob: *blob });
            }
        }
    }
    // What the buffer held before is overwritten: zeroing it would cost as much as joining.
    let more = (len + STRIDE).saturating_sub(out.len());
    out.try_reserve(more).map_err(|_| Error::io("cannot join a module", io::ErrorKind::OutOfMemory.into()))?;
    out.resize(len + STRIDE, 0);
    let mut memory = Memory { window: out, used: 0, marks };
    let joined = join(control, holes, stores, &mut memory);
    let used = memory.used;
    out.truncate(used);
    joined
}

/// Writes the `.pyc` that `control`, `holes` and the payload sections make up to `out`. Beyond what `out` holds it needs no memory.
///
/// # Errors
/// Holes beyond the control stream, blobs beyond their section, characters that do not exist; or `out` has no room.
pub fn join<T: Target>(control: &[u8], holes: &[u8], stores: &Stores<'_>, out: &mut T) -> Result<()> {
    let mut rest = control;
    let mut reader = holes::Reader::new(holes);
    while let Some((gap, fill)) = reader.hole().map_err(|e| e.within(HOLES))? {
        if gap > rest.len() as u64 {
            let expected = format!("a hole within the {} control bytes left", rest.len());
            let at = control.len() - rest.len();
            return Err(Error::malformed(expected, format!("one {gap} bytes on")).at(at).within(CONTROL));
        }
        put(out, rest, gap as usize)?;
        rest = &rest[gap as usize..];
        match fill {
            Fill::Blob(blob) => {
                let store = blob.kind.store();
                let named = |e: Error| e.within(store.section());
                let bytes = blob.bytes(stores[store as usize]).map_err(named)?;
                if blob.kind.verbatim() {
                    put(out, bytes, bytes.len())?;
                    out.mark(&blob, bytes.len());
                } else {
                    let (mut encoded, mut len) = (Vec::new(), 0);
                    for chunk in bytes.chunks(CHUNK / 4 * store.width()) {
                        encoded.clear();
                        blob::encode(chunk, blob.kind, &mut encoded).map_err(named)?;
                        put(out, &encoded, encoded.len())?;
                        len += encoded.len();
                    }
                    out.mark(&blob, len);
                }
            }
            Fill::References1(numbers) => references(out, numbers, |n| u64::from(*n))?,
            Fill::References2(numbers) => references(out, numbers, |n| u64::from(u16::from_le_bytes(*n)))?,
        }
    }
    put(out, rest, rest.len())
}

/// Writes references with these numbers.
#[inline(always)]
fn references<T: Target, N>(out: &mut T, numbers: &[N], number: impl Fn(&N) -> u64) -> Result<()> {
    const LEN: usize = 5;
    const WIDE: usize = size_of::<u64>();
    for numbers in numbers.chunks(CHUNK / WIDE) {
        let room = out.room(numbers.len() * LEN)?;
        let mut at = 0;
        for n in numbers {
            let bytes = (u64::from(b'r') | number(n) << 8).to_le_bytes();
            // One move of a whole word where there is room for one; the surplus is overwritten by what follows.
            match room[at..].first_chunk_mut::<WIDE>() {
                Some(wide) => *wide = bytes,
                None => room[at..at + LEN].copy_from_slice(&bytes[..LEN]),
            }
            at += LEN;
        }
        out.advance(at);
    }
    Ok(())
}

/// Writes the first `len` bytes of `from`.
#[inline(always)]
fn put<T: Target>(out: &mut T, from: &[u8], len: usize) -> Result<()> {
    if len <= STRIDE
        && let Some(wide) = from.first_chunk::<STRIDE>()
        && let Some(room) = out.room(len)?.first_chunk_mut::<STRIDE>()
    {
        *room = *wide;
        out.advance(len);
        return Ok(());
    }
    for chunk in from[..len].chunks(CHUNK) {
        out.room(chunk.len())?[..chunk.len()].copy_from_slice(chunk);
        out.advance(chunk.len());
    }
    Ok(())
}

/// Passes what is joined on to a writer, a few pages at a time.
pub struct Stream<'w, W> {
    writer: &'w mut W,
    buffer: Vec<u8>,
    used: usize,
    /// Bytes passed on, and the most there may be.
    passed: u64,
    cap: u64,
    crc: crc32fast::Hasher,
}

impl<'w, W: Write> Stream<'w, W> {
    /// Writes at most `cap` bytes to `writer`.
    pub fn new(writer: &'w mut W, cap: u64) -> Self {
        Self { writer, buffer: vec![0; 4 * CHUNK], used: 0, passed: 0, cap, crc: crc32fast::Hasher::new() }
    }

    /// Passes the rest on; returns the number of bytes written in all, and their CRC32.
    ///
    /// # Errors
    /// The writer fails, or there are too many.
    pub fn finish(mut self) -> Result<(u64, u32)> {
        self.flush()?;
        Ok((self.passed, self.crc.finalize()))
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = &self.buffer[..self.used];
        self.passed += bytes.len() as u64;
        if self.passed > self.cap {
            return Err(Error::malformed(format!("a .pyc of {} bytes", self.cap), "a longer one"));
        }
        self.crc.update(bytes);
        self.used = 0;
        self.writer.write_all(bytes).map_err(|e| Error::io("cannot write", e))
    }
}

impl<W: Write> Target for Stream<'_, W> {
    #[inline]
    fn room(&mut self, len: usize) -> Result<&mut [u8]> {
        if self.buffer.len() - self.used < len {
            self.flush()?;
        }
        Ok(&mut self.buffer[self.used..])
    }

    #[inline]
    fn advance(&mut self, len: usize) {
        self.used += len;
    }
}

/// The blobs of a module with the offsets of their payloads in its `.pyc`, in order.
///
/// # Errors
/// As [`join`].
pub fn places(table: &[u8], stores: &Stores<'_>) -> Result<Vec<(u64, holes::Blob)>> {
    let mut reader = holes::Reader::new(table);
    let mut at = 0u64;
    let mut places = Vec::new();
    while let Some((gap, fill)) = reader.hole().map_err(|e| e.within(HOLES))? {
        // Saturating: a table that lies gives offsets that are not met.
        at = at.saturating_add(gap);
        let len = match fill {
            Fill::Blob(blob) => {
                places.push((at, blob));
                let store = blob.kind.store();
                let bytes = blob.bytes(stores[store as usize]).map_err(|e| e.within(store.section()))?;
                blob::encoded_len(bytes, blob.kind) as u64
            }
            Fill::References1(numbers) => 5 * numbers.len() as u64,
            Fill::References2(numbers) => 5 * numbers.len() as u64,
        };
        at = at.saturating_add(len);
    }
    Ok(places)
}
