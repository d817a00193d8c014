//! The interpreter's own unmarshalling, from memory that is not an object's.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

/// `PyBUF_READ` of `Include/pybuffer.h`: a view that cannot be written through.
const PYBUF_READ: c_int = 0x100;

/// Calls `loads` (`marshal.loads`) on `bytes`, without a copy of them.
///
/// # Errors
/// Those of `marshal.loads`; or somebody got hold of the view of `bytes` meanwhile.
pub fn loads<'py>(loads: &Bound<'py, PyAny>, bytes: &mut Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
    let py = loads.py();
    // SAFETY: the memory is valid for reads of `len` bytes for as long as `bytes` is neither freed nor written, which
    // the exclusive borrow lasting to the end of this function guarantees; below, the view is released or the memory leaked
    // before it ends. PyBUF_READ: it is not written.
    let view = unsafe {
        let view = ffi::PyMemoryView_FromMemory(
            bytes.as_mut_ptr().cast::<c_char>(),
            bytes.len() as ffi::Py_ssize_t,
            PYBUF_READ,
        );
        Bound::from_owned_ptr_or_err(py, view)?
    };
    let loaded = loads.call1((&view,));
    // Unmarshalling can run other code (a collection calls finalisers), which could find the view. A released one gives
    // nobody access; one that cannot be released has been exported again.
    if let Err(error) = view.call_method0(intern!(py, "release")) {
        std::mem::take(bytes).leak();
        let message = format!("the view of the bytes to unmarshal cannot be released: {error}");
        return Err(PyRuntimeError::new_err(message));
    }
    loaded
}
