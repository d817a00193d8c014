//! The file that the running interpreter's static objects belong to, the executable or `libpython`: where it is loaded, and which build it is.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use pyo3::ffi;

use crate::elf::notes::build_id;
use crate::image::MAX_BUILD_ID;

/// A loaded ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// What is added to the addresses in the file (`dlpi_addr`): 0 for an executable of fixed addresses.
    pub base: u64,
    /// Its build-id; empty when it has none, or one that is too long for an image.
    pub build_id: Vec<u8>,
    /// Addresses of its writable segments, where static objects are.
    segments: Vec<(u64, u64)>,
}

impl Interpreter {
    /// The file with the type `str`. None when the loader does not tell of it.
    pub fn find() -> Option<Interpreter> {
        struct Search {
            address: u64,
            found: Option<Interpreter>,
        }

        unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
            // SAFETY: `dl_iterate_phdr` passes a valid `info`, and `data` as it was given: a `Search` that nobody else uses meanwhile.
            let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
            if info.dlpi_phdr.is_null() {
                return 0;
            }
            // SAFETY: the loader's own table, of as many entries as it says.
            let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
            let extent = |h: &libc::Elf64_Phdr| {
                let start = info.dlpi_addr.wrapping_add(h.p_vaddr);
                (start, start.wrapping_add(h.p_memsz))
            };
            let loaded = headers.iter().filter(|h| h.p_type == libc::PT_LOAD);
            let segments: Vec<(u64, u64)> = loaded.map(extent).collect();
            if !segments.iter().any(|(start, end)| (*start..*end).contains(&search.address)) {
                return 0;
            }
            let notes = headers.iter().filter(|h| h.p_type == libc::PT_NOTE).map(|h| (extent(h), h.p_align));
            // A note that lies in no loaded segment cannot be read.
            let inside = |(note, _): &((u64, u64), u64)| segments.iter().any(|s| s.0 <= note.0 && note.1 <= s.1);
            let build_id = notes.filter(inside).find_map(|((start, end), align)| {
                // SAFETY: inside a segment of a loaded file, which stays mapped while `dl_iterate_phdr` runs; notes are not written.
                let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, (end - start) as usize) };
                bytes.get(build_id(bytes, align as usize)?).filter(|id| id.len() <= MAX_BUILD_ID)
            });
            search.found =
                Some(Interpreter { base: info.dlpi_addr, build_id: build_id.unwrap_or_default().to_vec(), segments });
            1
        }

        let mut search = Search { address: (&raw const ffi::PyUnicode_Type) as u64, found: None };
        // SAFETY: `look` keeps to the protocol, and `search` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.found
    }

    /// Whether `address` is in this file.
    pub fn holds(&self, address: u64) -> bool {
        self.segments.iter().any(|(start, end)| (*start..*end).contains(&address))
    }
}
