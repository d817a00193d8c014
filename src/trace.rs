//! Runs a command and learns which modules each Python process of it imported ([`run`]), or which modules and functions they used in which
//! order ([`profile`]).
//!
//! A temporary directory that stands first on `PYTHONPATH` holds a `sitecustomize.py` (`trace.py` here), which every
//! CPython of the command runs at its start; when the process ends it writes a record into that directory, or while it runs
//! a log. It gets out of the way at once and runs the `sitecustomize` it hides.
//!
//! What is not seen: interpreters that ignore `PYTHONPATH` or `site` (`-I`, `-E`, `-S`, embedded ones, a command that
//! sets `PYTHONPATH` itself); processes that outlive the command. Of records, also: processes that end by a signal without a Python
//! handler, or by C's `_exit` (children of `os.fork` leave at least the modules they were born with); modules taken out of
//! `sys.modules` again. Of logs: what is run after all file descriptors were closed by a process that has lost the right to open its log
//! again.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};

use crate::error::{Error, Result};
use crate::profile::Profile;

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
/// While it runs, SIGINT and SIGQUIT, which a terminal sends to both, are the command's to answer; SIGTERM is passed on to it.
///
/// # Errors
/// The command cannot be started; the temporary directory cannot be used; no Python process left a record.
pub fn run(argv: &[OsString]) -> Result<Trace> {
    let Traced { directory, pid, status } = execute(argv, Mode::Imports)?;
    let mut processes = records(directory.path())?;
    // A fork that became another program was Python for a moment only: 2.7's subprocess does so each time.
    processes.retain(|process| !(process.forked && process.end == End::Exec));
    if processes.is_empty() {
        return Err(nothing(status, Mode::Imports));
    }
    processes.sort_by_key(|process| (process.pid != pid, process.pid));
    Ok(Trace { status, processes })
}

/// Runs `argv` as [`run`] does; returns how it ended, and what its processes used, those first that started first.
///
/// From CPython 3.12 on a process tells what it runs itself, not what its parent ran before it forked; where the program has a
/// tool in `sys.monitoring` at that moment, a fork tells only what its parent did not. Processes of older interpreters tell the modules they
/// have (those of CPython 2.7 in no order), and no functions.
///
/// # Errors
/// As those of [`run`].
pub fn profile(argv: &[OsString]) -> Result<(ExitStatus, Profile)> {
    let Traced { directory, status, .. } = execute(argv, Mode::Profile)?;
    let mut profile = Profile::default();
    // By name: that is by birth.
    for path in files(directory.path(), "profile")? {
        if let Some(log) = Profile::read_log(&path)? {
            profile.merge(&log)?;
        }
    }
    if profile.processes() == 0 { Err(nothing(status, Mode::Profile)) } else { Ok((status, profile)) }
}

/// What processes write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Records of what was imported, `*.json`.
    Imports,
    /// Logs of what is used, `*.profile`.
    Profile,
}

/// A command that has ended.
struct Traced {
    /// Where its processes have written.
    directory: tempfile::TempDir,
    /// The number its own process had.
    pid: u32,
    status: ExitStatus,
}

/// Runs `argv` with the tracer.
fn execute(argv: &[OsString], mode: Mode) -> Result<Traced> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Error::malformed("a command", "nothing"));
    };
    let directory = tempfile::Builder::new()
        .prefix("pye-trace-")
        // Python runs what is in it.
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|e| Error::io("cannot make a directory for the trace", e).in_file(std::env::temp_dir()))?;
    // Relative entries of PYTHONPATH mean another place in every process.
    let place = std::path::absolute(directory.path())
        .map_err(|e| Error::io("cannot find the directory for the trace", e).in_file(directory.path()))?;
    let script = place.join("sitecustomize.py");
    std::fs::write(&script, SITECUSTOMIZE).map_err(|e| Error::io("cannot write the tracer", e).in_file(&script))?;
    let mut search = place.clone().into_os_string();
    // An empty entry would mean the working directory.
    if let Some(old) = std::env::var_os("PYTHONPATH").filter(|old| !old.is_empty()) {
        search.push(":");
        search.push(old);
    }
    let mut command = Command::new(program);
    command.args(arguments).env("PYTHONPATH", search).env("PYE_TRACE_DIR", &place);
    match mode {
        // One may be set by a trace that this is part of.
        Mode::Imports => command.env_remove("PYE_TRACE_PROFILE"),
        Mode::Profile => command.env("PYE_TRACE_PROFILE", "1"),
    };
    let (pid, status) = attend(command).map_err(|e| Error::io("cannot run", e).in_file(program))?;
    Ok(Traced { directory, pid, status })
}

/// Runs a command to its end; returns the number of its process and how it ended. Until then signals are the command's to answer.
fn attend(mut command: Command) -> std::io::Result<(u32, ExitStatus)> {
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGQUIT, SIGTERM] {
        // Does what the signal does by default, but only once the command is over.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&over))?;
    }
    // The process to pass SIGTERM on to. Whoever passes it on waits until there is one.
    let running = Arc::new(Mutex::new(None));
    let mut guard = running.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut told, tell) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, tell)?;
    let passing_on = Arc::clone(&running);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while told.read_exact(&mut [0]).is_ok() {
            if let Some(pid) = *passing_on.lock().unwrap_or_else(PoisonError::into_inner) {
                // It may have ended just now, but it has not been waited for: the number is still its own.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
    })?;
    let spawned = command.spawn();
    *guard = spawned.as_ref().ok().map(rustix::process::Pid::from_child);
    drop(guard);
    let mut child = spawned.inspect_err(|_| over.store(true, Ordering::SeqCst))?;
    wait_without_reaping(&child);
    over.store(true, Ordering::SeqCst);
    *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    Ok((child.id(), child.wait()?))
}

/// Waits until a child has ended, and leaves it its number.
fn wait_without_reaping(child: &Child) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(Pid::from_child(child)), options) {}
}

/// Why there is no trace of a command that ended with `status`.
fn nothing(status: ExitStatus, mode: Mode) -> Error {
    let end = match mode {
        Mode::Imports => {
            ", and ended other than by a signal: run the interpreter itself without those options, and let it end by itself"
        }
        Mode::Profile => ": run the interpreter itself without those options",
    };
    Error::unsupported(
        "an import trace from a Python process",
        format!("none (the command ended with {})", describe(status)),
        format!(
            "a trace needs CPython 2.7 or 3.6 and later, started without -I, -E or -S, with PYTHONPATH as pye set it{end}"
        ),
    )
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
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|e| Error::io("cannot read", e).in_file(path))?;
        parse(&bytes).map_err(|e| e.in_file(path))
    };
    // Unfinished ones end in `.part`.
    files(directory, "json")?.iter().map(read).collect()
}

/// The files in `directory` with names that end in `.extension`, sorted.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()
    };
    let mut paths = list().map_err(|e| Error::io("cannot list", e).in_file(directory))?;
    paths.retain(|path| path.extension() == Some(OsStr::new(extension)));
    paths.sort();
    Ok(paths)
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
