//! What is being done, for progress to be shown.

use std::path::Path;

use super::roots::{Contents, Root};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// So many sources are compiled.
    Compile(usize),
    /// These files are linked.
    Link(&'a Root, &'a Contents),
    /// So many more bytes of the files being linked, or loaded into an image, have been read or written.
    Bytes(u64),
    /// An image is made of so many bytes of `.pyc`, for the package of this directory.
    Image(&'a Path, u64),
}
