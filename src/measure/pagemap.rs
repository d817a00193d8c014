//! `/proc/PID/pagemap`: one entry of 64 bits for each page of the address space, and what N such walks add up to.
//!
//! | bit | meaning |
//! | --- | --- |
//! | 0–54 | page frame number; 0 when the reader lacks CAP_SYS_ADMIN (since Linux 4.2) |
//! | 56 | mapped by nobody else (since 4.2) |
//! | 61 | a page of a file, or shared anonymous memory (since 3.5) |
//! | 62 | swapped out |
//! | 63 | present |
//!
//! Source: `Documentation/admin-guide/mm/pagemap.rst`. Bits 56 and 61 need no privilege for one's own processes.

use std::io::Read;
use std::num::NonZeroU64;

use procfs::process::{MemoryPageFlags, PageInfo};

use crate::error::{Error, Result};

/// Bytes of one entry.
pub const ENTRY_BYTES: u64 = 8;

/// One page of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Nothing there (for a file: not read yet, or taken back by the kernel).
    Absent,
    /// Copied by a write, then swapped out.
    Swapped,
    /// In memory.
    Present {
        /// Its page frame number, when it may be known: 0 is never a process's page.
        frame: Option<NonZeroU64>,
        /// The file's own page. Else a copy made by a write.
        file: bool,
        /// The kernel counts no other mapping of it (for a large folio this may be an average).
        exclusive: bool,
    },
}

impl Page {
    /// Reads the bits of an entry.
    pub fn decode(entry: u64) -> Page {
        match PageInfo::parse_info(entry) {
            PageInfo::SwapPage(_) => Page::Swapped,
            PageInfo::MemoryPage(flags) if !flags.contains(MemoryPageFlags::PRESENT) => Page::Absent,
            PageInfo::MemoryPage(flags) => Page::Present {
                frame: NonZeroU64::new(flags.get_page_frame_number().0),
                file: flags.contains(MemoryPageFlags::FILE),
                exclusive: flags.contains(MemoryPageFlags::MMAP_EXCLUSIVE),
            },
        }
    }
}

/// Reads `count` entries.
///
/// # Errors
/// There are fewer, or reading fails.
pub fn read(mut source: impl Read, count: usize) -> Result<Vec<Page>> {
    let mut bytes = vec![0; count * ENTRY_BYTES as usize];
    source.read_exact(&mut bytes).map_err(|e| Error::io("cannot read page entries", e))?;
    Ok(entries(&bytes).collect())
}

/// The pages that `bytes` tell of, which are whole entries.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = Page> {
    let (entries, _) = bytes.as_chunks::<{ ENTRY_BYTES as usize }>();
    // The kernel writes them in the machine's own byte order.
    entries.iter().map(|entry| Page::decode(u64::from_ne_bytes(*entry)))
}

/// How the pages of one region in one process divide, in pages. Absent ones are the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Of the file, and mapped by another process too.
    pub shared: u64,
    /// Of the file, and mapped only here.
    pub private: u64,
    /// Copied by a write, in memory.
    pub copied: u64,
    /// Copied by a write, swapped out.
    pub swapped: u64,
}

/// What the walk of one region in all processes adds up to. Both ways of telling shared pages are kept, for whether frames
/// may be known is certain only at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Pages walked in each process.
    pub pages: u64,
    /// For each process, by page frames: shared means that another of the processes has the same frame at the same place.
    pub by_frame: Vec<Pages>,
    /// For each process, by bit 56: shared means that anybody else maps the page.
    pub by_bit: Vec<Pages>,
    /// Page frames in use, each counted once for each page of the file.
    pub frames: u64,
    /// The same without frame numbers: the page cache holds one page for one place in one file, and each copy is its own.
    pub frames_inferred: u64,
    /// Pages of the file that have the same frame in every process.
    pub same_frame: u64,
    /// Whether a present page came without its frame number: then every figure by frames is void.
    pub hidden: bool,
}

impl Tally {
    /// An empty tally of so many processes.
    pub fn new(processes: usize) -> Tally {
        Tally {
            pages: 0,
            by_frame: vec![Pages::default(); processes],
            by_bit: vec![Pages::default(); processes],
            frames: 0,
            frames_inferred: 0,
            same_frame: 0,
            hidden: false,
        }
    }

    /// Adds the next pages: `rows[process][page]`, one row a process, all of the same length.
    pub fn add(&mut self, rows: &[Vec<Page>]) {
        debug_assert_eq!(rows.len(), self.by_bit.len());
        let pages = rows.iter().map(Vec::len).min().unwrap_or(0);
        let (mut frames, mut file_frames) = (Vec::new(), Vec::new());
        for index in 0..pages {
            frames.clear();
            file_frames.clear();
            let (mut of_file, mut copies) = (false, 0);
            for (row, bits) in rows.iter().zip(&mut self.by_bit) {
                match row[index] {
                    Page::Absent => {}
                    Page::Swapped => bits.swapped += 1,
                    Page::Present { frame, file, exclusive } => {
                        self.hidden |= frame.is_none();
                        frames.extend(frame);
                        if file {
                            of_file = true;
                            file_frames.extend(frame);
                        } else {
                            copies += 1;
                        }
                        *match (file, exclusive) {
                            (true, false) => &mut bits.shared,
                            (true, true) => &mut bits.private,
                            (false, _) => &mut bits.copied,
                        } += 1;
                    }
                }
            }
            self.frames_inferred += copies + u64::from(of_file);
            frames.sort_unstable();
            frames.dedup();
            self.frames += frames.len() as u64;
            file_frames.sort_unstable();
            if frames.len() == 1 && file_frames.len() == rows.len() {
                self.same_frame += 1;
            }
            for (row, by_frame) in rows.iter().zip(&mut self.by_frame) {
                *match row[index] {
                    Page::Absent | Page::Present { frame: None, .. } => continue,
                    Page::Swapped => &mut by_frame.swapped,
                    Page::Present { file: false, .. } => &mut by_frame.copied,
                    Page::Present { frame: Some(frame), .. } => {
                        let first = file_frames.partition_point(|&other| other < frame);
                        if file_frames.get(first + 1) == Some(&frame) {
                            &mut by_frame.shared
                        } else {
                            &mut by_frame.private
                        }
                    }
                } += 1;
            }
        }
        self.pages += pages as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: u64 = 1 << 63;
    const SWAP: u64 = 1 << 62;
    const FILE: u64 = 1 << 61;
    const EXCLUSIVE: u64 = 1 << 56;
    const SOFT_DIRTY: u64 = 1 << 55;

    fn page(frame: u64, file: bool, exclusive: bool) -> Page {
        Page::Present { frame: NonZeroU64::new(frame), file, exclusive }
    }

    #[test]
    fn bits_are_where_the_kernel_puts_them() {
        assert_eq!(Page::decode(0), Page::Absent);
        assert_eq!(Page::decode(SOFT_DIRTY), Page::Absent);
        assert_eq!(Page::decode(SWAP | 0x62), Page::Swapped);
        assert_eq!(Page::decode(PRESENT | FILE | SOFT_DIRTY | 0x1234), page(0x1234, true, false));
        assert_eq!(Page::decode(PRESENT | EXCLUSIVE | 7), page(7, false, true));
        assert_eq!(Page::decode(PRESENT | FILE | EXCLUSIVE), page(0, true, true));
        // Recorded on Linux 6.18: a page of a file that three processes map, one that a write has copied, and one that only
        // this process maps, seen without CAP_SYS_ADMIN.
        assert_eq!(Page::decode(0xa000_0000_0025_5440), page(0x25_5440, true, false));
        assert_eq!(Page::decode(0x8100_0000_0021_94a5), page(0x21_94a5, false, true));
        assert_eq!(Page::decode(0xa100_0000_0000_0000), page(0, true, true));
    }

    #[test]
    fn entries_are_read_whole_or_not_at_all() {
        let mut bytes = (PRESENT | FILE | 5).to_ne_bytes().to_vec();
        bytes.extend(0u64.to_ne_bytes());
        assert_eq!(read(&bytes[..], 2).unwrap(), [page(5, true, false), Page::Absent]);
        assert!(read(&bytes[..15], 2).unwrap_err().to_string().contains("cannot read page entries"));
    }

    #[test]
    fn frames_tell_what_these_processes_share_whatever_the_bit_says() {
        let mut tally = Tally::new(3);
        tally.add(&[
            // Same frame everywhere; in two processes only; one process and some outsider; absent; copied; swapped.
            vec![page(1, true, false), page(2, true, false), page(3, true, false), Page::Absent, page(9, false, true)],
            vec![page(1, true, true), page(2, true, false), Page::Absent, Page::Absent, page(5, true, false)],
            vec![page(1, true, false), Page::Absent, Page::Absent, Page::Absent, Page::Swapped],
        ]);
        assert_eq!(tally.pages, 5);
        assert_eq!(tally.by_frame[0], Pages { shared: 2, private: 1, copied: 1, swapped: 0 });
        assert_eq!(tally.by_frame[1], Pages { shared: 2, private: 1, copied: 0, swapped: 0 });
        assert_eq!(tally.by_frame[2], Pages { shared: 1, private: 0, copied: 0, swapped: 1 });
        assert_eq!(tally.by_bit[0], Pages { shared: 3, private: 0, copied: 1, swapped: 0 });
        assert_eq!(tally.by_bit[1], Pages { shared: 2, private: 1, copied: 0, swapped: 0 });
        assert_eq!((tally.frames, tally.frames_inferred, tally.same_frame), (5, 5, 1));
        assert!(!tally.hidden);
    }

    #[test]
    fn different_frames_at_the_same_place_are_not_the_same() {
        let mut tally = Tally::new(2);
        tally.add(&[vec![page(1, true, false)], vec![page(2, true, false)]]);
        assert_eq!((tally.frames, tally.frames_inferred, tally.same_frame), (2, 1, 0));
        assert_eq!(tally.by_frame[0], Pages { private: 1, ..Pages::default() });
        // A copy that fork has passed on is one frame twice, and still nothing of the file's.
        let mut tally = Tally::new(2);
        tally.add(&[vec![page(4, false, false)], vec![page(4, false, false)]]);
        assert_eq!((tally.frames, tally.same_frame), (1, 0));
        assert_eq!(tally.by_frame[1], Pages { copied: 1, ..Pages::default() });
    }

    #[test]
    fn hidden_frames_are_noticed() {
        let mut tally = Tally::new(2);
        tally.add(&[vec![page(0, true, false)], vec![page(0, true, false)]]);
        assert!(tally.hidden);
        assert_eq!((tally.same_frame, tally.frames, tally.frames_inferred), (0, 0, 1));
        assert_eq!(tally.by_bit[0], Pages { shared: 1, ..Pages::default() });
    }
}
