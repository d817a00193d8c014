//! An image in use: mapped at its address, its pages checked and relocated when they are first needed, code handed out.
//!
//! What makes this sound, in order: the image's head and tables have their CRC32 and lie in the file ([`Image::open`]); the build of the interpreter is the one the image was
//! made for, to the build-id; a sample of code is laid out here bit for bit as it was there; every page has its CRC32 before anything on it is used.
//! So the objects on a page are those that [`super::snapshot`] wrote, and these are what this very interpreter makes, at the same addresses or moved with its file.
//! (Somebody who may write the package may write any `.pyc` too: see `runtime::trust`.)
//!
//! - `space`: where the objects are, and what is done to a page before it is used;
//! - `copies`: code that runs once, as ordinary objects;
//! - `names`: what is done about strings that the interpreter would have interned.

#![allow(unsafe_code)]

mod copies;
mod names;
mod set;
mod space;

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use self::copies::Made;
pub use self::names::Names;
use self::set::Set;
use self::space::{AROUND, HUGE, Space};
use super::memory::word;
use super::pages::{self, Pages};
use super::snapshot::{Objects, Snapshot};
use crate::image::read::{Entry, Image};
use crate::image::shape::FILENAME;
use crate::image::{AREAS, Area, PAGE, Relocate, SAMPLE, write};
use crate::map::Placed;
use crate::pye::Part;
use crate::pye::read::Pye;

/// Modules after which pages are given back at the end of an import.
pub const SETTLE: u64 = 32;

/// `co_version`s that the images of this process have taken: of each the first, and the one after the last.
static VERSIONS: Mutex<Vec<(u32, u32)>> = Mutex::new(Vec::new());

/// A sample of code, as marshal data, and its [`write::digest`].
///
/// # Errors
/// The interpreter cannot make one, or it cannot be in an image.
pub fn sample(py: Python<'_>, objects: &Objects, data: &[u8]) -> PyResult<[u8; 16]> {
    let code = py.import("marshal")?.getattr("loads")?.call1((PyBytes::new(py, data),))?;
    let mut snapshot = Snapshot::new(py, objects, Vec::new())?;
    snapshot.module(&code, 0).map_err(PyRuntimeError::new_err)?;
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
    space: Space,
    /// The characters of long text, which nobody writes to.
    text: Option<Placed>,
    /// When pages are relocated, if they have to be.
    relocate: Relocate,
    names: Names,
    /// Modules that were handed out.
    given: Set,
    /// Modules whose names were interned.
    interned: Set,
    /// The profile's modules are ready for children.
    forked: bool,
    /// Modules handed out since pages were last given back.
    fresh: u64,
    /// Modules handed out.
    pub loaded: u64,
}

/// A module that is about to be handed out.
#[derive(Debug)]
pub struct Begun {
    number: u32,
    /// Addresses of slots, and the marshal data of what they are to hold.
    to_make: Vec<(u64, &'static [u8])>,
}

impl Begun {
    /// Makes what depends on the process, by `loads` (`marshal.loads`). That can run any code: an audit hook's.
    ///
    /// # Errors
    /// Those of `loads`.
    pub fn make<'py>(&self, loads: &Bound<'py, PyAny>) -> PyResult<Made<'py>> {
        let made = |(slot, data): &(u64, &[u8])| Ok((*slot, loads.call1((PyBytes::new(loads.py(), data),))?));
        self.to_make.iter().map(made).collect()
    }
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
        // Text that headers in the image lead to; it comes before, and is nobody's to write.
        let payload = [Part::Str1, Part::Str2, Part::Str4].map(|part| pye.range(part as usize));
        let text = payload.iter().filter(|range| !range.is_empty());
        let (start, end) =
            text.fold((u64::MAX, 0), |(start, end), r| (start.min(r.start as u64), end.max(r.end as u64)));
        let (start, end) = (start / PAGE as u64 * PAGE as u64, end.next_multiple_of(PAGE as u64));
        if end > objects_at {
            return Err("its text does not come before its objects".into());
        }
        let address = (head.base + start) as usize;
        let text = (start < end).then(|| Placed::map(file, start, (end - start) as usize, address, false));
        let text = text.transpose().map_err(|e| e.to_string())?;
        let mapped = match Pages::map(file, head.base, objects_at..image.starts[AREAS], delta) {
            Ok(mapped) => mapped,
            Err(error) => {
                // A process that is refused is as it was.
                text.into_iter().for_each(Placed::unmap);
                return Err(error.to_string());
            }
        };
        used.push(versions);
        let names = wanted.names.unwrap_or(Names::AtFork);
        let modules = image.len();
        Ok(Some(Live {
            space: Space::new(image, objects, mapped, objects.debug || names == Names::Intern),
            text,
            relocate,
            names,
            given: Set::new(modules),
            interned: Set::new(modules),
            forked: false,
            fresh: 0,
            loaded: 0,
        }))
    }

    /// Where it is mapped, counted from the file's start.
    pub fn base(&self) -> u64 {
        self.space.base()
    }

    /// Whether pages must be relocated here.
    pub fn relocated(&self) -> bool {
        self.space.relocated()
    }

    /// When that is done.
    pub fn relocate(&self) -> Relocate {
        self.relocate
    }

    /// Whether it is laid out by a profile of use.
    pub fn profiled(&self) -> bool {
        self.space.image.head.hot.iter().any(|hot| *hot > 0)
    }

    /// Number of modules in it.
    pub fn modules(&self) -> usize {
        self.space.image.len()
    }

    /// Begins to hand out the module with this record, found at `origin`; the first time only, for others may change what is shared. None: not from here.
    ///
    /// # Errors
    /// The image is damaged there.
    pub fn begin(&mut self, record: u32, origin: &Bound<'_, PyString>) -> Result<Option<Begun>, String> {
        let py = origin.py();
        // One of a subclass might run code of its own when compared.
        let Some(number) = self.space.image.find(record).filter(|_| origin.is_exact_instance_of::<PyString>()) else {
            return Ok(None);
        };
        if !self.given.insert(number) {
            return Ok(None);
        }
        let entry = self.space.image.entry(number);
        self.space.prepare_module(&entry)?;
        let root = self.root(&entry);
        if !self.space.is_code_ready(&entry) {
            return Err("the code of a module is not on its pages".into());
        }
        // SAFETY: the root of a module is a template of code in the image, whose pages are ready, as was just seen; it refers to its `co_filename`.
        let same = unsafe {
            let name = self.space.here(word(root, FILENAME));
            Bound::from_borrowed_ptr(py, name).eq(origin)
        };
        if !same.unwrap_or(false) {
            return Ok(None);
        }
        let patches = entry.patches.0..entry.patches.0 + entry.patches.1;
        let to_make = patches.map(|row| {
            let (slot, made) = self.space.image.patch(row);
            Ok((self.space.base() + slot, self.space.image.made(made).map_err(|e| e.to_string())?))
        });
        Ok(Some(Begun { number, to_make: to_make.collect::<Result<_, String>>()? }))
    }

    /// The code of a module that was begun, with what was made for it. None: there is no memory.
    pub fn code<'py>(&mut self, py: Python<'py>, begun: &Begun, made: &Made<'py>) -> Option<Bound<'py, PyAny>> {
        self.fill(made);
        // Before a fork it is done for all children; here it would cost a process as much as it saves.
        if self.space.objects.debug || self.names == Names::Intern {
            self.intern(begun.number);
        }
        let root = self.root(&self.space.image.entry(begun.number));
        // SAFETY: as in `begin`, which made the pages ready; `made` has what the slots of this module are to hold.
        let code = unsafe { self.space.copy(py, root, made) };
        if code.is_none() {
            // No memory; the portable form may have more luck, or say so.
            drop(PyErr::take(py));
        }
        self.loaded += u64::from(code.is_some());
        self.fresh += 1;
        code
    }

    /// The template of a module's code.
    fn root(&self, entry: &Entry) -> *mut ffi::PyObject {
        (self.space.base() + entry.root) as *mut ffi::PyObject
    }

    /// Interns the names of a module whose pages are ready, unless that has been done.
    fn intern(&mut self, number: u32) {
        if self.interned.insert(number) {
            self.space.intern_module(self.root(&self.space.image.entry(number)));
        }
    }

    /// Puts what was made for a module where its functions refer to it. What slots of templates are to hold is for `copy`.
    fn fill(&self, made: &Made<'_>) {
        let patch = self.space.area(Area::Patch);
        for (slot, object) in made.iter().filter(|(slot, _)| patch.contains(slot)) {
            let slot = *slot as *mut *mut ffi::PyObject;
            // SAFETY: a slot of a tuple in the section of such tuples, on a page of this module, which is ready; slots are aligned, and inside
            // (`Image::open`). The tuple lives forever, and so does the reference it gets. Another module may have filled it.
            unsafe {
                if (*slot).is_null() {
                    *slot = object.clone().into_ptr();
                }
            }
        }
    }

    /// To be called before the process forks: the first time, what the profile's modules need is made ready, so that all children share it. Damage is left to be found by
    /// whoever needs the page. Returns whether most of those modules are still to be imported; None if nothing was done now.
    pub fn before_fork(&mut self) -> Option<bool> {
        if std::mem::replace(&mut self.forked, true) || self.relocated() && self.relocate == Relocate::Lazy {
            return None;
        }
        // Templates of the profile's modules come first.
        let hot = self.space.image.starts[Area::Once as usize] + self.space.image.head.hot[Area::Once as usize];
        let entries = (0..self.modules() as u32).map(|number| (number, self.space.image.entry(number)));
        let profiled: Vec<_> = entries.filter(|(_, entry)| entry.root < hot).collect();
        let importing = self.loaded * 2 < profiled.len() as u64;
        if self.relocated() {
            for (number, entry) in profiled {
                // Where it was handed out, what ran has put the names as they are into dictionaries.
                let intern = self.names != Names::Leave && !self.given.has(number);
                if self.space.prepare_module(&entry).is_ok() && intern {
                    self.intern(number);
                }
            }
        }
        let first = self.space.page_of(Area::Names);
        let pages = self.space.image.head.hot[Area::Names as usize].div_ceil(PAGE as u64) as u32;
        if (first..first + pages).all(|page| self.space.prepare(page).is_ok()) {
            if !self.relocated() && self.names == Names::AtFork && importing {
                // These pages are about to be written for the hashes. What refers to names is left, for those pages are not.
                self.space.intern_hot();
            }
            self.space.hash_hot();
        }
        // Once for all children: worth looking further.
        self.give_back(HUGE);
        Some(importing)
    }

    /// To be called when an import has ended: gives back pages that are not needed now, if enough modules were handed out to make that worth it.
    pub fn settle(&mut self) {
        if self.fresh >= SETTLE {
            self.give_back(AROUND);
        }
    }

    fn give_back(&mut self, around: u32) {
        self.fresh = 0;
        self.space.give_back(around);
        // Of text little is read, and sixteen pages are mapped around it.
        if let Some(text) = &self.text {
            let all = 0..text.len();
            text.drop_pages(std::slice::from_ref(&all));
        }
    }

    /// To be called when the interpreter ends (`life::at_end`): where it would free strings of the image that were interned, they are kept from that now.
    pub fn before_finalization(&mut self) {
        if self.space.objects.frees_interned {
            let given = (0..self.modules() as u32).filter(|number| self.given.has(*number));
            let entries = given.map(|number| self.space.image.entry(number));
            let ready = entries.filter(|entry| self.space.is_ready(entry));
            self.space.keep_strings(ready.map(|entry| self.root(&entry)).collect());
        }
    }
}
