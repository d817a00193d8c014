//! The CPython interpreters at hand: `$PYE_PYTHONS` (prefixes, colon-separated), pyenv's versions, `PATH`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A release build of CPython.
pub(crate) struct Python {
    /// Major and minor version.
    pub(crate) version: (u8, u8),
    /// The executable.
    pub(crate) path: PathBuf,
}

/// One interpreter for each version that is found, oldest first; the versions that are missing are printed. There must
/// be one.
pub(crate) fn all() -> Vec<Python> {
    let mut directories: Vec<PathBuf> = Vec::new();
    if let Some(prefixes) = std::env::var_os("PYE_PYTHONS") {
        directories.extend(std::env::split_paths(&prefixes).map(|prefix| prefix.join("bin")));
    }
    if let Some(home) = std::env::home_dir() {
        let mut versions: Vec<_> = std::fs::read_dir(home.join(".pyenv/versions"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path().join("bin"))
            .collect();
        versions.sort();
        directories.extend(versions);
    }
    directories.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let found: Vec<Python> = pye::marshal::version::VERSIONS
        .iter()
        .filter_map(|version| {
            let number = (version.major, version.minor);
            let path =
                directories.iter().map(|d| d.join(format!("python{version}"))).find(|path| is_release(path, number));
            if path.is_none() {
                eprintln!("missing: CPython {version}");
            }
            path.map(|path| Python { version: number, path })
        })
        .collect();
    assert!(!found.is_empty(), "no CPython of {} found", pye::marshal::version::Version::list());
    found
}

/// Whether `path` runs, is CPython of that very version, 64-bit, with the GIL, and no debug build.
fn is_release(path: &Path, version: (u8, u8)) -> bool {
    const ASK: &str = "import sys, platform; print('%s %d %d %s %s' % (platform.python_implementation(), sys.version_info[0], \
         sys.version_info[1], sys.maxsize == 2 ** 63 - 1, hasattr(sys, 'gettotalrefcount') or 't' in getattr(sys, 'abiflags', '')))";
    let output = path.is_file().then(|| Command::new(path).args(["-c", ASK]).output().ok()).flatten();
    output.is_some_and(|output| {
        String::from_utf8_lossy(&output.stdout).trim() == format!("CPython {} {} True False", version.0, version.1)
    })
}
