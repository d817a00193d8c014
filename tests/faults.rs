//! What goes wrong around pye, done for real: killed at any moment, a full disk, files that change or vanish while they are read, two
//! runs at once, directories that may not be written. Never a partial file under a final name, never a lost `.pyc`, and the next run
//! finishes the work.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use common::failing::{Failing, Fault};
use common::kills::{Left, kill_at_random_moments};
use common::random::Random;
use common::tool::{self, Args, Const, bad, contents, good, messages, module, put, pyc};
use pye::pye::read::Pye;
use serde_json::Value;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A tree of some thirty real files in `directory`: one in sixty of a standard library's.
fn tree(directory: &Path) -> PathBuf {
    let library = common::compiled_stdlib(common::pythons().last().unwrap());
    let tree = directory.join("tree");
    for file in common::pycs(&library).iter().step_by(60) {
        put(tree.join(file.strip_prefix(&library).unwrap()), fs::read(file).unwrap());
    }
    tree
}

fn write_all(root: &Path, files: &Files) {
    files.iter().for_each(|(name, bytes)| put(root.join(name), bytes));
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.starts_with('.') && name.ends_with(".pye-tmp")
}

/// Makes every file being written under `directory` look older than a minute.
fn age(directory: &Path) -> usize {
    let left: Vec<PathBuf> = tool::paths(directory, &["pye-tmp"]);
    for name in &left {
        set_age(&directory.join(name), 120);
    }
    left.len()
}

fn set_age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// Puts these files, and nothing else, into a directory.
fn make_anew(directory: &Path, files: &Files) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).unwrap();
    write_all(directory, files);
}

/// That every file is as in `old` or as in `new`, and none of the former is lost.
fn assert_old_or_new(there: &Files, old: &Files, new: &Files, what: &str) {
    for (name, bytes) in there {
        let sound = [old, new].iter().any(|files| files.get(name) == Some(bytes));
        assert!(sound, "{what}: {} is neither old nor new", name.display());
    }
    let lost = old.keys().find(|name| !there.contains_key(*name));
    assert_eq!(lost, None, "{what}: what was there is lost");
}

// ---- Killed --------------------------------------------------------------------------------------------------------

/// Kills the command at many moments of its run, each time starting from `old` in `output`; `input` must not change. Each time every file
/// under a final name is as in `old` or as in what an undisturbed run leaves, and the next run leaves just that.
fn kill_at_many_moments(what: &str, args: Args<'_>, input: &Path, output: &Path, old: &Files) {
    const KILLS: usize = 60;
    let reset = || make_anew(output, old);
    reset();
    good(args);
    let new = contents(output, &[]);
    assert!(&new != old && !new.keys().any(|n| is_temporary(n)));
    let inputs = contents(input, &["pyc", "pyo"]);
    let start = || {
        reset();
        tool::command(args)
    };
    let check = || {
        let there = contents(output, &[]);
        let mut finished = there.clone();
        finished.retain(|name, _| !is_temporary(name));
        assert_old_or_new(&finished, old, &new, what);
        let half_way = there != *old && there != new;
        assert!(contents(input, &["pyc", "pyo"]) == inputs, "a .pyc changed");
        // A minute later.
        let leftovers = age(output);
        good(args);
        let names = tool::paths(output, &[]);
        assert!(
            names.iter().eq(new.keys()),
            "{:?}",
            names.iter().filter(|n| !new.contains_key(*n)).collect::<Vec<_>>()
        );
        assert!(contents(output, &[]) == new, "the next run leaves something else");
        Left { half_way, leftovers }
    };
    kill_at_random_moments(what, KILLS, start, check);
}

#[test]
fn convert_killed_at_any_moment() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let output = place.path().join("out");
    // Half of it is there, from another threshold.
    good(&[&"convert", &tree, &"--output", &place.path().join("old"), &"--min-blob", &"100"]);
    let old = contents(&place.path().join("old"), &[]).into_iter().step_by(2).collect();
    kill_at_many_moments("convert", &[&"convert", &tree, &"--output", &output], &tree, &output, &old);
}

#[test]
fn convert_in_place_killed_at_any_moment() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let old = contents(&tree, &[]);
    let input = place.path().join("same");
    write_all(&input, &old);
    // The mtime of a .pye is that of its .pyc: the input is written anew each time, so only the bytes are compared.
    kill_at_many_moments("convert in place", &[&"convert", &tree], &input, &tree, &old);
}

#[test]
fn link_killed_at_any_moment() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let output = place.path().join("out");
    put(place.path().join("old/a.pyc"), module("old"));
    good(&[&"link", &place.path().join("old"), &"--output", &place.path().join("old.pye")]);
    let old = Files::from([("all.pye".into(), fs::read(place.path().join("old.pye")).unwrap())]);
    kill_at_many_moments("link", &[&"link", &tree, &"--output", &output.join("all.pye")], &tree, &output, &old);
}

#[test]
fn unpack_killed_at_any_moment() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let output = place.path().join("out");
    let package = place.path().join("all.pye");
    good(&[&"link", &tree, &"--output", &package]);
    let names = tool::paths(&tree, &[]);
    let old = names.into_iter().step_by(3).map(|n| (n, b"what was there before".to_vec())).collect();
    kill_at_many_moments("unpack", &[&"unpack", &package, &"--output", &output], &tree, &output, &old);
    assert!(contents(&output, &[]) == contents(&tree, &[]));
}

#[test]
fn only_leftovers_that_are_old_and_not_locked_are_removed() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    put(tree.join("sub/a.pyc"), module("a"));
    good(&[&"link", &tree, &"--output", &place.path().join("p.pye")]);
    let package = place.path().join("p.pye");
    let (out, linked) = (place.path().join("out"), place.path().join("linked"));
    let cases: [(Vec<&dyn AsRef<OsStr>>, PathBuf); 4] = {
        let linked_file: &'static Path = Box::leak(linked.join("p.pye").into_boxed_path());
        [
            (vec![&"convert", &tree], tree.join("sub")),
            (vec![&"convert", &tree, &"--output", &out], out.join("sub")),
            (vec![&"link", &tree, &"--output", Box::leak(Box::new(linked_file))], linked.clone()),
            (vec![&"unpack", &package, &"--output", &out], out.join("sub")),
        ]
    };
    for (args, directory) in &cases {
        let (old, young, locked) = (".old.pye-tmp", ".young.pye-tmp", ".locked.pye-tmp");
        for name in [old, young, locked] {
            put(directory.join(name), "half");
        }
        set_age(&directory.join(old), 61);
        set_age(&directory.join(young), 30);
        set_age(&directory.join(locked), 3600);
        let file = File::open(directory.join(locked)).unwrap();
        file.lock_shared().unwrap();
        good(args);
        let left = |name: &str| directory.join(name).exists();
        assert_eq!([old, young, locked].map(left), [false, true, true], "{:?}", args[0].as_ref());
        drop(file);
        good(args);
        assert!(!left(locked));
    }
}

// ---- No room -------------------------------------------------------------------------------------------------------

/// The command that runs what follows in a mount namespace of its own, if there may be one: in some containers there may not.
fn own_mounts() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-rm"]];
    let works = |way: &&[&str]| {
        let test = Command::new(way[0]).args(&way[1..]).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        test.is_ok_and(|o| o.status.success())
    };
    let way = ways.into_iter().find(works);
    if way.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "note: no file system can be mounted: full disks are tested by file size limits only"
        );
    }
    way
}

/// Runs `pye` with `args` on a file system of `$SIZE` bytes at `$DISK`, which is then made larger, and again. What there is after each run is
/// copied to `first` and `second`, the report and status of each beside it.
const FULL: &str = r#"
set -eu
mount -t tmpfs -o size="$SIZE" none "$DISK"
cp -r "$OLD/." "$DISK"
"$@" --json >"$COPY/first.out" 2>"$COPY/first.err" && status=0 || status=$?
echo $status >"$COPY/first.status"
cp -r "$DISK" "$COPY/first"
mount -o remount,size=200m "$DISK"
"$@" --json >"$COPY/second.out" 2>"$COPY/second.err" && status=0 || status=$?
echo $status >"$COPY/second.status"
cp -r "$DISK" "$COPY/second"
"#;

#[test]
fn a_full_disk_is_named_and_leaves_what_was_there() {
    /// Sizes that are tried of each command.
    const DISKS: usize = 4;
    let Some(way) = own_mounts() else { return };
    let mut random = Random::new(1);
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let (disk, package) = (place.path().join("disk"), place.path().join("all.pye"));
    fs::create_dir(&disk).unwrap();
    good(&[&"link", &tree, &"--output", &package]);
    good(&[&"convert", &tree, &"--output", &place.path().join("converted")]);
    let whole = |command: &str| match command {
        "convert" => contents(&place.path().join("converted"), &[]),
        "link" => Files::from([("p.pye".into(), fs::read(&package).unwrap())]),
        _ => contents(&tree, &[]),
    };
    for command in ["convert", "link", "unpack"] {
        let expected = whole(command);
        let bytes: usize = expected.values().map(Vec::len).sum();
        // Too small by far for all of it, whatever else a file system keeps of files.
        let sizes = (0..DISKS).map(|_| 40_000 + random.below(bytes / 2 - 40_000));
        for (round, size) in sizes.chain([120 << 10]).enumerate() {
            // Some of it is there, in an older state.
            let (first, _) = expected.first_key_value().unwrap();
            let old = Files::from([(first.clone(), tool::converted(&module("old"), "old.pyc"))]);
            let at = |name: &str| place.path().join(format!("{name}-{command}-{round}"));
            let (copy, before) = (at("copy"), at("old"));
            fs::create_dir(&copy).unwrap();
            write_all(&before, &old);
            let (source, output) = match command {
                "link" => (&tree, disk.join("p.pye")),
                "convert" => (&tree, disk.clone()),
                _ => (&package, disk.clone()),
            };
            let status = Command::new(way[0])
                .args(&way[1..])
                .args(["sh", "-c", FULL, "sh", tool::PROGRAM, command])
                .arg(source)
                .arg("--output")
                .arg(output)
                .env("DISK", &disk)
                .env("SIZE", size.to_string())
                .env("COPY", &copy)
                .env("OLD", before)
                .output()
                .unwrap();
            assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
            let read = |name: &str| fs::read_to_string(copy.join(name)).unwrap();
            let said = read("first.out") + &read("first.err");
            let what = format!("{command} with {size} bytes");
            assert_eq!(read("first.status").trim(), "1", "{what}: {said}");
            assert!(said.contains("No space left on device") && said.contains("free some space"), "{what}: {said}");
            assert!(said.contains(disk.to_str().unwrap()), "{what} names no file: {said}");
            let there = contents(&copy.join("first"), &[]);
            assert_old_or_new(&there, &old, &expected, &what);
            assert!(there != expected);
            assert_eq!(read("second.status").trim(), "0", "{what}: {}{}", read("second.out"), read("second.err"));
            assert!(contents(&copy.join("second"), &[]) == expected, "{what}: the next run does not finish");
        }
    }
}

#[test]
fn a_limit_on_file_sizes_is_named_and_leaves_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let package = place.path().join("all.pye");
    good(&[&"link", &tree, &"--output", &package]);
    // The signal that comes with the limit kills unless it is ignored, which programs inherit.
    let limited = |args: Args<'_>| -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec prlimit --fsize=40000 \"$@\"", "sh", tool::PROGRAM]);
        command.args(args.iter().map(|a| a.as_ref())).arg("--json").output().unwrap()
    };
    let target = place.path().join("p.pye");
    put(&target, "old");
    for (args, output) in [
        (&[&"convert" as &dyn AsRef<OsStr>, &tree, &"--output", &place.path().join("c")][..], place.path().join("c")),
        (&[&"link", &tree, &"--output", &target], target.clone()),
        (&[&"unpack", &package, &"--output", &place.path().join("u")], place.path().join("u")),
    ] {
        let result = limited(args);
        let said = String::from_utf8_lossy(&result.stdout).into_owned() + &String::from_utf8_lossy(&result.stderr);
        assert_eq!(result.status.code(), Some(1), "{said}");
        assert!(said.contains("File too large") && said.contains(output.to_str().unwrap()), "{said}");
        if output.is_file() {
            assert_eq!(fs::read(&output).unwrap(), b"old");
        } else {
            assert!(contents(&output, &[]).iter().all(|(name, bytes)| !is_temporary(name) && bytes.len() <= 40_000));
        }
        good(args);
    }
    good(&[&"verify", &target, &"--against", &tree]);
    good(&[&"verify", &place.path().join("c"), &"--against", &tree]);
    assert!(contents(&place.path().join("u"), &[]) == contents(&tree, &[]));
    assert!(tool::paths(place.path(), &["pye-tmp"]).is_empty());
}

// ---- Reads and writes that fail ------------------------------------------------------------------------------------

/// Runs the command with files below `directory` failing from a random byte on, of so many, each time starting from `old` in `output`. It must end with 1 and say
/// why, with every file as in `old` or in what an undisturbed run leaves, and nothing else; the next run must leave just that. How often: `PYE_FAULTS`.
fn fail_at_many_bytes(
    args: Args<'_>,
    directory: &Path,
    bytes: usize,
    fault: fn(u64) -> Fault,
    output: &Path,
    old: &Files,
) {
    let place = tempfile::tempdir().unwrap();
    let failing = Failing::new(place.path());
    let reset = || make_anew(output, old);
    reset();
    good(args);
    let new = contents(output, &[]);
    let mut random = Random::new(2);
    let (mut partial, rounds) = (0, common::number("PYE_FAULTS", 20));
    for _ in 0..rounds {
        reset();
        let fault = fault(random.below(bytes) as u64);
        let mut command = tool::command(args);
        failing.apply(&mut command, directory, fault);
        let result = command.output().unwrap();
        let said = String::from_utf8_lossy(&result.stdout).into_owned() + &String::from_utf8_lossy(&result.stderr);
        let what = format!("{:?}, {fault:?}", args[0].as_ref());
        assert_eq!(result.status.code(), Some(1), "{what}: {said}");
        let reason = match fault {
            Fault::Read(_) => "Input/output error",
            Fault::Write(_) => "No space left on device",
        };
        assert!(said.contains(reason) && said.contains(directory.to_str().unwrap()), "{what}: {said}");
        let there = contents(output, &[]);
        partial += usize::from(there != *old);
        let package = args[0].as_ref() == "link" && matches!(fault, Fault::Read(_));
        if package {
            // It holds what could be read.
            assert_eq!(there.len(), 1, "{what}");
            let bytes = there.values().next().unwrap();
            Pye::open(bytes).and_then(|pye| pye.verify()).unwrap_or_else(|e| panic!("{what}: {e}"));
        } else {
            assert_old_or_new(&there, old, &new, &what);
        }
        good(args);
        assert!(contents(output, &[]) == new, "{what}: the next run does not finish");
    }
    let _ = writeln!(std::io::stderr(), "{:?}: {rounds} faults, {partial} in the middle", args[0].as_ref());
}

fn total(files: &Files) -> usize {
    files.values().map(Vec::len).sum()
}

#[test]
fn reads_that_fail_at_any_byte_are_named_and_lose_nothing() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let (inputs, output) = (contents(&tree, &[]), place.path().join("out"));
    let (none, all) = (Files::new(), total(&inputs));
    fail_at_many_bytes(&[&"convert", &tree, &"--output", &output], &tree, all, Fault::Read, &output, &none);
    fail_at_many_bytes(&[&"link", &tree, &"--output", &output.join("p.pye")], &tree, all, Fault::Read, &output, &none);
    fail_at_many_bytes(&[&"convert", &tree], &tree, all, Fault::Read, &tree, &inputs);
}

#[test]
fn writes_that_fail_at_any_byte_are_named_and_leave_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let (package, output) = (place.path().join("all.pye"), place.path().join("out"));
    good(&[&"link", &tree, &"--output", &package]);
    good(&[&"convert", &tree, &"--output", &place.path().join("converted")]);
    let converted = contents(&place.path().join("converted"), &[]);
    let inputs = contents(&tree, &[]);
    // As kept from an earlier state.
    let old = |files: &Files| -> Files {
        files.keys().step_by(3).map(|name| (name.clone(), tool::converted(&module("old"), "old.pyc"))).collect()
    };
    let link = |output: &Path| output.join("p.pye");
    let size = fs::metadata(&package).unwrap().len() as usize;
    fail_at_many_bytes(
        &[&"convert", &tree, &"--output", &output],
        &output,
        total(&converted) / 2,
        Fault::Write,
        &output,
        &old(&converted),
    );
    let linked = Files::from([("p.pye".into(), fs::read(&package).unwrap())]);
    fail_at_many_bytes(
        &[&"link", &tree, &"--output", &link(&output)],
        &output,
        size,
        Fault::Write,
        &output,
        &old(&linked),
    );
    fail_at_many_bytes(
        &[&"unpack", &package, &"--output", &output],
        &output,
        total(&inputs) / 2,
        Fault::Write,
        &output,
        &old(&inputs),
    );
}

// ---- Files that do not keep still ----------------------------------------------------------------------------------

/// A `.pyc` of many pages, unlike any other state in every one of them.
fn state(what: &str, strings: usize) -> Vec<u8> {
    let texts = (0..strings).map(|i| Const::Text(format!("{what} {i} ").repeat(12))).collect::<Vec<_>>();
    pyc((3, 12), &texts)
}

/// Whether `bytes` are what the file at this name was at some moment.
fn really_was(name: &Path, bytes: &[u8], states: &[Vec<u8>]) -> bool {
    let whole = states.iter().any(|s| s == bytes);
    // What is written in place is there from its start on, up to some byte.
    whole || name.ends_with("written.pyc") && states.iter().any(|s| s.starts_with(bytes))
}

#[test]
fn files_that_change_while_they_are_read_are_never_torn() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    let states = [state("one", 120), state("another", 700), state("third", 300)];
    for name in ["still.pyc", "replaced.pyc", "vanishing.pyc", "written.pyc"] {
        put(tree.join(name), &states[0]);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not run on when the other side fails.
            let mut i = 0;
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                let new = &states[i % states.len()];
                for name in ["replaced", "vanishing"] {
                    if name == "vanishing" {
                        let _ = fs::remove_file(tree.join("vanishing.pyc"));
                    }
                    fs::write(tree.join("being-written"), new).unwrap();
                    fs::rename(tree.join("being-written"), tree.join(format!("{name}.pyc"))).unwrap();
                }
                fs::write(tree.join("written.pyc"), new).unwrap();
                std::thread::yield_now();
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..60 {
                let command = if round % 2 == 0 { "convert" } else { "link" };
                let output = place.path().join(format!("out-{command}.pye"));
                let force: &dyn AsRef<OsStr> = if command == "convert" { &"--force" } else { &"--json" };
                let result = tool::run(&[&command, &tree, &"--output", &output, force]);
                let (out, err) = (String::from_utf8_lossy(&result.stdout), String::from_utf8_lossy(&result.stderr));
                let files: Vec<PathBuf> = if output.is_dir() {
                    tool::paths(&output, &[]).into_iter().map(|n| output.join(n)).collect()
                } else {
                    vec![output]
                };
                let mut still = false;
                for file in files {
                    let bytes = fs::read(&file).unwrap();
                    let pye = Pye::open(&bytes).unwrap();
                    pye.verify().unwrap();
                    for module in pye.modules() {
                        let module = module.unwrap();
                        let mut joined = Vec::new();
                        pye.join_into(&module, &mut joined).unwrap();
                        let name = pye::fsys::path_from(module.path);
                        assert!(really_was(name, &joined, &states), "{} was never that:\n{out}{err}", name.display());
                        still |= name.ends_with("still.pyc") && joined == states[0];
                    }
                }
                assert!(still, "the file that keeps still:\n{out}{err}");
                // Whatever else was in the way has a name.
                let named = ["vanishing.pyc", "written.pyc", "replaced.pyc"].iter().any(|n| out.contains(n));
                assert!(result.status.success() || named, "{out}{err}");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    // Once all keep still, the next run brings everything up to date by itself.
    put(tree.join("vanishing.pyc"), &states[1]);
    let _ = fs::remove_file(tree.join("being-written"));
    let output = place.path().join("out-convert.pye");
    good(&[&"convert", &tree, &"--output", &output]);
    assert_eq!(good(&[&"verify", &output, &"--against", &tree])["same_as_pyc"], 4);
}

#[test]
fn a_pyc_of_the_same_size_and_header_is_converted_again() {
    // Found out by its mtime alone.
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("m.pyc");
    let (one, two) = (state("one", 50), state("two", 50));
    assert_eq!(one.len(), two.len());
    for round in 0..20 {
        fs::write(&file, if round % 2 == 0 { &one } else { &two }).unwrap();
        assert_eq!(good(&[&"convert", &file])["converted"], 1);
        assert_eq!(good(&[&"verify", &place.path().join("m.pye")])["same_as_pyc"], 1);
    }
}

// ---- Two at once ---------------------------------------------------------------------------------------------------

#[test]
fn two_runs_at_once_both_succeed() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    let at = |name: &str| place.path().join(name);
    good(&[&"link", &tree, &"--output", &at("all.pye")]);
    good(&[&"convert", &tree, &"--output", &at("converted")]);
    let (package, converted, original) =
        (fs::read(at("all.pye")).unwrap(), contents(&at("converted"), &[]), contents(&tree, &[]));
    for round in 0..8 {
        let out = at(&format!("out{round}"));
        fs::create_dir(&out).unwrap();
        let (linked, c, u) = (out.join("p.pye"), out.join("c"), out.join("u"));
        for args in [
            &[&"link" as &dyn AsRef<OsStr>, &tree, &"--output", &linked][..],
            &[&"convert", &tree, &"--output", &c],
            &[&"unpack", &at("all.pye"), &"--output", &u],
        ] {
            let start = || tool::command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let runs = [start(), start()];
            for run in runs {
                let output = run.wait_with_output().unwrap();
                assert!(
                    output.status.success(),
                    "{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        assert!(fs::read(&linked).unwrap() == package);
        assert!(contents(&c, &[]) == converted);
        assert!(contents(&u, &[]) == original);
        fs::remove_dir_all(&out).unwrap();
    }
    assert!(tool::paths(place.path(), &["pye-tmp"]).is_empty());
}

// ---- Modes ---------------------------------------------------------------------------------------------------------

#[test]
fn an_output_directory_that_may_not_be_written_is_named() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    put(tree.join("a.pyc"), module("a"));
    let package = place.path().join("p.pye");
    good(&[&"link", &tree, &"--output", &package]);
    let (closed, made) = (place.path().join("closed"), place.path().join("closed/new"));
    fs::create_dir(&closed).unwrap();
    for (path, mode) in [(place.path(), 0o755), (&tree, 0o555), (&closed, 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for args in [
        &[&"convert" as &dyn AsRef<OsStr>, &tree, &"--output", &closed][..],
        &[&"convert", &tree, &"--output", &made],
        &[&"convert", &tree],
        &[&"link", &tree, &"--output", &closed.join("p.pye")],
        &[&"link", &tree, &"--per-distribution", &"--output", &made],
        &[&"unpack", &package, &"--output", &closed],
        &[&"unpack", &package, &"--output", &made],
    ] {
        let output = tool::as_nobody(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let directory = if args.len() == 2 { &tree } else { &closed };
        assert!(said.contains(directory.to_str().unwrap()) && said.contains("Permission denied"), "{said}");
    }
    for path in [&tree, &closed] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(tool::paths(&closed, &[]), [] as [PathBuf; 0]);
    assert_eq!(tool::paths(&tree, &[]), [PathBuf::from("a.pyc")]);
    // An output that is a file, or stands in no directory.
    let report = bad(&[&"convert", &tree, &"--output", &package]);
    assert!(messages(&report["failed"])[0].contains("p.pye"), "{report}");
    let nowhere = tool::fails(&[&"link", &tree, &"--output", &place.path().join("no/such/p.pye")]);
    assert!(nowhere.contains("no/such"), "{nowhere}");
    assert_eq!(report["converted"], Value::from(0));
}
