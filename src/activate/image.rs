//! Gives packages images: the work is done in the interpreter that the image is for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::interpreter::Interpreter;
use super::place::Place;
use super::step::Step;
use crate::error::{Error, Result};
use crate::image::Relocate;

/// Run in the interpreter.
const SCRIPT: &str = include_str!("build_image.py");

/// The versions of CPython that objects can be laid out for: those with immortal objects.
pub const POSSIBLE: std::ops::RangeInclusive<(u8, u8)> = (3, 12)..=(3, 15);

/// What was made.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Built {
    /// Modules in the image.
    pub modules: u64,
    /// Objects.
    pub objects: u64,
    /// Modules that are not, and why.
    pub left_out: Vec<(String, String)>,
    /// Bytes of each section of objects, and how many of them the profile's modules need.
    pub sections: BTreeMap<String, (u64, u64)>,
    /// Bytes of the package now.
    pub file_bytes: u64,
}

/// Whether images can be made for an interpreter.
pub fn is_possible(interpreter: &Interpreter) -> bool {
    let (major, minor, _) = interpreter.version;
    POSSIBLE.contains(&(major, minor)) && interpreter.gil
}

/// That they can be made for an interpreter.
///
/// # Errors
/// They cannot.
pub fn check(interpreter: &Interpreter) -> Result<()> {
    if is_possible(interpreter) {
        return Ok(());
    }
    let (major, minor, micro) = interpreter.version;
    let got = format!("{} {major}.{minor}.{micro}", interpreter.implementation);
    let help = "leave the image out: the portable form serves this interpreter";
    let error = Error::unsupported("CPython 3.12 to 3.15 with the global interpreter lock for an image", got, help);
    Err(error.in_file(&interpreter.executable))
}

/// An image to be made.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The interpreter it is for.
    pub interpreter: &'a Interpreter,
    /// The Python package that makes it.
    pub place: &'a Place,
    /// The package that gets it, which is written anew.
    pub file: &'a Path,
    /// The directory that this stands for.
    pub root: &'a Path,
    /// The profile it is laid out by.
    pub profile: Option<&'a Path>,
    /// When processes relocate it.
    pub relocate: Relocate,
}

impl Job<'_> {
    /// As [`Job::build`], for a package of so many bytes of `.pyc`. None where no image is possible for the interpreter.
    pub fn build_if_possible(self, pyc_bytes: u64, progress: &(dyn Fn(Step<'_>) + Sync)) -> Option<Result<Built>> {
        is_possible(self.interpreter).then(|| {
            progress(Step::Image(self.root, pyc_bytes));
            self.build(&|bytes| progress(Step::Bytes(bytes)))
        })
    }

    /// Makes it. `progress` is told the bytes of `.pyc` of each module.
    ///
    /// # Errors
    /// No image is possible for the interpreter, it cannot be run, or the package cannot be read or written. It is as it was then.
    pub fn build(self, progress: &dyn Fn(u64)) -> Result<Built> {
        let Job { interpreter, place, file, root, profile, relocate } = self;
        check(interpreter)?;
        let io = |doing| move |e| Error::io(doing, e).in_file(&interpreter.executable);
        let mut child = Command::new(&interpreter.executable)
            .args(["-I", "-S", "-B", "-c", SCRIPT])
            .args([place.directory(), file, root])
            .arg(profile.unwrap_or(Path::new("")))
            .arg(relocate.name())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("cannot run the interpreter"))?;
        let mut report = None;
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines() {
                let line = line.map_err(io("cannot read from the interpreter"))?;
                match line.parse() {
                    Ok(bytes) => progress(bytes),
                    Err(_) => report = serde_json::from_str(&line).ok(),
                }
            }
        }
        // A traceback of a few lines at most: it fits the pipe while nobody reads.
        let mut text = String::new();
        if let Some(mut err) = child.stderr.take() {
            err.read_to_string(&mut text).map_err(io("cannot read from the interpreter"))?;
        }
        let status = child.wait().map_err(io("cannot wait for the interpreter"))?;
        match report {
            Some(report) if status.success() => Ok(report),
            _ => {
                let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing said").to_owned();
                Err(Error::malformed("an image", format!("{status}: {last}")).in_file(file))
            }
        }
    }
}
