//! What the tests share: the interpreters at hand and byte-compiled trees of their libraries.
//!
//! Interpreters are looked for under the user's pyenv (`~/.pyenv/versions/*/bin`, or under `PYENV_ROOT`), in the prefixes
//! that `PYE_PYTHONS` names (colon-separated, each holding `usr/bin` or `bin`), and on `PATH`, in this order. The first
//! call says on standard error which versions are missing; those that `PYE_REQUIRE_PYTHONS` lists (`2.7,3.6,…`) must be
//! there.

#![allow(dead_code, reason = "each test binary uses a part of this module")]

pub(crate) mod failing;
pub(crate) mod file;
pub(crate) mod image;
pub(crate) mod kills;
pub(crate) mod loader;
pub(crate) mod mutate;
pub(crate) mod objects;
pub(crate) mod opened;
pub(crate) mod random;
pub(crate) mod tool;

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use pye::marshal::version::{VERSIONS, Version};
use walkdir::WalkDir;

/// The number that the variable `name` holds: how often something is done.
///
/// # Panics
/// It holds something else.
pub(crate) fn number(name: &str, otherwise: usize) -> usize {
    let Some(value) = env::var_os(name) else { return otherwise };
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("{name}: expected a number, got {value:?}"))
}

/// A CPython that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    /// Major and minor version.
    pub(crate) version: (u8, u8),
    /// The executable.
    pub(crate) path: PathBuf,
    /// Whether it was built with `--with-pydebug`.
    pub(crate) debug: bool,
}

impl Python {
    /// A command that runs this interpreter without the user's settings and site-packages, writing no bytecode.
    pub(crate) fn command(&self) -> Command {
        let mut command = bare(&self.path);
        command.args(["-E", "-s", "-B"]);
        command
    }

    /// pye's table row for it.
    pub(crate) fn row(&self) -> &'static Version {
        Version::by_number(self.version.0, self.version.1).expect("only versions of the table are looked for")
    }

    /// "3.12".
    pub(crate) fn name(&self) -> String {
        self.row().to_string()
    }

    /// Whether the version is at least `major.minor`.
    pub(crate) fn at_least(&self, major: u8, minor: u8) -> bool {
        self.version >= (major, minor)
    }
}

struct Found {
    release: Vec<Python>,
    debug: Vec<Python>,
    other: Vec<Python>,
}

/// One interpreter a minor version, oldest first; a debug build stands in only where there is no other.
///
/// # Panics
/// When there is none at all, or one that `PYE_REQUIRE_PYTHONS` lists is missing.
pub(crate) fn pythons() -> &'static [Python] {
    &found().release
}

/// The debug builds, one a minor version.
pub(crate) fn debug_pythons() -> &'static [Python] {
    &found().debug
}

/// A second release build of a minor version, for each that has one: what fits a build alone must not be used by another.
pub(crate) fn other_pythons() -> &'static [Python] {
    &found().other
}

/// The versions pye reads for which there is no interpreter.
pub(crate) fn missing() -> Vec<String> {
    missing_among(pythons())
}

fn missing_among(pythons: &[Python]) -> Vec<String> {
    let there = |v: &Version| pythons.iter().any(|p| p.version == (v.major, v.minor));
    VERSIONS.iter().filter(|v| !there(v)).map(ToString::to_string).collect()
}

fn found() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = find();
        let missing = missing_among(&found.release);
        if !missing.is_empty() {
            // Not `eprintln!`: the test harness would hide it when the test passes.
            let _ = writeln!(io::stderr(), "note: tested without Python {}: not found", missing.join(", "));
        }
        assert!(!found.release.is_empty(), "no CPython found under pyenv, in PYE_PYTHONS or on PATH");
        let required = env::var("PYE_REQUIRE_PYTHONS").unwrap_or_default();
        for name in required.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let known = VERSIONS.iter().any(|v| v.to_string() == name);
            assert!(known, "PYE_REQUIRE_PYTHONS: {name} is none of {}", Version::list());
            assert!(!missing.iter().any(|m| m == name), "PYE_REQUIRE_PYTHONS: Python {name} is required and not found");
        }
        found
    })
}

fn find() -> Found {
    let directories = directories();
    let mut found = Found { release: Vec::new(), debug: Vec::new(), other: Vec::new() };
    for row in &VERSIONS {
        // pyenv's micro versions come in any order: the newest wins, since `directories` lists it first.
        let first = |names: &[String], debug: bool, but: Option<&Python>| {
            // The same file may be found under many names.
            let but = but.and_then(|python| python.path.canonicalize().ok());
            let paths = directories.iter().flat_map(|d| names.iter().map(move |n| d.join(n)));
            paths.filter(|path| but.is_none() || path.canonicalize().ok() != but).find_map(|path| {
                let python = probe(&path)?;
                (python.version == (row.major, row.minor) && python.debug == debug).then_some(python)
            })
        };
        let name = [format!("python{row}")];
        let release = first(&name, false, None);
        let debug = first(&[format!("python{row}-dbg"), format!("python{row}d"), format!("python{row}")], true, None);
        // Images begin with 3.12, and nothing else asks for it.
        let other = release.as_ref().filter(|python| python.at_least(3, 12)).and_then(|r| first(&name, false, Some(r)));
        found.other.extend(other);
        found.release.extend(release.or_else(|| debug.clone()));
        found.debug.extend(debug);
    }
    found
}

/// Where interpreters may stand, best first.
fn directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    if let Some(pyenv) = root.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".pyenv"))) {
        let versions = pyenv.join("versions");
        let mut installed: Vec<PathBuf> =
            fs::read_dir(versions).into_iter().flatten().flatten().map(|e| e.path()).collect();
        installed.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
        directories.extend(installed.into_iter().map(|path| path.join("bin")));
    }
    if let Some(prefixes) = env::var_os("PYE_PYTHONS") {
        for prefix in env::split_paths(&prefixes).filter(|p| !p.as_os_str().is_empty()) {
            let candidates = [prefix.join("usr/bin"), prefix.join("bin")];
            assert!(candidates.iter().any(|c| c.is_dir()), "PYE_PYTHONS: {} holds no usr/bin or bin", prefix.display());
            directories.extend(candidates);
        }
    }
    if let Some(path) = env::var_os("PATH") {
        // pyenv's shims are shell scripts that fail for versions not chosen: the real ones are listed already.
        directories.extend(env::split_paths(&path).filter(|p| !p.ends_with(".pyenv/shims")));
    }
    directories.retain(|d| d.is_dir());
    directories
}

/// The numbers in a directory's name, to sort `3.9.18` below `3.10.13`.
fn numbers(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// Asks the executable what it is; nothing when it is not a CPython that runs.
fn probe(path: &Path) -> Option<Python> {
    if !path.is_file() {
        return None;
    }
    let script = "import sys, platform; print('%s %d %d %d' % (platform.python_implementation(), \
                  sys.version_info[0], sys.version_info[1], hasattr(sys, 'gettotalrefcount')))";
    let output = bare(path).args(["-E", "-S", "-B", "-c", script]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut fields = text.split_whitespace();
    if fields.next()? != "CPython" {
        return None;
    }
    let version = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Python { version, path: path.to_path_buf(), debug: fields.next()? == "1" })
}

/// A command without the variables that would change what Python does.
pub(crate) fn bare(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH").env_remove("PYTHONOPTIMIZE").env_remove("PYTHONWARNINGS");
    command.env_remove("PYTHONPYCACHEPREFIX").env_remove("SOURCE_DATE_EPOCH");
    command
}

/// The directory of the interpreter's standard library.
pub(crate) fn stdlib(python: &Python) -> PathBuf {
    let script = "import sysconfig; print(sysconfig.get_paths()['stdlib'])";
    let output = python.command().args(["-c", script]).output().expect("a probed interpreter runs");
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    assert!(path.is_dir(), "the standard library of {} is not at {}", python.path.display(), path.display());
    path
}

/// A tree with a `.pyc` for each module of the standard library that compiles: the interpreter's own directory where it
/// is compiled already (it then holds site-packages too), else a compiled copy kept under the target directory.
pub(crate) fn compiled_stdlib(python: &Python) -> PathBuf {
    /// Two tests of one binary must not both compile the copy.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let source = stdlib(python);
    if is_compiled(&source, python) {
        return source;
    }
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let kept = cache_dir().join(format!(
        "stdlib-{}-{:08x}",
        python.name(),
        crc32fast::hash(source.as_os_str().as_encoded_bytes())
    ));
    if !kept.is_dir() {
        let fresh = tempfile::tempdir_in(cache_dir()).expect("the target directory is writable");
        for relative in sources(&source) {
            copy_source(&source.join(&relative), &fresh.path().join(&relative));
        }
        compile(python, fresh.path(), &[], &[]);
        assert!(is_compiled(fresh.path(), python), "{} compiled hardly any of its library", python.path.display());
        // Renamed when it is whole; another process may have been quicker.
        if fs::rename(fresh.path(), &kept).is_ok() {
            let _ = fresh.keep();
        }
    }
    assert!(is_compiled(&kept, python), "{} is incomplete: remove it", kept.display());
    kept
}

/// Every `.pyc` (and 2.7's `.pyo`) under `tree`, sorted, site-packages left out.
pub(crate) fn pycs(tree: &Path) -> Vec<PathBuf> {
    files(tree, &["pyc", "pyo"])
}

/// How one set of packages was compiled.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    /// `timestamp`, `checked-hash`, `unchecked-hash`, `O`, `OO` or `legacy`.
    pub(crate) name: &'static str,
    /// The tree: sources with their `.pyc` files beside them or in `__pycache__`.
    pub(crate) dir: PathBuf,
}

/// Compiles the standard library's `packages` (or single modules, `abc.py`) in each way this version knows, one tree
/// each under `dir`: `timestamp`; `checked-hash` and `unchecked-hash` (from 3.7); `O` and `OO`; `legacy`, where `X.pyc`
/// lies beside `X.py` (2.7 has no other place). The sources' times are set, so that the trees are the same each time.
pub(crate) fn compile_variants(python: &Python, packages: &[&str], dir: &Path) -> Vec<Variant> {
    let mut ways: Vec<(&'static str, &[&str], &[&str])> =
        vec![("timestamp", &[], &[]), ("O", &["-O"], &[]), ("OO", &["-OO"], &[])];
    if python.at_least(3, 7) {
        ways.push(("checked-hash", &[], &["--invalidation-mode", "checked-hash"]));
        ways.push(("unchecked-hash", &[], &["--invalidation-mode", "unchecked-hash"]));
    }
    ways.push(("legacy", &[], if python.at_least(3, 0) { &["-b"] } else { &[] }));
    let library = stdlib(python);
    let compile_one = |(name, interpreter, compileall): (&'static str, &[&str], &[&str])| {
        let tree = dir.join(name);
        for package in packages {
            let from = library.join(package);
            if from.is_file() {
                copy_source(&from, &tree.join(package));
            } else {
                let modules = sources(&from);
                assert!(!modules.is_empty(), "no package {package} in {}", library.display());
                for relative in modules {
                    copy_source(&from.join(&relative), &tree.join(package).join(&relative));
                }
            }
        }
        compile(python, &tree, interpreter, compileall);
        assert!(!pycs(&tree).is_empty(), "{} compiled nothing as {name}", python.path.display());
        Variant { name, dir: tree }
    };
    ways.into_iter().map(compile_one).collect()
}

/// Runs `compileall` on a tree. Files that are not meant to compile (`test/bad_*.py`) make it fail: not looked at.
fn compile(python: &Python, tree: &Path, interpreter: &[&str], options: &[&str]) {
    // This includes `-B`, which keeps the imports of `compileall` itself from writing into the interpreter's library; it
    // writes what it is asked for all the same.
    let mut command = python.command();
    command.args(interpreter).args(["-m", "compileall", "-q"]).args(options);
    // `-d`: the name in the code objects must not depend on where the tests run.
    command.args([OsStr::new("-d"), OsStr::new("lib"), tree.as_os_str()]);
    let output = command.stdin(Stdio::null()).output().expect("a probed interpreter runs");
    assert!(output.status.code().is_some(), "{} died compiling {}", python.path.display(), tree.display());
}

/// Where the tests keep what is slow to make: Cargo's directory for it.
pub(crate) fn cache_dir() -> &'static Path {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(path).expect("the target directory is writable");
    path
}

/// Whether all modules under `tree` have a `.pyc`, but for 3 %: the files meant not to compile are at most 2 %.
fn is_compiled(tree: &Path, python: &Python) -> bool {
    let modules = sources(tree);
    let lacking = modules.iter().filter(|relative| !pyc_of(&tree.join(relative), python).is_file()).count();
    !modules.is_empty() && lacking * 100 <= modules.len() * 3
}

/// Where the interpreter puts the `.pyc` of a source file.
pub(crate) fn pyc_of(source: &Path, python: &Python) -> PathBuf {
    if python.version.0 == 2 {
        return source.with_extension("pyc");
    }
    let mut name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let _ = write!(name, ".cpython-{}{}.pyc", python.version.0, python.version.1);
    source.with_file_name("__pycache__").join(name)
}

/// The `.py` files under `tree` as relative paths, sorted, site-packages left out.
fn sources(tree: &Path) -> Vec<PathBuf> {
    files(tree, &["py"]).into_iter().filter_map(|p| p.strip_prefix(tree).ok().map(Path::to_path_buf)).collect()
}

fn files(tree: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let others = ["site-packages", "dist-packages"];
    let entries = WalkDir::new(tree).sort_by_file_name().into_iter();
    entries
        .filter_entry(|e| e.depth() == 0 || !others.iter().any(|o| e.file_name() == *o))
        .map(|entry| entry.expect("the library is readable").into_path())
        .filter(|path| path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) && path.is_file())
        .collect()
}

/// Copies a source file and sets its time to 2020-01-01, which the `.pyc` will state.
fn copy_source(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a file lies in a directory")).expect("the copy's directory can be made");
    fs::copy(from, to).expect("a source can be copied");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    File::options().write(true).open(to).and_then(|f| f.set_modified(time)).expect("a copy's time can be set");
}

/// The directory that the Python package is staged in.
pub(crate) fn site() -> &'static Path {
    static SITE: OnceLock<PathBuf> = OnceLock::new();
    SITE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/stage");
        let output = Command::new(script).output().expect("python/stage runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
    })
}
