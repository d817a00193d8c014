//! The file that the running interpreter's static objects belong to, the executable or `libpython`: where it is loaded, and which build it is.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use pyo3::ffi;

/// `NT_GNU_BUILD_ID` of `elf.h`.
const NT_GNU_BUILD_ID: u32 = 3;
/// Longest build-id: a SHA-256.
const MAX_BUILD_ID: usize = 32;

/// A loaded ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// What is added to the addresses in the file (`dlpi_addr`): 0 for an executable of fixed addresses.
    pub base: u64,
    /// Its build-id; empty when it has none.
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
            let notes = headers.iter().filter(|h| h.p_type == libc::PT_NOTE).map(extent);
            // A note that lies in no loaded segment cannot be read.
            let inside = |note: &(u64, u64)| segments.iter().any(|s| s.0 <= note.0 && note.1 <= s.1);
            let build_id = notes.filter(inside).find_map(|(start, end)| {
                // SAFETY: inside a segment of a loaded file, which stays mapped while `dl_iterate_phdr` runs; notes are not written.
                let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, (end - start) as usize) };
                build_id(bytes)
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

/// The build-id among ELF notes, padded to four bytes as GNU's are.
fn build_id(mut notes: &[u8]) -> Option<&[u8]> {
    while let Some((head, rest)) = notes.split_at_checked(12) {
        let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let (name_len, len, kind) = (word(0) as usize, word(4) as usize, word(8));
        let (name, rest) = rest.split_at_checked(name_len.checked_next_multiple_of(4)?)?;
        let content = rest.get(..len)?;
        if kind == NT_GNU_BUILD_ID && name.get(..name_len) == Some(b"GNU\0") {
            return (1..=MAX_BUILD_ID).contains(&len).then_some(content);
        }
        notes = rest.get(len.checked_next_multiple_of(4)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::build_id;

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let note = |kind: u32, name: &[u8], content: &[u8]| {
            let mut out = Vec::new();
            for word in [name.len() as u32, content.len() as u32, kind] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            for part in [name, content] {
                out.extend_from_slice(part);
                out.resize(out.len().next_multiple_of(4), 0);
            }
            out
        };
        let id = note(3, b"GNU\0", &[7; 20]);
        let notes = [note(1, b"GNU\0", &[1; 6]), note(3, b"Go\0\0", &[2; 4]), id].concat();
        assert_eq!(build_id(&notes), Some(&[7; 20][..]));
        for cut in 0..notes.len() {
            assert_ne!(build_id(&notes[..cut]), Some(&[7; 20][..]), "{cut}");
        }
        assert_eq!(build_id(&note(3, b"GNU\0", &[7; 33])), None);
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
