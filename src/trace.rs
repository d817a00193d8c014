//! Runs a command and learns which modules each Python process of it imported.
//!
//! A temporary directory that stands first on `PYTHONPATH` holds a `sitecustomize.py` (`trace.py` here), which every
//! CPython of the command runs at its start; when the process ends it writes a record into that directory. It gets out of
//! the way at once and runs the `sitecustomize` it hides.
//!
//! What is not seen: interpreters that ignore `PYTHONPATH` or `site` (`-I`, `-E`, `-S`, embedded ones, a command that
//! sets `PYTHONPATH` itself); processes that end by a signal without a Python handler, or by C's `_exit` (children of
//! `os.fork` leave at least the modules they were born with); processes that outlive the command; modules taken out of
//! `sys.modules` again.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const SITECUSTOMIZE: &str = include_str!("trace.py");

/// What a command did.
#[derive(Debug)]
pub struct Trace {
    /// How it ended.
    pub status: ExitStatus,
    /// Its Python processes: the command's own first, then by process number. Never empty.
    pub processes: Vec<Process>,
}

/// One Python process.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number, as it was when the record was written.
    pub parent: u32,
    /// Major and minor version of Python.
    pub version: (u8, u8),
    /// `sys.implementation.name`: `cpython` but for others.
    pub implementation: String,
    /// Whether the build has a global interpreter lock.
    pub gil: bool,
    /// Whether it is a `--with-pydebug` build.
    pub debug: bool,
    /// Whether `os.fork` made it.
    pub forked: bool,
    /// When the record was written.
    pub end: End,
    /// The interpreter.
    pub executable: PathBuf,
    /// Bytes of the names of files that path entry finders keep, of directories that are not on `sys.path` themselves (3.x).
    pub caches: u64,
    /// `sys.argv`.
    pub argv: Vec<String>,
    /// What was in `sys.modules`, by name.
    pub modules: Vec<Module>,
}

/// The moment at which a process told what it had imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// At its end.
    Exit,
    /// In `os._exit`.
    #[serde(rename = "_exit")]
    UnderscoreExit,
    /// Before it replaced itself by another program.
    Exec,
    /// Just after `os.fork`; it told nothing later, so it was killed or left without Python noticing.
    Fork,
}

/// An imported module.
#[derive(Debug)]
pub struct Module {
    /// Its name in `sys.modules`.
    pub name: String,
    /// Where its code came from.
    pub source: Source,
}

/// Where a module's code came from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// This `.pyc`.
    Pyc(PathBuf),
    /// From source; no `.pyc` stands where one would be: it could not or should not be written.
    NoPyc,
    /// The script, `-c` or input that was run, which is never cached.
    Script,
    /// Compiled into the interpreter.
    BuiltIn,
    /// Python code compiled into the interpreter.
    Frozen,
    /// A shared library.
    Extension,
    /// A zip file.
    Zip,
    /// A package without code.
    Namespace,
    /// Made at run time, or loaded by a loader of its own.
    Other,
}

impl Source {
    /// For tables; also the key in JSON, with `_` for blanks.
    pub fn label(&self) -> &'static str {
        match self {
            Source::Pyc(_) => "from a .pyc",
            Source::NoPyc => "no .pyc written",
            Source::Script => "the script itself",
            Source::BuiltIn => "built in",
            Source::Frozen => "frozen",
            Source::Extension => "extension",
            Source::Zip => "in a zip file",
            Source::Namespace => "namespace package",
            Source::Other => "made at run time",
        }
    }
}

/// Runs `argv` with its standard streams and environment as they are but for the tracing, and reads the traces.
///
/// While it runs, SIGINT and SIGQUIT, which a terminal sends to both, are the command's to answer.
///
/// # Errors
/// The command cannot be started; the temporary directory cannot be used; no Python process left a record.
pub fn run(argv: &[OsString]) -> Result<Trace> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Error::malformed("a command", "nothing"));
    };
    let directory = tempfile::Builder::new()
        .prefix("pye-trace-")
        .tempdir()
        .map_err(|e| Error::io("cannot make a directory for the import trace", e).in_file(std::env::temp_dir()))?;
    // Relative entries of PYTHONPATH mean another place in every process.
    let place = std::path::absolute(directory.path())
        .map_err(|e| Error::io("cannot find the directory for the import trace", e).in_file(directory.path()))?;
    let script = place.join("sitecustomize.py");
    std::fs::write(&script, SITECUSTOMIZE)
        .map_err(|e| Error::io("cannot write the import tracer", e).in_file(&script))?;
    let mut search = place.clone().into_os_string();
    // An empty entry would mean the working directory.
    if let Some(old) = std::env::var_os("PYTHONPATH").filter(|old| !old.is_empty()) {
        search.push(":");
        search.push(old);
    }
    let over = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGQUIT] {
        // Does what the signal does by default, but only once the command is over.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&over))
            .map_err(|e| Error::io("cannot leave signals to the command", e))?;
    }
    let result = Command::new(program)
        .args(arguments)
        .env("PYTHONPATH", search)
        .env("PYE_TRACE_DIR", &place)
        .spawn()
        .and_then(|mut child| child.wait().map(|status| (child.id(), status)));
    over.store(true, Ordering::SeqCst);
    let (pid, status) = result.map_err(|e| Error::io("cannot run", e).in_file(program))?;
    let mut processes = records(&place)?;
    // A fork that became another program was Python for a moment only: 2.7's subprocess does so each time.
    processes.retain(|process| !(process.forked && process.end == End::Exec));
    if processes.is_empty() {
        return Err(Error::unsupported(
            "an import trace from a Python process",
            format!("none (the command ended with {})", describe(status)),
            "a trace needs CPython 2.7 or 3.6 and later, started without -I, -E or -S, with PYTHONPATH as pye set it, and \
             ended other than by a signal: run the interpreter itself without those options, and let it end by itself",
        ));
    }
    processes.sort_by_key(|process| (process.pid != pid, process.pid));
    Ok(Trace { status, processes })
}

/// How a command ended, in words.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// All records in `directory`.
fn records(directory: &Path) -> Result<Vec<Process>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()
    };
    let mut paths = list().map_err(|e| Error::io("cannot list", e).in_file(directory))?;
    // Unfinished records end in `.part`.
    paths.retain(|path| path.extension() == Some(OsStr::new("json")));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).map_err(|e| Error::io("cannot read", e).in_file(path))?;
            parse(&bytes).map_err(|e| e.in_file(path))
        })
        .collect()
}

/// A record as `trace.py` writes it. Every text is a JSON string with one character a byte.
#[derive(Deserialize)]
struct Record {
    pid: u32,
    parent: u32,
    version: (u8, u8),
    implementation: String,
    gil: bool,
    debug: bool,
    caches: u64,
    forked: bool,
    end: End,
    directory: String,
    executable: Option<String>,
    argv: Vec<String>,
    modules: Vec<RecordedModule>,
}

/// Name, the loader's type, the spec's origin, `__file__`, the spec's cached, whether it has `__path__`.
#[derive(Deserialize)]
struct RecordedModule(String, Option<String>, Option<String>, Option<String>, Option<String>, bool);

fn parse(bytes: &[u8]) -> Result<Process> {
    let record: Record = serde_json::from_slice(bytes)
        .map_err(|e| Error::malformed("a record of the import tracer", format!("something else: {e}")))?;
    let directory = path(&record.directory);
    let mut modules: Vec<Module> = record.modules.iter().map(|module| classify(module, &directory)).collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Process {
        pid: record.pid,
        parent: record.parent,
        version: record.version,
        implementation: record.implementation,
        gil: record.gil,
        debug: record.debug,
        forked: record.forked,
        end: record.end,
        executable: record.executable.as_deref().map(path).unwrap_or_default(),
        caches: record.caches,
        argv: record.argv.iter().map(|text| lossy(text)).collect(),
        modules,
    })
}

fn classify(module: &RecordedModule, directory: &Path) -> Module {
    let RecordedModule(name, loader, origin, file, cached, is_package) = module;
    let (loader, origin) = (loader.as_deref().unwrap_or_default(), origin.as_deref().unwrap_or_default());
    let existing = |text: &Option<String>| {
        let path = directory.join(path(text.as_deref()?));
        path.is_file().then_some(path)
    };
    let source = if loader == "BuiltinImporter" || origin == "built-in" {
        Source::BuiltIn
    } else if loader == "FrozenImporter" || origin == "frozen" {
        Source::Frozen
    } else if loader == "ExtensionFileLoader" || file.as_deref().is_some_and(|file| file.ends_with(".so")) {
        Source::Extension
    } else if loader == "zipimporter" {
        Source::Zip
    } else if let Some(pyc) = existing(cached) {
        Source::Pyc(pyc)
    } else if let Some(pyc) = existing(file).filter(|file| file.extension() == Some(OsStr::new("pyc"))) {
        Source::Pyc(pyc)
    } else if cached.is_some() {
        Source::NoPyc
    } else if name == "__main__" {
        Source::Script
    } else if *is_package && file.is_none() {
        Source::Namespace
    } else {
        Source::Other
    };
    Module { name: lossy(name), source }
}

/// The bytes of a text of a record.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u32 as u8).collect()
}

fn path(text: &str) -> PathBuf {
    OsString::from_vec(bytes(text)).into()
}

fn lossy(text: &str) -> String {
    String::from_utf8_lossy(&bytes(text)).into_owned()
}
