//! The objects of an image, found again in its file: by following pointers from the code of modules, without an interpreter. Types are told by where they are met:
//! a module's root is code, its constants are a tuple, its file name is a `str`. Nothing that is read here is trusted: what does not lie in the image is passed over.

use super::read::Image;
use super::shape::{self, Shape, Type, state, text};
use super::types::Types;
use super::{AREAS, Area};
use crate::bytes::{u32_at, u64_at};
use crate::error::{Error, Result};

/// Longest text that is shown, in characters.
const SHOWN: usize = 48;

/// An object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Offset in the file.
    pub at: u64,
    /// Its length; of numbers the least they have.
    pub len: u64,
    /// What it is.
    pub kind: Type,
    /// The module, by its number in the image, that led to it first.
    pub module: u32,
    /// The code that led to it first, as its offset in the file; its own if it is code.
    pub code: u64,
}

/// The objects of some modules.
#[derive(Debug)]
pub struct Objects<'a> {
    image: &'a Image<'a>,
    file: &'a [u8],
    /// How they are laid out.
    pub shape: &'static Shape,
    /// By offset.
    pub all: Vec<Object>,
}

impl<'a> Objects<'a> {
    /// Finds all objects that the modules need of which `wanted` says so; `file` is the whole file.
    ///
    /// # Errors
    /// The image is of a version of CPython whose objects are not known.
    pub fn find(image: &'a Image<'a>, file: &'a [u8], wanted: impl Fn(u32) -> bool) -> Result<Objects<'a>> {
        let shape = Shape::of(image.head.hexversion).ok_or_else(|| {
            let got = format!("hexversion {:#x}", image.head.hexversion);
            Error::unsupported("an image for CPython 3.12 to 3.15", got, "use a newer version of pye")
        })?;
        let mut objects = Objects { image, file, shape, all: Vec::new() };
        let types = objects.types();
        // A bit for every eight bytes of the sections.
        let words = (image.starts[AREAS] - image.starts[0]) / 8;
        let mut seen = vec![0u64; words.div_ceil(64) as usize];
        let mut stack = Vec::new();
        for module in (0..image.len() as u32).filter(|module| wanted(*module)) {
            let root = image.entry(module).root;
            stack.push((root, root));
            while let Some((at, code)) = stack.pop() {
                let bit = (at - image.starts[0]) / 8;
                let (word, mask) = (&mut seen[bit as usize / 64], 1 << (bit % 64));
                if *word & mask != 0 {
                    continue;
                }
                *word |= mask;
                objects.take(&types, at, module, code, &mut stack);
            }
        }
        objects.all.sort_unstable_by_key(|object| object.at);
        Ok(objects)
    }

    /// The word at an offset in the file; 0 outside.
    pub fn word(&self, at: u64) -> u64 {
        u64_at(self.file, at as usize).unwrap_or(0)
    }

    /// The offset of the object that the word at `at` leads to, if that is in the image.
    fn target(&self, at: u64) -> Option<u64> {
        let to = self.word(at).wrapping_sub(self.image.head.base);
        (self.image.starts[0]..self.image.starts[AREAS] - shape::SMALLEST as u64 + 1)
            .contains(&to)
            .then_some(to)
            .filter(|to| to.is_multiple_of(8))
    }

    fn types(&self) -> Types {
        let mut types = Types::default();
        for module in 0..self.image.len() as u32 {
            let root = self.image.entry(module).root;
            types.learn(Type::Code, self.word(root + shape::TYPE as u64));
            for slot in shape::SLOTS {
                // The empty ones are the interpreter's.
                if let Some(target) = self.target(root + slot.at as u64) {
                    types.learn(slot.kind, self.word(target + shape::TYPE as u64));
                }
            }
            if types.is_complete() {
                break;
            }
        }
        types
    }

    /// Notes an object, and what it leads to on the stack.
    fn take(&mut self, types: &Types, at: u64, module: u32, code: u64, stack: &mut Vec<(u64, u64)>) {
        let kind = types.kind(self.word(at + shape::TYPE as u64));
        let size = self.word(at + shape::SIZE as u64);
        let code = if kind == Type::Code { at } else { code };
        let len = self.shape.size(kind, size, self.flags(at));
        let end = self.image.starts[AREAS];
        let Some(len) = len.filter(|len| at.checked_add(*len).is_some_and(|last| last <= end)) else { return };
        self.all.push(Object { at, len, kind, module, code });
        match kind {
            Type::Code => {
                let targets = shape::SLOTS.iter().filter_map(|slot| self.target(at + slot.at as u64));
                stack.extend(targets.map(|target| (target, code)));
            }
            Type::Tuple => {
                let items = (at + self.shape.items as u64..at + len).step_by(8);
                stack.extend(items.filter_map(|place| Some((self.target(place)?, code))));
            }
            _ => (),
        }
    }

    /// `state` of the `str` at `at`.
    pub fn flags(&self, at: u64) -> u32 {
        u32_at(self.file, at as usize + text::STATE).unwrap_or(0)
    }

    /// The object that the byte at this offset belongs to, by its number; the collector's words before a tuple are the tuple's.
    pub fn at(&self, offset: u64) -> Option<usize> {
        let next = self.all.partition_point(|object| object.at <= offset);
        let before = next.checked_sub(1).filter(|i| offset < self.all[*i].at + self.all[*i].len);
        before.or_else(|| {
            let object = self.all.get(next)?;
            (object.kind == Type::Tuple && object.at - offset <= super::GC_HEAD as u64).then_some(next)
        })
    }

    /// The characters of a `str`; nothing if they are not in the file. Not more than are asked for.
    fn text(&self, at: u64, most: usize) -> Option<String> {
        let flags = self.flags(at);
        let length = usize::try_from(self.word(at + text::LENGTH as u64)).ok()?;
        let width = (flags >> state::KIND_SHIFT & state::KIND) as usize;
        let start = match (flags & state::COMPACT != 0, flags & state::ASCII != 0) {
            (false, _) => self.word(at + text::DATA as u64).checked_sub(self.image.head.base)?,
            (true, true) => at + text::ASCII_HEAD as u64,
            (true, false) => at + text::COMPACT_HEAD as u64,
        };
        let start = usize::try_from(start).ok()?;
        let taken = length.min(most);
        let bytes = self.file.get(start..start.checked_add(taken.checked_mul(width)?)?)?;
        let character = |bytes: &[u8]| {
            let mut word = [0; 4];
            word[..width].copy_from_slice(bytes);
            char::from_u32(u32::from_le_bytes(word)).unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        matches!(width, 1 | 2 | 4).then(|| bytes.chunks(width).map(character).collect())
    }

    /// `co_filename` of a module, below the package's root where it is there.
    pub fn module(&self, number: u32) -> String {
        let root = self.image.entry(number).root;
        let name = self.target(root + shape::FILENAME as u64).and_then(|name| self.text(name, usize::MAX));
        let name = name.unwrap_or_else(|| format!("module {number}"));
        let below = name.strip_prefix(self.image.root).map(|rest| rest.trim_start_matches('/').to_owned());
        below.filter(|below| !below.is_empty()).unwrap_or(name)
    }

    /// `co_filename`, `co_qualname` and `co_firstlineno` of code.
    pub fn function(&self, at: u64) -> Option<(String, String, u32)> {
        let about = |place: usize| self.target(at + place as u64).and_then(|text_at| self.text(text_at, usize::MAX));
        let line = u32_at(self.file, at as usize + shape::FIRST_LINE)?;
        Some((about(shape::FILENAME)?, about(shape::QUALNAME)?, line))
    }

    /// `co_qualname` of code; where that is a string of the interpreter's own, such as `main`, and so not in the file, the first line.
    fn name(&self, at: u64) -> String {
        let line = || u32_at(self.file, at as usize + shape::FIRST_LINE).unwrap_or(0);
        self.function(at).map_or_else(|| format!("line {}", line()), |(_, name, _)| name)
    }

    /// What an object is called: a function by its module and name, text by what it says, a tuple by its first items.
    pub fn label(&self, number: usize) -> String {
        let object = &self.all[number];
        match object.kind {
            Type::Code => {
                let name = self.name(object.at);
                format!("{}: {name}", self.module(object.module))
            }
            Type::Str => self.quoted(object.at),
            Type::Tuple => {
                let count = self.word(object.at + shape::SIZE as u64);
                let first = object.at + self.shape.items as u64;
                let item = |i: u64| {
                    let to = self.target(first + 8 * i);
                    let found = to.and_then(|to| self.all.binary_search_by_key(&to, |object| object.at).ok());
                    match found.map(|found| &self.all[found]) {
                        Some(object) if object.kind == Type::Str => self.quoted(object.at),
                        Some(object) => object.kind.name().into(),
                        None => "…".into(),
                    }
                };
                let items: Vec<String> = (0..count.min(3)).map(item).collect();
                let more = if count > 3 { ", …" } else { "" };
                format!("{}: {} items ({}{more})", self.module(object.module), count, items.join(", "))
            }
            Type::Bytes | Type::Number | Type::None => {
                let name = self.name(object.code);
                format!("{}: {name}", self.module(object.module))
            }
        }
    }

    fn quoted(&self, at: u64) -> String {
        let text = self.text(at, SHOWN).unwrap_or_else(|| "?".into());
        let more = if self.word(at + text::LENGTH as u64) > SHOWN as u64 { "…" } else { "" };
        format!("{text:?}{more}")
    }

    /// The section of an offset.
    pub fn area(&self, offset: u64) -> Option<Area> {
        Area::ALL
            .into_iter()
            .find(|area| (self.image.starts[*area as usize]..self.image.starts[*area as usize + 1]).contains(&offset))
    }
}
