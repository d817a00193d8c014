//! `codec min-blob`: what the threshold for cutting strings out costs and saves.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pye::convert;
use pye::limits::MAX_PYE_BYTES;
use pye::link;
use pye::map::Map;
use pye::pye::Part;
use pye::pye::read::{Module, Pye};
use pye::split;

use crate::Common;
use crate::stats::median;
use crate::table::{Table, mb, percent};

/// What the shortest length of strings that are cut out costs and saves: sizes, holes, speed of joining
///
/// Each part of the corpus is linked with each threshold; then all modules of every package are joined, one thread, the thresholds in turn.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,

    /// Thresholds, in bytes
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',', default_values_t = [16, 24, 32, 48, 64, 96, 128, 256])]
    thresholds: Vec<u32>,

    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// A package with one threshold.
struct Case {
    threshold: u32,
    map: Map,
    file_bytes: u64,
    pyc_bytes: u64,
    blobs: u64,
    /// Bytes before merging: what the .pyc files hold of blobs.
    cut: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let common = &options.common;
    let corpus = common.corpus()?;
    let style = common.style();
    let rounds = common.rounds(options.rounds.into());
    let scratch = crate::default_directory("");
    std::fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let scratch = tempfile::Builder::new().prefix("min-blob-").tempdir_in(&scratch)?;

    let more = [
        format!("corpus: {}", corpus.describe()),
        format!("join: rounds: {rounds}, in turn, one thread, out of the mapped package, pages present"),
    ];
    print!("{}", common.heading(&more));
    let mut table = Table::new(&[
        "package of, --min-blob",
        "package",
        "of .pyc",
        "payload mapped",
        "control + holes",
        "holes",
        "blobs",
        "cut before merging",
        "join MB/s",
    ]);
    for (name, found) in corpus.parts()? {
        let mut cases = Vec::new();
        for &threshold in &options.thresholds {
            let output = scratch.path().join("package.pye");
            let split = convert::Options { min_blob: threshold, min_bytes: 0, python_version: None };
            let report = link::link(&found, &output, split, &|_| {})?;
            if let Some(error) = report.failed.into_iter().chain(report.raw).next() {
                return Err(error.into());
            }
            let totals = report.totals.iter().map(|t| t.cut);
            let (blobs, cut) = totals.fold((0, 0), |(n, b), cut| (n + cut.blobs, b + cut.bytes));
            let map = Map::open(&output, MAX_PYE_BYTES)?;
            cases.push(Case { threshold, map, file_bytes: report.file_bytes, pyc_bytes: report.pyc_bytes, blobs, cut });
            // It stays mapped.
            std::fs::remove_file(&output)?;
        }
        let views = cases.iter().map(|case| {
            let pye = Pye::open(&case.map)?;
            let modules = pye.modules().collect::<pye::error::Result<Vec<_>>>()?;
            Ok((pye, modules))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let speeds = join(&cases, &views, rounds)?;
        for ((case, (pye, modules)), speeds) in cases.iter().zip(&views).zip(&speeds) {
            let payload: usize = pye.stores().iter().map(|s| s.len()).sum();
            let control = pye.part(Part::Control as usize).len() + pye.part(Part::Holes as usize).len();
            let holes: u64 = modules.iter().map(|m| u64::from(m.record.hole_count)).sum();
            table.row(vec![
                format!("{name}, {}", case.threshold),
                mb(case.file_bytes),
                percent(case.file_bytes, case.pyc_bytes),
                mb(payload as u64),
                mb(control as u64),
                holes.to_string(),
                case.blobs.to_string(),
                mb(case.cut),
                format!("{:.0}", median(speeds.iter().copied())),
            ]);
        }
    }
    print!("{}", table.print(style));
    Ok(())
}

/// MB/s of joining all modules, by case and round. A round before them checks lengths and CRCs and faults the pages in.
fn join(cases: &[Case], views: &[(Pye<'_>, Vec<Module<'_>>)], rounds: usize) -> Result<Vec<Vec<f64>>> {
    let mut out = Vec::new();
    for (pye, modules) in views {
        for module in modules {
            pye.join_into(module, &mut out)?;
        }
    }
    let mut speeds = vec![Vec::new(); views.len()];
    for round in 0..rounds {
        for turn in 0..views.len() {
            let at = (round + turn) % views.len();
            let (pye, modules) = &views[at];
            let start = Instant::now();
            let mut bytes = 0;
            for module in modules {
                let len = module.record.pyc_len as usize;
                split::join_into(module.control, module.holes, &pye.stores(), len, &mut out, None)?;
                bytes += black_box(&out).len() as u64;
            }
            let seconds = start.elapsed().as_secs_f64();
            ensure!(bytes == cases[at].pyc_bytes, "joined {bytes} of {} bytes", cases[at].pyc_bytes);
            speeds[at].push(bytes as f64 / 1e6 / seconds);
        }
    }
    Ok(speeds)
}
