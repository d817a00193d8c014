//! What must be known of CPython's objects beyond its stable ABI. Layouts are read off the running interpreter, or come from a table, and are
//! held against what it does before anything is built on them.
//!
//! - [`text`]: a `str` whose characters stay in a mapped file;
//! - [`constants`]: the slots of constant tuples, which are exchanged after unmarshalling;
//! - [`snapshot`], over [`code`] and `copy`: code and all it leads to, taken out of the interpreter for an [image](crate::image);
//! - [`dump`]: constants, written to a [cache](crate::cache) as they are met;
//! - [`live`] and [`cached`], over `pages`: images and caches in use;
//! - [`interned`]: the table of interned strings;
//! - [`interpreter`] and [`own`], over `loaded`: the interpreter's file, and that of this library.
//!
//! The modules in here may use `unsafe` for the extension module; DESIGN.md names those that do. All of it runs with the GIL held, in
//! the one interpreter that [`crate::python`] accepts.

pub mod cached;
pub mod code;
pub mod constants;
mod copy;
pub mod dump;
pub mod interned;
pub mod interpreter;
pub mod life;
pub mod live;
mod loaded;
mod memory;
pub mod own;
mod pages;
pub mod snapshot;
pub mod text;
