//! How the objects of an image are laid out, as far as whoever reads one must know it: sizes, and where pointers are. The same tables serve
//! [`verify`](super::verify), which has no interpreter, and `cpython`, which holds them against the running one.
//!
//! Sources, for 3.12 to 3.15: `Include/object.h`, `Include/refcount.h`, `Include/cpython/{code,unicodeobject,tupleobject,bytesobject}.h`.

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Code.
    Code,
    /// A `str`.
    Str,
    /// A tuple.
    Tuple,
    /// A `bytes`.
    Bytes,
    /// An `int`, `float` or `complex`, as far as is known.
    Number,
    /// What stands between objects.
    None,
}

impl Type {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Code => "code",
            Type::Str => "str",
            Type::Tuple => "tuple",
            Type::Bytes => "bytes",
            Type::Number => "number",
            Type::None => "none",
        }
    }
}

/// Offset of the type, in every object; the reference count and flags are the word before.
pub const TYPE: usize = 8;
/// Offset of the number of items in tuples and `bytes`, of code units in code, of characters in `str`.
pub const SIZE: usize = 16;
/// Least bytes of an object.
pub const SMALLEST: usize = 24;

/// Offset of the constants in code.
pub const CONSTANTS: usize = 24;
/// Offset of `co_names` in code.
pub const NAMES: usize = 32;
/// Offset of `co_flags` in code.
pub const FLAGS: usize = 48;
/// `CO_OPTIMIZED`: fast locals; functions have it, modules and class bodies have not.
pub const CO_OPTIMIZED: u32 = 1;
/// Offset of `co_firstlineno` in code, four bytes.
pub const FIRST_LINE: usize = 68;
/// Offset of `co_version` in code, four bytes.
pub const VERSION: usize = 92;
/// Offset of `co_filename` in code.
pub const FILENAME: usize = 112;
/// Offset of `co_qualname` in code.
pub const QUALNAME: usize = 128;
/// Deepest nesting of templates, whose copies are made by recursion. Class bodies below that are used where they are.
pub const MAX_TEMPLATES: usize = 64;

/// A pointer of code, to an object. Never NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The field, and the attribute that returns the object.
    pub name: &'static str,
    /// Its offset.
    pub at: usize,
    /// What the object is.
    pub kind: Type,
}

const fn slot(name: &'static str, at: usize, kind: Type) -> Slot {
    Slot { name, at, kind }
}

/// The pointers of code, in order.
pub const SLOTS: [Slot; 9] = [
    slot("co_consts", CONSTANTS, Type::Tuple),
    slot("co_names", NAMES, Type::Tuple),
    slot("co_exceptiontable", 40, Type::Bytes),
    slot("co_localsplusnames", 96, Type::Tuple),
    slot("co_localspluskinds", 104, Type::Bytes),
    slot("co_filename", FILENAME, Type::Str),
    slot("co_name", 120, Type::Str),
    slot("co_qualname", QUALNAME, Type::Str),
    slot("co_linetable", 136, Type::Bytes),
];

/// Offset of the hash in `bytes`, and of the data.
pub const BYTES_HASH: usize = 24;
/// See [`BYTES_HASH`].
pub const BYTES_DATA: usize = 32;

/// Reference count of a mortal object of the image, which only debug builds have: more than are ever dropped.
pub const MORTAL: u64 = 1 << 10;

/// `state` of a `str`: how it is interned, its kind (bytes a character), whether it is compact, ASCII, static.
pub mod state {
    /// Bits that tell how it is interned.
    pub const INTERNED: u32 = 3;
    /// The kind's lowest bit.
    pub const KIND_SHIFT: u32 = 2;
    /// The kind's bits, shifted.
    pub const KIND: u32 = 7;
    /// Characters follow the head.
    pub const COMPACT: u32 = 1 << 5;
    /// All characters are below U+0080.
    pub const ASCII: u32 = 1 << 6;
    /// It is the interpreter's own and never freed.
    pub const STATIC: u32 = 1 << 7;
}

/// Offsets in a `str`, and the sizes of its three heads.
pub mod text {
    /// `length`, in characters.
    pub const LENGTH: usize = 16;
    /// `hash`; -1 when it is not known.
    pub const HASH: usize = 24;
    /// `state`, four bytes, and four of padding.
    pub const STATE: usize = 32;
    /// `utf8`; its length is the word before.
    pub const UTF8: usize = 48;
    /// `data.any`.
    pub const DATA: usize = 56;
    /// Head of a compact one that is ASCII.
    pub const ASCII_HEAD: usize = 40;
    /// Head of another compact one.
    pub const COMPACT_HEAD: usize = 56;
    /// Head of one whose characters are elsewhere.
    pub const HEAD: usize = 64;
}

/// What differs between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Minor version of CPython 3.
    pub minor: u8,
    /// Bytes of a code object without its code units of two bytes each.
    pub code: usize,
    /// Bytes of a tuple without its items. Where there are more than 24, its hash is the word before the items.
    pub items: usize,
    /// First word of an immortal object.
    pub immortal: u64,
    /// How a `str` is marked: as one of the interpreter's own, so that it is not freed at the end when some program has interned it. 3.12 keeps those apart from all others: one that is
    /// marked would be interned beside an equal one.
    pub mark: u32,
}

/// By minor version, from 3.12 on.
pub const SHAPES: [Shape; 4] = [
    Shape { minor: 12, code: 192, items: 24, immortal: 0xffff_ffff, mark: 0 },
    Shape { minor: 13, code: 200, items: 24, immortal: 0xffff_ffff, mark: state::STATIC },
    Shape { minor: 14, code: 208, items: 32, immortal: 1 << 48 | 3 << 30, mark: state::STATIC },
    Shape { minor: 15, code: 208, items: 32, immortal: 1 << 48 | 3 << 30, mark: state::STATIC },
];

impl Shape {
    /// That of a version, by `sys.hexversion`.
    pub fn of(hexversion: u32) -> Option<&'static Shape> {
        let [major, minor, ..] = hexversion.to_be_bytes();
        Self::of_minor(minor).filter(|_| major == 3)
    }

    /// That of CPython 3.`minor`.
    pub fn of_minor(minor: u8) -> Option<&'static Shape> {
        SHAPES.iter().find(|shape| shape.minor == minor)
    }

    /// Bytes of an object of type `kind` with so many items, `flags` being the state of a `str`; of a number the least it has. None when there is no such object.
    pub fn size(&self, kind: Type, items: u64, flags: u32) -> Option<u64> {
        match kind {
            Type::Code => items.checked_mul(2)?.checked_add(self.code as u64),
            Type::Tuple => items.checked_mul(8)?.checked_add(self.items as u64),
            Type::Bytes => items.checked_add(BYTES_DATA as u64 + 1),
            Type::Str => text_size(items, flags),
            Type::Number | Type::None => Some(SMALLEST as u64),
        }
    }
}

/// Bytes of a `str` of `length` characters with these bits of state, its NUL included. None when there is no such.
pub fn text_size(length: u64, flags: u32) -> Option<u64> {
    let width = u64::from(flags >> state::KIND_SHIFT & state::KIND);
    let characters = length.checked_add(1)?.checked_mul(width).filter(|_| matches!(width, 1 | 2 | 4));
    match (flags & state::COMPACT != 0, flags & state::ASCII != 0) {
        (false, _) => characters.map(|_| text::HEAD as u64),
        (true, true) => characters?.checked_add(text::ASCII_HEAD as u64),
        (true, false) => characters?.checked_add(text::COMPACT_HEAD as u64),
    }
}
