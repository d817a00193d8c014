//! The pages of a section, drawn as a strip of cells: what each holds, in one process and in all together.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::account::{Layout, Place, Sharers};
use super::{Process, Snapshot};
use crate::measure::pagemap::Page;

/// How the pages divide that one cell stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Of the file, and in another measured process, too (without page frame numbers: in anybody's).
    pub shared: u64,
    /// Of the file, and only here.
    pub private: u64,
    /// Copied by a write, in memory or swapped out.
    pub copied: u64,
    /// Not in the page table.
    pub absent: u64,
}

/// The map of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageMap {
    /// The file, as an index into [`Layout::files`].
    pub file: usize,
    /// The section, as an index into the file's.
    pub section: usize,
    /// Pages of the section.
    pub pages: u64,
    /// All processes together: a page is copied if it is so in any of them, else shared, else private.
    pub together: Vec<Cell>,
    /// Each process that has mapped the section, in the order of the snapshot: its number, and its cells.
    pub each: Vec<(u32, Vec<Cell>)>,
}

/// By page of the file; the absent are not there.
type States = HashMap<u64, State, FixedState>;

/// What a page is; of several the greatest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Private,
    Shared,
    Copied,
}

/// How many cells a map has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    /// [`PageMap::together`].
    pub together: usize,
    /// Each of [`PageMap::each`].
    pub each: usize,
}

/// Maps of all sections that `wanted` accepts (file and section by index). Empty when the pages are not known.
#[must_use]
pub fn page_maps(snapshot: &Snapshot, layout: &Layout, wanted: impl Fn(usize, usize) -> Option<Cells>) -> Vec<PageMap> {
    if snapshot.pages.is_err() {
        return Vec::new();
    }
    let sharers = Sharers::of(snapshot);
    let mut maps = Vec::new();
    for (number, file) in layout.files.iter().enumerate() {
        // `states[process]`: by page of the file.
        let states: Vec<_> = snapshot
            .processes
            .iter()
            .zip(&layout.places)
            .filter(|(_, places)| places.contains(&Place::File(number)))
            .map(|(process, places)| {
                (process.identity.id.pid, states(process, places, number, &sharers, snapshot.page_size))
            })
            .collect();
        for section in 0..file.sections.len() {
            let Some(cells) = wanted(number, section) else { continue };
            let range = file.pages(section, snapshot.page_size);
            let pages = range.end - range.start;
            if pages == 0 {
                continue;
            }
            let strip = |states: &States, cells: usize| {
                let count = (cells.max(1) as u64).min(pages);
                let mut strip = vec![Cell::default(); count as usize];
                for (index, cell) in strip.iter_mut().enumerate() {
                    // Cell i stands for the pages p with p * count / pages = i.
                    let (i, n) = (index as u64, u128::from(pages));
                    let first = |i: u64| (u128::from(i) * n).div_ceil(u128::from(count)) as u64;
                    cell.absent = first(i + 1) - first(i);
                }
                for (page, state) in states.iter().filter(|(page, _)| range.contains(*page)) {
                    let at = u128::from(page - range.start) * u128::from(count) / u128::from(pages);
                    let cell = &mut strip[at as usize];
                    cell.absent -= 1;
                    *match state {
                        State::Private => &mut cell.private,
                        State::Shared => &mut cell.shared,
                        State::Copied => &mut cell.copied,
                    } += 1;
                }
                strip
            };
            let mut all: States = States::default();
            for (page, state) in states.iter().flat_map(|(_, states)| states) {
                let known = all.entry(*page).or_insert(*state);
                *known = (*known).max(*state);
            }
            maps.push(PageMap {
                file: number,
                section,
                pages,
                together: strip(&all, cells.together),
                each: states.iter().map(|(pid, states)| (*pid, strip(states, cells.each))).collect(),
            });
        }
    }
    maps
}

fn states(process: &Process, places: &[Place], file: usize, sharers: &Sharers, page_size: u64) -> States {
    let mut states: States = States::default();
    for ((mapping, pages), place) in process.mappings.iter().zip(&process.pages).zip(places) {
        if *place != Place::File(file) {
            continue;
        }
        for (index, page) in pages {
            let state = match page {
                Page::Absent => continue,
                Page::Swapped | Page::Present { file: false, .. } => State::Copied,
                page if sharers.count(mapping, *index, page, page_size) > 1 => State::Shared,
                _ => State::Private,
            };
            let known = states.entry(mapping.offset / page_size + index).or_insert(state);
            *known = (*known).max(state);
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::measure::live::{Class, Identity, Section, SectionedFile};
    use crate::measure::report::ProcessId;
    use crate::measure::smaps::{Counters, Mapping};

    const PAGE: u64 = 4096;

    fn process(pid: u32, pages: Vec<(u64, Page)>) -> Process {
        let mapping = Mapping {
            start: 1 << 30,
            end: (1 << 30) + 12 * PAGE,
            executable: false,
            offset: 0,
            inode: ((1, 1), 1),
            name: b"/x".to_vec(),
            counters: Counters::default(),
        };
        let identity = Identity { id: ProcessId { pid, start_time: 1 }, parent: 1, command: Vec::new() };
        Process { identity, mappings: vec![mapping], pages: vec![pages] }
    }

    fn page(frame: u64, file: bool) -> Page {
        Page::Present { frame: NonZeroU64::new(frame), file, exclusive: false }
    }

    #[test]
    fn each_page_counts_in_one_cell_and_copies_are_never_hidden() {
        let snapshot = Snapshot {
            time: 0.0,
            page_size: PAGE,
            pages: Ok(()),
            processes: vec![
                process(1, vec![(2, page(12, true)), (3, page(13, true)), (4, page(14, true)), (5, page(99, false))]),
                process(2, vec![(2, page(12, true)), (4, page(77, true)), (5, page(15, true)), (6, Page::Swapped)]),
            ],
            missing: Vec::new(),
        };
        let layout = Layout {
            classes: vec![Class { key: "x", title: "x", holds: "x" }],
            files: vec![SectionedFile {
                path: "/x".into(),
                class: 0,
                sections: vec![Section { name: "s".into(), range: 2 * PAGE..12 * PAGE, payload: true }],
            }],
            places: vec![vec![Place::File(0)]; 2],
        };
        // Ten pages in four cells: of 3, 2, 3 and 2 pages.
        let maps = page_maps(&snapshot, &layout, |_, _| Some(Cells { together: 4, each: 10 }));
        let cell = |shared, private, copied, absent| Cell { shared, private, copied, absent };
        assert_eq!((maps.len(), maps[0].pages), (1, 10));
        assert_eq!(maps[0].together, [cell(1, 2, 0, 0), cell(0, 0, 2, 0), cell(0, 0, 0, 3), cell(0, 0, 0, 2)]);
        let (pid, cells) = &maps[0].each[1];
        assert_eq!((*pid, cells.len()), (2, 10));
        assert_eq!(
            cells[..5],
            [cell(1, 0, 0, 0), cell(0, 0, 0, 1), cell(0, 1, 0, 0), cell(0, 1, 0, 0), cell(0, 0, 1, 0)]
        );
        assert!(page_maps(&snapshot, &layout, |_, _| None).is_empty());
    }
}
