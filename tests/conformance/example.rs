//! The worked example: every byte of a small file from the real writer, explained.

use std::fmt::Write as _;
use std::fs;

use pye::holes::{Fill, Reader};
use pye::pye::read::Pye;
use pye::pye::{Header, NAMES, Part};

use crate::{convert, facts, golden, spec};

/// What the test writes starts after this line of example.md.
const MARK: &str = "<!-- From here on written by the test: `make bless`. -->\n";

/// Rows: offset, bytes, meaning.
struct Rows<'a> {
    bytes: &'a [u8],
    out: String,
    /// Everything before is explained.
    at: usize,
}

impl Rows<'_> {
    /// The next `len` bytes.
    fn row(&mut self, len: usize, meaning: impl AsRef<str>) {
        let end = self.at + len;
        for (i, line) in self.bytes[self.at..end].chunks(16).enumerate() {
            let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
            let meaning = if i == 0 { meaning.as_ref() } else { "" };
            let row = format!("{:06x}  {:<47}  {meaning}", self.at + 16 * i, hex.join(" "));
            writeln!(self.out, "{}", row.trim_end()).unwrap();
        }
        self.at = end;
    }

    /// Zeros up to `end`.
    fn padding(&mut self, end: usize) {
        if end > self.at {
            assert!(self.bytes[self.at..end].iter().all(|b| *b == 0), "not padding: {:#x} to {end:#x}", self.at);
            writeln!(self.out, "{:06x}  {:<47}  {} bytes of padding", self.at, "00 …", end - self.at).unwrap();
            self.at = end;
        }
    }

    fn heading(&mut self, text: &str) {
        if self.out.ends_with("```\n") || self.out.is_empty() {
            // The first one.
        } else {
            self.out.push_str("```\n");
        }
        write!(self.out, "\n## {text}\n\n```text\n").unwrap();
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    fn fields(&mut self, fields: &[(usize, &str)]) {
        for (len, name) in fields {
            let value = match len {
                1 => u64::from(self.bytes[self.at]),
                2 => u64::from(u16::from_le_bytes(self.bytes[self.at..self.at + 2].try_into().unwrap())),
                4 => u64::from(self.u32(self.at)),
                8 => self.u64(self.at),
                _ => {
                    self.row(*len, name);
                    continue;
                }
            };
            let value = if value > 9 { format!("{value} ({value:#x})") } else { value.to_string() };
            self.row(*len, format!("{name} = {value}"));
        }
    }
}

#[test]
fn the_worked_example_is_what_the_writer_writes() {
    let bytes = convert(&spec().join("conformance/valid/example.pyc"));
    let pye = Pye::open(&bytes).unwrap();
    let mut rows = Rows { bytes: &bytes, out: String::new(), at: 0 };
    elf_header(&mut rows);
    let table = rows.u64(0x28) as usize;
    let count = usize::from(u16::from_le_bytes(bytes[0x3c..0x3e].try_into().unwrap()));
    let strings = rows.u64(table + 64 * (count - 1) + 24) as usize;
    // The sections in file order: the header table lists them so, null first.
    for i in 1..count {
        let at = table + 64 * i;
        let (start, size) = (rows.u64(at + 24) as usize, rows.u64(at + 32) as usize);
        let name = &bytes[strings + rows.u32(at) as usize..];
        let name = std::str::from_utf8(&name[..name.iter().position(|b| *b == 0).unwrap()]).unwrap();
        rows.heading(&format!("{name} ({size} bytes)"));
        rows.padding(start);
        section(&mut rows, name, size, &pye);
        assert_eq!(rows.at, start + size, "{name}");
    }
    rows.heading("Section headers (64 bytes each)");
    rows.padding(table);
    for i in 0..count {
        let at = table + 64 * i;
        let name = &bytes[strings + rows.u32(at) as usize..];
        let name = String::from_utf8_lossy(&name[..name.iter().position(|b| *b == 0).unwrap()]).into_owned();
        rows.row(64, if name.is_empty() { "the null section".into() } else { name });
    }
    assert_eq!(rows.at, bytes.len(), "every byte is explained");
    rows.out.push_str("```\n\n## The same, as facts and objects\n\n```text\n");
    rows.out.push_str(&facts::dump(&pye));
    rows.out.push_str("```\n");

    let path = spec().join("example.md");
    let text = fs::read_to_string(&path).unwrap();
    let (prose, _) = text.split_once(MARK).expect("example.md has the line after which the test writes");
    golden(&path, format!("{prose}{MARK}{}", rows.out).as_bytes());
}

fn elf_header(rows: &mut Rows<'_>) {
    rows.heading("ELF header (64 bytes) and program headers (56 bytes each)");
    rows.row(4, "ELF magic");
    rows.row(5, "ELF64, little-endian, version 1, System V ABI");
    rows.row(7, "padding");
    // The machine is the host's: not part of the text.
    rows.row(2, "type: ET_DYN");
    let machine = rows.at;
    writeln!(rows.out, "{machine:06x}  {:<47}  machine: the host's (3e 00 x86-64, b7 00 aarch64)", "…").unwrap();
    rows.at += 2;
    let fields = [(4, "version"), (8, "entry"), (8, "program headers at"), (8, "section headers at"), (4, "flags")];
    rows.fields(&fields);
    let fields = ["bytes of this header", "bytes of a program header", "program headers", "bytes of a section header"];
    rows.fields(&fields.map(|f| (2, f)));
    rows.fields(&[(2, "section headers"), (2, "section of the section names")]);
    let segments = usize::from(u16::from_le_bytes(rows.bytes[0x38..0x3a].try_into().unwrap()));
    for _ in 0..segments {
        let (kind, at, size) = (rows.u32(rows.at), rows.u64(rows.at + 8), rows.u64(rows.at + 32));
        let kind = if kind == 1 { "PT_LOAD" } else { "PT_NOTE" };
        rows.row(56, format!("{kind}, read-only, {size} bytes from {at:#x}"));
    }
}

fn section(rows: &mut Rows<'_>, name: &str, size: usize, pye: &Pye<'_>) {
    let end = rows.at + size;
    match NAMES.iter().position(|n| *n == name) {
        Some(0) => {
            rows.row(8, "magic");
            rows.fields(&[(2, "major version"), (2, "minor version"), (4, "flags"), (4, "min-blob"), (4, "modules")]);
            rows.fields(&[(8, "bytes of the .pyc files"), (4, "rows")]);
            rows.row(4, "reserved");
            for (name, (size, crc)) in NAMES[1..].iter().zip(pye.header().rows()) {
                rows.row(16, format!("{name}: {size} bytes, CRC32 {crc:08x}, zeros"));
            }
            rows.row(8, format!("CRC32 of the {} bytes before, zeros", Header::LEN - 8));
        }
        Some(1) => {
            let fields = [(4, "name"), (4, "path"), (8, "control"), (8, "holes"), (4, "control_len"), (4, "holes_len")];
            rows.fields(&fields);
            rows.fields(&[(4, "hole_count"), (4, "pyc_crc"), (4, "pyc_len"), (4, "flags")]);
            rows.row(4, "magic: 3531, CR LF");
            rows.fields(&[(1, "kind"), (1, "optimization"), (1, "python, major"), (1, "python, minor")]);
            rows.row(8, "word: mtime and size of the source");
        }
        Some(part) if part == Part::Names as usize => {
            rows.row(1, "the empty name");
            while rows.at < end {
                let len = rows.bytes[rows.at..].iter().position(|b| *b == 0).unwrap() + 1;
                let text = String::from_utf8_lossy(&rows.bytes[rows.at..rows.at + len - 1]).into_owned();
                rows.row(len, format!("{text:?} and NUL"));
            }
        }
        Some(part) if part == Part::Control as usize => {
            let module = pye.module(0).unwrap();
            let mut reader = Reader::new(module.holes);
            let mut number = 0;
            while let Some((gap, _)) = reader.hole().unwrap() {
                number += 1;
                let meaning = if rows.at + size == end { "the .pyc's header, and marshal data up to" } else { "up to" };
                rows.row(gap as usize, format!("{meaning} hole {number}"));
            }
            rows.row(end - rows.at, "the rest");
        }
        Some(part) if part == Part::Holes as usize => holes(rows, pye),
        Some(_) => {
            let stored = name == ".pye.str1";
            rows.row(
                size,
                if stored {
                    "text, one byte a character, each piece ended by NUL"
                } else {
                    "byte strings, each ended by NUL"
                },
            );
        }
        None => match name {
            ".note.gnu.build-id" => {
                rows.fields(&[(4, "bytes of the owner"), (4, "bytes of the hash"), (4, "NT_GNU_BUILD_ID")]);
                rows.row(4, "owner \"GNU\"");
                rows.row(16, "the hash");
            }
            ".symtab" => {
                for i in 0..size / 24 {
                    rows.row(
                        24,
                        if i == 0 { "the null symbol" } else { "the module: local, object, its range of .pye.control" },
                    );
                }
            }
            _ => rows.row(size, "strings of ELF's own"),
        },
    }
}

/// The numbers of each hole, a row each.
fn holes(rows: &mut Rows<'_>, pye: &Pye<'_>) {
    let module = pye.module(0).unwrap();
    let mut reader = Reader::new(module.holes);
    let varint = |rows: &Rows<'_>| rows.bytes[rows.at..].iter().position(|b| b & 0x80 == 0).unwrap() + 1;
    let mut number = 0;
    while let Some((gap, fill)) = reader.hole().unwrap() {
        number += 1;
        rows.row(varint(rows), format!("hole {number}: gap = {gap}"));
        match fill {
            Fill::Blob(blob) => {
                let (len, kind) = (blob.len, blob.kind);
                rows.row(varint(rows), format!("{len} << 3 | {}: {kind:?}, {len} characters", kind as u8));
                rows.row(
                    varint(rows),
                    format!("zigzagged difference: at {} of {}", blob.offset, kind.store().section()),
                );
            }
            Fill::References1(numbers) => {
                rows.row(varint(rows), format!("{} << 3 | 6: references of one byte", numbers.len()));
                rows.row(numbers.len(), format!("to {numbers:?}"));
            }
            Fill::References2(numbers) => {
                rows.row(varint(rows), format!("{} << 3 | 7: references of two bytes", numbers.len()));
                rows.row(2 * numbers.len(), "their numbers");
            }
        }
    }
}
