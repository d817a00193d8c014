//! What the constants of a process cost, and what its modules came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::heap::{Heap, Kind, KindCost, Sizes};
use crate::trace::{self, Process, Source};
use serde::Serialize;

/// Sizes in bytes.
#[derive(Serialize)]
pub(super) struct ProcessReport {
    /// Whether this is the process the main table shows.
    pub(super) headline: bool,
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) implementation: String,
    pub(super) version: String,
    pub(super) executable: PathBuf,
    pub(super) argv: Vec<String>,
    pub(super) forked: bool,
    pub(super) end: trace::End,
    pub(super) modules: Modules,
    /// Names of files that the finders keep, of directories below those on `sys.path`.
    pub(super) directory_caches: u64,
    #[serde(flatten)]
    pub(super) estimate: Estimate,
    /// What makes the sizes differ from the process's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

#[derive(Default, Serialize)]
pub(super) struct Modules {
    /// Loaded from a `.pyc` that could be read.
    pub(super) pyc: u64,
    /// Names of the others by reason.
    pub(super) without: BTreeMap<&'static str, Vec<String>>,
    /// Files that could not be read or parsed, with the error.
    pub(super) unreadable: Vec<String>,
}

#[derive(Default, Serialize)]
pub(super) struct Estimate {
    /// Files.
    pub(super) pycs: u64,
    pub(super) kinds: Vec<KindReport>,
    pub(super) total: KindCost,
    /// Whether the interpreter can have the form at all.
    pub(super) portable: bool,
    pub(super) image: bool,
}

#[derive(Serialize)]
pub(super) struct KindReport {
    pub(super) kind: Kind,
    #[serde(flatten)]
    pub(super) cost: KindCost,
}

/// The heap of one process, or of all processes of one version.
struct Sum {
    heap: Heap,
    sizes: Option<&'static Sizes>,
    pycs: u64,
}

impl Sum {
    fn new(min_blob: u32) -> Self {
        Self { heap: Heap::new(min_blob), sizes: None, pycs: 0 }
    }

    fn add(&mut self, path: &Path) -> Result<(), String> {
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let version = self.heap.add_pyc(&bytes, None).map_err(|e| e.in_file(path).to_string())?;
        self.sizes = Some(Sizes::of(version));
        self.pycs += 1;
        Ok(())
    }
}

impl Estimate {
    fn of(sums: &[Sum]) -> Self {
        let mut estimate = Estimate {
            kinds: Kind::ALL.into_iter().map(|kind| KindReport { kind, cost: KindCost::default() }).collect(),
            ..Estimate::default()
        };
        for sum in sums {
            for (report, (_, cost)) in estimate.kinds.iter_mut().zip(sum.heap.kinds()) {
                report.cost += *cost;
            }
            estimate.total += sum.heap.total();
            estimate.pycs += sum.pycs;
            estimate.portable |= sum.sizes.is_some_and(|sizes| sizes.mapped_str.is_some());
            estimate.image |= sum.sizes.is_some_and(|sizes| sizes.image);
        }
        estimate
    }
}

impl ProcessReport {
    pub(super) fn new(process: &Process, min_blob: u32) -> Self {
        let mut modules = Modules::default();
        let mut sum = Sum::new(min_blob);
        // A module may stand in sys.modules under several names.
        let mut seen: BTreeSet<&Path> = BTreeSet::new();
        for module in &process.modules {
            let Source::Pyc(path) = &module.source else {
                modules.without.entry(module.source.label()).or_default().push(module.name.clone());
                continue;
            };
            if seen.insert(path) {
                match sum.add(path) {
                    Ok(()) => modules.pyc += 1,
                    Err(error) => modules.unreadable.push(error),
                }
            }
        }
        let mut estimate = Estimate::of(&[sum]);
        if process.implementation != "cpython" || !process.gil {
            (estimate.portable, estimate.image) = (false, false);
        }
        let mut notes = Vec::new();
        if process.implementation != "cpython" {
            notes.push(format!("{} has another heap than CPython: the sizes are CPython's", process.implementation));
        }
        if !process.gil {
            notes.push("a free-threaded build: its objects have larger headers, and pye's forms are not for it".into());
        }
        if process.debug {
            notes.push("a debug build: its objects have larger headers".into());
        }
        Self {
            headline: false,
            pid: process.pid,
            parent: process.parent,
            implementation: process.implementation.clone(),
            version: format!("{}.{}", process.version.0, process.version.1),
            executable: process.executable.clone(),
            argv: process.argv.clone(),
            forked: process.forked,
            end: process.end,
            modules,
            directory_caches: process.caches,
            estimate,
            notes,
        }
    }

    /// Why modules have no `.pyc`: "30 built in, 2 no .pyc written".
    pub(super) fn because(&self) -> String {
        let mut reasons: Vec<String> =
            self.modules.without.iter().map(|(reason, names)| format!("{} {reason}", names.len())).collect();
        if !self.modules.unreadable.is_empty() {
            reasons.push(format!("{} unreadable", self.modules.unreadable.len()));
        }
        reasons.join(", ")
    }

    pub(super) fn ended(&self) -> &'static str {
        match self.end {
            trace::End::Exit => "exit",
            trace::End::UnderscoreExit => "_exit",
            trace::End::Exec => "exec",
            trace::End::Fork => "unknown; as it was at the fork",
        }
    }
}

/// Every .pyc of any process, once.
pub(super) fn union(processes: &[Process], min_blob: u32) -> Estimate {
    let mut files: BTreeMap<&Path, (u8, u8)> = BTreeMap::new();
    for process in processes {
        for module in &process.modules {
            if let Source::Pyc(path) = &module.source {
                files.insert(path, process.version);
            }
        }
    }
    let mut sums: BTreeMap<(u8, u8), Sum> = BTreeMap::new();
    for (path, version) in files {
        // A file that cannot be read is named where the process is.
        let _ = sums.entry(version).or_insert_with(|| Sum::new(min_blob)).add(path);
    }
    Estimate::of(&sums.into_values().collect::<Vec<_>>())
}
