//! Has reading or writing fail from any byte on, by a library that stands before the C library's functions. Files that are mapped are not read: what the kernel cannot read
//! of them ends the process (`SIGBUS`), as with any library.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library, compiled.
pub(crate) struct Failing(PathBuf);

/// From which byte on what fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Reading, with `EIO`.
    Read(u64),
    /// Writing, with `ENOSPC`.
    Write(u64),
}

impl Failing {
    /// Compiles the library into `directory`.
    pub(crate) fn new(directory: &Path) -> Failing {
        let library = directory.join("failing.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/failing.c");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC"]).arg(source).arg("-o").arg(&library);
        let output = cc.args(["-ldl", "-lpthread"]).output().expect("a C compiler, as for linking");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Failing(library)
    }

    /// Has `command`, and what it starts, fail with files below `directory`.
    pub(crate) fn apply(&self, command: &mut Command, directory: &Path, fault: Fault) {
        let (variable, bytes) = match fault {
            Fault::Read(bytes) => ("PYE_FAIL_READ", bytes),
            Fault::Write(bytes) => ("PYE_FAIL_WRITE", bytes),
        };
        command.env("LD_PRELOAD", &self.0).env("PYE_FAIL_BELOW", directory).env(variable, bytes.to_string());
    }
}
