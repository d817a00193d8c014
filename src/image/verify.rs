//! Everything that can be checked of an image without the interpreter it is for: tables, CRCs, and the objects that the modules lead to.
//!
//! Types are learnt from where objects stand (`types`). Of those that are not, numbers, only the head can be checked.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use super::fields;
use super::read::{Entry, Image};
use super::shape::{self, Shape, Type, state, text};
use super::types::Types;
use super::{ALIGN, AREAS, Area, GC_HEAD, PAGE};
use crate::blob::{self, Kind};
use crate::bytes::{u32_at, u64_at};
use crate::error::{Error, Result};
use crate::pye::read::Pye;
use crate::pye::{ModuleKind, NAMES, Part};

/// Sections of the image, in the package.
const PARTS: RangeInclusive<usize> = Part::Image as usize..=Part::ImageOnce as usize;

/// Checks the image of a package whose sections have their CRC32.
///
/// # Errors
/// The first rule of `format-spec/validity.md` that is broken.
pub fn verify(pye: &Pye<'_>) -> Result<()> {
    let Some(image) = Image::open(pye)? else {
        return match PARTS.into_iter().find(|part| !pye.part(*part).is_empty()) {
            Some(part) => Err(Error::malformed("no section of an image without its head", "one").within(NAMES[part])),
            None => Ok(()),
        };
    };
    if !pye.header().is_package() {
        let error = Error::malformed("no image in a file that is not a package", "one");
        return Err(error.within(NAMES[Part::Image as usize]));
    }
    records(&image, pye)?;
    pages(&image, pye)?;
    Walk::new(&image, pye)?.all()
}

/// That modules are modules of the package, for the image's version, and share neither runs nor patches, of which there are no others.
fn records(image: &Image<'_>, pye: &Pye<'_>) -> Result<()> {
    let section = NAMES[Part::Image as usize];
    let [major, minor, ..] = image.head.hexversion.to_be_bytes();
    let (mut runs, mut patches) = (Vec::new(), Vec::new());
    for number in 0..image.len() as u32 {
        let entry = image.entry(number);
        let at = Image::entry_at(number);
        let record = pye.module(entry.record as usize).map_err(|_| {
            let expected = format!("a record below {}", pye.len());
            Error::malformed(expected, entry.record.to_string()).at(at).within(section)
        })?;
        let code = matches!(record.record.kind, ModuleKind::Module | ModuleKind::Package);
        if !code || record.record.python != (major, minor) {
            let expected = format!("the record of a module of Python {major}.{minor}");
            let got = format!("{:?} of {}.{}", record.record.kind, record.record.python.0, record.record.python.1);
            return Err(Error::malformed(expected, got).at(at).within(section).in_module(record.path));
        }
        let mut last = None;
        for (first, count) in image.runs(&entry)? {
            // A gap between each two: they would be one otherwise.
            if count == 0 || last.is_some_and(|end| first <= end) {
                let error = Error::malformed("runs of pages in order, as long as can be", format!("{first}+{count}"));
                return Err(error.at(at + 16).within(section).in_module(record.path));
            }
            last = Some(first + count);
        }
        runs.push(entry.runs);
        patches.push(entry.patches);
    }
    for (what, mut ranges, all) in [("runs", runs, image.rows().0), ("patches", patches, image.rows().1)] {
        ranges.sort_unstable();
        let end = ranges.iter().try_fold(0, |end, (first, count)| (*count == 0 || *first == end).then(|| end + count));
        if end != Some(all) {
            let error = Error::malformed(format!("{all} {what}, each some module's and no two's"), "others");
            return Err(error.at(0u64).within(section));
        }
    }
    Ok(())
}

/// That each page and its relocations have their CRC32.
fn pages(image: &Image<'_>, pye: &Pye<'_>) -> Result<()> {
    let mut number = 0;
    for area in Area::ALL {
        for (i, page) in pye.part(area.part()).chunks(PAGE).enumerate() {
            image.bits(number)?;
            let (crc, actual) = (image.crc(number), crc32fast::hash(page));
            if crc != actual {
                let error = Error::malformed(format!("CRC32 {crc:08x} of a page"), format!("{actual:08x}"));
                return Err(error.at(i * PAGE).within(NAMES[area.part()]));
            }
            number += 1;
        }
    }
    Ok(())
}

/// An object: offset in the file, and what it is.
#[derive(Clone, Copy, Debug)]
struct Object {
    at: u64,
    kind: Type,
    /// Bytes; of a number at least so many.
    len: u64,
}

/// A tuple that is the constants of a template.
#[derive(Clone, Copy, Debug)]
struct Constants {
    /// How many templates this one is in.
    depth: usize,
    /// They are another's, too.
    shared: bool,
    /// There are templates among them.
    held: bool,
}

/// What constants with templates among them have to be, and what shared ones are.
const ONE_TEMPLATE: &str = "constants of one template";
/// See [`ONE_TEMPLATE`].
const OF_ANOTHER: &str = "those of another, with a template among them";

/// What a pointer leads to.
enum To {
    /// An object of the image.
    Object(u64),
    /// The interpreter's.
    Interpreter,
    /// Nothing: a slot that is filled when the module is loaded.
    Made,
}

struct Walk<'i, 'a> {
    image: &'i Image<'a>,
    pye: &'i Pye<'a>,
    shape: &'static Shape,
    types: Types,
    /// Of each unit of [`ALIGN`] bytes whether an object starts there, or goes on.
    units: Vec<Unit>,
    /// Of each unit the last module that led to the object there.
    seen: Vec<u32>,
    /// Of each page the last module with a run that has it.
    held: Vec<u32>,
    /// `co_version` of all code.
    versions: Vec<u32>,
    /// Of each template how many others it is in.
    templates: HashMap<u64, usize>,
    /// The constants of templates.
    constants: HashMap<u64, Constants>,
    /// Marked words that are pointers of objects.
    marked: u64,
    /// Objects looked at, again for each module that leads to them.
    steps: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Free,
    Start,
    Inside,
}

impl<'i, 'a> Walk<'i, 'a> {
    fn new(image: &'i Image<'a>, pye: &'i Pye<'a>) -> Result<Self> {
        let shape = Shape::of(image.head.hexversion).ok_or_else(|| {
            let got = format!("{:#x}", image.head.hexversion);
            let help = "use a newer pye to check it, or link the package with --image again";
            let error = Error::unsupported("an image for CPython 3.12 to 3.15", got, help);
            error.at(24u64).within(NAMES[Part::Image as usize])
        })?;
        let units = image.pages() as usize * (PAGE / ALIGN);
        Ok(Walk {
            image,
            pye,
            shape,
            types: Types::default(),
            units: vec![Unit::Free; units],
            seen: vec![0; units],
            held: vec![0; image.pages() as usize],
            versions: Vec::new(),
            templates: HashMap::new(),
            constants: HashMap::new(),
            marked: 0,
            steps: 0,
        })
    }

    fn all(mut self) -> Result<()> {
        // The types first: a number may be met before the first str is.
        for number in 0..self.image.len() as u32 {
            let root = self.image.entry(number).root;
            self.known(root, Type::Code)?;
            self.templates.insert(root, 0);
            for slot in shape::SLOTS {
                if let To::Object(to) = self.pointer(root + slot.at as u64)? {
                    self.known(to, slot.kind)?;
                }
            }
        }
        self.names()?;
        for number in 0..self.image.len() as u32 {
            self.module(number, &self.image.entry(number))?;
        }
        self.relocations()?;
        let (first, count) = self.image.head.versions;
        self.versions.sort_unstable();
        if !self.versions.iter().copied().eq(first..first + count) {
            let expected = format!("a version from {first} to {} for each code object of its own", first + count);
            return Err(Error::malformed(expected, "others").at(64u64).within(NAMES[Part::Image as usize]));
        }
        Ok(())
    }

    /// Everything a module leads to, on its pages.
    fn module(&mut self, number: u32, entry: &Entry) -> Result<()> {
        let stamp = number + 1;
        for (first, count) in self.image.runs(entry)? {
            self.held[first as usize..(first + count) as usize].fill(stamp);
        }
        let patches = entry.patches.0..entry.patches.0 + entry.patches.1;
        let mut wanted: Vec<u64> = patches.map(|row| self.image.patch(row).0).collect();
        let mut slots = Vec::new();
        // An object takes two units at least, so these are 32 modules for each object: some are shared by all modules, but all by all is an attack.
        let most = (self.units.len() as u64 * ALIGN as u64).max(1 << 20);
        let mut met = vec![(entry.root, Some(Type::Code))];
        while let Some((at, expected)) = met.pop() {
            let unit = self.unit(at)?;
            if self.seen[unit] == stamp {
                continue;
            }
            self.seen[unit] = stamp;
            self.steps += 1;
            if self.steps > most {
                let error = Error::limit("objects that modules lead to, counted for each", most, self.steps);
                return Err(error.at(Image::entry_at(number)).within(NAMES[Part::Image as usize]));
            }
            let object = self.object(at, expected)?;
            let start = if object.kind == Type::Tuple { at - GC_HEAD as u64 } else { at };
            let pages = self.page(start)..=self.page(at + object.len - 1);
            if let Some(page) = pages.into_iter().find(|page| self.held[*page] != stamp) {
                let expected = format!("a run of module {number} of the image with page {page}");
                return self.fail(at, expected, "none");
            }
            self.children(object, |to, kind, slot| {
                match to {
                    To::Object(to) => met.push((to, kind)),
                    To::Made => slots.push(slot),
                    To::Interpreter => {}
                }
                Ok(())
            })?;
        }
        slots.sort_unstable();
        wanted.sort_unstable();
        if slots != wanted {
            let other = slots.iter().zip(&wanted).position(|(slot, patch)| slot != patch);
            let other = other.unwrap_or(slots.len().min(wanted.len()));
            let at = slots.get(other).or(wanted.get(other)).copied().unwrap_or(entry.root);
            return self.fail(at, format!("a patch of module {number} for each slot without an object"), "others");
        }
        Ok(())
    }

    /// Calls `each` with the pointers of an object that may lead to others: what to, of which type that has to be if not of any, and where the pointer is.
    fn children(&self, object: Object, mut each: impl FnMut(To, Option<Type>, u64) -> Result<()>) -> Result<()> {
        match object.kind {
            Type::Code => {
                for slot in shape::SLOTS {
                    let at = object.at + slot.at as u64;
                    each(self.pointer(at)?, Some(slot.kind), at)?;
                }
            }
            Type::Tuple => {
                for i in 0..self.word(object.at + shape::SIZE as u64) {
                    let slot = object.at + self.shape.items as u64 + 8 * i;
                    each(self.pointer(slot)?, None, slot)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The object at `at`, which must be of the type `expected`, if any. What it is made of is looked at the first time.
    fn object(&mut self, at: u64, expected: Option<Type>) -> Result<Object> {
        let (area, rest) = self.area(at)?;
        if !at.is_multiple_of(ALIGN as u64) || rest < shape::SMALLEST as u64 {
            return self.fail(at, "an object", "no place for one");
        }
        let address = self.word(at + shape::TYPE as u64);
        if !self.is_marked(at + shape::TYPE as u64) {
            return self.fail(at + shape::TYPE as u64, "a type of the interpreter's", format!("{address:#x}"));
        }
        let kind = self.types.kind(address);
        if let Some(expected) = expected.filter(|expected| kind != *expected) {
            return self.fail(at, format!("an object of type {}", expected.name()), format!("one of {}", kind.name()));
        }
        let size = self.word(at + shape::SIZE as u64);
        let len = self.shape.size(kind, size, self.word(at + text::STATE as u64) as u32);
        let Some(len) = len.filter(|len| *len <= rest) else {
            return self.fail(at, format!("an object of at most {rest} bytes"), format!("one with {size} items"));
        };
        let object = Object { at, kind, len };
        if self.claim(object)? {
            self.look(object, area)?;
        }
        Ok(object)
    }

    /// Takes the units of an object. False when it has them already.
    fn claim(&mut self, object: Object) -> Result<bool> {
        let first = self.unit(object.at)?;
        match self.units[first] {
            Unit::Start => return Ok(false),
            Unit::Inside => return self.fail(object.at, "an object", "the inside of another"),
            Unit::Free => {}
        }
        let mut units = first..first + (object.len as usize).div_ceil(ALIGN);
        if object.kind == Type::Tuple {
            let (area, _) = self.area(object.at)?;
            let head = object.at - GC_HEAD as u64;
            if head < self.image.starts[area as usize] || (0..2).any(|word| self.word(head + 8 * word) != 0) {
                return self.fail(object.at, "a tuple after sixteen zero bytes", "one without");
            }
            units.start -= GC_HEAD / ALIGN;
        }
        if let Some(other) = units.clone().find(|unit| self.units[*unit] != Unit::Free) {
            let got = format!("another at {}", self.image.starts[0] + (other * ALIGN) as u64);
            return self.fail(object.at, "objects that do not overlap", got);
        }
        self.units[units].fill(Unit::Inside);
        self.units[first] = Unit::Start;
        Ok(true)
    }

    /// What an object is made of, where it stands, and where its pointers lead.
    fn look(&mut self, object: Object, area: Area) -> Result<()> {
        let Object { at, kind, .. } = object;
        let word = |offset: usize| self.word(at + offset as u64);
        let flags = || word(shape::FLAGS) as u32;
        let place = match kind {
            Type::Code if area == Area::Once => flags() & shape::CO_OPTIMIZED == 0,
            Type::Code => area == Area::Code,
            Type::Tuple => matches!(area, Area::Data | Area::Patch | Area::Once),
            Type::Str => matches!(area, Area::Names | Area::Data),
            Type::Bytes => matches!(area, Area::Data | Area::Once),
            Type::Number | Type::None => area == Area::Data,
        };
        if !place {
            let got = format!("{} in {}", kind.name(), NAMES[area.part()]);
            return self.fail(at, "an object in the section for its type", got);
        }
        let count = word(0);
        if count != self.shape.immortal && !(kind == Type::Str && count == shape::MORTAL) {
            return self.fail(at, format!("the reference count {:#x}", self.shape.immortal), format!("{count:#x}"));
        }
        let mut marked = 1;
        let mut templates = Vec::new();
        match kind {
            Type::Str => self.text(object)?,
            Type::Bytes if word(shape::BYTES_HASH) != u64::MAX || self.byte(at + object.len - 1) != 0 => {
                return self.fail(at, "bytes without a hash and with a NUL", "others");
            }
            Type::Bytes | Type::Number | Type::None => {}
            Type::Tuple | Type::Code => {
                if kind == Type::Code {
                    let version = u32_at(self.bytes(at + shape::VERSION as u64, 4), 0).unwrap_or(0);
                    self.versions.push(version);
                    let noted =
                        |note: &&fields::Note| self.bytes(at + note.at as u64, note.len as u64).iter().any(|b| *b != 0);
                    if let Some(note) = fields::notes(self.shape.minor).iter().find(noted) {
                        return self.fail(at + note.at as u64, "code that nobody has used", note.name);
                    }
                } else if self.shape.items > shape::SMALLEST && word(shape::SMALLEST) != u64::MAX {
                    return self.fail(at, "a tuple without a hash", "one with it");
                }
                self.children(object, |to, _, slot| match to {
                    To::Interpreter => {
                        marked += 1;
                        Ok(())
                    }
                    To::Object(to) => {
                        let (there, _) = self.area(to)?;
                        // What runs once is copied, with all that is its own, by whoever expects just this: in a tuple, code.
                        let own = area == Area::Once && (kind == Type::Code || self.is_code(to));
                        if there == Area::Once && !own {
                            let expected = "nothing of templates, but in a template, and code among its constants";
                            return self.fail(slot, expected, NAMES[there.part()]);
                        }
                        if there == Area::Once && kind == Type::Tuple {
                            templates.push((slot, to));
                        }
                        Ok(())
                    }
                    To::Made if kind == Type::Tuple && matches!(area, Area::Patch | Area::Once) => Ok(()),
                    To::Made => self.fail(slot, "an object", "NULL"),
                })?;
            }
        }
        match kind {
            Type::Code if area == Area::Once => self.template(at)?,
            _ => self.templates(at, &templates)?,
        }
        self.marked += marked;
        Ok(())
    }

    /// That a template's constants, if there are templates among them, are no other template's.
    fn template(&mut self, at: u64) -> Result<()> {
        let slot = at + shape::CONSTANTS as u64;
        let To::Object(constants) = self.pointer(slot)? else { return Ok(()) };
        let depth = self.templates.get(&at).copied().unwrap_or_default();
        let known = self.constants.insert(constants, Constants { depth, shared: false, held: false });
        if let Some(other) = known {
            if other.held {
                return self.fail(slot, ONE_TEMPLATE, OF_ANOTHER);
            }
            self.constants.insert(constants, Constants { shared: true, ..other });
        }
        Ok(())
    }

    /// That templates in a tuple, each with its slot, are among the constants of one template, stand nowhere else, and are not nested too deeply: they are copied by recursion.
    fn templates(&mut self, tuple: u64, templates: &[(u64, u64)]) -> Result<()> {
        let Some((first, _)) = templates.first() else { return Ok(()) };
        let Some(constants) = self.constants.get_mut(&tuple) else {
            return self.fail(*first, "a template among the constants of another", "one elsewhere");
        };
        if constants.shared {
            return self.fail(*first, ONE_TEMPLATE, OF_ANOTHER);
        }
        constants.held = true;
        let depth = constants.depth;
        for (slot, template) in templates {
            if depth == shape::MAX_TEMPLATES || self.templates.insert(*template, depth + 1).is_some() {
                let expected = format!("templates in one place each, nested at most {} deep", shape::MAX_TEMPLATES);
                return self.fail(*slot, expected, "another");
            }
        }
        Ok(())
    }

    /// A `str`: its state, and its characters.
    fn text(&self, object: Object) -> Result<()> {
        let at = object.at;
        let word = |offset: usize| self.word(at + offset as u64);
        let (length, flags) = (word(text::LENGTH), word(text::STATE));
        let width = (flags as u32 >> state::KIND_SHIFT & state::KIND) as u64;
        let (compact, ascii) = (flags as u32 & state::COMPACT != 0, flags as u32 & state::ASCII != 0);
        let mark = if word(0) == shape::MORTAL { 0 } else { self.shape.mark };
        let known = state::KIND << state::KIND_SHIFT | state::COMPACT | state::ASCII;
        if flags & !u64::from(known) != u64::from(mark) || ascii && width != 1 || word(text::HASH) != u64::MAX {
            return self.fail(at, "a str that is not interned and has no hash", format!("state {flags:#x}"));
        }
        let kind = match width {
            1 if ascii => Kind::Ascii,
            1 => Kind::Latin1,
            2 => Kind::Ucs2,
            _ => Kind::Ucs4,
        };
        // Behind the common head: the copy in UTF-8, then where the characters are.
        let utf8 = || (word(text::UTF8 - 8), word(text::UTF8));
        let characters = if compact {
            if !ascii && utf8() != (0, 0) {
                return self.fail(at, "a str without a copy in UTF-8", "one with it");
            }
            let head = if ascii { text::ASCII_HEAD } else { text::COMPACT_HEAD };
            self.bytes(at + head as u64, object.len - head as u64)
        } else {
            let data = word(text::DATA);
            if utf8() != if ascii { (length, data) } else { (0, 0) }
                || self.any_marked(at + shape::SIZE as u64..at + object.len)
            {
                return self.fail(at, "a str whose copy in UTF-8 is itself, or none", "another");
            }
            let part = kind.store() as usize + Part::Str1 as usize;
            let start = data.wrapping_sub(self.image.head.base + self.pye.range(part).start as u64);
            let section = self.pye.part(part);
            let len = (length + 1).checked_mul(width).and_then(|len| usize::try_from(len).ok());
            let end = usize::try_from(start).ok().zip(len).and_then(|(start, len)| start.checked_add(len));
            let found = end.and_then(|end| section.get(start as usize..end));
            match found.filter(|_| start.is_multiple_of(width)) {
                Some(found) => found,
                None => return self.fail(at, format!("characters in {}", NAMES[part]), format!("{data:#x}")),
            }
        };
        let (stored, nul) = characters.split_at(characters.len() - width as usize);
        if nul.iter().any(|byte| *byte != 0) || !blob::is_canonical(stored, kind) {
            return self.fail(at, format!("{kind:?} text and a NUL"), "others");
        }
        Ok(())
    }

    /// The strings of the section that holds nothing else, one after the other, as they are walked when they are hashed; and where the head says groups of them end.
    fn names(&mut self) -> Result<()> {
        let (start, size) = (self.image.starts[Area::Names as usize], self.image.size(Area::Names));
        let hot = self.image.head.hot[Area::Names as usize];
        let mut ends: Vec<u64> = self.image.head.names.into_iter().chain([hot]).filter(|end| *end != 0).collect();
        ends.sort_unstable();
        ends.dedup();
        let mut ends = ends.into_iter().peekable();
        let mut at = 0;
        while at + shape::SMALLEST as u64 <= size && self.word(start + at) != 0 {
            self.known(start + at, Type::Str)?;
            let object = self.object(start + at, Some(Type::Str))?;
            at = (at + object.len).next_multiple_of(ALIGN as u64);
            if ends.peek() == Some(&at) {
                ends.next();
            }
        }
        if let Some(end) = ends.next() {
            let error = Error::malformed("groups of names that end where a str does", format!("{end}"));
            return Err(error.at(72u64).within(NAMES[Part::Image as usize]));
        }
        let rest = self.bytes(start + at, size.saturating_sub(at));
        match rest.iter().position(|byte| *byte != 0) {
            Some(byte) => self.fail(start + at + byte as u64, "zeros after the last str", "others"),
            None => Ok(()),
        }
    }

    /// Notes that the object at `at` is of this type, and that its type is the only one that such objects have.
    fn known(&mut self, at: u64, kind: Type) -> Result<()> {
        let (_, rest) = self.area(at)?;
        if rest < shape::SMALLEST as u64 {
            return Ok(());
        }
        let address = self.word(at + shape::TYPE as u64);
        if !self.types.learn(kind, address) {
            return self.fail(at + shape::TYPE as u64, format!("the type of {}", kind.name()), format!("{address:#x}"));
        }
        Ok(())
    }

    /// That all marked words are pointers of the objects that were looked at, and none leads into the image.
    fn relocations(&self) -> Result<()> {
        let mut marked = 0;
        let head = &self.image.head;
        for page in 0..self.image.pages() {
            for (i, byte) in self.image.bits(page)?.iter().enumerate() {
                marked += u64::from(byte.count_ones());
                for word in (0..8).filter(|bit| byte >> bit & 1 != 0).map(|bit| i * 8 + bit) {
                    let at = self.image.starts[0] + u64::from(page) * PAGE as u64 + word as u64 * 8;
                    let address = self.word(at);
                    let ours = head.base..head.base + self.image.starts[AREAS];
                    if address < head.interpreter || ours.contains(&address) {
                        return self.fail(at, "an address of the interpreter's", format!("{address:#x}"));
                    }
                }
            }
        }
        if marked != self.marked {
            let expected = format!("{} words to relocate, the objects' pointers out of the image", self.marked);
            let error = Error::malformed(expected, marked.to_string());
            return Err(error.at(0u64).within(NAMES[Part::ImageRelocations as usize]));
        }
        Ok(())
    }

    /// Where the pointer at `at` leads.
    fn pointer(&self, at: u64) -> Result<To> {
        let (_, rest) = self.area(at)?;
        if rest < 8 {
            return self.fail(at, "a pointer", "the end of the section");
        }
        let address = self.word(at);
        if self.is_marked(at) {
            return Ok(To::Interpreter);
        }
        if address == 0 {
            return Ok(To::Made);
        }
        let to = address.wrapping_sub(self.image.head.base);
        if !(self.image.starts[0]..self.image.starts[AREAS]).contains(&to) {
            return self.fail(at, "a pointer into the image or to the interpreter's", format!("{address:#x}"));
        }
        Ok(To::Object(to))
    }

    fn is_code(&self, at: u64) -> bool {
        self.area(at).is_ok_and(|(_, rest)| rest >= shape::SMALLEST as u64)
            && self.types.kind(self.word(at + shape::TYPE as u64)) == Type::Code
    }

    /// The section in which `at` lies, and how many bytes follow there.
    fn area(&self, at: u64) -> Result<(Area, u64)> {
        let starts = &self.image.starts;
        let area = Area::ALL.into_iter().find(|a| (starts[*a as usize]..starts[*a as usize + 1]).contains(&at));
        let area = area.ok_or_else(|| Error::malformed("a place in the image", at.to_string()).at(at))?;
        Ok((area, starts[area as usize + 1] - at))
    }

    fn unit(&self, at: u64) -> Result<usize> {
        self.area(at)?;
        Ok(((at - self.image.starts[0]) / ALIGN as u64) as usize)
    }

    fn page(&self, at: u64) -> usize {
        ((at - self.image.starts[0]) / PAGE as u64) as usize
    }

    /// Whether the word at `at` is marked to be relocated.
    fn is_marked(&self, at: u64) -> bool {
        let word = (at - self.image.starts[0]) as usize % PAGE / 8;
        // `pages` has seen all rows.
        self.image.bits_unchecked(self.page(at) as u32)[word / 8] >> (word % 8) & 1 != 0
    }

    fn any_marked(&self, words: Range<u64>) -> bool {
        words.step_by(8).any(|at| self.is_marked(at))
    }

    /// Bytes of the image; `at` and what follows lie in one section.
    fn bytes(&self, at: u64, len: u64) -> &'a [u8] {
        let Ok((area, rest)) = self.area(at) else { return &[] };
        let start = (at - self.image.starts[area as usize]) as usize;
        &self.pye.part(area.part())[start..start + len.min(rest) as usize]
    }

    fn word(&self, at: u64) -> u64 {
        u64_at(self.bytes(at, 8), 0).unwrap_or(0)
    }

    fn byte(&self, at: u64) -> u8 {
        self.bytes(at, 1).first().copied().unwrap_or(0)
    }

    fn fail<T>(&self, at: u64, expected: impl Into<String>, got: impl Into<String>) -> Result<T> {
        let error = Error::malformed(expected.into(), got.into());
        Err(match self.area(at) {
            Ok((area, _)) => error.at(at - self.image.starts[area as usize]).within(NAMES[area.part()]),
            Err(_) => error.at(at),
        })
    }
}
