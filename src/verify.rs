//! Everything that can be checked of a `.pye` or `.pyc`: structure, CRCs, what CPython would refuse, and that it is what it came from.

use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use siphasher::sip::{SipHasher13, SipHasher24};

use crate::cache::read::{Cache, is_cache};
use crate::error::{Error, Result};
use crate::fsys;
use crate::link::distributions::source_of;
use crate::marshal::check::check;
use crate::marshal::pyc::{Header, Validation};
use crate::marshal::version::Version;
use crate::pye::ModuleKind;
use crate::pye::read::{Module, Pye};
use crate::tree::Found;
use crate::unpack::{Source, place};

/// What was found good, in modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Modules (and `.pyc` files) checked.
    pub modules: u64,
    /// Of these, equal to the `.pyc` they came from.
    pub same_as_pyc: u64,
    /// Of these, made from the source as it is now (where the `.pyc` is gone).
    pub source_unchanged: u64,
    /// Of these, compared with nothing: neither is there.
    pub nothing_to_compare: u64,
    /// Of these, kept raw: their structure is unknown.
    pub raw: u64,
    /// Objects of caches checked.
    pub objects: u64,
}

impl Verified {
    /// Adds `other`'s counts.
    pub fn add(&mut self, other: Verified) {
        self.modules += other.modules;
        self.same_as_pyc += other.same_as_pyc;
        self.source_unchanged += other.source_unchanged;
        self.nothing_to_compare += other.nothing_to_compare;
        self.raw += other.raw;
        self.objects += other.objects;
    }
}

/// Checks a `.pyc`.
///
/// # Errors
/// The first thing CPython would refuse.
pub fn verify_pyc(path: &Path, forced: Option<&'static Version>) -> Result<Verified> {
    let mut bytes = Vec::new();
    fsys::read(path, &mut bytes)?;
    let header = Header::parse(&bytes, forced).map_err(|e| e.in_file(path))?;
    check(&bytes, header.version.header_len, header.version).map_err(|e| e.in_file(path))?;
    Ok(Verified { modules: 1, nothing_to_compare: 1, ..Verified::default() })
}

/// Checks a cache, or a `.pye`, and each of its modules against the `.pyc` at its place below the first directory of `against` that has it or its
/// source; when none is given and the file holds one module, against the `.pyc` beside it.
///
/// # Errors
/// The file itself is broken. What is wrong with single modules is in the list.
pub fn verify_pye(found: &Found, against: &[PathBuf]) -> Result<(Verified, Vec<Error>)> {
    let source = Source::open(found)?;
    if is_cache(source.bytes()) {
        let cache = Cache::open(source.bytes()).and_then(|cache| cache.verify().map(|()| cache));
        let objects = cache.map_err(|e| e.in_file(&found.path))?.head.objects;
        return Ok((Verified { objects, ..Verified::default() }, Vec::new()));
    }
    let pye = source.view()?;
    pye.verify().map_err(|e| e.in_file(&found.path))?;
    let mut verified = Verified::default();
    let mut errors = Vec::new();
    for module in pye.modules() {
        let module = module.map_err(|e| e.in_file(&found.path))?;
        if module.record.kind == ModuleKind::Namespace {
            continue;
        }
        let relative = place(found, &pye, &module);
        let there = |p: &PathBuf| p.is_file() || source_of(p).is_some_and(|s| s.is_file());
        let original = match against {
            [] if pye.header().is_package() => None,
            [] => Some(found.path.with_file_name(fsys::path_from(module.path))),
            roots => roots.iter().map(|root| root.join(&relative)).find(there),
        };
        match verify_module(&pye, &module, original) {
            Ok(one) => verified.add(one),
            Err(error) => errors.push(error.in_file(&found.path)),
        }
    }
    Ok((verified, errors))
}

fn verify_module(pye: &Pye<'_>, module: &Module<'_>, original: Option<PathBuf>) -> Result<Verified> {
    let mut verified = Verified { modules: 1, ..Verified::default() };
    let record = &module.record;
    let version = Version::by_number(record.python.0, record.python.1);
    // `Pye::verify` has seen to it that it does not take too much memory.
    let mut pyc = Vec::new();
    pye.join_into(module, &mut pyc)?;
    match version {
        None => verified.raw = 1,
        Some(version) => {
            check(&pyc, version.header_len, version).map_err(|e| e.within("the joined .pyc").in_module(module.path))?;
        }
    }
    let source = original.as_deref().and_then(source_of).filter(|s| s.is_file());
    match (original.filter(|o| o.is_file()), source, version) {
        (Some(original), _, _) => {
            compare(&pyc, module, &original)?;
            verified.same_as_pyc = 1;
        }
        (None, Some(source), Some(version)) => {
            let header = Header { version, magic: record.magic, flags: record.flags, word: record.word };
            source_unchanged(&header, &source).map_err(|e| e.in_module(module.path))?;
            verified.source_unchanged = 1;
        }
        _ => verified.nothing_to_compare = 1,
    }
    Ok(verified)
}

/// That `pyc`, which `module` was joined to, is the file at `path`, byte for byte.
fn compare(pyc: &[u8], module: &Module<'_>, path: &Path) -> Result<()> {
    let mut file = Vec::new();
    fsys::read(path, &mut file)?;
    if pyc == file {
        return Ok(());
    }
    let same = pyc.iter().zip(&file).take_while(|(a, b)| a == b).count();
    let got = if same < file.len() { "another byte" } else { "the end of the file" };
    let expected = format!("the .pyc that module {} was made from", String::from_utf8_lossy(module.path));
    Err(Error::malformed(expected, got).at(same).in_file(path))
}

/// That the source at `path` is the one a `.pyc` with this header was compiled from, as `importlib` decides it (PEP 552).
///
/// # Errors
/// It is not, or cannot be read.
pub fn source_unchanged(header: &Header, path: &Path) -> Result<()> {
    let stale = |expected: String, got: String| Err(Error::malformed(expected, got).in_file(path));
    match header.validation() {
        Validation::Timestamp { mtime, size } => {
            let stamp = fsys::stamp(path)
                .ok_or_else(|| Error::io("cannot stat", io::ErrorKind::NotFound.into()).in_file(path))?;
            let there = (stamp.mtime.0 as u32, stamp.size as u32);
            if there.0 != mtime || size.is_some_and(|s| s != there.1) {
                let size = size.map_or(String::new(), |s| format!(", {s} bytes"));
                return stale(
                    format!("the source of mtime {mtime}{size}"),
                    format!("mtime {}, {} bytes", there.0, there.1),
                );
            }
        }
        Validation::Hash { hash, .. } => {
            let mut source = Vec::new();
            fsys::read(path, &mut source)?;
            let there = source_hash(header, &source);
            if there != hash {
                return stale(format!("the source of hash {hash:02x?}"), format!("{there:02x?}"));
            }
        }
    }
    Ok(())
}

/// `_imp.source_hash`: SipHash keyed with the magic number, SipHash-1-3 from CPython 3.11 on and SipHash-2-4 before
/// (`_Py_KeyedHash` in `Python/pyhash.c`).
fn source_hash(header: &Header, source: &[u8]) -> [u8; 8] {
    let key = u64::from(u32::from_le_bytes(header.magic));
    let hash = if header.version.at_least(3, 11) {
        let mut hasher = SipHasher13::new_with_keys(key, 0);
        hasher.write(source);
        hasher.finish()
    } else {
        let mut hasher = SipHasher24::new_with_keys(key, 0);
        hasher.write(source);
        hasher.finish()
    };
    hash.to_le_bytes()
}
