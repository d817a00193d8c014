//! A [cache](crate::cache) in use: mapped at its address, relocated where the interpreter stands elsewhere than when it was written, for good.
//!
//! What makes this sound is what does so for an image (`super::live`), but for one thing: that objects are as they were written is known only where it is asked for, since to
//! hold 200 MB against their CRC32 takes longer than opening them may; where they are relocated they always are. Head and tables are always checked, and who may have written the file.

#![allow(unsafe_code)]

use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyComplex};

use super::memory::word;
use super::pages::{self, Pages};
use super::snapshot::{Objects, Snapshot};
use crate::cache::Root;
use crate::cache::read::Cache;
use crate::error::{Error, Result};
use crate::image::shape::TYPE;
use crate::image::{ALIGN, write};
use crate::runtime::trust::{self, Identity};

/// A cache in use.
struct Loaded {
    /// Its head's bytes, which no other has.
    identity: Vec<u8>,
    /// Address of what to return.
    root: u64,
    /// Addresses of its objects.
    extent: Range<u64>,
}

/// Those of this process.
static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// Hash of a sample of objects of all kinds, as they are laid out here.
///
/// # Errors
/// It cannot be made.
pub fn sample(py: Python<'_>, objects: &Objects) -> PyResult<[u8; 16]> {
    let text = ("ASCII text", "z\u{e9}", "\u{16f}z", "\u{1f40d}");
    let numbers = (1.5, -7, 12_345_678_901_234_567_890_u64, PyComplex::from_doubles(py, 0.0, 2.0), 1);
    let sample = (text, numbers, PyBytes::new(py, b"bytes"), true, py.None()).into_pyobject(py)?;
    let mut snapshot = Snapshot::new(py, objects, Vec::new())?;
    snapshot.value(&sample).map_err(PyRuntimeError::new_err)?;
    Ok(write::digest(&snapshot.graph))
}

/// Maps the cache at `path`, unless it is already, and returns what was saved. With `verify`, all of it is held against its CRC32 first.
///
/// # Errors
/// Why it cannot be used.
pub fn load<'py>(
    py: Python<'py>,
    path: &Path,
    verify: bool,
    objects: &Objects,
    hexversion: u32,
    sample: [u8; 16],
) -> Result<Bound<'py, PyAny>> {
    let address = address(path, verify, objects, hexversion, sample).map_err(|e| e.in_file(path))?;
    // SAFETY: the root of a cache that is mapped for good, or a static object of the interpreter, which is the build it was written for; the GIL is held.
    Ok(unsafe { Bound::from_borrowed_ptr(py, address as *mut ffi::PyObject) })
}

fn address(path: &Path, verify: bool, objects: &Objects, hexversion: u32, sample: [u8; 16]) -> Result<u64> {
    let (file, map) = trust::open(path, Identity::of_process()?)?;
    let cache = Cache::open(&map)?;
    if verify {
        cache.verify()?;
    }
    let refuse = |expected: String, got: String| Error::unsupported(expected, got, "dump the objects again");
    // Nothing in here runs Python code.
    let mut loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(there) = loaded.iter().find(|loaded| loaded.identity == cache.identity) {
        return Ok(there.root);
    }
    let head = &cache.head;
    let delta = pages::delta(&head.build, objects, hexversion)
        .map_err(|reason| refuse("a cache of this interpreter".into(), reason))?;
    if head.sample != sample {
        return Err(refuse("objects laid out as here".into(), "others".into()));
    }
    let root = match head.root {
        Root::Object(at) => head.build.base + at,
        Root::Interpreter(at) => {
            let address = objects.interpreter.base.wrapping_add(at);
            if !objects.interpreter.holds(address) {
                return Err(Error::malformed("an object of the interpreter", format!("{at:#x}")));
            }
            address
        }
    };
    let extent = cache.extent();
    if !extent.is_empty() {
        // All before anything is mapped: a process that is refused is as it was. To relocate a page costs ten times what it takes to check it.
        if delta != 0 && !verify {
            cache.verify()?;
        }
        let rows = if delta == 0 { 0 } else { head.pages };
        let bits = (0..rows).map(|page| cache.bits(page)).collect::<Result<Vec<_>>>()?;
        let pages = Pages::map(&file, head.build.base, extent.clone(), delta)?;
        if delta != 0 {
            pages.populate(0..head.pages);
        }
        for (page, bits) in (0..).zip(bits) {
            pages.relocate(page, bits);
        }
    }
    let extent = head.build.base + extent.start..head.build.base + extent.end;
    loaded.push(Loaded { identity: cache.identity.to_vec(), root, extent });
    Ok(root)
}

/// To be called when the interpreter ends (`life::at_end`), with the GIL held, where it would free strings that were interned.
pub fn before_finalization(objects: &Objects) {
    let loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let text = (&raw const ffi::PyUnicode_Type) as u64;
    for extent in loaded.iter().map(|loaded| loaded.extent.clone()) {
        let mut at = extent.start;
        while at < extent.end {
            let object = at as *mut ffi::PyObject;
            // SAFETY: objects stand one after the other, each at a multiple of 16 bytes; before a tuple, and behind the last object, are as many zeros.
            let size = unsafe {
                let kind = word(object, TYPE);
                if kind == text {
                    objects.keep(object);
                }
                if kind == 0 { None } else { objects.size(object) }
            };
            at = (at + size.unwrap_or(ALIGN) as u64).next_multiple_of(ALIGN as u64);
        }
    }
}
