//! `pye measure` from outside: real processes, real page tables, as root and as nobody.
//!
//! Who runs the tests decides what the kernel shows: with CAP_SYS_ADMIN page frame numbers, else only bits. Each test finds out
//! by looking (not by the user's name, for a container's root may lack the capability) and says which branch it has tested.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

mod common;

use common::tool::{self, Const};

const NOBODY: u32 = 65534;
const PAYLOAD: [(&str, u64); 3] = [(".pye.str1", 300_000), (".pye.str2", 4096), (".pye.bytes", 50_001)];

/// A directory that any user may enter, with the program and a file of payload in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        tool::program_for_all(dir.path());
        // Each blob is followed by a NUL of its width. A package: its payload sections start on pages of their own.
        let constants = [
            Const::Text("a".repeat(PAYLOAD[0].1 as usize - 1)),
            Const::Text("α".repeat(PAYLOAD[1].1 as usize / 2 - 1)),
            Const::Bytes((1..PAYLOAD[2].1).map(|at| (at % 251) as u8).collect()),
        ];
        let pyc = dir.path().join("web.pyc");
        // The module's own bytecode is shorter than what is cut out.
        fs::write(&pyc, tool::pyc((3, 12), &constants)).unwrap();
        tool::good(&[&"link", &pyc, &"--output", &dir.path().join("web.pye")]);
        Place { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("web.pye")
    }

    fn command(&self) -> Command {
        Command::new(self.dir.path().join("pye"))
    }

    fn measure(&self, arguments: &[&str], as_user: Option<u32>) -> Output {
        let mut command = self.command();
        command.arg("measure").arg(self.file()).args(arguments);
        if let Some(id) = as_user {
            command.uid(id).gid(id);
        }
        command.output().unwrap()
    }
}

fn json(output: Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether the kernel shows this process page frame numbers: looks up a page of its own that is surely there.
fn frames_are_shown() -> bool {
    let on_the_stack = 0u8;
    let page = (&raw const on_the_stack).addr() as u64 / procfs::page_size();
    let info = procfs::process::Process::myself().unwrap().pagemap().unwrap().get_info(page as usize).unwrap();
    matches!(info, procfs::process::PageInfo::MemoryPage(flags) if flags.get_page_frame_number().0 != 0)
}

fn is_root() -> bool {
    procfs::process::Process::myself().unwrap().uid().unwrap() == 0
}

/// What must hold of three processes that map fresh sections, whoever looks.
fn check_invariants(report: &Value, exact: bool) {
    let page = report["page_size"].as_u64().unwrap();
    assert_eq!(report["method"], if exact { "page_frames" } else { "pagemap_bits" });
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 3);
    assert!(processes.iter().all(|p| p["pid"].as_u64().unwrap() > 0 && p["start_time"].as_u64().unwrap() > 0));
    let regions = report["regions"].as_array().unwrap();
    assert_eq!(regions.len(), PAYLOAD.len());
    for (region, (name, len)) in regions.iter().zip(PAYLOAD) {
        assert_eq!((region["name"].as_str(), region["size"].as_u64()), (Some(name), Some(len)));
        assert_eq!(region["offset"].as_u64().unwrap() % 4096, 0);
    }
    let mut sums = (0, 0, 0);
    for region in regions.iter().chain([&report["total"]]) {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {region:#}"));
        let pages = number(&region["pages"]);
        let whole = pages * page;
        assert!(whole >= number(&region["size"]));
        let usages = region["per_process"].as_array().unwrap();
        assert_eq!(usages.len(), 3);
        for usage in usages.iter().chain([&region["mean"]]) {
            for (field, bytes) in [("mapped", whole), ("resident", whole), ("shared", whole), ("private", 0)] {
                assert_eq!(number(&usage[field]), bytes, "{field} in {region:#}");
            }
            for field in ["copied", "swapped", "uss"] {
                assert_eq!(number(&usage[field]), 0, "{field} in {region:#}");
            }
            let slack = page * if region["name"] == "total" { PAYLOAD.len() as u64 } else { 1 };
            assert!(number(&usage["pss"]).abs_diff(whole / 3) <= slack, "PSS in {region:#}");
        }
        assert_eq!(number(&region["private_copies"]), 3 * whole);
        assert_eq!(number(&region["in_memory"]), whole);
        assert_eq!(number(&region["saved"]), 2 * whole);
        assert_eq!(number(&region["saved_per_process"]), 2 * whole / 3);
        let proof = &region["same_frame_pages"];
        if exact {
            assert_eq!(number(proof), pages);
        } else {
            assert!(proof.is_null(), "{proof}");
        }
        if region["name"] != "total" {
            sums = (sums.0 + pages, sums.1 + number(&region["saved"]), sums.2 + number(&region["size"]));
        } else {
            assert_eq!(sums, (pages, number(&region["saved"]), number(&region["size"])));
        }
    }
    let unknown = report["unknown"].as_array().unwrap();
    if exact {
        assert!(unknown.is_empty(), "{unknown:?}");
    } else {
        assert_eq!(unknown[0]["what"], "page_frame_numbers");
        assert!(unknown[0]["why"].as_str().unwrap().starts_with("not permitted"), "{unknown:?}");
    }
}

#[test]
fn three_processes_have_the_payload_in_memory_once() {
    let exact = frames_are_shown();
    println!("page frame numbers {} shown: testing that branch", if exact { "are" } else { "are not" });
    let place = Place::new();
    check_invariants(&json(place.measure(&["-n", "3", "--json"], None)), exact);
}

#[test]
fn without_privilege_it_says_so_and_still_measures() {
    let user = is_root().then_some(NOBODY);
    match user {
        Some(id) => println!("run by root: the command runs as user {id}"),
        None if frames_are_shown() => {
            println!(
                "not root, cannot change user, and page frame numbers are shown: only the exact branch can be tested"
            )
        }
        None => println!("not root: the command runs as the same user"),
    }
    let exact = user.is_none() && frames_are_shown();
    let place = Place::new();
    check_invariants(&json(place.measure(&["-n", "3", "--json"], user)), exact);
    let text = text(place.measure(&["-n", "3"], user));
    assert_eq!(text.contains("not permitted"), !exact, "{text}");
    assert_eq!(text.contains("not known"), !exact, "{text}");
}

#[test]
fn the_tables_show_sections_total_and_the_proof() {
    let place = Place::new();
    let text = text(place.measure(&["-n", "2"], None));
    for word in ["Each of 2 processes", ".pye.str1", ".pye.bytes", "total", "2 private copies", "saved per process"] {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
    assert!(!text.contains(".pye.control"), "{text}");
    let proof = if frames_are_shown() { "74 of 74 pages" } else { "not known" };
    if procfs::page_size() == 4096 {
        assert!(text.contains(proof), "{text}");
    }
}

#[test]
fn one_process_shares_nothing() {
    let place = Place::new();
    let report = json(place.measure(&["-n", "1", "--json"], None));
    for field in ["saved", "saved_per_process", "same_frame_pages"] {
        assert!(report["total"][field].is_null(), "{report:#}");
    }
    assert!(report["total"]["mean"]["shared"].is_null());
    assert_eq!(report["total"]["mean"]["private"], report["total"]["mean"]["resident"]);
    let text = text(place.measure(&["-n", "1"], None));
    assert!(!text.contains("shared") && text.contains("total"), "{text}");
}

#[test]
fn many_processes_fit_into_the_usual_limit_of_open_files() {
    // More than one batch of them.
    let report = json(Place::new().measure(&["-n", "130", "--json"], None));
    assert_eq!(report["processes"].as_array().unwrap().len(), 130);
    let total = &report["total"];
    assert_eq!(total["saved"].as_u64().unwrap(), 129 * total["in_memory"].as_u64().unwrap());
}

/// The hidden process itself: its end must follow from the end of its standard input alone, for that is what it sees when the
/// parent is killed.
#[test]
fn a_reader_ends_with_its_input() {
    let place = Place::new();
    let mut command = place.command();
    command.args(["measure-reader", "--"]).arg(place.file()).arg("0+4096");
    let mut reader = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answer = BufReader::new(reader.stdout.take().unwrap());
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{line}");
    assert!(reader.try_wait().unwrap().is_none(), "it must wait");
    drop(reader.stdin.take());
    assert!(reader.wait().unwrap().success());
    line.clear();
    answer.read_to_string(&mut line).unwrap();
    assert_eq!(line, "");
}

fn fails(output: Output, words: &[&str]) {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for word in words {
        assert!(error.contains(word), "no {word:?} in {error}");
    }
}

fn measure_file(path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pye")).arg("measure").arg(path).output().unwrap()
}

#[test]
fn bad_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pye");
    fails(measure_file(&path), &["x.pye", "cannot open"]);
    fs::write(&path, "no ELF at all").unwrap();
    fails(measure_file(&path), &["x.pye"]);
    fails(measure_file(dir.path()), &["a regular file"]);
    let empty = tool::converted(&tool::pyc((3, 12), &[]), "x.pyc");
    fs::write(&path, empty).unwrap();
    fails(measure_file(&path), &["x.pye", "a payload to map", "got none"]);
    // Truncated anywhere: an error, or the same figures as long as all that is needed is there.
    let whole = fs::read(Place::new().file()).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 23) {
        fs::write(&path, &whole[..len]).unwrap();
        fails(measure_file(&path), &["x.pye"]);
    }
}

#[test]
fn usage_is_checked() {
    for n in ["0", "1025", "x"] {
        let output = Command::new(env!("CARGO_BIN_EXE_pye")).args(["measure", "f", "-n", n]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
    let help = Command::new(env!("CARGO_BIN_EXE_pye")).arg("--help").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("measure-reader"));
}
