//! Every shape of file is ELF that the usual tools read, copy and strip without complaint, and what they write is still whole.
//!
//! Tools that are missing are named on standard error; with `PYE_REQUIRE_TOOLS` set that is a failure.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::tool::{self, Const, bytes, contents, good, put, pyc, text};
use pye::blob::{Kind, Store};
use pye::elf::read::sections;
use pye::holes::{Fill, Reader};
use pye::pye::read::Pye;
use pye::pye::{NAMES, Part, payload};
use rayon::prelude::*;

/// What a file may hold, one payload section or kind of record each.
const SHAPES: [&str; 7] = ["ASCII", "Latin-1", "UCS-2", "UCS-4", "bytes", "raw", "namespace"];

/// Constants that fill the sections of the first five shapes, as `mask` has them.
fn constants(mask: usize, what: &str) -> Vec<Const> {
    let all = [text(what, '.'), text(what, 'é'), text(what, '€'), text(what, '𝄞'), bytes(what)];
    all.into_iter().enumerate().filter(|(i, _)| mask & 1 << i != 0).map(|(_, c)| c).collect()
}

fn shape(mask: usize) -> String {
    let names: Vec<_> = (0..SHAPES.len()).filter(|i| mask & 1 << i != 0).map(|i| SHAPES[i]).collect();
    if names.is_empty() { "nothing cut".into() } else { names.join("+") }
}

/// One package of each combination, an empty one, and one single file of each combination of constants, under telling names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    fs::create_dir_all(directory.join("none")).unwrap();
    good(&[&"link", &directory.join("none"), &"--output", &directory.join("empty package.pye")]);
    files.push(directory.join("empty package.pye"));
    for mask in 0..1 << SHAPES.len() {
        let tree = directory.join(format!("tree {mask}"));
        put(tree.join("a.pyc"), pyc((3, 12), &constants(mask, "a")));
        put(tree.join("b.pyc"), pyc((3, 12), &constants(mask, "b")));
        if mask & 1 << 5 != 0 {
            put(tree.join("raw.pyc"), b"no .pyc");
        }
        if mask & 1 << 6 != 0 {
            put(tree.join("space/c.pyc"), pyc((3, 6), &constants(mask, "c")));
        }
        let package = directory.join(format!("package of {}.pye", shape(mask)));
        tool::run(&[&"link", &tree, &"--output", &package]);
        files.push(package);
        if mask < 1 << 5 {
            let single = directory.join(format!("single of {}.pye", shape(mask)));
            put(&single, tool::converted(&pyc((3, 12), &constants(mask, "a")), "a.pyc"));
            files.push(single);
        }
    }
    let raw = directory.join("single raw.pye");
    put(&raw, tool::converted(b"no .pyc", "raw.pyc"));
    let nothing = directory.join("single of no bytes.pye");
    put(&nothing, tool::converted(b"", "nothing.pyc"));
    files.extend([raw, nothing]);
    // And real packages, with a hundred symbols of both kinds of names.
    let variants =
        common::compile_variants(common::pythons().last().unwrap(), &["json", "email"], &directory.join("variants"));
    assert!(variants.len() >= 4);
    let library = directory.join("library.pye");
    good(&[&"link", &directory.join("variants"), &"--output", &library]);
    files.push(library);
    files
}

/// Whether the tool is there. The first time one is missing it is named.
fn have(tool: &'static str) -> bool {
    static MISSING: OnceLock<Vec<&'static str>> = OnceLock::new();
    let all = [
        "readelf",
        "objdump",
        "objcopy",
        "strip",
        "eu-elflint",
        "eu-readelf",
        "eu-strip",
        "llvm-readelf",
        "llvm-strip",
    ];
    let missing = MISSING.get_or_init(|| {
        let missing: Vec<_> = all.into_iter().filter(|t| Command::new(t).arg("--version").output().is_err()).collect();
        if !missing.is_empty() {
            // Not `eprintln!`: the test harness would hide it when the test passes.
            let _ = writeln!(io::stderr(), "note: tested without {}: not found", missing.join(", "));
        }
        // LLVM's are an extra: no distribution's minimal set has them.
        let required: Vec<_> = missing.iter().filter(|t| !t.starts_with("llvm-")).collect();
        assert!(
            required.is_empty() || std::env::var_os("PYE_REQUIRE_TOOLS").is_none(),
            "PYE_REQUIRE_TOOLS: {required:?} missing"
        );
        assert!(missing.len() < all.len(), "no ELF tool at all: install binutils or elfutils");
        missing
    });
    assert!(all.contains(&tool));
    !missing.contains(&tool)
}

/// Runs a tool, which must end with 0 and have nothing to say but its output, in which nothing is warned of.
fn accepts(tool: &str, args: &[&OsStr], file: &Path) {
    let output = Command::new(tool).args(args).env("LC_ALL", "C").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && err.is_empty(),
        "{tool} {args:?} on {}: {}\n{out}{err}",
        file.display(),
        output.status
    );
    // In column 0 or after the program's name; a module may be called `error`.
    let complaint = |l: &&str| l.to_lowercase().contains("warning:") || l.to_lowercase().contains("error:");
    assert_eq!(out.lines().find(complaint), None, "{tool} {args:?} on {}", file.display());
}

#[test]
fn readers_of_elf_accept_every_shape() {
    let directory = tempfile::tempdir().unwrap();
    files(directory.path()).par_iter().for_each(|file| {
        for (tool, args) in [
            ("readelf", &["-aW"][..]),
            ("readelf", &["--lint", "-aW"]),
            ("objdump", &["-h"]),
            ("objdump", &["-x"]),
            ("eu-elflint", &[]),
            ("eu-elflint", &["--gnu-ld"]),
            ("eu-readelf", &["-a"]),
            ("llvm-readelf", &["-a"]),
        ] {
            if have(tool) {
                let args: Vec<&OsStr> = args.iter().map(OsStr::new).chain([file.as_os_str()]).collect();
                accepts(tool, &args, file);
            }
        }
    });
}

#[test]
fn what_copiers_and_strippers_write_is_still_whole() {
    let directory = tempfile::tempdir().unwrap();
    files(directory.path()).par_iter().for_each(|file| {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        tool::run(&[&"unpack", &file, &"--output", &at("before")]);
        let before = if at("before").exists() { contents(&at("before"), &[]) } else { Default::default() };
        for (tool, args) in [
            ("objcopy", &[][..]),
            ("strip", &["-o"]),
            ("strip", &["-s", "-o"]),
            ("eu-strip", &["-o"]),
            ("llvm-strip", &["-o"]),
        ] {
            if !have(tool) {
                continue;
            }
            let out = at("out.pye");
            // objcopy takes IN OUT, the others -o OUT IN.
            let mut all: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
            all.extend(if tool == "objcopy" {
                [file.as_os_str(), out.as_os_str()]
            } else {
                [out.as_os_str(), file.as_os_str()]
            });
            accepts(tool, &all, file);
            good(&[&"verify", &out]);
            good(&[&"unpack", &out, &"--output", &at("after")]);
            let after = if at("after").exists() { contents(&at("after"), &[]) } else { Default::default() };
            assert!(after == before, "{tool} {args:?} of {}", file.display());
            // Page-aligned still: the payload can be mapped apart.
            let bytes = fs::read(&out).unwrap();
            aligned(&bytes, file);
            let _ = fs::remove_dir_all(at("after"));
            fs::remove_file(out).unwrap();
        }
    });
}

/// That the payload sections lie as `format-spec` says: in a package each on a page of its own, in a single file the first.
fn aligned(bytes: &[u8], file: &Path) {
    let pye = Pye::open(bytes).unwrap();
    let mut first = true;
    for store in Store::ALL {
        let range = pye.range(payload(store));
        if range.is_empty() {
            continue;
        }
        let align = if first || pye.header().is_package() { 4096 } else { store.width() };
        assert_eq!(range.start % align, 0, "{} of {}", store.section(), file.display());
        first = false;
    }
    if pye.header().is_package() && !pye.is_empty() {
        let control = pye.range(Part::Control as usize);
        assert!(control.is_empty() || control.start.is_multiple_of(4096), "control of {}", file.display());
    }
}

#[test]
fn blobs_are_aligned_canonical_and_end_in_nul() {
    let directory = tempfile::tempdir().unwrap();
    files(directory.path()).par_iter().for_each(|file| {
        let bytes = fs::read(file).unwrap();
        aligned(&bytes, file);
        let pye = Pye::open(&bytes).unwrap();
        let found = sections(&bytes, NAMES).unwrap();
        for (part, found) in found.iter().enumerate() {
            // Sections that would be empty are left out.
            assert_eq!(found.clone().unwrap_or_default(), pye.range(part), "{}", file.display());
            assert!(found.as_ref().is_none_or(|r| !r.is_empty()), "{}", file.display());
        }
        for module in pye.modules() {
            let module = module.unwrap();
            let mut reader = Reader::new(module.holes);
            while let Some((_, fill)) = reader.hole().unwrap() {
                let Fill::Blob(blob) = fill else { continue };
                let store = blob.kind.store();
                let section = pye.stores()[store as usize];
                blob.terminated(section).unwrap();
                assert!(
                    (pye.range(payload(store)).start as u64 + blob.offset * store.width() as u64)
                        .is_multiple_of(store.width() as u64)
                );
                let stored = blob.bytes(section).unwrap();
                let highest = match store {
                    Store::Str1 | Store::Bytes => u32::from(stored.iter().copied().max().unwrap_or(0)),
                    Store::Str2 => stored
                        .chunks(2)
                        .map(|c| u32::from(u16::from_le_bytes(c.try_into().unwrap())))
                        .max()
                        .unwrap_or(0),
                    Store::Str4 => {
                        stored.chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).max().unwrap_or(0)
                    }
                };
                let canonical = match blob.kind {
                    Kind::Ascii => highest < 0x80,
                    Kind::Latin1 | Kind::Latin1Utf8 => (0x80..0x100).contains(&highest),
                    Kind::Ucs2 => (0x100..0x1_0000).contains(&highest),
                    Kind::Ucs4 => (0x1_0000..=0x10_ffff).contains(&highest),
                    Kind::Bytes => true,
                };
                assert!(canonical, "{:?} with {highest:#x} in {}", blob.kind, file.display());
            }
        }
    });
}

#[test]
fn every_shape_has_the_sections_it_should() {
    for mask in 0..1usize << 5 {
        let file = tool::converted(&pyc((3, 12), &constants(mask, "m")), "m.pyc");
        let pye = Pye::open(&file).unwrap();
        let there = |store: Store| !pye.range(payload(store)).is_empty();
        assert_eq!(there(Store::Str1), mask & 0b11 != 0, "{}", shape(mask));
        assert_eq!(there(Store::Str2), mask & 0b100 != 0, "{}", shape(mask));
        assert_eq!(there(Store::Str4), mask & 0b1000 != 0, "{}", shape(mask));
        assert_eq!(there(Store::Bytes), mask & 0b1_0000 != 0, "{}", shape(mask));
    }
}
