//! What was known of the directories of a package when it was linked: when each last changed, and what could be imported from it of which
//! the package has no record. A loader that finds a directory unchanged need not list it: what is neither named nor recorded is not there.
//!
//! The section is two numbers (u32: rows, entries), then the rows, sorted by path, then the entries of all rows, each the offset of
//! a name in the section of names (u32). All is searched in place.

use std::cmp::Ordering;
use std::iter::FusedIterator;
use std::ops::Range;

use super::read::name_at;
use super::{NAMES, Part};
use crate::bytes::{Cursor, Sink as _, u32_at};
use crate::error::{Error, Result};
use crate::limits::{MAX_NAME_BYTES, MAX_PATH_BYTES};

/// Suffix of every extension module's file name on Linux (`EXTENSION_SUFFIXES` of `importlib.machinery`: `.cpython-312-x86_64-linux-gnu.so`,
/// `.abi3.so`, `.so`).
pub const EXTENSION: &[u8] = b".so";

/// Offset of the first row.
pub const ROWS_AT: usize = 8;

/// Bytes of an entry.
pub const ENTRY_LEN: usize = 4;

/// Stands for an mtime that is not known. (In nanoseconds it is the year 1677: nothing was modified then.)
pub const UNKNOWN: i64 = i64::MIN;

const SECTION: &str = NAMES[Part::Directories as usize];

/// One directory: 24 bytes in the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Bytes 0–3: offset of its path in the names; that of an empty string for the root.
    pub path: u32,
    /// Bytes 4–7: number of its first entry.
    pub first: u32,
    /// Bytes 8–11: entries. Bytes 12–15 are reserved and zero.
    pub count: u32,
    /// Bytes 16–23: its mtime in nanoseconds since 1970, or [`UNKNOWN`].
    pub mtime_ns: Option<i64>,
}

impl Row {
    /// Bytes of a row.
    pub const LEN: usize = 24;

    /// Appends the row's bytes.
    pub fn put(&self, out: &mut Vec<u8>) {
        for word in [self.path, self.first, self.count, 0] {
            out.put_u32(word);
        }
        out.put_u64(self.mtime_ns.unwrap_or(UNKNOWN) as u64);
    }

    /// Reads a row.
    ///
    /// # Errors
    /// Too few bytes, or reserved ones that are not zero; the offset counts from the row's start.
    pub fn parse(bytes: &[u8]) -> Result<Row> {
        let mut cursor = Cursor::new(bytes);
        let (path, first, count) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        if cursor.u32()? != 0 {
            return Err(Error::malformed("four zero bytes in a row of directories", "others").at(12u64));
        }
        let mtime_ns = Some(cursor.u64()? as i64).filter(|ns| *ns != UNKNOWN);
        Ok(Row { path, first, count, mtime_ns })
    }
}

/// The directories of a package, sorted by path.
#[derive(Clone, Copy, Debug)]
pub struct Directories<'a> {
    rows: &'a [u8],
    entries: &'a [u8],
    names: &'a [u8],
}

/// What was known of one directory.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a> {
    /// Path relative to the package's root; empty for the root itself.
    pub path: &'a [u8],
    /// Its mtime in nanoseconds since 1970, taken before anything in it was read. Not known where it came from `.pye` files or from below
    /// several roots: then nothing is known of what else it holds.
    pub mtime_ns: Option<i64>,
    /// Offset of the first entry in the section, for errors.
    at: usize,
    entries: &'a [u8],
    names: &'a [u8],
}

impl<'a> Directories<'a> {
    /// The directories that `section` lists; `names` is the section of names.
    ///
    /// # Errors
    /// The section has not the size that it states.
    pub(super) fn new(section: &'a [u8], names: &'a [u8]) -> Result<Self> {
        if section.is_empty() {
            return Ok(Self { rows: &[], entries: &[], names });
        }
        let stated = |at| u64::from(u32_at(section, at).unwrap_or(0));
        let (rows, entries) = (stated(0), stated(4));
        let split = ROWS_AT as u64 + rows * Row::LEN as u64;
        let expected = split + entries * ENTRY_LEN as u64;
        if section.len() as u64 != expected {
            let got = section.len().to_string();
            return Err(Error::malformed(
                format!("{expected} bytes for {rows} directories with {entries} names in all"),
                got,
            )
            .at(0u64)
            .within(SECTION));
        }
        let (rows, entries) = section.split_at(split as usize);
        Ok(Self { rows: &rows[ROWS_AT..], entries, names })
    }

    /// Number of directories.
    pub fn len(&self) -> usize {
        self.rows.len() / Row::LEN
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The directory numbered `index`.
    ///
    /// # Errors
    /// No such row, a broken one, or one whose path or entries are not where it says.
    pub fn get(&self, index: usize) -> Result<Directory<'a>> {
        Ok(self.row(index)?.1)
    }

    /// A row, and what it says.
    fn row(&self, index: usize) -> Result<(Row, Directory<'a>)> {
        let bytes = self.rows.chunks_exact(Row::LEN).nth(index).ok_or_else(|| {
            Error::malformed(format!("a directory below {}", self.len()), index.to_string()).within(SECTION)
        })?;
        let at = ROWS_AT + index * Row::LEN;
        let row = Row::parse(bytes).map_err(|e| {
            let offset = at as u64 + e.offset().unwrap_or(0);
            e.at(offset).within(SECTION)
        })?;
        let range = Self::range(&row).filter(|r| r.end <= self.entries.len());
        let Some(range) = range else {
            let expected = format!("entries within {}", self.entries.len() / ENTRY_LEN);
            let got = format!("{} from {} on", row.count, row.first);
            return Err(Error::malformed(expected, got).at(at + 4).within(SECTION));
        };
        let path = name_at(self.names, row.path, MAX_PATH_BYTES)?;
        if !path.is_empty() && !super::is_below(path) {
            let got = format!("{:?}", String::from_utf8_lossy(path));
            return Err(Error::malformed("a relative path without empty, . or .. parts", got)
                .at(u64::from(row.path))
                .within(NAMES[Part::Names as usize]));
        }
        let at = ROWS_AT + self.rows.len() + range.start;
        let entries = &self.entries[range];
        Ok((row, Directory { path, mtime_ns: row.mtime_ns, at, entries, names: self.names }))
    }

    /// The bytes of a row's entries.
    fn range(row: &Row) -> Option<Range<usize>> {
        let start = (row.first as usize).checked_mul(ENTRY_LEN)?;
        Some(start..start.checked_add((row.count as usize).checked_mul(ENTRY_LEN)?)?)
    }

    /// All directories, in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Directory<'a>>> + use<'a> {
        let all = *self;
        (0..all.len()).map(move |i| all.get(i))
    }

    /// The directory at `path`, by binary search.
    ///
    /// # Errors
    /// A row is broken that was looked at.
    pub fn find(&self, path: &[u8]) -> Result<Option<Directory<'a>>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let directory = self.get(middle)?;
            match directory.path.cmp(path) {
                Ordering::Equal => return Ok(Some(directory)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// That rows and names are sorted, that every entry is some row's, and that names are what they should be. In time linear in the section
    /// and the lengths of the names.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(super) fn verify(&self) -> Result<()> {
        let mut previous: Option<&[u8]> = None;
        let mut entries = 0u64;
        for i in 0..self.len() {
            let (row, directory) = self.row(i)?;
            let at = ROWS_AT + i * Row::LEN;
            let fail = |at: usize, expected: &'static str, got: String| {
                Err(Error::malformed(expected, got).at(at).within(SECTION))
            };
            if previous.is_some_and(|p| p >= directory.path) {
                return fail(at, "directories sorted by path", "one out of order".into());
            }
            if u64::from(row.first) != entries {
                let got = format!("{} for {entries}", row.first);
                return fail(at + 4, "entries that follow those of the row before", got);
            }
            let mut last: Option<&[u8]> = None;
            for (j, name) in directory.names().enumerate() {
                let name = name?;
                if last.is_some_and(|l| l >= name) {
                    return fail(directory.at + j * ENTRY_LEN, "names in order", "one out of order".into());
                }
                last = Some(name);
            }
            entries += u64::from(row.count);
            previous = Some(directory.path);
        }
        let stated = (self.entries.len() / ENTRY_LEN) as u64;
        if entries != stated {
            let expected = format!("{entries} entries, all of them some row's");
            return Err(Error::malformed(expected, stated.to_string()).at(4u64).within(SECTION));
        }
        Ok(())
    }
}

impl<'a> Directory<'a> {
    /// What in it can be imported though the package has no record of it, sorted: names of files, and, with `/` at the end, of
    /// sub-directories. What [`importable`] takes.
    pub fn names(&self) -> impl Iterator<Item = Result<&'a [u8]>> + use<'a> {
        let all = *self;
        (0..all.len()).map(move |i| all.name(i))
    }

    /// The entries for the module `name` (the last part of a dotted name): a sub-directory `name/`, files `name.….so`, `name.py`, `name.pyc`.
    /// Which of them an interpreter takes, and whether before a module of that name, is for the caller to say. Found by binary search.
    pub fn named<'n>(&self, name: &'n [u8]) -> Named<'a, 'n> {
        Named { directory: *self, name, next: None }
    }

    fn len(&self) -> usize {
        self.entries.len() / ENTRY_LEN
    }

    /// The entry numbered `index`, which is below [`Directory::len`].
    fn name(&self, index: usize) -> Result<&'a [u8]> {
        // Beyond the names, so an error, should it not be there.
        let offset = u32_at(self.entries, index * ENTRY_LEN).unwrap_or(u32::MAX);
        let name = name_at(self.names, offset, MAX_NAME_BYTES + 1)?;
        if importable(name).is_none() {
            let got = format!("{:?}", String::from_utf8_lossy(name));
            return Err(Error::malformed("NAME/, NAME.py, NAME.pyc or NAME.….so, without a dot in NAME", got)
                .at(self.at + index * ENTRY_LEN)
                .within(SECTION));
        }
        Ok(name)
    }

    /// Number of the first entry that may stand for `name`: all that do follow one another, for `.` and `/` do, and no name has either.
    fn first(&self, name: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.name(middle)?.iter().lt(name.iter().chain(b".")) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// The entries of a directory for one module.
#[derive(Clone, Debug)]
pub struct Named<'a, 'n> {
    directory: Directory<'a>,
    name: &'n [u8],
    /// Number of the entry to look at, once it has been searched.
    next: Option<usize>,
}

impl<'a> Iterator for Named<'a, '_> {
    type Item = Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut found = || -> Result<Option<&'a [u8]>> {
            let next = match self.next {
                Some(next) => next,
                None => self.directory.first(self.name)?,
            };
            if next < self.directory.len() {
                let entry = self.directory.name(next)?;
                if importable(entry) == Some(self.name) {
                    self.next = Some(next + 1);
                    return Ok(Some(entry));
                }
            }
            self.next = Some(self.directory.len());
            Ok(None)
        };
        match found() {
            Ok(entry) => entry.map(Ok),
            Err(error) => {
                self.next = Some(self.directory.len());
                Some(Err(error))
            }
        }
    }
}

impl FusedIterator for Named<'_, '_> {}

/// The module that an entry can be imported as (the last part of its dotted name): `m` of a sub-directory `m/` and of files `m.py`, `m.pyc` and
/// `m.….so`, as long as a file system lets them be. None of anything else, which may not stand in the section.
pub fn importable(entry: &[u8]) -> Option<&[u8]> {
    let end = entry.iter().position(|b| matches!(b, b'.' | b'/'))?;
    let (name, rest) = entry.split_at(end);
    let good = match rest {
        b"/" | b".py" | b".pyc" => true,
        _ => rest.ends_with(EXTENSION) && !rest.contains(&b'/'),
    };
    let len = entry.len() - usize::from(rest == b"/");
    (good && !name.is_empty() && len <= MAX_NAME_BYTES).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section and its names, in the order given.
    fn section(directories: &[(&str, Option<i64>, &[&str])]) -> (Vec<u8>, Vec<u8>) {
        let (mut rows, mut entries, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let mut put = |name: &str| {
            let at = names.len() as u32;
            names.extend([name.as_bytes(), b"\0"].concat());
            at
        };
        for (path, mtime_ns, listed) in directories {
            let first = (entries.len() / ENTRY_LEN) as u32;
            Row { path: put(path), first, count: listed.len() as u32, mtime_ns: *mtime_ns }.put(&mut rows);
            listed.iter().for_each(|name| entries.put_u32(put(name)));
        }
        let mut out = Vec::new();
        out.put_u32(directories.len() as u32);
        out.put_u32((entries.len() / ENTRY_LEN) as u32);
        out.extend([rows, entries].concat());
        (out, names)
    }

    fn named(directory: &Directory<'_>, name: &str) -> Vec<String> {
        let entries = directory.named(name.as_bytes());
        entries.map(|e| String::from_utf8(e.unwrap().to_vec()).unwrap()).collect()
    }

    #[test]
    fn directories_are_found_by_path_and_tell_what_else_has_a_modules_name() {
        let listed: &[&str] = &[
            "foo-bar.so",
            "foo.abi3.so",
            "foo.cpython-312-x86_64-linux-gnu.so",
            "foo.py",
            "foo.pyc",
            "foo.so",
            "foo/",
            "foo0.so",
            "foobar.so",
            "z/",
        ];
        let (bytes, names) = section(&[
            ("", Some(-1), &[]),
            ("a", Some(1_577_836_800_123_456_789), listed),
            ("a/b", None, &[]),
            ("b", Some(i64::MAX), &["m.so"]),
        ]);
        let all = Directories::new(&bytes, &names).unwrap();
        all.verify().unwrap();
        let paths: Vec<&[u8]> = all.iter().map(|d| d.unwrap().path).collect();
        assert_eq!(paths, [&b""[..], b"a", b"a/b", b"b"]);
        for (path, mtime) in
            [("", Some(-1)), ("a", Some(1_577_836_800_123_456_789)), ("a/b", None), ("b", Some(i64::MAX))]
        {
            assert_eq!(all.find(path.as_bytes()).unwrap().unwrap().mtime_ns, mtime, "{path:?}");
        }
        for path in ["/", "A", "a/", "a/a", "a/bb", "c"] {
            assert!(all.find(path.as_bytes()).unwrap().is_none(), "{path:?}");
        }
        let a = all.find(b"a").unwrap().unwrap();
        let names: Vec<&[u8]> = a.names().map(Result::unwrap).collect();
        assert_eq!(names, listed.iter().map(|n| n.as_bytes()).collect::<Vec<_>>());
        assert_eq!(named(&a, "foo"), &listed[1..7]);
        assert_eq!(named(&a, "foobar"), ["foobar.so"]);
        assert_eq!(named(&a, "z"), ["z/"]);
        for name in ["fo", "f", "foo-", "foo.abi3", "foo/", "foo1", "zz", "", "a"] {
            assert_eq!(named(&a, name), [""; 0], "{name:?}");
        }
        let empty = Directories::new(&[], &[]).unwrap();
        assert!(empty.is_empty() && empty.find(b"").unwrap().is_none());
        empty.verify().unwrap();
    }

    #[test]
    fn names_that_leave_the_directory_or_are_no_modules_are_refused() {
        for good in ["m.so", "m.abi3.so", "m..so", "m.py", "m.pyc", "m-1/", "m/"] {
            let name = good.split(['.', '/']).next().unwrap();
            assert_eq!(importable(good.as_bytes()), Some(name.as_bytes()), "{good}");
        }
        let long = "m".repeat(MAX_NAME_BYTES);
        assert_eq!(importable(format!("{long}/").as_bytes()), Some(long.as_bytes()));
        let longer = format!("{long}m/");
        for bad in [
            "", "/", ".so", "..so", ".py", "./", "../", "a/b/", "a/b.so", "a.b/", "a.b.py", "a./b.so", "../a.so",
            "/a.so", "m", "m.", "m.pyo", "m.so.1", "m.so/", &longer,
        ] {
            assert_eq!(importable(bad.as_bytes()), None, "{bad}");
            let (bytes, names) = section(&[("", None, &[bad])]);
            let directory = Directories::new(&bytes, &names).unwrap().get(0).unwrap();
            assert!(directory.names().next().unwrap().is_err(), "{bad}");
            let mut named = directory.named(b"m");
            assert!(named.next().unwrap().is_err() && named.next().is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_out_of_order_or_out_of_range_is_refused_and_never_panics() {
        let (good, names) = section(&[("", None, &["a.so", "b.so"]), ("b", Some(0), &["c.so"])]);
        Directories::new(&good, &names).unwrap().verify().unwrap();
        // Unsorted or twice.
        for bad in [
            section(&[("b", None, &[]), ("a", None, &[])]),
            section(&[("b", None, &[]), ("b", None, &[])]),
            section(&[("", None, &["b.so", "a.so"])]),
            section(&[("", None, &["b.so", "b.so"])]),
            section(&[("../b", None, &[])]),
            section(&[("b/", None, &[])]),
        ] {
            assert!(Directories::new(&bad.0, &bad.1).unwrap().verify().is_err());
        }
        // Every byte changed, every length: an error or an answer, in each way of reading.
        let read = |bytes: &[u8], names: &[u8]| {
            let Ok(all) = Directories::new(bytes, names) else { return };
            let _ = all.verify();
            let _ = all.find(b"b").map(|found| found.map(|d| d.named(b"c").count()));
            for directory in all.iter().flatten() {
                let _ = directory.names().count() + directory.named(b"b").count();
            }
        };
        for at in 0..good.len() {
            read(&good[..at], &names);
            for value in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                read(&bytes, &names);
                read(&bytes, &[]);
            }
        }
    }
}
