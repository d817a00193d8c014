//! A copy of an interpreter that is loaded at the same place in every process, so that images of its objects fit all of them as they are.
//!
//! ```text
//! V/pye-pin/bin/python3.12              the program, which looks for its libraries in ../lib first
//! V/pye-pin/lib/libpython3.12.so.1.0    its library, moved to a base of its own (crate::elf::fixed)
//! V/pye-pin/lib/.debug/…                a link to the file that has the debugging information
//! V/pye-pin/pin.json                    what was made of what: the record
//! V/bin/python ─► ../pye-pin/bin/python3.12
//! ```
//! Where the interpreter is one file, a position-independent executable, the program is what is moved, and there is no library.
//!
//! The order of writing makes a kill at any moment harmless: files; a run of them under another name, which shows where they are loaded; the record; the links, each at once.
//! Before the record nothing leads to the files, after it everything can be taken back.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::image::is_possible;
use super::interpreter::Interpreter;
use crate::bytes::hex;
use crate::elf::fixed::{self, Fixed};
use crate::error::{Error, Result};
use crate::fsys;

/// The directory in a virtual environment.
const DIRECTORY: &str = "pye-pin";
/// The file that says what was made.
const RECORD: &str = "pin.json";
/// What a link is called that is not in place yet.
const TEMPORARY: &str = ".pye-pin";
/// Nobody but the owner may write, whatever the umask: what is run must be as trustworthy as what it was made of.
const PROGRAM_MODE: u32 = 0o755;

/// Bases are chosen from 64 TiB up to 80 TiB: above those of images ([`crate::image::random_base`]), below where Linux puts position-independent programs (85.3 TiB), in steps of 2 MiB: 2^23 of them.
const FIRST_BASE: u64 = 64 << 40;
/// See [`FIRST_BASE`].
const LAST_BASE: u64 = 80 << 40;
/// See [`FIRST_BASE`]. Multiples of it fit segments that are aligned for huge pages.
const BASE_STEP: u64 = 2 << 20;

/// A file, and the copy that was made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// What it was made of.
    pub original: PathBuf,
    /// Bytes of that.
    pub original_bytes: u64,
    /// When that was last modified: seconds and nanoseconds since 1970.
    pub original_mtime: (i64, i64),
    /// The copy.
    pub path: PathBuf,
    /// Bytes of it.
    pub bytes: u64,
}

/// Something in the environment's `bin` that was the interpreter, or a link to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its path.
    pub path: PathBuf,
    /// What it led to; none where it was a file, which is kept in the directory under its own name.
    pub target: Option<PathBuf>,
}

/// What was made of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The first address of the file that was moved.
    pub base: u64,
    /// Bytes of addresses.
    pub span: u64,
    /// The program.
    pub program: Copied,
    /// The library, where there is one: then it is what was moved.
    pub library: Option<Copied>,
    /// Build-id of the file that was moved, in hexadecimal digits, before and after.
    pub build_ids: (String, String),
    /// Sections that were left out: debugging information.
    pub left_out: Vec<String>,
    /// What leads to the program now.
    pub replaced: Vec<Replaced>,
}

impl Record {
    /// The file that was moved.
    pub fn moved(&self) -> &Copied {
        self.library.as_ref().unwrap_or(&self.program)
    }

    fn copies_mut(&mut self) -> impl Iterator<Item = &mut Copied> {
        std::iter::once(&mut self.program).chain(&mut self.library)
    }

    /// The originals that are no more what they were.
    pub fn outdated(&self) -> Vec<&Path> {
        let all = [Some(&self.program), self.library.as_ref()].into_iter().flatten();
        let changed = |copied: &&Copied| {
            fsys::stamp(&copied.original)
                .is_none_or(|now| (now.size, now.mtime) != (copied.original_bytes, copied.original_mtime))
        };
        all.filter(changed).map(|copied| copied.original.as_path()).collect()
    }
}

/// Where a pinned interpreter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its directory.
    directory: PathBuf,
    /// The `bin` whose interpreter it becomes.
    links: Option<PathBuf>,
}

impl Pin {
    /// Of the virtual environment at `prefix`.
    pub fn of_environment(prefix: &Path) -> Pin {
        Pin { directory: prefix.join(DIRECTORY), links: Some(prefix.join("bin")) }
    }

    /// In a directory, to be started from there.
    pub fn in_directory(directory: &Path) -> Pin {
        Pin { directory: directory.to_path_buf(), links: None }
    }

    /// That which an interpreter's file is part of; none where it is not pinned.
    pub fn of_file(runtime: &Path) -> Option<Pin> {
        let directory = runtime.parent()?.parent()?;
        directory.join(RECORD).is_file().then(|| Pin::in_directory(directory))
    }

    /// What it is made of; none where there is none.
    ///
    /// # Errors
    /// The record cannot be read, or is none.
    pub fn record(&self) -> Result<Option<Record>> {
        let path = self.directory.join(RECORD);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("cannot read", error).in_file(path)),
        };
        let record = serde_json::from_slice::<Record>(&bytes);
        let mut record = record.map_err(|e| Error::malformed("a record of pye pin", e.to_string()).in_file(path))?;
        for copied in record.copies_mut() {
            copied.path = self.directory.join(&copied.path);
        }
        let bin = fsys::parent(&self.directory).join("bin");
        for replaced in &mut record.replaced {
            replaced.path = bin.join(&replaced.path);
        }
        Ok(Some(record))
    }

    /// Writes the record. Its paths are relative to the directory, and those of what was replaced to `bin`: an environment may be moved.
    fn write_record(&self, record: &Record) -> Result<()> {
        let mut record = record.clone();
        for copied in record.copies_mut() {
            if let Ok(within) = copied.path.strip_prefix(&self.directory) {
                copied.path = within.to_path_buf();
            }
        }
        for replaced in &mut record.replaced {
            replaced.path = replaced.path.file_name().unwrap_or_default().into();
        }
        let text = serde_json::to_string_pretty(&record);
        let text =
            text.map_err(|e| Error::malformed("paths that are UTF-8", e.to_string()).in_file(&self.directory))?;
        fsys::write(&self.directory.join(RECORD), text.as_bytes())
    }

    /// What links in the environment's `bin` lead to.
    fn target(record: &Record) -> PathBuf {
        Path::new("..").join(DIRECTORY).join("bin").join(record.program.path.file_name().unwrap_or_default())
    }

    /// Makes it of `interpreter`, at `base` or at a random one.
    ///
    /// # Errors
    /// The interpreter cannot be pinned, is pinned already, is not loaded where it asks to be, or is not the same when it runs from here; or a file cannot be written. Then all is as it was.
    pub fn make(&self, interpreter: &Interpreter, base: Option<u64>) -> Result<Record> {
        interpreter.check()?;
        if !is_possible(interpreter) {
            let (major, minor, _) = interpreter.version;
            let help =
                "older versions have no immortal objects: there is nothing that a pinned interpreter could share";
            return Err(Error::unsupported("CPython 3.12 to 3.15", format!("{major}.{minor}"), help));
        }
        let (program, runtime) = files(interpreter)?;
        if Pin::of_file(&runtime).is_some() {
            let help = "to choose another base, take it back first: pye pin --undo";
            return Err(Error::unsupported("an interpreter that is not pinned", "one that is", help).in_file(runtime));
        }
        self.check_place()?;
        let lock = self.lock()?;
        if self.record()?.is_some() {
            let help = "take it back first: pye pin --undo";
            return Err(
                Error::unsupported("a place without a pinned interpreter", "one", help).in_file(&self.directory)
            );
        }
        let result = self.make_locked(interpreter, &program, &runtime, base);
        if result.is_err() {
            // The first error is the one to report.
            let _ = self.clear();
        }
        drop(lock);
        result
    }

    fn make_locked(
        &self,
        interpreter: &Interpreter,
        program: &Path,
        runtime: &Path,
        base: Option<u64>,
    ) -> Result<Record> {
        let base = base.unwrap_or_else(random_base);
        let place = |kind: &str, path: &Path| self.directory.join(kind).join(path.file_name().unwrap_or_default());
        let moved_to = if program == runtime { place("bin", program) } else { place("lib", runtime) };
        let moved = Source::read(runtime)?;
        let fixed = moved.fix(base)?;
        let library = (program != runtime).then(|| moved.copy(&moved_to, &fixed.bytes)).transpose()?;
        let program = if library.is_some() {
            let source = Source::read(program)?;
            let bytes = fixed::with_search_path(&source.bytes, "$ORIGIN/../lib");
            source.copy(&place("bin", program), &bytes.map_err(|e| e.in_file(program))?)?
        } else {
            moved.copy(&moved_to, &fixed.bytes)?
        };
        link_debugging(runtime, &moved_to, &fixed)?;
        let mut record = Record {
            base,
            span: fixed.span,
            program,
            library,
            build_ids: (hex(&fixed.old_build_id), hex(&fixed.build_id)),
            left_out: fixed.left_out,
            replaced: Vec::new(),
        };
        self.try_out(interpreter, &record)?;
        record.replaced = self.to_replace(&record.program.original)?;
        self.write_record(&record)?;
        for replaced in &record.replaced {
            if replaced.target.is_none() {
                let kept = self.kept(&replaced.path);
                fs::hard_link(&replaced.path, &kept)
                    .map_err(|e| Error::io("cannot keep", e).in_file(&replaced.path))?;
            }
            replace_link(&Pin::target(&record), &replaced.path)?;
        }
        Ok(record)
    }

    /// Runs it twice, as it will be run: it must be the same interpreter, at the same place each time, the one asked for.
    fn try_out(&self, interpreter: &Interpreter, record: &Record) -> Result<()> {
        let program = &record.program.path;
        let alias = self.links.as_ref().map(|bin| bin.join(TEMPORARY));
        if let Some(alias) = &alias {
            let _ = fs::remove_file(alias);
            symlink(Pin::target(record), alias).map_err(|e| Error::io("cannot make the link", e).in_file(alias))?;
        }
        let accounts = [(); 2].map(|()| Interpreter::ask(alias.as_deref().unwrap_or(program)));
        if let Some(alias) = &alias {
            let _ = fs::remove_file(alias);
        }
        // The kernel names files by where links to them end.
        let expected = fs::canonicalize(&record.moved().path).ok();
        for account in accounts {
            let account = account?;
            if account.runtime.is_none() || account.runtime != expected {
                let got = account.runtime.map_or("none".into(), |path| path.display().to_string());
                let help = "look whether LD_PRELOAD or the dynamic loader's configuration brings in another one";
                return Err(Error::unsupported(format!("the library {}", record.moved().path.display()), got, help));
            }
            if account.runtime_start != Some(record.base) {
                let got = account.runtime_start.map_or("elsewhere".into(), |start| format!("{start:#x}"));
                let help = "the dynamic loader or the kernel did not do as the file asks: known to work are glibc 2.36 and addresses of 47 bits";
                return Err(Error::unsupported(format!("loaded at {:#x}", record.base), got, help).in_file(program));
            }
            let own = |of: &Interpreter| {
                (of.build.clone(), of.prefix.clone(), of.libraries.clone(), of.sites.clone(), of.magic)
            };
            if own(&account) != own(interpreter) {
                let help = "started from there it does not find its library: pin a virtual environment of it (--venv)";
                let expected = format!("prefix {}", interpreter.prefix.display());
                return Err(Error::unsupported(expected, account.prefix.display().to_string(), help).in_file(program));
            }
        }
        Ok(())
    }

    /// What is the interpreter in the environment's `bin`: links out of it that end at `program`, and copies of it.
    fn to_replace(&self, program: &Path) -> Result<Vec<Replaced>> {
        let Some(bin) = &self.links else { return Ok(Vec::new()) };
        let io = |e| Error::io("cannot list", e).in_file(bin);
        let mut found = Vec::new();
        for entry in fs::read_dir(bin).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_symlink() {
                let target = fs::read_link(&path).map_err(|e| Error::io("cannot read the link", e).in_file(&path))?;
                // One beside it follows by itself.
                let beside = fsys::parent(&bin.join(&target)) == bin.as_path();
                if !beside && fs::canonicalize(&path).is_ok_and(|end| end == program) {
                    found.push(Replaced { path, target: Some(target) });
                }
            } else if meta.is_file() && is_copy(&path, program) {
                found.push(Replaced { path, target: None });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        if found.is_empty() {
            let help =
                "name the environment that the interpreter belongs to, or pin into a directory: --python and --output";
            let expected = format!("a link to {}, or a copy of it", program.display());
            return Err(Error::unsupported(expected, "none", help).in_file(bin));
        }
        Ok(found)
    }

    /// Takes it back: links lead where they led, and the directory is removed. None when there is none.
    ///
    /// # Errors
    /// The record cannot be read, or something cannot be put back; then the rest stays.
    pub fn undo(&self) -> Result<Option<Record>> {
        // In an environment, what is left of one that was killed goes, too.
        if !self.directory.is_dir() || self.links.is_none() && self.record()?.is_none() {
            return Ok(None);
        }
        let lock = self.lock()?;
        let record = self.record()?;
        for replaced in record.iter().flat_map(|record| &record.replaced) {
            // Whoever changed it since means something else by it.
            let ours =
                record.as_ref().is_some_and(|r| fs::read_link(&replaced.path).is_ok_and(|to| to == Pin::target(r)));
            match &replaced.target {
                Some(target) if ours => replace_link(target, &replaced.path)?,
                None if ours => {
                    let kept = self.kept(&replaced.path);
                    fs::rename(&kept, &replaced.path).map_err(|e| Error::io("cannot put back", e).in_file(kept))?;
                }
                _ => {}
            }
        }
        self.sweep();
        self.clear()?;
        drop(lock);
        Ok(record)
    }

    /// Removes links that were not yet in place when the one who made them was killed.
    fn sweep(&self) {
        for entry in self.links.iter().filter_map(|bin| fs::read_dir(bin).ok()).flatten().flatten() {
            let ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            if ours && fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(Path::new("..").join(DIRECTORY))) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Where a file of the environment's `bin` is kept.
    fn kept(&self, path: &Path) -> PathBuf {
        self.directory.join("kept").join(path.file_name().unwrap_or_default())
    }

    /// That a directory that the user named has nothing in it: all of it is removed when it is taken back.
    fn check_place(&self) -> Result<()> {
        let used =
            self.links.is_none() && fs::read_dir(&self.directory).is_ok_and(|mut entries| entries.next().is_some());
        let help = "name one that does not exist yet";
        if used {
            Err(Error::unsupported("an empty directory", "one with files", help).in_file(&self.directory))
        } else {
            Ok(())
        }
    }

    /// Makes the directories and locks them as long as the handle lives.
    fn lock(&self) -> Result<File> {
        let io = |doing| move |e| Error::io(doing, e).in_file(&self.directory);
        // An environment's is made here and removed here: not where a link leads.
        if self.links.is_some() && self.directory.is_symlink() {
            return Err(Error::malformed("a directory, not a link", "something else").in_file(&self.directory));
        }
        for part in ["bin", "lib/.debug", "kept"] {
            let made = DirBuilder::new().recursive(true).mode(PROGRAM_MODE).create(self.directory.join(part));
            made.map_err(io("cannot make the directory"))?;
        }
        let lock = File::open(&self.directory).map_err(io("cannot open"))?;
        lock.lock().map_err(io("cannot lock"))?;
        Ok(lock)
    }

    /// Removes the directory: the record first, since without it nothing is taken for pinned.
    fn clear(&self) -> Result<()> {
        let _ = fs::remove_file(self.directory.join(RECORD));
        fs::remove_dir_all(&self.directory).map_err(|e| Error::io("cannot remove", e).in_file(&self.directory))
    }
}

/// The files that run: the program, and what has the interpreter's objects.
fn files(interpreter: &Interpreter) -> Result<(PathBuf, PathBuf)> {
    let found = interpreter.program.clone().zip(interpreter.runtime.clone());
    let help = "pinning needs /proc, and an interpreter that is a file of its own";
    found.ok_or_else(|| {
        Error::unsupported("to be told which files the interpreter runs from", "nothing", help)
            .in_file(&interpreter.executable)
    })
}

/// A file to be copied.
struct Source {
    path: PathBuf,
    bytes: Vec<u8>,
    stamp: fsys::Stamp,
    mode: u32,
}

impl Source {
    fn read(path: &Path) -> Result<Source> {
        let mut bytes = Vec::new();
        let stamp = fsys::read(path, &mut bytes)?;
        let meta = fs::metadata(path).map_err(|e| Error::io("cannot stat", e).in_file(path))?;
        Ok(Source { path: path.to_path_buf(), bytes, stamp, mode: meta.permissions().mode() & PROGRAM_MODE })
    }

    fn fix(&self, base: u64) -> Result<Fixed> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        fixed::fix(&self.bytes, &name, base).map_err(|e| e.in_file(&self.path))
    }

    fn copy(&self, to: &Path, bytes: &[u8]) -> Result<Copied> {
        fsys::write_with_mode(to, bytes, self.mode)?;
        Ok(Copied {
            original: self.path.clone(),
            original_bytes: self.stamp.size,
            original_mtime: self.stamp.mtime,
            path: to.to_path_buf(),
            bytes: bytes.len() as u64,
        })
    }
}

/// Lets debuggers find what was left out: `.gnu_debuglink` is looked for in `.debug` beside the file.
fn link_debugging(original: &Path, copy: &Path, fixed: &Fixed) -> Result<()> {
    let Some(name) = &fixed.debug_link else { return Ok(()) };
    let id = hex(&fixed.old_build_id);
    let beside = fsys::parent(original);
    let places = [
        // The file itself, when it had the information.
        (original.file_name().is_some_and(|own| own == name.as_str())).then(|| original.to_path_buf()),
        id.get(..2).zip(id.get(2..)).map(|(a, b)| PathBuf::from(format!("/usr/lib/debug/.build-id/{a}/{b}.debug"))),
        Some(beside.join(".debug").join(name)),
        beside.strip_prefix("/").ok().map(|path| Path::new("/usr/lib/debug").join(path).join(name)),
    ];
    let Some(found) = places.into_iter().flatten().find(|path| path.is_file()) else { return Ok(()) };
    let link = fsys::parent(copy).join(".debug").join(name);
    DirBuilder::new()
        .recursive(true)
        .mode(PROGRAM_MODE)
        .create(fsys::parent(&link))
        .map_err(|e| Error::io("cannot make the directory", e).in_file(&link))?;
    replace_link(&found, &link)
}

/// Whether a file is a copy of another.
fn is_copy(path: &Path, of: &Path) -> bool {
    let size = |path: &Path| fs::metadata(path).map(|meta| meta.len()).ok();
    size(path).is_some() && size(path) == size(of) && fs::read(path).ok() == fs::read(of).ok()
}

/// Makes `path` a link to `target` at once, whatever it was.
fn replace_link(target: &Path, path: &Path) -> Result<()> {
    let io = |e| Error::io("cannot make the link", e).in_file(path);
    let mut name = std::ffi::OsString::from(TEMPORARY);
    name.push("-");
    name.push(path.file_name().unwrap_or_default());
    let temporary = fsys::parent(path).join(name);
    let _ = fs::remove_file(&temporary);
    symlink(target, &temporary).map_err(io)?;
    fs::rename(&temporary, path).map_err(io)
}

fn random_base() -> u64 {
    let random = RandomState::new().build_hasher().finish();
    FIRST_BASE + random % ((LAST_BASE - FIRST_BASE) / BASE_STEP) * BASE_STEP
}
