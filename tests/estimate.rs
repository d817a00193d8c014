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
    for word in ["docstrings", "bytecode", "code objects", "total", "would share"] {
        assert!(text.contains(word), "{text}");
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
