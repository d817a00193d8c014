//! Writes a graph of constants to a [cache](crate::cache).
//!
//! Objects are written in one pass, each after all it leads to, so nothing of them is kept but where they are. No Python code runs meanwhile and none is made
//! or changed: the graph stays as it is, and alive, as long as the caller holds its root.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use pyo3::ffi;
use pyo3::prelude::*;

use super::copy::{Copy, Payload, type_of};
use super::memory::word;
use super::snapshot::Objects;
use crate::cache::Root;
use crate::cache::write::Writer;
use crate::error::Error;
use crate::image::graph::{Kind, Ref};
use crate::image::{ALIGN, Build, GC_HEAD};

/// Says, instead of a place, that a tuple is being written.
const UNDER_WAY: u32 = u32::MAX;
/// Most steps of the way to an object that are told.
const TOLD: usize = 8;
/// There is no package whose text could stay where it is.
const NO_PAYLOAD: &Payload = &[];

/// Why a graph was not written.
#[derive(Debug)]
pub enum Failed {
    /// An object cannot be in a cache: the way to it, as `[1][0]`, and its type.
    Type(String, String),
    /// An object is damaged, or a tuple contains itself: the way to it, and what is wrong.
    Value(String, String),
    /// Writing failed.
    Write(Error),
}

/// A leaf that was written.
#[derive(Debug)]
struct Leaf {
    /// Of its copy.
    hash: u32,
    /// Its place, as in [`Ref::Object`].
    place: u32,
    /// Address of the object it is a copy of.
    source: u64,
}

/// A tuple under way.
#[derive(Debug)]
struct Frame {
    tuple: *mut ffi::PyObject,
    len: usize,
    /// Those of its items that were written.
    items: Vec<Ref>,
}

/// See the module. In a [`Ref::Object`] stands the offset in the file, divided by [`ALIGN`].
#[derive(Debug)]
struct Dump<'a> {
    objects: &'a Objects,
    writer: Writer<'a>,
    build: &'a Build,
    /// Where objects are that more than one other leads to, by address.
    seen: HashMap<u64, u32, FixedState>,
    /// Leaves, to write equal ones once.
    leaves: HashTable<Leaf>,
    /// Tuples, one in the other.
    frames: Vec<Frame>,
}

/// Writes `root` and all it leads to to the empty `file`; returns the file's size.
///
/// # Errors
/// See [`Failed`].
pub fn dump(
    root: &Bound<'_, PyAny>,
    file: &File,
    objects: &Objects,
    build: &Build,
    sample: [u8; 16],
) -> Result<u64, Failed> {
    let mut dump = Dump {
        objects,
        writer: Writer::new(file),
        build,
        seen: HashMap::default(),
        leaves: HashTable::new(),
        frames: Vec::new(),
    };
    // SAFETY: the caller's reference keeps the root alive, and tuples never change; the GIL is held, as `root` proves, and given to nobody.
    let to = unsafe { dump.run(root.as_ptr()) }?;
    let root = match to {
        Ref::Interpreter(at) => Root::Interpreter(at),
        Ref::Object(place) => Root::Object(u64::from(place) * ALIGN as u64),
        Ref::Payload(..) | Ref::Made(_) => return Err(dump.value("of another kind".into())),
    };
    dump.writer.finish(build.clone(), root, sample).map_err(Failed::Write)
}

impl Dump<'_> {
    /// # Safety
    /// `root` is alive, with all it leads to, and nothing writes to these meanwhile.
    unsafe fn run(&mut self, root: *mut ffi::PyObject) -> Result<Ref, Failed> {
        // SAFETY: as the caller promises.
        let mut found = unsafe { self.visit(root)? };
        loop {
            let Some(frame) = self.frames.last_mut() else {
                return found.ok_or_else(|| self.value("nothing".into()));
            };
            frame.items.extend(found);
            let next = frame.items.len();
            found = if next < frame.len {
                // SAFETY: a live tuple of more items than `next`; what it holds is alive.
                let item = unsafe { self.objects.item(frame.tuple, next) };
                let item = item.map_err(|reason| self.value(reason))?;
                // SAFETY: as above.
                unsafe { self.visit(item)? }
            } else {
                // SAFETY: tuples under way are alive.
                unsafe { self.complete()? }
            };
        }
    }

    /// What a pointer to `object` is, once it is written. None: it is a tuple, which is under way now.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn visit(&mut self, object: *mut ffi::PyObject) -> Result<Option<Ref>, Failed> {
        let address = object as u64;
        let kind = type_of(object);
        let is = |types: &[*const ffi::PyTypeObject]| types.iter().any(|t| kind == *t as u64);
        // SAFETY: these only tell where the interpreter has its singletons.
        let singletons = unsafe { [ffi::Py_None(), ffi::Py_True(), ffi::Py_False(), ffi::Py_Ellipsis()] };
        let tuple = is(&[&raw const ffi::PyTuple_Type]);
        let plain = tuple
            || is(&[
                &raw const ffi::PyUnicode_Type,
                &raw const ffi::PyLong_Type,
                &raw const ffi::PyFloat_Type,
                &raw const ffi::PyBytes_Type,
                &raw const ffi::PyComplex_Type,
            ]);
        if !plain && !singletons.contains(&object) {
            return Err(self.unfit(object));
        }
        if let Some(to) = self.objects.own(address) {
            return Ok(Some(to));
        }
        // An object that is referred to once is in one tuple, which is met once.
        // SAFETY: every object starts with a word: its reference count, and for those that are not immortal nothing else.
        let shared = unsafe { word(object, 0) } != 1;
        if let Some(place) = self.seen.get(&address).filter(|_| shared) {
            if *place == UNDER_WAY {
                return Err(self.value("contains itself".into()));
            }
            return Ok(Some(Ref::Object(*place)));
        }
        if tuple {
            if shared {
                self.seen.insert(address, UNDER_WAY);
            }
            // SAFETY: a live tuple.
            let len = unsafe { Objects::len(object) };
            self.frames.push(Frame { tuple: object, len, items: Vec::with_capacity(len) });
            return Ok(None);
        }
        // SAFETY: alive, as the caller promises.
        let copy = unsafe { self.objects.leaf(object, NO_PAYLOAD) };
        let copy = copy.map_err(|reason| self.value(reason))?.ok_or_else(|| self.unfit(object))?;
        // SAFETY: as above.
        let place = unsafe { self.leaf(copy, address)? };
        if shared {
            self.seen.insert(address, place);
        }
        Ok(Some(Ref::Object(place)))
    }

    /// Writes a leaf, unless an equal one was written.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn leaf(&mut self, copy: Copy, source: u64) -> Result<u32, Failed> {
        // Half of a hash is kept for each leaf: enough for as many as there can be.
        let spread = |hash: u32| u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = FixedState::default().hash_one((&copy.bytes, &copy.refs)) as u32;
        let objects = self.objects;
        let same = |leaf: &Leaf| {
            // SAFETY: an object of the graph that was met before.
            let other = || unsafe { objects.leaf(leaf.source as *mut ffi::PyObject, NO_PAYLOAD) };
            leaf.hash == hash && other().is_ok_and(|other| other.as_ref() == Some(&copy))
        };
        if let Some(leaf) = self.leaves.find(spread(hash), same) {
            return Ok(leaf.place);
        }
        let place = self.write(0, copy)?;
        self.leaves.insert_unique(spread(hash), Leaf { hash, place, source }, |leaf| spread(leaf.hash));
        Ok(place)
    }

    /// Writes the innermost tuple under way, whose items all are.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn complete(&mut self) -> Result<Option<Ref>, Failed> {
        let Some(frame) = self.frames.pop() else { return Ok(None) };
        // SAFETY: a live tuple with so many items.
        let copy = unsafe { self.objects.tuple(frame.tuple, Kind::Tuple, frame.items.into_iter()) };
        let copy = copy.map_err(|reason| self.value(reason))?;
        let place = self.write(GC_HEAD, copy)?;
        if let Some(seen) = self.seen.get_mut(&(frame.tuple as u64)) {
            *seen = place;
        }
        Ok(Some(Ref::Object(place)))
    }

    /// Writes a copy, with addresses for its pointers, and returns its place.
    fn write(&mut self, before: usize, mut copy: Copy) -> Result<u32, Failed> {
        for (at, to) in &copy.refs {
            let address = match to {
                Ref::Object(place) => self.build.base + u64::from(*place) * ALIGN as u64,
                Ref::Interpreter(address) => self.build.interpreter.wrapping_add(*address),
                Ref::Payload(..) | Ref::Made(_) => return Err(self.value("has a pointer of another kind".into())),
            };
            copy.bytes[*at as usize..][..8].copy_from_slice(&address.to_le_bytes());
        }
        let outside = copy.refs.iter().filter(|(_, to)| matches!(to, Ref::Interpreter(_))).map(|(at, _)| *at);
        let at = self.writer.push(before, &copy.bytes, outside).map_err(Failed::Write)?;
        let place = u32::try_from(at / ALIGN as u64).ok().filter(|place| *place != UNDER_WAY);
        place.ok_or_else(|| {
            Failed::Write(Error::limit("bytes of objects in a cache", u64::from(u32::MAX) * ALIGN as u64, at))
        })
    }

    fn unfit(&self, object: *mut ffi::PyObject) -> Failed {
        let name = Python::attach(|py| {
            // SAFETY: callers pass live objects.
            let object = unsafe { Bound::from_borrowed_ptr(py, object) };
            object.get_type().fully_qualified_name().map(|name| name.to_string())
        });
        Failed::Type(self.way(), name.unwrap_or_else(|_| "unknown".into()))
    }

    fn value(&self, reason: String) -> Failed {
        Failed::Value(self.way(), reason)
    }

    /// How to get to the object that is being visited: the last steps.
    fn way(&self) -> String {
        let skipped = self.frames.len().saturating_sub(TOLD);
        let steps = self.frames[skipped..].iter().map(|frame| format!("[{}]", frame.items.len()));
        let steps: String = steps.collect();
        if skipped == 0 { steps } else { format!(" {skipped} levels deep, …{steps}") }
    }
}
