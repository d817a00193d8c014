//! The .pyc files that are measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pye::tree::{self, Found};

/// Directories of `.pyc` files.
pub(crate) struct Corpus {
    /// As named on the command line.
    pub(crate) directories: Vec<PathBuf>,
    /// Their files, in the order of `pye::tree::find`.
    pub(crate) found: Vec<Found>,
    /// Bytes of them all.
    pub(crate) bytes: u64,
}

/// A file in memory.
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

impl Corpus {
    /// Looks for files; none at all is an error.
    pub(crate) fn find(directories: Vec<PathBuf>) -> Result<Corpus> {
        for directory in &directories {
            if !directory.is_dir() {
                bail!("{}: no such directory; benches/corpus makes the default one", directory.display());
            }
        }
        let (found, errors) = tree::find(&directories, &["pyc"]);
        if let Some(error) = errors.into_iter().next() {
            return Err(error.into());
        }
        if found.is_empty() {
            bail!("no .pyc file in {}", list(&directories));
        }
        let sizes = found.iter().map(|f| Ok(std::fs::metadata(&f.path)?.len()));
        let bytes = sizes.sum::<std::io::Result<u64>>().context("cannot stat the corpus")?;
        Ok(Corpus { directories, found, bytes })
    }

    /// All files, or at most `most` of them, taken at even distances.
    pub(crate) fn load(&self, most: Option<usize>) -> Result<Vec<File>> {
        let step = most.map_or(1, |most| self.found.len().div_ceil(most.max(1)));
        let read = |f: &Found| {
            let bytes = std::fs::read(&f.path).with_context(|| format!("cannot read {}", f.path.display()))?;
            Ok(File { path: f.path.clone(), bytes })
        };
        self.found.iter().step_by(step).map(read).collect()
    }

    /// The parts that are measured apart: each directory directly below a named one that holds files, by its name; then all together.
    pub(crate) fn parts(&self) -> Result<Vec<(String, Vec<Found>)>> {
        let mut parts = Vec::new();
        for directory in &self.directories {
            let mut below: Vec<PathBuf> = Vec::new();
            for entry in std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    below.push(path);
                }
            }
            below.sort();
            // A corpus has two or three parts; a tree of Python packages named itself is one.
            if !below.iter().any(|p| p.ends_with("lib") || p.ends_with("site-packages")) {
                continue;
            }
            for path in below {
                let (found, _) = tree::find(std::slice::from_ref(&path), &["pyc"]);
                if !found.is_empty() {
                    parts.push((name(&path), found));
                }
            }
        }
        if parts.len() == 1 && parts[0].1.len() == self.found.len() {
            return Ok(parts);
        }
        parts.push(("all".into(), self.found.clone()));
        Ok(parts)
    }

    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        format!("{} .pyc files, {:.1} MB", self.found.len(), self.bytes as f64 / 1e6)
    }

    /// The interpreter that `benches/corpus` made the files with: DIR.python stands beside its directory.
    pub(crate) fn python(&self) -> Option<PathBuf> {
        let directory = std::fs::canonicalize(self.directories.first()?).ok()?;
        let beside = |a: &Path| {
            let mut name = a.as_os_str().to_os_string();
            name.push(".python");
            PathBuf::from(name)
        };
        directory.ancestors().map(beside).find(|p| p.is_file())
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}
