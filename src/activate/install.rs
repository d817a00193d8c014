//! Activation of a whole installation, such as a virtual environment: a `.pth` file that every start of its interpreter executes, and
//! packages with a manifest under `share/pye`.
//!
//! The order of writing makes a kill at any moment harmless:
//! 1. the journal, which says what will be made;
//! 2. the `.pth`: without a manifest it does nothing. After it nothing changes in site-packages but what 3 adds, so that the times of
//!    directories that the linker records stay true;
//! 3. missing `.pyc` files;
//! 4. the packages, each under its name at once;
//! 5. the manifest: from here on it is active.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::compile::compile;
use super::image::{Built, Job};
use super::interpreter::Interpreter;
use super::journal::{Journal, fits_line};
use super::place::Place;
use super::roots::{Contents, Root};
use super::step::Step;
use crate::convert;
use crate::error::{Error, Result};
use crate::fsys;
use crate::image::Relocate;
use crate::link;
use crate::profile::Profile;
use crate::runtime::trust::{self, Identity};

/// The name of the file in site-packages.
pub const PTH: &str = "pye.pth";

/// Where things lie below the prefix of an installation.
#[derive(Clone, Debug)]
pub struct Layout {
    prefix: PathBuf,
}

impl Layout {
    /// Of the virtual environment, or other installation, at `prefix`.
    pub fn new(prefix: &Path) -> Layout {
        Layout { prefix: prefix.to_path_buf() }
    }

    /// Holds all but the `.pth`.
    pub fn directory(&self) -> PathBuf {
        self.prefix.join("share/pye")
    }

    /// Lines `ROOT<TAB>FILE`: a root below the prefix relative to it, a file in the same directory by its name.
    pub fn manifest(&self) -> PathBuf {
        self.directory().join("manifest")
    }

    fn journal(&self) -> PathBuf {
        self.directory().join("journal")
    }

    /// The profile that images are laid out by, until another is given.
    fn profile(&self) -> PathBuf {
        self.directory().join("profile")
    }

    /// Makes the directory and locks it as long as the returned handle, and all that child processes have of it, live. The journal is
    /// the one that is there then, with what was made now.
    fn make(&self) -> Result<(File, Option<Journal>, Journal)> {
        let mut made = Journal::default();
        for directory in [&self.prefix.join("share"), &self.directory()] {
            made.directory(&self.prefix, directory);
            match DirBuilder::new().mode(fsys::DIRECTORY_MODE).create(directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::io("cannot make the directory", error).in_file(directory));
                }
                _ => {}
            }
        }
        // Where a link leads is not the prefix's, nor what uninstalling removes there.
        let meta = fs::symlink_metadata(self.directory());
        if !meta.map_err(|e| Error::io("cannot stat", e).in_file(self.directory()))?.is_dir() {
            return Err(Error::malformed("a directory, not a link", "something else").in_file(self.directory()));
        }
        let lock = self.lock()?;
        Ok((lock, Journal::read(&self.journal())?, made))
    }

    fn lock_file(&self) -> PathBuf {
        self.directory().join("lock")
    }

    /// Locks the directory against other installations.
    fn lock(&self) -> Result<File> {
        let path = self.lock_file();
        let io = |doing| move |e| Error::io(doing, e).in_file(self.lock_file());
        loop {
            // Never one that a link leads to: to make that would be to write outside.
            let mut options = File::options();
            let file = fsys::open_regular(options.append(true).create(true).mode(fsys::FILE_MODE), &path)?;
            let gone = || Error::io("cannot open", ErrorKind::NotFound.into()).in_file(&path);
            let file = file.ok_or_else(gone)?;
            file.lock().map_err(io("cannot lock"))?;
            // Whoever had it may have taken the installation back, this file included.
            let held = file.metadata().map_err(io("cannot stat"))?.ino();
            if fs::metadata(&path).is_ok_and(|meta| meta.ino() == held) {
                return Ok(file);
            }
        }
    }
}

/// How to install.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// How files are split.
    pub split: convert::Options,
    /// Whether to compile what has no `.pyc`.
    pub compile: bool,
    /// Whether to give packages images, where the interpreter allows it.
    pub image: bool,
    /// The profile that these are laid out by; without one, that of the installation before.
    pub profile: Option<&'a Profile>,
    /// When processes relocate them.
    pub relocate: Relocate,
}

/// A package that was linked.
#[derive(Debug)]
pub struct Package {
    /// The directory it stands for.
    pub root: PathBuf,
    /// The package file.
    pub file: PathBuf,
    /// What the linker says.
    pub report: link::Report,
    /// What is said of the image: made, or why not. None where none is wanted or possible.
    pub image: Option<Result<Built>>,
}

/// What was installed.
#[derive(Debug)]
pub struct Installed {
    /// The file in site-packages.
    pub pth: PathBuf,
    /// One for each root.
    pub packages: Vec<Package>,
    /// Sources that had no `.pyc` and have one now.
    pub compiled: usize,
    /// The profile that images are laid out by, where there is one.
    pub profile: Option<PathBuf>,
}

/// Whether an interpreter's installation is active: its `.pth` and its manifest are there.
pub fn is_installed(interpreter: &Interpreter) -> bool {
    interpreter.site_packages.join(PTH).is_file() && Layout::new(&interpreter.prefix).manifest().is_file()
}

/// Installs for an interpreter, or does it again. A first installation that fails is taken back.
///
/// # Errors
/// The interpreter cannot be served or must be left alone, or a file cannot be written.
pub fn install(
    interpreter: &Interpreter,
    place: &Place,
    options: Options<'_>,
    progress: &(dyn Fn(Step<'_>) + Sync),
) -> Result<Installed> {
    interpreter.check()?;
    check_place(interpreter)?;
    let layout = Layout::new(&interpreter.prefix);
    let (lock, old, made) = layout.make()?;
    // What others may write to no process would use.
    trust::check_directory(&layout.directory(), Identity::of_process()?.serving(&interpreter.prefix))?;
    let first = old.is_none();
    let mut journal = old.unwrap_or(made);
    let result = install_locked(interpreter, place, options, progress, &layout, &mut journal, &lock);
    drop(lock);
    if first && result.is_err() {
        // The first error is the one to report.
        let _ = uninstall(&interpreter.prefix);
    }
    result
}

fn install_locked(
    interpreter: &Interpreter,
    place: &Place,
    options: Options<'_>,
    progress: &(dyn Fn(Step<'_>) + Sync),
    layout: &Layout,
    journal: &mut Journal,
    lock: &File,
) -> Result<Installed> {
    let prefix = &interpreter.prefix;
    let tag = interpreter.cache_tag.as_deref().unwrap_or_default();
    let pth = interpreter.site_packages.join(PTH);
    let roots = Root::of(interpreter);
    let files: Vec<PathBuf> =
        roots.iter().enumerate().map(|(index, root)| layout.directory().join(root.package_name(index))).collect();
    let mut own = [&[pth.clone(), layout.manifest(), layout.lock_file()][..], &files].concat();
    let profile = Some(layout.profile()).filter(|kept| options.profile.is_some() || kept.is_file());
    own.extend(profile.clone());
    own.iter().for_each(|path| journal.own(prefix, path));
    journal.write(&layout.journal())?;
    if let Some(given) = options.profile {
        given.write(&layout.profile())?;
    }

    let text = pth_text(place, interpreter);
    // Written again it would change the time of site-packages, which the packages of a running installation know.
    if fs::read(&pth).ok().as_deref() != Some(text.as_bytes()) {
        fsys::write(&pth, text.as_bytes())?;
    }

    let mut contents: Vec<Contents> = roots.iter().map(|root| root.contents(tag)).collect();
    let mut compiled = 0;
    if options.compile {
        let lacking: Vec<(PathBuf, PathBuf)> = contents
            .iter()
            .flat_map(|contents| contents.uncompiled(tag))
            .filter(|(source, _)| is_writable(fsys::parent(source)))
            .collect();
        if !lacking.is_empty() {
            progress(Step::Compile(lacking.len()));
            lacking.iter().for_each(|(_, pyc)| journal.compiled(prefix, pyc));
            journal.write(&layout.journal())?;
            let sources: Vec<&Path> = lacking.iter().map(|(source, _)| source.as_path()).collect();
            compile(interpreter, &sources, lock)?;
            journal.finish(prefix);
            compiled = lacking.iter().filter(|(_, pyc)| pyc.is_file()).count();
            contents = roots.iter().map(|root| root.contents(tag)).collect();
        }
    }

    let mut manifest = Vec::new();
    let mut packages = Vec::new();
    for ((root, contents), file) in roots.iter().zip(&contents).zip(files) {
        if !fits_line(root.directory.as_os_str()) {
            return Err(Error::malformed("a path without line breaks and tabs", "one").in_file(&root.directory));
        }
        progress(Step::Link(root, contents));
        let report = link::link(&contents.compiled, &file, options.split, &|bytes| progress(Step::Bytes(bytes)))?;
        let image = options.image.then_some(Job {
            interpreter,
            place,
            file: &file,
            root: &root.directory,
            profile: profile.as_deref(),
            relocate: options.relocate,
        });
        let image = image.and_then(|job| job.build_if_possible(report.pyc_bytes, progress));
        // Relative where it can be: a virtual environment may be moved.
        let named = root.directory.strip_prefix(prefix).unwrap_or(&root.directory);
        let name = file.file_name().unwrap_or_default();
        manifest.extend_from_slice(&[named.as_os_str().as_bytes(), name.as_bytes()].join(&b'\t'));
        manifest.push(b'\n');
        packages.push(Package { root: root.directory.clone(), file, report, image });
    }
    fsys::write(&layout.manifest(), &manifest)?;
    journal.drop_own_but(prefix, &own);
    journal.write(&layout.journal())?;
    Ok(Installed { pth, packages, compiled, profile: profile.filter(|_| options.image) })
}

/// That pye may write into the installation, and is then seen by its interpreter.
fn check_place(interpreter: &Interpreter) -> Result<()> {
    let refuse = |expected: &'static str, got: String| {
        let help = "use a virtual environment (--venv), or pye run for single commands";
        Err(Error::unsupported(expected, got, help).in_file(&interpreter.prefix))
    };
    if interpreter.externally_managed {
        return refuse("an environment of your own", "one that a package manager looks after (PEP 668)".into());
    }
    if !interpreter.sites.contains(&interpreter.site_packages) {
        let site = interpreter.site_packages.display();
        return refuse("a site-packages directory that the interpreter searches", format!("{site}"));
    }
    Ok(())
}

/// The `.pth`: one line that Python executes at each start. It must cost little, and say nothing and do no harm when pye is gone.
///
/// Python 3.15 to 3.17 execute such lines as ever (PEP 829); the `.start` files that take their place could name no directory, import
/// `pkgutil` at every start, and complain when what they name is gone.
fn pth_text(place: &Place, interpreter: &Interpreter) -> String {
    const HEAD: &str = "# Written by `pye install`; `pye uninstall` removes it.\n";
    const CALL: &str = "try:\n import pye\n pye.activate_installed()\nexcept Exception:\n pass\n";
    if interpreter.sites.iter().any(|site| site == place.directory()) {
        return format!("{HEAD}import sys; exec({})\n", python_text(CALL));
    }
    // Elsewhere, with other packages beside it: searched for this one import only.
    let directory = python_bytes(place.directory().as_os_str().as_bytes());
    let code = format!(
        "_pye = os.fsdecode({directory})\nsys.path.insert(0, _pye)\n{CALL}finally:\n sys.path.remove(_pye)\n del _pye\n"
    );
    format!("{HEAD}import os, sys; exec({})\n", python_text(&code))
}

/// A Python string literal of ASCII text.
fn python_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A Python bytes literal.
fn python_bytes(bytes: &[u8]) -> String {
    format!("b'{}'", bytes.escape_ascii())
}

/// Whether files can be made in a directory: root may everywhere but on read-only file systems, so it is tried.
fn is_writable(directory: &Path) -> bool {
    tempfile::tempfile_in(directory).is_ok()
}

/// What was taken back.
#[derive(Debug, Default)]
pub struct Uninstalled {
    /// Files removed.
    pub files: usize,
    /// What could not be removed; the journal then stays.
    pub errors: Vec<Error>,
}

/// Takes back the installation at `prefix`, finished or not; nothing when there is none. No interpreter is needed.
///
/// # Errors
/// The journal cannot be read or the directory not be locked.
pub fn uninstall(prefix: &Path) -> Result<Option<Uninstalled>> {
    let layout = Layout::new(prefix);
    if !layout.directory().is_dir() {
        return Ok(None);
    }
    let nothing = || {
        // Killed before it could write more; not empty, it is not pye's.
        sweep(&layout.directory());
        let _ = fs::remove_dir(layout.directory());
        Ok(None)
    };
    if !layout.lock_file().exists() {
        return nothing();
    }
    let lock = layout.lock()?;
    let Some(journal) = Journal::read(&layout.journal())? else {
        let _ = fs::remove_file(layout.lock_file());
        return nothing();
    };
    // Inactive first.
    let active = fs::remove_file(layout.manifest()).is_ok();
    for directory in journal.own_directories(prefix) {
        sweep(&directory);
    }
    let (files, errors) = journal.remove_files(prefix);
    if errors.is_empty() {
        let path = layout.journal();
        fs::remove_file(&path).map_err(|e| Error::io("cannot remove", e).in_file(&path))?;
        journal.remove_directories(prefix);
    }
    drop(lock);
    Ok(Some(Uninstalled { files: files + usize::from(active), errors }))
}

/// Removes files that a killed installation was writing in `directory`.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // Whoever is writing one holds it locked.
        if fsys::is_temporary(&entry.file_name()) && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(path);
        }
    }
}
