//! Writes `.pye` files. [`plan`] decides where everything goes; then the contents are written in one piece
//! ([`Plan::to_vec`]) or in parallel chunks ([`Plan::write_file`]). Both give the same bytes.

use std::fs::File;
use std::hash::Hasher;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::directories::Row;
use super::*;
use crate::elf::{self, Section, Segment, Symbol};
use crate::limits::{MAX_MODULES, MAX_NAMES_BYTES};
use crate::map::PAGE;
use crate::marshal::pyc;
use crate::merge::{self, Merged, Totals};
use crate::split::{Blob, place_blobs};

/// A module to be written, as [`crate::split::Split`] leaves it. Offsets are into [`Input::data`].
#[derive(Clone, Debug)]
pub struct Module {
    /// Dotted name; empty when there is none.
    pub name: Vec<u8>,
    /// Path relative to the package's root.
    pub path: Vec<u8>,
    /// What it is; [`ModuleKind::Raw`] exactly when `header` is missing and it is not a namespace.
    pub kind: ModuleKind,
    /// Optimisation level.
    pub optimization: u8,
    /// The `.pyc`'s header.
    pub header: Option<pyc::Header>,
    /// Bytes of the `.pyc`.
    pub pyc_len: u32,
    /// Its CRC32.
    pub pyc_crc: u32,
    /// Where its control stream starts.
    pub control: u64,
    /// Bytes of that.
    pub control_len: u32,
    /// Where its table of holes starts, still without the blobs' places.
    pub table: u64,
    /// Bytes of that.
    pub table_len: u32,
    /// Number of holes.
    pub holes: u32,
    /// Its blobs, in the order of the file.
    pub blobs: Range<u32>,
}

impl Module {
    /// The version of Python whose layout it has; 0.0 for a raw file.
    pub fn python(&self) -> (u8, u8) {
        self.header.as_ref().map_or((0, 0), |h| (h.version.major, h.version.minor))
    }

    /// What it is looked up by: name, version, level.
    pub fn key(&self) -> (&[u8], (u8, u8), u8) {
        (&self.name, self.python(), self.optimization)
    }
}

/// A directory that modules stand in, as it was before they were read: see [`directories`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Path relative to the package's root; empty for the root itself.
    pub path: Vec<u8>,
    /// Its mtime in nanoseconds since 1970, if known.
    pub mtime_ns: Option<i64>,
    /// What in it can be imported though no module of the package stands for it; sorted.
    pub names: Vec<Vec<u8>>,
}

/// What a file is made of.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Whether to write a package (with an index).
    pub package: bool,
    /// Recorded in the header.
    pub min_blob: u32,
    /// Sorted by name, version, optimisation, path.
    pub modules: &'a [Module],
    /// Sorted by path, each one's names sorted; none but in a package.
    pub directories: &'a [Directory],
    /// The blobs of all modules, in their order.
    pub blobs: &'a [Blob],
    /// What [`Module::control`], [`Module::table`] and [`Blob::data`] point into.
    pub data: &'a [u8],
}

/// A file planned in full but for its contents and their CRCs.
#[derive(Debug)]
pub struct Plan<'a> {
    input: Input<'a>,
    merged: Merged,
    skeleton: elf::write::Skeleton,
    header: Header,
    /// Bytes of the sections made while planning: modules, index, names, directories, holes.
    small: [(usize, Vec<u8>); 5],
    /// Offset of each module's control stream.
    control: Vec<u64>,
}

/// Sections written chunk by chunk from the data.
const LARGE: [usize; 5] =
    [payload(Store::Str1), payload(Store::Str2), payload(Store::Str4), payload(Store::Bytes), Part::Control as usize];

/// Plans a file.
///
/// # Errors
/// More modules or names than the format can number.
pub fn plan(input: Input<'_>) -> Result<Plan<'_>> {
    let modules = input.modules;
    if modules.len() as u64 > MAX_MODULES {
        return Err(Error::limit("modules in a package", MAX_MODULES, modules.len() as u64));
    }
    let merged = merge::merge(input.blobs, input.data);

    // Control streams follow one another.
    let mut control = Vec::with_capacity(modules.len() + 1);
    let mut control_len = 0u64;
    for module in modules {
        control.push(control_len);
        control_len += u64::from(module.control_len);
    }
    control.push(control_len);

    // Tables of holes: small, so made whole.
    let tables: Vec<Vec<u8>> = modules.par_iter().with_min_len(64).map(|m| hole_table(&input, &merged, m)).collect();
    let holes = tables.concat();

    let mut names = Names::new(modules)?;
    let mut records = Vec::with_capacity(modules.len() * Record::LEN);
    let mut holes_at = 0;
    for (i, (module, table)) in modules.iter().zip(&tables).enumerate() {
        let header = module.header.as_ref();
        Record {
            name: names.of_module[i],
            path: names.of_path[i],
            control: control[i],
            holes: holes_at,
            control_len: module.control_len,
            holes_len: table.len() as u32,
            hole_count: module.holes,
            pyc_crc: module.pyc_crc,
            pyc_len: module.pyc_len,
            flags: header.map_or(0, |h| h.flags),
            magic: header.map_or([0; 4], |h| h.magic),
            kind: module.kind,
            optimization: module.optimization,
            python: module.python(),
            word: header.map_or([0; 8], |h| h.word),
        }
        .put(&mut records);
        holes_at += table.len() as u64;
    }
    let index = if input.package { index(modules) } else { Vec::new() };
    let directories = directory_table(input.directories, &mut names)?;

    let header = Header {
        version: (MAJOR, MINOR),
        flags: if input.package { FLAG_PACKAGE } else { 0 },
        min_blob: input.min_blob,
        modules: modules.len() as u32,
        pyc_bytes: modules.iter().map(|m| u64::from(m.pyc_len)).sum(),
        sections: [(0, 0); ROWS],
    };
    let mut sizes = [0; PARTS];
    sizes[Part::Header as usize] = Header::LEN as u64;
    for store in Store::ALL {
        sizes[payload(store)] = merged.totals[store as usize].stored.bytes;
    }
    sizes[Part::Control as usize] = control_len;
    let small = [
        (Part::Modules as usize, records),
        (Part::Index as usize, index),
        (Part::Names as usize, names.bytes),
        (Part::Directories as usize, directories),
        (Part::Holes as usize, holes),
    ];
    for (part, bytes) in &small {
        sizes[*part] = bytes.len() as u64;
    }

    let symbols: Vec<Symbol<'_>> =
        modules.iter().zip(&control).filter_map(|(m, at)| symbol(&m.name, &m.path, *at, m.control_len)).collect();
    let skeleton = elf::write::plan(build_id(&small), &sections(input.package, &sizes), &symbols)?;
    let mut plan = Plan { input, merged, skeleton, header, small, control };
    for (section, size) in plan.header.sections.iter_mut().zip(&sizes[1..]) {
        section.0 = *size;
    }
    for (part, bytes) in &plan.small {
        plan.header.sections[part - 1].1 = crc32fast::hash(bytes);
    }
    Ok(plan)
}

impl Plan<'_> {
    /// What became of the blobs, by [`Store`].
    pub fn totals(&self) -> &[Totals; Store::ALL.len()] {
        &self.merged.totals
    }

    /// That the `.pyc` files are not too many bytes for what they are stored in.
    ///
    /// # Errors
    /// They are: readers would refuse the file (rule V43).
    pub fn check_expansion(&self) -> Result<()> {
        let held = Header::LEN as u64 + self.header.sections.iter().map(|(size, _)| size).sum::<u64>();
        let (cap, bytes) = (most_pyc_bytes(held), self.header.pyc_bytes);
        if bytes > cap { Err(Error::limit("bytes of .pyc in one file", cap, bytes)) } else { Ok(()) }
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.skeleton.len
    }

    /// The whole file in `out`, which is cleared first.
    pub fn to_vec(mut self, out: &mut Vec<u8>) {
        let mut contents: Contents = Default::default();
        self.contents(0..self.input.modules.len(), &mut contents);
        for (part, bytes) in LARGE.iter().zip(&contents) {
            self.header.sections[part - 1].1 = crc32fast::hash(bytes);
        }
        out.clear();
        out.resize(self.skeleton.len as usize, 0);
        let mut put = |at: u64, bytes: &[u8]| out[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        for (part, bytes) in LARGE.iter().zip(&contents) {
            put(self.skeleton.offsets[*part], bytes);
        }
        for (at, bytes) in self.pieces(&self.header_bytes()) {
            put(at, bytes);
        }
    }

    /// Writes the whole file into the empty `file`, several chunks at a time; `progress` is told the bytes of each.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write_file(mut self, file: &File, progress: impl Fn(u64) + Sync) -> Result<()> {
        let put = |at: u64, bytes: &[u8]| {
            progress(bytes.len() as u64);
            file.write_all_at(bytes, at).map_err(|e| Error::io("cannot write", e))
        };
        file.set_len(self.skeleton.len).map_err(|e| Error::io("cannot write", e))?;
        let offsets = &self.skeleton.offsets;
        let chunks = self.chunks();
        type Crcs = [crc32fast::Hasher; LARGE.len()];
        let crcs: Vec<Crcs> = chunks
            .into_par_iter()
            .map_init(Contents::default, |contents, modules| {
                let starts = self.contents(modules, contents);
                let mut crcs = Crcs::default();
                for (i, bytes) in contents.iter().enumerate().filter(|(_, b)| !b.is_empty()) {
                    put(offsets[LARGE[i]] + starts[i], bytes)?;
                    crcs[i].update(bytes);
                }
                Ok(crcs)
            })
            .collect::<Result<_>>()?;
        for (i, part) in LARGE.iter().enumerate() {
            let mut whole = crc32fast::Hasher::new();
            crcs.iter().for_each(|chunk| whole.combine(&chunk[i]));
            self.header.sections[part - 1].1 = whole.finalize();
        }
        self.pieces(&self.header_bytes()).try_for_each(|(at, bytes)| put(at, bytes))
    }

    fn header_bytes(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(Header::LEN);
        self.header.put(&mut header);
        header
    }

    /// All but the [`LARGE`] sections, with their file offsets.
    fn pieces<'s>(&'s self, header: &'s [u8]) -> impl Iterator<Item = (u64, &'s [u8])> {
        let offsets = &self.skeleton.offsets;
        let small = self.small.iter().map(|(part, bytes)| (offsets[*part], &bytes[..]));
        let skeleton = self.skeleton.parts.iter().map(|(at, bytes)| (*at, &bytes[..]));
        small.chain([(offsets[Part::Header as usize], header)]).chain(skeleton)
    }

    /// Runs of modules of about the same size, a few hundred kilobytes each: large enough for one system call each.
    fn chunks(&self) -> Vec<Range<usize>> {
        const BYTES: u64 = 1 << 20;
        let mut chunks = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (i, module) in self.input.modules.iter().enumerate() {
            bytes += u64::from(module.pyc_len);
            if bytes >= BYTES {
                chunks.push(start..i + 1);
                (start, bytes) = (i + 1, 0);
            }
        }
        chunks.push(start..self.input.modules.len());
        chunks
    }

    /// Fills `contents` with what `modules` add to the [`LARGE`] sections; returns where in each that starts.
    fn contents(&self, modules: Range<usize>, contents: &mut Contents) -> [u64; LARGE.len()] {
        contents.iter_mut().for_each(Vec::clear);
        let mut starts = [0; LARGE.len()];
        starts[LARGE.len() - 1] = self.control[modules.start];
        let data = self.input.data;
        for module in &self.input.modules[modules] {
            contents[LARGE.len() - 1].extend_from_slice(slice(data, module.control, module.control_len));
            let placements = &self.merged.placements[module.blobs.start as usize..module.blobs.end as usize];
            for (blob, placement) in blobs_of(&self.input, module).iter().zip(placements).filter(|(_, p)| p.fresh) {
                let store = blob.kind.store();
                let out = &mut contents[store as usize];
                if out.is_empty() {
                    starts[store as usize] = placement.offset;
                }
                out.extend_from_slice(slice(data, blob.data, blob.len));
                out.extend_from_slice(&[0; 4][..store.width()]);
            }
        }
        starts
    }
}

/// Bytes for each of the [`LARGE`] sections; the first four bear the numbers of [`Store`].
type Contents = [Vec<u8>; LARGE.len()];

fn blobs_of<'a>(input: &Input<'a>, module: &Module) -> &'a [Blob] {
    &input.blobs[module.blobs.start as usize..module.blobs.end as usize]
}

fn hole_table(input: &Input<'_>, merged: &Merged, module: &Module) -> Vec<u8> {
    let table = slice(input.data, module.table, module.table_len);
    let mut out = Vec::with_capacity(table.len() + module.blobs.len() * 2);
    let offsets = merged.placements[module.blobs.start as usize..].iter().map(|p| p.offset);
    place_blobs(table, blobs_of(input, module), offsets, &mut out);
    out
}

fn slice(data: &[u8], start: u64, len: u32) -> &[u8] {
    &data[start as usize..][..len as usize]
}

/// The string table of names and paths; a string met again is not stored again.
struct Names {
    bytes: Vec<u8>,
    of_module: Vec<u32>,
    of_path: Vec<u32>,
}

impl Names {
    fn new(modules: &[Module]) -> Result<Names> {
        // Offset 0 is the empty string.
        let mut names = Names { bytes: vec![0], of_module: Vec::new(), of_path: Vec::new() };
        for (i, module) in modules.iter().enumerate() {
            // Sorted by name: equal ones are neighbours.
            let name = match i.checked_sub(1) {
                Some(before) if modules[before].name == module.name => names.of_module[before],
                _ => names.put(&module.name)?,
            };
            names.of_module.push(name);
            let path = names.put(&module.path)?;
            names.of_path.push(path);
        }
        Ok(names)
    }

    fn put(&mut self, name: &[u8]) -> Result<u32> {
        if name.is_empty() {
            return Ok(0);
        }
        let at = self.bytes.len() as u64;
        if at + name.len() as u64 > MAX_NAMES_BYTES {
            return Err(Error::limit("bytes of names", MAX_NAMES_BYTES, at + name.len() as u64));
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        Ok(at as u32)
    }
}

/// The hash table: number of buckets (u32, a power of two at least twice the entries), then a bucket each (u32): a record's number
/// plus one, or 0. Collisions go to the next bucket, round the end.
fn index(modules: &[Module]) -> Vec<u8> {
    let mut preferred = Preferred::new();
    for (i, m) in modules.iter().enumerate().filter(|(_, m)| is_indexed(&m.name, m.kind, m.optimization)) {
        preferred.push(i as u32, m.key(), preference(m.kind, &m.path));
    }
    let winners = preferred.numbers;
    let buckets = (winners.len() * 2).next_power_of_two().max(2);
    let mut table = vec![0u32; buckets];
    for i in winners {
        let (name, python, optimization) = modules[i as usize].key();
        let mut at = index_hash(name, python, optimization) as usize & (buckets - 1);
        while table[at] != 0 {
            at = (at + 1) & (buckets - 1);
        }
        table[at] = i + 1;
    }
    let mut out = Vec::with_capacity(4 + 4 * buckets);
    out.put_u32(buckets as u32);
    table.into_iter().for_each(|bucket| out.put_u32(bucket));
    out
}

/// The section of directories; empty when there are none. Their paths and names are added to `names`.
fn directory_table(directories: &[Directory], names: &mut Names) -> Result<Vec<u8>> {
    if directories.is_empty() {
        return Ok(Vec::new());
    }
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for directory in directories {
        let row = Row {
            path: names.put(&directory.path)?,
            first: (entries.len() / directories::ENTRY_LEN) as u32,
            count: directory.names.len() as u32,
            mtime_ns: directory.mtime_ns,
        };
        row.put(&mut rows);
        for name in &directory.names {
            entries.put_u32(names.put(name)?);
        }
    }
    let mut out = Vec::with_capacity(directories::ROWS_AT + rows.len() + entries.len());
    out.put_u32(directories.len() as u32);
    out.put_u32((entries.len() / directories::ENTRY_LEN) as u32);
    out.append(&mut rows);
    out.append(&mut entries);
    Ok(out)
}

/// SipHash-1-3, 128 bits, key zero, over the sections made while planning: they name every module with the length and CRC32 of its
/// `.pyc` and the place of each blob.
fn build_id(small: &[(usize, Vec<u8>)]) -> [u8; elf::write::BUILD_ID_LEN] {
    let mut hasher = SipHasher13::new();
    for (_, bytes) in small {
        hasher.write(bytes);
    }
    hasher.finish128().as_bytes()
}

/// What names a module's control stream, unless that is empty.
pub(crate) fn symbol<'a>(name: &'a [u8], path: &'a [u8], control: u64, len: u32) -> Option<Symbol<'a>> {
    let name = if name.is_empty() { path } else { name };
    (len != 0).then_some(Symbol { name, section: Part::Control as usize, offset: control, size: len.into() })
}

/// The sections with their segments and alignment. In a package each payload section, and the transient ones, start on a page of
/// their own: a process can map, drop and count one without the other. In a file of one module, which is seldom larger
/// than a few pages, only the payload as a whole does.
pub(crate) fn sections(package: bool, sizes: &[u64; PARTS]) -> [Section; PARTS] {
    let mut payload_begun = false;
    std::array::from_fn(|i| {
        let store = Store::ALL.into_iter().find(|s| payload(*s) == i);
        let transient = i == Part::Control as usize || i == Part::Holes as usize;
        let (segment, align) = match store {
            Some(_) if package || !payload_begun => (Segment::Payload, PAGE),
            Some(store) => (Segment::Payload, store.width() as u64),
            // Head and relocations are read, the others mapped at an address of their own.
            None if i == Part::ImageRelocations as usize || i == Part::ImagePages as usize => (Segment::Image, 8),
            None if i >= Part::Image as usize => (Segment::Image, PAGE),
            None if package && transient => (Segment::Transient, if i == Part::Control as usize { PAGE } else { 1 }),
            None => (Segment::Meta, if transient { 1 } else { 8 }),
        };
        payload_begun |= store.is_some() && sizes[i] != 0;
        // Byte strings hold NULs inside; text may too, but every piece of it ends in one and tools may print it as strings.
        let strings = store.filter(|s| *s != Store::Bytes).map(|s| s.width() as u64);
        Section { name: NAMES[i], segment, size: sizes[i], align, strings }
    })
}
