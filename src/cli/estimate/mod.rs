//! `pye estimate`: options, and what is done with a command's trace.

mod launch;
mod process;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::activate::MIN_BLOB;
use crate::fsys;
use crate::limits::MAX_MIN_BLOB;
use crate::trace;
use launch::Launch;
use process::{Estimate, ProcessReport};
use serde::Serialize;

use super::Status;
use super::output::Format;

/// Forecast what pye would save for a command
///
/// Runs the command, its input, output and exit status being its own, notes what each Python process of it imports, and
/// adds up what the constants of those modules cost on CPython's heap: memory that every further process has again today.
/// It is an estimate made before adopting anything; nothing is converted or changed.
///
/// "saves" are the bytes that a process would no longer have for itself: in the image form, which is what `pye run` and
/// `pye install` give for CPython 3.12 and later, the code objects and all they reach; in the portable form, for 3.9 to 3.11 and wherever
/// no image can be used, the characters of texts, of which a header each remains.
///
/// Launch modes, of the portable form only (what images save there depends on the pages that are written to: `pye measure` tells): fork, where each worker imports after the fork; preload, where the parent imports and then forks; spawn, where each
/// worker is started by itself. The totals are of what is forecast, constants and directory listings, not of all that a
/// process has. With pye they include what is mapped of the packages, once for all, as if all of it were present. In preload mode
/// workers share the parent's memory until it is written to: nothing is taken to be saved by each of them.
///
/// It is assumed that: a further process imports the same modules; their .pyc files are the ones that were loaded, and all are
/// in packages; in the image form, no page of what is shared is written to (in practice functions that run and strings that are
/// hashed are); code of module and class bodies is gone after it has run, and sets and slices cannot be shared; names that several
/// modules use count once; builds are 64-bit, with the GIL, without --with-pydebug. Modules without a .pyc (built in,
/// frozen, extensions, from zip files, the script itself) count nothing. When the command has several Python processes, the
/// one whose constants cost most is the one that is forecast.
///
/// A process is not seen when it was started with -I, -E or -S or with a PYTHONPATH of its own, or was killed; the
/// children of a fork that were killed count with what they had at the fork.
#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 done (whatever the command's own, which is shown), 1 the command could not be \
run or left no trace, 2 wrong usage.")]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,

    /// Shortest text that the portable form maps, in bytes
    #[arg(long, value_name = "N", default_value_t = MIN_BLOB, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MIN_BLOB)))]
    min_blob: u32,

    /// Number of workers in the forecast of launch modes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    workers: u32,

    /// Write the report to FILE rather than to standard output, which the command writes to as well
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    options.output.as_deref().map(fsys::check_writable).transpose()?;
    let trace = trace::run(&options.command)?;
    let mut processes: Vec<ProcessReport> =
        trace.processes.iter().map(|process| ProcessReport::new(process, options.min_blob)).collect();
    // Stable: among equals the command's own process stays first.
    let headline =
        (0..processes.len()).rev().max_by_key(|&index| processes[index].estimate.total.loaded.heap).unwrap_or(0);
    let union = (processes.len() > 1).then(|| process::union(&trace.processes, options.min_blob));
    let shown = &mut processes[headline];
    if shown.modules.pyc == 0 {
        let why = shown.because();
        anyhow::bail!("no module of the command came from a .pyc ({why}): nothing to estimate");
    }
    shown.headline = true;
    let worker = shown.estimate.portable.then(|| launch::Worker::new(&shown.estimate.total, shown.directory_caches));
    let report = Report {
        command: options.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        ended: trace::describe(trace.status),
        succeeded: trace.status.success(),
        min_blob: options.min_blob,
        launch: worker.map(|worker| Launch::new(worker, options.workers)),
        processes,
        union,
    };
    match &options.output {
        None => options.format.print(&report, |report| report.text())?,
        Some(path) => {
            let text = if options.format.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text() };
            fsys::write(path, text.as_bytes())?;
        }
    }
    Ok(Status::Done)
}

#[derive(Serialize)]
struct Report {
    command: Vec<String>,
    /// The command's exit status or signal, in words.
    ended: String,
    succeeded: bool,
    /// Bytes.
    min_blob: u32,
    processes: Vec<ProcessReport>,
    /// The portable form in each launch mode, with workers like the headline process; absent when it cannot have that form.
    launch: Option<Launch>,
    /// Every .pyc of any process, once; absent when there is one process.
    union: Option<Estimate>,
}
