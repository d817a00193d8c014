//! `pye inspect`

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::blob::{self, Kind, Store};
use crate::bytes::hex;
use crate::census::{Census, census};
use crate::error::Error;
use crate::fsys;
use crate::heap::{Heap, KindCost};
use crate::histogram::Histogram;
use crate::limits::MAX_PYE_BYTES;
use crate::map::Map;
use crate::marshal::pyc::{Header, Validation};
use crate::marshal::version::Version;
use crate::merge::Totals;
use crate::pye::directories::Directory;
use crate::pye::read::{Module, Pye};
use crate::pye::{ModuleKind, NAMES, PARTS};
use crate::split;
use crate::trace::{self, Source};
use crate::tree::{self, PYC, PYE, has_suffix};
use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;

use super::Status;
use super::common::{Problem, SplitOptions, count, problem_lines};
use super::dirty;
use super::image::ImageReport;
use super::output::{Format, percent, size, table, table_with_text};

/// Look inside a .pyc, a .pye or a package
///
/// Prints what the file is, its sections, what merging saved, and of a single module what it costs on CPython's heap. The options add to
/// that. With --histogram: how many strings of each size every process keeps for itself, for files, trees, or the modules that
/// a command imports. With --dirty: which pages of images live processes have copied, and what was written there.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The file; with --histogram also several, or directories; with --dirty those whose images are looked at, all if none is named
    #[arg(value_name = "FILE", required_unless_present_any = ["command", "dirty"])]
    paths: Vec<PathBuf>,

    /// Only the module of this dotted name or path
    #[arg(long, value_name = "NAME")]
    module: Option<String>,

    /// List the modules
    #[arg(long)]
    modules: bool,

    /// List the directories of a package: when each last changed before it was linked, and what can be imported from it that the package has no record of
    #[arg(long)]
    directories: bool,

    /// List the blobs that merging saved most on
    #[arg(long)]
    blobs: bool,

    /// Dump the marshal data of each module, an object a line
    #[arg(long)]
    dump: bool,

    /// Sum up what the modules cost on CPython's heap, by kind
    #[arg(long)]
    heap: bool,

    /// Count unshared strings by powers of two of their size, by kind
    #[arg(long)]
    histogram: bool,

    /// Compare the pages of images that these live processes have copied with the files: tell for each changed word which object and field it is, and why it
    /// was written. Needs what a debugger needs: to be root, or the same user where the kernel lets processes be traced
    #[arg(long, value_name = "PID", num_args = 1.., conflicts_with_all = ["module", "modules", "directories", "blobs", "dump", "heap", "histogram"],
          value_parser = dirty_argument)]
    dirty: Vec<DirtyArgument>,

    /// With --dirty: tell which functions that ran are not named by this profile of `pye trace`
    #[arg(long, value_name = "FILE", requires = "dirty")]
    profile: Option<PathBuf>,

    /// How many blobs, or objects, to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,

    #[command(flatten)]
    split: SplitOptions,
    #[command(flatten)]
    format: Format,

    /// With --histogram: run this command and count in the modules it imports
    #[arg(last = true, value_name = "COMMAND", requires = "histogram", conflicts_with = "paths")]
    command: Vec<OsString>,
}

/// What follows `--dirty`: processes, and then, as the usage line has it, files.
#[derive(Clone, Debug)]
enum DirtyArgument {
    Process(u32),
    File(PathBuf),
}

fn dirty_argument(text: &str) -> Result<DirtyArgument, String> {
    match text.parse() {
        Ok(pid @ 1..=0x7fff_ffff) => Ok(DirtyArgument::Process(pid)),
        _ if Path::new(text).is_file() => Ok(DirtyArgument::File(text.into())),
        _ => Err("expected the number of a process, or a file".into()),
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    if options.histogram {
        return histogram(options);
    }
    if !options.dirty.is_empty() {
        let mut files = options.paths.clone();
        let mut processes = Vec::new();
        for argument in &options.dirty {
            match argument {
                DirtyArgument::Process(pid) => processes.push(*pid),
                DirtyArgument::File(path) => files.push(path.clone()),
            }
        }
        if processes.is_empty() {
            anyhow::bail!("--dirty: expected the number of a process, got only files");
        }
        return dirty::run(&processes, &files, options.profile.as_deref(), options.top, options.format);
    }
    let [path] = &options.paths[..] else {
        anyhow::bail!("expected one FILE, got {}: several need --histogram", options.paths.len());
    };
    let report = if is_pye(path)? { inspect_pye(path, options)? } else { inspect_pyc(path, options)? };
    let bad = !report.problems.is_empty();
    options.format.print(&report, Report::text)?;
    Ok(if bad { Status::BadInput } else { Status::Done })
}

/// Whether the file is ELF rather than a `.pyc`: its first bytes tell, whatever its name.
fn is_pye(path: &Path) -> anyhow::Result<bool> {
    if path.is_dir() {
        anyhow::bail!("{}: expected a file, got a directory (for which there is --histogram)", path.display());
    }
    let file = std::fs::File::open(path).with_context(|| format!("{}: cannot open", path.display()))?;
    let mut start = [0; 4];
    let read = std::os::unix::fs::FileExt::read_at(&file, &mut start, 0)?;
    Ok(start[..read] == *b"\x7fELF")
}

/// All that is printed. Sizes are in bytes.
#[derive(Default, Serialize)]
struct Report {
    path: PathBuf,
    file_bytes: u64,
    /// "pyc", "module" or "package".
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_blob: Option<u32>,
    module_count: u64,
    pyc_bytes: u64,
    /// Modules by Python version and kind.
    contents: BTreeMap<String, BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sections: Vec<SectionRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ImageReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merging: Vec<MergingRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_of_references: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modules: Vec<ModuleRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    directories: Vec<DirectoryRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<BlobRow>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    heap: BTreeMap<String, Vec<HeapRow>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dump: Vec<Dump>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

/// Which `.pyc` of which source a module is.
#[derive(Serialize)]
struct Identity {
    python: String,
    magic: u16,
    validation: String,
}

#[derive(Serialize)]
struct SectionRow {
    name: &'static str,
    offset: u64,
    bytes: u64,
    crc32: String,
}

#[derive(Serialize)]
struct MergingRow {
    section: &'static str,
    #[serde(flatten)]
    totals: Totals,
}

#[derive(Serialize)]
struct ModuleRow {
    name: String,
    path: String,
    kind: ModuleKind,
    python: String,
    optimization: u8,
    pyc_bytes: u32,
    control_bytes: u32,
    holes: u32,
    crc32: String,
}

#[derive(Serialize)]
struct DirectoryRow {
    /// Relative to the root; empty for the root itself.
    path: String,
    /// Nanoseconds since 1970; null when not known.
    mtime_ns: Option<i64>,
    /// What in it can hide a module.
    names: Vec<String>,
}

#[derive(Serialize)]
struct BlobRow {
    section: &'static str,
    offset: u64,
    bytes: u64,
    kind: Kind,
    uses: u64,
    /// Bytes that would be stored without merging, less those that are.
    saved: u64,
    preview: String,
}

#[derive(Serialize)]
struct HeapRow {
    kind: &'static str,
    #[serde(flatten)]
    cost: KindCost,
}

#[derive(Serialize)]
struct Dump {
    path: String,
    text: String,
}

fn identity(header: &Header) -> Identity {
    let validation = match header.validation() {
        Validation::Timestamp { mtime, size: Some(size) } => format!("source of mtime {mtime}, {size} bytes"),
        Validation::Timestamp { mtime, size: None } => format!("source of mtime {mtime}"),
        Validation::Hash { hash, checked } => {
            let checked = if checked { "checked at import" } else { "not checked at import" };
            format!("source of hash {}, {checked}", hex(&hash))
        }
    };
    let magic = u16::from_le_bytes([header.magic[0], header.magic[1]]);
    Identity { python: header.version.to_string(), magic, validation }
}

fn inspect_pyc(path: &Path, options: &Options) -> anyhow::Result<Report> {
    let mut bytes = Vec::new();
    fsys::read(path, &mut bytes)?;
    let header = Header::parse(&bytes, options.split.python_version).map_err(|e| e.in_file(path))?;
    let mut report = Report {
        path: path.to_path_buf(),
        file_bytes: bytes.len() as u64,
        what: "pyc",
        module_count: 1,
        pyc_bytes: bytes.len() as u64,
        identity: Some(identity(&header)),
        ..Report::default()
    };
    report.add_heap(&bytes, &header, options.split.min_blob).map_err(|e| e.in_file(path))?;
    if options.dump {
        let mut text = String::new();
        crate::dump::dump(&bytes, header.version.header_len, header.version, &[], &mut text)
            .map_err(|e| e.in_file(path))?;
        report.dump.push(Dump { path: path.display().to_string(), text });
    }
    Ok(report)
}

fn inspect_pye(path: &Path, options: &Options) -> anyhow::Result<Report> {
    let map = Map::open(path, MAX_PYE_BYTES)?;
    let pye = Pye::open(&map).map_err(|e| e.in_file(path))?;
    let header = pye.header();
    let mut report = Report {
        path: path.to_path_buf(),
        file_bytes: map.len() as u64,
        what: if header.is_package() { "package" } else { "module" },
        format: Some(format!("{}.{}", header.version.0, header.version.1)),
        min_blob: Some(header.min_blob),
        module_count: u64::from(header.modules),
        pyc_bytes: header.pyc_bytes,
        ..Report::default()
    };
    report.sections = (0..PARTS)
        .filter(|part| !pye.range(*part).is_empty())
        .map(|part| SectionRow {
            name: NAMES[part],
            offset: pye.range(part).start as u64,
            bytes: pye.range(part).len() as u64,
            // The header's own stands at its end.
            crc32: match part {
                0 => String::new(),
                _ => format!("{:08x}", header.sections[part - 1].1),
            },
        })
        .collect();
    report.image = ImageReport::of(&pye).map_err(|e| e.in_file(path))?;
    let census = census(&pye).map_err(|e| e.in_file(path))?;
    report.rows_of_references = Some(census.references);
    report.merging = Store::ALL
        .into_iter()
        .map(|store| MergingRow { section: store.section(), totals: census.totals[store as usize] })
        .filter(|row| row.totals.cut.blobs != 0)
        .collect();
    if options.directories {
        report.directories = directories(&pye).map_err(|e| e.in_file(path))?;
    }
    if options.blobs {
        report.blobs = top_blobs(&census, &pye, options.top);
    }
    let wanted = |module: &Module<'_>| {
        options.module.as_ref().is_none_or(|m| module.name == m.as_bytes() || module.path == m.as_bytes())
    };
    let single = header.modules == 1 || options.module.is_some();
    for module in pye.modules() {
        let module = module.map_err(|e| e.in_file(path))?;
        let record = &module.record;
        let python = python(record.python);
        let kind = label(record.kind);
        *report.contents.entry(python.clone()).or_default().entry(kind).or_default() += 1;
        if !wanted(&module) {
            continue;
        }
        if options.modules || options.module.is_some() {
            report.modules.push(ModuleRow {
                name: String::from_utf8_lossy(module.name).into_owned(),
                path: String::from_utf8_lossy(module.path).into_owned(),
                kind: record.kind,
                python,
                optimization: record.optimization,
                pyc_bytes: record.pyc_len,
                control_bytes: record.control_len,
                holes: record.hole_count,
                crc32: format!("{:08x}", record.pyc_crc),
            });
        }
        let Some(version) = Version::by_number(record.python.0, record.python.1) else { continue };
        if record.kind == ModuleKind::Namespace {
            continue;
        }
        let header = Header { version, magic: record.magic, flags: record.flags, word: record.word };
        if single {
            report.identity.get_or_insert_with(|| identity(&header));
        }
        if options.heap || options.dump || single {
            let looked = report.look_into(&pye, &module, &header, options).map_err(|e| e.in_file(path));
            if let Err(error) = looked {
                report.problems.push(Problem::from(&error));
            }
        }
    }
    if let Some(name) = &options.module
        && report.modules.is_empty()
    {
        anyhow::bail!("{}: expected a module named {name}, got none (--modules lists them)", path.display());
    }
    Ok(report)
}

fn python(version: (u8, u8)) -> String {
    if version == (0, 0) { "unknown".into() } else { format!("{}.{}", version.0, version.1) }
}

fn label(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::Raw => "kept raw",
        ModuleKind::Module => "modules",
        ModuleKind::Package => "packages",
        ModuleKind::Namespace => "namespace packages",
    }
}

fn directories(pye: &Pye<'_>) -> Result<Vec<DirectoryRow>, Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let row = |directory: Directory<'_>| {
        let names = directory.names().map(|name| name.map(text)).collect::<Result<_, _>>()?;
        Ok(DirectoryRow { path: text(directory.path), mtime_ns: directory.mtime_ns, names })
    };
    pye.directories()?.iter().map(|directory| directory.and_then(row)).collect()
}

/// The blobs on which merging saved most; of a file of one module simply the largest.
fn top_blobs(census: &Census, pye: &Pye<'_>, top: usize) -> Vec<BlobRow> {
    let saved = |b: &crate::census::Counted| (b.uses - 1) * (b.len + b.store.width() as u64);
    let mut blobs: Vec<_> = census.blobs.iter().collect();
    blobs.sort_by_key(|b| std::cmp::Reverse((saved(b), b.len)));
    let row = |b: &&crate::census::Counted| {
        let bytes =
            pye.stores()[b.store as usize].get(b.offset as usize..(b.offset + b.len) as usize).unwrap_or_default();
        let shown = &bytes[..bytes.len().min(40 * b.store.width())];
        let preview = if b.store == Store::Bytes {
            shown.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        } else {
            let mut text = Vec::new();
            let kind = if b.store == Store::Str1 { Kind::Latin1Utf8 } else { b.kind };
            // A character that does not exist shows as nothing here; verify names it.
            let _ = blob::encode(shown, kind, &mut text);
            format!("{:?}", String::from_utf8_lossy(&text))
        };
        let (section, offset, bytes) = (b.store.section(), b.offset, b.len);
        BlobRow { section, offset, bytes, kind: b.kind, uses: b.uses, saved: saved(b), preview }
    };
    blobs.iter().take(top).map(row).collect()
}

impl Report {
    /// Heap and dump of one module of a `.pye`.
    fn look_into(
        &mut self,
        pye: &Pye<'_>,
        module: &Module<'_>,
        header: &Header,
        options: &Options,
    ) -> Result<(), Error> {
        let mut pyc = Vec::new();
        pye.join_into(module, &mut pyc)?;
        self.add_heap(&pyc, header, options.split.min_blob).map_err(|e| e.in_module(module.path))?;
        if options.dump {
            let places = split::places(module.holes, &pye.stores())?;
            let mut text = String::new();
            crate::dump::dump(&pyc, header.version.header_len, header.version, &places, &mut text)
                .map_err(|e| e.in_module(module.path))?;
            self.dump.push(Dump { path: String::from_utf8_lossy(module.path).into_owned(), text });
        }
        Ok(())
    }

    /// Adds what the module costs to its version's sums.
    fn add_heap(&mut self, pyc: &[u8], header: &Header, min_blob: u32) -> Result<(), Error> {
        let mut heap = Heap::new(min_blob);
        heap.add_pyc(pyc, Some(header.version))?;
        let rows = self.heap.entry(header.version.to_string()).or_default();
        if rows.is_empty() {
            rows.extend(heap.kinds().map(|(kind, _)| HeapRow { kind: kind.label(), cost: KindCost::default() }));
        }
        for (row, (_, cost)) in rows.iter_mut().zip(heap.kinds()) {
            row.cost += *cost;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut out = problem_lines("bad", &self.problems);
        // Writing to a String cannot fail.
        let _ = write!(out, "{}: ", self.path.display());
        let _ = match (&self.format, self.min_blob) {
            (Some(format), Some(min_blob)) => writeln!(
                out,
                "{} of {}, format {format}, {} for {} of .pyc ({}), strings of {min_blob} bytes or more cut out",
                if self.what == "package" { "package" } else { "file" },
                count(self.module_count, "module"),
                size(self.file_bytes),
                size(self.pyc_bytes),
                percent(self.file_bytes, self.pyc_bytes)
            ),
            _ => writeln!(out, ".pyc of {}", size(self.file_bytes)),
        };
        if let Some(identity) = &self.identity {
            let _ = writeln!(out, "Python {} (magic {}), {}", identity.python, identity.magic, identity.validation);
        }
        if self.what == "package" {
            for (python, kinds) in &self.contents {
                let kinds: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
                let _ = writeln!(out, "Python {python}: {}", kinds.join(", "));
            }
        }
        if !self.sections.is_empty() {
            out.push('\n');
            let rows = self.sections.iter().map(|s| {
                [
                    s.name.into(),
                    format!("{:#x}", s.offset),
                    size(s.bytes),
                    percent(s.bytes, self.file_bytes),
                    s.crc32.clone(),
                ]
            });
            out.push_str(&table(["section", "offset", "size", "of file", "CRC32"], rows));
        }
        if let Some(image) = &self.image {
            out.push_str(&image.text());
        }
        self.merging_text(&mut out);
        if !self.modules.is_empty() {
            out.push('\n');
            let rows = self.modules.iter().map(|m| {
                let name = if m.name.is_empty() { &m.path } else { &m.name };
                let level = m.optimization.to_string();
                let kind = format!("{:?}", m.kind).to_lowercase();
                let sizes = [m.pyc_bytes, m.control_bytes].map(|n| size(n.into()));
                let [pyc, control] = sizes;
                [name.clone(), m.python.clone(), level, kind, pyc, control, m.holes.to_string(), m.path.clone()]
            });
            out.push_str(&table_with_text(
                ["module", "Python", "-O", "kind", ".pyc", "control", "holes", "path"],
                rows,
            ));
        }
        if !self.directories.is_empty() {
            out.push('\n');
            let rows = self.directories.iter().map(|d| {
                let path = if d.path.is_empty() { "." } else { &d.path };
                let mtime = d.mtime_ns.map_or("not known".into(), |ns| ns.to_string());
                [path.to_string(), mtime, d.names.join(" ")]
            });
            out.push_str(&table_with_text(["directory", "mtime in ns", "importable without a record"], rows));
        }
        if !self.blobs.is_empty() {
            out.push('\n');
            let rows = self.blobs.iter().map(|b| {
                let place = format!("{} +{:#x}", b.section, b.offset);
                [
                    place,
                    size(b.bytes),
                    b.uses.to_string(),
                    size(b.saved),
                    format!("{:?}", b.kind).to_lowercase(),
                    b.preview.clone(),
                ]
            });
            out.push_str(&table_with_text(["blob", "size", "uses", "saved", "kind", "starts with"], rows));
        }
        for (python, rows) in &self.heap {
            let _ = writeln!(out, "\nOn the heap of CPython {python}");
            let mut total = KindCost::default();
            let mut lines: Vec<[String; 5]> = Vec::new();
            let line = |kind: &str, cost: &KindCost| {
                let all = cost.loaded;
                let once = cost.run_once;
                [kind.to_string(), all.objects.to_string(), size(all.payload), size(all.heap), size(once.heap)]
            };
            for row in rows.iter().filter(|r| r.cost.loaded.objects != 0) {
                total += row.cost;
                lines.push(line(row.kind, &row.cost));
            }
            lines.push(line("total", &total));
            out.push_str(&table(["kind", "objects", "payload", "heap", "of it gone after import"], lines));
        }
        for dump in &self.dump {
            let _ = write!(out, "\n{}\n{}", dump.path, dump.text);
        }
        out
    }

    fn merging_text(&self, out: &mut String) {
        if self.merging.is_empty() {
            return;
        }
        out.push('\n');
        let mut sum = Totals::default();
        let row = |name: &str, t: &Totals| {
            [
                name.to_string(),
                t.cut.blobs.to_string(),
                size(t.cut.bytes),
                size(t.cut.bytes - t.distinct.bytes),
                size(t.distinct.bytes - t.stored.bytes),
                size(t.stored.bytes),
            ]
        };
        let mut rows = Vec::new();
        for merging in &self.merging {
            rows.push(row(merging.section, &merging.totals));
            sum += merging.totals;
        }
        rows.push(row("total", &sum));
        out.push_str(&table(
            ["blobs", "number", "before merging", "saved: duplicates", "saved: tails", "stored"],
            rows,
        ));
        if let Some(references) = self.rows_of_references {
            let _ = writeln!(out, "{references} references cut out in rows");
        }
    }
}

/// What `--histogram` prints.
#[derive(Serialize)]
struct HistogramReport {
    /// `.pyc` files, or modules of `.pye` files, counted in.
    modules: u64,
    histogram: Histogram,
    problems: Vec<Problem>,
}

fn histogram(options: &Options) -> anyhow::Result<Status> {
    let forced = options.split.python_version;
    let mut report = HistogramReport { modules: 0, histogram: Histogram::new(), problems: Vec::new() };
    let files = if options.command.is_empty() {
        let (found, errors) = tree::find(&options.paths, &[PYC[0], PYC[1], PYE]);
        report.problems.extend(errors.iter().map(Problem::from));
        found.into_iter().map(|f| f.path).collect()
    } else {
        imported(&options.command)?
    };
    let counted: Vec<(u64, Histogram, Vec<Error>)> =
        files.par_iter().with_min_len(16).map(|path| count_strings(path, forced)).collect();
    for (modules, histogram, errors) in counted {
        report.modules += modules;
        report.histogram.merge(&histogram);
        report.problems.extend(errors.iter().map(Problem::from));
    }
    let bad = !report.problems.is_empty();
    options.format.print(&report, |r| {
        let mut out = problem_lines("bad", &r.problems);
        let _ = writeln!(out, "{}: strings that each process keeps for itself, by size\n", count(r.modules, "module"));
        out.push_str(&r.histogram.render(40, size));
        out
    })?;
    Ok(if bad { Status::BadInput } else { Status::Done })
}

/// The `.pyc` files that any Python process of a command imported, each once.
fn imported(command: &[OsString]) -> anyhow::Result<Vec<PathBuf>> {
    let trace = trace::run(command)?;
    let modules = trace.processes.into_iter().flat_map(|p| p.modules);
    let mut files: Vec<PathBuf> = modules
        .filter_map(|m| match m.source {
            Source::Pyc(path) => Some(path),
            _ => None,
        })
        .collect();
    files.sort();
    files.dedup();
    anyhow::ensure!(!files.is_empty(), "no module of the command came from a .pyc: nothing to count");
    Ok(files)
}

fn count_strings(path: &Path, forced: Option<&'static Version>) -> (u64, Histogram, Vec<Error>) {
    let mut histogram = Histogram::new();
    let mut errors = Vec::new();
    let mut modules = 0;
    let mut add = |pyc: &[u8], forced| histogram.add_pyc(pyc, forced).map(|()| modules += 1);
    let result = if has_suffix(path, &[PYE]) {
        Map::open(path, MAX_PYE_BYTES).and_then(|map| {
            let pye = Pye::open(&map)?;
            let mut pyc = Vec::new();
            for module in pye.modules() {
                let module = module?;
                let version = Version::by_number(module.record.python.0, module.record.python.1);
                if module.record.kind != ModuleKind::Namespace {
                    pye.join_into(&module, &mut pyc)?;
                    add(&pyc, version).map_err(|e| e.in_module(module.path))?;
                }
            }
            Ok(())
        })
    } else {
        let mut pyc = Vec::new();
        fsys::read(path, &mut pyc).and_then(|_| add(&pyc, forced))
    };
    if let Err(error) = result {
        errors.push(error.in_file(path));
    }
    (modules, histogram, errors)
}
