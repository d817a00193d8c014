//! Any bytes as a `.pye`: an error with a place, or modules that can be read in every way. Nothing that a file claims may make it take more
//! memory than the limits allow.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pye::elf::read::sections;
use pye::image::read::Image;
use pye::image::{Area, BITS, BITS_ROW, HEAD_LEN, PAGE, places};
use pye::marshal::version::Version;
use pye::pye::directories::importable;
use pye::pye::read::Pye;
use pye::pye::{Header, MINOR, MINOR_IMAGE, ModuleKind, NAMES, PARTS, Part, ROWS, ROWS_PORTABLE};
use pye::{dump, split};
use std::ops::Range;

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
    let header = ranges[0].clone()?;
    let known =
        [ROWS_PORTABLE, ROWS].into_iter().find(|rows| header.len() == Header::ROWS_AT + Header::ROW_LEN * rows + 8)?;
    let minor = if known == ROWS { MINOR_IMAGE } else { MINOR };
    out[header.start + 10..header.start + 12].copy_from_slice(&minor.to_le_bytes());
    let rows = header.start + 32;
    out[rows..rows + 4].copy_from_slice(&(known as u32).to_le_bytes());
    out[rows + 4..rows + 8].fill(0);
    mend_image(&ranges, &mut out);
    for (i, range) in ranges[1..=known].iter().enumerate() {
        let contents = &out[range.clone().unwrap_or_default()];
        let (len, sum) = (contents.len() as u64, crc32fast::hash(contents));
        let at = header.start + Header::ROWS_AT + Header::ROW_LEN * i;
        out[at..at + 8].copy_from_slice(&len.to_le_bytes());
        out[at + 8..at + 12].copy_from_slice(&sum.to_le_bytes());
        out[at + 12..at + 16].fill(0);
    }
    let end = header.end - 8;
    let crc = crc32fast::hash(&out[header.start..end]);
    out[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    out[end + 4..end + 8].fill(0);
    Some(out)
}

/// The same for the image: that sections stand where they are, CRC32 of runs, relocations and pages.
fn mend_image(ranges: &[Option<Range<usize>>; PARTS], out: &mut [u8]) -> Option<()> {
    let range = |part: usize| ranges[part].clone().unwrap_or_default();
    let head = range(Part::Image as usize);
    if head.len() < HEAD_LEN {
        return None;
    }
    let mut set = |at: usize, value: u32| Some(out.get_mut(at..at + 4)?.copy_from_slice(&value.to_le_bytes()));
    set(head.start + 152, places(|part| (range(part).start as u64, range(part).len() as u64)))?;
    let word = |out: &[u8], at: usize| Some(u32::from_le_bytes(out.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = |out: &[u8], i: usize| word(out, head.start + 128 + 4 * i);
    let modules = count(out, 0)?.min(head.len() / 32);
    let runs = range(Part::ImagePages as usize);
    for row in (0..modules).map(|i| head.start + HEAD_LEN + 32 * i) {
        let (first, number) = (word(out, row + 16)?, word(out, row + 20)?);
        let crc = crc32fast::hash(out[runs.clone()].get(first * 8..(first + number) * 8).unwrap_or_default());
        out.get_mut(row + 4..row + 8)?.copy_from_slice(&crc.to_le_bytes());
    }
    let bits = range(Part::ImageRelocations as usize);
    for row in out[bits].chunks_exact_mut(BITS_ROW) {
        let crc = crc32fast::hash(&row[..BITS]);
        row[BITS..].copy_from_slice(&crc.to_le_bytes());
    }
    let mut at = head.start + HEAD_LEN + 32 * count(out, 0)? + 16 * count(out, 1)? + 8 * count(out, 2)?;
    for area in Area::ALL {
        for page in range(area.part()).step_by(PAGE) {
            let crc = crc32fast::hash(out.get(page..page + PAGE)?);
            out.get_mut(at..at + 4).filter(|_| at + 4 <= head.end)?.copy_from_slice(&crc.to_le_bytes());
            at += 4;
        }
    }
    Some(())
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
    image(&pye, verified);
}

/// What an image says of its modules: once opened, all of it lies in the file; once verified, each module has pages.
fn image(pye: &Pye<'_>, verified: bool) {
    let Ok(Some(image)) = Image::open(pye) else {
        let none = pye.part(Part::Image as usize).is_empty();
        assert!(!verified || none, "verified, but its image cannot be opened");
        return;
    };
    for number in 0..image.len() as u32 {
        let entry = image.entry(number);
        assert_eq!(image.find(entry.record), Some(number));
        match image.runs(&entry) {
            Ok(runs) => assert!(runs.count() > 0 || !verified),
            Err(_) => assert!(!verified, "verified, but a module's pages cannot be read"),
        }
        for row in entry.patches.0..entry.patches.0 + entry.patches.1 {
            let (_, made) = image.patch(row);
            image.made(made).expect("opening has seen to that");
        }
    }
    for page in 0..image.pages() {
        let _ = image.crc(page);
        assert!(image.bits(page).is_ok() || !verified);
    }
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
