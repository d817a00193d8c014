//! CPython's marshal format: the one table of type codes, and the grammar.
//!
//! ```text
//! pyc       := magic header object trailer          trailer is ignored by CPython and kept by pye
//! object    := code payload                         code: one byte; bit 7 (FLAG_REF) numbers the object
//! payload   := '0' 'N' 'F' 'T' 'S' '.'              nothing; '0' ends a dict
//!            | 'i' i32 | 'I' i64 | 'g' f64 | 'y' f64 f64
//!            | 'l' i32 u16*                         count of 15-bit digits, negative: the sign
//!            | 'f' text8 | 'x' text8 text8          decimal text
//!            | 's' 't' 'u' 'a' 'A' bytes32 | 'z' 'Z' bytes8
//!            | 'r' u32                              the u32-th numbered object
//!            | 'R' u32                              2.7: the u32-th interned string
//!            | '(' '[' '<' '>' n32 object*  | ')' n8 object*
//!            | '{' '}' (object object)* '0'
//!            | ':' object object object             slice
//!            | 'c' i32* object* i32 object*         see [`version::CodeLayout`]
//! bytes32   := i32 byte*        bytes8, text8 := u8 byte*        n32 := i32        n8 := u8
//! ```
//!
//! An object's number is its position among the flagged objects in pre-order: a container takes its number before its
//! children do. Leaves without payload, `.` apart, and `r` may carry the flag but take no number.
//!
//! [`read`] is the one parser; it drives a [`read::Sink`]. [`tape`] is the sink that keeps positions; [`check`] the one
//! that holds the objects to what CPython would accept; the splitter is a third. [`mod@write`] is the inverse.

pub mod check;
pub mod pyc;
pub mod read;
pub mod tape;
pub mod value;
pub mod version;
pub mod write;

/// Bit 7 of a type byte: the object takes the next reference number.
pub const FLAG_REF: u8 = 0x80;

/// Which type codes exist: marshal's own version number, which a `.pyc` does not carry but its magic implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// CPython 2.7: interned byte strings, no `FLAG_REF`.
    V2 = 2,
    /// CPython 3.4 to 3.13: references, short ASCII strings, small tuples.
    V4 = 4,
    /// CPython 3.14: slices.
    V5 = 5,
    /// CPython 3.15: frozendict.
    V6 = 6,
}

/// How an object's payload is laid out: what a parser needs to know to step over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    /// No such type code in this dialect.
    Invalid = 0,
    /// Nothing follows.
    Atom,
    /// Nothing follows, and it ends a dict.
    Null,
    /// Four bytes.
    Fixed4,
    /// Eight bytes.
    Fixed8,
    /// Sixteen bytes.
    Fixed16,
    /// A count of 15-bit digits and the digits.
    Long,
    /// One text of up to 255 bytes, a number in decimal.
    Text8,
    /// Two such texts.
    Text8x2,
    /// A string: a 32-bit length and the bytes.
    String32,
    /// A string: an 8-bit length and the bytes.
    String8,
    /// The number of an earlier object.
    Ref,
    /// 2.7: the number of an earlier interned string.
    StringRef,
    /// A 32-bit count and that many objects.
    Seq32,
    /// An 8-bit count and that many objects.
    Seq8,
    /// Pairs of objects up to a NULL.
    Dict,
    /// Three objects.
    Slice,
    /// A code object.
    Code,
}

/// A row of the table of type codes.
#[derive(Debug)]
pub struct Type {
    /// The type byte without its flag.
    pub code: u8,
    /// CPython's name for it, lower case without `TYPE_`.
    pub name: &'static str,
    /// How the payload is laid out.
    pub shape: Shape,
    /// First dialect that has it.
    pub since: Dialect,
    /// Last dialect that has it.
    pub until: Dialect,
    /// Whether the object takes a reference number when its byte carries [`FLAG_REF`].
    pub numbered: bool,
}

const fn ty(code: u8, name: &'static str, shape: Shape, since: Dialect, until: Dialect) -> Type {
    let numbered = !matches!(shape, Shape::Atom | Shape::Null | Shape::Ref | Shape::StringRef);
    Type { code, name, shape, since, until, numbered }
}

/// Every type code of every dialect (`Python/marshal.c`, the `TYPE_` macros). `?` (unknown) is written for objects that
/// cannot be marshalled and is never readable, so it has no row. `.` takes no number: CPython's `R_REF` is not used there.
pub static TYPES: [Type; 31] = {
    use Dialect::{V2, V4, V5, V6};
    use Shape::*;
    [
        ty(b'0', "null", Null, V2, V6),
        ty(b'N', "none", Atom, V2, V6),
        ty(b'F', "false", Atom, V2, V6),
        ty(b'T', "true", Atom, V2, V6),
        ty(b'S', "stopiter", Atom, V2, V6),
        ty(b'.', "ellipsis", Atom, V2, V6),
        ty(b'i', "int", Fixed4, V2, V6),
        ty(b'I', "int64", Fixed8, V2, V6),
        ty(b'f', "float", Text8, V2, V6),
        ty(b'g', "binary_float", Fixed8, V2, V6),
        ty(b'x', "complex", Text8x2, V2, V6),
        ty(b'y', "binary_complex", Fixed16, V2, V6),
        ty(b'l', "long", Long, V2, V6),
        ty(b's', "string", String32, V2, V6),
        ty(b't', "interned", String32, V2, V6),
        ty(b'u', "unicode", String32, V2, V6),
        ty(b'a', "ascii", String32, V4, V6),
        ty(b'A', "ascii_interned", String32, V4, V6),
        ty(b'z', "short_ascii", String8, V4, V6),
        ty(b'Z', "short_ascii_interned", String8, V4, V6),
        ty(b'r', "ref", Ref, V4, V6),
        ty(b'R', "stringref", StringRef, V2, V2),
        ty(b'(', "tuple", Seq32, V2, V6),
        ty(b')', "small_tuple", Seq8, V4, V6),
        ty(b'[', "list", Seq32, V2, V6),
        ty(b'<', "set", Seq32, V2, V6),
        ty(b'>', "frozenset", Seq32, V2, V6),
        ty(b'{', "dict", Dict, V2, V6),
        ty(b'}', "frozendict", Dict, V6, V6),
        ty(b':', "slice", Slice, V5, V6),
        ty(b'c', "code", Code, V2, V6),
    ]
};

/// The row of a type byte (flag ignored), whatever the dialect.
pub fn type_of(byte: u8) -> Option<&'static Type> {
    TYPES.iter().find(|t| t.code == byte & !FLAG_REF)
}

/// [`TYPES`] as the parser wants it: 256 entries a dialect, the [`Shape`] in the low bits and [`FLAG_REF`] set where the
/// byte takes a reference number.
pub(crate) static SHAPES: [[u8; 256]; 4] =
    [shapes(Dialect::V2), shapes(Dialect::V4), shapes(Dialect::V5), shapes(Dialect::V6)];

const fn shapes(dialect: Dialect) -> [u8; 256] {
    let mut table = [Shape::Invalid as u8; 256];
    let mut i = 0;
    while i < TYPES.len() {
        let t = &TYPES[i];
        if t.since as u8 <= dialect as u8 && dialect as u8 <= t.until as u8 {
            table[t.code as usize] = t.shape as u8;
            // Any byte with bit 7 is unknown to 2.7.
            if dialect as u8 >= Dialect::V4 as u8 {
                let numbered = if t.numbered { FLAG_REF } else { 0 };
                table[(t.code | FLAG_REF) as usize] = t.shape as u8 | numbered;
            }
        }
        i += 1;
    }
    table
}

impl Dialect {
    /// The row of [`SHAPES`].
    pub(crate) fn shapes(self) -> &'static [u8; 256] {
        &SHAPES[match self {
            Dialect::V2 => 0,
            Dialect::V4 => 1,
            Dialect::V5 => 2,
            Dialect::V6 => 3,
        }]
    }

    /// Whether `t` and `s` are byte strings and `t` counts for `R`: only 2.7.
    pub fn is_v2(self) -> bool {
        self == Dialect::V2
    }
}
