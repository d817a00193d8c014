//! The marshal reader and writer against real data, hostile data, and CPython's own verdict on the latter.

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use common::Python;
use common::objects::{Encoder, node};
use proptest::prelude::*;
use pye::bytes::hex;
use pye::error::{Error, ErrorKind};
use pye::limits::MAX_DEPTH;
use pye::marshal::pyc::{Header, Validation};
use pye::marshal::read::Summary;
use pye::marshal::tape::Tape;
use pye::marshal::version::{VERSIONS, Version};
use pye::marshal::{Dialect, FLAG_REF, write};
use rayon::prelude::*;

// ---- Real files ----------------------------------------------------------------------------------------------------

/// Reads a file, writes its objects back and compares. Returns its header.
fn round_trip(path: &Path, tape: &mut Tape, out: &mut Vec<u8>) -> Header {
    let input = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let header = Header::parse(&input, None).unwrap_or_else(|e| panic!("{}", e.in_file(path)));
    let start = header.version.header_len;
    let summary = tape.read(&input, start, header.version).unwrap_or_else(|e| panic!("{}", e.in_file(path)));
    assert_eq!(summary.end, input.len(), "{}: CPython writes nothing after the root object", path.display());
    out.clear();
    write::write(tape, &input, header.version, out);
    // Not `assert_eq!`: it would print both.
    let same = input[start..summary.end].iter().zip(&*out).take_while(|(a, b)| a == b).count();
    assert!(input[start..summary.end] == **out, "{}: written back differently at {}", path.display(), start + same);
    header
}

#[test]
fn every_pyc_of_every_standard_library_is_written_back_the_same() {
    for python in common::pythons() {
        let tree = common::compiled_stdlib(python);
        let files = common::pycs(&tree);
        // The smallest packaging of a standard library known has 600 modules.
        assert!(files.len() > 500, "only {} .pyc files in {}", files.len(), tree.display());
        files.par_iter().for_each_init(Default::default, |(tape, out), path| {
            let header = round_trip(path, tape, out);
            assert_eq!(header.version, python.row(), "{}", path.display());
        });
    }
}

#[test]
fn every_way_to_compile_is_read_and_written_back_the_same() {
    common::pythons().par_iter().for_each(|python| {
        let dir = tempfile::tempdir().unwrap();
        for variant in common::compile_variants(python, &["json", "abc.py"], dir.path()) {
            let files = common::pycs(&variant.dir);
            assert!(files.len() >= 6, "{} of {}: {files:?}", variant.name, python.name());
            let in_cache = files.iter().all(|f| f.parent().unwrap().ends_with("__pycache__"));
            assert_eq!(in_cache, variant.name != "legacy" && python.at_least(3, 0), "{}", variant.name);
            for path in &files {
                let header = round_trip(path, &mut Tape::new(), &mut Vec::new());
                match (variant.name, header.validation()) {
                    ("checked-hash", Validation::Hash { checked: true, .. }) => {}
                    ("unchecked-hash", Validation::Hash { checked: false, .. }) => {}
                    (_, Validation::Timestamp { mtime, size }) if !variant.name.ends_with("hash") => {
                        assert_eq!(mtime, 1_577_836_800);
                        assert_eq!(size.is_some(), python.at_least(3, 3));
                    }
                    (name, other) => panic!("{}: {name} has {other:?}", path.display()),
                }
            }
        }
    });
}

/// A real file of a few kilobytes, compiled afresh.
fn small_pyc(python: &Python) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let variants = common::compile_variants(python, &["bisect.py"], dir.path());
    fs::read(&common::pycs(&variants[0].dir)[0]).unwrap()
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_that_names_an_offset_in_it() {
    common::pythons().par_iter().for_each(|python| {
        let whole = small_pyc(python);
        let mut tape = Tape::new();
        for len in 0..whole.len() {
            let cut = &whole[..len];
            let error = match Header::parse(cut, None) {
                Ok(header) => tape.read(cut, header.version.header_len, header.version).unwrap_err(),
                Err(error) => {
                    assert!(len < python.row().header_len);
                    error
                }
            };
            check_error(&format!("cut at {len}"), &error, len);
            assert!(tape.entries().len() <= len);
        }
        assert_eq!(
            parse(&whole[python.row().header_len..], python.row()).unwrap().end,
            whole.len() - python.row().header_len
        );
    });
}

#[test]
fn what_follows_the_root_object_is_left_alone() {
    for python in common::pythons() {
        let mut input = small_pyc(python);
        let end = input.len();
        input.extend_from_slice(b"trailing garbage \xff\x00(");
        let mut tape = Tape::new();
        let summary = tape.read(&input, python.row().header_len, python.row()).unwrap();
        assert_eq!(summary.end, end);
    }
}

// ---- Headers -------------------------------------------------------------------------------------------------------

#[test]
fn a_header_that_is_too_short_is_an_error() {
    for version in &VERSIONS {
        let mut header = version.magic_bytes().to_vec();
        header.resize(version.header_len, 0);
        for len in 0..version.header_len {
            check_error("short header", &Header::parse(&header[..len], None).unwrap_err(), len);
        }
        assert!(Header::parse(&header, None).is_ok());
    }
}

#[test]
fn pep_552_flags_other_than_the_two_known_are_an_error() {
    for version in VERSIONS.iter().filter(|v| v.header_len == 16) {
        for flags in [0u32, 1, 2, 3, 4, 5, 7, 8, 0x100, 0x8000_0000, u32::MAX] {
            let header = [&version.magic_bytes()[..], &flags.to_le_bytes(), &[7; 8]].concat();
            match Header::parse(&header, None) {
                // CPython writes 0, 1 and 3; it reads 2 as a timestamp.
                Ok(parsed) => {
                    assert!(flags <= 3, "{flags:#x}");
                    assert_eq!(matches!(parsed.validation(), Validation::Hash { .. }), flags & 1 == 1);
                }
                Err(error) => {
                    assert!(flags > 3, "{flags:#x}: {error}");
                    check_error("flags", &error, header.len());
                    assert_eq!(error.offset(), Some(4));
                }
            }
        }
    }
}

#[test]
fn an_unknown_magic_number_is_an_error_unless_the_version_is_forced() {
    for magic in [*b"\0\0\r\n", *b"\xff\xff\r\n", *b"\xcb\x0d\n\r", *b"PK\x03\x04", *b"\x7fELF"] {
        let file = [&magic[..], &[0; 12], b"N"].concat();
        let error = Header::parse(&file, None).unwrap_err();
        check_error("magic", &error, file.len());
        assert!(error.help().is_some_and(|h| h.contains("--python-version")), "{error}");
        for version in &VERSIONS {
            assert_eq!(Header::parse(&file, Some(version)).unwrap().version, version);
        }
    }
}

// ---- Hostile data --------------------------------------------------------------------------------------------------

fn parse(input: &[u8], version: &Version) -> pye::error::Result<Summary> {
    let mut tape = Tape::new();
    let result = tape.read(input, 0, version);
    // The tape's memory is bounded by the input: an object takes at least one byte.
    assert!(tape.entries().len() <= input.len());
    if let Ok(summary) = result {
        let mut out = Vec::new();
        write::write(&tape, input, version, &mut out);
        assert!(out == input[..summary.end], "Python {version}: {input:02x?} is written back as {out:02x?}");
    }
    result
}

/// An error must say where, what was expected and what was found.
fn check_error(case: &str, error: &Error, len: usize) {
    let offset = error.offset().unwrap_or_else(|| panic!("{case}: no offset: {error}"));
    assert!(offset <= len as u64, "{case}: offset {offset} of {len} bytes: {error}");
    let (ErrorKind::Malformed { .. } | ErrorKind::Unsupported { .. } | ErrorKind::Limit { .. }) = error.kind() else {
        panic!("{case}: {error}");
    };
    let text = error.to_string();
    assert!(text.contains("expected ") && text.contains(", got "), "{case}: {text}");
}

/// What the reader must do with a case, and what `marshal.loads` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// An error in both.
    Refused,
    /// An error for the reader. CPython 2.7 does not look whether the bytes of a number are there (`r_long`, `r_long64`)
    /// and makes one up; no file is whole that needs this.
    RefusedUnlike27,
    /// Both accept it.
    Accepted,
    /// The structure is sound, so it is kept byte for byte; CPython refuses it for what the objects say (see
    /// `marshal::check`). A `.pyc` that no Python would load still survives the round trip.
    Kept,
    /// As `Kept`, but what CPython does varies by version, or it crashes: not asked.
    KeptUnasked,
}
use Verdict::{Accepted, Kept, KeptUnasked, Refused, RefusedUnlike27};

struct Case {
    name: String,
    bytes: Vec<u8>,
    verdict: Verdict,
}

/// A type byte and a 32-bit number.
fn code32(code: u8, number: u32) -> Vec<u8> {
    [&[code][..], &number.to_le_bytes()].concat()
}

/// A type byte, an announced length or count, and whatever really follows.
fn sized(code: u8, claimed: u32, rest: &[u8]) -> Vec<u8> {
    [&code32(code, claimed)[..], rest].concat()
}

/// A long of these 15-bit digits.
fn long(count: i32, digits: &[u16]) -> Vec<u8> {
    let mut out = code32(b'l', count as u32);
    digits.iter().for_each(|d| out.extend_from_slice(&d.to_le_bytes()));
    out
}

/// A reference to object `number`.
fn reference(number: u32) -> Vec<u8> {
    code32(b'r', number)
}

/// `[` or another sequence around these objects, flagged.
fn flagged(code: u8, items: &[&[u8]]) -> Vec<u8> {
    sized(code | FLAG_REF, items.len() as u32, &items.concat())
}

fn tuple(items: &[&[u8]]) -> Vec<u8> {
    sized(b'(', items.len() as u32, &items.concat())
}

/// `depth` tuples around None.
fn nested(depth: usize) -> Vec<u8> {
    [code32(b'(', 1).repeat(depth), b"N".to_vec()].concat()
}

/// A string of the kind that the version's names are.
fn name(text: &str) -> Vec<u8> {
    sized(b't', text.len() as u32, text.as_bytes())
}

/// A well-formed code object that does nothing, with one field replaced.
fn code(version: &Version, replaced: &str, by: &[u8]) -> Vec<u8> {
    let mut out = vec![b'c'];
    for long in version.code.longs {
        out.extend_from_slice(&u32::from(*long == "stacksize").to_le_bytes());
    }
    let object = |field: &str| match field {
        field if field == replaced => by.to_vec(),
        // Sixteen bytes are an instruction sequence in every version as long as nobody runs them.
        "code" => sized(b's', 16, &[9; 16]),
        "consts" | "names" | "varnames" | "freevars" | "cellvars" | "localsplusnames" => tuple(&[]),
        "filename" | "name" | "qualname" => name("x"),
        _ => sized(b's', 0, &[]),
    };
    version.code.objects.iter().for_each(|f| out.extend(object(f)));
    out.extend_from_slice(&1u32.to_le_bytes());
    version.code.tail.iter().for_each(|f| out.extend(object(f)));
    out
}

/// Every kind of hostile input, for one version.
fn cases(version: &'static Version) -> Vec<Case> {
    let v2 = version.dialect == Dialect::V2;
    let mut cases = Vec::new();
    let mut case = |name: &str, verdict, bytes: Vec<u8>| cases.push(Case { name: name.into(), bytes, verdict });
    let cut_number = if v2 { RefusedUnlike27 } else { Refused };
    let only3 = if v2 { Refused } else { Accepted };

    // Lengths and counts.
    for code in *b"stu([<>" {
        let c = code as char;
        case(&format!("{c} of -1"), Refused, sized(code, u32::MAX, &[b'N'; 64]));
        case(&format!("{c} of -2^31"), Refused, sized(code, 1 << 31, &[b'N'; 64]));
        case(&format!("{c} of 2^31-1"), Refused, sized(code, 0x7fff_ffff, &[b'N'; 64]));
        case(&format!("{c} one too long"), Refused, sized(code, 65, &[b'N'; 64]));
        case(&format!("{c} without its length"), Refused, vec![code, 0, 0, 0]);
    }
    case("a of -1", Refused, sized(b'a', u32::MAX, b"x"));
    case("A of 2^31-1", Refused, sized(b'A', 0x7fff_ffff, b"x"));
    case("z without its length", Refused, b"z".to_vec());
    case("Z one too long", Refused, b"Z\x02x".to_vec());
    case(") one too long", Refused, b")\x02N".to_vec());
    case(") without its count", Refused, b")".to_vec());
    for code in *b"([<>" {
        let claims = code32(code, 1_000_000).repeat(1000);
        case(&format!("{} claiming millions, nested", code as char), Refused, claims);
    }

    // Depth: 2000 objects within one another, the innermost leaf counted.
    case("depth 1,990", Accepted, nested(1990));
    case("depth 2,000", Accepted, nested(MAX_DEPTH - 1));
    case("depth 2,001", Refused, nested(MAX_DEPTH));
    case("depth 2,000, ends in an empty tuple", Accepted, [code32(b'(', 1).repeat(1999), tuple(&[])].concat());
    case("depth 2,001, ends in an empty tuple", Refused, [code32(b'(', 1).repeat(2000), tuple(&[])].concat());
    case("depth 2,001, ends in an empty dict", Refused, [code32(b'(', 1).repeat(1999), b"{0".to_vec()].concat());
    case("depth 2,100", Refused, nested(2100));
    case("depth 10^6", Refused, nested(1_000_000));
    case("depth 10^6 of dicts", Refused, vec![b'{'; 1_000_000]);
    case("depth 10^6 of small tuples", Refused, b")\x01".repeat(1_000_000));

    // Longs.
    case("long 0", Accepted, long(0, &[]));
    case("long 2^15", Accepted, long(2, &[0, 1]));
    case("long -2^15", Accepted, long(-2, &[0, 1]));
    case("long with a digit of 2^15", Kept, long(2, &[0x8000, 1]));
    case("long with a top digit of 2^16-1", Kept, long(1, &[0xffff]));
    case("long with a zero top digit", Kept, long(2, &[1, 0]));
    case("long of -2^31 digits", Refused, long(i32::MIN, &[1; 40]));
    case("long of 2^31-1 digits", Refused, long(i32::MAX, &[1; 40]));
    case("long of -2^31+1 digits", Refused, long(i32::MIN + 1, &[1; 40]));
    case("long one digit short", Refused, long(3, &[1, 1]));
    case("long half a digit short", Refused, [long(2, &[1]), vec![1]].concat());
    case("long without its count", Refused, b"l\x01".to_vec());
    case("int cut off", cut_number, b"i\x01\x02\x03".to_vec());
    case("int64", Accepted, b"I\x01\x02\x03\x04\x05\x06\x07\x08".to_vec());
    case("int64 cut off", cut_number, b"I\x01\x02\x03\x04\x05\x06\x07".to_vec());

    // Floats.
    case("float text", Accepted, b"f\x041e10".to_vec());
    case("float text nan", Accepted, b"f\x03nan".to_vec());
    case("float text that is no number", Kept, b"f\x03abc".to_vec());
    case("float text of no bytes", Kept, b"f\x00".to_vec());
    case("float text cut off", Refused, b"f\x041e1".to_vec());
    case("float text without its length", Refused, b"f".to_vec());
    case("complex text", Accepted, b"x\x011\x012".to_vec());
    case("complex text that is no number", Kept, b"x\x011\x01j".to_vec());
    case("complex text without its second half", Refused, b"x\x011".to_vec());
    case("signalling NaN", Accepted, b"g\x01\0\0\0\0\0\xf0\x7f".to_vec());
    case("double cut off", Refused, b"g\0\0\0\0\0\0\xf0".to_vec());
    case("complex", Accepted, [&b"y"[..], &[0xff; 16]].concat());
    case("complex cut off", Refused, [&b"y"[..], &[0xff; 15]].concat());

    // Text.
    let bad_utf8 = [
        ("stray continuation", &b"\x80"[..]),
        ("cut off", b"\xe2\x82"),
        ("overlong", b"\xc0\x80"),
        ("above U+10FFFF", b"\xf4\x90\x80\x80"),
        ("0xff", b"\xff"),
    ];
    for (what, text) in bad_utf8 {
        case(&format!("u: {what}"), Kept, sized(b'u', text.len() as u32, text));
        case(&format!("t: {what}"), if v2 { Accepted } else { Kept }, sized(b't', text.len() as u32, text));
    }
    case("u: a lone surrogate", Accepted, sized(b'u', 3, b"\xed\xa0\x80"));
    case("u: a NUL", Accepted, sized(b'u', 1, b"\0"));
    case("t: a lone surrogate", Accepted, sized(b't', 3, b"\xed\xa0\x80"));
    for code in *b"aA" {
        case(&format!("{}: beyond ASCII", code as char), only3, sized(code, 3, b"\x80\xff\0"));
    }
    for code in *b"zZ" {
        case(&format!("{}: beyond ASCII", code as char), only3, [code, 2, 0x80, 0xff].to_vec());
    }

    // References.
    case("reference to nothing", Refused, reference(0));
    case("reference to -1", Refused, reference(u32::MAX));
    case("reference to 2^31-1", Refused, reference(0x7fff_ffff));
    case("forward reference", Refused, tuple(&[&reference(0), &flagged(b'(', &[])]));
    case("reference cut off", Refused, [sized(b'(', 2, &flagged(b'[', &[])), b"r\0\0\0".to_vec()].concat());
    case("reference back", only3, tuple(&[&flagged(b'[', &[]), &reference(0)]));
    case("one reference too far", Refused, tuple(&[&flagged(b'[', &[]), &reference(1)]));
    for code in *b"[" {
        case("list in itself", only3, flagged(code, &[&reference(0)]));
    }
    // A tuple in itself loads, or kills CPython, by version and by what looks at it first.
    case("tuple in itself", if v2 { Refused } else { KeptUnasked }, flagged(b'(', &[&reference(0)]));
    case("list in its own list", only3, flagged(b'[', &[&tuple(&[&reference(0)])]));
    case("dict as its own value", only3, [&[b'{' | FLAG_REF, b'N'][..], &reference(0), b"0"].concat());
    case("frozenset in itself", if v2 { Refused } else { Kept }, flagged(b'>', &[&reference(0)]));
    let flagged_code = |by: &[u8]| {
        let mut bytes = code(version, "consts", by);
        bytes[0] |= FLAG_REF;
        bytes
    };
    case("code among its own constants", if v2 { Refused } else { Kept }, flagged_code(&tuple(&[&reference(0)])));
    let slices = if version.dialect >= Dialect::V5 { Kept } else { Refused };
    case("slice in itself", slices, [&[b':' | FLAG_REF][..], &reference(0), b"NN"].concat());
    let frozendicts = version.dialect >= Dialect::V6;
    let in_itself = [&[b'}' | FLAG_REF, b'N'][..], &reference(0), b"0"].concat();
    case("frozendict in itself", if frozendicts { Kept } else { Refused }, in_itself);
    for code in *b"0NSFT." {
        let byte = code | FLAG_REF;
        let object = if code == b'0' { vec![b'{', byte] } else { vec![byte] };
        case(&format!("flagged {}", code as char), only3, object.clone());
        case(&format!("flagged {} takes no number", code as char), Refused, tuple(&[&object, &reference(0)]));
    }
    let again = [&[b'r' | FLAG_REF][..], &0u32.to_le_bytes()].concat();
    case("flagged reference", only3, tuple(&[&flagged(b'[', &[]), &again]));
    case("flagged reference takes no number", Refused, tuple(&[&flagged(b'[', &[]), &again, &reference(1)]));
    // "Billion laughs": 30 tuples, each of ten references to the one before: 10^30 paths in 1.7 kB.
    let laughs: Vec<Vec<u8>> = (0..30)
        .map(|level: u32| match level.checked_sub(1) {
            None => flagged(b'(', &[b"N"]),
            Some(below) => sized(b'(' | FLAG_REF, 10, &reference(below + 1).repeat(10)),
        })
        .collect();
    case("billion laughs", only3, sized(b'[' | FLAG_REF, 30, &laughs.concat()));
    // 2.7's own references.
    let interned = |number: u32| tuple(&[&name("x"), &code32(b'R', number)]);
    case("interned string again", if v2 { Accepted } else { Refused }, interned(0));
    case("interned string out of range", Refused, interned(1));
    case("interned string -1", Refused, interned(u32::MAX));
    case("interned string before any", Refused, code32(b'R', 0));

    // NULL.
    case("NULL alone", Refused, b"0".to_vec());
    for code in *b"([<>" {
        case(&format!("NULL in {}", code as char), Refused, sized(code, 1, b"0"));
    }
    case("NULL in a small tuple", Refused, b")\x010".to_vec());
    case("NULL in a slice", Refused, b":N0N".to_vec());
    case("NULL as a key", Accepted, b"{0".to_vec());
    case("NULL as a value, then the end", if v2 { Refused } else { Accepted }, b"{N0".to_vec());
    if v2 {
        case("NULL as a value, then more of the dict", Accepted, b"{N0NN0".to_vec());
    } else {
        case("NULL as a value ends the dict", Accepted, tuple(&[b"{N0", b"N"]));
    }
    case("dict without its end", Refused, b"{NN".to_vec());
    case("dict without a value", Refused, b"{N".to_vec());
    for field in version.code.objects.iter().chain(version.code.tail) {
        case(&format!("NULL as a code object's {field}"), Refused, code(version, field, b"0"));
    }
    case("frozendict", if frozendicts { Accepted } else { Refused }, b"}NN0".to_vec());
    case("frozendict whose value is NULL", if frozendicts { Accepted } else { Refused }, b"}N0".to_vec());
    case("slice", if version.dialect >= Dialect::V5 { Accepted } else { Refused }, b":NNN".to_vec());

    // Members.
    let list = sized(b'[', 0, &[]);
    case("unhashable set member", Kept, sized(b'<', 1, &list));
    case("unhashable frozenset member", Kept, sized(b'>', 1, &list));
    case("unhashable key", KeptUnasked, [b"{", &list[..], b"N0"].concat());
    case("duplicate set members", Accepted, sized(b'<', 3, b"NNN"));
    case("duplicate frozenset members", Accepted, sized(b'>', 3, b"NNN"));
    case("duplicate keys", Accepted, b"{NTNF0".to_vec());

    // Code objects.
    case("code object", Accepted, code(version, "", b""));
    for field in version.code.objects.iter().chain(version.code.tail) {
        // 2.7 and some 3.x look at fewer fields than others, and some abort on what they see.
        case(&format!("a code object's {field} is a list"), KeptUnasked, code(version, field, &list));
        case(&format!("a code object's {field} is None"), KeptUnasked, code(version, field, b"N"));
    }
    case("a code object's code is a number", Kept, code(version, "code", b"i\0\0\0\0"));
    if version.at_least(3, 11) {
        let kinds = sized(b's', 3, b"   ");
        case("more kinds than names", Kept, code(version, "localspluskinds", &kinds));
    }
    let whole = code(version, "", b"");
    case("code object's numbers cut off", Refused, whole[..4 * version.code.longs.len()].to_vec());
    case("code object without its tail", Refused, whole[..whole.len() - 1].to_vec());

    // Every byte alone.
    for byte in 0..=u8::MAX {
        let plain = byte & !FLAG_REF;
        let atom = b"NFTS.".contains(&plain) && (plain == byte || !v2);
        let verdict = match byte {
            b'i' | b'I' => cut_number,
            _ if atom => Accepted,
            _ => Refused,
        };
        case(&format!("byte {byte:#04x} alone"), verdict, vec![byte]);
    }
    cases
}

#[test]
fn hostile_input_is_refused_with_a_place_or_kept() {
    for version in &VERSIONS {
        for Case { name, bytes, verdict } in cases(version) {
            match (verdict, parse(&bytes, version)) {
                (Refused | RefusedUnlike27, Err(error)) => {
                    check_error(&format!("Python {version}: {name}"), &error, bytes.len())
                }
                (Refused | RefusedUnlike27, Ok(_)) => panic!("Python {version}: {name}: accepted"),
                (_, Ok(summary)) => assert_eq!(summary.end, bytes.len(), "Python {version}: {name}"),
                (_, Err(error)) => panic!("Python {version}: {name}: {error}"),
            }
        }
    }
}

#[test]
fn cpython_agrees_with_the_verdicts() {
    common::pythons().par_iter().for_each(|python| {
        let cases: Vec<Case> = cases(python.row()).into_iter().filter(|c| c.verdict != KeptUnasked).collect();
        let answers = ask(python, &cases);
        let wrong: Vec<String> = cases
            .iter()
            .zip(&answers)
            .filter(|(case, answer)| matches!(case.verdict, Accepted | RefusedUnlike27) != (*answer == "accepted"))
            .map(|(case, answer)| format!("{}: expected {:?}, {answer}", case.name, case.verdict))
            .collect();
        assert!(wrong.is_empty(), "Python {}:\n{}", python.name(), wrong.join("\n"));
    });
}

/// Loads each case in a process of its own: a crash of CPython ("crashed") is an answer too.
fn ask(python: &Python, cases: &[Case]) -> Vec<String> {
    // Address space is limited: CPython allocates whatever a tuple claims before it reads on.
    const SCRIPT: &str = r#"
import binascii, marshal, os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for line in sys.stdin:
    data = binascii.unhexlify(line.strip())
    child = os.fork()
    if child == 0:
        try:
            marshal.loads(data)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    sys.stdout.write({0: 'accepted', 256: 'refused'}.get(status, 'crashed: %d' % status) + '\n')
"#;
    let mut child = python
        .command()
        .args(["-S", "-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a probed interpreter runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            for case in cases {
                writeln!(stdin, "{}", hex(&case.bytes)).expect("the interpreter reads its input");
            }
        });
        child.wait_with_output().expect("the interpreter ends")
    });
    assert!(output.status.success(), "{} ended with {}", python.path.display(), output.status);
    let answers: Vec<String> = String::from_utf8(output.stdout).expect("ASCII").lines().map(String::from).collect();
    assert_eq!(answers.len(), cases.len());
    answers
}

// ---- Inverse laws --------------------------------------------------------------------------------------------------

proptest! {
    #[test]
    fn any_objects_are_read_and_written_back_the_same(root in node(), trailer in prop::collection::vec(any::<u8>(), 0..8)) {
        for version in &VERSIONS {
            let Encoder { out: bytes, numbered, objects, .. } = Encoder::encode(version, &root);
            let input = [&bytes[..], &trailer[..]].concat();
            let mut tape = Tape::new();
            let summary = tape.read(&input, 0, version).map_err(|e| TestCaseError::fail(format!("{version}: {e}")))?;
            prop_assert_eq!(summary, Summary { end: bytes.len(), numbered });
            prop_assert_eq!(tape.entries().len(), objects);
            prop_assert_eq!(tape.entries()[0].next as usize, objects);
            // Subtrees nest: the children of each object lie one behind the other and fill it.
            for index in 0..objects {
                let last = tape.children(index).last();
                prop_assert_eq!(last.map_or(index + 1, |c| tape.entries()[c].next as usize), tape.entries()[index].next as usize);
            }
            let mut out = Vec::new();
            write::write(&tape, &input, version, &mut out);
            prop_assert_eq!(&out, &bytes);
        }
    }

    /// Whatever the bytes: an error with a place, or objects that are written back the same. `parse` looks at the latter.
    #[test]
    fn any_bytes_are_objects_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for version in &VERSIONS {
            if let Err(error) = parse(&bytes, version) {
                check_error("random bytes", &error, bytes.len());
            }
        }
    }

    /// The same for bytes that are likely type codes: random ones seldom get far.
    #[test]
    fn any_type_codes_are_objects_or_an_error(codes in prop::collection::vec(prop::sample::select(&b"\0\0\0\x01\x02NiIlsztT()[]{}<>:c0r\xe9\xa8\xdb\xe3"[..]), 0..200)) {
        for version in &VERSIONS {
            if let Err(error) = parse(&codes, version) {
                check_error("random type codes", &error, codes.len());
            }
        }
    }
}
