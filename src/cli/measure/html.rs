//! The report as one page for a browser: no script, nothing fetched, everything that is drawn is there as text, too.
//!
//! Colours are those of Okabe and Ito, which people with any kind of colour vision tell apart; copied pages are hatched besides.
//! What the measured processes chose (commands, paths) is escaped, and the page's own policy forbids whatever could be fetched.

use std::fmt::Write as _;

use crate::measure::live::account::ProcessReport;
use crate::measure::live::maps::{Cell, Cells, PageMap, page_maps};
use crate::measure::live::{Layout, Snapshot, Usage};

use super::live::Output;
use super::method;
use super::table::{by_name, name};
use crate::cli::common::count;
use crate::cli::output::size;

const STYLE: &str = include_str!("report.css");

/// Most processes with a bar, the largest first, and with a strip in the maps.
const MOST_PROCESSES: usize = 64;
const MOST_STRIPS: usize = 16;

/// Most files with maps, those with most pages first. A directory of single .pye files may have thousands.
const MOST_FILES: usize = 8;

/// Squares in all maps together and in all strips together: a square takes at most some twenty bytes, so that the page stays below a
/// megabyte.
const SQUARES: usize = 20_000;
const STRIP_SQUARES: usize = 20_000;

/// Squares of one map, squares in its rows, and cells of one strip, at most.
const MAP: usize = 2048;
const ROW: usize = 128;
const STRIP: usize = 256;

/// Pixels from one square to the next.
const PITCH: usize = 7;

/// The states of a page, and what says so in the style sheet.
const STATES: [(&str, &str); 4] = [
    ("shared", "in two or more of the measured processes"),
    ("private", "in one of them only"),
    ("copied", "copied by a write in at least one"),
    ("absent", "in none of them"),
];

/// The whole page.
pub(super) fn page(output: &Output<'_>, snapshot: &Snapshot, layout: &Layout) -> String {
    let report = output.report;
    let mut out = String::new();
    let processes = count(report.processes.len() as u64, "process");
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Memory of {processes}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Memory of {processes}</h1>\n<p>{}. Pages of {}, by {}.</p>\n",
        utc(report.time),
        size(report.page_size),
        method(report.method)
    );
    for unknown in &report.unknown {
        let _ = writeln!(
            out,
            "<p class=\"note\">{}: {}</p>",
            escaped(&unknown.what.replace('_', " ")),
            escaped(&unknown.why)
        );
    }
    for missing in &report.missing {
        let _ = writeln!(out, "<p class=\"note\">Not measured: process {}: {}</p>", missing.pid, escaped(&missing.why));
    }
    figures(&mut out, output);
    let mut shown: Vec<_> = report.processes.iter().collect();
    shown.sort_by_key(|process| std::cmp::Reverse(process.total.pss));
    let hidden = shown.len().saturating_sub(MOST_PROCESSES);
    shown.truncate(MOST_PROCESSES);
    by_class(&mut out, output, &shown);
    by_sharing(&mut out, &shown);
    if hidden > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">{hidden} more processes are counted, but not shown: these are the largest.</p>"
        );
    }
    sections(&mut out, output);
    maps(&mut out, snapshot, layout);
    let _ = write!(out, "<h2>What the words mean</h2>\n<dl>\n");
    for (term, meaning) in TERMS {
        let _ = writeln!(out, "<dt>{term}</dt><dd>{meaning}</dd>");
    }
    for class in &report.classes {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(class.title), escaped(class.holds));
    }
    out.push_str("</dl>\n</body>\n</html>\n");
    out
}

const TERMS: [(&str, &str); 6] = [
    ("resident", "in memory, and in the process’s page table"),
    ("PSS", "a page that k processes have counts 1/k: the only figure whose sum is what the processes take"),
    ("USS", "pages that nobody else has: what ending the process would free"),
    ("shared", "pages that another measured process has, too"),
    ("private", "resident, neither shared nor copied"),
    ("copied", "pages of files that a write has copied: sharing lost"),
];

/// The few figures to be seen first.
fn figures(out: &mut String, output: &Output<'_>) {
    let total = &output.report.total;
    let mut all = vec![(size(total.usage.pss), "PSS of all"), (size(total.usage.uss), "USS of all")];
    all.push(match total.in_memory {
        Some(bytes) => (size(bytes), "in memory, each page once"),
        None => ("not permitted".into(), "in memory, each page once"),
    });
    if let Some(share) = total.payload.share {
        all.push((format!("{:.2} %", share * 100.0), "of mapped .pye payload is shared"));
    }
    all.push((optional(total.usage.copied), "of files copied by writes"));
    out.push_str("<div class=\"figures\">\n");
    for (value, what) in all {
        let _ = writeln!(out, "<div><b>{value}</b><span>{what}</span></div>");
    }
    out.push_str("</div>\n");
}

/// Bars of PSS by class, and the same as a table.
fn by_class(out: &mut String, output: &Output<'_>, shown: &[&ProcessReport]) {
    let classes = &output.report.classes;
    let longest = shown.iter().map(|process| process.total.pss).max().unwrap_or(0);
    out.push_str("<h2>PSS of each process, by class</h2>\n<ul class=\"legend\">\n");
    for class in classes {
        let _ = writeln!(out, "<li><i class=\"c-{}\"></i>{}</li>", class.key, escaped(class.title));
    }
    out.push_str("</ul>\n<div class=\"bars\">\n");
    for process in shown {
        let parts = process.classes.iter().zip(classes).map(|(usage, class)| Part {
            class: format!("c-{}", class.key),
            title: class.title,
            bytes: usage.usage.pss,
        });
        bar(out, process, parts.collect(), longest);
    }
    out.push_str("</div>\n");
    let header = std::iter::once("PSS".to_owned())
        .chain(classes.iter().map(|class| escaped(class.title)))
        .chain(["total".into()]);
    let rows = shown.iter().map(|process| {
        let classes = process.classes.iter().map(|class| size(class.usage.pss));
        std::iter::once(escaped(&name(&process.identity))).chain(classes).chain([size(process.total.pss)]).collect()
    });
    let total = &output.report.total;
    let sums = total.classes.iter().map(|class| size(class.usage.pss));
    let sums = std::iter::once("all".to_owned()).chain(sums).chain([size(total.usage.pss)]).collect();
    table(out, &header.collect::<Vec<_>>(), rows.chain([sums]));
}

/// Bars of what is resident by who else has it, and the whole row of figures as a table.
fn by_sharing(out: &mut String, shown: &[&ProcessReport]) {
    let longest = shown.iter().map(|process| process.total.resident + process.total.swapped).max().unwrap_or(0);
    out.push_str("<h2>Resident, by who else has it</h2>\n<ul class=\"legend\">\n");
    for (state, title) in
        [("shared", "shared"), ("private", "private"), ("copied", "copied"), ("swapped", "swapped out")]
    {
        let _ = writeln!(out, "<li><i class=\"s-{state}\"></i>{title}</li>");
    }
    out.push_str("</ul>\n<div class=\"bars\">\n");
    for process in shown {
        let usage = &process.total;
        let part = |class: &str, title, bytes| Part { class: format!("s-{class}"), title, bytes };
        let parts = vec![
            part("shared", "shared", usage.shared.unwrap_or(0)),
            part("private", "private", usage.private),
            part("copied", "copied", usage.copied.unwrap_or(0)),
            part("swapped", "swapped out", usage.swapped),
        ];
        bar(out, process, parts, longest);
    }
    out.push_str("</div>\n");
    let header = ["process"].into_iter().chain(USAGE.map(|(title, _)| title)).chain(["KSM", "payload shared"]);
    let rows = shown.iter().map(|process| {
        let usage = &process.total;
        let more = [
            usage.ksm.map_or_else(|| "not known".into(), size),
            process.payload.share.map_or_else(|| "–".into(), |share| format!("{:.2} %", share * 100.0)),
        ];
        let name = escaped(&name(&process.identity));
        std::iter::once(name).chain(USAGE.map(|(_, text)| text(usage))).chain(more).collect()
    });
    table(out, &header.map(String::from).collect::<Vec<_>>(), rows);
}

/// A column: its title, and what it says of a usage.
type Column = (&'static str, fn(&Usage) -> String);

/// The columns that tables of processes and of sections have in common.
const USAGE: [Column; 7] = [
    ("resident", |usage| size(usage.resident)),
    ("PSS", |usage| size(usage.pss)),
    ("USS", |usage| size(usage.uss)),
    ("shared", |usage| optional(usage.shared)),
    ("private", |usage| size(usage.private)),
    ("copied", |usage| optional(usage.copied)),
    ("swapped", |usage| size(usage.swapped)),
];

fn optional(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "–".into(), size)
}

/// A part of a bar.
struct Part {
    class: String,
    title: &'static str,
    bytes: u64,
}

fn bar(out: &mut String, process: &ProcessReport, parts: Vec<Part>, longest: u64) {
    let sum: u64 = parts.iter().map(|part| part.bytes).sum();
    let words: Vec<_> =
        parts.iter().filter(|p| p.bytes > 0).map(|p| format!("{} {}", p.title, size(p.bytes))).collect();
    let _ = write!(
        out,
        "<span class=\"who\">{}</span><span class=\"bar\" role=\"img\" aria-label=\"{}\">",
        escaped(&name(&process.identity)),
        escaped(&words.join(", "))
    );
    for part in parts.iter().filter(|part| part.bytes > 0) {
        let width = part.bytes as f64 * 100.0 / longest.max(1) as f64;
        let text = if width >= 9.0 { size(part.bytes) } else { String::new() };
        let (class, title) = (&part.class, part.title);
        let _ = write!(
            out,
            "<i class=\"{class}\" style=\"width:{width:.2}%\" title=\"{title} {}\">{text}</i>",
            size(part.bytes)
        );
    }
    let _ = writeln!(out, "</span><span class=\"sum\">{}</span>", size(sum));
}

/// The sections of .pye files in all processes, as a table.
fn sections(out: &mut String, output: &Output<'_>) {
    let total = &output.report.total;
    if total.sections.is_empty() {
        return;
    }
    out.push_str("<h2>Sections of .pye files, all processes together</h2>\n");
    let header = ["section", "mapped"].into_iter().chain(USAGE.map(|(title, _)| title));
    let rows = by_name(&total.sections).into_iter().map(|(name, usage)| {
        let first = [escaped(name), size(usage.mapped)];
        first.into_iter().chain(USAGE.map(|(_, text)| text(&usage))).collect()
    });
    table(out, &header.map(String::from).collect::<Vec<_>>(), rows);
}

/// The maps of the sections that somebody has pages of.
fn maps(out: &mut String, snapshot: &Snapshot, layout: &Layout) {
    let weight = |file: usize| {
        layout.files[file].sections.iter().map(|section| section.range.end - section.range.start).sum::<u64>()
    };
    let mut files: Vec<_> = (0..layout.files.len()).collect();
    files.sort_by_key(|file| std::cmp::Reverse(weight(*file)));
    files.truncate(MOST_FILES);
    files.sort_unstable();
    if files.is_empty() {
        return;
    }
    out.push_str("<h2>Page maps of .pye files</h2>\n");
    if snapshot.pages.is_err() {
        out.push_str("<p class=\"note\">Not permitted: the pages of the processes may not be looked at.</p>\n");
        return;
    }
    let sections: usize = files.iter().map(|file| layout.files[*file].sections.len()).sum();
    let strips = sections * snapshot.processes.len().clamp(1, MOST_STRIPS);
    let cells = Cells {
        together: (SQUARES / sections.max(1)).clamp(ROW, MAP),
        each: (STRIP_SQUARES / strips.max(1)).clamp(16, STRIP),
    };
    let maps = page_maps(snapshot, layout, |file, _| files.contains(&file).then_some(cells));
    out.push_str("<ul class=\"legend\">\n");
    for (state, meaning) in STATES {
        let _ = writeln!(out, "<li><i class=\"s-{state}\"></i>{state}: {meaning}</li>");
    }
    out.push_str(
        "</ul>\n<p>From left to right and top to bottom in the order of the file. A square that stands for several pages is \
         <em>copied</em> if one of them is, else what most of them are.</p>\n\
         <svg class=\"defs\" aria-hidden=\"true\"><defs>\
         <pattern id=\"hatch\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect class=\"hatch-a\" width=\"4\" height=\"4\"/><rect class=\"hatch-b\" width=\"1.5\" height=\"4\"/></pattern>\
         <pattern id=\"grid\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\"><path class=\"grid\" d=\"M6.5 0v7M0 6.5h7\"/>\
         </pattern></defs></svg>\n",
    );
    for file in files.iter().copied() {
        let _ = writeln!(out, "<h3>{}</h3>", escaped(&layout.files[file].path.to_string_lossy()));
        let sum = |map: &PageMap| map.together.iter().fold(Cell::default(), |sum, cell| sum.plus(cell));
        let (there, gone): (Vec<_>, Vec<_>) =
            maps.iter().filter(|map| map.file == file).partition(|map| sum(map).absent < map.pages);
        let title = |map: &PageMap| escaped(&layout.files[file].sections[map.section].name);
        for map in &there {
            one_map(out, map, &title(map), &sum(map));
        }
        if !gone.is_empty() {
            let names: Vec<_> = gone.iter().map(|map| title(map)).collect();
            let _ = writeln!(out, "<p>In no process: {}.</p>", names.join(", "));
        }
    }
    let more = layout.files.len() - files.len();
    if more > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">{} more are counted above and have no map here: these are the largest.</p>",
            count(more as u64, "file")
        );
    }
}

fn one_map(out: &mut String, map: &PageMap, title: &str, sum: &Cell) {
    let squares = map.together.len();
    let scale = match map.pages.div_ceil(squares as u64) {
        1 => "each square a page".to_owned(),
        _ => format!("each square {:.1} pages", map.pages as f64 / squares as f64),
    };
    let words: Vec<_> = sum
        .by_state()
        .into_iter()
        .zip(STATES)
        .filter(|(pages, _)| *pages > 0)
        .map(|(pages, (state, _))| format!("{state} {pages} ({:.1} %)", pages as f64 * 100.0 / map.pages as f64))
        .collect();
    let words = words.join(", ");
    let _ = writeln!(out, "<h4>{title}</h4>\n<p>{} pages, {scale}: {words}.</p>", map.pages);
    let (width, rows) = (squares.min(ROW), squares.div_ceil(ROW));
    let shape = format!("width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\"", width * PITCH, rows * PITCH);
    let _ = write!(out, "<svg {shape} role=\"img\" aria-label=\"{title}: {words}\">");
    paths(out, &map.together, ROW, PITCH);
    let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"url(#grid)\"/></svg>");
    let strips = &map.each[..map.each.len().min(MOST_STRIPS)];
    if map.each.len() < 2 {
        return;
    }
    let _ = writeln!(out, "<details><summary>Each process</summary>\n<div class=\"strips\">");
    for (pid, cells) in strips {
        let sum = cells.iter().fold(Cell::default(), |sum, cell| sum.plus(cell));
        let _ = write!(
            out,
            "<span>{pid}</span><svg height=\"12\" viewBox=\"0 0 {} 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
            cells.len()
        );
        paths(out, cells, usize::MAX, 1);
        let states = sum.by_state().into_iter().zip(STATES).filter(|(pages, _)| *pages > 0);
        let states = states.map(|(pages, (state, _))| format!("{state} {pages}"));
        let _ = writeln!(out, "</svg><span>{}</span>", states.collect::<Vec<_>>().join(", "));
    }
    out.push_str("</div>\n");
    if map.each.len() > strips.len() {
        let _ = writeln!(out, "<p class=\"note\">And {} more processes.</p>", map.each.len() - strips.len());
    }
    out.push_str("</details>\n");
}

/// One path for each state, with a rectangle for each run of cells.
fn paths(out: &mut String, cells: &[Cell], row: usize, pitch: usize) {
    for (state, (name, _)) in STATES.iter().enumerate() {
        let mut path = String::new();
        let mut at = 0;
        while at < cells.len() {
            let end = (at / row + 1).saturating_mul(row).min(cells.len());
            let run = cells[at..end].iter().take_while(|cell| cell.looks() == state).count();
            if run > 0 {
                let (x, y, width) = (at % row * pitch, at / row * pitch, run * pitch);
                let _ = write!(path, "M{x} {y}h{width}v{pitch}h-{width}z");
            }
            at += run.max(1);
        }
        if !path.is_empty() {
            let _ = write!(out, "<path class=\"s-{name}\" d=\"{path}\"/>");
        }
    }
}

/// What a cell is drawn as.
trait Look {
    fn by_state(&self) -> [u64; 4];
    fn looks(&self) -> usize;
    fn plus(&self, other: &Cell) -> Cell;
}

impl Look for Cell {
    /// In the order of [`STATES`].
    fn by_state(&self) -> [u64; 4] {
        [self.shared, self.private, self.copied, self.absent]
    }

    /// An index into [`STATES`].
    fn looks(&self) -> usize {
        const COPIED: usize = 2;
        if self.copied > 0 {
            return COPIED;
        }
        let states = self.by_state();
        // Of equals the first.
        (0..states.len()).rev().max_by_key(|state| states[*state]).unwrap_or(0)
    }

    fn plus(&self, other: &Cell) -> Cell {
        Cell {
            shared: self.shared + other.shared,
            private: self.private + other.private,
            copied: self.copied + other.copied,
            absent: self.absent + other.absent,
        }
    }
}

fn table(out: &mut String, header: &[String], rows: impl Iterator<Item = Vec<String>>) {
    out.push_str("<div class=\"scroll\"><table>\n<tr>");
    for cell in header {
        let _ = write!(out, "<th scope=\"col\">{cell}</th>");
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ =
                if column == 0 { write!(out, "<th scope=\"row\">{cell}</th>") } else { write!(out, "<td>{cell}</td>") };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A time in seconds since 1970 as date and time of day. Days to dates as in Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`.
fn utc(time: f64) -> String {
    let seconds = time as i64;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        assert_eq!(utc(0.0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399.9), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_868_800.0), "2000-03-01 00:00:00 UTC");
        assert_eq!(utc(1_735_689_599.0), "2024-12-31 23:59:59 UTC");
    }

    #[test]
    fn one_copied_page_shows_in_a_square_of_many() {
        let cell = |shared, private, copied, absent| Cell { shared, private, copied, absent }.looks();
        assert_eq!((cell(9, 0, 1, 0), cell(2, 1, 0, 1), cell(1, 2, 0, 0), cell(1, 1, 0, 9)), (2, 0, 1, 3));
        assert_eq!(cell(1, 1, 0, 1), 0);
    }

    #[test]
    fn runs_become_one_rectangle_and_stop_at_the_end_of_a_row() {
        let (shared, absent) = (Cell { shared: 1, ..Cell::default() }, Cell { absent: 1, ..Cell::default() });
        let mut out = String::new();
        paths(&mut out, &[absent, shared, shared, shared, shared, absent], 4, 2);
        let shared = "<path class=\"s-shared\" d=\"M2 0h6v2h-6zM0 2h2v2h-2z\"/>";
        assert_eq!(out, format!("{shared}<path class=\"s-absent\" d=\"M0 0h2v2h-2zM2 2h2v2h-2z\"/>"));
    }

    #[test]
    fn what_others_chose_stays_text() {
        assert_eq!(escaped("<script a=\"b\">&'\x1b"), "&lt;script a=&quot;b&quot;&gt;&amp;&#39;\u{fffd}");
    }
}
