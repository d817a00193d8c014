//! `pye uninstall`

use std::path::PathBuf;

use serde::Serialize;

use super::common::{Problem, count, problem_lines};
use super::install::Where;
use super::output::Format;
use super::{Host, Status};
use crate::activate::install;

/// Take back what `pye install` has written
///
/// Also after an installation that failed or was killed, and when the environment has been moved. Compiled files that something else has
/// written since stay. Processes that run keep what they have mapped.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    format: Format,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    prefix: PathBuf,
    /// Whether there was anything.
    installed: bool,
    files_removed: usize,
    failed: Vec<Problem>,
}

pub(crate) fn run(options: &Options, host: &Host) -> anyhow::Result<Status> {
    // A directory that is named needs no interpreter that runs.
    let prefix = match &options.place.venv {
        Some(venv) => std::path::absolute(venv)?,
        None => options.place.interpreter(host)?.prefix,
    };
    anyhow::ensure!(prefix.is_dir(), "{}: expected a directory, got none", prefix.display());
    let done = install::uninstall(&prefix)?;
    let report = Report {
        prefix,
        installed: done.is_some(),
        files_removed: done.as_ref().map_or(0, |done| done.files),
        failed: done.iter().flat_map(|done| &done.errors).map(Problem::from).collect(),
    };
    options.format.print(&report, text)?;
    Ok(if report.failed.is_empty() { Status::Done } else { Status::BadInput })
}

fn text(report: &Report) -> String {
    let mut out = problem_lines("failed", &report.failed);
    let prefix = report.prefix.display();
    out.push_str(&match report.installed {
        true => format!("{} removed from {prefix}\n", count(report.files_removed as u64, "file")),
        false => format!("nothing is installed in {prefix}\n"),
    });
    out
}
