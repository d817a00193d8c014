//! Whether a file may be mapped into this process and run.
//!
//! Code from a package file runs with the rights of this process. So the file, and the directory in which it could be replaced, must
//! belong to root, to the effective user, or to whoever the directory of the sources belongs to; and nobody may write to them but
//! their owner and the process's own group. These could as well write to the sources. In a directory with the sticky bit, such as `/tmp`, the files of others cannot be replaced.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::limits::MAX_PYE_BYTES;
use crate::map::Map;

/// Bits of `st_mode`: its group may write; everybody may; entries are deleted and renamed by their owners only.
const GROUP_WRITES: u32 = 0o020;
/// See [`GROUP_WRITES`].
const OTHERS_WRITE: u32 = 0o002;
/// See [`GROUP_WRITES`].
const STICKY: u32 = 0o1000;

/// The effective user and group of this process.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Effective user.
    pub user: u32,
    /// Effective group.
    pub group: u32,
    /// Owner of the directory whose sources are stood for.
    sources: Option<u32>,
}

impl Identity {
    /// Asks the kernel: a process's own directory in `/proc` bears both.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn of_process() -> Result<Identity> {
        let meta = std::fs::metadata("/proc/self").map_err(|e| Error::io("cannot stat", e).in_file("/proc/self"))?;
        Ok(Identity { user: meta.uid(), group: meta.gid(), sources: None })
    }

    /// The same, for a store that stands for the directory `root`.
    #[must_use]
    pub fn serving(self, root: &Path) -> Identity {
        Identity { sources: std::fs::metadata(root).ok().map(|meta| meta.uid()), ..self }
    }

    fn check(self, meta: &Metadata, sticky_helps: bool, place: &Path) -> Result<()> {
        let refuse = |expected: String, got: String| {
            let help = "chown it, or chmod go-w, or put the package file elsewhere";
            Err(Error::unsupported(expected, got, help).in_file(place))
        };
        let (owner, mode) = (meta.uid(), meta.mode());
        if owner != 0 && owner != self.user && Some(owner) != self.sources {
            let expected = format!(
                "a file or directory that belongs to root, to user {} or to the owner of the sources",
                self.user
            );
            return refuse(expected, format!("user {owner}'s"));
        }
        let group = mode & GROUP_WRITES != 0 && meta.gid() != self.group && meta.gid() != 0;
        let others = mode & OTHERS_WRITE != 0;
        if (group || others) && !(sticky_helps && mode & STICKY != 0) {
            return refuse(
                "a file or directory that nobody else may write to".into(),
                format!("mode {:o}", mode & 0o7777),
            );
        }
        Ok(())
    }
}

/// Checks the open `file` and the directory of its `path`.
///
/// # Errors
/// One of them cannot be looked at, belongs to somebody else, or others may write to it.
pub fn check(file: &File, path: &Path, identity: Identity) -> Result<()> {
    let meta = file.metadata().map_err(|e| Error::io("cannot stat", e).in_file(path))?;
    identity.check(&meta, false, path)?;
    check_directory(crate::fsys::parent(path), identity)
}

/// Checks the directory of files that are to be used.
///
/// # Errors
/// It cannot be looked at, belongs to somebody else, or others may write to it.
pub fn check_directory(directory: &Path, identity: Identity) -> Result<()> {
    let meta = std::fs::metadata(directory).map_err(|e| Error::io("cannot stat", e).in_file(directory))?;
    identity.check(&meta, true, directory)
}

/// Opens the file at `path`, [checks](check) it and maps all of it for reading.
///
/// # Errors
/// It cannot be opened or mapped, is not a regular file, or is not to be trusted.
pub fn open(path: &Path, identity: Identity) -> Result<(File, Map)> {
    Map::open_checked(path, MAX_PYE_BYTES, |file| check(file, path, identity))
}
