//! Images made without an interpreter: graphs of objects as CPython 3.12 to 3.15 lay them out, with types at addresses that no interpreter has.

use std::fs;

use pye::bytes::Sink as _;
use pye::holes::{Fill, Reader};
use pye::image::graph::{Function, Graph, Kind, Module, Ref};
use pye::image::layout::{self, Layout, Use};
use pye::image::shape::{self, SHAPES, Shape, state, text};
use pye::image::write::{self, Input};
use pye::image::{Area, Head};
use pye::pye::read::Pye;
use pye::pye::{ModuleKind, Part};

/// Addresses of the types in the interpreter's file.
const CODE: Ref = Ref::Interpreter(0x1000);
const TUPLE: Ref = Ref::Interpreter(0x1100);
const TEXT: Ref = Ref::Interpreter(0x1200);
const BYTES: Ref = Ref::Interpreter(0x1300);
const NUMBER: Ref = Ref::Interpreter(0x1400);
/// `None`.
pub(crate) const NONE: Ref = Ref::Interpreter(0x2000);
/// The empty tuple.
const NOTHING: Ref = Ref::Interpreter(0x2100);

/// Builds a graph.
pub(crate) struct Build {
    pub(crate) graph: Graph,
    pub(crate) shape: &'static Shape,
    /// As for a debug build: `str` are mortal.
    pub(crate) debug: bool,
}

impl Build {
    /// For CPython 3.`minor`. The first object to be made is the sample, as in every image.
    pub(crate) fn new(minor: u8) -> Build {
        let mut graph = Graph::default();
        graph.add_made(b"N".to_vec());
        Build { graph, shape: SHAPES.iter().find(|s| s.minor == minor).unwrap(), debug: false }
    }

    fn head(&self, size: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.shape.immortal);
        out.put_u64(0);
        out.put_u64(size);
        out
    }

    fn text_head(&self, length: usize, flags: u32) -> Vec<u8> {
        let mut out = self.head(length as u64);
        let (count, mark) = if self.debug { (shape::MORTAL, 0) } else { (self.shape.immortal, self.shape.mark) };
        out[..8].copy_from_slice(&count.to_le_bytes());
        out.put_u64(u64::MAX);
        out.put_u64(u64::from(flags | mark));
        out
    }

    /// A `str` with its characters in it.
    pub(crate) fn str(&mut self, what: &str, kind: Kind) -> Ref {
        let width: u32 = match what.chars().max().map_or(0, u32::from) {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        let flags = state::COMPACT | width << state::KIND_SHIFT;
        let mut out = if what.is_ascii() {
            self.text_head(what.len(), flags | state::ASCII)
        } else {
            let mut out = self.text_head(what.chars().count(), flags);
            out.put_u64(0);
            out.put_u64(0);
            out
        };
        for character in what.chars().map(u32::from).chain([0]) {
            out.extend_from_slice(&character.to_le_bytes()[..width as usize]);
        }
        Ref::Object(self.graph.add(kind, &out, &[(8, TEXT)], true))
    }

    /// A `str` whose characters are a blob of the package: its section, place and length in characters.
    pub(crate) fn mapped(&mut self, part: Part, at: u64, length: u64, ascii: bool) -> Ref {
        let width = match part {
            Part::Str1 => 1u32,
            Part::Str2 => 2,
            _ => 4,
        };
        let flags = width << state::KIND_SHIFT | if ascii { state::ASCII } else { 0 };
        let mut out = self.text_head(length as usize, flags);
        out.put_u64(if ascii { length } else { 0 });
        out.put_u64(0);
        out.put_u64(0);
        let data = Ref::Payload(part as u8, at * u64::from(width));
        let mut refs = vec![(8, TEXT)];
        if ascii {
            refs.push((text::UTF8 as u32, data));
        }
        refs.push((text::DATA as u32, data));
        Ref::Object(self.graph.add(Kind::Leaf, &out, &refs, true))
    }

    pub(crate) fn bytes(&mut self, what: &[u8]) -> Ref {
        self.bytes_of(Kind::Leaf, what)
    }

    fn bytes_of(&mut self, kind: Kind, what: &[u8]) -> Ref {
        let mut out = self.head(what.len() as u64);
        out.put_u64(u64::MAX);
        out.extend_from_slice(what);
        out.push(0);
        Ref::Object(self.graph.add(kind, &out, &[(8, BYTES)], true))
    }

    /// A number of so many words.
    pub(crate) fn number(&mut self, value: u64, words: usize) -> Ref {
        let mut out = self.head(value);
        (1..words).for_each(|_| out.put_u64(value));
        Ref::Object(self.graph.add(Kind::Leaf, &out, &[(8, NUMBER)], true))
    }

    pub(crate) fn tuple(&mut self, kind: Kind, items: &[Ref]) -> Ref {
        if items.is_empty() && kind == Kind::Tuple {
            return NOTHING;
        }
        let start = self.shape.items;
        let mut out = self.head(items.len() as u64);
        out.resize(start, 0xff);
        out.resize(start + 8 * items.len(), 0);
        let slots = items.iter().enumerate().map(|(i, to)| ((start + 8 * i) as u32, *to));
        let refs: Vec<(u32, Ref)> = [(8, TUPLE)].into_iter().chain(slots).collect();
        Ref::Object(self.graph.add(kind, &out, &refs, kind == Kind::Tuple))
    }

    /// What is made of this marshal data.
    pub(crate) fn made(&mut self, marshal: &[u8]) -> Ref {
        Ref::Made(self.graph.add_made(marshal.to_vec()))
    }

    /// Code with these constants, of so many code units. `once`: that of a module or a class body.
    pub(crate) fn code(&mut self, once: bool, name: &str, source: &str, constants: &[Ref], units: usize) -> u32 {
        let constants = self.tuple(if once { Kind::OnceTuple } else { Kind::Tuple }, constants);
        let (name, source) = (self.str(name, Kind::Name), self.str(source, Kind::Leaf));
        let (tuple, leaf) = if once { (Kind::OnceTuple, Kind::OnceLeaf) } else { (Kind::Tuple, Kind::Leaf) };
        let names = self.tuple(tuple, &[name]);
        let lines = self.bytes_of(leaf, &units.to_le_bytes());
        let empty = self.bytes_of(leaf, b"");
        let to = [constants, names, empty, NOTHING, empty, source, name, name, lines];
        let mut out = self.head(units as u64);
        out.resize(self.shape.code, 0);
        out.resize(self.shape.code + 2 * units, 0x1b);
        out[shape::FLAGS..][..4].copy_from_slice(&u32::from(!once).to_le_bytes());
        let slots = shape::SLOTS.iter().map(|slot| slot.at as u32).zip(to);
        let refs: Vec<(u32, Ref)> = [(8, CODE)].into_iter().chain(slots).collect();
        self.graph.add(if once { Kind::Once } else { Kind::Function }, &out, &refs, false)
    }

    /// The module of a record.
    pub(crate) fn module(&mut self, record: u32, source: &str, root: u32) {
        self.graph.modules.push(Module { record, root, source: source.into() });
    }

    /// Says that an object is a function's code of the module that comes next.
    pub(crate) fn function(&mut self, object: u32, name: &str, line: u32) {
        let module = self.graph.modules.len() as u32;
        self.graph.functions.push(Function { object, module, name: name.into(), line });
    }
}

/// Where the image is to be mapped, and where its interpreter was.
pub(crate) const BASE: u64 = 0x2345 << 32;
/// See [`BASE`].
pub(crate) const INTERPRETER: u64 = 0x40_0000;

/// The package with an image of `graph`, and how that is laid out.
pub(crate) fn with_image(package: &[u8], build: &Build, profile: &dyn Use) -> (Vec<u8>, Layout) {
    let pye = Pye::open(package).unwrap();
    let graph = &build.graph;
    let layout = layout::layout(graph, profile);
    let code = (0..graph.len() as u32).filter(|n| graph.kind(*n).is_code()).count();
    let head = Head {
        base: BASE,
        interpreter: INTERPRETER,
        hexversion: 3 << 24 | u32::from(build.shape.minor) << 16 | 0x1f0,
        build_id: (1..=20).collect(),
        versions: (1 << 31, code as u32),
        sample: std::array::from_fn(|i| i as u8),
        ..Head::default()
    };
    let input = Input { pye: &pye, graph, layout: &layout, root: "/srv/app", head, version_at: shape::VERSION };
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("image.pye");
    write::write(input, &fs::File::create(&path).unwrap()).unwrap();
    (fs::read(path).unwrap(), layout)
}

/// The records of the modules of CPython 3.`minor` that can be in an image, with their sources.
pub(crate) fn records(package: &[u8], minor: u8) -> Vec<(u32, String)> {
    let pye = Pye::open(package).unwrap();
    let modules = pye.modules().map(Result::unwrap);
    let fit = modules
        .filter(|m| matches!(m.record.kind, ModuleKind::Module | ModuleKind::Package) && m.record.python == (3, minor));
    fit.map(|m| (m.number as u32, format!("/srv/app/{}.py", m.number))).collect()
}

/// All blobs of text in a package: section, place, length, whether it is ASCII.
pub(crate) fn blobs(package: &[u8]) -> Vec<(Part, u64, u64, bool)> {
    use pye::blob::Kind;
    let pye = Pye::open(package).unwrap();
    let mut found = Vec::new();
    for module in pye.modules().map(Result::unwrap) {
        let mut reader = Reader::new(module.holes);
        while let Some((_, fill)) = reader.hole().unwrap() {
            let Fill::Blob(blob) = fill else { continue };
            let part = match blob.kind {
                Kind::Ascii | Kind::Latin1 | Kind::Latin1Utf8 => Part::Str1,
                Kind::Ucs2 => Part::Str2,
                Kind::Ucs4 => Part::Str4,
                Kind::Bytes => continue,
            };
            found.push((part, blob.offset, blob.len, blob.kind == Kind::Ascii));
        }
    }
    found
}

/// Of each kind of object, in the first two modules of a package: the image that the tests of the format start from. The first module is in the profile.
pub(crate) fn small(package: &[u8], minor: u8, debug: bool) -> Vec<u8> {
    struct First;
    impl Use for First {
        fn module(&self, source: &str) -> Option<u32> {
            source.ends_with("/first.py").then_some(0)
        }

        fn function(&self, _: &str, name: &str, _: u32) -> Option<u32> {
            (name == "ran").then_some(0)
        }
    }

    let mut build = Build { debug, ..Build::new(minor) };
    let mut texts = blobs(package);
    texts.sort_by_key(|(part, at, ..)| (*part as u8, *at));
    texts.dedup_by_key(|(part, ..)| *part as u8);
    let records = records(package, minor);
    assert!(!records.is_empty() && !texts.is_empty());
    for (i, (record, _)) in records.into_iter().take(2).enumerate() {
        let source = format!("/srv/app/{}.py", ["first", "second"][i]);
        let mut constants: Vec<Ref> = texts.iter().map(|t| build.mapped(t.0, t.1, t.2, t.3)).collect();
        constants.extend(["key", "größer", "α und β", "🐍"].map(|what| build.str(what, Kind::Key)));
        constants.extend([
            build.str("two words", Kind::Leaf),
            build.bytes(b"bytes"),
            build.number(7 + i as u64, 700),
            NONE,
        ]);
        let set = build.made(b">\x01\0\0\0i\x01\0\0\0");
        let nested = build.tuple(Kind::Tuple, &[set, NONE]);
        constants.push(nested);
        let inner = build.code(false, "inner", &source, &[], 3);
        build.function(inner, "inner", 2);
        constants.push(Ref::Object(inner));
        let function = build.code(false, "ran", &source, &constants, 900);
        build.function(function, "ran", 1);
        let class = build.code(true, "Class", &source, &[Ref::Object(function), set], 20);
        let root = build.code(true, "<module>", &source, &[Ref::Object(class), NONE, set, nested], 10);
        build.module(record, &source, root);
    }
    with_image(package, &build, &First).0
}

/// The section of the image that holds file offset `at`, for messages.
pub(crate) fn area_at(pye: &Pye<'_>, at: usize) -> Option<Area> {
    Area::ALL.into_iter().find(|area| pye.range(area.part()).contains(&at))
}
