//! Writes a package anew with an image: everything it had, byte for byte, and the image's sections behind it.

use std::fs::File;
use std::hash::Hasher;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::graph::{Graph, Ref};
use super::layout::Layout;
use super::relocations::Rows;
use super::{AREAS, Area, BITS_ROW, Counts, GC_HEAD, Head, PAGE};
use crate::bytes::Sink as _;
use crate::elf;
use crate::error::{Error, Result};
use crate::pye::read::Pye;
use crate::pye::write::{sections, symbol};
use crate::pye::{Header, MINOR_IMAGE, PARTS, Part};

/// What an image is made of.
#[derive(Debug)]
pub struct Input<'a> {
    /// The package.
    pub pye: &'a Pye<'a>,
    /// The objects.
    pub graph: &'a Graph,
    /// Where they go.
    pub layout: &'a Layout,
    /// The package's root.
    pub root: &'a str,
    /// The head; what follows from the rest is filled in.
    pub head: Head,
    /// Offset of `co_version` in a code object.
    pub version_at: usize,
}

/// Writes it to the empty `file`. Returns the file's size.
///
/// # Errors
/// Writing fails, or there is more than can be numbered.
pub fn write(input: Input<'_>, file: &File) -> Result<u64> {
    let Input { pye, graph, layout, root, mut head, version_at } = input;
    let mut sizes: [u64; PARTS] = std::array::from_fn(|part| pye.part(part).len() as u64);
    let pages = layout.sizes.iter().sum::<u64>() / PAGE as u64;
    let pages = u32::try_from(pages).map_err(|_| Error::limit("pages of an image", u32::MAX.into(), pages))?;

    let mut tables = Tables::new(graph, layout);
    let counts: Counts = [
        graph.modules.len() as u32,
        (tables.patches.len() / 16) as u32,
        graph.made.len() as u32,
        pages,
        root.len() as u32,
        (tables.runs.len() / 8) as u32,
    ];
    let made_len: usize = graph.made.iter().map(Vec::len).sum();
    let tables_len = tables.modules.len() + tables.patches.len() + 8 * graph.made.len() + 4 * pages as usize;
    sizes[Part::Header as usize] = Header::len(true) as u64;
    sizes[Part::Image as usize] = (super::HEAD_LEN + tables_len + root.len() + made_len) as u64;
    sizes[Part::ImagePages as usize] = tables.runs.len() as u64;
    sizes[Part::ImageRelocations as usize] = u64::from(pages) * BITS_ROW as u64;
    for area in Area::ALL {
        sizes[area.part()] = layout.sizes[area as usize];
    }
    let modules = pye.modules().collect::<Result<Vec<_>>>()?;
    let symbols: Vec<_> =
        modules.iter().filter_map(|m| symbol(m.name, m.path, m.record.control, m.record.control_len)).collect();
    let plan = |id| elf::write::plan(id, &sections(true, &sizes), &symbols);
    let offsets = plan([0; elf::write::BUILD_ID_LEN])?.offsets;

    head.hot = layout.hot;
    head.names = layout.names;
    head.places = super::places(|part| (offsets[part], sizes[part]));
    let areas = fill(graph, layout, &head, &offsets, version_at);
    let start = Area::ALL.into_iter().find(|a| !areas[*a as usize].is_empty()).map_or(0, |a| offsets[a.part()]);
    let bits = relocations(graph, layout, &offsets, start, pages);
    tables.place(layout, &offsets);

    let mut contents = Vec::with_capacity(sizes[Part::Image as usize] as usize);
    head.put(&counts, &mut contents);
    for table in [&tables.modules, &tables.patches] {
        contents.extend_from_slice(table);
    }
    let mut at = 0;
    for made in &graph.made {
        contents.put_u32(at);
        contents.put_u32(made.len() as u32);
        at += made.len() as u32;
    }
    for page in areas.iter().flat_map(|area| area.chunks(PAGE)) {
        contents.put_u32(crc32fast::hash(page));
    }
    contents.extend_from_slice(root.as_bytes());
    graph.made.iter().for_each(|made| contents.extend_from_slice(made));
    debug_assert_eq!(contents.len() as u64, sizes[Part::Image as usize]);

    let mut header = Header { version: (pye.header().version.0, MINOR_IMAGE), ..pye.header().clone() };
    let part = |part: usize| -> &[u8] {
        match part {
            p if p == Part::Image as usize => &contents,
            p if p == Part::ImageRelocations as usize => &bits,
            p if p == Part::ImagePages as usize => &tables.runs,
            p if p >= Part::ImageCode as usize => &areas[p - Part::ImageCode as usize],
            p => pye.part(p),
        }
    };
    for (i, row) in header.sections.iter_mut().enumerate().skip(Part::Image as usize - 1) {
        *row = (sizes[i + 1], crc32fast::hash(part(i + 1)));
    }
    let mut id = SipHasher13::new();
    for small in [Part::Modules, Part::Index, Part::Names, Part::Directories, Part::Holes, Part::Image] {
        id.write(part(small as usize));
    }
    let skeleton = plan(id.finish128().as_bytes())?;
    let mut header_bytes = Vec::new();
    header.put(&mut header_bytes);

    let put = |at: u64, bytes: &[u8]| file.write_all_at(bytes, at).map_err(|e| Error::io("cannot write", e));
    file.set_len(skeleton.len).map_err(|e| Error::io("cannot write", e))?;
    put(skeleton.offsets[0], &header_bytes)?;
    (1..PARTS).filter(|i| sizes[*i] != 0).try_for_each(|i| put(skeleton.offsets[i], part(i)))?;
    skeleton.parts.iter().try_for_each(|(at, bytes)| put(*at, bytes))?;
    Ok(skeleton.len)
}

/// The object sections with all addresses in them.
fn fill(graph: &Graph, layout: &Layout, head: &Head, offsets: &[u64], version_at: usize) -> [Vec<u8>; AREAS] {
    let mut areas = layout.sizes.map(|size| vec![0; size as usize]);
    let mut version = head.versions.0;
    for object in 0..graph.len() as u32 {
        let spot = layout.spots[object as usize];
        let bytes = graph.bytes(object);
        let there = &mut areas[spot.area as usize][spot.at as usize..][..bytes.len()];
        there.copy_from_slice(bytes);
        for (at, to) in graph.refs(object) {
            let address = match to {
                Ref::Object(child) => {
                    let spot = layout.spots[*child as usize];
                    head.base + offsets[spot.area.part()] + spot.at
                }
                Ref::Interpreter(address) => head.interpreter.wrapping_add(*address),
                Ref::Payload(part, at) => head.base + offsets[usize::from(*part)] + at,
                Ref::Made(_) => 0,
            };
            there[*at as usize..][..8].copy_from_slice(&address.to_le_bytes());
        }
        if graph.kind(object).is_code() {
            there[version_at..][..4].copy_from_slice(&version.to_le_bytes());
            version += 1;
        }
    }
    areas
}

/// The rows of all pages, from the file's offset `start` on.
fn relocations(graph: &Graph, layout: &Layout, offsets: &[u64], start: u64, pages: u32) -> Vec<u8> {
    let mut rows = Rows::default();
    for object in 0..graph.len() as u32 {
        let spot = layout.spots[object as usize];
        let first = offsets[spot.area.part()] + spot.at - start;
        for (at, to) in graph.refs(object) {
            if matches!(to, Ref::Interpreter(_)) {
                rows.mark(first + u64::from(*at));
            }
        }
    }
    rows.seal(pages)
}

/// The tables of modules, runs and patches.
struct Tables {
    modules: Vec<u8>,
    runs: Vec<u8>,
    patches: Vec<u8>,
    /// Of each patch its object.
    holders: Vec<u32>,
    roots: Vec<u32>,
}

impl Tables {
    fn new(graph: &Graph, layout: &Layout) -> Tables {
        let mut first_pages = [0u64; AREAS];
        for i in 1..AREAS {
            first_pages[i] = first_pages[i - 1] + layout.sizes[i - 1] / PAGE as u64;
        }
        // In the order of their code: what the profile's modules need then stands together in the tables too.
        let mut order: Vec<&super::graph::Module> = graph.modules.iter().collect();
        order.sort_by_key(|module| layout.spots[module.root as usize].at);
        let reached: Vec<Reached> = order
            .par_chunks(64)
            .flat_map_iter(|modules| {
                let mut seen = vec![false; graph.len()];
                modules.iter().map(|m| reach(graph, layout, &first_pages, m.root, &mut seen)).collect::<Vec<_>>()
            })
            .collect();
        let mut tables = Tables {
            modules: Vec::new(),
            runs: Vec::new(),
            patches: Vec::new(),
            holders: Vec::new(),
            roots: Vec::new(),
        };
        for (module, reached) in order.into_iter().zip(reached) {
            let (runs, patches) = (tables.runs.len() / 8, tables.patches.len() / 16);
            for (first, count) in reached.runs {
                tables.runs.put_u32(first);
                tables.runs.put_u32(count);
            }
            for (holder, at, made) in reached.patches {
                tables.patches.put_u64(at.into());
                tables.patches.put_u32(made);
                tables.patches.put_u32(0);
                tables.holders.push(holder);
            }
            tables.roots.push(module.root);
            tables.modules.put_u32(module.record);
            tables.modules.put_u32(crc32fast::hash(&tables.runs[runs * 8..]));
            tables.modules.put_u64(0);
            for (first, end) in [(runs, tables.runs.len() / 8), (patches, tables.patches.len() / 16)] {
                tables.modules.put_u32(first as u32);
                tables.modules.put_u32((end - first) as u32);
            }
        }
        // Rows are found by record.
        let mut rows: Vec<(&[u8], u32)> = tables.modules.chunks(32).zip(tables.roots.iter().copied()).collect();
        rows.sort_by_key(|(row, _)| crate::bytes::u32_at(row, 0));
        let (modules, roots): (Vec<&[u8]>, Vec<u32>) = rows.into_iter().unzip();
        (tables.modules, tables.roots) = (modules.concat(), roots);
        tables
    }

    /// Makes offsets in the file of what is known by object until then.
    fn place(&mut self, layout: &Layout, offsets: &[u64]) {
        let offset = |object: u32| {
            let spot = layout.spots[object as usize];
            offsets[spot.area.part()] + spot.at
        };
        for (row, root) in self.modules.chunks_mut(32).zip(&self.roots) {
            row[8..16].copy_from_slice(&offset(*root).to_le_bytes());
        }
        for (row, holder) in self.patches.chunks_mut(16).zip(&self.holders) {
            let at = crate::bytes::u64_at(row, 0).unwrap_or(0);
            row[..8].copy_from_slice(&(offset(*holder) + at).to_le_bytes());
        }
    }
}

/// What a module leads to.
struct Reached {
    /// Runs of pages.
    runs: Vec<(u32, u32)>,
    /// Objects, offsets of slots in them, and what is to be made for those.
    patches: Vec<(u32, u32, u32)>,
}

fn reach(graph: &Graph, layout: &Layout, first_pages: &[u64; AREAS], root: u32, seen: &mut [bool]) -> Reached {
    let mut met = vec![root];
    seen[root as usize] = true;
    let (mut pages, mut patches) = (Vec::new(), Vec::new());
    let mut next = 0;
    while let Some(&object) = met.get(next) {
        next += 1;
        let spot = layout.spots[object as usize];
        // A tuple starts with what its collector would use.
        let start = spot.at - if graph.kind(object).is_tuple() { GC_HEAD as u64 } else { 0 };
        let end = spot.at + graph.bytes(object).len() as u64;
        let first = first_pages[spot.area as usize];
        pages.extend((start / PAGE as u64..end.div_ceil(PAGE as u64)).map(|page| (first + page) as u32));
        for (at, to) in graph.refs(object) {
            match to {
                Ref::Made(made) => patches.push((object, *at, *made)),
                Ref::Object(child) if !std::mem::replace(&mut seen[*child as usize], true) => met.push(*child),
                _ => (),
            }
        }
    }
    met.iter().for_each(|object| seen[*object as usize] = false);
    pages.sort_unstable();
    pages.dedup();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == page => *count += 1,
            _ => runs.push((page, 1)),
        }
    }
    Reached { runs, patches }
}

/// Hash of a graph: equal for objects that are laid out the same.
pub fn digest(graph: &Graph) -> [u8; 16] {
    let mut hasher = SipHasher13::new();
    for object in 0..graph.len() as u32 {
        let bytes = graph.bytes(object);
        hasher.write_u64(bytes.len() as u64);
        hasher.write(bytes);
        for (at, to) in graph.refs(object) {
            let (kind, value) = match to {
                Ref::Object(number) => (0, u64::from(*number)),
                Ref::Interpreter(address) => (1, *address),
                Ref::Payload(part, at) => (2 + u64::from(*part), *at),
                Ref::Made(number) => (1 << 32, u64::from(*number)),
            };
            hasher.write_u64(u64::from(*at));
            hasher.write_u64(kind);
            hasher.write_u64(value);
        }
    }
    graph.made.iter().for_each(|made| hasher.write(made));
    hasher.finish128().as_bytes()
}
