//! Live processes, whoever started them: what each has in memory, by class of mapping, and what they share with one another.
//!
//! ```text
//! processes (by number, tree, cgroup) ─┐
//! command   (started here)            ─┴─► snapshot ──► account ──► Report
//!                                             │           ▲
//!                                             └──► a Layout, made by the caller: which mapping belongs to which class,
//!                                                  and which sections a mapped file has
//! ```
//!
//! This module knows nothing of what is mapped: the caller looks at the mappings of a [`Snapshot`] and hands in a [`Layout`].
//!
//! A snapshot reads every process while all of them live, and looks again at the end: one that has ended meanwhile, or whose
//! number is another process's by then, is named in [`Snapshot::missing`] and its figures are left out.
//! The exact walk holds each process's `mmap_lock` for some milliseconds; [`roll_up`] asks for the sums alone, and is what
//! watching should use.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::report::Unknown;
use super::{pagemap, smaps};
use crate::error::Error;

pub mod account;
pub mod command;
pub mod maps;
pub mod processes;

pub use account::{Class, Layout, Place, Report, Section, SectionUsage, SectionedFile, Usage, account};
pub use processes::Identity;

/// Most entries of a pagemap read at once: a mapping may reserve terabytes and have a page in memory.
const STEP: u64 = 1 << 16;

/// A process that could not be measured, or not to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its number.
    pub pid: u32,
    /// When it started, if it was alive at first: see [`super::ProcessId`].
    pub start_time: Option<u64>,
    /// Why.
    pub why: String,
}

/// What was read of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Who it is.
    pub identity: Identity,
    /// Its mappings by address.
    pub mappings: Vec<smaps::Mapping>,
    /// For each mapping its pages that are in memory or swapped out: the number within the mapping, and the state.
    /// Nothing when pagemap could not be read.
    pub pages: Vec<Vec<(u64, pagemap::Page)>>,
}

/// What was read of all processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When, in seconds since 1970.
    pub time: f64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Why there are no pages, if so.
    pub pages: Result<(), Unknown>,
    /// Those that lived from the first look to the last, by number.
    pub processes: Vec<Process>,
    /// The others.
    pub missing: Vec<Missing>,
}

/// Why something of a process could not be read.
enum Failure {
    /// It is no more (or is about to go: it has no memory any longer).
    Ended,
    /// The kernel does not hand it out.
    Refused(String),
}

impl Failure {
    fn of(error: &io::Error, file: &str) -> Failure {
        // A process's files vanish with it; one that is open says "no such process" then.
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) | (_, Some(ESRCH)) => Failure::Ended,
            (io::ErrorKind::PermissionDenied, _) => Failure::Refused(format!("not permitted: {file}")),
            _ => Failure::Refused(format!("not available: {file}: {error}")),
        }
    }
}

/// "No such process", from `asm-generic/errno-base.h`: std has no kind for it.
const ESRCH: i32 = 3;

/// What is said of a process that has ended.
const ENDED: &str = "it ended while it was measured";

/// Reads all about `processes`.
#[must_use]
pub fn snapshot(processes: &[Identity]) -> Snapshot {
    let page_size = procfs::page_size();
    let mut snapshot = Snapshot {
        time: now(),
        page_size,
        pages: Ok(()),
        processes: Vec::with_capacity(processes.len()),
        missing: Vec::new(),
    };
    for identity in processes {
        match read(identity, page_size, &mut snapshot.pages) {
            Ok(process) => snapshot.processes.push(process),
            Err(why) => snapshot.missing.push(missing(identity, why)),
        }
    }
    let gone = |identity: &Identity| processes::find(identity.id.pid).is_none_or(|now| now.id != identity.id);
    let (kept, ended) = std::mem::take(&mut snapshot.processes).into_iter().partition(|p: &Process| !gone(&p.identity));
    snapshot.processes = kept;
    snapshot.missing.extend(ended.iter().map(|process| missing(&process.identity, ENDED.into())));
    if snapshot.pages.is_err() {
        // Some were walked before one was refused: figures of different kinds are not to be added up.
        snapshot.processes.iter_mut().for_each(|process| process.pages.clear());
    }
    snapshot
}

fn missing(identity: &Identity, why: String) -> Missing {
    Missing { pid: identity.id.pid, start_time: Some(identity.id.start_time), why }
}

fn read(identity: &Identity, page_size: u64, walk: &mut Result<(), Unknown>) -> Result<Process, String> {
    let pid = identity.id.pid;
    let path = format!("/proc/{pid}/smaps");
    let text = proc_text(&path)?;
    let mappings = smaps::Smaps::parse(&text).map_err(|e: Error| e.in_file(&path).to_string())?.into_mappings();
    let mut pages = Vec::new();
    if walk.is_ok() {
        let path = format!("/proc/{pid}/pagemap");
        let walked = File::open(&path).and_then(|file| {
            mappings.iter().map(|mapping| pages_of(&file, mapping, page_size)).collect::<io::Result<_>>()
        });
        match walked.map_err(|e| Failure::of(&e, &path)) {
            Ok(walked) => pages = walked,
            Err(Failure::Ended) => return Err(ENDED.into()),
            Err(Failure::Refused(why)) => *walk = Err(Unknown { what: "pagemap", why }),
        }
    }
    Ok(Process { identity: identity.clone(), mappings, pages })
}

/// A file of `/proc/PID`; or why there is none, in words.
fn proc_text(path: &str) -> Result<Vec<u8>, String> {
    match std::fs::read(path).map_err(|e| Failure::of(&e, path)) {
        // A process that has ended and waits for its parent, or a thread of the kernel's.
        Ok(text) if text.is_empty() => Err("it has no memory of its own: it has ended, or is the kernel's".into()),
        Ok(text) => Ok(text),
        Err(Failure::Ended) => Err(ENDED.into()),
        Err(Failure::Refused(why)) => Err(why),
    }
}

/// The pages of a mapping that are not absent.
fn pages_of(file: &File, mapping: &smaps::Mapping, page_size: u64) -> io::Result<Vec<(u64, pagemap::Page)>> {
    let mut pages = Vec::new();
    if mapping.counters.resident == 0 && mapping.counters.swap == 0 {
        return Ok(pages);
    }
    pages.reserve(((mapping.counters.resident + mapping.counters.swap) / page_size) as usize);
    let (first, count) = (mapping.start / page_size, (mapping.end - mapping.start) / page_size);
    let mut bytes = vec![0; (STEP.min(count) * pagemap::ENTRY_BYTES) as usize];
    let mut at = 0;
    while at < count {
        let step = STEP.min(count - at);
        let piece = &mut bytes[..(step * pagemap::ENTRY_BYTES) as usize];
        match file.read_exact_at(piece, (first + at) * pagemap::ENTRY_BYTES) {
            // The address space is gone while the process's files still are there.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(io::Error::from_raw_os_error(ESRCH)),
            result => result?,
        }
        let present = pagemap::entries(piece).enumerate().filter(|(_, page)| *page != pagemap::Page::Absent);
        pages.extend(present.map(|(index, page)| (at + index as u64, page)));
        at += step;
    }
    Ok(pages)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The sums of one process, as the kernel adds them up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Who it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// Bytes in memory and in its page table.
    pub resident: u64,
    /// Proportional set size: a page that k mappings have counts 1/k.
    pub pss: u64,
    /// Unique set size: pages that nobody else maps.
    pub uss: u64,
    /// Pages that anybody else maps, too: measured or not.
    pub shared_with_anybody: u64,
    /// Pages that are no file's: heap, stacks, and copies made by writes to files' pages.
    pub anonymous: u64,
    /// Swapped out.
    pub swapped: u64,
    /// Merged by the kernel with equal pages. `None`: this kernel does not tell.
    pub ksm: Option<u64>,
}

/// All that [`roll_up`] finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RollUp {
    /// When, in seconds since 1970.
    pub time: f64,
    /// Always `smaps_rollup`.
    pub method: &'static str,
    /// Those that could be read, by number.
    pub processes: Vec<Sums>,
    /// The others.
    pub missing: Vec<Missing>,
    /// The sum of PSS, which counts no page twice.
    pub total_pss: u64,
    /// The sum of USS.
    pub total_uss: u64,
    /// The sum of what is swapped out.
    pub total_swapped: u64,
}

/// Reads the sums of `processes` from `smaps_rollup`: a fraction of the work of [`snapshot`].
#[must_use]
pub fn roll_up(processes: &[Identity]) -> RollUp {
    let (mut sums, mut missing_ones) = (Vec::new(), Vec::new());
    for identity in processes {
        let path = format!("/proc/{}/smaps_rollup", identity.id.pid);
        let same = |text| if processes::runs(identity.id) { Ok(text) } else { Err(ENDED.to_owned()) };
        let read = proc_text(&path)
            .and_then(same)
            .and_then(|text| smaps::rollup(&text).map_err(|e| e.in_file(&path).to_string()));
        match read {
            Ok(c) => sums.push(Sums {
                identity: identity.clone(),
                resident: c.resident,
                pss: c.pss,
                uss: c.uss,
                shared_with_anybody: c.shared,
                anonymous: c.anonymous,
                swapped: c.swap,
                ksm: c.ksm,
            }),
            Err(why) => missing_ones.push(missing(identity, why)),
        }
    }
    let total = |field: fn(&Sums) -> u64| sums.iter().map(field).sum();
    RollUp {
        time: now(),
        method: "smaps_rollup",
        total_pss: total(|s| s.pss),
        total_uss: total(|s| s.uss),
        total_swapped: total(|s| s.swapped),
        processes: sums,
        missing: missing_ones,
    }
}

/// Where the processes of a snapshot have their executables: what a caller needs to tell one file from others.
#[must_use]
pub fn executables(snapshot: &Snapshot) -> BTreeMap<u32, PathBuf> {
    let executable = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let pids = snapshot.processes.iter().map(|process| process.identity.id.pid);
    pids.filter_map(|pid| Some((pid, executable(pid)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_with_the_same_number_is_noticed() {
        let me = processes::find(std::process::id()).unwrap();
        let mut before = me.clone();
        before.id.start_time -= 1;
        let whole = snapshot(&[me.clone(), before.clone()]);
        assert_eq!(whole.processes.iter().map(|process| &process.identity).collect::<Vec<_>>(), [&me]);
        assert_eq!(whole.missing, [missing(&before, ENDED.into())]);
        let sums = roll_up(&[before.clone(), me.clone()]);
        assert_eq!((sums.processes.len(), &sums.processes[0].identity), (1, &me));
        assert_eq!(sums.missing, [missing(&before, ENDED.into())]);
        assert!(sums.total_pss > 0 && sums.processes[0].resident >= sums.processes[0].uss);
    }

    #[test]
    fn only_pages_that_are_there_are_kept() {
        let me = processes::find(std::process::id()).unwrap();
        let seen = snapshot(&[me]);
        let process = &seen.processes[0];
        assert_eq!(process.mappings.len(), process.pages.len());
        for (mapping, pages) in process.mappings.iter().zip(&process.pages) {
            let count = (mapping.end - mapping.start) / seen.page_size;
            assert!(pages.iter().all(|(index, page)| *index < count && *page != pagemap::Page::Absent));
            assert!(mapping.counters.resident + mapping.counters.swap > 0 || pages.is_empty());
        }
        assert!(process.pages.iter().any(|pages| !pages.is_empty()));
    }

    #[test]
    fn errors_of_proc_are_told_apart() {
        let of = |error| Failure::of(&error, "/proc/1/smaps");
        assert!(matches!(of(io::Error::from_raw_os_error(ESRCH)), Failure::Ended));
        assert!(matches!(of(io::ErrorKind::NotFound.into()), Failure::Ended));
        assert!(
            matches!(of(io::ErrorKind::PermissionDenied.into()), Failure::Refused(why) if why == "not permitted: /proc/1/smaps")
        );
        assert!(
            matches!(of(io::ErrorKind::OutOfMemory.into()), Failure::Refused(why) if why.starts_with("not available"))
        );
    }
}
