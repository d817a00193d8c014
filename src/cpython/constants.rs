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
use pyo3::types::{PyFrozenSet, PyString, PyTuple};

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

/// Where a tuple's items are, read off the running interpreter.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes from the start of the object to its first item.
    items: usize,
}

impl Layout {
    /// Finds out and checks.
    ///
    /// # Errors
    /// The items are not where `tuple.__basicsize__` says.
    pub fn probe(py: Python<'_>) -> PyResult<Layout> {
        let kind = py.get_type::<PyTuple>();
        let items: usize = kind.getattr("__basicsize__")?.extract()?;
        let item: usize = kind.getattr("__itemsize__")?.extract()?;
        let sample = PyTuple::new(py, [py.None(), py.get_type::<PyTuple>().into_any().unbind(), py.NotImplemented()])?;
        let known = matches!(items, 24 | 32) && item == size_of::<usize>();
        let matches = known
            && (0..3).all(|i| {
                // SAFETY: `__basicsize__` of a tuple does not count its items, so an object with three of them has that many bytes and
                // three words; it is alive while `sample` is.
                let there = unsafe { *sample.as_ptr().byte_add(items).cast::<*mut ffi::PyObject>().add(i) };
                sample.get_item(i).is_ok_and(|item| item.as_ptr() == there)
            });
        if matches {
            return Ok(Layout { items });
        }
        Err(PyRuntimeError::new_err(format!("tuple is laid out in an unknown way: items after {items} bytes")))
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
    /// Whether all of it could be done: a tuple inside a set must keep its hash.
    ///
    /// # Errors
    /// `code` has no constants: it is no code object.
    pub fn run(&mut self, code: &Bound<'py, PyAny>, most: usize) -> PyResult<bool> {
        let code_type = code.get_type();
        let mut left = most;
        // A stack of its own: nesting is bounded by marshal, at 2,000, but not by the C stack of this thread.
        let mut tuples = vec![constants(code)?];
        while let Some(tuple) = tuples.pop() {
            for index in 0..tuple.len() {
                let Some(fewer) = left.checked_sub(1) else { return Ok(false) };
                left = fewer;
                let item = tuple.get_borrowed_item(index)?.to_owned();
                if item.is_exact_instance_of::<PyString>() {
                    if let Some(number) = self.number(&item) {
                        self.exchange(&tuple, index, item, number);
                    }
                } else if let Ok(inner) = item.cast_exact::<PyTuple>() {
                    tuples.push(inner.clone());
                } else if item.get_type().is(&code_type) {
                    tuples.push(constants(&item)?);
                } else if let Ok(set) = item.cast_exact::<PyFrozenSet>()
                    && set.iter().any(|member| !member.is_exact_instance_of::<PyString>() && member.len().is_ok())
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn exchange(&mut self, tuple: &Bound<'py, PyTuple>, index: usize, old: Bound<'py, PyAny>, number: usize) {
        let new = self.texts[number].clone().into_ptr();
        // SAFETY: `tuple` is an exact tuple with more than `index` items, and its items start at `items` (probed). The slot
        // owns a reference to `old`, which is taken over here, and gets one to `new`, of the same type. The tuple came from
        // `marshal` a moment ago, so nobody has hashed it, and no hash of it is kept: a set that was built of it as well makes
        // `run` stop, and the code is thrown away.
        let given = unsafe {
            let slot = tuple.as_ptr().byte_add(self.layout.items).cast::<*mut ffi::PyObject>().add(index);
            debug_assert_eq!(*slot, old.as_ptr());
            *slot = new;
            Bound::from_owned_ptr(self.py, old.as_ptr())
        };
        drop(given);
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

/// `co_consts` of a code object.
fn constants<'py>(code: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    Ok(code.getattr("co_consts")?.cast_into_exact::<PyTuple>()?)
}
