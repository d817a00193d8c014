//! `/proc/PID/smaps`: the kernel's counters for each mapping, from text.
//!
//! Each mapping is a head line (as in `/proc/PID/maps`) and then lines `Name: number kB`, where kB is 1,024 bytes. `Private_*`
//! and `Shared_*` mean "mapped once" and "mapped more than once, by anybody" at this moment; they have nothing to do with
//! `MAP_PRIVATE` and `MAP_SHARED`. Source: `Documentation/filesystems/proc.rst`, section 3.

use procfs::FromBufRead;
use procfs::process::{MemoryMap, MemoryMaps};

use crate::error::{Error, Result};

/// The counters of one mapping, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `Size`: the mapping's length in pages.
    pub mapped: u64,
    /// `Rss`: in memory and entered in this process's page table.
    pub resident: u64,
    /// `Pss`: each resident page divided by the number of its mappings. The kernel rounds down to 1,024 bytes.
    pub pss: u64,
    /// `Private_Clean` + `Private_Dirty`: mapped once. The process's USS.
    pub uss: u64,
    /// `Shared_Clean` + `Shared_Dirty`: mapped more than once.
    pub shared: u64,
    /// `Anonymous`: not (or no longer) pages of the file. In a file's mapping: exactly the pages copied by a write.
    pub anonymous: u64,
    /// `Swap`: anonymous pages that are swapped out.
    pub swap: u64,
}

/// A mapping found by [`Smaps::mapping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Device (major, minor) and inode number of the mapped file, as smaps prints them. On some file systems (btrfs,
    /// overlays) the device differs from what `stat` says: compare it with other processes' smaps only.
    pub inode: ((i32, i32), u64),
    /// Its counters.
    pub counters: Counters,
}

/// All mappings of one process.
#[derive(Debug)]
pub struct Smaps(MemoryMaps);

impl Smaps {
    /// Parses the text of a smaps file.
    ///
    /// # Errors
    /// It is not such a text.
    pub fn parse(text: &[u8]) -> Result<Smaps> {
        // Paths may be any bytes, while the parser wants UTF-8; no path is used here.
        let text = String::from_utf8_lossy(text);
        match MemoryMaps::from_buf_read(text.as_bytes()) {
            Ok(maps) => Ok(Smaps(maps)),
            Err(error) => Err(Error::malformed("the mappings of a process", error.to_string())),
        }
    }

    /// The mapping of exactly the addresses from `start` up to `end`.
    ///
    /// # Errors
    /// There is none, it is split or has grown together with a neighbour, so that its counters would not be the region's; or
    /// a counter is missing.
    pub fn mapping(&self, start: u64, end: u64) -> Result<Mapping> {
        let Some(map) = self.0.iter().find(|map| map.address == (start, end)) else {
            return Err(Error::malformed(format!("a mapping of {start:x}-{end:x}"), "none"));
        };
        let get = |name| counter(map, name);
        let counters = Counters {
            mapped: get("Size")?,
            resident: get("Rss")?,
            pss: get("Pss")?,
            uss: get("Private_Clean")?.saturating_add(get("Private_Dirty")?),
            shared: get("Shared_Clean")?.saturating_add(get("Shared_Dirty")?),
            anonymous: get("Anonymous")?,
            swap: get("Swap")?,
        };
        Ok(Mapping { inode: (map.dev, map.inode), counters })
    }
}

fn counter(map: &MemoryMap, name: &'static str) -> Result<u64> {
    let missing = || Error::malformed(format!("the counter {name} of the mapping at {:x}", map.address.0), "none");
    map.extension.map.get(name).copied().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded on Linux 6.18 in one of three processes that mapped the same file: one part privately, of which this process
    /// then wrote to two pages, and below the other shared and read-only.
    const RECORDED: &str = include_str!("testdata/smaps.txt");
    const PRIVATE: (u64, u64) = (0x7f18_574b_c000, 0x7f18_574c_c000);
    const SHARED: (u64, u64) = (0x7f18_574c_c000, 0x7f18_574d_c000);

    fn counters(text: &str, (start, end): (u64, u64)) -> Counters {
        Smaps::parse(text.as_bytes()).unwrap().mapping(start, end).unwrap().counters
    }

    #[test]
    fn recorded_counters_come_out_in_bytes() {
        let shared =
            Counters { mapped: 65536, resident: 65536, pss: 21 * 1024, uss: 0, shared: 65536, anonymous: 0, swap: 0 };
        assert_eq!(counters(RECORDED, SHARED), shared);
        let written = Counters { pss: 26 * 1024, uss: 8192, shared: 57344, anonymous: 8192, ..shared };
        assert_eq!(counters(RECORDED, PRIVATE), written);
        let mapping = Smaps::parse(RECORDED.as_bytes()).unwrap().mapping(SHARED.0, SHARED.1).unwrap();
        assert_eq!(mapping.inode, ((0xfe, 0), 2_162_689));
    }

    #[test]
    fn clean_and_dirty_are_added_and_swap_is_read() {
        let text = RECORDED
            .replace("Private_Clean:         0 kB", "Private_Clean:         4 kB")
            .replace("Shared_Clean:          0 kB", "Shared_Clean:         16 kB")
            .replace("Swap:                  0 kB", "Swap:                 12 kB");
        let written = counters(&text, PRIVATE);
        assert_eq!((written.uss, written.shared, written.swap), (12 << 10, 72 << 10, 12 << 10));
    }

    #[test]
    fn a_mapping_that_is_not_just_the_region_is_refused() {
        let smaps = Smaps::parse(RECORDED.as_bytes()).unwrap();
        for (start, end) in [(PRIVATE.0, SHARED.1), (SHARED.0, SHARED.1 - 4096), (0, 4096)] {
            assert!(smaps.mapping(start, end).unwrap_err().to_string().contains("got none"));
        }
    }

    #[test]
    fn a_missing_counter_is_an_error_not_a_zero() {
        let without = RECORDED.replace("Anonymous:", "Anonymoos:");
        let error = Smaps::parse(without.as_bytes()).unwrap().mapping(SHARED.0, SHARED.1).unwrap_err();
        assert!(error.to_string().contains("counter Anonymous"), "{error}");
    }

    #[test]
    fn paths_of_any_bytes_are_read_and_other_text_is_not() {
        let mut bytes = RECORDED.as_bytes().to_vec();
        let name = bytes.windows(4).position(|w| w == b".pye").unwrap();
        bytes[name] = 0xff;
        assert!(Smaps::parse(&bytes).unwrap().mapping(SHARED.0, SHARED.1).is_ok());
        assert!(Smaps::parse(b"Rss: 4 kB\n").is_err());
        assert!(Smaps::parse(b"not a mapping\n").is_err());
    }
}
