//! Images as files: what is written is what the graph and the layout say, and whatever a file claims is checked. No interpreter is needed; those that use images
//! are tested elsewhere.

mod common;

#[path = "image_format/hostile.rs"]
mod hostile;

use std::collections::{BTreeSet, HashMap, HashSet};

use common::image::{BASE, Build, INTERPRETER, NONE, area_at, records, with_image};
use common::tool::{self, text};
use proptest::prelude::*;
use pye::bytes::u64_at;
use pye::image::graph::{Kind, Ref};
use pye::image::layout::{Layout, Use};
use pye::image::read::Image;
use pye::image::{ALIGN, Area, GC_HEAD, PAGE};
use pye::pye::read::Pye;
use pye::pye::{MAJOR, MINOR_IMAGE, Part};

/// A package of three modules of CPython 3.`minor` with text of each width.
fn package(minor: u8) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    let widths = ['.', 'é', '€', '𝄞'].map(|c| text("package", c));
    for name in ["a", "b", "c"] {
        tool::put(tree.join(format!("{name}.pyc")), tool::pyc((3, minor), &widths));
    }
    let output = place.path().join("p.pye");
    tool::good(&[&"link", &tree, &"--output", &output]);
    std::fs::read(output).unwrap()
}

/// Modules that ran, and functions, by name.
#[derive(Default)]
struct Ran(HashMap<String, u32>);

impl Use for Ran {
    fn module(&self, source: &str) -> Option<u32> {
        self.0.get(source).copied()
    }

    fn function(&self, _: &str, name: &str, _: u32) -> Option<u32> {
        self.0.get(name).copied()
    }
}

/// What goes into a module: what kind of constant, and which.
type Plan = Vec<(u8, u16)>;

/// A graph of modules with random constants, some of them shared.
fn graph(minor: u8, debug: bool, package: &[u8], plans: &[Plan]) -> Build {
    let mut build = Build { debug, ..Build::new(minor) };
    let mut shared: Vec<Ref> = vec![NONE];
    let texts = common::image::blobs(package);
    for ((record, source), plan) in records(package, minor).into_iter().zip(plans) {
        // What a function or a tuple may have; and besides, what only code that runs once may.
        let (mut plain, mut all) = (Vec::new(), Vec::new());
        for (what, n) in plan {
            let which = usize::from(*n);
            let last = |from: &[Ref]| from[from.len().saturating_sub(which % 7)..].to_vec();
            let one = match what % 10 {
                0 => build.str(&format!("name{}", n % 100), Kind::Name),
                1 => build.str(&format!("schlüssel{}", n % 50), Kind::Key),
                2 => build.bytes(&vec![*n as u8; which % 6000]),
                3 => {
                    let items = last(&plain);
                    build.tuple(Kind::Tuple, &items)
                }
                4 => build.made(&n.to_le_bytes()),
                5 => {
                    let name = format!("f{n}");
                    let code = build.code(false, &name, &source, &last(&plain), which % 3000);
                    build.function(code, &name, n.to_le_bytes()[0].into());
                    Ref::Object(code)
                }
                6 => {
                    // A template stands in one place.
                    let items = all.split_off(all.len().saturating_sub(which % 7));
                    all.push(Ref::Object(build.code(true, "Class", &source, &items, which % 50)));
                    continue;
                }
                7 => build.number(u64::from(*n), 1 + which % 1200),
                8 => {
                    let (part, at, len, ascii) = texts[which % texts.len()];
                    build.mapped(part, at, len, ascii)
                }
                _ => shared[which % shared.len()],
            };
            // Code is its module's own.
            if !matches!(what % 10, 3 | 5) {
                shared.push(one);
            }
            plain.push(one);
            all.push(one);
        }
        let root = build.code(true, "<module>", &source, &all, plan.len());
        build.module(record, &source, root);
    }
    build
}

/// Everything that `from` leads to.
fn reached(build: &Build, from: u32) -> BTreeSet<u32> {
    let mut met = BTreeSet::from([from]);
    let mut left = vec![from];
    while let Some(object) = left.pop() {
        left.extend(build.graph.children(object).filter(|child| met.insert(*child)));
    }
    met
}

/// The bytes of an object with its collector's head.
fn extent(build: &Build, layout: &Layout, object: u32) -> std::ops::Range<u64> {
    let at = layout.spots[object as usize].at;
    let tuple = matches!(build.graph.kind(object), Kind::Tuple | Kind::OnceTuple);
    at - if tuple { GC_HEAD as u64 } else { 0 }..at + build.graph.bytes(object).len() as u64
}

fn check(package: &[u8], build: &Build, profile: &Ran) -> Result<(), TestCaseError> {
    let (file, layout) = with_image(package, build, profile);
    let pye = Pye::open(&file).unwrap();
    pye.verify().map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(pye.header().version, (MAJOR, MINOR_IMAGE));
    let before = Pye::open(package).unwrap();
    for part in Part::Modules as usize..=Part::Bytes as usize {
        prop_assert!(pye.part(part) == before.part(part), "the package itself is as it was");
    }
    let image = Image::open(&pye).unwrap().unwrap();
    let graph = &build.graph;
    let start = |area: Area| pye.range(area.part()).start as u64;
    let address = |object: u32| BASE + start(layout.spots[object as usize].area) + layout.spots[object as usize].at;

    // Each object is where the layout says, with its pointers; only those out of the image are marked.
    let mut marked = BTreeSet::new();
    let mut taken: HashMap<Area, Vec<std::ops::Range<u64>>> = HashMap::new();
    for object in 0..graph.len() as u32 {
        let spot = layout.spots[object as usize];
        prop_assert_eq!(spot.at % ALIGN as u64, 0);
        taken.entry(spot.area).or_default().push(extent(build, &layout, object));
        let there = &pye.part(spot.area.part())[spot.at as usize..][..graph.bytes(object).len()];
        let mut same = graph.bytes(object).to_vec();
        for (at, to) in graph.refs(object) {
            let value = match to {
                Ref::Object(child) => address(*child),
                Ref::Interpreter(at) => INTERPRETER + at,
                Ref::Payload(part, at) => BASE + pye.range(usize::from(*part)).start as u64 + at,
                Ref::Made(_) => 0,
            };
            prop_assert_eq!(u64_at(there, *at as usize), Some(value));
            same[*at as usize..][..8].copy_from_slice(&value.to_le_bytes());
            if matches!(to, Ref::Interpreter(_)) {
                marked.insert(start(spot.area) + spot.at + u64::from(*at));
            }
        }
        if matches!(graph.kind(object), Kind::Function | Kind::Once) {
            // `co_version`, which verify looks at.
            same[92..96].copy_from_slice(&there[92..96]);
        }
        prop_assert!(there == same, "object {} of {:?}", object, graph.kind(object));
    }
    for extents in taken.values_mut() {
        extents.sort_by_key(|extent| extent.start);
        prop_assert!(extents.windows(2).all(|pair| pair[0].end <= pair[1].start), "objects overlap");
    }
    let mut bits = BTreeSet::new();
    for page in 0..image.pages() {
        let row = image.bits(page).unwrap();
        let words = (0..PAGE / 8).filter(|word| row[word / 8] >> (word % 8) & 1 != 0);
        bits.extend(words.map(|word| image.starts[0] + u64::from(page) * PAGE as u64 + word as u64 * 8));
    }
    prop_assert!(bits == marked, "other words are marked than lead out of the image");

    // Each module's pages are those of what it leads to, and what the profile needs stands before the rest.
    for module in &graph.modules {
        let entry = image.entry(image.find(module.record).unwrap());
        prop_assert_eq!(BASE + entry.root, address(module.root));
        let mut pages = BTreeSet::new();
        for object in reached(build, module.root) {
            let area = layout.spots[object as usize].area;
            let extent = extent(build, &layout, object);
            let page = |at: u64| (start(area) + at - image.starts[0]) / PAGE as u64;
            pages.extend(page(extent.start)..=page(extent.end - 1));
            if profile.0.contains_key(&module.source) {
                let hot = image.head.hot[area as usize];
                prop_assert!(extent.end <= hot, "{:?} at {} is not hot", graph.kind(object), extent.start);
            }
        }
        let runs = image.runs(&entry).unwrap();
        let held: BTreeSet<u64> = runs.flat_map(|(first, count)| u64::from(first)..u64::from(first + count)).collect();
        prop_assert!(held == pages, "pages of module {}: {held:?}, not {pages:?}", module.record);
        let patches = entry.patches.0..entry.patches.0 + entry.patches.1;
        let patches: HashSet<(u64, u32)> = patches.map(|row| image.patch(row)).collect();
        let slots = reached(build, module.root).into_iter().flat_map(|object| {
            let made = |(at, to): &(u32, Ref)| match to {
                Ref::Made(made) => Some((address(object) - BASE + u64::from(*at), *made)),
                _ => None,
            };
            graph.refs(object).iter().filter_map(made).collect::<Vec<_>>()
        });
        prop_assert_eq!(patches, slots.collect::<HashSet<_>>());
    }
    // Names first in each half of their section, in the halves that the head tells.
    let (hot, [first, second]) = (image.head.hot[Area::Names as usize], image.head.names);
    for object in (0..graph.len() as u32).filter(|o| layout.spots[*o as usize].area == Area::Names) {
        let at = layout.spots[object as usize].at;
        let name = at < first || (hot..second).contains(&at);
        prop_assert_eq!(name, graph.kind(object) == Kind::Name);
        prop_assert_eq!(area_at(&pye, (start(Area::Names) + at) as usize), Some(Area::Names));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_the_graph_laid_out(
        minor in prop::sample::select(vec![12u8, 13, 14, 15]),
        plans in prop::collection::vec(prop::collection::vec(any::<(u8, u16)>(), 0..60), 1..4),
        hot in prop::sample::subsequence(vec!["/srv/app/0.py", "/srv/app/1.py", "/srv/app/2.py"], 0..3),
        debug: bool,
    ) {
        let package = package(minor);
        let build = graph(minor, debug, &package, &plans);
        let mut ran = Ran(hot.iter().enumerate().map(|(i, source)| ((*source).to_owned(), i as u32)).collect());
        let functions = build.graph.functions.iter().filter(|f| f.line % 3 == 0);
        // Only functions of modules that ran can have run.
        let functions = functions.filter(|f| ran.0.contains_key(&build.graph.modules[f.module as usize].source));
        let names: Vec<String> = functions.map(|f| f.name.clone()).collect();
        ran.0.extend(names.into_iter().enumerate().map(|(i, name)| (name, i as u32)));
        check(&package, &build, &ran)?;
    }
}

/// The strings of an image of CPython 3.15 that stand where `wanted` says, in their order.
fn strings(build: &Build, layout: &Layout, wanted: impl Fn(u64) -> bool) -> Vec<String> {
    let at = |object: u32| layout.spots[object as usize].at;
    let named = |object: &u32| layout.spots[*object as usize].area == Area::Names && wanted(at(*object));
    let mut strings: Vec<u32> = (0..build.graph.len() as u32).filter(named).collect();
    strings.sort_by_key(|object| at(*object));
    // Characters follow the head of a compact str.
    let text = |object: &u32| String::from_utf8_lossy(&build.graph.bytes(*object)[40..]).into_owned();
    strings.iter().map(|object| text(object).trim_end_matches('\0').to_owned()).collect()
}

#[test]
fn strings_that_running_code_looks_up_stand_before_those_of_functions_that_did_not_run() {
    let mut build = Build::new(15);
    let key = |build: &mut Build, of: &str| build.str(&format!("key of {of}"), Kind::Key);
    let mut functions = Vec::new();
    for name in ["first", "idle", "last"] {
        let constants = [key(&mut build, name)];
        let code = build.code(false, name, "/srv/app/a.py", &constants, 3);
        build.function(code, name, 1);
        functions.push(Ref::Object(code));
    }
    functions.push(key(&mut build, "body"));
    let root = build.code(true, "<module>", "/srv/app/a.py", &functions, 3);
    build.module(0, "/srv/app/a.py", root);
    let ran = Ran([("/srv/app/a.py", 0), ("first", 0), ("last", 1)].map(|(name, rank)| (name.to_owned(), rank)).into());
    let layout = pye::image::layout::layout(&build.graph, &ran);
    let end = layout.hot[Area::Names as usize];
    let strings = strings(&build, &layout, |at| at < end);
    let expected = ["first", "last", "<module>", "idle", "key of first", "key of last", "key of body", "key of idle"];
    assert_eq!(strings, expected);
}

#[test]
fn without_a_profile_what_packages_share_stands_before_what_each_module_has() {
    let mut build = Build::new(15);
    let modules = [
        ("/srv/é.py", ["all", "first two", "of a"]),
        ("/srv/è.py", ["of b", "all", "first two"]),
        ("/srv/package/x.py", ["of x", "of the package", "all"]),
        ("/srv/package/y.py", ["of the package", "all", "of y"]),
    ];
    for (record, (source, keys)) in modules.into_iter().enumerate() {
        let keys = keys.map(|key| build.str(key, Kind::Key));
        let function = build.code(false, "f", source, &keys[..1], 3);
        build.function(function, "f", 1);
        let constants = [Ref::Object(function), keys[1], keys[2]];
        let root = build.code(true, "<module>", source, &constants, 3);
        build.module(record as u32, source, root);
    }
    let layout = pye::image::layout::layout(&build.graph, &Ran::default());
    // Names first; of both, those that bodies look up before those of functions. What several packages have, by their number; then, module by module, what only one has.
    let expected = ["<module>", "f", "all", "first two", "of a", "of the package", "of y", "of b", "of x"];
    assert_eq!(strings(&build, &layout, |_| true), expected);
}
