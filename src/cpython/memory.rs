//! Reading the memory of live objects.

#![allow(unsafe_code)]

use pyo3::ffi::PyObject;

/// Eight bytes of `object` from `at` on.
///
/// # Safety
/// `object` is alive and has at least `at + 8` bytes; `at` is a multiple of eight.
pub(super) unsafe fn word(object: *const PyObject, at: usize) -> u64 {
    // SAFETY: as the caller promises. Objects are aligned to eight bytes at least.
    unsafe { *object.byte_add(at).cast() }
}

/// Four bytes.
///
/// # Safety
/// `object` is alive and has at least `at + 4` bytes; `at` is a multiple of four.
pub(super) unsafe fn word32(object: *const PyObject, at: usize) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { *object.byte_add(at).cast() }
}

/// `len` bytes.
///
/// # Safety
/// `object` is alive, has at least `at + len` bytes, and is not written to while the slice is in use.
pub(super) unsafe fn bytes<'a>(object: *const PyObject, at: usize, len: usize) -> &'a [u8] {
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(object.byte_add(at).cast(), len) }
}
