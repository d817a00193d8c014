//! A `.pyc` as text, an object a line: offset, nesting, field of the code object, reference number, type, value. Of a module in a `.pye` the
//! places of its blobs are shown beside the strings they are.

use std::fmt::Write;

use crate::blob::Kind;
use crate::error::Result;
use crate::holes;
use crate::marshal::read::{Parser, Sink};
use crate::marshal::value::{Value, value_at};
use crate::marshal::version::Version;
use crate::marshal::{FLAG_REF, type_of};

/// Characters of a string that are shown.
const SHOWN: usize = 60;

/// Appends the dump of the `.pyc` in `input`, whose objects start at `start`. `places` are the blobs of the module it was joined from, by
/// the offset of their payload, in order ([`crate::split::places`]); none for a plain `.pyc`.
///
/// # Errors
/// The first break of the grammar; what came before it has been appended.
pub fn dump(
    input: &[u8],
    start: usize,
    version: &Version,
    places: &[(u64, holes::Blob)],
    out: &mut String,
) -> Result<()> {
    let mut dumper = Dumper { input, version, places, out, frames: Vec::new(), numbered: 0, interned: 0 };
    Parser::default().parse(input, start, version, &mut dumper)?;
    Ok(())
}

/// An open container: its type, and how many children were shown.
struct Frame {
    code: u8,
    children: usize,
}

struct Dumper<'a> {
    input: &'a [u8],
    version: &'a Version,
    places: &'a [(u64, holes::Blob)],
    out: &'a mut String,
    frames: Vec<Frame>,
    numbered: u32,
    interned: u32,
}

impl Dumper<'_> {
    /// Appends a line for the object at `at`.
    fn line(&mut self, at: usize, byte: u8, value: &str) {
        let depth = self.frames.len();
        let mut field = "";
        if let Some(frame) = self.frames.last_mut() {
            let layout = &self.version.code;
            if frame.code == b'c' {
                field = layout.objects.iter().chain(layout.tail).nth(frame.children).copied().unwrap_or("");
                if frame.children == layout.objects.len() {
                    let line = at.checked_sub(4).and_then(|at| crate::bytes::u32_at(self.input, at)).unwrap_or(0);
                    put(
                        self.out,
                        format_args!("{:>8}  {:indent$}firstlineno = {line}\n", at - 4, "", indent = 2 * depth),
                    );
                }
            }
            frame.children += 1;
        }
        let name = type_of(byte).map_or("?", |t| t.name);
        put(self.out, format_args!("{at:>8}  {:indent$}", "", indent = 2 * depth));
        if !field.is_empty() {
            put(self.out, format_args!("{field}: "));
        }
        put(self.out, format_args!("{name}"));
        if self.version.dialect.shapes()[byte as usize] & FLAG_REF != 0 {
            put(self.out, format_args!(" #{}", self.numbered));
            self.numbered += 1;
        } else if byte & FLAG_REF != 0 {
            self.out.push_str(" (flagged)");
        }
        if self.version.dialect.is_v2() && byte == b't' {
            put(self.out, format_args!(" #{}", self.interned));
            self.interned += 1;
        }
        if !value.is_empty() {
            self.out.push(' ');
            self.out.push_str(value);
        }
        self.out.push('\n');
    }

    fn value(&self, at: usize) -> String {
        let float = |bytes: &[u8]| {
            let bits = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            let value = f64::from_bits(bits);
            // NaNs differ in bits that their text does not show.
            if value.is_nan() { format!("nan ({bits:#018x})") } else { format!("{value:?}") }
        };
        match value_at(self.input, at, self.version) {
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Int64(number)) => number.to_string(),
            Some(Value::Long { negative, digits }) => long(negative, digits),
            Some(Value::Float(bytes)) => float(bytes),
            Some(Value::Complex(bytes)) => format!("({}, {})", float(&bytes[..8]), float(&bytes[8..])),
            Some(Value::FloatText(text)) => quoted(text),
            Some(Value::ComplexText(real, imag)) => format!("({}, {})", quoted(real), quoted(imag)),
            Some(Value::Seq(count)) => format!("of {count}"),
            Some(Value::Code(longs)) => {
                let numbers = longs.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap_or_default()));
                let pairs = self.version.code.longs.iter().zip(numbers);
                pairs
                    .map(|(name, n)| if *name == "flags" { format!("{name}={n:#x}") } else { format!("{name}={n}") })
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            _ => String::new(),
        }
    }

    /// A string's payload, and the place of its blob.
    fn payload(&mut self, byte: u8, start: usize, len: usize) -> String {
        let payload = &self.input[start..start + len];
        let mut place = String::new();
        if let [(at, blob), rest @ ..] = self.places
            && *at == start as u64
        {
            let store = blob.kind.store();
            put(&mut place, format_args!(" {} +{:#x}", store.section(), blob.offset * store.width() as u64));
            if blob.kind != Kind::Bytes {
                put(&mut place, format_args!(" {:?}", blob.kind));
            }
            self.places = rest;
        }
        let binary = byte & !FLAG_REF == b's' || self.version.dialect.is_v2() && byte == b't';
        format!("[{len}]{place} {}", if binary { hex(payload) } else { quoted(payload) })
    }
}

impl Sink for Dumper<'_> {
    fn leaf(&mut self, at: usize, byte: u8, _end: usize) {
        let value = self.value(at);
        self.line(at, byte, &value);
    }

    fn reference(&mut self, at: usize, byte: u8, number: u32) {
        self.line(at, byte, &format!("to #{number}"));
    }

    fn string(&mut self, at: usize, byte: u8, start: usize, len: usize) {
        let value = self.payload(byte, start, len);
        self.line(at, byte, &value);
    }

    fn open(&mut self, at: usize, byte: u8) {
        let value = self.value(at);
        self.line(at, byte, &value);
        self.frames.push(Frame { code: byte & !FLAG_REF, children: 0 });
    }

    fn close(&mut self, _end: usize) {
        self.frames.pop();
    }
}

fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(arguments);
}

fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("{:?}{more}", text.chars().take(SHOWN).collect::<String>())
}

fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(SHOWN / 3).map(|b| format!("{b:02x}")).collect();
    let more = if bytes.len() > SHOWN / 3 { " …" } else { "" };
    format!("{}{more}", shown.join(" "))
}

/// A number of 15-bit digits, in hexadecimal, its lowest digits left out when there are many.
fn long(negative: bool, digits: &[u8]) -> String {
    let mut bits = String::new();
    for digit in digits.chunks_exact(2).rev().take(SHOWN / 4) {
        put(&mut bits, format_args!("{:015b}", u16::from_le_bytes([digit[0], digit[1]])));
    }
    let whole = digits.len() / 2 <= SHOWN / 4;
    let padding = if whole { (4 - bits.len() % 4) % 4 } else { 0 };
    let bits = "0".repeat(padding) + &bits;
    let hex: String = bits
        .as_bytes()
        .chunks_exact(4)
        .filter_map(|four| u8::from_str_radix(std::str::from_utf8(four).ok()?, 2).ok())
        .filter_map(|n| char::from_digit(u32::from(n), 16))
        .collect();
    let hex = hex.trim_start_matches('0');
    let hex = if hex.is_empty() { "0" } else { hex };
    format!(
        "{}{}{hex}{}",
        if negative { "-" } else { "" },
        if whole { "0x" } else { "binary, top digits first: 0x" },
        if whole { "" } else { "…" }
    )
}
