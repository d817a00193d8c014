//! What is linked for an interpreter: the directories of its `sys.path` that hold modules, and the files of each.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::interpreter::Interpreter;
use crate::tree::{Found, PYC, SO, has_suffix};

/// What the standard library's directory holds besides it, or programs do not import: other directories of `sys.path`, tests, games.
const NOT_LIBRARY: [&str; 7] =
    ["site-packages", "dist-packages", "test", "tests", "idle_test", "idlelib", "turtledemo"];

/// Where compiled files lie, PEP 3147.
const CACHE: &str = "__pycache__";

/// A directory on `sys.path` that gets a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// As on `sys.path`.
    pub directory: PathBuf,
    /// Whether it is of the standard library.
    pub library: bool,
}

impl Root {
    /// The roots of an interpreter, the standard library first.
    pub fn of(interpreter: &Interpreter) -> Vec<Root> {
        let libraries = interpreter.libraries.iter().map(|directory| (directory, true));
        let mut roots: Vec<Root> = Vec::new();
        for (directory, library) in libraries.chain(interpreter.sites.iter().map(|directory| (directory, false))) {
            if roots.iter().all(|root| root.directory != *directory) {
                roots.push(Root { directory: directory.clone(), library });
            }
        }
        roots
    }

    /// The file name of its package, the `index`th of a set: told apart by their numbers, told by people by the rest.
    pub fn package_name(&self, index: usize) -> String {
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy();
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{index}-{name}.pye")
    }

    /// Everything below it that is the root's own, in the order of names; what cannot be looked at is left out, as importing would.
    fn entries(&self) -> impl Iterator<Item = DirEntry> {
        let library = self.library;
        WalkDir::new(&self.directory)
            .follow_root_links(true)
            .into_iter()
            .filter_entry(move |entry| {
                // Nor does it import from directories such as `config-3.13-x86_64-linux-gnu`.
                let other = |name: &OsStr| NOT_LIBRARY.iter().any(|n| name == *n) || name.as_bytes().contains(&b'-');
                entry.depth() == 0 || !library || !entry.file_type().is_dir() || !other(entry.file_name())
            })
            .flatten()
    }

    /// The files and sources that are there.
    pub fn contents(&self, cache_tag: &str) -> Contents {
        let mut contents = Contents::default();
        let tag = format!(".{cache_tag}.");
        for entry in self.entries() {
            let path = entry.path();
            if entry.file_type().is_dir() {
                contents.directories.push(path.to_path_buf());
                continue;
            }
            let cached = path.parent().is_some_and(|parent| parent.file_name() == Some(OsStr::new(CACHE)));
            if has_suffix(path, &["py"]) && !cached {
                contents.sources.push(path.to_path_buf());
            } else if has_suffix(path, &[PYC[0], SO]) {
                // Another version's file is never loaded by this interpreter.
                let name = entry.file_name().as_bytes();
                let own = name.windows(tag.len()).any(|part| part == tag.as_bytes());
                if (!cached || own) && path.is_file() {
                    contents.add(path.to_path_buf(), &self.directory);
                }
            }
        }
        contents.sort();
        contents
    }
}

/// What a root holds.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Compiled files of the interpreter, and extension modules, as [`crate::tree::find`] would list them.
    pub compiled: Vec<Found>,
    /// Sources.
    pub sources: Vec<PathBuf>,
    /// Directories, the root itself included.
    pub directories: Vec<PathBuf>,
}

impl Contents {
    /// Adds the compiled file at `path`, below `base`.
    pub fn add(&mut self, path: PathBuf, base: &Path) {
        if let Ok(relative) = path.strip_prefix(base).map(Path::to_path_buf) {
            self.compiled.push(Found { path, relative, root: 0 });
        }
    }

    /// Puts everything in order.
    pub fn sort(&mut self) {
        self.compiled.sort_by(|a, b| a.relative.as_os_str().cmp(b.relative.as_os_str()));
        self.sources.sort();
        self.directories.sort();
    }

    /// The sources without a compiled file at the interpreter's own level of optimisation, and where each would be.
    pub fn uncompiled(&self, cache_tag: &str) -> Vec<(PathBuf, PathBuf)> {
        let there: std::collections::HashSet<&Path> = self.compiled.iter().map(|found| found.path.as_path()).collect();
        let lacking = |source: &PathBuf| {
            let pyc = cached(source, cache_tag)?;
            (!there.contains(pyc.as_path())).then(|| (source.clone(), pyc))
        };
        self.sources.iter().filter_map(lacking).collect()
    }
}

/// Where the compiled file of a source lies.
fn cached(source: &Path, cache_tag: &str) -> Option<PathBuf> {
    let mut name = source.file_stem()?.to_os_string();
    name.push(format!(".{cache_tag}.pyc"));
    Some(source.with_file_name(CACHE).join(name))
}
