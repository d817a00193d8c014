//! `pye run`

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::common::{Threshold, linking};
use super::{Host, Status};
use crate::activate::command::{self, PythonLine};
use crate::activate::environment::{self, Entry};
use crate::activate::interpreter::Interpreter;
use crate::activate::place::Place;
use crate::activate::{cache, install};
use crate::error::Error;
use crate::fsys;

/// Run a command whose Python processes import from packages
///
/// Sets the environment so that every Python process of the command, and all their children, import from the packages named. Without
/// --package from those that `pye install` has made for the interpreter, or else from packages of its standard library and its
/// site-packages, which are linked into the user's cache (${XDG_CACHE_HOME:-~/.cache}/pye) when they are missing or out of date.
///
/// pye becomes the command: exit status and signals are the command's. What cannot be served from a package is imported as ever; PYE=0
/// switches everything off, PYE_LOG=stderr or PYE_LOG=/FILE says what is done. An interpreter started with -I, -E or -S does not see
/// this environment: use `pye install`.
#[derive(clap::Args)]
#[command(after_help = "Exit status: the command's; 1 it could not be run, 2 wrong usage.")]
pub(crate) struct Options {
    /// A package file, a directory of package files (of `pye link --per-distribution`), a single .pye file, or a directory as `pye convert --output` makes them; and the
    /// directory on sys.path that it stands for (by default found by the sources that are there)
    #[arg(long = "package", short, value_name = "[ROOT=]FILE")]
    packages: Vec<Entry>,

    #[command(flatten)]
    threshold: Threshold,

    /// Make no images for packages in the cache
    #[arg(long)]
    no_image: bool,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(options: &Options, host: &Host) -> anyhow::Result<Status> {
    let program = Path::new(&options.command[0]);
    if std::env::var_os("PATH").is_some() && !command::search(program).is_some_and(|path| path.exists()) {
        // Before packages are linked for it, which can take long.
        anyhow::bail!("cannot run {}: no such program", program.display());
    }
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    if !environment::switched_off() {
        for (name, value) in environment(options, host)? {
            command.env(name, value);
        }
    }
    // Returns only when it cannot.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(&options.command[0]).display()))
}

/// The variables to set.
fn environment(options: &Options, host: &Host) -> anyhow::Result<Vec<(&'static str, OsString)>> {
    let program = command::interpreter(&options.command);
    if command::is_python(Path::new(&options.command[0]))
        && let Some(option) = PythonLine::of(&options.command[1..]).given(&["-I", "-E", "-S"])
    {
        let why = if option == "-S" { "executes no sitecustomize" } else { "ignores PYTHONPATH" };
        warn(&format!(
            "{option}: the interpreter {why} and so does not see the packages: leave it out, or use `pye install`"
        ));
    }
    if !options.packages.is_empty() {
        let entries = options.packages.iter().map(Entry::resolve).collect::<Result<Vec<_>, _>>()?.concat();
        let interpreter = Interpreter::ask(&program).ok();
        let place = Place::find(interpreter.as_ref(), host.package())?;
        return Ok(environment::variables(&place, &entries));
    }
    let interpreter = Interpreter::ask(&program)?;
    if install::is_installed(&interpreter) {
        log(&format!("{}: installed there, nothing to set", interpreter.prefix.display()));
        return Ok(Vec::new());
    }
    interpreter.check()?;
    let place = Place::find(Some(&interpreter), host.package())?;
    let place_of_images = Some(&place).filter(|_| !options.no_image);
    let linked = cache::directory().and_then(|directory| {
        linking(|step| cache::packages(&interpreter, place_of_images, &directory, options.threshold.into(), step))
    });
    match linked {
        Ok(entries) => Ok(environment::variables(&place, &entries)),
        Err(error) => {
            // The program matters more than what it would have shared.
            warn(&format!("runs without packages, which could not be linked: {error}{}", help(&error)));
            Ok(Vec::new())
        }
    }
}

fn help(error: &Error) -> String {
    error.help().map(|help| format!("\n  help: {help}")).unwrap_or_default()
}

fn warn(text: &str) {
    // Nothing is left to tell it to when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "pye: warning: {text}");
}

/// One line to where `PYE_LOG` says, as the Python package writes them.
fn log(text: &str) {
    let Some(target) = std::env::var_os(environment::LOG).filter(|target| !target.is_empty()) else { return };
    let line = format!("pye[{}]: {text}\n", std::process::id());
    // A log that cannot be written stops nothing.
    let _ = if target == "stderr" {
        std::io::stderr().lock().write_all(line.as_bytes())
    } else {
        let file = std::fs::File::options().append(true).create(true).mode(fsys::FILE_MODE).open(target);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
    };
}
