//! Code that runs once: ordinary objects, made like the templates of an image, which the interpreter frees when the code has run.

#![allow(unsafe_code)]

use std::collections::HashMap;

use pyo3::ffi;
use pyo3::prelude::*;

use super::space::Space;
use crate::cpython::code::{CONSTANTS, SIZE};
use crate::cpython::copy::BYTES_DATA;
use crate::cpython::memory::word;
use crate::image::Area;
use crate::image::shape::Slot;

/// Objects that were made for this process, by the address of the slot they are for.
pub(super) type Made<'py> = HashMap<u64, Bound<'py, PyAny>>;

/// A new tuple. None: one of its items is none, or there is no memory.
fn tuple<'py>(
    py: Python<'py>,
    items: impl ExactSizeIterator<Item = Option<Bound<'py, PyAny>>>,
) -> Option<Bound<'py, PyAny>> {
    // SAFETY: a new tuple, which nobody else knows before this function returns; its slots are empty, which it may be freed with.
    let tuple = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyTuple_New(items.len() as ffi::Py_ssize_t)) }?;
    for (i, item) in items.enumerate() {
        // SAFETY: steals the reference; cannot fail for a new tuple and an index within it.
        unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), i as ffi::Py_ssize_t, item?.into_ptr()) };
    }
    Some(tuple)
}

impl Space {
    /// An ordinary code object like `template`, with such copies of the class bodies in it. None: there is no memory.
    ///
    /// # Safety
    /// `template` is one, on pages that are ready, and `made` has what the slots of its module are to hold.
    pub(super) unsafe fn copy<'py>(
        &self,
        py: Python<'py>,
        template: *mut ffi::PyObject,
        made: &Made<'py>,
    ) -> Option<Bound<'py, PyAny>> {
        let layout = self.objects.code;
        // SAFETY: a code object in the image; its size is as the layout says, and its objects are in the image or the interpreter's.
        unsafe {
            let constants = self.constants(py, self.here(word(template, CONSTANTS)), made)?;
            let units = word(template, SIZE) as usize;
            let bytes = (layout.size + 2 * units).next_multiple_of(8);
            let memory = ffi::PyObject_Malloc(bytes);
            if memory.is_null() {
                return None;
            }
            let kind = self.objects.code_type as *mut ffi::PyTypeObject;
            let code = ffi::PyObject_InitVar(memory.cast(), kind, units as ffi::Py_ssize_t).cast::<ffi::PyObject>();
            let head = SIZE + 8;
            let rest = layout.size + 2 * units - head;
            std::ptr::copy_nonoverlapping(template.byte_add(head).cast::<u8>(), code.byte_add(head).cast::<u8>(), rest);
            *code.byte_add(CONSTANTS).cast() = constants.into_ptr();
            for Slot { at, .. } in layout.objects.into_iter().filter(|slot| slot.at != CONSTANTS) {
                // Left behind when there is no memory: with objects of the template's the code must not be freed.
                let part = self.part(py, self.here(word(template, at)))?;
                *code.byte_add(at).cast() = part.into_ptr();
            }
            Some(Bound::from_owned_ptr(py, code))
        }
    }

    /// The constants for a copy: the tuple itself, unless it has templates or slots to fill.
    ///
    /// # Safety
    /// As [`Self::copy`], for the constants of a template.
    unsafe fn constants<'py>(
        &self,
        py: Python<'py>,
        constants: *mut ffi::PyObject,
        made: &Made<'py>,
    ) -> Option<Bound<'py, PyAny>> {
        let (once, first) = (self.area(Area::Once), self.objects.items);
        // SAFETY: a tuple in the image, with as many items as it says.
        let (size, item) = unsafe { (word(constants, SIZE) as usize, |i: usize| word(constants, first + 8 * i)) };
        // Tuples of constants hold no other part of a template.
        let template = |item: u64| once.contains(&item);
        if self.once_in_place && !(0..size).any(|i| item(i) == 0 || template(item(i))) {
            // SAFETY: that tuple, which lives forever.
            return Some(unsafe { Bound::from_borrowed_ptr(py, constants) });
        }
        let items = (0..size).map(|i| match item(i) {
            0 => made.get(&(constants as u64 + (first + 8 * i) as u64)).cloned(),
            // SAFETY: a template of the same module.
            code if template(code) => unsafe { self.copy(py, code as *mut ffi::PyObject, made) },
            // SAFETY: an object of the image or the interpreter's, which lives forever.
            other => Some(unsafe { Bound::from_borrowed_ptr(py, self.here(other)) }),
        });
        tuple(py, items)
    }

    /// What a copy of a template refers to: the very object, or, of what is the template's own and cannot be used in place, a copy.
    ///
    /// # Safety
    /// An object that a template refers to, but not its constants.
    unsafe fn part<'py>(&self, py: Python<'py>, object: *mut ffi::PyObject) -> Option<Bound<'py, PyAny>> {
        // SAFETY: in the image, on a page that is ready, or the interpreter's own. In the section of templates there are, besides these, tuples and byte strings only; their
        // items and bytes are as many as they say.
        unsafe {
            if self.once_in_place || !self.area(Area::Once).contains(&(object as u64)) {
                return Some(Bound::from_borrowed_ptr(py, object));
            }
            let size = word(object, SIZE) as usize;
            if self.type_of(object) == (&raw const ffi::PyBytes_Type) as u64 {
                let data = object.byte_add(BYTES_DATA).cast();
                return Bound::from_owned_ptr_or_opt(py, ffi::PyBytes_FromStringAndSize(data, size as ffi::Py_ssize_t));
            }
            let item = |i| Bound::from_borrowed_ptr(py, self.here(word(object, self.objects.items + 8 * i)));
            tuple(py, (0..size).map(|i| Some(item(i))))
        }
    }
}
