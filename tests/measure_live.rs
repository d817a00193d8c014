//! `pye measure` of live processes, from outside: Python processes that map a real package, forked and not, dying, forbidden.
//!
//! Who runs the tests decides what the kernel shows, see `tests/measure.rs`; each test finds out and checks what holds there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use serde_json::Value;

mod common;

use common::tool::{self, Const};

/// Maps the file named first and reads the part of its pages that the second argument says; with `copy` it then writes to the last
/// ten pages of a private map. With a number as fourth argument it forks so many children first, which do it in its place. Says `done`
/// and waits.
const MAPPER: &str = r#"
import mmap, os, signal, sys
signal.alarm(600)  # Nothing stays behind when a test is killed.
path, part, how, forks = sys.argv[1], float(sys.argv[2]), sys.argv[3], int(sys.argv[4])
parent = os.getpid()
reader, writer = os.pipe()
for _ in range(forks):
    if os.fork() == 0:
        break
if os.getpid() != parent or not forks:
    signal.alarm(600)
    with open(path, 'rb') as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY if how == 'copy' else mmap.ACCESS_READ)
    for at in range(0, int(len(pages) * part), 4096):
        pages[at]
    if how == 'copy':
        for at in range(len(pages) - 10 * 4096, len(pages), 4096):
            pages[at] = 1
    os.write(writer, b'x')
for _ in range(forks if os.getpid() == parent else 0):
    os.read(reader, 1)
if os.getpid() == parent:
    print('done', flush=True)
while True:
    signal.pause()
"#;

const TEXT: usize = 300_000;
const BYTES: usize = 500_001;

/// A directory that any user may enter, with a package and the script in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place::with(&[Const::Text("a".repeat(TEXT - 1)), Const::Bytes((1..BYTES).map(|at| (at % 251) as u8).collect())])
    }

    fn with(constants: &[Const]) -> Place {
        let dir = tempfile::tempdir().unwrap();
        tool::program_for_all(dir.path());
        let pyc = dir.path().join("web.pyc");
        fs::write(&pyc, tool::pyc((3, 12), constants)).unwrap();
        tool::good(&[&"link", &pyc, &"--output", &dir.path().join("web.pye")]);
        fs::write(dir.path().join("mapper.py"), MAPPER).unwrap();
        Place { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("web.pye")
    }

    /// The arguments of Python for the mapper.
    fn mapper(&self, part: f64, how: &str, forks: u32) -> Vec<String> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            text(self.dir.path().join("mapper.py")),
            text(self.file()),
            part.to_string(),
            how.into(),
            forks.to_string(),
        ]
    }

    fn start(&self, part: f64, how: &str, forks: u32) -> Mapper {
        let mut command = python().command();
        let mut child = command.args(self.mapper(part, how, forks)).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
        Mapper(child)
    }
}

/// Any CPython 3: the newest, which the system has.
fn python() -> &'static common::Python {
    common::pythons().iter().rev().find(|python| python.at_least(3, 6)).expect("a CPython 3")
}

/// A process and its children, ended with it.
struct Mapper(Child);

impl Mapper {
    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn children(&self) -> Vec<u32> {
        let all = procfs::process::all_processes().unwrap().flatten().filter_map(|process| process.stat().ok());
        all.filter(|stat| stat.ppid == self.0.id() as i32).map(|stat| stat.pid as u32).collect()
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        for pid in self.children() {
            std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
        }
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn run(args: &[&str]) -> Output {
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"measure"];
    all.extend(args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
    tool::run(&all)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Whether the kernel shows this process page frame numbers: looks up a page of its own that is surely there.
fn frames_are_shown() -> bool {
    let on_the_stack = 0u8;
    let page = (&raw const on_the_stack).addr() as u64 / procfs::page_size();
    let info = procfs::process::Process::myself().unwrap().pagemap().unwrap().get_info(page as usize).unwrap();
    matches!(info, procfs::process::PageInfo::MemoryPage(flags) if flags.get_page_frame_number().0 != 0)
}

fn method() -> &'static str {
    if frames_are_shown() { "page_frames" } else { "pagemap_bits" }
}

fn section<'a>(process: &'a Value, name: &str) -> &'a Value {
    let sections = process["sections"].as_array().unwrap();
    sections.iter().find(|row| row["section"] == name).unwrap_or_else(|| panic!("no {name} in {process:#}"))
}

fn is(process: &Value, pid: &str) -> bool {
    process["pid"].as_u64() == pid.parse().ok()
}

fn class<'a>(process: &'a Value, name: &str) -> &'a Value {
    process["classes"].as_array().unwrap().iter().find(|row| row["class"] == name).unwrap()
}

/// Every path of fields in a JSON value, with the kind of what is there; a list stands for its first element.
fn shape(value: &Value, path: &str, out: &mut BTreeMap<String, &'static str>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| shape(value, &format!("{path}.{name}"), out)),
        Value::Array(all) => all.iter().take(1).for_each(|value| shape(value, &format!("{path}[]"), out)),
        Value::Null => drop(out.insert(path.into(), "null")),
        Value::Bool(_) => drop(out.insert(path.into(), "bool")),
        Value::Number(_) => drop(out.insert(path.into(), "number")),
        Value::String(_) => drop(out.insert(path.into(), "string")),
    }
}

#[test]
fn four_processes_share_the_payload() {
    let place = Place::new();
    let mappers: Vec<_> = (0..4).map(|_| place.start(1.0, "read", 0)).collect();
    let pids: Vec<_> = mappers.iter().map(Mapper::pid).collect();
    let args: Vec<_> = pids.iter().flat_map(|pid| ["--pid", pid.as_str()]).chain(["--json"]).collect();
    let report = json(&run(&args));
    assert_eq!(report["method"], method());
    let page = number(&report["page_size"]);
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 4);
    for process in processes {
        assert!(pids.contains(&process["pid"].to_string()) && number(&process["start_time"]) > 0);
        let bytes = section(process, ".pye.bytes");
        let whole = (BYTES as u64).next_multiple_of(page);
        assert_eq!([&bytes["mapped"], &bytes["resident"], &bytes["shared"]].map(number), [whole; 3]);
        assert_eq!([&bytes["copied"], &bytes["private"], &bytes["uss"], &bytes["swapped"]].map(number), [0; 4]);
        let payload = &process["payload"];
        let expected = whole + (TEXT as u64).next_multiple_of(page);
        assert_eq!([&payload["present"], &payload["shared"]].map(number), [expected; 2]);
        assert_eq!(payload["share"], 1.0);
        assert!(number(&class(process, "heap")["uss"]) > 0 && number(&class(process, "stack")["resident"]) > 0);
        assert!(number(&class(process, "python")["resident"]) > 0, "{process:#}");
        let sum: u64 = process["classes"].as_array().unwrap().iter().map(|class| number(&class["pss"])).sum();
        assert_eq!(sum, number(&process["total"]["pss"]));
    }
    assert_eq!(report["total"]["payload"]["share"], 1.0);
    let pss: u64 = processes.iter().map(|process| number(&process["total"]["pss"])).sum();
    assert_eq!(number(&report["total"]["pss"]), pss);
    assert_eq!(report["total"]["in_memory"].is_null(), !frames_are_shown());
    let table = text(&run(&args[..args.len() - 1]));
    for words in
        ["All 4 together", ".pye.bytes", "heap", "libpython", "other files", "stack", "100.00 % are shared pages"]
    {
        assert!(table.contains(words), "no {words:?} in\n{table}");
    }
    assert_eq!(table.contains("not permitted"), !frames_are_shown(), "{table}");
}

#[test]
fn the_fields_of_the_json_form_stay() {
    let place = Place::new();
    let (one, two) = (place.start(1.0, "read", 0), place.start(1.0, "copy", 0));
    let report = json(&run(&["--json", "--pid", &one.pid(), "--pid", &two.pid()]));
    assert_eq!(report["schema"], 1);
    let mut found = BTreeMap::new();
    shape(&report, "", &mut found);
    let usage = ["mapped", "resident", "pss", "uss", "shared", "private", "copied", "inherited", "swapped", "ksm"];
    let mut expected: Vec<String> = Vec::new();
    for place in [".processes[]", ".total"] {
        for path in [format!("{place}.classes[]"), format!("{place}.sections[]")] {
            expected.extend(usage.map(|field| format!("{path}.{field}")));
        }
        expected.extend(["present", "shared", "inherited", "share"].map(|field| format!("{place}.payload.{field}")));
        expected.extend(
            ["classes[].class", "sections[].file", "sections[].section"].map(|field| format!("{place}.{field}")),
        );
    }
    expected.extend(usage.map(|field| format!(".processes[].total.{field}")));
    expected.extend(usage.map(|field| format!(".total.{field}")));
    expected.extend(["pid", "start_time", "parent", "command[]"].map(|field| format!(".processes[].{field}")));
    expected.extend(["key", "title", "holds"].map(|field| format!(".classes[].{field}")));
    expected.extend(["name", "offset", "size", "payload"].map(|field| format!(".files[].sections[].{field}")));
    expected.extend(
        ["schema", "time", "page_size", "method", "command", "files[].path", "total.in_memory"]
            .map(|field| format!(".{field}")),
    );
    if !frames_are_shown() {
        expected.extend(["what", "why"].map(|field| format!(".unknown[].{field}")));
    }
    expected.sort();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), expected);
    // And lists that are empty are there.
    assert!(report["missing"].as_array().unwrap().is_empty() && report["unknown"].is_array());
}

#[test]
fn a_tree_has_its_children_and_their_copies() {
    let place = Place::new();
    let parent = place.start(1.0, "copy", 3);
    let report = json(&run(&["--json", "--tree", &parent.pid()]));
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 4);
    let page = number(&report["page_size"]);
    for process in processes {
        if is(process, &parent.pid()) {
            assert!(process["sections"].as_array().unwrap().is_empty(), "the parent maps nothing");
            assert!(process["payload"]["share"].is_null());
            continue;
        }
        assert_eq!(process["parent"].to_string(), parent.pid());
        assert_eq!(number(&class(process, "pye")["copied"]), 10 * page, "{process:#}");
        assert!(process["payload"]["share"].as_f64().unwrap() < 1.0);
        assert!(number(&section(process, ".pye.str1")["shared"]) > 0);
        // What fork has passed on.
        assert!(number(&class(process, "heap")["shared"]) > 0);
    }
    // The parent alone.
    let alone = json(&run(&["--json", "--pid", &parent.pid()]));
    assert_eq!(alone["processes"].as_array().unwrap().len(), 1);
    assert!(alone["total"]["shared"].is_null());
}

/// What a parent copies before it forks is shared by the children, until one writes there too.
#[test]
fn copies_made_before_a_fork_are_told_from_others() {
    const SCRIPT: &str = r#"
import mmap, os, signal, sys
signal.alarm(600)
with open(sys.argv[1], 'rb') as file:
    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
for at in range(len(pages) - 10 * 4096, len(pages), 4096):
    pages[at] = 1
reader, writer = os.pipe()
for _ in range(2):
    if os.fork() == 0:
        signal.alarm(600)
        for at in range(len(pages) - 3 * 4096, len(pages), 4096):
            pages[at] = 2
        os.write(writer, b'x')
        signal.pause()
for _ in range(2):
    os.read(reader, 1)
print('done', flush=True)
signal.pause()
"#;
    let place = Place::new();
    let mut command = python().command();
    let mut child = command.args(["-c", SCRIPT]).arg(place.file()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "done\n");
    let parent = Mapper(child);
    // By number alone, too.
    let pids: Vec<String> = parent.children().iter().map(u32::to_string).chain([parent.pid()]).collect();
    let args: Vec<&str> = pids.iter().map(String::as_str).chain(["--json"]).collect();
    let report = json(&run(&args));
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 3);
    let page = number(&report["page_size"]);
    for process in processes {
        let usage = class(process, "pye");
        let copied = [&usage["copied"], &usage["inherited"]].map(|bytes| number(bytes) / page);
        assert_eq!(copied, [10, 7], "{process:#}");
        // The three pages that each has for itself, the parent too.
        assert_eq!(number(&usage["uss"]) / page, 3, "{process:#}");
    }
    assert!(text(&run(&args[..3])).contains("were copied before a fork and are shared by it"));
    // One process alone inherits from nobody that is measured.
    let alone = json(&run(&["--json", &parent.pid()]));
    assert!(class(&alone["processes"][0], "pye")["inherited"].is_null());
}

#[test]
fn what_is_measured_is_a_file_or_processes() {
    let place = Place::new();
    let file = place.file().to_str().unwrap().to_owned();
    for (args, words) in [
        (&["1", &file][..], "expected one FILE, or numbers of processes"),
        (&[&file, "--pid", "1"], "only -n and --json go with it"),
        (&[&file, "--watch"], "only -n and --json go with it"),
    ] {
        let output = run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn one_that_has_ended_is_named_and_the_others_reported() {
    let place = Place::new();
    let alive = place.start(1.0, "read", 0);
    let mut dead = python().command().args(["-c", ""]).spawn().unwrap();
    // Ended, and not yet waited for: a zombie has no memory.
    let zombie = dead.id().to_string();
    while !fs::read_to_string(format!("/proc/{zombie}/stat")).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let check = |why: &str| {
        let output = run(&["--json", "--pid", &alive.pid(), "--pid", &zombie]);
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["processes"].as_array().unwrap().len(), 1);
        let missing = &report["missing"][0];
        assert_eq!(missing["pid"].to_string(), zombie);
        assert!(missing["why"].as_str().unwrap().contains(why), "{missing}");
        let table = run(&["--pid", &alive.pid(), "--pid", &zombie]);
        assert!(String::from_utf8_lossy(&table.stdout).contains(&format!("not measured: process {zombie}")));
    };
    check("it has ended");
    dead.wait().unwrap();
    check("no such process");
    let output = run(&["--pid", &zombie]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no process to measure"));
}

/// Processes come and go while others are measured: never an error, and never figures of half a process.
#[test]
fn a_tree_that_changes_all_the_time_is_measured() {
    let script = "import os, signal\nsignal.alarm(600)\nprint('done', flush=True)\n\
                  while True:\n    pid = os.fork()\n    if not pid: os._exit(0)\n    os.waitpid(pid, 0)";
    let mut child = python().command().args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let parent = Mapper(child);
    for _ in 0..20 {
        let report = json(&run(&["--json", "--tree", &parent.pid()]));
        let processes = report["processes"].as_array().unwrap();
        assert!(processes.iter().any(|process| is(process, &parent.pid())));
        assert!(processes.iter().all(|process| number(&process["total"]["resident"]) > 0));
        let missing = report["missing"].as_array().unwrap();
        assert!(missing.iter().all(|missing| missing["why"].as_str().unwrap().starts_with("it ")), "{missing:?}");
    }
}

#[test]
fn what_is_not_permitted_is_said() {
    let place = Place::new();
    let mapper = place.start(1.0, "read", 0);
    if tool::is_root() {
        let output = tool::as_nobody(&[&"measure", &"--json", &"--pid", &mapper.pid()]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("not permitted: /proc/") && output.stdout.is_empty(), "{error}");
    } else {
        println!("not root: only processes of one's own are measured");
    }
    // One's own processes are shown, but no frames.
    // (Another user may not be able to run the Python at hand; the program itself can map the file as well.)
    let script = r#"sleep 600 | "$0" measure-reader -- "$1" "$2""#;
    let program = place.dir.path().join("pye").to_str().unwrap().to_owned();
    let (file, extent) = (place.file(), format!("0+{}", fs::metadata(place.file()).unwrap().len()));
    let args = [
        "measure",
        "--json",
        "--workers",
        "2",
        "--ready",
        "ready ",
        "--",
        "sh",
        "-c",
        script,
        &program,
        file.to_str().unwrap(),
        &extent,
    ];
    let args: Vec<&dyn AsRef<std::ffi::OsStr>> = args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>).collect();
    let report = json(&tool::as_nobody(&args));
    assert_eq!(report["method"], if tool::is_root() { "pagemap_bits" } else { method() });
    assert_eq!(report["total"]["payload"]["share"], 1.0);
    if tool::is_root() {
        assert!(report["total"]["in_memory"].is_null());
        assert!(report["unknown"][0]["why"].as_str().unwrap().starts_with("not permitted"));
    }
}

#[test]
fn a_command_is_measured_and_ended() {
    let place = Place::new();
    let interpreter = python().path.to_str().unwrap();
    let mapper = place.mapper(1.0, "read", 2);
    let mut args = vec!["--json", "--workers", "2", "--ready", "done", "--", interpreter];
    args.extend(mapper.iter().map(String::as_str));
    let output = run(&args);
    let report = json(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "done\ndone\n", "what the command writes");
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 6, "two copies, two children each");
    assert_eq!(report["total"]["payload"]["share"], 1.0);
    let command = &report["command"];
    assert_eq!(command["arguments"].as_array().unwrap().len(), 1 + mapper.len());
    for worker in command["workers"].as_array().unwrap() {
        assert_eq!((&worker["signal"], &worker["asked_to_end"]), (&Value::from(15), &Value::from(true)), "{worker}");
        assert!(worker["exit_status"].is_null());
    }
    for process in processes {
        let stat =
            procfs::process::Process::new(process["pid"].as_i64().unwrap() as i32).and_then(|process| process.stat());
        let same = stat.is_ok_and(|stat| Some(stat.starttime) == process["start_time"].as_u64() && stat.state != 'Z');
        assert!(!same, "{} still runs", process["pid"]);
    }
}

#[test]
fn a_command_that_is_over_too_early_is_an_error() {
    let interpreter = python().path.to_str().unwrap();
    for (options, words) in
        [(&["--ready", "x"][..], "ended before: exit status 7"), (&[], "ended before: exit status 7")]
    {
        let args: Vec<_> = options.iter().copied().chain(["--", interpreter, "-c", "raise SystemExit(7)"]).collect();
        let output = run(&args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(words) && error.contains("help: "), "{error}");
    }
    let output = run(&["--", "/does/not/exist"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot start: /does/not/exist"));
}

#[test]
fn watching_prints_sums_again_and_again() {
    let place = Place::new();
    let mapper = place.start(1.0, "read", 1);
    let lines = text(&run(&["--tree", &mapper.pid(), "--watch", "0.01", "--times", "3", "--json"]));
    let all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.len(), 3);
    for sums in &all {
        assert_eq!(sums["method"], "smaps_rollup");
        let processes = sums["processes"].as_array().unwrap();
        assert_eq!(processes.len(), 2);
        let pss: u64 = processes.iter().map(|process| number(&process["pss"])).sum();
        assert_eq!(number(&sums["total_pss"]), pss);
        assert!(processes.iter().all(|process| number(&process["start_time"]) > 0 && number(&process["resident"]) > 0));
    }
    let blocks = text(&run(&["--tree", &mapper.pid(), "--watch", "0.01", "--times", "2"]));
    assert_eq!(blocks.matches("shared with anybody").count(), 2);
    assert!(!blocks.contains('\x1b'), "no terminal, no control sequences");
}

/// The rules of OpenMetrics 1.0.0 as far as gauges go: TYPE, UNIT and HELP before the samples of a family, each family in one piece,
/// the unit at the end of the name, no label set twice, EOF at the end.
fn check_openmetrics(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("EOF at the end");
    let (mut family, mut seen, mut samples) = (String::new(), Vec::new(), BTreeMap::new());
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    for line in body.lines() {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (kind, name, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match kind {
                "TYPE" => {
                    assert!(is_name(name) && value == "gauge" && !seen.contains(&name), "{line}");
                    seen.push(name);
                    family = name.into();
                }
                "UNIT" => assert!(name == family && name.ends_with(&format!("_{value}")), "{line}"),
                "HELP" => assert!(name == family && !value.is_empty(), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) =
            series.split_once('{').map_or((series, None), |(name, rest)| (name, rest.strip_suffix('}')));
        assert_eq!(name, family);
        let mut rest = labels.unwrap_or_default();
        while !rest.is_empty() {
            let (label, value) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let mut end = None;
            let mut escaped = false;
            for (at, c) in value.char_indices() {
                match c {
                    _ if escaped => {
                        assert!(matches!(c, '\\' | '"' | 'n'), "{line}");
                        escaped = false;
                    }
                    '\\' => escaped = true,
                    '"' => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            rest = &value[end.expect("the end of a label") + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
    }
    samples
}

#[test]
fn openmetrics_follow_the_specification_and_add_up() {
    let place = Place::new();
    // A program whose name needs escaping.
    let odd = place.dir.path().join("odd\"\\name");
    std::os::unix::fs::symlink(&python().path, &odd).unwrap();
    let mut child = std::process::Command::new(&odd)
        .args(["-E", "-s"])
        .args(place.mapper(1.0, "copy", 1))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let mapper = Mapper(child);
    let report = json(&run(&["--tree", &mapper.pid(), "--json"]));
    let samples = check_openmetrics(&text(&run(&["--tree", &mapper.pid(), "--openmetrics"])));
    // PSS would change with whatever else on the machine maps the same libraries.
    for (family, field) in [("pye_process_resident_bytes", "resident"), ("pye_process_copied_bytes", "copied")] {
        let sum: f64 = samples
            .iter()
            .filter(|(series, _)| series.starts_with(&format!("{family}{{")))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(sum as u64, number(&report["total"][field]), "{family}");
    }
    assert!(samples.keys().any(|series| series.contains(r#"program="odd\"\\name""#)), "{samples:?}");
    assert!(samples.keys().any(|series| series.contains(r#"section=".pye.bytes""#)));
    assert_eq!(samples["pye_measured_processes"], 2.0);
    // Unknown is not zero: no sample.
    assert_eq!(samples.contains_key("pye_in_memory_bytes"), frames_are_shown());
    // To a file, as a collector wants it.
    let file = place.dir.path().join("pye.prom");
    let output = run(&["--tree", &mapper.pid(), "--openmetrics", "--output", file.to_str().unwrap()]);
    assert!(text(&output).is_empty());
    check_openmetrics(&fs::read_to_string(&file).unwrap());
}

fn page(place: &Place, pid: &str) -> String {
    let path = place.dir.path().join("report.html");
    text(&run(&["--tree", pid, "--html", path.to_str().unwrap()]));
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_page_stands_alone_and_says_in_words_what_it_draws() {
    let place = Place::new();
    let mapper = place.start(0.5, "copy", 2);
    let page = page(&place, &mapper.pid());
    for outside in ["<script", "http:", "https:", "src=", "@import", "url(/", "href="] {
        assert!(!page.contains(outside), "{outside}");
    }
    for words in [
        "PSS of each process",
        ".pye.bytes",
        ".pye.str1",
        "copied 10 (",
        "prefers-color-scheme: dark",
        "each square a page",
    ] {
        assert!(page.contains(words), "no {words:?}");
    }
    for tag in ["div", "table", "svg", "details", "span", "h4", "path"] {
        let (open, close) = (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        let alone = page.matches("/>").count();
        assert!(if tag == "path" { open <= alone } else { open == close }, "{tag}: {open} and {close}");
    }
}

#[test]
fn the_page_of_a_section_of_64_mb_stays_small() {
    let place = Place::with(&[Const::Bytes(vec![7; 64 << 20])]);
    let mapper = place.start(0.4, "copy", 4);
    let page = page(&place, &mapper.pid());
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("each square 8.0 pages") && page.contains("absent"), "{}", &page[..page.len().min(20_000)]);
}

#[test]
fn a_file_that_has_been_replaced_is_found_where_that_is_permitted() {
    let place = Place::new();
    let (one, two) = (place.start(1.0, "read", 0), place.start(1.0, "read", 0));
    let new = place.dir.path().join("new");
    fs::copy(place.file(), &new).unwrap();
    fs::rename(&new, place.file()).unwrap();
    let report = json(&run(&["--json", "--pid", &one.pid(), "--pid", &two.pid()]));
    if frames_are_shown() {
        assert_eq!(report["total"]["payload"]["share"], 1.0);
    } else {
        let why =
            report["unknown"].as_array().unwrap().iter().find(|unknown| unknown["what"] == "pye_sections").unwrap();
        assert!(why["why"].as_str().unwrap().contains("replaced"), "{why}");
        assert!(report["total"]["payload"]["share"].is_null());
    }
}

#[test]
fn usage_is_checked() {
    for wrong in [
        &[][..],
        &["--pid", "0"],
        &["--pid", "x"],
        &["f", "--pid", "1"],
        &["f", "--watch"],
        &["--pid", "1", "-n", "3"],
        &["--pid", "1", "--ready", "x"],
        &["--pid", "1", "--", "true"],
        &["--ready", "x", "--after", "1", "--", "true"],
        &["--after", "-1", "--", "true"],
        &["--pid", "1", "--openmetrics", "--json"],
        &["--pid", "1", "--watch", "1", "--html", "x"],
        &["--pid", "1", "--times", "2"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let output = run(&["--cgroup", "/no/such/group"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("a control group of version 2"));
    let help = text(&run(&["--help"]));
    for word in ["--tree", "--cgroup", "--workers", "--ready", "--watch", "--openmetrics", "--html", "Examples:", "USS"]
    {
        assert!(help.contains(word), "no {word} in\n{help}");
    }
}
