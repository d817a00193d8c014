//! The report as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::measure::live::account::{ClassUsage, Payload};
use crate::measure::live::command::End;
use crate::measure::live::{Class, Identity, Missing, RollUp, SectionUsage, Usage};

use super::live::Output;
use super::method;
use crate::cli::common::count;
use crate::cli::output::{size, table};

/// Longest command shown, in characters.
const COMMAND: usize = 60;

pub(super) fn report(output: &Output<'_>) -> String {
    let report = output.report;
    let processes = report.processes.len();
    let mut out = format!(
        "{}, pages of {}; by {}\n",
        count(processes as u64, "process"),
        size(report.page_size),
        method(report.method)
    );
    for unknown in &report.unknown {
        let _ = writeln!(out, "{}: {}", unknown.what.replace('_', " "), unknown.why);
    }
    for line in missing_lines(&report.missing) {
        let _ = writeln!(out, "{line}");
    }
    if !report.files.is_empty() {
        let paths: Vec<_> = report.files.iter().map(|file| clean(&file.path.to_string_lossy())).collect();
        let _ = writeln!(out, "{}: {}", count(paths.len() as u64, ".pye file"), some(&paths));
    }
    if processes > 1 {
        let _ = writeln!(out, "\nAll {processes} together");
        out.push_str(&classes(&report.classes, &report.total.classes, &report.total.sections, &report.total.usage));
        let in_memory = report.total.in_memory.map_or_else(|| "not permitted to know".into(), size);
        let _ = writeln!(out, "\nIn memory, each page once: {in_memory}");
        out.push_str(&payload(output));
        let rows = report.processes.iter().map(|process| row(name(&process.identity), &process.total));
        let _ = write!(out, "\nEach process\n{}", table(HEADER_PROCESS, rows));
    }
    for process in &report.processes {
        let _ = writeln!(out, "\nProcess {}", name(&process.identity));
        out.push_str(&classes(&report.classes, &process.classes, &process.sections, &process.total));
    }
    let _ = writeln!(out);
    for class in &report.classes {
        let _ = writeln!(out, "{}: {}", class.title, class.holds);
    }
    if let Some(command) = &output.command {
        let _ = write!(out, "\n{}", ends(command.workers));
    }
    out
}

/// The share of payload that is shared, in a sentence.
fn payload(output: &Output<'_>) -> String {
    let total = &output.report.total.payload;
    let share = |payload: &Payload| payload.share.map(|share| format!("{:.2} %", share * 100.0));
    let inherited = total.inherited.filter(|bytes| *bytes > 0).map(|bytes| {
        format!(
            "; another {:.2} % were copied before a fork and are shared by it",
            bytes as f64 * 100.0 / total.present as f64
        )
    });
    let Some(all) = share(total) else { return String::new() };
    let least = output.report.processes.iter().filter(|process| process.payload.share.is_some());
    let least = least.min_by(|a, b| a.payload.share.partial_cmp(&b.payload.share).unwrap_or(std::cmp::Ordering::Equal));
    let least = least.and_then(|process| {
        Some(format!(" (least: {} in process {})", share(&process.payload)?, process.identity.id.pid))
    });
    format!(
        "Of {} of .pye payload mapped and present, {all} are shared pages{}{}\n",
        size(total.present),
        least.unwrap_or_default(),
        inherited.unwrap_or_default()
    )
}

const HEADER: [&str; 9] = ["class", "resident", "PSS", "USS", "shared", "copied", "inherited", "swapped", "KSM"];
const HEADER_PROCESS: [&str; 9] =
    ["process", "resident", "PSS", "USS", "shared", "copied", "inherited", "swapped", "KSM"];

fn row(name: String, usage: &Usage) -> [String; 9] {
    let optional = |bytes: Option<u64>, none: &str| bytes.map_or_else(|| none.into(), size);
    [
        name,
        size(usage.resident),
        size(usage.pss),
        size(usage.uss),
        optional(usage.shared, "-"),
        optional(usage.copied, "-"),
        optional(usage.inherited, "-"),
        size(usage.swapped),
        optional(usage.ksm, "not known"),
    ]
}

/// A row for each class, sections of .pye files below theirs, and the total.
fn classes(classes: &[Class], usages: &[ClassUsage], sections: &[SectionUsage], total: &Usage) -> String {
    let mut rows = Vec::new();
    for (number, (class, usage)) in classes.iter().zip(usages).enumerate() {
        if usage.usage.mapped == 0 {
            continue;
        }
        rows.push(row(class.title.into(), &usage.usage));
        if number == super::layout::PYE {
            // Most sections are dropped after use: of those nothing is there to be told.
            let there = by_name(sections).into_iter().filter(|(_, usage)| usage.resident + usage.swapped > 0);
            rows.extend(there.map(|(name, usage)| row(format!("  {name}"), &usage)));
        }
    }
    rows.push(row("total".into(), total));
    table(HEADER, rows)
}

/// Sections of the same name in all files, in the order in which they first stand.
pub(super) fn by_name(sections: &[SectionUsage]) -> Vec<(&str, Usage)> {
    let mut order: Vec<(&str, Usage)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for section in sections {
        match places.get(section.section.as_str()) {
            Some(place) => order[*place].1.add(&section.usage),
            None => {
                places.insert(&section.section, order.len());
                order.push((&section.section, section.usage));
            }
        }
    }
    order
}

/// Number and command, the program without its directory.
pub(crate) fn name(process: &Identity) -> String {
    let (program, arguments) =
        process.command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let program = program.rsplit('/').next().unwrap_or(program);
    let command =
        clean(&std::iter::once(program).chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" "));
    let short: String = command.chars().take(COMMAND).collect();
    let more = if command.chars().nth(COMMAND).is_some() { "…" } else { "" };
    format!("{} {short}{more}", process.id.pid)
}

/// What other programs chose, without what would steer a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// At most five of them.
fn some(all: &[String]) -> String {
    const MOST: usize = 5;
    match all.len() {
        0..=MOST => all.join(", "),
        more => format!("{} and {} more", all[..MOST].join(", "), more - MOST),
    }
}

/// For the end of a sentence.
pub(super) fn missing(all: &[Missing]) -> String {
    if all.is_empty() { String::new() } else { format!(": {}", missing_lines(all).join("; ")) }
}

fn missing_lines(all: &[Missing]) -> Vec<String> {
    all.iter().map(|missing| format!("not measured: process {}: {}", missing.pid, missing.why)).collect()
}

/// How the copies of a command ended.
pub(super) fn ends(ends: &[End]) -> String {
    let mut out = String::new();
    for end in ends {
        let how = match (end.exit_status, end.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "in an unknown way".into(),
        };
        let asked = if end.asked_to_end { "ended when asked to" } else { "ended by itself" };
        let _ = writeln!(out, "process {} {asked}: {how}", end.pid);
    }
    out
}

/// One look of `--watch`.
pub(super) fn sums(all: &RollUp) -> String {
    let header = ["process", "resident", "PSS", "USS", "shared with anybody", "anonymous", "swapped", "KSM"];
    let rows = all.processes.iter().map(|sums| {
        [
            name(&sums.identity),
            size(sums.resident),
            size(sums.pss),
            size(sums.uss),
            size(sums.shared_with_anybody),
            size(sums.anonymous),
            size(sums.swapped),
            sums.ksm.map_or_else(|| "not known".into(), size),
        ]
    });
    let dash = || "-".to_owned();
    let total = [
        "total".into(),
        dash(),
        size(all.total_pss),
        size(all.total_uss),
        dash(),
        dash(),
        size(all.total_swapped),
        dash(),
    ];
    let mut out = table(header, rows.chain([total]));
    for line in missing_lines(&all.missing) {
        let _ = writeln!(out, "{line}");
    }
    out
}
