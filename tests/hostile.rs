//! `.pye` files that lie: cut off, with bits flipped, and with every field made to claim what is not so, checksums put right afterwards.
//! Whatever is opened gives an error that says where, or exactly the modules that were put in.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::tool::{self, Const, bytes, contents, pyc, text};
use pye::blob::{Kind, Store};
use pye::bytes::{Sink as _, zigzag};
use pye::elf::Section;
use pye::elf::Segment;
use pye::elf::read::sections;
use pye::elf::write;
use pye::error::{Error, ErrorKind};
use pye::holes::{self, Blob};
use pye::pye::directories::{Directory, ENTRY_LEN, ROWS_AT, Row};
use pye::pye::read::Pye;
use pye::pye::{
    FLAG_PACKAGE, Header, MAJOR, MINOR, MINOR_IMAGE, ModuleKind, NAMES, PARTS, Part, ROWS, ROWS_PORTABLE, Record,
    index_hash, payload,
};
use rayon::prelude::*;

// ---- Files to start from -------------------------------------------------------------------------------------------

/// Constants that fill all payload sections.
fn constants(what: &str) -> Vec<Const> {
    vec![text(what, '.'), text(what, 'é'), text(what, '€'), text(what, '𝄞'), bytes(what)]
}

fn single() -> Vec<u8> {
    tool::converted(&pyc((3, 12), &constants("one")), "one.cpython-312.pyc")
}

/// Three modules, two versions, a namespace, a package, a raw file, and directories with what has no record.
fn package() -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    tool::put(tree.join("pkg/__init__.pyc"), pyc((3, 12), &constants("pkg")));
    tool::put(tree.join("pkg/mod.pyc"), pyc((3, 6), &[text("mod", '.'), text("pkg", '.')]));
    tool::put(tree.join("space/leaf.pyc"), pyc((3, 12), &[text("leaf", 'é')]));
    tool::put(tree.join("raw.pyc"), b"no .pyc at all");
    tool::put(tree.join("pkg/mod.abi3.so"), b"");
    tool::put(tree.join("pkg/mod/__init__.py"), b"");
    tool::put(tree.join("native/c.so"), b"");
    let output = place.path().join("p.pye");
    tool::bad(&[&"link", &tree, &"--output", &output]);
    fs::read(output).unwrap()
}

/// A module's name, path, record and `.pyc`.
type Held = (Vec<u8>, Vec<u8>, Record, Vec<u8>);

/// What a file gives a reader: each module with its `.pyc`, and what is found by name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    modules: Vec<Held>,
    found: Vec<Option<Vec<u8>>>,
    directories: Vec<Listed>,
}

/// A directory's path, mtime, names, and how many of these are for `mod`.
type Listed = (Vec<u8>, Option<i64>, Vec<Vec<u8>>, usize);

/// Reads all there is in every way there is.
fn read(bytes: &[u8]) -> Result<Contents, Error> {
    let pye = Pye::open(bytes)?;
    let verified = pye.verify();
    let mut modules = Vec::new();
    let mut first = None;
    let mut joined = Vec::new();
    for module in pye.modules() {
        let one = module.and_then(|module| {
            // The dump and the histogram read the blobs' places too.
            let places = pye::split::places(module.holes, &pye.stores());
            pye.join_into(&module, &mut joined)?;
            let places = places?;
            if let Some(version) =
                pye::marshal::version::Version::by_number(module.record.python.0, module.record.python.1)
                && module.record.kind != ModuleKind::Namespace
            {
                let mut out = String::new();
                let _ = pye::dump::dump(&joined, version.header_len, version, &places, &mut out);
            }
            Ok((module.name.to_vec(), module.path.to_vec(), module.record, joined.clone()))
        });
        match one {
            Ok(one) => modules.push(one),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let keys: [(&[u8], (u8, u8)); 6] = [
        (b"pkg", (3, 12)),
        (b"pkg.mod", (3, 6)),
        (b"space", (3, 12)),
        (b"space.leaf", (3, 12)),
        (b"pkg", (3, 6)),
        (b"x", (3, 12)),
    ];
    let mut found = Vec::new();
    for (name, python) in keys {
        match pye.lookup(name, python, 0) {
            Ok(module) => found.push(module.map(|m| m.path.to_vec())),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let listed = |directory: Directory<'_>| -> Result<Listed, Error> {
        let names = directory.names().map(|n| n.map(<[u8]>::to_vec)).collect::<Result<Vec<_>, _>>()?;
        let named = directory.named(b"mod").collect::<Result<Vec<_>, _>>()?;
        Ok((directory.path.to_vec(), directory.mtime_ns, names, named.len()))
    };
    let all = pye.directories().and_then(|all| all.iter().map(|d| d.and_then(listed)).collect());
    let directories: Vec<Listed> = all.unwrap_or_else(|error| {
        first.get_or_insert(error);
        Vec::new()
    });
    for path in [&b""[..], b"pkg", b"native", b"x"] {
        match pye.directory(path) {
            Ok(found) => assert!(verified.is_err() || found.is_some() == directories.iter().any(|d| d.0 == path)),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    verified?;
    first.map_or(Ok(Contents { modules, found, directories }), Err)
}

/// Whether this is an error of the format with its place, what was expected and what was found.
fn well_formed(error: &Error) -> bool {
    let place = error.offset().is_some() || error.section().is_some();
    let kind =
        matches!(error.kind(), ErrorKind::Malformed { .. } | ErrorKind::Unsupported { .. } | ErrorKind::Limit { .. });
    let text = error.to_string();
    place && kind && text.contains("expected ") && text.contains(", got ")
}

fn check_error(case: &str, error: &Error) {
    assert!(well_formed(error), "{case}: {error:?}");
}

// ---- Damage --------------------------------------------------------------------------------------------------------

#[test]
fn a_file_cut_off_anywhere_is_an_error_with_a_place() {
    for file in [single(), package()] {
        read(&file).unwrap();
        (0..file.len()).into_par_iter().for_each(|len| {
            // The section headers stand last: no file is whole without its end.
            check_error(&format!("cut at {len}"), &read(&file[..len]).unwrap_err());
        });
        let longer = [&file[..], &[0; 100]].concat();
        assert_eq!(read(&longer).unwrap(), read(&file).unwrap(), "what follows is no part of the file");
    }
}

#[test]
fn every_bit_flipped_is_an_error_or_changes_nothing() {
    for file in [single(), package()] {
        let whole = read(&file).unwrap();
        // Of each byte, the bits that nobody misses.
        let ignored: Vec<u8> = (0..file.len())
            .into_par_iter()
            .map_init(
                || file.clone(),
                |copy, at| {
                    let mut ignored = 0;
                    for bit in 0..8 {
                        copy[at] ^= 1 << bit;
                        match read(copy) {
                            Ok(contents) => {
                                assert!(contents == whole, "bit {bit} of byte {at} flipped gives other modules");
                                ignored |= 1 << bit;
                            }
                            Err(error) => check_error(&format!("bit {bit} of byte {at} flipped"), &error),
                        }
                        copy[at] ^= 1 << bit;
                    }
                    ignored
                },
            )
            .collect();
        // Every bit of pye's own sections counts. The rest is ELF's: of its headers only what finds the sections does.
        for (part, range) in sections(&file, NAMES).unwrap().into_iter().enumerate() {
            let range = range.unwrap_or_default();
            let at = range.clone().find(|at| ignored[*at] != 0);
            assert_eq!(at.map(|at| at - range.start), None, "a bit of {} does not count", NAMES[part]);
        }
        // `e_shoff`, and each section's name, type, offset and size.
        assert!(ignored[0x28..0x30].iter().all(|b| *b == 0), "e_shoff");
        for name in NAMES {
            if let Some(at) = section_header(&file, name) {
                for field in [4..8, 0x18..0x28] {
                    let bits = &ignored[at + field.start..at + field.end];
                    assert!(bits.iter().all(|b| *b == 0), "{name}'s header at {field:?}");
                }
            }
        }
    }
}

// ---- Lies ----------------------------------------------------------------------------------------------------------

/// A `.pye` in parts that can be changed and put together again, with sizes and checksums that fit.
#[derive(Clone)]
struct Parts {
    header: Header,
    contents: [Vec<u8>; PARTS],
}

impl Parts {
    fn of(file: &[u8]) -> Parts {
        let pye = Pye::open(file).unwrap();
        Parts { header: pye.header().clone(), contents: std::array::from_fn(|i| pye.part(i).to_vec()) }
    }

    fn part(&mut self, part: Part) -> &mut Vec<u8> {
        &mut self.contents[part as usize]
    }

    fn record(&self, index: usize) -> Record {
        Record::parse(&self.contents[Part::Modules as usize][index * Record::LEN..][..Record::LEN]).unwrap()
    }

    fn with_record(mut self, index: usize, change: impl FnOnce(&mut Record)) -> Parts {
        let mut record = self.record(index);
        change(&mut record);
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        self.part(Part::Modules)[index * Record::LEN..][..Record::LEN].copy_from_slice(&bytes);
        self
    }

    fn with(mut self, part: Part, change: impl FnOnce(&mut Vec<u8>)) -> Parts {
        change(self.part(part));
        self
    }

    /// The whole file; `lie` is told the header once everything in it is true.
    fn build_with(mut self, lie: impl FnOnce(&mut Header)) -> Vec<u8> {
        for (i, section) in self.header.sections.iter_mut().enumerate() {
            *section = (self.contents[i + 1].len() as u64, crc32fast::hash(&self.contents[i + 1]));
        }
        lie(&mut self.header);
        self.contents[0].clear();
        self.header.put(&mut self.contents[0]);
        assemble(&self.contents)
    }

    fn build(self) -> Vec<u8> {
        self.build_with(|_| {})
    }
}

/// An ELF file of sections with these contents.
fn assemble(contents: &[Vec<u8>; PARTS]) -> Vec<u8> {
    let list: Vec<Section> = contents
        .iter()
        .zip(NAMES)
        .map(|(c, name)| Section { name, segment: Segment::Meta, size: c.len() as u64, align: 8, strings: None })
        .collect();
    let skeleton = write::plan([7; write::BUILD_ID_LEN], &list, &[]).unwrap();
    let mut out = vec![0; skeleton.len as usize];
    let parts = skeleton.parts.iter().map(|(at, bytes)| (*at, bytes));
    for (at, bytes) in parts.chain(skeleton.offsets.iter().copied().zip(contents)) {
        out[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }
    out
}

/// The file as of a minor version with so many rows in its header: with the last left out, or some of sections nobody knows.
fn with_rows(parts: &Parts, minor: u16, rows: usize) -> Vec<u8> {
    let mut contents = Parts::of(&parts.clone().build_with(|h| h.version = (MAJOR, minor))).contents;
    let header = &mut contents[0];
    header.truncate(Header::ROWS_AT + Header::ROW_LEN * rows.min(ROWS));
    header.resize(Header::ROWS_AT + Header::ROW_LEN * rows, 0xee);
    header[32..36].copy_from_slice(&(rows as u32).to_le_bytes());
    let crc = crc32fast::hash(header);
    header.put_u32(crc);
    header.put_u32(0);
    assemble(&contents)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// File offset of the header of the section called `name`.
fn section_header(file: &[u8], name: &str) -> Option<usize> {
    let count = usize::from(u16::from_le_bytes([file[0x3c], file[0x3d]]));
    let names = usize::from(u16::from_le_bytes([file[0x3e], file[0x3f]]));
    let at = |i: usize| u64_at(file, 0x28) as usize + 64 * i;
    let table = u64_at(file, at(names) + 0x18) as usize;
    (0..count).map(at).find(|at| {
        let start = table + u32::from_le_bytes(file[*at..at + 4].try_into().unwrap()) as usize;
        file[start..].starts_with(&[name.as_bytes(), b"\0"].concat())
    })
}

/// A file and what is wrong with it.
struct Lie {
    name: String,
    file: Vec<u8>,
    /// A part of the message that tells it from other errors.
    says: &'static str,
}

/// A table of holes of one blob after the other, whatever their places.
fn table(blobs: &[(u64, Blob)]) -> Vec<u8> {
    let (mut out, mut expected) = (Vec::new(), [0u64; 4]);
    for (gap, blob) in blobs {
        holes::put_start(*gap, blob.len, blob.kind as u64, &mut out);
        let expected = &mut expected[blob.kind.store() as usize];
        out.put_varint(zigzag(blob.offset.wrapping_sub(*expected) as i64));
        *expected = blob.offset.wrapping_add(blob.len).wrapping_add(1);
    }
    out
}

/// The single file with this control stream and table of holes.
fn with_holes(control: Vec<u8>, holes: Vec<u8>, count: u32, len: u32, crc: u32) -> Parts {
    let mut parts = Parts::of(&single());
    *parts.part(Part::Control) = control;
    *parts.part(Part::Holes) = holes;
    let (control_len, holes_len) = (parts.part(Part::Control).len() as u32, parts.part(Part::Holes).len() as u32);
    parts.header.pyc_bytes = len.into();
    parts.with_record(0, |r| {
        *r = Record {
            control: 0,
            holes: 0,
            control_len,
            holes_len,
            hole_count: count,
            pyc_len: len,
            pyc_crc: crc,
            ..r.clone()
        }
    })
}

fn lies() -> Vec<Lie> {
    let mut lies = Vec::new();
    let mut lie = |name: &str, says, file: Vec<u8>| lies.push(Lie { name: name.into(), file, says });
    let (one, many) = (Parts::of(&single()), Parts::of(&package()));

    // Sections.
    let whole = one.clone().build();
    let patched = |name: &str, field: usize, value: u64| {
        let mut file = whole.clone();
        let at = section_header(&file, name).unwrap() + field;
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        file
    };
    let size = whole.len() as u64;
    for name in NAMES.iter().filter(|n| section_header(&whole, n).is_some()) {
        for (what, value) in
            [("at the end", size), ("beyond the end", size + 1), ("far beyond", 1 << 62), ("at -1", u64::MAX)]
        {
            lie(&format!("{name} starts {what}"), "a section inside the file", patched(name, 0x18, value));
        }
        for (what, value) in [("to beyond the end", size), ("of 2^62 bytes", 1 << 62), ("of 2^64-1 bytes", u64::MAX)] {
            lie(&format!("{name} {what}"), "a section inside the file", patched(name, 0x20, value));
        }
        lie(&format!("{name} over the ELF header"), "do not overlap", patched(name, 0x18, 0));
        let mut missing = whole.clone();
        let at = section_header(&missing, name).unwrap();
        missing[at..at + 4].copy_from_slice(&0u32.to_le_bytes());
        lie(&format!("{name} is missing"), "", missing);
        let mut nobits = whole.clone();
        nobits[at + 4] = 8;
        lie(&format!("{name} has no contents"), "SHT_PROGBITS", nobits);
        let mut compressed = whole.clone();
        compressed[at + 9] |= 0x08;
        lie(&format!("{name} is compressed"), "a section that can be mapped", compressed);
    }
    let mut twice = whole.clone();
    let (from, to) = (section_header(&whole, ".pye.str1").unwrap(), section_header(&whole, ".pye.str2").unwrap());
    twice[to..to + 4].copy_from_slice(&whole[from..from + 4]);
    lie("two .pye.str1", "one section of that name", twice);
    let (str1, names) = (section_header(&whole, ".pye.str1").unwrap(), section_header(&whole, ".pye.names").unwrap());
    lie(".pye.str1 over .pye.names", "do not overlap", patched(".pye.str1", 0x18, u64_at(&whole, names + 0x18)));
    lie(".pye.str1 a byte early", "", patched(".pye.str1", 0x18, u64_at(&whole, str1 + 0x18) - 1));
    let mut big = whole.clone();
    big[5] = 2;
    lie("big-endian", "a little-endian ELF file", big);
    let mut elf32 = whole.clone();
    elf32[4] = 1;
    lie("ELF32", "an ELF64 header", elf32);
    let mut many_sections = whole.clone();
    many_sections[0x3c..0x3e].copy_from_slice(&0xfffeu16.to_le_bytes());
    lie("65,534 sections", "a section header table", many_sections);

    // The header.
    for bit in 0..32u32 {
        if 1 << bit != FLAG_PACKAGE {
            lie(&format!("reserved flag {bit}"), "no reserved flags", one.clone().build_with(|h| h.flags |= 1 << bit));
        }
    }
    for major in [0, MAJOR + 1, u16::MAX] {
        let says = "use the pye that wrote it";
        lie(&format!("version {major}.0"), says, one.clone().build_with(|h| h.version = (major, 0)));
    }
    for modules in [0, 2, 1 << 20, u32::MAX] {
        lie(&format!("{modules} modules"), "records", one.clone().build_with(|h| h.modules = modules));
    }
    for bytes in [0, 1, u64::MAX] {
        lie(&format!("{bytes} bytes of .pyc"), "bytes of .pyc in all", one.clone().build_with(|h| h.pyc_bytes = bytes));
    }
    for i in 0..ROWS_PORTABLE {
        lie(&format!("size of section {i}"), "as the header states", one.clone().build_with(|h| h.sections[i].0 ^= 1));
        lie(
            &format!("size 2^64-1 of section {i}"),
            "as the header states",
            one.clone().build_with(|h| h.sections[i].0 = u64::MAX),
        );
        lie(&format!("CRC of section {i}"), "CRC32", one.clone().build_with(|h| h.sections[i].1 ^= 1));
    }
    lie("one module without the flag, many with it", "one module in a file", many.clone().build_with(|h| h.flags = 0));
    lie("a package without its index", "a power of two", one.clone().build_with(|h| h.flags = FLAG_PACKAGE));
    for len in [0, 1, Header::LEN - 1, Header::LEN + 1, 4096] {
        let mut contents = Parts::of(&single()).contents;
        contents[0].resize(len, 0);
        lie(&format!("a header of {len} bytes"), "", assemble(&contents));
    }
    for rows in [0, ROWS_PORTABLE as u32 - 1, ROWS_PORTABLE as u32 + 1, 1 << 28, u32::MAX] {
        let mut contents = one.clone().contents;
        contents[0][32..36].copy_from_slice(&rows.to_le_bytes());
        lie(&format!("{rows} rows that are not there"), "rows", assemble(&contents));
    }
    for (minor, rows) in [
        (MINOR, ROWS_PORTABLE - 1),
        (MINOR, ROWS_PORTABLE + 1),
        (MINOR_IMAGE, ROWS - 1),
        (MINOR_IMAGE, ROWS + 1),
        (MINOR_IMAGE + 1, ROWS - 1),
    ] {
        lie(&format!("version 1.{minor} with {rows} rows"), "rows", with_rows(&one, minor, rows));
    }

    // Records.
    let of = |index: usize, change: &dyn Fn(&mut Record)| many.clone().with_record(index, change).build();
    let mod_at = (0..many.header.modules as usize)
        .find(|i| many.record(*i).python == (3, 6) && many.record(*i).pyc_len > 0)
        .unwrap();
    let space_at = (0..many.header.modules as usize).find(|i| many.record(*i).kind == ModuleKind::Namespace).unwrap();
    for far in [1 << 20, u32::MAX] {
        lie(&format!("name at {far}"), "a name of at most", of(mod_at, &|r| r.name = far));
        lie(&format!("path at {far}"), "a name of at most", of(mod_at, &|r| r.path = far));
        lie(&format!("control of {far} bytes"), "a range within", of(mod_at, &|r| r.control_len = far));
        lie(&format!("holes of {far} bytes"), "a range within", of(mod_at, &|r| r.holes_len = far));
        lie(&format!("{far} holes"), "holes", of(mod_at, &|r| r.hole_count = far));
    }
    for far in [1 << 20, 1 << 63, u64::MAX, u64::MAX - 10] {
        lie(&format!("control at {far}"), "a range within", of(mod_at, &|r| r.control = far));
        lie(&format!("holes at {far}"), "a range within", of(mod_at, &|r| r.holes = far));
    }
    lie("the empty path", "a relative path", of(mod_at, &|r| r.path = 0));
    lie("no name", "", of(mod_at, &|r| r.name = 0));
    lie("CRC of the .pyc", "CRC32", of(mod_at, &|r| r.pyc_crc ^= 1));
    for len in [0, 1, 0x7fff_ffff, u32::MAX] {
        lie(&format!("a .pyc of {len} bytes"), "", of(mod_at, &|r| r.pyc_len = len));
    }
    lie("a .pyc behind a namespace", "", of(space_at, &|r| r.pyc_len = 5));
    lie("a namespace that is a module", "", of(space_at, &|r| r.kind = ModuleKind::Module));
    lie("a module that is a namespace", "", of(mod_at, &|r| r.kind = ModuleKind::Namespace));
    lie("a module that is raw", "", of(mod_at, &|r| r.kind = ModuleKind::Raw));
    lie("another version", "", of(mod_at, &|r| r.python = (3, 12)));
    lie("an unknown version", "", of(mod_at, &|r| r.python = (4, 0)));
    lie("another magic number", "header in its record", of(mod_at, &|r| r.magic = *b"ab\r\n"));
    lie("another mtime", "header in its record", of(mod_at, &|r| r.word[0] ^= 1));
    lie("other flags", "header in its record", of(mod_at, &|r| r.flags ^= 1));
    lie("another level", "", of(mod_at, &|r| r.optimization = 1));
    for kind in [4, 255] {
        let file = many.clone().with(Part::Modules, |m| m[mod_at * Record::LEN + 52] = kind).build();
        lie(&format!("kind {kind}"), "a kind of module", file);
    }
    lie("records out of order", "records sorted", {
        let last = many.header.modules as usize - 1;
        let (a, b) = (many.record(last), many.record(last - 1));
        many.clone().with_record(last, |r| *r = b).with_record(last - 1, |r| *r = a).build()
    });
    lie("a record twice", "records sorted", {
        let a = many.record(0);
        many.clone().with_record(1, |r| *r = a).build()
    });

    // Names and paths.
    lie(
        "names without NUL",
        "a name of at most",
        many.clone().with(Part::Names, |n| n.iter_mut().for_each(|b| *b |= u8::from(*b == 0))).build(),
    );
    lie("no names", "a name of at most", many.clone().with(Part::Names, Vec::clear).build());
    let long = [vec![b'a'; 5000], vec![0]].concat();
    for path in ["..", ".", "/", "/etc/x", "a//b", "a/", "../x.pyc", "a/../../x.pyc", "a/./b", "./a", "//", "a/.."] {
        let bytes = [path.as_bytes(), b"\0"].concat();
        lie(&format!("the path {path}"), "a relative path", with_path(&many, mod_at, &bytes).build());
        lie(&format!("the path {path} of a single file"), "expected a", with_path(&one, 0, &bytes).build());
    }
    lie("a path of 5,000 bytes", "a name of at most", with_path(&many, mod_at, &long).build());

    // The index.
    let buckets = u32::from_le_bytes(many.contents[Part::Index as usize][..4].try_into().unwrap());
    let count = |n: u32| many.clone().with(Part::Index, |i| i[..4].copy_from_slice(&n.to_le_bytes())).build();
    for n in [0, 1, buckets - 1, buckets / 2, buckets * 2, 3, 1 << 31, u32::MAX] {
        lie(&format!("{n} buckets"), "a power of two", count(n));
    }
    lie("no index", "a power of two", many.clone().with(Part::Index, Vec::clear).build());
    lie("an index of 3 bytes", "a power of two", many.clone().with(Part::Index, |i| i.truncate(3)).build());
    lie(
        "an index of 6 buckets",
        "a power of two",
        many.clone()
            .with(Part::Index, |i| {
                i.resize(4 + 6 * 4, 0);
                i[0] = 6;
            })
            .build(),
    );
    let set = |at: u32, value: u32| {
        many.clone().with(Part::Index, |i| i[4 + 4 * at as usize..][..4].copy_from_slice(&value.to_le_bytes())).build()
    };
    let bucket = |at: u32| {
        u32::from_le_bytes(many.contents[Part::Index as usize][4 + 4 * at as usize..][..4].try_into().unwrap())
    };
    for at in 0..buckets {
        lie(&format!("bucket {at} out of range"), "found by its key", set(at, many.header.modules + 1));
        lie(&format!("bucket {at} far out of range"), "found by its key", set(at, u32::MAX));
        if bucket(at) != 0 {
            lie(&format!("bucket {at} emptied"), "found", set(at, 0));
            let other = bucket(at) % many.header.modules + 1;
            lie(&format!("bucket {at} names another record"), "found", set(at, other));
        }
    }
    lie(
        "a full index",
        "",
        many.clone()
            .with(Part::Index, |i| {
                for at in 0..buckets as usize {
                    let slot = &mut i[4 + 4 * at..][..4];
                    if slot == [0; 4] {
                        slot.copy_from_slice(&bucket((0..buckets).find(|b| bucket(*b) != 0).unwrap()).to_le_bytes());
                    }
                }
            })
            .build(),
    );
    lie("an empty index", "found", many.clone().with(Part::Index, |i| i[4..].fill(0)).build());
    lie(
        "an index whose entries stand elsewhere",
        "found",
        many.clone().with(Part::Index, |i| i[4..].rotate_left(4)).build(),
    );

    // Directories: the root, native, pkg, space.
    let directories = many.contents[Part::Directories as usize].clone();
    let rows = u32::from_le_bytes(directories[..4].try_into().unwrap());
    let entries = u32::from_le_bytes(directories[4..8].try_into().unwrap());
    assert_eq!((rows, entries), (4, 6));
    let put = |at: usize, value: u32| {
        many.clone().with(Part::Directories, |d| d[at..at + 4].copy_from_slice(&value.to_le_bytes()))
    };
    for n in [0, 1, rows + 1, 1 << 31, u32::MAX] {
        lie(&format!("{n} directories"), "directories with", put(0, n).build());
        lie(&format!("{n} names in directories"), "directories with", put(4, n).build());
    }
    for len in [1, 7, directories.len() - 1, directories.len() + 1] {
        let file = many.clone().with(Part::Directories, |d| d.resize(len, 0)).build();
        lie(&format!("directories in {len} bytes"), "directories with", file);
    }
    let (pkg, last) = (ROWS_AT + 2 * Row::LEN, ROWS_AT + rows as usize * Row::LEN + (entries as usize - 1) * ENTRY_LEN);
    for far in [1 << 20, 1 << 30, u32::MAX] {
        lie(&format!("a directory's path at {far}"), "a name of at most", put(pkg, far).build());
        lie(&format!("a directory's first name is {far}"), "entries within", put(pkg + 4, far).build());
        lie(&format!("a directory has {far} names"), "entries within", put(pkg + 8, far).build());
        lie(&format!("a directory's name at {far}"), "a name of at most", put(last, far).build());
    }
    lie("a directory's reserved bytes", "four zero bytes", put(pkg + 12, 1).build());
    lie("a directory's names are others", "entries", put(pkg + 4, 0).build());
    lie("a directory has fewer names", "entries", put(pkg + 8, 1).build());
    lie("directories out of order", "sorted by path", {
        // Only the paths, so that the entries stay in order.
        many.clone()
            .with(Part::Directories, |d| (0..4).for_each(|i| d.swap(ROWS_AT + i, ROWS_AT + Row::LEN + i)))
            .build()
    });
    lie("names of a directory out of order", "names in order", {
        many.clone().with(Part::Directories, |d| d[last - ENTRY_LEN..last + ENTRY_LEN].rotate_left(ENTRY_LEN)).build()
    });
    let named = |at: usize, name: &str| {
        let offset = many.contents[Part::Names as usize].len() as u32;
        put(at, offset).with(Part::Names, |n| n.extend([name.as_bytes(), b"\0"].concat())).build()
    };
    for path in ["..", "/", "/etc", "p//q", "pkg/", "p/../q"] {
        lie(&format!("the directory {path}"), "a relative path", named(pkg, path));
    }
    for name in ["", "x", "x.pyo", "/", "../", "../x.so", "x/y.so", ".so", ".py", "x.y.py", "x.y/"] {
        lie(&format!("the name {name:?} in a directory"), "without a dot in NAME", named(last, name));
    }
    lie("a name of 5,000 bytes in a directory", "a name of at most", named(last, &"a".repeat(5000)));
    lie("a single file with directories", "no directories", {
        one.clone().with(Part::Directories, |d| *d = directories.clone()).build()
    });

    // Holes.
    let control = one.contents[Part::Control as usize].clone();
    let len = one.record(0).pyc_len;
    let blob = |kind, len, offset| Blob { kind, len, offset };
    let mut hole = |name: &str, says, table: Vec<u8>, count| {
        lie(name, says, with_holes(control.clone(), table, count, len, 0).build())
    };
    // The section's last character, which a NUL follows.
    let last = blob(Kind::Ascii, 1, one.contents[payload(Store::Str1)].len() as u64 - 2);
    for gap in [control.len() as u64 + 1, 1 << 32, 1 << 63, u64::MAX] {
        hole(&format!("gap {gap}"), "expected", table(&[(gap, last)]), 1);
    }
    for len in [1 << 20, 1 << 32, (1 << 48) - 1] {
        for kind in Kind::ALL {
            hole(
                &format!("a blob of {len}, {kind:?}"),
                "a blob inside the section",
                table(&[(0, blob(kind, len, 0))]),
                1,
            );
            hole(
                &format!("a blob at {len}, {kind:?}"),
                "a blob inside the section",
                table(&[(0, blob(kind, 1, len))]),
                1,
            );
        }
    }
    hole("a blob of 2^60", "a blob inside the section", table(&[(0, blob(Kind::Ascii, 1 << 60, 0))]), 1);
    hole("a blob at -1", "a blob inside the section", table(&[(0, blob(Kind::Ascii, 1, u64::MAX))]), 1);
    hole("a blob at -2^63", "a blob inside the section", table(&[(0, blob(Kind::Ascii, 1, 1 << 63))]), 1);
    hole("a blob without NUL", "a NUL after the blob", table(&[(0, blob(Kind::Ascii, 3, 0))]), 1);
    hole(
        "a blob to the section's very end",
        "a blob inside the section",
        table(&[(0, blob(Kind::Ascii, one.contents[payload(Store::Str1)].len() as u64, 0))]),
        1,
    );
    for (kind, what) in [(6u8, "1 byte"), (7, "2 bytes")] {
        for len in [1u64, 1000, 1 << 32, 1 << 60] {
            let mut table = Vec::new();
            holes::put_start(0, len, kind.into(), &mut table);
            hole(&format!("{len} references of {what} that are not there"), "more bytes", table, 1);
        }
    }
    hole("a table cut off in a gap", "LEB128", vec![0x80], 1);
    hole("a table without a length", "LEB128", vec![0], 1);
    hole("a padded number", "LEB128", vec![0x80, 0x00, 0x08, 0x00], 1);
    hole("a number of 11 bytes", "LEB128", [vec![0xff; 10], vec![1]].concat(), 1);
    hole("a number above 2^64", "LEB128", [vec![0xff; 9], vec![2, 0, 0]].concat(), 1);
    hole("an empty table that claims a hole", "holes", Vec::new(), 1);
    // Characters beyond Unicode.
    let mut beyond = one.clone();
    beyond.part_mut(Store::Str4)[..4].copy_from_slice(&0x11_0000u32.to_le_bytes());
    lie("a character above U+10FFFF", "", beyond.build());
    let mut surrogate = one.clone();
    surrogate.part_mut(Store::Str4)[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    lie("a character of 2^32-1", "", surrogate.build());

    // Expansion: a megabyte named four thousand times, which the record admits or not.
    let megabyte = |count: u64, len: u32| {
        let mut all = vec![(0, blob(Kind::Ascii, 1 << 20, 0))];
        all.resize(count as usize, all[0]);
        let mut parts = with_holes(control.clone(), table(&all), count as u32, len, 0);
        *parts.part_mut(Store::Str1) = [vec![b'x'; 1 << 20], vec![0]].concat();
        parts.build()
    };
    lie("4 GB of references to one blob, not admitted", "a .pyc of", megabyte(4000, len));
    lie("4 GB of references to one blob, admitted", "", megabyte(4000, 4000 << 20 | 1));
    lie("100 MB of references to one blob, with a wrong CRC", "", megabyte(100, (100 << 20) + control.len() as u32));
    lies
}

impl Parts {
    fn part_mut(&mut self, store: Store) -> &mut Vec<u8> {
        &mut self.contents[payload(store)]
    }
}

/// The record's path made `path`, NUL included.
fn with_path(parts: &Parts, index: usize, path: &[u8]) -> Parts {
    let mut parts = parts.clone();
    let at = parts.part(Part::Names).len() as u32;
    parts.part(Part::Names).extend_from_slice(path);
    parts.with_record(index, |r| r.path = at)
}

#[test]
fn taking_apart_and_putting_together_changes_nothing() {
    for file in [single(), package()] {
        assert_eq!(read(&Parts::of(&file).build()).unwrap(), read(&file).unwrap());
    }
}

#[test]
fn every_lie_is_an_error_with_a_place() {
    let lies = lies();
    assert!(lies.len() > 300);
    let wrong = |Lie { name, file, says }: &Lie| match read(file) {
        Ok(_) => Some(format!("{name}: accepted")),
        Err(error) => {
            let text = format!("{error} {}", error.help().unwrap_or_default());
            let good = well_formed(&error) && text.contains(says);
            (!good).then(|| format!("{name}: {error:?}: not with a place and {says:?}"))
        }
    };
    let wrong: Vec<String> = lies.par_iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_newer_minor_version_is_read() {
    for (minor, file) in
        [(MINOR, single()), (MINOR_IMAGE, package()), (MINOR_IMAGE + 1, package()), (u16::MAX, single())]
    {
        let newer = Parts::of(&file).build_with(|h| h.version = (MAJOR, minor));
        assert_eq!(read(&newer).unwrap(), read(&file).unwrap());
    }
    // With sections of its own, whose rows follow those of the ones that are known.
    for rows in ROWS + 1..ROWS + 4 {
        let newer = with_rows(&Parts::of(&package()), MINOR_IMAGE + 1, rows);
        assert_eq!(read(&newer).unwrap().modules, read(&package()).unwrap().modules);
    }
}

/// The command with little address space: what a few threads' stacks and the input need, and far below what the lies claim.
fn confined(args: tool::Args<'_>, space: u64) -> std::process::Output {
    let mut command = std::process::Command::new("prlimit");
    command.arg(format!("--as={space}")).arg("--core=0").arg(tool::PROGRAM).args(args.iter().map(|a| a.as_ref()));
    command.args(["--jobs", "2"]).env("MALLOC_ARENA_MAX", "2").env_remove("RUST_BACKTRACE");
    command.output().expect("prlimit (util-linux) is installed")
}

#[test]
fn every_command_names_the_file_the_place_and_both_sides_of_a_lie() {
    let all = lies();
    let picked = [
        "a .pyc of 4294967295 bytes",
        "4 GB of references to one blob, not admitted",
        "100 MB of references to one blob, with a wrong CRC",
        "1099511627776",
        "the path ../x.pyc",
        "the path /etc/x of a single file",
        "1048576 modules",
        "version 2.0",
        "reserved flag 31",
        ".pye.modules of 2^62 bytes",
        "a full index",
        "bucket 0 far out of range",
        "a blob of 4294967296, Ucs4",
        "1152921504606846976 references of 2 bytes that are not there",
        "CRC of section 5",
    ];
    let place = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for Lie { name, file, .. } in all.iter().filter(|l| picked.contains(&l.name.as_str())) {
        let path = place.path().join("lie.pye");
        fs::write(&path, file).unwrap();
        // 128 MiB do for the program, its threads and a few copies of the largest file.
        let space = (128 << 20) + 4 * file.len() as u64;
        let output = confined(&[&"verify", &path], space);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {text}");
        let line = text.lines().find(|l| l.contains("lie.pye")).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(line.contains("expected ") && line.contains(", got "), "{name}: {line}");
        assert!(line.contains("at byte ") || line.contains("in .pye."), "{name}: {line}");
        let out = place.path().join("out");
        for args in [&["unpack"][..], &["link"], &["inspect"], &["inspect", "--dump"], &["convert"]] {
            let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> =
                args.iter().map(|a| a as &dyn AsRef<std::ffi::OsStr>).collect();
            all.push(&path);
            if args[0] != "inspect" {
                all.extend([&"--output" as &dyn AsRef<std::ffi::OsStr>, &out]);
            }
            let output = confined(&all, space);
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            // What needs only a sound part may succeed; nothing dies.
            assert!(
                output.status.code().is_some_and(|c| c <= 2) && !text.contains("panicked"),
                "{args:?} of {name}: {}\n{text}",
                output.status
            );
            let _ = fs::remove_dir_all(&out);
            let _ = fs::remove_file(&out);
        }
        tried += 1;
    }
    assert!(tried >= picked.len() - 1, "only {tried} of the cases are there");
}

#[test]
fn nothing_is_written_outside_the_output_directory() {
    let place = tempfile::tempdir().unwrap();
    let (out, outside) = (place.path().join("out"), place.path().join("outside"));
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&out).unwrap();
    let file = place.path().join("p.pye");
    let many = Parts::of(&package());
    let absolute = format!("{}/x.pyc\0", outside.display());
    let paths = [&b"../outside/x.pyc\0"[..], b"pkg/../../outside/x.pyc\0", absolute.as_bytes()];
    for path in paths {
        fs::write(&file, with_path(&many, 0, path).build()).unwrap();
        assert_eq!(tool::run(&[&"unpack", &file, &"--output", &out]).status.code(), Some(1));
        fs::write(&file, with_path(&Parts::of(&single()), 0, path).build()).unwrap();
        assert_eq!(tool::run(&[&"unpack", &file, &"--output", &out]).status.code(), Some(1));
    }
    // A link planted where a directory must be made, and one where the file goes.
    fs::write(&file, package()).unwrap();
    fs::remove_dir_all(&out).unwrap();
    fs::create_dir_all(&out).unwrap();
    symlink(&outside, out.join("pkg")).unwrap();
    let victim = outside.join("victim");
    fs::write(&victim, "victim").unwrap();
    symlink(&victim, out.join("raw.pyc")).unwrap();
    let report = tool::bad(&[&"unpack", &file, &"--output", &out]);
    let failed = tool::messages(&report["failed"]);
    assert!(
        !failed.is_empty() && failed.iter().all(|m| m.contains("pkg: expected a directory, not a link")),
        "{failed:?}"
    );
    assert_eq!(contents(&outside, &[]).len(), 1, "{:?}", contents(&outside, &[]).keys());
    assert_eq!(fs::read(&victim).unwrap(), b"victim");
    assert_eq!(fs::read(out.join("raw.pyc")).unwrap(), b"no .pyc at all", "the link itself is replaced");
    assert!(out.join("space/leaf.pyc").is_file(), "the rest is done");
    // The same when converting into a tree.
    let tree = place.path().join("tree");
    tool::put(tree.join("pkg/m.pyc"), tool::module("m"));
    tool::bad(&[&"convert", &tree, &"--output", &out]);
    assert_eq!(contents(&outside, &[]).len(), 1);
}

#[test]
fn an_index_of_colliding_names_is_walked_once_round_at_most() {
    // Every bucket full of one record: a lookup of anything else must end.
    let many = Parts::of(&package());
    let full = many.clone().with(Part::Index, |i| {
        i.clear();
        i.put_u32(1 << 16);
        (0..1 << 16).for_each(|_| i.put_u32(1));
    });
    let file = full.build();
    let pye = Pye::open(&file).unwrap();
    assert!(pye.lookup(b"no.such.module", (3, 12), 0).unwrap().is_none());
    let _ = index_hash(b"", (0, 0), 0);
    check_error("full index", &pye.verify().unwrap_err());
}

/// Kept out of the list above, since it is about what is beside the file.
#[test]
fn a_file_that_is_not_there_or_empty_or_a_directory_is_named() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(at("empty.pye"), b"").unwrap();
    fs::create_dir(at("directory.pye")).unwrap();
    let verify = |path: &Path| tool::messages(&tool::bad(&[&"verify", &path])["bad"]).join("\n");
    assert!(verify(&at("missing.pye")).contains("missing.pye: cannot"), "{}", verify(&at("missing.pye")));
    assert!(
        verify(&at("empty.pye")).contains("empty.pye: at byte 0: expected an ELF file"),
        "{}",
        verify(&at("empty.pye"))
    );
    assert_eq!(tool::good(&[&"verify", &at("directory.pye")])["files"], 0);
}
