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

pub mod cache;
pub mod command;
pub mod compile;
pub mod doctor;
pub mod environment;
pub mod install;
pub mod interpreter;
pub mod journal;
pub mod place;
pub mod roots;
