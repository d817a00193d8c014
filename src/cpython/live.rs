//! An image in use: mapped at its address, its pages checked and relocated when they are first needed, code handed out.
//!
//! What makes this sound, in order: the image's head and tables have their CRC32 and lie in the file ([`Image::open`]); the build of the interpreter is the one the image was
//! made for, to the build-id; a sample of code is laid out here bit for bit as it was there; every page has its CRC32 before anything on it is used.
//! So the objects on a page are those that [`super::snapshot`] wrote, and these are what this very interpreter makes, at the same addresses or moved with its file.
//! (Somebody who may write the package may write any `.pyc` too: see `runtime::trust`.)

#![allow(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::{Mutex, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::code::{CONSTANTS, SIZE, TYPE};
use super::copy::{BYTES_DATA, state, text, text_size};
use super::memory::{word, word32};
use super::pages::{self, Pages};
use super::snapshot::{Objects, Snapshot};
use crate::image::read::{Entry, Image};
use crate::image::{AREAS, Area, PAGE, Relocate, SAMPLE, write};
use crate::map::Placed;
use crate::pye::Part;
use crate::pye::read::Pye;

/// Pages that are worth a system call to have them copied at once.
const POPULATE: u32 = 4;

/// Modules after which pages are given back at the end of an import.
const SETTLE: u32 = 32;

/// `co_version`s that the images of this process have taken: first and last but one.
static VERSIONS: Mutex<Vec<(u32, u32)>> = Mutex::new(Vec::new());

/// What names are to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those of the profile's modules are interned in a parent before its first fork, if their pages are copied there anyway. Others are left.
    AtFork,
    /// Left as they are: equal to what is interned, not the same.
    Leave,
    /// Interned, and what refers to them is made to refer to what was interned before.
    Intern,
}

/// A sample of code, as marshal data, and its [`write::digest`].
///
/// # Errors
/// The interpreter cannot make one, or it cannot be in an image.
pub fn sample(py: Python<'_>, objects: &Objects, data: &[u8]) -> PyResult<[u8; 16]> {
    let code = py.import("marshal")?.getattr("loads")?.call1((PyBytes::new(py, data),))?;
    let mut snapshot = Snapshot::new(py, objects, Vec::new())?;
    snapshot.module(&code, 0).map_err(pyo3::exceptions::PyRuntimeError::new_err)?;
    Ok(write::digest(&snapshot.graph))
}

/// Marshal data of the [`SAMPLE`].
///
/// # Errors
/// It cannot be compiled.
pub fn sample_data(py: Python<'_>) -> PyResult<Vec<u8>> {
    let code = py.import("builtins")?.getattr("compile")?.call1((SAMPLE, "<pye>", "exec", 0, true, 0))?;
    py.import("marshal")?.getattr("dumps")?.call1((code,))?.extract()
}

/// See the module.
#[derive(Debug)]
pub struct Live {
    image: Image<'static>,
    objects: &'static Objects,
    /// Address of the file's first byte, were it mapped.
    base: u64,
    /// Its object sections.
    mapped: Pages,
    /// When pages are relocated, if they have to be.
    relocate: Relocate,
    names: Names,
    /// Pages that were checked, and relocated.
    ready: Vec<u64>,
    /// Modules that were handed out.
    given: Vec<u64>,
    /// Modules whose names were interned.
    interned: Vec<u64>,
    /// The profile's modules are ready for children.
    forked: bool,
    /// Modules handed out since pages were last given back.
    fresh: u32,
    /// Modules handed out.
    pub loaded: u64,
}

fn bit(set: &[u64], number: u32) -> bool {
    set[number as usize / 64] >> (number % 64) & 1 != 0
}

/// The longest runs of numbers in `range` that `chosen` accepts.
pub(super) fn runs(
    range: std::ops::Range<u32>,
    chosen: impl Fn(u32) -> bool,
) -> impl Iterator<Item = std::ops::Range<u32>> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        let start = (next..range.end).find(|n| chosen(*n))?;
        next = (start..range.end).find(|n| !chosen(*n)).unwrap_or(range.end);
        Some(start..next)
    })
}

fn set(bits: &mut [u64], number: u32) {
    bits[number as usize / 64] |= 1 << (number % 64);
}

/// What a process asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// When to relocate: `None` for what the image says.
    pub relocate: Option<Relocate>,
    /// What to do with names: `None` for what is usual.
    pub names: Option<Names>,
    /// `sys.hexversion`.
    pub hexversion: u32,
}

impl Live {
    /// Maps the image of the package `pye`, which is `file`, to stand for `root`.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn attach(
        py: Python<'_>,
        pye: &'static Pye<'static>,
        file: &File,
        root: &str,
        objects: &'static Objects,
        wanted: Wanted,
    ) -> Result<Option<Live>, String> {
        let Some(image) = Image::open(pye).map_err(|e| e.to_string())? else { return Ok(None) };
        let head = &image.head;
        let delta = pages::delta(&head.build(), objects, wanted.hexversion)?;
        if image.root != root {
            return Err(format!("made for another root: {}", image.root));
        }
        let relocate = wanted.relocate.unwrap_or(head.relocate);
        if delta != 0 && relocate == Relocate::Never {
            return Err(format!(
                "the interpreter is loaded at {:#x}, the image was made for {:#x}, and may not be relocated",
                objects.interpreter.base, head.interpreter
            ));
        }
        let data = image.made(0).map_err(|e| e.to_string())?;
        let here = sample(py, objects, data).map_err(|e| format!("code cannot be compared with the builder's: {e}"))?;
        if here != head.sample {
            return Err("this interpreter lays code out in another way (an option such as -X no_debug_ranges?)".into());
        }
        let (first, count) = head.versions;
        let versions = (first, first + count);
        let mut used = VERSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if used.iter().any(|other| versions.0 < other.1 && other.0 < versions.1) {
            return Err("its code versions are those of another image of this process".into());
        }
        let objects_at = image.starts[0];
        let mapped = Pages::map(file, head.base, objects_at..image.starts[AREAS], delta).map_err(|e| e.to_string())?;
        // Text that headers in the image lead to; it comes before, and is nobody's to write.
        let payload = [Part::Str1, Part::Str2, Part::Str4].map(|part| pye.range(part as usize));
        let text = payload.iter().filter(|range| !range.is_empty());
        let (start, end) =
            text.fold((u64::MAX, 0), |(start, end), r| (start.min(r.start as u64), end.max(r.end as u64)));
        let (start, end) = (start / PAGE as u64 * PAGE as u64, end.next_multiple_of(PAGE as u64));
        if start < end {
            if end > objects_at {
                return Err("its text does not come before its objects".into());
            }
            let address = (head.base + start) as usize;
            Placed::map(file, start, (end - start) as usize, address, false).map_err(|e| e.to_string())?;
        }
        used.push(versions);
        let (pages, modules) = (image.pages() as usize, image.len());
        Ok(Some(Live {
            base: head.base,
            mapped,
            relocate,
            names: wanted.names.unwrap_or(Names::AtFork),
            ready: vec![0; pages.div_ceil(64)],
            given: vec![0; modules.div_ceil(64)],
            interned: vec![0; modules.div_ceil(64)],
            forked: false,
            fresh: 0,
            loaded: 0,
            image,
            objects,
        }))
    }

    /// Where it is mapped, counted from the file's start.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Whether pages must be relocated here.
    pub fn relocated(&self) -> bool {
        self.mapped.delta() != 0
    }

    /// When that is done.
    pub fn relocate(&self) -> Relocate {
        self.relocate
    }

    /// Number of modules in it.
    pub fn modules(&self) -> usize {
        self.image.len()
    }

    /// Addresses of an object section.
    fn area(&self, area: Area) -> std::ops::Range<u64> {
        self.base + self.image.starts[area as usize]..self.base + self.image.starts[area as usize + 1]
    }

    /// Whether templates, with what is theirs, are used as they lie there. Otherwise they are read only to be copied, all of them, so that their pages stay those of the file.
    fn once_in_place(&self) -> bool {
        self.mapped.delta() == 0 || self.objects.debug || self.names == Names::Intern
    }

    /// The first page of templates.
    fn once_page(&self) -> u32 {
        ((self.image.starts[Area::Once as usize] - self.image.starts[0]) / PAGE as u64) as u32
    }

    /// What a pointer found in a template leads to: an object of the image, or one of the interpreter's, which is elsewhere now.
    fn here(&self, pointer: u64) -> *mut ffi::PyObject {
        let inside = (self.base + self.image.starts[0]..self.base + self.image.starts[AREAS]).contains(&pointer);
        let moved = if inside || self.once_in_place() { pointer } else { pointer.wrapping_add(self.mapped.delta()) };
        moved as *mut ffi::PyObject
    }

    /// The type of an object of the image, also of a template's.
    ///
    /// # Safety
    /// `object` is one, on a page that is ready.
    unsafe fn type_of(&self, object: *mut ffi::PyObject) -> u64 {
        // SAFETY: every object has its type in the second word.
        let kind = unsafe { word(object, TYPE) };
        if self.area(Area::Once).contains(&(object as u64)) { self.here(kind) as u64 } else { kind }
    }

    /// Makes a page fit for use.
    fn prepare(&mut self, page: u32) -> Result<(), String> {
        if bit(&self.ready, page) {
            return Ok(());
        }
        if !self.mapped.matches(page, self.image.crc(page)) {
            return Err(format!("page {page} of the image is damaged"));
        }
        if self.relocated() && (self.once_in_place() || page < self.once_page()) {
            self.mapped.relocate(page, self.image.bits(page).map_err(|e| e.to_string())?);
        }
        set(&mut self.ready, page);
        Ok(())
    }

    /// The code of the module with this record, found at `origin`; the first time only, for others may change what is shared. None: not from here.
    ///
    /// # Errors
    /// The image is damaged there.
    pub fn code<'py>(
        &mut self,
        record: u32,
        origin: &Bound<'py, PyString>,
        loads: &Bound<'py, PyAny>,
    ) -> Result<Option<Bound<'py, PyAny>>, String> {
        let py = origin.py();
        // One of a subclass might run code of its own when compared.
        let Some(number) = self.image.find(record).filter(|_| origin.is_exact_instance_of::<PyString>()) else {
            return Ok(None);
        };
        if bit(&self.given, number) {
            return Ok(None);
        }
        set(&mut self.given, number);
        let entry = self.image.entry(number);
        self.prepare_module(&entry)?;
        let root = (self.base + entry.root) as *mut ffi::PyObject;
        let [.., (_, filename), _, _, _] = self.objects.code.objects;
        // SAFETY: the root of a module is a template of code in the image, whose pages are ready; it refers to its `co_filename`.
        let same = unsafe {
            let name = self.here(word(root, filename));
            Bound::from_borrowed_ptr(py, name).eq(origin)
        };
        if !same.unwrap_or(false) {
            return Ok(None);
        }
        let Ok(made) = self.make(loads, &entry) else { return Ok(None) };
        // Before a fork it is done for all children; here it would cost a process as much as it saves.
        if self.objects.debug || self.names == Names::Intern {
            self.intern(number);
        }
        // SAFETY: as above; `made` has what the slots of this module are to hold.
        let code = unsafe { self.copy(py, root, &made) };
        if code.is_none() {
            // No memory; the portable form may have more luck, or say so.
            drop(PyErr::take(py));
        }
        self.loaded += u64::from(code.is_some());
        self.fresh += 1;
        Ok(code)
    }

    /// Makes what depends on the process, and puts it where functions refer to it. By slot.
    fn make<'py>(&self, loads: &Bound<'py, PyAny>, entry: &Entry) -> PyResult<HashMap<u64, Bound<'py, PyAny>>> {
        let mut made = HashMap::new();
        if entry.patches.1 == 0 {
            return Ok(made);
        }
        let patch = self.area(Area::Patch);
        for row in entry.patches.0..entry.patches.0 + entry.patches.1 {
            let (slot, number) = self.image.patch(row);
            let data = self.image.made(number).map_err(|e| pyo3::exceptions::PyRuntimeError::new_err(e.to_string()))?;
            let object = loads.call1((PyBytes::new(loads.py(), data),))?;
            let slot = self.base + slot;
            if patch.contains(&slot) {
                let slot = slot as *mut *mut ffi::PyObject;
                // SAFETY: a slot of a tuple in the section of such tuples, on a page of this module, which is ready; slots are aligned, and inside
                // (`Image::open`). The tuple lives forever, and so does the reference it gets. Another module may have filled it.
                unsafe {
                    if (*slot).is_null() {
                        *slot = object.clone().into_ptr();
                    }
                }
            } else {
                made.insert(slot, object);
            }
        }
        Ok(made)
    }

    /// An ordinary code object like `template`, with such copies of the class bodies in it.
    ///
    /// # Safety
    /// `template` is one, on pages that are ready.
    unsafe fn copy<'py>(
        &self,
        py: Python<'py>,
        template: *mut ffi::PyObject,
        made: &HashMap<u64, Bound<'py, PyAny>>,
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
            for (_, at) in layout.objects.into_iter().filter(|(_, at)| *at != CONSTANTS) {
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
        tuple: *mut ffi::PyObject,
        made: &HashMap<u64, Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        let (once, first) = (self.area(Area::Once), self.objects.items);
        // SAFETY: a tuple in the image, with as many items as it says.
        unsafe {
            let size = word(tuple, SIZE) as usize;
            let item = |i: usize| word(tuple, first + 8 * i);
            // Tuples of constants hold no other part of a template.
            let template = |item: u64| once.contains(&item);
            if self.once_in_place() && !(0..size).any(|i| item(i) == 0 || template(item(i))) {
                return Some(Bound::from_borrowed_ptr(py, tuple));
            }
            let copy = Bound::from_owned_ptr_or_opt(py, ffi::PyTuple_New(size as ffi::Py_ssize_t))?;
            for i in 0..size {
                let item = item(i);
                let item = if item == 0 {
                    made.get(&(tuple as u64 + (first + 8 * i) as u64))?.clone()
                } else if template(item) {
                    self.copy(py, item as *mut ffi::PyObject, made)?
                } else {
                    Bound::from_borrowed_ptr(py, self.here(item))
                };
                // Steals the reference; cannot fail for a new tuple and an index within it.
                ffi::PyTuple_SetItem(copy.as_ptr(), i as ffi::Py_ssize_t, item.into_ptr());
            }
            Some(copy)
        }
    }

    /// What a copy of a template refers to: the very object, or, of what is the template's own and cannot be used in place, a copy.
    ///
    /// # Safety
    /// An object that a template refers to, but not its constants.
    unsafe fn part<'py>(&self, py: Python<'py>, object: *mut ffi::PyObject) -> Option<Bound<'py, PyAny>> {
        // SAFETY: in the image, on a page that is ready, or the interpreter's own. In the section of templates there are, besides these, tuples and byte strings only; their
        // items and bytes are as many as they say.
        unsafe {
            if self.once_in_place() || !self.area(Area::Once).contains(&(object as u64)) {
                return Some(Bound::from_borrowed_ptr(py, object));
            }
            let size = word(object, SIZE) as usize;
            if self.type_of(object) == (&raw const ffi::PyBytes_Type) as u64 {
                let data = object.byte_add(BYTES_DATA).cast();
                return Bound::from_owned_ptr_or_opt(py, ffi::PyBytes_FromStringAndSize(data, size as ffi::Py_ssize_t));
            }
            let copy = Bound::from_owned_ptr_or_opt(py, ffi::PyTuple_New(size as ffi::Py_ssize_t))?;
            for i in 0..size {
                let item = self.here(word(object, self.objects.items + 8 * i));
                ffi::PyTuple_SetItem(
                    copy.as_ptr(),
                    i as ffi::Py_ssize_t,
                    Bound::from_borrowed_ptr(py, item).into_ptr(),
                );
            }
            Some(copy)
        }
    }

    /// Interns the names of a module, and has its tuples and code refer to what was interned before.
    ///
    /// Its pages must be ready.
    fn intern(&mut self, number: u32) {
        if bit(&self.interned, number) {
            return;
        }
        set(&mut self.interned, number);
        let root = (self.base + self.image.entry(number).root) as *mut ffi::PyObject;
        let names = self.area(Area::Names);
        let split = [0, self.image.head.hot[Area::Names as usize]];
        let ends = self.image.head.names;
        let interned = |address: u64| {
            let at = address.wrapping_sub(names.start);
            names.contains(&address) && (at < ends[0] || (split[1]..ends[1]).contains(&at))
        };
        let inside = self.area(Area::Code).start..self.area(Area::Once).end;
        let (first, once) = (self.objects.items, self.area(Area::Once));
        let tuple_type = (&raw const ffi::PyTuple_Type) as u64;
        let mut seen = HashSet::new();
        let mut met = vec![root];
        while let Some(object) = met.pop() {
            // SAFETY: an object of the image, on a page of this module, all of which are ready; its type says how it is laid out.
            let slots: Vec<usize> = unsafe {
                match self.type_of(object) {
                    kind if kind == self.objects.code_type => {
                        self.objects.code.objects.iter().map(|(_, at)| *at).collect()
                    }
                    kind if kind == tuple_type => (0..word(object, SIZE) as usize).map(|i| first + 8 * i).collect(),
                    _ => continue,
                }
            };
            for at in slots {
                // SAFETY: a slot of the object. What is put in place of a name is a name that is interned, with a reference of its own.
                unsafe {
                    let slot = object.byte_add(at).cast::<*mut ffi::PyObject>();
                    let child = *slot;
                    let template = once.contains(&(object as u64)) && !self.once_in_place();
                    if interned(child as u64) && !template {
                        let winner = self.intern_counted(child);
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

    /// What `name` is interned as, with a reference to it.
    ///
    /// # Safety
    /// A name of the image, on a page that is ready; the GIL is held.
    unsafe fn intern_counted(&self, name: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: a str; its state is a word that the interpreter writes only with the GIL held. 3.12 takes static strings for the interpreter's own and keeps them
        // apart from all others, so for a moment this one is not static.
        unsafe {
            let flags = name.byte_add(text::STATE).cast::<u32>();
            if *flags & state::INTERNED != 0 {
                ffi::Py_IncRef(name);
                return name;
            }
            let fixed = *flags & state::STATIC;
            let hide = self.objects.code.minor == 12 && fixed != 0;
            if hide {
                *flags &= !state::STATIC;
            }
            let mut winner = name;
            ffi::Py_IncRef(name);
            ffi::PyUnicode_InternInPlace(&mut winner);
            if hide {
                *flags |= state::STATIC;
            }
            winner
        }
    }

    /// To be called before the process forks for the first time: what the profile's modules need is made ready, so that all children share it. Damage is left to be found by
    /// whoever needs the page.
    pub fn before_fork(&mut self) {
        if std::mem::replace(&mut self.forked, true) {
            return;
        }
        if self.relocated() {
            if self.relocate == Relocate::Lazy {
                return;
            }
            // Templates of the profile's modules come first.
            let hot = self.image.starts[Area::Once as usize] + self.image.head.hot[Area::Once as usize];
            for number in 0..self.image.len() as u32 {
                let entry = self.image.entry(number);
                if entry.root < hot && self.prepare_module(&entry).is_ok() && self.names != Names::Leave {
                    self.intern(number);
                }
            }
        }
        let first = (self.image.starts[Area::Names as usize] - self.image.starts[0]) / PAGE as u64;
        let pages = self.image.head.hot[Area::Names as usize].div_ceil(PAGE as u64);
        if (first..first + pages).all(|page| self.prepare(page as u32).is_ok()) {
            if !self.relocated() && self.names == Names::AtFork {
                // These pages are about to be written for the hashes. What refers to names is left, for those pages are not.
                self.strings(self.image.head.names[0], |name| {
                    // SAFETY: a name of the image, on a page that is ready; the reference to what it is interned as is given back.
                    unsafe { ffi::Py_DecRef(self.intern_counted(name)) };
                });
            }
            self.hash();
        }
        self.give_back();
    }

    /// To be called when an import has ended: gives back pages that are not needed now. These are all that were only mapped because they stand beside others, and, where nothing
    /// but caches of hashes was written to them, those of data and templates, which were read to be checked and copied from. What is needed again comes back from the page cache.
    pub fn settle(&mut self) {
        if self.fresh >= SETTLE {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        self.fresh = 0;
        let page_of = |area: Area| ((self.image.starts[area as usize] - self.image.starts[0]) / PAGE as u64) as u32;
        let pages = self.image.pages();
        let (data, patch, once) = (page_of(Area::Data), page_of(Area::Patch), page_of(Area::Once));
        let untouched = |page: u32| !bit(&self.ready, page) || page >= once && !self.once_in_place();
        runs(0..pages, untouched).for_each(|run| self.mapped.give_back(run));
        // A string that was interned, or got a hash, must stay so.
        if !self.relocated() {
            for area in [data..patch, once..pages] {
                let read = runs(area, |page| bit(&self.ready, page));
                read.for_each(|run| self.mapped.give_back_unwritten(run));
            }
        }
    }

    /// Makes all pages of a module fit for use.
    fn prepare_module(&mut self, entry: &Entry) -> Result<(), String> {
        for (first, count) in self.image.runs(entry).map_err(|e| e.to_string())? {
            // Most words of a page are addresses in a name's, a tuple's or a code object's neighbourhood: nearly every page will be written.
            let written = self.mapped.delta() != 0 && first + count <= self.once_page();
            if written && count >= POPULATE && !bit(&self.ready, first) && !bit(&self.ready, first + count - 1) {
                self.mapped.populate(first..first + count);
            }
            (first..first + count).try_for_each(|page| self.prepare(page))?;
        }
        Ok(())
    }

    /// Gives the profile's strings their hashes.
    fn hash(&self) {
        self.strings(self.image.head.hot[Area::Names as usize], |object| {
            // SAFETY: a str of the image, whose page is ready (`before_fork`). Hashing an exact str runs no Python code, and fails for want of memory at worst.
            unsafe {
                if ffi::PyObject_Hash(object) == -1 {
                    ffi::PyErr_Clear();
                }
            }
        });
    }

    /// Calls `each` with the strings in the first `len` bytes of their section, one after the other.
    fn strings(&self, len: u64, mut each: impl FnMut(*mut ffi::PyObject)) {
        let mut at = self.area(Area::Names).start;
        let end = at + len;
        while at < end {
            let object = at as *mut ffi::PyObject;
            each(object);
            // SAFETY: the section holds str objects one after the other, each at a multiple of 16 bytes; length and state of a str never change in size.
            let (size, flags) = unsafe { (text_size(object) as u64, word32(object, text::STATE)) };
            if flags >> state::KIND_SHIFT & state::KIND == 0 {
                // What fills the last page.
                return;
            }
            at = (at + size).next_multiple_of(crate::image::ALIGN as u64);
        }
    }

    /// To be called when the interpreter is about to end: it frees interned strings. Those of a release build are marked as static and so left alone; those of
    /// a debug build, which would not have that, are marked now.
    pub fn before_finalization(&mut self) {
        if !self.objects.debug {
            return;
        }
        self.strings(self.image.size(Area::Names), |object| {
            // SAFETY: a str of the image; its state is a word that nobody else writes while the GIL is held.
            unsafe {
                let flags = object.byte_add(text::STATE).cast::<u32>();
                // Whatever it was: what runs from now on may intern it, or make what is interned immortal.
                *flags |= state::INTERNED | state::STATIC;
            }
        });
    }
}
