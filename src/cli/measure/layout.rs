//! Which mapping belongs to which class, and which sections a mapped .pye file has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::limits::MAX_PYE_BYTES;
use crate::map::Map;
use crate::measure::Unknown;
use crate::measure::live::{Class, Layout, Place, Process, Section, SectionedFile, Snapshot, executables};
use crate::measure::smaps::Mapping;
use crate::pye::read::Pye;
use crate::pye::{NAMES, Part};

/// The class with sections.
pub(super) const PYE: usize = 0;
const HEAP: usize = 1;
const PYTHON: usize = 2;
const FILES: usize = 3;
const STACK: usize = 4;
const OTHER: usize = 5;

const CLASSES: [Class; 6] = [
    Class { key: "pye", title: "pye sections", holds: "mapped .pye files, by section" },
    Class {
        key: "heap",
        title: "heap",
        holds: "[heap] and anonymous mappings: malloc's arenas, stacks of threads, zeroed data of libraries",
    },
    Class { key: "python", title: "libpython", holds: "libpython, and the executable if it is a python" },
    Class { key: "files", title: "other files", holds: "extension modules, libraries, data files, shared memory" },
    Class { key: "stack", title: "stack", holds: "the main thread's stack" },
    Class { key: "other", title: "kernel's", holds: "vdso and other mappings that the kernel makes" },
];

/// What the kernel appends to the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";

/// Looks at all mappings; also says which .pye files could not be looked into, and why.
pub(super) fn layout(snapshot: &Snapshot) -> (Layout, Vec<Unknown>) {
    let executables = executables(snapshot);
    let mut finder = Finder::default();
    let places = snapshot.processes.iter().map(|process| finder.places(process, &executables)).collect();
    (Layout { classes: CLASSES.to_vec(), files: finder.files, places }, finder.unknown)
}

/// What a mapped file is known by: name, device and inode.
type Key = (Vec<u8>, (u32, u32), u64);

#[derive(Default)]
struct Finder {
    files: Vec<SectionedFile>,
    unknown: Vec<Unknown>,
    /// Every file looked at: its number in `files`, or nothing for one that is no .pye file.
    known: HashMap<Key, Option<usize>>,
}

impl Finder {
    fn places(&mut self, process: &Process, executables: &BTreeMap<u32, PathBuf>) -> Vec<Place> {
        let pid = process.identity.id.pid;
        let executable = executables.get(&pid).map(|path| path.as_os_str().as_bytes());
        // Libraries and programs: not to be opened one by one.
        let code: HashSet<_> = process.mappings.iter().filter(|m| m.executable).map(|m| m.inode).collect();
        let place = |mapping: &Mapping| {
            if !mapping.is_file() {
                return Place::Class(match &mapping.name[..] {
                    b"" | b"[heap]" => HEAP,
                    name if name.starts_with(b"[anon") => HEAP,
                    name if name.starts_with(b"[stack") => STACK,
                    _ => OTHER,
                });
            }
            if is_python(&mapping.name, executable) {
                return Place::Class(PYTHON);
            }
            match code.contains(&mapping.inode) {
                true => Place::Class(FILES),
                false => self.file(pid, mapping).map_or(Place::Class(FILES), Place::File),
            }
        };
        process.mappings.iter().map(place).collect()
    }

    /// The number of the .pye file that is mapped here.
    fn file(&mut self, pid: u32, mapping: &Mapping) -> Option<usize> {
        let key = (mapping.name.clone(), mapping.inode.0, mapping.inode.1);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let number = match sections(pid, mapping) {
            Ok(Some(sections)) => {
                self.files.push(SectionedFile { path: path(&mapping.name), class: PYE, sections });
                Some(self.files.len() - 1)
            }
            Ok(None) => None,
            Err(why) => {
                // Of a file of another name it is not known that it should be one.
                if bare(&mapping.name).ends_with(b".pye") {
                    self.unknown.push(Unknown {
                        what: "pye_sections",
                        why: format!("{}: {why}", path(&mapping.name).display()),
                    });
                }
                None
            }
        };
        self.known.insert(key, number);
        number
    }
}

fn bare(name: &[u8]) -> &[u8] {
    name.strip_suffix(DELETED).unwrap_or(name)
}

fn path(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

fn is_python(name: &[u8], executable: Option<&[u8]>) -> bool {
    let base = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    base.starts_with(b"libpython") || (executable == Some(name) && base.starts_with(b"python"))
}

/// The sections of the mapped file; nothing when it is no .pye file; why it could not be told.
fn sections(pid: u32, mapping: &Mapping) -> Result<Option<Vec<Section>>, String> {
    let Some(map) = mapped_pye(pid, mapping)? else { return Ok(None) };
    let pye = Pye::open(&map).map_err(|e| e.to_string())?;
    let named = NAMES.iter().enumerate().map(|(part, name)| {
        let range = pye.range(part);
        Section {
            name: (*name).into(),
            range: range.start as u64..range.end as u64,
            payload: part >= Part::Str1 as usize,
        }
    });
    Ok(Some(named.filter(|section| !section.range.is_empty()).collect()))
}

/// The file that is mapped; nothing when it is no ELF file; why it could not be told.
pub(crate) fn mapped_pye(pid: u32, mapping: &Mapping) -> Result<Option<Map>, String> {
    // This link leads to the very file that is mapped, also when it has been replaced or lies in another root directory. Following
    // it needs CAP_CHECKPOINT_RESTORE.
    let link = PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end));
    let path = if fs::metadata(&link).is_ok() { link } else { by_name(pid, mapping)? };
    let meta = fs::metadata(&path).map_err(|e| e.to_string())?;
    let mut magic = [0; 4];
    // Not opened unless a plain file: of a device that alone could have effects.
    if !meta.is_file() || meta.len() < magic.len() as u64 {
        return Ok(None);
    }
    File::open(&path).and_then(|mut file| file.read_exact(&mut magic)).map_err(|e| e.to_string())?;
    if magic != *b"\x7fELF" {
        return Ok(None);
    }
    Map::open(&path, MAX_PYE_BYTES).map(Some).map_err(|e| e.to_string())
}

/// The file of the mapping's name, if it still is the same.
fn by_name(pid: u32, mapping: &Mapping) -> Result<PathBuf, String> {
    let name = OsStr::from_bytes(bare(&mapping.name));
    let relative = Path::new(name).strip_prefix("/").unwrap_or(Path::new(name));
    // In the process's own root directory, which is ours for most, and may be looked into only for one's own processes.
    let inside = Path::new("/proc").join(pid.to_string()).join("root").join(relative);
    for path in [inside, PathBuf::from(name)] {
        if let Ok(meta) = fs::metadata(&path)
            && meta.ino() == mapping.inode.1
        {
            return Ok(path);
        }
    }
    Err("the file that is mapped cannot be reached: it has been replaced or removed, or that is not permitted".into())
}
