//! `pye verify`

use std::path::PathBuf;

use crate::error::Error;
use crate::marshal::version::Version;
use crate::tree::{self, Found, PYC, PYE, has_suffix};
use crate::verify::{Verified, verify_pyc, verify_pye};
use rayon::prelude::*;
use serde::Serialize;

use super::Status;
use super::common::{Jobs, Paths, Problem, count, problem_lines, version};
use super::output::Format;

/// Check .pye and .pyc files in full
///
/// Of a .pye: the CRC32 of every section, every table, that each module gives back the .pyc it was made from, and that CPython would accept it; of
/// an image also each page, object and pointer that modules lead to. Then each module is compared with the .pyc beside it (of a package: below --against),
/// or where that is gone, with its source's mtime and size or hash. Of a cache that pye.dump has saved: every page. Of a .pyc: structure and what CPython would refuse.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    paths: Paths,

    /// Compare with the .pyc files (or sources) at the same places below DIR; may be given several times
    #[arg(long, value_name = "DIR")]
    against: Vec<PathBuf>,

    /// Take every .pyc for one of this Python version, whatever its magic number
    #[arg(long, value_name = "X.Y", value_parser = version)]
    python_version: Option<&'static Version>,

    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    format: Format,
}

/// What was found.
#[derive(Default, Serialize)]
struct Report {
    files: u64,
    #[serde(flatten)]
    good: Verified,
    bad: Vec<Problem>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    options.jobs.apply()?;
    if let Some(missing) = options.against.iter().find(|directory| !directory.is_dir()) {
        anyhow::bail!("--against {}: no such directory", missing.display());
    }
    let (files, errors) = tree::find(&options.paths.all()?, &[PYE, PYC[0], PYC[1]]);
    let mut report =
        Report { files: files.len() as u64, bad: errors.iter().map(Problem::from).collect(), ..Report::default() };
    let one = |found: &Found| {
        if has_suffix(&found.path, &PYC) {
            verify_pyc(&found.path, options.python_version).map(|v| (v, Vec::new()))
        } else {
            verify_pye(found, &options.against)
        }
    };
    let results: Vec<Result<(Verified, Vec<Error>), Error>> = files.par_iter().map(one).collect();
    for result in results {
        match result {
            Ok((good, bad)) => {
                report.good.add(good);
                report.bad.extend(bad.iter().map(Problem::from));
            }
            Err(error) => report.bad.push(Problem::from(&error)),
        }
    }
    let compared = report.good.modules != report.good.nothing_to_compare;
    if !options.against.is_empty() && report.good.modules != 0 && !compared && report.bad.is_empty() {
        // A question that got no answer must not look like a yes.
        let got = "none of the modules' .pyc files or sources".to_owned();
        let help = "name the directory that the package stands for, the one on sys.path";
        report.bad.push(Problem::from(&Error::unsupported("something to compare with below --against", got, help)));
    }
    options.format.print(&report, text)?;
    Ok(if report.bad.is_empty() { Status::Done } else { Status::BadInput })
}

fn text(report: &Report) -> String {
    let good = &report.good;
    let mut out = problem_lines("bad", &report.bad);
    out.push_str(&format!(
        "{}, {} good, {} bad\n",
        count(report.files, "file"),
        count(good.modules, "module"),
        report.bad.len()
    ));
    for (n, what) in [
        (good.same_as_pyc, "the same bytes as the .pyc"),
        (good.source_unchanged, "made from the source as it is now"),
        (good.nothing_to_compare, "with nothing to compare to"),
        (good.raw, "kept raw: structure unknown"),
        (good.objects, "objects of caches"),
    ] {
        if n != 0 {
            out.push_str(&format!("  {n} {what}\n"));
        }
    }
    out
}
