//! One object of a stream, its payload sliced but not converted.

use super::version::Version;
use super::{FLAG_REF, Shape};
use crate::bytes::u32_at;

/// What stands after a type byte, children left out. Borrowed from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// None, True, False, StopIteration, Ellipsis, and the NULL that ends a dict.
    Atom,
    /// `i`: a signed 32-bit number.
    Int(i32),
    /// `I`: a signed 64-bit number.
    Int64(i64),
    /// `l`: sign, and 15-bit digits of two bytes each, least significant first.
    Long {
        /// Whether the count of digits was negative.
        negative: bool,
        /// The digits, two little-endian bytes each.
        digits: &'a [u8],
    },
    /// `f`: decimal text.
    FloatText(&'a [u8]),
    /// `g`: an IEEE 754 double, little-endian.
    Float(&'a [u8; 8]),
    /// `x`: real and imaginary part as decimal text.
    ComplexText(&'a [u8], &'a [u8]),
    /// `y`: two doubles.
    Complex(&'a [u8; 16]),
    /// `s t u a A z Z`: where the payload is.
    String {
        /// Its bytes.
        len: usize,
        /// Offset at which it starts.
        start: usize,
    },
    /// `r`, or `R` in 2.7.
    Ref(u32),
    /// `( ) [ < >`: how many children.
    Seq(u32),
    /// `{ }`: keys and values in turn, then NULL.
    Dict,
    /// `:`: three children.
    Slice,
    /// `c`: the leading numbers, four little-endian bytes each.
    Code(&'a [u8]),
}

/// Decodes the object whose type byte stands at `at` of `input`; nothing when the bytes are not all there, which
/// a stream that [`super::read`] accepted rules out.
pub fn value_at<'a>(input: &'a [u8], at: usize, version: &Version) -> Option<Value<'a>> {
    let byte = *input.get(at)?;
    let pos = at + 1;
    let shape = super::type_of(byte)?.shape;
    let slice = |pos: usize, len: usize| input.get(pos..pos.checked_add(len)?);
    let text = |pos: usize| slice(pos + 1, usize::from(*input.get(pos)?));
    Some(match shape {
        Shape::Atom | Shape::Null => Value::Atom,
        Shape::Fixed4 => Value::Int(u32_at(input, pos)? as i32),
        Shape::Fixed8 => {
            let bytes: &[u8; 8] = slice(pos, 8)?.try_into().ok()?;
            if byte & !FLAG_REF == b'I' { Value::Int64(i64::from_le_bytes(*bytes)) } else { Value::Float(bytes) }
        }
        Shape::Fixed16 => Value::Complex(slice(pos, 16)?.try_into().ok()?),
        Shape::Long => {
            let count = u32_at(input, pos)? as i32;
            Value::Long { negative: count < 0, digits: slice(pos + 4, count.unsigned_abs() as usize * 2)? }
        }
        Shape::Text8 => Value::FloatText(text(pos)?),
        Shape::Text8x2 => {
            let real = text(pos)?;
            Value::ComplexText(real, text(pos + 1 + real.len())?)
        }
        Shape::String32 => Value::String { len: u32_at(input, pos)? as usize, start: pos + 4 },
        Shape::String8 => Value::String { len: usize::from(*input.get(pos)?), start: pos + 1 },
        Shape::Ref | Shape::StringRef => Value::Ref(u32_at(input, pos)?),
        Shape::Seq32 => Value::Seq(u32_at(input, pos)?),
        Shape::Seq8 => Value::Seq(u32::from(*input.get(pos)?)),
        Shape::Dict => Value::Dict,
        Shape::Slice => Value::Slice,
        Shape::Code => Value::Code(slice(pos, 4 * version.code.longs.len())?),
        Shape::Invalid => return None,
    })
}
