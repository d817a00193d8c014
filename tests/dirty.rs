//! Images in live processes: what `pye inspect` and `pye measure` tell of them, `--relocate`, and what `pye inspect --dirty` finds written.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use common::tool::{self, put};
use common::{Python, site};
use serde_json::Value;

/// The module in the image. Lines are counted by the profile.
const MODULE: &str = "'''A module of which some functions run, some are looked at and some are not.'''
def ran(n):
    total = 0
    for i in range(n):
        total += i
    return total
def looked_at(first, second):
    return first
def left(first, second):
    return second
def member(x):
    return x in {'one', 'two', 'three'}
def f(first):
    return first
";

/// Runs in the parent what is to be inherited, then forks two children that look at two functions of their own accord, prints all numbers and waits.
const SCRIPT: &str = r"
import os, signal, sys
signal.alarm(600)
import web.app
web.app.ran(10_000)
reader, writer = os.pipe()
pids = [os.getpid()]
for _ in range(2):
    pid = os.fork()
    if not pid:
        signal.alarm(600)
        for function in web.app.looked_at, web.app.f:
            function.__code__.co_varnames
        os.write(writer, b'x')
        signal.pause()
    pids.append(pid)
for _ in pids[1:]:
    os.read(reader, 1)
print(*pids, flush=True)
signal.pause()
";

/// Interns nearly as much as the table of interned strings holds, 87,381, forks before it has imported what the image is for, and prints by how many kilobytes the child grew while it
/// interned more.
const INTERNING: &str = r"
import json, os, sys
kept = [sys.intern('parent %d' % n) for n in range(86_381 - sys.getunicodeinternedsize())]
def size(field):
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))
if not os.fork():
    before = size('VmSize')
    kept += [sys.intern('child %d' % n) for n in range(10_000)]
    print(size('VmPeak') - before, flush=True)
    os._exit(0)
os.wait()
";

/// The interpreters that images are for.
fn imaged() -> Vec<&'static Python> {
    let all = common::pythons().iter().chain(common::debug_pythons());
    let imaged: Vec<_> = all.filter(|python| ((3, 12)..=(3, 15)).contains(&python.version)).collect();
    assert!(!imaged.is_empty(), "no CPython 3.12 to 3.15 at hand");
    imaged
}

/// A package with an image for an interpreter, in a directory that every user may enter.
struct Package {
    python: &'static Python,
    directory: tempfile::TempDir,
}

impl Package {
    fn new(python: &'static Python, options: &[&str]) -> Package {
        let directory = tempfile::tempdir().unwrap();
        tool::program_for_all(directory.path());
        let package = Package { python, directory };
        put(package.root().join("web/__init__.py"), "");
        put(package.source(), MODULE);
        let mut compile = python.command();
        compile.args(["-m", "compileall", "-q"]).arg(package.root());
        assert!(compile.status().unwrap().success());
        let source = package.source();
        let profile = format!(
            "pye-profile\t1\nprocesses\t1\t1\nmodule\t1\t{0}\nfunction\t1\t{0}\tran\t2\n",
            source.to_str().unwrap()
        );
        put(package.profile(), profile);
        let tag = format!("cpython-{}{}", python.version.0, python.version.1);
        let mut link = tool::command(&[&"link", &package.root(), &"-o", &package.file(), &"--tag", &tag]);
        link.args(["--image", "--python"]).arg(&python.path).arg("--profile").arg(package.profile());
        let output = link.args(options).env("PYTHONPATH", site()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        package
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn source(&self) -> PathBuf {
        self.root().join("web/app.py")
    }

    fn profile(&self) -> PathBuf {
        self.directory.path().join("profile")
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("web.pye")
    }

    /// The interpreter, with the package active and importable.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.python.path);
        let path = std::env::join_paths([site().join("pye/boot"), self.root()]).unwrap();
        let packages = format!("{}={}", self.root().display(), self.file().display());
        command.env("PYTHONPATH", path).env("PYE_PACKAGES", packages).env("PYTHONNOUSERSITE", "1");
        command.env_remove("PYE_RELOCATE").env_remove("PYE_IMAGE");
        command
    }

    /// What `pye.status()` says of the image after an import.
    fn status(&self, variables: &[(&str, &str)]) -> Value {
        let program = "import json, web.app, pye\nprint(json.dumps(pye.status()['activations'][0]['loaded']['stores'][0]['image']))";
        let output = self.command().args(["-c", program]).envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn start(&self) -> Running {
        let mut child = self.command().args(["-c", SCRIPT]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Running { pids: line.split_whitespace().map(str::to_owned).collect(), child }
    }
}

/// A process and its children, ended with it.
struct Running {
    pids: Vec<String>,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        for pid in self.pids.iter().skip(1) {
            Command::new("kill").args(["-KILL", pid]).status().unwrap();
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn inspect(words: &[&str]) -> Output {
    tool::command(&[&"inspect"]).args(words).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn rows<'a>(report: &'a Value, table: &str) -> &'a [Value] {
    report[table].as_array().unwrap_or_else(|| panic!("no {table}: {report:#}"))
}

#[test]
fn the_table_of_interned_strings_grows_before_a_fork() {
    // In 3.12 interned strings live forever.
    for python in imaged().into_iter().filter(|python| !python.debug && python.version >= (3, 13)) {
        let package = Package::new(python, &[]);
        let grown = |variables: &[(&str, &str)]| -> u64 {
            let output = package.command().args(["-c", INTERNING]).envs(variables.iter().copied()).output().unwrap();
            text(&output).trim().parse().unwrap()
        };
        // A table for twice as many takes 3,760 kB, the strings less than an arena of 1,024.
        let [stock, pye] = [grown(&[("PYE", "0")]), grown(&[])];
        assert!(stock > 3_000 && pye < 2_000, "{python:?}: {stock} kB, {pye} kB");
    }
}

#[test]
fn what_is_written_is_found_and_named() {
    for python in imaged() {
        let package = Package::new(python, &[]);
        let running = package.start();
        let pids: Vec<&str> = running.pids.iter().map(String::as_str).collect();
        assert_eq!(pids.len(), 3, "{python:?}");
        let profile = package.profile();
        let profile = profile.to_str().unwrap();
        let file = package.file();
        let words = [&[file.to_str().unwrap(), "--profile", profile, "--json", "--dirty"], &pids[..]].concat();
        let report: Value = serde_json::from_str(&text(&inspect(&words))).unwrap();
        let [image] = rows(&report, "images") else { panic!("{report:#}") };
        let processes = rows(image, "processes");
        assert_eq!((processes.len(), rows(&report, "missing").len()), (3, 0), "{report:#}");
        let relocated = processes.iter().any(|process| !process["relocated_by"].is_null());

        // Sections and processes add up to the same.
        for (ours, theirs) in
            [("present", "present"), ("copied", "copied"), ("inherited", "inherited"), ("words", "words")]
        {
            let sum = |rows: &[Value], field: &str| rows.iter().map(|row| number(&row[field])).sum::<u64>();
            assert_eq!(sum(rows(image, "sections"), ours), sum(processes, theirs), "{python:?}: {ours}");
        }
        let section = |name: &str| rows(image, "sections").iter().find(|row| row["section"] == name).unwrap();
        if !relocated && !python.debug {
            assert_eq!(number(&section(".pye.image.data")["copied"]), 0, "{python:?}: {image:#}");
        }

        let field = |kind: &str, name: &str| {
            rows(image, "fields").iter().find(|row| row["type"] == kind && row["field"] == name)
        };
        let relocation = rows(image, "fields").iter().any(|row| row["cause"] == "relocation");
        assert_eq!(relocation, relocated, "{python:?}: {image:#}");
        for (kind, name) in [("code", "code units"), ("code", "_co_cached"), ("tuple", "item"), ("str", "hash")] {
            let row = field(kind, name).unwrap_or_else(|| panic!("{python:?}: no {kind}.{name} in {image:#}"));
            assert!(number(&row["pages"]) > 0 && number(&row["words"]) > 0 && number(&row["objects"]) > 0, "{row}");
        }
        // The children asked for names of variables; the parent had run the other function before.
        assert_eq!(number(&field("code", "_co_cached").unwrap()["since_fork"]), 2, "{python:?}: {image:#}");
        assert_eq!(number(&field("code", "code units").unwrap()["since_fork"]), 0, "{python:?}: {image:#}");

        let objects: Vec<&str> = rows(image, "objects").iter().filter_map(|row| row["object"].as_str()).collect();
        // A string of one character is the interpreter's own, and so not in the file.
        for name in ["ran", "looked_at", "line 13"] {
            assert!(objects.contains(&format!("web/app.py: {name}").as_str()), "{python:?}: {objects:?}");
        }
        let code = rows(image, "objects").iter().filter(|row| row["type"] == "code" && row["field"] == "code units");
        assert!(code.clone().count() == 1, "{python:?}: only one function ran: {image:#}");
        let code = &image["code"];
        let examples: Vec<&Value> = rows(code, "examples").iter().collect();
        assert!(examples.contains(&&Value::from("web/app.py: looked_at")), "{python:?}: {code:#}");
        assert!(!examples.contains(&&Value::from("web/app.py: ran")), "{python:?}: {code:#}");
        assert!(number(&code["pages_unnamed"]) >= 2, "{python:?}: {code:#}");

        let words = [&["--dirty"], &pids[..]].concat();
        let printed = text(&inspect(&words));
        for words in ["code.code units", "web/app.py: ran", "copied by children for themselves", "3 processes"] {
            assert!(printed.contains(words), "{python:?}: no {words:?} in\n{printed}");
        }

        // The same pages, counted by the kernel.
        let measured = tool::good(&[&"measure", &running.pids[0], &running.pids[1], &running.pids[2]]);
        for process in rows(&measured, "processes") {
            let sections = rows(process, "sections");
            let code = sections.iter().find(|row| row["section"] == ".pye.image.code");
            let code = code.unwrap_or_else(|| panic!("{python:?}: no .pye.image.code in {process:#}"));
            let pages = number(&section(".pye.image.code")["pages"]) * 4096;
            // Once as the image, once with the whole file.
            assert_eq!(number(&code["mapped"]), 2 * pages, "{python:?}: {code:#}");
            assert!(number(&code["copied"]) > 0, "{python:?}: {code:#}");
        }
        let names = |process: &Value| {
            let row = rows(process, "sections").iter().find(|row| row["section"] == ".pye.image.names").unwrap();
            (number(&row["copied"]), number(&row["inherited"]))
        };
        let (copied, inherited) = names(&rows(&measured, "processes")[1]);
        assert!(copied > 0 && inherited <= copied, "{python:?}: {measured:#}");
    }
}

#[test]
fn what_cannot_be_looked_into_is_said() {
    let python = imaged()[0];
    let package = Package::new(python, &[]);
    let running = package.start();
    let pid = &running.pids[0];
    let error = |output: &Output| {
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // This process maps no image.
    let own = std::process::id().to_string();
    assert!(
        error(&inspect(&["--dirty", &own])).contains("expected a process that maps an image and may be read, got none")
    );
    let other = package.profile();
    let output = inspect(&[other.to_str().unwrap(), "--dirty", pid]);
    assert!(error(&output).contains("expected a process that maps an image and may be read, got none"));
    // As the usage line has it: files after the processes.
    let output = inspect(&["--dirty", pid, other.to_str().unwrap()]);
    assert!(error(&output).contains("expected a process that maps an image and may be read, got none"));
    assert!(error(&inspect(&["--dirty", other.to_str().unwrap()])).contains("the number of a process"));
    // One of two is no process.
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let gone = ended.id().to_string();
    let output = inspect(&["--json", "--dirty", pid, &gone]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((rows(&report, "images").len(), rows(&report, "missing").len()), (1, 1), "{report:#}");
    assert_eq!(report["missing"][0]["pid"].to_string(), gone);
    if tool::is_root() {
        let output = tool::as_nobody(&[&"inspect", &"--dirty", pid]);
        let error = error(&output);
        assert!(error.contains("not permitted: /proc/") && error.contains("what a debugger needs"), "{error}");
    } else {
        println!("not root: there is no other user to be refused");
    }
}

#[test]
fn an_image_says_when_it_is_relocated_and_the_environment_overrides_it() {
    for python in imaged().into_iter().filter(|python| !python.debug) {
        for (option, shown) in [(None, "at-fork"), (Some("lazy"), "lazy"), (Some("never"), "never")] {
            let options: Vec<&str> = option.into_iter().flat_map(|value| ["--relocate", value]).collect();
            let package = Package::new(python, &options);
            let report = tool::good(&[&"inspect", &package.file()]);
            let image = &report["image"];
            assert_eq!(image["relocate"], shown, "{image:#}");
            assert_eq!(image["root"], package.root().to_str().unwrap());
            assert!(image["python"].as_str().unwrap().starts_with(&python.name()), "{image:#}");
            assert_eq!((number(&image["modules"]), rows(image, "sections").len()), (2, 5), "{image:#}");
            let hot = rows(image, "sections").iter().map(|row| number(&row["hot"])).sum::<u64>();
            let relocations = rows(image, "sections").iter().map(|row| number(&row["relocations"])).sum::<u64>();
            assert!(hot > 0 && relocations == number(&image["relocations"]) && relocations > 0, "{image:#}");
            let printed = text(&inspect(&[package.file().to_str().unwrap()]));
            assert!(printed.contains("Image for CPython") && printed.contains(".pye.image.code"), "{printed}");

            let status = package.status(&[]);
            // Where the interpreter stands at the same addresses in every process there is nothing to relocate.
            let moves = status["relocation"] != "none" || status["state"] != "mapped";
            if moves {
                match option {
                    Some("never") => assert!(status["state"].as_str().unwrap().contains("may not be relocated")),
                    _ => assert_eq!((&status["state"], &status["relocation"]), (&"mapped".into(), &shown.into())),
                }
                let lazy = package.status(&[("PYE_RELOCATE", "lazy")]);
                assert_eq!((&lazy["state"], &lazy["relocation"]), (&"mapped".into(), &"lazy".into()), "{python:?}");
                let never = package.status(&[("PYE_RELOCATE", "never")]);
                assert!(never["state"].as_str().unwrap().contains("may not be relocated"), "{python:?}: {never}");
            } else {
                let never = package.status(&[("PYE_RELOCATE", "never")]);
                assert_eq!((&never["state"], number(&never["loaded"])), (&"mapped".into(), 2), "{python:?}");
            }
        }
    }
}

#[test]
fn damaged_tables_are_named() {
    let package = Package::new(imaged()[0], &[]);
    let report = tool::good(&[&"inspect", &package.file()]);
    let place = rows(&report, "sections").iter().find(|row| row["name"] == ".pye.image").unwrap();
    let mut bytes = fs::read(package.file()).unwrap();
    // The base of the image.
    bytes[number(&place["offset"]) as usize + 8] ^= 1;
    let damaged = package.directory.path().join("damaged.pye");
    fs::write(&damaged, bytes).unwrap();
    let output = inspect(&[damaged.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains(".pye.image") && error.contains("CRC32"), "{error}");
}
