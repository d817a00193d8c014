//! Options and shapes that several subcommands share.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::activate::step::Step;
use crate::activate::{MIN_BLOB, MIN_BYTES};
use crate::convert;
use crate::error::Error;
use crate::fsys;
use crate::image::Relocate;
use crate::limits::MAX_MIN_BLOB;
use crate::marshal::version::Version;
use crate::split::DEFAULT_MIN_BLOB;
use crate::tree::{Found, SO, has_suffix};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How files are split.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct SplitOptions {
    /// Shortest string to cut out and keep mapped, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MIN_BLOB, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MIN_BLOB)))]
    pub(crate) min_blob: u32,

    /// Shortest byte string to cut out, where that is more than --min-blob. They cannot be mapped, only shared in the file
    #[arg(long, value_name = "BYTES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MIN_BLOB)))]
    pub(crate) min_bytes: u32,

    /// Take every file for one of this Python version, whatever its magic number (2.7, 3.6 to 3.15)
    #[arg(long, value_name = "X.Y", value_parser = version)]
    pub(crate) python_version: Option<&'static Version>,
}

/// A version named on the command line.
pub(crate) fn version(text: &str) -> Result<&'static Version, String> {
    text.parse()
}

impl From<SplitOptions> for convert::Options {
    fn from(options: SplitOptions) -> Self {
        convert::Options {
            min_blob: options.min_blob,
            min_bytes: options.min_bytes,
            python_version: options.python_version,
        }
    }
}

/// The threshold alone, for what links the files of an interpreter that has said its version.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Threshold {
    /// Shortest string to cut out and keep mapped, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MIN_BLOB, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MIN_BLOB)))]
    min_blob: u32,
}

impl From<Threshold> for convert::Options {
    fn from(threshold: Threshold) -> Self {
        convert::Options { min_blob: threshold.min_blob, min_bytes: MIN_BYTES, python_version: None }
    }
}

/// How many threads work.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Jobs {
    /// Threads to work with; by default one for each processor
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Jobs {
    /// Sets the number of threads of this process.
    pub(crate) fn apply(self) -> anyhow::Result<()> {
        if let Some(jobs) = self.jobs {
            rayon::ThreadPoolBuilder::new().num_threads(usize::from(jobs)).build_global()?;
        }
        Ok(())
    }
}

/// The paths a command works on.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Paths {
    /// Files, or directories to search
    #[arg(value_name = "PATH", required_unless_present = "files_from")]
    pub(crate) paths: Vec<PathBuf>,

    /// Read more paths from FILE, one a line (- for standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Option<PathBuf>,
}

impl Paths {
    /// All of them.
    pub(crate) fn all(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut paths = self.paths.clone();
        if let Some(list) = &self.files_from {
            paths.extend(crate::tree::read_list(list)?);
        }
        Ok(paths)
    }
}

/// A bad input in a report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    /// The file.
    pub(crate) path: Option<PathBuf>,
    /// The byte at which it went wrong.
    pub(crate) offset: Option<u64>,
    /// The section in which the offset counts.
    pub(crate) section: Option<&'static str>,
    /// The whole message, place included.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        Problem {
            path: error.path().map(Into::into),
            offset: error.offset(),
            section: error.section(),
            message: error.to_string(),
            help: error.help().map(Into::into),
        }
    }
}

/// Two inputs would be written to one place; `first` has it.
pub(crate) fn taken(first: &Path) -> Error {
    Error::malformed("one file for each place below the output directory", format!("two: {}", first.display()))
}

/// Lines that name problems, `heading` before each.
pub(crate) fn problem_lines(heading: &str, problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        out.push_str(&format!("{heading}: {}\n", problem.message));
        if let Some(help) = &problem.help {
            out.push_str(&format!("  help: {help}\n"));
        }
    }
    out
}

/// A progress bar over the bytes of `files`, taken `times` times, on standard error, for people only: nothing when that is not a
/// terminal.
pub(crate) fn progress(files: &[Found], times: u64, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    // Extension modules are found, not read.
    let read = files.iter().filter(|f| !has_suffix(&f.path, &[SO]));
    let total: u64 = read.filter_map(|f| fsys::stamp(&f.path)).map(|s| s.size).sum();
    byte_bar(total * times, what)
}

/// A progress bar over so many bytes.
pub(crate) fn byte_bar(total: u64, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!(
        "{what} {{bar:32}} {{percent:>3}} %  {{decimal_bytes}} of {{decimal_total_bytes}}  {{elapsed}}  {{msg}}"
    );
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

/// Runs `work`, which says what it does, and shows that to people.
pub(crate) fn linking<T>(work: impl FnOnce(&(dyn Fn(Step<'_>) + Sync)) -> T) -> T {
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let show = |step: Step<'_>| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match step {
            Step::Bytes(bytes) => {
                if let Some(bar) = &*bar {
                    bar.inc(bytes);
                }
                return;
            }
            Step::Compile(files) => spinner(format!("compiling {}", count(files as u64, "module"))),
            Step::Link(root, contents) => {
                // Every byte is read once and written about once.
                let bar = progress(&contents.compiled, 2, "linking");
                bar.set_message(root.directory.display().to_string());
                bar
            }
            Step::Image(root, bytes) => {
                let bar = byte_bar(bytes, "laying out");
                bar.set_message(root.display().to_string());
                bar
            }
        };
        if let Some(last) = bar.replace(next) {
            last.finish_and_clear();
        }
    };
    let result = work(&show);
    if let Some(last) = bar.into_inner().unwrap_or_else(PoisonError::into_inner) {
        last.finish_and_clear();
    }
    result
}

/// Shows that something is under way whose end is not known; nothing when standard error is not a terminal.
fn spinner(what: String) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// The values of `--relocate`.
pub(crate) fn relocate() -> impl TypedValueParser<Value = Relocate> {
    PossibleValuesParser::new(Relocate::ALL.map(Relocate::name))
        .map(|name| Relocate::by_name(&name).unwrap_or_default())
}

/// "1 file", "2 files", "2 processes".
pub(crate) fn count(n: u64, what: &str) -> String {
    let ending = match n {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {what}{ending}")
}
