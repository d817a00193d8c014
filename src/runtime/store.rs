//! A store: what stands for one directory on `sys.path` (its root) and all below it. Either a package file, or single `.pye` files: one,
//! or a directory of them, laid out as `pye convert --output` leaves it.
//!
//! A package file knows its directories as they were when it was linked, so it answers by itself where nothing has changed since.
//! Single files know nothing of their neighbours: there the stock finder finds, and the store only supplies code.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Reason;
use super::trust::{self, Identity};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::marshal::pyc::{Header, Validation};
use crate::marshal::version::Version;
use crate::pye::ModuleKind;
use crate::pye::directories::Directory;
use crate::pye::read::{Module, Pye};
use crate::verify;

/// What the running interpreter can use.
#[derive(Clone, Debug)]
pub struct Target {
    /// Major and minor version.
    pub python: (u8, u8),
    /// First four bytes of the `.pyc` files it reads (`importlib.util.MAGIC_NUMBER`).
    pub magic: [u8; 4],
    /// Level of `-O`: 0, 1 or 2.
    pub optimization: u8,
    /// `sys.implementation.cache_tag`.
    pub tag: String,
    /// `importlib.machinery.EXTENSION_SUFFIXES`.
    pub suffixes: Vec<String>,
    /// `--check-hash-based-pycs`.
    pub check: CheckHashes,
}

/// Which hash-based `.pyc` are held against their source (`_imp.check_hash_based_pycs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckHashes {
    /// Those that say so.
    Default,
    /// All.
    Always,
    /// None.
    Never,
}

/// A mapped `.pye` file. It stays mapped until the process ends: strings point into it.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    map: &'static Map,
    pye: &'static Pye<'static>,
}

impl Mapped {
    fn open(path: &Path, identity: Identity) -> Result<(Mapped, File)> {
        let (file, map) = trust::open(path, identity)?;
        // Leaked once the file is known to be one of ours; before, it is unmapped again.
        // So much of it decides what is found: a damaged bucket of the index would have a module be taken from the next directory on `sys.path`.
        Pye::open(&map).and_then(|pye| pye.check_tables()).map_err(|e| e.in_file(path))?;
        let map: &'static Map = Box::leak(Box::new(map));
        let pye = Pye::open(map).map_err(|e| e.in_file(path))?;
        Ok((Mapped { map, pye: Box::leak(Box::new(pye)) }, file))
    }
}

/// What a store holds.
#[derive(Debug)]
enum Holding {
    Package(Mapped),
    /// One file of one module, which stands in the root.
    Single(Mapped),
    /// Files opened so far, from below a directory.
    Singles {
        directory: PathBuf,
        opened: Vec<Mapped>,
        numbers: HashMap<PathBuf, Option<usize>>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    /// The directory it stands for, as it stands on `sys.path`: absolute, without a slash at the end (so empty for `/`).
    pub root: String,
    /// The package file, or the directory.
    pub path: PathBuf,
    holding: Holding,
    /// The package file itself, until it is asked for.
    file: Option<File>,
    /// Directories looked at so far, relative to the root.
    directories: HashMap<String, (State, Option<Directory<'static>>)>,
    /// Whether all its modules are for the interpreter's version, once that was asked.
    uniform: Option<bool>,
    /// Bytes of `.pyc` joined since pages were last given back.
    touched: u64,
    /// Modules whose code lies in an image that were looked up since then.
    looked_up: u64,
    /// Modules handed out.
    pub loaded: u64,
    /// Modules left to the stock import system, by [`Reason`].
    pub fallbacks: [u64; Reason::ALL.len()],
}

/// A directory below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it was when it was linked.
    Unchanged,
    /// Changed since.
    Changed,
    /// Not in the package, or nothing is known of it.
    Unknown,
}

/// What a directory holds under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A module of the store, whose source is as it was.
    Found(Found),
    /// An extension module: its file.
    Extension(String),
    /// Nothing: there was nothing of the name when the package was linked, and the directory has not changed.
    Absent,
    /// The stock finder must be asked; the store may have the code of what it finds.
    Ask,
}

/// A module of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number in the store.
    pub number: usize,
    /// Whether it is a package.
    pub package: bool,
    /// The source, absolute as the root is.
    pub origin: String,
    /// The `.pyc`, where the store knows it.
    pub cached: Option<String>,
}

/// Bytes of `.pyc` joined after which the pages of the file are given back in the middle of an import: the next modules of a package stand
/// near by, so doing it often costs page faults, and at the end of an import it is done in any case.
const GIVE_BACK: u64 = 8 << 20;

/// Modules looked up after which pages are given back at the end of an import that joined nothing. All look-ups read the same few tables, and a program that imports one
/// small module after the other would have them mapped again for each.
const LOOKED_UP: u64 = 8;

impl Store {
    /// Opens `path`, a package file or a directory of single files, to stand for the directory `root`, which is
    /// left to [`Store::find_root`] if it is not given.
    ///
    /// # Errors
    /// It cannot be opened or mapped, is not trusted, or is not a `.pye` file.
    pub fn open(root: Option<&str>, path: &Path, identity: Identity) -> Result<Store> {
        let identity = root.map_or(identity, |root| identity.serving(Path::new(root)));
        let (holding, file) = if path.is_dir() {
            (Holding::Singles { directory: path.to_path_buf(), opened: Vec::new(), numbers: HashMap::new() }, None)
        } else {
            let (mapped, file) = Mapped::open(path, identity)?;
            if mapped.pye.header().is_package() {
                (Holding::Package(mapped), Some(file))
            } else {
                (Holding::Single(mapped), None)
            }
        };
        Ok(Store {
            root: match root {
                Some(root) => normal(root).map_err(|e| Error::io("cannot resolve", e).in_file(root))?,
                None => String::new(),
            },
            path: path.to_path_buf(),
            holding,
            file,
            directories: HashMap::new(),
            uniform: None,
            touched: 0,
            // The tables were read for their checksums.
            looked_up: 1,
            loaded: 0,
            fallbacks: [0; Reason::ALL.len()],
        })
    }

    /// Makes the root that of `candidates` below which sources of the store stand; of single files, the directory they are in.
    ///
    /// # Errors
    /// There is none.
    pub fn find_root(&mut self, candidates: &[String]) -> Result<()> {
        let samples = self.samples(8);
        let here = || {
            let directory =
                if self.path.is_dir() { self.path.clone() } else { crate::fsys::parent(&self.path).to_path_buf() };
            let cached = directory.file_name().is_some_and(|name| name == "__pycache__");
            let directory = if cached { directory.parent().map(Path::to_path_buf)? } else { directory };
            std::path::absolute(directory).ok()?.into_os_string().into_string().ok()
        };
        let root = match &self.holding {
            Holding::Package(_) => {
                // The one that has most of them, and of several the first: any directory can have a `types.py`.
                let found = |c: &&String| samples.iter().filter(|s| Path::new(c).join(s).is_file()).count();
                let absolute = candidates.iter().filter(|c| c.starts_with('/'));
                let best = absolute.map(|c| (found(&c), c)).rev().max_by_key(|(found, _)| *found);
                best.filter(|(found, _)| *found > 0).and_then(|(_, c)| normal(c).ok())
            }
            _ => here(),
        };
        self.root = root.ok_or_else(|| {
            let help = "say which directory it stands for: ROOT=FILE";
            Error::unsupported("sources of the package below a directory on sys.path", "none", help).in_file(&self.path)
        })?;
        Ok(())
    }

    /// The package, and its file, which is handed out once.
    pub fn package(&mut self) -> Option<(&'static Pye<'static>, File)> {
        match &self.holding {
            Holding::Package(mapped) => Some((mapped.pye, self.file.take()?)),
            _ => None,
        }
    }

    /// The part of `directory` below the root; empty for the root itself.
    pub fn covers<'d>(&self, directory: &'d str) -> Option<&'d str> {
        let rest = directory.strip_prefix(self.root.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// Notes that a module was left to the stock import system.
    pub fn note(&mut self, reason: Reason) {
        self.fallbacks[reason as usize] += 1;
    }

    /// Forgets what was seen of directories (`importlib.invalidate_caches`).
    pub fn invalidate(&mut self) {
        self.directories.clear();
    }

    /// Directories found changed since the package was linked.
    pub fn changed(&self) -> u64 {
        self.directories.values().filter(|(state, _)| *state == State::Changed).count() as u64
    }

    /// What the directory `relative` holds under `name`, the last part of a dotted name.
    pub fn find(&mut self, relative: &str, name: &str, target: &Target) -> Answer {
        let Holding::Package(Mapped { pye, .. }) = self.holding else { return Answer::Ask };
        let (State::Unchanged, Some(directory)) = self.state(pye, relative) else { return Answer::Ask };
        let mut extension: Option<(usize, String)> = None;
        let (mut unnamed, mut inner) = (true, false);
        for entry in directory.named(name.as_bytes()) {
            let Ok(entry) = entry.map(|e| String::from_utf8_lossy(e)) else { return Answer::Ask };
            unnamed = false;
            inner |= entry.ends_with('/');
            let rank = target.suffixes.iter().position(|suffix| entry.strip_prefix(name) == Some(suffix.as_str()));
            if let Some(rank) = rank
                && extension.as_ref().is_none_or(|(best, _)| rank < *best)
            {
                extension = Some((rank, self.absolute(relative, &entry)));
            }
        }
        let recorded = self.recorded(pye, relative, name, target);
        let unrecorded = matches!(recorded, Some(None));
        let module = recorded.flatten().and_then(|module| self.fitting(module, relative, name, target));
        let package = matches!(&module, Some(m) if m.record.kind == ModuleKind::Package);
        if inner && !package {
            // It may have become a package since, and would come first.
            if module.is_some() {
                self.note(Reason::Hidden);
            }
            return Answer::Ask;
        }
        match (extension, module) {
            // A package comes before an extension module of its name. A link may lead nowhere by now.
            (Some((_, file)), _) if !package => {
                if Path::new(&file).is_file() {
                    Answer::Extension(file)
                } else {
                    Answer::Ask
                }
            }
            (_, Some(module)) => self.found(pye, &module, relative, name, target),
            _ if unnamed && unrecorded && self.is_absent(pye, relative, name, target) => Answer::Absent,
            _ => Answer::Ask,
        }
    }

    /// Whether there was nothing of `name` in the directory `relative`, where that has no entry for it and the package no record at our level: no record of another level either.
    /// Not so when the package has records of other versions, which stand for sources that ours may lack.
    fn is_absent(&mut self, pye: &'static Pye<'static>, relative: &str, name: &str, target: &Target) -> bool {
        // What rows do not tell of: the package itself, and `__pycache__`.
        if matches!(name, "" | "__init__" | "__pycache__") {
            return false;
        }
        let uniform = *self.uniform.get_or_insert_with(|| pye.is_all_for(target.python));
        let dotted = dotted(relative, name);
        let mut others = (0..=2).filter(|level| *level != target.optimization);
        uniform && others.all(|level| matches!(pye.lookup(dotted.as_bytes(), target.python, level), Ok(None)))
    }

    fn found(
        &mut self,
        pye: &'static Pye<'static>,
        module: &Module<'static>,
        relative: &str,
        name: &str,
        target: &Target,
    ) -> Answer {
        let package = module.record.kind == ModuleKind::Package;
        if package {
            // Its own directory decides what its `__init__` is.
            let inner = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            let (State::Unchanged, Some(directory)) = self.state(pye, &inner) else { return Answer::Ask };
            if directory.named(b"__init__").next().is_some() {
                self.note(Reason::Hidden);
                return Answer::Ask;
            }
        }
        let Some(found) = self.describe(module) else { return Answer::Ask };
        match self.fresh(module, &found.origin, target) {
            Ok(()) => Answer::Found(found),
            Err(reason) => {
                self.note(reason);
                Answer::Ask
            }
        }
    }

    /// The module whose source is `origin`, which the stock finder found, if the store has it and it is as it was.
    ///
    /// # Errors
    /// Why not, when it has it.
    pub fn supply(&mut self, origin: &str, target: &Target, identity: Identity) -> Result<Option<Found>, Reason> {
        let Some(relative) = self.covers(origin) else { return Ok(None) };
        let Some(stem) = relative.strip_suffix(".py") else { return Ok(None) };
        let (directory, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let module = match self.holding {
            Holding::Package(Mapped { pye, .. }) => match (name, directory.rsplit_once('/')) {
                ("__init__", Some((above, package))) => self.lookup(pye, above, package, target),
                ("__init__", None) if directory.is_empty() => None,
                ("__init__", None) => self.lookup(pye, "", directory, target),
                _ => self.lookup(pye, directory, name, target),
            },
            Holding::Single(Mapped { pye, .. }) => {
                let module = pye.module(0).map_err(|_| Reason::Damaged)?;
                let path = std::str::from_utf8(module.path).unwrap_or_default();
                (directory.is_empty() && place_of(path).1 == name).then_some(module)
            }
            Holding::Singles { .. } => self.single(directory, name, target, identity),
        };
        let Some(module) = module else { return Ok(None) };
        let found = match &self.holding {
            Holding::Package(_) => self.describe(&module),
            _ => {
                Some(Found { number: module.number, package: name == "__init__", origin: origin.into(), cached: None })
            }
        };
        let Some(found) = found.filter(|found| found.origin == origin) else { return Ok(None) };
        match self.fresh(&module, origin, target) {
            Ok(()) => Ok(Some(found)),
            Err(reason) => {
                self.note(reason);
                Err(reason)
            }
        }
    }

    /// Whether module `number` is still what `origin` says.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&mut self, number: usize, origin: &str, target: &Target) -> Result<(), Reason> {
        let checked = self.module(number).and_then(|(_, module)| self.fresh(&module, origin, target));
        checked.inspect_err(|reason| self.note(*reason))
    }

    /// Module `number` and the file that holds it.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn module(&self, number: usize) -> Result<(&'static Pye<'static>, Module<'static>), Reason> {
        let (pye, number) = match &self.holding {
            Holding::Package(mapped) => (mapped.pye, number),
            Holding::Single(mapped) => (mapped.pye, 0),
            Holding::Singles { opened, .. } => (opened.get(number).ok_or(Reason::Damaged)?.pye, 0),
        };
        let module = pye.module(number).map_err(|_| Reason::Damaged)?;
        Ok((pye, module))
    }

    fn files(&self) -> &[Mapped] {
        match &self.holding {
            Holding::Package(mapped) | Holding::Single(mapped) => std::slice::from_ref(mapped),
            Holding::Singles { opened, .. } => opened,
        }
    }

    /// Notes that `bytes` of `.pyc` were joined; gives the file's pages back when enough have come together. They are still in the
    /// page cache, and what is read again comes back from there.
    pub fn touched(&mut self, bytes: u64) {
        self.touched += bytes;
        if self.touched >= GIVE_BACK {
            self.give_back();
        }
    }

    /// Notes that a module was looked up whose code need not be joined: its record was read, and tables.
    pub fn looked_up(&mut self) {
        self.looked_up += 1;
    }

    /// Gives the pages back if that is worth it: an import has ended.
    pub fn settle(&mut self) {
        if self.touched > 0 || self.looked_up >= LOOKED_UP {
            self.give_back();
        }
    }

    /// Gives all pages of the store's files back.
    pub fn give_back(&mut self) {
        (self.touched, self.looked_up) = (0, 0);
        for Mapped { map, .. } in self.files() {
            map.drop_pages(0..map.len());
        }
    }

    /// Records it has; none are known of a directory of single files before they are opened.
    pub fn modules(&self) -> usize {
        self.files().iter().map(|mapped| mapped.pye.len()).sum()
    }

    /// Bytes mapped.
    pub fn mapped_bytes(&self) -> u64 {
        self.files().iter().map(|mapped| mapped.map.len() as u64).sum()
    }

    /// A few sources that the package was made of, relative to its root: what a root is known by.
    pub fn samples(&self, count: usize) -> Vec<String> {
        let Holding::Package(Mapped { pye, .. }) = self.holding else { return Vec::new() };
        let step = (pye.len() / count.max(1)).max(1);
        let modules = (0..pye.len()).step_by(step).filter_map(|i| pye.module(i).ok());
        modules.filter_map(|m| source_of(std::str::from_utf8(m.path).ok()?)).take(count).collect()
    }

    fn absolute(&self, relative: &str, name: &str) -> String {
        match relative {
            "" => format!("{}/{name}", self.root),
            _ => format!("{}/{relative}/{name}", self.root),
        }
    }

    /// What is known of a directory, and whether it is still so.
    fn state(&mut self, pye: &'static Pye<'static>, relative: &str) -> (State, Option<Directory<'static>>) {
        if let Some(known) = self.directories.get(relative) {
            return *known;
        }
        let row = pye.directory(relative.as_bytes()).ok().flatten();
        let state = match row.and_then(|row| row.mtime_ns) {
            None => State::Unknown,
            Some(stamp) => {
                let place = if relative.is_empty() { self.root.clone() } else { self.absolute(relative, "") };
                match fs::metadata(place) {
                    Ok(meta) if is_time(&meta, stamp) => State::Unchanged,
                    _ => State::Changed,
                }
            }
        };
        self.directories.insert(relative.to_owned(), (state, row));
        (state, row)
    }

    /// How many of the directories that a package knows have changed since it was linked, whoever asked for them.
    pub fn changed_directories(&mut self) -> u64 {
        let Holding::Package(Mapped { pye, .. }) = self.holding else { return 0 };
        let Ok(directories) = pye.directories() else { return 0 };
        let rows = directories.iter().filter_map(|row| std::str::from_utf8(row.ok()?.path).ok());
        rows.filter(|path| matches!(self.state(pye, path), (State::Changed, _))).count() as u64
    }

    /// The module in the directory `relative` under `name`: found by dotted name, and really there.
    fn lookup(
        &mut self,
        pye: &'static Pye<'static>,
        relative: &str,
        name: &str,
        target: &Target,
    ) -> Option<Module<'static>> {
        let module = self.recorded(pye, relative, name, target)??;
        self.fitting(module, relative, name, target)
    }

    /// What the package has under a dotted name, for our version and level. None: it is damaged.
    fn recorded(
        &mut self,
        pye: &'static Pye<'static>,
        relative: &str,
        name: &str,
        target: &Target,
    ) -> Option<Option<Module<'static>>> {
        let found = pye.lookup(dotted(relative, name).as_bytes(), target.python, target.optimization);
        found.inspect_err(|_| self.note(Reason::Damaged)).ok()
    }

    /// `module`, if it can be used and is what stands in the directory `relative` under `name`.
    fn fitting(
        &mut self,
        module: Module<'static>,
        relative: &str,
        name: &str,
        target: &Target,
    ) -> Option<Module<'static>> {
        if !matches!(module.record.kind, ModuleKind::Module | ModuleKind::Package) {
            return None;
        }
        if module.record.magic != target.magic {
            self.note(Reason::ForeignMagic);
            return None;
        }
        let package = module.record.kind == ModuleKind::Package;
        let (place, last) = place_of(std::str::from_utf8(module.path).ok()?);
        let there = match package {
            true => {
                last == "__init__"
                    && place.strip_suffix(name).map(|p| p.strip_suffix('/').unwrap_or(p)) == Some(relative)
            }
            false => last == name && place == relative,
        };
        there.then_some(module)
    }

    /// Where `module` stands; none for one without a source, whose `.pyc` nobody could tell from another.
    pub fn describe(&self, module: &Module<'static>) -> Option<Found> {
        let path = std::str::from_utf8(module.path).ok()?;
        Some(Found {
            number: module.number,
            package: module.record.kind == ModuleKind::Package,
            origin: self.absolute("", &source_of(path)?),
            cached: Some(self.absolute("", path)),
        })
    }

    /// That the source is the one the module was compiled from, as `importlib` decides it (PEP 552).
    fn fresh(&self, module: &Module<'static>, origin: &str, target: &Target) -> Result<(), Reason> {
        if module.record.magic != target.magic {
            return Err(Reason::ForeignMagic);
        }
        let meta = fs::metadata(origin).map_err(|_| Reason::Stale)?;
        if !meta.is_file() {
            return Err(Reason::Stale);
        }
        let Some(version) = Version::by_number(target.python.0, target.python.1) else {
            return Err(Reason::ForeignMagic);
        };
        let record = &module.record;
        let header = Header { version, magic: record.magic, flags: record.flags, word: record.word };
        let good = match header.validation() {
            Validation::Timestamp { mtime, size } => {
                meta.mtime() as u32 == mtime && size.is_none_or(|size| size == meta.size() as u32)
            }
            Validation::Hash { checked, .. } => {
                let look = match target.check {
                    CheckHashes::Default => checked,
                    CheckHashes::Always => true,
                    CheckHashes::Never => false,
                };
                match look {
                    true => verify::source_unchanged(&header, Path::new(origin)).is_ok(),
                    // Whatever the source is: it is the `.pyc` that counts, as long as it is this one.
                    false => self.has_header(module, &header),
                }
            }
        };
        if good { Ok(()) } else { Err(Reason::Stale) }
    }

    /// Whether the `.pyc` of a module still has the header that it was linked with.
    fn has_header(&self, module: &Module<'static>, header: &Header) -> bool {
        let Ok(path) = std::str::from_utf8(module.path) else { return false };
        let mut bytes = vec![0; header.version.header_len];
        let read = File::open(self.absolute("", path)).and_then(|mut file| file.read_exact(&mut bytes));
        read.is_ok() && Header::parse(&bytes, Some(header.version)).is_ok_and(|there| there == *header)
    }

    /// The single file for the module `name` in the directory `relative`.
    fn single(&mut self, relative: &str, name: &str, target: &Target, identity: Identity) -> Option<Module<'static>> {
        let Holding::Singles { directory, opened, numbers } = &mut self.holding else { return None };
        if relative.split('/').any(|part| part == "..") {
            return None;
        }
        let level = match target.optimization {
            0 => String::new(),
            level => format!(".opt-{level}"),
        };
        let file = format!("{name}.{}{level}.pye", target.tag);
        let path = directory.join(relative).join("__pycache__").join(file);
        let number = *numbers.entry(path).or_insert_with_key(|path| {
            let (mapped, _) = Mapped::open(path, identity.serving(Path::new(&self.root))).ok()?;
            if mapped.pye.header().is_package() {
                return None;
            }
            opened.push(mapped);
            Some(opened.len() - 1)
        });
        let number = number?;
        let module = opened[number].pye.module(0).ok()?;
        (module.record.magic == target.magic).then_some(Module { number, ..module })
    }
}

/// The dotted name of what the directory `relative` holds under `name`.
fn dotted(relative: &str, name: &str) -> String {
    match relative {
        "" => name.to_owned(),
        _ => format!("{}.{name}", relative.replace('/', ".")),
    }
}

/// A root as it stands on `sys.path`; what is relative is below the current directory, once and for all.
fn normal(root: &str) -> std::io::Result<String> {
    let absolute = std::path::absolute(root)?.into_os_string().into_string();
    let absolute = absolute.map_err(|_| std::io::Error::other("the current directory is not UTF-8"))?;
    Ok(absolute.trim_end_matches('/').to_owned())
}

/// Directory and module name of a `.pyc` in a package: `a/__pycache__/b.cpython-312.pyc` and `a/b.pyc` are `b` in `a`.
fn place_of(path: &str) -> (&str, &str) {
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let name = file.split('.').next().unwrap_or(file);
    match directory.rsplit_once('/') {
        Some((place, "__pycache__")) => (place, name),
        None if directory == "__pycache__" => ("", name),
        _ => (directory, name),
    }
}

/// The source of a `.pyc` in `__pycache__`; one that stands in its source's place has none.
fn source_of(path: &str) -> Option<String> {
    let (place, name) = place_of(path);
    let cached = path.rsplit('/').nth(1) == Some("__pycache__");
    cached.then(|| if place.is_empty() { format!("{name}.py") } else { format!("{place}/{name}.py") })
}

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Whether the modification time is `stamp`, in nanoseconds since 1970, or that cut off to whole seconds: so the layers of container images
/// keep it, whose files have otherwise times as fine as the clock. Only a change within the same second, of a directory that is then
/// archived with the package, would go unnoticed.
fn is_time(meta: &Metadata, stamp: i64) -> bool {
    meta.mtime() == stamp.div_euclid(SECOND) && [0, stamp.rem_euclid(SECOND)].contains(&meta.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::convert::Options;
    use crate::link::link;
    use crate::tree;

    const MTIME: u32 = 1_577_836_800;

    fn magic(version: (u8, u8)) -> [u8; 4] {
        let [low, high] = Version::by_number(version.0, version.1).unwrap().magic.to_le_bytes();
        [low, high, b'\r', b'\n']
    }

    /// A `.pyc` for an empty source of that time: its code is `None`, which nobody runs here.
    fn pyc(version: (u8, u8)) -> Vec<u8> {
        [&magic(version)[..], &[0; 4], &MTIME.to_le_bytes(), &[0; 4], b"N"].concat()
    }

    fn target(python: (u8, u8), optimization: u8) -> Target {
        Target {
            python,
            magic: magic(python),
            optimization,
            tag: format!("cpython-{}{}", python.0, python.1),
            suffixes: vec![".cpython-312-x86_64-linux-gnu.so".into(), ".abi3.so".into(), ".so".into()],
            check: CheckHashes::Default,
        }
    }

    /// A tree of these files: `.pyc` as [`pyc`] makes them, all others empty and of the time that those state.
    fn plant(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let version = if file.contains("-313") { (3, 13) } else { (3, 12) };
            fs::write(&path, if file.ends_with(".pyc") { pyc(version) } else { Vec::new() }).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME.into());
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
    }

    /// The store of what is below `root`, linked beside it.
    fn store(root: &Path) -> Store {
        let output = root.with_extension("pye");
        let options = Options { min_blob: 64, min_bytes: 0, python_version: None };
        let (files, errors) = tree::find(&[root.to_path_buf()], &["pyc", "so"]);
        assert!(errors.is_empty(), "{errors:?}");
        link(&files, &output, options, &|_| ()).unwrap();
        Store::open(root.to_str(), &output, Identity::of_process().unwrap()).unwrap()
    }

    /// An answer in a word; where it is of a file, with what follows the root.
    fn say(store: &mut Store, directory: &str, name: &str, target: &Target) -> String {
        let root = format!("{}/", store.root);
        let below = |file: &str| file.strip_prefix(&root).unwrap().to_owned();
        match store.find(directory, name, target) {
            Answer::Found(found) => format!("found {}", below(&found.origin)),
            Answer::Extension(file) => format!("extension {}", below(&file)),
            Answer::Absent => "absent".into(),
            Answer::Ask => "ask".into(),
        }
    }

    #[test]
    fn what_has_neither_record_nor_entry_is_absent() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        plant(
            &root,
            &[
                "m.py",
                "__pycache__/m.cpython-312.pyc",
                "optimized.py",
                "__pycache__/optimized.cpython-312.opt-1.pyc",
                "pkg/__init__.py",
                "pkg/__pycache__/__init__.cpython-312.pyc",
                "uncompiled.py",
                "sourceless.pyc",
                "0001-initial.py",
                "space/__pycache__/leaf.cpython-312.pyc",
                "data/file",
                "taken/file",
                "taken.py",
                "__pycache__/taken.cpython-312.pyc",
                "lib-dynload/_c.cpython-312-x86_64-linux-gnu.so",
                "lib-dynload/_other.cpython-311-x86_64-linux-gnu.so",
                "x-y/unnamed.pyc",
            ],
        );
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("lib-dynload/dangling.so")).unwrap();
        let mut store = store(&root);
        let ours = target((3, 12), 0);
        for (directory, name, answer) in [
            ("", "m", "found m.py"),
            ("", "pkg", "found pkg/__init__.py"),
            ("", "nothing", "absent"),
            ("pkg", "nothing", "absent"),
            ("lib-dynload", "nothing", "absent"),
            ("lib-dynload", "_c", "extension lib-dynload/_c.cpython-312-x86_64-linux-gnu.so"),
            // Whether these are importable, an interpreter must tell; or they may have come into being.
            ("lib-dynload", "_other", "ask"),
            ("lib-dynload", "dangling", "ask"),
            ("", "dangling", "ask"),
            ("", "uncompiled", "ask"),
            ("", "sourceless", "ask"),
            ("", "0001-initial", "ask"),
            ("x-y", "unnamed", "ask"),
            // Compiled at another level.
            ("", "optimized", "ask"),
            // A portion of a namespace package; the last would come before its module with an `__init__`.
            ("", "space", "ask"),
            ("", "data", "ask"),
            ("", "taken", "ask"),
            // Rows do not tell of these.
            ("", "", "ask"),
            ("", "__pycache__", "ask"),
            ("pkg", "__init__", "ask"),
            ("data", "nothing", "ask"),
            ("nowhere", "nothing", "ask"),
        ] {
            assert_eq!(say(&mut store, directory, name, &ours), answer, "{name:?} in {directory:?}");
        }
        assert_eq!(say(&mut store, "", "optimized", &target((3, 12), 1)), "found optimized.py");
        // A change is noticed once directories are looked at again.
        plant(&root, &["nothing.py"]);
        assert_eq!(say(&mut store, "", "nothing", &ours), "absent");
        store.invalidate();
        assert_eq!(say(&mut store, "", "nothing", &ours), "ask");
        assert_eq!(say(&mut store, "pkg", "nothing", &ours), "absent", "another directory");
    }

    /// Container images keep times in whole seconds.
    #[test]
    fn a_directory_whose_time_was_cut_off_to_seconds_is_unchanged() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        plant(&root, &["m.py", "__pycache__/m.cpython-312.pyc"]);
        // Half a second after 1970 and before: cut off is downwards.
        for (linked, unchanged, changed) in [
            (1_500_000_000, [1_500_000_000, 1_000_000_000], [1_500_000_001, 1_250_000_000, 2_000_000_000, 0]),
            (-500_000_000, [-500_000_000, -1_000_000_000], [-499_999_999, -750_000_000, 0, -2_000_000_000]),
            (3_000_000_000, [3_000_000_000; 2], [3_000_000_001, 3_500_000_000, 2_000_000_000, 4_000_000_000]),
        ] {
            let set = |ns: i64| {
                let parts = (ns.div_euclid(SECOND), ns.rem_euclid(SECOND) as u64);
                let whole = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(parts.0.max(0) as u64)).unwrap();
                let whole = whole - Duration::from_secs(parts.0.min(0).unsigned_abs());
                File::open(&root).unwrap().set_modified(whole + Duration::from_nanos(parts.1)).unwrap();
            };
            set(linked);
            let mut store = store(&root);
            let ours = target((3, 12), 0);
            for (times, answer) in [(&unchanged[..], "absent"), (&changed[..], "ask")] {
                for ns in times {
                    set(*ns);
                    store.invalidate();
                    assert_eq!(say(&mut store, "", "nothing", &ours), answer, "{ns} of {linked}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_absent_from_a_package_of_several_versions() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        let files = ["m.py", "__pycache__/m.cpython-312.pyc", "later.py", "__pycache__/later.cpython-313.pyc"];
        plant(&root, &files);
        let mut store = store(&root);
        let ours = target((3, 12), 0);
        assert_eq!(say(&mut store, "", "m", &ours), "found m.py");
        assert_eq!(say(&mut store, "", "nothing", &ours), "ask");
        // There is a source, which no row names, for it has a record.
        assert_eq!(say(&mut store, "", "later", &ours), "ask");
    }
}
