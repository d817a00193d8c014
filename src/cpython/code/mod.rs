//! Code objects as the image has to know them: where the fields are that refer to objects, that a fresh copy must not inherit, and
//! that make a code object one of its own. One file a minor version; [`Layout::probe`] holds the table against code objects of the running interpreter.
//!
//! Source: `Include/cpython/code.h` (`_PyCode_DEF`) of each version.

#![allow(unsafe_code)]

mod v3_12;
mod v3_13;
mod v3_14;
mod v3_15;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use super::memory::{bytes, word, word32};
use crate::image::fields::{Note, notes};
pub use crate::image::shape::{CO_OPTIMIZED, CONSTANTS, FLAGS, SIZE, TYPE, VERSION};
use crate::image::shape::{SHAPES, SLOTS, Shape, Slot};

/// Where the fields of a code object are, in bytes from its start.
#[derive(Debug)]
pub struct Layout {
    /// Minor version of CPython 3.
    pub minor: u8,
    /// `offsetof(PyCodeObject, co_code_adaptive)`: the code units follow.
    pub size: usize,
    /// Pointers to objects.
    pub objects: [Slot; 9],
    /// What the interpreter notes while code runs, or on behalf of others (weak references, caches, executors, monitoring data, extra
    /// data). Zero in code that nobody has used.
    pub notes: &'static [Note],
    /// What is never set, padding too: start and length.
    pub unset: &'static [(usize, usize)],
    /// `_co_cached`, one of the notes: filled when `co_code` is asked for.
    pub cached: usize,
    /// `co_version`, four bytes.
    pub version: usize,
    /// Integers of four bytes, by their attribute.
    pub numbers: [(&'static str, usize); 7],
}

fn unknown(what: String) -> PyErr {
    PyRuntimeError::new_err(format!("code objects are laid out in an unknown way: {what}"))
}

/// The fields up to `co_version` are the same in 3.12 to 3.15.
const NUMBERS: [(&str, usize); 7] = [
    ("co_flags", FLAGS),
    ("co_argcount", 52),
    ("co_posonlyargcount", 56),
    ("co_kwonlyargcount", 60),
    ("co_stacksize", 64),
    ("co_firstlineno", 68),
    ("co_nlocals", 80),
];
const V3_12: Shape = SHAPES[0];
const V3_13: Shape = SHAPES[1];
const V3_14: Shape = SHAPES[2];
const V3_15: Shape = SHAPES[3];

const ALL: [&Layout; 4] = [&v3_12::LAYOUT, &v3_13::LAYOUT, &v3_14::LAYOUT, &v3_15::LAYOUT];

/// `types.CodeType`, without importing `types`, which many a program does not: the type of the code of a function that every interpreter has.
pub(super) fn code_type(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let function = py.import("_frozen_importlib")?.getattr("_call_with_frames_removed")?;
    Ok(function.getattr("__code__")?.get_type())
}

impl Layout {
    /// The layout of the running interpreter by its version, if its code objects have that size. Enough where a sample is compared with that of a builder of the very
    /// same build, which has probed.
    ///
    /// # Errors
    /// A version without a table, or another size.
    pub fn of(py: Python<'_>) -> PyResult<&'static Layout> {
        let version = py.version_info();
        let layout = ALL.iter().find(|l| version.major == 3 && l.minor == version.minor);
        let layout =
            layout.ok_or_else(|| unknown(format!("CPython {}.{} has no table", version.major, version.minor)))?;
        let kind = code_type(py)?;
        let (size, item, weak): (usize, usize, usize) = (
            kind.getattr("__basicsize__")?.extract()?,
            kind.getattr("__itemsize__")?.extract()?,
            kind.getattr("__weakrefoffset__")?.extract()?,
        );
        if (size, item) != (layout.size, 2) || !layout.notes.iter().any(|note| note.at == weak) {
            return Err(unknown(format!("{size} bytes, items of {item}, weak references at {weak}")));
        }
        Ok(layout)
    }

    /// As [`Layout::of`], held against two fresh code objects.
    ///
    /// # Errors
    /// As that, or code objects that are laid out in another way than the table says.
    pub fn probe(py: Python<'_>) -> PyResult<&'static Layout> {
        let layout = Layout::of(py)?;
        let kind = code_type(py)?;
        let compile = py.import("builtins")?.getattr("compile")?;
        let source = "def f(a, /, b, c=1, *, d=2, **e):\n  'text'\n  g = lambda: (b, g)\n  return e.x, 3.5";
        let module = compile.call1((source, "<pye>", "exec", 0, true, 0))?;
        let constants = module.getattr("co_consts")?;
        let mut function = None;
        for item in constants.try_iter()? {
            let item = item?;
            if item.get_type().is(&kind) {
                function = Some(item);
            }
        }
        let function = function.ok_or_else(|| unknown("no function among the constants".into()))?;
        for code in [&module, &function] {
            layout.check(code).map_err(unknown)?;
        }
        // They were made one after the other, the inner one first.
        // SAFETY: code objects, as `check` has seen; `version` lies below their size.
        let version = |code: &Bound<'_, PyAny>| unsafe { word32(code.as_ptr(), layout.version) };
        if version(&function).wrapping_add(1) != version(&module) {
            return Err(unknown(format!("versions {} and {}", version(&function), version(&module))));
        }
        function.getattr("co_code")?;
        // SAFETY: as above; so do all notes.
        let used = |note: &&Note| unsafe { bytes(function.as_ptr(), note.at, note.len) }.iter().any(|b| *b != 0);
        let written = layout.notes.iter().filter(used);
        if written.map(|note| note.at).ne([layout.cached]) {
            return Err(unknown(format!("asking for co_code wrote elsewhere than at {}", layout.cached)));
        }
        Ok(layout)
    }

    /// That a fresh code object has all fields where the table says.
    fn check(&self, code: &Bound<'_, PyAny>) -> Result<(), String> {
        let object = code.as_ptr();
        let attribute = |name: &str| code.getattr(name).map_err(|e| format!("no {name}: {e}"));
        for (name, at) in self.numbers {
            let value: u32 = attribute(name)?.extract().map_err(|e: PyErr| e.to_string())?;
            // SAFETY: a code object has at least `size` bytes, its `__basicsize__`; all fields of the tables lie below that.
            let here = unsafe { word32(object, at) };
            if value != here {
                return Err(format!("{name} is {value}, at {at} is {here}"));
            }
        }
        for Slot { name, at, .. } in self.objects {
            // SAFETY: as above.
            let here = unsafe { word(object, at) };
            // These two have no attribute: code tells of three kinds of names instead. They stand between others that have; what they hold is checked where it is read.
            if name.starts_with("co_localsplus") {
                continue;
            }
            if here != attribute(name)?.as_ptr() as u64 {
                return Err(format!("{name} is not at {at}"));
            }
        }
        // SAFETY: as above.
        let used = |note: &Note| unsafe { bytes(object, note.at, note.len) }.iter().any(|b| *b != 0);
        if self.notes.iter().any(used) {
            return Err("fresh code has notes of its use".into());
        }
        // SAFETY: as above; `ob_size` counts the code units.
        let units = unsafe { word(object, SIZE) } as usize;
        let adaptive = attribute("_co_code_adaptive")?;
        let adaptive = adaptive.cast::<PyBytes>().map_err(|e| e.to_string())?;
        let size: usize = attribute("__sizeof__")?.call0().and_then(|s| s.extract()).map_err(|e| e.to_string())?;
        if size != (self.size + units * 2).next_multiple_of(8) {
            return Err(format!("{size} bytes for {units} code units"));
        }
        // SAFETY: the object has the size that has just been checked.
        if adaptive.as_bytes() != unsafe { bytes(object, self.size, units * 2) } {
            return Err(format!("code units are not at {}", self.size));
        }
        Ok(())
    }
}
