//! Files that the dynamic loader has loaded, by an address in them.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ops::Range;

/// A loaded file, while [`of`] shows it.
#[derive(Debug)]
pub(super) struct Loaded<'a> {
    /// What is added to the addresses in the file (`dlpi_addr`): 0 for an executable of fixed addresses.
    pub(super) base: u64,
    headers: &'a [libc::Elf64_Phdr],
}

impl<'a> Loaded<'a> {
    /// The program headers of one kind, each with the addresses that it is about.
    fn of_kind(&self, kind: u32) -> impl Iterator<Item = (Range<u64>, &'a libc::Elf64_Phdr)> {
        let base = self.base;
        self.headers.iter().filter(move |header| header.p_type == kind).map(move |header| {
            let start = base.wrapping_add(header.p_vaddr);
            (start..start.wrapping_add(header.p_memsz), header)
        })
    }

    /// The segments that are loaded, with their `p_flags`.
    pub(super) fn segments(&self) -> impl Iterator<Item = (Range<u64>, u32)> {
        self.of_kind(libc::PT_LOAD).map(|(range, header)| (range, header.p_flags))
    }

    /// The notes that can be read, with their alignment: those that lie in a segment.
    pub(super) fn notes(&self) -> impl Iterator<Item = (&'a [u8], u64)> {
        let inside = |note: &Range<u64>| self.segments().any(|(s, _)| s.start <= note.start && note.end <= s.end);
        self.of_kind(libc::PT_NOTE).filter(move |(note, _)| inside(note)).map(|(note, header)| {
            let (start, len) = (note.start as *const u8, (note.end - note.start) as usize);
            // SAFETY: inside a segment of a loaded file, which stays mapped while it is shown (`'a`); notes are not written.
            (unsafe { std::slice::from_raw_parts(start, len) }, header.p_align)
        })
    }
}

/// Shows `look` the loaded file that has `address` in one of its segments. None when the loader does not tell of it.
pub(super) fn of<R, F: FnOnce(Loaded<'_>) -> R>(address: u64, look: F) -> Option<R> {
    struct Search<F, R> {
        address: u64,
        look: Option<F>,
        found: Option<R>,
    }

    unsafe extern "C" fn step<F: FnOnce(Loaded<'_>) -> R, R>(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid `info`, and `data` as it was given: a `Search` that nobody else uses meanwhile.
        let (info, search) = unsafe { (&*info, &mut *data.cast::<Search<F, R>>()) };
        if info.dlpi_phdr.is_null() {
            return 0;
        }
        // SAFETY: the loader's own table, of as many entries as it says; it stays while this function runs.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let loaded = Loaded { base: info.dlpi_addr, headers };
        if !loaded.segments().any(|(segment, _)| segment.contains(&search.address)) {
            return 0;
        }
        search.found = search.look.take().map(|look| look(loaded));
        1
    }

    let mut search = Search { address, look: Some(look), found: None };
    // SAFETY: `step` keeps to the protocol, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(step::<F, R>), (&raw mut search).cast()) };
    search.found
}
