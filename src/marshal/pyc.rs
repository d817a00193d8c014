//! The header of a `.pyc` file: magic number, and by version PEP 552 flags, source mtime and size or source hash.

use super::version::Version;
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// What the header says of the source; the bytes themselves are kept verbatim elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Compare the source's mtime (seconds, low 32 bits) and size (low 32 bits; absent in 2.7).
    Timestamp {
        /// Seconds since 1970, modulo 2^32.
        mtime: u32,
        /// Bytes, modulo 2^32.
        size: Option<u32>,
    },
    /// Compare the source's SipHash keyed with the magic number; when `checked` is false, trust the file.
    Hash {
        /// The eight bytes as they stand in the file.
        hash: [u8; 8],
        /// PEP 552's `check_source`.
        checked: bool,
    },
}

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Layout of what follows.
    pub version: &'static Version,
    /// The four magic bytes as found: not always the final release's.
    pub magic: [u8; 4],
    /// PEP 552 flags, 0 before 3.7.
    pub flags: u32,
    /// The bytes after magic and flags, zero-filled to eight.
    pub word: [u8; 8],
}

impl Header {
    /// Reads the header at the start of a `.pyc`. `forced` overrides the version for files with a custom magic number.
    ///
    /// # Errors
    /// Unknown magic, unknown PEP 552 flags, fewer bytes than the version's header has.
    pub fn parse(bytes: &[u8], forced: Option<&'static Version>) -> Result<Header> {
        let mut cursor = Cursor::new(bytes);
        let magic: [u8; 4] = cursor
            .take(4)
            .map_err(|_| {
                Error::malformed("a .pyc header of 8 to 16 bytes", format!("a file of {} bytes", bytes.len())).at(0u64)
            })?
            .try_into()
            .unwrap_or_default();
        let version = match forced {
            Some(version) => version,
            None => Version::by_magic(magic).ok_or_else(|| unknown_magic(magic))?,
        };
        if bytes.len() < version.header_len {
            return Err(Error::malformed(
                format!("a .pyc header of {} bytes (Python {version})", version.header_len),
                format!("a file of {} bytes", bytes.len()),
            )
            .at(bytes.len()));
        }
        let flags = if version.header_len == 16 { cursor.u32()? } else { 0 };
        if flags & !3 != 0 {
            return Err(Error::malformed("PEP 552 flags of 0, 1 or 3", format!("{flags:#x}")).at(4u64));
        }
        let mut word = [0; 8];
        let rest = cursor.take(version.header_len - cursor.position())?;
        word[..rest.len()].copy_from_slice(rest);
        Ok(Header { version, magic, flags, word })
    }

    /// What must hold of the source.
    pub fn validation(&self) -> Validation {
        let [a, b, c, d, e, f, g, h] = self.word;
        if self.flags & 1 != 0 {
            return Validation::Hash { hash: self.word, checked: self.flags & 2 != 0 };
        }
        let size = (self.version.header_len >= 12).then(|| u32::from_le_bytes([e, f, g, h]));
        Validation::Timestamp { mtime: u32::from_le_bytes([a, b, c, d]), size }
    }
}

fn unknown_magic(magic: [u8; 4]) -> Error {
    let number = u16::from_le_bytes([magic[0], magic[1]]);
    let got = if magic[2..] == *b"\r\n" {
        format!("magic number {number}")
    } else {
        format!("the bytes {:02x} {:02x} {:02x} {:02x}", magic[0], magic[1], magic[2], magic[3])
    };
    Error::unsupported(
        format!("the magic number of Python {}", Version::list()),
        got,
        "if you know which Python wrote it, pass --python-version X.Y",
    )
    .at(0u64)
}
