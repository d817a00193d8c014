//! The command line: one file a subcommand, each options + `run`, none with knowledge of the format.
//!
//! It is part of the library because two programs are made of it: the binary, and the `pye` command of the Python package, which
//! calls [`main`] from the extension module.

mod common;
mod convert;
mod dirty;
mod doctor;
mod estimate;
mod image;
mod inspect;
mod install;
mod link;
mod measure;
mod output;
mod pin;
mod run;
mod trace;
mod uninstall;
mod unpack;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

/// Shares Python's constant data between processes.
///
/// Reads .pyc files, splits control from large constants, and writes ELF-based .pye files whose constants are mapped, not
/// read: the kernel keeps one copy for all processes.
#[derive(Parser)]
#[command(
    name = "pye",
    bin_name = "pye",
    version,
    max_term_width = 110,
    after_help = "Exit status: 0 done, 1 some input was bad (it is named), 2 wrong usage."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Convert(convert::Options),
    Link(link::Options),
    Unpack(unpack::Options),
    Inspect(inspect::Options),
    Verify(verify::Options),
    Estimate(estimate::Options),
    Measure(measure::Options),
    Trace(trace::Options),
    Run(run::Options),
    Install(install::Options),
    Uninstall(uninstall::Options),
    Pin(pin::Options),
    Doctor(doctor::Options),
    /// One of the processes that `measure` starts
    #[command(name = measure::READER, hide = true)]
    MeasureReader(measure::ReaderOptions),
}

/// How a command ended, when it ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// All done.
    Done,
    /// Some input was bad and has been named.
    BadInput,
    /// What a command ended with that was run for the user.
    OfCommand(u8),
}

/// The process that runs the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// The `pye` binary.
    Program,
    /// A Python interpreter with the extension module.
    Interpreter {
        /// `sys.executable`.
        executable: PathBuf,
        /// The directory of the Python package `pye`.
        package: PathBuf,
    },
}

impl Host {
    /// The interpreter, if it is one.
    fn interpreter(&self) -> Option<&Path> {
        match self {
            Host::Program => None,
            Host::Interpreter { executable, .. } => Some(executable),
        }
    }

    /// The directory of the Python package, if the host has it.
    fn package(&self) -> Option<&Path> {
        match self {
            Host::Program => None,
            Host::Interpreter { package, .. } => Some(package),
        }
    }

    /// A command that is this command line again, in a new process, for arguments to be appended to. It finds the code that is running
    /// even when its file has been replaced or has moved.
    fn again(&self) -> Vec<OsString> {
        /// Takes the place of the package from the arguments: no path has to be written as Python.
        const CODE: &str =
            "import sys; sys.path.insert(0, sys.argv.pop(1)); import pye.__main__ as p; sys.exit(p.main())";
        match self {
            Host::Program => vec!["/proc/self/exe".into()],
            Host::Interpreter { executable, package } => {
                let place = crate::fsys::parent(package);
                vec![executable.into(), "-I".into(), "-c".into(), CODE.into(), place.into()]
            }
        }
    }
}

/// Runs the command that `args` ask for (the first is the program's name, which is not looked at) and returns its exit status. `pye run`
/// does not return when it succeeds: the process becomes the command.
pub fn main(args: impl IntoIterator<Item = OsString>, host: &Host) -> u8 {
    let command = match Cli::try_parse_from(args) {
        Ok(cli) => cli.command,
        Err(error) => {
            // Help and version are errors to clap too. A closed stream is the reader's choice.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let result = match command {
        Command::Convert(options) => convert::run(&options),
        Command::Link(options) => link::run(&options, host),
        Command::Unpack(options) => unpack::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Estimate(options) => estimate::run(&options),
        Command::Measure(options) => measure::run(&options, host),
        Command::Trace(options) => trace::run(&options),
        Command::Run(options) => run::run(&options, host),
        Command::Install(options) => install::run(&options, host),
        Command::Uninstall(options) => uninstall::run(&options, host),
        Command::Pin(options) => pin::run(&options, host),
        Command::Doctor(options) => doctor::run(&options, host),
        Command::MeasureReader(options) => Ok(measure::run_reader(&options)),
    };
    match result {
        Ok(Status::Done) => 0,
        Ok(Status::BadInput) => 1,
        Ok(Status::OfCommand(status)) => status,
        Err(error) => match error.downcast_ref::<clap::Error>() {
            // Wrong usage that shows only when what was given is looked at.
            Some(wrong) => {
                let _ = wrong.print();
                2
            }
            None => {
                output::complain(&error);
                1
            }
        },
    }
}
