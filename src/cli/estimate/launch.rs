//! The portable form in the launch modes of servers.

use crate::heap::KindCost;
use serde::Serialize;

/// Bytes that pye itself costs each process: its own Python modules, its library's data and its tables.
///
/// Private_Dirty in `/proc/self/smaps_rollup` of `python -c 'import csv; …'` under `pye run` less the same without: 0.5 MB on CPython 3.10
/// to 3.13, 0.75 MB on 3.9 and 0.9 MB on 3.14 and 3.15, which import less at their own start. Programs import part of that anyway.
const OWN: i64 = 540 << 10;

/// What of one worker's memory is forecast. Bytes.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Worker {
    /// Constants that stay after the import.
    constants: u64,
    /// Names of files that the stock finders keep of directories.
    pub(super) directory_caches: u64,
    /// Of the constants, what the portable form saves.
    portable_saves: u64,
    /// What pye itself costs.
    pub(super) own: i64,
    /// What it all comes to: positive where pye saves.
    saves: i64,
    /// Text in the packages that the worker's strings point at.
    pub(super) mapped: u64,
}

/// The modes, for a number of workers.
#[derive(Serialize)]
pub(super) struct Launch {
    pub(super) workers: u32,
    pub(super) worker: Worker,
    pub(super) modes: [Mode; 3],
}

/// Of all processes together, in bytes.
#[derive(Serialize)]
pub(super) struct Mode {
    pub(super) mode: &'static str,
    /// What is forecast of, as it is today.
    pub(super) today: u64,
    /// The same with pye, what is mapped included.
    pub(super) with_pye: i64,
    /// The difference.
    pub(super) saves: i64,
    /// What each worker has less of its own (USS).
    pub(super) each_worker_saves: i64,
}

impl Worker {
    /// A worker whose modules' constants cost `total`.
    pub(super) fn new(total: &KindCost, directory_caches: u64) -> Worker {
        Worker {
            constants: total.loaded.heap - total.run_once.heap,
            directory_caches,
            portable_saves: total.portable_saves,
            own: OWN,
            saves: (total.portable_saves + directory_caches) as i64 - OWN,
            mapped: total.mapped.payload,
        }
    }
}

impl Launch {
    pub(super) fn new(worker: Worker, workers: u32) -> Launch {
        let mode = |mode, copies: u32, each_worker_saves| {
            let today = u64::from(copies) * (worker.constants + worker.directory_caches);
            let saves = i64::from(copies) * worker.saves - worker.mapped as i64;
            Mode { mode, today, with_pye: today as i64 - saves, saves, each_worker_saves }
        };
        // After a preload there is one copy, the parent's.
        let modes = [mode("fork", workers, worker.saves), mode("preload", 1, 0), mode("spawn", workers, worker.saves)];
        Launch { workers, worker, modes }
    }
}
