//! A `str` whose characters stay in a mapped file.
//!
//! Such an object is an exact `str` in the *non-compact* form that CPython itself gives instances of subclasses: a
//! `PyUnicodeObject` whose `data` points elsewhere. Its header, 64 bytes (80 up to 3.11), is made here; the interpreter never gets
//! to free it or the characters, for one reference is never given back. (An immortal string that is neither interned nor part of the
//! interpreter breaks an invariant of CPython from 3.13 on, `_PyUnicode_CheckConsistency`. In 3.12 it does not, and there the object is
//! immortal, since interning anything else makes it immortal for good and drops it when the interpreter ends.)
//!
//! Headers lie in slabs that are never freed, one header for each distinct blob however often its module is loaded.
//!
//! The layout is not taken from a table alone: [`Layout::probe`] makes instances of a `str` subclass, one for each form, and
//! demands that the header this module would write for the same characters is the interpreter's own, word for word.
//!
//! Sources: `Include/cpython/unicodeobject.h` of 3.9 to 3.15, `Objects/unicodeobject.c` (`unicode_subtype_new`,
//! `_PyUnicode_ClearInterned`), `Include/refcount.h`.

#![allow(unsafe_code)]

use std::alloc::{Layout as Block, alloc_zeroed};
use std::ptr::NonNull;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::hash::BuildHasher as _;

use crate::blob::Kind;

/// Words of the larger header.
const MAX_WORDS: usize = 10;
/// Headers in a slab: 256 KiB, which the allocator takes from the kernel and the kernel fills page by page as they are used.
const SLAB: usize = 4096;
/// `ob_refcnt` of an immortal object in 3.12 (`_Py_IMMORTAL_REFCNT`, 64-bit builds).
const IMMORTAL: u64 = 0xffff_ffff;
/// The bits of `state` that say how a string is interned (`SSTATE_*`): the lowest two in every version.
const INTERNED: u64 = 3;

/// `SSTATE_INTERNED_IMMORTAL`.
const INTERNED_IMMORTAL: u64 = 2;

/// Indices of the header's words.
mod word {
    pub(super) const REFCOUNT: usize = 0;
    pub(super) const TYPE: usize = 1;
    pub(super) const LENGTH: usize = 2;
    pub(super) const HASH: usize = 3;
    pub(super) const STATE: usize = 4;
}

/// The forms that differ in `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Form {
    Ascii,
    Latin1,
    Ucs2,
    Ucs4,
}

impl Form {
    /// That of a blob; none for byte strings.
    fn of(kind: Kind) -> Option<Form> {
        Some(match kind {
            Kind::Ascii => Form::Ascii,
            Kind::Latin1 | Kind::Latin1Utf8 => Form::Latin1,
            Kind::Ucs2 => Form::Ucs2,
            Kind::Ucs4 => Form::Ucs4,
            Kind::Bytes => return None,
        })
    }
}

/// How a header is laid out in the running interpreter.
#[derive(Debug)]
pub struct Layout {
    /// Words of a header: `str.__basicsize__ / 8`.
    words: usize,
    /// `ob_refcnt` to write.
    refcount: u64,
    /// Whether there are the fields `wstr` and `wstr_length` (up to 3.11).
    wstr: bool,
    /// `state` of each form.
    states: [u64; 4],
}

type Header = [u64; MAX_WORDS];

impl Layout {
    /// Reads the layout off the running interpreter, and checks it.
    ///
    /// # Errors
    /// Another layout than any known one: the message names what differs.
    pub fn probe(py: Python<'_>) -> PyResult<Layout> {
        let version = py.version_info();
        let minor = version.minor;
        let unknown = |what: String| PyRuntimeError::new_err(format!("str is laid out in an unknown way: {what}"));
        let text = py.get_type::<PyString>();
        let basic: usize = text.getattr("__basicsize__")?.extract()?;
        let wstr = minor < 12;
        let words = if wstr { 10 } else { 8 };
        if size_of::<usize>() != 8 || version.major != 3 || basic != words * 8 {
            return Err(unknown(format!("{basic} bytes, expected {}", words * 8)));
        }
        // Else the one reference that keeps the object alive; every slot takes another.
        let refcount = if minor == 12 { IMMORTAL } else { 1 };
        let mut layout = Layout { words, refcount, wstr, states: [0; 4] };
        if minor == 12 {
            // SAFETY: None is a live object, and every object starts with its reference count, a word.
            let none = unsafe { *py.None().as_ptr().cast::<u64>() };
            // Extensions built for an older stable ABI count references to immortal objects as well.
            if none.abs_diff(IMMORTAL) > IMMORTAL / 4 {
                return Err(unknown(format!("None has a reference count of {none:#x}, expected {IMMORTAL:#x}")));
            }
        }
        let subclass = py.get_type::<pyo3::types::PyType>().call1(("str", (&text,), pyo3::types::PyDict::new(py)))?;
        let samples = [
            (Form::Ascii, Kind::Ascii, "characters that stay where they are"),
            (Form::Latin1, Kind::Latin1Utf8, "caract\u{e8}res qui restent o\u{f9} ils sont"),
            (Form::Ucs2, Kind::Ucs2, "znaky, kter\u{e9} z\u{16f}stanou"),
            (Form::Ucs4, Kind::Ucs4, "\u{1f40d} stays where it is"),
        ];
        for (form, kind, sample) in samples {
            let instance = subclass.call1((sample,))?;
            let mut theirs: Header = [0; MAX_WORDS];
            // SAFETY: an instance of a subclass of str is at least `str.__basicsize__` bytes, which is `words` words as checked
            // above; it is alive, and nothing else runs while the GIL is held.
            unsafe { std::ptr::copy_nonoverlapping(instance.as_ptr().cast::<u64>(), theirs.as_mut_ptr(), words) };
            let data = theirs[words - 1];
            let state = theirs[word::STATE];
            let chars = sample.chars().count();
            if theirs[word::LENGTH] != chars as u64 || state & INTERNED != 0 || data == 0 {
                return Err(unknown(format!("{form:?} has the words {theirs:x?}")));
            }
            layout.states[form as usize] = state;
            let mut expected = layout.header(form, data, chars as u64, py);
            // What an object has of its own.
            for own in [word::REFCOUNT, word::TYPE, word::HASH] {
                expected[own] = theirs[own];
            }
            if expected != theirs {
                return Err(unknown(format!("{form:?} has the words {theirs:x?}, expected {expected:x?}")));
            }
            let mut stored = Vec::new();
            crate::blob::decode(sample.as_bytes(), kind, &mut stored);
            if kind.verbatim() {
                stored = sample.as_bytes().to_vec();
            }
            stored.extend(std::iter::repeat_n(0, kind.store().width()));
            // SAFETY: the layout has just been found to be that of this interpreter, so `data` points at the characters of the live
            // `instance`: as many as the checked length says, and a final NUL.
            let there = unsafe { std::slice::from_raw_parts(data as *const u8, stored.len()) };
            if there != stored {
                return Err(unknown(format!("{form:?} text is not where its header says")));
            }
        }
        for (i, state) in layout.states.iter().enumerate() {
            if layout.states[..i].contains(state) {
                return Err(unknown(format!("two forms share the state {state:#x}")));
            }
        }
        Ok(layout)
    }

    /// The header of a text of `length` characters at the address `data`.
    fn header(&self, form: Form, data: u64, length: u64, py: Python<'_>) -> Header {
        let mut header: Header = [0; MAX_WORDS];
        header[word::REFCOUNT] = self.refcount;
        header[word::TYPE] = py.get_type::<PyString>().as_ptr() as u64;
        header[word::LENGTH] = length;
        header[word::HASH] = u64::MAX; // -1: not computed yet
        header[word::STATE] = self.states[form as usize];
        // The UTF-8 form of ASCII text is the text itself: the form CPython calls shared.
        let utf8 = if form == Form::Ascii { (length, data) } else { (0, 0) };
        if self.wstr {
            // `wchar_t` has four bytes on Linux.
            let wide = if form == Form::Ucs4 { (data, length) } else { (0, 0) };
            header[5..].copy_from_slice(&[wide.0, utf8.0, utf8.1, wide.1, data]);
        } else {
            header[5..8].copy_from_slice(&[utf8.0, utf8.1, data]);
        }
        header
    }
}

/// A text in a mapped file, checked to be what a `str` may point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedText {
    data: NonNull<u8>,
    length: u64,
    form: Form,
}

impl MappedText {
    /// Makes sure that `section[start..]` holds a text of `kind`, of `length` characters, in the one width CPython would give it, with a
    /// final NUL, aligned.
    ///
    /// None when one of these does not hold, or `kind` is not text: the caller then has the string built as usual.
    pub fn new(section: &'static [u8], start: usize, length: usize, kind: Kind) -> Option<MappedText> {
        let form = Form::of(kind)?;
        let width = kind.store().width();
        let end = start.checked_add(length.checked_mul(width)?)?;
        let chars = section.get(start..end)?;
        let terminated = section.get(end..end.checked_add(width)?)?.iter().all(|b| *b == 0);
        let data = NonNull::from(chars).cast::<u8>();
        let aligned = data.as_ptr().addr().is_multiple_of(width);
        (terminated && aligned && crate::blob::is_canonical(chars, kind)).then_some(MappedText {
            data,
            length: length as u64,
            form,
        })
    }
}

/// Memory for headers: slabs, which are never freed.
struct Slabs {
    /// Words of a header.
    words: usize,
    slabs: Vec<NonNull<u64>>,
    /// Headers made.
    used: usize,
}

impl Slabs {
    fn at(&self, number: usize) -> NonNull<u64> {
        // SAFETY: callers pass numbers below `used`, or `push` the next one, for which it has seen to a slab: `number / SLAB` exists and has `SLAB * words` words.
        unsafe { self.slabs[number / SLAB].add(number % SLAB * self.words) }
    }

    /// The characters' address and the length of a header.
    fn key(&self, number: usize) -> (u64, u64) {
        let header = self.at(number);
        // SAFETY: see `at`; both words lie inside the header, whose words are plain integers to us.
        unsafe { (*header.add(self.words - 1).as_ptr(), *header.add(word::LENGTH).as_ptr()) }
    }

    /// Takes a header in. Its number; none when there is no memory.
    fn push(&mut self, header: &Header) -> Option<usize> {
        if self.used == self.slabs.len() * SLAB {
            let block = Block::array::<u64>(SLAB * self.words).ok()?;
            // SAFETY: the block is not empty. It is never freed: objects in it may be referenced until the process ends.
            self.slabs.push(NonNull::new(unsafe { alloc_zeroed(block) }.cast::<u64>())?);
        }
        let number = self.used;
        u32::try_from(number).ok()?;
        let target = self.at(number);
        // SAFETY: `target` is the next unused header of a slab with room for it (checked above).
        unsafe { std::ptr::copy_nonoverlapping(header.as_ptr(), target.as_ptr(), self.words) };
        self.used += 1;
        Some(number)
    }
}

/// All headers made so far.
pub struct Texts {
    layout: Layout,
    slabs: Slabs,
    /// Numbers of the headers, by the text they stand for.
    table: HashTable<u32>,
}

// SAFETY: the pointers lead to slabs that are never freed and only touched with the GIL held; the owner of a `Texts` hands it
// out only together with a `Python<'_>` token (`crate::python`).
unsafe impl Send for Texts {}

impl Texts {
    /// No headers yet.
    pub fn new(layout: Layout) -> Texts {
        let slabs = Slabs { words: layout.words, slabs: Vec::new(), used: 0 };
        Texts { layout, slabs, table: HashTable::new() }
    }

    /// Headers made, and the bytes they take.
    pub fn usage(&self) -> (usize, usize) {
        (self.slabs.used, self.slabs.used * self.layout.words * 8)
    }

    /// The `str` for `text`: the one made before, or a new one.
    ///
    /// None when there is no memory for a header.
    pub fn get<'py>(&mut self, text: MappedText, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let key = (text.data.as_ptr() as u64, text.length);
        let hasher = FixedState::default();
        let hash = hasher.hash_one(key);
        let slabs = &self.slabs;
        let found = self.table.find(hash, |number| slabs.key(*number as usize) == key).copied();
        let number = match found {
            Some(number) => number as usize,
            None => {
                let number = self.slabs.push(&self.layout.header(text.form, key.0, key.1, py))?;
                let slabs = &self.slabs;
                let rehash = |number: &u32| hasher.hash_one(slabs.key(*number as usize));
                self.table.insert_unique(hash, number as u32, rehash);
                number
            }
        };
        let object = self.slabs.at(number).cast::<ffi::PyObject>();
        // SAFETY: the header at `number` is complete, so it is a live str, and stays one; the GIL is held (`py`).
        Some(unsafe { Bound::from_borrowed_ptr(py, object.as_ptr()) })
    }

    /// To be called when the interpreter ends (`life::at_end`): it drops interned strings, those that interning made immortal too
    /// (`SSTATE_INTERNED_IMMORTAL`), which would free what was never allocated. Of ours these are marked as the interpreter's own are
    /// (`SSTATE_INTERNED_IMMORTAL_STATIC`), which it leaves alone.
    ///
    /// Up to 3.11 nothing need be done: the reference that is never given back keeps them.
    pub fn before_finalization(&mut self, _py: Python<'_>) {
        if self.layout.wstr {
            return;
        }
        for number in 0..self.slabs.used {
            let state = self.slabs.at(number);
            // SAFETY: see `Slabs::at`; the state is the header's fifth word, of which the lowest two bits say how it is interned. Nobody
            // else writes while the GIL is held.
            unsafe {
                let state = state.add(word::STATE).as_ptr();
                if *state & INTERNED == INTERNED_IMMORTAL {
                    *state |= INTERNED;
                }
            }
        }
    }
}
