//! The names of an image: interned where that is wanted, hashed before a fork, kept from being freed at the interpreter's end.

#![allow(unsafe_code)]

use std::collections::HashSet;

use pyo3::ffi;

use super::space::Space;
use crate::cpython::code::SIZE;
use crate::cpython::copy::text_size;
use crate::cpython::memory::word;
use crate::image::shape::text;
use crate::image::{ALIGN, Area, PAGE};

/// What names are to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The profile's, of modules that are still to be imported, are interned in a parent before its first fork, for it writes their pages in any case, to give them their hashes.
    /// Where pages are relocated, what refers to them is made to refer to what was interned before. Others are left.
    AtFork,
    /// Left as they are: equal to what is interned, not the same.
    Leave,
    /// Interned as each module is handed out, and what refers to them is made to refer to what was interned before.
    Intern,
}

impl Space {
    /// Interns the names of the module whose code is at `root`, and has its tuples and code refer to what was interned before.
    ///
    /// Its pages must be ready.
    pub(super) fn intern_module(&self, root: *mut ffi::PyObject) {
        let inside = self.area(Area::Code).start..self.area(Area::Once).end;
        let once = self.area(Area::Once);
        let mut seen = HashSet::new();
        let mut met = vec![root];
        while let Some(object) = met.pop() {
            // SAFETY: an object of the image, on a page of this module, all of which are ready.
            for at in unsafe { self.slots(object) } {
                // SAFETY: a slot of the object. What is put in place of a name is a name that is interned, with a reference of its own.
                unsafe {
                    let slot = object.byte_add(at).cast::<*mut ffi::PyObject>();
                    let child = *slot;
                    let template = once.contains(&(object as u64)) && !self.once_in_place;
                    if self.is_name(child as u64) && !template {
                        let winner = self.intern(child);
                        if winner == child {
                            // Nothing replaces it, so nothing needs a reference more.
                            ffi::Py_DecRef(winner);
                        } else {
                            *slot = winner;
                        }
                    } else if inside.contains(&(child as u64)) && seen.insert(child as u64) {
                        met.push(child);
                    }
                }
            }
        }
    }

    /// Where code and tuples have pointers; other objects have none.
    ///
    /// # Safety
    /// An object of the image, on a page that is ready.
    unsafe fn slots(&self, object: *mut ffi::PyObject) -> Vec<usize> {
        let first = self.objects.items;
        // SAFETY: its type says how it is laid out.
        unsafe {
            match self.type_of(object) {
                kind if kind == self.objects.code_type => {
                    self.objects.code.objects.iter().map(|slot| slot.at).collect()
                }
                kind if kind == (&raw const ffi::PyTuple_Type) as u64 => {
                    (0..word(object, SIZE) as usize).map(|i| first + 8 * i).collect()
                }
                _ => Vec::new(),
            }
        }
    }

    /// Interns the profile's names. What refers to them is left.
    ///
    /// Their pages must be ready.
    pub(super) fn intern_hot(&self) {
        self.strings(self.image.head.names[0], |name| {
            // SAFETY: a name of the image, on a page that is ready; the reference to what it is interned as is given back.
            unsafe { ffi::Py_DecRef(self.intern(name)) };
        });
    }

    /// Whether a `str` that the interpreter would have interned is at `address`: they come first, among the hot ones and among the others.
    fn is_name(&self, address: u64) -> bool {
        let names = self.area(Area::Names);
        let hot = self.image.head.hot[Area::Names as usize];
        let [hot_end, end] = self.image.head.names;
        let at = address.wrapping_sub(names.start);
        names.contains(&address) && (at < hot_end || (hot..end).contains(&at))
    }

    /// What `name` is interned as, with a reference to it.
    ///
    /// # Safety
    /// A name of the image, on a page that is ready; the GIL is held.
    unsafe fn intern(&self, name: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: a str; interning takes the reference that is made here and gives one to the winner.
        unsafe {
            let mut winner = name;
            ffi::Py_IncRef(name);
            ffi::PyUnicode_InternInPlace(&mut winner);
            winner
        }
    }

    /// Gives the profile's strings their hashes.
    ///
    /// Their pages must be ready.
    pub(super) fn hash_hot(&self) {
        self.strings(self.image.head.hot[Area::Names as usize], |object| {
            // SAFETY: a str of the image, whose page is ready. Hashing an exact str runs no Python code, and fails for want of memory at worst.
            unsafe {
                if ffi::PyObject_Hash(object) == -1 {
                    ffi::PyErr_Clear();
                }
            }
        });
    }

    /// Marks strings as static, which the interpreter leaves alone when it frees interned strings at its end: those that the modules with their code at `roots`, whose pages must be
    /// ready, lead to, long text among them, and all that may have been interned without being theirs.
    pub(super) fn keep_strings(&mut self, roots: Vec<*mut ffi::PyObject>) {
        // Names that a parent has interned before a fork, which made all their pages ready; in a debug build also those in whose place others were put.
        let first = self.page_of(Area::Names);
        let len = if self.objects.debug {
            let pages = (self.image.size(Area::Names) / PAGE as u64) as u32;
            (first..first + pages).take_while(|page| self.prepare(*page).is_ok()).count() as u64 * PAGE as u64
        } else {
            let len = self.image.head.names[0];
            if self.are_ready(first..first + len.div_ceil(PAGE as u64) as u32) { len } else { 0 }
        };
        // SAFETY: a str of the image, on a page that is ready; the interpreter's end has the GIL.
        let keep = |object| unsafe { self.objects.keep(object) };
        self.strings(len, keep);
        let inside = self.area(Area::Code).start..self.area(Area::Once).end;
        let mut seen: HashSet<u64> = roots.iter().map(|root| *root as u64).collect();
        let mut met = roots;
        while let Some(object) = met.pop() {
            // SAFETY: an object of the image, on a page of one of these modules, all of which are ready.
            let (slots, kind) = unsafe { (self.slots(object), self.type_of(object)) };
            if kind == (&raw const ffi::PyUnicode_Type) as u64 {
                keep(object);
            }
            for at in slots {
                // SAFETY: a slot of the object.
                let child = unsafe { word(object, at) };
                if inside.contains(&child) && seen.insert(child) {
                    met.push(child as *mut ffi::PyObject);
                }
            }
        }
    }

    /// Calls `each` with the strings in the first `len` bytes of their section, one after the other, as far as their heads lie there.
    ///
    /// Their pages must be ready.
    fn strings(&self, len: u64, mut each: impl FnMut(*mut ffi::PyObject)) {
        let mut at = self.area(Area::Names).start;
        let end = at + len;
        while at + text::ASCII_HEAD as u64 <= end {
            let object = at as *mut ffi::PyObject;
            // SAFETY: on pages that are ready, the section holds str objects one after the other, each at a multiple of 16 bytes, and then zeros.
            let Some(size) = (unsafe { text_size(object) }) else {
                // What fills the last page.
                return;
            };
            each(object);
            // It has not changed, whatever was done to the str.
            at = (at + size as u64).next_multiple_of(ALIGN as u64);
        }
    }
}
