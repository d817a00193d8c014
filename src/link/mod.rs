//! The linker: many modules to one package file, as a list of passes.
//!
//! 1. *collect* (the caller, with [`crate::tree`]): which files. After it: a list sorted by relative path, then by root.
//! 2. *survey* ([`directories`]): when each directory last changed, and what in it can be imported. After it: whatever changes from now on
//!    will be noticed by who compares the mtimes.
//! 3. *shadow*: of several files with one relative path the first root's stays, as `sys.path` would have it.
//!    After it: relative paths are unique.
//! 4. *read*, in parallel: every file is read once, split, and appended to a temporary file. After it: nothing depends on the
//!    inputs any more; every blob has a place in the temporary file and a hash.
//! 5. *resolve*: names, versions, namespace packages. After it: modules are sorted as in the file.
//! 6. *merge* ([`crate::merge`]): duplicates and tails. After it: every blob has a place in its section.
//! 7. *plan* and *write* ([`crate::pye::write`]), in parallel.
//!
//! What is held in memory is a few dozen bytes a blob; the bytes themselves stay in the temporary file's page cache.

pub mod directories;
pub mod distributions;
pub mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::blob::Store;
use crate::convert::{Options, append, kind};
use crate::error::{Error, Result};
use crate::fsys;
use crate::limits::MAX_PYE_BYTES;
use crate::map::Map;
use crate::marshal::pyc::Header;
use crate::merge::Totals;
use crate::pye::read::Pye;
use crate::pye::write::{Input, Module, plan};
use crate::pye::{ModuleKind, OPTIMIZATION_OTHER, is_indexed, preference};
use crate::split::{Blob, Split, Splitter};
use crate::tree::{Found, PYE, SO, has_suffix};

/// A file that lost to another one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Duplicate {
    /// The dotted name, or the path when the files share that.
    pub name: String,
    /// The file that is found under the name.
    pub kept: String,
    /// The other one.
    pub other: String,
    /// Why the other lost, and whether it is in the package all the same.
    pub reason: &'static str,
}

/// What was linked.
#[derive(Debug, Default)]
pub struct Report {
    /// Modules in the package, namespace packages not counted.
    pub modules: u64,
    /// Namespace packages.
    pub namespaces: u64,
    /// Directories that were surveyed.
    pub directories: u64,
    /// Bytes of the `.pyc` files.
    pub pyc_bytes: u64,
    /// Bytes of the package file.
    pub file_bytes: u64,
    /// What merging did, by [`Store`].
    pub totals: [Totals; Store::ALL.len()],
    /// Names that several files claim.
    pub duplicates: Vec<Duplicate>,
    /// Files kept raw, and why.
    pub raw: Vec<Error>,
    /// Files left out, and why.
    pub failed: Vec<Error>,
}

/// One `.pyc` to be linked: a file, or a module of a `.pye`.
struct Source {
    /// Path in the package.
    path: Vec<u8>,
    file: PathBuf,
    /// Number of the record when `file` is a `.pye`.
    record: Option<usize>,
    /// Whether that is a package.
    packaged: bool,
}

/// What reading a source gave: a module without its names, and its blobs.
struct Loaded {
    module: Module,
    raw: Option<Error>,
    blobs: Vec<Blob>,
}

/// What a thread needs to read sources one after the other.
#[derive(Default)]
struct Scratch {
    splitter: Splitter,
    pyc: Vec<u8>,
    split: Split,
    data: Vec<u8>,
}

/// The temporary file that everything read is kept in.
struct Spill {
    file: File,
    len: AtomicU64,
}

/// Told how far the linker is: bytes read and written so far.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Links `files` (sorted, as [`crate::tree::find`] gives them) into a package at `output`. Extension modules (`.so`) among them stay where they
/// are; the package tells of them.
///
/// # Errors
/// The package or the temporary file beside it cannot be written, or the format cannot hold it. Inputs that cannot be read are left
/// out and reported instead.
pub fn link(files: &[Found], output: &Path, options: Options, progress: Progress<'_>) -> Result<Report> {
    // Before the work, not after it.
    fsys::check_replaceable(output)?;
    let mut report = Report::default();
    let sources = collect(files, &mut report);
    let surveyed = survey(files, &sources);
    let sources = shadow(sources, &mut report);
    let directory = fsys::parent(output);
    let file = tempfile::tempfile_in(directory)
        .map_err(|e| Error::io("cannot make a temporary file in", e).in_file(directory))?;
    let spill = Spill { file, len: AtomicU64::new(0) };
    let loaded: Vec<Result<Loaded>> = sources
        .par_iter()
        .map_init(Scratch::default, |scratch, source| {
            let loaded = scratch.read(source, options, &spill);
            progress(loaded.as_ref().map_or(0, |l| u64::from(l.module.pyc_len)));
            loaded
        })
        .collect();
    let (mut modules, blobs) = resolve_all(sources, loaded, &mut report).map_err(|e| e.in_file(output))?;
    add_namespaces(&mut modules, &mut report);
    find_duplicates(&modules, &mut report);
    let directories = directories::rows(surveyed, &modules);

    let data = Map::range(&spill.file, 0, spill.len.into_inner())?;
    let input = Input {
        package: true,
        min_blob: options.min_blob,
        modules: &modules,
        directories: &directories,
        blobs: &blobs,
        data: &data,
    };
    let plan = plan(input)?;
    plan.check_expansion().map_err(|e| e.in_file(output))?;
    report.totals = *plan.totals();
    report.file_bytes = plan.file_len();
    report.modules = modules.iter().filter(|m| m.kind != ModuleKind::Namespace).count() as u64;
    report.directories = directories.len() as u64;
    report.pyc_bytes = modules.iter().map(|m| u64::from(m.pyc_len)).sum();
    fsys::write_atomic(output, None, |file| plan.write_file(file, progress))?;
    Ok(report)
}

/// The modules that `files` hold: those of a `.pye` one by one.
fn collect(files: &[Found], report: &mut Report) -> Vec<Source> {
    let mut sources = Vec::with_capacity(files.len());
    for found in files.iter().filter(|f| !has_suffix(&f.path, &[SO])) {
        let relative = fsys::path_bytes(&found.relative).to_vec();
        if !has_suffix(&found.path, &[PYE]) {
            sources.push(Source { path: relative, file: found.path.clone(), record: None, packaged: false });
            continue;
        }
        let held = || -> Result<Vec<Source>> {
            let map = Map::open(&found.path, MAX_PYE_BYTES)?;
            let pye = Pye::open(&map)?;
            let package = pye.header().is_package();
            let mut held = Vec::new();
            for (i, module) in pye.modules().enumerate() {
                let module = module?;
                if module.record.kind == ModuleKind::Namespace {
                    continue;
                }
                let path = match relative.iter().rposition(|b| *b == b'/') {
                    // A package's modules have paths of their own; one module stands where its file does.
                    Some(slash) if !package => [&relative[..=slash], module.path].concat(),
                    _ => module.path.to_vec(),
                };
                held.push(Source { path, file: found.path.clone(), record: Some(i), packaged: package });
            }
            Ok(held)
        };
        match held() {
            Ok(held) => sources.extend(held),
            Err(error) => report.failed.push(error.in_file(&found.path)),
        }
    }
    sources
}

/// Looks at the directories of all sources and extension modules.
fn survey(files: &[Found], sources: &[Source]) -> Vec<directories::Surveyed> {
    let modules = sources.iter().map(|source| directories::Origin {
        relative: &source.path,
        file: (!source.packaged).then_some(&source.file),
        tells: source.record.is_none(),
    });
    let extensions = files.iter().filter(|f| has_suffix(&f.path, &[SO]));
    let extensions = extensions.map(|found| directories::Origin {
        relative: fsys::path_bytes(&found.relative),
        file: Some(&found.path),
        tells: true,
    });
    directories::survey(modules.chain(extensions))
}

/// Drops all but the first source of each path. The order among the rest stays: it is that of the roots.
fn shadow(mut sources: Vec<Source>, report: &mut Report) -> Vec<Source> {
    // Stable, so that the first root's comes first.
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    let mut kept: Vec<Source> = Vec::with_capacity(sources.len());
    for source in sources {
        match kept.last() {
            Some(first) if first.path == source.path => report.duplicates.push(Duplicate {
                name: String::from_utf8_lossy(&source.path).into_owned(),
                kept: first.file.display().to_string(),
                other: source.file.display().to_string(),
                reason: "same path below an earlier root: left out",
            }),
            _ => kept.push(source),
        }
    }
    kept
}

impl Scratch {
    /// Reads, splits and spills one source.
    fn read(&mut self, source: &Source, options: Options, spill: &Spill) -> Result<Loaded> {
        match source.record {
            None => {
                fsys::read(&source.file, &mut self.pyc)?;
            }
            Some(number) => {
                let map = Map::open(&source.file, MAX_PYE_BYTES)?;
                let pye = Pye::open(&map).map_err(|e| e.in_file(&source.file))?;
                pye.module(number)
                    .and_then(|m| pye.join_into(&m, &mut self.pyc))
                    .map_err(|e| e.in_file(&source.file))?;
            }
        }
        let split = self.splitter.split(&self.pyc, options.python_version, options.thresholds(), &mut self.split);
        let (header, raw) = match split {
            Ok(header) => (Some(header), None),
            Err(error) => (None, Some(error.in_file(&source.file))),
        };
        let parts = &self.split;
        let len = (parts.control.len() + parts.table.len() + parts.data.len()) as u64;
        let base = spill.len.fetch_add(len, Ordering::Relaxed);
        self.data.clear();
        let module = append(&mut self.split, &mut self.data, base);
        spill.file.write_all_at(&self.data, base).map_err(|e| Error::io("cannot write a temporary file", e))?;
        let module = Module { header, pyc_len: self.pyc.len() as u32, pyc_crc: crc32fast::hash(&self.pyc), ..module };
        Ok(Loaded { module, raw, blobs: self.split.blobs.clone() })
    }
}

/// Names everything that was read and sorts it as the file has it; the blobs follow their modules.
fn resolve_all(
    sources: Vec<Source>,
    loaded: Vec<Result<Loaded>>,
    report: &mut Report,
) -> Result<(Vec<Module>, Vec<Blob>)> {
    let mut named = Vec::with_capacity(sources.len());
    for (source, loaded) in sources.into_iter().zip(loaded) {
        let mut loaded = match loaded {
            Ok(loaded) => loaded,
            // A full disk is not the input's fault.
            Err(error) if error.path().is_none() => return Err(error),
            Err(error) => {
                report.failed.push(error);
                continue;
            }
        };
        let name = resolve::name(&source.path);
        let header = loaded.module.header;
        let module = Module {
            kind: kind(&header, name.kind),
            name: if header.is_some() { name.dotted } else { Vec::new() },
            path: source.path,
            optimization: name.optimization,
            ..loaded.module
        };
        report.raw.extend(loaded.raw.take());
        named.push((module, loaded.blobs));
    }
    named.sort_by(|(a, _), (b, _)| sort_key(a).cmp(&sort_key(b)));
    let total: usize = named.iter().map(|(_, blobs)| blobs.len()).sum();
    if total as u64 >= u64::from(u32::MAX) {
        return Err(Error::limit("blobs in a package", u64::from(u32::MAX) - 1, total as u64));
    }
    let mut all = Vec::with_capacity(total);
    let modules = named.into_iter().map(|(mut module, blobs)| {
        let start = all.len() as u32;
        all.extend_from_slice(&blobs);
        module.blobs = start..all.len() as u32;
        module
    });
    let modules = modules.collect();
    Ok((modules, all))
}

fn sort_key(module: &Module) -> impl Ord + '_ {
    (module.key(), &module.path)
}

/// Adds a record for every directory on the way to a module that has no `__init__` of that version and level.
fn add_namespaces(modules: &mut Vec<Module>, report: &mut Report) {
    /// Directory, version, level.
    type Key = (Vec<u8>, (u8, u8), u8);
    let mut packages: BTreeSet<Key> = BTreeSet::new();
    let mut directories: BTreeMap<Key, (Vec<u8>, Header)> = BTreeMap::new();
    for module in modules.iter() {
        // No name finds modules of another level, nor what they stand in.
        let named = !module.name.is_empty() && module.optimization != OPTIMIZATION_OTHER;
        let Some(header) = module.header.filter(|_| named) else { continue };
        let name = resolve::name(&module.path);
        let root = match name.root_len {
            0 => Vec::new(),
            len => [&module.path[..len], b"/"].concat(),
        };
        let place = |dotted: &[u8]| {
            let path = dotted.iter().map(|b| if *b == b'.' { b'/' } else { *b });
            root.iter().copied().chain(path).collect::<Vec<u8>>()
        };
        let key = |path| (path, module.python(), module.optimization);
        if module.kind == ModuleKind::Package {
            packages.insert(key(place(&module.name)));
        }
        let mut parent = &module.name[..];
        while let Some(dot) = parent.iter().rposition(|b| *b == b'.') {
            parent = &parent[..dot];
            // Further ones up are known already.
            if directories.insert(key(place(parent)), (parent.to_vec(), header)).is_some() {
                break;
            }
        }
    }
    for (key, (dotted, header)) in directories {
        if packages.contains(&key) {
            continue;
        }
        report.namespaces += 1;
        let (path, _, optimization) = key;
        let header = Header { magic: header.version.magic_bytes(), flags: 0, word: [0; 8], ..header };
        modules.push(Module {
            name: dotted,
            path,
            kind: ModuleKind::Namespace,
            optimization,
            header: Some(header),
            // No file stands behind it.
            ..append(&mut Split::default(), &mut Vec::new(), 0)
        });
    }
    modules.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
}

/// Reports modules that share a key: all are in the package, one is found by name.
fn find_duplicates(modules: &[Module], report: &mut Report) {
    let found = |m: &Module| is_indexed(&m.name, m.kind, m.optimization);
    for group in modules.chunk_by(|a, b| a.key() == b.key()).filter(|g| g.len() > 1 && found(&g[0])) {
        // Several portions of one namespace package are no clash.
        let real: Vec<&Module> = group.iter().filter(|m| m.kind != ModuleKind::Namespace).collect();
        let Some(winner) = real.iter().min_by_key(|m| preference(m.kind, &m.path)) else { continue };
        for other in real.iter().filter(|m| m.path != winner.path) {
            report.duplicates.push(Duplicate {
                name: String::from_utf8_lossy(&winner.name).into_owned(),
                kept: String::from_utf8_lossy(&winner.path).into_owned(),
                other: String::from_utf8_lossy(&other.path).into_owned(),
                reason: "same dotted name, version and level: in the package, but not found by name",
            });
        }
    }
}
