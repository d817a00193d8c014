//! `.pye` → the `.pyc` files it holds.

use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, Result};
use crate::fsys;
use crate::limits::MAX_PYE_BYTES;
use crate::map::Map;
use crate::pye::ModuleKind;
use crate::pye::read::{Module, Pye};
use crate::tree::Found;

/// A `.pye` file opened for unpacking or checking.
pub struct Source {
    map: Map,
    found: Found,
}

/// Where a module's `.pyc` belongs, below the tree's root: for a package the path it was linked under, for a file of one module the
/// place of that file.
pub fn place(found: &Found, pye: &Pye<'_>, module: &Module<'_>) -> PathBuf {
    let path = fsys::path_from(module.path);
    if pye.header().is_package() { path.to_path_buf() } else { found.relative.with_file_name(path) }
}

impl Source {
    /// Opens the file.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn open(found: &Found) -> Result<Source> {
        Ok(Source { map: Map::open(&found.path, MAX_PYE_BYTES)?, found: found.clone() })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The view over its bytes.
    ///
    /// # Errors
    /// As [`Pye::open`].
    pub fn view(&self) -> Result<Pye<'_>> {
        Pye::open(&self.map).map_err(|e| e.in_file(&self.found.path))
    }

    /// Writes the `.pyc` of one module to its place below `output`; returns its bytes. A namespace package has none.
    ///
    /// # Errors
    /// The module is broken, or its place cannot be written; what stood there stays.
    pub fn unpack(&self, pye: &Pye<'_>, module: &Module<'_>, output: &Path) -> Result<Option<u64>> {
        if module.record.kind == ModuleKind::Namespace {
            return Ok(None);
        }
        let target = fsys::make_parent(output, &place(&self.found, pye, module))?;
        fsys::write_atomic(&target, None, |mut file| {
            pye.join(module, &mut file).map_err(|e| match e.kind() {
                // Joining itself does no I/O: it is the target that cannot be written, and will be named.
                ErrorKind::Io { .. } => e,
                _ => e.in_file(&self.found.path),
            })
        })?;
        Ok(Some(u64::from(module.record.pyc_len)))
    }
}
