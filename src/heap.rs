//! What the objects of a `.pyc` cost on CPython's heap, by kind.
//!
//! The sizes are those of 64-bit builds with the GIL and without `--with-pydebug`: what `sys.getsizeof` gives (it adds the
//! garbage collector's header), rounded up to obmalloc's alignment. One row a version, see [`SIZES`].
//!
//! These cost nothing and are left out of every kind: references; None, True, False, Ellipsis and StopIteration; small
//! ints; the empty tuple, str and bytes; Latin-1 strings of one character; the repetition of an interned string within one
//! [`Heap`].
//!
//! Simplifications, each of which the tests bound:
//! - an interned string costs what it would in a process that has not interned it yet: the interpreter itself has some
//!   thousands, and other modules may have it too (one [`Heap`] for all modules of a process counts it once);
//! - malloc's own header of 8 bytes, before blocks above 512 bytes, is not counted;
//! - what CPython adds while code runs (inline caches are part of the bytecode; cached hashes, UTF-8 copies, monitoring
//!   data) is not counted;
//! - 2.7 is taken to be a UCS-4 build, as Linux distributions made it.

use std::hash::BuildHasher as _;

use hashbrown::HashSet;
use serde::{Serialize, Serializer};

use crate::blob::{self, classify_utf8};
use crate::bytes::u32_at;
use crate::error::Result;
use crate::marshal::tape::{Tape, code_at};
use crate::marshal::value::{Value, value_at};
use crate::marshal::version::{VERSIONS, Version};
use crate::marshal::{FLAG_REF, pyc::Header};

/// obmalloc's `ALIGNMENT` on 64-bit builds (`Objects/obmalloc.c`): 16 from 3.8 on and in the last releases of 2.7, 3.6 and
/// 3.7; their early releases had 8.
pub const ALIGNMENT: u64 = 16;

/// Sizes of objects in one version, in bytes, 64-bit, without the collector's header unless said.
///
/// Sources: the object structs of each version (`Include/*object.h`, `Include/cpython/*.h`) and `sys.getsizeof`; the test
/// `heap_matches_cpython` compares them with every interpreter at hand.
#[derive(Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The version, major and minor.
    pub version: (u8, u8),
    /// `PyGC_Head`, before tuples, lists, sets, dicts and slices.
    pub gc: u64,
    /// `str` of ASCII characters, to which the characters and a NUL are added. 2.7: `unicode`, whose characters are a
    /// second block.
    pub ascii: u64,
    /// `str` of other characters, likewise.
    pub compact: u64,
    /// `bytes` (2.7: `str`) with its final NUL; the bytes are added.
    pub bytes: u64,
    /// `tuple`, to which 8 bytes an item are added.
    pub tuple: u64,
    /// `int` without digits, to which 4 bytes a 30-bit digit are added. 2.7: `long`.
    pub int: u64,
    /// A code object.
    pub code: u64,
    /// Whether the code object holds its bytecode, so that the `bytes` of the `.pyc` is dropped after loading.
    pub inline_code: bool,
    /// The largest int that is a singleton; the smallest is −5 everywhere.
    pub small_int: i64,
    /// Whether `bytes` of length 1 read from a `.pyc` are singletons.
    pub byte_singletons: bool,
    /// The header of a `str` whose characters lie in a mapped file, where the version has such a form that pye uses.
    pub mapped_str: Option<u64>,
    /// Whether immortal objects can be mapped (PEP 683).
    pub image: bool,
}

const fn row(version: (u8, u8), gc: u64, code: u64) -> Sizes {
    let v2 = version.0 == 2;
    let minor = if v2 { 0 } else { version.1 };
    Sizes {
        version,
        gc,
        // 3.12 dropped `wstr` and `wstr_length` (PEP 623).
        ascii: if minor >= 12 { 40 } else { 48 },
        compact: if minor >= 12 { 56 } else { 72 },
        bytes: if v2 { 37 } else { 33 },
        // 3.14 caches the hash.
        tuple: if minor >= 14 { 32 } else { 24 },
        int: 24,
        code,
        inline_code: minor >= 11,
        small_int: if minor >= 15 { 1024 } else { 256 },
        byte_singletons: minor >= 14,
        mapped_str: match minor {
            0..9 => None,
            9..12 => Some(80),
            _ => Some(64),
        },
        image: minor >= 12,
    }
}

/// One row a version of [`VERSIONS`], in the same order: version, GC header, code object; the rest follows from
/// the version.
pub static SIZES: [Sizes; 11] = [
    row((2, 7), 32, 128),
    row((3, 6), 32, 144),
    row((3, 7), 32, 144),
    row((3, 8), 16, 176),
    row((3, 9), 16, 176),
    row((3, 10), 16, 176),
    row((3, 11), 16, 184),
    row((3, 12), 16, 192),
    row((3, 13), 16, 200),
    row((3, 14), 16, 208),
    row((3, 15), 16, 208),
];

/// Size of `float`, `complex`, `slice`, `list`, `set`: the same in every version.
const FLOAT: u64 = 24;
const COMPLEX: u64 = 32;
const SLICE: u64 = 40;
const LIST: u64 = 40;
const SET: u64 = 200;
/// 2.7 allots its ints, and its floats, from blocks of their own, without rounding.
const INT_2_7: u64 = 24;
/// One slot of a set's table, or pointer of a list's.
const SET_SLOT: u64 = 16;
const POINTER: u64 = 8;

/// `co_flags` (`Include/cpython/code.h`): the code of a function.
const CO_OPTIMIZED: u32 = 1;
/// `co_flags`, 3.14: the first constant is the docstring.
const CO_HAS_DOCSTRING: u32 = 0x400_0000;

impl Sizes {
    /// The row of `version`.
    pub fn of(version: &Version) -> &'static Sizes {
        let index = VERSIONS.iter().position(|v| v == version).unwrap_or(VERSIONS.len() - 1);
        &SIZES[index]
    }

    /// A `bytes` of `len` bytes.
    fn bytes(&self, len: u64) -> u64 {
        match len {
            0 => 0,
            1 if self.byte_singletons => 0,
            len => round(self.bytes + len),
        }
    }

    /// A `str` (2.7: `unicode`).
    fn text(&self, text: Characters) -> u64 {
        if self.version.0 == 2 {
            // Two blocks; a UCS-4 build.
            return if text.count == 0 { 0 } else { round(self.ascii) + round(4 * (text.count + 1)) };
        }
        if text.count == 0 || text.count == 1 && text.width == 1 {
            return 0;
        }
        let header = if text.ascii { self.ascii } else { self.compact };
        round(header + (text.count + 1) * u64::from(text.width))
    }

    /// A collected object of `size` bytes.
    fn collected(&self, size: u64) -> u64 {
        round(self.gc + size)
    }

    fn tuple(&self, items: u64) -> u64 {
        if items == 0 { 0 } else { self.collected(self.tuple + POINTER * items) }
    }

    fn int(&self, digits: u64) -> u64 {
        round(self.int + 4 * digits.max(1))
    }

    fn float(&self) -> u64 {
        if self.version.0 == 2 { FLOAT } else { round(FLOAT) }
    }

    /// A list made with its length known.
    fn list(&self, items: u64) -> u64 {
        self.collected(LIST) + round(POINTER * items)
    }

    /// A set filled one by one with `items` different members (`set_add_entry`, `set_table_resize` in
    /// `Objects/setobject.c`): up to 8 slots lie in the object.
    fn set(&self, items: u64) -> u64 {
        let full = |fill: u64, slots: u64| match self.version {
            (2, _) => fill * 3 >= slots * 2,
            (3, 6) => fill * 3 >= (slots - 1) * 2,
            _ => fill * 5 >= (slots - 1) * 3,
        };
        let mut slots = 8u64;
        loop {
            // The fill at which the table grows.
            let (mut low, mut high) = (0, slots);
            while low < high {
                let middle = (low + high) / 2;
                if full(middle, slots) { high = middle } else { low = middle + 1 }
            }
            if items < low {
                break;
            }
            let wanted = if low > 50_000 { low * 2 } else { low * 4 };
            slots = (wanted + 1).next_power_of_two().max(8);
        }
        self.collected(SET) + if slots > 8 { round(SET_SLOT * slots) } else { 0 }
    }

    /// A dict of `items` items; the compiler writes none, so this is close, not exact (its keys may all be str, which
    /// takes a third less).
    fn dict(&self, items: u64) -> u64 {
        let (object, header, entry) = if self.version.0 == 2 { (248, 0, 0) } else { (48, 40, 24) };
        let mut slots = 8u64;
        while slots * 2 / 3 < items {
            slots *= if self.version.0 == 2 { 4 } else { 2 };
        }
        let keys = match (self.version.0, slots) {
            (2, 8) => 0,
            (2, _) => 24 * slots,
            _ if items == 0 => 0,
            _ => {
                let index = match slots {
                    0..=128 => 1,
                    129..=32768 => 2,
                    _ => 4,
                };
                header + index * slots + entry * (slots * 2 / 3)
            }
        };
        self.collected(object) + round(keys)
    }
}

fn round(size: u64) -> u64 {
    size.next_multiple_of(ALIGNMENT)
}

/// What an object is to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The docstring of a function, class or module, where it is stored: of a function, the first constant when it is a
    /// str (from 3.14, when `co_flags` says so; code whose name starts with `<` has none); of a module, the first str
    /// among its first constants when `__doc__` is one of its first names; of a class, the same, or in 3.x the second (the
    /// first is its qualified name). A string assigned to `__doc__` there counts as well; a docstring that is the same object
    /// as an earlier string is what that one is.
    Docstring,
    /// Any other str that is no name (2.7: `str` constants too).
    Text,
    /// Strings in names, varnames, freevars, cellvars, localsplusnames; filename, name, qualname; all interned strings.
    Name,
    /// Instructions: from 3.11 the bytes inside the code object, before that a bytes object.
    Bytecode,
    /// Line number tables.
    LineTable,
    /// Exception tables (3.11 and later).
    ExceptionTable,
    /// Other bytes: constants, and from 3.11 the kinds of local variables.
    Bytes,
    /// Tuples: of constants and names, and constants themselves.
    Tuple,
    /// int, float and complex.
    Number,
    /// Code objects, without the bytecode in them.
    Code,
    /// Sets, slices, lists, dicts.
    Container,
}

impl Kind {
    /// All kinds, in the order in which tables show them.
    pub const ALL: [Kind; 11] = [
        Kind::Docstring,
        Kind::Text,
        Kind::Name,
        Kind::Bytecode,
        Kind::LineTable,
        Kind::ExceptionTable,
        Kind::Bytes,
        Kind::Tuple,
        Kind::Number,
        Kind::Code,
        Kind::Container,
    ];

    /// The kinds that are strings, text or bytes: [`Kind::ALL`] begins with them.
    pub const STRINGS: usize = 7;

    /// For tables.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Docstring => "docstrings",
            Kind::Text => "other text",
            Kind::Name => "names",
            Kind::Bytecode => "bytecode",
            Kind::LineTable => "line tables",
            Kind::ExceptionTable => "exception tables",
            Kind::Bytes => "other bytes",
            Kind::Tuple => "tuples",
            Kind::Number => "numbers",
            Kind::Code => "code objects",
            Kind::Container => "other containers",
        }
    }
}

/// As [`Kind::label`], with `_` for blanks.
impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.label().replace(' ', "_"))
    }
}

/// An object of a `.pyc` that costs something of its own.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its value's bytes in the `.pyc`: no type byte, no length, no children.
    pub payload: u64,
    /// Its bytes on the heap.
    pub heap: u64,
    /// The string's bytes in the `.pyc`, where it is interned.
    pub interned: Option<&'a [u8]>,
    /// The string's bytes in the `.pyc`, where it is a str (2.7: unicode).
    pub text: Option<&'a [u8]>,
    /// Whether the portable form can leave its characters in a mapped file, see [`blob::may_stay_mapped`].
    pub mappable: bool,
    /// Whether it goes when the body of its module or class has run: the code object of the body, the tuples and tables
    /// that belong to it. Strings and constants are counted as staying.
    pub run_once: bool,
}

/// How many, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Objects.
    pub objects: u64,
    /// Bytes of their values in the `.pyc`.
    pub payload: u64,
    /// Bytes on the heap.
    pub heap: u64,
}

impl Cost {
    fn add(&mut self, object: &Object<'_>) {
        self.objects += 1;
        self.payload += object.payload;
        self.heap += object.heap;
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.objects += other.objects;
        self.payload += other.payload;
        self.heap += other.heap;
    }
}

/// What is known of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindCost {
    /// All objects.
    pub loaded: Cost,
    /// Those of them that go when the module's body has run, see [`Object::run_once`].
    pub run_once: Cost,
    /// Str objects whose characters stay in a mapped file in the portable form: not interned, at least the threshold
    /// long, and such that [`blob::may_stay_mapped`].
    pub portable: Cost,
    /// Of those, the texts that differ: each has one header in a process, and stands once in the file.
    pub mapped: Cost,
    /// Heap bytes that the portable form saves: those of `portable` without the headers of `mapped`.
    pub portable_saves: u64,
    /// Heap bytes that an image of immortal objects saves: what stays, without sets and slices, which cannot be
    /// in an image. 0 before 3.12.
    pub image_saves: u64,
}

impl std::ops::AddAssign for KindCost {
    fn add_assign(&mut self, other: KindCost) {
        self.loaded += other.loaded;
        self.run_once += other.run_once;
        self.portable += other.portable;
        self.mapped += other.mapped;
        self.portable_saves += other.portable_saves;
        self.image_saves += other.image_saves;
    }
}

/// The heap of one process: feed it the `.pyc` of each module. For a single file, use a fresh one.
pub struct Heap {
    min_blob: u32,
    kinds: [KindCost; Kind::ALL.len()],
    interned: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
    /// Hashes of the texts mapped so far: of a million texts, two differ and have the same one with a probability of 10⁻⁷.
    mapped: HashSet<u64, foldhash::fast::RandomState>,
    hasher: foldhash::quality::RandomState,
    walker: Walker,
}

impl Heap {
    /// An empty heap. `min_blob`: the shortest string that the portable form maps, in bytes of the `.pyc`.
    pub fn new(min_blob: u32) -> Self {
        Self {
            min_blob,
            kinds: Default::default(),
            interned: HashSet::default(),
            mapped: HashSet::default(),
            hasher: Default::default(),
            walker: Walker::default(),
        }
    }

    /// Adds the objects of a `.pyc`. `forced` overrides the version its magic number names.
    ///
    /// # Errors
    /// As [`Header::parse`] and [`crate::marshal::read::Parser::parse`]; then nothing is added.
    pub fn add_pyc(&mut self, bytes: &[u8], forced: Option<&'static Version>) -> Result<&'static Version> {
        let Heap { min_blob, kinds, interned, mapped, hasher, walker } = self;
        walker.walk_pyc(bytes, forced, |object, sizes| {
            if let Some(name) = object.interned {
                if interned.contains(name) {
                    return;
                }
                interned.insert(name.into());
            }
            let kind = &mut kinds[object.kind as usize];
            kind.loaded.add(&object);
            if object.run_once {
                kind.run_once.add(&object);
            } else if sizes.image && object.kind != Kind::Container {
                kind.image_saves += object.heap;
            }
            if let Some(header) = sizes.mapped_str
                && let Some(text) = object.text
                && object.mappable
                && object.interned.is_none()
                && object.payload >= u64::from(*min_blob)
            {
                kind.portable.add(&object);
                let header = if mapped.insert(hasher.hash_one(text)) {
                    kind.mapped.add(&object);
                    header
                } else {
                    0
                };
                kind.portable_saves += object.heap.saturating_sub(header);
            }
        })
    }

    /// Every kind with its cost.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, &KindCost)> {
        Kind::ALL.into_iter().zip(&self.kinds)
    }

    /// The cost of one kind.
    pub fn kind(&self, kind: Kind) -> &KindCost {
        &self.kinds[kind as usize]
    }

    /// All kinds together.
    pub fn total(&self) -> KindCost {
        let mut total = KindCost::default();
        for &kind in &self.kinds {
            total += kind;
        }
        total
    }
}

/// Walks the objects of one `.pyc` after the other; keeps its buffers. Time is linear in the file.
#[derive(Default)]
pub struct Walker {
    tape: Tape,
    /// What the parent said of each object.
    roles: Vec<Role>,
    /// The object behind each reference number.
    numbered: Vec<u32>,
}

/// What an object is to the code object that owns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    #[default]
    None,
    Docstring,
    Name,
    Bytecode,
    LineTable,
    ExceptionTable,
    /// A tuple that is a field of a code object.
    Field,
}

/// A code object that is being walked.
struct Owner {
    end: usize,
    run_once: bool,
}

impl Walker {
    /// Calls `found` for each object of a `.pyc` that costs something, in the order of the file.
    ///
    /// # Errors
    /// As [`Header::parse`] and [`crate::marshal::read::Parser::parse`], before the first call.
    pub fn walk_pyc<'a>(
        &mut self,
        bytes: &'a [u8],
        forced: Option<&'static Version>,
        mut found: impl FnMut(Object<'a>, &'static Sizes),
    ) -> Result<&'static Version> {
        let version = Header::parse(bytes, forced)?.version;
        self.tape.read(bytes, version.header_len, version)?;
        self.number(bytes, version);
        self.roles.clear();
        self.roles.resize(self.tape.entries().len(), Role::None);
        let sizes = Sizes::of(version);
        let mut owners: Vec<Owner> = Vec::new();
        for index in 0..self.tape.entries().len() {
            while owners.last().is_some_and(|owner| owner.end <= index) {
                owners.pop();
            }
            let entry = self.tape.entries()[index];
            let Some(value) = value_at(bytes, entry.at as usize, version) else { continue };
            let mut run_once = owners.last().is_some_and(|owner| owner.run_once);
            if let Value::Code(longs) = value {
                // Only bodies that nothing but run-once code holds go.
                run_once = owners.last().is_none_or(|owner| owner.run_once)
                    && number(longs, version, "flags") & CO_OPTIMIZED == 0;
                owners.push(Owner { end: entry.next as usize, run_once });
                self.assign(bytes, version, index, longs);
            }
            let role = self.roles[index];
            if let Some(object) = self.object(bytes, version, sizes, index, &value, role) {
                let owned = matches!(role, Role::Field | Role::Bytecode | Role::LineTable | Role::ExceptionTable);
                found(Object { run_once: run_once && (owned || object.kind == Kind::Code), ..object }, sizes);
            }
        }
        Ok(version)
    }

    /// Fills [`Walker::numbered`].
    fn number(&mut self, bytes: &[u8], version: &Version) {
        let v2 = version.dialect.is_v2();
        let shapes = version.dialect.shapes();
        self.numbered.clear();
        for (index, entry) in self.tape.entries().iter().enumerate() {
            let byte = bytes.get(entry.at as usize).copied().unwrap_or(0);
            if v2 && byte == b't' || !v2 && shapes[usize::from(byte)] & FLAG_REF != 0 {
                self.numbered.push(index as u32);
            }
        }
    }

    /// The object at `index`, or the one it refers to.
    fn resolve(&self, bytes: &[u8], version: &Version, index: usize) -> Option<usize> {
        let entry = self.tape.get(index)?;
        match value_at(bytes, entry.at as usize, version)? {
            Value::Ref(number) => self.numbered.get(number as usize).map(|&index| index as usize),
            _ => Some(index),
        }
    }

    /// The bytes of the string at `index`, or of the one it refers to.
    fn string<'a>(&self, bytes: &'a [u8], version: &Version, index: usize) -> Option<&'a [u8]> {
        let entry = self.tape.get(self.resolve(bytes, version, index)?)?;
        match value_at(bytes, entry.at as usize, version)? {
            Value::String { len, start } => bytes.get(start..start.checked_add(len)?),
            _ => None,
        }
    }

    /// Tells the fields of the code object at `index` what they are to it. They come after it, so no role is read before
    /// it is written.
    fn assign(&mut self, bytes: &[u8], version: &Version, index: usize, longs: &[u8]) {
        let fields = version.code.objects.iter().chain(version.code.tail);
        let (mut consts, mut names, mut name) = (None, None, None);
        for (&field, child) in fields.zip(self.tape.children(index).collect::<Vec<_>>()) {
            self.roles[child] = match field {
                "code" => Role::Bytecode,
                "lnotab" | "linetable" => Role::LineTable,
                "exceptiontable" => Role::ExceptionTable,
                "filename" | "name" | "qualname" => Role::Name,
                "localspluskinds" => Role::None,
                _ => Role::Field,
            };
            match field {
                "consts" => consts = Some(child),
                "name" => name = self.string(bytes, version, child),
                "names" => names = self.resolve(bytes, version, child),
                _ => {}
            }
            if !matches!(field, "consts" | "localspluskinds") && self.roles[child] == Role::Field {
                for name in self.tape.children(child) {
                    self.roles[name] = Role::Name;
                }
            }
        }
        let Some(consts) = consts else { return };
        // How many strings precede the docstring in the constants.
        let flags = number(longs, version, "flags");
        let skip = if flags & CO_OPTIMIZED != 0 {
            let has = !name.is_some_and(|name| name.starts_with(b"<"))
                && (!version.at_least(3, 14) || flags & CO_HAS_DOCSTRING != 0);
            let first = self.tape.children(consts).next();
            if let Some(first) = first.filter(|&first| has && self.is_string(bytes, first)) {
                self.roles[first] = Role::Docstring;
            }
            return;
        } else {
            let module = name == Some(b"<module>");
            let first = if module { 2 } else { 7 };
            let mut names = names.into_iter().flat_map(|names| self.tape.children(names)).take(first);
            if !names.any(|name| self.string(bytes, version, name) == Some(b"__doc__")) {
                return;
            }
            usize::from(!module && version.major == 3)
        };
        // The docstring is among the first things a body loads.
        let doc = self
            .tape
            .children(consts)
            .take(6)
            .filter(|&child| self.resolve(bytes, version, child).is_some_and(|child| self.is_string(bytes, child)))
            .nth(skip);
        if let Some(doc) = doc {
            self.roles[doc] = Role::Docstring;
        }
    }

    /// The table `co_cell2arg` of a code object of 3.6 to 3.10: 8 bytes a cell, when one of them is an argument
    /// (`PyCode_New` in `Objects/codeobject.c`). Arguments beyond 255 are not looked at.
    fn cell2arg(&self, bytes: &[u8], version: &Version, index: usize, longs: &[u8]) -> u64 {
        const CO_VARARGS: u32 = 4;
        const CO_VARKEYWORDS: u32 = 8;
        if version.major == 2 || version.at_least(3, 11) {
            return 0;
        }
        let field = |name: &str| {
            let field = version.code.objects.iter().position(|&field| field == name)?;
            self.resolve(bytes, version, self.tape.children(index).nth(field)?)
        };
        let (Some(variables), Some(cells)) = (field("varnames"), field("cellvars")) else { return 0 };
        let flags = number(longs, version, "flags");
        let count = number(longs, version, "argcount").saturating_add(number(longs, version, "kwonlyargcount"));
        let count = count.min(253) + u32::from(flags & CO_VARARGS != 0) + u32::from(flags & CO_VARKEYWORDS != 0);
        // Names are interned: the same name is the same object.
        let objects = |tuple| self.tape.children(tuple).map(|name| self.resolve(bytes, version, name));
        let mut cells = objects(cells).take(255).peekable();
        if cells.peek().is_none() {
            return 0;
        }
        let arguments: HashSet<_, foldhash::fast::RandomState> = objects(variables).take(count as usize).collect();
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(|cell| arguments.contains(cell)) { round(POINTER * cells.len() as u64) } else { 0 }
    }

    fn is_string(&self, bytes: &[u8], index: usize) -> bool {
        self.tape
            .get(index)
            .is_some_and(|entry| matches!(code_at(bytes, entry), b's' | b't' | b'u' | b'a' | b'A' | b'z' | b'Z'))
    }

    /// What the object costs, or nothing when it costs nothing.
    fn object<'a>(
        &self,
        bytes: &'a [u8],
        version: &Version,
        sizes: &Sizes,
        index: usize,
        value: &Value<'_>,
        role: Role,
    ) -> Option<Object<'a>> {
        let entry = self.tape.get(index)?;
        let code = code_at(bytes, entry);
        let v2 = version.dialect.is_v2();
        let mut interned = None;
        let (mut text, mut mappable) = (None, false);
        let (kind, payload, heap) = match *value {
            Value::Atom | Value::Ref(_) => return None,
            Value::Int(number) => (Kind::Number, 4, int(sizes, i64::from(number))),
            Value::Int64(number) => (Kind::Number, 8, int(sizes, number)),
            Value::Long { digits, .. } => {
                (Kind::Number, digits.len() as u64, sizes.int((digits.len() as u64 / 2).div_ceil(2)))
            }
            Value::Float(_) => (Kind::Number, 8, sizes.float()),
            Value::FloatText(text) => (Kind::Number, text.len() as u64, sizes.float()),
            Value::Complex(_) => (Kind::Number, 16, round(COMPLEX)),
            Value::ComplexText(real, imag) => (Kind::Number, (real.len() + imag.len()) as u64, round(COMPLEX)),
            Value::String { len, start } => {
                let payload = bytes.get(start..start.checked_add(len)?)?;
                let is_bytes = code == b's' || v2 && code == b't';
                let heap = if is_bytes {
                    sizes.bytes(len as u64)
                } else {
                    // `a A z Z` are Latin-1 to CPython's reader, the others UTF-8.
                    let characters =
                        if matches!(code, b'u' | b't') { utf8_characters(payload) } else { latin1_characters(payload) };
                    text = Some(payload);
                    mappable = blob::may_stay_mapped(characters.count, characters.ascii, payload);
                    sizes.text(characters)
                };
                if matches!(code, b't' | b'A' | b'Z') {
                    interned = Some(payload);
                }
                let kind = match role {
                    Role::Bytecode if is_bytes => Kind::Bytecode,
                    Role::LineTable if is_bytes => Kind::LineTable,
                    Role::ExceptionTable if is_bytes => Kind::ExceptionTable,
                    Role::Docstring if !is_bytes || v2 => Kind::Docstring,
                    Role::Name => Kind::Name,
                    _ if interned.is_some() => Kind::Name,
                    _ if is_bytes && !v2 => Kind::Bytes,
                    _ => Kind::Text,
                };
                // The bytes within the code object; the rest of it is counted there.
                (kind, len as u64, if kind == Kind::Bytecode && sizes.inline_code { len as u64 } else { heap })
            }
            Value::Seq(items) => {
                let items = u64::from(items);
                match code {
                    b'(' | b')' => (Kind::Tuple, 0, sizes.tuple(items)),
                    b'[' => (Kind::Container, 0, sizes.list(items)),
                    _ => (Kind::Container, 0, sizes.set(items)),
                }
            }
            Value::Dict => (Kind::Container, 0, sizes.dict(self.tape.children(index).count() as u64 / 2)),
            Value::Slice => (Kind::Container, 0, sizes.collected(SLICE)),
            Value::Code(longs) => {
                let mut heap = round(sizes.code) + self.cell2arg(bytes, version, index, longs);
                if sizes.inline_code {
                    let first = self.tape.children(index).next();
                    let len = first.and_then(|first| self.string(bytes, version, first)).map_or(0, <[u8]>::len) as u64;
                    let own = first.is_some_and(|first| self.is_string(bytes, first));
                    heap = round(sizes.code + len) - if own { len } else { 0 };
                }
                (Kind::Code, longs.len() as u64 + 4, heap)
            }
        };
        (heap > 0).then_some(Object { kind, payload, heap, interned, text, mappable, run_once: false })
    }
}

/// A number at the head of a code object.
fn number(longs: &[u8], version: &Version, name: &str) -> u32 {
    version.code.longs.iter().position(|&long| long == name).and_then(|at| u32_at(longs, 4 * at)).unwrap_or(0)
}

fn int(sizes: &Sizes, number: i64) -> u64 {
    if (-5..=sizes.small_int).contains(&number) {
        0
    } else if sizes.version.0 == 2 {
        INT_2_7
    } else {
        let bits = u64::BITS - number.unsigned_abs().leading_zeros();
        sizes.int(u64::from(bits.div_ceil(30)))
    }
}

/// What PEP 393 needs to know of a string.
#[derive(Clone, Copy)]
struct Characters {
    count: u64,
    /// Bytes a character: 1, 2 or 4.
    width: u8,
    ascii: bool,
}

fn latin1_characters(payload: &[u8]) -> Characters {
    Characters { count: payload.len() as u64, width: 1, ascii: payload.is_ascii() }
}

/// Of UTF-8 with surrogates: continuation bytes are not counted. Other bytes, which CPython would refuse, count as Latin-1.
fn utf8_characters(payload: &[u8]) -> Characters {
    let count = payload.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64;
    let width = classify_utf8(payload).map_or(1, |kind| kind.store().width() as u8);
    Characters { count, width, ascii: payload.is_ascii() }
}
