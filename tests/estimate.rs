//! `pye estimate` on real interpreters: against their own account, and on commands of all sorts.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A command without what the tests' own environment says of Python.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("PYTHONPATH").env_remove("PYTHONDONTWRITEBYTECODE");
    command
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `pye estimate -- python -c script`: its output, and the report.
fn estimate(python: &Path, script: &str, environment: &[(&str, &Path)]) -> (Output, Value) {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let output = command(env!("CARGO_BIN_EXE_pye"))
        .args(["estimate", "--json", "--output"])
        .arg(&report)
        .arg("--")
        .arg(python)
        .args(["-c", script])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let json = std::fs::read(&report).ok().map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    (output, json)
}

/// What the interpreters' own account tells apart, see `heap/walk.py`.
fn group(kind: &str, version: (u8, u8)) -> &str {
    match kind {
        "docstrings" | "other_text" | "names" => "strings",
        "bytecode" | "line_tables" if version.0 == 2 => "strings",
        "bytecode" if version >= (3, 11) => "code",
        "code_objects" => "code",
        "other_bytes" => "bytes",
        "other_containers" => "containers",
        kind => kind,
    }
}

#[test]
fn sums_match_the_interpreter() {
    const IMPORTS: &str = "import json, email, decimal";
    // Which files the modules came from, found another way than the tracer does: by what the import system would open.
    let list = format!(
        "{IMPORTS}
import os, sys
files = set()
for module in list(sys.modules.values()):
    # Not getattr: 2.7's email has modules that import when asked.
    scope = getattr(module, '__dict__', dict())
    file = scope.get('__file__')
    frozen = getattr(scope.get('__loader__'), '__name__', '') == 'FrozenImporter'
    if file and not frozen and not file.endswith('.so'):
        if sys.version_info[0] == 2:
            file = file.rstrip('c') + 'c'
        else:
            file = sys.modules['importlib._bootstrap_external'].cache_from_source(file) if 'importlib._bootstrap_external' in \
sys.modules else sys.modules['_frozen_importlib_external'].cache_from_source(file)
        if os.path.exists(file):
            files.add(file)
print(chr(10).join(sorted(files)))"
    );
    for python in common::pythons() {
        // The first run writes what .pyc files are missing.
        succeed(command(&python.path).args(["-c", IMPORTS]).output().unwrap());
        let mut files: Vec<String> =
            succeed(command(&python.path).args(["-c", &list]).output().unwrap()).lines().map(str::to_owned).collect();
        let (output, report) = estimate(&python.path, IMPORTS, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let process = &report["processes"][0];
        if python.version.0 == 2 {
            // What the tracer itself imports.
            let atexit = files.iter().find(|file| file.ends_with("/os.pyc")).unwrap().replace("/os.pyc", "/atexit.pyc");
            if !files.contains(&atexit) {
                files.push(atexit);
            }
        }
        assert_eq!(process["modules"]["pyc"], files.len(), "CPython {:?}: {process:#}\n{files:#?}", python.version);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/heap/walk.py");
        let account = succeed(command(&python.path).arg(script).arg("--together").args(&files).output().unwrap());
        let mut theirs: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for line in account.lines() {
            let [_, kind, objects, bytes] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            theirs.insert(kind.into(), (objects.parse().unwrap(), bytes.parse().unwrap()));
        }
        let mut ours: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for kind in process["kinds"].as_array().unwrap() {
            let (label, loaded) = (kind["kind"].as_str().unwrap(), &kind["loaded"]);
            let (objects, heap) = (loaded["objects"].as_u64().unwrap(), loaded["heap"].as_u64().unwrap());
            if objects > 0 {
                let sum = ours.entry(group(label, python.version).into()).or_default();
                // Bytecode within a code object is no object of its own to CPython.
                sum.0 += if label == "bytecode" && python.version >= (3, 11) { 0 } else { objects };
                sum.1 += heap;
            }
        }
        assert_eq!(ours, theirs, "CPython {:?}: left is ours, right CPython's", python.version);
    }
}

#[test]
fn every_process_of_a_command_is_seen() {
    const SCRIPT: &str = r"
import os, subprocess, sys
pid = os.fork()
if pid == 0:
    import csv
    os._exit(0)
os.waitpid(pid, 0)
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), 9)
os.waitpid(pid, 0)
pid = os.fork()
if pid == 0:
    os.execl(sys.executable, sys.executable, '-c', 'import json, decimal, email, unittest')
os.waitpid(pid, 0)
subprocess.check_call([sys.executable, '-c', 'import argparse'])
subprocess.check_call(['true'])
print('done')
sys.exit(7)
";
    for python in common::pythons() {
        let (output, report) = estimate(&python.path, SCRIPT, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
        assert_eq!((&report["ended"], &report["succeeded"]), (&"exit status 7".into(), &false.into()));
        let processes = report["processes"].as_array().unwrap();
        // The command itself stands first.
        assert_eq!((&processes[0]["end"], &processes[0]["forked"]), (&"exit".into(), &false.into()));
        let mut ends: Vec<&str> = processes.iter().map(|process| process["end"].as_str().unwrap()).collect();
        ends.sort_unstable();
        assert_eq!(ends, ["_exit", "exit", "exit", "exit", "fork"], "CPython {:?}", python.version);
        // The headline is the one that cost most; the union no less than it, no more than all.
        let heap = |of: &Value| of["total"]["loaded"]["heap"].as_u64().unwrap();
        let headline = processes.iter().find(|process| process["headline"] == true).unwrap();
        assert!(processes.iter().all(|process| heap(process) <= heap(headline)));
        assert!(headline["modules"]["pyc"].as_u64() > processes[0]["modules"]["pyc"].as_u64());
        assert!(heap(&report["union"]) >= heap(headline));
        assert!(heap(&report["union"]) < processes.iter().map(heap).sum());
    }
}

#[test]
fn the_sitecustomize_of_the_user_still_runs() {
    for python in common::pythons() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("sitecustomize.py"), "import csv\nprint('custom')\n").unwrap();
        let script =
            "import os, sys; print(sys.path[1] == os.environ['CUSTOM'], sys.modules['sitecustomize'].__file__)";
        let environment = [("PYTHONPATH", directory.path()), ("CUSTOM", directory.path())];
        let (output, report) = estimate(&python.path, script, &environment);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let place = directory.path().join("sitecustomize.py");
        assert!(stdout.starts_with("custom\n") && stdout.contains("True"), "{stdout}");
        assert!(stdout.contains(&*place.to_string_lossy()), "{stdout}");
        assert!(report["processes"][0]["modules"]["pyc"].as_u64() > Some(5), "{report:#}");
        // An error in it is told as it is without pye. Another directory: 2.7 looks at whole seconds only.
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("sitecustomize.py"), "import no_such_module\nno_such_name\n").unwrap();
        let stock =
            command(&python.path).args(["-c", "import json"]).env("PYTHONPATH", directory.path()).output().unwrap();
        let (output, report) = estimate(&python.path, "import json", &[("PYTHONPATH", directory.path())]);
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&stock.stderr));
        assert!(report["processes"][0]["modules"]["pyc"].as_u64() > Some(5), "{report:#}");
    }
}

#[test]
fn a_command_that_leaves_no_trace_is_an_error_with_advice() {
    let python = common::pythons().last().unwrap();
    for arguments in [
        &[python.path.to_str().unwrap(), "-E", "-c", "pass"][..],
        &[python.path.to_str().unwrap(), "-S", "-c", "pass"],
        &[python.path.to_str().unwrap(), "-c", "import os; os.kill(os.getpid(), 9)"],
        &["true"],
    ] {
        let output = command(env!("CARGO_BIN_EXE_pye")).args(["estimate", "--"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("expected an import trace") && stderr.contains("without -I, -E or -S"), "{stderr}");
    }
    let output = command(env!("CARGO_BIN_EXE_pye")).args(["estimate", "--", "/no/such/program"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/program: cannot run"));
    assert_eq!(command(env!("CARGO_BIN_EXE_pye")).arg("estimate").output().unwrap().status.code(), Some(2));
}

#[test]
fn the_text_report_has_the_kinds_and_a_total() {
    let python = common::pythons().last().unwrap();
    let output = command(env!("CARGO_BIN_EXE_pye"))
        .args(["estimate", "--"])
        .arg(&python.path)
        .args(["-c", "import sys, json, decimal; sys.exit(5)"])
        .output()
        .unwrap();
    let text = succeed(output);
    assert!(text.starts_with("The command ended with exit status 5.\n"), "{text}");
    for word in ["docstrings", "bytecode", "code objects", "total", "With 4 workers", "fork", "preload", "spawn"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn the_totals_of_launch_modes_add_up() {
    let python = common::pythons().iter().rfind(|python| python.version >= (3, 9)).expect("a CPython that pye serves");
    let report = |workers: &str| {
        let output = command(env!("CARGO_BIN_EXE_pye"))
            .args(["estimate", "--json", "--workers", workers, "--"])
            .arg(&python.path)
            .args(["-c", "import json, decimal, email"])
            .output()
            .unwrap();
        serde_json::from_str::<Value>(&succeed(output)).unwrap()
    };
    let (one, seven) = (report("1"), report("7"));
    let worker = &one["launch"]["worker"];
    let number = |of: &Value| of.as_i64().unwrap_or_else(|| panic!("no number: {of}"));
    let total = &one["processes"][0]["total"];
    assert_eq!(worker["portable_saves"], total["portable_saves"]);
    assert_eq!(number(&worker["constants"]), number(&total["loaded"]["heap"]) - number(&total["run_once"]["heap"]));
    assert!(number(&worker["directory_caches"]) > 0, "email and json are packages: {one:#}");
    assert_eq!(
        number(&worker["saves"]),
        number(&worker["portable_saves"]) + number(&worker["directory_caches"]) - number(&worker["own"])
    );
    for (report, workers) in [(&one, 1), (&seven, 7)] {
        // That of this run: its directories have names of their own.
        let worker = &report["launch"]["worker"];
        for mode in report["launch"]["modes"].as_array().unwrap() {
            let copies = if mode["mode"] == "preload" { 1 } else { workers };
            let today = copies * (number(&worker["constants"]) + number(&worker["directory_caches"]));
            assert_eq!(number(&mode["today"]), today, "{mode}");
            assert_eq!(number(&mode["saves"]), copies * number(&worker["saves"]) - number(&worker["mapped"]), "{mode}");
            assert_eq!(number(&mode["with_pye"]), today - number(&mode["saves"]), "{mode}");
            let each = if mode["mode"] == "preload" { 0 } else { number(&worker["saves"]) };
            assert_eq!(number(&mode["each_worker_saves"]), each, "{mode}");
        }
    }
}

#[test]
fn a_python_without_the_portable_form_has_no_forecast_of_it() {
    for python in common::pythons() {
        let (_, report) = estimate(&python.path, "import json", &[]);
        let served = python.version >= (3, 9);
        assert_eq!(report["launch"].is_object(), served, "CPython {:?}", python.version);
        assert_eq!(report["processes"][0]["portable"], served);
        assert_eq!(report["processes"][0]["total"]["portable_saves"].as_u64() > Some(0), served);
    }
}

/// The loader's own count of headers is the forecast's: what may be a name stays, what two modules have is one text.
#[test]
fn the_loader_maps_the_texts_that_were_forecast() {
    const FIRST: &str = r"'''The first module, whose docstring is long enough to be mapped.'''
SHARED = 'A text that stands in both of the modules, word for word.'
NAME = 'a_text_that_may_be_a_name_however_long_it_is_to_be_interned'
SHORT = 'too short to be mapped'
BYTES = b'A string of bytes, which cannot be mapped whatever its length.'
def outer():
    'The docstring of a function that has another one within itself.'
    def inner_function_with_a_long_name():
        return 'Ein Text mit Umlauten: \xe4\xf6\xfc, und er ist lang genug.', 'A snake \U0001f40d that is long enough to stay.'
    return inner_function_with_a_long_name
";
    const SECOND: &str = "SHARED = 'A text that stands in both of the modules, word for word.'\n";
    let served: Vec<_> = common::pythons().iter().filter(|python| python.version >= (3, 9)).collect();
    assert!(!served.is_empty(), "no CPython 3.9 to 3.15 at hand");
    for python in served {
        let directory = tempfile::tempdir().unwrap();
        // Long enough for the names of its files to be mapped, too.
        let root = directory.path().join("a-directory-whose-name-is-a-long-one");
        std::fs::create_dir_all(root.join("forecast")).unwrap();
        for (name, source) in [("__init__.py", ""), ("first.py", FIRST), ("second.py", SECOND)] {
            std::fs::write(root.join("forecast").join(name), source).unwrap();
        }
        succeed(command(&python.path).args(["-m", "compileall", "-q"]).arg(&root).output().unwrap());
        let script = |import: &str| format!("import sys; sys.path.append({:?})\n{import}", root.to_str().unwrap());
        let forecast = |import: &str| {
            let (output, report) = estimate(&python.path, &script(import), &[]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            report["processes"][0]["total"]["mapped"]["objects"].as_u64().unwrap()
        };
        let expected = forecast("import forecast.first, forecast.second") - forecast("pass");
        let package = directory.path().join("package.pye");
        let linked = command(env!("CARGO_BIN_EXE_pye"))
            .args(["link", "--min-blob", &pye::activate::MIN_BLOB.to_string()])
            .arg(&root)
            .arg("--output")
            .arg(&package)
            .output()
            .unwrap();
        succeed(linked);
        let count = "import forecast.first, forecast.second, pye
print(pye.status()['activations'][0]['loaded']['mapped_texts'])";
        let run = command(env!("CARGO_BIN_EXE_pye"))
            .args(["run", "--package", &format!("{}={}", root.display(), package.display()), "--"])
            .arg(&python.path)
            .args(["-c", &script(count)])
            .env("PYTHONPATH", common::site())
            .output()
            .unwrap();
        assert_eq!(succeed(run).trim(), expected.to_string(), "CPython {:?}", python.version);
        // Five texts, and the names of the three files, which 3.13 and later intern.
        assert_eq!(expected, if python.version < (3, 13) { 8 } else { 5 }, "CPython {:?}", python.version);
    }
}

#[test]
fn an_interrupt_is_the_commands_to_answer() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::unix::process::CommandExt as _;
    use std::process::Stdio;

    const SCRIPT: &str = "
import sys, time
try:
    sys.stdout.write('up\\n')
    sys.stdout.flush()
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(9)
";
    let python = common::pythons().last().unwrap();
    let mut pye = command(env!("CARGO_BIN_EXE_pye"))
        .args(["estimate", "--"])
        .arg(&python.path)
        .args(["-c", SCRIPT])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(pye.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    // As a terminal does at Ctrl-C: to the whole group.
    let kill = Command::new("kill").args(["-INT", "--", &format!("-{}", pye.id())]).status().unwrap();
    assert!(kill.success());
    let mut report = String::new();
    stdout.read_to_string(&mut report).unwrap();
    assert_eq!(pye.wait().unwrap().code(), Some(0));
    assert!(report.starts_with("The command ended with exit status 9.\n") && report.contains("total"), "{report}");
}
