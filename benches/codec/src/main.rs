//! Benchmarks of pye. `benches/RESULTS.md` holds the figures and names the command behind each table.
//!
//! - [`speed`]: MB/s of reading, splitting and joining, in turn with CPython's `marshal.loads` and two other crates.
//! - [`files`]: whole processes on a tree: `cp -r`, `pye convert`, `pye link`; their memory; sizes of packages.
//! - [`merging`]: what merging saves, beside what `ld.lld -r -O2` saves on the same strings.
//! - [`min_blob`]: what the threshold for cutting strings out costs and saves.

mod corpus;
mod files;
mod machine;
mod merging;
mod min_blob;
mod peers;
mod python;
mod speed;
mod stats;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::corpus::Corpus;
use crate::table::Style;

/// Benchmarks of pye beside what else there is
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

/// Options that all subcommands share.
#[derive(clap::Args, Clone)]
struct Common {
    /// Directories of .pyc files [default: bench-out/corpus, with --smoke bench-out/small, which benches/corpus makes]
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,

    /// Print Markdown for RESULTS.md
    #[arg(long)]
    markdown: bool,

    /// One round over few files, to see that everything works: the figures mean nothing
    #[arg(long)]
    smoke: bool,
}

impl Common {
    /// The directories to work on.
    fn corpus(&self) -> Result<Corpus> {
        let default = if self.smoke { "small" } else { "corpus" };
        Corpus::find(if self.directories.is_empty() {
            vec![default_directory(default)]
        } else {
            self.directories.clone()
        })
    }

    /// The lines above a table: what was measured on what.
    fn heading(&self, more: &[String]) -> String {
        let mut lines = more.to_vec();
        if self.smoke {
            lines.push("a smoke test: the figures mean nothing".into());
        }
        machine::heading(self.style(), &lines)
    }

    fn style(&self) -> Style {
        if self.markdown { Style::Markdown } else { Style::Text }
    }

    /// How often to measure: once is enough to see that it works.
    fn rounds(&self, wanted: usize) -> usize {
        if self.smoke { 1 } else { wanted }
    }
}

/// Where `benches/corpus` puts what it makes: `bench-out` in the checkout.
fn default_directory(name: &str) -> PathBuf {
    checkout().join("bench-out").join(name)
}

/// The checkout that this program was built from.
fn checkout() -> PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

#[derive(Subcommand)]
enum Command {
    Speed(speed::Options),
    Files(files::Options),
    Merging(merging::Options),
    MinBlob(min_blob::Options),
}

fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Speed(options) => speed::run(&options),
        Command::Files(options) => files::run(&options),
        Command::Merging(options) => merging::run(&options),
        Command::MinBlob(options) => min_blob::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("codec: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
