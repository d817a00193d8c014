//! What must be known of CPython's objects beyond its stable ABI: two layouts, both read off the running interpreter and
//! held against what it does before anything is built on them.
//!
//! - [`text`]: a `str` whose characters stay in a mapped file;
//! - [`constants`]: the slots of constant tuples, which are exchanged after unmarshalling.
//!
//! These are the modules, with [`mod@unmarshal`] and [`life`], that may use `unsafe` for the extension module. All of it runs with the GIL held, in
//! the one interpreter that [`crate::python`] accepts.

pub mod cached;
pub mod code;
pub mod constants;
mod copy;
pub mod dump;
pub mod interpreter;
pub mod life;
pub mod live;
mod memory;
mod pages;
pub mod snapshot;
pub mod text;
pub mod unmarshal;
