//! `pye link`

use std::path::{Component, Path, PathBuf};

use crate::blob::Store;
use crate::fsys;
use crate::link::{self, Duplicate, distributions};
use crate::tree::{self, Filter, Found, PYC, PYE, SO, has_suffix};
use anyhow::Context;
use serde::Serialize;

use super::Status;
use super::common::{Jobs, Paths, Problem, SplitOptions, count, problem_lines, progress};
use super::output::{Format, percent, size, table};

/// Link many modules into one package file
///
/// Takes .pyc and .pye files, and all of them below each directory PATH, and writes one package file in which a module is found by its dotted
/// name, Python version and optimisation level. Strings and bytes that several modules have, or that are the tail of a longer one, are
/// stored once. Each directory PATH is what would stand on sys.path: name lib/python3.13 and site-packages, not what holds them. (Below a directory
/// whose name cannot be a package's, such as site-packages or python3.13, names start anew.) Where two directories hold a file of the same relative path, the one named first wins, as on sys.path.
///
/// The package also says when each directory last changed and what can be imported from it besides the modules linked, so that whoever loads modules notices what
/// changed since. So write it outside the directories that are linked: its own arrival is a change.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    paths: Paths,

    /// The package file to write; with --per-distribution a directory
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Write one package for each installed distribution (from its .dist-info/RECORD), NAME-VERSION.pye, into the directory --output
    #[arg(long)]
    per_distribution: bool,

    /// Of the files in __pycache__ directories take only those with this cache tag, such as cpython-312; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Leave out the directory DIR, relative to each directory PATH, and all below it; may be given several times
    #[arg(long, value_name = "DIR", value_parser = relative)]
    exclude: Vec<PathBuf>,

    #[command(flatten)]
    split: SplitOptions,
    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    format: Format,
}

/// A directory below those that are linked.
fn relative(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.components().next().is_none() || !path.components().all(plain) {
        return Err("expected a path relative to the directories linked, without . or ..".into());
    }
    Ok(path)
}

/// What was done, in all.
#[derive(Default, Serialize)]
struct Report {
    /// One for each package file written.
    packages: Vec<Package>,
    /// Not in any package.
    failed: Vec<Problem>,
}

/// One package file.
#[derive(Serialize)]
struct Package {
    path: PathBuf,
    modules: u64,
    namespaces: u64,
    directories: u64,
    pyc_bytes: u64,
    file_bytes: u64,
    sections: Vec<Section>,
    duplicates: Vec<Duplicate>,
    /// In the package, byte for byte.
    kept_raw: Vec<Problem>,
}

/// What merging did to one payload section.
#[derive(Serialize)]
struct Section {
    name: &'static str,
    #[serde(flatten)]
    totals: crate::merge::Totals,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    options.jobs.apply()?;
    let paths = options.paths.all()?;
    let filter = Filter { tags: options.tags.clone(), excluded: options.exclude.clone() };
    let (mut files, errors) = tree::find_with(&paths, &[PYC[0], PYC[1], PYE, SO], &filter);
    // A package written into a tree must not become part of the next one: neither the file, nor those of the directory.
    if let Ok(own) = std::fs::canonicalize(&options.output) {
        let of_own = |path: PathBuf| {
            path == own || options.per_distribution && path.starts_with(&own) && has_suffix(&path, &[PYE])
        };
        // Asked of packages only: the question costs a system call for each part of a path.
        files.retain(|f| !has_suffix(&f.path, &[PYE]) || !std::fs::canonicalize(&f.path).is_ok_and(of_own));
    }
    fsys::remove_leftovers(
        if options.per_distribution { &options.output } else { fsys::parent(&options.output) },
        true,
    );
    let mut report = Report { failed: errors.iter().map(Problem::from).collect(), ..Report::default() };
    if options.per_distribution {
        std::fs::create_dir_all(&options.output)
            .with_context(|| format!("cannot make the directory {}", options.output.display()))?;
        let (groups, errors) = distributions::group(&paths, files);
        report.failed.extend(errors.iter().map(Problem::from));
        for (name, files) in groups {
            link(&files, &options.output.join(format!("{name}.pye")), options, &mut report)?;
        }
    } else {
        link(&files, &options.output, options, &mut report)?;
    }
    options.format.print(&report, text)?;
    let bad = !report.failed.is_empty() || report.packages.iter().any(|p| !p.kept_raw.is_empty());
    Ok(if bad { Status::BadInput } else { Status::Done })
}

fn link(files: &[Found], output: &Path, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    // Every byte is read once and written about once.
    let bar = progress(files, 2, "linking");
    let linked = link::link(files, output, options.split.into(), &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    report.failed.extend(linked.failed.iter().map(Problem::from));
    report.packages.push(Package {
        path: output.to_path_buf(),
        modules: linked.modules,
        namespaces: linked.namespaces,
        directories: linked.directories,
        pyc_bytes: linked.pyc_bytes,
        file_bytes: linked.file_bytes,
        sections: Store::ALL
            .into_iter()
            .map(|store| Section { name: store.section(), totals: linked.totals[store as usize] })
            .collect(),
        duplicates: linked.duplicates,
        kept_raw: linked.raw.iter().map(Problem::from).collect(),
    });
    Ok(())
}

/// Duplicates that are listed for people.
const SHOWN: usize = 10;

fn text(report: &Report) -> String {
    let mut out = problem_lines("failed", &report.failed);
    for package in &report.packages {
        out.push_str(&problem_lines("kept raw", &package.kept_raw));
        for d in package.duplicates.iter().take(SHOWN) {
            out.push_str(&format!("duplicate: {}: {} hides {} ({})\n", d.name, d.kept, d.other, d.reason));
        }
        if let Some(more @ 1..) = package.duplicates.len().checked_sub(SHOWN) {
            out.push_str(&format!("{} more (--json lists all)\n", count(more as u64, "duplicate")));
        }
    }
    if let [package] = &report.packages[..] {
        out.push_str(&merging(package));
    }
    out.push_str(&table(
        ["package", "modules", ".pyc", "file", "of .pyc"],
        report.packages.iter().map(|p| {
            let name = p.path.display().to_string();
            [name, p.modules.to_string(), size(p.pyc_bytes), size(p.file_bytes), percent(p.file_bytes, p.pyc_bytes)]
        }),
    ));
    if report.packages.len() > 1 {
        out.push_str(&format!("{} written\n", count(report.packages.len() as u64, "package")));
    }
    out
}

fn merging(package: &Package) -> String {
    let rows = package.sections.iter().filter(|s| s.totals.cut.blobs != 0).map(|s| {
        let t = &s.totals;
        [
            s.name.to_string(),
            t.cut.blobs.to_string(),
            size(t.cut.bytes),
            size(t.cut.bytes - t.distinct.bytes),
            size(t.distinct.bytes - t.stored.bytes),
            size(t.stored.bytes),
        ]
    });
    let header = ["section", "blobs", "before merging", "saved: duplicates", "saved: tails", "stored"];
    format!("{}\n", table(header, rows))
}
