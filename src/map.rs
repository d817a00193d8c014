//! Files mapped into memory. Mapping a file is unsafe because another process could change it underneath.

use std::fs::{File, Metadata, OpenOptions};
use std::ops::{Deref, Range};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};

use crate::error::{Error, Result};

/// Bytes of a page on every platform pye writes for: offsets of mapped ranges are multiples of it. aarch64 kernels with
/// larger pages map such a file all the same, for `mmap` of the whole file starts at 0.
pub const PAGE: u64 = 4096;

/// A file, or a range of it, mapped read-only and shared.
#[derive(Debug)]
pub struct Map(Mmap);

#[allow(unsafe_code)]
impl Map {
    /// Maps the whole of the file at `path`, of at most `cap` bytes.
    ///
    /// # Errors
    /// The file cannot be opened, is not a regular file, is larger than `cap` or cannot be mapped.
    pub fn open(path: &Path, cap: u64) -> Result<Map> {
        Self::open_checked(path, cap, |_| Ok(())).map(|(_, map)| map)
    }

    /// As [`Map::open`], but lets `check` look at the open file before anything of it is used. Returns that file, too.
    ///
    /// # Errors
    /// As those of [`Map::open`], and those of `check`.
    pub fn open_checked(path: &Path, cap: u64, check: impl FnOnce(&File) -> Result<()>) -> Result<(File, Map)> {
        let (file, meta) = open_file(path)?;
        check(&file)?;
        let len = meta.len();
        if len > cap {
            return Err(Error::limit("bytes", cap, len).in_file(path));
        }
        let map = Self::range(&file, 0, len).map_err(|e| e.in_file(path))?;
        Ok((file, map))
    }

    /// Maps `len` bytes of `file` from `offset` on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn range(file: &File, offset: u64, len: u64) -> Result<Map> {
        let len = usize::try_from(len).map_err(|_| Error::limit("bytes", usize::MAX as u64, len))?;
        // SAFETY: `Mmap` hands out `&[u8]`, which must not change while borrowed. The mapping is private to readers of
        // this crate and never written through. pye itself replaces files by rename and never truncates or rewrites one in
        // place (`fsys::write_atomic` and the linker's temporary file are the only writers), so the inode mapped here keeps
        // its bytes. Another program that writes in place can break this, as it can break a mapped shared library; nothing
        // read from the map is trusted: every offset and length is checked where it is used, so torn bytes give an error or
        // wrong data, which the CRCs of `verify` catch, never an access outside the map. Truncation in place gives SIGBUS.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file) };
        map.map(Map).map_err(|e| Error::io("cannot map", e))
    }

    /// Tells the kernel that `range` will be read soon.
    pub fn will_need(&self, range: Range<usize>) {
        // Advice only: a kernel that refuses costs speed, not correctness.
        let _ = self.0.advise_range(Advice::WillNeed, range.start, range.len());
    }

    /// Gives back the pages that lie wholly inside `range`; reading them again brings them back from the file.
    pub fn drop_pages(&self, range: Range<usize>) {
        let page = PAGE as usize;
        let (start, end) = (range.start.next_multiple_of(page), range.end / page * page);
        if start >= end || end > self.0.len() {
            return;
        }
        // SAFETY: MADV_DONTNEED on a read-only file mapping drops page table entries; the next access reads the same bytes
        // of the file again, so every `&[u8]` into the range keeps its value (for a file not changed in place, see `range`).
        // The range is page-aligned and checked to lie inside the map. It never reaches anonymous memory, where the same
        // advice would lose data: a `Map` is made only by `range` above, from a file.
        let _ = unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
    }
}

/// Opens a regular file for reading, and says what it is; of anything else nothing is asked but that.
///
/// # Errors
/// It cannot be opened, or is something else.
pub fn open_file(path: &Path) -> Result<(File, Metadata)> {
    // Not to wait for a writer where `path` is a pipe; of regular files it asks nothing.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|e| Error::io("cannot open", e).in_file(path))?;
    let meta = file.metadata().map_err(|e| Error::io("cannot stat", e).in_file(path))?;
    if !meta.is_file() {
        return Err(Error::malformed("a regular file", "something else").in_file(path));
    }
    Ok((file, meta))
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// This process, for calls that take a file descriptor of one (`linux/pidfd.h`, Linux 6.14). Older kernels find no such file.
const PIDFD_SELF_PROCESS: libc::c_int = -10001;

/// Ranges that one call takes: `UIO_MAXIOV` of `linux/uio.h`.
const RANGES: usize = 1024;

/// A range of a file, mapped privately: what is written stays in this process. Never unmapped.
///
/// Its memory is used through raw pointers only, for whoever it is handed to writes to it as well.
#[derive(Debug)]
pub struct Placed {
    start: usize,
    len: usize,
}

#[allow(unsafe_code)]
impl Placed {
    /// Maps `len` bytes of `file` from `offset` on at `address`, if nothing is there yet, to be read, or `writable`. All three are multiples of the page's size.
    ///
    /// # Errors
    /// The range is taken, or the kernel refuses.
    pub fn map(file: &File, offset: u64, len: usize, address: usize, writable: bool) -> Result<Placed> {
        use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
        // Little of it will be written: no memory need be set aside for all.
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE | MapFlags::NORESERVE;
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let wanted = std::ptr::without_provenance_mut(address);
        // SAFETY: with MAP_FIXED_NOREPLACE nothing that is mapped is replaced, so this makes memory that nobody has yet.
        let got = unsafe { mmap(wanted, len, protection, flags, file, offset) };
        let got = got.map_err(|e| Error::io("cannot map it at its address", e.into()))?;
        if got.addr() != address {
            // A kernel before 4.17, which takes the address for a wish.
            // SAFETY: the very mapping that was made above, which nobody knows of.
            let _ = unsafe { munmap(got, len) };
            let expected = format!("the address {address:#x}");
            return Err(Error::malformed(expected, format!("{:#x}", got.addr())));
        }
        Ok(Placed { start: address, len })
    }

    /// A range that somebody else has mapped in this way; its ends are multiples of the page's size.
    ///
    /// # Safety
    /// It is so, it stays mapped, and nothing goes wrong where pages that are [given back](Placed::drop_pages) read as in the file again.
    pub unsafe fn loaded(range: Range<usize>) -> Placed {
        Placed { start: range.start, len: range.len() }
    }

    /// Takes it back, before anybody was given an address in it.
    pub fn unmap(self) {
        let start = std::ptr::without_provenance_mut(self.start);
        // SAFETY: a whole mapping that `map` has made (what is only `loaded` is nobody's to take back, and never is); all addresses in it come from `start`, which the caller has told nobody of.
        let _ = unsafe { rustix::mm::munmap(start, self.len) };
    }

    /// Gives back pages, in ranges of bytes from the start on, whose ends are multiples of the page's size: what was written there is lost, and they read as in the file again.
    pub fn drop_pages(&self, ranges: &[Range<usize>]) {
        let sound = |range: &&Range<usize>| range.start < range.end && range.end <= self.len;
        let start = |range: &Range<usize>| std::ptr::without_provenance_mut(self.start + range.start);
        let iovecs =
            ranges.iter().filter(sound).map(|range| libc::iovec { iov_base: start(range), iov_len: range.len() });
        for iovecs in iovecs.collect::<Vec<_>>().chunks(RANGES) {
            // What was dropped before the kernel refused one may be dropped again.
            if !Self::drop_at_once(iovecs) {
                Self::drop_one_by_one(iovecs);
            }
        }
    }

    /// Whether it did, which only newer kernels do. The ranges are some of a mapping.
    fn drop_at_once(ranges: &[libc::iovec]) -> bool {
        let (call, advice) = (libc::SYS_process_madvise, libc::MADV_DONTNEED);
        // SAFETY: `drop_pages` has made them of ranges inside its mapping, which is private and of a file. Its memory is used through raw pointers only, by whoever calls that, and that it
        // may go back to what the file has is the caller's very wish. The kernel reads `ranges`, which lives, and writes nothing. Advice that is refused changes nothing.
        let done = unsafe { libc::syscall(call, PIDFD_SELF_PROCESS, ranges.as_ptr(), ranges.len(), advice, 0) };
        usize::try_from(done) == Ok(ranges.iter().map(|one| one.iov_len).sum())
    }

    fn drop_one_by_one(ranges: &[libc::iovec]) {
        for one in ranges {
            // SAFETY: as in `drop_at_once`.
            let _ = unsafe { rustix::mm::madvise(one.iov_base, one.iov_len, rustix::mm::Advice::LinuxDontNeed) };
        }
    }

    /// Copies `len` bytes of pages from `at` on for this process, all at once: they are about to be written.
    pub fn populate(&self, at: usize, len: usize) {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return;
        }
        let start = std::ptr::without_provenance_mut(self.start + at);
        // SAFETY: a range of this mapping; bytes keep their value. A kernel before 5.14 refuses, and copies each page when it is written.
        let _ = unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxPopulateWrite) };
    }

    /// Address of its first byte.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty, which the kernel does not do.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)]

    use std::io::Write as _;

    use super::*;

    /// More ranges than one call takes, by either way of giving them back.
    #[test]
    fn pages_that_are_given_back_read_as_in_the_file() {
        const PAGES: usize = 2 * RANGES + 200;
        let page = PAGE as usize;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; PAGES * page]).unwrap();
        // An address that was free a moment ago.
        let base = Map::range(&file, 0, (PAGES * page) as u64).unwrap().as_ptr() as usize;
        let placed = Placed::map(&file, 0, PAGES * page, base, true).unwrap();
        let byte = |n: usize| std::ptr::with_exposed_provenance_mut::<u8>(placed.start() + n * page);
        let even = || (0..PAGES).step_by(2).map(|n| n * page..(n + 1) * page).collect::<Vec<_>>();
        for at_once in [true, false] {
            // SAFETY: bytes of the mapping, which is writable and used by nobody else.
            (0..PAGES).for_each(|n| unsafe { byte(n).write_volatile(2) });
            if at_once {
                placed.drop_pages(&even());
            } else {
                let start = |range: &Range<usize>| std::ptr::without_provenance_mut(base + range.start);
                let iovecs =
                    even().iter().map(|r| libc::iovec { iov_base: start(r), iov_len: r.len() }).collect::<Vec<_>>();
                Placed::drop_one_by_one(&iovecs);
            }
            // SAFETY: as above.
            let read = (0..PAGES).map(|n| unsafe { byte(n).read_volatile() }).collect::<Vec<_>>();
            assert!(read.iter().enumerate().all(|(n, byte)| *byte == if n % 2 == 0 { 1 } else { 2 }), "{at_once}");
        }
        // What reaches beyond the end is left alone.
        let beyond = (PAGES - 1) * page..(PAGES + 1) * page;
        placed.drop_pages(std::slice::from_ref(&beyond));
        // SAFETY: as above.
        assert_eq!(unsafe { byte(PAGES - 1).read_volatile() }, 2);
    }
}
