//! Blobs: the large immutable payloads that stay mapped, and the forms they are stored in.
//!
//! Text is stored as CPython keeps it in memory, in the canonical width of PEP 393: one byte a character when all are
//! below U+0100, else two when all are below U+10000, else four; little-endian, lone surrogates as themselves. A loader
//! can then point a `str` at it. Every blob is followed by one NUL character of its width.

use crate::error::{Error, Result};

/// Shortest text that a loader leaves in the file, in characters: below, the header of the `str` takes more than the text.
const SHORTEST_MAPPED: u64 = 24;

/// Whether the `str` of a text may have its characters in a mapped file: `bytes` are those of the `.pyc`.
///
/// Not what may be a name. CPython interns such constants, and ours would not be the `str` that others get; and a qualified
/// name, such as `f.<locals>.g`, stands in a slot of the code object itself, where none is exchanged.
pub fn may_stay_mapped(characters: u64, ascii: bool, bytes: &[u8]) -> bool {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'<' | b'>');
    characters >= SHORTEST_MAPPED && !(ascii && bytes.iter().all(in_name))
}

/// Where a blob is stored: one payload section for each character width, and one for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Store {
    /// Text, one byte a character (ASCII and Latin-1).
    Str1 = 0,
    /// Text, two bytes a character.
    Str2 = 1,
    /// Text, four bytes a character.
    Str4 = 2,
    /// Byte strings: bytecode, line and exception tables, other `bytes`; in 2.7 also `str`.
    Bytes = 3,
}

impl Store {
    /// All of them, in the order of their sections.
    pub const ALL: [Store; 4] = [Store::Str1, Store::Str2, Store::Str4, Store::Bytes];

    /// The name of its section.
    pub const fn section(self) -> &'static str {
        match self {
            Store::Str1 => ".pye.str1",
            Store::Str2 => ".pye.str2",
            Store::Str4 => ".pye.str4",
            Store::Bytes => ".pye.bytes",
        }
    }

    /// Bytes of a character, and of the final NUL.
    pub const fn width(self) -> usize {
        match self {
            Store::Str1 | Store::Bytes => 1,
            Store::Str2 => 2,
            Store::Str4 => 4,
        }
    }
}

/// How a blob stands in the `.pyc`, and so how it is put back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// Text below U+0080: the same bytes in both places.
    Ascii = 0,
    /// Text of a type that marshal reads as Latin-1 (`a A z Z`) with a byte of 0x80 or more: the same bytes in both places.
    Latin1 = 1,
    /// Text below U+0100, UTF-8 in the `.pyc`.
    Latin1Utf8 = 2,
    /// Text below U+10000, UTF-8 (surrogates passed) in the `.pyc`.
    Ucs2 = 3,
    /// Any other text, UTF-8 (surrogates passed) in the `.pyc`.
    Ucs4 = 4,
    /// A byte string.
    Bytes = 5,
}

impl Kind {
    /// All of them, by number.
    pub const ALL: [Kind; 6] = [Kind::Ascii, Kind::Latin1, Kind::Latin1Utf8, Kind::Ucs2, Kind::Ucs4, Kind::Bytes];

    /// The kind numbered `number`.
    pub fn from_number(number: u8) -> Option<Kind> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The section that holds it.
    #[inline]
    pub const fn store(self) -> Store {
        match self {
            Kind::Ascii | Kind::Latin1 | Kind::Latin1Utf8 => Store::Str1,
            Kind::Ucs2 => Store::Str2,
            Kind::Ucs4 => Store::Str4,
            Kind::Bytes => Store::Bytes,
        }
    }

    /// Whether the `.pyc` holds the stored bytes as they are.
    #[inline]
    pub const fn verbatim(self) -> bool {
        matches!(self, Kind::Ascii | Kind::Latin1 | Kind::Bytes)
    }
}

/// The kind of text that marshal reads as Latin-1.
pub fn classify_latin1(payload: &[u8]) -> Kind {
    if payload.is_ascii() { Kind::Ascii } else { Kind::Latin1 }
}

/// The kind of text that marshal reads as UTF-8 with surrogates passed, or nothing when it is not that: such a payload has
/// no canonical form.
pub fn classify_utf8(payload: &[u8]) -> Option<Kind> {
    if payload.is_ascii() {
        return Some(Kind::Ascii);
    }
    let mut highest = 0;
    let mut rest = payload;
    while !rest.is_empty() {
        let (c, len) = decode_one(rest)?;
        highest = highest.max(c);
        rest = &rest[len..];
    }
    Some(match highest {
        0..=0xff => Kind::Latin1Utf8,
        0x100..=0xffff => Kind::Ucs2,
        _ => Kind::Ucs4,
    })
}

/// One character of UTF-8 with surrogates passed, shortest form only, and its length: the strictness that makes
/// [`encode`] the inverse.
fn decode_one(bytes: &[u8]) -> Option<(u32, usize)> {
    let tail = |i: usize| bytes.get(i).filter(|b| **b & 0xc0 == 0x80).map(|b| u32::from(b & 0x3f));
    let first = u32::from(*bytes.first()?);
    match first {
        0..=0x7f => Some((first, 1)),
        0xc2..=0xdf => Some(((first & 0x1f) << 6 | tail(1)?, 2)),
        0xe0..=0xef => {
            let c = (first & 0xf) << 12 | tail(1)? << 6 | tail(2)?;
            (c >= 0x800).then_some((c, 3))
        }
        0xf0..=0xf4 => {
            let c = (first & 7) << 18 | tail(1)? << 12 | tail(2)? << 6 | tail(3)?;
            (0x10000..=0x10_ffff).contains(&c).then_some((c, 4))
        }
        _ => None,
    }
}

/// Appends the stored form of `payload`, which [`classify_utf8`] gave the non-verbatim `kind`.
pub fn decode(payload: &[u8], kind: Kind, out: &mut Vec<u8>) {
    let mut rest = payload;
    while let Some((c, len)) = decode_one(rest) {
        let bytes = c.to_le_bytes();
        out.extend_from_slice(&bytes[..kind.store().width()]);
        rest = &rest[len..];
    }
}

/// The inverse of [`decode`]: appends the stored characters as UTF-8 with surrogates passed.
///
/// # Errors
/// A four-byte character above U+10FFFF; the offset counts from the blob's start.
pub fn encode(stored: &[u8], kind: Kind, out: &mut Vec<u8>) -> Result<()> {
    match kind.store() {
        Store::Str2 => encode_chars(stored.as_chunks::<2>().0.iter().map(|b| u32::from(u16::from_le_bytes(*b))), out),
        Store::Str4 => {
            let chars = stored.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
            if let Some((index, c)) = chars.clone().enumerate().find(|(_, c)| *c > 0x10_ffff) {
                return Err(Error::malformed("a character up to U+10FFFF", format!("{c:#x}")).at(index * 4));
            }
            encode_chars(chars, out);
        }
        Store::Str1 | Store::Bytes => encode_chars(stored.iter().map(|b| u32::from(*b)), out),
    }
    Ok(())
}

fn encode_chars(chars: impl ExactSizeIterator<Item = u32>, out: &mut Vec<u8>) {
    out.reserve(chars.len());
    for c in chars {
        match c {
            0..=0x7f => out.push(c as u8),
            0x80..=0x7ff => out.extend([0xc0 | (c >> 6) as u8, tail(c)]),
            0x800..=0xffff => out.extend([0xe0 | (c >> 12) as u8, tail(c >> 6), tail(c)]),
            _ => out.extend([0xf0 | (c >> 18) as u8, tail(c >> 12), tail(c >> 6), tail(c)]),
        }
    }
}

/// Whether `stored` is what its kind says, so that a `str` of that width can be pointed at it: text in its narrowest form, below
/// U+80 exactly when the kind is [`Kind::Ascii`].
pub fn is_canonical(stored: &[u8], kind: Kind) -> bool {
    match kind {
        Kind::Ascii => stored.is_ascii(),
        Kind::Latin1 | Kind::Latin1Utf8 => !stored.is_ascii(),
        Kind::Ucs2 => stored.as_chunks::<2>().0.iter().any(|b| b[1] != 0),
        Kind::Ucs4 => {
            let highest = stored.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).max();
            highest.is_some_and(|c| (0x1_0000..=0x10_ffff).contains(&c))
        }
        Kind::Bytes => true,
    }
}

/// The bytes that [`encode`] would append.
pub fn encoded_len(stored: &[u8], kind: Kind) -> usize {
    if kind.verbatim() {
        return stored.len();
    }
    let width = kind.store().width();
    let len = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..width].copy_from_slice(bytes);
        match u32::from_le_bytes(word) {
            0..=0x7f => 1,
            0x80..=0x7ff => 2,
            0x800..=0xffff => 3,
            _ => 4,
        }
    };
    stored.chunks_exact(width).map(len).sum()
}

/// A continuation byte of UTF-8 with the low six bits of `c`.
fn tail(c: u32) -> u8 {
    0x80 | (c & 0x3f) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(payload: &[u8]) {
        if let Some(kind) = classify_utf8(payload).filter(|k| !k.verbatim()) {
            let mut stored = Vec::new();
            decode(payload, kind, &mut stored);
            let mut again = Vec::new();
            encode(&stored, kind, &mut again).unwrap();
            assert_eq!(payload, again);
            assert_eq!(encoded_len(&stored, kind), payload.len());
            assert!(is_canonical(&stored, kind));
            // Canonical: one character at least needs the width.
            assert_eq!(kind, classify_utf8(&again).unwrap());
        }
    }

    #[test]
    fn widths_are_those_of_pep_393() {
        assert_eq!(classify_utf8("plain".as_bytes()), Some(Kind::Ascii));
        assert_eq!(classify_utf8("größer".as_bytes()), Some(Kind::Latin1Utf8));
        assert_eq!(classify_utf8("α".as_bytes()), Some(Kind::Ucs2));
        assert_eq!(classify_utf8("🐍".as_bytes()), Some(Kind::Ucs4));
        assert_eq!(classify_utf8(b"\xed\xa0\xbd\xed\xb8\x80"), Some(Kind::Ucs2), "surrogates stay two characters");
        for bad in [&b"\xc0\x80"[..], b"\xe0\x80\x80", b"\xf4\x90\x80\x80", b"\xff", b"\xe2\x82", b"\x80"] {
            assert_eq!(classify_utf8(bad), None, "{bad:x?}");
        }
        assert_eq!(classify_latin1(b"\xe9"), Kind::Latin1);
    }

    proptest! {
        #[test]
        fn encode_inverts_decode_on_text(text: String) {
            round(text.as_bytes());
        }

        #[test]
        fn encode_inverts_decode_on_anything_accepted(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            round(&bytes);
        }
    }
}
