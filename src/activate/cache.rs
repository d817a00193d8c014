//! Packages of a user's own, for commands in environments that nothing is installed in: linked when first needed, and again when the
//! environment has changed.
//!
//! A package is up to date when its fingerprint, kept beside it, is that of its root now: names, sizes and times of the compiled files, and
//! the times of the directories. The finder checks sources by itself, so a stale package costs speed, not correctness.

use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::environment::Entry;
use super::image::Job;
use super::interpreter::Interpreter;
use super::place::Place;
use super::roots::{Contents, Root};
use super::step::Step;
use crate::convert::Options;
use crate::error::{Error, Result};
use crate::fsys;
use crate::image::Relocate;
use crate::link;

/// The directory of all packages of the user: `$XDG_CACHE_HOME/pye`, or `~/.cache/pye`.
///
/// # Errors
/// Neither variable says where that is.
pub fn directory() -> Result<PathBuf> {
    // The base directory specification has relative paths ignored.
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("pye")).ok_or_else(|| {
        Error::unsupported(
            "a place for the packages",
            "neither XDG_CACHE_HOME nor HOME",
            "set one of them, or link packages yourself and name them with --package",
        )
    })
}

/// The packages of an interpreter's roots below `directory`, linked where they are missing or out of date. Several processes may ask at
/// once: the first links, the others wait. With `images`, the Python package that makes them, they get images where the interpreter allows it.
///
/// # Errors
/// The directory cannot be made, used or locked, or a package cannot be written.
pub fn packages(
    interpreter: &Interpreter,
    images: Option<&Place>,
    directory: &Path,
    options: Options,
    progress: &(dyn Fn(Step<'_>) + Sync),
) -> Result<Vec<Entry>> {
    let tag = interpreter.cache_tag.as_deref().unwrap_or_default();
    make_private(directory)?;
    let mut entries = Vec::new();
    for (index, root) in Root::of(interpreter).iter().enumerate() {
        // One directory for each root as a certain interpreter sees it.
        let key = [
            interpreter.build.as_bytes(),
            tag.as_bytes(),
            root.directory.as_os_str().as_bytes(),
            &options.min_blob.to_le_bytes(),
            env!("CARGO_PKG_VERSION").as_bytes(),
            &[u8::from(images.is_some())],
        ];
        let place = directory.join(hash(|hasher| key.iter().for_each(|part| add(hasher, part))));
        make_private(&place)?;
        let lock = File::open(&place).map_err(|e| Error::io("cannot open", e).in_file(&place))?;
        lock.lock().map_err(|e| Error::io("cannot lock", e).in_file(&place))?;
        let (file, kept) = (place.join(root.package_name(index)), place.join("fingerprint"));
        let contents = root.contents(tag);
        let now = fingerprint(&contents);
        if !file.is_file() || fs::read(&kept).ok().as_deref() != Some(now.as_bytes()) {
            progress(Step::Link(root, &contents));
            let _ = fs::remove_file(&kept);
            let report = link::link(&contents.compiled, &file, options, &|bytes| progress(Step::Bytes(bytes)))?;
            if let Some(package) = images {
                let (file, root, relocate) = (&file, &root.directory, Relocate::default());
                let job = Job { interpreter, place: package, file, root, profile: None, relocate };
                // The package serves without one, and `pye doctor` says that it has none.
                let _ = job.build_if_possible(report.pyc_bytes, progress);
            }
            fs::set_permissions(&file, Permissions::from_mode(0o600))
                .map_err(|e| Error::io("cannot set the mode of", e).in_file(&file))?;
            fsys::write(&kept, now.as_bytes())?;
        }
        entries.push(Entry { root: Some(root.directory.clone()), store: file });
    }
    Ok(entries)
}

/// Makes a directory that only its owner can use; one that is there must be so already.
fn make_private(directory: &Path) -> Result<()> {
    let io = |doing| move |e| Error::io(doing, e).in_file(directory);
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io("cannot make the directory"))?;
    let meta = fs::symlink_metadata(directory).map_err(io("cannot stat"))?;
    let user = fs::metadata("/proc/self").map_err(io("cannot tell whose it must be:"))?.uid();
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o022 != 0 {
        return Err(Error::unsupported(
            format!("a directory of user {user} that nobody else may write to"),
            format!("user {}'s, mode {:o}", meta.uid(), meta.mode() & 0o7777),
            "remove it, or set XDG_CACHE_HOME to another place",
        )
        .in_file(directory));
    }
    Ok(())
}

/// What a root held when its package was linked.
fn fingerprint(contents: &Contents) -> String {
    hash(|hasher| {
        for path in contents.compiled.iter().map(|found| &found.path).chain(&contents.directories) {
            add(hasher, path.as_os_str().as_bytes());
            if let Some(stamp) = fsys::stamp(path) {
                // The size of a directory is the file system's affair.
                let size = if path.is_dir() { 0 } else { stamp.size };
                add(hasher, &size.to_le_bytes());
                add(hasher, &stamp.mtime.0.to_le_bytes());
                add(hasher, &stamp.mtime.1.to_le_bytes());
            }
        }
    })
}

/// A file name made of what `fill` adds.
fn hash(fill: impl FnOnce(&mut SipHasher13)) -> String {
    let mut hasher = SipHasher13::new();
    fill(&mut hasher);
    format!("{:032x}", hasher.finish128().as_u128())
}

/// Adds a part so that no other parts add up to the same.
fn add(hasher: &mut SipHasher13, part: &[u8]) {
    hasher.write(&(part.len() as u64).to_le_bytes());
    hasher.write(part);
}
