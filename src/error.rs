//! The one error type of the library: which file, where in it, what was expected, what was found, what to do.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, without where.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// The operating system refused; its own message says why.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done, as in "cannot read".
        doing: &'static str,
        /// The operating system's error.
        error: io::Error,
    },
    /// The bytes break a rule of their format.
    #[error("expected {expected}, got {got}")]
    Malformed {
        /// The rule, in words.
        expected: Cow<'static, str>,
        /// What stood there.
        got: Cow<'static, str>,
    },
    /// Well-formed as far as could be told, but of a kind this build does not know.
    #[error("expected {expected}, got {got}")]
    Unsupported {
        /// What this build knows.
        expected: Cow<'static, str>,
        /// What stood there.
        got: Cow<'static, str>,
        /// What the user can do about it.
        help: Cow<'static, str>,
    },
    /// A cap of [`crate::limits`] was reached.
    #[error("expected at most {cap} {what}, got {got}")]
    Limit {
        /// The thing counted.
        what: &'static str,
        /// The cap.
        cap: u64,
        /// The count found.
        got: u64,
    },
}

/// An error with its place. `Box`ed inside so that `Result<T>` stays one word on the hot paths.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    offset: Option<u64>,
    line: Option<u64>,
    section: Option<&'static str>,
    module: Option<String>,
    path: Option<PathBuf>,
}

impl Error {
    fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, offset: None, line: None, section: None, module: None, path: None }))
    }

    /// The operating system refused while `doing` something.
    #[cold]
    pub fn io(doing: &'static str, error: io::Error) -> Self {
        Self::new(ErrorKind::Io { doing, error })
    }

    /// The bytes break a rule of their format.
    #[cold]
    pub fn malformed(expected: impl Into<Cow<'static, str>>, got: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Malformed { expected: expected.into(), got: got.into() })
    }

    /// A kind of input this build does not know, and what can be done about it.
    #[cold]
    pub fn unsupported(
        expected: impl Into<Cow<'static, str>>,
        got: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorKind::Unsupported { expected: expected.into(), got: got.into(), help: help.into() })
    }

    /// A cap of [`crate::limits`] was reached.
    #[cold]
    pub fn limit(what: &'static str, cap: u64, got: u64) -> Self {
        Self::new(ErrorKind::Limit { what, cap, got })
    }

    /// Names the byte at which it went wrong, counted from the start of the file (or section, see [`Error::within`]).
    #[must_use]
    pub fn at(mut self, offset: impl TryInto<u64>) -> Self {
        self.0.offset = offset.try_into().ok();
        self
    }

    /// Names the line of a text file at which it went wrong, counted from 1.
    #[must_use]
    pub fn on_line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    /// Says that the offset counts from the start of `section`.
    #[must_use]
    pub fn within(mut self, section: &'static str) -> Self {
        self.0.section = Some(section);
        self
    }

    /// Names the file; the innermost name stays.
    #[must_use]
    pub fn in_file(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path.get_or_insert_with(|| path.as_ref().to_path_buf());
        self
    }

    /// Names the module of a package it is about, by its path.
    #[must_use]
    pub fn in_module(mut self, path: &[u8]) -> Self {
        self.0.module = Some(String::from_utf8_lossy(path).into_owned());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The byte at which it went wrong.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The line of a text file at which it went wrong, counted from 1.
    pub fn line(&self) -> Option<u64> {
        self.0.line
    }

    /// The section in which [`Error::offset`] counts, when it is not the whole file.
    pub fn section(&self) -> Option<&'static str> {
        self.0.section
    }

    /// The file, where one is known.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What the user can do next, where there is something to say.
    pub fn help(&self) -> Option<&str> {
        match &self.0.kind {
            ErrorKind::Unsupported { help, .. } => Some(help),
            ErrorKind::Io { error, .. } => match error.kind() {
                io::ErrorKind::StorageFull => {
                    Some("free some space and run the same command again: it finishes the work")
                }
                io::ErrorKind::PermissionDenied => Some("check who owns the file and its mode"),
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(path) = &inner.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(module) = &inner.module {
            write!(f, "module {module}: ")?;
        }
        if let Some(line) = inner.line {
            write!(f, "line {line}: ")?;
        }
        match (inner.offset, inner.section) {
            (Some(offset), Some(section)) => write!(f, "at byte {offset} of {section}: ")?,
            (Some(offset), None) => write!(f, "at byte {offset}: ")?,
            (None, Some(section)) => write!(f, "in {section}: ")?,
            (None, None) => {}
        }
        inner.kind.fmt(f)
    }
}

// No `source`: the operating system's message is part of this one's text.
impl std::error::Error for Error {}
