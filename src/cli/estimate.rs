//! `pye estimate`

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::heap::{Heap, Kind, KindCost, Sizes};
use crate::limits::MAX_MIN_BLOB;
use crate::split::DEFAULT_MIN_BLOB;
use crate::trace::{self, Process, Source};
use anyhow::Context as _;
use serde::Serialize;

use super::Status;
use super::output::{self, Format, size, table};

/// Estimate what further processes of a command would share
///
/// Runs the command, its input, output and exit status being its own, notes what each Python process of it imports, and
/// adds up what the constants of those modules cost on CPython's heap: memory that every further process has again today.
/// It is an estimate made before adopting anything; nothing is converted or changed.
///
/// "would share" are the heap bytes that one more process like the one shown would no longer have for itself: in the
/// portable form (CPython 3.7 and later), the characters of long strings, a header for each remaining; in the image form
/// (3.12 and later), the code objects and all they reach.
///
/// It is assumed that: the further process imports the same modules; their .pyc files are the ones that were loaded; no
/// page of what is shared is written to (in practice functions that run and strings that are hashed are); code of
/// module and class bodies is gone after it has run, and sets and slices cannot be shared; names that several modules
/// use count once; builds are 64-bit, with the GIL, without --with-pydebug. Modules without a .pyc (built in,
/// frozen, extensions, from zip files, the script itself) count nothing. When the command has several Python processes, the
/// one whose constants cost most is the one the main table shows.
///
/// A process is not seen when it was started with -I, -E or -S or with a PYTHONPATH of its own, or was killed; the
/// children of a fork that were killed count with what they had at the fork.
#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 done (whatever the command's own, which is shown), 1 the command could not be \
run or left no trace, 2 wrong usage.")]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,

    /// Shortest string that the portable form would map, in bytes
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MIN_BLOB, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MIN_BLOB)))]
    min_blob: u32,

    /// Write the report to FILE rather than to standard output, which the command writes to as well
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Names listed for one reason of not having a `.pyc`.
const NAMES_SHOWN: usize = 8;

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    let trace = trace::run(&options.command)?;
    let mut processes: Vec<ProcessReport> =
        trace.processes.iter().map(|process| ProcessReport::new(process, options.min_blob)).collect();
    // Stable: among equals the command's own process stays first.
    let headline =
        (0..processes.len()).rev().max_by_key(|&index| processes[index].estimate.total.loaded.heap).unwrap_or(0);
    let union = (processes.len() > 1).then(|| union(&trace.processes, options.min_blob));
    if processes[headline].modules.pyc == 0 {
        let why = processes[headline].because();
        anyhow::bail!("no module of the command came from a .pyc ({why}): nothing to estimate");
    }
    processes[headline].headline = true;
    let report = Report {
        command: options.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        ended: trace::describe(trace.status),
        succeeded: trace.status.success(),
        min_blob: options.min_blob,
        processes,
        union,
    };
    match &options.output {
        None => options.format.print(&report, |report| report.text())?,
        Some(path) => {
            let text = if options.format.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text() };
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
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
    /// Every .pyc of any process, once; absent when there is one process.
    union: Option<Estimate>,
}

/// Sizes in bytes.
#[derive(Serialize)]
struct ProcessReport {
    /// Whether this is the process the main table shows.
    headline: bool,
    pid: u32,
    parent: u32,
    implementation: String,
    version: String,
    executable: PathBuf,
    argv: Vec<String>,
    forked: bool,
    end: trace::End,
    modules: Modules,
    #[serde(flatten)]
    estimate: Estimate,
    /// What makes the sizes differ from the process's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Default, Serialize)]
struct Modules {
    /// Loaded from a `.pyc` that could be read.
    pyc: u64,
    /// Names of the others by reason.
    without: BTreeMap<&'static str, Vec<String>>,
    /// Files that could not be read or parsed, with the error.
    unreadable: Vec<String>,
}

#[derive(Default, Serialize)]
struct Estimate {
    /// Files.
    pycs: u64,
    kinds: Vec<KindReport>,
    total: KindCost,
    /// Whether the interpreter can have the form at all.
    portable: bool,
    image: bool,
}

#[derive(Serialize)]
struct KindReport {
    kind: Kind,
    #[serde(flatten)]
    cost: KindCost,
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

    fn table(&self) -> String {
        let row = |label: &str, cost: &KindCost| {
            [
                label.to_owned(),
                cost.loaded.objects.to_string(),
                size(cost.loaded.payload),
                size(cost.loaded.heap),
                self.portable(cost),
                self.image(cost),
            ]
        };
        let mut rows: Vec<_> = self
            .kinds
            .iter()
            .filter(|report| report.cost.loaded.objects > 0)
            .map(|report| row(report.kind.label(), &report.cost))
            .collect();
        rows.push(row("total", &self.total));
        table(["kind", "objects", "payload", "heap", "portable form would share", "image form would share"], rows)
    }

    fn portable(&self, cost: &KindCost) -> String {
        if self.portable { size(cost.portable_saves) } else { "-".into() }
    }

    fn image(&self, cost: &KindCost) -> String {
        if self.image { size(cost.image_saves) } else { "-".into() }
    }
}

impl ProcessReport {
    fn new(process: &Process, min_blob: u32) -> Self {
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
            estimate: Estimate::of(&[sum]),
            notes,
        }
    }

    /// Why modules have no `.pyc`: "30 built in, 2 no .pyc written".
    fn because(&self) -> String {
        let mut reasons: Vec<String> =
            self.modules.without.iter().map(|(reason, names)| format!("{} {reason}", names.len())).collect();
        if !self.modules.unreadable.is_empty() {
            reasons.push(format!("{} unreadable", self.modules.unreadable.len()));
        }
        reasons.join(", ")
    }

    fn ended(&self) -> &'static str {
        match self.end {
            trace::End::Exit => "exit",
            trace::End::UnderscoreExit => "_exit",
            trace::End::Exec => "exec",
            trace::End::Fork => "unknown; as it was at the fork",
        }
    }
}

/// Every .pyc of any process, once.
fn union(processes: &[Process], min_blob: u32) -> Estimate {
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

impl Report {
    fn text(&self) -> String {
        let mut out = String::new();
        if !self.succeeded {
            let _ = writeln!(out, "The command ended with {}.\n", self.ended);
        }
        for process in self.processes.iter().filter(|process| process.headline) {
            self.main(process, &mut out);
        }
        if let Some(union) = &self.union {
            let _ = writeln!(
                out,
                "\nThe command had {} Python processes; the table above is process {}, whose constants cost most.\n",
                self.processes.len(),
                self.processes.iter().find(|process| process.headline).map_or(0, |process| process.pid)
            );
            let row = |first: String, python: String, estimate: &Estimate, end: &str| {
                [
                    first,
                    python,
                    estimate.pycs.to_string(),
                    size(estimate.total.loaded.heap),
                    estimate.portable(&estimate.total),
                    estimate.image(&estimate.total),
                    end.to_owned(),
                ]
            };
            let mut rows: Vec<_> = self
                .processes
                .iter()
                .map(|process| {
                    row(process.pid.to_string(), process.version.clone(), &process.estimate, process.ended())
                })
                .collect();
            rows.push(row("all, each .pyc once".into(), String::new(), union, ""));
            out.push_str(&table(["process", "Python", ".pyc files", "heap", "portable", "image", "ended by"], rows));
        }
        out
    }

    fn main(&self, process: &ProcessReport, out: &mut String) {
        let modules = &process.modules;
        let estimate = &process.estimate;
        let _ = write!(out, "Python {}: {} modules from a .pyc", process.version, modules.pyc);
        let because = process.because();
        let _ = if because.is_empty() { writeln!(out, ".") } else { writeln!(out, "; without one: {because}.") };
        for reason in [Source::NoPyc.label(), Source::Zip.label()] {
            if let Some(names) = modules.without.get(reason) {
                let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
                let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
                let _ = writeln!(out, "  {reason}: {shown}{more}");
            }
        }
        for error in &modules.unreadable {
            let _ = writeln!(out, "  unreadable: {error}");
        }
        for note in &process.notes {
            let _ = writeln!(out, "  note: {note}");
        }
        out.push('\n');
        out.push_str(&estimate.table());
        out.push('\n');
        let total = &estimate.total;
        let mut forms = Vec::new();
        if estimate.portable {
            forms.push(format!(
                "{} in the portable form ({} strings of at least {} bytes)",
                size(total.portable_saves),
                total.portable.objects,
                self.min_blob
            ));
        }
        if estimate.image {
            forms.push(format!(
                "{} in the image form ({} of the heap)",
                size(total.image_saves),
                output::percent(total.image_saves, total.loaded.heap)
            ));
        }
        let _ = if forms.is_empty() {
            writeln!(
                out,
                "Neither form exists for this Python: the portable one needs CPython 3.7, the image one 3.12."
            )
        } else {
            writeln!(out, "An estimate: each further process like this one would share {}.", forms.join(", or "))
        };
        let _ = writeln!(
            out,
            "{} of the heap is code of module and class bodies, which is gone once it has run.",
            size(total.run_once.heap)
        );
    }
}
