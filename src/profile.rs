//! Profiles of use: which modules a program imports and which functions it runs, in order of first use.
//!
//! `pye trace` writes them ([`crate::trace::profile`]), images are laid out by them ([`crate::image::layout`]). The file is text, specified in
//! `format-spec/profile.md`; the logs that the traced processes write are profiles of one process each:
//!
//! ```text
//! pye-profile   1
//! processes     5  5
//! module        5  /srv/app/views.py
//! function      4  /srv/app/views.py  Index.get  12
//! ```
//!
//! with one tab where columns are shown. Modules are known by the path of their source, functions by the `co_filename`, `co_qualname` and
//! `co_firstlineno` of their code objects.

use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::path::Path;

use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::fsys;
use crate::limits::MAX_PROFILE_BYTES;

/// The first word of a profile.
const MAGIC: &str = "pye-profile";

/// The version that is written, and the only one that is read.
const VERSION: &str = "1";

/// The word that starts the second line.
const PROCESSES: &str = "processes";

/// The word that starts the line of a module.
const MODULE: &str = "module";

/// The word that starts the line of a function.
const FUNCTION: &str = "function";

/// What cannot stand in a field, and the letter that stands for it after a backslash.
const ESCAPES: [(char, char); 4] = [('\\', '\\'), ('\t', 't'), ('\n', 'n'), ('\r', 'r')];

/// What a program used.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    processes: u32,
    with_functions: u32,
    modules: u32,
    functions: u32,
    /// In order of first use.
    uses: Vec<Use>,
    /// The numbers of `uses` by what was used.
    index: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    source: Box<str>,
    /// Of a function; nothing for the module itself.
    function: Option<Function>,
    /// How many of its kind were used before.
    rank: u32,
    /// How many processes used it.
    processes: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    qualname: Box<str>,
    first_line: u32,
}

/// What finds a use: the source, and qualified name and first line of a function.
type Key<'a> = (&'a str, Option<(&'a str, u32)>);

impl Use {
    fn key(&self) -> Key<'_> {
        (&self.source, self.function.as_ref().map(|f| (&*f.qualname, f.first_line)))
    }
}

/// Two profiles are equal when they say the same.
impl PartialEq for Profile {
    fn eq(&self, other: &Profile) -> bool {
        let counts = |profile: &Profile| (profile.processes, profile.with_functions);
        counts(self) == counts(other) && self.uses == other.uses
    }
}

impl Eq for Profile {}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// The file cannot be read, has more than [`MAX_PROFILE_BYTES`] bytes, is of a version that is not known, or breaks a rule of the format.
    pub fn read(path: &Path) -> Result<Profile> {
        Profile::parse(&bytes(path)?).map_err(|e| e.in_file(path))
    }

    /// Reads a profile from its text.
    ///
    /// # Errors
    /// It is of a version that is not known, or breaks a rule of the format; the line is named.
    pub fn parse(text: &[u8]) -> Result<Profile> {
        let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            return Err(Error::malformed("a newline at the end", "a line that is cut short").on_line(lines + 1));
        }
        parse(text, |line| Err(Error::malformed("each module and function once", "one again").on_line(line)))
    }

    /// Reads the log of one process, which may have been killed while it wrote: what comes after the last newline is not looked at. It may
    /// tell of something twice. Nothing if it was killed before it told anything.
    ///
    /// # Errors
    /// As [`Profile::read`].
    pub(crate) fn read_log(path: &Path) -> Result<Option<Profile>> {
        let text = bytes(path)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let text = &text[..whole];
        // The first two lines are written at once, but a full disk takes part of them.
        if text.iter().filter(|byte| **byte == b'\n').count() < 2 {
            return Ok(None);
        }
        parse(text, |_| Ok(())).map(Some).map_err(|e| e.in_file(path))
    }

    /// Adds what `other` says, as if its processes had started after those of this one: what is in both keeps its place, what only `other` has
    /// comes after, in its order.
    ///
    /// # Errors
    /// There would be more than 2^32 - 1 processes.
    pub fn merge(&mut self, other: &Profile) -> Result<()> {
        // No other count is larger: a use has at most all processes.
        let Some(processes) = self.processes.checked_add(other.processes) else {
            let sum = u64::from(self.processes) + u64::from(other.processes);
            return Err(Error::limit("processes in a profile", u32::MAX.into(), sum));
        };
        self.processes = processes;
        self.with_functions += other.with_functions;
        for used in &other.uses {
            match self.find(used.key()) {
                Some(at) => self.uses[at].processes += used.processes,
                None => self.push(used.key(), used.processes)?,
            }
        }
        Ok(())
    }

    /// Writes the profile; `path` has the old file or the whole new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fsys::write(path, self.to_text().as_bytes())
    }

    /// The text that [`Profile::parse`] reads.
    pub fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}\t{VERSION}\n{PROCESSES}\t{}\t{}\n", self.processes, self.with_functions);
        for used in &self.uses {
            let kind = if used.function.is_some() { FUNCTION } else { MODULE };
            text.push_str(&format!("{kind}\t{}\t", used.processes));
            escape(&used.source, &mut text);
            if let Some(function) = &used.function {
                text.push('\t');
                escape(&function.qualname, &mut text);
                text.push_str(&format!("\t{}", function.first_line));
            }
            text.push('\n');
        }
        text
    }

    /// How many processes the profile is of.
    pub fn processes(&self) -> u32 {
        self.processes
    }

    /// How many of them told of functions: the others were of interpreters before CPython 3.12. Where it is 0, nothing is known of functions.
    pub fn processes_with_functions(&self) -> u32 {
        self.with_functions
    }

    /// How many modules were imported: ranks are below it.
    pub fn modules(&self) -> u32 {
        self.modules
    }

    /// How many functions ran: ranks are below it.
    pub fn functions(&self) -> u32 {
        self.functions
    }

    /// How many modules were first imported before the one with this source, if it was imported.
    pub fn module(&self, source: &str) -> Option<u32> {
        self.find((source, None)).map(|at| self.uses[at].rank)
    }

    /// How many functions ran for the first time before this one, if it ran. Class bodies, lambdas and other nested code are functions.
    /// Functions that have all three in common are one.
    pub fn function(&self, source: &str, qualname: &str, first_line: u32) -> Option<u32> {
        self.find((source, Some((qualname, first_line)))).map(|at| self.uses[at].rank)
    }

    fn find(&self, key: Key<'_>) -> Option<usize> {
        let found = self.index.find(self.hasher.hash_one(key), |&at| self.uses[at as usize].key() == key);
        found.map(|&at| at as usize)
    }

    /// Adds what is not there yet.
    fn push(&mut self, key: Key<'_>, processes: u32) -> Result<()> {
        // Out of reach of what is read, not of what is merged.
        let at = u32::try_from(self.uses.len())
            .map_err(|_| Error::limit("modules and functions in a profile", u32::MAX.into(), self.uses.len() as u64))?;
        let (source, function) = key;
        let ranks = if function.is_some() { &mut self.functions } else { &mut self.modules };
        let rank = *ranks;
        *ranks += 1;
        let function = function.map(|(qualname, first_line)| Function { qualname: qualname.into(), first_line });
        self.uses.push(Use { source: source.into(), function, rank, processes });
        let (uses, hasher) = (&self.uses, &self.hasher);
        self.index.insert_unique(hasher.hash_one(key), at, |&at| hasher.hash_one(uses[at as usize].key()));
        Ok(())
    }
}

/// A whole file, if it is not too large.
fn bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_PROFILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|e| Error::io("cannot read", e).in_file(path))?;
    if bytes.len() as u64 > MAX_PROFILE_BYTES {
        return Err(Error::limit("bytes in a profile", MAX_PROFILE_BYTES, bytes.len() as u64).in_file(path));
    }
    Ok(bytes)
}

/// Parses lines that end in newlines; `again` is asked about the number of a line that tells of something twice.
fn parse(text: &[u8], again: impl Fn(u64) -> Result<()>) -> Result<Profile> {
    let mut profile = Profile::default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1u64..) {
        let known = parse_line(&mut profile, line, number).map_err(|e| e.on_line(number))?;
        if known {
            again(number)?;
        }
    }
    if profile.processes == 0 {
        return Err(Error::malformed(format!("{PROCESSES}, their number and that of those with functions"), "the end")
            .on_line(2));
    }
    Ok(profile)
}

/// Parses one line and says whether it tells of something that was known.
fn parse_line(profile: &mut Profile, line: &[u8], number: u64) -> Result<bool> {
    let line = std::str::from_utf8(line)
        .map_err(|e| Error::malformed("UTF-8", format!("something else after {} bytes", e.valid_up_to())))?;
    let fields: Vec<&str> = line.split('\t').collect();
    let wrong = |expected: String| Error::malformed(expected, quote(line));
    let key: Key<'_>;
    let (source, qualname);
    let count = match (number, &fields[..]) {
        (1, [MAGIC, VERSION]) => return Ok(false),
        (1, [MAGIC, version]) => {
            return Err(Error::unsupported(
                format!("version {VERSION} of profiles"),
                quote(version),
                "make it again with `pye trace`, or use the pye that made it",
            ));
        }
        (1, _) => return Err(wrong(format!("{MAGIC} and a version, with a tab between"))),
        (2, [PROCESSES, all, with_functions]) => {
            profile.processes = decimal(all, 1, u32::MAX)?;
            profile.with_functions = decimal(with_functions, 0, profile.processes)?;
            return Ok(false);
        }
        (2, _) => return Err(wrong(format!("{PROCESSES}, their number and that of those with functions"))),
        (_, [MODULE, count, path]) => {
            source = unescape(path)?;
            key = (&source, None);
            decimal(count, 1, profile.processes)?
        }
        (_, [FUNCTION, count, path, name, first_line]) => {
            (source, qualname) = (unescape(path)?, unescape(name)?);
            key = (&source, Some((&qualname, decimal(first_line, 0, u32::MAX)?)));
            decimal(count, 1, profile.with_functions)?
        }
        _ => {
            return Err(wrong(format!(
                "{MODULE}, a count and a path, or {FUNCTION}, a count, a path, a name and a line, with tabs between"
            )));
        }
    };
    if profile.find(key).is_some() {
        return Ok(true);
    }
    profile.push(key, count)?;
    Ok(false)
}

/// A number in the one way it is written.
fn decimal(text: &str, least: u32, most: u32) -> Result<u32> {
    let number = text.parse().ok().filter(|number: &u32| (least..=most).contains(number) && number.to_string() == text);
    number.ok_or_else(|| Error::malformed(format!("a number from {least} to {most}"), quote(text)))
}

/// Hostile text for a message: no controls, not too long.
fn quote(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match ESCAPES.iter().find(|(raw, _)| *raw == c) {
            Some((_, letter)) => out.extend(['\\', *letter]),
            None => out.push(c),
        }
    }
}

fn unescape(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => {
                let letter = chars.next();
                let known = ESCAPES.iter().find(|(_, known)| Some(*known) == letter);
                known.ok_or_else(|| Error::malformed(r"one of \\, \t, \n and \r", quote(text)))?.0
            }
            '\r' => return Err(Error::malformed(r"\r for a carriage return", quote(text))),
            c => c,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = "pye-profile\t1\nprocesses\t3\t2\nmodule\t3\t/a.py\nfunction\t1\t/a.py\tf.<locals>.<lambda>\t7\n\
                         module\t1\t/b.py\nfunction\t2\t/b.py\tf\t7\nfunction\t2\t/a.py\tf\t1\n";

    fn small() -> Profile {
        Profile::parse(SMALL.as_bytes()).unwrap()
    }

    #[test]
    fn ranks_count_within_their_kind() {
        let profile = small();
        assert_eq!((profile.processes(), profile.processes_with_functions()), (3, 2));
        assert_eq!((profile.modules(), profile.functions()), (2, 3));
        assert_eq!(
            (profile.module("/a.py"), profile.module("/b.py"), profile.module("/c.py")),
            (Some(0), Some(1), None)
        );
        assert_eq!(profile.function("/a.py", "f.<locals>.<lambda>", 7), Some(0));
        assert_eq!(profile.function("/b.py", "f", 7), Some(1));
        assert_eq!(profile.function("/a.py", "f", 1), Some(2));
        assert_eq!((profile.function("/a.py", "f", 7), profile.function("/a.py", "g", 1)), (None, None));
        assert_eq!(profile.to_text(), SMALL);
    }

    #[test]
    fn merging_keeps_the_order_of_the_first_and_adds_up() {
        let mut profile = small();
        let other = "pye-profile\t1\nprocesses\t2\t2\nfunction\t1\t/c.py\tg\t1\nmodule\t2\t/b.py\nfunction\t2\t/a.py\tf\t1\n\
                     module\t1\t/c.py\n";
        profile.merge(&Profile::parse(other.as_bytes()).unwrap()).unwrap();
        let expected = "pye-profile\t1\nprocesses\t5\t4\nmodule\t3\t/a.py\nfunction\t1\t/a.py\tf.<locals>.<lambda>\t7\n\
                        module\t3\t/b.py\nfunction\t2\t/b.py\tf\t7\nfunction\t4\t/a.py\tf\t1\nfunction\t1\t/c.py\tg\t1\n\
                        module\t1\t/c.py\n";
        assert_eq!(profile.to_text(), expected);
        assert_eq!(profile.module("/c.py"), Some(2));
        // Into nothing: the same.
        let mut empty = Profile::default();
        empty.merge(&profile).unwrap();
        assert_eq!(empty, profile);
        // Counts cannot run over.
        let many = Profile::parse(b"pye-profile\t1\nprocesses\t4294967295\t0\n").unwrap();
        let error = profile.merge(&many).unwrap_err().to_string();
        assert_eq!(error, "expected at most 4294967295 processes in a profile, got 4294967300");
        assert_eq!(profile.to_text(), expected);
    }

    #[test]
    fn what_breaks_a_rule_is_named_with_its_line() {
        let head = "pye-profile\t1\nprocesses\t3\t2\n";
        for (text, expected) in [
            ("", "line 1: expected pye-profile and a version, with a tab between, got \"\""),
            ("ELF\n", "line 1: expected pye-profile and a version, with a tab between, got \"ELF\""),
            ("pye-profile\t2\n", "line 1: expected version 1 of profiles, got \"2\""),
            ("pye-profile\t1\r\n", "line 1: expected version 1 of profiles, got \"1\\r\""),
            (
                "pye-profile\t1\n",
                "line 2: expected processes, their number and that of those with functions, got the end",
            ),
            ("pye-profile\t1\nprocesses\t0\t0\n", "line 2: expected a number from 1 to 4294967295, got \"0\""),
            ("pye-profile\t1\nprocesses\t1\t2\n", "line 2: expected a number from 0 to 1, got \"2\""),
            (
                "pye-profile\t1\nmodule\t1\t/a.py\n",
                "line 2: expected processes, their number and that of those with \
              functions, got \"module\\t1\\t/a.py\"",
            ),
            ("{}module\t4\t/a.py\n", "line 3: expected a number from 1 to 3, got \"4\""),
            ("{}module\t+1\t/a.py\n", "line 3: expected a number from 1 to 3, got \"+1\""),
            ("{}module\t01\t/a.py\n", "line 3: expected a number from 1 to 3, got \"01\""),
            ("{}function\t3\t/a.py\tf\t1\n", "line 3: expected a number from 1 to 2, got \"3\""),
            ("{}function\t1\t/a.py\tf\t-1\n", "line 3: expected a number from 0 to 4294967295, got \"-1\""),
            ("{}module\t1\t/a\\x.py\n", "line 3: expected one of \\\\, \\t, \\n and \\r, got \"/a\\\\x.py\""),
            ("{}module\t1\t/a\\\n", "line 3: expected one of \\\\, \\t, \\n and \\r, got \"/a\\\\\""),
            ("{}module\t1\t/a.py\r\n", "line 3: expected \\r for a carriage return, got \"/a.py\\r\""),
            ("{}module\t1\t/a.py\nmodule\t1\t/a.py\n", "line 4: expected each module and function once, got one again"),
            ("{}module\t1\t/a.py", "line 3: expected a newline at the end, got a line that is cut short"),
            (
                "{}\n",
                "line 3: expected module, a count and a path, or function, a count, a path, a name and a line, with \
              tabs between, got \"\"",
            ),
        ] {
            let error = Profile::parse(text.replace("{}", head).as_bytes()).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
        let error = Profile::parse(b"pye-profile\t1\nprocesses\t1\t1\nmodule\t1\t/\xff\n").unwrap_err();
        assert_eq!(
            (error.line(), error.to_string().contains("expected UTF-8, got something else after 10 bytes")),
            (Some(3), true)
        );
    }

    #[test]
    fn a_log_ends_anywhere_and_repeats() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let text = "pye-profile\t1\nprocesses\t1\t1\nmodule\t1\t/a.py\nmodule\t1\t/a.py\nmodule\t1\t/ü.py\n";
        let header = text.match_indices('\n').nth(1).unwrap().0;
        for len in 0..=text.len() {
            std::fs::write(&path, &text.as_bytes()[..len]).unwrap();
            let log = Profile::read_log(&path).unwrap();
            assert_eq!(log.is_some(), len > header);
            let lines = text.as_bytes()[..len].iter().filter(|byte| **byte == b'\n').count();
            let modules = lines.saturating_sub(2).min(1) + usize::from(lines == 5);
            assert_eq!(log.map_or(0, |log| log.modules()), modules as u32);
        }
    }

    #[test]
    fn a_file_is_written_whole_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profile");
        small().write(&path).unwrap();
        assert_eq!(Profile::read(&path).unwrap(), small());
        std::fs::write(&path, &SMALL[..SMALL.len() - 1]).unwrap();
        let error = Profile::read(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{}: line 7: expected a newline at the end, got a line that is cut short", path.display())
        );
        assert!(Profile::read(directory.path()).unwrap_err().to_string().contains("cannot read"));
        // Without a byte on the disk.
        File::create(&path).unwrap().set_len(MAX_PROFILE_BYTES + 1).unwrap();
        assert!(
            Profile::read(&path).unwrap_err().to_string().contains("expected at most 268435456 bytes in a profile")
        );
    }

    /// Names of few characters, so that some meet, among them all that are escaped.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![r"[\\\t\n\rtnr/aü]{0,4}", any::<String>()]
    }

    prop_compose! {
        fn profile()(processes in 1u32..9, functions in 0u32..9, uses in prop::collection::vec((name(), prop::option::of((name(), any::<u32>())), 1u32..9), 0..20)) -> Profile {
            let with_functions = functions.min(processes);
            let mut profile = Profile { processes, with_functions, ..Profile::default() };
            for (source, function, count) in &uses {
                let key = (&**source, function.as_ref().map(|(name, line)| (&**name, *line)));
                let most = if function.is_some() { with_functions } else { processes };
                if most > 0 && profile.find(key).is_none() {
                    profile.push(key, (*count).min(most)).unwrap();
                }
            }
            profile
        }
    }

    proptest! {
        #[test]
        fn reading_is_the_inverse_of_writing(profile in profile()) {
            let text = profile.to_text();
            let read = Profile::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&read, &profile);
            for used in &profile.uses {
                prop_assert_eq!(read.find(used.key()).map(|at| &read.uses[at]), Some(used));
            }
            prop_assert_eq!(read.to_text(), text);
        }

        #[test]
        fn any_bytes_are_refused_or_written_the_same(text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            r"pye-profile\t1\nprocesses\t[1-3]\t[0-3]\n((module|function)\t[0-3](\t([/a\\tn]{0,3}|[0-9])){0,4}\n){0,3}".prop_map(String::into_bytes),
        ]) {
            if let Ok(profile) = Profile::parse(&text) {
                prop_assert_eq!(profile.to_text().into_bytes(), text);
            }
        }
    }
}
