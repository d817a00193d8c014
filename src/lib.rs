//! `pye` makes Python's constant data shared between processes.
//!
//! The modules stand in the order data flows; each depends only on those above it (DESIGN.md says why):
//!
//! ```text
//! .pyc ─► marshal ─► split ─► merge ─► pye (ELF) ─► a mapped file
//!                      ▲                   │
//!                      └──── join ◄────────┘
//! ```
//!
//! - [`marshal`] parses `.pyc` files: one iterative pass that drives a sink; [`marshal::tape`] keeps positions.
//! - [`mod@split`] cuts long strings and rows of references out of a file; [`split::join`] puts them back.
//! - [`mod@merge`] gives every distinct blob one place; [`pye`] is the file format, over [`elf`].
//! - [`convert`] makes one `.pye` of one `.pyc`, [`link`] one package of many; [`unpack`] and [`verify`] are the way back.
//! - [`heap`], [`histogram`], [`trace`] tell what constants cost a process; [`measure`] tells what processes really share.
//! - [`profile`] tells which modules and functions a program uses, in order; [`trace`] makes one.
//! - [`image`] lays code objects out for one build of CPython, to be mapped as they are.
//! - [`cache`] does the same with a program's own constants: `pye.dump` and `pye.load`.
//! - [`activate`] has interpreters import from packages: one command, or a whole virtual environment.
//! - [`cli`] is the command line over all of these.

pub mod error;
pub mod limits;

pub mod bytes;
pub mod map;

pub mod marshal;

pub mod blob;
pub mod holes;
pub mod split;

pub mod merge;

pub mod elf;
pub mod pye;

pub mod fsys;
pub mod tree;

pub mod census;
pub mod convert;
pub mod dump;
pub mod link;
pub mod unpack;
pub mod verify;

pub mod heap;
pub mod histogram;
pub mod profile;
pub mod trace;

pub mod measure;

pub mod image;

pub mod cache;

#[cfg(feature = "python")]
pub mod cpython;
#[cfg(feature = "python")]
pub mod python;
pub mod runtime;

pub mod activate;

pub mod cli;
