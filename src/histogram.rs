//! How many strings of each length a set of modules keeps for itself: one count a power of two, per kind.
//!
//! Only strings that are objects of their own in each process are counted: not references, nor what costs nothing (see
//! [`crate::heap`]). An interned name counts once a file, although a process has it once for all its modules. Lengths are
//! those of the payload in the `.pyc`, in bytes.

use std::fmt::Write as _;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::error::Result;
use crate::heap::{Kind, Walker};
use crate::marshal::version::Version;

/// The kinds that are strings.
pub const KINDS: &[Kind] = Kind::ALL.split_at(Kind::STRINGS).0;

/// Powers of two that a length can have: 2^0 to 2^31 (`crate::limits::MAX_PYC_BYTES`).
const CLASSES: usize = 32;

/// How many strings of one kind have lengths from 2^n up to, not including, 2^(n+1); and the sum of their lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Strings.
    pub count: u64,
    /// Bytes of their payload.
    pub bytes: u64,
}

impl std::ops::AddAssign for Class {
    fn add_assign(&mut self, other: Class) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// The strings of any number of modules by kind and power of two.
#[derive(Default)]
pub struct Histogram {
    classes: [[Class; CLASSES]; Kind::STRINGS],
    walker: Walker,
}

/// A line of [`Histogram::rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Shortest length of the class, in bytes: a power of two.
    pub from: u64,
    /// Longest length of the class, in bytes.
    pub to: u64,
    /// The strings of the class.
    pub class: Class,
    /// The strings of this class and all shorter ones.
    pub cumulative: Class,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one string of `len` bytes. The empty string, and kinds that are no strings, are not counted.
    pub fn add(&mut self, kind: Kind, len: u64) {
        if let (Some(classes), Some(class)) = (self.classes.get_mut(kind as usize), len.checked_ilog2()) {
            classes[(class as usize).min(CLASSES - 1)] += Class { count: 1, bytes: len };
        }
    }

    /// Counts the strings of a `.pyc`. `forced` overrides the version its magic number names.
    ///
    /// # Errors
    /// As [`Walker::walk_pyc`]; then nothing is counted.
    pub fn add_pyc(&mut self, bytes: &[u8], forced: Option<&'static Version>) -> Result<()> {
        let mut walker = std::mem::take(&mut self.walker);
        let result = walker.walk_pyc(bytes, forced, |object, _| self.add(object.kind, object.payload));
        self.walker = walker;
        result.map(drop)
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.classes.iter_mut().flatten().zip(other.classes.iter().flatten()) {
            *mine += *theirs;
        }
    }

    /// All strings of one kind, or of all.
    pub fn total(&self, kind: Option<Kind>) -> Class {
        self.rows(kind).last().map_or(Class::default(), |row| row.cumulative)
    }

    /// One row a power of two, from the shortest string to the longest, empty classes between them included; none when
    /// there is no string.
    pub fn rows(&self, kind: Option<Kind>) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut cumulative = Class::default();
        for class in 0..CLASSES {
            let mut sum = Class::default();
            for (_, classes) in KINDS.iter().zip(&self.classes).filter(|(k, _)| kind.is_none_or(|kind| kind == **k)) {
                sum += classes[class];
            }
            cumulative += sum;
            rows.push(Row { from: 1 << class, to: (1 << (class + 1)) - 1, class: sum, cumulative });
        }
        let used = |row: &Row| row.class.count > 0;
        let last = rows.iter().rposition(used).map_or(0, |last| last + 1);
        rows.truncate(last);
        let first = rows.iter().position(used).unwrap_or(0);
        rows.drain(..first);
        rows
    }

    /// Tables with bars, one for each kind that has strings and one for all of them; the longest bar of a table has `width`
    /// characters, and any count above 0 a bar. Sizes in bytes, kB, … are written by `size`.
    pub fn render(&self, width: usize, size: impl Fn(u64) -> String) -> String {
        let mut out = String::new();
        for kind in KINDS.iter().copied().map(Some).chain([None]) {
            let rows = self.rows(kind);
            let Some(total) = rows.last().map(|row| row.cumulative) else { continue };
            if !out.is_empty() {
                out.push('\n');
            }
            let label = kind.map_or("all strings", Kind::label);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{label}: {} strings, {}", total.count, size(total.bytes));
            let most = rows.iter().map(|row| row.class.count).max().unwrap_or(1);
            let mut lines = vec![["bytes", "strings", "size", "cumulative", ""].map(str::to_owned)];
            lines.extend(rows.iter().map(|row| {
                let range = if row.from == row.to { row.from.to_string() } else { format!("{}-{}", row.from, row.to) };
                let share = percent(row.cumulative.bytes, total.bytes);
                [
                    range,
                    row.class.count.to_string(),
                    size(row.class.bytes),
                    format!("{} {share:>5}", size(row.cumulative.bytes)),
                    "#".repeat(bar(row.class.count, most, width)),
                ]
            }));
            align(&mut out, &lines);
        }
        if out.is_empty() { "no strings\n".into() } else { out }
    }
}

/// Whole percent, rounded down so that only everything is 100 %.
fn percent(part: u64, whole: u64) -> String {
    format!("{} %", (u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(0))
}

/// Characters of a bar: proportional, at least one for a count above 0.
fn bar(count: u64, most: u64, width: usize) -> usize {
    let length = (u128::from(count) * width as u128).div_ceil(u128::from(most.max(1)));
    usize::try_from(length).unwrap_or(width)
}

/// Every column to the right but the last, the bars.
fn align<const N: usize>(out: &mut String, lines: &[[String; N]]) {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.len());
        }
    }
    for line in lines {
        let mut text = String::new();
        for (index, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = if index + 1 == N { write!(text, "  {cell}") } else { write!(text, "  {cell:>width$}") };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
}

/// A list with one entry a kind that has strings: `{"kind", "strings", "bytes", "classes": [{"from", "to", "strings",
/// "bytes", "cumulative_strings", "cumulative_bytes"}]}`, lengths and sizes in bytes; the last entry is `all`.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Entry {
            from: u64,
            to: u64,
            strings: u64,
            bytes: u64,
            cumulative_strings: u64,
            cumulative_bytes: u64,
        }
        #[derive(serde::Serialize)]
        struct Of {
            kind: String,
            strings: u64,
            bytes: u64,
            classes: Vec<Entry>,
        }
        let mut list = serializer.serialize_seq(None)?;
        for kind in KINDS.iter().copied().map(Some).chain([None]) {
            let rows = self.rows(kind);
            if rows.is_empty() {
                continue;
            }
            let total = self.total(kind);
            let classes = rows
                .iter()
                .map(|row| Entry {
                    from: row.from,
                    to: row.to,
                    strings: row.class.count,
                    bytes: row.class.bytes,
                    cumulative_strings: row.cumulative.count,
                    cumulative_bytes: row.cumulative.bytes,
                })
                .collect();
            let kind = kind.map_or("all".into(), |kind| kind.label().replace(' ', "_"));
            list.serialize_element(&Of { kind, strings: total.count, bytes: total.bytes, classes })?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Histogram {
        let mut histogram = Histogram::new();
        for len in [0, 1, 2, 3, 8, 15, 100] {
            histogram.add(Kind::Docstring, len);
        }
        histogram.add(Kind::Bytecode, 4);
        histogram.add(Kind::Tuple, 4);
        histogram
    }

    #[test]
    fn classes_are_powers_of_two_and_sums_are_cumulative() {
        let histogram = sample();
        let rows = histogram.rows(Some(Kind::Docstring));
        let counts: Vec<_> =
            rows.iter().map(|r| (r.from, r.to, r.class.count, r.class.bytes, r.cumulative.bytes)).collect();
        assert_eq!(
            counts,
            [
                (1, 1, 1, 1, 1),
                (2, 3, 2, 5, 6),
                (4, 7, 0, 0, 6),
                (8, 15, 2, 23, 29),
                (16, 31, 0, 0, 29),
                (32, 63, 0, 0, 29),
                (64, 127, 1, 100, 129)
            ]
        );
        assert_eq!(histogram.total(None), Class { count: 7, bytes: 133 });
        assert_eq!(histogram.total(Some(Kind::Name)), Class::default());
    }

    #[test]
    fn merging_adds_every_class() {
        let mut twice = sample();
        twice.merge(&sample());
        for (both, one) in twice.rows(None).iter().zip(sample().rows(None)) {
            assert_eq!((both.class.count, both.class.bytes), (2 * one.class.count, 2 * one.class.bytes));
        }
    }

    #[test]
    fn bars_scale_to_the_width_and_never_vanish() {
        let mut histogram = Histogram::new();
        for _ in 0..1000 {
            histogram.add(Kind::Text, 5);
        }
        histogram.add(Kind::Text, 9);
        let text = histogram.render(20, |bytes| format!("{bytes} B"));
        assert!(text.starts_with("other text: 1001 strings, 5009 B\n"), "{text}");
        let bars: Vec<usize> = text.lines().skip(2).take(2).map(|line| line.matches('#').count()).collect();
        assert_eq!(bars, [20, 1], "{text}");
        assert_eq!(Histogram::new().render(20, |b| b.to_string()), "no strings\n");
    }

    #[test]
    fn json_lists_the_kinds_there_are() {
        let json = serde_json::to_value(sample()).unwrap();
        let kinds: Vec<_> = json.as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["docstrings", "bytecode", "all"]);
        assert_eq!(json[0]["classes"][3]["cumulative_bytes"], 29);
    }
}
