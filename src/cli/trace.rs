//! `pye trace`

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::Status;
use super::common::count;
use crate::fsys;
use crate::profile::Profile;
use crate::trace;

/// Record which modules and functions a command uses
///
/// Runs the command, its input, output and exit status being its own, and writes a profile of all its Python processes together: the
/// modules they import, in order of first import, and the functions that run (class bodies, generators, coroutines and lambdas among
/// them), in order of first run; last, functions whose code was only looked at, as by inspect.signature. `pye link --image --profile FILE` puts what is used together.
///
/// Run what the program does in earnest: start the server, send it requests of all kinds, end it. SIGTERM is passed on to the command; a
/// process that is killed has told what it ran until then.
///
/// Functions are recorded by CPython 3.12 and later (sys.monitoring; tool 4, or 3 or 5, which a program that asks for them gets all the
/// same). From interpreters before that come the modules alone.
///
/// A process is not seen when it is started with -I, -E or -S or with a PYTHONPATH of its own, or when it outlives the command; nor is
/// what comes from no file, such as frozen modules, code made by exec, and functions that ran before site had executed sitecustomize.
#[derive(clap::Args)]
#[command(after_help = "Example, with requests being sent meanwhile, ended by Ctrl-C:
  pye trace --output app.profile -- gunicorn --workers 2 app.wsgi

Exit status: the command's (128 + N when signal N ended it); 1 it could not be run, left no trace, or the profile could not be written, \
2 wrong usage.")]
pub(crate) struct Options {
    /// The profile to write
    #[arg(long, short, value_name = "FILE", default_value = "pye.profile")]
    output: PathBuf,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    fsys::check_writable(&options.output)?;
    let (status, profile) = trace::profile(&options.command)?;
    profile.write(&options.output)?;
    // The profile is there; nothing is left to tell it to when standard error is closed.
    let _ = std::io::stderr().lock().write_all(summary(&profile, &options.output).as_bytes());
    Ok(Status::OfCommand(code(status)))
}

fn summary(profile: &Profile, path: &Path) -> String {
    let (processes, told) = (profile.processes(), profile.processes_with_functions());
    let mut text = format!(
        "pye: {}, {} of {} in {}\n",
        count(profile.modules().into(), "module"),
        count(profile.functions().into(), "function"),
        count(processes.into(), "process"),
        path.display()
    );
    if told < processes {
        text += &format!(
            "pye: warning: modules alone of {}: older than CPython 3.12\n",
            if processes == 1 { "it".into() } else { format!("{} of them", processes - told) }
        );
    }
    text
}

/// As shells have it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
