//! Where an image's objects are in this process: its pages, made fit for use when they are first needed, and how pointers found in them are to be read.

#![allow(unsafe_code)]

use std::ops::Range;

use pyo3::ffi;

use super::set::Set;
use crate::cpython::code::TYPE;
use crate::cpython::memory::word;
use crate::cpython::pages::Pages;
use crate::cpython::snapshot::Objects;
use crate::image::read::{Entry, Image};
use crate::image::{AREAS, Area, PAGE};

/// Pages that are worth a system call to have them copied at once.
const POPULATE: u32 = 4;

/// Pages that the kernel maps around one that is read (`fault_around_bytes`, 64 kB unless set).
pub(super) const AROUND: u32 = 16;

/// Pages of a huge page, which the kernel maps whole where the page cache has one (2 MB on x86-64 and aarch64; file systems with large folios, as ext4 from Linux 6.16 on).
pub(super) const HUGE: u32 = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) image: Image<'static>,
    pub(super) objects: &'static Objects,
    /// Whether templates, with what is theirs, are used as they lie there. Otherwise they are read only to be copied, all of them, so that their pages stay those of the file.
    pub(super) once_in_place: bool,
    /// The object sections.
    mapped: Pages,
    /// Pages that were checked, and relocated.
    ready: Set,
}

impl Space {
    /// The image's object sections are `mapped`; none of their pages is ready. With `in_place`, templates are relocated too.
    pub(super) fn new(image: Image<'static>, objects: &'static Objects, mapped: Pages, in_place: bool) -> Space {
        let once_in_place = in_place || mapped.delta() == 0;
        let ready = Set::new(image.pages() as usize);
        Space { image, objects, once_in_place, mapped, ready }
    }

    /// Address of the file's first byte, were it mapped.
    pub(super) fn base(&self) -> u64 {
        self.image.head.base
    }

    /// Whether pages must be relocated here.
    pub(super) fn relocated(&self) -> bool {
        self.mapped.delta() != 0
    }

    /// Addresses of an object section.
    pub(super) fn area(&self, area: Area) -> Range<u64> {
        self.base() + self.image.starts[area as usize]..self.base() + self.image.starts[area as usize + 1]
    }

    /// The first page of an object section.
    pub(super) fn page_of(&self, area: Area) -> u32 {
        ((self.image.starts[area as usize] - self.image.starts[0]) / PAGE as u64) as u32
    }

    /// What a pointer found in a template leads to: an object of the image, or one of the interpreter's, which is elsewhere now.
    pub(super) fn here(&self, pointer: u64) -> *mut ffi::PyObject {
        let inside = (self.base() + self.image.starts[0]..self.base() + self.image.starts[AREAS]).contains(&pointer);
        let moved = if inside || self.once_in_place { pointer } else { pointer.wrapping_add(self.mapped.delta()) };
        moved as *mut ffi::PyObject
    }

    /// The type of an object of the image, also of a template's.
    ///
    /// # Safety
    /// `object` is one, on a page that is ready.
    pub(super) unsafe fn type_of(&self, object: *mut ffi::PyObject) -> u64 {
        // SAFETY: every object has its type in the second word.
        let kind = unsafe { word(object, TYPE) };
        if self.area(Area::Once).contains(&(object as u64)) { self.here(kind) as u64 } else { kind }
    }

    /// Makes a page fit for use.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) fn prepare(&mut self, page: u32) -> Result<(), String> {
        if self.ready.has(page) {
            return Ok(());
        }
        if !self.mapped.matches(page, self.image.crc(page)) {
            return Err(format!("page {page} of the image is damaged"));
        }
        if self.relocated() && (self.once_in_place || page < self.page_of(Area::Once)) {
            self.mapped.relocate(page, self.image.bits(page).map_err(|e| e.to_string())?);
        }
        self.ready.insert(page);
        Ok(())
    }

    /// Makes all pages of a module fit for use.
    ///
    /// # Errors
    /// One of them is damaged, or the list of them.
    pub(super) fn prepare_module(&mut self, entry: &Entry) -> Result<(), String> {
        for (first, count) in self.image.runs(entry).map_err(|e| e.to_string())? {
            // Most words of a page are addresses in a name's, a tuple's or a code object's neighbourhood: nearly every page will be written.
            let written = self.relocated() && first + count <= self.page_of(Area::Once);
            if written && count >= POPULATE && !self.ready.has(first) && !self.ready.has(first + count - 1) {
                self.mapped.populate(first..first + count);
            }
            (first..first + count).try_for_each(|page| self.prepare(page))?;
        }
        Ok(())
    }

    /// Whether all pages of a module are fit for use.
    pub(super) fn is_ready(&self, entry: &Entry) -> bool {
        self.image.runs(entry).is_ok_and(|mut runs| runs.all(|(first, count)| self.are_ready(first..first + count)))
    }

    /// Whether the code object of a module, its code units apart, lies on pages that are fit for use.
    pub(super) fn is_code_ready(&self, entry: &Entry) -> bool {
        let page = |at: u64| ((at - self.image.starts[0]) / PAGE as u64) as u32;
        let end = entry.root + self.objects.code.size as u64;
        end <= self.image.starts[AREAS] && self.are_ready(page(entry.root)..page(end - 1) + 1)
    }

    /// Whether pages are fit for use.
    pub(super) fn are_ready(&self, mut pages: Range<u32>) -> bool {
        pages.all(|page| self.ready.has(page))
    }

    /// Gives back pages that were only mapped because they stand beside others, those of templates that were read to be copied, and, where nothing is relocated, those of data
    /// and templates to which nothing was written: a string that was interned, or got a hash, must stay so. What is needed again comes back from the page cache.
    ///
    /// Looks at `around` pages behind the last one in use of each section, for nothing else can have been mapped there.
    pub(super) fn give_back(&self, around: u32) {
        let (data, patch, once) = (self.page_of(Area::Data), self.page_of(Area::Patch), self.page_of(Area::Once));
        let clean = |page: u32| !self.ready.has(page) || page >= once && !self.once_in_place;
        let read = |page: u32| !self.relocated() && ((data..patch).contains(&page) || page >= once);
        let reached = Area::ALL.map(|area| {
            let first = self.page_of(area);
            let end = first + (self.image.size(area) / PAGE as u64) as u32;
            let last = self.ready.last_below(end).filter(|last| *last >= first);
            first..last.map_or(first, |last| (last + around).min(end))
        });
        self.mapped.give_back(reached, clean, read);
    }
}
