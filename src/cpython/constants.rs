//! Exchanges placeholders among the constants of freshly unmarshalled code for the texts they stand for.
//!
//! A placeholder is a `str` of [`LEN`] ASCII characters that no program has: a control character, eight characters that are
//! random for the process, and its number in hexadecimal. The code is not known to anybody else yet, so writing to its
//! constant tuples is what `marshal` itself does.
//!
//! Afterwards nothing may refer to a placeholder any more. That is not assumed but counted ([`Exchange::leftover`]): a text that
//! stands where this module does not look, such as in a `frozenset`, is noticed, and the caller loads the module whole.

#![allow(unsafe_code)]

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::memory::word;

/// Characters of a placeholder.
pub const LEN: usize = 17;
/// First character: not one of an identifier, so that code objects do not intern it.
const MARK: u8 = 1;

/// What makes the placeholders of this process unlike any constant.
#[derive(Clone, Copy, Debug)]
pub struct Nonce([u8; 8]);

impl Nonce {
    /// Makes one of random bits.
    pub fn new(random: u64) -> Nonce {
        // Six bits each, as printable ASCII.
        Nonce(std::array::from_fn(|i| 0x30 + (random >> (6 * i) & 0x3f) as u8))
    }

    /// The characters of placeholder `number`.
    pub fn placeholder(&self, number: u32) -> [u8; LEN] {
        let mut out = [MARK; LEN];
        out[1..9].copy_from_slice(&self.0);
        for (i, digit) in out[9..].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (28 - 4 * i) & 15) as usize];
        }
        out
    }

    fn number(&self, text: &[u8]) -> Option<u32> {
        let digits = text.strip_prefix(&[MARK])?.strip_prefix(&self.0)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

/// Where a tuple's items and a code object's constants are, read off the running interpreter.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes from the start of a tuple to its first item.
    items: usize,
    /// Bytes from the start of a code object to the pointer to its constants.
    constants: usize,
    /// The type of code objects.
    code: *mut ffi::PyTypeObject,
}

// SAFETY: the pointer is only compared with others; the type it leads to belongs to the interpreter and is never freed.
unsafe impl Send for Layout {}
// SAFETY: as above.
unsafe impl Sync for Layout {}

impl Layout {
    /// Finds out and checks.
    ///
    /// # Errors
    /// The items of a tuple are not where `tuple.__basicsize__` says, or no place is where all code objects hold their constants.
    pub fn probe(py: Python<'_>) -> PyResult<Layout> {
        let unknown =
            |what: String| Err(PyRuntimeError::new_err(format!("objects are laid out in an unknown way: {what}")));
        let kind = py.get_type::<PyTuple>();
        let items: usize = kind.getattr("__basicsize__")?.extract()?;
        let item: usize = kind.getattr("__itemsize__")?.extract()?;
        let sample = PyTuple::new(py, [py.None(), kind.into_any().unbind(), py.NotImplemented()])?;
        let known = matches!(items, 24 | 32) && item == size_of::<usize>();
        let matches = known
            && (0..3).all(|i| {
                // SAFETY: `__basicsize__` of a tuple does not count its items, so an object with three of them has that many bytes and
                // three words; it is alive while `sample` is.
                let there = unsafe { word(sample.as_ptr(), items + i * item) };
                sample.get_item(i).is_ok_and(|item| item.as_ptr() as u64 == there)
            });
        if !matches {
            return unknown(format!("a tuple's items after {items} bytes"));
        }
        let compile = py.import("builtins")?.getattr("compile")?;
        let mut codes = Vec::new();
        for source in ["(1.5, [2.5])", "f = lambda: (g, 'text', 3.5)", "def f():\n  'doc'\n  return 1j"] {
            let code = compile.call1((source, "<pye>", "exec"))?;
            let constants = code.getattr("co_consts")?;
            codes.push((code, constants));
        }
        let code = codes[0].0.get_type();
        if codes.iter().any(|(other, _)| !other.get_type().is(&code)) {
            return unknown("code objects of several types".into());
        }
        let bytes: usize = code.getattr("__basicsize__")?.extract()?;
        // The first word that all of them hold their constants in: not each of those behind it is written by the interpreter.
        let constants = (2..bytes / size_of::<usize>()).map(|n| n * size_of::<usize>()).find(|place| {
            codes.iter().all(|(code, constants)| {
                // SAFETY: every code object has at least `__basicsize__` bytes, and `place` is that of a word within them; it is alive.
                (unsafe { word(code.as_ptr(), *place) }) == constants.as_ptr() as u64
            })
        });
        match constants {
            Some(constants) => Ok(Layout { items, constants, code: code.as_type_ptr() }),
            None => unknown(format!("no word of {bytes} bytes of code objects leads to their constants")),
        }
    }
}

/// One module's exchange.
pub struct Exchange<'py> {
    py: Python<'py>,
    layout: Layout,
    nonce: Nonce,
    /// The text for each placeholder; owned.
    texts: Vec<Bound<'py, PyAny>>,
    /// The placeholders that were met.
    met: Vec<Option<Bound<'py, PyAny>>>,
}

impl<'py> Exchange<'py> {
    /// Placeholder `i` stands for `texts[i]`.
    pub fn new(py: Python<'py>, layout: Layout, nonce: Nonce, texts: Vec<Bound<'py, PyAny>>) -> Self {
        let met = texts.iter().map(|_| None).collect();
        Exchange { py, layout, nonce, texts, met }
    }

    /// The number of the placeholder that `object` is.
    pub fn number(&self, object: &Bound<'py, PyAny>) -> Option<usize> {
        let text = object.cast_exact::<PyString>().ok()?;
        // SAFETY: `text` is a str, the GIL is held. Neither function runs Python code or changes it.
        let maybe = unsafe {
            ffi::PyUnicode_GetLength(text.as_ptr()) == LEN as ffi::Py_ssize_t
                && ffi::PyUnicode_ReadChar(text.as_ptr(), 0) == u32::from(MARK)
        };
        if !maybe {
            return None;
        }
        let text = text.to_cow().ok()?;
        let number = self.nonce.number(text.as_bytes())? as usize;
        (number < self.texts.len()).then_some(number)
    }

    /// Exchanges the placeholders in `code`, in the code objects among its constants, and in tuples among those.
    ///
    /// Looks at no more than `most` constants, since tuples that are shared are met once for each of their places.
    ///
    /// Whether all of it could be done: `code` must be a code object, and a tuple inside a set must keep its hash.
    pub fn run(&mut self, code: &Bound<'py, PyAny>, most: usize) -> bool {
        let (text, tuple, set) =
            (&raw mut ffi::PyUnicode_Type, &raw mut ffi::PyTuple_Type, &raw mut ffi::PyFrozenSet_Type);
        let Layout { items, constants, code: code_type } = self.layout;
        if code.get_type().as_type_ptr() != code_type {
            return false;
        }
        let mut left = most;
        // A stack of its own: nesting is bounded by marshal, at 2,000, but not by the C stack of this thread. All pointers on it are
        // borrowed from `code`, which keeps what it reaches alive: only placeholders, which reach nothing, are taken out.
        // SAFETY: `code` is a code object, and its constants, a tuple, are at `constants` (probed).
        let mut tuples = vec![unsafe { *code.as_ptr().byte_add(constants).cast::<*mut ffi::PyObject>() }];
        while let Some(holder) = tuples.pop() {
            // SAFETY: `holder` is a live tuple: what is pushed is one, and a code object's constants are.
            let (size, first) =
                unsafe { (ffi::Py_SIZE(holder) as usize, holder.byte_add(items).cast::<*mut ffi::PyObject>()) };
            if left < size {
                return false;
            }
            left -= size;
            for index in 0..size {
                // SAFETY: a tuple's `size` items start at `first` (probed); those of a tuple made by `marshal` are live objects.
                let (item, kind) = unsafe {
                    let item = *first.add(index);
                    (item, ffi::Py_TYPE(item))
                };
                if kind == text {
                    // SAFETY: an exact str, the GIL is held.
                    let string = unsafe { Bound::from_borrowed_ptr(self.py, item) };
                    let number = self.number(&string);
                    drop(string);
                    if let Some(number) = number {
                        // SAFETY: `first + index` is a slot of a tuple that nobody else knows, see the module and `exchange`.
                        unsafe { self.exchange(first.add(index), number) };
                    }
                } else if kind == tuple {
                    tuples.push(item);
                } else if kind == code_type {
                    // SAFETY: as for `code` itself.
                    tuples.push(unsafe { *item.byte_add(constants).cast::<*mut ffi::PyObject>() });
                } else if kind == set {
                    // SAFETY: a live object, the GIL is held.
                    let set = unsafe { Bound::from_borrowed_ptr(self.py, item) };
                    let plain = |member: PyResult<Bound<'py, PyAny>>| {
                        member.is_ok_and(|m| m.is_exact_instance_of::<PyString>() || m.len().is_err())
                    };
                    if !set.try_iter().is_ok_and(|mut members| members.all(plain)) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Puts the text `number` into the slot of a tuple that holds its placeholder.
    ///
    /// # Safety
    /// The slot owns a reference to the placeholder. No hash of the tuple is kept: it came from `marshal` a moment ago, so nobody has hashed it but
    /// for a set that was built of it as well, which makes `run` stop, and the code is thrown away.
    unsafe fn exchange(&mut self, slot: *mut *mut ffi::PyObject, number: usize) {
        let new = self.texts[number].clone().into_ptr();
        // SAFETY: as the caller promises; the slot gets a reference to another object of the same type, and the one it had is taken over.
        let old = unsafe { Bound::from_owned_ptr(self.py, std::mem::replace(&mut *slot, new)) };
        self.met(number, old);
    }

    /// Notes that `placeholder` was found and exchanged.
    pub fn met(&mut self, number: usize, placeholder: Bound<'py, PyAny>) {
        self.met[number] = Some(placeholder);
    }

    /// Numbers of the placeholders that something still refers to, or that were never met: the code is not the module's.
    pub fn leftover(&self) -> Vec<usize> {
        // SAFETY: the object is alive, for `met` owns a reference. That is the one that is counted.
        let gone =
            |met: &Option<Bound<'py, PyAny>>| met.as_ref().is_some_and(|p| unsafe { ffi::Py_REFCNT(p.as_ptr()) } == 1);
        (0..self.met.len()).filter(|i| !gone(&self.met[*i])).collect()
    }
}
