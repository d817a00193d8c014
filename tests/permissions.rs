//! What the commands leave in the file system: nothing that others may write to, whatever the umask; nothing written through a link or
//! over a device.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Python;
use common::loader::{imaged, output, site};
use common::tool::{self, Args, PROGRAM, module, put};
use walkdir::WalkDir;

/// What the umask may leave, and must where something is for all: files, directories.
const FILE: u32 = 0o644;
const DIRECTORY: u32 = 0o755;
/// Usual ones, and those that leave too much.
const UMASKS: [u32; 5] = [0o022, 0o027, 0o077, 0o002, 0o000];

/// `program` under a umask, without what the tests' environment says of Python and pye, with the staged package at hand and the cache in `home`.
fn under(umask: u32, home: &Path, program: &dyn AsRef<OsStr>, arguments: Args<'_>) -> Command {
    let mut command = common::bare(Path::new("sh"));
    command.args(["-c", "umask $0; exec \"$@\"", &format!("{umask:03o}")]).arg(program.as_ref());
    command.args(arguments.iter().map(|argument| argument.as_ref())).stdin(Stdio::null());
    command.env("PYTHONPATH", site()).env("XDG_CACHE_HOME", home.join("cache")).env_remove("PYE_PACKAGES");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn succeeds(mut command: Command) -> Output {
    let output = output(&mut command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    output
}

/// Runs `pye`, which must end with 1, and returns what it says.
fn fails(arguments: Args<'_>) -> String {
    let mut command = under(0o022, Path::new("/"), &PROGRAM, arguments);
    let output = output(&mut command);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
    told
}

/// Modes of all below `tree` but links, by path.
fn modes(tree: &Path) -> BTreeMap<PathBuf, u32> {
    let entries = WalkDir::new(tree).min_depth(1).into_iter().flatten().filter(|entry| !entry.path_is_symlink());
    // What is about to be renamed may be gone.
    entries.filter_map(|entry| Some((entry.path().to_path_buf(), entry.metadata().ok()?.mode() & 0o7777))).collect()
}

/// Looks at a tree again and again while `work` is done: nobody else may write to anything in it, at any moment.
fn watched<T>(tree: &Path, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let writable = || {
        let found = modes(tree).into_iter().filter(|(_, mode)| mode & 0o022 != 0);
        found.map(|(path, mode)| format!("{mode:o} {}", path.display())).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let found = writable();
                assert!(found.is_empty(), "others may write to: {found:#?}");
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// That all that is in `tree` and was not there `before` has the mode that is expected of a path, less `umask`, and belongs to this user.
fn assert_made(
    tree: &Path,
    before: &BTreeMap<PathBuf, u32>,
    umask: u32,
    expected: impl Fn(&Path, bool) -> u32,
) -> usize {
    let user = fs::metadata("/proc/self").unwrap().uid();
    let made: Vec<_> = modes(tree).into_iter().filter(|(path, _)| !before.contains_key(path)).collect();
    for (path, mode) in &made {
        let wanted = expected(path, path.is_dir()) & !umask;
        assert_eq!(*mode, wanted, "{}: {mode:o}, not {wanted:o}, under umask {umask:03o}", path.display());
        assert_eq!(fs::symlink_metadata(path).unwrap().uid(), user, "{}", path.display());
    }
    made.len()
}

/// As most are.
fn plain(_: &Path, directory: bool) -> u32 {
    if directory { DIRECTORY } else { FILE }
}

/// A virtual environment, made by hand: not every interpreter has the module venv. It has a source that all may write to.
fn environment(python: &Python, place: &Path) -> (PathBuf, PathBuf) {
    let venv = place.join("venv");
    let packages = venv.join(format!("lib/python{}/site-packages", python.name()));
    put(packages.join("beta.py"), "'''Beta'''\nVALUE = 'beta'\n");
    put(packages.join("alpha/__init__.py"), "'''Alpha'''\n");
    fs::create_dir(venv.join("bin")).unwrap();
    symlink(&python.path, venv.join("bin/python")).unwrap();
    put(venv.join("pyvenv.cfg"), format!("home = {}\n", python.path.parent().unwrap().display()));
    (venv, packages)
}

/// The first interpreter that images can be made for.
fn python() -> &'static Python {
    imaged()[0]
}

fn program_of(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}

#[test]
fn files_and_directories_have_the_modes_that_the_umask_leaves() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    put(tree.join("sub/a.pyc"), module("a"));
    put(tree.join("one-1.0.dist-info/RECORD"), "sub/a.pyc,,\n");
    let root = place.path().join("root");
    put(root.join("app.py"), "'''An application.'''\nimport json\nVALUE = 'text'\n");
    let python = python();
    succeeds(under(0o022, place.path(), &python.path, &[&"-m", &"compileall", &"-q", &root]));
    for umask in UMASKS {
        let out = place.path().join(format!("{umask:03o}"));
        fs::create_dir(&out).unwrap();
        let run = |words: Args<'_>| succeeds(under(umask, &out, &PROGRAM, words));
        watched(&out, || {
            run(&[&"convert", &tree, &"--output", &out.join("new/converted")]);
            run(&[&"link", &tree, &"--output", &out.join("p.pye")]);
            run(&[&"link", &tree, &"--per-distribution", &"--output", &out.join("new/by-distribution")]);
            run(&[&"unpack", &out.join("p.pye"), &"--output", &out.join("new/unpacked")]);
            run(&[&"link", &root, &"-o", &out.join("i.pye"), &"--image", &"--python", &python.path]);
            let program = [&"-c" as &dyn AsRef<OsStr>, &"import json"];
            let traced = |words: Args<'_>| run(&[words, &[&"--", &python.path], &program].concat());
            traced(&[&"trace", &"--output", &out.join("profile")]);
            traced(&[&"estimate", &"--output", &out.join("estimate")]);
            let sleeps: Args<'_> = &[&"--", &"sleep", &"60"];
            let after = [&"measure" as &dyn AsRef<OsStr>, &"--after", &"0.01"];
            let page = out.join("page.html");
            run(&[
                &after[..],
                &[&"--html" as &dyn AsRef<OsStr>, &page, &"--json", &"--output", &out.join("json")],
                sleeps,
            ]
            .concat());
            run(&[&after[..], &[&"--openmetrics" as &dyn AsRef<OsStr>, &"--output", &out.join("metrics")], sleeps]
                .concat());
            let dump = "import pye, sys; pye.dump(('text',) * 3, sys.argv[1])";
            succeeds(under(umask, &out, &python.path, &[&"-c", &dump, &out.join("cache.pye")]));
            let log = out.join("log");
            let packages = out.join("i.pye");
            let mut command = under(umask, &out, &PROGRAM, &[&"run", &"--package", &packages, &"--", &python.path]);
            command
                .args(["-c", "import app"])
                .env("PYE_LOG", &log)
                .env("PYTHONPATH", format!("{}:{}", root.display(), site().display()));
            succeeds(command);
        });
        let made = assert_made(&out, &BTreeMap::new(), umask, plain);
        assert!(made >= 17, "{made}: {:#?}", modes(&out));
    }
}

/// Python runs what is in the directory of a trace, as long as the command runs.
#[test]
fn the_directory_of_a_trace_is_its_owners_alone() {
    let place = tempfile::tempdir().unwrap();
    let look = "import os; print('%o' % (os.stat(os.environ['PYE_TRACE_DIR']).st_mode & 0o7777))";
    for umask in UMASKS {
        for command in ["trace", "estimate"] {
            let out = place.path().join("out");
            let words: Args<'_> = &[&command, &"--output", &out, &"--", &python().path, &"-c", &look];
            let told = succeeds(under(umask, place.path(), &PROGRAM, words)).stdout;
            assert!(told.starts_with(b"700\n"), "{}", String::from_utf8_lossy(&told));
        }
    }
}

#[test]
fn the_cache_is_its_owners_alone() {
    let place = tempfile::tempdir().unwrap();
    let (venv, _) = environment(python(), place.path());
    for umask in UMASKS {
        let home = place.path().join(format!("{umask:03o}"));
        fs::create_dir(&home).unwrap();
        watched(&home, || {
            let run: Args<'_> = &[&"run", &"--", &program_of(&venv), &"-c", &"import beta, json"];
            succeeds(under(umask, &home, &PROGRAM, run));
        });
        let made = assert_made(&home, &BTreeMap::new(), umask, |path, directory| {
            let package = path.extension().is_some_and(|extension| extension == "pye");
            if directory {
                0o700
            } else if package {
                0o600
            } else {
                FILE
            }
        });
        assert!(made >= 6, "{made}: {:#?}", modes(&home));
    }
}

#[test]
fn installations_have_the_modes_that_the_umask_leaves() {
    for umask in UMASKS {
        let place = tempfile::tempdir().unwrap();
        let (venv, packages) = environment(python(), place.path());
        let before = modes(&venv);
        let pye = |word: &str| succeeds(under(umask, place.path(), &PROGRAM, &[&word, &"--venv", &venv]));
        // What is compiled has the mode of its source: that this is not for others to write to is the user's affair.
        fs::set_permissions(packages.join("beta.py"), Permissions::from_mode(FILE)).unwrap();
        watched(&venv, || pye("install"));
        let made = assert_made(&venv, &before, umask, plain);
        // share, share/pye, manifest, journal, lock, two packages at least; the .pth; a compiled file and its directory, twice.
        assert!(made >= 12, "{made}: {:#?}", modes(&venv));
        assert_eq!(modes(&packages.join("__pycache__")).len(), 1);
        watched(&venv, || pye("uninstall"));
        assert_eq!(modes(&venv), before);
    }
}

#[test]
fn pinned_interpreters_have_the_modes_that_the_umask_leaves() {
    let mut pinned = 0;
    for python in imaged() {
        let place = tempfile::tempdir().unwrap();
        let (venv, _) = environment(python, place.path());
        let before = modes(&venv);
        for umask in UMASKS {
            let mut pin = under(umask, place.path(), &PROGRAM, &[&"pin", &"--venv", &venv]);
            let done = watched(&venv, || output(&mut pin));
            if !done.status.success() {
                // At fixed addresses, or of a kind that cannot be moved: tests/pin.rs tells which.
                assert_eq!(modes(&venv), before, "{}", String::from_utf8_lossy(&done.stderr));
                break;
            }
            let pin = venv.join("pye-pin");
            let made = assert_made(&venv, &before, umask, |path, directory| {
                // As what it is a copy of, a program for one.
                let copied = path.parent().is_some_and(|parent| parent.ends_with("bin") || parent.ends_with("lib"));
                let mode = fs::metadata(path).unwrap().mode();
                if directory {
                    DIRECTORY
                } else if copied {
                    mode & DIRECTORY | umask
                } else {
                    FILE
                }
            });
            assert!(made >= 6, "{made}: {:#?}", modes(&pin));
            // Its owner can run it.
            succeeds(under(umask, place.path(), &program_of(&venv), &[&"-c", &"pass"]));
            succeeds(under(umask, place.path(), &PROGRAM, &[&"pin", &"--undo", &"--venv", &venv]));
            assert_eq!(modes(&venv), before);
            pinned += 1;
        }
        if pinned > 0 {
            return;
        }
    }
    let _ = writeln!(io::stderr(), "note: no interpreter at hand can be pinned: modes of pinned ones are not tested");
}

/// Links with the names of outputs, planted by somebody who hopes that what they lead to is written.
#[test]
fn links_in_the_place_of_outputs_are_replaced() {
    let place = tempfile::tempdir().unwrap();
    let (victim, missing) = (place.path().join("victim"), place.path().join("missing"));
    let tree = place.path().join("tree");
    put(tree.join("a.pyc"), module("a"));
    put(place.path().join("p/a.pyc"), module("a"));
    let package = place.path().join("p.pye");
    tool::good(&[&"link", &tree, &"-o", &package]);
    let (out, python) = (place.path().join("out"), python());
    let sleeps: Args<'_> = &[&"--after", &"0.01", &"--", &"sleep", &"60"];
    let to = |name: &str| out.join(name);
    let runs: Args<'_> = &[&"--", &python.path, &"-c", &"import json"];
    let writes: Vec<(&str, Command)> = vec![
        ("a.pye", under(0o022, &out, &PROGRAM, &[&"convert", &tree, &"--output", &out])),
        ("linked.pye", under(0o022, &out, &PROGRAM, &[&"link", &tree, &"-o", &to("linked.pye")])),
        ("a.pyc", under(0o022, &out, &PROGRAM, &[&"unpack", &package, &"--output", &out])),
        ("tree.pye", under(0o022, &out, &PROGRAM, &[&"link", &tree, &"-o", &to("tree.pye")])),
        ("unclaimed.pye", under(0o022, &out, &PROGRAM, &[&"link", &tree, &"--per-distribution", &"-o", &out])),
        (
            "profile",
            under(0o022, &out, &PROGRAM, &[&[&"trace" as &dyn AsRef<OsStr>, &"-o", &to("profile")], runs].concat()),
        ),
        (
            "estimate",
            under(
                0o022,
                &out,
                &PROGRAM,
                &[&[&"estimate" as &dyn AsRef<OsStr>, &"--output", &to("estimate")], runs].concat(),
            ),
        ),
        (
            "report",
            under(0o022, &out, &PROGRAM, &[&[&"measure" as &dyn AsRef<OsStr>, &"-o", &to("report")], sleeps].concat()),
        ),
        (
            "page",
            under(
                0o022,
                &out,
                &PROGRAM,
                &[&[&"measure" as &dyn AsRef<OsStr>, &"--html", &to("page")], sleeps].concat(),
            ),
        ),
        (
            "cache",
            under(0o022, &out, &python.path, &[&"-c", &"import pye, sys; pye.dump(1, sys.argv[1])", &to("cache")]),
        ),
    ];
    for (name, mut command) in writes {
        for target in [&victim, &missing] {
            let _ = fs::remove_dir_all(&out);
            fs::create_dir(&out).unwrap();
            fs::write(&victim, "victim").unwrap();
            symlink(target, out.join(name)).unwrap();
            let done = output(&mut command);
            assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
            assert!(fs::symlink_metadata(out.join(name)).unwrap().is_file(), "{name} is a link still");
            assert_eq!(fs::read(&victim).unwrap(), b"victim", "{name}");
            assert!(!missing.exists(), "{name}");
        }
    }
}

/// As `pye install`, `run` and `pin` are used as root on what belongs to others.
#[test]
fn installations_do_not_follow_links() {
    let place = tempfile::tempdir().unwrap();
    let (venv, packages) = environment(python(), place.path());
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let victim = outside.join("victim");
    fs::write(&victim, "victim").unwrap();
    let share = venv.join("share/pye");
    let unharmed = |what: &str| {
        assert_eq!(fs::read(&victim).unwrap(), b"victim", "{what}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{what}");
    };
    fs::create_dir(venv.join("share")).unwrap();
    symlink(&outside, &share).unwrap();
    let told = fails(&[&"install", &"--venv", &venv]);
    assert!(told.contains("share/pye: expected a directory, not a link"), "{told}");
    unharmed("the directory");
    fs::remove_file(&share).unwrap();

    fs::create_dir(&share).unwrap();
    for target in [outside.join("made"), victim.clone()] {
        symlink(&target, share.join("lock")).unwrap();
        let told = fails(&[&"install", &"--venv", &venv]);
        assert!(told.contains("share/pye/lock: expected a regular file"), "{told}");
        let _ = output(&mut under(0o022, place.path(), &PROGRAM, &[&"uninstall", &"--venv", &venv]));
        unharmed("the lock");
        fs::remove_file(share.join("lock")).unwrap();
    }

    // Where files go, they take the place of links.
    let install = || succeeds(under(0o022, place.path(), &PROGRAM, &[&"install", &"--venv", &venv]));
    symlink(&victim, packages.join("pye.pth")).unwrap();
    install();
    let files: Vec<PathBuf> = tool::paths(&share, &[]).iter().map(|path| share.join(path)).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files.iter().filter(|path| !path.ends_with("lock") && !path.ends_with("journal")) {
        fs::remove_file(file).unwrap();
        symlink(&victim, file).unwrap();
    }
    install();
    unharmed("files");
    assert!(files.iter().all(|path| fs::symlink_metadata(path).unwrap().is_file()));
    succeeds(under(0o022, place.path(), &PROGRAM, &[&"uninstall", &"--venv", &venv]));

    symlink(&outside, venv.join("pye-pin")).unwrap();
    let pin = output(&mut under(0o022, place.path(), &PROGRAM, &[&"pin", &"--venv", &venv]));
    assert!(!pin.status.success());
    unharmed("pin");
    let undo = output(&mut under(0o022, place.path(), &PROGRAM, &[&"pin", &"--undo", &"--venv", &venv]));
    let told = String::from_utf8_lossy(&undo.stderr).into_owned();
    assert!(told.contains("pye-pin: expected a directory, not a link"), "{told}");
    unharmed("pin --undo");

    // A cache that leads elsewhere is not used; the command runs all the same.
    symlink(&outside, place.path().join("cache")).unwrap();
    symlink(&outside, outside.join("pye")).unwrap();
    succeeds(under(0o022, place.path(), &PROGRAM, &[&"run", &"--", &program_of(&venv), &"-c", &"import beta"]));
    fs::remove_file(outside.join("pye")).unwrap();
    unharmed("the cache");
}

/// What a journal names is removed: root takes it from nobody else.
#[test]
fn journals_of_others_are_not_believed() {
    let place = tempfile::tempdir().unwrap();
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("not root: there is no other user whose journal could be read");
        return;
    }
    let (venv, _) = environment(python(), place.path());
    let victim = place.path().join("victim");
    fs::write(&victim, "victim").unwrap();
    succeeds(under(0o022, place.path(), &PROGRAM, &[&"install", &"--venv", &venv]));
    let journal = venv.join("share/pye/journal");
    let own = fs::read(&journal).unwrap();
    fs::write(&journal, [format!("own\t-\t{}\n", victim.display()).as_bytes(), &own].concat()).unwrap();
    std::os::unix::fs::chown(&journal, Some(12345), None).unwrap();
    for command in ["uninstall", "install"] {
        let told = fails(&[&command, &"--venv", &venv]);
        assert!(told.contains("expected a journal that belongs to user 0 or to root, got user 12345's"), "{told}");
        assert!(victim.exists() && journal.exists(), "{command}");
    }
    // Nor is one that a link leads to, or a pipe.
    fs::remove_file(&journal).unwrap();
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    for make in [&|path: &Path| symlink(&victim, path).unwrap(), &pipe as &dyn Fn(&Path)] {
        make(&journal);
        let told = fails(&[&"uninstall", &"--venv", &venv]);
        assert!(told.contains("journal: expected a regular file"), "{told}");
        fs::remove_file(&journal).unwrap();
    }
    fs::write(&journal, own).unwrap();
    succeeds(under(0o022, place.path(), &PROGRAM, &[&"uninstall", &"--venv", &venv]));
    assert!(victim.exists() && !journal.exists());
}

/// As root can do to `/dev/null`.
#[test]
fn no_file_takes_the_place_of_a_pipe_or_device() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    put(tree.join("a.pyc"), module("a"));
    let pipe = place.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let linked = place.path().join("link");
    symlink(&pipe, &linked).unwrap();
    // As `/dev/stdout` is where that is a file.
    let (opened, stdout) = (fs::File::create(place.path().join("opened")).unwrap(), place.path().join("stdout"));
    symlink(format!("/proc/{}/fd/{}", std::process::id(), opened.as_raw_fd()), &stdout).unwrap();
    let runs: Args<'_> = &[&"--", &python().path, &"-c", &"import json"];
    for (path, got) in [
        (&pipe, "a device, pipe or socket"),
        (&linked, "a device, pipe or socket"),
        (&stdout, "a link to what a process has open"),
    ] {
        for words in [
            &[&"link" as &dyn AsRef<OsStr>, &tree, &"-o", path][..],
            &[&[&"trace" as &dyn AsRef<OsStr>, &"-o", path], runs].concat(),
            &[&[&"estimate" as &dyn AsRef<OsStr>, &"--output", path], runs].concat(),
            &[&"measure", &"--after", &"0.01", &"-o", path, &"--", &"sleep", &"60"],
            &[&"measure", &"--after", &"0.01", &"--html", path, &"--", &"sleep", &"60"],
        ] {
            let told = fails(words);
            assert!(told.contains(&format!("got {got}")) && told.contains("help:"), "{told}");
            assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo() && linked.is_symlink() && stdout.is_symlink());
        }
    }
}

/// A name like that of a file being written, which is looked at to see whether its writer lives.
#[test]
fn a_pipe_with_a_temporary_name_keeps_nobody_waiting() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    put(tree.join("a.pyc"), module("a"));
    let pipe = tree.join(".x.pye-tmp");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let words: Args<'_> = &[&"convert", &tree, &"--output", &place.path().join("out")];
    let mut child = under(0o022, place.path(), &PROGRAM, words).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.expect("it waits for a writer").success());
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
}
