//! `pye link`

use std::path::{Component, Path, PathBuf};

use crate::activate::image::{self, Built, Job};
use crate::activate::interpreter::Interpreter;
use crate::activate::place::Place;
use crate::blob::Store;
use crate::fsys;
use crate::image::Relocate;
use crate::link::{self, Duplicate, distributions};
use crate::profile::Profile;
use crate::tree::{self, Filter, Found, PYC, PYE, SO, has_suffix};
use serde::Serialize;

use super::common::{Jobs, Paths, Problem, SplitOptions, byte_bar, count, problem_lines, progress, relocate};
use super::output::{Format, percent, size, table};
use super::{Host, Status};

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

    /// Give the package an image too: the code objects of its modules as a certain interpreter has them in memory, which its processes
    /// map and share (CPython 3.12 and later). Takes one directory PATH, which is what the package stands for on sys.path
    #[arg(long, conflicts_with = "per_distribution")]
    image: bool,

    /// The interpreter that the image is for; without, the one that runs this command or python3
    #[arg(long, value_name = "PYTHON", requires = "image")]
    python: Option<PathBuf>,

    /// Lay the image out by this profile of use, which `pye trace` writes: what it names is packed together
    #[arg(long, value_name = "FILE", requires = "image")]
    profile: Option<PathBuf>,

    /// When processes make the image's pages fit an interpreter that is not loaded where it was when the image was made: the profile's
    /// modules before the first fork, each module when it is imported, or never (the image is not used then). PYE_RELOCATE overrides it
    #[arg(long, value_name = "WHEN", requires = "image", default_value = Relocate::default().name(), value_parser = relocate())]
    relocate: Relocate,

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
    /// With --image.
    image: Option<Built>,
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

pub(crate) fn run(options: &Options, host: &Host) -> anyhow::Result<Status> {
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
    // What can be wrong is found before anything is linked, and what was there before is replaced by nothing less than all that was asked for.
    let wanted = options.image.then(|| Wanted::of(&paths, options, host)).transpose()?;
    let mut report = Report { failed: errors.iter().map(Problem::from).collect(), ..Report::default() };
    if files.is_empty() && !errors.is_empty() {
        options.format.print(&report, text)?;
        return Ok(Status::BadInput);
    }
    if options.per_distribution {
        fsys::make_directories(&options.output)?;
        let (groups, errors) = distributions::group(&paths, files);
        report.failed.extend(errors.iter().map(Problem::from));
        for (name, files) in groups {
            let output = options.output.join(format!("{name}.pye"));
            link(&files, &output, &output, options, &mut report)?;
        }
    } else if let Some(wanted) = wanted {
        fsys::write_in_steps(&options.output, |beside| {
            link(&files, beside, &options.output, options, &mut report)?;
            // Tells other processes that clean up that it is not abandoned.
            let held = std::fs::File::open(beside)?;
            let _ = held.try_lock_shared();
            wanted.build(beside, options, &mut report)
        })?;
    } else {
        link(&files, &options.output, &options.output, options, &mut report)?;
    }
    options.format.print(&report, text)?;
    let bad = !report.failed.is_empty() || report.packages.iter().any(|p| !p.kept_raw.is_empty());
    Ok(if bad { Status::BadInput } else { Status::Done })
}

/// Links the package that is to be `output`, and for now is `file`.
fn link(files: &[Found], file: &Path, output: &Path, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    // Every byte is read once and written about once.
    let bar = progress(files, 2, "linking");
    let linked = link::link(files, file, options.split.into(), &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    report.failed.extend(linked.failed.iter().map(Problem::from));
    report.packages.push(Package {
        path: output.to_path_buf(),
        modules: linked.modules,
        namespaces: linked.namespaces,
        directories: linked.directories,
        pyc_bytes: linked.pyc_bytes,
        file_bytes: linked.file_bytes,
        image: None,
        sections: Store::ALL
            .into_iter()
            .map(|store| Section { name: store.section(), totals: linked.totals[store as usize] })
            .collect(),
        duplicates: linked.duplicates,
        kept_raw: linked.raw.iter().map(Problem::from).collect(),
    });
    Ok(())
}

/// What an image is made with.
struct Wanted {
    interpreter: Interpreter,
    place: Place,
    root: PathBuf,
}

impl Wanted {
    fn of(paths: &[PathBuf], options: &Options, host: &Host) -> anyhow::Result<Wanted> {
        let [root] = paths else {
            anyhow::bail!("--image takes one directory, the one the package stands for on sys.path")
        };
        let python = options.python.as_deref().or(host.interpreter()).unwrap_or(Path::new("python3"));
        let interpreter = Interpreter::ask(python)?;
        image::check(&interpreter)?;
        options.profile.as_deref().map(Profile::read).transpose()?;
        let place = Place::find(Some(&interpreter), host.package())?;
        Ok(Wanted { interpreter, place, root: std::path::absolute(root)? })
    }

    /// Gives the package in `file`, the last one of the report, an image.
    fn build(&self, file: &Path, options: &Options, report: &mut Report) -> anyhow::Result<()> {
        let Some(package) = report.packages.last_mut() else { return Ok(()) };
        let bar = byte_bar(package.pyc_bytes, "laying out");
        let job = Job {
            interpreter: &self.interpreter,
            place: &self.place,
            file,
            root: &self.root,
            profile: options.profile.as_deref(),
            relocate: options.relocate,
        };
        let built = job.build(&|n| bar.inc(n))?;
        bar.finish_and_clear();
        package.file_bytes = built.file_bytes;
        package.image = Some(built);
        Ok(())
    }
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
    if report.packages.is_empty() {
        out.push_str("nothing is linked\n");
        return out;
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
    for built in report.packages.iter().filter_map(|package| package.image.as_ref()) {
        out.push_str(&laid_out(built));
    }
    if report.packages.len() > 1 {
        out.push_str(&format!("{} written\n", count(report.packages.len() as u64, "package")));
    }
    out
}

/// The sections of an image.
fn laid_out(built: &Built) -> String {
    let rows = built.sections.iter().map(|(name, (bytes, hot))| [name.clone(), size(*bytes), size(*hot)]);
    let mut out = format!("\n{}", table(["section of the image", "bytes", "in the profile"], rows));
    out.push_str(&format!("{}, {}\n", count(built.modules, "module"), count(built.objects, "object")));
    for (source, reason) in built.left_out.iter().take(SHOWN) {
        out.push_str(&format!("not in the image: {source}: {reason}\n"));
    }
    if let Some(more @ 1..) = built.left_out.len().checked_sub(SHOWN) {
        out.push_str(&format!("{} more (--json lists all)\n", count(more as u64, "module")));
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
