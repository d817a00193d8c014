//! What the import system asks of package files: which module a directory holds under a name, whether that may be used, and its bytes.
//!
//! Nothing here knows Python's objects; [`crate::python`] hands over what is found and [`crate::cpython`] makes objects of it.
//!
//! - [`trust`]: whether a file may be mapped into this process at all;
//! - [`store`]: one package file, or a directory of single files, that stands for a directory on `sys.path`;
//! - [`staged`]: a module's bytes with placeholders where long text was.
//!
//! Whatever is not certain is an answer of "ask the stock import system", with a [`Reason`].

pub mod staged;
pub mod store;
pub mod trust;

use crate::error::{Error, ErrorKind};

/// Why a module is left to the stock import system. The text is for `pye doctor` and `PYE_LOG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The source is gone, or has another time, size or hash.
    Stale,
    /// Compiled by another version of Python.
    ForeignMagic,
    /// An extension module, or a package that is not in the package file, has the name.
    Hidden,
    /// The package file's bytes are not what they should be.
    Damaged,
    /// The interpreter could not unmarshal what should be right.
    Unmarshal,
    /// No memory.
    Memory,
    /// Its pages of the image are damaged: it came from the portable sections instead.
    Image,
}

impl Reason {
    /// All of them, in order of declaration.
    pub const ALL: [Reason; 7] = [
        Reason::Stale,
        Reason::ForeignMagic,
        Reason::Hidden,
        Reason::Damaged,
        Reason::Unmarshal,
        Reason::Memory,
        Reason::Image,
    ];

    /// What an error in reading a module comes to.
    pub fn of(error: &Error) -> Reason {
        match error.kind() {
            ErrorKind::Io { error, .. } if error.kind() == std::io::ErrorKind::OutOfMemory => Reason::Memory,
            _ => Reason::Damaged,
        }
    }

    /// The reason in a few words.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Stale => "source changed since it was linked",
            Reason::ForeignMagic => "compiled by another version of Python",
            Reason::Hidden => "hidden by an extension module or another package",
            Reason::Damaged => "package file damaged",
            Reason::Unmarshal => "could not be unmarshalled",
            Reason::Memory => "no memory",
            Reason::Image => "image damaged",
        }
    }
}
