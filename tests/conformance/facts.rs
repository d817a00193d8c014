//! What a `.pye` holds, as text: the facts that `format-spec/reader.py list` prints too, then the objects of each module.

use std::fmt::Write as _;

use pye::bytes::hex;
use pye::holes::{Fill, Reader};
use pye::image::read::Image;
use pye::marshal::version::Version;
use pye::pye::read::{Module, Pye};
use pye::pye::{ModuleKind, NAMES, Part};
use pye::{dump, split};

/// Facts, an empty line, objects.
pub(crate) fn dump(pye: &Pye<'_>) -> String {
    let mut out = facts(pye);
    for module in pye.modules() {
        let module = module.unwrap();
        let record = &module.record;
        let Some(version) = Version::by_number(record.python.0, record.python.1) else { continue };
        if record.kind == ModuleKind::Namespace {
            continue;
        }
        writeln!(out, "\nobjects of {}", name(module.path)).unwrap();
        let mut pyc = Vec::new();
        pye.join_into(&module, &mut pyc).unwrap();
        let places = split::places(module.holes, &pye.stores()).unwrap();
        dump::dump(&pyc, version.header_len, version, &places, &mut out).unwrap();
    }
    out
}

/// The header, the sections, the index, the directories, the records and their holes.
fn facts(pye: &Pye<'_>) -> String {
    let mut out = String::new();
    let header = pye.header();
    let (major, minor) = header.version;
    writeln!(out, "format {major}.{minor} flags {:#x} min-blob {}", header.flags, header.min_blob).unwrap();
    writeln!(out, "modules {} pyc-bytes {}", header.modules, header.pyc_bytes).unwrap();
    for (name, (size, crc)) in NAMES[1..].iter().zip(header.rows()) {
        writeln!(out, "section {name} size {size} crc {crc:08x}").unwrap();
    }
    let index = pye.part(Part::Index as usize).as_chunks::<4>().0;
    let index: Vec<u32> = index.iter().map(|b| u32::from_le_bytes(*b)).collect();
    if let Some((buckets, table)) = index.split_first() {
        writeln!(out, "index of {buckets} buckets").unwrap();
        for (at, bucket) in table.iter().enumerate().filter(|(_, b)| **b != 0) {
            writeln!(out, "  bucket {at} record {}", bucket - 1).unwrap();
        }
    }
    for directory in pye.directories().unwrap().iter().map(Result::unwrap) {
        let mtime = directory.mtime_ns.map_or("unknown".into(), |ns| ns.to_string());
        writeln!(out, "directory {} mtime {mtime}", name(directory.path)).unwrap();
        for entry in directory.names() {
            writeln!(out, "  {}", name(entry.unwrap())).unwrap();
        }
    }
    if let Some(found) = Image::open(pye).unwrap() {
        image(&found, &mut out);
    }
    for (i, module) in pye.modules().enumerate() {
        record(i, &module.unwrap(), &mut out);
    }
    out
}

/// Head and modules of an image.
fn image(image: &Image<'_>, out: &mut String) {
    let head = &image.head;
    let (base, interpreter, hexversion) = (head.base, head.interpreter, head.hexversion);
    writeln!(out, "image base {base:#x} interpreter {interpreter:#x} hexversion {hexversion:#x}").unwrap();
    writeln!(out, "  build-id {} sample {}", hex(&head.build_id), hex(&head.sample)).unwrap();
    writeln!(out, "  root {}", image.root).unwrap();
    writeln!(out, "  relocation {}", head.relocate.name()).unwrap();
    writeln!(out, "  versions {}+{}", head.versions.0, head.versions.1).unwrap();
    let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    writeln!(out, "  hot {} names {}", list(&head.hot), list(&head.names)).unwrap();
    let bits = (0..image.pages()).flat_map(|page| image.bits(page).unwrap());
    let marked: u32 = bits.map(|byte| byte.count_ones()).sum();
    writeln!(out, "  pages {} relocations {marked}", image.pages()).unwrap();
    for made in 0..image.rows().2 {
        writeln!(out, "  made {made} {}", hex(image.made(made).unwrap())).unwrap();
    }
    for entry in (0..image.len() as u32).map(|number| image.entry(number)) {
        writeln!(out, "  module record {} code {}", entry.record, entry.root).unwrap();
        let runs = image.runs(&entry).unwrap().map(|(first, count)| format!(" {first}+{count}"));
        writeln!(out, "    pages{}", runs.collect::<String>()).unwrap();
        for row in entry.patches.0..entry.patches.0 + entry.patches.1 {
            let (slot, made) = image.patch(row);
            writeln!(out, "    slot {slot} made {made}").unwrap();
        }
    }
}

fn record(i: usize, module: &Module<'_>, out: &mut String) {
    let r = &module.record;
    let kind = format!("{:?}", r.kind).to_lowercase();
    let python = format!("{}.{}", r.python.0, r.python.1);
    writeln!(out, "module {i} {kind} {} python {python} level {}", name(module.name), r.optimization).unwrap();
    writeln!(out, "  path {}", name(module.path)).unwrap();
    let (magic, word) = (hex(&r.magic), hex(&r.word));
    writeln!(out, "  pyc {} crc {:08x} magic {magic} flags {} word {word}", r.pyc_len, r.pyc_crc, r.flags).unwrap();
    let (control, holes) = ((r.control, r.control_len), (r.holes, r.holes_len));
    writeln!(out, "  control {}+{} holes {}+{} count {}", control.0, control.1, holes.0, holes.1, r.hole_count)
        .unwrap();
    let mut reader = Reader::new(module.holes);
    while let Some((gap, fill)) = reader.hole().unwrap() {
        match fill {
            Fill::Blob(blob) => {
                let (kind, section) = (format!("{:?}", blob.kind).to_lowercase(), blob.kind.store().section());
                writeln!(out, "  gap {gap} {kind} of {} at {} of {section}", blob.len, blob.offset).unwrap();
            }
            Fill::References1(numbers) => writeln!(out, "  gap {gap} references1 {numbers:?}").unwrap(),
            Fill::References2(numbers) => {
                let numbers: Vec<u16> = numbers.iter().map(|n| u16::from_le_bytes(*n)).collect();
                writeln!(out, "  gap {gap} references2 {numbers:?}").unwrap();
            }
        }
    }
}

fn name(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".into() } else { String::from_utf8(bytes.to_vec()).unwrap() }
}
