//! From a snapshot to the report: pure, so that recorded data serve as tests.
//!
//! # What is exact and what is not
//! Resident, PSS, USS, copied, swapped and KSM of a mapping are the kernel's own counters. Where one mapping spans several
//! sections of a file, its pages say which section each byte belongs to; PSS, which the kernel keeps for the mapping as a
//! whole, is divided over them by what is known of each page: one that is exclusively mapped counts in full, the others share the
//! rest, each in proportion to one divided by the number of measured processes that have it. Sums over sections are exact.
//!
//! *Shared* is about the measured processes alone when page frames may be known, see [`crate::measure`].

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;

use foldhash::fast::FixedState;
use serde::Serialize;

use super::{Identity, Missing, Process, Snapshot};
use crate::measure::pagemap::Page;
use crate::measure::report::{Method, Unknown};
use crate::measure::smaps::{Counters, Mapping};

/// A kind of mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Class {
    /// For programs.
    pub key: &'static str,
    /// For people.
    pub title: &'static str,
    /// What belongs to it, in words.
    pub holds: &'static str,
}

/// A part of a file that is counted on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Where it stands in the file, in bytes.
    #[serde(flatten, serialize_with = "as_extent")]
    pub range: Range<u64>,
    /// Whether it is there to be shared: [`Payload`] counts it.
    pub payload: bool,
}

fn as_extent<S: serde::Serializer>(range: &Range<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Extent {
        offset: u64,
        size: u64,
    }
    Extent { offset: range.start, size: range.end - range.start }.serialize(serializer)
}

/// A mapped file whose sections are counted each on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionedFile {
    /// Its path.
    pub path: PathBuf,
    /// The class its mappings belong to, as an index into [`Layout::classes`].
    #[serde(skip)]
    pub class: usize,
    /// Its sections, which do not overlap.
    pub sections: Vec<Section>,
}

/// Where a mapping belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To this class.
    Class(usize),
    /// To this file's class, and to its sections.
    File(usize),
}

/// What the caller knows of the mappings in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The classes, in the order in which they are reported.
    pub classes: Vec<Class>,
    /// The files with sections.
    pub files: Vec<SectionedFile>,
    /// `places[process][mapping]`, as the snapshot has them.
    pub places: Vec<Vec<Place>>,
}

/// Memory in bytes. `None` (JSON `null`): not known or does not apply; never for 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Address space, in whole pages.
    pub mapped: u64,
    /// In memory and in the process's page table.
    pub resident: u64,
    /// Proportional set size: a page that k mappings (of any processes) have counts 1/k.
    pub pss: u64,
    /// Unique set size: pages with one mapping. What ending the process would free.
    pub uss: u64,
    /// Pages that at least one other measured process has, too: of files, and of anonymous memory passed on by fork or merged by
    /// KSM; copies made by a write to a file's page are never among them. Without page frame numbers: that anybody has.
    /// `None` with one process.
    pub shared: Option<u64>,
    /// Resident, neither shared nor copied.
    pub private: u64,
    /// Pages of a file's mapping that a write has copied, in memory: no longer shared by way of the file. `None` where no file is mapped.
    pub copied: Option<u64>,
    /// Of these, pages that at least one other measured process has, too: they were copied before a fork and not written to since.
    /// `None` where no file is mapped, with one process, or without a page walk.
    pub inherited: Option<u64>,
    /// Swapped out. In a file's mapping: copied by a write before.
    pub swapped: u64,
    /// Merged by the kernel with equal pages (KSM). `None`: this kernel does not tell.
    pub ksm: Option<u64>,
}

impl Usage {
    fn zero(several: bool, ksm: bool) -> Usage {
        Usage { shared: several.then_some(0), ksm: ksm.then_some(0), ..Usage::default() }
    }

    /// Adds field by field; the sum of something unknown is unknown.
    pub fn add(&mut self, other: &Usage) {
        self.mapped += other.mapped;
        self.resident += other.resident;
        self.pss += other.pss;
        self.uss += other.uss;
        self.shared = self.shared.zip(other.shared).map(|(a, b)| a + b);
        self.private += other.private;
        // Does not apply to some mappings, and is known of all others.
        self.copied = self.copied.into_iter().chain(other.copied).reduce(|a, b| a + b);
        self.inherited = self.inherited.into_iter().chain(other.inherited).reduce(|a, b| a + b);
        self.swapped += other.swapped;
        self.ksm = self.ksm.zip(other.ksm).map(|(a, b)| a + b);
    }
}

/// The memory of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassUsage {
    /// Its [`Class::key`].
    pub class: &'static str,
    /// How much.
    #[serde(flatten)]
    pub usage: Usage,
}

/// The memory of one section of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionUsage {
    /// The file, as an index into [`Report::files`].
    pub file: usize,
    /// The section's name; [`REST`] or [`SEVERAL`].
    pub section: String,
    /// How much.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What is mapped of a file with sections, but belongs to none of them.
pub const REST: &str = "(headers and padding)";

/// A mapping that spans sections while its pages are not known.
pub const SEVERAL: &str = "(several sections)";

/// How much of what is there to be shared is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Payload {
    /// Bytes of payload sections in whole pages: in memory, or copied and swapped out.
    pub present: u64,
    /// Of these, pages that another measured process has, too. `None` with one process, or without a page walk.
    pub shared: Option<u64>,
    /// Of `present`, pages copied by a write that another measured process has, too: [`Usage::inherited`]. `None` as `shared`.
    pub inherited: Option<u64>,
    /// `shared` divided by `present`; `None` when nothing is present.
    pub share: Option<f64>,
}

impl Payload {
    fn new(present: u64, shared: Option<u64>, inherited: Option<u64>) -> Payload {
        let share = shared.filter(|_| present > 0).map(|shared| shared as f64 / present as f64);
        Payload { present, shared, inherited, share }
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessReport {
    /// Who it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// All of it.
    pub total: Usage,
    /// Each class, in the order of [`Report::classes`].
    pub classes: Vec<ClassUsage>,
    /// The sections it maps.
    pub sections: Vec<SectionUsage>,
    /// What it maps of payload.
    pub payload: Payload,
}

/// All processes together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Together {
    /// The sum of what each has. The sum of PSS counts no page twice; the others count a page in each process that has it.
    #[serde(flatten)]
    pub usage: Usage,
    /// What they take in memory, each page once, whoever else has it. `None`: page frames may not be known.
    pub in_memory: Option<u64>,
    /// Each class.
    pub classes: Vec<ClassUsage>,
    /// Each section.
    pub sections: Vec<SectionUsage>,
    /// The payload.
    pub payload: Payload,
}

/// A whole measurement. Its JSON form has the fields' names as written here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// When, in seconds since 1970.
    pub time: f64,
    /// Bytes of a page on this machine.
    pub page_size: u64,
    /// How shared pages were told from others.
    pub method: Method,
    /// What could not be found out, and why.
    pub unknown: Vec<Unknown>,
    /// The kinds of mappings.
    pub classes: Vec<Class>,
    /// The files with sections.
    pub files: Vec<SectionedFile>,
    /// Those measured, by number; all lived from the first look to the last.
    pub processes: Vec<ProcessReport>,
    /// Those that could not be measured, and why.
    pub missing: Vec<Missing>,
    /// All together.
    pub total: Together,
}

/// In how many of the processes a page is.
pub(super) struct Sharers {
    /// By frame and place in the file: the last process counted, and how many.
    frames: HashMap<(u64, u64), (usize, u32), FixedState>,
    /// Whether frames may not be known: then bit 56 decides.
    pub(super) hidden: bool,
}

/// The place of a page that is no file's: fork keeps its address, but KSM merges any two.
const NOWHERE: u64 = u64::MAX;

impl Sharers {
    pub(super) fn of(snapshot: &Snapshot) -> Sharers {
        let pages = snapshot.processes.iter().flat_map(|process| &process.pages).map(Vec::len).sum::<usize>();
        let mut sharers = Sharers {
            frames: HashMap::with_capacity_and_hasher(pages / 2, FixedState::default()),
            hidden: snapshot.pages.is_err(),
        };
        for (number, process) in snapshot.processes.iter().enumerate() {
            for (mapping, pages) in process.mappings.iter().zip(&process.pages) {
                for (index, page) in pages {
                    let &Page::Present { frame, file, .. } = page else { continue };
                    let Some(frame) = frame else {
                        return Sharers { frames: HashMap::default(), hidden: true };
                    };
                    let place = place(mapping, *index, file, snapshot.page_size);
                    let (last, count) = sharers.frames.entry((frame.get(), place)).or_insert((number, 1));
                    if *last != number {
                        (*last, *count) = (number, *count + 1);
                    }
                }
            }
        }
        sharers
    }

    /// How many have it; without frames 1 or, for "anybody else too", 2.
    pub(super) fn count(&self, mapping: &Mapping, index: u64, page: &Page, page_size: u64) -> u32 {
        match *page {
            Page::Present { frame: Some(frame), file, .. } if !self.hidden => {
                let place = place(mapping, index, file, page_size);
                self.frames.get(&(frame.get(), place)).map_or(1, |(_, count)| *count)
            }
            Page::Present { exclusive, .. } => 1 + u32::from(!exclusive),
            _ => 0,
        }
    }
}

/// The page of the file, whichever file: over two mounts of one file system a file has two names, devices and inodes, and one
/// frame at one place all the same.
fn place(mapping: &Mapping, index: u64, file: bool, page_size: u64) -> u64 {
    if file { mapping.offset / page_size + index } else { NOWHERE }
}

/// What a page walk of (a part of) a mapping adds up to, in pages.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    present: u64,
    exclusive: u64,
    shared: u64,
    copied: u64,
    copied_shared: u64,
    swapped: u64,
    /// What pages that are not exclusive weigh in PSS.
    weight: f64,
}

impl Tally {
    fn add(&mut self, page: &Page, sharers: u32, hidden: bool) {
        match *page {
            Page::Absent => {}
            Page::Swapped => self.swapped += 1,
            Page::Present { file, exclusive, .. } => {
                self.present += 1;
                let several = u64::from(sharers > 1);
                if file {
                    self.shared += several;
                } else {
                    self.copied += 1;
                    self.copied_shared += several;
                }
                if exclusive {
                    self.exclusive += 1;
                } else {
                    self.weight += if hidden { 1.0 } else { 1.0 / f64::from(sharers.max(1)) };
                }
            }
        }
    }
}

impl SectionedFile {
    /// The section a page belongs to: the one that has most of it; the number of sections for none.
    pub(super) fn owner(&self, page: u64, page_size: u64) -> usize {
        let (start, end) = (page * page_size, (page + 1) * page_size);
        let overlap = |section: &Section| section.range.end.min(end).saturating_sub(section.range.start.max(start));
        let overlaps = self.sections.iter().map(overlap).enumerate().filter(|(_, bytes)| *bytes > 0);
        // Of equals the first.
        overlaps.rev().max_by_key(|(_, bytes)| *bytes).map_or(self.sections.len(), |(index, _)| index)
    }

    /// The pages of the file that belong to a section.
    pub(super) fn pages(&self, index: usize, page_size: u64) -> Range<u64> {
        let range = &self.sections[index].range;
        if range.is_empty() {
            return 0..0;
        }
        let (mut first, mut end) = (range.start / page_size, range.end.div_ceil(page_size));
        // Only the pages at the ends can be another's.
        if self.owner(first, page_size) != index {
            first += 1;
        }
        if end > first && self.owner(end - 1, page_size) != index {
            end -= 1;
        }
        first..end.max(first)
    }

    fn name(&self, slot: usize) -> String {
        match self.sections.get(slot) {
            Some(section) => section.name.clone(),
            None if slot == self.sections.len() => REST.into(),
            None => SEVERAL.into(),
        }
    }
}

/// Adds up.
#[must_use]
pub fn account(snapshot: &Snapshot, layout: &Layout) -> Report {
    let mut unknown = Vec::new();
    let sharers = Sharers::of(snapshot);
    let method = match &snapshot.pages {
        Err(why) => {
            unknown.push(why.clone());
            Method::Smaps
        }
        Ok(()) if sharers.hidden => {
            unknown.push(Unknown {
                what: "page_frame_numbers",
                why: "not permitted: page frame numbers need CAP_SYS_ADMIN; a page counts as shared when anybody else maps it, \
                      measured or not"
                    .into(),
            });
            Method::PagemapBits
        }
        Ok(()) => Method::PageFrames,
    };
    let all = || snapshot.processes.iter().flat_map(|process| &process.mappings);
    let ksm = all().all(|mapping| mapping.counters.ksm.is_some());
    if !ksm {
        unknown.push(Unknown { what: "ksm", why: "not available: this kernel's smaps has no KSM field".into() });
    }
    let accountant = Accountant {
        page_size: snapshot.page_size,
        method,
        sharers,
        layout,
        several: snapshot.processes.len() > 1,
        ksm,
    };
    let empty = Vec::new();
    let places = layout.places.iter().chain(std::iter::repeat(&empty));
    let processes: Vec<_> =
        snapshot.processes.iter().zip(places).map(|(process, places)| accountant.process(process, places)).collect();
    Report {
        time: snapshot.time,
        page_size: snapshot.page_size,
        method,
        unknown,
        classes: layout.classes.clone(),
        files: layout.files.clone(),
        total: accountant.together(&processes),
        processes,
        missing: snapshot.missing.clone(),
    }
}

struct Accountant<'a> {
    page_size: u64,
    method: Method,
    sharers: Sharers,
    layout: &'a Layout,
    several: bool,
    ksm: bool,
}

impl Accountant<'_> {
    fn zero(&self) -> Usage {
        Usage::zero(self.several, self.ksm)
    }

    fn process(&self, process: &Process, places: &[Place]) -> ProcessReport {
        let mut classes = vec![self.zero(); self.layout.classes.len()];
        let mut sections: BTreeMap<(usize, usize), Usage> = BTreeMap::new();
        let (mut present, mut shared, mut inherited) = (0, 0, 0);
        let no_pages = Vec::new();
        for (number, (mapping, place)) in process.mappings.iter().zip(places).enumerate() {
            let walked =
                (self.method != Method::Smaps).then(|| process.pages.get(number).unwrap_or(&no_pages).as_slice());
            match *place {
                Place::Class(class) => {
                    let tally = walked.map(|pages| {
                        let mut tally = Tally::default();
                        for (index, page) in pages {
                            self.tally(&mut tally, mapping, *index, page);
                        }
                        tally
                    });
                    classes[class].add(&self.usage(mapping.is_file(), &mapping.counters, tally.as_ref()));
                }
                Place::File(number) => {
                    let file = &self.layout.files[number];
                    for (slot, usage, tally) in self.divide(mapping, file, walked) {
                        classes[file.class].add(&usage);
                        sections.entry((number, slot)).or_insert_with(|| self.zero()).add(&usage);
                        if file.sections.get(slot).is_some_and(|section| section.payload) {
                            present += (tally.present + tally.swapped) * self.page_size;
                            shared += tally.shared * self.page_size;
                            inherited += tally.copied_shared * self.page_size;
                        }
                    }
                }
            }
        }
        let mut total = self.zero();
        classes.iter().for_each(|usage| total.add(usage));
        let known = self.several && self.method != Method::Smaps;
        ProcessReport {
            identity: process.identity.clone(),
            total,
            classes: self.named(&classes),
            sections: self.listed(&sections),
            payload: Payload::new(present, known.then_some(shared), known.then_some(inherited)),
        }
    }

    fn tally(&self, tally: &mut Tally, mapping: &Mapping, index: u64, page: &Page) {
        let sharers = self.sharers.count(mapping, index, page, self.page_size);
        tally.add(page, sharers, self.sharers.hidden);
    }

    /// Divides a mapping over the sections it spans.
    fn divide(
        &self,
        mapping: &Mapping,
        file: &SectionedFile,
        walked: Option<&[(u64, Page)]>,
    ) -> Vec<(usize, Usage, Tally)> {
        let count = file.sections.len();
        let first = mapping.offset / self.page_size;
        let pages = (mapping.end - mapping.start) / self.page_size;
        let owned: Vec<_> = (0..count).map(|index| file.pages(index, self.page_size)).collect();
        let within = |range: &Range<u64>| range.end.min(first + pages).saturating_sub(range.start.max(first));
        let mut sizes: Vec<u64> = owned.iter().map(within).collect();
        sizes.push(pages.saturating_sub(sizes.iter().sum()));
        let Some(walked) = walked else {
            let mut spanned = (0..count).filter(|slot| sizes[*slot] > 0);
            let slot = match (spanned.next(), spanned.next()) {
                (Some(slot), None) => slot,
                (None, _) => count,
                _ => count + 1,
            };
            return vec![(slot, self.usage(true, &mapping.counters, None), Tally::default())];
        };
        let mut tallies = vec![Tally::default(); count + 1];
        for (index, page) in walked {
            let at = first + index;
            let slot = owned.iter().position(|range| range.contains(&at)).unwrap_or(count);
            self.tally(&mut tallies[slot], mapping, *index, page);
        }
        let by = |field: fn(&Tally) -> f64| tallies.iter().map(field).collect::<Vec<_>>();
        let whole = &mapping.counters;
        let exclusive: u64 = tallies.iter().map(|tally| tally.exclusive).sum();
        // What is not exclusive shares what the exclusive pages leave of PSS.
        let rest = whole.pss.saturating_sub(exclusive * self.page_size);
        let alone = apportion(whole.pss - rest, &by(|t| t.exclusive as f64));
        let others = apportion(rest, &by(|t| t.weight));
        let resident = apportion(whole.resident, &by(|t| t.present as f64));
        let uss = apportion(whole.uss, &by(|t| t.exclusive as f64));
        let anonymous = apportion(whole.anonymous, &by(|t| t.copied as f64));
        let swap = apportion(whole.swap, &by(|t| t.swapped as f64));
        let ksm = whole.ksm.map(|ksm| apportion(ksm, &by(|t| t.copied as f64)));
        let parts = (0..=count).filter(|slot| sizes[*slot] > 0).map(|slot| {
            let counters = Counters {
                mapped: sizes[slot] * self.page_size,
                resident: resident[slot],
                pss: alone[slot] + others[slot],
                uss: uss[slot],
                shared: resident[slot].saturating_sub(uss[slot]),
                anonymous: anonymous[slot],
                swap: swap[slot],
                ksm: ksm.as_ref().map(|ksm| ksm[slot]),
            };
            (slot, self.usage(true, &counters, Some(&tallies[slot])), tallies[slot])
        });
        parts.collect()
    }

    fn usage(&self, file: bool, counters: &Counters, tally: Option<&Tally>) -> Usage {
        let (resident, copied) = (counters.resident, file.then_some(counters.anonymous.min(counters.resident)));
        let shared = match tally {
            Some(tally) if file => tally.shared * self.page_size,
            // The page of zeros that stands for what was only read is in the page table and no memory of the process:
            // the kernel does not count it as resident.
            Some(tally) => {
                let zeros = (tally.present * self.page_size).saturating_sub(resident);
                (tally.copied_shared * self.page_size + tally.shared * self.page_size).saturating_sub(zeros)
            }
            // smaps counts copies among its private pages, or among the shared ones after a fork: of the file is the rest.
            None if file => counters.shared.saturating_sub(counters.anonymous.saturating_sub(counters.uss)),
            None => counters.shared,
        };
        // The counters and the pages were not read in one moment.
        let shared = self.several.then_some(shared.min(resident - copied.unwrap_or(0)));
        Usage {
            mapped: counters.mapped,
            resident,
            pss: counters.pss,
            uss: counters.uss,
            shared,
            private: resident - copied.unwrap_or(0) - shared.unwrap_or(0),
            copied,
            inherited: tally
                .zip(copied)
                .filter(|_| self.several)
                .map(|(tally, copied)| (tally.copied_shared * self.page_size).min(copied)),
            swapped: counters.swap,
            ksm: counters.ksm.filter(|_| self.ksm),
        }
    }

    fn named(&self, usages: &[Usage]) -> Vec<ClassUsage> {
        let classes = self.layout.classes.iter().zip(usages);
        classes.map(|(class, usage)| ClassUsage { class: class.key, usage: *usage }).collect()
    }

    fn listed(&self, sections: &BTreeMap<(usize, usize), Usage>) -> Vec<SectionUsage> {
        let row = |(&(file, slot), usage): (&(usize, usize), &Usage)| SectionUsage {
            file,
            section: self.layout.files[file].name(slot),
            usage: *usage,
        };
        sections.iter().map(row).collect()
    }

    fn together(&self, processes: &[ProcessReport]) -> Together {
        let mut usage = self.zero();
        let mut classes = vec![self.zero(); self.layout.classes.len()];
        let mut sections: Vec<SectionUsage> = Vec::new();
        let mut places: HashMap<(usize, String), usize> = HashMap::default();
        for process in processes {
            usage.add(&process.total);
            for (sum, class) in classes.iter_mut().zip(&process.classes) {
                sum.add(&class.usage);
            }
            for row in &process.sections {
                let place = *places.entry((row.file, row.section.clone())).or_insert(sections.len());
                match sections.get_mut(place) {
                    Some(sum) => sum.usage.add(&row.usage),
                    None => sections.push(row.clone()),
                }
            }
        }
        sections.sort_by_key(|row| row.file);
        let present = processes.iter().map(|process| process.payload.present).sum();
        let shared = processes.iter().map(|process| process.payload.shared).sum();
        let inherited = processes.iter().map(|process| process.payload.inherited).sum();
        Together {
            usage,
            in_memory: (self.method == Method::PageFrames).then(|| self.sharers.frames.len() as u64 * self.page_size),
            classes: self.named(&classes),
            sections,
            payload: Payload::new(present, shared, inherited),
        }
    }
}

/// Divides `total` in proportion to `weights`, so that the parts add up to it. Without any weight the first takes all.
fn apportion(total: u64, weights: &[f64]) -> Vec<u64> {
    let sum: f64 = weights.iter().sum();
    let mut parts = vec![0; weights.len()];
    if sum <= 0.0 {
        if let Some(first) = parts.first_mut() {
            *first = total;
        }
        return parts;
    }
    let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
    let (mut reached, mut given) = (0.0, 0);
    for (index, weight) in weights.iter().enumerate().take(last + 1) {
        reached += weight;
        let up_to =
            if index == last { total } else { ((total as f64 * reached / sum).round() as u64).clamp(given, total) };
        parts[index] = up_to - given;
        given = up_to;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::pagemap;
    use crate::measure::report::ProcessId;
    use crate::measure::smaps::Smaps;

    const PAGE: u64 = 4096;

    /// Recorded on Linux 6.18 as root in three processes that one process forked and that then mapped the same file privately: the
    /// first read all of it, the second all of it, and wrote to two pages at its end, the third the first half. Some of their
    /// mappings only.
    const RECORDED: [(&str, &[u8]); 3] = [
        (include_str!("../testdata/live/first.smaps.txt"), include_bytes!("../testdata/live/first.pagemap.bin")),
        (include_str!("../testdata/live/second.smaps.txt"), include_bytes!("../testdata/live/second.pagemap.bin")),
        (include_str!("../testdata/live/third.smaps.txt"), include_bytes!("../testdata/live/third.pagemap.bin")),
    ];

    /// The bits of an entry that hold the page frame number.
    const FRAME: u64 = (1 << 55) - 1;

    const FILE: usize = 0;
    const HEAP: usize = 1;
    const REST_OF_ALL: usize = 2;

    fn identity(pid: u32) -> Identity {
        Identity { id: ProcessId { pid, start_time: 7 }, parent: 1, command: vec!["x".into()] }
    }

    /// The snapshot of the recorded processes, with each text and entry changed.
    fn recorded(text: impl Fn(&str) -> String, entry: impl Fn(u64) -> u64) -> Snapshot {
        let process = |(pid, (smaps, entries)): (usize, &(&str, &[u8]))| {
            let mappings = Smaps::parse(text(smaps).as_bytes()).unwrap().into_mappings();
            let changed: Vec<u8> =
                entries.as_chunks().0.iter().flat_map(|e| entry(u64::from_le_bytes(*e)).to_ne_bytes()).collect();
            let mut all = pagemap::entries(&changed);
            let pages = mappings
                .iter()
                .map(|mapping| {
                    let pages = all.by_ref().take(((mapping.end - mapping.start) / PAGE) as usize).enumerate();
                    pages.filter(|(_, page)| *page != Page::Absent).map(|(at, page)| (at as u64, page)).collect()
                })
                .collect();
            Process { identity: identity(pid as u32 + 1), mappings, pages }
        };
        Snapshot {
            time: 0.0,
            page_size: PAGE,
            pages: Ok(()),
            processes: RECORDED.iter().enumerate().map(process).collect(),
            missing: Vec::new(),
        }
    }

    fn as_recorded() -> Snapshot {
        recorded(str::to_owned, |entry| entry)
    }

    fn section(name: &str, start: u64, len: u64, payload: bool) -> Section {
        Section { name: name.into(), range: start..start + len, payload }
    }

    fn layout(snapshot: &Snapshot) -> Layout {
        let class = |key| Class { key, title: key, holds: key };
        let sections = vec![
            section(".names", 0x1ec0, 4590, false),
            section(".control", 0x4000, 410_733, false),
            section(".holes", 0x6846d, 35_480, false),
            section(".str1", 0x71000, 109_500, true),
            section(".bytes", 0x8c000, 355_100, true),
        ];
        let place = |mapping: &Mapping| match &mapping.name[..] {
            name if name.ends_with(b".pye") => Place::File(0),
            b"[heap]" => Place::Class(HEAP),
            _ => Place::Class(REST_OF_ALL),
        };
        Layout {
            classes: vec![class("file"), class("heap"), class("rest")],
            files: vec![SectionedFile { path: "web.pye".into(), class: FILE, sections }],
            places: snapshot.processes.iter().map(|process| process.mappings.iter().map(place).collect()).collect(),
        }
    }

    fn accounted(snapshot: &Snapshot) -> Report {
        account(snapshot, &layout(snapshot))
    }

    /// What must hold of every report, however it was made.
    fn check_sums(snapshot: &Snapshot, report: &Report) {
        let mut all = Usage::default();
        for (process, seen) in report.processes.iter().zip(&snapshot.processes) {
            let kernel = |field: fn(&Counters) -> u64| seen.mappings.iter().map(|m| field(&m.counters)).sum::<u64>();
            let total = &process.total;
            assert_eq!(total.mapped, kernel(|c| c.mapped));
            assert_eq!(total.resident, kernel(|c| c.resident));
            assert_eq!(total.pss, kernel(|c| c.pss));
            assert_eq!(total.uss, kernel(|c| c.uss));
            assert_eq!(total.swapped, kernel(|c| c.swap));
            let mut sections = Usage::zero(true, true);
            process.sections.iter().for_each(|row| sections.add(&row.usage));
            assert_eq!(sections, process.classes[FILE].usage);
            for usage in process.classes.iter().map(|c| &c.usage).chain(process.sections.iter().map(|s| &s.usage)) {
                let parts = usage.shared.unwrap_or(0) + usage.private + usage.copied.unwrap_or(0);
                assert_eq!(parts, usage.resident, "{usage:?}");
            }
            all.resident += total.resident;
            all.pss += total.pss;
        }
        assert_eq!((report.total.usage.resident, report.total.usage.pss), (all.resident, all.pss));
    }

    fn find<'a>(sections: &'a [SectionUsage], name: &str) -> &'a Usage {
        &sections.iter().find(|row| row.section == name).unwrap().usage
    }

    #[test]
    fn recorded_frames_tell_what_the_three_share() {
        let snapshot = as_recorded();
        let report = accounted(&snapshot);
        check_sums(&snapshot, &report);
        assert_eq!((report.method, &report.unknown[..]), (Method::PageFrames, &[][..]));
        // The first has all 87 pages of the bytes section; the second has written to one of them, and to one behind it.
        let [first, second, third] = [0, 1, 2].map(|at| &report.processes[at]);
        let bytes = find(&first.sections, ".bytes");
        assert_eq!(
            (bytes.mapped, bytes.resident, bytes.shared, bytes.copied),
            (87 * PAGE, 87 * PAGE, Some(86 * PAGE), Some(0))
        );
        let bytes = find(&second.sections, ".bytes");
        assert_eq!((bytes.shared, bytes.private, bytes.copied), (Some(86 * PAGE), 0, Some(PAGE)));
        assert_eq!(find(&second.sections, REST).copied, Some(PAGE));
        assert!(bytes.uss >= PAGE && bytes.pss > bytes.uss);
        // The payload lies in the second half, of which the third has read the start, if anything.
        assert!(find(&third.sections, ".control").shared > Some(90 * PAGE));
        let shared = find(&first.sections, ".str1").shared.unwrap() + 86 * PAGE;
        let present = find(&first.sections, ".str1").resident + 87 * PAGE;
        assert_eq!((first.payload.shared, first.payload.present), (Some(shared), present));
        assert_eq!(first.payload.share, Some(shared as f64 / present as f64));
        // What fork has passed on is shared, though it is no file's.
        assert!(first.classes[HEAP].usage.shared > Some(100 * PAGE));
        assert_eq!(first.classes[HEAP].usage.copied, None);
        // Each frame once: more than one process has, and less than all three.
        let in_memory = report.total.in_memory.unwrap();
        assert!(in_memory > first.total.resident && in_memory < report.total.usage.resident);
    }

    #[test]
    fn without_frames_the_bits_decide_and_it_is_said() {
        let snapshot = recorded(str::to_owned, |entry| entry & !FRAME);
        let report = accounted(&snapshot);
        check_sums(&snapshot, &report);
        assert_eq!(report.method, Method::PagemapBits);
        assert!(report.unknown[0].why.starts_with("not permitted"), "{:?}", report.unknown);
        assert_eq!(report.total.in_memory, None);
        assert_eq!(find(&report.processes[1].sections, ".bytes").copied, Some(PAGE));
        assert_eq!(serde_json::to_value(&report).unwrap()["total"]["in_memory"], serde_json::Value::Null);
    }

    #[test]
    fn one_hidden_frame_voids_all() {
        let mut snapshot = as_recorded();
        let page =
            snapshot.processes[2].pages.iter_mut().flatten().find(|(_, page)| matches!(page, Page::Present { .. }));
        page.unwrap().1 = Page::Present { frame: None, file: true, exclusive: false };
        assert_eq!(accounted(&snapshot).method, Method::PagemapBits);
    }

    #[test]
    fn without_pages_sections_are_known_only_where_a_mapping_has_one() {
        let mut snapshot = as_recorded();
        snapshot.pages = Err(Unknown { what: "pagemap", why: "not permitted: /proc/1/pagemap".into() });
        snapshot.processes.iter_mut().for_each(|process| process.pages.clear());
        let report = accounted(&snapshot);
        check_sums(&snapshot, &report);
        assert_eq!(report.method, Method::Smaps);
        let names =
            |report: &Report| report.processes[0].sections.iter().map(|row| row.section.clone()).collect::<Vec<_>>();
        assert_eq!(names(&report), [SEVERAL]);
        assert_eq!((report.processes[0].payload.shared, report.total.payload.share), (None, None));
        // The same mapping, were it of one section.
        let mut layout = layout(&snapshot);
        layout.files[0].sections = vec![section(".all", 0, 1 << 20, true)];
        assert_eq!(names(&account(&snapshot, &layout)), [".all"]);
    }

    #[test]
    fn swapped_and_merged_pages_are_told() {
        // All that was copied from the file in the second process has been swapped out, and of the heap 8 kB are merged.
        let text = |smaps: &str| {
            smaps
                .replace("KSM:                   0 kB", "KSM:                   8 kB")
                .replace("Swap:                  0 kB", "Swap:                 12 kB")
        };
        let snapshot = recorded(text, |entry| entry);
        let report = accounted(&snapshot);
        check_sums(&snapshot, &report);
        let heap = &report.processes[0].classes[HEAP].usage;
        assert_eq!((heap.ksm, heap.swapped), (Some(8192), 12 << 10));
        let without = recorded(|smaps| smaps.replace("KSM: ", "Ksm: "), |entry| entry);
        let report = accounted(&without);
        assert_eq!((report.total.usage.ksm, report.processes[0].total.ksm), (None, None));
        assert!(report.unknown.iter().any(|unknown| unknown.what == "ksm"));
    }

    #[test]
    fn a_copy_that_is_swapped_out_counts_as_payload_that_is_not_shared() {
        let mut snapshot = as_recorded();
        let report = accounted(&snapshot);
        for pages in &mut snapshot.processes[1].pages {
            for (_, page) in pages.iter_mut().filter(|(_, page)| matches!(page, Page::Present { file: false, .. })) {
                *page = Page::Swapped;
            }
        }
        assert_eq!(accounted(&snapshot).processes[1].payload, report.processes[1].payload);
    }

    #[test]
    fn one_process_shares_with_nobody() {
        let mut snapshot = as_recorded();
        snapshot.processes.truncate(1);
        let report = accounted(&snapshot);
        assert_eq!((report.total.usage.shared, report.processes[0].total.shared), (None, None));
        assert_eq!((report.total.payload.shared, report.total.payload.share), (None, None));
    }

    #[test]
    fn a_frame_at_another_place_of_the_file_is_not_the_same() {
        let mut snapshot = as_recorded();
        for process in &mut snapshot.processes[1..] {
            process.mappings.iter_mut().filter(|m| m.name.ends_with(b".pye")).for_each(|m| m.offset += 1 << 30);
        }
        assert_eq!(accounted(&snapshot).processes[0].payload.shared, Some(0));
    }

    #[test]
    fn a_page_of_two_sections_is_the_ones_that_have_most_of_it() {
        let file = SectionedFile {
            path: "x".into(),
            class: 0,
            sections: vec![
                section("a", 100, 3000, true),
                section("b", 3100, 3000, true),
                section("c", 6100, 5000, true),
                section("none", 0, 0, true),
            ],
        };
        assert_eq!([0, 1, 2, 3].map(|page| file.owner(page, PAGE)), [0, 2, 2, 4]);
        assert_eq!([0, 1, 2, 3].map(|index| file.pages(index, PAGE)), [0..1, 1..1, 1..3, 0..0]);
    }

    #[test]
    fn parts_add_up() {
        assert_eq!(apportion(10, &[1.0, 1.0, 1.0]), [3, 4, 3]);
        assert_eq!(apportion(10, &[0.0, 2.0, 0.0]), [0, 10, 0]);
        assert_eq!(apportion(10, &[0.0, 0.0]), [10, 0]);
        assert_eq!(apportion(0, &[]), [0; 0]);
    }
}
