//! A module's bytes for the interpreter's unmarshalling: its `.pyc` without the header, long text replaced by placeholders.
//!
//! The `.pyc` is joined and held against its CRC32 first, so that whatever is unmarshalled is what the interpreter once wrote. (Damaged
//! marshal data can crash an interpreter.) Then each text goes, from its type byte to its last character, and a short
//! ASCII string of the same reference flag takes its place: bytes only move towards the front.

use crate::error::{Error, Result};
use crate::holes::Blob;
use crate::marshal::FLAG_REF;
use crate::pye::read::{Module, Pye};
use crate::{blob, split};

/// Bytes of the header of a `.pyc` since 3.7 (PEP 552).
const HEADER: usize = 16;
/// `TYPE_SHORT_ASCII`: one byte of length follows.
const SHORT_ASCII: u8 = b'z';

/// Joins `module` into `out`, as marshal data, with placeholders.
///
/// `accept` is told of each text that could be replaced and says whether it is. `placeholder` gives the characters for each
/// accepted one, numbered from 0; at most 255, ASCII, and no more than the text takes.
///
/// # Errors
/// The module is damaged.
pub fn stage<const LEN: usize>(
    pye: &Pye<'_>,
    module: &Module<'_>,
    mut accept: impl FnMut(&Blob, &[u8]) -> bool,
    placeholder: impl Fn(u32) -> [u8; LEN],
    out: &mut Vec<u8>,
) -> Result<()> {
    const { assert!(LEN <= u8::MAX as usize) };
    pye.join_into(module, out)?;
    let stores = pye.stores();
    let short = || Error::malformed("a blob behind its length", "one nearer to the start").in_module(module.path);
    let (mut read, mut write, mut number) = (HEADER, 0, 0);
    if out.len() < HEADER {
        return Err(short());
    }
    for (at, text) in split::places(module.holes, &stores)? {
        let at = usize::try_from(at).map_err(|_| short())?;
        let stored = text.bytes(stores[text.kind.store() as usize])?;
        let len = blob::encoded_len(stored, text.kind);
        // Between the last text and this one stand its type byte and its length.
        let before = out.get(read..at).ok_or_else(short)?;
        let Some((flag, head)) = head(before, len) else { continue };
        if LEN + 2 > len + head || !accept(&text, stored) {
            continue;
        }
        out.copy_within(read..at - head, write);
        write += at - head - read;
        out[write] = SHORT_ASCII | flag;
        out[write + 1] = LEN as u8;
        out[write + 2..write + 2 + LEN].copy_from_slice(&placeholder(number));
        write += 2 + LEN;
        read = at + len;
        number += 1;
    }
    out.copy_within(read.., write);
    out.truncate(write + out.len() - read);
    Ok(())
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
