//! A module's bytes for the interpreter's unmarshalling: its `.pyc` without the header, long text replaced by placeholders.
//!
//! The `.pyc` is joined and held against its CRC32 first, so that whatever is unmarshalled is what the interpreter once wrote. (Damaged
//! marshal data can crash an interpreter.) Then each text goes, from its type byte to its last character, and a short
//! ASCII string of the same reference flag takes its place: bytes only move towards the front.

use crate::blob::Kind;
use crate::error::{Error, Result};
use crate::marshal::FLAG_REF;
use crate::pye::read::{Module, Pye};
use crate::split::Mark;

/// Bytes of the header of a `.pyc` since 3.7 (PEP 552): magic, flags, and the word that tells of the source.
const HEADER: usize = 16;
/// `TYPE_SHORT_ASCII`: one byte of length follows.
const SHORT_ASCII: u8 = b'z';

/// What staging a module after the other needs; a buffer that has grown large can be dropped in between.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The marshal data.
    pub bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl Scratch {
    /// Joins `module`, as marshal data, with placeholders.
    ///
    /// `accept` is told of each text that could be replaced and says whether it is. `placeholder` gives the characters for each
    /// accepted one, numbered from 0: ASCII.
    ///
    /// # Errors
    /// The module is damaged.
    pub fn stage<const LEN: usize>(
        &mut self,
        pye: &Pye<'_>,
        module: &Module<'_>,
        mut accept: impl FnMut(&Mark, &[u8]) -> bool,
        placeholder: impl Fn(u32) -> [u8; LEN],
    ) -> Result<()> {
        const { assert!(LEN <= u8::MAX as usize) };
        let Scratch { bytes, marks } = self;
        marks.clear();
        pye.join_marked(module, bytes, Some(marks))?;
        let short = || Error::malformed("blobs behind their lengths", "less").in_module(module.path);
        let (mut read, mut write, mut number) = (HEADER, 0, 0);
        // Whether the source is as it was has been decided by the record.
        let record = &module.record;
        let header = [&record.magic[..], &record.flags.to_le_bytes(), &record.word].concat();
        if !bytes.starts_with(&header) {
            let error = Error::malformed("the header of the .pyc as the record states it", "another");
            return Err(error.in_module(module.path));
        }
        for mark in marks.iter().filter(|mark| mark.blob.kind != Kind::Bytes) {
            // Between the last text and this one stand its type byte and its length.
            let before = bytes.get(read..mark.at).ok_or_else(short)?;
            let Some((flag, head)) = head(before, mark.len) else { continue };
            if LEN + 2 > mark.len + head || !accept(mark, &bytes[mark.at..mark.at + mark.len]) {
                continue;
            }
            bytes.copy_within(read..mark.at - head, write);
            write += mark.at - head - read;
            bytes[write] = SHORT_ASCII | flag;
            bytes[write + 1] = LEN as u8;
            bytes[write + 2..write + 2 + LEN].copy_from_slice(&placeholder(number));
            write += 2 + LEN;
            read = mark.at + mark.len;
            number += 1;
        }
        bytes.copy_within(read.., write);
        bytes.truncate(write + bytes.len() - read);
        Ok(())
    }
}

/// The reference flag of a string whose payload of `len` bytes follows `before`, and the bytes of its type and length, when it is one that
/// `marshal` does not intern.
fn head(before: &[u8], len: usize) -> Option<(u8, usize)> {
    let flag = |byte: u8| byte & FLAG_REF;
    if let [.., kind, length] = before
        && usize::from(*length) == len
        && kind & !FLAG_REF == SHORT_ASCII
    {
        return Some((flag(*kind), 2));
    }
    if let [.., kind, a, b, c, d] = before
        && u32::from_le_bytes([*a, *b, *c, *d]) as usize == len
        // `TYPE_UNICODE`, `TYPE_ASCII`.
        && matches!(kind & !FLAG_REF, b'u' | b'a')
    {
        return Some((flag(*kind), 5));
    }
    None
}
