//! Pages of objects in use: mapped at the address they were laid out for, held against their CRC32, relocated. What images and caches have in common.

#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::snapshot::Objects;
use crate::bytes::hex;
use crate::error::{Error, Result};
use crate::image::{Build, PAGE};
use crate::map::Placed;

/// What must be added to addresses of the interpreter's in objects that were laid out for `build`: 0 where its file is loaded at the same place.
///
/// # Errors
/// They are for another build of the interpreter, in words.
pub(super) fn delta(build: &Build, objects: &Objects, hexversion: u32) -> Result<u64, String> {
    let here = &objects.interpreter;
    if build.build_id != here.build_id || build.hexversion != hexversion {
        return Err(format!(
            "made for another build of CPython: {:x}, build-id {}; this is {:x}, {}",
            build.hexversion,
            hex(&build.build_id),
            hexversion,
            hex(&here.build_id)
        ));
    }
    Ok(here.base.wrapping_sub(build.interpreter))
}

/// Bits of a row of `/proc/PID/pagemap`: the page is in memory, or swapped out; it is a file's, not a copy (`Documentation/admin-guide/mm/pagemap.rst`).
const PRESENT: u64 = 1 << 63;
/// See [`PRESENT`].
const SWAPPED: u64 = 1 << 62;
/// See [`PRESENT`].
const OF_FILE: u64 = 1 << 61;

/// A row of a page that must stay.
const WRITTEN: u64 = PRESENT;

/// The longest runs of numbers in `range` that `chosen` accepts.
pub(super) fn runs(range: Range<u32>, chosen: impl Fn(u32) -> bool) -> impl Iterator<Item = Range<u32>> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        let start = (next..range.end).find(|n| chosen(*n))?;
        next = (start..range.end).find(|n| !chosen(*n)).unwrap_or(range.end);
        Some(start..next)
    })
}

/// Gives some pages of `ranges` back, which then read as in the file again: those that are `clean`, never written, and those that are only `read` if this process has not written to them. Of those
/// that cannot be told, none.
///
/// One look at the table of pages saves a call for each run of pages that are not there; what is given back is so in one call, if the kernel can.
pub(super) fn give_back(
    placed: &Placed,
    ranges: impl IntoIterator<Item = Range<u32>>,
    clean: impl Fn(u32) -> bool,
    read: impl Fn(u32) -> bool,
) {
    // The table counts the kernel's pages, which may be others.
    let ours = rustix::param::page_size() == PAGE;
    let table = ours.then(|| File::open("/proc/self/pagemap").ok()).flatten();
    let mut dropped = Vec::new();
    for pages in ranges.into_iter().filter(|pages| !pages.is_empty()) {
        let bytes = |run: Range<u32>| run.start as usize * PAGE..run.end as usize * PAGE;
        let Some(rows) = table.as_ref().and_then(|table| rows(placed, table, &pages)) else {
            dropped.extend(runs(pages, &clean).map(bytes));
            continue;
        };
        let row = |page: u32| crate::bytes::u64_at(&rows, (page - pages.start) as usize * 8).unwrap_or(WRITTEN);
        let unwritten = |row: u64| row & (PRESENT | SWAPPED) == 0 || row & PRESENT != 0 && row & OF_FILE != 0;
        let goes = |page: u32| unwritten(row(page)) && (clean(page) || read(page));
        let there = |run: &Range<u32>| run.clone().any(|page| row(page) & PRESENT != 0);
        dropped.extend(runs(pages.clone(), goes).filter(there).map(bytes));
    }
    placed.drop_pages(&dropped);
}

/// The kernel's rows of these pages in its table: eight bytes each. None where it cannot be read.
fn rows(placed: &Placed, table: &File, pages: &Range<u32>) -> Option<Vec<u8>> {
    let mut rows = vec![0; pages.len() * 8];
    let first = placed.start() / PAGE + pages.start as usize;
    table.read_exact_at(&mut rows, first as u64 * 8).ok()?;
    Some(rows)
}

/// Pages of objects, mapped privately.
#[derive(Debug)]
pub(super) struct Pages {
    placed: Placed,
    /// How many there are.
    count: u32,
    /// See [`delta`].
    delta: u64,
}

impl Pages {
    /// Maps the bytes `extent` of `file` at `base` plus their offset. All are multiples of [`PAGE`].
    ///
    /// # Errors
    /// The addresses are taken, the kernel refuses, or its pages have another size: to give one of ours back would give back its neighbours.
    pub(super) fn map(file: &File, base: u64, extent: Range<u64>, delta: u64) -> Result<Pages> {
        let system = rustix::param::page_size();
        if system != PAGE {
            let help = "the portable form of packages works on such a system";
            return Err(Error::unsupported(format!("a system with pages of {PAGE} bytes"), system.to_string(), help));
        }
        let len = (extent.end - extent.start) as usize;
        let placed = Placed::map(file, extent.start, len, (base + extent.start) as usize, true)?;
        let count = (len / PAGE) as u32;
        Ok(Pages { placed, count, delta })
    }

    /// What is added to addresses of the interpreter's.
    pub(super) fn delta(&self) -> u64 {
        self.delta
    }

    fn at(&self, page: u32) -> *mut u64 {
        assert!(page < self.count, "page {page} of {}", self.count);
        (self.placed.start() + page as usize * PAGE) as *mut u64
    }

    /// As [`give_back`].
    pub(super) fn give_back(
        &self,
        ranges: impl IntoIterator<Item = Range<u32>>,
        clean: impl Fn(u32) -> bool,
        read: impl Fn(u32) -> bool,
    ) {
        give_back(&self.placed, ranges, clean, read);
    }

    /// Copies pages for this process at once, which are about to be written.
    pub(super) fn populate(&self, pages: Range<u32>) {
        self.placed.populate(pages.start as usize * PAGE, pages.len() * PAGE);
    }

    /// Whether a page, which must not be in use yet, has this CRC32.
    pub(super) fn matches(&self, page: u32, crc: u32) -> bool {
        // SAFETY: a whole page of what `map` has mapped (`at` counts them), and nobody has a pointer into it before it is ready.
        let bytes = unsafe { std::slice::from_raw_parts(self.at(page).cast::<u8>(), PAGE) };
        crc32fast::hash(bytes) == crc
    }

    /// Moves the addresses of the interpreter's in a page, which must not be in use yet: those words whose `bits` are set, the lowest of the first byte for the first.
    pub(super) fn relocate(&self, page: u32, bits: &[u8]) {
        let at = self.at(page);
        for (i, byte) in bits.iter().enumerate().take(crate::image::BITS) {
            let mut left = *byte;
            while left != 0 {
                let word = i * 8 + left.trailing_zeros() as usize;
                left &= left - 1;
                // SAFETY: one of the page's 512 words; see above.
                unsafe { *at.add(word) = (*at.add(word)).wrapping_add(self.delta) };
            }
        }
    }
}
