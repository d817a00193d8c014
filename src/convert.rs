//! One `.pyc` → one `.pye`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fsys::{self, Stamp};
use crate::limits::MAX_PYE_BYTES;
use crate::link::resolve;
use crate::map::Map;
use crate::marshal::pyc::Header;
use crate::marshal::version::Version;
use crate::merge;
use crate::pye::read::Pye;
use crate::pye::write::{Input, Module, plan};
use crate::pye::{MAJOR, MINOR, ModuleKind};
use crate::split::{Split, Splitter, Thresholds};
use crate::tree::PYE;

/// How files are split.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Shortest payload that is cut out, in bytes.
    pub min_blob: u32,
    /// Shortest byte string that is cut out, in bytes, where that is more than `min_blob`. No object can have its bytes in a file, so
    /// cutting them saves file size only, where several modules have the same, and costs whoever loads them.
    pub min_bytes: u32,
    /// Takes every file for one of this version, whatever its magic number.
    pub python_version: Option<&'static Version>,
}

impl Options {
    /// What [`Splitter`] is told.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { text: self.min_blob, bytes: self.min_blob.max(self.min_bytes) }
    }
}

/// What became of a file.
#[derive(Debug)]
pub enum Outcome {
    /// Written; bytes of the `.pyc` and of the `.pye`.
    Converted(u64, u64),
    /// The `.pye` there is was made from this very file; bytes of the `.pyc`.
    UpToDate(u64),
    /// Written, but not split: the structure is not that of a `.pyc` of a known version.
    KeptRaw(u64, u64, Error),
}

/// Converts files one after the other, keeping its buffers.
#[derive(Default)]
pub struct Converter {
    splitter: Splitter,
    pyc: Vec<u8>,
    split: Split,
    data: Vec<u8>,
    out: Vec<u8>,
}

/// Where the `.pye` of a `.pyc` goes: the same name with the suffix changed; `.pyo` becomes `.pyo.pye`, since a `.pyc` may stand
/// beside it.
pub fn target(pyc: &Path) -> PathBuf {
    if pyc.extension().is_some_and(|e| e == "pyc") {
        return pyc.with_extension(PYE);
    }
    let mut name = pyc.as_os_str().to_os_string();
    name.push(".");
    name.push(PYE);
    name.into()
}

impl Converter {
    /// Converts the `.pyc` at `source` to a `.pye` at `target`, whose directory exists, unless that is up to date (or `force`).
    ///
    /// # Errors
    /// The source cannot be read, or the target not be written; the target is then as it was.
    pub fn convert(&mut self, source: &Path, target: &Path, options: Options, force: bool) -> Result<Outcome> {
        if !force && let Some(size) = up_to_date(source, target, options) {
            return Ok(Outcome::UpToDate(size));
        }
        let stamp = fsys::read(source, &mut self.pyc)?;
        let name = source.file_name().unwrap_or(source.as_os_str());
        let raw = self.build(fsys::path_bytes(Path::new(name)), options)?;
        let write = |mut file: &File| file.write_all(&self.out).map_err(|e| Error::io("cannot write", e));
        fsys::write_atomic(target, Some(stamp.modified()), write)?;
        let (from, to) = (stamp.size, self.out.len() as u64);
        Ok(match raw {
            None => Outcome::Converted(from, to),
            Some(error) => Outcome::KeptRaw(from, to, error.in_file(source)),
        })
    }

    /// The `.pye` of a `.pyc` in memory, and why it was kept raw if it was.
    ///
    /// # Errors
    /// The format cannot hold it.
    pub fn convert_bytes(&mut self, pyc: &[u8], file_name: &[u8], options: Options) -> Result<(&[u8], Option<Error>)> {
        self.pyc.clear();
        self.pyc.extend_from_slice(pyc);
        let raw = self.build(file_name, options)?;
        Ok((&self.out, raw))
    }

    /// Makes the `.pye` of the `.pyc` in the buffer.
    fn build(&mut self, file_name: &[u8], options: Options) -> Result<Option<Error>> {
        // The name of one module alone: its last part. The suffix and tags are those of `__pycache__` or none.
        let resolved = resolve::name(&[b"__pycache__/", file_name].concat());
        let split = self.splitter.split(&self.pyc, options.python_version, options.thresholds(), &mut self.split);
        let (header, raw) = match split {
            Ok(header) => (Some(header), None),
            Err(error) => (None, Some(error)),
        };
        let is_init = resolved.dotted == b"__init__";
        self.data.clear();
        let base = append(&mut self.split, &mut self.data, 0);
        let module = Module {
            name: resolved.dotted,
            path: file_name.to_vec(),
            kind: kind(&header, if is_init { ModuleKind::Package } else { resolved.kind }),
            optimization: resolved.optimization,
            header,
            pyc_len: self.pyc.len() as u32,
            pyc_crc: crc32fast::hash(&self.pyc),
            ..base
        };
        let input = Input {
            package: false,
            min_blob: options.min_blob,
            modules: &[module],
            directories: &[],
            blobs: &self.split.blobs,
            data: &self.data,
        };
        let plan = plan(input)?;
        if plan.check_expansion().is_err() && options.min_blob != u32::MAX {
            // Made of one string, over and over: kept uncut.
            return self.build(file_name, Options { min_blob: u32::MAX, ..options });
        }
        plan.to_vec(&mut self.out);
        Ok(raw)
    }
}

/// Appends the parts of `split` to `data`, which stands at `base` of what modules point into, and returns a module that knows
/// where they are and nothing else. The blobs then point there too and have their hashes.
pub(crate) fn append(split: &mut Split, data: &mut Vec<u8>, base: u64) -> Module {
    merge::hash(&mut split.blobs, &split.data);
    let mut put = |part: &[u8]| {
        let at = base + data.len() as u64;
        data.extend_from_slice(part);
        at
    };
    let (control, table, blobs) = (put(&split.control), put(&split.table), put(&split.data));
    split.blobs.iter_mut().for_each(|b| b.data += blobs);
    Module {
        name: Vec::new(),
        path: Vec::new(),
        kind: ModuleKind::Raw,
        optimization: 0,
        header: None,
        pyc_len: 0,
        pyc_crc: 0,
        control,
        control_len: split.control.len() as u32,
        table,
        table_len: split.table.len() as u32,
        holes: split.holes,
        blobs: 0..split.blobs.len() as u32,
    }
}

/// A file that could not be parsed is raw, whatever its name says.
pub(crate) fn kind(header: &Option<Header>, named: ModuleKind) -> ModuleKind {
    if header.is_some() { named } else { ModuleKind::Raw }
}

/// The size of `source` if `target` was made from it with the same options: same mtime (the `.pye` bears that of its `.pyc`), same
/// length and header, same threshold, same format version.
fn up_to_date(source: &Path, target: &Path, options: Options) -> Option<u64> {
    let there: Stamp = fsys::stamp(target)?;
    let wanted = fsys::stamp(source)?;
    if there.mtime != wanted.mtime {
        return None;
    }
    let map = Map::open(target, MAX_PYE_BYTES).ok()?;
    let pye = Pye::open(&map).ok()?;
    let header = pye.header();
    let module = pye.module(0).ok()?;
    let record = &module.record;
    let forced = options.python_version.map(|v| (v.major, v.minor));
    // The header is never cut out, so the control stream starts with it.
    let mut start = [0; 16];
    let read = std::os::unix::fs::FileExt::read_at(&File::open(source).ok()?, &mut start, 0).ok()?;
    let same = header.version == (MAJOR, MINOR)
        && header.min_blob == options.min_blob
        && !header.is_package()
        && u64::from(record.pyc_len) == wanted.size
        && module.control.starts_with(&start[..read.min(module.control.len())])
        && record.kind != ModuleKind::Raw
        && forced.is_none_or(|v| v == record.python);
    same.then_some(wanted.size)
}
