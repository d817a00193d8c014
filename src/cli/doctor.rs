//! `pye doctor`

use std::ffi::OsString;

use serde::Serialize;

use super::output::{Format, table};
use super::{Host, Status};
use crate::activate::doctor::{self, Examination, Finding};

/// Tell whether pye is active in an interpreter, and if not why
///
/// Runs the interpreter with the options given, as it is activated by `pye install` or by the `pye run` that this runs under, and prints
/// which packages it uses. With a program (-c, -m or a script), prints at the program's end what has been loaded from them.
#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 pye is active, 1 it is not or not wholly (the reason is named), 2 wrong usage.")]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,

    /// The interpreter and its arguments; without, the one that runs this command, or python3
    #[arg(last = true, value_name = "PYTHON [ARGUMENT]")]
    command: Vec<OsString>,
}

/// What was found.
#[derive(Serialize)]
struct Report {
    active: bool,
    /// `portable`: long text is mapped, code objects are built; null when none is possible.
    form: Option<&'static str>,
    findings: Vec<Finding>,
    interpreter: Examination,
    /// How the interpreter ended.
    ended: String,
}

pub(crate) fn run(options: &Options, host: &Host) -> anyhow::Result<Status> {
    let words = match &options.command[..] {
        [] => vec![doctor::default_interpreter(host.interpreter()).into()],
        words => words.to_vec(),
    };
    let (interpreter, ended) = doctor::examine(&words)?;
    let possible = interpreter.servable();
    let report = Report {
        active: interpreter.active(),
        form: possible.then_some("portable"),
        findings: interpreter.findings(),
        interpreter,
        ended: crate::trace::describe(ended),
    };
    options.format.print(&report, text)?;
    Ok(if report.active && report.findings.is_empty() { Status::Done } else { Status::BadInput })
}

fn text(report: &Report) -> String {
    let python = &report.interpreter;
    let kind = match (python.debug, python.gil) {
        (true, _) => ", debug build",
        (false, true) => "",
        (false, false) => ", free-threaded",
    };
    // `sys.implementation.name` is in small letters.
    let name = if python.implementation == "cpython" { "CPython" } else { &python.implementation };
    let form = match report.form {
        Some(form) => format!("{form}; no more, since this version of pye has no form that shares code objects"),
        None => "none".into(),
    };
    let mut rows = vec![
        ["interpreter".to_string(), format!("{name} {}{kind}", python.number())],
        ["executable".to_string(), python.executable.clone()],
        ["prefix".to_string(), python.prefix.clone()],
    ];
    if let Some(status) = &python.status {
        rows.push(["pye".to_string(), status.package.clone()]);
        let origins: Vec<&str> = status.activations.iter().map(|each| each.origin.as_str()).collect();
        rows.push(["activated by".to_string(), if origins.is_empty() { "nothing".into() } else { origins.join(", ") }]);
    }
    rows.push(["form possible".to_string(), form]);
    rows.push(["state".to_string(), if report.active { "active" } else { "not active" }.to_string()]);
    let width = rows.iter().map(|[name, _]| name.len()).max().unwrap_or(0);
    let mut out: String = rows.iter().map(|[name, value]| format!("{name:<width$}  {value}\n")).collect();
    for finding in &report.findings {
        out.push_str(&format!("\nreason: {}\n  help: {}\n", finding.reason, finding.help));
    }
    let stores: Vec<_> = python.stores().collect();
    if !stores.is_empty() {
        let header = ["package", "modules", "loaded", "left to the stock import", "directories changed"];
        out.push('\n');
        out.push_str(&table(
            header,
            stores.iter().map(|store| {
                [
                    store.path.clone(),
                    store.modules.to_string(),
                    store.loaded.to_string(),
                    store.fallbacks.values().sum::<u64>().to_string(),
                    store.directories_changed.to_string(),
                ]
            }),
        ));
        for store in &stores {
            out.push_str(&format!("\n{}\n  stands for {}\n", store.path, store.root));
            for (reason, count) in &store.fallbacks {
                out.push_str(&format!("  {count} left to the stock import: {reason}\n"));
            }
        }
    }
    out
}
