//! The fields of objects by name, and why a process would write to them: for whoever explains what became of an image's pages.
//!
//! Sources, for 3.12 to 3.15: `Include/object.h`, `Include/cpython/{code,unicodeobject,tupleobject,bytesobject}.h`.

use super::shape::{self, Shape, Type, state, text};

/// A field that the interpreter writes while code runs, or on behalf of others. Zero in code that nobody has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its name in `PyCodeObject`.
    pub name: &'static str,
    /// Bytes from the object's start.
    pub at: usize,
    /// Its length.
    pub len: usize,
    /// When it is written.
    pub cause: &'static str,
}

const fn note(name: &'static str, at: usize, cause: &'static str) -> Note {
    Note { name, at, len: 8, cause }
}

const WEAKREFS: &str = "a weak reference to it";
const EXECUTORS: &str = "compiled by the optimizer";
const CACHED: &str = "co_code or names of variables were asked for";
const INSTRUMENTED: &str = "instrumented: monitored, traced or profiled";
const EXTRA: &str = "data of a debugger or profiler";

/// Of CPython 3.12.
const NOTES_3_12: &[Note] = &[
    note("co_weakreflist", 144, WEAKREFS),
    note("_co_cached", 152, CACHED),
    note("_co_instrumentation_version", 160, INSTRUMENTED),
    note("_co_monitoring", 168, INSTRUMENTED),
    note("co_extra", 184, EXTRA),
];
/// Of CPython 3.13: adds `co_executors`.
const NOTES_3_13: &[Note] = &[
    note("co_weakreflist", 144, WEAKREFS),
    note("co_executors", 152, EXECUTORS),
    note("_co_cached", 160, CACHED),
    note("_co_instrumentation_version", 168, INSTRUMENTED),
    note("_co_monitoring", 176, INSTRUMENTED),
    note("co_extra", 192, EXTRA),
];
/// Of CPython 3.14 and 3.15: `_co_unique_id`, which only the free-threaded build sets, stands before the last.
const NOTES_3_14: &[Note] = &[
    note("co_weakreflist", 144, WEAKREFS),
    note("co_executors", 152, EXECUTORS),
    note("_co_cached", 160, CACHED),
    note("_co_instrumentation_version", 168, INSTRUMENTED),
    note("_co_monitoring", 176, INSTRUMENTED),
    note("co_extra", 200, EXTRA),
];

/// Those of CPython 3.`minor`.
pub const fn notes(minor: u8) -> &'static [Note] {
    match minor {
        12 => NOTES_3_12,
        13 => NOTES_3_13,
        _ => NOTES_3_14,
    }
}

/// A field, and why it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Why.
    pub cause: &'static str,
}

const fn field(name: &'static str, cause: &'static str) -> Field {
    Field { name, cause }
}

/// An address of the interpreter's, moved with it.
pub const RELOCATED: Field = field("address in the interpreter", "relocation");
/// A page that has been copied with the bytes it had.
pub const UNCHANGED: Field = field("none", "written with what was there");
/// See [`Type::None`].
pub const OUTSIDE: Field = field("between objects", "unknown");

const COUNTED: &str = "counted references (an old stable ABI, or a debug build)";
const HASHED: &str = "hashed";
/// Another `str` was put in place of an equal one.
pub const INTERNED: &str = "an equal str was interned before";
const UNKNOWN: &str = "unknown";

/// What a changed word at `at` of an object is, `old` being what the file has there.
pub fn field_of(kind: Type, at: usize, old: u64, flags: u32, shape: &Shape) -> Field {
    match at {
        0 => return field("ob_refcnt", COUNTED),
        shape::TYPE => return field("ob_type", UNKNOWN),
        _ => (),
    }
    match kind {
        Type::Code => code(at, shape),
        Type::Str => string(at, flags),
        Type::Tuple if at == 24 && shape.items > 24 => field("ob_hash", HASHED),
        Type::Tuple if at >= shape.items && old == 0 => field("item", "made for each process: frozenset, slice"),
        Type::Tuple if at >= shape.items => field("item", INTERNED),
        Type::Bytes if at == shape::BYTES_HASH => field("ob_shash", HASHED),
        Type::None => OUTSIDE,
        _ => field("value", UNKNOWN),
    }
}

fn code(at: usize, shape: &Shape) -> Field {
    if at >= shape.code {
        return field("code units", "specialised: instructions and their caches");
    }
    if let Some(slot) = shape::SLOTS.iter().find(|slot| slot.at == at) {
        return field(slot.name, INTERNED);
    }
    match notes(shape.minor).iter().find(|note| (note.at..note.at + note.len).contains(&at)) {
        Some(note) => field(note.name, note.cause),
        // The word that ends with it.
        None if at == shape::VERSION / 8 * 8 => field("co_version", UNKNOWN),
        None => field("other", UNKNOWN),
    }
}

fn string(at: usize, flags: u32) -> Field {
    let compact = flags & state::COMPACT != 0;
    let head = match (compact, flags & state::ASCII != 0) {
        (false, _) => text::HEAD,
        (true, true) => text::ASCII_HEAD,
        (true, false) => text::COMPACT_HEAD,
    };
    match at {
        text::HASH => field("hash", HASHED),
        text::STATE => field("state", "interned"),
        _ if at < head && (text::UTF8 - 8..text::UTF8 + 8).contains(&at) => field("utf8", "UTF-8 asked for"),
        _ => field("value", UNKNOWN),
    }
}
