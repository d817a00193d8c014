//! `format-spec/` against the code: the conformance files, the tables, the worked example, and the second reader, which uses
//! nothing but the text. Drop a file into `format-spec/conformance/valid` or `invalid` and it is tested.
//!
//! `make bless` (`PYE_BLESS=1`) writes what is compared here anew.

mod common;

#[path = "conformance/craft.rs"]
mod craft;
#[path = "conformance/example.rs"]
mod example;
#[path = "conformance/facts.rs"]
mod facts;
#[path = "conformance/invalid.rs"]
mod invalid;
#[path = "conformance/tables.rs"]
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pye::convert::{Converter, Options};
use pye::marshal::version::Version;
use pye::pye::directories::Row;
use pye::pye::read::Pye;
use pye::pye::{Header, ModuleKind, ROWS, ROWS_PORTABLE, Record};

use pye::tree::{self, PYC, SO};

/// The threshold the files are split with: below the default, so that small files have blobs.
const MIN_BLOB: u32 = 32;

/// `format-spec/`.
fn spec() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec")
}

/// Compares `bytes` with the golden file at `path`, or writes it when blessing. Only the machine of ELF files may differ.
fn golden(path: &Path, bytes: &[u8]) {
    if std::env::var_os("PYE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::read(path).ok().as_deref() != Some(bytes) {
            fs::write(path, bytes).unwrap();
        }
        return;
    }
    let mut there = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}; run `make bless`", path.display()));
    if there.starts_with(b"\x7fELF") && bytes.len() >= 20 && there.len() >= 20 {
        there[18..20].copy_from_slice(&bytes[18..20]);
    }
    if there != bytes {
        let at = there.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        let line = there[..at].iter().filter(|b| **b == b'\n').count() + 1;
        panic!("{} differs at byte {at} (line {line} if text); run `make bless` and look at the diff", path.display());
    }
}

/// Writes all files that tests read, once, when blessing: tests run at the same time.
fn bless_first() {
    static DONE: OnceLock<()> = OnceLock::new();
    if std::env::var_os("PYE_BLESS").is_some() {
        DONE.get_or_init(|| {
            check_valid();
            invalid::check_files();
        });
    }
}

/// The files of `directory` whose names end in `suffix`, sorted. There must be some.
fn files(directory: &str, suffix: &str) -> Vec<PathBuf> {
    let directory = spec().join("conformance").join(directory);
    let entries = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.is_file() && p.to_string_lossy().ends_with(suffix)).collect();
    files.sort();
    assert!(!files.is_empty(), "no {suffix} in {}", directory.display());
    files
}

/// The `.pye` of a file: `name.py312.pyc` is taken for one of 3.12 whatever its magic number.
fn convert(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let forced = name.strip_suffix(".py312.pyc").and_then(|_| Version::by_number(3, 12));
    let options = Options { min_blob: MIN_BLOB, min_bytes: 0, python_version: forced };
    let pyc = fs::read(path).unwrap();
    let mut converter = Converter::default();
    let (pye, raw) = converter.convert_bytes(&pyc, name.as_bytes(), options).unwrap();
    assert_eq!(raw.is_some(), name.starts_with("raw_"), "{name}: {raw:?}");
    pye.to_vec()
}

/// The package of a tree, linked from a copy whose directories have the mtimes that README.md says.
fn link(tree: &Path) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("tree");
    for (name, bytes) in common::tool::contents(tree, &[]) {
        common::tool::put(copy.join(name), bytes);
    }
    common::tool::settle(&copy);
    let (files, errors) = tree::find(&[copy], &[PYC[0], PYC[1], SO]);
    assert!(errors.is_empty(), "{errors:?}");
    let output = dir.path().join("package.pye");
    let options = Options { min_blob: MIN_BLOB, min_bytes: 0, python_version: None };
    let report = pye::link::link(&files, &output, options, &|_| {}).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    fs::read(output).unwrap()
}

/// `.pyc` files by path.
type Pycs = BTreeMap<String, Vec<u8>>;

/// Everything in `valid`, made anew: name without suffix, `.pye`, and the `.pyc` files it must give back (none where there is
/// nothing to compare with).
fn valid() -> Vec<(String, Vec<u8>, Pycs)> {
    let mut all = Vec::new();
    for path in files("valid", ".pyc") {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let name = file.strip_suffix(".pyc").unwrap().to_owned();
        all.push((name, convert(&path), [(file, fs::read(&path).unwrap())].into()));
    }
    for tree in fs::read_dir(spec().join("conformance/valid")).unwrap().map(|e| e.unwrap().path()) {
        if tree.is_dir() {
            let name = tree.file_name().unwrap().to_str().unwrap().to_owned();
            let (files, _) = tree::find(std::slice::from_ref(&tree), &PYC);
            let held = files.iter().map(|f| (f.relative.to_str().unwrap().to_owned(), fs::read(&f.path).unwrap()));
            all.push((name, link(&tree), held.collect()));
        }
    }
    all.extend(craft::valid().into_iter().map(|(name, bytes)| (name.to_owned(), bytes, BTreeMap::new())));
    all
}

#[test]
fn valid_files_are_written_as_blessed_and_give_back_their_pyc() {
    bless_first();
    check_valid();
}

fn check_valid() {
    for (name, bytes, pycs) in valid() {
        let base = spec().join("conformance/valid");
        golden(&base.join(format!("{name}.pye")), &bytes);
        let pye = Pye::open(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        pye.verify().unwrap_or_else(|e| panic!("{name}: {e}"));
        golden(&base.join(format!("{name}.dump")), facts::dump(&pye).as_bytes());
        let mut joined = BTreeMap::new();
        for module in pye.modules().map(Result::unwrap).filter(|m| m.record.kind != ModuleKind::Namespace) {
            let mut pyc = Vec::new();
            pye.join_into(&module, &mut pyc).unwrap();
            joined.insert(String::from_utf8(module.path.to_vec()).unwrap(), pyc);
        }
        assert!(pycs.is_empty() || joined == pycs, "{name}: other .pyc files than went in");
    }
}

#[test]
fn every_pye_in_valid_passes_and_every_one_is_tested() {
    bless_first();
    let mut names: Vec<String> = valid().into_iter().map(|(name, ..)| name + ".pye").collect();
    names.sort();
    for path in files("valid", ".pye") {
        let bytes = fs::read(&path).unwrap();
        let verified = Pye::open(&bytes).and_then(|pye| pye.verify());
        verified.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let dump = path.with_file_name(name.replace(".pye", ".dump"));
        golden(&dump, facts::dump(&Pye::open(&bytes).unwrap()).as_bytes());
        names.retain(|n| *n != name);
    }
    assert!(names.is_empty(), "not there: {names:?}; run `make bless`");
}

/// What the text calls small, in bytes.
#[test]
fn lengths_in_the_text_are_those_of_the_code() {
    let text = fs::read_to_string(spec().join("container.md")).unwrap();
    assert!(text.contains(&format!("{} bytes", Header::LEN)), "bytes of the header");
    assert!(text.contains(&format!("{} bytes", Header::len(true))), "bytes of the header with an image");
    assert!(text.contains(&format!("states {ROWS_PORTABLE} rows")), "rows of the header");
    assert!(text.contains(&format!("states {ROWS} rows")), "rows of the header with an image");
    let text = fs::read_to_string(spec().join("package.md")).unwrap();
    assert!(text.contains(&format!("{} bytes", Record::LEN)), "bytes of a record");
    assert!(text.contains(&format!("rows of {} bytes", Row::LEN)), "bytes of a directory's row");
}

// ---- The second reader ---------------------------------------------------------------------------------------------

/// Runs `format-spec/reader.py` with the newest interpreter there is.
fn reader(arguments: &[&std::ffi::OsStr]) -> (bool, String) {
    let python = common::pythons().iter().rfind(|p| p.at_least(3, 9)).expect("reader.py needs Python 3.9");
    let output = python.command().arg(spec().join("reader.py")).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "reader.py {arguments:?}: {errors}");
    (output.status.success(), text)
}

#[test]
fn the_second_reader_finds_the_same_in_valid_files() {
    bless_first();
    for (name, _, pycs) in valid() {
        let file = spec().join(format!("conformance/valid/{name}.pye"));
        let (good, listed) = reader(&["list".as_ref(), file.as_os_str()]);
        assert!(good, "{name}: {listed}");
        let dump = fs::read_to_string(file.with_file_name(format!("{name}.dump"))).unwrap();
        let (facts, _) = dump.split_once("\n\n").map_or((&dump[..], ""), |(a, b)| (a, b));
        assert_eq!(listed.trim_end(), facts.trim_end(), "{name}");
        let dir = tempfile::tempdir().unwrap();
        let (good, said) = reader(&["unpack".as_ref(), file.as_os_str(), dir.path().as_os_str()]);
        assert!(good, "{name}: {said}");
        let (found, errors) = tree::find(&[dir.path().to_path_buf()], &PYC);
        assert!(errors.is_empty());
        let held = found.iter().map(|f| (f.relative.to_str().unwrap().to_owned(), fs::read(&f.path).unwrap()));
        let held: Pycs = held.collect();
        assert!(pycs.is_empty() || held == pycs, "{name}: reader.py joins other files");
    }
}

#[test]
fn the_second_reader_refuses_invalid_files_by_the_same_rule() {
    bless_first();
    let rules = invalid::rules();
    let paths = files("invalid", ".pye");
    let mut arguments = vec!["verify".as_ref()];
    arguments.extend(paths.iter().map(|p| p.as_os_str()));
    let (good, said) = reader(&arguments);
    assert!(!good);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), paths.len(), "{said}");
    for (path, line) in paths.iter().zip(lines) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rule = &rules[&invalid::rule_of(name)];
        let verdict = line.strip_prefix(&format!("{}: ", path.display())).unwrap_or_else(|| panic!("{name}: {line}"));
        if rule.second_reader {
            assert!(verdict.starts_with(&format!("{}: ", rule.name)), "{name}: {verdict}");
        } else {
            assert_eq!(verdict, "good", "{name}: reader.py checks this rule: say so in validity.md");
        }
    }
}
