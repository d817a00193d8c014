//! `pye unpack`

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::time::Instant;

use crate::error::Error;
use crate::fsys;
use crate::pye::ModuleKind;
use crate::tree::{self, Found, PYE};
use crate::unpack::{Source, place};
use rayon::prelude::*;
use serde::Serialize;

use super::Status;
use super::common::{Jobs, Paths, Problem, count, problem_lines, taken};
use super::output::{Format, size};

/// Give back the .pyc files that .pye files hold
///
/// A tree of .pye files gives the tree of .pyc files; a package, the tree it was linked from, under the same relative names.
/// Every file is byte for byte what it was.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    paths: Paths,

    /// The directory to write below
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    format: Format,
}

/// What was done.
#[derive(Default, Serialize)]
struct Report {
    /// .pye files found.
    files: u64,
    /// .pyc files written.
    written: u64,
    /// Their bytes.
    pyc_bytes: u64,
    /// Wall-clock seconds.
    seconds: f64,
    /// Files or modules that could not be unpacked.
    failed: Vec<Problem>,
}

/// Of modules that would be written to one place, all but the first: the file and number of each, with the first one's file. What cannot
/// be opened is left for later.
fn clashes(files: &[Found]) -> HashMap<(PathBuf, usize), PathBuf> {
    if files.len() < 2 {
        return HashMap::new();
    }
    let places = |found: &Found| -> Option<Vec<(PathBuf, usize)>> {
        let source = Source::open(found).ok()?;
        let pye = source.view().ok()?;
        let modules = pye.modules().enumerate().filter_map(|(i, m)| Some((i, m.ok()?)));
        let files = modules.filter(|(_, m)| m.record.kind != ModuleKind::Namespace);
        Some(files.map(|(i, m)| (place(found, &pye, &m), i)).collect())
    };
    let all: Vec<_> = files.par_iter().map(places).collect();
    let mut first: HashMap<PathBuf, &Found> = HashMap::new();
    let mut clashes = HashMap::new();
    for (found, places) in files.iter().zip(all) {
        for (place, number) in places.into_iter().flatten() {
            match first.entry(place) {
                Entry::Vacant(entry) => drop(entry.insert(found)),
                Entry::Occupied(entry) => {
                    clashes.insert((found.path.clone(), number), entry.get().path.clone());
                }
            }
        }
    }
    clashes
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    options.jobs.apply()?;
    let started = Instant::now();
    let (files, errors) = tree::find(&options.paths.all()?, &[PYE]);
    let mut report =
        Report { files: files.len() as u64, failed: errors.iter().map(Problem::from).collect(), ..Report::default() };
    fsys::remove_leftovers(&options.output, false);
    let clashes = clashes(&files);
    let results: Vec<Result<Option<u64>, Error>> = files
        .par_iter()
        .flat_map(|found| {
            let source = match Source::open(found) {
                Ok(source) => source,
                Err(error) => return vec![Err(error)],
            };
            let pye = match source.view() {
                Ok(pye) => pye,
                Err(error) => return vec![Err(error)],
            };
            let one = |i| {
                let module = pye.module(i).map_err(|e| e.in_file(&found.path))?;
                if let Some(first) = clashes.get(&(found.path.clone(), i)) {
                    return Err(taken(first).in_module(module.path).in_file(&found.path));
                }
                source.unpack(&pye, &module, &options.output)
            };
            (0..pye.len()).into_par_iter().with_min_len(16).map(one).collect()
        })
        .collect();
    for result in results {
        match result {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                report.written += 1;
                report.pyc_bytes += bytes;
            }
            Err(error) => report.failed.push(Problem::from(&error)),
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    options.format.print(&report, |r| {
        let mut out = problem_lines("failed", &r.failed);
        out.push_str(&format!(
            "{} from {}: {} in {:.2} s, {} failed\n",
            count(r.written, ".pyc file"),
            count(r.files, ".pye file"),
            size(r.pyc_bytes),
            r.seconds,
            r.failed.len()
        ));
        out
    })?;
    Ok(if report.failed.is_empty() { Status::Done } else { Status::BadInput })
}
