//! `/proc/PID/smaps` and `/proc/PID/smaps_rollup`: the kernel's counters for each mapping, or for all, from text.
//!
//! Each mapping is a head line (as in `/proc/PID/maps`) and then lines `Name: number kB`, where kB is 1,024 bytes. `Private_*`
//! and `Shared_*` mean "mapped once" and "mapped more than once, by anybody" at this moment; they have nothing to do with
//! `MAP_PRIVATE` and `MAP_SHARED`. Source: `Documentation/filesystems/proc.rst`, section 3.
//!
//! Names of mapped files are chosen by the measured processes and may be any bytes: nothing is assumed of them.

use crate::error::{Error, Result};

/// The counters of one mapping, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `Size`: the mapping's length in pages. A roll-up has none, it is 0 there.
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
    /// `KSM`: anonymous pages that the kernel has merged with equal ones. Older kernels do not tell.
    pub ksm: Option<u64>,
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// Whether its bytes may be executed.
    pub executable: bool,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Device (major, minor) and inode number of the mapped file, as smaps prints them; inode 0 without a file. On some file
    /// systems (btrfs, overlays) the device differs from what `stat` says: compare it with other processes' smaps only.
    pub inode: ((u32, u32), u64),
    /// The file's path in the process's own view (` (deleted)` behind one without a name), `[heap]`, `[stack]` and the like, or
    /// nothing. A newline in it stands as `\012`.
    pub name: Vec<u8>,
    /// Its counters.
    pub counters: Counters,
}

impl Mapping {
    /// Whether it maps a file (shared memory counts as one, for Linux keeps it as one).
    pub fn is_file(&self) -> bool {
        self.inode.1 != 0
    }
}

/// All mappings of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smaps(Vec<Mapping>);

impl Smaps {
    /// Parses the text of a smaps file.
    ///
    /// # Errors
    /// It is not such a text, or a counter is missing.
    pub fn parse(text: &[u8]) -> Result<Smaps> {
        let mut mappings = Vec::new();
        entries(text, |mapping, fields| {
            let counters = fields.counters(mapping.start)?;
            mappings.push(Mapping {
                counters: Counters { mapped: fields.need(SIZE, mapping.start)?, ..counters },
                ..mapping
            });
            Ok(())
        })?;
        Ok(Smaps(mappings))
    }

    /// The mappings, by address.
    pub fn into_mappings(self) -> Vec<Mapping> {
        self.0
    }

    /// The mapping of exactly the addresses from `start` up to `end`.
    ///
    /// # Errors
    /// There is none: it is split or has grown together with a neighbour, so that its counters would not be the region's.
    pub fn mapping(&self, start: u64, end: u64) -> Result<&Mapping> {
        let found = self.0.iter().find(|map| (map.start, map.end) == (start, end));
        found.ok_or_else(|| Error::malformed(format!("a mapping of {start:x}-{end:x}"), "none"))
    }
}

/// Parses the text of a `smaps_rollup`: the sums over all mappings of a process.
///
/// # Errors
/// It is not such a text, or a counter is missing.
pub fn rollup(text: &[u8]) -> Result<Counters> {
    let mut counters = None;
    entries(text, |mapping, fields| {
        counters = Some(fields.counters(mapping.start)?);
        Ok(())
    })?;
    counters.ok_or_else(|| Error::malformed("the counters of a process", "nothing"))
}

/// The names of the counters that are read.
const NAMES: [&str; 10] = [
    "Size",
    "Rss",
    "Pss",
    "Private_Clean",
    "Private_Dirty",
    "Shared_Clean",
    "Shared_Dirty",
    "Anonymous",
    "Swap",
    "KSM",
];
const SIZE: usize = 0;
const KSM: usize = 9;

/// The counters of one mapping by [`NAMES`], as far as they were there.
#[derive(Default)]
struct Fields([Option<u64>; NAMES.len()]);

impl Fields {
    fn need(&self, field: usize, start: u64) -> Result<u64> {
        let missing = || Error::malformed(format!("the counter {} of the mapping at {start:x}", NAMES[field]), "none");
        self.0[field].ok_or_else(missing)
    }

    /// All but `Size`, which a roll-up does not have.
    fn counters(&self, start: u64) -> Result<Counters> {
        let get = |field| self.need(field, start);
        Ok(Counters {
            mapped: 0,
            resident: get(1)?,
            pss: get(2)?,
            uss: get(3)?.saturating_add(get(4)?),
            shared: get(5)?.saturating_add(get(6)?),
            anonymous: get(7)?,
            swap: get(8)?,
            ksm: self.0[KSM],
        })
    }
}

/// Calls `each` for every mapping, with empty counters in it, and its fields.
fn entries(text: &[u8], mut each: impl FnMut(Mapping, &Fields) -> Result<()>) -> Result<()> {
    let mut current: Option<(Mapping, Fields)> = None;
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        // Counters start with a capital letter, heads with a digit or a small letter.
        if line[0].is_ascii_uppercase() {
            let Some((_, fields)) = &mut current else { return Err(not_smaps(line)) };
            let colon = line.iter().position(|&byte| byte == b':').ok_or_else(|| not_smaps(line))?;
            if let Some(field) = NAMES.iter().position(|name| name.as_bytes() == &line[..colon]) {
                fields.0[field] = Some(kilobytes(&line[colon + 1..]).ok_or_else(|| not_smaps(line))?);
            }
        } else {
            if let Some((mapping, fields)) =
                current.replace((head(line).ok_or_else(|| not_smaps(line))?, Fields::default()))
            {
                each(mapping, &fields)?;
            }
        }
    }
    match current {
        Some((mapping, fields)) => each(mapping, &fields),
        None => Ok(()),
    }
}

fn not_smaps(line: &[u8]) -> Error {
    Error::malformed("the mappings of a process", format!("{:?}", String::from_utf8_lossy(line)))
}

/// `   123 kB`, in bytes.
fn kilobytes(value: &[u8]) -> Option<u64> {
    let number = value.trim_ascii().strip_suffix(b" kB")?;
    str::from_utf8(number).ok()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// `start-end rwxp offset major:minor inode    name`
fn head(line: &[u8]) -> Option<Mapping> {
    let mut words = line.splitn(6, |&byte| byte == b' ');
    let mut word = || str::from_utf8(words.next()?).ok();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = word()?.split_once('-')?;
    let permissions = word()?;
    let offset = hex(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = word()?.parse().ok()?;
    let (start, end) = (hex(start)?, hex(end)?);
    (start <= end).then(|| Mapping {
        start,
        end,
        executable: permissions.as_bytes().get(2) == Some(&b'x'),
        offset,
        inode: (device, inode),
        name: words.next().unwrap_or_default().trim_ascii_start().to_vec(),
        counters: Counters::default(),
    })
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
        let shared = Counters {
            mapped: 65536,
            resident: 65536,
            pss: 21 * 1024,
            shared: 65536,
            ksm: Some(0),
            ..Counters::default()
        };
        assert_eq!(counters(RECORDED, SHARED), shared);
        let written = Counters { pss: 26 * 1024, uss: 8192, shared: 57344, anonymous: 8192, ..shared };
        assert_eq!(counters(RECORDED, PRIVATE), written);
        let smaps = Smaps::parse(RECORDED.as_bytes()).unwrap();
        let mapping = smaps.mapping(SHARED.0, SHARED.1).unwrap();
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
        let error = Smaps::parse(without.as_bytes()).unwrap_err();
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

    #[test]
    fn heads_are_read_whatever_the_name() {
        let head = |line: &str| head(line.as_bytes()).unwrap();
        let mapping =
            head("7f18574bc000-7f18574cc000 r-xp 00020000 fe:01 2162689                    /a b/\\012 (deleted)");
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x7f18_574b_c000, 0x7f18_574c_c000, 0x20000));
        assert_eq!((mapping.inode, mapping.executable), (((0xfe, 1), 2_162_689), true));
        assert_eq!(mapping.name, b"/a b/\\012 (deleted)");
        // A name that resembles another notation of the kernel's is only a name.
        assert_eq!(head("1000-2000 rw-p 00000000 00:00 0 /SYSV").name, b"/SYSV");
        let anonymous = head("1000-2000 rw-p 00000000 00:00 0 ");
        assert!(anonymous.name.is_empty() && !anonymous.is_file() && !anonymous.executable);
        assert!(super::head(b"2000-1000 rw-p 00000000 00:00 0 ").is_none());
    }

    #[test]
    fn ksm_is_unknown_where_the_kernel_does_not_tell() {
        let text = RECORDED.replace("KSM:                   0 kB", "KSM:                   8 kB");
        assert_eq!(counters(&text, PRIVATE).ksm, Some(8192));
        let text = RECORDED.replace("KSM:                   0 kB\n", "");
        assert_eq!(counters(&text, PRIVATE).ksm, None);
    }

    #[test]
    fn a_roll_up_has_all_but_the_size() {
        const ROLLUP: &str = include_str!("testdata/smaps_rollup.txt");
        let sums = rollup(ROLLUP.as_bytes()).unwrap();
        assert_eq!(sums.mapped, 0);
        assert!(sums.uss + sums.shared == sums.resident && sums.pss > sums.uss && sums.anonymous <= sums.resident);
        assert!(rollup(b"").is_err());
        assert!(Smaps::parse(ROLLUP.as_bytes()).unwrap_err().to_string().contains("counter Size"));
    }
}
