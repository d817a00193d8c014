//! What the container needs of ELF, over the `object` crate. Knows nothing of Python.
//!
//! Files are ELF64, little-endian, `ET_DYN` with the host's machine: what binutils, elfutils and LLVM accept without
//! complaint and copy without moving anything. Sections are `SHT_PROGBITS`; those of one segment follow one another.

pub mod fixed;
pub mod notes;
pub mod read;
pub mod write;

/// Which segment (`PT_LOAD`) a section belongs to; segments stand in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Read when the file is opened; starts with the ELF header itself.
    Meta,
    /// Can be dropped after use.
    Transient,
    /// Stays mapped.
    Payload,
    /// Bound to one build of a program, which maps it at an address of its own.
    Image,
}

/// A section to be written.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// Where it goes.
    pub segment: Segment,
    /// Bytes. An empty section is left out.
    pub size: u64,
    /// Alignment of its file offset and address, a power of two.
    pub align: u64,
    /// For sections of NUL-terminated strings the bytes of a character (`SHF_MERGE | SHF_STRINGS`, `sh_entsize`).
    pub strings: Option<u64>,
}

/// A local symbol that names a range of a section.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// Its name, without NUL.
    pub name: &'a [u8],
    /// Index into the sections as given to [`write::plan`].
    pub section: usize,
    /// Bytes from the section's start.
    pub offset: u64,
    /// Bytes named.
    pub size: u64,
}
