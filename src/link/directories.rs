//! What a package says of the directories that its modules stand in ([`crate::pye::directories`]): when each last changed, and what in it
//! can hide a module of the package. In two steps: [`survey`] looks before any module is read, so that every later change is noticed;
//! [`rows`] leaves out what the package holds itself, which is known once all is named.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::resolve::{self, Place, is_identifier, place};
use crate::fsys;
use crate::pye::directories::{EXTENSION, can_hide};
use crate::pye::write::{Directory, Module};
use crate::pye::{ModuleKind, is_indexed};

/// A directory that files to be linked stand in, as it was before they were read.
#[derive(Debug)]
pub struct Surveyed {
    /// Relative to the root.
    path: Vec<u8>,
    /// What was found, unless the directory has several places or none.
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    mtime_ns: i64,
    /// File names, sorted.
    extensions: Vec<Vec<u8>>,
    /// Names of sub-directories with an `__init__`, sorted.
    packages: Vec<Vec<u8>>,
}

/// Where a file that is linked comes from.
pub struct Origin<'a> {
    /// Its path in the package.
    pub relative: &'a [u8],
    /// The file there; none for a module of a package file, which may stand anywhere.
    pub file: Option<&'a Path>,
    /// Whether it tells which directory the package is of. A `.pye` file does not: it may stand in a tree of such files alone.
    pub tells: bool,
}

/// Looks at the directories of all `origins`, and those they are imported through: each relative one is known when all its files come from
/// one directory.
pub fn survey<'a>(origins: impl IntoIterator<Item = Origin<'a>>) -> Vec<Surveyed> {
    /// The one directory, if it is one, and whether any of its files told.
    type Known<'a> = (Option<&'a Path>, bool);
    let mut known: BTreeMap<&[u8], Known<'_>> = BTreeMap::new();
    for origin in origins {
        let Place { mut directory, cached, .. } = place(origin.relative);
        let mut file = origin.file.map(fsys::parent);
        if cached {
            file = file.map(fsys::parent);
        }
        loop {
            let before = known.get(directory).copied();
            let (one, told) = before.unwrap_or((file, false));
            let now = (one.filter(|_| one == file), told || origin.tells);
            known.insert(directory, now);
            // Where nothing is new, nothing is further up.
            let Some(parent) = parent(directory).filter(|_| before != Some(now)) else { break };
            directory = parent;
            file = file.map(fsys::parent);
        }
    }
    let known: Vec<(&[u8], Known<'_>)> = known.into_iter().collect();
    let look_at = |(path, (one, told)): (&[u8], Known<'_>)| Surveyed {
        path: path.to_vec(),
        seen: one.filter(|_| told).and_then(look),
    };
    known.into_par_iter().with_min_len(16).map(look_at).collect()
}

/// The directory that a directory's own name is imported from; none for what would be on `sys.path`.
fn parent(directory: &[u8]) -> Option<&[u8]> {
    let slash = directory.iter().rposition(|b| *b == b'/');
    is_identifier(&directory[slash.map_or(0, |s| s + 1)..]).then_some(&directory[..slash.unwrap_or(0)])
}

/// What is in a directory; nothing when it cannot be told.
fn look(directory: &Path) -> Option<Seen> {
    let mtime_ns = fsys::stamp(directory)?.mtime_ns()?;
    let mut seen = Seen { mtime_ns, extensions: Vec::new(), packages: Vec::new() };
    for entry in fs::read_dir(directory).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let name = fsys::path_bytes(Path::new(&name));
        if name.ends_with(EXTENSION) {
            if can_hide(name) && entry.path().is_file() {
                seen.extensions.push(name.to_vec());
            }
        } else if is_identifier(name) && name != resolve::CACHE && is_directory(&entry) && has_init(&entry.path()) {
            seen.packages.push(name.to_vec());
        }
    }
    seen.extensions.sort_unstable();
    seen.packages.sort_unstable();
    Some(seen)
}

/// Whether an entry is a directory, links followed.
fn is_directory(entry: &fs::DirEntry) -> bool {
    // Of all but links the entry itself tells, without a system call.
    entry.file_type().is_ok_and(|t| t.is_dir() || t.is_symlink() && entry.path().is_dir())
}

/// Whether a directory is a package: it has an `__init__` of any kind that is imported. One that cannot be read may have one.
fn has_init(directory: &Path) -> bool {
    if directory.join("__init__.py").is_file() {
        return true;
    }
    let Ok(mut entries) = fs::read_dir(directory) else { return true };
    entries.any(|entry| {
        entry.is_ok_and(|entry| {
            let name = entry.file_name();
            let suffix = fsys::path_bytes(Path::new(&name)).strip_prefix(b"__init__");
            suffix.is_some_and(|s| {
                matches!(s, b".py" | b".pyc" | b".pyo") || s.starts_with(b".") && s.ends_with(EXTENSION)
            })
        })
    })
}

/// A version and a level.
type Key = ((u8, u8), u8);

/// The rows of the directories that hold something that can be found by name, be it a package or a part of a namespace, or below importable
/// directories an extension module. `modules` are those of the package.
///
/// A sub-directory that is a package is named when the package file has no record of it; also when that lacks a version and level of
/// which it has a module of the same name beside it, which the sub-directory hides; or when an extension module of the name is beside
/// it, which is hidden whatever the version.
pub fn rows(surveyed: Vec<Surveyed>, modules: &[Module]) -> Vec<Directory> {
    let mut holding: HashSet<&[u8]> = HashSet::new();
    let mut packages: HashMap<&[u8], HashSet<Key>> = HashMap::new();
    let mut beside: HashMap<Vec<u8>, HashSet<Key>> = HashMap::new();
    for module in modules.iter().filter(|m| is_indexed(&m.name, m.kind, m.optimization)) {
        let directory = place(&module.path).directory;
        let key = (module.python(), module.optimization);
        holding.insert(directory);
        match module.kind {
            ModuleKind::Package => {
                holding.extend(parent(directory));
                packages.entry(directory).or_default().insert(key);
            }
            ModuleKind::Module => {
                let last = module.name.rsplit(|b| *b == b'.').next().unwrap_or_default();
                beside.entry(below(directory, last)).or_default().insert(key);
            }
            // Its path is a directory, so this is what that stands in.
            ModuleKind::Namespace | ModuleKind::Raw => {}
        }
    }
    let held = |path: &[u8]| {
        packages.get(path).is_some_and(|held| beside.get(path).is_none_or(|beside| beside.is_subset(held)))
    };
    let row = |surveyed: Surveyed| {
        let path = surveyed.path;
        let importable = || path.is_empty() || path.split(|b| *b == b'/').all(is_identifier);
        let extensions = surveyed.seen.as_ref().is_some_and(|seen| !seen.extensions.is_empty());
        if !(holding.contains(&path[..]) || extensions && importable()) {
            return None;
        }
        let mtime_ns = surveyed.seen.as_ref().map(|seen| seen.mtime_ns);
        let names = surveyed.seen.map_or_else(Vec::new, |seen| {
            let extension = |name: &[u8]| {
                seen.extensions.iter().any(|e| e.strip_prefix(name).is_some_and(|rest| rest.starts_with(b".")))
            };
            let told = |name: &[u8]| extension(name) || !held(&below(&path, name));
            let packages = seen.packages.iter().filter(|name| told(name)).map(|name| [&name[..], b"/"].concat());
            let mut names: Vec<Vec<u8>> = packages.collect();
            names.extend(seen.extensions);
            names.sort_unstable();
            names
        });
        Some(Directory { path, mtime_ns, names })
    };
    surveyed.into_iter().filter_map(row).collect()
}

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
