//! What all subcommands print with: tables, sizes, JSON, complaints.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// The output format, flattened into every subcommand's options.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Format {
    /// Print one JSON document instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

impl Format {
    /// Prints `report` as JSON, or as `text` puts it.
    pub(crate) fn print<T: Serialize>(self, report: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let mut out = if self.json { serde_json::to_string_pretty(report)? } else { text(report) };
        if !out.ends_with('\n') {
            out.push('\n');
        }
        match io::stdout().lock().write_all(out.as_bytes()) {
            // A closed pipe (`pye … | head`) is the reader's choice, not a failure.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}

/// An aligned table: the first column to the left, the others to the right.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    aligned(header, rows, |column| column == 0)
}

/// The same with text in the last column, to the left.
pub(crate) fn table_with_text<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    aligned(header, rows, |column| column == 0 || column + 1 == N)
}

fn aligned<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    left: impl Fn(usize) -> bool,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index + 1 == N { 0 } else { 2 }));
        column.set_cell_alignment(if left(index) { CellAlignment::Left } else { CellAlignment::Right });
    }
    let mut out = String::new();
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A size with a decimal unit, three significant digits at least: `512 B`, `4.10 kB`, `182.9 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 10.0 { 2 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// The same of what may be negative.
pub(crate) fn signed_size(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { "-" } else { "" }, size(bytes.unsigned_abs()))
}

/// A part of a whole in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".into() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// Prints an error and what to do about it on standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut message = format!("pye: error: {error:#}\n");
    if let Some(help) = error.downcast_ref::<crate::error::Error>().and_then(|e| e.help()) {
        message.push_str("  help: ");
        message.push_str(help);
        message.push('\n');
    }
    // Nothing is left to tell it to when standard error is closed.
    let _ = io::stderr().lock().write_all(message.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_digits_and_change_unit_in_time() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(4096), "4.10 kB");
        assert_eq!(size(999_960), "1.00 MB");
        assert_eq!(size(182_900_000), "182.9 MB");
        assert_eq!((signed_size(-4096), signed_size(0)), ("-4.10 kB".into(), "0 B".into()));
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "-");
    }
}
