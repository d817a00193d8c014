//! Caches: graphs of constants that `pye.dump` has saved and `pye.load` maps. The normative text is `format-spec/cache.md`.
//!
//! A cache is an ELF file of its own, with objects laid out for one build of CPython as in an [image](crate::image). It is written in one pass, what an object
//! leads to before the object itself, so that every address is known when it is written and neither needs to be in memory twice.
//!
//! - [`mod@write`]: the pages as objects come, and the sections around them;
//! - [`read`]: the head and the tables, checked when opened; objects are checked by [`read::Cache::verify`] only.
//!
//! `cpython::dump` and `cpython::cached` turn objects into a cache and a cache into objects.

pub mod read;
pub mod write;

use crate::bytes::{Cursor, Sink as _};
use crate::elf::{Section, Segment};
use crate::error::{Error, Result};
use crate::image::{Build, PAGE};

/// Version of the head and the tables. A reader uses no cache of another one.
pub const VERSION: u32 = 1;

/// The sections in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Part {
    /// [`Head`].
    Head = 0,
    /// The objects: whole pages, from [`START`] on.
    Objects = 1,
    /// CRC32 of each page.
    Pages = 2,
    /// Where each page holds addresses of the interpreter's: rows as an image has them.
    Relocations = 3,
}

/// Number of sections.
pub const PARTS: usize = 4;

/// Their names, by [`Part`].
pub const NAMES: [&str; PARTS] = [".pye.cache", ".pye.cache.objects", ".pye.cache.pages", ".pye.cache.reloc"];

/// Offset of the objects in every cache: known before their number is.
pub const START: u64 = PAGE as u64;

/// Bytes of the head.
pub const HEAD_LEN: usize = 112;

/// What `pye.load` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// An object of the cache: its offset in the file.
    Object(u64),
    /// One of the interpreter's own: its address, counted from where its file is loaded.
    Interpreter(u64),
}

/// The section `.pye.cache`. Little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes 0–63.
    pub build: Build,
    /// Bytes 64–71: where; 72–75: 0 for an object of the cache, 1 for one of the interpreter's.
    pub root: Root,
    /// Bytes 76–79: number of pages.
    pub pages: u32,
    /// Bytes 80–87: number of objects.
    pub objects: u64,
    /// Bytes 88–103: hash of the builder's sample of objects.
    pub sample: [u8; 16],
    /// Bytes 104–107: CRC32 of `.pye.cache.pages`. 108–111: CRC32 of the head up to here.
    pub pages_crc: u32,
}

impl Head {
    /// The section.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN);
        self.build.put(VERSION, 0, &mut out);
        let (at, kind) = match self.root {
            Root::Object(at) => (at, 0),
            Root::Interpreter(at) => (at, 1),
        };
        out.put_u64(at);
        out.put_u32(kind);
        out.put_u32(self.pages);
        out.put_u64(self.objects);
        out.extend_from_slice(&self.sample);
        out.put_u32(self.pages_crc);
        out.put_u32(crc32fast::hash(&out));
        out
    }

    /// Reads the section.
    ///
    /// # Errors
    /// It is damaged, or of another version.
    pub fn parse(bytes: &[u8]) -> Result<Head> {
        let mut cursor = Cursor::new(bytes);
        let (build, flags) = Build::parse(&mut cursor, VERSION, "dump the objects again")?;
        if flags != 0 {
            return Err(Error::malformed("no reserved flags", flags.to_string()).at(4u64));
        }
        let (at, kind) = (cursor.u64()?, cursor.u32()?);
        let (pages, objects) = (cursor.u32()?, cursor.u64()?);
        let mut sample = [0; 16];
        sample.copy_from_slice(cursor.take(16)?);
        let pages_crc = cursor.u32()?;
        let actual = crc32fast::hash(&bytes[..cursor.position()]);
        let crc = cursor.u32()?;
        if crc != actual {
            return Err(Error::malformed(format!("CRC32 {crc:08x}"), format!("{actual:08x}")).at(HEAD_LEN - 4));
        }
        if cursor.remaining() != 0 {
            return Err(Error::malformed(format!("{HEAD_LEN} bytes"), bytes.len().to_string()));
        }
        let end = START + u64::from(pages) * PAGE as u64;
        let fail = |expected: &str, got: String, at: u64| Err(Error::malformed(expected.to_owned(), got).at(at));
        let root = match kind {
            0 if (START..end).contains(&at) && at.is_multiple_of(8) => Root::Object(at),
            1 => Root::Interpreter(at),
            _ => return fail("an object to return", format!("kind {kind}, {at:#x}"), 64),
        };
        if !build.base.is_multiple_of(PAGE as u64) || build.base.checked_add(end).is_none() {
            return fail("a base at the start of a page", format!("{:#x}", build.base), 8);
        }
        Ok(Head { build, root, pages, objects, sample, pages_crc })
    }
}

/// The sections of a file with so many bytes in each.
fn sections(sizes: [u64; PARTS]) -> [Section; PARTS] {
    let section = |part: Part, segment, align| Section {
        name: NAMES[part as usize],
        segment,
        size: sizes[part as usize],
        align,
        strings: None,
    };
    [
        section(Part::Head, Segment::Meta, 16),
        section(Part::Objects, Segment::Image, PAGE as u64),
        section(Part::Pages, Segment::Image, if sizes[Part::Objects as usize] == 0 { PAGE as u64 } else { 16 }),
        section(Part::Relocations, Segment::Image, 16),
    ]
}
