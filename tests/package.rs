//! What the linker puts into a package and what is found there by name: on real libraries and on small trees made up for each rule.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::tool::{
    self, Args, assert_same_modules, assert_same_pycs, bad, contents, fails, good, messages, module, put, settle,
};
use pye::pye::ModuleKind;
use pye::pye::read::Pye;
use serde_json::Value;

/// A directory, and paths below it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a module that `what` tells apart at each path.
    fn modules(&self, tree: &str, paths: &[&str]) -> PathBuf {
        let root = self.at(tree);
        paths.iter().for_each(|p| put(root.join(p), module(&format!("{tree}/{p}"))));
        root
    }
}

/// Links, verifies and opens; `check` is given the view.
fn with_package(paths: &[&Path], output: &Path, check: impl FnOnce(&Pye<'_>, &Value)) {
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"link"];
    args.extend(paths.iter().map(|p| p as &dyn AsRef<OsStr>));
    args.extend([&"--output" as &dyn AsRef<OsStr>, &output]);
    let report = good(&args);
    let bytes = fs::read(output).unwrap();
    let pye = Pye::open(&bytes).unwrap();
    pye.verify().unwrap();
    check(&pye, &report["packages"][0]);
}

/// The path of the module found by name.
fn found(pye: &Pye<'_>, name: &str, python: (u8, u8), level: u8) -> Option<String> {
    let module = pye.lookup(name.as_bytes(), python, level).unwrap()?;
    assert_eq!((module.name, module.record.python, module.record.optimization), (name.as_bytes(), python, level));
    Some(String::from_utf8(module.path.to_vec()).unwrap())
}

// ---- Names ---------------------------------------------------------------------------------------------------------

/// The name that a standard library's file is imported by, told without the linker's rules: its `__pycache__` files only.
fn dotted(relative: &Path) -> Option<String> {
    let mut parts: Vec<&str> = relative.iter().map(|p| p.to_str().unwrap()).collect();
    let file = parts.pop()?;
    assert_eq!(parts.pop(), Some("__pycache__"));
    let stem = &file[..file.find('.')?];
    parts.extend((stem != "__init__").then_some(stem));
    let plain = |part: &&str| {
        part.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) && !part.as_bytes()[0].is_ascii_digit()
    };
    parts.iter().all(plain).then(|| parts.join("."))
}

#[test]
fn every_module_of_a_standard_library_is_found_by_its_name_and_nothing_else_is() {
    let python = common::pythons().iter().rfind(|p| p.version.0 == 3).expect("a Python 3");
    let library = common::compiled_stdlib(python);
    let files: Vec<PathBuf> =
        common::pycs(&library).iter().map(|f| f.strip_prefix(&library).unwrap().to_path_buf()).collect();
    let place = Place::new();
    let tree = place.at("tree");
    files.iter().for_each(|f| put(tree.join(f), fs::read(library.join(f)).unwrap()));
    with_package(&[&tree], &place.at("p.pye"), |pye, report| {
        assert_eq!(report["modules"], files.len());
        let mut names = BTreeSet::new();
        for file in files.iter().filter(|f| f.extension().unwrap() == "pyc") {
            let Some(name) = dotted(file) else { continue };
            let level = match file.to_str().unwrap() {
                f if f.contains(".opt-1.") => 1,
                f if f.contains(".opt-2.") => 2,
                // Other levels are in the package, but no name finds them.
                f if f.contains(".opt-") => continue,
                _ => 0,
            };
            assert_eq!(found(pye, &name, python.version, level).as_deref(), file.to_str(), "{name}");
            names.insert((name, level));
        }
        assert!(names.len() > 500);
        let version = (python.version.0, python.version.1);
        for (name, level) in &names {
            let one_off =
                [format!("{name}x"), format!(".{name}"), format!("{name}."), format!("x.{name}"), name[1..].into()];
            for other in one_off.iter().filter(|o| !names.contains(&((*o).clone(), *level)) && !o.is_empty()) {
                // Directories without `__init__` have namespace records.
                let found = pye.lookup(other.as_bytes(), version, *level).unwrap();
                assert!(found.is_none_or(|m| m.record.kind == ModuleKind::Namespace), "{other}");
            }
            for other in [(version.0, version.1 + 1), (version.0, version.1 - 1), (2, 7), (0, 0)] {
                assert_eq!(found(pye, name, other, *level), None, "{name}");
            }
            for other in (0..=255).filter(|l| !names.contains(&(name.clone(), *l))) {
                assert!(
                    pye.lookup(name.as_bytes(), version, other)
                        .unwrap()
                        .is_none_or(|m| m.record.kind == ModuleKind::Namespace),
                    "{name} {other}"
                );
            }
        }
        assert_eq!(found(pye, "", version, 0), None);
    });
}

#[test]
fn packages_namespaces_versions_and_levels_are_kept_apart() {
    let place = Place::new();
    let tree = place.at("tree");
    let versions = [(2, 7), (3, 6), (3, 11), (3, 12), (3, 13), (3, 15)];
    for python in versions {
        let tag = format!("cpython-{}{}", python.0, python.1);
        for (path, level) in [
            ("pkg/__pycache__/__init__.T.pyc", ""),
            ("pkg/__pycache__/mod.T.pyc", ""),
            ("pkg/__pycache__/mod.T.opt-1.pyc", "1"),
            ("pkg/__pycache__/mod.T.opt-2.pyc", "2"),
            ("pkg/__pycache__/mod.T.opt-odd.pyc", "odd"),
            ("space/deep/__pycache__/leaf.T.pyc", ""),
            ("space/__pycache__/top.T.pyc", ""),
            ("__pycache__/single.T.pyc", ""),
            ("__pycache__/not-a-name.T.pyc", ""),
            ("lib-1.0/inner/__pycache__/mod.T.pyc", ""),
        ] {
            let path = path.replace('T', &tag);
            put(tree.join(&path), tool::pyc(python, &[tool::text(&format!("{path} {level}"), '.')]));
        }
    }
    // Of one version alone: a level without the package's own `__init__`.
    put(tree.join("pkg/__pycache__/extra.cpython-312.opt-1.pyc"), module("extra"));
    with_package(&[&tree], &place.at("p.pye"), |pye, report| {
        assert_eq!(report["duplicates"], Value::Array(vec![]));
        // space and space.deep and inner of each version; pkg at levels 1 and 2 of each, where only its modules are.
        assert_eq!(report["namespaces"], versions.len() * 5);
        for python in versions {
            let tag = format!("cpython-{}{}", python.0, python.1);
            let is = |name: &str, level, path: Option<&str>| {
                assert_eq!(
                    found(pye, name, python, level),
                    path.map(|p| p.replace('T', &tag)),
                    "{name} {python:?} {level}"
                );
            };
            is("pkg", 0, Some("pkg/__pycache__/__init__.T.pyc"));
            is("pkg.mod", 0, Some("pkg/__pycache__/mod.T.pyc"));
            is("pkg.mod", 1, Some("pkg/__pycache__/mod.T.opt-1.pyc"));
            is("pkg.mod", 2, Some("pkg/__pycache__/mod.T.opt-2.pyc"));
            is("pkg.mod", 3, None);
            is("pkg.mod", 255, None);
            is("pkg.__init__", 0, None);
            is("pkg.extra", 0, None);
            is("pkg.extra", 1, (python == (3, 12)).then_some("pkg/__pycache__/extra.cpython-312.opt-1.pyc"));
            is("space", 0, Some("space"));
            is("space.deep", 0, Some("space/deep"));
            is("space.deep.leaf", 0, Some("space/deep/__pycache__/leaf.T.pyc"));
            is("space", 1, None);
            is("single", 0, Some("__pycache__/single.T.pyc"));
            is("not-a-name", 0, None);
            is("inner.mod", 0, Some("lib-1.0/inner/__pycache__/mod.T.pyc"));
            is("inner", 0, Some("lib-1.0/inner"));
            let kind = |name: &[u8]| pye.lookup(name, python, 0).unwrap().unwrap().record.kind;
            assert_eq!(kind(b"pkg"), ModuleKind::Package);
            assert_eq!(kind(b"pkg.mod"), ModuleKind::Module);
            assert_eq!(kind(b"space.deep"), ModuleKind::Namespace);
        }
    });
    good(&[&"unpack", &place.at("p.pye"), &"--output", &place.at("back")]);
    assert_same_pycs(&place.at("back"), &tree);
}

#[test]
fn of_files_that_share_a_name_the_one_import_would_take_is_found() {
    let place = Place::new();
    // `__pycache__` before the legacy place, a package before a module, a module before a namespace.
    let tree = place.modules(
        "tree",
        &[
            "legacy.pyc",
            "__pycache__/legacy.cpython-312.pyc",
            "both.pyc",
            "both/__init__.pyc",
            "shadow.pyc",
            "shadow/leaf.pyc",
            "a.pyo",
        ],
    );
    with_package(&[&tree], &place.at("p.pye"), |pye, report| {
        let is = |name: &str, level, path: &str| assert_eq!(found(pye, name, (3, 12), level).as_deref(), Some(path));
        is("legacy", 0, "__pycache__/legacy.cpython-312.pyc");
        is("both", 0, "both/__init__.pyc");
        is("shadow", 0, "shadow.pyc");
        is("shadow.leaf", 0, "shadow/leaf.pyc");
        is("a", 1, "a.pyo");
        let mut reported: Vec<_> = report["duplicates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| [&d["name"], &d["kept"], &d["other"]].map(|v| v.as_str().unwrap().to_string()))
            .collect();
        reported.sort();
        let expected =
            [["both", "both/__init__.pyc", "both.pyc"], ["legacy", "__pycache__/legacy.cpython-312.pyc", "legacy.pyc"]];
        assert_eq!(reported, expected.map(|d| d.map(String::from)), "{report:#}");
        assert_eq!(report["modules"], 7, "all are in the package");
    });
    good(&[&"unpack", &place.at("p.pye"), &"--output", &place.at("back")]);
    assert_same_pycs(&place.at("back"), &tree);
}

#[test]
fn the_first_root_wins_where_two_hold_one_path() {
    let place = Place::new();
    let first = place.modules("first", &["same.pyc", "one.pyc", "lib-x/deep.pyc"]);
    let second = place.modules("second", &["same.pyc", "two.pyc", "lib-y/deep.pyc"]);
    for (roots, winner) in [([&first, &second], &first), ([&second, &first], &second)] {
        let output = place.at("p.pye");
        with_package(&[roots[0], roots[1]], &output, |pye, report| {
            assert_eq!(report["modules"], 5);
            let duplicates = report["duplicates"].as_array().unwrap();
            assert_eq!(duplicates.len(), 2, "{report:#}");
            let same = duplicates.iter().find(|d| d["name"] == "same.pyc").unwrap();
            assert_eq!(same["kept"], winner.join("same.pyc").to_str().unwrap());
            assert_eq!(same["other"], roots[1].join("same.pyc").to_str().unwrap());
            assert!(same["reason"].as_str().unwrap().contains("left out"));
            let deep = duplicates.iter().find(|d| d["name"] == "deep").unwrap();
            assert!(deep["reason"].as_str().unwrap().contains("in the package"));
            let module = pye.lookup(b"same", (3, 12), 0).unwrap().unwrap();
            let mut bytes = Vec::new();
            pye.join_into(&module, &mut bytes).unwrap();
            assert!(bytes == fs::read(winner.join("same.pyc")).unwrap());
        });
    }
}

// ---- Inputs --------------------------------------------------------------------------------------------------------

/// A tree of real packages, and what is hard about it: raw files, an empty one, several versions.
fn mixed(place: &Place) -> PathBuf {
    let tree = place.at("mixed");
    let directory = tempfile::tempdir().unwrap();
    for python in common::pythons().iter().rev().take(2) {
        for variant in common::compile_variants(python, &["json", "abc.py"], directory.path()) {
            for file in common::pycs(&variant.dir) {
                let relative = file.strip_prefix(&variant.dir).unwrap();
                put(tree.join(variant.name).join(relative), fs::read(&file).unwrap());
            }
        }
        fs::remove_dir_all(directory.path()).unwrap();
    }
    put(tree.join("odd/raw.pyc"), b"not a .pyc at all, but long enough to be cut if it were");
    put(tree.join("odd/empty.pyc"), b"");
    put(tree.join("odd/trailing.pyc"), [&module("trailing")[..], b"more"].concat());
    tree
}

#[test]
fn pye_files_and_packages_link_to_the_package_of_their_pyc_files() {
    let place = Place::new();
    let tree = mixed(&place);
    settle(&tree);
    let raw = bad(&[&"link", &tree, &"--output", &place.at("pyc.pye")]);
    assert_eq!(messages(&raw["packages"][0]["kept_raw"]).len(), 2, "{raw:#}");
    assert_eq!(raw["failed"], Value::Array(vec![]));
    bad(&[&"convert", &tree, &"--output", &place.at("pye")]);
    bad(&[&"link", &place.at("pye"), &"--output", &place.at("from-pye.pye")]);
    bad(&[&"link", &place.at("pyc.pye"), &"--output", &place.at("from-package.pye")]);
    // Half of it from a package, half from .pye files.
    let half = place.at("half");
    fs::create_dir_all(&half).unwrap();
    good(&[&"link", &tree.join("legacy"), &"--output", &half.join("x.pye")]);
    let whole = fs::read(place.at("pyc.pye")).unwrap();
    // Of .pye files it is not known which directories their modules stand in; all else is the same.
    let from_pye = fs::read(place.at("from-pye.pye")).unwrap();
    assert!(fs::read(place.at("from-package.pye")).unwrap() == from_pye);
    assert_same_modules(&place.at("pyc.pye"), &place.at("from-pye.pye"));
    let paths = |pye: &Pye<'_>, known: bool| -> Vec<Vec<u8>> {
        let rows = pye.directories().unwrap().iter().map(Result::unwrap);
        rows.inspect(|d| assert_eq!(d.mtime_ns.is_some(), known)).map(|d| d.path.to_vec()).collect()
    };
    let [whole_view, other] = [&whole, &from_pye].map(|bytes| Pye::open(bytes).unwrap());
    assert_eq!(paths(&whole_view, true), paths(&other, false));
    for package in ["pyc.pye", "from-pye.pye"] {
        let back = place.at(format!("back-{package}"));
        good(&[&"unpack", &place.at(package), &"--output", &back]);
        assert_same_pycs(&back, &tree);
        let report = good(&[&"verify", &place.at(package), &"--against", &tree]);
        assert_eq!(report["raw"], 2);
    }
    // Converted beside the .pyc files, each module is there twice; the .pyc wins, and the package is the same again.
    bad(&[&"convert", &tree]);
    settle(&tree);
    bad(&[&"link", &tree, &"--output", &place.at("beside.pye")]);
    assert!(fs::read(place.at("beside.pye")).unwrap() == whole);
}

#[test]
fn lists_of_files_are_read_from_a_file() {
    let place = Place::new();
    let tree = place.modules("tree", &["a.pyc", "b c.pyc", "left-out.pyc"]);
    let list = format!("{0}/a.pyc\n\n{0}/b c.pyc\n", tree.display());
    put(place.at("list"), &list);
    let report = good(&[&"link", &"--files-from", &place.at("list"), &"--output", &place.at("p.pye")]);
    assert_eq!(report["packages"][0]["modules"], 2);
    let mut child = tool::command(&[&"link", &"--files-from", &"-", &"--output", &place.at("q.pye")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), list.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(fs::read(place.at("p.pye")).unwrap() == fs::read(place.at("q.pye")).unwrap());
    let missing = fails(&[&"link", &"--files-from", &place.at("no-such-list"), &"--output", &place.at("r.pye")]);
    assert!(missing.contains("no-such-list"), "{missing}");
    assert!(!place.at("r.pye").exists());
    assert_eq!(tool::run(&[&"link", &"--output", &place.at("r.pye")]).status.code(), Some(2), "no path at all");
}

#[test]
fn distributions_get_a_package_each() {
    let place = Place::new();
    let site = place.modules(
        "site-packages",
        &[
            "alpha/__init__.pyc",
            "alpha/__pycache__/core.cpython-312.pyc",
            "alpha/with, comma.pyc",
            "alpha/with \"quote\".pyc",
            "beta.pyc",
            "stray.pyc",
        ],
    );
    put(
        site.join("alpha-1.0.dist-info/RECORD"),
        "alpha/__init__.pyc,sha256=x,12\nalpha/core.py,sha256=x,12\n\"alpha/with, comma.pyc\",,\n\"alpha/with \"\"quote\"\".pyc\",,\n\
         ../../bin/alpha,,\nalpha-1.0.dist-info/RECORD,,\nalpha/gone.py,,\n",
    );
    put(site.join("beta-2.dist-info/RECORD"), "beta.py,,\r\nbeta-2.dist-info/RECORD,,\r\n");
    // Installed by hand: no RECORD.
    put(site.join("gamma-3.dist-info/METADATA"), "");
    let out = place.at("out");
    let report = bad(&[&"link", &site, &"--per-distribution", &"--output", &out]);
    assert!(messages(&report["failed"])[0].contains("gamma-3.dist-info/RECORD"), "{report:#}");
    fs::remove_dir_all(site.join("gamma-3.dist-info")).unwrap();
    let report = good(&[&"link", &site, &"--per-distribution", &"--output", &out]);
    let counts: BTreeMap<&str, u64> = report["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["path"].as_str().unwrap().rsplit('/').next().unwrap(), p["modules"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, BTreeMap::from([("alpha-1.0.pye", 4), ("beta-2.pye", 1), ("unclaimed.pye", 1)]));
    good(&[&"unpack", &out, &"--output", &place.at("back")]);
    assert_same_pycs(&place.at("back"), &site);
}

#[test]
fn what_cannot_be_linked_as_asked_leaves_what_was_there() {
    let place = Place::new();
    let tree = place.modules("tree", &["a.pyc", "b/__init__.pyc"]);
    let output = place.at("p.pye");
    good(&[&"link", &tree, &"--output", &output]);
    let before = fs::read(&output).unwrap();
    let interpreter = "/no/such/python";
    let profile = place.at("no.profile");
    let python = &common::pythons().iter().rfind(|p| p.at_least(3, 12)).expect("CPython 3.12 or later").path;
    let link: Args<'_> = &[&"link", &"--output", &output];
    let said = |more: Args<'_>| fails(&[link, more].concat());
    let report = bad(&[&"link", &"--output", &output, &place.at("missing")]);
    assert!(
        messages(&report["failed"])[0].contains("missing") && report["packages"] == Value::Array(Vec::new()),
        "{report:#}"
    );
    assert!(said(&[&tree, &"--image", &"--python", &interpreter]).contains(interpreter));
    assert!(said(&[&tree, &"--image", &"--python", python, &"--profile", &profile]).contains("no.profile"));
    assert!(said(&[&tree, &tree, &"--image", &"--python", python]).contains("one directory"));
    assert!(fs::read(&output).unwrap() == before);
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn a_comparison_with_nothing_does_not_pass() {
    let place = Place::new();
    let tree = place.modules("tree", &["a.pyc"]);
    let output = place.at("p.pye");
    good(&[&"link", &tree, &"--output", &output]);
    good(&[&"verify", &output, &"--against", &tree]);
    let missing = place.at("missing");
    assert!(fails(&[&"verify", &output, &"--against", &missing]).contains("no such directory"));
    fs::create_dir(&missing).unwrap();
    let report = bad(&[&"verify", &output, &"--against", &missing]);
    assert!(messages(&report["bad"])[0].contains("something to compare with"), "{report:#}");
}

#[test]
fn distributions_of_a_virtual_environment_get_a_package_each() {
    let python =
        common::pythons().iter().rfind(|p| p.version.0 == 3 && has_ensurepip(p)).expect("a Python 3 with ensurepip");
    let place = Place::new();
    let env = place.at("env");
    let output = python.command().args(["-m", "venv"]).arg(&env).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let site = env.join(format!("lib/python{}/site-packages", python.name()));
    assert!(python.command().args(["-m", "compileall", "-q"]).arg(&site).status().unwrap().success());
    let out = place.at("out");
    let report = good(&[&"link", &site, &"--per-distribution", &"--output", &out]);
    let pip = report["packages"].as_array().unwrap().iter().find(|p| p["path"].as_str().unwrap().contains("/pip-"));
    assert!(pip.unwrap()["modules"].as_u64() > Some(100), "{report:#}");
    good(&[&"unpack", &out, &"--output", &place.at("back")]);
    assert_same_pycs(&place.at("back"), &site);
}

fn has_ensurepip(python: &common::Python) -> bool {
    python.command().args(["-c", "import ensurepip, venv"]).output().is_ok_and(|o| o.status.success())
}

#[test]
fn what_is_written_into_the_tree_is_not_linked_again() {
    let place = Place::new();
    let tree = place.modules("tree", &["a.pyc", "b/c.pyc"]);
    let output = tree.join("all.pye");
    settle(&tree);
    good(&[&"link", &tree, &"--output", &output]);
    let first = fs::read(&output).unwrap();
    for _ in 0..2 {
        // Its own arrival has changed the directory, whose mtime the package holds.
        settle(&tree);
        let report = good(&[&"link", &tree, &"--output", &output]);
        assert_eq!(
            (&report["packages"][0]["modules"], &report["packages"][0]["duplicates"]),
            (&2.into(), &Value::Array(vec![]))
        );
        assert!(fs::read(&output).unwrap() == first);
    }
    // A module that has gone must not come back from the package of the run before.
    fs::remove_file(tree.join("b/c.pyc")).unwrap();
    assert_eq!(good(&[&"link", &tree, &"--output", &output])["packages"][0]["modules"], 1);
    fs::remove_file(&output).unwrap();
    let output = tree.join("packages");
    let first = good(&[&"link", &tree, &"--per-distribution", &"--output", &output]);
    let again = good(&[&"link", &tree, &"--per-distribution", &"--output", &output]);
    assert_eq!(first, again);
}

// ---- Determinism ---------------------------------------------------------------------------------------------------

#[test]
fn the_same_files_give_the_same_bytes() {
    let place = Place::new();
    let tree = mixed(&place);
    let (one, two) = (place.at("mixed/O"), place.at("mixed/legacy"));
    good(&[&"link", &one, &two, &"--output", &place.at("0.pye"), &"--jobs", &"1"]);
    let reference = fs::read(place.at("0.pye")).unwrap();
    for jobs in ["1", "2", "3", "7"] {
        good(&[&"link", &one, &two, &"--output", &place.at("n.pye"), &"--jobs", &jobs]);
        assert!(fs::read(place.at("n.pye")).unwrap() == reference, "{jobs} threads");
    }
    // Another order of paths: of roots that do not overlap, by their files one by one.
    let mut files = common::pycs(&one);
    files.extend(common::pycs(&two));
    let args = |files: &[PathBuf]| -> Vec<u8> {
        let list: Vec<u8> = files.iter().flat_map(|f| [f.as_os_str().as_bytes(), b"\n"].concat()).collect();
        put(place.at("list"), list);
        good(&[&"link", &"--files-from", &place.at("list"), &"--output", &place.at("n.pye")]);
        fs::read(place.at("n.pye")).unwrap()
    };
    // Files named themselves stand at the root: only those whose names differ.
    let mut seen = BTreeSet::new();
    files.retain(|f| seen.insert(f.file_name().unwrap().to_os_string()));
    let forward = args(&files);
    files.reverse();
    assert!(args(&files) == forward, "reversed");
    let middle = files.len() / 3;
    files.rotate_left(middle);
    assert!(args(&files) == forward, "rotated");
    // Other mtimes of files, another place, another working directory, a relative path.
    let copy = place.at("elsewhere/copy");
    for (name, bytes) in contents(&tree, &[]) {
        put(copy.join(&name), bytes);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * name.as_os_str().len() as u64);
        File::options().write(true).open(copy.join(&name)).unwrap().set_modified(time).unwrap();
    }
    // Those of directories are part of what is linked.
    [&tree, &copy].into_iter().for_each(|t| settle(t));
    bad(&[&"link", &tree, &"--output", &place.at("0.pye")]);
    let status = tool::command(&[&"link", &"copy/../copy/.", &"--output", &"../n.pye"])
        .current_dir(place.at("elsewhere"))
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(1), "two files are raw");
    assert!(fs::read(place.at("n.pye")).unwrap() == fs::read(place.at("0.pye")).unwrap());
    // Single files too, whatever their mtime.
    bad(&[&"convert", &tree, &"--output", &place.at("x"), &"--jobs", &"1"]);
    bad(&[&"convert", &copy, &"--output", &place.at("y"), &"--jobs", &"3"]);
    assert!(contents(&place.at("x"), &[]) == contents(&place.at("y"), &[]));
}

// ---- Directories ---------------------------------------------------------------------------------------------------

/// What a package says of its directories: path, mtime, names.
type Directories = BTreeMap<String, (Option<i64>, Vec<String>)>;

fn directories(pye: &Pye<'_>) -> Directories {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let rows = pye.directories().unwrap().iter().map(Result::unwrap);
    rows.map(|d| (text(d.path), (d.mtime_ns, d.names().map(|n| text(n.unwrap())).collect()))).collect()
}

fn mtime_ns(directory: &Path) -> Option<i64> {
    let meta = fs::metadata(directory).unwrap();
    Some(meta.mtime() * 1_000_000_000 + meta.mtime_nsec())
}

#[test]
fn a_package_tells_when_its_directories_changed_and_what_in_them_it_has_no_record_of() {
    let place = Place::new();
    let tree = place.modules(
        "tree",
        &[
            "__pycache__/top.cpython-312.pyc",
            "pkg/__init__.pyc",
            "pkg/__pycache__/fast.cpython-312.pyc",
            "pkg/__pycache__/foo.cpython-312.pyc",
            "pkg/twice/__init__.pyc",
            "pkg/both.pyc",
            "pkg/both/__pycache__/__init__.cpython-312.pyc",
            "pkg/part.pyc",
            "lib-1.0/deep/m.pyc",
            "not-a-name/not-a-name.pyc",
        ],
    );
    // A package of 3.12 hides a module of 3.6 too, of which there is no record.
    put(tree.join("pkg/__pycache__/part.cpython-36.pyc"), tool::pyc((3, 6), &[]));
    put(tree.join("pkg/part/__pycache__/__init__.cpython-312.pyc"), module("part"));
    put(tree.join("pkg/part/__init__.py"), "");
    put(tree.join("pkg/both/__init__.py"), "");
    for extension in [
        "pkg/fast.cpython-312-x86_64-linux-gnu.so",
        "pkg/fast.abi3.so",
        "pkg/other.so",
        // Beside a package of the same name, which hides it from every interpreter, not only from those it was compiled for.
        "pkg/twice.abi3.so",
        "pkg/.so",
        "pkg/directory.so/__init__.py",
        "native/deeper/_c.so",
        "lib-1.0/_x.so",
        "lib-2.0/_x.so",
        // Directories of which nothing was compiled: with an __init__ of some kind, or none, in which case they are portions of namespaces.
        "pkg/foo/__init__.py",
        "stubs/__init__.pyi",
        "extension/__init__.abi3.so",
        "data/file.txt",
        "not-a-package/__init__.py",
        "nothing-1.0/imports.this",
        // Sources with a record and without.
        "top.py",
        "pkg/fast.py",
        "pkg/uncompiled.py",
        "pkg/0001_initial.py",
        "pkg/nothing.imports.py",
    ] {
        put(tree.join(extension), "");
    }
    put(place.at("outside/__init__.py"), "");
    symlink(place.at("outside"), tree.join("pkg/linked")).unwrap();
    symlink("other.so", tree.join("pkg/link.so")).unwrap();
    symlink("nowhere", tree.join("pkg/dangling.so")).unwrap();
    let expected = |roots: &[(&str, &[&str])]| -> Directories {
        let row = |path: &str, names: &[&str]| {
            (mtime_ns(&tree.join(path)), names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>())
        };
        roots.iter().map(|(path, names)| ((*path).to_string(), row(path, names))).collect()
    };
    let rows: &[(&str, &[&str])] = &[
        // `pkg` and `top.py` have a record.
        ("", &["data/", "extension/", "native/", "not-a-name/", "not-a-package/", "stubs/"]),
        ("extension", &["__init__.abi3.so"]),
        // Records are named by what stands below it, so none is found by its path.
        ("lib-1.0", &["_x.so", "deep/"]),
        ("lib-1.0/deep", &["m.pyc"]),
        // An entry of `sys.path` may be called what it likes.
        ("lib-2.0", &["_x.so"]),
        ("native/deeper", &["_c.so"]),
        (
            "pkg",
            &[
                "0001_initial.py",
                "dangling.so",
                "fast.abi3.so",
                "fast.cpython-312-x86_64-linux-gnu.so",
                "foo/",
                "link.so",
                "linked/",
                "other.so",
                "part/",
                "twice.abi3.so",
                "twice/",
                "uncompiled.py",
            ],
        ),
        ("pkg/both", &[]),
        ("pkg/part", &[]),
        ("pkg/twice", &[]),
    ];
    with_package(&[&tree], &place.at("p.pye"), |pye, report| {
        assert_eq!(directories(pye), expected(rows), "{report:#}");
        assert_eq!(report["directories"], rows.len());
        let pkg = pye.directory(b"pkg").unwrap().unwrap();
        let named = |name: &[u8]| -> Vec<&[u8]> { pkg.named(name).map(Result::unwrap).collect() };
        assert_eq!(named(b"fast"), [&b"fast.abi3.so"[..], b"fast.cpython-312-x86_64-linux-gnu.so"]);
        assert_eq!(named(b"foo"), [b"foo/"]);
        assert_eq!(named(b"uncompiled"), [b"uncompiled.py"]);
        assert!(named(b"both").is_empty());
        assert!(pye.directory(b"native").unwrap().is_none());
    });
    let report = good(&[&"inspect", &place.at("p.pye"), &"--directories"]);
    let listed: Vec<(&str, Option<i64>, usize)> = report["directories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["path"].as_str().unwrap(), d["mtime_ns"].as_i64(), d["names"].as_array().unwrap().len()))
        .collect();
    let told: Vec<_> = rows.iter().map(|(path, names)| (*path, mtime_ns(&tree.join(path)), names.len())).collect();
    assert_eq!(listed, told);
    let output = tool::run(&[&"inspect", &place.at("p.pye"), &"--directories"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|l| l.trim_start().starts_with("native/deeper ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.ends_with(" _c.so") && line.contains(&mtime_ns(&tree.join("native/deeper")).unwrap().to_string()));
    // Of the tree of another root, of files that are named one by one, nothing else is said.
    let second = place.modules("second", &["pkg/more.pyc", "alone/m.pyc"]);
    with_package(&[&tree, &second], &place.at("p.pye"), |pye, _| {
        let all = directories(pye);
        assert_eq!(all["pkg"], (None, vec![]));
        assert_eq!(all["alone"], (mtime_ns(&second.join("alone")), vec![]), "its `m.pyc` has a record");
        assert_eq!(all["native/deeper"], (mtime_ns(&tree.join("native/deeper")), vec!["_c.so".to_string()]));
    });
    with_package(&[&tree.join("pkg/both.pyc"), &tree.join("pkg/part.pyc")], &place.at("p.pye"), |pye, _| {
        let all = directories(pye);
        assert_eq!(all[""].0, mtime_ns(&tree.join("pkg")));
        assert!(all[""].1.contains(&"both/".to_string()), "a package that is not in this one: {all:?}");
    });
    with_package(&[&tree.join("pkg/both.pyc"), &second.join("alone/m.pyc")], &place.at("p.pye"), |pye, _| {
        assert_eq!(directories(pye)[""], (None, vec![]));
    });
}

#[test]
fn a_change_of_a_directory_changes_its_mtime_in_the_package_and_nothing_else() {
    let place = Place::new();
    let tree = place.modules("tree", &["pkg/__init__.pyc", "pkg/m.pyc"]);
    settle(&tree);
    let rows = |output: PathBuf| {
        let mut rows = BTreeMap::new();
        with_package(&[&tree], &output, |pye, _| rows = directories(pye));
        rows
    };
    let before = rows(place.at("a.pye"));
    put(tree.join("pkg/m.abi3.so"), "");
    let after = rows(place.at("b.pye"));
    assert_eq!(after["pkg"], (mtime_ns(&tree.join("pkg")), vec!["m.abi3.so".to_string()]));
    assert_ne!(before["pkg"].0, after["pkg"].0);
    fs::remove_file(tree.join("pkg/m.abi3.so")).unwrap();
    settle(&tree);
    assert_eq!(rows(place.at("c.pye")), before);
    assert!(fs::read(place.at("a.pye")).unwrap() == fs::read(place.at("c.pye")).unwrap());
}

#[test]
fn files_of_other_interpreters_and_directories_that_are_excluded_are_left_out() {
    let place = Place::new();
    let tree = place.modules(
        "tree",
        &[
            "__pycache__/m.cpython-312.pyc",
            "__pycache__/m.cpython-312.opt-2.pyc",
            "__pycache__/m.cpython-313.pyc",
            "legacy.pyc",
            "site-packages/__pycache__/s.cpython-312.pyc",
            "test/__pycache__/__init__.cpython-312.pyc",
            "pkg/test/__pycache__/__init__.cpython-312.pyc",
            "pkg/skipped/deeper/__pycache__/m.cpython-312.pyc",
        ],
    );
    put(tree.join("test/__init__.py"), "");
    let linked = |more: Args<'_>| -> (Vec<String>, Directories) {
        let output = place.at("p.pye");
        good(&[&[&"link" as &dyn AsRef<OsStr>, &tree, &"--output", &output], more].concat());
        let bytes = fs::read(output).unwrap();
        let pye = Pye::open(&bytes).unwrap();
        pye.verify().unwrap();
        let real = pye.modules().map(Result::unwrap).filter(|m| m.record.kind != ModuleKind::Namespace);
        let mut paths: Vec<String> = real.map(|m| String::from_utf8(m.path.to_vec()).unwrap()).collect();
        paths.sort();
        (paths, directories(&pye))
    };
    let (of_312, _) = linked(&[&"--tag", &"cpython-312"]);
    assert_eq!(of_312.len(), 7);
    assert!(!of_312.iter().any(|p| p.contains("313")));
    assert_eq!(linked(&[&"--tag", &"cpython-312", &"--tag", &"cpython-313"]).0.len(), 8);
    assert_eq!(linked(&[&"--tag", &"pypy39"]).0, ["legacy.pyc"], "files without a tag are anybody's");
    let excluded: Args<'_> = &[
        &"--tag",
        &"cpython-313",
        &"--exclude",
        &"site-packages",
        &"--exclude",
        &"test/",
        &"--exclude",
        &"pkg/skipped",
    ];
    assert_eq!(linked(excluded).0, ["__pycache__/m.cpython-313.pyc", "legacy.pyc"]);
    let (paths, rows) = linked(&excluded[2..]);
    assert_eq!(
        paths,
        [
            "__pycache__/m.cpython-312.opt-2.pyc",
            "__pycache__/m.cpython-312.pyc",
            "__pycache__/m.cpython-313.pyc",
            "legacy.pyc",
            "pkg/test/__pycache__/__init__.cpython-312.pyc",
        ]
    );
    assert_eq!(
        rows[""].1,
        ["pkg/", "site-packages/", "test/"],
        "a namespace, and what is there though not in the package"
    );
    for bad in ["", ".", "..", "/x", "a/../b"] {
        let output = tool::run(&[&"link", &tree, &"--output", &place.at("x.pye"), &"--exclude", &bad]);
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
    }
}

// ---- Odd trees -----------------------------------------------------------------------------------------------------

#[test]
fn odd_names_come_back() {
    let place = Place::new();
    let tree = place.at("tree");
    let long = "n".repeat(245);
    let mut names: Vec<OsString> = [
        " .pyc",
        "a b.pyc",
        "größe.pyc",
        "-x.pyc",
        "new\nline.pyc",
        "tab\t.pyc",
        ".pyc.pyc",
        "a..b.pyc",
        "\u{202e}x.pyc",
        "%s{}.pyc",
    ]
    .map(OsString::from)
    .into();
    names.push(format!("{long}.pyc").into());
    names.push(OsStr::from_bytes(b"not-utf8-\xff\xfe.pyc").into());
    names.push(OsStr::from_bytes(b"dir\xff/m.pyc").into());
    // Close to the longest path there can be.
    let deep: PathBuf = std::iter::repeat_n("d".repeat(200), 15).collect();
    names.push(deep.join("m.pyc").into());
    for name in &names {
        put(tree.join(name), module(&name.to_string_lossy()));
    }
    good(&[&"link", &tree, &"--output", &place.at("p.pye")]);
    good(&[&"verify", &place.at("p.pye"), &"--against", &tree]);
    good(&[&"unpack", &place.at("p.pye"), &"--output", &place.at("back")]);
    assert_same_pycs(&place.at("back"), &tree);
    good(&[&"convert", &tree, &"--output", &place.at("pye")]);
    good(&[&"verify", &place.at("pye"), &"--against", &tree]);
    good(&[&"unpack", &place.at("pye"), &"--output", &place.at("back2")]);
    assert_same_pycs(&place.at("back2"), &tree);
}

#[test]
fn linked_files_are_read_and_linked_directories_are_not_followed() {
    let place = Place::new();
    let outside = place.modules("outside", &["file.pyc", "secret.pyc"]);
    let tree = place.modules("tree", &["plain.pyc", "sub/m.pyc"]);
    symlink(outside.join("file.pyc"), tree.join("linked.pyc")).unwrap();
    symlink(&outside, tree.join("linked-directory")).unwrap();
    symlink(&tree, tree.join("sub/loop")).unwrap();
    symlink("nowhere", tree.join("dangling.pyc")).unwrap();
    symlink(&outside, tree.join("directory.pyc")).unwrap();
    for command in ["link", "convert"] {
        let output = place.at(command);
        let report = good(&[&command, &tree, &"--output", &output]);
        let count = if command == "link" { &report["packages"][0]["modules"] } else { &report["converted"] };
        assert_eq!(count, 3, "{report:#}");
        good(&[&"unpack", &output, &"--output", &place.at(format!("back-{command}"))]);
        let mut names: Vec<_> = contents(&place.at(format!("back-{command}")), &[]).into_keys().collect();
        names.sort();
        assert_eq!(names, ["linked.pyc", "plain.pyc", "sub/m.pyc"].map(PathBuf::from));
    }
    // A link that is named itself is followed.
    symlink(&tree, place.at("root")).unwrap();
    assert_eq!(good(&[&"link", &place.at("root"), &"--output", &place.at("r.pye")])["packages"][0]["modules"], 3);
    assert!(fs::read(place.at("r.pye")).unwrap() == fs::read(place.at("link")).unwrap());
}

#[test]
fn nothing_at_all_makes_an_empty_package_that_is_whole() {
    let place = Place::new();
    fs::create_dir_all(place.at("empty/directory")).unwrap();
    with_package(&[&place.at("empty")], &place.at("p.pye"), |pye, report| {
        assert!(pye.is_empty() && pye.header().is_package());
        assert_eq!(report["modules"], 0);
        assert_eq!(found(pye, "os", (3, 12), 0), None);
    });
    good(&[&"verify", &place.at("p.pye")]);
    assert_eq!(good(&[&"unpack", &place.at("p.pye"), &"--output", &place.at("back")])["written"], 0);
    good(&[&"link", &place.at("p.pye"), &"--output", &place.at("q.pye")]);
    assert!(fs::read(place.at("p.pye")).unwrap() == fs::read(place.at("q.pye")).unwrap());
    assert_eq!(good(&[&"convert", &place.at("empty"), &"--output", &place.at("x")])["files"], 0);
}

#[test]
fn what_is_no_file_or_cannot_be_read_is_named_or_passed_over() {
    let place = Place::new();
    let tree = place.modules("tree", &["good.pyc", "x.pyc/inner.pyc"]);
    put(tree.join("empty.pyc"), b"");
    let fifo = tree.join("fifo.pyc");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket.pyc")).unwrap();
    // Below a tree they are no files, and so nothing to convert.
    let report = bad(&[&"link", &tree, &"--output", &place.at("p.pye")]);
    assert_eq!(report["packages"][0]["modules"], 3, "{report:#}");
    assert_eq!(messages(&report["packages"][0]["kept_raw"]).len(), 1);
    assert!(messages(&report["packages"][0]["kept_raw"])[0].contains("empty.pyc: at byte 0: "));
    good(&[&"unpack", &place.at("p.pye"), &"--output", &place.at("back")]);
    assert_same_pycs(&place.at("back"), &{
        fs::remove_file(&fifo).unwrap();
        tree.clone()
    });
    // Named themselves they are errors; none of these may wait for a writer.
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for command in ["convert", "link"] {
        let report = bad(&[&command, &fifo, &tree.join("good.pyc"), &"--output", &place.at(format!("o-{command}"))]);
        let failed = messages(&report["failed"]);
        assert!(failed.len() == 1 && failed[0].contains("fifo.pyc: expected a regular file"), "{report:#}");
        let report = bad(&[&command, &place.at("missing.pyc"), &"--output", &place.at(format!("m-{command}"))]);
        assert!(messages(&report["failed"])[0].contains("missing.pyc"), "{report:#}");
    }
    for command in ["verify", "unpack"] {
        let out = place.at("o");
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&command, &fifo];
        if command == "unpack" {
            args.extend([&"--output" as &dyn AsRef<OsStr>, &out]);
        }
        bad(&args);
    }
}

#[test]
fn a_file_or_directory_that_may_not_be_read_is_named_and_the_rest_is_done() {
    let place = Place::new();
    let tree = place.modules("tree", &["a/good.pyc", "a/closed.pyc", "shut/inside.pyc"]);
    for path in [place.at("."), place.at("tree"), place.at("tree/a")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(tree.join("a/closed.pyc"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(tree.join("shut"), fs::Permissions::from_mode(0o0)).unwrap();
    let out = place.at("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    for command in ["convert", "link"] {
        let target = out.join(command);
        let output = common::tool::as_nobody(&[&command, &tree, &"--output", &target, &"--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let failed = messages(&report["failed"]);
        assert!(failed.iter().any(|m| m.contains("closed.pyc: cannot open")), "{failed:?}");
        assert!(failed.iter().any(|m| m.contains("/shut: cannot look into")), "{failed:?}");
        assert_eq!(failed.len(), 2);
        good(&[&"unpack", &target, &"--output", &place.at(format!("back-{command}"))]);
        assert_eq!(contents(&place.at(format!("back-{command}")), &[]).len(), 1);
    }
    fs::set_permissions(tree.join("shut"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn two_sources_for_one_place_are_named_when_unpacking() {
    let place = Place::new();
    for tree in ["one", "two"] {
        let path = place.modules(tree, &["same.pyc", &format!("{tree}.pyc")]);
        good(&[&"link", &path, &"--output", &place.at(format!("{tree}.pye"))]);
    }
    let report = bad(&[&"unpack", &place.at("one.pye"), &place.at("two.pye"), &"--output", &place.at("back")]);
    let failed = messages(&report["failed"]);
    assert!(failed.len() == 1 && failed[0].contains("two.pye") && failed[0].contains("same.pyc"), "{failed:?}");
    assert_eq!(report["written"], 3);
    assert!(fs::read(place.at("back/same.pyc")).unwrap() == fs::read(place.at("one/same.pyc")).unwrap());
}
