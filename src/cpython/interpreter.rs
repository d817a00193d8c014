//! The file that the running interpreter's static objects belong to, the executable or `libpython`: where it is loaded, and which build it is.

use std::ops::Range;

use pyo3::ffi;

use super::loaded;
use crate::elf::notes::build_id;
use crate::image::MAX_BUILD_ID;

/// A loaded ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// What is added to the addresses in the file (`dlpi_addr`): 0 for an executable of fixed addresses.
    pub base: u64,
    /// Its build-id; empty when it has none, or one that is too long for an image.
    pub build_id: Vec<u8>,
    /// Addresses of its segments, one of which has the static objects.
    segments: Vec<Range<u64>>,
}

impl Interpreter {
    /// The file with the type `str`. None when the loader does not tell of it.
    pub fn find() -> Option<Interpreter> {
        loaded::of((&raw const ffi::PyUnicode_Type) as u64, |file| {
            let id = |(notes, align): (&[u8], u64)| Some(notes.get(build_id(notes, align as usize)?)?.to_vec());
            let build_id = file.notes().find_map(id).filter(|id| id.len() <= MAX_BUILD_ID).unwrap_or_default();
            Interpreter { base: file.base, build_id, segments: file.segments().map(|(segment, _)| segment).collect() }
        })
    }

    /// Whether `address` is in this file.
    pub fn holds(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| segment.contains(&address))
    }
}
