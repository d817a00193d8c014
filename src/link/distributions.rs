//! Which installed distribution each file of a site-packages directory belongs to, from its `.dist-info/RECORD`.
//!
//! Sources: PyPA specification "Recording installed projects" (RECORD is CSV: path relative to the directory that holds the
//! `.dist-info`, hash, size) and PEP 376.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::tree::{Found, SO, has_suffix};

/// Name of the group of files that no distribution claims.
pub const UNCLAIMED: &str = "unclaimed";

/// Splits `files` by distribution: `name-version` → its files, in their order. Files that no RECORD below `roots` names are grouped under
/// [`UNCLAIMED`]. A RECORD that cannot be read is an error of the second list; its files are then unclaimed.
pub fn group(roots: &[PathBuf], files: Vec<Found>) -> (BTreeMap<String, Vec<Found>>, Vec<Error>) {
    let mut owner: HashMap<PathBuf, String> = HashMap::new();
    let mut errors = Vec::new();
    for root in roots {
        for entry in walkdir::WalkDir::new(root).follow_root_links(true).into_iter().flatten() {
            let name = entry.file_name().to_string_lossy();
            if let Some(distribution) = name.strip_suffix(".dist-info").filter(|_| entry.file_type().is_dir()) {
                let site = entry.path().parent().unwrap_or(root);
                match claims(&entry.path().join("RECORD")) {
                    Ok(claimed) => owner.extend(claimed.into_iter().map(|p| (site.join(p), distribution.to_string()))),
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    let mut groups: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for file in files {
        // Installers list what they wrote: often the source alone, and the `.pyc` was compiled later.
        let claimed = owner.get(&file.path).or_else(|| owner.get(&source_of(&file.path)?));
        groups.entry(claimed.cloned().unwrap_or_else(|| UNCLAIMED.to_string())).or_default().push(file);
    }
    // Extension modules alone make no package.
    groups.retain(|_, files| files.iter().any(|f| !has_suffix(&f.path, &[SO])));
    (groups, errors)
}

/// The paths a RECORD lists.
fn claims(record: &Path) -> Result<Vec<PathBuf>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_path(record)
        .map_err(|e| Error::io("cannot read", std::io::Error::other(e)).in_file(record))?;
    let mut paths = Vec::new();
    for row in reader.byte_records() {
        let row =
            row.map_err(|e| Error::malformed("lines of comma-separated values", e.to_string()).in_file(record))?;
        if let Some(path) = row.get(0) {
            paths.push(crate::fsys::path_from(path).to_path_buf());
        }
    }
    Ok(paths)
}

/// The source a `.pyc` (or `.pye`) was compiled from, by its place: `a/__pycache__/b.tag.pyc` → `a/b.py`, `a/b.pyc` → `a/b.py`.
pub fn source_of(file: &Path) -> Option<PathBuf> {
    let directory = file.parent()?;
    let name = file.file_name()?.to_str()?;
    match directory.file_name() {
        Some(last) if last == "__pycache__" => {
            Some(directory.parent()?.join(name.split('.').next()?).with_extension("py"))
        }
        _ => Some(file.with_extension("py")),
    }
}
