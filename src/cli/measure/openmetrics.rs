//! The report as OpenMetrics text, version 1.0.0 of the specification: gauges only, for the collectors of plain Prometheus text read
//! these as well.
//!
//! The rows are disjoint: summing a family over its labels counts nothing twice within a process (and PSS nothing twice at all).
//! What is not known has no sample.

use std::fmt::Write as _;

use crate::measure::live::account::ProcessReport;
use crate::measure::live::{Report, Usage};

use super::layout::PYE;
use super::table::by_name;

/// A family of gauges in bytes.
struct Family {
    name: &'static str,
    help: &'static str,
    value: fn(&Usage) -> Option<u64>,
}

const FAMILIES: [Family; 9] = [
    Family { name: "resident", help: "In memory and in the process's page table.", value: |u| Some(u.resident) },
    Family {
        name: "pss",
        help: "Proportional set size: a page that k mappings have counts 1/k.",
        value: |u| Some(u.pss),
    },
    Family { name: "uss", help: "Unique set size: pages with one mapping.", value: |u| Some(u.uss) },
    Family { name: "shared", help: "Pages that another measured process has, too.", value: |u| u.shared },
    Family { name: "private", help: "Resident, neither shared nor copied.", value: |u| Some(u.private) },
    Family { name: "copied", help: "Pages of files copied by a write.", value: |u| u.copied },
    Family {
        name: "inherited",
        help: "Of the pages copied by a write, those that another measured process has, too.",
        value: |u| u.inherited,
    },
    Family { name: "swapped", help: "Swapped out.", value: |u| Some(u.swapped) },
    Family { name: "ksm", help: "Merged by the kernel with equal pages.", value: |u| u.ksm },
];

/// The whole exposition.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    for family in &FAMILIES {
        let name = format!("pye_process_{}_bytes", family.name);
        head(&mut out, &name, Some("bytes"), family.help);
        for process in &report.processes {
            for (class, section, usage) in rows(process) {
                if let Some(value) = (family.value)(&usage) {
                    let labels = format!("{},class=\"{class}\",section=\"{}\"", labels(process), escaped(section));
                    let _ = writeln!(out, "{name}{{{labels}}} {value}");
                }
            }
        }
    }
    let name = "pye_process_payload_shared_ratio";
    head(
        &mut out,
        name,
        Some("ratio"),
        "Part of the payload of mapped .pye files that another measured process has, too.",
    );
    for process in &report.processes {
        if let Some(share) = process.payload.share {
            let _ = writeln!(out, "{name}{{{}}} {share}", labels(process));
        }
    }
    if let Some(bytes) = report.total.in_memory {
        head(&mut out, "pye_in_memory_bytes", Some("bytes"), "What all measured processes take, each page once.");
        let _ = writeln!(out, "pye_in_memory_bytes {bytes}");
    }
    head(&mut out, "pye_measured_processes", None, "Processes measured.");
    let _ = writeln!(out, "pye_measured_processes {}", report.processes.len());
    head(&mut out, "pye_missing_processes", None, "Processes that could not be measured.");
    let _ = writeln!(out, "pye_missing_processes {}", report.missing.len());
    head(&mut out, "pye_measure_method", None, "How shared pages were told from others: always 1, the label tells.");
    let method = serde_json::to_value(report.method).ok();
    let method = method.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    let _ = writeln!(out, "pye_measure_method{{method=\"{method}\"}} 1");
    out.push_str("# EOF\n");
    out
}

fn head(out: &mut String, name: &str, unit: Option<&str>, help: &str) {
    let _ = writeln!(out, "# TYPE {name} gauge");
    if let Some(unit) = unit {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    let _ = writeln!(out, "# HELP {name} {help}");
}

/// Class, section and usage: classes without sections, and the sections in place of the class that has them.
fn rows(process: &ProcessReport) -> Vec<(&str, &str, Usage)> {
    let sections = by_name(&process.sections);
    let classes = process.classes.iter().enumerate();
    let classes = classes
        .filter(|(number, class)| *number != PYE && class.usage.mapped > 0)
        .map(|(_, class)| (class.class, "", class.usage));
    let first = process.classes.get(PYE).map_or("", |class| class.class);
    sections.into_iter().map(|(name, usage)| (first, name, usage)).chain(classes).collect()
}

/// The program without its arguments: those may be secret, and are of no use as a label.
fn labels(process: &ProcessReport) -> String {
    let id = process.identity.id;
    let program = process.identity.command.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path));
    format!("pid=\"{}\",start_time=\"{}\",program=\"{}\"", id.pid, id.start_time, escaped(program))
}

/// A label's value: the three characters that the specification has escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
