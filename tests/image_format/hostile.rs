//! Images that lie: each field made to claim what is not so, all checksums put right afterwards. Nothing panics, and what can be told without an interpreter is an
//! error with its place.

use std::sync::OnceLock;

use pye::bytes::u64_at;
use pye::error::Error;
use pye::image::read::Image;
use pye::image::{Area, BITS_ROW, HEAD_LEN, PAGE, fields, shape};
use pye::pye::read::Pye;
use pye::pye::{NAMES, Part};
use rayon::prelude::*;

use crate::common::file::File;
use crate::common::image::small;
use crate::common::opened;
use crate::package;

fn start() -> File {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    File::of(FILE.get_or_init(|| small(&package(12), 12, false)).clone())
}

fn verify(file: &File) -> Result<(), Error> {
    opened::verify(&file.bytes)
}

/// That it is an error with its place.
fn refused(case: &str, says: &str, file: &File) {
    let error = verify(file).err().unwrap_or_else(|| panic!("{case}: accepted"));
    let text = error.to_string();
    let place = error.offset().is_some() || error.section().is_some();
    assert!(place && text.contains("expected ") && text.contains(says), "{case}: {text}");
}

/// The file with one lie, and all checksums right.
fn lie(change: impl FnOnce(&mut File)) -> File {
    let mut file = start();
    change(&mut file);
    file.mend_inner();
    file.mend();
    file
}

#[test]
fn the_image_the_tests_start_from_is_good_for_every_version() {
    for minor in [12, 13, 14, 15] {
        for debug in [false, true] {
            let file = small(&package(minor), minor, debug);
            Pye::open(&file).unwrap().verify().unwrap_or_else(|e| panic!("3.{minor}: {e}"));
        }
    }
    let file = start();
    for area in Area::ALL {
        assert!(!file.ranges[area.part()].is_empty(), "{area:?}");
    }
    verify(&lie(|_| {})).unwrap();
    let hot: Vec<u64> = (0..5).map(|i| file.u64(Part::Image, 72 + 8 * i)).collect();
    assert!(hot.iter().all(|hot| *hot > 0), "{hot:?}");
}

#[test]
fn every_bit_of_every_section_of_the_image_is_covered_by_a_checksum() {
    let file = start();
    let of_image = file.ranges.iter().zip(NAMES).skip(Part::Image as usize);
    for (range, name) in of_image.clone() {
        let step = if name == NAMES[Part::Image as usize] { 1 } else { 7 };
        range.clone().into_par_iter().step_by(step).for_each_init(
            || file.clone(),
            |copy, at| {
                copy.bytes[at] ^= 1 << (at % 8);
                let error = verify(copy).expect_err("a flipped bit is found");
                assert_eq!(error.section(), Some(name), "byte {at}: {error}");
                copy.bytes[at] ^= 1 << (at % 8);
            },
        );
    }
    // Without the CRC32 of whole sections: what a loader checks, which looks at none.
    for (range, _) in of_image.skip(1) {
        range.clone().into_par_iter().step_by(37).for_each_init(
            || file.clone(),
            |copy, at| {
                copy.bytes[at] ^= 1 << (at % 8);
                copy.mend();
                refused(&format!("byte {at}"), "CRC32", copy);
                copy.bytes[at] ^= 1 << (at % 8);
            },
        );
    }
}

#[test]
fn every_bit_of_head_and_tables_counts_or_is_what_only_an_interpreter_can_judge() {
    let good = start();
    let tables = good.tables;
    let len = good.range(Part::Image).len();
    // When to relocate, `sys.hexversion` below the minor version, build-id, sample; the interpreter's place, if no address is below it; how hot a section is and which names are interned, if
    // that is the end of a str; where the root ends and marshal data starts.
    let unknown = |at: usize| {
        matches!(at, 4 | 16..=23 | 24..=25 | 28..=63 | 72..=127 | 144..=147 | 160..=175)
            || at >= tables[4]
            || (tables[2]..tables[3]).contains(&at)
    };
    let wrong: Vec<String> = (0..len)
        .into_par_iter()
        .flat_map_iter(|at| (0..8).map(move |bit| (at, bit)))
        .filter_map(|(at, bit)| {
            // CRC32 of runs and pages are put right again.
            let mended = (tables[3]..tables[4]).contains(&at)
                || (HEAD_LEN..tables[1]).contains(&at) && (at - HEAD_LEN) % 32 / 4 == 1;
            let missed = format!("bit {bit} of byte {at} of {tables:?}");
            match verify(&lie(|f| f.part(Part::Image)[at] ^= 1 << bit)) {
                Ok(()) => (!mended && !unknown(at)).then_some(missed),
                Err(error) => (error.offset().is_none() && error.section().is_none()).then_some(missed),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "not missed: {wrong:?}");
}

#[test]
fn lies_of_the_head_and_the_tables_are_named() {
    let file = start();
    let (counts, tables) = (file.counts(), file.tables);
    let word = |at: usize, value: u32| lie(|f| f.set32(Part::Image, at, value));
    let long = |at: usize, value: u64| lie(|f| f.set64(Part::Image, at, value));
    refused("version 2", "version 1, got 2", &word(0, 2));
    refused("flags", "flags from 0 to 2", &word(4, 3));
    refused("reserved", "zeros", &word(156, 1));
    refused("an odd base", "a base at the start of a page", &long(8, (0x2345 << 32) + 8));
    refused("a base at the end", "a base at the start of a page", &long(8, u64::MAX - 4095));
    refused("another base", "a pointer into the image", &long(8, 0x2346 << 32));
    refused("an interpreter behind its addresses", "an address of the interpreter's", &long(16, u64::MAX));
    refused("3.11", "the record of a module of Python 3.11", &word(24, 0x030b_00f0));
    refused("another version than the records", "the record of a module of Python 3.13", &word(24, 0x030d_00f0));
    for len in [0, 33, u32::MAX] {
        refused("a build-id", "a build-id of 1 to 32 bytes", &word(28, len));
    }
    refused("no versions", "code versions", &word(64, 0));
    refused("versions that overflow", "code versions", &word(64, u32::MAX));
    refused("fewer versions", "a version from", &word(68, 3));
    refused("later versions", "a version from", &word(64, (1 << 31) + 1));
    for (i, area) in Area::ALL.into_iter().enumerate() {
        let size = file.ranges[area.part()].len() as u64;
        refused("too hot", "a hot part inside", &long(72 + 8 * i, size + 1));
        refused("too hot", "a hot part inside", &long(72 + 8 * i, u64::MAX));
    }
    for at in [112, 120] {
        refused("names", "names inside", &long(at, u64::MAX));
    }
    refused("names in the middle of one", "end where a str does", &long(112, 8));
    refused("hot names to the middle of one", "end where a str does", &long(80, file.u64(Part::Image, 80) + 8));
    refused("other places", "sections where they were written", &word(152, 0));
    for (i, count) in counts.iter().enumerate() {
        for value in [0, count - 1, count + 1, 1 << 20, 1 << 31, u32::MAX as usize] {
            // Without a module there is nothing to be wrong about, but what is left over.
            let wrong = lie(|f| f.set32(Part::Image, 128 + 4 * i, value as u32));
            if i == 4 && value < *count {
                // A shorter root, and more marshal data: both are whatever the writer says.
                verify(&wrong).unwrap();
            } else {
                refused(&format!("{value} of table {i}"), "", &wrong);
            }
        }
    }
    refused("a root that is no text", "a root in UTF-8", &lie(|f| f.part(Part::Image)[tables[4]] = 0xff));

    // Modules.
    let row = HEAD_LEN;
    refused("no such record", "a record below", &word(row + 32, 1000));
    refused("records out of order", "modules in order", &word(row, 1000));
    for root in [0, 8, u64::MAX, file.range(Part::ImageOnce).end as u64, file.range(Part::ImageOnce).start as u64 - 16]
    {
        refused("a root elsewhere", "modules in order", &long(row + 8, root));
    }
    refused("a root in the middle of code", "", &long(row + 8, file.u64(Part::Image, row + 8) + 16));
    refused("a root between objects", "", &long(row + 8, file.u64(Part::Image, row + 8) + 8));
    for (at, what) in [(16, "runs"), (24, "patches")] {
        for value in [1 << 20, u32::MAX] {
            refused(what, "modules in order", &word(row + at, value));
            refused(what, "modules in order", &word(row + at + 4, value));
        }
        refused(what, "", &word(row + at, file.u32(Part::Image, row + 32 + at)));
        refused(what, "", &word(row + at + 4, file.u32(Part::Image, row + at + 4) - 1));
    }
    // Patches.
    for slot in [0, u64::MAX, file.range(Part::ImageData).start as u64] {
        refused("a patch elsewhere", "patches in the image", &long(tables[1], slot));
    }
    refused(
        "a patch of a slot that has an object",
        "a patch of module",
        &long(tables[1], file.u64(Part::Image, tables[1]) + 8),
    );
    refused("a patch with an object that is not there", "patches in the image", &word(tables[1] + 8, 1000));
    refused("a patch with the sample", "patches in the image", &word(tables[1] + 8, 0));
    refused("reserved bytes of a patch", "patches in the image", &word(tables[1] + 12, 1));
    for at in [tables[2], tables[2] + 4] {
        refused("marshal data elsewhere", "marshal data in the image", &word(at, u32::MAX));
    }
    // Runs.
    let run = |at: usize, value: u32| lie(|f| f.set32(Part::ImagePages, at, value));
    for value in [1000, u32::MAX] {
        refused("a run elsewhere", "pages of the image", &run(0, value));
        refused("a longer run", "pages of the image", &run(4, value));
    }
    refused("an empty run", "", &run(4, 0));
    refused(
        "a page less",
        "with page",
        &lie(|f| {
            // Of the last run, which holds the module's code.
            let last = (f.u32(Part::Image, row + 16) + f.u32(Part::Image, row + 20) - 1) as usize * 8;
            let count = f.u32(Part::ImagePages, last + 4);
            assert!(count > 1);
            f.set32(Part::ImagePages, last + 4, count - 1);
        }),
    );
}

#[test]
fn sections_that_are_shorter_or_missing_are_named() {
    for part in [
        Part::Image,
        Part::ImageRelocations,
        Part::ImagePages,
        Part::ImageCode,
        Part::ImageNames,
        Part::ImageData,
        Part::ImagePatch,
        Part::ImageOnce,
    ] {
        let len = start().range(part).len();
        let page = len.saturating_sub(PAGE);
        for shorter in [0, 1, 8, page, len / 2, len - 8, len - 1] {
            let mut file = start();
            file.resize(part, shorter);
            refused(
                &format!("{} of {shorter} bytes, of which the header does not know", NAMES[part as usize]),
                "as the header states",
                &file,
            );
            file.mend();
            refused(&format!("{} of {shorter} bytes", NAMES[part as usize]), "", &file);
        }
    }
}

#[test]
fn a_file_cut_off_at_a_section_is_an_error() {
    let file = start();
    let bounds = file.ranges.iter().flat_map(|range| [range.start, range.end, range.end.saturating_sub(1)]);
    for bound in bounds {
        let error = Pye::open(&file.bytes[..bound]).map(drop).unwrap_err();
        assert!(error.offset().is_some() || error.section().is_some(), "{bound}: {error}");
    }
}

#[test]
fn an_image_that_was_moved_is_not_used() {
    // All sections after the text a page further on: contents and CRC32 as they were.
    let file = start();
    let mut moved = file.clone();
    let from = file.range(Part::Image).start;
    moved.bytes.splice(from..from, [0; PAGE]);
    let headers = u64_at(&file.bytes, 0x28).unwrap() + PAGE as u64;
    moved.bytes[0x28..0x30].copy_from_slice(&headers.to_le_bytes());
    for at in (headers as usize..moved.bytes.len()).step_by(64) {
        let start = u64_at(&moved.bytes, at + 0x18).unwrap();
        if start >= from as u64 {
            moved.bytes[at + 0x18..at + 0x20].copy_from_slice(&(start + PAGE as u64).to_le_bytes());
        }
    }
    let pye = Pye::open(&moved.bytes).unwrap();
    let error = Image::open(&pye).map(drop).unwrap_err();
    assert!(error.to_string().contains("sections where they were written"), "{error}");
    assert!(pye.verify().is_err());
}

#[test]
fn objects_that_lead_elsewhere_are_named() {
    let good = start();
    let entry = HEAD_LEN;
    let root = good.u64(Part::Image, entry + 8) as usize - good.range(Part::ImageOnce).start;
    let slot = |offset: usize, value: u64| lie(|f| f.set64(Part::ImageOnce, root + offset, value));
    let base = good.u64(Part::Image, 8);
    let at = |part: Part| base + good.range(part).start as u64;
    for value in [1, 8, base - 8, base, at(Part::Str1), at(Part::Image), u64::MAX, base + good.objects().end as u64] {
        refused(&format!("constants at {value:#x}"), "a pointer into the image", &slot(24, value));
    }
    refused("no names", "an object, got NULL", &slot(32, 0));
    refused("constants that are no tuple", "the type of tuple", &slot(24, good.u64(Part::ImageOnce, root + 112)));
    refused("a name that is no str", "the type of str", &slot(120, good.u64(Part::ImageOnce, root + 136)));
    refused("a tuple between objects", "", &slot(24, good.u64(Part::ImageOnce, root + 24) + 8));
    refused("a line table in the middle of another object", "", &slot(136, good.u64(Part::ImageOnce, root + 136) + 16));
    refused("code of 2^62 units", "an object of at most", &slot(16, 1 << 62));
    refused("code of 2^63 units", "an object of at most", &slot(16, 1 << 63));
    refused(
        "a function among the templates",
        "an object in the section for its type",
        &lie(|f| f.set32(Part::ImageOnce, root + shape::FLAGS, 1)),
    );
    refused("a count of references", "the reference count", &slot(0, 1));
    refused(
        "a version twice",
        "a version from",
        &lie(|f| {
            let other = f.u64(Part::Image, entry + 40) as usize - f.range(Part::ImageOnce).start;
            let version = f.u32(Part::ImageOnce, other + shape::VERSION);
            f.set32(Part::ImageOnce, root + shape::VERSION, version);
        }),
    );
    // What an interpreter would take for its own notes.
    for note in fields::notes(12) {
        refused(note.name, "code that nobody has used", &slot(note.at, base));
    }
    // Templates, which are copied by recursion.
    let constants = good.u64(Part::ImageOnce, root + 24) - at(Part::ImageOnce);
    let items = constants as usize + 24;
    let class = good.u64(Part::ImageOnce, items);
    refused(
        "a module among its own constants",
        "templates in one place each",
        &lie(|f| f.set64(Part::ImageOnce, items, base + f.u64(Part::Image, entry + 8))),
    );
    refused(
        "the constants of another template",
        "constants of one template",
        &lie(|f| {
            f.set64(Part::ImageOnce, (class - at(Part::ImageOnce)) as usize + 24, at(Part::ImageOnce) + constants)
        }),
    );
    refused(
        "a template among names",
        "a template among the constants",
        &lie(|f| {
            let names = f.u64(Part::ImageOnce, root + 24);
            f.set64(Part::ImageOnce, root + 32, names);
            f.set64(Part::ImageOnce, root + 24, good.u64(Part::ImageOnce, (class - at(Part::ImageOnce)) as usize + 24));
        }),
    );
    // What is marked to be relocated.
    let page = (good.range(Part::ImageOnce).start - good.range(Part::ImageCode).start + root) / PAGE;
    let mark = |offset: usize| {
        let word = (good.range(Part::ImageOnce).start + root + offset) % PAGE / 8;
        lie(|f| f.part(Part::ImageRelocations)[page * BITS_ROW + word / 8] ^= 1 << (word % 8))
    };
    refused("a pointer into the image that is marked", "", &mark(24));
    refused("a type that is not marked", "a type of the interpreter's", &mark(8));
    refused("a number that is marked", "an address of the interpreter's", &mark(16));
    refused("a number of code that is marked", "", &mark(64));

    // Text.
    let names = |offset: usize, value: u64| lie(|f| f.set64(Part::ImageNames, offset, value));
    refused("a hash", "no hash", &names(24, 5));
    refused("a length of 2^62", "an object of at most", &names(16, 1 << 62));
    refused("a str over the next", "", &names(16, good.u64(Part::ImageNames, 16) + 40));
    let state = good.u64(Part::ImageNames, 32);
    for other in [
        state | 1,
        state | 2,
        state ^ 0x80,
        state ^ 0x40,
        state ^ 0x20,
        state | 7 << 2,
        state | 1 << 40,
        state & !(7 << 2),
    ] {
        refused(&format!("state {other:#x}"), "", &names(32, other));
    }
    refused("ASCII that is none", "text and a NUL", &lie(|f| f.part(Part::ImageNames)[40] = 0x80));
    refused(
        "rubbish after the names",
        "zeros after the last",
        &lie(|f| *f.part(Part::ImageNames).last_mut().unwrap() = 1),
    );
}

#[test]
fn no_mended_damage_of_objects_panics() {
    let good = start();
    let objects = good.objects();
    objects.into_par_iter().step_by(3).for_each(|at| {
        for change in [|b: u8| b ^ 0x80, |b: u8| b ^ 1, |_| 0xff] {
            let file = lie(|f| f.bytes[at] = change(f.bytes[at]));
            let _ = verify(&file);
        }
    });
}
