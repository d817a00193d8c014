//! Where an interpreter's own objects are, from process to process: what decides who can share images.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::elf::{self, FileHeader64};
use serde::Serialize;

use super::pin::Pin;
use crate::error::{Error, Result};

/// What is so of one process, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "are")]
pub enum Addresses {
    /// The same in every process: the program's linker has chosen them (`ET_EXEC`).
    Fixed {
        /// Of the first byte of the file.
        start: u64,
    },
    /// The same in every process: `pye pin` has chosen them.
    Pinned {
        /// Of the first byte of the file.
        start: u64,
        /// Files that it was made of and that are no more what they were.
        outdated: Vec<PathBuf>,
    },
    /// Chosen by `pye pin`, but something else was there in this process.
    Displaced {
        /// Where the file asks to be.
        base: u64,
        /// Of the first byte of the file.
        start: u64,
    },
    /// Others in each process that is started; the same in those that are forked.
    Random,
}

impl Addresses {
    /// Those of a process that has `runtime` mapped at `start`.
    ///
    /// # Errors
    /// The file, or the record of `pye pin`, cannot be read.
    pub fn of(runtime: &Path, start: u64) -> Result<Addresses> {
        if let Some(pin) = Pin::of_file(runtime)
            && let Some(record) = pin.record()?
        {
            return Ok(if record.base == start {
                let outdated = record.outdated().into_iter().map(Path::to_path_buf).collect();
                Addresses::Pinned { start, outdated }
            } else {
                Addresses::Displaced { base: record.base, start }
            });
        }
        Ok(if is_fixed(runtime)? { Addresses::Fixed { start } } else { Addresses::Random })
    }

    /// Who shares images, in a sentence.
    pub fn meaning(&self) -> String {
        match self {
            Addresses::Fixed { start } => {
                format!("fixed at {start:#x} by the program's linker: all processes of the machine share images")
            }
            Addresses::Pinned { start, .. } => format!(
                "pinned at {start:#x}: all processes of the machine share images; where Python's own code lies is random for each installation, \
                 not for each process"
            ),
            Addresses::Displaced { base, start } => {
                format!("at {start:#x}, since {base:#x}, where they are pinned, was taken: this process shares images with its children only")
            }
            Addresses::Random => "others in each process that is started: processes forked from one parent share images, and `pye pin` lets all".into(),
        }
    }
}

/// Whether a file is a program of fixed addresses.
fn is_fixed(path: &Path) -> Result<bool> {
    let mut bytes = [0; size_of::<FileHeader64<LE>>()];
    let mut file = std::fs::File::open(path).map_err(|e| Error::io("cannot open", e).in_file(path))?;
    file.read_exact(&mut bytes).map_err(|e| Error::io("cannot read", e).in_file(path))?;
    let header = object::pod::from_bytes::<FileHeader64<LE>>(&bytes);
    Ok(header.is_ok_and(|(header, _)| header.e_ident.magic == elf::ELFMAG && header.e_type.get(LE) == elf::ET_EXEC))
}
