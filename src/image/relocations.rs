//! Where pages hold addresses of the interpreter's: for each page a row of a bit for each of its words, the lowest of the first byte for the first, and the CRC32 of
//! these bits. Images and caches have the same.

use super::{BITS, BITS_ROW, PAGE};
use crate::bytes::u32_at;
use crate::error::{Error, Result};

/// Rows being made.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<u8>);

impl Rows {
    /// Marks the word that starts `at` bytes after the start of the first page.
    pub(crate) fn mark(&mut self, at: u64) {
        let word = at as usize / 8;
        let (page, word) = (word / (PAGE / 8), word % (PAGE / 8));
        if self.0.len() < (page + 1) * BITS_ROW {
            self.0.resize((page + 1) * BITS_ROW, 0);
        }
        self.0[page * BITS_ROW + word / 8] |= 1 << (word % 8);
    }

    /// The rows of so many pages, each with its CRC32. No word beyond them is marked.
    pub(crate) fn seal(mut self, pages: u32) -> Vec<u8> {
        self.0.resize(pages as usize * BITS_ROW, 0);
        for row in self.0.chunks_mut(BITS_ROW) {
            let crc = crc32fast::hash(&row[..BITS]);
            row[BITS..].copy_from_slice(&crc.to_le_bytes());
        }
        self.0
    }
}

/// The bits of a page, if they have their CRC32.
///
/// # Errors
/// They are damaged.
pub(crate) fn bits(rows: &[u8], page: u32) -> Result<&[u8]> {
    let at = page as usize * BITS_ROW;
    let (bits, crc) = rows[at..][..BITS_ROW].split_at(BITS);
    let (crc, actual) = (u32_at(crc, 0).unwrap_or(0), crc32fast::hash(bits));
    if crc != actual {
        let error = Error::malformed(format!("CRC32 {crc:08x} of a page's relocations"), format!("{actual:08x}"));
        return Err(error.at(at));
    }
    Ok(bits)
}
