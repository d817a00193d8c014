//! `pye measure`: of a file, in processes that it starts to map it, or of live processes.

mod file;
mod html;
mod layout;
mod live;
mod openmetrics;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits::MAX_PROCESSES;
use crate::measure::Method;

use super::output::Format;
use super::{Host, Status};
pub(crate) use file::{ReaderOptions, run_reader};
pub(crate) use layout::mapped_pye;
pub(crate) use table::name;

/// The name of the hidden subcommand.
pub(crate) const READER: &str = "measure-reader";

/// Measure what processes have in memory, and what of it they share
///
/// Live processes: by number, with all descendants, by control group, or a command that is started, measured when it is ready
/// and ended. Tables show, for all and for each process, each class of mappings: the sections of .pye files, heap, Python itself,
/// other files, stacks.
///
/// A file: N processes are started that map its payload and read every page.
///
/// As root pages are compared by page frame number: a page is shared when two measured processes have the same frame. Other users
/// get what the kernel lets them see of their own processes, and are told what not.
#[derive(clap::Args, Clone)]
#[command(
    group(clap::ArgGroup::new("target").required(true).multiple(true).args(["what", "pid", "tree", "cgroup", "command"])),
    override_usage = "pye measure [OPTIONS] PID… | --pid PID | --tree PID | --cgroup PATH …\n       \
                      pye measure [OPTIONS] [--workers N] [--ready TEXT | --after SECONDS] -- COMMAND [ARGUMENT]…\n       \
                      pye measure [--json] [-n N] FILE",
    after_long_help = EXAMPLES
)]
pub(crate) struct Options {
    /// A package, or a single .pye file: measure processes that do nothing but map it. Or numbers of live processes, as with --pid (name a
    /// file whose name is a number ./NUMBER)
    #[arg(value_name = "FILE | PID", conflicts_with = "command")]
    what: Vec<PathBuf>,
    /// How many processes to start for FILE
    #[arg(short = 'n', long, value_name = "N", default_value_t = 4, conflicts_with_all = ["pid", "tree", "cgroup", "command"],
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PROCESSES)))]
    processes: u32,

    /// Measure this process (may be given several times)
    #[arg(long, value_name = "PID", help_heading = "Live processes", value_parser = pid())]
    pid: Vec<u32>,
    /// Measure this process and all its descendants (may be given several times)
    #[arg(long, value_name = "PID", help_heading = "Live processes", value_parser = pid())]
    tree: Vec<u32>,
    /// Measure all processes of a control group (version 2) and of those below: its directory, or its name as in /proc/PID/cgroup
    #[arg(long, value_name = "PATH", help_heading = "Live processes")]
    cgroup: Vec<PathBuf>,

    /// Start this command and measure it and all its descendants; then it is asked to end (SIGTERM), with all that it started.
    /// What it writes goes to standard error
    #[arg(last = true, value_name = "COMMAND", help_heading = "A command", conflicts_with_all = ["pid", "tree", "cgroup"])]
    command: Vec<OsString>,
    /// Start N copies of the command side by side
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = NOT_A_COMMAND, help_heading = "A command",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PROCESSES)))]
    workers: u32,
    /// Measure when every copy has written TEXT to its standard output or error. By default: when number and size of its
    /// processes have not changed for a second
    #[arg(long, value_name = "TEXT", conflicts_with_all = NOT_A_COMMAND, help_heading = "A command")]
    ready: Option<String>,
    /// Measure so long after the start
    #[arg(long, value_name = "SECONDS", conflicts_with_all = NOT_A_COMMAND, conflicts_with = "ready", value_parser = seconds,
          help_heading = "A command")]
    after: Option<Duration>,
    /// Give up when the command is not ready by then
    #[arg(long, value_name = "SECONDS", conflicts_with_all = NOT_A_COMMAND, default_value = "60", value_parser = seconds,
          help_heading = "A command")]
    timeout: Duration,

    /// Measure again and again, every 2 seconds by default: the kernel's sums for each process (smaps_rollup), not the classes,
    /// which take longer. With --json one object a line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds,
          help_heading = "Output")]
    watch: Option<Duration>,
    /// Stop watching after so many times
    #[arg(long, value_name = "N", requires = "watch", help_heading = "Output", value_parser = clap::value_parser!(u64).range(1..))]
    times: Option<u64>,
    /// Print OpenMetrics text, e.g. for the textfile collector of node_exporter
    #[arg(long, conflicts_with_all = ["json", "watch"], help_heading = "Output")]
    openmetrics: bool,
    /// Write the report (tables, JSON or OpenMetrics) to FILE, which is replaced as a whole, not to standard output
    #[arg(long, short, value_name = "FILE", conflicts_with = "watch", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Write a page for a browser to FILE as well: bars for each process, and a map of the pages of each .pye section
    #[arg(long, value_name = "FILE", conflicts_with = "watch", help_heading = "Output")]
    html: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// What options of a command have no meaning for. (`requires` would not do: clap does not ask for what conflicts with what is there.)
const NOT_A_COMMAND: [&str; 4] = ["what", "pid", "tree", "cgroup"];

const EXAMPLES: &str = "\
Examples:
  pye measure 1201 1202
  pye measure --tree $(cat gunicorn.pid) --html report.html
  pye measure --cgroup /system.slice/web.service --watch
  pye measure --workers 4 --ready done --json -- python -c 'import django, time; print(\"done\", flush=True); time.sleep(99)'
  pye measure --tree 1200 --openmetrics --output /var/lib/node_exporter/pye.prom
  pye measure all.pye -n 4

Columns (bytes in memory):
  resident  in the process's page table
  PSS       a page that k processes have counts 1/k: the only column whose sum over processes is what they take
  USS       pages that nobody else has: what ending the process would free
  shared    pages that another measured process has, too
  copied    pages of files copied by a write: no longer shared by way of the file
  inherited of the copied, pages that another measured process has, too: copied before a fork
  swapped   swapped out
  KSM       merged by the kernel with equal pages
  -         does not apply";

fn pid() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(i32::MAX))
}

/// A number of seconds, fractions allowed.
fn seconds(text: &str) -> Result<Duration, String> {
    // A day: longer is a slip of the finger.
    let number = text.parse().ok().filter(|seconds| (0.01..=86_400.0).contains(seconds));
    number.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, from 0.01 to 86400".into())
}

pub(crate) fn run(options: &Options, host: &Host) -> anyhow::Result<Status> {
    let number = |path: &PathBuf| path.to_str()?.parse().ok().filter(|pid| (1..=i32::MAX as u32).contains(pid));
    if let Some(pids) = options.what.iter().map(number).collect::<Option<Vec<u32>>>() {
        let mut options = options.clone();
        options.pid.extend(pids);
        return live::run(&options);
    }
    let of_processes = !options.pid.is_empty()
        || !options.tree.is_empty()
        || !options.cgroup.is_empty()
        || options.watch.is_some()
        || options.openmetrics
        || options.html.is_some()
        || options.output.is_some();
    let [path] = &options.what[..] else {
        return Err(conflict("expected one FILE, or numbers of processes, got several files"));
    };
    if of_processes {
        return Err(conflict("a FILE is measured in processes of its own: only -n and --json go with it"));
    }
    file::run(path, options.processes, options.format, host)
}

/// Wrong usage that clap cannot be told of.
fn conflict(message: &str) -> anyhow::Error {
    clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, format!("{message}\n")).into()
}

/// The method in words.
fn method(method: Method) -> &'static str {
    match method {
        Method::PageFrames => "page frame numbers, exact",
        Method::PagemapBits => "the bits of /proc/PID/pagemap",
        Method::Smaps => "the sums of /proc/PID/smaps",
    }
}
