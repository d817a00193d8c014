//! Copies of single objects, as they are to stand in a file: without what one process or one use of them has put there.
//!
//! Sources, for 3.12 to 3.15: `Include/object.h`, `Include/refcount.h`, `Include/cpython/{unicodeobject,tupleobject,bytesobject,longintrepr,floatobject,complexobject}.h`.

#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::code::SIZE;
use super::memory::{bytes, word, word32};
use super::snapshot::{Objects, Unfit};
use crate::image::graph::{Kind, Ref};
use crate::image::shape::{self, BYTES_HASH, MORTAL, TYPE};
pub(super) use crate::image::shape::{BYTES_DATA, state, text};

/// Longest text without white space that is taken to be a key of dictionaries.
const MAX_KEY: usize = 64;

/// Offset of an int's tag; its digits follow. Bits of the tag below the number of digits.
const INT_TAG: usize = 16;
const INT_DIGITS: usize = 24;
const INT_SHIFT: u64 = 3;
/// Bytes of a `float`, of a `complex`.
const FLOAT: usize = 24;
const COMPLEX: usize = 32;
/// Offset of a tuple's hash, where it has one.
const TUPLE_HASH: usize = 24;

/// Payload sections of a package, by number, and the addresses they are mapped at.
pub(super) type Payload = [(u8, Range<u64>)];

/// A copy of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// What it is.
    pub(super) kind: Kind,
    /// Its bytes, with zeros for pointers.
    pub(super) bytes: Vec<u8>,
    /// Its pointers, by offset.
    pub(super) refs: Vec<(u32, Ref)>,
}

/// The type of a live object.
pub(super) fn type_of(object: *mut ffi::PyObject) -> u64 {
    // SAFETY: callers pass live objects.
    (unsafe { ffi::Py_TYPE(object) }) as u64
}

/// Bytes of a `str`; its characters count if they stand behind its head. None: it has no kind, as zeros have none.
///
/// # Safety
/// `object` is a live `str`, or as many zeros.
pub(super) unsafe fn text_size(object: *mut ffi::PyObject) -> Option<usize> {
    // SAFETY: all forms have this head.
    let (length, flags) = unsafe { (word(object, text::LENGTH), word32(object, text::STATE)) };
    shape::text_size(length, flags).map(|size| size as usize)
}

/// Marks a `str` as static, whatever it was. The interpreter frees interned strings at its end, and leaves these alone; what runs until then may intern it, or make
/// what is interned immortal.
///
/// # Safety
/// `object` is a live `str`, and the GIL is held.
unsafe fn make_static(object: *mut ffi::PyObject) {
    // SAFETY: its state is a word that nobody else writes while the GIL is held.
    unsafe { *object.byte_add(text::STATE).cast::<u32>() |= state::INTERNED | state::STATIC };
}

/// Whether the interpreter frees, at its end, a `str` that was immortal before it was interned. Later releases of 3.12 do; earlier ones take it for their own from then on.
pub(super) fn frees_interned(py: Python<'_>, immortal: u64) -> bool {
    // Asked once: a second str would lead to the first.
    static FREES: OnceLock<bool> = OnceLock::new();
    *FREES.get_or_init(|| {
        let mut object = PyString::new(py, "pye: interned when it was immortal").into_ptr();
        // SAFETY: a str that nobody else knows, and that nobody ever frees; interning it makes it lead to itself.
        unsafe {
            *object.cast::<u64>() = immortal;
            ffi::PyUnicode_InternInPlace(&mut object);
            let own = word32(object, text::STATE) & state::INTERNED == state::INTERNED;
            make_static(object);
            !own
        }
    })
}

impl Objects {
    /// Has a `str` of a file kept at the interpreter's end: any in a debug build, for what still runs may intern it; in others those that are interned, for more would copy pages of
    /// a process that ends.
    ///
    /// # Safety
    /// `object` is a live `str`, and the GIL is held.
    pub(super) unsafe fn keep(&self, object: *mut ffi::PyObject) {
        // SAFETY: as above.
        unsafe {
            if self.debug || word32(object, text::STATE) & state::INTERNED != 0 {
                make_static(object);
            }
        }
    }

    /// Bytes of an exact `tuple`, `str`, `bytes`, `int`, `float` or `complex`. None: it is something else.
    ///
    /// # Safety
    /// `object` is alive.
    pub(super) unsafe fn size(&self, object: *mut ffi::PyObject) -> Option<usize> {
        let kind = type_of(object);
        let is = |t: *const ffi::PyTypeObject| kind == t as u64;
        // SAFETY: in each case the object has that very type, so it is laid out as that type's objects are.
        unsafe {
            if is(&raw const ffi::PyUnicode_Type) {
                text_size(object)
            } else if is(&raw const ffi::PyTuple_Type) {
                Some(self.items + 8 * Self::len(object))
            } else if is(&raw const ffi::PyBytes_Type) {
                Some(BYTES_DATA + word(object, SIZE) as usize + 1)
            } else if is(&raw const ffi::PyLong_Type) {
                let digits = (word(object, INT_TAG) >> INT_SHIFT) as usize;
                Some(INT_DIGITS + 4 * digits.max(1))
            } else if is(&raw const ffi::PyFloat_Type) {
                Some(FLOAT)
            } else if is(&raw const ffi::PyComplex_Type) {
                Some(COMPLEX)
            } else {
                None
            }
        }
    }

    /// What a pointer to `address` is, if that is one of the interpreter's own objects.
    pub(super) fn own(&self, address: u64) -> Option<Ref> {
        self.interpreter.holds(address).then(|| Ref::Interpreter(address.wrapping_sub(self.interpreter.base)))
    }

    /// The pointer to its type.
    pub(super) fn type_ref(&self, object: *mut ffi::PyObject) -> Result<(u32, Ref), Unfit> {
        let to = self.own(type_of(object)).ok_or("an object whose type is not the interpreter's own")?;
        Ok((TYPE as u32, to))
    }

    /// Writes the reference count, and no type.
    pub(super) fn head(&self, copy: &mut [u8], count: u64) {
        copy[..8].copy_from_slice(&count.to_le_bytes());
        copy[8..16].fill(0);
    }

    /// Copies an exact `str`, `bytes`, `int`, `float` or `complex`. None: it is something else.
    ///
    /// # Safety
    /// `object` is alive, and nothing writes to it meanwhile.
    pub(super) unsafe fn leaf(&self, object: *mut ffi::PyObject, payload: &Payload) -> Result<Option<Copy>, Unfit> {
        let kind = type_of(object);
        let is = |t: *const ffi::PyTypeObject| kind == t as u64;
        if is(&raw const ffi::PyUnicode_Type) {
            // SAFETY: a str.
            return unsafe { self.text(object, payload) }.map(Some);
        }
        // SAFETY: alive.
        let Some(size) = (unsafe { self.size(object) }).filter(|_| !is(&raw const ffi::PyTuple_Type)) else {
            return Ok(None);
        };
        // SAFETY: as many bytes as it has.
        let mut copy = unsafe { bytes(object, 0, size) }.to_vec();
        if is(&raw const ffi::PyBytes_Type) {
            copy[BYTES_HASH..BYTES_DATA].fill(0xff);
        }
        self.head(&mut copy, self.immortal);
        Ok(Some(Copy { kind: Kind::Leaf, bytes: copy, refs: vec![self.type_ref(object)?] }))
    }

    /// Copies a `str`. Its characters stay in the payload if they are there, and stand behind its head otherwise.
    ///
    /// # Safety
    /// `object` is a live `str`.
    unsafe fn text(&self, object: *mut ffi::PyObject, payload: &Payload) -> Result<Copy, Unfit> {
        let mut refs = vec![self.type_ref(object)?];
        // SAFETY: all forms have this head.
        let (length, mut flags) = unsafe { (word(object, text::LENGTH) as usize, word32(object, text::STATE)) };
        let width = (flags >> state::KIND_SHIFT & state::KIND) as usize;
        let ascii = flags & state::ASCII != 0;
        let head = if ascii { text::ASCII_HEAD } else { text::COMPACT_HEAD };
        // SAFETY: a str.
        let Some(size) = (unsafe { text_size(object) }) else {
            return Err(format!("a str of kind {width}"));
        };
        let mut copy = if flags & state::COMPACT != 0 {
            // SAFETY: a compact str has its characters behind its head, and a NUL.
            unsafe { bytes(object, 0, size) }.to_vec()
        } else {
            // SAFETY: the form with a pointer to the characters.
            let data = unsafe { word(object, text::DATA) };
            if let Some((part, mapped)) = payload.iter().find(|(_, mapped)| mapped.contains(&data)) {
                // SAFETY: as above.
                let mut copy = unsafe { bytes(object, 0, text::HEAD) }.to_vec();
                let to = Ref::Payload(*part, data - mapped.start);
                copy[text::DATA..].fill(0);
                copy[text::UTF8..text::UTF8 + 8].fill(0);
                if ascii {
                    refs.push((text::UTF8 as u32, to));
                }
                refs.push((text::DATA as u32, to));
                copy
            } else {
                flags |= state::COMPACT;
                // SAFETY: as many characters as it says, and a NUL.
                let characters =
                    unsafe { std::slice::from_raw_parts(data as usize as *const u8, (length + 1) * width) };
                // SAFETY: every form has the head of the smallest.
                let mut copy = unsafe { bytes(object, 0, text::ASCII_HEAD) }.to_vec();
                copy.resize(head, 0);
                copy.extend_from_slice(characters);
                copy
            }
        };
        if !ascii {
            // The copy in UTF-8 that somebody may have asked for.
            copy[text::UTF8 - 8..text::UTF8 + 8].fill(0);
        }
        let name = flags & state::INTERNED != 0;
        // In a debug build a str must be what it says: it is interned in earnest when its module is loaded.
        let (count, mark) = if self.debug { (MORTAL, 0) } else { (self.immortal, self.mark) };
        self.head(&mut copy, count);
        copy[text::HASH..text::STATE].fill(0xff);
        let compact = flags & state::COMPACT != 0;
        let flags = flags & (state::KIND << state::KIND_SHIFT | state::COMPACT | state::ASCII) | mark;
        copy[text::STATE..text::STATE + 8].copy_from_slice(&u64::from(flags).to_le_bytes());
        let key = || compact && length <= MAX_KEY && !copy[text::ASCII_HEAD..].iter().any(u8::is_ascii_whitespace);
        let kind = match () {
            () if name => Kind::Name,
            () if key() => Kind::Key,
            () => Kind::Leaf,
        };
        Ok(Copy { kind, bytes: copy, refs })
    }

    /// Number of a tuple's items.
    ///
    /// # Safety
    /// `tuple` is a live tuple.
    pub(super) unsafe fn len(tuple: *mut ffi::PyObject) -> usize {
        // SAFETY: `ob_size`.
        (unsafe { word(tuple, SIZE) }) as usize
    }

    /// An item of a tuple.
    ///
    /// # Safety
    /// `tuple` is a live tuple of more than `index` items.
    ///
    /// # Errors
    /// The slot is empty.
    pub(super) unsafe fn item(&self, tuple: *mut ffi::PyObject, index: usize) -> Result<*mut ffi::PyObject, Unfit> {
        // SAFETY: items stand one after the other.
        let item = (unsafe { word(tuple, self.items + 8 * index) }) as *mut ffi::PyObject;
        if item.is_null() { Err("a tuple with an empty slot".into()) } else { Ok(item) }
    }

    /// Copies a tuple, which is to hold `items`.
    ///
    /// # Safety
    /// `tuple` is a live tuple of so many items.
    pub(super) unsafe fn tuple(
        &self,
        tuple: *mut ffi::PyObject,
        kind: Kind,
        items: impl ExactSizeIterator<Item = Ref>,
    ) -> Result<Copy, Unfit> {
        let start = self.items;
        let mut refs = Vec::with_capacity(1 + items.len());
        refs.push(self.type_ref(tuple)?);
        let mut copy = vec![0; start + 8 * items.len()];
        // SAFETY: the head of a tuple.
        copy[..start].copy_from_slice(unsafe { bytes(tuple, 0, start) });
        if start > TUPLE_HASH {
            copy[TUPLE_HASH..start].fill(0xff);
        }
        self.head(&mut copy, self.immortal);
        refs.extend(items.enumerate().map(|(i, to)| ((start + 8 * i) as u32, to)));
        Ok(Copy { kind, bytes: copy, refs })
    }
}
