//! Activation: how an interpreter comes to import from packages.
//!
//! For one command and its children by the environment ([`environment`]), for every process of an installation by a `.pth`
//! ([`install`]). Both link one package for each directory on `sys.path` that holds modules ([`roots`]) of the interpreter that is
//! asked what it is ([`interpreter`]), and both end in `pye.activate` of the Python package, which is found first ([`place`]).
//!
//! ```text
//! command ─► interpreter ─► roots ─► link ─► cache   ─► environment ─► exec
//!                  └──────► roots ─► link ─► install ─► .pth, manifest
//! ```

pub mod addresses;
pub mod cache;
pub mod command;
pub mod compile;
pub mod doctor;
pub mod environment;
pub mod image;
pub mod install;
pub mod interpreter;
pub mod journal;
pub mod pin;
pub mod place;
pub mod roots;
pub mod step;

/// Shortest string that is cut out of what is linked for loading, in bytes: a mapped text costs a process a header of 64 bytes, one of its own
/// 41 and the text, in steps of 16. Of 24, 32, 48 and 64 this left the least memory to the workloads of `benches/workers`.
pub const MIN_BLOB: u32 = 32;

/// Shortest byte string: one memory page. Cutting all saves 1 % of a package's size and costs a tenth of the loader's own time.
pub const MIN_BYTES: u32 = 4096;
