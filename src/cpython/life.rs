//! Which interpreter of a process may use the extension module: the main one of the first life of CPython in it.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;

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
