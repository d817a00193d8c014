//! The command line: one file a subcommand, each options + `run`, none with knowledge of the format.

mod common;
mod convert;
mod estimate;
mod inspect;
mod link;
mod measure;
mod output;
mod unpack;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shares Python's constant data between processes.
///
/// Reads .pyc files, splits control from large constants, and writes ELF-based .pye files whose constants are mapped, not
/// read: the kernel keeps one copy for all processes.
#[derive(Parser)]
#[command(
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
}

/// Runs the command that was asked for.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Convert(options) => convert::run(&options),
        Command::Link(options) => link::run(&options),
        Command::Unpack(options) => unpack::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Estimate(options) => estimate::run(&options),
        Command::Measure(options) => measure::run(&options),
        Command::MeasureReader(options) => Ok(measure::run_reader(&options)),
    };
    match result {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::BadInput) => ExitCode::from(1),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(1)
        }
    }
}
