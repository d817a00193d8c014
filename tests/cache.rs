//! Caches: what `pye.dump` saves, `pye.load` returns, in every interpreter that can have them; and what must not be loaded is refused.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Python;
use common::loader::{output, served, site, succeeds};
use common::tool;

/// A script of `tests/cache`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cache").join(name)
}

/// Runs `python` with pye.
fn command(python: &Python) -> Command {
    let mut command = common::bare(&python.path);
    command.args(["-s", "-B"]).env("PYTHONPATH", site());
    command
}

/// Those with immortal objects, debug builds too.
fn able() -> Vec<&'static Python> {
    let able: Vec<_> = served().into_iter().filter(|python| python.at_least(3, 12)).collect();
    assert!(!able.is_empty(), "no CPython of 3.12 or later: there is nothing to test caches with");
    able
}

/// Runs a script, which prints "done" at its end, in a directory of its own.
fn runs(python: &Python, name: &str, more: &[&Path]) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(python);
    let told = succeeds(command.arg(script(name)).arg(directory.path()).args(more));
    assert_eq!(told, "done\n", "{}", python.path.display());
}

/// Saves the value of an expression.
fn dump(python: &Python, value: &str, file: &Path) {
    succeeds(command(python).args(["-c", &format!("import pye, sys; pye.dump({value}, sys.argv[1])")]).arg(file));
}

#[test]
fn what_is_saved_comes_back_and_can_be_used_in_every_way() {
    able().into_iter().for_each(|python| runs(python, "roundtrip.py", &[]));
}

#[test]
fn files_that_must_not_be_used_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let able = able();
    // Each is given what its neighbour has saved: another version, another build, or the debug build.
    for (i, python) in able.iter().enumerate() {
        let other = able[(i + 1) % able.len()];
        let foreign = directory.path().join(i.to_string());
        dump(other, "('text', 1.5)", &foreign);
        let more = [foreign.as_path()];
        runs(python, "refused.py", if able.len() > 1 { &more } else { &[] });
    }
}

#[test]
fn forked_workers_copy_nothing_by_reading() {
    // The debug builds count references to strings.
    able().into_iter().filter(|python| !python.debug).for_each(|python| runs(python, "sharing.py", &[]));
}

#[test]
fn older_interpreters_say_so() {
    let directory = tempfile::tempdir().unwrap();
    for python in served().into_iter().filter(|python| !python.at_least(3, 12)) {
        for call in ["dump(1, 'cache')", "load('cache')"] {
            let mut command = command(python);
            command.current_dir(directory.path()).args(["-c", &format!("import pye; pye.{call}")]);
            let output = output(&mut command);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && told.contains("RuntimeError: caches need"), "{command:?}: {told}");
        }
    }
}

#[test]
fn verify_reads_all_of_a_cache() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rates");
    let python = able()[0];
    dump(python, "tuple((str(n) * 3, n / 7) for n in range(1000))", &file);
    let report = tool::good(&[&"verify", &file]);
    // The tuple, its rows, their strings and numbers.
    assert_eq!((&report["objects"], &report["bad"]), (&3001.into(), &serde_json::json!([])), "{report}");
    let good = fs::read(&file).unwrap();
    for at in [4096, 4096 + 1000, 4096 * 3 + 17] {
        let mut bad = good.clone();
        bad[at] ^= 2;
        fs::write(&file, bad).unwrap();
        let report = tool::bad(&[&"verify", &file]);
        let told = report["bad"][0].to_string();
        assert!(told.contains("of a page") && told.contains("rates"), "{told}");
    }
}
