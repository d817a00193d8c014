//! The record of an installation: every file and directory that it makes, written before it makes them. So an installation that was
//! killed at any moment can be taken back as exactly as one that ended.
//!
//! Paths are relative to the installation's prefix where they lie below it: a virtual environment may be moved.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::error::{Error, Result};
use crate::fsys;

/// A file that was made, or may have been: the modification time in nanoseconds since 1970 is known when the work was finished.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Made {
    path: PathBuf,
    mtime: Option<i128>,
}

/// What an installation makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// Files that are pye's: removed whatever they hold.
    own: BTreeSet<PathBuf>,
    /// `.pyc` files that were not there: removed unless somebody has written them since.
    compiled: BTreeSet<Made>,
    /// Directories that were not there: removed if they are empty.
    directories: BTreeSet<PathBuf>,
}

/// The letters at the heads of the lines.
const OWN: &str = "own";
/// See [`OWN`].
const COMPILED: &str = "compiled";
/// See [`OWN`].
const DIRECTORY: &str = "directory";

impl Journal {
    /// Reads the journal at `path`; nothing when there is none. What it names is going to be removed, so it must be this user's or root's.
    ///
    /// # Errors
    /// It cannot be read, is none, or is somebody else's.
    pub fn read(path: &Path) -> Result<Option<Journal>> {
        let Some(mut file) = fsys::open_regular(File::options().read(true), path)? else { return Ok(None) };
        let io = |e| Error::io("cannot read", e).in_file(path);
        let (owner, user) = (file.metadata().map_err(io)?.uid(), geteuid().as_raw());
        if owner != 0 && owner != user {
            let expected = format!("a journal that belongs to user {user} or to root");
            let help = format!("what it names could be anybody's: do this as user {owner}");
            return Err(Error::unsupported(expected, format!("user {owner}'s"), help).in_file(path));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let mut journal = Journal::default();
        for (number, line) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let mut fields = line.splitn(3, |b| *b == b'\t');
            let mut field = || fields.next().unwrap_or_default();
            let (kind, mtime, file) = (field(), field(), field());
            let file = fsys::path_from(file).to_path_buf();
            let mtime = std::str::from_utf8(mtime).ok().and_then(|text| text.parse().ok());
            match kind {
                kind if kind == OWN.as_bytes() => drop(journal.own.insert(file)),
                kind if kind == COMPILED.as_bytes() => drop(journal.compiled.insert(Made { path: file, mtime })),
                kind if kind == DIRECTORY.as_bytes() => drop(journal.directories.insert(file)),
                _ => {
                    let got = String::from_utf8_lossy(line).into_owned();
                    return Err(Error::malformed("a line of pye's journal", format!("{got:?} in line {}", number + 1))
                        .in_file(path));
                }
            }
        }
        Ok(Some(journal))
    }

    /// Writes it to `path`, in one step.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut out = Vec::new();
        let mut line = |kind: &str, mtime: Option<i128>, file: &Path| {
            let mtime = mtime.map_or("-".into(), |mtime| mtime.to_string());
            out.extend_from_slice(&[kind.as_bytes(), mtime.as_bytes(), file.as_os_str().as_bytes()].join(&b'\t'));
            out.push(b'\n');
        };
        self.directories.iter().for_each(|path| line(DIRECTORY, None, path));
        self.own.iter().for_each(|path| line(OWN, None, path));
        self.compiled.iter().for_each(|made| line(COMPILED, made.mtime, &made.path));
        fsys::write(path, &out)
    }

    /// A file of pye's own is going to be made.
    pub fn own(&mut self, prefix: &Path, path: &Path) {
        self.own.insert(relative(prefix, path));
    }

    /// A `.pyc` is going to be made, which is not there, and perhaps the directory it lies in.
    pub fn compiled(&mut self, prefix: &Path, path: &Path) {
        if path.as_os_str().as_bytes().contains(&b'\n') {
            return;
        }
        self.directory(prefix, fsys::parent(path));
        self.compiled.insert(Made { path: relative(prefix, path), mtime: None });
    }

    /// A directory is going to be made, if it is not there.
    pub fn directory(&mut self, prefix: &Path, path: &Path) {
        if !path.exists() {
            self.directories.insert(relative(prefix, path));
        }
    }

    /// Notes the times of what has been compiled, and forgets what has not.
    pub fn finish(&mut self, prefix: &Path) {
        self.compiled = std::mem::take(&mut self.compiled)
            .into_iter()
            .filter_map(|made| {
                Some(Made { mtime: Some(made.mtime.or_else(|| mtime(&prefix.join(&made.path)))?), ..made })
            })
            .collect();
    }

    /// Removes the files below `prefix` but those that have been written since, and returns the number removed and what cannot be.
    pub fn remove_files(&self, prefix: &Path) -> (usize, Vec<Error>) {
        let mut removed = 0;
        let mut errors = Vec::new();
        let own = self.own.iter().map(|path| prefix.join(path));
        let compiled = self.compiled.iter().map(|made| (prefix.join(&made.path), made.mtime));
        let compiled = compiled.filter(|(path, time)| time.is_none() || mtime(path) == *time).map(|(path, _)| path);
        for path in own.chain(compiled) {
            match fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => errors.push(Error::io("cannot remove", error).in_file(path)),
            }
        }
        (removed, errors)
    }

    /// Removes the directories below `prefix`, once their files are gone. One that is not empty is somebody else's by now.
    pub fn remove_directories(&self, prefix: &Path) {
        // Inner ones first.
        for path in self.directories.iter().rev() {
            let _ = fs::remove_dir(prefix.join(path));
        }
    }

    /// Takes back files of pye's own that an earlier installation made and this one, which needs only `current`, does not.
    pub fn drop_own_but(&mut self, prefix: &Path, current: &[PathBuf]) {
        let current: BTreeSet<PathBuf> = current.iter().map(|path| relative(prefix, path)).collect();
        for path in std::mem::take(&mut self.own) {
            if current.contains(&path) {
                self.own.insert(path);
            } else {
                // What cannot be removed now is in nobody's way.
                let _ = fs::remove_file(prefix.join(path));
            }
        }
    }

    /// The directories that hold files of pye's own below `prefix`.
    pub fn own_directories(&self, prefix: &Path) -> BTreeSet<PathBuf> {
        self.own.iter().map(|path| fsys::parent(&prefix.join(path)).to_path_buf()).collect()
    }
}

/// `path` relative to `prefix` if it is below it.
fn relative(prefix: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(prefix).unwrap_or(path).to_path_buf()
}

fn mtime(path: &Path) -> Option<i128> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some(i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()))
}

/// Whether a name can stand in a line of text.
pub fn fits_line(name: &OsStr) -> bool {
    !name.as_bytes().iter().any(|b| b"\n\t\r".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_since_stays() {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path();
        let mut journal = Journal::default();
        let [ours, theirs, own] = ["a/__pycache__/x.pyc", "b/__pycache__/y.pyc", "share/pye/p"].map(|p| prefix.join(p));
        for path in [&ours, &theirs] {
            fs::create_dir_all(path.parent().unwrap().parent().unwrap()).unwrap();
            journal.compiled(prefix, path);
        }
        journal.directory(prefix, &prefix.join("share"));
        journal.directory(prefix, &prefix.join("share/pye"));
        journal.own(prefix, &own);
        for path in [&ours, &theirs, &own] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "made").unwrap();
        }
        journal.finish(prefix);
        let file = prefix.join("journal");
        journal.write(&file).unwrap();
        assert_eq!(Journal::read(&file).unwrap().as_ref(), Some(&journal));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
        File::options().write(true).open(&theirs).unwrap().set_modified(later).unwrap();
        let (removed, errors) = journal.remove_files(prefix);
        journal.remove_directories(prefix);
        assert_eq!((removed, errors.len()), (2, 0));
        assert!(!ours.parent().unwrap().exists() && prefix.join("a").is_dir());
        assert!(theirs.exists() && !prefix.join("share").exists());
    }
}
