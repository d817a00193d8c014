//! Whatever is wrong with a package or has changed since it was linked: the program runs as under stock Python, and the reason is told.

mod common;

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::file::File as Changed;
use common::loader::{
    Packages, Project, assert_same, loaded, output, reasons, reports, script, served, site, succeeds,
};
use common::{Python, tool};
use pye::pye::read::Pye;
use pye::pye::{NAMES, Part, Record};

/// Uses modules of both roots.
const PROGRAM: &str = "import app.mod, app.sub.leaf, single, twice, space.one, partly
print(app.mod.greet('x'), app.mod.__doc__, app.mod.WIDE, single.WHO, single.__doc__, twice.WHERE, partly.WHAT)";

/// Standard Python writes the `.pyc` of what has changed; the runs of one project are not to see each other's.
const UNWRITTEN: &[(&str, &str)] = &[("PYTHONDONTWRITEBYTECODE", "1")];

/// Runs the program both ways; returns the modules loaded from packages, and the reasons told.
fn runs(project: &Project<'_>) -> (u64, Vec<String>) {
    let (got, reports) = project.same(&["-c", PROGRAM], UNWRITTEN);
    assert!(got.status.success(), "{got:?}");
    (loaded(&reports), reasons(&reports))
}

/// The release builds: where the loader does not differ between interpreters.
fn some() -> Vec<&'static Python> {
    let mut all: Vec<_> = served().into_iter().filter(|python| !python.debug).collect();
    // The oldest, the newest, and one in the middle.
    let last = all.len() - 1;
    all = [0, last / 2, last].map(|i| all[i]).to_vec();
    all.dedup();
    all
}

fn lib_package(project: &Project<'_>) -> std::path::PathBuf {
    project.beside("0.pye")
}

fn age(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    File::open(path).and_then(|file| file.set_modified(time)).unwrap();
}

#[test]
fn damaged_files_are_refused_or_give_equal_code() {
    for python in served() {
        let project = Project::new(python, &[]);
        let mut command = python.command();
        command.arg(script("damage.py")).arg(&project.directory).arg(lib_package(&project));
        succeeds(command.env("PYE_TEST_SITE", site()));
    }
}

#[test]
fn sources_that_changed_are_compiled_anew() {
    for python in served().into_iter().filter(|python| !python.debug) {
        let project = Project::new(python, &[]);
        let lib = project.directory.join("lib");
        let (before, none) = runs(&project);
        assert_eq!(none, [""; 0]);
        assert!(before >= 7, "{before}");

        // Edited: another size. Only that module is affected.
        let single = lib.join("single.py");
        fs::write(&single, "\"\"\"Edited.\"\"\"\nWHO = 'edited'\n").unwrap();
        assert_eq!(runs(&project), (before - 1, vec!["source changed since it was linked".into()]));
        // Touched: another time.
        age(&lib.join("app/mod.py"));
        assert_eq!(runs(&project).0, before - 2);
        // Edited to the same size at another time.
        let text = fs::read_to_string(lib.join("twice.py")).unwrap();
        fs::write(lib.join("twice.py"), text.replace("\"lib\"", "\"LIB\"")).unwrap();
        let (got, _) = project.same(&["-c", PROGRAM], UNWRITTEN);
        assert!(String::from_utf8_lossy(&got.stdout).contains("LIB"), "{got:?}");
        // Replaced by another file of the same name, as an installer does.
        fs::write(lib.join("new"), "WHERE = 'replaced'\n").unwrap();
        fs::rename(lib.join("new"), lib.join("space/one.py")).unwrap();
        let (got, _) = project.same(&["-c", "import space.one; print(space.one.WHERE)"], UNWRITTEN);
        assert_eq!(got.stdout, b"replaced\n");
        // Deleted: the module of that name behind it in sys.path is found, or none.
        fs::remove_file(lib.join("twice.py")).unwrap();
        let (got, _) = project.same(&["-c", "import twice; print(twice.WHERE)"], UNWRITTEN);
        assert_eq!(got.stdout, b"more\n");
        fs::remove_file(lib.join("app/sub/leaf.py")).unwrap();
        let (got, _) = project.same(&["-c", "import app.sub.leaf"], UNWRITTEN);
        assert!(!got.status.success(), "{got:?}");
        // A directory in its place.
        fs::remove_file(&single).unwrap();
        fs::create_dir(&single).unwrap();
        project.same(&["-c", "import single"], UNWRITTEN);
    }
}

#[test]
fn what_comes_into_a_directory_is_found_as_ever() {
    for python in served().into_iter().filter(|python| !python.debug) {
        let project = Project::new(python, &[]);
        let lib = project.directory.join("lib");
        // A package beside a module of its name.
        tool::put(lib.join("single/__init__.py"), "WHO = 'package'\n");
        let (got, reports) = project.same(&["-c", "import single, app.mod; print(single.WHO)"], UNWRITTEN);
        assert_eq!(got.stdout, b"package\n");
        // The directory decides no more, but what it holds unchanged comes from the package all the same.
        assert_eq!(loaded(&reports), 2, "{reports:?}");
        assert_eq!(
            reports[0]["loaded"]["stores"][1]["directories_changed"]
                .as_u64()
                .max(reports[0]["loaded"]["stores"][0]["directories_changed"].as_u64()),
            Some(1)
        );
        // A new module; an `__init__` for a namespace package; an extension module beside a module.
        tool::put(lib.join("app/fresh.py"), "NEW = 1\n");
        tool::put(lib.join("space/__init__.py"), "REGULAR = 1\n");
        let name = &project.extension;
        let library = fs::read_dir(lib.join("native")).unwrap().map(|e| e.unwrap().path());
        let library = library.into_iter().find(|p| p.extension().is_some_and(|e| e == "so")).unwrap();
        tool::put(lib.join("app").join(format!("{name}.py")), "HIDDEN = 1\n");
        fs::copy(&library, lib.join("app").join(library.file_name().unwrap())).unwrap();
        let program = format!(
            "import app.fresh, app.mod, space, app.{name} as native
print(app.fresh.NEW, space.REGULAR, native.__file__, hasattr(native, 'HIDDEN'))
try:
    import space.two
except ImportError as error:
    print(error)"
        );
        let (got, _) = project.same(&["-c", &program], UNWRITTEN);
        assert!(String::from_utf8_lossy(&got.stdout).starts_with("1 1 "), "{got:?}");
        // While a process runs.
        let program = "import app, importlib, os, single
open(os.path.join(os.path.dirname(app.__file__), 'later.py'), 'w').write('X = 1')
importlib.invalidate_caches()
import app.later, app.fails
os.remove(app.later.__file__)
del app.later
print(app.fails.__doc__)";
        project.same(&["-c", program], UNWRITTEN);
    }
}

#[test]
fn hashes_are_held_against_sources_as_asked() {
    for python in some() {
        for mode in ["CHECKED_HASH", "UNCHECKED_HASH"] {
            let project = Project::new(python, &[&format!("mode={mode}")]);
            let single = project.directory.join("lib/single.py");
            let run = |check: &str| {
                let args = ["--check-hash-based-pycs", check, "-c", "import single, app.mod; print(single.WHO)"];
                let (got, reports) = project.same(&args, UNWRITTEN);
                (String::from_utf8(got.stdout).unwrap(), loaded(&reports))
            };
            // The time says nothing.
            age(&single);
            for check in ["default", "always", "never"] {
                assert_eq!(run(check), ("lib\n".into(), 3), "{mode} {check}");
            }
            fs::write(&single, "WHO = 'edited'\n").unwrap();
            let unchanged = |check: &str| check == "never" || check == "default" && mode == "UNCHECKED_HASH";
            for check in ["default", "always", "never"] {
                let expected = if unchanged(check) { ("lib\n".into(), 3) } else { ("edited\n".into(), 2) };
                assert_eq!(run(check), expected, "{mode} {check}");
            }
            // Compiled anew, in place: the `.pyc` is another.
            let lower = mode.to_lowercase().replace('_', "-");
            let mut command = python.command();
            command.args(["-m", "compileall", "-qf", "--invalidation-mode", &lower]).arg(&single);
            assert!(command.env_remove("PYTHONDONTWRITEBYTECODE").status().unwrap().success());
            for check in ["default", "always", "never"] {
                assert_eq!(run(check), ("edited\n".into(), 2), "{mode} {check}, compiled anew");
            }
        }
    }
}

/// Makes one thing wrong with the package of `lib`, and undoes it.
fn refused(project: &Project<'_>, reason: &str, wrong: impl FnOnce(&Path), right: impl FnOnce(&Path)) {
    let package = lib_package(project);
    wrong(&package);
    let (_, reasons) = runs(project);
    assert!(reasons.iter().any(|told| told.contains(reason)), "expected {reason:?}, told {reasons:?}");
    right(&package);
    assert_eq!(runs(project).1, [""; 0], "after {reason:?}");
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for python in some() {
        let project = Project::new(python, &[]);
        let aside = project.beside("aside");
        let away = |path: &Path| fs::rename(path, &aside).unwrap();
        let back = |path: &Path| {
            let _ = fs::remove_dir(path);
            fs::rename(&aside, path).unwrap();
        };
        refused(&project, "No such file", away, back);
        refused(&project, "mode 666", |p| mode(p, 0o666), |p| mode(p, 0o644));
        refused(
            &project,
            "nobody else may write",
            |p| mode(common_parent(p), 0o777),
            |p| mode(common_parent(p), 0o755),
        );
        let fifo = |path: &Path| {
            away(path);
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        };
        refused(&project, "regular file", fifo, back);
        let text = |path: &Path| {
            away(path);
            fs::write(path, "not ELF").unwrap();
        };
        refused(&project, "0.pye", text, back);
        let empty = |path: &Path| {
            away(path);
            fs::write(path, "").unwrap();
        };
        refused(&project, "0.pye", empty, back);
        if tool::is_root() {
            let owner = |owner| move |path: &Path| std::os::unix::fs::chown(path, Some(owner), None).unwrap();
            refused(&project, "belongs to root", owner(12345), owner(0));
        }
        // A directory of single files, none of which is there: nothing is refused, nothing found.
        away(&lib_package(&project));
        fs::create_dir(lib_package(&project)).unwrap();
        runs(&project);
        back(&lib_package(&project));
    }
}

fn common_parent(path: &Path) -> &Path {
    path.parent().unwrap()
}

/// A byte of each record's magic number changed: as if another version of Python had compiled it.
#[test]
fn other_magic_numbers_and_versions_are_left_alone() {
    for python in some() {
        let project = Project::new(python, &[]);
        let package = lib_package(&project);
        let good = fs::read(&package).unwrap();
        let foreign = |path: &Path| {
            let mut bad = Changed::of(good.clone());
            bad.part(Part::Modules).chunks_mut(Record::LEN).for_each(|record| record[48] ^= 1);
            bad.mend();
            fs::remove_file(path).unwrap();
            fs::write(path, bad.bytes).unwrap();
        };
        let right = |path: &Path| {
            fs::remove_file(path).unwrap();
            fs::write(path, &good).unwrap();
        };
        refused(&project, "compiled by another version of Python", foreign, right);
        // A package of another version holds nothing for this one.
        if let Some(other) = served().into_iter().find(|other| other.version != python.version) {
            let others = Project::new(other, &[]);
            fs::copy(lib_package(&others), &package).unwrap();
            let (from_packages, _) = runs(&project);
            assert!(from_packages <= 1, "{from_packages}");
        }
    }
}

/// What is found, and where, hangs on these: with a bucket of the index emptied, `twice` would be another directory's.
#[test]
fn tables_are_held_against_their_checksums_when_a_package_is_opened() {
    for python in some() {
        let project = Project::new(python, &[]);
        let good = fs::read(lib_package(&project)).unwrap();
        let right = |path: &Path| fs::write(path, &good).unwrap();
        for part in [Part::Modules, Part::Index, Part::Names, Part::Directories] {
            let range = Pye::open(&good).unwrap().range(part as usize);
            for at in [range.start, (range.start + range.end) / 2, range.end - 1] {
                let wrong = |path: &Path| {
                    let mut bad = good.clone();
                    bad[at] ^= 0x10;
                    fs::write(path, bad).unwrap();
                };
                refused(&project, &format!("{}: expected CRC32", NAMES[part as usize]), wrong, right);
            }
        }
    }
}

/// As a user who may not read the file, and with too little address space for it.
#[test]
fn without_permission_or_memory_the_program_runs() {
    for python in some() {
        let project = Project::new(python, &[]);
        let package = lib_package(&project);
        if tool::is_root() {
            // Another user needs to get at the project, and at what tests have built, which may be closed: both are copied.
            let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            let site_copy = project.beside("site");
            assert!(Command::new("cp").arg("-r").arg(site()).arg(&site_copy).status().unwrap().success());
            let boot = project.beside("boot");
            assert!(Command::new("cp").arg("-r").arg(script("boot")).arg(&boot).status().unwrap().success());
            mode(common_parent(&package), 0o777);
            let status = project.beside("status-of-nobody");
            let reach = as_nobody(&python.path).arg("-c").arg("").status().unwrap();
            if reach.success() {
                for (bits, reason) in [(0o600, "Permission denied"), (0o644, "nobody else may write")] {
                    mode(&package, bits);
                    let mut command = as_nobody(&python.path);
                    let lib = project.directory.join("lib");
                    let path = std::env::join_paths([&boot, &lib]).unwrap();
                    command.args(["-c", "import app.mod; print(app.mod.greet('nobody'))"]).env("PYTHONPATH", path);
                    command.env("PYE_TEST_SITE", &site_copy).env("PYE_TEST_STATUS", &status);
                    command.env("PYE_TEST_PACKAGES", format!("{}={}", lib.display(), package.display()));
                    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir("/");
                    assert!(succeeds(&mut command).starts_with("Hello, nobody"));
                    let told = reasons(&reports(&status));
                    assert!(told.iter().any(|told| told.contains(reason)), "expected {reason:?}, told {told:?}");
                }
            } else {
                // The interpreter lies where only root gets.
                // Not `eprintln!`: the test harness would hide it when the test passes.
                let name = python.path.display();
                let _ =
                    writeln!(io::stderr(), "note: {name} cannot be run by another user: not tested without permission");
            }
            mode(common_parent(&package), 0o755);
            mode(&package, 0o644);
        }
        // As if the package took more than there is: the rest of the file is a hole.
        let length = fs::metadata(&package).unwrap().len();
        let resize = |length| File::options().write(true).open(&package).and_then(|f| f.set_len(length)).unwrap();
        resize(3 << 30);
        let (mut stock, pye, status) = project.both(&["-c", PROGRAM], UNWRITTEN);
        let mut limited = Command::new("prlimit");
        limited.arg("--as=2147483648").arg(pye.get_program()).args(pye.get_args());
        limited.envs(pye.get_envs().filter_map(|(name, value)| Some((name, value?))));
        limited.current_dir(pye.get_current_dir().unwrap());
        assert_same(&output(&mut stock), &output(&mut limited), "too little memory");
        let told = reasons(&reports(&status));
        assert!(told.iter().any(|told| told.contains("cannot map")), "{told:?}");
        resize(length);
        assert_eq!(runs(&project).1, [""; 0]);
    }
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    command
}

/// A package that is replaced by another file, or deleted, while a process has it open: the process keeps the old one.
#[test]
fn processes_keep_a_package_that_is_replaced() {
    for python in served() {
        let project = Project::new(python, &[]);
        let package = lib_package(&project);
        for (change, what) in [("os.remove(f)", "deleted"), ("os.rename(f + '.new', f)", "replaced")] {
            let good = fs::read(&package).unwrap();
            fs::write(package.with_extension("pye.new"), [&good[..good.len() / 2], &vec![b'x'; good.len()]].concat())
                .unwrap();
            let program = format!(
                "import app.mod, os
f = os.environ['PACKAGE']
{change}
import app.sub.leaf, app.fails, single
import importlib
importlib.reload(app.mod)
print(app.mod.__doc__, app.mod.greet('x'), app.fails.__doc__, single.__doc__, sorted(app.mod.Shape().area()))"
            );
            let status = project.beside("status");
            let (_, mut pye, _) = project.both(&["-c", &program], UNWRITTEN);
            let got = succeeds(pye.env("PACKAGE", &package));
            assert!(loaded(&reports(&status)) >= 6, "{what}");
            assert_eq!(reasons(&reports(&status)), [""; 0], "{what}");
            let _ = fs::remove_file(&package);
            fs::write(&package, good).unwrap();
            let (mut stock, _, _) = project.both(&["-c", &program.replace(change, "")], UNWRITTEN);
            assert_eq!(got, succeeds(stock.env("PACKAGE", &package)), "{what}");
        }
    }
}

/// Packages named twice, of roots that are nowhere, or relative: what cannot be used is not, and the rest is.
#[test]
fn roots_are_taken_as_they_stand_on_the_path() {
    for python in some() {
        let mut project = Project::new(python, &[]);
        let (lib, package) = (project.directory.join("lib"), lib_package(&project));
        let (expected, _) = runs(&project);
        let more = [(project.directory.join("more"), project.beside("1.pye"))];
        for (root, same) in
            [(format!("{}/", lib.display()), true), ("../lib".into(), false), ("/nowhere".into(), false)]
        {
            let all = [&more[..], &[(root.clone().into(), package.clone())]].concat();
            project.packages = Packages::of(&all);
            let (got, told) = runs(&project);
            assert!(if same { got == expected } else { got < expected }, "{root}: {got} of {expected}");
            assert_eq!(told, [""; 0], "{root}");
        }
    }
}
