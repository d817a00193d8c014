//! The image: code objects of a package, and all they reach, laid out for one build of CPython 3.12 or later, so that they can be mapped and used as they are.
//! The normative text is `format-spec/image.md`.
//!
//! - [`graph`]: objects as [`crate::cpython::snapshot`] took them out of the interpreter, free of addresses;
//! - [`layout`]: which object goes where, by what will be written and by what is used;
//! - [`mod@write`]: the sections, with addresses, in a copy of the package;
//! - [`read`]: the head of an image and its tables;
//! - `relocations`: where pages hold addresses of the interpreter's;
//! - [`shape`], [`fields`], `types`: how objects are laid out, and told from one another;
//! - [`mod@verify`]: everything that can be checked without an interpreter;
//! - [`objects`]: the objects of an image, found again in its file;
//! - [`dirty`]: what of its pages a process has written, and why.
//!
//! `cpython::live` uses an image in a process.

pub mod dirty;
pub mod fields;
pub mod graph;
pub mod layout;
pub mod objects;
pub mod read;
pub(crate) mod relocations;
pub mod shape;
mod types;
pub mod verify;
pub mod write;

use crate::bytes::{Cursor, Sink as _};
use crate::error::{Error, Result};
use crate::pye::Part;

/// Version of the image's own tables. A reader uses no image of another one.
pub const VERSION: u32 = 1;

/// Longest build-id that a head has room for: a SHA-256's bytes. Linkers make 16 or 20.
pub const MAX_BUILD_ID: usize = 32;

/// Bytes of a page, as images divide themselves: what is checked and relocated at once.
pub const PAGE: usize = 4096;

/// Bytes of a page's relocations: a bit for each of its words.
pub const BITS: usize = PAGE / 8 / 8;

/// Bytes of a page's row in the section of relocations: the bits and their CRC32.
pub const BITS_ROW: usize = BITS + 4;

/// Objects start at multiples of this, as the interpreter's allocator has it.
pub const ALIGN: usize = 16;

/// Bytes before each tuple, which its collector would use: zero, for not tracked (`PyGC_Head`).
pub const GC_HEAD: usize = 16;

/// The object sections, in file order. They follow each other without a gap, each a whole number of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Area {
    /// Code of functions, which specialises itself when it runs.
    Code = 0,
    /// `str` objects that are looked up, and so get a hash.
    Names = 1,
    /// Never written.
    Data = 2,
    /// Tuples with slots that are filled when a module is loaded.
    Patch = 3,
    /// Templates of code that runs once, with the tuples and tables that are theirs alone.
    Once = 4,
}

/// Number of object sections.
pub const AREAS: usize = 5;

impl Area {
    /// All of them, in order.
    pub const ALL: [Area; AREAS] = [Area::Code, Area::Names, Area::Data, Area::Patch, Area::Once];

    /// Its section.
    pub const fn part(self) -> usize {
        Part::ImageCode as usize + self as usize
    }
}

/// When pages are made to fit an interpreter that is not loaded where it was when the image was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u32)]
pub enum Relocate {
    /// The profile's modules in the parent right before its first fork, others when they are first imported.
    #[default]
    AtFork = 0,
    /// Each module when it is first imported.
    Lazy = 1,
    /// Never: the image is not used by such an interpreter.
    Never = 2,
}

impl Relocate {
    /// All of them, by their numbers.
    pub const ALL: [Relocate; 3] = [Relocate::AtFork, Relocate::Lazy, Relocate::Never];

    /// What it is called on the command line, in `PYE_RELOCATE` and in `pye.status()`.
    pub const fn name(self) -> &'static str {
        match self {
            Relocate::AtFork => "at-fork",
            Relocate::Lazy => "lazy",
            Relocate::Never => "never",
        }
    }

    /// That of a name.
    pub fn by_name(name: &str) -> Option<Relocate> {
        Relocate::ALL.into_iter().find(|relocate| relocate.name() == name)
    }
}

/// What `pye.status()` says of the state of an image that is used; of another, why it is not.
pub const MAPPED: &str = "mapped";

/// Which build of the interpreter objects are laid out for, and at which addresses: the first 64 bytes of the heads of images and of [caches](crate::cache).
/// Little-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// Bytes 8–15: what is added to an offset in the file to get the address it is mapped at.
    pub base: u64,
    /// Bytes 16–23: where the interpreter's file was loaded: what its addresses are counted from.
    pub interpreter: u64,
    /// Bytes 24–27: `sys.hexversion`.
    pub hexversion: u32,
    /// Bytes 28–31: length; 32–63: build-id of the interpreter's file, padded with zeros.
    pub build_id: Vec<u8>,
}

impl Build {
    /// Appends the fields, after `version` and `flags`, bytes 0–7.
    pub fn put(&self, version: u32, flags: u32, out: &mut Vec<u8>) {
        out.put_u32(version);
        out.put_u32(flags);
        out.put_u64(self.base);
        out.put_u64(self.interpreter);
        out.put_u32(self.hexversion);
        out.put_u32(self.build_id.len() as u32);
        let mut build_id = self.build_id.clone();
        build_id.resize(MAX_BUILD_ID, 0);
        out.extend_from_slice(&build_id);
    }

    /// Reads the fields of a head of `version`, and its flags; where it is of another, `help` says what to do.
    ///
    /// # Errors
    /// Too short, another version, or no build-id.
    pub fn parse(cursor: &mut Cursor<'_>, version: u32, help: &'static str) -> Result<(Build, u32)> {
        let there = cursor.u32()?;
        if there != version {
            return Err(Error::unsupported(format!("version {version}"), there.to_string(), help).at(0u64));
        }
        let flags = cursor.u32()?;
        let (base, interpreter, hexversion, len) = (cursor.u64()?, cursor.u64()?, cursor.u32()?, cursor.u32()?);
        let id = cursor.take(MAX_BUILD_ID)?;
        let build_id = id.get(..len as usize).filter(|_| id[len as usize..].iter().all(|b| *b == 0));
        let build_id = build_id.filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
        let build_id = build_id.ok_or_else(|| {
            Error::malformed(format!("a build-id of 1 to {MAX_BUILD_ID} bytes"), len.to_string()).at(28u64)
        })?;
        Ok((Build { base, interpreter, hexversion, build_id }, flags))
    }
}

/// The first fields of the head, bytes 0–175; the tables follow in the order of their counts. Little-endian. Those up to the build-id are a [`Build`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Bytes 4–7: when to relocate, unless the process says otherwise.
    pub relocate: Relocate,
    /// Bytes 8–15: what is added to an offset in the file to get the address it is mapped at.
    pub base: u64,
    /// Bytes 16–23: where the interpreter's file was loaded: what its addresses in the image are counted from.
    pub interpreter: u64,
    /// Bytes 24–27: `sys.hexversion`.
    pub hexversion: u32,
    /// Bytes 28–31: length; 32–63: build-id of the interpreter's file, padded with zeros.
    pub build_id: Vec<u8>,
    /// Bytes 64–71: the first `co_version`, and how many.
    pub versions: (u32, u32),
    /// Bytes 72–111: of each object section, the bytes that the profile's modules need, from its start.
    pub hot: [u64; AREAS],
    /// Bytes 112–127: ends, in the section of names, of the interned ones among the hot and among the others. Keys follow either.
    pub names: [u64; 2],
    /// Bytes 152–155: see [`places`].
    pub places: u32,
    /// Bytes 160–175: hash of the [`SAMPLE`] as a graph.
    pub sample: [u8; 16],
}

/// Bytes of [`Head`].
pub const HEAD_LEN: usize = 176;

/// Numbers of rows: modules, patches, objects to make, pages; bytes of the root; runs of pages, which have a section of their own (bytes 128–151); 156–159 are zero.
pub type Counts = [u32; 6];

impl Head {
    /// What it is made for.
    pub fn build(&self) -> Build {
        let Head { base, interpreter, hexversion, build_id, .. } = self.clone();
        Build { base, interpreter, hexversion, build_id }
    }

    /// Appends the fields.
    pub fn put(&self, counts: &Counts, out: &mut Vec<u8>) {
        self.build().put(VERSION, self.relocate as u32, out);
        out.put_u32(self.versions.0);
        out.put_u32(self.versions.1);
        self.hot.iter().chain(&self.names).for_each(|word| out.put_u64(*word));
        counts.iter().for_each(|count| out.put_u32(*count));
        out.put_u32(self.places);
        out.put_u32(0);
        out.extend_from_slice(&self.sample);
    }

    /// Reads the fields.
    ///
    /// # Errors
    /// Too short, another version, or bits that are reserved.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<(Head, Counts)> {
        let (build, flags) = Build::parse(cursor, VERSION, "link the package with --image again")?;
        let Build { base, interpreter, hexversion, build_id } = build;
        let relocate = Relocate::ALL.get(flags as usize).copied();
        let relocate = relocate.ok_or_else(|| Error::malformed("flags from 0 to 2", flags.to_string()).at(4u64))?;
        let versions = (cursor.u32()?, cursor.u32()?);
        let mut hot = [0; AREAS];
        let mut names = [0; 2];
        for word in hot.iter_mut().chain(&mut names) {
            *word = cursor.u64()?;
        }
        let mut counts = [0; 6];
        for count in &mut counts {
            *count = cursor.u32()?;
        }
        let places = cursor.u32()?;
        if cursor.u32()? != 0 {
            return Err(Error::malformed("zeros", "others").at(156u64));
        }
        let mut sample = [0; 16];
        sample.copy_from_slice(cursor.take(16)?);
        Ok((Head { relocate, base, interpreter, hexversion, build_id, versions, hot, names, places, sample }, counts))
    }
}

/// CRC32 of the offsets in the file, eight bytes each, of the sections that addresses in the image lead to: text, then objects; 0 for one that is empty. `offset` and
/// size of a section are told by number. A tool that moves sections would leave all CRCs right and all addresses wrong.
pub fn places(place: impl Fn(usize) -> (u64, u64)) -> u32 {
    let text = Part::Str1 as usize..=Part::Str4 as usize;
    let mut hasher = crc32fast::Hasher::new();
    for part in text.chain(Area::ALL.map(Area::part)) {
        let (offset, size) = place(part);
        hasher.update(&(if size == 0 { 0 } else { offset }).to_le_bytes());
    }
    hasher.finalize()
}

/// A program whose code an interpreter must lay out as the builder's did, bit for bit: all kinds of constants, all forms of text, calls, loops, a class,
/// a generator and handlers, so that differences in how fresh code is prepared are seen too.
pub const SAMPLE: &str = "\
class C(object):
    'text'
    x: int = 1
    def f(self, a, *b, c=2, **d):
        try:
            for e in b:
                yield a.name[e](c, k=d) + 1.5
        except (ValueError, TypeError) as g:
            return 'z\u{e9}', '\u{16f}z', '\u{1f40d}', b'bytes', 2j, -7, 12345678901234567890, (1, 'two', None)
        with self as h:
            assert h is not ..., f'{a!r:>{c}} text'
        return lambda: (a, h, 'constant_name')
";

/// Chooses a base: a multiple of 2 MiB between 16 and 64 TiB, which no Linux gives to programs, libraries, stacks or heaps by itself on machines with 47 bits of
/// addresses or more.
pub fn random_base(random: u64) -> u64 {
    const STEP: u64 = 2 << 20;
    const FIRST: u64 = 16 << 40;
    const LAST: u64 = 64 << 40;
    FIRST + random % ((LAST - FIRST) / STEP) * STEP
}

/// The first `co_version` of an image with `count` code objects: the interpreter's own start at 1 and count up, so the upper half is free. None when they do not fit.
pub fn random_version(random: u64, count: u32) -> Option<u32> {
    const FIRST: u32 = 1 << 31;
    let room = (u32::MAX - FIRST).checked_sub(count)?;
    Some(FIRST + (random % u64::from(room.max(1))) as u32)
}
