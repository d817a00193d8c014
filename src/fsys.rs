//! Files read and written so that nothing is torn: whole reads that notice a change, writes that appear under their name
//! complete or not at all, directories made without following links out of the tree.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::{NamedTempFile, TempPath};

use crate::error::{Error, Result};
use crate::limits::MAX_PYC_BYTES;
use crate::map;

/// Suffix of files being written. One that a killed process left behind is removed by [`remove_leftover`].
pub const TEMPORARY: &str = ".pye-tmp";

/// The mode of files, less what the umask takes: nobody else may write to what is mapped and run, whatever the umask. The loader refuses others.
pub const FILE_MODE: u32 = 0o644;

/// The mode of directories, as [`FILE_MODE`].
pub const DIRECTORY_MODE: u32 = 0o755;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Stamp {
        Stamp { size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() }
    }

    /// The modification time in nanoseconds since 1970, where that can be told from 1677 to 2262.
    pub fn mtime_ns(&self) -> Option<i64> {
        self.mtime.0.checked_mul(1_000_000_000)?.checked_add(self.mtime.1)
    }

    /// The modification time, for giving it to another file.
    pub fn modified(&self) -> SystemTime {
        let (seconds, nanos) = (self.mtime.0, Duration::from_nanos(self.mtime.1.unsigned_abs()));
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        base.and_then(|b| b.checked_add(nanos)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The stamp of the file at `path`, if there is one.
pub fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|meta| Stamp::of(&meta))
}

/// Reads a whole `.pyc` into `buffer`, which is cleared first, and returns its stamp.
///
/// # Errors
/// It cannot be opened or read, is not a regular file, is larger than [`MAX_PYC_BYTES`], or changed each of three times it was read.
pub fn read(path: &Path, buffer: &mut Vec<u8>) -> Result<Stamp> {
    const TRIES: usize = 3;
    let io = |doing| move |e| Error::io(doing, e).in_file(path);
    for _ in 0..TRIES {
        let (mut file, meta) = map::open_file(path)?;
        if meta.len() > MAX_PYC_BYTES {
            return Err(Error::limit("bytes in a .pyc", MAX_PYC_BYTES, meta.len()).in_file(path));
        }
        let before = Stamp::of(&meta);
        buffer.clear();
        buffer.reserve(before.size as usize + 1);
        // One byte more than there should be: a file that grows is noticed, and read no further.
        (&mut file).take(before.size + 1).read_to_end(buffer).map_err(io("cannot read"))?;
        let after = Stamp::of(&file.metadata().map_err(io("cannot stat"))?);
        if before == after && buffer.len() as u64 == before.size {
            return Ok(before);
        }
    }
    Err(Error::malformed("a file that keeps still while it is read", format!("changes in each of {TRIES} tries"))
        .in_file(path))
}

/// Writes a file beside its final place and moves it there once `fill` has succeeded: readers see the old file or the new one.
/// The mode is what the umask leaves of [`FILE_MODE`], the mtime `modified` when given. A link at the final place is replaced, not followed.
///
/// Nothing is flushed to the disk: after a power failure, unlike after a killed process, a new file may be empty; its CRCs tell.
///
/// # Errors
/// The file cannot be created, filled or moved, or would take the place of what is no file; the final place is then as it was.
pub fn write_atomic(path: &Path, modified: Option<SystemTime>, fill: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    write_beside(path, FILE_MODE, modified, fill)
}

/// As [`write_atomic`], with all that a file is to hold.
///
/// # Errors
/// As [`write_atomic`]'s.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with_mode(path, bytes, FILE_MODE)
}

/// As [`write()`], with what the umask leaves of `mode`.
///
/// # Errors
/// As [`write_atomic`]'s.
pub fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_beside(path, mode, None, |mut file| file.write_all(bytes).map_err(|e| Error::io("cannot write", e)))
}

fn write_beside(
    path: &Path,
    mode: u32,
    modified: Option<SystemTime>,
    fill: impl FnOnce(&File) -> Result<()>,
) -> Result<()> {
    let io = |doing| move |e| Error::io(doing, e).in_file(path);
    check_replaceable(path)?;
    let directory = parent(path);
    // Under a name nobody can know before, which must be new (O_EXCL); with the mode it is to have from the start, so that nobody has it open who may not.
    let temporary = temporary(directory, mode).map_err(io("cannot create a file beside"))?;
    // Tells `remove_leftover` of another process that this one is alive. Advisory: where locks are missing, age must do.
    let _ = temporary.as_file().try_lock_shared();
    fill(temporary.as_file()).map_err(|e| e.in_file(path))?;
    if let Some(modified) = modified {
        temporary.as_file().set_modified(modified).map_err(io("cannot set the time of"))?;
    }
    temporary.persist(path).map_err(|e| Error::io("cannot move into place", e.error).in_file(path))?;
    Ok(())
}

fn temporary(directory: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".")
        .suffix(TEMPORARY)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)
}

/// As [`write_atomic`], of a file that `fill` makes, and replaces, in several steps at the path it is given.
///
/// # Errors
/// As [`write_atomic`]'s.
pub fn write_in_steps<E: From<Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let beside = beside(path)?;
    fill(&beside)?;
    beside.persist(path).map_err(|e| Error::io("cannot move into place", e.error).in_file(path))?;
    Ok(())
}

/// A name for what is to be at `path`, where that may be replaced.
fn beside(path: &Path) -> Result<TempPath> {
    check_replaceable(path)?;
    let made = temporary(parent(path), FILE_MODE);
    let made = made.map_err(|e| Error::io("cannot create a file in", e).in_file(parent(path)))?;
    Ok(made.into_temp_path())
}

/// That a file can be written at `path`: to be asked before work that would be lost.
///
/// # Errors
/// Its directory is not there, or not to be written to, or what is at `path` may not be replaced.
pub fn check_writable(path: &Path) -> Result<()> {
    beside(path).map(drop)
}

/// That a file may take the place of what is at `path`: a file, a link to one or nothing. To rename one over a device, as root can, would break the system.
///
/// # Errors
/// Something else is there.
pub fn check_replaceable(path: &Path) -> Result<()> {
    let refused =
        |got| Err(Error::unsupported("a file, or a name that is free", got, "name another output").in_file(path));
    // `/dev/stdout` is one, whatever it leads to.
    if fs::read_link(path).is_ok_and(|target| target.starts_with("/proc")) {
        return refused("a link to what a process has open");
    }
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => refused("a directory"),
        Ok(meta) if !meta.is_file() => refused("a device, pipe or socket"),
        // What cannot be looked at is for the writing to complain about.
        _ => Ok(()),
    }
}

/// Opens the regular file at `path` as `options` say, or nothing where there is none: a link in its place is not followed, and nobody is waited for at the other end of a pipe.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> Result<Option<File>> {
    let something_else = || Err(Error::malformed("a regular file", "something else").in_file(path));
    let io = |e| Error::io("cannot open", e).in_file(path);
    match options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) if file.metadata().map_err(io)?.is_file() => Ok(Some(file)),
        Ok(_) => something_else(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        // A link; a pipe to write to that nobody reads, or a socket.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => something_else(),
        Err(e) => Err(io(e)),
    }
}

/// Whether a file of this name is one being written.
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().ends_with(TEMPORARY.as_bytes())
}

/// Removes a file that a killed process left behind: nobody holds it locked, and it is older than a minute.
pub fn remove_leftover(path: &Path) {
    const AGE: Duration = Duration::from_secs(60);
    let abandoned = || -> io::Result<bool> {
        let Ok(Some(file)) = open_regular(File::options().read(true), path) else { return Ok(false) };
        let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
        Ok(age > AGE && file.try_lock().is_ok())
    };
    if abandoned().unwrap_or(false) {
        // Somebody else may have removed it just now.
        let _ = fs::remove_file(path);
    }
}

/// Removes what killed processes left behind in `directory`, and in all those below it unless it is `flat`. Where it cannot be looked at,
/// nothing is removed: whoever writes there will say why.
pub fn remove_leftovers(directory: &Path, flat: bool) {
    let depth = if flat { 1 } else { usize::MAX };
    for entry in walkdir::WalkDir::new(directory).follow_root_links(true).max_depth(depth).into_iter().flatten() {
        if entry.file_type().is_file() && is_temporary(entry.file_name()) {
            remove_leftover(entry.path());
        }
    }
}

/// The directory that the file at `path` stands in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory and those above it, where they are missing, with what the umask leaves of [`DIRECTORY_MODE`].
///
/// # Errors
/// One cannot be made.
pub fn make_directories(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
    made.map_err(|e| Error::io("cannot make the directory", e).in_file(path))
}

/// Makes the directory of `root`/`relative`, and returns that path. `relative` has no `.` or `..` parts; a part that is a link
/// is refused, so that nothing is written outside `root`.
///
/// # Errors
/// A part exists and is not a directory, or cannot be made.
pub fn make_parent(root: &Path, relative: &Path) -> Result<PathBuf> {
    let mut path = root.to_path_buf();
    make_directories(&path)?;
    if let Some(parent) = relative.parent() {
        for part in parent.components() {
            path.push(part);
            match DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("cannot stat", e).in_file(&path))?;
                    if !meta.is_dir() {
                        return Err(Error::malformed("a directory, not a link", "something else").in_file(&path));
                    }
                }
                Err(e) => return Err(Error::io("cannot make the directory", e).in_file(&path)),
            }
        }
    }
    Ok(root.join(relative))
}

/// A path from the bytes a package stores.
pub fn path_from(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A path as the bytes a package stores.
pub fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
