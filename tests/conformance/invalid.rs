//! One file at least for each rule of `format-spec/validity.md`, in which that rule alone is broken, and what the code says of it.
//! Files that are dropped into the directory without a case here are tested as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pye::bytes::{Sink as _, zigzag};
use pye::error::{Error, Result};
use pye::image::read::Image;
use pye::image::{BITS_ROW, HEAD_LEN, PAGE, shape};
use pye::marshal::check::check;
use pye::marshal::pyc;
use pye::marshal::read::Parser;
use pye::pye::directories::{ENTRY_LEN, ROWS_AT, Row};
use pye::pye::read::Pye;
use pye::pye::{Header, ModuleKind, NAMES, Part, ROWS_PORTABLE, Record, payload};
use pye::{blob::Store, limits};

use crate::common::file::File;
use crate::common::image::small;
use crate::craft::{self, Parts, base, fix_crc, with_rows};
use crate::{files, golden, spec};

/// A row of a table of validity.md.
pub(crate) struct Rule {
    /// `V12`, `P3`.
    pub(crate) name: String,
    /// Which check finds it.
    stage: String,
    /// Whether reader.py does too.
    pub(crate) second_reader: bool,
}

/// The rules by name: rows `| V12 | rule | check | reader.py |`.
pub(crate) fn rules() -> BTreeMap<String, Rule> {
    let text = fs::read_to_string(spec().join("validity.md")).unwrap();
    let mut rules = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, _, stage, reader, ""] = cells[..] else { continue };
        if !name.starts_with(['V', 'P']) || name[1..].parse::<u32>().is_err() {
            continue;
        }
        let second_reader = match reader {
            "yes" => true,
            "no" => false,
            other => panic!("validity.md: {name}: {other:?}"),
        };
        let rule = Rule { name: name.into(), stage: stage.into(), second_reader };
        assert!(rules.insert(name.into(), rule).is_none(), "validity.md: {name} twice");
    }
    rules
}

/// `v07_compressed` breaks `V7`.
pub(crate) fn rule_of(file: &str) -> String {
    let (kind, rest) = file.split_at(1);
    let number: u32 = rest.split('_').next().unwrap().parse().unwrap_or_else(|_| panic!("{file} names no rule"));
    format!("{}{number}", kind.to_uppercase())
}

/// The first check that fails, and what it says.
fn first_error(path: &Path, bytes: &[u8]) -> Option<(&'static str, Error)> {
    let stages: &mut dyn FnMut() -> Result<(), (&'static str, Error)> = &mut || {
        let stage = |name| move |e| (name, e);
        if path.extension().is_some_and(|e| e == "pyc") {
            let header = pyc::Header::parse(bytes, None).map_err(stage("header"))?;
            let start = header.version.header_len;
            Parser::default().parse(bytes, start, header.version, &mut ()).map_err(stage("parse"))?;
            check(bytes, start, header.version).map_err(stage("check"))?;
            return Ok(());
        }
        let pye = Pye::open(bytes).map_err(stage("open"))?;
        for module in pye.modules() {
            let module = module.map_err(stage("module"))?;
            if module.record.kind != ModuleKind::Namespace {
                pye.join(&module, &mut std::io::sink()).map_err(stage("join"))?;
            }
        }
        for directory in pye.directories().map_err(stage("directory"))?.iter() {
            for name in directory.map_err(stage("directory"))?.names() {
                name.map_err(stage("directory"))?;
            }
        }
        Image::open(&pye).map_err(stage("image"))?;
        pye.verify().map_err(stage("verify"))
    };
    stages().err()
}

#[test]
fn the_invalid_files_are_those_of_the_rules() {
    crate::bless_first();
    check_files();
}

pub(crate) fn check_files() {
    for (name, bytes) in broken_pye() {
        golden(&spec().join(format!("conformance/invalid/{name}.pye")), &bytes);
    }
    for (name, bytes) in broken_pyc() {
        golden(&spec().join(format!("conformance/invalid/{name}.pyc")), &bytes);
    }
}

#[test]
fn every_invalid_file_is_refused_with_the_error_it_states() {
    crate::bless_first();
    let rules = rules();
    let mut unbroken: Vec<&String> = rules.keys().collect();
    for path in [files("invalid", ".pye"), files("invalid", ".pyc")].concat() {
        let file = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rule = rules.get(&rule_of(name)).unwrap_or_else(|| panic!("{file}: no such rule in validity.md"));
        let (stage, error) = first_error(&path, &bytes).unwrap_or_else(|| panic!("{file} passes"));
        let mut text = format!("{stage}: {error}\n");
        if let Some(help) = error.help() {
            text.push_str(&format!("help: {help}\n"));
        }
        assert_eq!(rule.stage, stage, "{file}: validity.md names another check; {text}");
        golden(&path.with_extension("err"), text.as_bytes());
        unbroken.retain(|n| **n != rule.name);
    }
    for err in files("invalid", ".err") {
        let there = ["pye", "pyc"].iter().any(|suffix| err.with_extension(suffix).is_file());
        assert!(there, "{} is of no file: remove it", err.display());
    }
    assert!(unbroken.is_empty(), "rules without a file: {unbroken:?}");
}

// ---- .pye ----------------------------------------------------------------------------------------------------------

const MODULES: usize = Part::Modules as usize;
const INDEX: usize = Part::Index as usize;
const NAME: usize = Part::Names as usize;
const DIRECTORIES: usize = Part::Directories as usize;
const CONTROL: usize = Part::Control as usize;
const HOLES: usize = Part::Holes as usize;

/// Offset of a section's header in a file.
fn section_header(bytes: &[u8], name: &str) -> usize {
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
    let table = u64_at(0x28);
    let names = u64_at(table + 64 * u16_at(0x3e) + 24);
    let of = |i: usize| &bytes[names + u32_at(table + 64 * i)..];
    let wanted = [name.as_bytes(), b"\0"].concat();
    (0..u16_at(0x3c)).map(|i| (i, of(i))).find(|(_, n)| n.starts_with(&wanted)).map(|(i, _)| table + 64 * i).unwrap()
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// A table of holes as numbers.
fn table(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.iter().for_each(|n| out.put_varint(*n));
    out
}

/// A file of one module, kept raw, without names or holes: the least there is.
fn plain(pyc: &[u8]) -> Parts {
    let mut parts = base("raw_magic.pyc");
    parts.parts[CONTROL] = pyc.to_vec();
    parts.edit(0, |r| r.control_len = pyc.len() as u32);
    parts.set_pyc(pyc);
    parts
}

/// A raw file `<blob>` that is one hole of this kind.
fn one_blob(kind: u64, store: Store, stored: &[u8], pyc: &[u8]) -> Parts {
    let mut parts = plain(b"");
    parts.parts[payload(store)] = [stored, &[0; 4][..store.width()]].concat();
    parts.set_holes(table(&[0, ((stored.len() / store.width()) as u64) << 3 | kind, 0]), 1);
    parts.set_pyc(pyc);
    parts
}

fn broken_pye() -> Vec<(&'static str, Vec<u8>)> {
    let sample = base("sample_312.pyc");
    let package = base("package");
    let whole = sample.assemble();
    let mut out: Vec<(&'static str, Vec<u8>)> = Vec::new();

    // ELF.
    let elf = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        bytes
    };
    out.push(("v01_no_elf", elf(&|b| b[0] = 0)));
    out.push(("v01_nothing", Vec::new()));
    out.push(("v02_elf32", elf(&|b| b[4] = 1)));
    out.push(("v02_cut", elf(&|b| b.truncate(63))));
    out.push(("v03_big_endian", elf(&|b| b[5] = 2)));
    out.push(("v04_table_outside", elf(&|b| put64(b, 0x28, 1 << 40))));
    out.push(("v04_cut", elf(&|b| b.truncate(b.len() - 1))));
    out.push((
        "v05_no_header",
        elf(&|b| {
            let at = b.windows(12).position(|w| w == b".pye.header\0").unwrap();
            b[at + 1..at + 4].copy_from_slice(b"PYE");
        }),
    ));
    out.push((
        "v06_nobits",
        elf(&|b| {
            let at = section_header(b, NAMES[NAME]);
            b[at + 4] = 8;
        }),
    ));
    out.push((
        "v07_compressed",
        elf(&|b| {
            let at = section_header(b, NAMES[NAME]);
            b[at + 9] |= 8;
        }),
    ));
    let mut twice = sample.clone();
    twice.extra.push((NAMES[NAME], b"\0".to_vec()));
    out.push(("v08_twice", twice.assemble()));
    let far = |start: u64, size: u64| {
        elf(&|b| {
            let at = section_header(b, NAMES[NAME]);
            put64(b, at + 24, start);
            put64(b, at + 32, size);
        })
    };
    out.push(("v09_outside", far(1 << 40, sample.parts[NAME].len() as u64)));
    out.push(("v09_end_overflows", far(u64::MAX, 2)));
    out.push((
        "v10_overlap",
        elf(&|b| {
            let (names, control) = (section_header(b, NAMES[NAME]), section_header(b, NAMES[CONTROL]));
            let start: [u8; 8] = b[control + 24..control + 32].try_into().unwrap();
            put64(b, names + 24, u64::from_le_bytes(start));
        }),
    ));
    out.push(("v10_over_the_elf_header", far(0, sample.parts[NAME].len() as u64)));

    // The header.
    let header = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sample.header_bytes();
        change(&mut bytes);
        sample.assemble_with(&bytes)
    };
    out.push(("v11_longer_header", header(&|h| h.extend([0; 8]))));
    out.push(("v11_shorter_header", header(&|h| h.truncate(h.len() - 8))));
    out.push(("v11_another_number_of_rows", header(&|h| h[32] += 1)));
    out.push((
        "v12_magic",
        header(&|h| {
            h[1] = b'P';
            fix_crc(h);
        }),
    ));
    out.push((
        "v13_major_2",
        header(&|h| {
            h[8] = 2;
            fix_crc(h);
        }),
    ));
    out.push((
        "v13_major_2_longer",
        header(&|h| {
            h[8] = 2;
            h.extend([0; 16]);
        }),
    ));
    out.push((
        "v13_major_0",
        header(&|h| {
            h[8] = 0;
            fix_crc(h);
        }),
    ));
    out.push(("v14_header_crc", header(&|h| h[16] ^= 1)));
    out.push(("v15_zeros", header(&|h| *h.last_mut().unwrap() = 1)));
    out.push((
        "v15_after_the_rows",
        header(&|h| {
            h[36] = 1;
            fix_crc(h);
        }),
    ));
    out.push((
        "v16_reserved_flag",
        header(&|h| {
            h[12] |= 2;
            fix_crc(h);
        }),
    ));
    out.push((
        "v17_section_zeros",
        header(&|h| {
            h[Header::ROWS_AT + 12] = 1;
            fix_crc(h);
        }),
    ));
    out.push((
        "v18_section_size",
        header(&|h| {
            h[Header::ROWS_AT + Header::ROW_LEN * (NAME - 1)] += 1;
            fix_crc(h);
        }),
    ));
    out.push((
        "v19_modules",
        header(&|h| {
            h[20] = 2;
            fix_crc(h);
        }),
    ));

    // Records.
    let record = |change: &dyn Fn(&mut Record)| {
        let mut parts = sample.clone();
        parts.edit(0, change);
        parts.assemble()
    };
    let record_byte = |at: usize, value: u8| {
        let mut parts = sample.clone();
        parts.parts[MODULES][at] = value;
        parts.assemble()
    };
    out.push(("v20_kind", record_byte(52, 4)));
    out.push(("v21_level", record_byte(53, 3)));
    out.push(("v22_control_outside", record(&|r| r.control_len += 1)));
    out.push(("v22_control_overflows", record(&|r| r.control = u64::MAX)));
    out.push(("v23_holes_outside", record(&|r| r.holes_len += 1)));
    out.push(("v24_name_outside", record(&|r| r.name = u32::MAX)));
    let mut endless = sample.clone();
    let names = &mut endless.parts[NAME];
    names.pop();
    out.push(("v24_no_nul", endless.assemble()));
    let path = |parts: &Parts, path: &[u8]| {
        let mut parts = parts.clone();
        let at = parts.parts[NAME].len() as u32;
        parts.parts[NAME].extend([path, b"\0"].concat());
        let last = parts.header.modules as usize - 1;
        parts.edit(last, |r| r.path = at);
        parts.assemble()
    };
    out.push(("v24_too_long", path(&sample, &[b'a'; limits::MAX_PATH_BYTES + 1])));
    out.push(("v25_empty", path(&sample, b"")));
    out.push(("v25_parent", path(&package, b"../outside.pyc")));
    out.push(("v25_parent_inside", path(&package, b"tails/../../outside.pyc")));
    out.push(("v25_absolute", path(&package, b"/etc/outside.pyc")));
    out.push(("v25_dot", path(&package, b"tails/./c.pyc")));
    out.push(("v25_slash_at_the_end", path(&package, b"tails/c.pyc/")));
    out.push(("v26_directory", path(&sample, b"a/b.pyc")));

    // Joining.
    let holes = |bytes: Vec<u8>, count: u32| {
        let mut parts = plain(b"twelve bytes");
        parts.set_holes(bytes, count);
        parts.assemble()
    };
    out.push(("v27_padded", holes(vec![0x80, 0, 6], 1)));
    out.push(("v27_cut", holes(vec![0, 0x80], 1)));
    out.push(("v27_too_large", holes([&[0xff; 9][..], &[2, 6]].concat(), 1)));
    out.push(("v27_too_long", holes([&[0x80; 10][..], &[1, 6]].concat(), 1)));
    out.push(("v27_no_place", holes(table(&[0, 1 << 3]), 1)));
    out.push(("v28_below_0", holes(table(&[0, 1 << 3, zigzag(-1)]), 1)));
    out.push(("v28_too_far", holes(table(&[0, 1 << 3, zigzag(1 << 48)]), 1)));
    out.push(("v29_numbers_cut", holes([table(&[0, 3 << 3 | 6]), vec![0, 0]].concat(), 1)));
    out.push(("v29_wide_numbers_cut", holes([table(&[0, 3 << 3 | 7]), vec![0; 5]].concat(), 1)));
    out.push(("v30_gap", holes(table(&[13, 6]), 1)));
    let mut outside = one_blob(0, Store::Str1, b"text", b"text!");
    outside.set_holes(table(&[0, 5 << 3, 0]), 1);
    out.push(("v31_nul_outside", outside.assemble()));
    outside.set_holes(table(&[0, 4 << 3, zigzag(100)]), 1);
    out.push(("v31_blob_outside", outside.assemble()));
    out.push((
        "v32_character",
        one_blob(4, Store::Str4, &0x11_0000u32.to_le_bytes(), &[0xf4, 0x90, 0x80, 0x80]).assemble(),
    ));
    let mut other = sample.clone();
    other.edit(0, |r| r.pyc_len += 1);
    other.header.pyc_bytes += 1;
    out.push(("v33_shorter", other.assemble()));
    other.edit(0, |r| r.pyc_len -= 2);
    other.header.pyc_bytes -= 2;
    out.push(("v33_longer", other.assemble()));
    out.push(("v33_crc", record(&|r| r.pyc_crc ^= 1)));

    // Verifying.
    let rows = [
        ("v34_modules_crc", MODULES),
        ("v34_names_crc", NAME),
        ("v34_directories_crc", DIRECTORIES),
        ("v34_control_crc", CONTROL),
        ("v34_holes_crc", HOLES),
        ("v34_str1_crc", payload(Store::Str1)),
        ("v34_str2_crc", payload(Store::Str2)),
        ("v34_str4_crc", payload(Store::Str4)),
        ("v34_bytes_crc", payload(Store::Bytes)),
    ];
    for (name, part) in rows {
        out.push((
            name,
            header(&|h| {
                h[Header::ROWS_AT + Header::ROW_LEN * (part - 1) + 8] ^= 1;
                fix_crc(h);
            }),
        ));
    }
    let mut odd = sample.clone();
    odd.align = |_| 1;
    let str1 = payload(Store::Str1);
    if odd.parts[str1].len().is_multiple_of(2) {
        odd.parts[str1].push(0);
    }
    out.push(("v35_misaligned", odd.assemble()));
    let mut two = package.clone();
    two.header.flags = 0;
    for i in 0..two.header.modules as usize {
        let at = two.parts[NAME].len() as u32;
        two.parts[NAME].extend(format!("{i}.pyc\0").bytes());
        two.edit(i, |r| r.path = at);
    }
    out.push(("v36_modules", two.assemble()));
    let mut unsorted = package.clone();
    let last = package.header.modules as usize - 1;
    let (first, second) = (unsorted.record(last - 1), unsorted.record(last));
    unsorted.edit(last - 1, |r| *r = Record { name: second.name, path: second.path, ..first.clone() });
    unsorted.edit(last, |r| *r = Record { name: first.name, path: first.path, ..second.clone() });
    out.push(("v37_order", unsorted.assemble()));
    let mut gap = sample.clone();
    gap.parts[CONTROL].insert(0, 0);
    gap.edit(0, |r| r.control = 1);
    out.push(("v38_gap", gap.assemble()));
    let mut shared = sample.clone();
    let path_at = shared.parts[NAME].len() as u32;
    shared.header.flags = 1;
    shared.header.modules = 2;
    shared.header.pyc_bytes *= 2;
    shared.parts[NAME].extend(b"z.pyc\0");
    let again = Record { path: path_at, ..shared.record(0) };
    let mut bytes = Vec::new();
    again.put(&mut bytes);
    shared.parts[MODULES].extend(bytes);
    shared.parts[INDEX] = index(&[(&name_of(&shared, 0), 0)], 2, &shared);
    out.push(("v38_shared", shared.assemble()));
    let mut unused = sample.clone();
    unused.parts[CONTROL].push(0);
    out.push(("v38_rest", unused.assemble()));
    out.push(("v39_version", record(&|r| r.python = (3, 5))));
    out.push(("v39_raw_with_version", {
        let mut parts = plain(b"twelve bytes");
        parts.edit(0, |r| r.python = (3, 12));
        parts.assemble()
    }));
    out.push(("v40_magic", record(&|r| r.magic[0] ^= 1)));
    out.push(("v40_flags", record(&|r| r.flags ^= 1)));
    out.push(("v40_word", record(&|r| r.word[7] ^= 1)));
    let namespace = (0..package.header.modules as usize)
        .find(|i| package.record(*i).kind == ModuleKind::Namespace)
        .expect("the package has a namespace");
    let mut full = package.clone();
    full.edit(namespace, |r| r.pyc_crc = 1);
    out.push(("v41_namespace", full.assemble()));
    let mut total = sample.clone();
    total.header.pyc_bytes += 1;
    out.push(("v42_total", total.assemble()));
    // 16 MiB and a bit, from one blob of 16 kB used a thousand times.
    let blob = [b'x'; 16_384];
    let times = limits::MIN_EXPANDED / 16_384 + 1;
    let mut bomb = plain(b"");
    bomb.parts[str1] = [&blob[..], b"\0"].concat();
    let mut numbers = Vec::new();
    for i in 0..times {
        numbers.extend([0, 16_384 << 3, if i == 0 { 0 } else { zigzag(-16_385) }]);
    }
    bomb.set_holes(table(&numbers), times as u32);
    bomb.set_pyc(&blob.repeat(times as usize));
    out.push(("v43_expansion", bomb.assemble()));
    let mut same = package.clone();
    let real = (0..package.header.modules as usize).filter(|i| package.record(*i).kind != ModuleKind::Namespace);
    let [.., a, b] = real.collect::<Vec<_>>()[..] else { unreachable!() };
    let stolen = same.record(a).path;
    same.edit(b, |r| r.path = stolen);
    out.push(("v44_path_twice", same.assemble()));
    out.push(("v45_hole_count", record(&|r| r.hole_count += 1)));
    let mut open_end = one_blob(0, Store::Str1, b"text", b"text");
    *open_end.parts[str1].last_mut().unwrap() = b'!';
    out.push(("v46_no_nul", open_end.assemble()));
    out.push(("v47_ascii", one_blob(0, Store::Str1, b"\xe9", b"\xe9").assemble()));
    out.push(("v47_latin1", one_blob(1, Store::Str1, b"e", b"e").assemble()));
    out.push(("v47_latin1_utf8", one_blob(2, Store::Str1, b"e", b"e").assemble()));
    out.push(("v47_ucs2", one_blob(3, Store::Str2, b"\xe9\0", "\u{e9}".as_bytes()).assemble()));
    out.push(("v47_ucs4", one_blob(4, Store::Str4, b"\xb1\x03\0\0", "α".as_bytes()).assemble()));

    // The index.
    let keys: Vec<(Vec<u8>, u32)> = buckets(&package).iter().map(|r| (name_of(&package, *r as usize), *r)).collect();
    let entries: Vec<(&[u8], u32)> = keys.iter().map(|(n, r)| (&n[..], *r)).collect();
    let enough = (entries.len() * 2).next_power_of_two();
    let with_index = |index: Vec<u8>| {
        let mut parts = package.clone();
        parts.parts[INDEX] = index;
        parts.assemble()
    };
    let good = index_of(&entries, enough, &package);
    assert_eq!(good, package.parts[INDEX], "the test's own index is the writer's");
    let changed = |change: &dyn Fn(&mut Vec<u32>)| {
        let mut words: Vec<u32> = good.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        change(&mut words);
        with_index(words.iter().flat_map(|w| w.to_le_bytes()).collect())
    };
    out.push(("v48_no_index", with_index(Vec::new())));
    out.push((
        "v48_not_a_power_of_two",
        changed(&|w| {
            w[0] += 1;
            w.push(0);
        }),
    ));
    out.push(("v48_longer", changed(&|w| w.push(0))));
    out.push(("v49_too_full", with_index(index_of(&entries, enough / 2, &package))));
    let used = |w: &[u32]| (1..w.len()).find(|i| w[*i] != 0).unwrap();
    out.push((
        "v50_no_such_record",
        changed(&|w| {
            let at = used(w);
            w[at] = package.header.modules + 1;
        }),
    ));
    let hidden = (0..package.header.modules).find(|r| !entries.iter().any(|e| e.1 == *r)).unwrap();
    out.push((
        "v50_raw_record",
        changed(&|w| {
            let at = used(w);
            w[at] = hidden + 1;
        }),
    ));
    let loser = (0..package.header.modules)
        .find(|r| path_of(&package, *r as usize) == b"pkg.pyc")
        .expect("the module that the package hides");
    let winner = entries.iter().find(|e| e.0 == b"pkg" && package.record(e.1 as usize).python == (3, 12)).unwrap().1;
    out.push((
        "v50_hidden_module",
        changed(&|w| {
            let at = w[1..].iter().position(|b| *b == winner + 1).unwrap();
            w[at + 1] = loser + 1;
        }),
    ));
    out.push((
        "v51_twice",
        changed(&|w| {
            let at = (1..w.len() - 1).find(|i| w[*i] != 0 && w[i + 1] == 0).unwrap();
            w[at + 1] = w[at];
        }),
    ));
    out.push((
        "v52_not_found",
        changed(&|w| {
            // Away from its place, behind an empty bucket.
            let at = (1..w.len() - 2).find(|i| w[*i] != 0 && w[i + 1] == 0 && w[i + 2] == 0).unwrap();
            w.swap(at, at + 2);
        }),
    ));
    out.push((
        "v53_missing",
        changed(&|w| {
            // The last of a run, lest others are not found either.
            let at = (1..w.len() - 1).find(|i| w[*i] != 0 && w[i + 1] == 0).unwrap();
            w[at] = 0;
        }),
    ));

    // Rows of the header.
    out.push(("v54_fewer_rows", header(&|h| *h = with_rows(h, ROWS_PORTABLE - 1))));
    out.push(("v54_more_rows", header(&|h| *h = with_rows(h, ROWS_PORTABLE + 1))));
    out.push((
        "v54_fewer_rows_in_a_later_minor",
        header(&|h| {
            h[10] = 1;
            *h = with_rows(h, ROWS_PORTABLE - 1);
        }),
    ));
    out.push((
        "v54_rows_of_the_minor_before",
        header(&|h| {
            h[10] = 1;
            fix_crc(h);
        }),
    ));
    broken_directories(&sample, &package, &mut out);
    broken_image(&mut out);
    out
}

/// Of what the package says of its directories one thing made wrong.
fn broken_directories(sample: &Parts, package: &Parts, out: &mut Vec<(&'static str, Vec<u8>)>) {
    let good = &package.parts[DIRECTORIES];
    let number = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap()) as usize;
    let (rows, entries) = (number(0), number(4));
    // The directory with most to say.
    let row = (0..rows).map(|i| ROWS_AT + i * Row::LEN).max_by_key(|at| number(at + 8)).unwrap();
    let first = ROWS_AT + rows * Row::LEN + number(row + 4) * ENTRY_LEN;
    assert!(number(row + 8) > 1 && rows > 1);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut parts = package.clone();
        change(&mut parts.parts[DIRECTORIES]);
        parts.assemble()
    };
    let set = |at: usize, value: u32| changed(&|d| d[at..at + 4].copy_from_slice(&value.to_le_bytes()));
    let named = |at: usize, name: &[u8]| {
        let mut parts = package.clone();
        let offset = parts.parts[NAME].len() as u32;
        parts.parts[DIRECTORIES][at..at + 4].copy_from_slice(&offset.to_le_bytes());
        parts.parts[NAME].extend([name, b"\0"].concat());
        parts.assemble()
    };
    out.push(("v55_longer", changed(&|d| d.push(0))));
    out.push(("v55_cut", changed(&|d| d.truncate(7))));
    out.push(("v55_more_rows", set(0, u32::MAX)));
    out.push(("v56_reserved", set(row + 12, 1)));
    out.push(("v57_first", set(row + 4, u32::MAX)));
    out.push(("v57_count", set(row + 8, entries as u32 + 1)));
    out.push(("v58_path_outside", set(row, u32::MAX)));
    out.push(("v58_name_outside", set(first, u32::MAX)));
    out.push(("v58_path_too_long", named(row, &[b'a'; limits::MAX_PATH_BYTES + 1])));
    out.push(("v58_name_too_long", named(first, &[&[b'a'; limits::MAX_NAME_BYTES + 1][..], b"/"].concat())));
    out.push(("v59_parent", named(row, b"../pkg")));
    out.push(("v59_absolute", named(row, b"/pkg")));
    out.push(("v59_slash_at_the_end", named(row, b"pkg/")));
    out.push(("v60_parent", named(first, b"../")));
    out.push(("v60_below", named(first, b"a/b.so")));
    out.push(("v60_two_parts", named(first, b"legacy.mod.py")));
    out.push(("v60_other_suffix", named(first, b"legacy.pyo")));
    out.push(("v60_suffix_alone", named(first, b".so")));
    let swap = |at: usize, len: usize| changed(&|d| d[at..at + 2 * len].rotate_left(len));
    // Only the paths, so that the entries stay in order.
    let (path, next) = (number(ROWS_AT) as u32, number(ROWS_AT + Row::LEN) as u32);
    let order = changed(&|d| {
        d[ROWS_AT..ROWS_AT + 4].copy_from_slice(&next.to_le_bytes());
        d[ROWS_AT + Row::LEN..ROWS_AT + Row::LEN + 4].copy_from_slice(&path.to_le_bytes());
    });
    out.push(("v61_order", order));
    out.push(("v61_twice", set(ROWS_AT + Row::LEN, path)));
    out.push(("v62_gap", set(ROWS_AT + 4, 1)));
    out.push((
        "v62_rest",
        changed(&|d| {
            d[4..8].copy_from_slice(&(entries as u32 + 1).to_le_bytes());
            let last = d[d.len() - ENTRY_LEN..].to_vec();
            d.extend(last);
        }),
    ));
    out.push(("v63_order", swap(first, ENTRY_LEN)));
    out.push(("v63_twice", set(first + ENTRY_LEN, number(first) as u32)));
    let mut single = sample.clone();
    single.parts[DIRECTORIES] = vec![0; ROWS_AT];
    out.push(("v64_no_package", single.assemble()));
}

/// Of an image one thing made wrong.
fn broken_image(out: &mut Vec<(&'static str, Vec<u8>)>) {
    let good = File::of(craft::image());
    let image = Part::Image;
    let [_, patches, made, _, root, _] = good.tables;
    let module = HEAD_LEN;
    // All checksums right, then only those of sections, then only the header's own.
    let lie = |change: &dyn Fn(&mut File)| {
        let mut file = good.clone();
        change(&mut file);
        file.mend_inner();
        file.mend();
        file.bytes
    };
    let damage = |change: &dyn Fn(&mut File)| {
        let mut file = good.clone();
        change(&mut file);
        file.mend();
        file.bytes
    };
    let word = |at: usize, value: u32| lie(&|f| f.set32(image, at, value));
    let long = |at: usize, value: u64| lie(&|f| f.set64(image, at, value));
    out.push(("v65_crc", {
        let mut file = good.clone();
        file.part(image)[8] ^= 1;
        file.bytes
    }));
    out.push(("v66_version", word(0, 2)));
    out.push(("v67_reserved", word(4, 3)));
    out.push(("v67_reserved_at_156", word(156, 1)));
    out.push(("v68_build_id", word(28, 33)));
    out.push(("v69_counts", word(128, 1 << 20)));
    out.push(("v69_root", lie(&|f| f.part(image)[root] = 0xff)));
    out.push(("v70_part_of_a_page", {
        let mut file = good.clone();
        file.resize(Part::ImageOnce, file.range(Part::ImageOnce).len() - 8);
        file.mend();
        file.bytes
    }));
    out.push(("v71_places", word(152, 0)));
    out.push(("v72_pages", {
        let mut file = good.clone();
        file.resize(Part::ImageRelocations, file.range(Part::ImageRelocations).len() - BITS_ROW);
        file.mend();
        file.bytes
    }));
    out.push(("v72_runs", {
        let mut file = good.clone();
        file.resize(Part::ImagePages, file.range(Part::ImagePages).len() - 8);
        file.mend();
        file.bytes
    }));
    out.push(("v73_base", long(8, (0x2345 << 32) + 8)));
    out.push(("v74_hot", long(72, 1 << 40)));
    out.push(("v74_names", long(112, 1 << 40)));
    out.push(("v75_versions", word(64, 0)));
    out.push(("v76_root", long(module + 8, 8)));
    out.push(("v76_runs", word(module + 20, 1 << 20)));
    out.push(("v76_order", word(module, 1 << 20)));
    out.push(("v77_slot", long(patches, 8)));
    out.push(("v77_object", word(patches + 8, 0)));
    out.push(("v78_marshal", word(made + 4, 1 << 20)));
    out.push(("v79_runs", damage(&|f| f.part(Part::ImagePages)[0] ^= 1)));
    out.push(("v79_outside", lie(&|f| f.set32(Part::ImagePages, 4, 1 << 20))));
    out.push(("v80_relocations", damage(&|f| f.part(Part::ImageRelocations)[0] ^= 1)));
    out.push(("v81_page", damage(&|f| f.part(Part::ImageData)[100] ^= 1)));
    out.push(("v82_no_head", {
        let mut file = good.clone();
        file.resize(image, 0);
        file.mend();
        file.bytes
    }));
    out.push(("v83_no_package", {
        // A package of one module, without directories, that says it is none.
        let tree = tempfile::tempdir().unwrap();
        let sample = spec().join("conformance/valid/sample_312.pyc");
        fs::copy(sample, tree.path().join("sample_312.pyc")).unwrap();
        let mut file = File::of(small(&crate::link(tree.path()), 12, false));
        file.resize(Part::Directories, 0);
        file.set32(Part::Header, 12, 0);
        file.mend();
        file.bytes
    }));
    out.push(("v84_no_record", word(module + 32, 1000)));
    out.push(("v84_version", word(24, 0x030d_00f0)));
    out.push(("v85_empty_run", lie(&|f| f.set32(Part::ImagePages, 4, 0))));
    out.push(("v85_shared_runs", word(module + 32 + 16, good.u32(image, module + 16))));
    let once = good.range(Part::ImageOnce).start;
    let code = good.u64(image, module + 8) as usize - once;
    let field = |at: usize, value: u64| lie(&|f| f.set64(Part::ImageOnce, code + at, value));
    let to = |at: usize| good.u64(Part::ImageOnce, code + at);
    out.push(("v86_constants", field(24, to(112))));
    out.push(("v86_root", long(module + 8, (to(24) - good.u64(image, 8)) & !15)));
    out.push(("v87_size", field(16, 1 << 40)));
    out.push(("v87_between", field(136, to(136) + 8)));
    out.push(("v88_function", lie(&|f| f.set32(Part::ImageOnce, code + shape::FLAGS, 1))));
    out.push(("v89_count", field(0, 1)));
    out.push(("v89_hash", lie(&|f| f.set64(Part::ImageNames, 24, 5))));
    out.push(("v90_not_ascii", lie(&|f| f.part(Part::ImageNames)[40] = 0x80)));
    out.push(("v91_pointer", field(24, 8)));
    out.push(("v91_null", field(32, 0)));
    let mark = |offset: usize| {
        let (at, first) = (once + code + offset, good.objects().start);
        let (page, word) = ((at - first) / PAGE, at % PAGE / 8);
        lie(&|f| f.part(Part::ImageRelocations)[page * BITS_ROW + word / 8] ^= 1 << (word % 8))
    };
    out.push(("v91_marked", mark(64)));
    out.push((
        "v92_page",
        lie(&|f| {
            // Of the last run, which has the module's code.
            let last = (f.u32(image, module + 16) + f.u32(image, module + 20) - 1) as usize * 8;
            let (first, count) = (f.u32(Part::ImagePages, last), f.u32(Part::ImagePages, last + 4));
            f.set32(Part::ImagePages, last, first + 1);
            f.set32(Part::ImagePages, last + 4, count - 1);
        }),
    ));
    out.push(("v93_slot", long(patches, good.u64(image, patches) + 8)));
    out.push(("v94_fewer", word(68, good.u32(image, 68) - 1)));
    out.push(("v95_end", long(112, good.u64(image, 112) - 8)));
    out.push(("v96_note", field(152, 1)));
    out.push(("v97_twice", {
        // The module among its own constants, in the place of a class.
        let base = good.u64(image, 8);
        let first = (to(24) - base) as usize - once + 24;
        lie(&|f| f.set64(Part::ImageOnce, first, base + (once + code) as u64))
    }));
}

fn name_at(parts: &Parts, at: u32) -> Vec<u8> {
    let rest = &parts.parts[NAME][at as usize..];
    rest[..rest.iter().position(|b| *b == 0).unwrap()].to_vec()
}

fn name_of(parts: &Parts, record: usize) -> Vec<u8> {
    name_at(parts, parts.record(record).name)
}

fn path_of(parts: &Parts, record: usize) -> Vec<u8> {
    name_at(parts, parts.record(record).path)
}

/// The records in the index, sorted.
fn buckets(parts: &Parts) -> Vec<u32> {
    let words = parts.parts[INDEX].as_chunks::<4>().0;
    let mut records: Vec<u32> = words[1..].iter().filter_map(|b| u32::from_le_bytes(*b).checked_sub(1)).collect();
    records.sort_unstable();
    records
}

/// An index of `buckets` buckets with these names and records, put in in this order.
fn index_of(entries: &[(&[u8], u32)], buckets: usize, parts: &Parts) -> Vec<u8> {
    let mut table = vec![0u32; buckets];
    for (name, number) in entries {
        let record = parts.record(*number as usize);
        let mut at = pye::pye::index_hash(name, record.python, record.optimization) as usize % buckets;
        while table[at] != 0 {
            at = (at + 1) % buckets;
        }
        table[at] = number + 1;
    }
    std::iter::once(buckets as u32).chain(table).flat_map(u32::to_le_bytes).collect()
}

fn index(entries: &[(&Vec<u8>, u32)], buckets: usize, parts: &Parts) -> Vec<u8> {
    let entries: Vec<(&[u8], u32)> = entries.iter().map(|(n, r)| (&n[..], *r)).collect();
    index_of(&entries, buckets, parts)
}

// ---- .pyc ----------------------------------------------------------------------------------------------------------

/// A `.pyc` of 3.12 with this object.
fn of_312(object: &[u8]) -> Vec<u8> {
    [&3531u16.to_le_bytes()[..], b"\r\n", &[0; 12], object].concat()
}

/// The same with a code object whose fields are these where given: longs, then bytecode, constants, names, names and kinds of
/// local variables.
fn code_312(longs: [i32; 5], code: &[u8], consts: &[u8], names: &[u8], locals: (&[u8], &[u8])) -> Vec<u8> {
    let bytes = |b: &[u8]| [b"s", &(b.len() as u32).to_le_bytes()[..], b].concat();
    let longs: Vec<u8> = longs.iter().flat_map(|l| l.to_le_bytes()).collect();
    let strings = b"z\x01fz\x01mz\x01m\x01\0\0\0s\0\0\0\0s\0\0\0\0";
    of_312(&[b"c", &longs[..], &bytes(code), consts, names, locals.0, &bytes(locals.1), strings].concat())
}

fn consts_312(consts: &[u8]) -> Vec<u8> {
    code_312([0; 5], b"\x97\0", consts, b")\0", (b")\0", b""))
}

fn broken_pyc() -> Vec<(&'static str, Vec<u8>)> {
    let good = consts_312(b")\x01N");
    let deep = |levels: usize| consts_312(&[&b")\x01".repeat(levels)[..], b"N"].concat());
    let v2 = |object: &[u8]| [&62211u16.to_le_bytes()[..], b"\r\n\0\0\0\0", object].concat();
    let nothing: (&[u8], &[u8]) = (b")\0", b"");
    vec![
        ("p01_magic", [b"\x01\x02\x03\x04", &good[4..]].concat()),
        ("p01_no_crlf", [&good[..2], b"\n\r", &good[4..]].concat()),
        ("p01_cut", good[..3].to_vec()),
        ("p02_header_cut", good[..15].to_vec()),
        ("p03_flags", [&good[..4], &[4], &good[5..]].concat()),
        ("p04_unknown_type", consts_312(b")\x01?")),
        ("p04_type_of_another_version", consts_312(b")\x01:NNN")),
        ("p04_flag_in_27", v2(b"\xe9\0\0\0\0")),
        ("p05_nothing", of_312(b"")),
        ("p05_cut", good[..good.len() - 1].to_vec()),
        ("p05_string_cut", of_312(b"s\xff\xff\xff\x7fabc")),
        ("p05_count", of_312(b"(\xff\xff\xff\x7fN")),
        ("p06_negative_size", of_312(b"s\xff\xff\xff\xff")),
        ("p06_negative_count", of_312(b"(\0\0\0\x80")),
        ("p07_reference_ahead", consts_312(b")\x01r\0\0\0\0")),
        ("p07_negative_reference", consts_312(b")\x02\xe9\0\0\0\0r\xff\xff\xff\xff")),
        ("p07_interned_ahead", v2(b"R\0\0\0\0")),
        ("p08_null", consts_312(b")\x010")),
        ("p08_null_root", of_312(b"0")),
        ("p09_digits", of_312(b"l\0\0\0\x80")),
        ("p10_depth", deep(2000)),
        ("p11_no_code", of_312(b"N")),
        ("p12_digit", consts_312(b")\x01l\x01\0\0\0\0\x80")),
        ("p12_top_digit", consts_312(b")\x01l\x02\0\0\0\x01\0\0\0")),
        ("p13_decimal", consts_312(b")\x01f\x031.x")),
        ("p14_utf8", consts_312(b")\x01u\x01\0\0\0\xff")),
        ("p15_member", consts_312(b")\x01<\x01\0\0\0[\0\0\0\0")),
        ("p15_key", consts_312(b")\x01{[\0\0\0\0N0")),
        ("p16_unfinished", consts_312(b")\x01\xa9\x01r\0\0\0\0")),
        ("p17_consts", consts_312(b"[\0\0\0\0")),
        ("p17_names", code_312([0; 5], b"\x97\0", b")\0", b")\x01N", nothing)),
        ("p18_kinds", code_312([0; 5], b"\x97\0", b")\0", b")\0", (b")\x01z\x01a", b""))),
        ("p18_odd_bytecode", code_312([0; 5], b"\x97", b")\0", b")\0", nothing)),
        ("p19_negative", code_312([0, 0, 0, -1, 0], b"\x97\0", b")\0", b")\0", nothing)),
        ("p19_positional_only", code_312([0, 1, 0, 0, 0], b"\x97\0", b")\0", b")\0", nothing)),
    ]
}
