//! The report for people.

use std::fmt::Write as _;

use crate::heap::KindCost;
use crate::trace::Source;

use super::super::output::{percent, signed_size, size, table};
use super::Report;
use super::launch::Launch;
use super::process::{Estimate, ProcessReport};

/// Names listed for one reason of not having a `.pyc`.
const NAMES_SHOWN: usize = 8;

impl Estimate {
    fn table(&self) -> String {
        let row = |label: &str, cost: &KindCost| {
            [
                label.to_owned(),
                cost.loaded.objects.to_string(),
                size(cost.loaded.payload),
                size(cost.loaded.heap - cost.run_once.heap),
                self.portable_text(cost),
                self.image_text(cost),
            ]
        };
        let mut rows: Vec<_> = self
            .kinds
            .iter()
            .filter(|report| report.cost.loaded.objects > 0)
            .map(|report| row(report.kind.label(), &report.cost))
            .collect();
        rows.push(row("total", &self.total));
        table(["kind", "objects", "payload", "private today", "portable form saves", "image form saves"], rows)
    }

    fn portable_text(&self, cost: &KindCost) -> String {
        if self.portable { size(cost.portable_saves) } else { "-".into() }
    }

    fn image_text(&self, cost: &KindCost) -> String {
        if self.image { size(cost.image_saves) } else { "-".into() }
    }
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if !self.succeeded {
            let _ = writeln!(out, "The command ended with {}.\n", self.ended);
        }
        for process in self.processes.iter().filter(|process| process.headline) {
            self.main(process, &mut out);
        }
        if let Some(launch) = &self.launch {
            launch.text(&mut out);
        }
        if let Some(union) = &self.union {
            let _ = writeln!(
                out,
                "\nThe command had {} Python processes; the forecast above is of process {}, whose constants cost most.\n",
                self.processes.len(),
                self.processes.iter().find(|process| process.headline).map_or(0, |process| process.pid)
            );
            let row = |first: String, python: String, estimate: &Estimate, end: &str| {
                [
                    first,
                    python,
                    estimate.pycs.to_string(),
                    size(estimate.total.loaded.heap),
                    estimate.portable_text(&estimate.total),
                    estimate.image_text(&estimate.total),
                    end.to_owned(),
                ]
            };
            let mut rows: Vec<_> = self
                .processes
                .iter()
                .map(|process| {
                    row(process.pid.to_string(), process.version.clone(), &process.estimate, process.ended())
                })
                .collect();
            rows.push(row("all, each .pyc once".into(), String::new(), union, ""));
            out.push_str(&table(
                ["process", "Python", ".pyc files", "heap", "portable saves", "image saves", "ended by"],
                rows,
            ));
        }
        out
    }

    fn main(&self, process: &ProcessReport, out: &mut String) {
        let modules = &process.modules;
        let estimate = &process.estimate;
        let _ = write!(out, "Python {}: {} modules from a .pyc", process.version, modules.pyc);
        let because = process.because();
        let _ = if because.is_empty() { writeln!(out, ".") } else { writeln!(out, "; without one: {because}.") };
        for reason in [Source::NoPyc.label(), Source::Zip.label()] {
            if let Some(names) = modules.without.get(reason) {
                let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
                let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
                let _ = writeln!(out, "  {reason}: {shown}{more}");
            }
        }
        for error in &modules.unreadable {
            let _ = writeln!(out, "  unreadable: {error}");
        }
        for note in &process.notes {
            let _ = writeln!(out, "  note: {note}");
        }
        out.push('\n');
        out.push_str(&estimate.table());
        out.push('\n');
        let total = &estimate.total;
        let _ = writeln!(
            out,
            "Not counted: {} of code of module and class bodies, which is gone once it has run.",
            size(total.run_once.heap)
        );
        if estimate.portable {
            let _ = writeln!(
                out,
                "Portable form: {} texts of at least {} bytes, {} of them different, each with a header.",
                total.portable.objects, self.min_blob, total.mapped.objects
            );
        } else if process.notes.is_empty() {
            let _ = writeln!(
                out,
                "Neither form exists for this Python: the portable one needs CPython 3.9, the image one 3.12."
            );
        }
        if estimate.image {
            let _ = writeln!(
                out,
                "The image form would save {} of these constants.",
                percent(total.image_saves, total.loaded.heap - total.run_once.heap)
            );
        }
    }
}

impl Launch {
    /// The totals of each mode.
    fn text(&self, out: &mut String) {
        let worker = &self.worker;
        let _ = writeln!(
            out,
            "\nWith {} workers like this, constants and directory listings, portable form:\n",
            self.workers
        );
        let rows = self.modes.iter().map(|mode| {
            [
                mode.mode.to_owned(),
                size(mode.today),
                signed_size(mode.with_pye),
                signed_size(mode.saves),
                signed_size(mode.each_worker_saves),
            ]
        });
        out.push_str(&table(["launch mode", "total today", "with pye", "saves at least", "each worker saves"], rows));
        let _ = writeln!(
            out,
            "\nWith pye: {} for directory listings go, about {} for pye itself come in each process, and up to {} of text is mapped, once \
             for all.",
            size(worker.directory_caches),
            signed_size(worker.own),
            size(worker.mapped)
        );
    }
}
