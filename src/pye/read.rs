//! Reads `.pye` files: a zero-copy view over mapped bytes. Opening checks the header and the extents of all sections, and is
//! cheap; [`Pye::verify`] reads everything.

use std::io::{self, Write};
use std::ops::Range;

use super::directories::{Directories, Directory};
use super::*;
use crate::blob;
use crate::elf;
use crate::holes::{Fill, Reader};
use crate::limits::MAX_PATH_BYTES;
use crate::marshal::pyc;
use crate::marshal::version::Version;
use crate::split::{self, Stores, Stream};

/// A `.pye` file.
#[derive(Clone, Debug)]
pub struct Pye<'a> {
    header: Header,
    ranges: [Range<usize>; PARTS],
    parts: [&'a [u8]; PARTS],
}

/// One module of a file: its record and where its bytes are.
#[derive(Clone, Debug)]
pub struct Module<'a> {
    /// Number of the record.
    pub number: usize,
    /// The record.
    pub record: Record,
    /// Its dotted name; empty when it has none.
    pub name: &'a [u8],
    /// Its path, relative and without `.` or `..`.
    pub path: &'a [u8],
    /// Its control stream.
    pub control: &'a [u8],
    /// Its table of holes.
    pub holes: &'a [u8],
}

impl<'a> Pye<'a> {
    /// Opens the file that `bytes` holds.
    ///
    /// # Errors
    /// Not ELF, no header section or a broken one, another format version, sections whose sizes are not those the header states.
    pub fn open(bytes: &'a [u8]) -> Result<Pye<'a>> {
        let found = elf::read::sections(bytes, NAMES)?;
        if found[Part::Header as usize].is_none() {
            return Err(Error::malformed("a .pye file", "an ELF file without this section").within(NAMES[0]));
        }
        // A section that is not there is empty.
        let ranges = found.map(Option::unwrap_or_default);
        let parts: [&[u8]; PARTS] = std::array::from_fn(|i| &bytes[ranges[i].clone()]);
        let header = Header::parse(parts[0]).map_err(|e| e.within(NAMES[0]))?;
        for (i, (size, _)) in header.sections.iter().enumerate() {
            if *size != parts[i + 1].len() as u64 {
                let got = format!("{}", parts[i + 1].len());
                return Err(Error::malformed(format!("{size} bytes, as the header states"), got).within(NAMES[i + 1]));
            }
        }
        let records = parts[Part::Modules as usize];
        let expected = u64::from(header.modules) * Record::LEN as u64;
        if records.len() as u64 != expected {
            return Err(Error::malformed(
                format!("{expected} bytes for {} records", header.modules),
                records.len().to_string(),
            )
            .within(NAMES[Part::Modules as usize]));
        }
        Ok(Pye { header, ranges, parts })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes of a section.
    pub fn part(&self, part: usize) -> &'a [u8] {
        self.parts[part]
    }

    /// Where a section stands in the file; empty when it is not there.
    pub fn range(&self, part: usize) -> Range<usize> {
        self.ranges[part].clone()
    }

    /// The payload sections.
    pub fn stores(&self) -> Stores<'a> {
        std::array::from_fn(|i| self.parts[Part::Str1 as usize + i])
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.header.modules as usize
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The module numbered `index`.
    ///
    /// # Errors
    /// No such record, a broken one, or one that points outside its sections.
    pub fn module(&self, index: usize) -> Result<Module<'a>> {
        let section = NAMES[Part::Modules as usize];
        let at = index as u64 * Record::LEN as u64;
        let bytes = self.parts[Part::Modules as usize].get(at as usize..at as usize + Record::LEN);
        let bytes = bytes.ok_or_else(|| {
            Error::malformed(format!("a record below {}", self.len()), index.to_string()).within(section)
        })?;
        let record = Record::parse(bytes).map_err(|e| {
            let offset = at + e.offset().unwrap_or(0);
            e.at(offset).within(section)
        })?;
        let control = self.slice(Part::Control, record.control, record.control_len)?;
        let holes = self.slice(Part::Holes, record.holes, record.holes_len)?;
        let (name, path) = (self.name(record.name)?, self.name(record.path)?);
        check_path(path, self.header.is_package())
            .map_err(|e| e.at(u64::from(record.path)).within(NAMES[Part::Names as usize]))?;
        Ok(Module { number: index, record, name, path, control, holes })
    }

    /// Whether every record is of one version of Python, raw files apart. Looks at these bytes of the records (see [`Record`]) and at nothing else.
    pub fn is_all_for(&self, python: (u8, u8)) -> bool {
        let records = self.parts[Part::Modules as usize].as_chunks::<{ Record::LEN }>().0;
        records.iter().all(|r| r[52] == ModuleKind::Raw as u8 || (r[54], r[55]) == python)
    }

    /// All modules, in order.
    pub fn modules(&self) -> impl Iterator<Item = Result<Module<'a>>> + '_ {
        (0..self.len()).map(|i| self.module(i))
    }

    /// Looks a module up by dotted name, Python version and optimisation level, in the mapped index.
    ///
    /// # Errors
    /// The index is broken where it was read.
    pub fn lookup(&self, name: &[u8], python: (u8, u8), optimization: u8) -> Result<Option<Module<'a>>> {
        let part = Part::Index as usize;
        let (buckets, table) = self.index()?;
        if buckets == 0 {
            return Ok(None);
        }
        let mut at = index_hash(name, python, optimization) & (buckets - 1);
        // At most once round: a table without an empty bucket is a lie, but not an endless loop.
        for _ in 0..buckets {
            let Some(bucket) = crate::bytes::u32_at(table, at as usize * 4) else { break };
            let Some(number) = bucket.checked_sub(1) else { return Ok(None) };
            let module = self.module(number as usize).map_err(|e| {
                Error::malformed("a bucket that holds a record's number", e.to_string())
                    .at(4 + u64::from(at) * 4)
                    .within(NAMES[part])
            })?;
            if module.name == name && module.record.python == python && module.record.optimization == optimization {
                return Ok(Some(module));
            }
            at = (at + 1) & (buckets - 1);
        }
        Ok(None)
    }

    /// What was known, when the package was linked, of the directories its modules stand in.
    ///
    /// # Errors
    /// The section has not the size that it states.
    pub fn directories(&self) -> Result<Directories<'a>> {
        Directories::new(self.parts[Part::Directories as usize], self.parts[Part::Names as usize])
    }

    /// What was known of the directory at `path`, relative to the root and empty for the root itself. Found by binary search in the
    /// mapped section.
    ///
    /// # Errors
    /// The section or a row is broken where it was read.
    pub fn directory(&self, path: &[u8]) -> Result<Option<Directory<'a>>> {
        self.directories()?.find(path)
    }

    /// The number of buckets and their bytes; none in a file of one module.
    fn index(&self) -> Result<(u32, &'a [u8])> {
        let part = Part::Index as usize;
        let bytes = self.parts[part];
        if bytes.is_empty() && !self.header.is_package() {
            return Ok((0, bytes));
        }
        let buckets = crate::bytes::u32_at(bytes, 0).unwrap_or(0);
        if !buckets.is_power_of_two() || bytes.len() as u64 != 4 + 4 * u64::from(buckets) {
            return Err(Error::malformed(
                format!("a power of two, and four bytes for each of {buckets} buckets"),
                format!("{} bytes", bytes.len()),
            )
            .at(0u64)
            .within(NAMES[part]));
        }
        Ok((buckets, &bytes[4..]))
    }

    /// Writes a module's `.pyc` to `out` and checks that it has the length and CRC32 that the record states.
    ///
    /// # Errors
    /// Broken tables, or `out` fails. What was written before the error is not the file.
    pub fn join<W: Write>(&self, module: &Module<'_>, out: &mut W) -> Result<()> {
        let mut stream = Stream::new(out, u64::from(module.record.pyc_len));
        let joined = split::join(module.control, module.holes, &self.stores(), &mut stream);
        let (len, crc) = joined.and_then(|()| stream.finish()).map_err(|e| self.of(module, e))?;
        self.check_sum(module, len, crc)
    }

    fn check_sum(&self, module: &Module<'_>, len: u64, crc: u32) -> Result<()> {
        if (len, crc) != (u64::from(module.record.pyc_len), module.record.pyc_crc) {
            let stated = format!("a .pyc of {} bytes, CRC32 {:08x}", module.record.pyc_len, module.record.pyc_crc);
            return Err(self.of(module, Error::malformed(stated, format!("{len} bytes, {crc:08x}"))));
        }
        Ok(())
    }

    /// As [`Pye::join`], into memory, replacing what `out` held: refuses a module that would take [`crate::limits::MAX_EXPANSION`] times the bytes of the file.
    ///
    /// # Errors
    /// As [`Pye::join`], or that one.
    pub fn join_into(&self, module: &Module<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.join_marked(module, out, None)
    }

    /// As [`Pye::join_into`]; `marks` gets all blobs with their places, in order.
    ///
    /// # Errors
    /// As that.
    pub fn join_marked(
        &self,
        module: &Module<'_>,
        out: &mut Vec<u8>,
        marks: Option<&mut Vec<split::Mark>>,
    ) -> Result<()> {
        let cap = self.cap();
        if u64::from(module.record.pyc_len) > cap {
            let error = Error::limit("bytes of .pyc from this file in memory", cap, module.record.pyc_len.into());
            let at = module.number * Record::LEN + 40;
            return Err(error.at(at).within(NAMES[Part::Modules as usize]).in_module(module.path));
        }
        let len = module.record.pyc_len as usize;
        split::join_into(module.control, module.holes, &self.stores(), len, out, marks)
            .map_err(|e| self.of(module, e))?;
        self.check_sum(module, out.len() as u64, crc32fast::hash(out))
    }

    /// Says which module an error is about: offsets into its control stream or holes become offsets into the section. What has no place is
    /// about the record.
    fn of(&self, module: &Module<'_>, error: Error) -> Error {
        let (base, section) = match error.section() {
            Some(split::CONTROL) => (module.record.control, NAMES[Part::Control as usize]),
            Some(split::HOLES) => (module.record.holes, NAMES[Part::Holes as usize]),
            None if error.offset().is_none() => {
                let at = module.number * Record::LEN;
                return error.at(at).within(NAMES[Part::Modules as usize]).in_module(module.path);
            }
            _ => return error.in_module(module.path),
        };
        let at = base + error.offset().unwrap_or(0);
        error.at(at).within(section).in_module(module.path)
    }

    /// Checks the CRC32 of all that modules are found by: records, index, names, directories. For who trusts the answer that there is none: damage would give it, too.
    ///
    /// # Errors
    /// One of them is not what was written.
    pub fn check_tables(&self) -> Result<()> {
        let tables = [Part::Modules, Part::Index, Part::Names, Part::Directories];
        tables.into_iter().try_for_each(|part| self.check_part(part as usize))
    }

    /// Holds a section, not the header's, against its CRC32.
    fn check_part(&self, part: usize) -> Result<()> {
        let (crc, actual) = (self.header.sections[part - 1].1, crc32fast::hash(self.parts[part]));
        if actual != crc {
            return Err(Error::malformed(format!("CRC32 {crc:08x}"), format!("{actual:08x}")).within(NAMES[part]));
        }
        Ok(())
    }

    /// Checks everything: CRCs and alignment of all sections, every record, the order of records, every hole, the index, the image, and that
    /// every module joins to a `.pyc` of the stated length, CRC32 and header. In time linear in the bytes of the file and of the `.pyc` files it
    /// holds, sorting the paths apart; these may be [`crate::limits::MAX_EXPANSION`] times the former.
    ///
    /// # Errors
    /// The first rule of `format-spec/validity.md` that is broken.
    pub fn verify(&self) -> Result<()> {
        (1..PARTS).try_for_each(|part| self.check_part(part))?;
        for store in Store::ALL {
            let (part, width) = (payload(store), store.width());
            let start = self.range(part).start;
            if !start.is_multiple_of(width) {
                let expected = format!("a section at a multiple of {width} bytes");
                return Err(Error::malformed(expected, format!("one at {start}")).within(NAMES[part]));
            }
        }
        if !self.header.is_package() && self.len() != 1 {
            let got = format!("{} modules", self.len());
            return Err(Error::malformed("one module in a file that is not a package", got).within(NAMES[0]));
        }
        self.verify_records()?;
        self.verify_directories()?;
        for module in self.modules() {
            let module = module?;
            self.verify_holes(&module)?;
            if module.record.kind != ModuleKind::Namespace {
                self.join(&module, &mut io::sink())?;
            }
        }
        self.verify_index()?;
        crate::image::verify::verify(self)
    }

    /// What can be said of records without joining the modules.
    fn verify_records(&self) -> Result<()> {
        let (mut total, mut control, mut holes) = (0u64, 0u64, 0u64);
        let mut previous: Option<Module<'_>> = None;
        let mut paths = Vec::new();
        for i in 0..self.len() {
            let module = self.module(i)?;
            let record = &module.record;
            let fail = |offset: usize, expected: &'static str, got: String| {
                Err(Error::malformed(expected, got)
                    .at(i * Record::LEN + offset)
                    .within(NAMES[Part::Modules as usize])
                    .in_module(module.path))
            };
            fn key<'m>(m: &'m Module<'_>) -> (&'m [u8], (u8, u8), u8, &'m [u8]) {
                (m.name, m.record.python, m.record.optimization, m.path)
            }
            if previous.as_ref().is_some_and(|p| key(p) >= key(&module)) {
                return fail(0, "records sorted by name, version, optimisation and path", "one out of order".into());
            }
            // Without gaps and overlaps: what a section holds is read once.
            if (record.control, record.holes) != (control, holes) {
                return fail(
                    8,
                    "a control stream and holes that follow the record before's",
                    format!("{} and {} for {control} and {holes}", record.control, record.holes),
                );
            }
            let known = Version::by_number(record.python.0, record.python.1);
            let raw = record.kind == ModuleKind::Raw;
            if raw && record.python != (0, 0) || !raw && known.is_none() {
                let got = format!("{}.{}", record.python.0, record.python.1);
                return fail(54, "a version of Python, or 0.0 for a raw file", got);
            }
            if record.kind == ModuleKind::Namespace {
                let sizes = [record.control_len, record.holes_len, record.hole_count, record.pyc_crc, record.pyc_len];
                if sizes != [0; 5] {
                    return fail(24, "zeros, for no .pyc stands behind a namespace package", format!("{sizes:?}"));
                }
            } else {
                paths.push(module.path);
                self.check_header(&module, known).map_err(|e| self.of(&module, e))?;
            }
            total += u64::from(record.pyc_len);
            control += u64::from(record.control_len);
            holes += u64::from(record.holes_len);
            previous = Some(module);
        }
        for (part, end) in [(Part::Control as usize, control), (Part::Holes as usize, holes)] {
            if end != self.parts[part].len() as u64 {
                let got = format!("{}", self.parts[part].len());
                return Err(
                    Error::malformed(format!("{end} bytes, all of them some module's"), got).within(NAMES[part])
                );
            }
        }
        if total != self.header.pyc_bytes {
            let got = self.header.pyc_bytes.to_string();
            return Err(Error::malformed(format!("{total} bytes of .pyc in all"), got).at(24u64).within(NAMES[0]));
        }
        if total > self.cap() {
            return Err(Error::limit("bytes of .pyc from this file", self.cap(), total).at(24u64).within(NAMES[0]));
        }
        paths.sort_unstable();
        if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::malformed("a path of its own for each .pyc", "another's").in_module(twice[0]));
        }
        Ok(())
    }

    /// That only a package has directories, and what can be said of them.
    fn verify_directories(&self) -> Result<()> {
        let section = NAMES[Part::Directories as usize];
        let len = self.parts[Part::Directories as usize].len();
        if !self.header.is_package() && len != 0 {
            let got = format!("{len} bytes");
            return Err(Error::malformed("no directories in a file that is not a package", got).within(section));
        }
        self.directories()?.verify()
    }

    /// The most bytes of `.pyc` that are taken to stand behind a file of this size.
    fn cap(&self) -> u64 {
        most_pyc_bytes(self.parts.iter().map(|p| p.len() as u64).sum())
    }

    /// That a module has as many holes as its record says, each one whole, and each blob in its section, what its kind says and
    /// terminated.
    fn verify_holes(&self, module: &Module<'_>) -> Result<()> {
        let mut reader = Reader::new(module.holes);
        let mut count = 0;
        while let Some((_, fill)) = reader.hole().map_err(|e| self.of(module, e.within(split::HOLES)))? {
            count += 1;
            if let Fill::Blob(blob) = fill {
                let store = blob.kind.store();
                let named = |e: Error| e.within(store.section()).in_module(module.path);
                let section = self.stores()[store as usize];
                blob.terminated(section).map_err(named)?;
                let bytes = blob.bytes(section).map_err(named)?;
                if !blob::is_canonical(bytes, blob.kind) {
                    let error = Error::malformed(format!("{:?} text", blob.kind), "text of another kind");
                    return Err(named(error.at(blob.offset * store.width() as u64)));
                }
            }
        }
        if count != module.record.hole_count {
            let expected = format!("a table of {} holes", module.record.hole_count);
            return Err(self.of(module, Error::malformed(expected, count.to_string()).at(0u64).within(split::HOLES)));
        }
        Ok(())
    }

    /// That the identity in the record is the one in the `.pyc`'s own header, which is never cut out.
    fn check_header(&self, module: &Module<'_>, version: Option<&'static Version>) -> Result<()> {
        let record = &module.record;
        let Some(version) = version else { return Ok(()) };
        let header = pyc::Header::parse(module.control, Some(version)).map_err(|e| e.within(split::CONTROL))?;
        if (header.magic, header.flags, header.word) != (record.magic, record.flags, record.word) {
            return Err(Error::malformed("the .pyc's own header in its record", "another"));
        }
        Ok(())
    }

    /// That the index leads from every key to the module that is preferred under it, and to nothing else. Each bucket is looked at
    /// once: following every probe would take quadratic time where hashes collide.
    fn verify_index(&self) -> Result<()> {
        let (buckets, table) = self.index()?;
        let part = Part::Index as usize;
        if buckets == 0 {
            return Ok(());
        }
        let mut preferred = Preferred::new();
        for i in 0..self.len() {
            let Module { record, name, path, .. } = self.module(i)?;
            if is_indexed(name, record.kind, record.optimization) {
                let key = (name, record.python, record.optimization);
                preferred.push(i as u32, key, preference(record.kind, path));
            }
        }
        let winners = preferred.numbers;
        if winners.len() as u64 * 2 > u64::from(buckets) {
            let expected = format!("two buckets for each of {} names", winners.len());
            return Err(Error::malformed(expected, buckets.to_string()).at(0u64).within(NAMES[part]));
        }
        let mut seen = vec![false; winners.len()];
        // Where the probe that ends here may have started: after the last empty bucket. Going round once finds that for the first.
        let bucket = |at: u32| crate::bytes::u32_at(table, at as usize * 4).unwrap_or(0);
        let Some(first_empty) = (0..buckets).find(|at| bucket(*at) == 0) else {
            return Err(Error::malformed("an empty bucket", "none").within(NAMES[part]));
        };
        let mut run = 0;
        for step in 1..buckets {
            let at = (first_empty + step) & (buckets - 1);
            let fail = |got: String| {
                Err(Error::malformed("a bucket whose record is found by its key", got)
                    .at(4 + u64::from(at) * 4)
                    .within(NAMES[part]))
            };
            let Some(number) = bucket(at).checked_sub(1) else {
                run = 0;
                continue;
            };
            let Ok(winner) = winners.binary_search(&number) else {
                return fail(format!("record {number}, which is not to be found by name"));
            };
            if std::mem::replace(&mut seen[winner], true) {
                return fail(format!("record {number} again"));
            }
            let module = self.module(number as usize)?;
            let home = index_hash(module.name, module.record.python, module.record.optimization) & (buckets - 1);
            if at.wrapping_sub(home) & (buckets - 1) > run {
                return fail(format!("record {number}, whose probe ends before"));
            }
            run += 1;
        }
        if let Some(missing) = seen.iter().position(|s| !s) {
            let module = self.module(winners[missing] as usize)?;
            let home = index_hash(module.name, module.record.python, module.record.optimization) & (buckets - 1);
            let expected = format!("a bucket by which record {} is found", winners[missing]);
            return Err(Error::malformed(expected, "none").at(4 + u64::from(home) * 4).within(NAMES[part]));
        }
        Ok(())
    }

    fn slice(&self, part: Part, start: u64, len: u32) -> Result<&'a [u8]> {
        let bytes = self.parts[part as usize];
        let range = usize::try_from(start).ok().and_then(|s| Some(s..s.checked_add(len as usize)?));
        range.and_then(|r| bytes.get(r)).ok_or_else(|| {
            let got = format!("{len} bytes from {start} on");
            Error::malformed(format!("a range within {} bytes", bytes.len()), got)
                .at(start)
                .within(NAMES[part as usize])
        })
    }

    /// The NUL-terminated string at `at` of the names.
    fn name(&self, at: u32) -> Result<&'a [u8]> {
        name_at(self.parts[Part::Names as usize], at, MAX_PATH_BYTES)
    }
}

/// The NUL-terminated string at `at` of the section of names, of at most `most` bytes.
pub(super) fn name_at(names: &[u8], at: u32, most: usize) -> Result<&[u8]> {
    let rest = names.get(at as usize..).unwrap_or_default();
    let len = rest.iter().take(most + 1).position(|b| *b == 0);
    len.map(|len| &rest[..len]).ok_or_else(|| {
        let expected = format!("a name of at most {most} bytes and its NUL");
        Error::malformed(expected, "none").at(u64::from(at)).within(NAMES[Part::Names as usize])
    })
}

/// A path that stays below the directory it is joined to; outside packages, a file name.
fn check_path(path: &[u8], package: bool) -> Result<()> {
    if !package && path.contains(&b'/') {
        let got = String::from_utf8_lossy(path).into_owned();
        return Err(Error::malformed("a file name in a file of one module", format!("{got:?}")));
    }
    if !is_below(path) {
        let got = String::from_utf8_lossy(path).into_owned();
        return Err(Error::malformed("a relative path without empty, . or .. parts", format!("{got:?}")));
    }
    Ok(())
}
