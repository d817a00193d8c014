//! The files that a command's paths name: each file itself, and of each directory all files below it with the wanted suffixes.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::error::{Error, Result};
use crate::fsys;

/// A file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the directory that was named; of a file that was named itself, its file name.
    pub relative: PathBuf,
    /// Which of the command's paths it was found under.
    pub root: usize,
}

/// Suffixes of byte-compiled files; `.pyo` is 2.7's for `-O` and `-OO`.
pub const PYC: [&str; 2] = ["pyc", "pyo"];

/// Suffix of files of this format.
pub const PYE: &str = "pye";

/// Suffix of extension modules.
pub const SO: &str = "so";

/// Whether the path's suffix is one of `suffixes`.
pub fn has_suffix(path: &Path, suffixes: &[&str]) -> bool {
    path.extension().is_some_and(|e| suffixes.iter().any(|s| e == *s))
}

/// Which of the files found are left out.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Cache tags, such as `cpython-312`: of the files in a `__pycache__` those with another tag are left out. None: all tags are taken.
    pub tags: Vec<String>,
    /// Directories that are not looked into, relative to the one that was named.
    pub excluded: Vec<PathBuf>,
}

impl Filter {
    /// Whether to take the file at `relative`.
    fn takes(&self, relative: &Path) -> bool {
        let tag = cache_tag(relative);
        self.tags.is_empty() || tag.is_none_or(|tag| self.tags.iter().any(|t| t.as_bytes() == tag))
    }

    /// Whether not to look into the directory at `relative`.
    fn excludes(&self, relative: &Path) -> bool {
        self.excluded.iter().any(|e| e == relative)
    }
}

/// The cache tag of a file in a `__pycache__`: `cpython-312` of `__pycache__/m.cpython-312.opt-1.pyc` (PEP 3147, PEP 488).
fn cache_tag(path: &Path) -> Option<&[u8]> {
    if path.parent()?.file_name()? != "__pycache__" {
        return None;
    }
    let mut parts = fsys::path_bytes(Path::new(path.file_stem()?)).rsplit(|b| *b == b'.');
    let tag = parts.find(|part| !part.starts_with(b"opt-"))?;
    // What stands before is the module.
    parts.next().map(|_| tag)
}

/// All files of `paths` with one of `suffixes` (those named themselves whatever their suffix), sorted by relative path and then by
/// root; and an error for everything that could not be looked at. Links to directories are not followed. Files that killed
/// processes left behind are removed on the way.
pub fn find(paths: &[PathBuf], suffixes: &[&str]) -> (Vec<Found>, Vec<Error>) {
    find_with(paths, suffixes, &Filter::default())
}

/// As [`find`], without what `filter` leaves out. Files that are named themselves are all taken.
pub fn find_with(paths: &[PathBuf], suffixes: &[&str], filter: &Filter) -> (Vec<Found>, Vec<Error>) {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for (root, named) in paths.iter().enumerate() {
        let below = |path: &Path| path.strip_prefix(named).unwrap_or(path).to_path_buf();
        let walk = WalkDir::new(named).follow_root_links(true).into_iter().filter_entry(|entry| {
            let directory = entry.depth() > 0 && entry.file_type().is_dir() && !filter.excluded.is_empty();
            !(directory && filter.excludes(&below(entry.path())))
        });
        for entry in walk {
            match entry {
                Ok(entry) => {
                    let path = entry.path();
                    // A link that is named itself is followed when it leads to a directory.
                    if entry.file_type().is_dir() || entry.depth() == 0 && path.is_dir() {
                        continue;
                    }
                    if fsys::is_temporary(entry.file_name()) {
                        fsys::remove_leftover(path);
                    } else if entry.depth() == 0 {
                        let relative = PathBuf::from(path.file_name().unwrap_or(path.as_os_str()));
                        found.push(Found { path: path.into(), relative, root });
                    } else if has_suffix(path, suffixes) && (entry.file_type().is_file() || path.is_file()) {
                        let relative = below(path);
                        if filter.takes(&relative) {
                            found.push(Found { path: path.into(), relative, root });
                        }
                    }
                }
                Err(error) => errors.push(walk_error(error, named)),
            }
        }
    }
    found.sort_by(|a, b| (a.relative.as_os_str(), a.root).cmp(&(b.relative.as_os_str(), b.root)));
    (found, errors)
}

fn walk_error(error: walkdir::Error, named: &Path) -> Error {
    let path = error.path().unwrap_or(named).to_path_buf();
    let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links"));
    Error::io("cannot look into", source).in_file(path)
}

/// Reads a list of paths, one a line; empty lines are skipped.
///
/// # Errors
/// The list cannot be read.
pub fn read_list(list: &Path) -> Result<Vec<PathBuf>> {
    let bytes = if list == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(list)
    };
    let bytes = bytes.map_err(|e| Error::io("cannot read the list", e).in_file(list))?;
    Ok(bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| fsys::path_from(l).to_path_buf()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_tags_are_those_of_files_in_pycache() {
        for (path, tag) in [
            ("__pycache__/m.cpython-312.pyc", Some("cpython-312")),
            ("a/__pycache__/m.cpython-312.opt-1.pyc", Some("cpython-312")),
            ("a/__pycache__/m.pypy39.opt-2.pye", Some("pypy39")),
            ("a/__pycache__/m.n.cpython-313.pyc", Some("cpython-313")),
            ("a/__pycache__/m.pyc", None),
            ("a/__pycache__/m.opt-1.pyc", None),
            ("a/m.cpython-312.pyc", None),
            ("m.pyc", None),
        ] {
            assert_eq!(cache_tag(Path::new(path)), tag.map(str::as_bytes), "{path}");
        }
    }
}
