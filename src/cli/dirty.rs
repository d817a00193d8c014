//! `pye inspect --dirty`: the pages of images that live processes have copied, read from `/proc`, and what [`crate::image::dirty`] makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::Status;
use super::common::count;
use super::measure::{mapped_pye, name};
use super::output::{Format, table, table_with_text};
use crate::error::Error;
use crate::image::dirty::{self, Copied, Dirty, FieldRow};
use crate::image::read::Image;
use crate::image::shape::Type;
use crate::image::{AREAS, PAGE};
use crate::map::Map;
use crate::measure::live::{self, Identity, Missing, Process, processes};
use crate::measure::pagemap::Page;
use crate::profile::Profile;
use crate::pye::read::Pye;

/// All that is printed. Pages are of 4,096 bytes, words of eight.
#[derive(Serialize)]
struct Report {
    images: Vec<ImageRow>,
    /// Processes that could not be looked into, and why.
    missing: Vec<Missing>,
}

#[derive(Serialize)]
struct ImageRow {
    path: PathBuf,
    base: u64,
    processes: Vec<ProcessRow>,
    /// Of all processes together.
    #[serde(flatten)]
    dirty: dirty::Report,
}

#[derive(Clone, Serialize)]
struct ProcessRow {
    #[serde(flatten)]
    identity: Identity,
    /// Pages of the image in memory.
    present: u64,
    /// Of these, copied.
    copied: u64,
    /// Of these, shared with another process since a fork.
    inherited: u64,
    /// Words that differ from the file.
    words: u64,
    /// By how much addresses of the interpreter's were moved; null where none was.
    relocated_by: Option<u64>,
}

/// An image that processes map.
struct Mapped {
    path: PathBuf,
    inode: ((u32, u32), u64),
    map: Map,
    /// Processes that map it, and the numbers of their mappings: one is in several parts where only some of it may be written.
    users: BTreeMap<usize, Vec<usize>>,
}

pub(crate) fn run(
    pids: &[u32],
    files: &[PathBuf],
    profile: Option<&Path>,
    most: usize,
    format: Format,
) -> anyhow::Result<Status> {
    let profile = profile.map(Profile::read).transpose()?;
    let pids: BTreeSet<u32> = pids.iter().copied().collect();
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for pid in pids {
        match processes::find(pid) {
            Some(identity) => found.push(identity),
            None => missing.push(Missing { pid, start_time: None, why: "no such process".into() }),
        }
    }
    let snapshot = live::snapshot(&found);
    missing.extend(snapshot.missing.iter().cloned());
    if let Err(unknown) = &snapshot.pages {
        anyhow::bail!("{}: {}", unknown.what, unknown.why);
    }
    if snapshot.page_size != PAGE as u64 {
        anyhow::bail!("images are looked into on machines with pages of {PAGE} bytes, got {}", snapshot.page_size);
    }
    let mut memories = Vec::with_capacity(snapshot.processes.len());
    for process in &snapshot.processes {
        let pid = process.identity.id.pid;
        let memory = memory(pid).map_err(|why| missing.push(unread(&process.identity, why)));
        memories.push(memory.ok());
    }
    let wanted = files.iter().map(|path| inode(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let images = images(&snapshot.processes, |inode| wanted.is_empty() || wanted.contains(&inode));
    let mut report = Report { images: Vec::new(), missing };
    for mapped in &images {
        let row = look(mapped, &snapshot.processes, &memories, profile.as_ref(), most, &mut report.missing);
        report.images.push(row.map_err(|e| e.in_file(&mapped.path))?);
    }
    report.images.retain(|row| !row.processes.is_empty());
    if report.images.is_empty() {
        let why: Vec<String> = report.missing.iter().map(|m| format!("; process {}: {}", m.pid, m.why)).collect();
        return Err(Error::unsupported(
            "a process that maps an image and may be read",
            format!("none{}", why.concat()),
            "reading another process needs what a debugger needs: to be root, or the same user and a kernel.yama.ptrace_scope that allows it; \
             `pye doctor` says why an interpreter does not use an image",
        )
        .into());
    }
    format.print(&report, text)?;
    Ok(if report.missing.is_empty() { Status::Done } else { Status::BadInput })
}

fn unread(identity: &Identity, why: String) -> Missing {
    Missing { pid: identity.id.pid, start_time: Some(identity.id.start_time), why }
}

fn inode(path: &Path) -> anyhow::Result<u64> {
    let meta = std::fs::metadata(path).with_context(|| format!("{}: cannot stat", path.display()))?;
    Ok(meta.ino())
}

/// The memory of a process, to be read at its addresses.
fn memory(pid: u32) -> Result<File, String> {
    let path = format!("/proc/{pid}/mem");
    File::open(&path).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => format!("not permitted: {path}"),
        _ => format!("not available: {path}: {e}"),
    })
}

/// The images that processes have mapped where they are to be, each once.
fn images(processes: &[Process], wanted: impl Fn(u64) -> bool) -> Vec<Mapped> {
    let mut images: Vec<Mapped> = Vec::new();
    for (number, process) in processes.iter().enumerate() {
        let code: BTreeSet<_> = process.mappings.iter().filter(|m| m.executable).map(|m| m.inode).collect();
        for (place, mapping) in process.mappings.iter().enumerate() {
            // Libraries and programs: not to be opened one by one.
            if !mapping.is_file() || code.contains(&mapping.inode) || !wanted(mapping.inode.1) {
                continue;
            }
            let known = images.iter().position(|image| image.inode == mapping.inode);
            let known = known.or_else(|| {
                let map = mapped_pye(process.identity.id.pid, mapping).ok().flatten()?;
                let path = PathBuf::from(std::ffi::OsStr::from_bytes(&mapping.name));
                images.push(Mapped { path, inode: mapping.inode, map, users: BTreeMap::new() });
                Some(images.len() - 1)
            });
            let Some(known) = known else { continue };
            // Packages are mapped as files, too: elsewhere.
            let base =
                Pye::open(&images[known].map).and_then(|pye| Ok(Image::open(&pye)?.map(|image| image.head.base)));
            if base.ok().flatten().is_some_and(|base| base.checked_add(mapping.offset) == Some(mapping.start)) {
                images[known].users.entry(number).or_default().push(place);
            }
        }
    }
    images.retain(|image| !image.users.is_empty());
    images
}

/// A page of an image in a process: its number, and whether it is a copy, and one that another process has too.
#[derive(Clone, Copy)]
struct Seen {
    page: u32,
    copied: bool,
    inherited: bool,
}

/// Looks at one image in all processes that map it.
fn look(
    mapped: &Mapped,
    processes: &[Process],
    memories: &[Option<File>],
    profile: Option<&Profile>,
    most: usize,
    missing: &mut Vec<Missing>,
) -> Result<ImageRow, Error> {
    let pye = Pye::open(&mapped.map)?;
    let image = Image::open(&pye)?.ok_or_else(|| Error::malformed("an image", "none"))?;
    let start = image.starts[0];
    let seen = |process: usize, mapping: usize| -> Vec<Seen> {
        let offset = processes[process].mappings[mapping].offset;
        let pages = processes[process].pages.get(mapping).map_or(&[][..], Vec::as_slice);
        let page = |(index, page): &(u64, Page)| {
            let at = offset + index * PAGE as u64;
            let number = u32::try_from(at.checked_sub(start)? / PAGE as u64).ok().filter(|_| at < image.starts[AREAS]);
            let (copied, inherited) = match *page {
                Page::Absent => return None,
                Page::Swapped => (true, false),
                Page::Present { file, exclusive, .. } => (!file, !file && !exclusive),
            };
            Some(Seen { page: number?, copied, inherited })
        };
        pages.iter().filter_map(page).collect()
    };
    let all = |(process, mappings): (&usize, &Vec<usize>)| {
        (*process, mappings.iter().flat_map(|mapping| seen(*process, *mapping)).collect())
    };
    let users: Vec<(usize, Vec<Seen>)> = mapped.users.iter().map(all).collect();
    let copied: BTreeSet<u32> =
        users.iter().flat_map(|(_, pages)| pages).filter(|seen| seen.copied).map(|seen| seen.page).collect();
    let mut dirty = Dirty::new(&image, &mapped.map, &copied, profile)?;
    let mut rows = Vec::new();
    for (number, pages) in users {
        let identity = &processes[number].identity;
        let Some(memory) = &memories[number] else { continue };
        let mut row = ProcessRow {
            identity: identity.clone(),
            present: pages.len() as u64,
            copied: 0,
            inherited: 0,
            words: 0,
            relocated_by: None,
        };
        let parent = processes.iter().position(|process| process.identity.id.pid == identity.parent);
        // Only of a parent that maps the image in the same place: a fork's, not that of another program.
        let parent = parent.filter(|parent| mapped.users.contains_key(parent));
        let parent = parent.and_then(|parent| memories[parent].as_ref());
        let (mut bytes, mut before) = ([0; PAGE], [0; PAGE]);
        for seen in pages {
            dirty.present(seen.page);
            if !seen.copied {
                continue;
            }
            let address = image.head.base + start + u64::from(seen.page) * PAGE as u64;
            if let Err(error) = memory.read_exact_at(&mut bytes, address) {
                missing.push(unread(identity, format!("its memory cannot be read any more: {error}")));
                break;
            }
            let own = parent.filter(|_| !seen.inherited);
            let known = own.is_some_and(|parent| parent.read_exact_at(&mut before, address).is_ok());
            let copied =
                Copied { page: seen.page, inherited: seen.inherited, bytes: &bytes, parent: known.then_some(&before) };
            let (words, moved) = dirty.add(copied);
            row.copied += 1;
            row.inherited += u64::from(seen.inherited);
            row.words += words;
            row.relocated_by = row.relocated_by.or(moved);
        }
        rows.push(row);
    }
    Ok(ImageRow { path: mapped.path.clone(), base: image.head.base, processes: rows, dirty: dirty.report(most) })
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for missing in &report.missing {
        let _ = writeln!(out, "not looked into: process {}: {}", missing.pid, missing.why);
    }
    for (number, image) in report.images.iter().enumerate() {
        if number > 0 || !out.is_empty() {
            out.push('\n');
        }
        image_text(image, &mut out);
    }
    out
}

fn image_text(image: &ImageRow, out: &mut String) {
    let several = image.processes.len() > 1;
    let _ = writeln!(
        out,
        "{}: image at {:#x} in {}; pages of 4096 bytes, words of 8{}\n",
        image.path.display(),
        image.base,
        count(image.processes.len() as u64, "process"),
        if several { ", all together below" } else { "" }
    );
    let rows = image.processes.iter().map(|row| {
        [
            name(&row.identity),
            row.present.to_string(),
            row.copied.to_string(),
            row.inherited.to_string(),
            (row.copied - row.inherited).to_string(),
            row.words.to_string(),
            // As a signed distance: it may be to lower addresses.
            row.relocated_by.map_or("-".into(), |by| match by.cast_signed() {
                by if by < 0 => format!("-{:#x}", by.unsigned_abs()),
                by => format!("{by:#x}"),
            }),
        ]
    });
    out.push_str(&table(["process", "present", "copied", "inherited", "own", "changed words", "relocated by"], rows));

    let rows = image.dirty.sections.iter().map(|row| {
        let name = row.section.to_owned();
        let numbers = [
            row.pages,
            row.hot,
            row.present,
            row.copied,
            row.inherited,
            row.cold,
            row.relocated,
            row.unchanged,
            row.words,
        ];
        let [pages, hot, present, copied, inherited, cold, relocated, unchanged, words] =
            numbers.map(|number| number.to_string());
        [name, pages, hot, present, copied, inherited, cold, relocated, unchanged, words]
    });
    out.push('\n');
    out.push_str(&table(
        [
            "section",
            "pages",
            "in the profile",
            "present",
            "copied",
            "inherited",
            "outside the profile",
            "by relocation only",
            "unchanged",
            "changed words",
        ],
        rows,
    ));

    let fields = &image.dirty.fields;
    let place = |row: &FieldRow| match row.kind {
        Type::None => format!("{} {}", row.section, row.field),
        kind => format!("{} {}.{}", row.section, kind.name(), row.field),
    };
    if !fields.is_empty() {
        out.push('\n');
        let header = ["field", "pages", "without another cause", "words", "objects", "cause"];
        let rows = fields.iter().map(|row| {
            let [pages, alone, words, objects] =
                [row.pages, row.alone, row.words, row.objects].map(|number| number.to_string());
            [place(row), pages, alone, words, objects, row.cause.to_owned()]
        });
        out.push_str(&table_with_text(header, rows));
    }
    let mut own: Vec<&FieldRow> = fields.iter().filter(|row| row.since_fork != 0).collect();
    own.sort_by_key(|row| std::cmp::Reverse((row.since_fork_alone, row.since_fork)));
    if !own.is_empty() {
        out.push('\n');
        let header = ["copied by children for themselves", "pages", "without another cause", "cause"];
        let rows = own.into_iter().map(|row| {
            [place(row), row.since_fork.to_string(), row.since_fork_alone.to_string(), row.cause.to_owned()]
        });
        out.push_str(&table_with_text(header, rows));
    }
    let objects: Vec<_> = image
        .dirty
        .objects
        .iter()
        .map(|row| {
            [
                row.section.to_owned(),
                format!("{:.2}", row.pages),
                row.words.to_string(),
                row.kind.name().to_owned(),
                row.field.to_owned(),
                row.object.clone(),
            ]
        })
        .collect();
    if !objects.is_empty() {
        out.push('\n');
        let header = ["objects with most pages", "pages", "words", "type", "mostly", "object"];
        out.push_str(&table_with_text(header, objects));
    }
    let code = &image.dirty.code;
    let _ = writeln!(
        out,
        "\n{} written to (relocation and interned names aside), {} of them outside the profile's modules",
        count(code.functions, "function"),
        code.cold
    );
    if let (Some(unnamed), Some(pages), Some(only)) = (code.unnamed, code.pages_unnamed, code.pages_only_unnamed) {
        let _ = writeln!(
            out,
            "{unnamed} of them not in the profile, on {} ({only} with no other function written to)",
            count(pages, "copied page")
        );
        for example in &code.examples {
            let _ = writeln!(out, "  {example}");
        }
    }
}
