//! A program whose modules come from packages behaves as under stock Python: the same values, the same output, the same end.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::loader::{
    Packages, Project, Run, loaded, output, reasons, reports, script, served, stdlib_package, succeeds,
};
use walkdir::WalkDir;

/// Every module of the standard library: its code object is the stock loader's in every value, type and field, and its mapped text can be
/// used in every way. (Every fourth module on the debug builds, which are slow.)
#[test]
fn code_objects_and_text_are_those_of_the_stock_loader() {
    let directory = tempfile::tempdir().unwrap();
    for python in served() {
        let (tree, file) = stdlib_package(python);
        let run = Run { python, path: &[], env: &[("PYTHONDONTWRITEBYTECODE", "1")], directory: directory.path() };
        let step = if python.debug { "4" } else { "1" };
        let args = [script("codes.py").into_os_string(), tree.clone().into(), step.into()];
        let told = succeeds(&mut run.pye(&args, &Packages::one(&tree, &file), &directory.path().join("status")));
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let fewest = if python.debug { 150 } else { 600 };
        assert!(told["modules"].as_u64() > Some(fewest), "{}: {told}", python.path.display());
    }
}

/// Files below a directory with their times.
fn listing(tree: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let files = WalkDir::new(tree).into_iter().map(|entry| entry.expect("the tree is readable"));
    files.map(|entry| (entry.path().to_path_buf(), entry.metadata().unwrap().modified().unwrap())).collect()
}

/// All that a program can learn of its modules, in every way to start Python; and nothing is written.
#[test]
fn what_a_program_learns_of_its_modules_is_the_same() {
    for python in served() {
        let project = Project::new(python, &[]);
        let directory = project.directory.to_str().unwrap();
        let facts = script("facts.py");
        let facts = [facts.to_str().unwrap(), directory, &project.extension];
        let roots = || ["lib", "more"].map(|root| listing(&project.directory.join(root)));
        let before = roots();
        let levels: &[&[&str]] = if python.debug { &[&[]] } else { &[&[], &["-O"], &["-OO"], &["-B"]] };
        for options in levels {
            let (_, reports) = project.same(&[*options, &facts].concat(), &[]);
            assert!(loaded(&reports) >= 40, "{options:?}: {reports:?}");
            // `native2` has a package and an extension module of one name; the stock finder is asked which it is.
            let hidden = "hidden by an extension module or another package";
            assert!(reasons(&reports).iter().all(|reason| reason == hidden), "{options:?}: {reports:?}");
        }
        let prefix = project.beside("prefix");
        for _ in 0..2 {
            let (_, reports) = project.same(&facts, &[("PYTHONPYCACHEPREFIX", prefix.to_str().unwrap())]);
            assert!(loaded(&reports) >= 40, "{reports:?}");
        }
        assert!(roots() == before, "something was written to {directory}");
    }
}

/// Programs started in other ways, and how they end.
#[test]
fn programs_print_the_same_and_end_alike() {
    let programs: &[&[&str]] = &[
        &["-m", "app", "one", "two"],
        &["-m", "app.mod"],
        &["-m", "app.sub"],
        &["-m", "app.nothing"],
        &["-m", "space"],
        &["-m", "space.one"],
        &["-m", "native"],
        &["-c", "import app.raises"],
        &["-c", "import app.fails; app.fails.outer(2)"],
        &["-c", "import app.fails; app.fails.import_it()"],
        &["-W", "error", "-c", "import app.fails, app.mod; app.fails.warn()"],
        &["-c", "from app import nothing"],
        // The first import of all opens the packages; none that this needs may be loaded twice.
        &["-c", "import importlib; import importlib.machinery, pkgutil; print(importlib.machinery)"],
        &["-c", "import warnings; import app.mod; warnings.warn('once')"],
        &["-c", "import types, app.mod; print(type(app.mod.greet) is types.FunctionType)"],
        &["-c", "import app.mod.x"],
        &["-c", "from app.cyclic_a import nothing"],
        &["-m", "unittest", "test_small"],
        &["-m", "doctest", "../lib/app/mod.py"],
        &["-m", "pydoc", "app.mod"],
        &["-m", "inspect", "app.mod:Shape"],
        &["-P", "-c", "import hidden, sys; print(hidden.WHERE, sys.path)"],
        &["-S", "-c", "import app.mod; print(app.mod.greet('S'))"],
        &["-X", "dev", "-c", "import app.mod; print(app.mod.greet('dev'))"],
        &["-X", "utf8=0", "-c", "import größe; print(ascii(größe.__file__[-8:]))"],
        &["-bb", "-c", "import app.mod; print(app.mod.TEXT == 'x')"],
        &["-c", "import sys, app.mod; sys.exit(app.mod.TEXT)"],
        // -B: what it would write is read by nobody, and lies in the interpreter's own tree.
        &["-B", "-OOO", "-c", "import app.mod; print(app.mod.__doc__, app.mod.__spec__.cached)"],
    ];
    for python in served() {
        let project = Project::new(python, &[]);
        let mut from_packages = 0;
        // The debug builds have other tests; here a third will do.
        for program in programs.iter().step_by(if python.debug { 3 } else { 1 }) {
            if program[0] == "-P" && !python.at_least(3, 11) || program[1] == "-OOO" && python.debug {
                continue;
            }
            // Without `site` nothing is activated.
            if program[0] == "-S" {
                let (mut stock, mut pye, _) = project.both(program, &[]);
                common::loader::assert_same(&output(&mut stock), &output(&mut pye), "-S");
                continue;
            }
            let (_, reports) = project.same(program, &[]);
            assert_eq!(reasons(&reports), [""; 0], "{program:?}");
            from_packages += loaded(&reports);
        }
        assert!(from_packages >= 6, "only {from_packages} modules came from packages");
    }
}

/// `-X importtime` names the same modules in the same order, those of pye itself apart.
#[test]
fn import_times_are_told_of_every_module() {
    for python in served().into_iter().filter(|python| !python.debug) {
        let project = Project::new(python, &[]);
        let (mut stock, mut pye, status) =
            project.both(&["-X", "importtime", "-c", "import app.sub.leaf, space.one, twice"], &[]);
        let names = |command: &mut std::process::Command| -> Vec<String> {
            let printed = String::from_utf8(output(command).stderr).unwrap();
            let names =
                printed.lines().filter_map(|line| line.rsplit_once('|')).map(|(_, name)| name.trim().to_owned());
            names.skip_while(|name| name != "app.mod").filter(|name| name != "json").collect()
        };
        let expected = names(&mut stock);
        assert!(expected.len() >= 5, "{expected:?}");
        assert_eq!(names(&mut pye)[..expected.len()], expected, "{}", python.path.display());
        assert!(loaded(&reports(&status)) >= 5);
    }
}
