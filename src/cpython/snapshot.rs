//! Takes objects out of the running interpreter: freshly unmarshalled code, never executed, and all it reaches, as an
//! [`image::graph::Graph`](crate::image::graph::Graph).
//!
//! An object is copied as it is laid out in memory, but for what one process or one use of it has put there: reference count, hashes, pointers, caches.
//! Pointers may lead to other objects of the graph, to static objects of the interpreter (which are at the same place in its file in every process), and to
//! text in the mapped package. Kinds that depend on the process, such as a `frozenset`, whose order follows the hashes, are noted as marshal data to be
//! made when the module is loaded.
//!
//! The module `copy` knows how each kind is laid out.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use super::code::{CO_OPTIMIZED, CONSTANTS, FLAGS, Layout as CodeLayout, SIZE, code_type};
use super::copy::{self, Copy, type_of};
use super::interpreter::Interpreter;
use super::memory::{bytes, word, word32};
use crate::image::graph::{Function, Graph, Kind, Module, Ref};
use crate::image::shape::{MAX_TEMPLATES, Shape, Slot};

/// Deepest nesting of what is copied: `marshal` itself stops at 2,000 levels.
const MAX_DEPTH: usize = 2_000;

/// How objects look in the running interpreter.
#[derive(Debug)]
pub struct Objects {
    /// Of code.
    pub code: &'static CodeLayout,
    /// The file with the static objects.
    pub interpreter: Interpreter,
    /// Bytes from a tuple's start to its items; where there are more than 24, its hash is the word before.
    pub items: usize,
    /// First word of an immortal object.
    pub immortal: u64,
    /// How a `str` is marked, but in a debug build.
    pub mark: u32,
    /// Whether the interpreter frees, at its end, what is not marked and was interned, though it is immortal.
    pub frees_interned: bool,
    /// Whether it is a debug build. It asserts that a `str` that is neither interned nor static is not immortal, and that none is interned that is static.
    pub debug: bool,
    /// The type of code objects.
    pub code_type: u64,
}

impl Objects {
    /// What is to be known of the running interpreter: read off it where that can be, else checked. The layout of code is given, for [`CodeLayout::probe`] takes longer
    /// than all else, and not everybody needs it.
    ///
    /// # Errors
    /// Something is not as in any known version.
    fn new(py: Python<'_>, code: &'static CodeLayout) -> PyResult<Objects> {
        let unknown = |what: String| PyRuntimeError::new_err(format!("objects are laid out in an unknown way: {what}"));
        let interpreter =
            Interpreter::find().ok_or_else(|| unknown("the interpreter's own file cannot be found".into()))?;
        if interpreter.build_id.is_empty() {
            return Err(unknown("the interpreter's file has no build-id".into()));
        }
        let shape = Shape::of_minor(code.minor).ok_or_else(|| unknown(format!("3.{} has no table", code.minor)))?;
        let items: usize = py.get_type::<PyTuple>().getattr("__basicsize__")?.extract()?;
        if items != shape.items {
            return Err(unknown(format!("tuples have items at {items}, expected {}", shape.items)));
        }
        let debug = py.import("sys")?.hasattr("gettotalrefcount")?;
        // None is immortal in all these versions; in some it bears a mark of static objects besides.
        // SAFETY: every object starts with a word.
        let none = unsafe { word(py.None().as_ptr(), 0) };
        let immortal = shape.immortal;
        let fixed = if code.minor < 14 { immortal } else { immortal | 4 << 48 };
        // Extensions built for an older stable ABI count references to immortal objects as well.
        if (none as u32).abs_diff(fixed as u32) > 1 << 28 || none >> 32 != fixed >> 32 {
            return Err(unknown(format!("None starts with {none:#x}, expected {fixed:#x}")));
        }
        let code_type = code_type(py)?.as_ptr() as u64;
        let mark = shape.mark;
        let frees_interned = debug || mark == 0 && copy::frees_interned(py, immortal);
        Ok(Objects { code, interpreter, items, immortal, mark, frees_interned, debug, code_type })
    }

    /// For building: all is probed.
    ///
    /// # Errors
    /// Something is not as in any known version.
    pub fn probe(py: Python<'_>) -> PyResult<Objects> {
        Objects::new(py, CodeLayout::probe(py)?)
    }

    /// For using what was built by the same build of the interpreter, once for the process: see [`CodeLayout::of`].
    ///
    /// # Errors
    /// As [`Objects::probe`].
    pub fn of_process(py: Python<'_>) -> PyResult<&'static Objects> {
        static OBJECTS: OnceLock<Objects> = OnceLock::new();
        match OBJECTS.get() {
            Some(objects) => Ok(objects),
            None => {
                let objects = Objects::new(py, CodeLayout::of(py)?)?;
                Ok(OBJECTS.get_or_init(|| objects))
            }
        }
    }
}

/// Why a module cannot be in the image.
pub type Unfit = String;

/// Copies modules, one after the other.
pub struct Snapshot<'a> {
    objects: &'a Objects,
    /// Addresses at which the payload sections of the package are mapped, by their number.
    payload: Vec<(u8, Range<u64>)>,
    /// Makes marshal data.
    dumps: Bound<'a, PyAny>,
    /// What is there so far.
    pub graph: Graph,
    /// Objects of the module under way, by address.
    seen: HashMap<u64, u32>,
}

impl<'a> Snapshot<'a> {
    /// Nothing so far. `payload` tells at which addresses the text of the package is mapped.
    ///
    /// # Errors
    /// `marshal` cannot be imported.
    pub fn new(py: Python<'a>, objects: &'a Objects, payload: Vec<(u8, Range<u64>)>) -> PyResult<Snapshot<'a>> {
        let dumps = py.import("marshal")?.getattr("dumps")?;
        Ok(Snapshot { objects, payload, dumps, graph: Graph::default(), seen: HashMap::new() })
    }

    /// Copies the code of a module: fresh from unmarshalling, not executed and not looked at.
    ///
    /// # Errors
    /// It holds something that cannot be in an image; the graph is as it was.
    pub fn module(&mut self, code: &Bound<'_, PyAny>, record: u32) -> Result<(), Unfit> {
        let mark = self.graph.mark();
        self.seen.clear();
        let source = code.getattr("co_filename").and_then(|name| name.extract::<String>());
        let done = source.map_err(|e| e.to_string()).and_then(|source| {
            let number = self.graph.modules.len() as u32;
            if code.as_ptr() as u64 == 0 || type_of(code.as_ptr()) != self.objects.code_type {
                return Err("not a code object".into());
            }
            // SAFETY: a code object that the caller keeps alive, with all it leads to.
            let root = unsafe { self.code(code.as_ptr(), Some(MAX_TEMPLATES), number, MAX_DEPTH)? };
            self.graph.modules.push(Module { record, root, source });
            Ok(())
        });
        if done.is_err() {
            self.graph.truncate(&mark);
        }
        done
    }

    /// Copies any object.
    ///
    /// # Errors
    /// It holds something that cannot be in an image.
    pub fn value(&mut self, object: &Bound<'_, PyAny>) -> Result<Ref, Unfit> {
        // SAFETY: the caller keeps the object alive, with all it leads to.
        unsafe { self.object(object.as_ptr(), 0, MAX_DEPTH) }
    }

    /// # Safety
    /// `object` is alive, with all it leads to, and nothing writes to these meanwhile.
    unsafe fn object(&mut self, object: *mut ffi::PyObject, module: u32, depth: usize) -> Result<Ref, Unfit> {
        let address = object as u64;
        if let Some(to) = self.objects.own(address) {
            return Ok(to);
        }
        if let Some(number) = self.seen.get(&address) {
            return Ok(Ref::Object(*number));
        }
        let depth = depth.checked_sub(1).ok_or("constants nested too deeply")?;
        let kind = type_of(object);
        let is = |t: *const ffi::PyTypeObject| kind == t as u64;
        // SAFETY: in each case the object has that very type, so it is laid out as that type's objects are.
        let number = unsafe {
            if let Some(copy) = self.objects.leaf(object, &self.payload)? {
                self.add(&copy, true)
            } else if is(&raw const ffi::PyTuple_Type) {
                let items = self.items(object, module, depth, None)?;
                self.tuple(object, Kind::Tuple, &items)?
            } else if kind == self.objects.code_type {
                self.code(object, None, module, depth)?
            } else if is(&raw const ffi::PyFrozenSet_Type) || is(&raw const ffi::PySlice_Type) {
                let object = Bound::from_borrowed_ptr(self.dumps.py(), object);
                let data = self.dumps.call1((object,)).and_then(|data| Ok(data.cast_into::<PyBytes>()?));
                let data = data.map_err(|e| e.to_string())?.as_bytes().to_vec();
                return Ok(Ref::Made(self.graph.add_made(data)));
            } else {
                let object = Bound::from_borrowed_ptr(self.dumps.py(), object);
                return Err(format!("a constant of type {}", object.get_type()));
            }
        };
        self.seen.insert(address, number);
        Ok(Ref::Object(number))
    }

    /// What code that runs once refers to: a tuple or a byte string is part of the template, a `str` may outlive it.
    ///
    /// # Safety
    /// As [`Self::object`].
    unsafe fn part(&mut self, object: *mut ffi::PyObject, module: u32, depth: usize) -> Result<Ref, Unfit> {
        let kind = type_of(object);
        // SAFETY: as the caller promises; each is of the type it is taken for.
        let number = unsafe {
            if kind == (&raw const ffi::PyTuple_Type) as u64 {
                let items = self.items(object, module, depth, None)?;
                self.tuple(object, Kind::OnceTuple, &items)?
            } else if kind == (&raw const ffi::PyBytes_Type) as u64
                && let Some(copy) = self.objects.leaf(object, &self.payload)?
            {
                self.add(&Copy { kind: Kind::OnceLeaf, ..copy }, true)
            } else {
                return self.object(object, module, depth);
            }
        };
        Ok(Ref::Object(number))
    }

    fn add(&mut self, copy: &Copy, shared: bool) -> u32 {
        self.graph.add(copy.kind, &copy.bytes, &copy.refs, shared)
    }

    /// What the items of a tuple are. With `once`, code that is not a function's is a template, nested at most so deep.
    ///
    /// # Safety
    /// `object` is a live tuple, with all it leads to.
    unsafe fn items(
        &mut self,
        object: *mut ffi::PyObject,
        module: u32,
        depth: usize,
        once: Option<usize>,
    ) -> Result<Vec<Ref>, Unfit> {
        // SAFETY: a live tuple.
        let size = unsafe { Objects::len(object) };
        let mut refs = Vec::with_capacity(size);
        for index in 0..size {
            // SAFETY: one of its items.
            let item = unsafe { self.objects.item(object, index)? };
            // SAFETY: what a live tuple holds is alive; flags are read of code only.
            let to = unsafe {
                match once {
                    Some(left)
                        if type_of(item) == self.objects.code_type && word32(item, FLAGS) & CO_OPTIMIZED == 0 =>
                    {
                        Ref::Object(self.code(item, left.checked_sub(1), module, depth)?)
                    }
                    _ => self.object(item, module, depth)?,
                }
            };
            refs.push(to);
        }
        Ok(refs)
    }

    /// # Safety
    /// `object` is a live tuple.
    unsafe fn tuple(&mut self, object: *mut ffi::PyObject, kind: Kind, items: &[Ref]) -> Result<u32, Unfit> {
        // SAFETY: a live tuple of so many items.
        let copy = unsafe { self.objects.tuple(object, kind, items.iter().copied())? };
        Ok(self.add(&copy, kind == Kind::Tuple))
    }

    /// # Safety
    /// `object` is a live code object, with all it leads to.
    unsafe fn code(
        &mut self,
        object: *mut ffi::PyObject,
        once: Option<usize>,
        module: u32,
        depth: usize,
    ) -> Result<u32, Unfit> {
        let depth = depth.checked_sub(1).ok_or("code nested too deeply")?;
        let layout = self.objects.code;
        // SAFETY: all offsets lie in a code object, whose layout was probed; its code units follow.
        let (mut copy, flags) = unsafe {
            let units = word(object, SIZE) as usize;
            (bytes(object, 0, layout.size + 2 * units).to_vec(), word32(object, FLAGS))
        };
        if layout.notes.iter().any(|note| copy[note.at..note.at + note.len].iter().any(|b| *b != 0)) {
            return Err("code that has been used".into());
        }
        let once = once.filter(|_| flags & CO_OPTIMIZED == 0);
        let mut refs = vec![self.objects.type_ref(object)?];
        for Slot { at, .. } in layout.objects {
            // SAFETY: a pointer to an object that the code keeps alive.
            let to = unsafe {
                let child = word(object, at) as *mut ffi::PyObject;
                if child.is_null() {
                    return Err("code without one of its objects".into());
                }
                if at == CONSTANTS && once.is_some() {
                    if type_of(child) != (&raw const ffi::PyTuple_Type) as u64 {
                        return Err("code whose constants are not a tuple".into());
                    }
                    let items = self.items(child, module, depth, once)?;
                    Ref::Object(self.tuple(child, Kind::OnceTuple, &items)?)
                } else if once.is_some() && self.objects.own(child as u64).is_none() {
                    self.part(child, module, depth)?
                } else {
                    self.object(child, module, depth)?
                }
            };
            copy[at..at + 8].fill(0);
            refs.push((at as u32, to));
        }
        for (at, len) in layout.unset {
            copy[*at..at + len].fill(0);
        }
        copy[layout.version..layout.version + 4].fill(0);
        self.objects.head(&mut copy, self.objects.immortal);
        if once.is_some() {
            return Ok(self.graph.add(Kind::Once, &copy, &refs, false));
        }
        let number = self.graph.add(Kind::Function, &copy, &refs, false);
        // SAFETY: a live code object.
        let code = unsafe { Bound::from_borrowed_ptr(self.dumps.py(), object) };
        let about = |name: &str| code.getattr(name).map_err(|e| e.to_string());
        let name = about("co_qualname")?.cast::<PyString>().map_err(|e| e.to_string())?.to_string_lossy().into_owned();
        let line = about("co_firstlineno")?.extract().map_err(|e: PyErr| e.to_string())?;
        self.graph.functions.push(Function { object: number, module, name, line });
        Ok(number)
    }
}
