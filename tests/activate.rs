//! `pye run`, `install`, `uninstall` and `doctor` on real interpreters, with the Python package as `python/stage` lays it out.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::failing::{Failing, Fault};
use common::kills::{Left, kill_at_random_moments};
use common::random::Random;
use common::tool::{PROGRAM, put};
use common::{Python, site};
use serde_json::Value;
use walkdir::WalkDir;

/// The interpreters that the loader serves, debug builds too.
fn served() -> Vec<&'static Python> {
    let all = common::pythons().iter().chain(common::debug_pythons());
    let served: Vec<_> = all.filter(|python| ((3, 9)..=(3, 15)).contains(&python.version)).collect();
    assert!(!served.is_empty(), "no CPython 3.9 to 3.15 at hand");
    served
}

/// A command without what the tests' own environment says of Python and pye, whose cache is `home`.
fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("PYTHON") || name.starts_with("PYE")
    });
    for name in ours {
        command.env_remove(name);
    }
    command.env("XDG_CACHE_HOME", home.join("cache")).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}

/// `pye`, which finds the staged package through the interpreter it is asked about.
fn pye(home: &Path, words: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = command(PROGRAM, home);
    command.env("PYTHONPATH", site()).args(words.iter().map(|word| word.as_ref()));
    command
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Runs to a good end with nothing on standard error; returns standard output.
fn quiet(command: &mut Command) -> String {
    let output = output(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{command:?}: {}\n{out}{err}", output.status);
    out.trim_end().to_string()
}

/// Paths, with what each is, its mode, and its content or target; of files also the time.
type Tree = BTreeMap<PathBuf, (u32, i64, Vec<u8>)>;

/// A temporary directory with a virtual environment that two distributions are installed in, one of them compiled.
struct Environment {
    home: tempfile::TempDir,
    venv: PathBuf,
}

impl Environment {
    fn new(python: &Python) -> Environment {
        let home = tempfile::tempdir().expect("a temporary directory");
        let venv = home.path().join("venv");
        // Made by hand: not every interpreter has the module venv.
        let site = venv.join(format!("lib/python{}/site-packages", python.name()));
        fs::create_dir_all(&site).unwrap();
        fs::create_dir(venv.join("bin")).unwrap();
        symlink(&python.path, venv.join("bin/python")).unwrap();
        put(
            venv.join("pyvenv.cfg"),
            format!("home = {}\ninclude-system-site-packages = false\n", python.path.parent().unwrap().display()),
        );
        put(site.join("alpha/__init__.py"), "'''Alpha'''\n");
        put(site.join("alpha/inner.py"), format!("'''{}'''\nVALUE = 'inner'\n", "Long text. ".repeat(50)));
        put(site.join("beta.py"), "VALUE = 'beta'\n");
        put(site.join("broken.py"), "def (\n");
        let environment = Environment { home, venv };
        quiet(environment.python().args(["-m", "compileall", "-q"]).arg(site.join("alpha")));
        environment
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// The environment's interpreter.
    fn python(&self) -> Command {
        command(self.venv.join("bin/python"), self.home())
    }

    fn pye(&self, words: &[&dyn AsRef<OsStr>]) -> Command {
        pye(self.home(), words)
    }

    fn install(&self) -> Value {
        json(&quiet(&mut self.pye(&[&"install", &"--json", &"--venv", &self.venv])))
    }

    /// What `pye doctor` reports of the environment's interpreter, called with `arguments`, and its exit status.
    fn doctor(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (Value, i32) {
        let mut doctor = command(PROGRAM, self.home());
        doctor.args(["doctor", "--json", "--"]).arg(self.venv.join("bin/python")).args(arguments);
        let output = output(doctor.envs(variables.iter().copied()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (json(&text), output.status.code().expect("an exit status"))
    }

    /// All reasons of a report, as one text.
    fn reasons(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let (report, status) = self.doctor(arguments, variables);
        assert_eq!(status, 1, "{report:#}");
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(|finding| format!("{}\n", finding["reason"].as_str().unwrap())).collect()
    }

    /// Every path of the environment, with what it is, its mode, and its content or target; of files also the time.
    fn tree(&self) -> Tree {
        let entries = WalkDir::new(&self.venv).into_iter().map(|entry| entry.expect("a readable tree"));
        entries
            .map(|entry| {
                let path = entry.path();
                let meta = fs::symlink_metadata(path).unwrap();
                let (time, bytes) = if meta.is_dir() {
                    (0, Vec::new())
                } else if meta.is_symlink() {
                    (0, fs::read_link(path).unwrap().into_os_string().into_encoded_bytes())
                } else {
                    (meta.mtime_nsec() ^ meta.mtime(), fs::read(path).unwrap())
                };
                (path.strip_prefix(&self.venv).unwrap().to_path_buf(), (meta.mode(), time, bytes))
            })
            .collect()
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// What a program sees of modules of the environment, and which loader they came by.
const IMPORTS: &str = "
import sys, alpha.inner, beta, json
print(alpha.__doc__, alpha.inner.VALUE, beta.VALUE, len(alpha.inner.__doc__))
print(type(alpha.inner.__loader__).__module__ == 'pye._finder', type(json.__loader__).__module__ == 'pye._finder')
";

#[test]
fn an_installation_is_active_and_leaves_no_trace() {
    for python in served() {
        let environment = Environment::new(python);
        let before = environment.tree();
        let stock = quiet(environment.python().args(["-c", IMPORTS]));
        assert_eq!(stock, "Alpha inner beta 550\nFalse False", "{python:?}");
        for round in ["first", "again"] {
            let report = environment.install();
            assert_eq!(
                (report["packages"].as_array().unwrap().len(), &report["profile"]),
                (2, &Value::Null),
                "{report:#}"
            );
            // beta; broken.py is not counted, and the second time nothing lacks.
            let compiled = report["compiled"].as_u64().unwrap();
            assert_eq!(compiled >= 1, round == "first", "{python:?}, {round}: {report:#}");
        }
        let served = quiet(environment.python().args(["-c", IMPORTS]));
        assert_eq!(served, "Alpha inner beta 550\nTrue True", "{python:?}");
        let isolated = quiet(environment.python().args(["-I", "-c", IMPORTS]));
        assert_eq!(isolated, served, "{python:?}");
        let off = quiet(environment.python().args(["-c", IMPORTS]).env("PYE", "0"));
        assert_eq!(off, stock, "{python:?}");
        let (report, status) = environment.doctor(&["-c", "import alpha.inner"], &[]);
        assert_eq!((status, &report["active"]), (0, &Value::Bool(true)), "{report:#}");
        let image = python.at_least(3, 12);
        assert_eq!(report["form"], if image { "image" } else { "portable" });
        let activations = report["interpreter"]["status"]["activations"].as_array().unwrap();
        let mut relocated = false;
        for store in activations.iter().flat_map(|each| each["loaded"]["stores"].as_array().unwrap()) {
            relocated |= store["image"]["relocation"] == "at-fork";
            let state = if image { &store["image"]["state"] } else { &store["image"] };
            assert_eq!(state, &if image { Value::from("mapped") } else { Value::Null }, "{python:?}: {store:#}");
        }
        let mut doctor = command(PROGRAM, environment.home());
        doctor.args(["doctor", "--"]).arg(environment.venv.join("bin/python")).args(["-c", "import alpha.inner"]);
        let told = quiet(&mut doctor);
        assert_eq!(told.contains("loaded from it\n  relocation "), image, "{told}");
        assert_eq!(told.contains("no profile says what to make ready"), relocated, "{told}");
        // CPython frees its trampolines wrongly when an odd number of code objects has run in them, since each counts for both of its watchers: so nothing of pye's may
        // run at the end, unasked.
        if python.at_least(3, 12) {
            let run =
                |pye| quiet(environment.python().args(["-c", TRAMPOLINES]).envs([("PYE", pye), ("PYTHON_JIT", "0")]));
            assert_eq!(run("1"), run("0"), "{python:?}");
        }
        // A module added later is imported as ever, without another installation.
        let site = environment.venv.join(format!("lib/python{}/site-packages", python.name()));
        put(site.join("later.py"), "VALUE = 'later'\n");
        assert_eq!(quiet(environment.python().args(["-c", "import later; print(later.VALUE)"])), "later");
        fs::remove_file(site.join("later.py")).unwrap();
        quiet(&mut environment.pye(&[&"uninstall", &"--venv", &environment.venv]));
        let after = environment.tree();
        let names = |tree: &BTreeMap<PathBuf, _>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&before), names(&after), "{python:?}");
        assert!(before == after, "{python:?}: contents, modes or times differ");
        assert_eq!(quiet(environment.python().args(["-c", IMPORTS])), stock, "{python:?}");
    }
}

/// Has CPython's profiler trampolines made for an even number of code objects, while two watchers are registered for them.
const TRAMPOLINES: &str = "
import sys
def inner():
    sys.deactivate_stack_trampoline()
    sys.activate_stack_trampoline('perf')
    last()
def last(): pass
def outer(): inner()
try: sys.activate_stack_trampoline('perf')
except ValueError: print('no trampolines')
else: outer()
";

/// Package files of a process that imports from the library, then from the environment.
const OPENED: &str = "
import json, os
def opened():
    with open('/proc/self/maps') as maps: return len({line.split()[-1] for line in maps if line.rstrip().endswith('.pye')})
try: import no_such_module
except ImportError: pass
print(opened(), len(json.__doc__) > 0, flush=True)
if not os.fork():
    import beta
    print(opened(), type(beta.__loader__).__name__, flush=True)
    os._exit(0)
os.wait()
import alpha.inner
print(opened(), alpha.inner.VALUE)
";

/// To open a package takes as long as to import a small module: one that a program needs nothing of is left alone.
#[test]
fn a_package_is_opened_when_something_is_found_below_its_root() {
    for python in served() {
        let environment = Environment::new(python);
        environment.install();
        let log = environment.home().join("log");
        let told = || {
            let text = fs::read_to_string(&log).expect("a log");
            fs::remove_file(&log).unwrap();
            text.lines().filter(|line| line.contains("not used: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let run = |code: &str| quiet(environment.python().args(["-c", code]).env("PYE_LOG", &log));
        let served = |count, loader| format!("1 True\n{count} {loader}\n{count} inner");
        assert_eq!(run(OPENED), served(2, "Loader"), "{python:?}");
        assert_eq!(told(), [""; 0], "{python:?}");
        // Why one cannot be used is said once it is asked for, and by doctor in any case.
        let manifest = fs::read_to_string(environment.venv.join("share/pye/manifest")).unwrap();
        let (_, file) = manifest.lines().find_map(|line| line.split_once("site-packages\t")).expect("its package");
        let package = environment.venv.join("share/pye").join(file);
        fs::set_permissions(&package, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(run("import json"), "");
        assert_eq!(told(), [""; 0], "{python:?}");
        assert_eq!(run(OPENED), served(1, "SourceFileLoader"), "{python:?}");
        let lines = told();
        assert_eq!(lines.len(), 1, "the parent's, when it forks: {lines:?}");
        assert!(lines.iter().all(|line| line.contains("mode 666")), "{python:?}: {lines:?}");
        let reasons = environment.reasons(&["-c", "import json"], &[]);
        assert!(reasons.contains("mode 666"), "{python:?}: {reasons}");
    }
}

#[test]
fn a_killed_installation_does_no_harm_and_leaves_no_trace() {
    let python = served()[0];
    let environment = Environment::new(python);
    // Work for the compiler, so that kills hit it too.
    for index in 0..100 {
        let site = environment.venv.join(format!("lib/python{}/site-packages", python.name()));
        put(site.join(format!("many/m{index}.py")), "def f(x): return [x, x]\n".repeat(50));
    }
    let before = environment.tree();
    let stock = quiet(environment.python().args(["-c", IMPORTS]));
    let install = || environment.pye(&[&"install", &"--venv", &environment.venv]);
    quiet(&mut install());
    let whole = environment.tree();
    uninstall(&environment, &before);
    let lines: Vec<_> = stock.lines().take(1).map(str::to_string).collect();
    // Whatever a kill hits, the same must hold.
    let check = || {
        let there = environment.tree();
        let names = |tree: &Tree| tree.keys().cloned().collect::<BTreeSet<_>>();
        let half_way = names(&there) != names(&before) && names(&there) != names(&whole);
        let new = |path: &&PathBuf| !before.contains_key(*path) && !whole.contains_key(*path);
        let leftovers = there.keys().filter(new).count();
        let now = quiet(environment.python().args(["-c", IMPORTS]));
        assert_eq!(now.lines().take(1).collect::<Vec<_>>(), lines);
        uninstall(&environment, &before);
        Left { half_way, leftovers }
    };
    kill_at_random_moments("install", 30, install, check);
}

/// Reading and writing below the environment fails from any byte on, for the interpreters that compile and make images too. It is taken back, or, where that hits an image, active
/// without that.
#[test]
fn an_installation_that_cannot_read_or_write_is_taken_back() {
    let python = served().into_iter().rfind(|python| !python.debug).unwrap();
    let environment = Environment::new(python);
    let failing = Failing::new(environment.home());
    let before = environment.tree();
    let stock = quiet(environment.python().args(["-c", IMPORTS]));
    let install = || environment.pye(&[&"install", &"--venv", &environment.venv]);
    quiet(&mut install());
    let whole = environment.tree();
    let served = quiet(environment.python().args(["-c", IMPORTS]));
    uninstall(&environment, &before);
    let bytes: usize = whole.iter().filter(|(path, _)| !before.contains_key(*path)).map(|(_, (.., b))| b.len()).sum();
    let mut random = Random::new(3);
    let (mut failed, rounds) = (0, common::number("PYE_FAULTS", 20));
    for round in 0..rounds {
        let fault = match round % 3 {
            0 => Fault::Read(random.below(40_000) as u64),
            // Of what is written in all little is in files of pye's own.
            1 => Fault::Write(random.below(4_000) as u64),
            _ => Fault::Write(random.below(bytes) as u64),
        };
        let mut install = install();
        failing.apply(&mut install, &environment.venv, fault);
        let result = output(&mut install);
        let said = String::from_utf8_lossy(&result.stdout).into_owned() + &String::from_utf8_lossy(&result.stderr);
        let now = quiet(environment.python().args(["-c", IMPORTS]));
        match result.status.code() {
            Some(0) => assert_eq!(now, served, "{fault:?}: {said}"),
            Some(1) if said.starts_with("left out: ") => {
                failed += 1;
                assert_eq!(now, served, "{fault:?}: {said}");
                assert!(said.contains("expected an image") && said.contains("\nactive in "), "{fault:?}: {said}");
            }
            Some(1) => {
                failed += 1;
                assert_eq!(now, stock, "{fault:?}: {said}");
                assert!(said.contains("error") && !said.contains("panicked"), "{fault:?}: {said}");
                let left: Vec<_> = environment.tree().into_keys().filter(|path| !before.contains_key(path)).collect();
                assert!(left.is_empty() || left == [Path::new("share")], "{fault:?}: {left:?}");
            }
            _ => panic!("{fault:?}: {}: {said}", result.status),
        }
        uninstall(&environment, &before);
    }
    assert!(failed >= rounds / 3, "{failed} of {rounds} failed");
    quiet(&mut install());
    assert_eq!(quiet(environment.python().args(["-c", IMPORTS])), served);
}

/// Takes an installation back, whatever there is of it: names are those of `before`.
fn uninstall(environment: &Environment, before: &Tree) {
    quiet(&mut environment.pye(&[&"uninstall", &"--venv", &environment.venv]));
    let after = environment.tree();
    // The one thing that cannot be told: whether an empty `share` was there before.
    let extra: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(extra.iter().all(|path| **path == Path::new("share")), "{extra:?}");
    let _ = fs::remove_dir(environment.venv.join("share"));
    assert!(before.keys().all(|path| after.contains_key(path)));
}

#[test]
fn an_installation_survives_a_move_and_the_loss_of_the_package() {
    let python = served()[0];
    let mut environment = Environment::new(python);
    let before = environment.tree();
    // A copy of the staged package, to be lost.
    let place = environment.home().join("place");
    fs::create_dir(&place).unwrap();
    assert!(Command::new("cp").arg("-r").arg(site().join("pye")).arg(&place).status().unwrap().success());
    let install = || environment.pye(&[&"install", &"--venv", &environment.venv]);
    quiet(install().env("PYTHONPATH", &place));
    let stock = quiet(environment.python().args(["-c", IMPORTS]).env("PYE", "0"));
    assert_ne!(quiet(environment.python().args(["-c", IMPORTS])), stock);

    let moved = environment.home().join("moved");
    fs::rename(&environment.venv, &moved).unwrap();
    environment.venv = moved;
    let (report, status) = environment.doctor(&[], &[]);
    assert_eq!(status, 0, "{report:#}");

    fs::rename(&place, environment.home().join("gone")).unwrap();
    assert_eq!(quiet(environment.python().args(["-c", IMPORTS])), stock);
    assert!(environment.reasons(&[], &[]).contains("could not import pye"));

    quiet(command(PROGRAM, environment.home()).args(["uninstall", "--venv"]).arg(&environment.venv));
    assert!(before == environment.tree());
}

#[test]
fn doctor_names_what_keeps_it_from_being_active() {
    let python = served()[0];
    let environment = Environment::new(python);
    assert!(environment.reasons(&[], &[]).contains("not installed for this interpreter"));
    environment.install();
    assert!(environment.reasons(&["-S"], &[]).contains("-S"));
    assert!(environment.reasons(&[], &[("PYE", "0")]).contains("PYE=0"));
    assert_eq!(environment.doctor(&["-I", "-X", "dev"], &[]).1, 0);
    // What a distribution that is installed later does.
    let site = environment.venv.join(format!("lib/python{}/site-packages", python.name()));
    put(site.join("later.py"), "");
    assert!(environment.reasons(&[], &[]).contains("1 directory has changed below"));
    environment.install();
    assert_eq!(environment.doctor(&[], &[]).1, 0);
    let share = environment.venv.join("share/pye");
    let package = fs::read_dir(&share)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with("site-packages.pye"))
        .expect("a package of site-packages");
    let whole = fs::read(&package).unwrap();
    let stock = quiet(environment.python().args(["-c", IMPORTS]).env("PYE", "0"));
    let line = |text: &str| text.lines().next().unwrap().to_string();
    let check = |what: &str, reason: &str| {
        let now = quiet(environment.python().args(["-c", IMPORTS]));
        assert_eq!(line(&now), line(&stock), "{what}");
        let reasons = environment.reasons(&[], &[]);
        assert!(reasons.contains(reason) && reasons.contains("site-packages.pye"), "{what}: {reasons}");
    };
    fs::write(&package, &whole[..whole.len() / 2]).unwrap();
    check("truncated", "expected");
    fs::write(&package, "no package").unwrap();
    check("something else", "expected");
    fs::write(&package, &whole).unwrap();
    fs::set_permissions(&package, fs::Permissions::from_mode(0o666)).unwrap();
    check("writable by all", "mode 666");
    fs::remove_file(&package).unwrap();
    check("gone", "cannot open");
    fs::remove_file(share.join("manifest")).unwrap();
    assert!(environment.reasons(&[], &[]).contains("manifest"));
}

#[test]
fn a_profile_is_kept_for_later_installations() {
    let Some(python) = served().into_iter().find(|python| python.at_least(3, 12)) else { return };
    let environment = Environment::new(python);
    let before = environment.tree();
    let file = environment.home().join("app.profile");
    let install = |more: &[&dyn AsRef<OsStr>]| {
        let words: Vec<&dyn AsRef<OsStr>> =
            [&[&"install", &"--venv", &environment.venv as &dyn AsRef<OsStr>], more].concat();
        let done = output(&mut environment.pye(&words));
        (done.status.code(), [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat())
    };
    // Before anything is written.
    let (status, said) = install(&[&"--profile", &file]);
    assert!(status == Some(1) && said.contains("app.profile: cannot read"), "{said}");
    assert!(environment.tree() == before);
    let source = environment.venv.join(format!("lib/python{}/site-packages/alpha/__init__.py", python.name()));
    put(&file, format!("pye-profile\t1\nprocesses\t1\t1\nmodule\t1\t{}\n", source.display()));
    assert!(install(&[&"--profile", &file]).1.contains("share/pye/profile"));
    fs::remove_file(&file).unwrap();
    let (status, said) = install(&[]);
    assert!(status == Some(0) && said.contains("share/pye/profile"), "{said}");
    let (report, _) = environment.doctor(&["-c", "import alpha"], &[]);
    let stores = &report["interpreter"]["status"]["activations"][0]["loaded"]["stores"];
    let profiled = stores.as_array().unwrap().iter().map(|store| &store["image"]["profiled"]).collect::<Vec<_>>();
    assert_eq!(profiled, [&Value::Bool(false), &Value::Bool(true)], "{stores:#}");
    // What no process would use is not made.
    let share = environment.venv.join("share/pye");
    fs::set_permissions(&share, fs::Permissions::from_mode(0o777)).unwrap();
    let (status, said) = install(&[]);
    assert!(status == Some(1) && said.contains("mode 777") && said.contains("chmod go-w"), "{said}");
    fs::set_permissions(&share, fs::Permissions::from_mode(0o755)).unwrap();
    quiet(&mut environment.pye(&[&"uninstall", &"--venv", &environment.venv]));
    assert!(environment.tree().keys().eq(before.keys()));
}

#[test]
fn other_interpreters_are_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    for python in common::pythons().iter().filter(|python| python.version < (3, 9)) {
        let output = output(&mut pye(home.path(), &[&"install", &"--python", &python.path]));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(error.contains(&format!("got CPython {}.", python.name())) && error.contains("help:"), "{error}");
    }
    let output = output(&mut pye(home.path(), &[&"install", &"--venv", &home.path()]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected a virtual environment"));
}

#[test]
fn run_serves_the_command_and_its_children() {
    const CHILDREN: &str = "
import multiprocessing, os, subprocess, sys
def origin(_=None):
    import wave
    return type(wave.__loader__).__module__
if __name__ == '__main__':
    print(origin())
    print(subprocess.run([sys.executable, '-c', 'import wave; print(type(wave.__loader__).__module__)'],
                         capture_output=True, text=True).stdout.strip())
    for method in ('spawn', 'forkserver', 'fork'):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(origin, [0])[0])
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, '-c', 'import wave; print(type(wave.__loader__).__module__)'])
";
    for python in served() {
        let environment = Environment::new(python);
        let script = environment.home().join("children.py");
        put(&script, CHILDREN);
        let interpreter = environment.venv.join("bin/python");
        // The standard library may not be compiled: the module that is asked for must be.
        let library = common::compiled_stdlib(python);
        let package = environment.home().join("library.pye");
        let tag = format!("cpython-{}{}", python.version.0, python.version.1);
        quiet(
            command(PROGRAM, environment.home())
                .args(["link", "--json", "--tag", &tag, "--exclude", "site-packages"])
                .args(["--exclude", "test", "-o"])
                .arg(&package)
                .arg(&library),
        );
        let root = common::stdlib(python);
        let named = format!("{}={}", root.display(), package.display());
        let run =
            |environment: &Environment| environment.pye(&[&"run", &"--package", &named, &"--", &interpreter, &script]);
        if library == root {
            let out = quiet(&mut run(&environment));
            assert_eq!(out, ["pye._finder"; 6].join("\n"), "{python:?}");
        }
        assert!(!quiet(run(&environment).env("PYE", "0")).contains("pye"), "{python:?}");
    }
}

#[test]
fn run_becomes_the_command() {
    let environment = Environment::new(served()[0]);
    let python = environment.venv.join("bin/python");
    let run = |script: &str| output(&mut environment.pye(&[&"run", &"--", &python, &"-c", &script]));
    assert_eq!(run("import sys; sys.exit(7)").status.code(), Some(7));
    assert_eq!(run("import os; os.kill(os.getpid(), 15)").status.signal(), Some(15));
    // Standard error of the first: links its packages into the cache, without a word where nobody looks.
    assert_eq!(String::from_utf8_lossy(&run("pass").stderr), "");
    let cache = environment.home().join("cache/pye");
    let packages = || {
        let walk = WalkDir::new(&cache).into_iter().map(|entry| entry.unwrap());
        walk.filter(|e| e.path().extension() == Some(OsStr::new("pye")))
            .map(|e| (e.path().to_path_buf(), e.metadata().unwrap().ino()))
            .collect::<BTreeMap<_, _>>()
    };
    let first = packages();
    assert_eq!(first.len(), 2, "{first:?}");
    assert!(fs::metadata(&cache).unwrap().mode() & 0o077 == 0);
    run("pass");
    assert_eq!(packages(), first, "linked again though nothing has changed");
    let site = environment
        .venv
        .join("lib")
        .join(fs::read_dir(environment.venv.join("lib")).unwrap().next().unwrap().unwrap().file_name());
    put(site.join("site-packages/gamma.py"), "VALUE = 3\n");
    run("pass");
    let changed = packages().iter().filter(|(path, inode)| first[*path] != **inode).count();
    assert_eq!(changed, 1, "one root has changed");
    // Others may write there: not used, and the command runs all the same.
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let open = run("print('ran')");
    assert_eq!(String::from_utf8_lossy(&open.stdout), "ran\n");
    assert!(String::from_utf8_lossy(&open.stderr).contains("mode 777"));
    let missing =
        output(&mut environment.pye(&[&"run", &"--package", &"/does/not/exist", &"--", &python, &"-c", &"pass"]));
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/does/not/exist"));
    // No package; and no program, for which nothing is linked.
    let text = environment.home().join("text");
    put(&text, "no package");
    let wrong = output(&mut environment.pye(&[&"run", &"--package", &text, &"--", &python, &"-c", &"pass"]));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("ELF"));
    fs::remove_dir_all(&cache).unwrap();
    let nothing = output(&mut environment.pye(&[&"run", &"--", &"no-such-program"]));
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("cannot run no-such-program"));
    assert!(!cache.exists());
    // Packages of single distributions.
    let distributions = environment.home().join("distributions");
    let site = site.join("site-packages");
    quiet(common::bare(&python).args(["-m", "compileall", "-q"]).args([site.join("alpha"), site.join("beta.py")]));
    quiet(&mut environment.pye(&[&"link", &"--per-distribution", &"-o", &distributions, &site]));
    assert!(fs::read_dir(&distributions).unwrap().count() >= 1);
    let named = format!("{}={}", site.display(), distributions.display());
    let served = output(&mut environment.pye(&[&"run", &"-p", &named, &"--", &python, &"-c", &IMPORTS]));
    assert!(String::from_utf8_lossy(&served.stdout).contains("True"), "{served:?}");
}

#[test]
fn a_hidden_sitecustomize_runs_and_errors_stay_its_own() {
    // Every version that a command may start, also those that pye does not serve.
    for python in common::pythons() {
        let environment = Environment::new(served()[0]);
        environment.install();
        let package = environment.venv.join("share/pye/1-site-packages.pye");
        let custom = environment.home().join("custom");
        put(custom.join("sitecustomize.py"), "import sys\nsys.custom = 'custom'\n");
        let run = || {
            let mut run = environment.pye(&[&"run", &"--package", &package, &"--", &python.path]);
            run.args(["-c", "import sys; print(getattr(sys, 'custom', None)); print('boot' in str(sys.path))"]);
            run
        };
        let search = std::env::join_paths([&custom, site()]).unwrap();
        assert_eq!(quiet(run().env("PYTHONPATH", search)), "custom\nFalse", "{python:?}");
        assert_eq!(quiet(&mut run()), "None\nFalse", "{python:?}");
    }
}
