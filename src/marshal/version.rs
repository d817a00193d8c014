//! Magic number → version → header size and the fields of a code object: one row a minor version of CPython.
//!
//! Sources: `Python/marshal.c` (`r_object`, case `TYPE_CODE`) and `Lib/importlib/_bootstrap_external.py` (the list of
//! magic numbers; from 3.14 `Include/internal/pycore_magic_number.h`) of each version.

use std::fmt;
use std::str::FromStr;

use super::Dialect;

/// A minor version of CPython, as `.pyc` files of it are laid out.
#[derive(Debug, PartialEq, Eq)]
pub struct Version {
    /// Major version, 2 or 3.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
    /// The magic number of the final release (low 16 bits; the high half is always `\r\n`).
    pub magic: u16,
    /// All magic numbers whose files have this very layout: pre-releases, and 2.7's `-U`.
    pub accepted: (u16, u16),
    /// Bytes before the marshal data: magic and mtime, from 3.3 the source size, from 3.7 the PEP 552 flags.
    pub header_len: usize,
    /// Which type codes exist.
    pub dialect: Dialect,
    /// The fields of a code object in the order they are written.
    pub code: CodeLayout,
}

/// The fields of `TYPE_CODE`: 32-bit numbers, then objects, then `firstlineno` (32 bits), then objects again.
#[derive(Debug, PartialEq, Eq)]
pub struct CodeLayout {
    /// Leading 32-bit numbers.
    pub longs: &'static [&'static str],
    /// Objects before `firstlineno`.
    pub objects: &'static [&'static str],
    /// Objects after `firstlineno`.
    pub tail: &'static [&'static str],
}

const CODE_2_7: CodeLayout = CodeLayout {
    longs: &["argcount", "nlocals", "stacksize", "flags"],
    objects: &["code", "consts", "names", "varnames", "freevars", "cellvars", "filename", "name"],
    tail: &["lnotab"],
};
const CODE_3_6: CodeLayout = CodeLayout {
    longs: &["argcount", "kwonlyargcount", "nlocals", "stacksize", "flags"],
    objects: CODE_2_7.objects,
    tail: CODE_2_7.tail,
};
const CODE_3_8: CodeLayout = CodeLayout {
    longs: &["argcount", "posonlyargcount", "kwonlyargcount", "nlocals", "stacksize", "flags"],
    objects: CODE_2_7.objects,
    tail: CODE_2_7.tail,
};
const CODE_3_10: CodeLayout = CodeLayout { longs: CODE_3_8.longs, objects: CODE_2_7.objects, tail: &["linetable"] };
const CODE_3_11: CodeLayout = CodeLayout {
    longs: &["argcount", "posonlyargcount", "kwonlyargcount", "stacksize", "flags"],
    objects: &["code", "consts", "names", "localsplusnames", "localspluskinds", "filename", "name", "qualname"],
    tail: &["linetable", "exceptiontable"],
};

macro_rules! row {
    ($major:literal, $minor:literal, $magic:literal, $low:literal ..= $high:literal, $header:literal, $dialect:ident, $code:ident) => {
        Version {
            major: $major,
            minor: $minor,
            magic: $magic,
            accepted: ($low, $high),
            header_len: $header,
            dialect: Dialect::$dialect,
            code: $code,
        }
    };
}

/// Every version that is read. A new minor version is one more row.
pub static VERSIONS: [Version; 11] = [
    row!(2, 7, 62211, 62171..=62212, 8, V2, CODE_2_7),
    row!(3, 6, 3379, 3360..=3379, 12, V4, CODE_3_6),
    // 3390 and 3391 were alphas with the 12-byte header: they are not accepted.
    row!(3, 7, 3394, 3392..=3394, 16, V4, CODE_3_6),
    row!(3, 8, 3413, 3400..=3413, 16, V4, CODE_3_8),
    row!(3, 9, 3425, 3420..=3425, 16, V4, CODE_3_8),
    row!(3, 10, 3439, 3430..=3439, 16, V4, CODE_3_10),
    // The code object changed several times during 3.11's alphas: only the final layout is known.
    row!(3, 11, 3495, 3495..=3495, 16, V4, CODE_3_11),
    row!(3, 12, 3531, 3500..=3531, 16, V4, CODE_3_11),
    row!(3, 13, 3571, 3550..=3571, 16, V4, CODE_3_11),
    row!(3, 14, 3627, 3600..=3627, 16, V5, CODE_3_11),
    row!(3, 15, 3666, 3650..=3699, 16, V6, CODE_3_11),
];

impl Version {
    /// The version whose files start with `magic` (all four bytes).
    pub fn by_magic(magic: [u8; 4]) -> Option<&'static Version> {
        if magic[2..] != *b"\r\n" {
            return None;
        }
        let number = u16::from_le_bytes([magic[0], magic[1]]);
        VERSIONS.iter().find(|v| (v.accepted.0..=v.accepted.1).contains(&number))
    }

    /// The version with these numbers.
    pub fn by_number(major: u8, minor: u8) -> Option<&'static Version> {
        VERSIONS.iter().find(|v| (v.major, v.minor) == (major, minor))
    }

    /// The four magic bytes of the final release.
    pub fn magic_bytes(&self) -> [u8; 4] {
        let [low, high] = self.magic.to_le_bytes();
        [low, high, b'\r', b'\n']
    }

    /// Whether the version is at least `major.minor`.
    pub fn at_least(&self, major: u8, minor: u8) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// All versions, for messages: "2.7, 3.6, …".
    pub fn list() -> String {
        VERSIONS.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version named by the user, as in `--python-version 3.12`.
impl FromStr for &'static Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('.')
            .and_then(|(major, minor)| Version::by_number(major.parse().ok()?, minor.parse().ok()?))
            .ok_or_else(|| format!("expected one of {}", Version::list()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_ordered_and_their_magic_numbers_do_not_overlap() {
        for pair in VERSIONS[1..].windows(2) {
            assert!(pair[0].accepted.1 < pair[1].accepted.0);
            assert!((pair[0].major, pair[0].minor) < (pair[1].major, pair[1].minor));
        }
        for version in &VERSIONS {
            assert_eq!(Version::by_magic(version.magic_bytes()), Some(version));
        }
        assert_eq!(Version::by_magic(*b"\xcb\x0d\n\r"), None);
    }
}
