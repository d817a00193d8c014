//! The environment that activates packages in a command and all its children.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::place::Place;
use crate::error::{Error, Result};
use crate::limits::MAX_PYE_BYTES;
use crate::map::Map;
use crate::pye::read::Pye;
use crate::tree::{self, PYE};

/// `0` switches pye off, whatever else is set or installed.
pub const SWITCH: &str = "PYE";

/// `stderr` or a file's absolute path: what pye does in a process, one line each.
pub const LOG: &str = "PYE_LOG";

/// `[ROOT=]STORE` entries joined by `:`.
pub const PACKAGES: &str = "PYE_PACKAGES";

/// Python's own; the boot directory goes in front.
const SEARCH: &str = "PYTHONPATH";

/// Packages, single files or directories of them, to be imported from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The directory on `sys.path` that the store stands for; when missing it is found by the sources that are there.
    pub root: Option<PathBuf>,
    /// A package file, a single `.pye` file, or a directory of such.
    pub store: PathBuf,
}

impl FromStr for Entry {
    type Err = String;

    /// `[ROOT=]STORE`: the last `=` parts them, as in [`PACKAGES`].
    fn from_str(text: &str) -> Result<Entry, String> {
        let (root, store) = match text.rsplit_once('=') {
            Some((root, store)) => (Some(root), store),
            None => (None, text),
        };
        if store.is_empty() || root == Some("") {
            return Err("expected a file, or DIRECTORY=FILE".into());
        }
        Ok(Entry { root: root.map(PathBuf::from), store: store.into() })
    }
}

impl Entry {
    /// As [`PACKAGES`] has it.
    fn text(&self) -> OsString {
        let mut text = OsString::new();
        if let Some(root) = &self.root {
            text.push(root);
            text.push("=");
        }
        text.push(&self.store);
        text
    }

    /// The same with absolute paths, which mean the same in every child; of a directory with package files, one for each of these.
    ///
    /// # Errors
    /// The store is not there or is none, the root is no directory, or a path holds what joins or parts entries.
    pub fn resolve(&self) -> Result<Vec<Entry>> {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).map_err(|e| Error::io("cannot find", e).in_file(path))?;
            std::fs::metadata(&path).map_err(|e| Error::io("cannot find", e).in_file(&path))?;
            if path.as_os_str().as_bytes().contains(&b':') {
                return Err(Error::malformed("a path without a colon, which parts entries", "one").in_file(&path));
            }
            Ok(path)
        };
        let entry = Entry { root: self.root.as_deref().map(absolute).transpose()?, store: absolute(&self.store)? };
        if entry.store.as_os_str().as_bytes().contains(&b'=') {
            return Err(Error::malformed("a path without =, which parts root and file", "one").in_file(&entry.store));
        }
        if !entry.store.is_dir() {
            is_package(&entry.store)?;
            return Ok(vec![entry]);
        }
        let listing = std::fs::read_dir(&entry.store).map_err(|e| Error::io("cannot list", e).in_file(&entry.store))?;
        let files = listing.filter_map(|file| Some(file.ok()?.path()));
        let mut packages: Vec<PathBuf> = files.filter(|path| tree::has_suffix(path, &[PYE])).collect();
        packages.retain(|path| is_package(path).unwrap_or(false));
        packages.sort();
        Ok(match packages.is_empty() {
            true => vec![entry],
            false => packages.into_iter().map(|store| Entry { root: entry.root.clone(), store }).collect(),
        })
    }
}

/// Whether the `.pye` file at `path` is a package.
fn is_package(path: &Path) -> Result<bool> {
    let map = Map::open(path, MAX_PYE_BYTES)?;
    let pye = Pye::open(&map).map_err(|e| e.in_file(path))?;
    Ok(pye.header().is_package())
}

/// The variables to set for a command so that `entries` are active in it, before those of a `pye run` around this one: names and
/// values.
pub fn variables(place: &Place, entries: &[Entry]) -> Vec<(&'static str, OsString)> {
    let with_old = |name, new| (name, in_front(new, std::env::var_os(name).as_deref()));
    vec![
        with_old(PACKAGES, entries.iter().map(Entry::text).collect()),
        with_old(SEARCH, vec![place.boot().into_os_string()]),
    ]
}

/// `new` entries of a list, then its old ones that are not among them. An empty list has no entries, but an empty entry of a list
/// stays: to Python it is the working directory.
fn in_front(mut list: Vec<OsString>, old: Option<&OsStr>) -> OsString {
    let old = old.unwrap_or_default().as_bytes();
    let new = list.len();
    if !old.is_empty() {
        for entry in old.split(|b| *b == b':').map(OsStr::from_bytes) {
            if !list[..new].iter().any(|known| known == entry) {
                list.push(entry.to_os_string());
            }
        }
    }
    list.join(OsStr::new(":"))
}

/// Whether the environment switches pye off.
pub fn switched_off() -> bool {
    std::env::var_os(SWITCH).is_some_and(|value| value == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_parted_at_the_last_equals_sign() {
        let entry = |root: Option<&str>, store: &str| Ok(Entry { root: root.map(Into::into), store: store.into() });
        assert_eq!("all.pye".parse(), entry(None, "all.pye"));
        assert_eq!("/a=b/lib=all.pye".parse(), entry(Some("/a=b/lib"), "all.pye"));
        for wrong in ["", "=", "=all.pye", "/lib="] {
            assert!(wrong.parse::<Entry>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn new_entries_stand_first_and_once() {
        let list = |old: Option<&str>| in_front(vec!["/boot".into()], old.map(OsStr::new)).into_string().unwrap();
        assert_eq!(list(None), "/boot");
        assert_eq!(list(Some("")), "/boot");
        assert_eq!(list(Some("/a::/boot:/b")), "/boot:/a::/b");
    }
}
