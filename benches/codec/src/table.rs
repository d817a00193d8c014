//! Tables for people and for RESULTS.md: the first column to the left, the others to the right.

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Columns aligned by spaces.
    Text,
    /// GitHub's Markdown.
    Markdown,
}

/// Rows of cells.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this first row.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|s| s.to_string()).collect()] }
    }

    /// Appends a row, of as many cells as the header.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// All lines, each ended.
    pub(crate) fn print(&self, style: Style) -> String {
        let columns = self.rows[0].len();
        let width = |c: usize| self.rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = (0..columns)
                .map(|c| {
                    let text = row.get(c).map_or("", |s| s.as_str());
                    let pad = " ".repeat(widths[c] - text.chars().count());
                    if c == 0 { format!("{text}{pad}") } else { format!("{pad}{text}") }
                })
                .collect();
            match style {
                Style::Text => out.push_str(cells.join("  ").trim_end()),
                Style::Markdown => out.push_str(&format!("| {} |", cells.join(" | "))),
            }
            out.push('\n');
            if number == 0 && style == Style::Markdown {
                let rule = |c: usize| if c == 0 { "---".to_string() } else { "---:".to_string() };
                out.push_str(&format!("| {} |\n", (0..columns).map(rule).collect::<Vec<_>>().join(" | ")));
            }
        }
        out
    }
}

/// Bytes in MB with two digits.
pub(crate) fn mb(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

/// A part of a whole in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_hold_the_same_cells() {
        let mut table = Table::new(&["name", "MB/s"]);
        table.row(vec!["é".into(), "12".into()]);
        assert_eq!(table.print(Style::Text), "name  MB/s\né       12\n");
        assert_eq!(table.print(Style::Markdown), "| name | MB/s |\n| --- | ---: |\n| é    |   12 |\n");
    }
}
