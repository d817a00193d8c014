//! Tape → bytes: the exact inverse of [`super::read`]. Every object is taken apart and put together again, so equality
//! with the input proves that the tape covers each of its bytes.

use super::tape::{Tape, code_at};
use super::value::{Value, value_at};
use super::version::Version;
use super::{Shape, type_of};
use crate::bytes::{Sink as _, u32_at};

/// Appends the type byte and payload of one object without its children. `string` is the payload of a
/// [`Value::String`]. A value that does not fit the shape of `byte` is written in the value's own form.
pub fn put_object(out: &mut Vec<u8>, byte: u8, value: &Value<'_>, string: &[u8]) {
    out.push(byte);
    let wide = !matches!(type_of(byte).map(|t| t.shape), Some(Shape::String8 | Shape::Seq8));
    match *value {
        Value::Atom | Value::Dict | Value::Slice => {}
        Value::Int(number) => out.put_u32(number as u32),
        Value::Int64(number) => out.put_u64(number as u64),
        Value::Long { negative, digits } => {
            let count = (digits.len() / 2) as i32;
            out.put_u32(if negative { -count } else { count } as u32);
            out.extend_from_slice(digits);
        }
        Value::FloatText(text) => put_text8(out, text),
        Value::Float(bytes) => out.extend_from_slice(bytes),
        Value::ComplexText(real, imag) => {
            put_text8(out, real);
            put_text8(out, imag);
        }
        Value::Complex(bytes) => out.extend_from_slice(bytes),
        Value::String { len, .. } => {
            if wide {
                out.put_u32(len as u32)
            } else {
                out.push(len as u8)
            }
            out.extend_from_slice(string);
        }
        Value::Ref(number) => out.put_u32(number),
        Value::Seq(count) => {
            if wide {
                out.put_u32(count)
            } else {
                out.push(count as u8)
            }
        }
        Value::Code(longs) => out.extend_from_slice(longs),
    }
}

fn put_text8(out: &mut Vec<u8>, text: &[u8]) {
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

/// Writes the objects of `tape`, which was read from `input` without holes, back as marshal data.
pub fn write(tape: &Tape, input: &[u8], version: &Version, out: &mut Vec<u8>) {
    // Open code objects: the index after the subtree, and how many direct children come before `firstlineno`.
    let mut open: Vec<(usize, usize)> = Vec::new();
    // For each of them the index of its next direct child.
    let mut child: Vec<usize> = Vec::new();
    for (index, &entry) in tape.entries().iter().enumerate() {
        while open.last().is_some_and(|&(end, _)| end <= index) {
            open.pop();
            child.pop();
        }
        if let (Some(frame), Some(next)) = (open.last_mut(), child.last_mut())
            && *next == index
        {
            if frame.1 == 0 {
                let line = (entry.at as usize).checked_sub(4).and_then(|at| u32_at(input, at)).unwrap_or(0);
                out.put_u32(line);
            }
            frame.1 = frame.1.wrapping_sub(1);
            *next = entry.next as usize;
        }
        let at = entry.at as usize;
        let Some(value) = value_at(input, at, version) else { return };
        let string = match value {
            Value::String { len, start } => input.get(start..start + len).unwrap_or_default(),
            _ => &[],
        };
        put_object(out, input[at], &value, string);
        if code_at(input, entry) == b'c' {
            open.push((entry.next as usize, version.code.objects.len()));
            child.push(index + 1);
        }
    }
}
