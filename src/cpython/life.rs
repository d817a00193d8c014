//! Which interpreter of a process may use the extension module: the main one of the first life of CPython in it. And when that ends.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

/// An interpreter has ended in this process.
static ENDED: AtomicBool = AtomicBool::new(false);
/// The end is watched for.
static WATCHED: AtomicBool = AtomicBool::new(false);

extern "C" fn end() {
    ENDED.store(true, Ordering::Relaxed);
}

/// To be called when the module is imported, with the GIL held.
///
/// # Errors
/// Why it may not be used, in words.
pub fn enter() -> Result<(), &'static str> {
    if ENDED.load(Ordering::Relaxed) {
        return Err("this process has ended a Python interpreter before: pye serves the first one only");
    }
    // SAFETY: the GIL is held while a module is imported, so there is a current interpreter; both functions only read.
    let number = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if number != 0 {
        return Err("pye does not serve sub-interpreters");
    }
    if !WATCHED.swap(true, Ordering::Relaxed) {
        // SAFETY: `end` is a function without arguments that lives as long as this library, which is never unloaded; it calls
        // nothing of CPython's, which has ended when it runs.
        if unsafe { ffi::Py_AtExit(Some(end)) } != 0 {
            return Err("no room to be told of the interpreter's end (Py_AtExit)");
        }
    }
    Ok(())
}

/// Has `end` called when the interpreter ends: when its modules are gone, before it frees interned strings.
///
/// `atexit` would be too early, for modules are loaded after its handlers have run, and not for sure: whoever starts processes by `multiprocessing` has them cleared (`atexit._clear`).
///
/// # Errors
/// No memory.
pub fn at_end(py: Python<'_>, end: impl FnOnce(Python<'_>) + Send + 'static) -> PyResult<()> {
    let told = move |(), _| {
        // SAFETY: objects are destroyed with the GIL held.
        end(unsafe { Python::assume_attached() });
    };
    let capsule = PyCapsule::new_with_value_and_destructor(py, (), c"pye at end", told)?;
    // SAFETY: the GIL is held, so there is a current interpreter; the dictionary is borrowed from it, or NULL when there is no memory for it.
    let dictionary = unsafe {
        let dictionary = ffi::PyInterpreterState_GetDict(ffi::PyInterpreterState_Get());
        Bound::from_borrowed_ptr_or_opt(py, dictionary).ok_or_else(|| PyErr::fetch(py))?
    };
    // It belongs to extension modules: no Python code sees it.
    dictionary.cast_into::<PyDict>()?.set_item(format!("pye at end {:p}", capsule.as_ptr()), capsule)
}
