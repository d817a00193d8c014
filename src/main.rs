//! The `pye` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(pye::cli::main(std::env::args_os(), &pye::cli::Host::Program))
}
