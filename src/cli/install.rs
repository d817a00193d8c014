//! `pye install`

use std::path::PathBuf;

use serde::Serialize;

use super::common::{Problem, Threshold, count, linking, problem_lines, relocate};
use super::output::{Format, percent, size, table};
use super::{Host, Status};
use crate::activate::image::Built;
use crate::activate::install::{self, Installed};
use crate::activate::interpreter::Interpreter;
use crate::activate::place::Place;
use crate::image::Relocate;
use crate::profile::Profile;

/// Where an installation is, for `install` and `uninstall`.
#[derive(clap::Args)]
pub(crate) struct Where {
    /// The virtual environment; without, that of the interpreter that runs this command or of python3
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) venv: Option<PathBuf>,

    /// The interpreter
    #[arg(long, value_name = "PYTHON", conflicts_with = "venv")]
    pub(crate) python: Option<PathBuf>,
}

impl Where {
    /// The interpreter meant.
    pub(crate) fn interpreter(&self, host: &Host) -> anyhow::Result<Interpreter> {
        let executable = match (&self.venv, &self.python, host.interpreter()) {
            (Some(venv), _, _) => Interpreter::of_prefix(venv)?,
            (None, Some(python), _) => python.clone(),
            (None, None, Some(own)) => own.to_path_buf(),
            (None, None, None) => "python3".into(),
        };
        Ok(Interpreter::ask(&executable)?)
    }
}

/// Activate pye for every process of a virtual environment
///
/// Links the standard library and the site-packages of the environment into packages, and has every interpreter of it import from them.
/// Writes one file, pye.pth, into site-packages, .pyc files where there are none, and all else into share/pye; `pye uninstall` takes all
/// of it back. Run it again after installing or upgrading distributions: until then what has changed is imported as ever.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    threshold: Threshold,

    /// Do not compile modules that have no .pyc: they are left to the stock import
    #[arg(long)]
    no_compile: bool,

    /// Make no images, which on CPython 3.12 and later let processes share whole code objects
    #[arg(long)]
    no_image: bool,

    /// Lay images out by this profile of use, which `pye trace` writes: what it names is packed together. It is kept for later installations,
    /// until another is given or `pye uninstall` takes all back
    #[arg(long, value_name = "FILE", conflicts_with = "no_image")]
    profile: Option<PathBuf>,

    /// When processes make images fit an interpreter that is not loaded where it was when they were made: see `pye link`
    #[arg(long, value_name = "WHEN", conflicts_with = "no_image", default_value = Relocate::default().name(), value_parser = relocate())]
    relocate: Relocate,

    #[command(flatten)]
    format: Format,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    interpreter: PathBuf,
    version: String,
    prefix: PathBuf,
    pth: PathBuf,
    python_package: PathBuf,
    compiled: usize,
    packages: Vec<Package>,
    /// The profile that images are laid out by.
    profile: Option<PathBuf>,
    failed: Vec<Problem>,
}

/// One package.
#[derive(Serialize)]
struct Package {
    root: PathBuf,
    path: PathBuf,
    modules: u64,
    pyc_bytes: u64,
    file_bytes: u64,
    /// Its image; none where none is wanted or possible.
    image: Option<Built>,
}

pub(crate) fn run(options: &Options, host: &Host) -> anyhow::Result<Status> {
    let interpreter = options.place.interpreter(host)?;
    interpreter.check()?;
    let place = Place::find(Some(&interpreter), host.package())?;
    // Before anything is changed.
    let profile = options.profile.as_deref().map(Profile::read).transpose()?;
    let how = install::Options {
        split: options.threshold.into(),
        compile: !options.no_compile,
        image: !options.no_image,
        profile: profile.as_ref(),
        relocate: options.relocate,
    };
    let installed = linking(|step| install::install(&interpreter, &place, how, step))?;
    let report = report(&interpreter, &place, &installed);
    options.format.print(&report, text)?;
    Ok(if report.failed.is_empty() { Status::Done } else { Status::BadInput })
}

fn built(package: &install::Package) -> Option<&Built> {
    package.image.as_ref().and_then(|image| image.as_ref().ok())
}

fn report(interpreter: &Interpreter, place: &Place, installed: &Installed) -> Report {
    let (major, minor, micro) = interpreter.version;
    let package = |package: &install::Package| Package {
        root: package.root.clone(),
        path: package.file.clone(),
        modules: package.report.modules,
        pyc_bytes: package.report.pyc_bytes,
        file_bytes: built(package).map_or(package.report.file_bytes, |built| built.file_bytes),
        image: built(package).cloned(),
    };
    Report {
        interpreter: interpreter.executable.clone(),
        version: format!("{major}.{minor}.{micro}"),
        prefix: interpreter.prefix.clone(),
        pth: installed.pth.clone(),
        python_package: place.package().to_path_buf(),
        compiled: installed.compiled,
        packages: installed.packages.iter().map(package).collect(),
        profile: installed.profile.clone(),
        failed: installed
            .packages
            .iter()
            .flat_map(|package| {
                package.report.failed.iter().chain(package.image.as_ref().and_then(|i| i.as_ref().err()))
            })
            .map(Problem::from)
            .collect(),
    }
}

fn text(report: &Report) -> String {
    let mut out = problem_lines("left out", &report.failed);
    if report.compiled > 0 {
        out.push_str(&format!("{} compiled\n", count(report.compiled as u64, "module")));
    }
    out.push_str(&table(
        ["package", "modules", "in image", ".pyc", "file", "of .pyc"],
        report.packages.iter().map(|package| {
            [
                package.path.display().to_string(),
                package.modules.to_string(),
                package.image.as_ref().map_or("-".into(), |image| image.modules.to_string()),
                size(package.pyc_bytes),
                size(package.file_bytes),
                percent(package.file_bytes, package.pyc_bytes),
            ]
        }),
    ));
    if report.packages.iter().any(|package| package.image.is_some()) {
        out.push_str(&match &report.profile {
            Some(profile) => format!("images laid out by the profile {}\n", profile.display()),
            None => {
                "images laid out without a profile of use: `pye trace` makes one, `pye install --profile` uses it\n"
                    .into()
            }
        });
    }
    out.push_str(&format!("active in every Python {} process of {}\n", report.version, report.prefix.display()));
    out
}
