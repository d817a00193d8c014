//! Why pye is active in an interpreter, or why not and what to do about it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde::{Deserialize, Serialize};

use super::addresses::Addresses;
use super::command::{self, PythonLine};
use super::environment::PACKAGES;
use super::image::POSSIBLE;
use super::interpreter::LOADABLE;
use crate::error::{Error, Result};
use crate::image::{MAPPED, Relocate};
use crate::runtime;
use crate::runtime::trust::Identity;

/// Run in the interpreter in place of the program.
const EXAMINER: &str = concat!(include_str!("runtime.py"), include_str!("doctor.py"));

/// What an interpreter says of itself and of pye in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Examination {
    /// `sys.executable`.
    pub executable: String,
    /// `cpython` but for others.
    pub implementation: String,
    /// Major, minor, micro.
    pub version: (u8, u8, u8),
    /// `sys.version`.
    pub build: String,
    /// Whether it is a `--with-pydebug` build.
    pub debug: bool,
    /// Whether the build has a global interpreter lock.
    pub gil: bool,
    /// `sys.prefix`.
    pub prefix: String,
    /// The file that has the interpreter's own objects.
    pub runtime: Option<PathBuf>,
    /// Where its first byte is mapped.
    pub runtime_start: Option<u64>,
    /// `-S`: no `.pth` and no `sitecustomize` is executed.
    pub no_site: bool,
    /// `-E` or `-I`: `PYTHONPATH` is not looked at.
    pub ignore_environment: bool,
    /// `PYE=0`.
    pub switched_off: bool,
    /// `PYE_PACKAGES`.
    pub environment: Option<String>,
    /// The `.pth` of an installation, on `sys.path`.
    pub pth: Option<String>,
    /// Whether the installation has a manifest.
    pub manifest: bool,
    /// What `pye.status()` says, where the package has been imported at the start.
    pub status: Option<Status>,
    /// Why it says nothing.
    pub error: Option<String>,
}

/// `pye.status()`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// The directory of the Python package.
    pub package: String,
    /// Why this interpreter cannot be served.
    pub unsuitable: Option<String>,
    /// One for each of `.pth` and environment that asked.
    pub activations: Vec<Activation>,
}

/// Packages asked for together.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Activation {
    /// Who asks.
    pub origin: String,
    /// `active`, `off` or `waiting`.
    pub state: String,
    /// Why it is not active.
    pub reason: Option<String>,
    /// Root and file of each.
    pub packages: Vec<(Option<String>, String)>,
    /// Files that cannot be used, and why.
    pub refused: Vec<(String, String)>,
    /// What is used.
    pub loaded: Option<Loaded>,
}

/// What the finder has done.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Loaded {
    /// One for each package that is open.
    pub stores: Vec<Store>,
    /// Figures of the whole process.
    #[serde(flatten)]
    pub figures: BTreeMap<String, serde_json::Value>,
}

/// A package, file or directory of files in use.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Store {
    /// The directory it stands for.
    pub root: String,
    /// The file.
    pub path: String,
    /// Modules in it.
    pub modules: u64,
    /// Modules loaded from it.
    pub loaded: u64,
    /// Directories that have changed since they were linked.
    pub directories_changed: u64,
    /// Modules left to the stock import, by reason.
    pub fallbacks: BTreeMap<String, u64>,
    /// Its image, if it has one.
    pub image: Option<Image>,
    /// Other figures.
    #[serde(flatten)]
    pub figures: BTreeMap<String, serde_json::Value>,
}

impl Store {
    /// How many directories have changed since they were linked, whether the process came to them or not.
    fn changed_directories(&self) -> Result<u64> {
        let mut store = runtime::store::Store::open(Some(&self.root), Path::new(&self.path), Identity::of_process()?)?;
        Ok(store.changed_directories())
    }
}

/// What a process does with the image of a package.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Image {
    /// [`MAPPED`], or why it is not used.
    pub state: String,
    /// Where the package's first byte would be mapped.
    pub base: Option<u64>,
    /// `none`, or when the image is made to fit the interpreter: [`Relocate::name`].
    pub relocation: String,
    /// Whether it is laid out by a profile of use.
    pub profiled: bool,
    /// Modules in it.
    pub modules: u64,
    /// Modules taken from it.
    pub loaded: u64,
}

impl Image {
    /// Whether it is used.
    pub fn is_used(&self) -> bool {
        self.state == MAPPED
    }

    /// What its relocation costs, in a sentence; nothing where it is not used.
    pub fn cost(&self) -> Option<&'static str> {
        if !self.is_used() {
            return None;
        }
        Some(match Relocate::by_name(&self.relocation) {
            None => "the interpreter stands where it was linked for: pages are shared by all processes of the machine",
            Some(Relocate::AtFork) if !self.profiled => {
                "the interpreter is loaded at another address in each process, and no profile says what to make ready before a fork: each process \
                 copies what it imports, which can take more memory than it saves. `pye trace` and `pye install --profile` let the children of one \
                 parent share it, `pye pin` all processes"
            }
            Some(Relocate::AtFork) => {
                "the interpreter is loaded at another address in each process: the profile's pages are copied right before the first fork, \
                 and shared only among the children of one parent; others are copied when a module is first imported"
            }
            Some(Relocate::Lazy) => {
                "the interpreter is loaded at another address in each process: pages are copied when a module is first imported, and \
                 shared only with children forked after that"
            }
            Some(Relocate::Never) => "the image is used only where the interpreter stands where it was linked for",
        })
    }
}

/// Something that keeps pye from being active, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is the matter.
    pub reason: String,
    /// What to do about it.
    pub help: String,
}

/// Runs an interpreter, `words` being its name and arguments, and examines it: at its start, or when the program that the arguments
/// name has ended. Input, output and environment are its own.
///
/// # Errors
/// It cannot be run, or left no report.
pub fn examine(words: &[OsString]) -> Result<(Examination, ExitStatus)> {
    let Some((interpreter, arguments)) = words.split_first() else {
        return Err(Error::malformed("an interpreter to examine", "nothing"));
    };
    let shown = Path::new(interpreter);
    if !command::is_python(shown) {
        return Err(Error::unsupported(
            "a Python interpreter and its arguments",
            format!("{}", shown.display()),
            "name the interpreter that the program runs under: pye doctor -- python3 -m PROGRAM",
        ));
    }
    let line = PythonLine::of(arguments);
    let report = tempfile::NamedTempFile::new().map_err(|e| Error::io("cannot make a file for the report", e))?;
    let status = Command::new(interpreter)
        .args(&line.options)
        .args(["-c", EXAMINER])
        .arg(report.path())
        .args(&line.program)
        .status()
        .map_err(|e| Error::io("cannot run the interpreter", e).in_file(shown))?;
    let bytes = std::fs::read(report.path()).map_err(|e| Error::io("cannot read", e).in_file(report.path()))?;
    if bytes.is_empty() {
        return Err(Error::unsupported(
            "a report of the interpreter at its end",
            format!("none ({status})"),
            "a program that ends by a signal or by os._exit leaves none: examine the interpreter without it",
        )
        .in_file(shown));
    }
    let examination = serde_json::from_slice(&bytes)
        .map_err(|e| Error::malformed("what this version of pye reports", e.to_string()).in_file(shown))?;
    Ok((examination, status))
}

impl Examination {
    /// The version as people write it.
    pub fn number(&self) -> String {
        let (major, minor, micro) = self.version;
        format!("{major}.{minor}.{micro}")
    }

    /// Whether the loader knows such interpreters.
    pub fn servable(&self) -> bool {
        self.implementation == "cpython" && LOADABLE.contains(&(self.version.0, self.version.1)) && self.gil
    }

    /// Whether images can be used: shared code objects.
    pub fn has_image_form(&self) -> bool {
        self.servable() && POSSIBLE.contains(&(self.version.0, self.version.1))
    }

    /// Where the interpreter's own objects are; nothing where no image could be used, or nothing is known.
    pub fn addresses(&self) -> Option<Addresses> {
        let (runtime, start) = (self.runtime.as_deref()?, self.runtime_start?);
        self.has_image_form().then(|| Addresses::of(runtime, start).ok()).flatten()
    }

    /// Whether modules are imported from a package.
    pub fn active(&self) -> bool {
        self.stores().next().is_some()
    }

    /// The packages in use.
    pub fn stores(&self) -> impl Iterator<Item = &Store> {
        let activations = self.status.iter().flat_map(|status| &status.activations);
        activations
            .filter(|each| each.state == "active")
            .flat_map(|each| &each.loaded)
            .flat_map(|loaded| &loaded.stores)
    }

    /// What is the matter, the cause first; `addresses` are those of [`Self::addresses`].
    pub fn findings(&self, addresses: Option<&Addresses>) -> Vec<Finding> {
        let finding = |reason: String, help: &str| Finding { reason, help: help.to_string() };
        let again = format!("run `pye install --venv {}` again", self.prefix);
        if self.switched_off {
            return vec![finding("PYE=0 is set".into(), "unset PYE")];
        }
        if self.no_site {
            let reason =
                "the interpreter was started with -S, so that it executes neither .pth files nor sitecustomize";
            return vec![finding(reason.into(), "leave -S out")];
        }
        let help = "use CPython 3.9 to 3.15 with the global interpreter lock";
        if !self.servable() {
            let build = if self.gil { "" } else { ", a free-threaded build" };
            return vec![finding(format!("{} {}{build} cannot be served", self.implementation, self.number()), help)];
        }
        if let Some(error) = &self.error {
            return vec![finding(format!("pye.status() failed: {error}"), &again)];
        }
        let Some(status) = &self.status else { return vec![self.not_imported(&again)] };
        if let Some(unsuitable) = &status.unsuitable {
            return vec![finding(format!("this interpreter is {unsuitable}"), help)];
        }
        let mut findings = Vec::new();
        for activation in &status.activations {
            let help = if activation.origin == "pye install" { &again } else { "see the reason, then run it again" };
            if let Some(reason) = &activation.reason {
                findings.push(finding(format!("{}: {reason}", activation.origin), help));
            }
            for (path, reason) in &activation.refused {
                // Reasons name their file where they are about one.
                let named = if reason.contains(path.as_str()) { reason.clone() } else { format!("{path}: {reason}") };
                findings.push(finding(named, help));
            }
        }
        if let Some(Addresses::Pinned { outdated, .. }) = addresses {
            let help = format!("run `pye pin --undo`, `pye pin` and `pye install`, each with --venv {}", self.prefix);
            findings.extend(outdated.iter().map(|path| {
                finding(
                    format!("{} has changed since it was pinned: this is a copy of what it was", path.display()),
                    &help,
                )
            }));
        }
        let installed = status.activations.iter().any(|each| each.origin == "pye install");
        for store in self.stores().filter(|_| installed) {
            if let Ok(changed @ 1..) = store.changed_directories() {
                let directories = if changed == 1 { "directory has" } else { "directories have" };
                let reason = format!(
                    "{changed} {directories} changed below {} since it was linked: what is there is imported as ever",
                    store.root
                );
                findings.push(finding(reason, &again));
            }
        }
        if findings.is_empty() && !self.active() {
            findings.push(finding("no package was opened".into(), &again));
        }
        findings
    }

    /// Why nothing of pye was imported at the start.
    fn not_imported(&self, again: &str) -> Finding {
        let (reason, help) = if let Some(pth) = &self.pth {
            (format!("{pth} could not import pye: the Python package has gone from where it was"), again.to_string())
        } else if self.ignore_environment && std::env::var_os(PACKAGES).is_some() {
            let reason = "the interpreter was started with -I or -E, so that it does not see what `pye run` sets";
            (reason.into(), "leave them out, or use `pye install`, which works with both".into())
        } else if self.environment.is_some() {
            let reason = "PYE_PACKAGES is set, but the boot directory of pye is not on PYTHONPATH";
            (reason.into(), "start the program with `pye run`".into())
        } else if self.manifest {
            (format!("pye.pth is gone from the site-packages of {}", self.prefix), again.to_string())
        } else {
            let reason = "pye is not installed for this interpreter, and the program was not started with `pye run`";
            (reason.into(), format!("run `pye install --venv {}`, or `pye run -- python …`", self.prefix))
        };
        Finding { reason, help }
    }
}

/// The interpreter to examine when none is named: the one that runs this command line, else `python3`.
pub fn default_interpreter(own: Option<&Path>) -> PathBuf {
    own.filter(|path| !path.as_os_str().is_empty()).map_or_else(|| "python3".into(), Path::to_path_buf)
}
