//! From counters and page walks to what is printed: per region and in total, per process and together.
//!
//! All sizes are bytes. `None` (JSON `null`) is "not known" or, with one process, "does not apply": never 0. [`Report::unknown`]
//! says why.

use std::path::PathBuf;

use serde::Serialize;

use super::Region;
use super::pagemap::{Pages, Tally};
use super::smaps::Counters;

/// How shared pages were told from others, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Page frame numbers of all pages in all processes: exact, and a proof.
    PageFrames,
    /// The bits of pagemap: a page of the file that somebody else maps too counts as shared.
    PagemapBits,
    /// The sums of smaps only.
    Smaps,
}

/// Something that could not be found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// What: `page_frame_numbers` or `pagemap`.
    pub what: &'static str,
    /// Why, in words.
    pub why: String,
}

/// A process that was measured; the start time tells it from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// Clock ticks from the machine's start to the process's: field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

/// One process's use of one region, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Address space of the mapping, in whole pages.
    pub mapped: u64,
    /// In memory and in the process's page table. Not the same as used: see [`crate::measure`].
    pub resident: u64,
    /// Pages of the file that at least one other measured process maps too; without page frame numbers: that anybody maps.
    /// `None` with one process.
    pub shared: Option<u64>,
    /// Pages of the file that no other measured process maps; without page frame numbers: that nobody maps.
    pub private: u64,
    /// Pages copied by a write: sharing lost.
    pub copied: u64,
    /// Pages copied by a write and then swapped out: sharing lost, too.
    pub swapped: u64,
    /// Proportional set size as the kernel counts it (smaps): a page that k mappings have counts 1/k.
    pub pss: u64,
    /// Unique set size as the kernel counts it (smaps): pages with one mapping.
    pub uss: u64,
}

impl Usage {
    /// Adds field by field; the sum of something unknown is unknown.
    fn add(&mut self, other: &Usage) {
        self.mapped += other.mapped;
        self.resident += other.resident;
        self.shared = self.shared.zip(other.shared).map(|(a, b)| a + b);
        self.private += other.private;
        self.copied += other.copied;
        self.swapped += other.swapped;
        self.pss += other.pss;
        self.uss += other.uss;
    }

    fn sum<'a>(all: impl IntoIterator<Item = &'a Usage>) -> Usage {
        let mut sum = Usage { shared: Some(0), ..Usage::default() };
        all.into_iter().for_each(|usage| sum.add(usage));
        sum
    }

    fn divided(&self, by: u64) -> Usage {
        Usage {
            mapped: self.mapped / by,
            resident: self.resident / by,
            shared: self.shared.map(|shared| shared / by),
            private: self.private / by,
            copied: self.copied / by,
            swapped: self.swapped / by,
            pss: self.pss / by,
            uss: self.uss / by,
        }
    }
}

/// One region, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionReport {
    /// The region's name; `total` for all.
    pub name: String,
    /// Where it starts in the file; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Its length as given, not rounded to pages.
    pub size: u64,
    /// Pages it has.
    pub pages: u64,
    /// The mean over the processes, rounded down.
    pub mean: Usage,
    /// Each process, in the order of [`Report::processes`].
    pub per_process: Vec<Usage>,
    /// What the processes would take if each had its own copy of the pages it has: the sum of resident and swapped.
    pub private_copies: u64,
    /// What they take in memory, each page once: by page frames exactly; by pagemap's bits under the rule that one place in
    /// one file is one page of the page cache; by smaps alone it is not known.
    pub in_memory: Option<u64>,
    /// `private_copies` less `in_memory` (by smaps alone: less the sum of PSS) and less what is swapped out. `None` with one
    /// process.
    pub saved: Option<u64>,
    /// `saved` divided by the number of processes, rounded down.
    pub saved_per_process: Option<u64>,
    /// Pages that have the same frame in every process: the proof. Only by page frames, and with two processes or more.
    pub same_frame_pages: Option<u64>,
}

/// A whole measurement. Its JSON form has the fields' names as written here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file that was mapped.
    pub file: PathBuf,
    /// Bytes of a page on this machine.
    pub page_size: u64,
    /// How the figures were found.
    pub method: Method,
    /// What could not be found out, and why.
    pub unknown: Vec<Unknown>,
    /// The processes; all were alive when the last one was read.
    pub processes: Vec<ProcessId>,
    /// One a region, in the order given.
    pub regions: Vec<RegionReport>,
    /// All regions together.
    pub total: RegionReport,
}

/// Adds up: `smaps[process][region]`, and one tally a region or the reason why there is none.
pub(super) fn account(
    file: PathBuf,
    regions: &[Region],
    page_size: u64,
    processes: Vec<ProcessId>,
    smaps: &[Vec<Counters>],
    pages: Result<Vec<Tally>, Unknown>,
) -> Report {
    let mut unknown = Vec::new();
    let (method, tallies) = match pages {
        Ok(tallies) if tallies.iter().any(|tally| tally.hidden) => {
            unknown.push(Unknown {
                what: "page_frame_numbers",
                why: "not permitted: page frame numbers need CAP_SYS_ADMIN, so that the same frame in all processes cannot be shown"
                    .into(),
            });
            (Method::PagemapBits, tallies)
        }
        Ok(tallies) => (Method::PageFrames, tallies),
        Err(why) => {
            unknown.push(why);
            (Method::Smaps, Vec::new())
        }
    };
    let count = processes.len();
    let reports: Vec<_> = regions
        .iter()
        .enumerate()
        .map(|(index, region)| {
            let tally = tallies.get(index);
            let per_process = (0..count)
                .map(|process| {
                    let pages = tally.map(|tally| match method {
                        Method::PageFrames => tally.by_frame[process],
                        _ => tally.by_bit[process],
                    });
                    usage(&smaps[process][index], pages, page_size, count)
                })
                .collect();
            let in_memory = tally.map(|tally| match method {
                Method::PageFrames => tally.frames * page_size,
                _ => tally.frames_inferred * page_size,
            });
            let same = tally.filter(|_| method == Method::PageFrames && count > 1).map(|tally| tally.same_frame);
            let mut report = row(region.name.clone(), per_process, in_memory, same);
            report.offset = Some(region.offset);
            report.size = region.len;
            report.pages = region.mapped(page_size) / page_size;
            report
        })
        .collect();
    let per_process = (0..count).map(|process| Usage::sum(reports.iter().map(|r| &r.per_process[process]))).collect();
    let mut total = row(
        "total".into(),
        per_process,
        reports.iter().map(|region| region.in_memory).sum(),
        reports.iter().map(|region| region.same_frame_pages).sum(),
    );
    total.size = reports.iter().map(|region| region.size).sum();
    total.pages = reports.iter().map(|region| region.pages).sum();
    Report { file, page_size, method, unknown, processes, regions: reports, total }
}

/// One process's use of one region, from the walk where there is one.
fn usage(smaps: &Counters, pages: Option<Pages>, page_size: u64, processes: usize) -> Usage {
    let (shared, private, copied, swapped) = match pages {
        Some(pages) => {
            (pages.shared * page_size, pages.private * page_size, pages.copied * page_size, pages.swapped * page_size)
        }
        // smaps counts copies among its private pages, or among the shared ones after a fork: of the file is the rest.
        None => {
            let copied_shared = smaps.anonymous.saturating_sub(smaps.uss);
            let private = smaps.uss.saturating_sub(smaps.anonymous);
            (smaps.shared.saturating_sub(copied_shared), private, smaps.anonymous, smaps.swap)
        }
    };
    // One process shares with no other measured one, whoever else has mapped the file.
    let (shared, private) = if processes > 1 { (Some(shared), private) } else { (None, private + shared) };
    Usage {
        mapped: smaps.mapped,
        resident: shared.unwrap_or(0) + private + copied,
        shared,
        private,
        copied,
        swapped,
        pss: smaps.pss,
        uss: smaps.uss,
    }
}

fn row(name: String, per_process: Vec<Usage>, in_memory: Option<u64>, same_frame_pages: Option<u64>) -> RegionReport {
    let count = per_process.len() as u64;
    let sum = Usage::sum(&per_process);
    let saved = (count > 1).then(|| sum.resident.saturating_sub(in_memory.unwrap_or(sum.pss)));
    RegionReport {
        name,
        offset: None,
        size: 0,
        pages: 0,
        mean: sum.divided(count.max(1)),
        per_process,
        private_copies: sum.resident + sum.swapped,
        in_memory,
        saved,
        saved_per_process: saved.map(|saved| saved / count),
        same_frame_pages,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::super::pagemap::Page;
    use super::*;

    const PAGE: u64 = 4096;

    fn region(name: &str, offset: u64, len: u64) -> Region {
        Region { name: name.into(), offset, len }
    }

    fn ids(count: u32) -> Vec<ProcessId> {
        (0..count).map(|pid| ProcessId { pid: pid + 100, start_time: 7 }).collect()
    }

    fn page(frame: u64, file: bool, exclusive: bool) -> Page {
        Page::Present { frame: NonZeroU64::new(frame), file, exclusive }
    }

    /// Counters of `pages` resident pages of a file that `mappers` processes map.
    fn counters(pages: u64, mappers: u64) -> Counters {
        let bytes = pages * PAGE;
        let (uss, shared) = if mappers > 1 { (0, bytes) } else { (bytes, 0) };
        Counters { mapped: bytes, resident: bytes, pss: bytes / mappers, uss, shared, ..Counters::default() }
    }

    fn tally(rows: &[Vec<Page>]) -> Tally {
        let mut tally = Tally::new(rows.len());
        tally.add(rows);
        tally
    }

    fn report(regions: &[Region], smaps: &[Vec<Counters>], pages: Result<Vec<Tally>, Unknown>) -> Report {
        account("f".into(), regions, PAGE, ids(smaps.len() as u32), smaps, pages)
    }

    #[test]
    fn pages_all_share_are_in_memory_once() {
        let regions = [region("a", 4096, 8000), region("b", 12288, 1)];
        let row = |n| (1..=n).map(|frame| page(frame, true, false)).collect::<Vec<_>>();
        let tallies = vec![tally(&[row(2), row(2), row(2)]), tally(&[row(1), row(1), row(1)])];
        let smaps = vec![vec![counters(2, 3), counters(1, 3)]; 3];
        let report = report(&regions, &smaps, Ok(tallies));
        assert_eq!((report.method, report.unknown.len()), (Method::PageFrames, 0));
        let total = &report.total;
        assert_eq!((total.size, total.pages, total.offset), (8001, 3, None));
        assert_eq!(total.mean.shared, Some(3 * PAGE));
        assert_eq!((total.mean.private, total.mean.copied, total.mean.resident), (0, 0, 3 * PAGE));
        assert_eq!((total.private_copies, total.in_memory), (9 * PAGE, Some(3 * PAGE)));
        assert_eq!((total.saved, total.saved_per_process), (Some(6 * PAGE), Some(2 * PAGE)));
        assert_eq!(total.same_frame_pages, Some(3));
        assert_eq!((report.regions[0].same_frame_pages, report.regions[1].saved), (Some(2), Some(2 * PAGE)));
    }

    #[test]
    fn exclusive_copied_swapped_and_absent_pages_save_nothing() {
        let regions = [region("a", 4096, 4 * PAGE)];
        let rows =
            [vec![page(1, true, true), Page::Absent, page(2, false, true), Page::Swapped], vec![Page::Absent; 4]];
        let smaps = vec![
            vec![Counters {
                mapped: 4 * PAGE,
                resident: 2 * PAGE,
                pss: 2 * PAGE,
                uss: 2 * PAGE,
                shared: 0,
                anonymous: PAGE,
                swap: PAGE,
                ksm: None,
            }],
            vec![Counters { mapped: 4 * PAGE, ..Counters::default() }],
        ];
        for pages in [
            Ok(vec![tally(&rows)]),
            // The same without frame numbers, and with smaps alone: here all three know the same.
            Ok(vec![Tally { hidden: true, ..tally(&rows) }]),
            Err(Unknown { what: "pagemap", why: "not permitted".into() }),
        ] {
            let report = report(&regions, &smaps, pages);
            let region = &report.regions[0];
            let first = &region.per_process[0];
            assert_eq!((first.shared, first.private, first.copied, first.swapped), (Some(0), PAGE, PAGE, PAGE));
            assert_eq!((first.resident, region.per_process[1].resident), (2 * PAGE, 0));
            assert_eq!((region.private_copies, region.saved), (3 * PAGE, Some(0)), "{:?}", report.method);
            assert_eq!(region.mean.copied, PAGE / 2);
            let known = report.method != Method::Smaps;
            assert_eq!(region.in_memory, known.then_some(2 * PAGE));
            assert_eq!(region.same_frame_pages, (report.method == Method::PageFrames).then_some(0));
        }
    }

    #[test]
    fn without_permission_it_is_said_and_the_proof_is_unknown() {
        let regions = [region("a", 4096, 2 * PAGE)];
        let hidden = tally(&[vec![page(0, true, false); 2], vec![page(0, true, false); 2]]);
        let smaps = vec![vec![counters(2, 2)]; 2];
        let by_bits = report(&regions, &smaps, Ok(vec![hidden]));
        assert_eq!(by_bits.method, Method::PagemapBits);
        assert!(by_bits.unknown[0].why.starts_with("not permitted"), "{:?}", by_bits.unknown);
        assert_eq!(by_bits.total.same_frame_pages, None);
        assert_eq!((by_bits.total.in_memory, by_bits.total.saved), (Some(2 * PAGE), Some(2 * PAGE)));

        let why = Unknown { what: "pagemap", why: "not permitted: /proc/100/pagemap".into() };
        let by_smaps = report(&regions, &smaps, Err(why.clone()));
        assert_eq!((by_smaps.method, &by_smaps.unknown[..]), (Method::Smaps, &[why][..]));
        assert_eq!((by_smaps.total.in_memory, by_smaps.total.same_frame_pages), (None, None));
        assert_eq!((by_smaps.total.mean.shared, by_smaps.total.saved), (Some(2 * PAGE), Some(2 * PAGE)));
        let json = serde_json::to_value(&by_smaps).unwrap();
        assert!(json["total"]["in_memory"].is_null());
        assert_eq!(json["method"], "smaps");
    }

    #[test]
    fn one_frame_that_may_not_be_known_voids_the_figures_by_frames() {
        let regions = [region("a", 4096, PAGE), region("b", 8192, PAGE)];
        let tallies = vec![
            tally(&[vec![page(1, true, false)], vec![page(1, true, false)]]),
            tally(&[vec![page(2, true, false)], vec![page(0, true, false)]]),
        ];
        let smaps = vec![vec![counters(1, 2); 2]; 2];
        let report = report(&regions, &smaps, Ok(tallies));
        assert_eq!(report.method, Method::PagemapBits);
        assert_eq!(report.total.same_frame_pages, None);
        assert_eq!(report.regions[0].same_frame_pages, None);
    }

    #[test]
    fn one_process_shares_with_nobody_even_if_others_map_the_file() {
        let regions = [region("a", 4096, 2 * PAGE)];
        let rows = [vec![page(1, true, false), page(2, true, true)]];
        let smaps = vec![vec![Counters {
            mapped: 2 * PAGE,
            resident: 2 * PAGE,
            pss: PAGE + PAGE / 2,
            uss: PAGE,
            shared: PAGE,
            anonymous: 0,
            swap: 0,
            ksm: None,
        }]];
        for pages in [
            Ok(vec![tally(&rows)]),
            Ok(vec![Tally { hidden: true, ..tally(&rows) }]),
            Err(Unknown { what: "pagemap", why: "not permitted".into() }),
        ] {
            let total = report(&regions, &smaps, pages).total;
            assert_eq!((total.mean.shared, total.mean.private, total.mean.resident), (None, 2 * PAGE, 2 * PAGE));
            assert_eq!((total.saved, total.saved_per_process, total.same_frame_pages), (None, None, None));
        }
    }
}
