//! `pye measure` of live processes: finds them, or starts them; measures; prints.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fsys;
use crate::limits::MAX_PROCESSES;
use crate::measure::live::command::{End, Ready, Workers};
use crate::measure::live::{self, Identity, Missing, Report, processes};
use anyhow::Context;
use serde::Serialize;

use super::{Options, html, layout, openmetrics, table};
use crate::cli::Status;

/// The version of the JSON form: raised when a field changes its meaning or goes away, not when one is added.
const SCHEMA: u32 = 1;

/// The report as it is printed.
#[derive(Serialize)]
pub(super) struct Output<'a> {
    /// See [`SCHEMA`].
    schema: u32,
    #[serde(flatten)]
    pub(super) report: &'a Report,
    /// What was started, and how it ended.
    pub(super) command: Option<Command<'a>>,
}

#[derive(Serialize)]
pub(super) struct Command<'a> {
    pub(super) arguments: Vec<std::borrow::Cow<'a, str>>,
    pub(super) workers: &'a [End],
}

pub(super) fn run(options: &Options) -> anyhow::Result<Status> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = None;
    if !options.command.is_empty() {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            // The command must not outlive this process: it is ended on the way out.
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let ready = match (&options.ready, options.after) {
            (Some(text), _) => Ready::Says(text.clone()),
            (None, Some(time)) => Ready::After(time),
            (None, None) => Ready::Settled,
        };
        let mut started = Workers::start(&options.command, options.workers, &ready)?;
        started.wait(&ready, options.timeout, &stop)?;
        workers = Some(started);
    }
    let roots = workers.as_ref().map(Workers::pids).unwrap_or_default();
    if let Some(interval) = options.watch {
        return watch(options, workers, &roots, interval, &stop);
    }
    let targets = targets(options, &roots)?;
    let snapshot = live::snapshot(&targets.found);
    let (layout, unknown) = layout::layout(&snapshot);
    let ends = workers.map(Workers::end).unwrap_or_default();
    let mut report = live::account(&snapshot, &layout);
    report.unknown.extend(unknown);
    report.missing.extend(targets.missing);
    if report.processes.is_empty() {
        anyhow::bail!("no process to measure{}", table::missing(&report.missing));
    }
    let output = Output {
        schema: SCHEMA,
        report: &report,
        command: (!ends.is_empty()).then(|| Command {
            arguments: options.command.iter().map(|word| word.to_string_lossy()).collect(),
            workers: &ends,
        }),
    };
    if let Some(path) = &options.html {
        fsys::write(path, html::page(&output, &snapshot, &layout).as_bytes())?;
    }
    let text = if options.openmetrics {
        openmetrics::text(&report)
    } else if options.format.json {
        serde_json::to_string_pretty(&output)? + "\n"
    } else {
        table::report(&output)
    };
    match &options.output {
        Some(path) => fsys::write(path, text.as_bytes())?,
        None => {
            print(&text)?;
        }
    }
    Ok(status(&report.missing, options, &roots))
}

/// Processes that come and go within a tree or group are no failure; one that was named is.
fn status(missing: &[Missing], options: &Options, roots: &[u32]) -> Status {
    let mut named = options.pid.iter().chain(&options.tree).chain(roots);
    match named.any(|pid| missing.iter().any(|missing| missing.pid == *pid)) {
        true => Status::BadInput,
        false => Status::Done,
    }
}

#[derive(Default)]
struct Targets {
    found: Vec<Identity>,
    missing: Vec<Missing>,
}

/// The processes asked for, each once, by number. This process itself is left out: it is no part of what is measured.
fn targets(options: &Options, roots: &[u32]) -> anyhow::Result<Targets> {
    let mut found: BTreeMap<u32, Identity> = BTreeMap::new();
    let mut targets = Targets::default();
    let mut members = Vec::new();
    for path in &options.cgroup {
        members.extend(processes::cgroup(path)?);
    }
    for pid in options.pid.iter().chain(&members) {
        found.extend(processes::find(*pid).map(|process| (*pid, process)));
    }
    let trees: Vec<u32> = options.tree.iter().chain(roots).copied().collect();
    if !trees.is_empty() {
        found.extend(processes::trees(&trees)?.into_iter().map(|process| (process.id.pid, process)));
    }
    for pid in options.pid.iter().chain(&options.tree).chain(roots) {
        if !found.contains_key(pid) && targets.missing.iter().all(|missing| missing.pid != *pid) {
            targets.missing.push(Missing { pid: *pid, start_time: None, why: "no such process".into() });
        }
    }
    found.remove(&std::process::id());
    if found.len() > MAX_PROCESSES as usize {
        return Err(Error::limit("processes", MAX_PROCESSES.into(), found.len() as u64).into());
    }
    targets.found = found.into_values().collect();
    Ok(targets)
}

fn watch(
    options: &Options,
    workers: Option<Workers>,
    roots: &[u32],
    interval: Duration,
    stop: &AtomicBool,
) -> anyhow::Result<Status> {
    // A terminal shows the latest state in place; a file or pipe gets one after the other.
    let redraw = io::stdout().is_terminal() && !options.format.json;
    let mut next = Instant::now();
    let mut seen_missing = Vec::new();
    for round in 0.. {
        let targets = targets(options, roots)?;
        let mut sums = live::roll_up(&targets.found);
        sums.missing.extend(targets.missing);
        let none_left = sums.processes.is_empty();
        if none_left && round == 0 {
            anyhow::bail!("no process to measure{}", table::missing(&sums.missing));
        }
        let text = if options.format.json {
            serde_json::to_string(&sums)? + "\n"
        } else if redraw {
            // To the upper left corner, and clear what is below.
            format!("\x1b[H\x1b[J{}", table::sums(&sums))
        } else {
            format!("{}{}", if round == 0 { "" } else { "\n" }, table::sums(&sums))
        };
        let told = print(&text)?;
        seen_missing.extend(sums.missing);
        let command_over = workers.as_ref().is_some_and(|workers| workers.ended().is_some());
        if !told || none_left || command_over || options.times.is_some_and(|times| round + 1 >= times) {
            break;
        }
        next += interval;
        while Instant::now() < next && !stop.load(Ordering::Relaxed) {
            thread::sleep((next - Instant::now()).min(Duration::from_millis(100)));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    if let Some(workers) = workers {
        eprint!("{}", table::ends(&workers.end()));
        // That the command ended is what watching waited for.
        return Ok(Status::Done);
    }
    Ok(status(&seen_missing, options, roots))
}

/// Writes to standard output; false when nobody reads it any more.
fn print(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        // A closed pipe (`pye … | head`) is the reader's choice, not a failure.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e).context("cannot write to standard output"),
    }
}
