//! `.pyc` → control stream + blobs, and back.
//!
//! The control stream *is* the `.pyc` file, header and trailing bytes included, with the payloads of long strings cut out:
//! type byte and length of each stay. So [`join`] copies runs and fills holes; nothing is parsed again, and the round trip
//! is exact by construction. A file that cannot be parsed is a control stream without holes.

use std::io::Write;

use foldhash::fast::RandomState;
use std::hash::BuildHasher;

use crate::blob::{self, Kind, Store};
use crate::error::{Error, Result};
use crate::holes;
use crate::marshal::FLAG_REF;
use crate::marshal::pyc::Header;
use crate::marshal::read::{Parser, Sink, Whole};
use crate::marshal::version::Version;

/// Payloads of at least this many bytes are cut out unless `--min-blob` says otherwise. Chosen by measurement:
/// see `format-spec/blobs.md`.
pub const DEFAULT_MIN_BLOB: u32 = 32;

/// One payload cut out of a `.pyc`, before it has a place in a section. 32 bytes: the linker holds one for each.
#[derive(Clone, Copy, Debug)]
pub struct Blob {
    /// Hash of the stored form, for [`crate::merge`]; differs from run to run.
    pub hash: u64,
    /// Where the stored form starts, in the buffer it was split in (or the linker's temporary file).
    pub data: u64,
    /// Bytes of the stored form, its NUL not counted.
    pub len: u32,
    /// Offset of the payload in the `.pyc`.
    pub pos: u32,
    /// Bytes of the payload in the `.pyc`.
    pub pyc_len: u32,
    /// How it stands in the `.pyc`, and which section stores it.
    pub kind: Kind,
}

/// Splits files one after the other, keeping its buffers.
#[derive(Default)]
pub struct Splitter {
    parser: Parser,
    hasher: RandomState,
    decoded: Vec<u8>,
}

impl Splitter {
    /// Splits the `.pyc` that `buffer` holds, appending what is to be cut out to `blobs` in the order of the file. Text that is
    /// stored in another form than the file's is appended to `buffer`.
    ///
    /// # Errors
    /// The file has no header pye knows, or its marshal data is broken; `blobs` and `buffer` are then as they were.
    pub fn split(
        &mut self,
        buffer: &mut Vec<u8>,
        forced: Option<&'static Version>,
        min_blob: u32,
        blobs: &mut Vec<Blob>,
    ) -> Result<Header> {
        let first = blobs.len();
        let header = Header::parse(buffer, forced)?;
        let mut cutter =
            Cutter { input: buffer, min: min_blob.max(1) as usize, v2: header.version.dialect.is_v2(), blobs };
        if let Err(error) =
            self.parser.parse(buffer, header.version.header_len, header.version, &mut Whole, &mut cutter)
        {
            blobs.truncate(first);
            return Err(error);
        }
        for blob in &mut blobs[first..] {
            if !blob.kind.verbatim() {
                self.decoded.clear();
                let pos = blob.pos as usize;
                blob::decode(&buffer[pos..pos + blob.pyc_len as usize], blob.kind, &mut self.decoded);
                blob.data = buffer.len() as u64;
                blob.len = self.decoded.len() as u32;
                buffer.extend_from_slice(&self.decoded);
            }
            let data = blob.data as usize;
            blob.hash = self.hasher.hash_one(&buffer[data..data + blob.len as usize]);
        }
        Ok(header)
    }

    /// A splitter for another thread, whose hashes agree with this one's.
    pub fn sibling(&self) -> Self {
        Self { hasher: self.hasher.clone(), ..Self::default() }
    }
}

/// The parser's sink that notes long strings.
struct Cutter<'a> {
    input: &'a [u8],
    min: usize,
    v2: bool,
    blobs: &'a mut Vec<Blob>,
}

impl Sink for Cutter<'_> {
    #[inline(always)]
    fn string(&mut self, _at: usize, byte: u8, start: usize, len: usize, _present: usize) {
        if len >= self.min {
            self.cut(byte, start, len);
        }
    }
}

impl Cutter<'_> {
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
        self.blobs.push(Blob {
            hash: 0,
            data: start as u64,
            len: len as u32,
            pos: start as u32,
            pyc_len: len as u32,
            kind,
        });
    }
}

/// The payload sections, by [`Store`].
pub type Stores<'a> = [&'a [u8]; Store::ALL.len()];

/// Writes the `.pyc` that `control`, `holes` and the payload sections make up to `out`, without holding it in memory.
///
/// # Errors
/// Holes beyond the control stream, blobs beyond their section, characters that do not exist; or `out` fails.
pub fn join<W: Write>(control: &[u8], holes: &[u8], stores: &Stores<'_>, out: &mut W) -> Result<()> {
    /// Characters converted at a time.
    const CHUNK: usize = 4096;
    let write = |out: &mut W, bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::io("cannot write", e));
    let mut rest = control;
    let mut reader = holes::Reader::new(holes);
    let mut encoded = Vec::new();
    while let Some(hole) = reader.next().map_err(|e| e.within("the module's holes"))? {
        let Some((run, after)) = usize::try_from(hole.gap).ok().and_then(|gap| rest.split_at_checked(gap)) else {
            return Err(Error::malformed(
                format!("a hole within the {} control bytes left", rest.len()),
                format!("one {} bytes on", hole.gap),
            )
            .at(control.len() - rest.len())
            .within("the module's control stream"));
        };
        rest = after;
        write(out, run)?;
        let store = hole.kind.store();
        let named = |e: Error| e.within(store.section());
        let blob = hole.blob(stores[store as usize]).map_err(named)?;
        if hole.kind.verbatim() {
            write(out, blob)?;
        } else {
            for chunk in blob.chunks(CHUNK * store.width()) {
                encoded.clear();
                blob::encode(chunk, hole.kind, &mut encoded).map_err(named)?;
                write(out, &encoded)?;
            }
        }
    }
    write(out, rest)
}
