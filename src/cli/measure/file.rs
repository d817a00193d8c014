//! `pye measure FILE`, and the hidden `pye measure-reader` that it starts: one process that maps the payload and waits.

use std::io;
use std::path::{Path, PathBuf};

use crate::blob::Store;
use crate::limits::MAX_PYE_BYTES;
use crate::map::Map;
use crate::measure::reader::{self, Extent};
use crate::measure::{self, Region, RegionReport, Report, Usage};
use crate::pye::payload;
use crate::pye::read::Pye;

use crate::cli::output::{Format, size, table};
use crate::cli::{Host, Status};

/// What a measured process is told.
#[derive(clap::Args)]
pub(crate) struct ReaderOptions {
    file: PathBuf,
    #[arg(required = true)]
    extents: Vec<Extent>,
}

/// Measures `processes` processes that map the payload of the file at `path`.
pub(super) fn run(path: &Path, processes: u32, format: Format, host: &Host) -> anyhow::Result<Status> {
    let regions = regions(path)?;
    let mut program = host.again();
    program.push(super::READER.into());
    let report = measure::measure(path, &regions, processes, &program)?;
    format.print(&report, text)?;
    Ok(Status::Done)
}

/// Maps, reads, waits; see [`reader::run`]. The parent reports errors, so they are not printed here.
pub(crate) fn run_reader(options: &ReaderOptions) -> Status {
    match reader::run(&options.file, &options.extents, io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Status::Done,
        Err(_) => Status::BadInput,
    }
}

/// The payload of a .pye file: its sections of text and bytes.
fn regions(path: &Path) -> anyhow::Result<Vec<Region>> {
    let map = Map::open(path, MAX_PYE_BYTES)?;
    let pye = Pye::open(&map).map_err(|e| e.in_file(path))?;
    let regions: Vec<Region> = Store::ALL
        .into_iter()
        .map(|store| (store.section(), pye.range(payload(store))))
        .filter(|(_, range)| !range.is_empty())
        .map(|(name, range)| Region { name: name.into(), offset: range.start as u64, len: range.len() as u64 })
        .collect();
    anyhow::ensure!(
        !regions.is_empty(),
        "{}: expected a payload to map, got none: its modules have no long strings",
        path.display()
    );
    Ok(regions)
}

fn text(report: &Report) -> String {
    let count = report.processes.len();
    let rows = || report.regions.iter().chain([&report.total]);
    let method = super::method(report.method);
    let mut out = format!("{}, pages of {}; by {method}\n", report.file.display(), size(report.page_size));
    for unknown in &report.unknown {
        out.push_str(&format!("{}: {}\n", unknown.what.replace('_', " "), unknown.why));
    }
    if count == 1 {
        out.push_str("\nOne process (start two or more to see what they have in common)\n");
        out.push_str(&alone(rows()));
        return out;
    }
    out.push_str(&format!("\nEach of {count} processes (mean)\n"));
    out.push_str(&each(rows().map(|region| (region.name.clone(), region, &region.mean))));
    if differ(report) {
        out.push_str("\nThe processes differ: total of each\n");
        let per_process = report.processes.iter().zip(&report.total.per_process);
        out.push_str(&each(per_process.map(|(id, usage)| (format!("process {}", id.pid), &report.total, usage))));
    }
    out.push_str(&format!("\nAll {count} together\n"));
    let copies = format!("{count} private copies");
    let same = format!("same frame in {count} of {count}");
    let header = ["section", &copies, "in memory", "saved", "saved per process", &same];
    out.push_str(&table(
        header,
        rows().map(|region| {
            let proof = match region.same_frame_pages {
                Some(same) => format!("{same} of {} pages", region.pages),
                None => "not known".into(),
            };
            [
                region.name.clone(),
                size(region.private_copies),
                known(region.in_memory),
                known(region.saved),
                known(region.saved_per_process),
                proof,
            ]
        }),
    ));
    out
}

fn known(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "not known".into(), size)
}

/// One row a region or process.
fn each<'a>(rows: impl Iterator<Item = (String, &'a RegionReport, &'a Usage)>) -> String {
    let header = ["section", "size", "mapped", "resident", "shared", "private", "copied", "swapped", "PSS", "USS"];
    table(
        header,
        rows.map(|(name, region, usage)| {
            [
                name,
                size(region.size),
                size(usage.mapped),
                size(usage.resident),
                known(usage.shared),
                size(usage.private),
                size(usage.copied),
                size(usage.swapped),
                size(usage.pss),
                size(usage.uss),
            ]
        }),
    )
}

/// The same for a single process, without the columns that would compare it with others.
fn alone<'a>(rows: impl Iterator<Item = &'a RegionReport>) -> String {
    let header = ["section", "size", "mapped", "resident", "private", "copied", "swapped", "PSS", "USS", "in memory"];
    table(
        header,
        rows.map(|region| {
            let usage = &region.mean;
            [
                region.name.clone(),
                size(region.size),
                size(usage.mapped),
                size(usage.resident),
                size(usage.private),
                size(usage.copied),
                size(usage.swapped),
                size(usage.pss),
                size(usage.uss),
                known(region.in_memory),
            ]
        }),
    )
}

/// Whether any process differs from the first in any region. PSS is left out where the rest is equal: the kernel rounds it.
fn differ(report: &Report) -> bool {
    let plain = |usage: &Usage| Usage { pss: 0, ..*usage };
    report.regions.iter().any(|region| {
        let mut usages = region.per_process.iter().map(plain);
        let first = usages.next();
        usages.any(|usage| Some(usage) != first)
    })
}
