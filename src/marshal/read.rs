//! The one parser: a single iterative pass over marshal data that drives a [`Sink`].
//!
//! It checks what every user relies on: type codes of the dialect, lengths and counts against the bytes that are there,
//! reference numbers against the objects numbered so far, NULL in its place, depth. It builds nothing and decodes nothing:
//! memory is the stack of open containers, at most [`MAX_DEPTH`] frames. Time is linear, since every step consumes a byte:
//! a count that exceeds the bytes left is an error at once (an object takes at least one byte).

use super::version::Version;
use super::{Shape, type_of};
use crate::bytes::u32_at;
use crate::error::{Error, Result};
use crate::limits::{MAX_DEPTH, MAX_PYC_BYTES, MAX_REFS};

/// What the parser reports, in pre-order. `at` is the offset of the type byte. Every method defaults to nothing.
pub trait Sink {
    /// An object without children other than a string or a reference; `end` is the offset after it.
    #[inline(always)]
    fn leaf(&mut self, at: usize, byte: u8, end: usize) {
        let _ = (at, byte, end);
    }
    /// A reference (`r`, or `R` in 2.7) to the object (or interned string) numbered `number`.
    #[inline(always)]
    fn reference(&mut self, at: usize, byte: u8, number: u32) {
        let _ = (at, byte, number);
    }
    /// A string whose `len` bytes of payload start at `start`.
    #[inline(always)]
    fn string(&mut self, at: usize, byte: u8, start: usize, len: usize) {
        let _ = (at, byte, start, len);
    }
    /// A container; its children follow, then [`Sink::close`].
    #[inline(always)]
    fn open(&mut self, at: usize, byte: u8) {
        let _ = (at, byte);
    }
    /// The innermost open container is complete; it ends before `end`.
    #[inline(always)]
    fn close(&mut self, end: usize) {
        let _ = end;
    }
}

/// Checks structure only.
impl Sink for () {}

/// What stands open. `left` counts the objects still to come.
#[derive(Clone, Copy)]
struct Frame {
    left: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Root,
    Seq,
    /// `left` is 2 before a key and 1 before a value.
    Dict,
    /// The objects before `firstlineno`.
    CodeHead,
    CodeTail,
}

/// The parser's stack, kept between files so that it is allocated once.
#[derive(Default)]
pub struct Parser {
    stack: Vec<Frame>,
}

/// What a parse found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Offset after the root object.
    pub end: usize,
    /// Objects that took a reference number.
    pub numbered: u32,
}

impl Parser {
    /// Parses the object at `start` of `input`, telling `sink`.
    ///
    /// # Errors
    /// The first break of the grammar, with its offset.
    pub fn parse<S: Sink>(&mut self, input: &[u8], start: usize, version: &Version, sink: &mut S) -> Result<Summary> {
        if input.len() as u64 > MAX_PYC_BYTES {
            return Err(Error::limit("bytes in a .pyc", MAX_PYC_BYTES, input.len() as u64));
        }
        let shapes = version.dialect.shapes();
        let v2 = version.dialect.is_v2();
        let layout = &version.code;
        self.stack.clear();
        let mut frame = Frame { left: 1, kind: Kind::Root };
        let mut pos = start;
        // Objects numbered so far; in 2.7, interned strings.
        let mut numbered = 0u32;
        loop {
            if frame.left == 0 {
                match frame.kind {
                    Kind::Dict => frame.left = 2,
                    Kind::CodeHead => {
                        pos = step(input, pos, 4, || "firstlineno".into())?;
                        frame = Frame { left: layout.tail.len() as u32, kind: Kind::CodeTail };
                    }
                    Kind::Root => return Ok(Summary { end: pos, numbered }),
                    Kind::Seq | Kind::CodeTail => {
                        sink.close(pos);
                        frame = self.pop();
                    }
                }
                continue;
            }
            frame.left -= 1;
            let at = pos;
            let Some(&byte) = input.get(pos) else {
                return Err(Error::malformed("an object", "the end of the data").at(at));
            };
            pos += 1;
            // Nearly half of all objects are references, and most follow one another.
            if byte == b'r' && !v2 {
                let mut at = at;
                loop {
                    let number = self.number(input, at + 1)?;
                    if number >= numbered {
                        return Err(bad_ref(at, number, numbered));
                    }
                    sink.reference(at, b'r', number);
                    pos = at + 5;
                    if frame.left == 0 || input.get(pos) != Some(&b'r') {
                        break;
                    }
                    frame.left -= 1;
                    at = pos;
                }
                continue;
            }
            let entry = shapes[byte as usize];
            numbered += u32::from(entry >> 7);
            const REF: u8 = Shape::Ref as u8;
            const ATOM: u8 = Shape::Atom as u8;
            const NULL: u8 = Shape::Null as u8;
            const FIXED4: u8 = Shape::Fixed4 as u8;
            const FIXED8: u8 = Shape::Fixed8 as u8;
            const FIXED16: u8 = Shape::Fixed16 as u8;
            const LONG: u8 = Shape::Long as u8;
            const TEXT8: u8 = Shape::Text8 as u8;
            const TEXT8X2: u8 = Shape::Text8x2 as u8;
            const STRING32: u8 = Shape::String32 as u8;
            const STRING8: u8 = Shape::String8 as u8;
            const STRING_REF: u8 = Shape::StringRef as u8;
            const SEQ32: u8 = Shape::Seq32 as u8;
            const SEQ8: u8 = Shape::Seq8 as u8;
            const DICT: u8 = Shape::Dict as u8;
            const SLICE: u8 = Shape::Slice as u8;
            const CODE: u8 = Shape::Code as u8;
            let opened = match entry & 0x7f {
                REF | STRING_REF => {
                    let number = self.number(input, pos)?;
                    if number >= numbered {
                        return Err(bad_ref(at, number, numbered));
                    }
                    pos += 4;
                    sink.reference(at, byte, number);
                    continue;
                }
                STRING8 => {
                    let Some(&len) = input.get(pos) else { return Err(short(pos, 1, input, "a string's length")) };
                    let len = usize::from(len);
                    let end = pos + 1 + len;
                    if end > input.len() {
                        return Err(short(pos + 1, len, input, "a string"));
                    }
                    sink.string(at, byte, pos + 1, len);
                    pos = end;
                    continue;
                }
                STRING32 => {
                    let len = self.size(input, pos)?;
                    // 2.7 numbers its interned strings for `R`.
                    numbered += u32::from(v2 && byte == b't');
                    let end = pos + 4 + len;
                    if end > input.len() {
                        return Err(short(pos + 4, len, input, "a string"));
                    }
                    sink.string(at, byte, pos + 4, len);
                    pos = end;
                    continue;
                }
                SEQ8 => {
                    let Some(&count) = input.get(pos) else { return Err(short(pos, 1, input, "a count")) };
                    pos += 1;
                    Frame { left: self.count(input, pos, usize::from(count))?, kind: Kind::Seq }
                }
                ATOM => {
                    sink.leaf(at, byte, pos);
                    continue;
                }
                fixed @ (FIXED4 | FIXED8 | FIXED16) => {
                    let len = match fixed {
                        FIXED4 => 4,
                        FIXED8 => 8,
                        _ => 16,
                    };
                    pos = step(input, pos, len, || name_of(byte))?;
                    sink.leaf(at, byte, pos);
                    continue;
                }
                SEQ32 => {
                    let count = self.size(input, pos)?;
                    pos += 4;
                    Frame { left: self.count(input, pos, count)?, kind: Kind::Seq }
                }
                CODE => {
                    pos = step(input, pos, 4 * layout.longs.len(), || "a code object's numbers".into())?;
                    Frame { left: layout.objects.len() as u32, kind: Kind::CodeHead }
                }
                DICT => Frame { left: 2, kind: Kind::Dict },
                SLICE => Frame { left: 3, kind: Kind::Seq },
                NULL => {
                    // After a key or before one? 2.7 skips a pair whose value is NULL; 3.x ends the dict there.
                    if frame.kind != Kind::Dict {
                        return Err(Error::malformed("an object", "NULL, which only ends a dict").at(at));
                    }
                    sink.leaf(at, byte, pos);
                    if frame.left == 1 || !v2 {
                        sink.close(pos);
                        frame = self.pop();
                    }
                    continue;
                }
                LONG => {
                    let count = u32_at(input, pos).ok_or_else(|| short(pos, 4, input, "a long's digit count"))? as i32;
                    if count == i32::MIN {
                        return Err(Error::malformed("a long's digit count above -2^31", "-2^31").at(pos));
                    }
                    pos = step(input, pos + 4, count.unsigned_abs() as usize * 2, || "a long's digits".into())?;
                    sink.leaf(at, byte, pos);
                    continue;
                }
                texts @ (TEXT8 | TEXT8X2) => {
                    for _ in 0..if texts == TEXT8 { 1 } else { 2 } {
                        let Some(&len) = input.get(pos) else { return Err(short(pos, 1, input, "a number's length")) };
                        pos = step(input, pos + 1, usize::from(len), || "a number in decimal".into())?;
                    }
                    sink.leaf(at, byte, pos);
                    continue;
                }
                _ => return Err(bad_type(at, byte, version)),
            };
            sink.open(at, byte);
            if opened.left == 0 {
                sink.close(pos);
                continue;
            }
            // A child of this container would be nested one deeper than `stack.len() + 1` containers.
            if self.stack.len() + 2 > MAX_DEPTH {
                return Err(Error::limit("nested objects", MAX_DEPTH as u64, MAX_DEPTH as u64 + 1).at(pos));
            }
            self.stack.push(frame);
            frame = opened;
        }
    }

    #[inline(always)]
    fn pop(&mut self) -> Frame {
        // Only `Kind::Root` has nothing below it, and it is never popped. The fallback keeps this free of panics.
        self.stack.pop().unwrap_or(Frame { left: 0, kind: Kind::Root })
    }

    #[inline(always)]
    fn number(&self, input: &[u8], pos: usize) -> Result<u32> {
        match u32_at(input, pos) {
            Some(number) if number <= MAX_REFS => Ok(number),
            Some(number) => Err(Error::malformed("a reference number", format!("{}", number as i32)).at(pos)),
            None => Err(short(pos, 4, input, "a reference number")),
        }
    }

    /// A 32-bit length or count.
    #[inline(always)]
    fn size(&self, input: &[u8], pos: usize) -> Result<usize> {
        match u32_at(input, pos) {
            Some(size) if size <= i32::MAX as u32 => Ok(size as usize),
            Some(size) => Err(Error::malformed("a size of at least 0", format!("{}", size as i32)).at(pos)),
            None => Err(short(pos, 4, input, "a size")),
        }
    }

    /// A count of objects that start at `pos`: each takes at least one byte.
    #[inline(always)]
    fn count(&self, input: &[u8], pos: usize, count: usize) -> Result<u32> {
        if count > input.len() - pos {
            return Err(short(pos, count, input, "objects of at least one byte each"));
        }
        Ok(count as u32)
    }
}

#[inline(always)]
fn step(input: &[u8], pos: usize, len: usize, what: impl FnOnce() -> String) -> Result<usize> {
    match pos.checked_add(len) {
        Some(end) if end <= input.len() => Ok(end),
        _ => Err(short(pos, len, input, &what())),
    }
}

#[cold]
fn short(pos: usize, len: usize, input: &[u8], what: &str) -> Error {
    Error::malformed(format!("{len} bytes for {what}"), format!("{} before the end", input.len().saturating_sub(pos)))
        .at(pos)
}

#[cold]
fn bad_ref(at: usize, number: u32, numbered: u32) -> Error {
    let expected = match numbered {
        0 => "no reference before the first numbered object".into(),
        n => format!("a reference number below {n}"),
    };
    Error::malformed(expected, number.to_string()).at(at)
}

#[cold]
fn bad_type(at: usize, byte: u8, version: &Version) -> Error {
    let got = match type_of(byte) {
        Some(t) => format!("{:#04x} ({}, of another version)", byte, t.name),
        None => format!("{byte:#04x}"),
    };
    Error::malformed(format!("a type code of Python {version}"), got).at(at)
}

#[cold]
fn name_of(byte: u8) -> String {
    format!("{} data", type_of(byte).map_or("object", |t| t.name))
}
