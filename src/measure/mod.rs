//! What processes that map the same file really share, by what Linux says of them in `/proc`.
//!
//! [`measure`] starts N processes; each maps the regions of a file, reads every page and waits ([`reader`]). While all of
//! them live, the parent, which maps nothing itself, reads `/proc/PID/smaps` and `/proc/PID/pagemap` of each and adds up.
//!
//! ```text
//! children ──► reader (in each process)
//!    │
//!    ▼
//! /proc/PID/smaps ───► smaps    (one set of counters a mapping) ──┐
//! /proc/PID/pagemap ─► pagemap  (one entry a page) ───────────────┴─► report
//! ```
//!
//! [`live`] does the same for processes that do their own work: whatever they map, by class.
//!
//! # Why page frames are compared, not map counts
//! What smaps calls `Shared_*`, `Private_*` and `Pss`, and bit 56 of a pagemap entry, come from the kernel's map counts, and
//! these answer another question:
//! - they count every process on the machine, not the ones measured;
//! - they are kept per folio: in a large folio (many pages of the page cache handled as one) the kernel may keep only the
//!   folio's count, so that each page's count is an average and "exclusive" is a guess;
//! - they say that *somebody* else maps a page, not that *these* processes map the *same* one.
//!
//! The same page frame number behind the same file offset in N processes is the proof: one piece of memory, N users. It needs
//! CAP_SYS_ADMIN. Without it the report falls back to the bits, then to smaps alone, and says so ([`Method`]); what could not
//! be found out is `None` and listed in [`Report::unknown`], never 0.
//!
//! # Resident is not used
//! At the first read of a page the kernel maps the pages around it too, as far as they are in the page cache (fault-around,
//! 16 pages by default). So a resident page need not have been touched. Here every page is read, so that residency is complete.
//!
//! Sources: the kernel's `Documentation/filesystems/proc.rst` and `Documentation/admin-guide/mm/pagemap.rst`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::limits::{MAX_PROCESSES, MAX_REGIONS};

pub mod children;
pub mod live;
pub mod pagemap;
pub mod reader;
pub mod report;
pub mod smaps;

pub use report::{Method, ProcessId, RegionReport, Report, Unknown, Usage};

/// How long the processes may take until all pages are read. A first run may have to read the file from the disk.
pub const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Most pagemap entries held at once (of all processes together), which bounds memory at 16 MiB.
const MAX_ENTRIES: usize = 1 << 20;

/// A part of a file that is measured on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Region {
    /// What the report calls it: a section's name.
    pub name: String,
    /// Where it starts, in bytes from the start of the file. Should be a multiple of the page size: else the page it
    /// starts in counts as a whole.
    pub offset: u64,
    /// Its length in bytes; not 0.
    pub len: u64,
}

impl Region {
    /// The pages it touches: how many bytes a mapping of it has.
    fn mapped(&self, page_size: u64) -> u64 {
        let start = self.offset / page_size * page_size;
        (self.offset + self.len).next_multiple_of(page_size) - start
    }
}

/// Starts `processes` processes that map `regions` of `file` and reports what they share.
///
/// `program` is the command, with its first arguments, that ends in [`reader::run`]; [`children`] says what is appended.
///
/// # Errors
/// A region is empty or not inside the file, there is none or too many of them, a process cannot be started, dies or is not
/// ready within [`READY_TIMEOUT`], the file is replaced meanwhile, or `/proc/PID/smaps` cannot be read. What merely is not
/// permitted of pagemap is no error.
pub fn measure(file: &Path, regions: &[Region], processes: u32, program: &[impl AsRef<OsStr>]) -> Result<Report> {
    if processes > MAX_PROCESSES {
        return Err(Error::limit("processes", MAX_PROCESSES.into(), processes.into()));
    }
    if processes == 0 {
        return Err(Error::malformed("at least one process", "0"));
    }
    check(file, regions).map_err(|e| e.in_file(file))?;

    let mut readers = children::Children::start(file, regions, processes, program, READY_TIMEOUT)?;
    let snapshot = snapshot(&readers, regions);
    // Asked before the snapshot's own error is looked at: a process that has died is the reason of most of them, and the
    // figures of the others are worth nothing once one has let go of its pages.
    readers.all_alive()?;
    let (smaps, pages, ids) = snapshot?;
    drop(readers);
    Ok(report::account(file.to_path_buf(), regions, procfs::page_size(), ids, &smaps, pages))
}

fn check(file: &Path, regions: &[Region]) -> Result<()> {
    if regions.is_empty() {
        return Err(Error::malformed("at least one region to measure", "none"));
    }
    if regions.len() > MAX_REGIONS {
        return Err(Error::limit("regions", MAX_REGIONS as u64, regions.len() as u64));
    }
    let len = fs::metadata(file).map_err(|e| Error::io("cannot stat", e))?.len();
    for region in regions {
        let end = region.offset.checked_add(region.len);
        if region.len == 0 || end.is_none_or(|end| end > len) {
            let got = format!("{} of {} bytes", region.name, region.len);
            return Err(
                Error::malformed(format!("a region of 1 byte or more inside the file's {len}"), got).at(region.offset)
            );
        }
    }
    Ok(())
}

/// All that is read from `/proc`: `smaps[process][region]`, one tally a region (or why there is none), the processes.
type Snapshot = (Vec<Vec<smaps::Counters>>, std::result::Result<Vec<pagemap::Tally>, Unknown>, Vec<ProcessId>);

fn snapshot(readers: &children::Children, regions: &[Region]) -> Result<Snapshot> {
    let page_size = procfs::page_size();
    let mut all = Vec::with_capacity(readers.len());
    let mut ids = Vec::with_capacity(readers.len());
    let mut inode = None;
    for child in readers.iter() {
        ids.push(ProcessId { pid: child.pid, start_time: start_time(child.pid)? });
        let path = proc_file(child.pid, "smaps");
        let text = fs::read(&path).map_err(|e| Error::io("cannot read", e).in_file(&path))?;
        let smaps = smaps::Smaps::parse(&text).map_err(|e| e.in_file(&path))?;
        let mut counters = Vec::with_capacity(regions.len());
        for (region, &address) in regions.iter().zip(&child.addresses) {
            let start = address / page_size * page_size;
            let mapping = smaps.mapping(start, start + region.mapped(page_size)).map_err(|e| e.in_file(&path))?;
            // Two processes that opened the same name may hold two files when it was replaced in between; they share nothing,
            // and saying so would blame the wrong thing.
            if *inode.get_or_insert(mapping.inode) != mapping.inode {
                return Err(Error::malformed(
                    "all processes to map the same file",
                    "another one: the file was replaced meanwhile",
                )
                .in_file(&path));
            }
            counters.push(mapping.counters);
        }
        all.push(counters);
    }
    let tallies = regions.iter().enumerate().map(|(index, region)| tally(readers, index, region, page_size)).collect();
    let pages = match tallies {
        Ok(tallies) => Ok(tallies),
        Err(Pagemap::Refused(why)) => Err(why),
        Err(Pagemap::Bad(error)) => return Err(error),
    };
    Ok((all, pages, ids))
}

/// Why a pagemap could not be read.
enum Pagemap {
    /// The kernel does not hand it out: the report goes on without.
    Refused(Unknown),
    /// It was handed out and is not what it must be.
    Bad(Error),
}

/// Walks region number `index` in all processes, side by side and in pieces, so that memory stays bounded.
fn tally(
    readers: &children::Children,
    index: usize,
    region: &Region,
    page_size: u64,
) -> std::result::Result<pagemap::Tally, Pagemap> {
    let pages = region.mapped(page_size) / page_size;
    let step = (MAX_ENTRIES / readers.len()).max(1) as u64;
    let mut tally = pagemap::Tally::new(readers.len());
    let mut first = 0;
    while first < pages {
        let count = step.min(pages - first) as usize;
        let mut rows = Vec::with_capacity(readers.len());
        for child in readers.iter() {
            let path = proc_file(child.pid, "pagemap");
            let refused = |error: std::io::Error| {
                let why = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => format!("not permitted: {}", path.display()),
                    _ => format!("not available: {}: {error}", path.display()),
                };
                Pagemap::Refused(Unknown { what: "pagemap", why })
            };
            let mut map = File::open(&path).map_err(refused)?;
            let page = child.addresses[index] / page_size + first;
            map.seek(SeekFrom::Start(page * pagemap::ENTRY_BYTES)).map_err(refused)?;
            rows.push(pagemap::read(map, count).map_err(|e| Pagemap::Bad(e.in_file(&path)))?);
        }
        tally.add(&rows);
        first += count as u64;
    }
    Ok(tally)
}

fn proc_file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn start_time(pid: u32) -> Result<u64> {
    let path = proc_file(pid, "stat");
    let stat = i32::try_from(pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok()?.stat().ok());
    Ok(stat.ok_or_else(|| Error::malformed("the state of a live process", "none").in_file(path))?.starttime)
}
