//! Writes a cache: pages as objects come, then what stands around them.

use std::fs::File;
use std::hash::Hasher as _;
use std::os::unix::fs::FileExt as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::{HEAD_LEN, Head, PARTS, Part, Root, START, sections};
use crate::bytes::Sink as _;
use crate::elf;
use crate::error::{Error, Result};
use crate::image::relocations::Rows;
use crate::image::{ALIGN, Build, PAGE};

/// Bytes of objects that are kept until they are written.
const BUFFER: usize = 1 << 20;

/// A cache being written to a file.
#[derive(Debug)]
pub struct Writer<'f> {
    file: &'f File,
    /// Objects that are not in the file yet; starts with a page.
    buffer: Vec<u8>,
    /// Offset of the buffer in the file.
    at: u64,
    crcs: Vec<u8>,
    /// Rows of relocations, of the buffer's pages too.
    bits: Rows,
    /// Objects so far.
    objects: u64,
}

impl<'f> Writer<'f> {
    /// Starts with an empty file.
    pub fn new(file: &'f File) -> Writer<'f> {
        Writer { file, buffer: Vec::new(), at: START, crcs: Vec::new(), bits: Rows::default(), objects: 0 }
    }

    /// Appends an object with `before` zero bytes before it, and returns its offset in the file. `relocated` are offsets in it of words that hold addresses
    /// in the interpreter's file.
    ///
    /// # Errors
    /// Writing fails.
    pub fn push(&mut self, before: usize, object: &[u8], relocated: impl Iterator<Item = u32>) -> Result<u64> {
        let start = self.buffer.len().next_multiple_of(ALIGN) + before;
        self.buffer.resize(start, 0);
        self.buffer.extend_from_slice(object);
        let at = self.at + start as u64;
        for offset in relocated {
            self.bits.mark(at - START + u64::from(offset));
        }
        self.objects += 1;
        if self.buffer.len() >= BUFFER {
            self.flush(self.buffer.len() / PAGE * PAGE)?;
        }
        Ok(at)
    }

    /// Writes the buffer's first `len` bytes, whole pages.
    fn flush(&mut self, len: usize) -> Result<()> {
        for page in self.buffer[..len].chunks(PAGE) {
            self.crcs.put_u32(crc32fast::hash(page));
        }
        self.put(self.at, &self.buffer[..len])?;
        self.buffer.drain(..len);
        self.at += len as u64;
        Ok(())
    }

    fn put(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(|e| Error::io("cannot write", e))
    }

    /// Completes the file, which is to be mapped as `build` says, and returns its size.
    ///
    /// # Errors
    /// Writing fails, or there are more pages than can be numbered.
    pub fn finish(mut self, build: Build, root: Root, sample: [u8; 16]) -> Result<u64> {
        self.buffer.resize(self.buffer.len().next_multiple_of(PAGE), 0);
        self.flush(self.buffer.len())?;
        let pages = (self.at - START) / PAGE as u64;
        let count = u32::try_from(pages).map_err(|_| Error::limit("pages of a cache", u32::MAX.into(), pages))?;
        let bits = std::mem::take(&mut self.bits).seal(count);
        let pages_crc = crc32fast::hash(&self.crcs);
        let head = Head { build, root, pages: count, objects: self.objects, sample, pages_crc }.bytes();
        let mut sizes = [0; PARTS];
        sizes[Part::Head as usize] = HEAD_LEN as u64;
        sizes[Part::Objects as usize] = self.at - START;
        sizes[Part::Pages as usize] = self.crcs.len() as u64;
        sizes[Part::Relocations as usize] = bits.len() as u64;
        let mut id = SipHasher13::new();
        id.write(&head);
        let skeleton = elf::write::plan(id.finish128().as_bytes(), &sections(sizes), &[])?;
        let objects_at = skeleton.offsets[Part::Objects as usize];
        debug_assert!(count == 0 || objects_at == START, "headers of more than a page");
        self.file.set_len(skeleton.len).map_err(|e| Error::io("cannot write", e))?;
        let contents = [(Part::Head, &head), (Part::Pages, &self.crcs), (Part::Relocations, &bits)];
        for (part, bytes) in contents.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            self.put(skeleton.offsets[part as usize], bytes)?;
        }
        skeleton.parts.iter().try_for_each(|(at, bytes)| self.put(*at, bytes))?;
        Ok(skeleton.len)
    }
}
