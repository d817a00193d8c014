//! `pye doctor`

use std::ffi::OsString;

use serde::Serialize;

use super::common::count;
use super::output::{Format, table};
use super::{Host, Status};
use crate::activate::addresses::Addresses;
use crate::activate::doctor::{self, Examination, Finding, Image};

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
    /// `image`: code objects are mapped, where a package has an image for this build; `portable`: long text is mapped, code objects are built; null when none
    /// is possible.
    form: Option<&'static str>,
    findings: Vec<Finding>,
    /// Where the interpreter's own objects are; null where images are not possible, or it cannot be told.
    addresses: Option<Addresses>,
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
    let portable = interpreter.servable().then_some("portable");
    let addresses = interpreter.addresses();
    let report = Report {
        active: interpreter.active(),
        form: interpreter.has_image_form().then_some("image").or(portable),
        findings: interpreter.findings(addresses.as_ref()),
        addresses,
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
        Some("portable") => {
            "portable; no more, since images, which share code objects, need CPython 3.12 to 3.15".into()
        }
        Some(form) => format!("{form}: code objects are shared, of packages with an image for this build"),
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
    if let Some(addresses) = &report.addresses {
        rows.push(["addresses".to_string(), addresses.meaning()]);
    }
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
            if report.interpreter.has_image_form() {
                out.push_str(&image(store.image.as_ref()));
            }
            for (reason, count) in &store.fallbacks {
                out.push_str(&format!("  {count} left to the stock import: {reason}\n"));
            }
        }
    }
    out
}

/// What is said of a package's image.
fn image(image: Option<&Image>) -> String {
    let Some(image) = image else {
        return "  no image: link it with --image, or run `pye install` again\n".into();
    };
    if !image.is_used() {
        return format!("  image not used: {}\n", image.state);
    }
    let base = image.base.unwrap_or(0);
    let mut out =
        format!("  image at {base:#x}: {} of {} loaded from it\n", image.loaded, count(image.modules, "module"));
    if let Some(cost) = image.cost() {
        out.push_str(&format!("  relocation {}: {cost}\n", image.relocation));
    }
    out
}
