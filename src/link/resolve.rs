//! From a file's path to the module it is: dotted name, package or not, optimisation level.

use crate::pye::{ModuleKind, OPTIMIZATION_OTHER};

/// What a path says of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Dotted name; empty when the file name is not an identifier.
    pub dotted: Vec<u8>,
    /// [`ModuleKind::Module`] or [`ModuleKind::Package`].
    pub kind: ModuleKind,
    /// 0, 1, 2 or [`OPTIMIZATION_OTHER`].
    pub optimization: u8,
    /// Bytes of the path before the first part of the dotted name: the directory that would be on `sys.path`.
    pub root_len: usize,
}

/// Name of the directories that compiled files stand in, beside their sources.
pub const CACHE: &[u8] = b"__pycache__";

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The directory of its source: without a last `__pycache__`; empty for the root.
    pub directory: &'a [u8],
    /// Whether it stands in a `__pycache__` there.
    pub cached: bool,
    /// Its file name.
    pub file: &'a [u8],
}

/// Takes a relative path with `/` apart.
pub fn place(path: &[u8]) -> Place<'_> {
    let (directory, file) = match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[][..], path),
    };
    let (directory, cached) = match directory.strip_suffix(CACHE) {
        Some([]) => (&[][..], true),
        Some([rest @ .., b'/']) => (rest, true),
        _ => (directory, false),
    };
    Place { directory, cached, file }
}

/// Names the module at `path`, a relative path with `/`.
///
/// `a/__pycache__/b.cpython-312.opt-1.pyc` is `a.b` at level 1; `a/b.pyc` is `a.b`, `a/b.pyo` the same at level 1;
/// `…/__init__…` is the package of its directory. A directory whose name is not an identifier cannot be a package, so the
/// search for modules starts anew below it: `lib/python3.12/site-packages/a/b.pyc` is `a.b`.
pub fn name(path: &[u8]) -> Name {
    let Place { directory, cached, file } = place(path);
    let (stem, legacy_optimized) = match file {
        [stem @ .., b'.', b'p', b'y', b'o'] => (stem, true),
        [stem @ .., b'.', b'p', b'y', b'c'] => (stem, false),
        stem => (stem, false),
    };
    // In `__pycache__`: module, cache tag, and from PEP 488 on the optimisation.
    let mut parts = stem.split(|b| *b == b'.');
    let (module, optimization) = if cached {
        let module = parts.next().unwrap_or_default();
        let optimization = match parts.next_back().and_then(|p| p.strip_prefix(b"opt-")) {
            None => u8::from(legacy_optimized),
            Some(b"1") => 1,
            Some(b"2") => 2,
            Some(_) => OPTIMIZATION_OTHER,
        };
        (module, optimization)
    } else {
        (stem, u8::from(legacy_optimized))
    };
    // The longest run of identifiers at the end of the directory.
    let mut root_len = directory.len();
    while root_len > 0 {
        let start = directory[..root_len].iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        if !is_identifier(&directory[start..root_len]) {
            break;
        }
        root_len = start.saturating_sub(1);
        if start == 0 {
            break;
        }
    }
    let package_path = directory[root_len..].strip_prefix(b"/").unwrap_or(&directory[root_len..]);
    let mut dotted: Vec<u8> = package_path.iter().map(|b| if *b == b'/' { b'.' } else { *b }).collect();
    let kind = if module == b"__init__" && !dotted.is_empty() { ModuleKind::Package } else { ModuleKind::Module };
    if kind == ModuleKind::Module {
        if is_identifier(module) {
            if !dotted.is_empty() {
                dotted.push(b'.');
            }
            dotted.extend_from_slice(module);
        } else {
            dotted.clear();
        }
    }
    Name { dotted, kind, optimization, root_len }
}

/// Whether `part` can be a part of a dotted name: PEP 3131 closely enough for file names, where it decides only how a module is
/// found by name. Keywords count: `import_module` finds them.
pub(crate) fn is_identifier(part: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(part) else { return false };
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic()) && chars.all(|c| c == '_' || c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> (String, ModuleKind, u8, usize) {
        let name = name(path.as_bytes());
        (String::from_utf8(name.dotted).unwrap(), name.kind, name.optimization, name.root_len)
    }

    #[test]
    fn paths_are_named_as_import_would() {
        use ModuleKind::{Module, Package};
        for (path, dotted, kind, optimization, root_len) in [
            ("a/__pycache__/b.cpython-312.opt-1.pyc", "a.b", Module, 1, 0),
            ("a/__pycache__/b.cpython-312.opt-2.pyc", "a.b", Module, 2, 0),
            ("a/__pycache__/b.cpython-312.opt-fast.pyc", "a.b", Module, OPTIMIZATION_OTHER, 0),
            ("a/__pycache__/b.cpython-312.pyc", "a.b", Module, 0, 0),
            ("a/__pycache__/__init__.cpython-312.pyc", "a", Package, 0, 0),
            ("__pycache__/b.cpython-312.pyc", "b", Module, 0, 0),
            ("a/b.pyc", "a.b", Module, 0, 0),
            ("a/b.pyo", "a.b", Module, 1, 0),
            ("a/__init__.pyc", "a", Package, 0, 0),
            ("__init__.pyc", "__init__", Module, 0, 0),
            ("lib/python3.12/site-packages/a/b.pyc", "a.b", Module, 0, 28),
            ("lib/python3.12/os.pyc", "os", Module, 0, 14),
            ("größe/b.pyc", "größe.b", Module, 0, 0),
            ("x-y/b.pyc", "b", Module, 0, 3),
            ("a/not-a-name.pyc", "", Module, 0, 0),
        ] {
            assert_eq!(parts(path), (dotted.into(), kind, optimization, root_len), "{path}");
        }
    }
}
