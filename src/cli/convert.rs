//! `pye convert`

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::convert::{self, Converter, Outcome};
use crate::error::Error;
use crate::fsys;
use crate::tree::{self, Found, PYC};
use rayon::prelude::*;
use serde::Serialize;

use super::Status;
use super::common::{Jobs, Paths, Problem, SplitOptions, count, problem_lines, progress, taken};
use super::output::{Format, size};

/// Convert .pyc files to .pye files
///
/// Of each file PATH, and of every .pyc (and 2.7's .pyo) below each directory PATH, writes a .pye of the same name: beside it, or at the same
/// place below DIR. A .pye that was made from the very file there is (same mtime, size and header) is left alone. Files are replaced
/// as a whole or not at all. A file that is not a .pyc of a known Python is kept byte for byte, and named.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    paths: Paths,

    /// Write below DIR, mirroring the trees, instead of beside each file
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Convert files that are up to date, too
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    split: SplitOptions,
    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    format: Format,
}

/// What was done.
#[derive(Default, Serialize)]
struct Report {
    /// Files found.
    files: u64,
    /// Written and split.
    converted: u64,
    /// Left alone.
    up_to_date: u64,
    /// Bytes of the .pyc files converted or kept raw.
    pyc_bytes: u64,
    /// Bytes of the .pye files written.
    pye_bytes: u64,
    /// Wall-clock seconds.
    seconds: f64,
    /// Written, but not split.
    kept_raw: Vec<Problem>,
    /// Not written.
    failed: Vec<Problem>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    options.jobs.apply()?;
    let started = Instant::now();
    let (files, errors) = tree::find(&options.paths.all()?, &PYC);
    if let Some(output) = &options.output {
        fsys::remove_leftovers(output, false);
    }
    let bar = progress(&files, 1, "converting");
    let clashes = if options.output.is_some() { clashes(&files) } else { HashMap::new() };
    let outcomes: Vec<_> = files
        .par_iter()
        .map_init(Converter::default, |converter, found| {
            let outcome = match clashes.get(&found.path) {
                Some(first) => Err(taken(first).in_file(&found.path)),
                None => target(found, options.output.as_deref())
                    .and_then(|target| converter.convert(&found.path, &target, options.split.into(), options.force)),
            };
            if let Ok(Outcome::Converted(n, _) | Outcome::UpToDate(n) | Outcome::KeptRaw(n, _, _)) = &outcome {
                bar.inc(*n);
            }
            outcome
        })
        .collect();
    bar.finish_and_clear();

    let mut report =
        Report { files: files.len() as u64, failed: errors.iter().map(Problem::from).collect(), ..Report::default() };
    for outcome in outcomes {
        match outcome {
            Ok(Outcome::UpToDate(_)) => report.up_to_date += 1,
            Ok(Outcome::Converted(from, to)) => {
                report.converted += 1;
                report.pyc_bytes += from;
                report.pye_bytes += to;
            }
            Ok(Outcome::KeptRaw(from, to, error)) => {
                report.pyc_bytes += from;
                report.pye_bytes += to;
                report.kept_raw.push(Problem::from(&error));
            }
            Err(error) => report.failed.push(Problem::from(&error)),
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    options.format.print(&report, text)?;
    let bad = !report.kept_raw.is_empty() || !report.failed.is_empty();
    Ok(if bad { Status::BadInput } else { Status::Done })
}

/// Where a file's `.pye` goes; below an output directory, makes the way there.
fn target(found: &Found, output: Option<&Path>) -> Result<PathBuf, Error> {
    match output {
        None => Ok(convert::target(&found.path)),
        Some(output) => fsys::make_parent(output, &convert::target(&found.relative)),
    }
}

/// Of files that would be written to one place, all but the first, with the first.
fn clashes(files: &[Found]) -> HashMap<PathBuf, PathBuf> {
    let pairs = files.chunk_by(|a, b| a.relative == b.relative).filter(|group| group.len() > 1);
    pairs.flat_map(|group| group[1..].iter().map(|f| (f.path.clone(), group[0].path.clone()))).collect()
}

fn text(report: &Report) -> String {
    let mut out = problem_lines("kept raw", &report.kept_raw);
    out.push_str(&problem_lines("failed", &report.failed));
    out.push_str(&format!(
        "{}: {} converted, {} up to date, {} kept raw, {} failed\n",
        count(report.files, "file"),
        report.converted,
        report.up_to_date,
        report.kept_raw.len(),
        report.failed.len()
    ));
    out.push_str(&format!(
        "{} of .pyc to {} of .pye in {:.2} s\n",
        size(report.pyc_bytes),
        size(report.pye_bytes),
        report.seconds
    ));
    out
}
