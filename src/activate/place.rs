//! Where the Python package `pye` lies: what runs in the interpreter.

use std::path::{Path, PathBuf};

use super::interpreter::Interpreter;
use crate::error::{Error, Result};

/// The extension module, as wheels and `python/stage` lay it out.
const EXTENSION: &str = "_native.abi3.so";

/// The directory within the package that goes in front of `PYTHONPATH`.
const BOOT: &str = "boot";

/// The directory of the Python package `pye`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(PathBuf);

impl Place {
    /// The package at `directory`, when it is whole.
    fn at(directory: &Path) -> Option<Place> {
        let whole = [EXTENSION, "__init__.py", "_finder.py"].iter().all(|name| directory.join(name).is_file());
        whole.then(|| Place(directory.to_path_buf()))
    }

    /// The first whole package of: the one that `interpreter` would import, the running program's own, and the one that `python3`
    /// of `PATH` would import.
    ///
    /// # Errors
    /// There is none; says how to get it.
    pub fn find(interpreter: Option<&Interpreter>, own: Option<&Path>) -> Result<Place> {
        let theirs = interpreter.and_then(|interpreter| interpreter.package.as_deref()).and_then(Place::at);
        let found = theirs.or_else(|| own.and_then(Place::at)).or_else(|| {
            let python = Interpreter::ask(Path::new("python3")).ok()?;
            Place::at(python.package.as_deref()?)
        });
        found.ok_or_else(|| {
            Error::unsupported(
                "the Python package pye, which does the work inside the interpreter",
                match interpreter {
                    Some(interpreter) => format!("none in {}", interpreter.executable.display()),
                    None => "none".into(),
                },
                "install it with `pip install` from pye's source directory or wheel, in that environment or in the one of \
                 python3; `cargo install` gives the command alone",
            )
        })
    }

    /// The package's directory.
    pub fn package(&self) -> &Path {
        &self.0
    }

    /// The directory it is imported from.
    pub fn directory(&self) -> &Path {
        crate::fsys::parent(&self.0)
    }

    /// The directory whose `sitecustomize.py` activates what the environment names.
    pub fn boot(&self) -> PathBuf {
        self.0.join(BOOT)
    }
}
