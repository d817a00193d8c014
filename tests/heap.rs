//! The heap costs against the interpreters' own account of the same objects.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use pye::heap::{Heap, Kind};
use pye::histogram::{Histogram, KINDS};
use pye::marshal::version::Version;

/// Compiles modules of the standard library, and a source of our own with what they lack, into `directory`.
const COMPILE: &str = r#"
import io, os, py_compile, sys
directory = sys.argv[1]
own = os.path.join(directory, 'own.py')
with io.open(own, 'w', encoding='utf-8') as file:
    file.write(u'''# -*- coding: utf-8 -*-
"""Module \u20ac docstring."""
class Shape(object):
    "Class docstring."
    def area(self):
        "identifier_like"
        return u"Latin \u00e9\u00e8", u"Euro \u20ac", u"Clef \U0001d11e", u"\u00e9", u"", b"", b"x", b"bytes constant"
    def same(self):
        "Class docstring."
        return [x for x in (1, 2) if x in {1, 2, 3, 4, 5, 6, 7}]
NUMBERS = (0, -5, -6, 256, 257, 1024, 1025, 2 ** 30 - 1, 2 ** 30, 2 ** 31, 2 ** 45, 2 ** 60, 2 ** 100, -2 ** 63, 1.5, 0.0, 2j)
def members(x):
    "Members."
    f = lambda y: "no docstring" in y
    g = ("no docstring" in y for y in x)
    return x in {%s}, x in {"a", "b"}, x[1:2], x[:], f, g
''' % u', '.join(map(str, range(300, 700))))
names = ['argparse', 'decimal', 'difflib', 'inspect', 'json.encoder', 'os', 're', 'textwrap', 'unittest.case', 'email.message',
         'collections.__init__', 'asyncio.tasks', 'typing', '_pydecimal', 'encodings.cp1252', 'encodings.aliases', 'pydoc']
stdlib = os.path.dirname(os.__file__)
for name in names + ['own']:
    source = own if name == 'own' else os.path.join(stdlib, *name.split('.')) + '.py'
    if os.path.exists(source):
        target = os.path.join(directory, name + '.pyc')
        py_compile.compile(source, target, doraise=True)
        print(target)
"#;

/// What the interpreter's objects tell apart.
fn group(kind: Kind, version: &Version) -> &'static str {
    match kind {
        Kind::Docstring | Kind::Text | Kind::Name => "strings",
        // 2.7 has one type for all.
        _ if version.major == 2 && (kind as usize) < Kind::STRINGS => "strings",
        Kind::Bytecode if version.at_least(3, 11) => "code",
        Kind::Bytecode => "bytecode",
        Kind::LineTable => "line_tables",
        Kind::ExceptionTable => "exception_tables",
        Kind::Bytes => "bytes",
        Kind::Tuple => "tuples",
        Kind::Number => "numbers",
        Kind::Code => "code",
        Kind::Container => "containers",
    }
}

/// Bytes and objects a kind, for each file.
type Account = BTreeMap<String, BTreeMap<String, (u64, u64)>>;

fn cpython(python: &Path, files: &[String]) -> Account {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/heap/walk.py");
    let output = Command::new(python).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut account = Account::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let [file, kind, objects, bytes] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        account.entry(file.into()).or_default().insert(kind.into(), (objects.parse().unwrap(), bytes.parse().unwrap()));
    }
    account
}

fn pye(file: &str, version: &Version) -> BTreeMap<String, (u64, u64)> {
    let bytes = std::fs::read(file).unwrap();
    let mut heap = Heap::new(32);
    heap.add_pyc(&bytes, None).unwrap();
    let mut account = BTreeMap::new();
    for (kind, cost) in heap.kinds().filter(|(_, cost)| cost.loaded.objects > 0) {
        let (objects, bytes) = account.entry(group(kind, version).to_owned()).or_insert((0, 0));
        *bytes += cost.loaded.heap;
        // Bytecode within a code object is no object of its own to CPython.
        if !(kind == Kind::Bytecode && version.at_least(3, 11)) {
            *objects += cost.loaded.objects;
        }
    }
    account.insert("docstrings".into(), (heap.kind(Kind::Docstring).loaded.objects, 0));
    account
}

#[test]
fn heap_matches_cpython() {
    let mut differences = String::new();
    for python in common::pythons() {
        let version = Version::by_number(python.version.0, python.version.1).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(&python.path).args(["-c", COMPILE]).arg(directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let files: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        assert!(files.len() > 10, "{files:?}");
        let theirs = cpython(&python.path, &files);
        damage_is_an_error_or_a_sum(files.last().unwrap());
        for file in &files {
            histogram_counts_the_same_strings(file);
            let (theirs, ours) = (&theirs[file], pye(file, version));
            if &ours != theirs {
                let _ = writeln!(differences, "CPython {version}, {file}:\n  pye     {ours:?}\n  CPython {theirs:?}");
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Interned strings that a file repeats are the one difference; names therefore are at least as many.
fn histogram_counts_the_same_strings(file: &str) {
    let bytes = std::fs::read(file).unwrap();
    let (mut heap, mut histogram) = (Heap::new(32), Histogram::new());
    heap.add_pyc(&bytes, None).unwrap();
    histogram.add_pyc(&bytes, None).unwrap();
    for &kind in KINDS {
        let (cost, class) = (heap.kind(kind).loaded, histogram.total(Some(kind)));
        if kind == Kind::Name {
            assert!(class.count >= cost.objects && class.bytes >= cost.payload, "{file}: {kind:?}");
        } else {
            assert_eq!((class.count, class.bytes), (cost.objects, cost.payload), "{file}: {kind:?}");
        }
    }
}

/// Any byte changed, and any length cut: no panic, and sums that the size of the file bounds.
fn damage_is_an_error_or_a_sum(file: &str) {
    let good = std::fs::read(file).unwrap();
    let mut errors = 0;
    let mut add = |bytes: &[u8]| {
        let mut heap = Heap::new(1);
        match heap.add_pyc(bytes, None) {
            Ok(_) => assert!(heap.total().loaded.objects <= bytes.len() as u64),
            Err(_) => errors += 1,
        }
    };
    for at in 0..good.len() {
        let mut bad = good.clone();
        for flip in [0x01, 0x10, 0x80, 0xff] {
            bad[at] = good[at] ^ flip;
            add(&bad);
        }
        add(&good[..at]);
    }
    assert!(errors > good.len());
}
