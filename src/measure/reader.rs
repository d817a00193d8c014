//! The process that is measured: maps each extent, reads every page, says so, waits.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::map::Map;

/// What goes before the addresses in the line of a process that has read all its pages.
pub(super) const READY: &str = "ready";

/// What goes before the reason in the line of a process that could not.
pub(super) const FAILED: &str = "failed";

/// A part of a file as it stands in the arguments: `OFFSET+LENGTH`, in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// From the start of the file, in bytes.
    pub offset: u64,
    /// In bytes.
    pub len: u64,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset, self.len)
    }
}

impl FromStr for Extent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Extent> {
        let parse = || {
            let (offset, len) = text.split_once('+')?;
            Some(Extent { offset: offset.parse().ok()?, len: len.parse().ok()? })
        };
        parse().ok_or_else(|| Error::malformed("OFFSET+LENGTH", text.to_owned()))
    }
}

/// Maps each extent of the file on its own and reads one byte of every page. Then writes one line to `output`: `ready` and
/// the address of each map in hexadecimal, or `failed` and why. Holds the maps until `input` ends, as it does when the parent
/// closes it or is no more, and so never outlives the parent.
///
/// # Errors
/// The file cannot be opened or mapped or is shorter than the extents say. The line has said so, too.
pub fn run(file: &Path, extents: &[Extent], mut input: impl Read, mut output: impl Write) -> Result<()> {
    let maps = match extents.iter().map(|extent| map(file, *extent)).collect::<Result<Vec<_>>>() {
        Ok(maps) => maps,
        Err(error) => {
            // A parent that is gone cannot be told; the exit status remains.
            let _ = writeln!(output, "{FAILED} {}", error.to_string().replace('\n', " "));
            return Err(error);
        }
    };
    for map in &maps {
        // The last byte as well: a map that starts inside a page has its last page where the steps may not land.
        for byte in map.iter().step_by(procfs::page_size() as usize).chain(map.last()) {
            std::hint::black_box(*byte);
        }
    }
    let addresses: String = maps.iter().map(|map| format!(" {:x}", map.as_ptr().addr())).collect();
    let told = writeln!(output, "{READY}{addresses}").and_then(|()| output.flush());
    told.and_then(|()| io::copy(&mut input, &mut io::sink())).map_err(|e| Error::io("cannot talk to the parent", e))?;
    Ok(())
}

/// Opens the file anew for each map: the kernel joins neighbouring maps of one open file, and then smaps would have one set of
/// counters for both.
fn map(path: &Path, extent: Extent) -> Result<Map> {
    let map = || {
        let file = File::open(path).map_err(|e| Error::io("cannot open", e))?;
        let len = file.metadata().map_err(|e| Error::io("cannot stat", e))?.len();
        match extent.offset.checked_add(extent.len) {
            Some(end) if end <= len => Map::range(&file, extent.offset, extent.len),
            _ => Err(Error::malformed(format!("an extent inside {len} bytes"), extent.to_string())),
        }
    };
    map().map_err(|e| e.in_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_written_and_read() {
        let extent = Extent { offset: 4096, len: u64::MAX };
        assert_eq!(extent.to_string().parse::<Extent>().unwrap(), extent);
        for bad in ["", "1", "1+", "+1", "1+-1", "1+2+3", "18446744073709551616+1"] {
            assert!(bad.parse::<Extent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn says_ready_with_one_address_a_map_or_why_not() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        let mut line = Vec::new();
        let extents = [Extent { offset: 0, len: 4096 }, Extent { offset: 4096, len: 5904 }];
        run(file.path(), &extents, io::empty(), &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!((words[0], words.len()), (READY, 3));
        assert!(words[1..].iter().all(|word| u64::from_str_radix(word, 16).is_ok_and(|a| a != 0)));

        let mut line = Vec::new();
        let extents = [Extent { offset: 4096, len: 5905 }];
        assert!(run(file.path(), &extents, io::empty(), &mut line).is_err());
        let line = String::from_utf8(line).unwrap();
        assert!(line.starts_with("failed ") && line.contains("4096+5905"), "{line}");
    }
}
