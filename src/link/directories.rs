//! What a package says of the directories that its modules stand in ([`crate::pye::directories`]): when each last changed, and what in it
//! can be imported though the package has no record of it. In two steps: [`survey`] looks before any module is read, so that every later change is noticed;
//! [`rows`] leaves out what the package holds itself, which is known once all is named.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::resolve::{self, Place, is_identifier, place};
use crate::fsys;
use crate::pye::directories::{EXTENSION, importable};
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
    /// What may be imported from it, as an entry names it ([`importable`]); sorted.
    names: Vec<Vec<u8>>,
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
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let name = fsys::path_bytes(Path::new(&name));
        // What a link leads to may change without the directory: it is taken for whatever its name allows.
        let kind = entry.file_type().ok()?;
        if !kind.is_dir() && importable(name).is_some() {
            names.push(name.to_vec());
        }
        let inner = [name, b"/"].concat();
        if (kind.is_dir() || kind.is_symlink()) && name != resolve::CACHE && importable(&inner).is_some() {
            names.push(inner);
        }
    }
    names.sort_unstable();
    Some(Seen { mtime_ns, names })
}

/// A version and a level.
type Key = ((u8, u8), u8);

/// The rows of the directories that hold something that can be found by name, be it a package or a part of a namespace, or an extension
/// module. `modules` are those of the package.
///
/// A name is left out when a record tells of it that is found by the name of the directory and its own. Extension modules have none. A
/// sub-directory that is a package is named all the same when the package file lacks a version and level of it of which it has a module
/// of the same name beside it, which the sub-directory hides; or when an extension module of the name is beside it, which is
/// hidden whatever the version.
pub fn rows(surveyed: Vec<Surveyed>, modules: &[Module]) -> Vec<Directory> {
    let mut holding: HashSet<&[u8]> = HashSet::new();
    let mut packages: HashMap<&[u8], HashSet<Key>> = HashMap::new();
    // By path, without a suffix.
    let mut files: HashMap<Vec<u8>, HashSet<Key>> = HashMap::new();
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
                files.entry(below(directory, last)).or_default().insert(key);
            }
            // Its path is a directory, so this is what that stands in.
            ModuleKind::Namespace | ModuleKind::Raw => {}
        }
    }
    let row = |Surveyed { path, seen }: Surveyed| {
        // Below a directory that no dotted name leads through, records have other names than the directory says.
        let named = path.is_empty() || path.split(|b| *b == b'/').all(is_identifier);
        let (mtime_ns, all) = seen.map_or((None, Vec::new()), |seen| (Some(seen.mtime_ns), seen.names));
        let extensions: HashSet<&[u8]> =
            all.iter().filter(|n| n.ends_with(EXTENSION)).filter_map(|n| importable(n)).collect();
        if extensions.is_empty() && !holding.contains(&path[..]) {
            return None;
        }
        let recorded = |entry: &[u8]| {
            let Some(name) = importable(entry).filter(|_| named) else { return false };
            let at = below(&path, name);
            match &entry[name.len()..] {
                b"/" => {
                    let held = packages.get(&at[..]);
                    let complete = |held: &HashSet<Key>| files.get(&at).is_none_or(|beside| beside.is_subset(held));
                    held.is_some_and(complete) && !extensions.contains(name)
                }
                b".py" | b".pyc" => files.contains_key(&at) || name == b"__init__" && packages.contains_key(&path[..]),
                _ => false,
            }
        };
        let names = all.iter().filter(|entry| !recorded(entry)).cloned().collect();
        Some(Directory { path, mtime_ns, names })
    };
    surveyed.into_iter().filter_map(row).collect()
}

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
