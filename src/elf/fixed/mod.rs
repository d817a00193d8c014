//! Moves a shared library or a position-independent executable to addresses of its own: a copy that is loaded at the same place in every process.
//!
//! An `ET_DYN` file has addresses that count from 0, and is loaded wherever there is room. Here all of them are moved up by a base. A library stays `ET_DYN`: the dynamic
//! loader asks the kernel for the addresses in its program headers, and gets them when they are free; else it is loaded elsewhere, as ever. An executable becomes `ET_EXEC`,
//! which the kernel loads where its headers say.
//!
//! Code is not touched: what is position-independent refers to itself by distances, and every absolute address in an `ET_DYN` file has a relocation. What holds addresses is:
//!
//! | structure | what is moved |
//! | --- | --- |
//! | file header, program headers, section headers | `e_entry`, `p_vaddr`, `p_paddr`, `sh_addr` of what is loaded |
//! | dynamic section | the entries that are pointers; an entry of an unknown kind is refused |
//! | `.dynsym`, `.symtab` | values of symbols in sections; not thread-local ones, which are offsets, nor absolute ones |
//! | RELA, JMPREL | `r_offset`; addends of relative and indirect (`IRELATIVE`) relocations |
//! | RELR | the entries that are addresses, and the words that all entries lead to |
//! | words that are bound lazily | the address of the stub, in the word of a `JUMP_SLOT` |
//! | global offset table | its first word, the address of the dynamic section |
//!
//! Left alone: hash tables and versions (they hold symbol numbers), TLS templates, notes but the build-id, `.eh_frame_hdr` and `.eh_frame` (distances; anything else is refused),
//! notes of probes (`.note.stapsdt` says which address it counts from).
//!
//! Debugging information is full of addresses, in many forms. It is left out, and the copy refers to the file it was made of (`.gnu_debuglink`): debuggers find by section
//! names how far one file lies from the other, as they had to for prelinked files.

mod addresses;
mod file;
mod search_path;
mod tail;

use std::hash::Hasher as _;

use object::elf;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::error::{Error, Result};
use file::File;

pub use search_path::with_search_path;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Loaded by the dynamic loader.
    Library,
    /// Loaded by the kernel.
    Executable,
}

/// What was made.
#[derive(Debug)]
pub struct Fixed {
    /// The file.
    pub bytes: Vec<u8>,
    /// What kind it is.
    pub kind: Kind,
    /// Bytes of addresses that it takes, from the base.
    pub span: u64,
    /// The build-id of the file it was made of.
    pub old_build_id: Vec<u8>,
    /// Its own.
    pub build_id: Vec<u8>,
    /// Names of the sections that were left out.
    pub left_out: Vec<String>,
    /// What `.gnu_debuglink` names: the file that has the debugging information.
    pub debug_link: Option<String>,
}

/// Makes a copy of `bytes`, the contents of a file called `name`, whose addresses start at `base`.
///
/// # Errors
/// It is not an ELF file that is loaded anywhere (`ET_DYN`, 64 bits, little-endian, of this machine), has no section headers, dynamic section or build-id, or holds something that is not
/// known: then nothing can be said of the addresses in it. `base` is not a multiple of the segments' alignment, or leaves no room.
pub fn fix(bytes: &[u8], name: &str, base: u64) -> Result<Fixed> {
    let mut file = File::read(bytes, base)?;
    let kind = file.kind();
    file.check()?;
    addresses::move_all(&mut file)?;
    if kind == Kind::Executable {
        addresses::make_executable(&mut file)?;
    }
    let (old_build_id, build_id) = rewrite_build_id(&mut file)?;
    let span = file.span();
    let tail::Tail { left_out, debug_link } = tail::write(&mut file, name, bytes)?;
    Ok(Fixed { bytes: file.bytes, kind, span, old_build_id, build_id, left_out, debug_link })
}

/// Gives the file a build-id that no other has: images are bound to it, and no debugger may take the files for the same.
fn rewrite_build_id(file: &mut File) -> Result<(Vec<u8>, Vec<u8>)> {
    let at = file.build_id()?;
    let old = file.bytes[at.clone()].to_vec();
    let mut new = Vec::new();
    while new.len() < old.len() {
        let mut hasher = SipHasher13::new();
        hasher.write(b"pye pin 1");
        hasher.write_u64(file.base);
        hasher.write_u64(new.len() as u64);
        hasher.write(&old);
        new.extend_from_slice(&hasher.finish128().as_u128().to_le_bytes());
    }
    new.truncate(old.len());
    file.bytes[at].copy_from_slice(&new);
    Ok((old, new))
}

/// An error about something in the file that is not known.
fn unknown(
    expected: impl Into<std::borrow::Cow<'static, str>>,
    got: impl Into<std::borrow::Cow<'static, str>>,
) -> Error {
    Error::unsupported(expected, got, "it may hold addresses, so the file is left as it is; please report it")
}

/// The machine this was built for, and the relocations of its dynamic loader.
struct Machine {
    machine: elf::Machine,
    /// The addend is an address.
    moved: &'static [elf::RelocationType],
    /// Refer to a symbol or to thread-local storage: nothing but the place is an address.
    kept: &'static [elf::RelocationType],
    /// The word at the place holds the address of a stub, when it is bound lazily.
    slot: elf::RelocationType,
}

/// x86-64 psABI, "Relocation Types".
#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = Machine {
    machine: elf::EM_X86_64,
    moved: &[elf::R_X86_64_RELATIVE, elf::R_X86_64_IRELATIVE, elf::R_X86_64_RELATIVE64],
    kept: &[
        elf::R_X86_64_NONE,
        elf::R_X86_64_64,
        elf::R_X86_64_GLOB_DAT,
        elf::R_X86_64_JUMP_SLOT,
        elf::R_X86_64_COPY,
        elf::R_X86_64_DTPMOD64,
        elf::R_X86_64_DTPOFF64,
        elf::R_X86_64_TPOFF64,
        elf::R_X86_64_TLSDESC,
        elf::R_X86_64_SIZE32,
        elf::R_X86_64_SIZE64,
        elf::R_X86_64_PC64,
    ],
    slot: elf::R_X86_64_JUMP_SLOT,
};

/// ELF for the Arm 64-bit Architecture, "Dynamic relocations".
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = Machine {
    machine: elf::EM_AARCH64,
    moved: &[elf::R_AARCH64_RELATIVE, elf::R_AARCH64_IRELATIVE],
    kept: &[
        elf::R_AARCH64_NONE,
        elf::R_AARCH64_ABS64,
        elf::R_AARCH64_GLOB_DAT,
        elf::R_AARCH64_JUMP_SLOT,
        elf::R_AARCH64_COPY,
        elf::R_AARCH64_TLS_DTPMOD,
        elf::R_AARCH64_TLS_DTPREL,
        elf::R_AARCH64_TLS_TPREL,
        elf::R_AARCH64_TLSDESC,
    ],
    slot: elf::R_AARCH64_JUMP_SLOT,
};
