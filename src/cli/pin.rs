//! `pye pin`

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::install::Where;
use super::output::{Format, size};
use super::{Host, Status};
use crate::activate::interpreter::Interpreter;
use crate::activate::pin::{Pin, Record};

/// Load an interpreter at the same place in every process, so that all processes share images
///
/// Images hold addresses of the interpreter's own objects. Where it is a position-independent program or a shared library, these differ from process to process, and only processes forked from one parent can
/// share the pages. This makes a copy of the program and its library whose addresses were moved to a base chosen at random, once, which the kernel and the dynamic loader then use in every process; a virtual
/// environment's python becomes a link to it. All else stays where address space randomisation puts it. Where the range is taken the interpreter is loaded elsewhere, as ever.
///
/// The copy is another build to images: run `pye install` after it. Run both again when the interpreter has been upgraded: `pye doctor` tells.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Where,

    /// Pin into this directory, to be started from there, instead of into the virtual environment
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,

    /// The first address, in hexadecimal digits; without, one from 64 to 80 TiB is chosen at random
    #[arg(long, value_name = "ADDRESS", value_parser = address, conflicts_with = "undo")]
    base: Option<u64>,

    /// Take it back: links lead where they led, the copies are removed
    #[arg(long)]
    undo: bool,

    #[command(flatten)]
    format: Format,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    undone: bool,
    /// None when there was nothing to take back.
    #[serde(flatten)]
    record: Option<Record>,
}

fn address(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|e| e.to_string())
}

pub(crate) fn run(options: &Options, host: &Host) -> anyhow::Result<Status> {
    let place = |interpreter: &Interpreter| match &options.output {
        Some(output) => Ok(Pin::in_directory(&std::path::absolute(output)?)),
        None if interpreter.virtual_environment => Ok(Pin::of_environment(&interpreter.prefix)),
        None => Err(anyhow::anyhow!(
            "{}: expected a virtual environment, got none: name one with --venv, or a directory with --output",
            interpreter.prefix.display()
        )),
    };
    let record = if options.undo {
        // A directory that is named needs no interpreter that runs.
        let pin = match (&options.output, &options.place.venv) {
            (Some(output), _) => Pin::in_directory(&std::path::absolute(output)?),
            (None, Some(venv)) => Pin::of_environment(&std::path::absolute(venv)?),
            (None, None) => place(&options.place.interpreter(host)?)?,
        };
        pin.undo()?
    } else {
        let interpreter = options.place.interpreter(host)?;
        Some(place(&interpreter)?.make(&interpreter, options.base)?)
    };
    options.format.print(&Report { undone: options.undo, record }, text)?;
    Ok(Status::Done)
}

fn text(report: &Report) -> String {
    let Some(record) = &report.record else { return "nothing is pinned there\n".into() };
    if report.undone {
        return format!("taken back: {}\n", record.program.path.display());
    }
    let row = |name: &str, value: String| format!("{name:<9}  {value}\n");
    let file = |path: &Path, bytes: u64| format!("{}, {}", path.display(), size(bytes));
    let end = record.base + record.span;
    let mut out = row("program", file(&record.program.path, record.program.bytes));
    if let Some(library) = &record.library {
        out.push_str(&row("library", file(&library.path, library.bytes)));
    }
    out.push_str(&row("addresses", format!("{:#x} to {end:#x} in every process", record.base)));
    if !record.left_out.is_empty() {
        let original = record.moved();
        out.push_str(&row(
            "debugging",
            format!("information stays in {}, {}", original.original.display(), size(original.original_bytes)),
        ));
    }
    for replaced in &record.replaced {
        out.push_str(&row("used by", replaced.path.display().to_string()));
    }
    out.push_str(
        "next: run `pye install`, since images are made for one build of the interpreter, and this is another\n",
    );
    out
}
