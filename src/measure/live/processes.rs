//! Finds processes: by number, by descent, by control group.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use procfs::FromRead;
use procfs::process::Stat;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::measure::report::ProcessId;

/// Where the unified hierarchy is mounted, alone or beside those of version 1: `Documentation/admin-guide/cgroup-v2.rst` leaves it
/// to the system, and these two places are systemd's, which others follow.
const CGROUP_ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A process as it was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Identity {
    /// Number and start time.
    #[serde(flatten)]
    pub id: ProcessId,
    /// The number of its parent.
    pub parent: u32,
    /// Its command and arguments, or its name in brackets when it shows none.
    pub command: Vec<String>,
}

/// The process with this number, if there is one.
#[must_use]
pub fn find(pid: u32) -> Option<Identity> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    identity(&stat, &arguments)
}

/// From the contents of `stat` and `cmdline`.
fn identity(stat: &[u8], arguments: &[u8]) -> Option<Identity> {
    let stat = Stat::from_read(stat).ok()?;
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    let mut command: Vec<_> =
        arguments.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    if arguments.is_empty() {
        command = vec![format!("[{}]", stat.comm)];
    }
    let id = ProcessId { pid: u32::try_from(stat.pid).ok()?, start_time: stat.starttime };
    Some(Identity { id, parent: u32::try_from(stat.ppid).ok()?, command })
}

/// The processes numbered `roots` and all their descendants, by number. A process whose parent has ended is no descendant any
/// more: Linux gives it to another.
///
/// # Errors
/// `/proc` cannot be listed.
pub fn trees(roots: &[u32]) -> Result<Vec<Identity>> {
    let all: BTreeMap<u32, Identity> = pids()?.filter_map(find).map(|process| (process.id.pid, process)).collect();
    Ok(descendants(&all, roots))
}

/// Whether this very process still runs: it has neither ended nor is its number another's.
#[must_use]
pub fn runs(id: ProcessId) -> bool {
    stat(id.pid).is_some_and(|stat| stat.starttime == id.start_time && !is_over(&stat))
}

/// Whether any process of a process group runs.
///
/// # Errors
/// `/proc` cannot be listed.
pub fn group_runs(group: u32) -> Result<bool> {
    Ok(pids()?.filter_map(stat).any(|stat| u32::try_from(stat.pgrp) == Ok(group) && !is_over(&stat)))
}

/// Whether it has ended and only waits for its parent to look.
fn is_over(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X')
}

fn stat(pid: u32) -> Option<Stat> {
    Stat::from_read(&fs::read(format!("/proc/{pid}/stat")).ok()?[..]).ok()
}

fn pids() -> Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc").map_err(|e| Error::io("cannot list", e).in_file("/proc"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()))
}

fn descendants(all: &BTreeMap<u32, Identity>, roots: &[u32]) -> Vec<Identity> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in all.values() {
        children.entry(process.parent).or_default().push(process.id.pid);
    }
    let (mut found, mut open) = (BTreeSet::new(), roots.to_vec());
    while let Some(pid) = open.pop() {
        // Once each: the numbers were not read in one moment and could seem to form a ring.
        if let Some(process) = all.get(&pid)
            && found.insert(process)
        {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found.into_iter().cloned().collect()
}

/// The numbers of the processes in a control group (version 2) and in all below it. `path` is a directory of the hierarchy, or
/// the group's name as `/proc/PID/cgroup` has it.
///
/// # Errors
/// No such group, or it cannot be listed.
pub fn cgroup(path: &Path) -> Result<Vec<u32>> {
    let inside = |path: &Path| path.join("cgroup.procs").is_file();
    let name = path.strip_prefix("/").unwrap_or(path);
    let mut places =
        std::iter::once(path.to_path_buf()).chain(CGROUP_ROOTS.iter().map(|root| Path::new(root).join(name)));
    let Some(directory) = places.find(|path| inside(path)) else {
        let looked = format!("no cgroup.procs there or there below {}", CGROUP_ROOTS.join(" or "));
        return Err(Error::malformed("a control group of version 2", looked).in_file(path));
    };
    let mut pids = BTreeSet::new();
    for entry in walkdir::WalkDir::new(&directory).into_iter().flatten().filter(|entry| entry.file_type().is_dir()) {
        let list = entry.path().join("cgroup.procs");
        match fs::read_to_string(&list) {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
            // A group below that has just gone.
            Err(e) if e.kind() == io::ErrorKind::NotFound && entry.depth() > 0 => {}
            Err(e) => return Err(Error::io("cannot read", e).in_file(list)),
        }
    }
    // 0 stands for a process of another PID namespace.
    pids.remove(&0);
    Ok(pids.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "1234 (a b) c) S 77 1234 1234 0 -1 4194560 106 0 0 0 0 0 0 0 20 0 1 0 5555 10000000 250 \
                        18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 0\n";

    #[test]
    fn number_start_and_command_are_read_whatever_the_name() {
        let found = identity(STAT.as_bytes(), b"python\0-c\0\0x \xff\0").unwrap();
        assert_eq!((found.id.pid, found.id.start_time, found.parent), (1234, 5555, 77));
        assert_eq!(found.command, ["python", "-c", "", "x \u{fffd}"]);
        assert_eq!(identity(STAT.as_bytes(), b"").unwrap().command, ["[a b) c]"]);
        assert!(identity(b"1234 (a", b"").is_none());
    }

    fn process(pid: u32, parent: u32) -> (u32, Identity) {
        (pid, Identity { id: ProcessId { pid, start_time: 1 }, parent, command: Vec::new() })
    }

    #[test]
    fn descent_is_followed_and_rings_end() {
        let all: BTreeMap<_, _> =
            [process(1, 0), process(2, 1), process(3, 2), process(4, 1), process(8, 9), process(9, 8)].into();
        let pids = |roots: &[u32]| descendants(&all, roots).iter().map(|p| p.id.pid).collect::<Vec<_>>();
        assert_eq!(pids(&[2]), [2, 3]);
        assert_eq!(pids(&[1, 2]), [1, 2, 3, 4]);
        assert_eq!(pids(&[8]), [8, 9]);
        assert!(pids(&[7]).is_empty());
    }

    #[test]
    fn a_group_and_those_below_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("cgroup.procs"), "7\n").unwrap();
        fs::write(dir.path().join("a/cgroup.procs"), "").unwrap();
        fs::write(dir.path().join("a/b/cgroup.procs"), "5\n0\n6\n").unwrap();
        assert_eq!(cgroup(dir.path()).unwrap(), [5, 6, 7]);
        assert!(cgroup(Path::new("/no/such/group")).unwrap_err().to_string().contains("a control group of version 2"));
    }

    #[test]
    fn this_process_is_found_and_no_other_start_time() {
        let me = find(std::process::id()).unwrap();
        assert_eq!(trees(&[me.id.pid]).unwrap().first().map(|p| p.id), Some(me.id));
        assert!(find(u32::MAX).is_none());
    }
}
