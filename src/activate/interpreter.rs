//! What an interpreter is, by its own account.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::marshal::version::Version;

/// Run in the interpreter; prints one line of JSON.
const PROBE: &str = concat!(include_str!("runtime.py"), include_str!("probe.py"));

/// The versions of CPython that the loader serves.
pub const LOADABLE: std::ops::RangeInclusive<(u8, u8)> = (3, 9)..=(3, 15);

/// A Python interpreter.
#[derive(Clone, Debug, Deserialize)]
pub struct Interpreter {
    /// `sys.executable`.
    #[serde(deserialize_with = "path")]
    pub executable: PathBuf,
    /// `CPython` but for others.
    pub implementation: String,
    /// Major, minor, micro.
    pub version: (u8, u8, u8),
    /// `sys.version`: tells builds of one version apart.
    pub build: String,
    /// The part of a `.pyc`'s name in `__pycache__` that names the interpreter.
    pub cache_tag: Option<String>,
    /// Number at the head of its `.pyc` files.
    pub magic: u16,
    /// Whether it is a `--with-pydebug` build.
    pub debug: bool,
    /// Whether the build has a global interpreter lock.
    pub gil: bool,
    /// `sys.prefix`.
    #[serde(deserialize_with = "path")]
    pub prefix: PathBuf,
    /// Whether [`Interpreter::prefix`] is that of a virtual environment.
    pub virtual_environment: bool,
    /// Whether PEP 668 reserves it for a package manager.
    pub externally_managed: bool,
    /// The directories of the standard library, as on `sys.path`.
    #[serde(deserialize_with = "paths")]
    pub libraries: Vec<PathBuf>,
    /// The directories that distributions are installed to, as on `sys.path`.
    #[serde(deserialize_with = "paths")]
    pub sites: Vec<PathBuf>,
    /// Where pip would install to.
    #[serde(deserialize_with = "path")]
    pub site_packages: PathBuf,
    /// The directory of the Python package `pye` that it would import.
    #[serde(deserialize_with = "optional_path")]
    pub package: Option<PathBuf>,
    /// The file that runs: `sys.executable` may be a link to it.
    #[serde(deserialize_with = "optional_path")]
    pub program: Option<PathBuf>,
    /// The file that has the interpreter's own objects: the program, or `libpython`.
    #[serde(deserialize_with = "optional_path")]
    pub runtime: Option<PathBuf>,
    /// Where the first byte of that file was mapped.
    pub runtime_start: Option<u64>,
}

impl Interpreter {
    /// Asks the interpreter at `executable`. Nothing of pye is active while it answers.
    ///
    /// # Errors
    /// It cannot be run, fails, or is no Python.
    pub fn ask(executable: &Path) -> Result<Interpreter> {
        let output = Command::new(executable)
            .args(["-B", "-c", PROBE])
            .env(super::environment::SWITCH, "0")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| Error::io("cannot run the interpreter", e).in_file(executable))?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last = |text: &str| text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").to_string();
        // A program that is no Python may repeat all of the script.
        let short = |text: String| text.chars().take(200).collect::<String>();
        if !output.status.success() {
            return Err(Error::unsupported(
                "a Python interpreter that runs",
                format!("{}: {}", output.status, short(last(&err))),
                "run it by hand to see what is wrong with it",
            )
            .in_file(executable));
        }
        serde_json::from_str(&last(&out)).map_err(|e| {
            Error::malformed("an interpreter's account of itself", format!("{:?} ({e})", short(last(&out))))
                .in_file(executable)
        })
    }

    /// That the loader can serve it.
    ///
    /// # Errors
    /// Another implementation, version or build: the error says which.
    pub fn check(&self) -> Result<()> {
        let (major, minor, micro) = self.version;
        let name = format!("{} {major}.{minor}.{micro}", self.implementation);
        let refuse = |got: String| {
            Err(Error::unsupported(
                "CPython 3.9 to 3.15 with the global interpreter lock",
                got,
                "choose another interpreter, or the virtual environment of one",
            )
            .in_file(&self.executable))
        };
        if self.implementation != "CPython" || !LOADABLE.contains(&(major, minor)) {
            return refuse(name);
        }
        if !self.gil {
            return refuse(format!("{name} built without it (free-threaded)"));
        }
        let expected = Version::by_number(major, minor).map(|v| v.magic);
        if expected != Some(self.magic) {
            return refuse(format!("{name} whose .pyc files have the magic number {}", self.magic));
        }
        Ok(())
    }

    /// The interpreter of the virtual environment, or of the prefix, at `prefix`.
    ///
    /// # Errors
    /// There is none.
    pub fn of_prefix(prefix: &Path) -> Result<PathBuf> {
        ["bin/python", "bin/python3"].into_iter().map(|name| prefix.join(name)).find(|path| path.exists()).ok_or_else(
            || {
                Error::unsupported(
                    "a virtual environment, with an interpreter at bin/python",
                    "none",
                    "name the directory that holds pyvenv.cfg, or make one: python3 -m venv DIRECTORY",
                )
                .in_file(prefix)
            },
        )
    }
}

/// A path of the account: one character a byte.
fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    String::deserialize(deserializer).map(from_latin1)
}

fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    Ok(Vec::<String>::deserialize(deserializer)?.into_iter().map(from_latin1).collect())
}

fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(from_latin1))
}

fn from_latin1(text: String) -> PathBuf {
    OsString::from_vec(text.chars().map(|c| c as u32 as u8).collect()).into()
}
