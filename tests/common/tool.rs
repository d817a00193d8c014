//! Runs the `pye` command, makes small `.pyc` files whose every constant is chosen, and compares trees.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use pye::convert::{Converter, Options};
use pye::marshal::version::Version;
use pye::pye::read::{Module, Pye};
use pye::pye::{NAMES, PARTS, Part, Record};
use pye::split::DEFAULT_MIN_BLOB;
use serde_json::Value;
use walkdir::WalkDir;

/// The options of a plain `pye convert` or `pye link`.
pub(crate) const DEFAULT: Options = Options { min_blob: DEFAULT_MIN_BLOB, min_bytes: 0, python_version: None };

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_pye");

/// Arguments of mixed types.
pub(crate) type Args<'a> = &'a [&'a dyn AsRef<OsStr>];

/// `pye` with these arguments.
pub(crate) fn command(args: Args<'_>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args.iter().map(|a| a.as_ref())).stdin(Stdio::null());
    command
}

/// Runs `pye` to its end; it must not die.
pub(crate) fn run(args: Args<'_>) -> Output {
    let output = command(args).output().expect("pye runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|c| c <= 2), "{}: {stderr}", output.status);
    assert!(!stderr.contains("panicked"), "{stderr}");
    output
}

/// Runs `pye`, which must end with 0 and say nothing on standard error; returns its JSON report.
pub(crate) fn good(args: Args<'_>) -> Value {
    report(args, 0)
}

/// Runs `pye`, which must end with 1; returns its JSON report.
pub(crate) fn bad(args: Args<'_>) -> Value {
    report(args, 1)
}

fn report(args: Args<'_>, status: i32) -> Value {
    let output = run(&[args, &[&"--json"]].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let shown: Vec<_> = args.iter().map(|a| a.as_ref()).collect();
    assert_eq!(output.status.code(), Some(status), "{shown:?}:\n{out}{err}");
    assert_eq!(err, "", "{shown:?}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{shown:?}: {e}: {out}"))
}

/// Runs `pye`, which must end with 1 before it has anything to report; returns what it says on standard error.
pub(crate) fn fails(args: Args<'_>) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The messages of a list of problems in a report.
pub(crate) fn messages(problems: &Value) -> Vec<String> {
    let list = problems.as_array().unwrap_or_else(|| panic!("no list: {problems}"));
    list.iter().map(|p| p["message"].as_str().expect("a message").to_string()).collect()
}

/// All regular files below `tree` with one of `extensions` (all of them when there is none), by relative path.
pub(crate) fn contents(tree: &Path, extensions: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    paths(tree, extensions)
        .into_iter()
        .map(|p| (p.clone(), fs::read(tree.join(p)).expect("a file just found")))
        .collect()
}

/// Their relative paths, sorted.
pub(crate) fn paths(tree: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = WalkDir::new(tree)
        .into_iter()
        .map(|entry| entry.expect("the tree is readable"))
        .filter(|e| e.file_type().is_file())
        .filter(|e| extensions.is_empty() || e.path().extension().is_some_and(|x| extensions.iter().any(|y| x == *y)))
        .map(|e| e.path().strip_prefix(tree).expect("below the tree").to_path_buf())
        .collect();
    paths.sort();
    paths
}

/// That two trees hold the same `.pyc` and `.pyo` files under the same names, and `left` nothing else. One file at a time: the trees
/// of all standard libraries are large.
pub(crate) fn assert_same_pycs(left: &Path, right: &Path) {
    let names = paths(right, &["pyc", "pyo"]);
    assert!(!names.is_empty(), "nothing in {}", right.display());
    assert!(paths(left, &[]) == names, "{} and {} hold different names", left.display(), right.display());
    for name in names {
        let same = fs::read(left.join(&name)).expect("readable") == fs::read(right.join(&name)).expect("readable");
        assert!(same, "{} differs", name.display());
    }
}

/// That two packages hold the same modules in the same form, whatever they say of directories.
pub(crate) fn assert_same_modules(left: &Path, right: &Path) {
    let bytes = [left, right].map(|p| fs::read(p).expect("readable"));
    let [a, b] = [&bytes[0], &bytes[1]].map(|bytes| Pye::open(bytes).expect("a .pye"));
    // Names and directories apart; records hold places of names.
    let other = [Part::Header, Part::Modules, Part::Names, Part::Directories].map(|p| p as usize);
    for part in (0..PARTS).filter(|p| !other.contains(p)) {
        assert!(a.part(part) == b.part(part), "{} of {} and {}", NAMES[part], left.display(), right.display());
    }
    assert_eq!((a.len(), &a.header().pyc_bytes), (b.len(), &b.header().pyc_bytes));
    for (a, b) in a.modules().zip(b.modules()).map(|(a, b)| (a.expect("a module"), b.expect("a module"))) {
        let identity = |m: &Module<'_>| Record { name: 0, path: 0, ..m.record.clone() };
        assert_eq!((a.name, a.path, identity(&a)), (b.name, b.path, identity(&b)));
    }
}

/// Writes a file, and the directories on the way to it.
pub(crate) fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("the directory can be made");
    fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Gives every directory of a tree an mtime that depends on nothing but its relative path: packages hold these times.
pub(crate) fn settle(tree: &Path) {
    for entry in WalkDir::new(tree).into_iter().map(|e| e.expect("the tree is readable")) {
        if entry.file_type().is_dir() {
            let nanos = entry.path().strip_prefix(tree).expect("below the tree").as_os_str().len() as u64;
            let time = SystemTime::UNIX_EPOCH + Duration::new(1_577_836_800, 0) + Duration::from_nanos(nanos);
            fs::File::open(entry.path()).and_then(|d| d.set_modified(time)).expect("the time can be set");
        }
    }
}

/// One constant of a made `.pyc`.
#[derive(Clone, Debug)]
pub(crate) enum Const {
    /// Text, UTF-8 (surrogates passed) in the file.
    Text(String),
    /// A byte string.
    Bytes(Vec<u8>),
}

/// So many times a few words are longer than the threshold.
const LONGER: usize = 1 + DEFAULT_MIN_BLOB as usize / 16;

/// Text long enough to be cut out, of one of the widths: `what` makes it unique. Its first or last character needs the width.
pub(crate) fn text(what: &str, widest: char) -> Const {
    Const::Text(format!("{what}: {}{widest}", "text longer than the threshold ".repeat(LONGER)))
}

/// Bytes long enough to be cut out, with NULs inside.
pub(crate) fn bytes(what: &str) -> Const {
    Const::Bytes([what.as_bytes(), &b"\0bytes \xff\xfe longer than the threshold\0\x01".repeat(LONGER)].concat())
}

fn version(major: u8, minor: u8) -> &'static Version {
    Version::by_number(major, minor).expect("a version of the table")
}

/// A `.pyc` that CPython would load: a code object of that version with these constants, mtime 2020-01-01.
pub(crate) fn pyc(python: (u8, u8), constants: &[Const]) -> Vec<u8> {
    let version = version(python.0, python.1);
    let mut out = version.magic_bytes().to_vec();
    if version.header_len == 16 {
        out.extend([0; 4]);
    }
    out.extend(1_577_836_800u32.to_le_bytes());
    out.resize(version.header_len, 0);
    let sized = |code: u8, bytes: &[u8]| [&[code][..], &(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let mut consts = [b"(".as_slice(), &(constants.len() as u32).to_le_bytes()].concat();
    for constant in constants {
        consts.extend(match constant {
            Const::Text(text) => sized(b'u', text.as_bytes()),
            Const::Bytes(bytes) => sized(b's', bytes),
        });
    }
    let object = |field: &str| match field {
        "consts" => consts.clone(),
        // Sixteen bytes are an instruction sequence in every version as long as nobody runs them.
        "code" => sized(b's', &[9; 16]),
        "names" | "varnames" | "freevars" | "cellvars" | "localsplusnames" => b"(\0\0\0\0".to_vec(),
        "filename" | "name" | "qualname" => sized(b't', b"x"),
        _ => sized(b's', b""),
    };
    out.push(b'c');
    for long in version.code.longs {
        out.extend(u32::from(*long == "stacksize").to_le_bytes());
    }
    version.code.objects.iter().for_each(|f| out.extend(object(f)));
    out.extend(1u32.to_le_bytes());
    version.code.tail.iter().for_each(|f| out.extend(object(f)));
    out
}

/// A `.pyc` of 3.12 told apart by `what`, which it holds as text, and with a text that all of these share.
pub(crate) fn module(what: &str) -> Vec<u8> {
    pyc((3, 12), &[text(what, '.'), text("shared by all", '.'), bytes(what)])
}

/// The `.pye` of a `.pyc` of that name.
pub(crate) fn converted(pyc: &[u8], name: &str) -> Vec<u8> {
    Converter::default().convert_bytes(pyc, name.as_bytes(), DEFAULT).expect("the format can hold it").0.to_vec()
}

/// Runs `pye` as a user who owns nothing: as root through `setpriv`, else as the user who runs the tests. The program is copied to
/// where that user can reach it.
pub(crate) fn as_nobody(args: Args<'_>) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = program_for_all(directory.path());
    let mut command = Command::new(&program);
    if is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
    }
    command
        .args(args.iter().map(|a| a.as_ref()))
        .stdin(Stdio::null())
        .output()
        .expect("setpriv (util-linux) is installed")
}

/// Opens `directory` to all users and copies the program there: the build directory may be closed to others. The copy is made by
/// another process, for a file that this one has open for writing cannot be run while a child of another thread still holds it.
pub(crate) fn program_for_all(directory: &Path) -> PathBuf {
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(directory, open).expect("its mode can be set");
    let program = directory.join("pye");
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().expect("cp runs").success());
    program
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}
