//! Any bytes as a `.pye`: an error with a place, or modules that can be read in every way. Nothing that a file claims may make it take more
//! memory than the limits allow.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pye::elf::read::sections;
use pye::marshal::version::Version;
use pye::pye::directories::importable;
use pye::pye::read::Pye;
use pye::image::read::Image;
use pye::pye::{Header, ModuleKind, NAMES, Part, ROWS, ROWS_PORTABLE};
use pye::{dump, split};

thread_local! {
    /// Kept from input to input, as the linker keeps it from module to module.
    static JOINED: RefCell<Vec<u8>> = RefCell::default();
}

/// Longest module that is joined and dumped: larger ones only take time.
const LONGEST: u32 = 1 << 22;

/// The data with the sizes and checksums its header should have, which a fuzzer does not find by itself.
fn mended(data: &[u8]) -> Option<Vec<u8>> {
    let ranges = sections(data, NAMES).ok()?;
    let mut out = data.to_vec();
    let header = ranges[0].clone().filter(|r| r.len() == Header::LEN)?;
    let rows = header.start + 32;
    out[rows..rows + 4].copy_from_slice(&(ROWS as u32).to_le_bytes());
    out[rows + 4..rows + 8].fill(0);
    for (i, range) in ranges[1..].iter().enumerate() {
        let contents = &data[range.clone().unwrap_or_default()];
        let at = header.start + Header::ROWS_AT + Header::ROW_LEN * i;
        out[at..at + 8].copy_from_slice(&(contents.len() as u64).to_le_bytes());
        out[at + 8..at + 12].copy_from_slice(&crc32fast::hash(contents).to_le_bytes());
        out[at + 12..at + 16].fill(0);
    }
    let end = header.end - 8;
    let crc = crc32fast::hash(&out[header.start..end]);
    out[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    out[end + 4..end + 8].fill(0);
    Some(out)
}

fuzz_target!(|data: &[u8]| {
    read(data);
    if let Some(mended) = mended(data) {
        read(&mended);
    }
});

fn read(data: &[u8]) {
    let Ok(pye) = Pye::open(data) else { return };
    let verified = pye.modules().all(|m| m.is_ok_and(|m| m.record.pyc_len <= LONGEST)) && pye.verify().is_ok();
    // Each module takes time of its own: a few show what all would.
    for module in pye.modules().take(16) {
        let Ok(module) = module else { continue };
        if module.record.pyc_len > LONGEST {
            continue;
        }
        let (name, record) = (module.name, &module.record);
        let found = pye.lookup(name, record.python, record.optimization);
        let places = split::places(module.holes, &pye.stores());
        JOINED.with_borrow_mut(|joined| {
            let memory = pye.join_into(&module, joined);
            let mut streamed = Vec::new();
            let stream = pye.join(&module, &mut streamed);
            assert_eq!(memory.is_ok(), stream.is_ok());
            if memory.is_err() {
                assert!(!verified, "verified, but not joined");
                return;
            }
            assert!(*joined == streamed);
            assert_eq!(joined.len(), record.pyc_len as usize);
            if let (Some(version), Ok(places)) = (Version::by_number(record.python.0, record.python.1), places)
                && record.kind != ModuleKind::Namespace
            {
                let _ = dump::dump(joined, version.header_len, version, &places, &mut String::new());
            }
        });
        if verified && pye.header().is_package() {
            let found = found.expect("verified, but not looked up");
            let indexed = pye::pye::is_indexed(name, record.kind, record.optimization);
            assert_eq!(found.is_some(), indexed, "a module that is indexed is found");
        }
    }
    let _ = pye.lookup(data, (3, 12), 0);
    directories(&pye, verified);
}

/// What a package says of its directories: once verified, each is found by its path, and each name among those of its module.
fn directories(pye: &Pye<'_>, verified: bool) {
    let _ = pye.directory(b"pkg");
    let Ok(all) = pye.directories() else {
        assert!(!verified, "verified, but its directories cannot be read");
        return;
    };
    for directory in all.iter().take(16) {
        let Ok(directory) = directory else {
            assert!(!verified, "verified, but a directory cannot be read");
            continue;
        };
        let _ = directory.named(b"mod").count();
        let found = pye.directory(directory.path);
        for name in directory.names().take(16) {
            let Ok(name) = name else {
                assert!(!verified, "verified, but a name cannot be read");
                continue;
            };
            let module = importable(name).expect("only such names are read");
            let found = directory.named(module).any(|found| found.is_ok_and(|found| found == name));
            assert!(found || !verified, "verified, but not found by its module's name");
        }
        if verified {
            let found = found.expect("verified, but not looked up").expect("verified, but not found");
            assert_eq!((found.path, found.mtime_ns), (directory.path, directory.mtime_ns));
        }
    }
}
