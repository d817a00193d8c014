//! A bounded cursor over untrusted bytes and the matching little-endian sink. Neither can panic on any input.

use byteorder::{ByteOrder, LittleEndian};

use crate::error::{Error, Result};

/// A read position in a byte slice; every read is checked and errors carry the offset.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    /// What was not read yet: a slice rather than an index, which stays in registers in the hot loops.
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// The current offset from the start.
    pub fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(n) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => {
                Err(Error::malformed(format!("{n} more bytes"), format!("{}", self.remaining())).at(self.position()))
            }
        }
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// The next two bytes as a little-endian number.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(LittleEndian::read_u16(self.take(2)?))
    }

    /// The next four bytes as a little-endian number.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(LittleEndian::read_u32(self.take(4)?))
    }

    /// The next eight bytes as a little-endian number.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(LittleEndian::read_u64(self.take(8)?))
    }

    /// An unsigned LEB128 number of at most ten bytes, in its shortest form.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64> {
        // Nearly all take one byte or two.
        match *self.rest {
            [first @ 0..=0x7f, ref rest @ ..] => {
                self.rest = rest;
                return Ok(u64::from(first));
            }
            [first, second @ 1..=0x7f, ref rest @ ..] => {
                self.rest = rest;
                return Ok(u64::from(first & 0x7f) | u64::from(second) << 7);
            }
            _ => {}
        }
        self.long_varint()
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64> {
        let start = self.position();
        let fail = |expected: &'static str, got: &'static str| Err(Error::malformed(expected, got).at(start));
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                return fail("a LEB128 number below 2^64", "a larger one");
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                if byte == 0 && i != 0 {
                    return fail("a LEB128 number in its shortest form", "a padded one");
                }
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        if self.rest.len() < 10 {
            return fail("the rest of a LEB128 number", "the end");
        }
        fail("a LEB128 number of at most 10 bytes", "a longer one")
    }
}

/// Little-endian writes into a growing buffer: the inverse of [`Cursor`].
pub trait Sink {
    /// Appends `value` as four little-endian bytes.
    fn put_u32(&mut self, value: u32);
    /// Appends `value` as eight little-endian bytes.
    fn put_u64(&mut self, value: u64);
    /// Appends `value` as unsigned LEB128, in its shortest form.
    fn put_varint(&mut self, value: u64);
}

impl Sink for Vec<u8> {
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }
}

/// Maps a signed difference to an unsigned number, small magnitudes first, so that it is short as LEB128.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Two digits for each byte, as build-ids and hashes are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads four little-endian bytes at `at`, or nothing when they are not all there.
#[inline]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(LittleEndian::read_u32(bytes.get(at..at.checked_add(4)?)?))
}

/// Reads eight little-endian bytes at `at`, or nothing when they are not all there.
#[inline]
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(LittleEndian::read_u64(bytes.get(at..at.checked_add(8)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varint_and_zigzag_are_inverse(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varint().unwrap(), value);
            prop_assert_eq!(cursor.remaining(), 0);
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn any_bytes_are_a_varint_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut cursor = Cursor::new(&bytes);
            if let Ok(value) = cursor.varint() {
                let mut again = Vec::new();
                again.put_varint(value);
                prop_assert_eq!(&bytes[..cursor.position()], &again[..]);
            }
        }
    }
}
