//! What CPython refuses beyond the grammar, or would crash on: values out of range, text that is no text, members that cannot
//! be hashed, references to unfinished objects, code objects whose fields are of the wrong type.
//!
//! [`check`] is explicit and apart from parsing: the round trip needs none of it. It is a [`Sink`], so its memory is a few
//! bytes for each numbered object (each takes at least one byte of input) and a frame for each open container.
//!
//! Sources: `r_object` in `Python/marshal.c`, `_PyCode_Validate` in `Objects/codeobject.c`.

use super::read::{Parser, Sink, Summary};
use super::version::Version;
use super::{FLAG_REF, Shape};
use crate::blob;
use crate::bytes::u32_at;
use crate::error::{Error, Result};

/// Parses the object at `start` of `input`, which must be a module's code object, and checks it.
///
/// # Errors
/// The first break of the grammar or of a rule above, with its offset.
pub fn check(input: &[u8], start: usize, version: &Version) -> Result<Summary> {
    let mut checker = Checker {
        input,
        version,
        frames: vec![Frame {
            byte: ROOT,
            at: start,
            number: None,
            children: 0,
            code: CodeSizes::default(),
            object: Object::PLAIN,
        }],
        numbered: Vec::new(),
        error: None,
    };
    let summary = Parser::default().parse(input, start, version, &mut checker)?;
    match checker.error {
        Some(error) => Err(error),
        None => Ok(summary),
    }
}

/// What a parent must know of a child.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Object {
    class: Class,
    hashable: bool,
    /// A tuple of strings only (of byte strings in 2.7).
    strings: bool,
    /// Bytes of a string, items of a tuple.
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Unfinished,
    Bytes,
    Text,
    Tuple,
    Code,
    Other,
}

impl Object {
    const PLAIN: Object = Object { class: Class::Other, hashable: true, strings: true, len: 0 };
    const UNFINISHED: Object = Object { class: Class::Unfinished, ..Object::PLAIN };
}

/// Lengths that must agree within a code object.
#[derive(Clone, Copy, Default)]
struct CodeSizes {
    names: u32,
}

/// An open container.
struct Frame {
    byte: u8,
    at: usize,
    number: Option<usize>,
    children: u32,
    code: CodeSizes,
    /// What it will be when complete.
    object: Object,
}

/// The byte of the frame around the root: no type code.
const ROOT: u8 = 0;

struct Checker<'a> {
    input: &'a [u8],
    version: &'a Version,
    frames: Vec<Frame>,
    /// The objects that took a number; none in 2.7, where `R` counts interned strings, all alike here.
    numbered: Vec<Object>,
    error: Option<Error>,
}

impl Checker<'_> {
    #[cold]
    fn fail(
        &mut self,
        at: usize,
        expected: impl Into<std::borrow::Cow<'static, str>>,
        got: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        if self.error.is_none() {
            self.error = Some(Error::malformed(expected, got).at(at));
        }
    }

    /// Takes a reference number if the byte asks for one.
    fn number(&mut self, byte: u8, object: Object) -> Option<usize> {
        let takes = self.version.dialect.shapes()[byte as usize] & FLAG_REF != 0;
        takes.then(|| {
            self.numbered.push(object);
            self.numbered.len() - 1
        })
    }

    /// A complete object reaches its parent.
    fn deliver(&mut self, at: usize, object: Object) {
        let Some(frame) = self.frames.last_mut() else { return };
        let index = frame.children;
        frame.children += 1;
        let (byte, v2) = (frame.byte, self.version.dialect.is_v2());
        let string = object.class == if v2 { Class::Bytes } else { Class::Text };
        frame.object.strings &= string;
        match byte {
            ROOT if object.class != Class::Code => self.fail(at, "a code object", describe(object.class)),
            b'<' | b'>' if !object.hashable => self.fail(at, "a hashable member of a set", "one that is not"),
            b'{' | b'}' if index % 2 == 0 && !object.hashable => self.fail(at, "a hashable key", "one that is not"),
            // A frozendict hashes its values too.
            b'(' | b')' | b'}' => frame.object.hashable &= object.hashable,
            b'c' => self.field(at, index as usize, object),
            _ => {}
        }
    }

    /// A field of a code object.
    fn field(&mut self, at: usize, index: usize, object: Object) {
        let layout = &self.version.code;
        let name = layout.objects.iter().chain(layout.tail).nth(index).copied().unwrap_or("field");
        let v2 = self.version.dialect.is_v2();
        let good = match name {
            "code" | "localspluskinds" | "lnotab" | "linetable" | "exceptiontable" => object.class == Class::Bytes,
            "consts" => object.class == Class::Tuple,
            "filename" | "name" | "qualname" => object.class == if v2 { Class::Bytes } else { Class::Text },
            _ => object.class == Class::Tuple && (object.strings || object.len == 0),
        };
        if !good {
            let kind = match name {
                "consts" => "a tuple",
                "filename" | "name" | "qualname" => "a string",
                "code" | "localspluskinds" | "lnotab" | "linetable" | "exceptiontable" => "bytes",
                _ => "a tuple of strings",
            };
            self.fail(at, format!("{kind} for a code object's {name}"), describe(object.class));
            return;
        }
        let Some(frame) = self.frames.last_mut() else { return };
        match name {
            "localsplusnames" => frame.code.names = object.len,
            "localspluskinds" if frame.code.names != object.len => {
                let expected = format!("{} kinds of local variables, one for each name", frame.code.names);
                self.fail(at, expected, object.len.to_string());
            }
            // Code units of two bytes; checked by CPython from 3.11 on.
            "code" if self.version.at_least(3, 11) && !object.len.is_multiple_of(2) => {
                self.fail(at, "an even number of bytes of bytecode", object.len.to_string());
            }
            _ => {}
        }
    }

    fn longs(&mut self, at: usize) {
        let names = self.version.code.longs;
        let long = |i: usize| u32_at(self.input, at + 1 + 4 * i).unwrap_or(0) as i32;
        let mut argcount = 0;
        for (i, name) in names.iter().enumerate() {
            let value = long(i);
            if *name == "argcount" {
                argcount = value;
            }
            // Flags are bits; everything else counts something.
            if *name != "flags" && value < 0 {
                return self.fail(at + 1 + 4 * i, format!("a code object's {name} of at least 0"), value.to_string());
            }
            if *name == "posonlyargcount" && value > argcount {
                return self.fail(
                    at + 1 + 4 * i,
                    format!("at most {argcount} positional-only arguments"),
                    value.to_string(),
                );
            }
        }
    }

    fn leaf_value(&mut self, at: usize, byte: u8, end: usize) {
        let payload = self.input.get(at + 1..end).unwrap_or_default();
        match byte & !FLAG_REF {
            b'l' => {
                let digits = payload.get(4..).unwrap_or_default();
                for (i, digit) in digits.chunks_exact(2).enumerate() {
                    if digit[1] & 0x80 != 0 {
                        return self.fail(
                            at + 5 + 2 * i,
                            "a digit below 32768",
                            u16::from_le_bytes([digit[0], digit[1]]).to_string(),
                        );
                    }
                }
                if digits.ends_with(&[0, 0]) {
                    self.fail(end - 2, "a top digit other than 0", "0");
                }
            }
            b'f' | b'x' => {
                let mut rest = payload;
                while let Some((len, after)) = rest.split_first() {
                    let (text, after) = after.split_at(usize::from(*len).min(after.len()));
                    if std::str::from_utf8(text).ok().and_then(|t| t.parse::<f64>().ok()).is_none() {
                        return self.fail(at, "a number in decimal", format!("{:?}", String::from_utf8_lossy(text)));
                    }
                    rest = after;
                }
            }
            _ => {}
        }
    }
}

fn describe(class: Class) -> &'static str {
    match class {
        Class::Unfinished => "an unfinished object",
        Class::Bytes => "bytes",
        Class::Text => "a str",
        Class::Tuple => "a tuple",
        Class::Code => "a code object",
        Class::Other => "an object of another type",
    }
}

impl Sink for Checker<'_> {
    fn leaf(&mut self, at: usize, byte: u8, end: usize) {
        // The NULL that ends a dict is nobody's member.
        if self.version.dialect.shapes()[byte as usize] & !FLAG_REF == Shape::Null as u8 {
            return;
        }
        self.leaf_value(at, byte, end);
        self.number(byte, Object::PLAIN);
        self.deliver(at, Object::PLAIN);
    }

    fn reference(&mut self, at: usize, byte: u8, number: u32) {
        let object = if byte & !FLAG_REF == b'R' {
            Object { class: Class::Bytes, ..Object::PLAIN }
        } else {
            self.numbered.get(number as usize).copied().unwrap_or(Object::UNFINISHED)
        };
        if object.class == Class::Unfinished {
            self.fail(
                at,
                "a reference to a complete object",
                format!("one to object {number}, which is still being read"),
            );
        }
        self.deliver(at, object);
    }

    fn string(&mut self, at: usize, byte: u8, start: usize, len: usize) {
        let v2 = self.version.dialect.is_v2();
        let class = match byte & !FLAG_REF {
            b's' => Class::Bytes,
            b't' if v2 => Class::Bytes,
            b'u' | b't' => {
                let payload = self.input.get(start..start + len).unwrap_or_default();
                if blob::classify_utf8(payload).is_none() {
                    self.fail(start, "text in UTF-8", "bytes that are not");
                }
                Class::Text
            }
            _ => Class::Text,
        };
        let object = Object { class, len: len as u32, ..Object::PLAIN };
        self.number(byte, object);
        self.deliver(at, object);
    }

    fn open(&mut self, at: usize, byte: u8) {
        let number = self.number(byte, Object::UNFINISHED);
        let byte = byte & !FLAG_REF;
        let class = match byte {
            b'(' | b')' => Class::Tuple,
            b'c' => Class::Code,
            _ => Class::Other,
        };
        if byte == b'c' {
            self.longs(at);
        }
        let hashable = !matches!(byte, b'[' | b'{' | b'<');
        let object = Object { class, hashable, strings: true, len: 0 };
        self.frames.push(Frame { byte, at, number, children: 0, code: CodeSizes::default(), object });
    }

    fn close(&mut self, _end: usize) {
        let Some(frame) = self.frames.pop() else { return };
        let object = Object { len: frame.children, ..frame.object };
        if let Some(number) = frame.number {
            self.numbered[number] = object;
        }
        self.deliver(frame.at, object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marshal::version::VERSIONS;

    /// The smallest code object of 3.12, with `consts` as given.
    fn code(consts: &[u8]) -> Vec<u8> {
        let mut out = vec![b'c'];
        out.extend([0; 20]);
        out.extend(b"s\x02\0\0\0\x97\0");
        out.extend(consts);
        out.extend(b")\0)\0s\0\0\0\0z\x01fz\x01mz\x01m");
        out.extend([1, 0, 0, 0]);
        out.extend(b"s\0\0\0\0s\0\0\0\0");
        out
    }

    fn result(input: &[u8]) -> Result<Summary> {
        let version = VERSIONS.iter().find(|v| v.minor == 12).unwrap();
        check(input, 0, version)
    }

    #[test]
    fn a_plain_module_passes() {
        result(&code(b")\x01N")).unwrap();
        // A list is fine where nothing hashes it; a reference to a complete tuple is fine in a set.
        result(&code(b")\x02[\0\0\0\0\xa9\0")).unwrap();
        result(&code(b")\x02\xa9\0<\x01\0\0\0r\0\0\0\0")).unwrap();
    }

    #[test]
    fn each_rule_is_named() {
        for (consts, expected) in [
            (&b"[\0\0\0\0"[..], "a tuple for a code object's consts"),
            (b")\x01<\x01\0\0\0[\0\0\0\0", "a hashable member"),
            (b")\x01<\x01\0\0\0)\x01[\0\0\0\0", "a hashable member"),
            (b")\x01{[\0\0\0\0N0", "a hashable key"),
            (b")\x01\xa9\x01r\0\0\0\0", "a complete object"),
            (b")\x01l\x01\0\0\0\x00\x80", "a digit below 32768"),
            (b")\x01l\x01\0\0\0\0\0", "a top digit"),
            (b")\x01f\x031.x", "a number in decimal"),
            (b")\x01u\x01\0\0\0\xff", "UTF-8"),
        ] {
            let error = result(&code(consts)).unwrap_err().to_string();
            assert!(error.contains(expected), "{consts:x?}: {error}");
        }
        assert!(result(b"N").unwrap_err().to_string().contains("a code object"));
        let mut odd = code(b")\0");
        odd.splice(21..28, *b"s\x03\0\0\0\x97\0\0");
        assert!(result(&odd).unwrap_err().to_string().contains("even number"));
    }
}
