//! `pye.dump` and `pye.load`.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::cpython::cached;
use crate::cpython::dump::{self, Failed};
use crate::cpython::life;
use crate::cpython::snapshot::Objects;
use crate::error::{Error, ErrorKind};
use crate::fsys;
use crate::image::{Build, random_base};

create_exception!(pye, LoadError, PyOSError, "A cache cannot be used: the message says why. It can be dumped again.");

/// What an error of the operating system is made of: its number, what was done, the file. None for other errors.
fn os_arguments(error: &Error) -> Option<(i32, String, OsString)> {
    let ErrorKind::Io { error: os, .. } = error.kind() else { return None };
    let number = os.raw_os_error()?;
    // The number is told by Python.
    let text = error.kind().to_string().replace(&format!(" (os error {number})"), "");
    Some((number, text, error.path()?.as_os_str().to_owned()))
}

fn not_written(error: &Error) -> PyErr {
    match error.kind() {
        // That of its kind, as FileNotFoundError.
        ErrorKind::Io { error: os, .. } => std::io::Error::new(os.kind(), error.to_string()).into(),
        _ => PyOSError::new_err(error.to_string()),
    }
}

/// The parts of an interpreter that caches depend on: objects, `sys.hexversion`, the hash of a sample.
fn interpreter(py: Python<'_>) -> PyResult<(&'static Objects, u32, [u8; 16])> {
    let version = py.version_info();
    if (version.major, version.minor) < (3, 12) {
        let message =
            format!("caches need the immortal objects of CPython 3.12; this is {}.{}", version.major, version.minor);
        return Err(PyRuntimeError::new_err(message));
    }
    let objects = Objects::of_process(py)?;
    Ok((objects, py.import("sys")?.getattr("hexversion")?.extract()?, cached::sample(py, objects)?))
}

/// Saves `obj` and all it leads to in a file that `load` maps.
#[pyfunction]
#[pyo3(name = "dump", signature = (obj, path))]
pub(super) fn dump_cache(py: Python<'_>, obj: &Bound<'_, PyAny>, path: PathBuf) -> PyResult<()> {
    let (objects, hexversion, sample) = interpreter(py)?;
    let build = Build {
        base: random_base(RandomState::new().build_hasher().finish()),
        interpreter: objects.interpreter.base,
        hexversion,
        build_id: objects.interpreter.build_id.clone(),
    };
    let mut failed = None;
    let written = fsys::write_atomic(&path, None, |file| {
        dump::dump(obj, file, objects, &build, sample).map(drop).map_err(|reason| match reason {
            Failed::Write(error) => error,
            other => {
                failed = Some(other);
                // Takes the file away; what is told is `failed`.
                Error::malformed("objects that can be in a cache", "others")
            }
        })
    });
    match failed {
        Some(Failed::Type(way, name)) => {
            let what = if way.is_empty() { "the object".to_owned() } else { format!("item {way}") };
            let kinds = "a cache holds exact tuple, str, bytes, int, float, complex, bool, None and Ellipsis";
            Err(PyTypeError::new_err(format!("{what} is of type {name}: {kinds}")))
        }
        Some(Failed::Value(way, reason)) => {
            let what = if way.is_empty() { "the object".to_owned() } else { format!("item {way}") };
            Err(PyValueError::new_err(format!("{what}: {reason}")))
        }
        Some(Failed::Write(error)) => Err(not_written(&error)),
        None => written.map_err(|error| not_written(&error)),
    }
}

/// Maps what `dump` has saved, and returns it.
#[pyfunction]
#[pyo3(name = "load", signature = (path, *, verify = false))]
pub(super) fn load_cache<'py>(py: Python<'py>, path: PathBuf, verify: bool) -> PyResult<Bound<'py, PyAny>> {
    let (objects, hexversion, sample) = interpreter(py)?;
    let loaded =
        cached::load(py, &path, verify, objects, hexversion, sample).map_err(|error| match os_arguments(&error) {
            Some(arguments) => LoadError::new_err(arguments),
            None => LoadError::new_err(error.to_string()),
        })?;
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if objects.frees_interned && !WATCHED.swap(true, Ordering::Relaxed) {
        life::at_end(py, move |_| cached::before_finalization(objects))?;
    }
    Ok(loaded)
}
