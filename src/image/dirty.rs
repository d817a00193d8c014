//! What of an image's pages processes have written, and why: each word of a copied page that differs from the file is a field of an object.
//!
//! Pure: pages come from whoever reads them, see `cli::dirty`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;
use serde::Serialize;

use super::fields::{self, Field, RELOCATED, UNCHANGED, field_of};
use super::objects::Objects;
use super::read::Image;
use super::shape::Type;
use super::{AREAS, Area, PAGE};
use crate::bytes::u64_at;
use crate::error::Result;
use crate::profile::Profile;
use crate::pye::NAMES;

/// Words of a page.
const WORDS: usize = PAGE / 8;

/// A copied page of a process.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// Its number in the image.
    pub page: u32,
    /// Another process has the very same copy: it was made before a fork.
    pub inherited: bool,
    /// What it holds now.
    pub bytes: &'a [u8; PAGE],
    /// What it holds in the process that this one was forked from, where that is known and this one has a copy of its own.
    pub parent: Option<&'a [u8; PAGE]>,
}

/// Pages of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SectionRow {
    /// Its name.
    pub section: &'static str,
    /// All it has.
    pub pages: u64,
    /// Of these, pages that the profile's modules need.
    pub hot: u64,
    /// In memory, in all processes.
    pub present: u64,
    /// Of these, copied.
    pub copied: u64,
    /// Of these, shared with the process that they were copied in before it forked, or with its other children.
    pub inherited: u64,
    /// Of the copied, pages outside the profile's part.
    pub cold: u64,
    /// Of the copied, pages on which nothing but addresses of the interpreter's differs.
    pub relocated: u64,
    /// Of the copied, pages that are as in the file.
    pub unchanged: u64,
    /// Words that differ.
    pub words: u64,
}

/// What was written where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldRow {
    /// The section.
    pub section: &'static str,
    /// What the objects are.
    #[serde(rename = "type")]
    pub kind: Type,
    /// The field.
    pub field: &'static str,
    /// Why it was written.
    pub cause: &'static str,
    /// Copied pages with such a word.
    pub pages: u64,
    /// Of these, pages with no other, relocation aside: they would not have been copied.
    pub alone: u64,
    /// Words.
    pub words: u64,
    /// Objects, each once.
    pub objects: u64,
    /// Pages with such a word that a child has copied for itself: the word is not as in its parent.
    pub since_fork: u64,
    /// Of these, pages with no other such word.
    pub since_fork_alone: u64,
}

/// What pages an object has cost: a page is divided among the objects on it that have changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectRow {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Type,
    /// What it is called: see [`Objects::label`].
    pub object: String,
    /// The section it is in.
    pub section: &'static str,
    /// Its share of pages.
    pub pages: f64,
    /// Words of it that differ.
    pub words: u64,
    /// The field with most of them.
    pub field: &'static str,
}

/// Functions that ran or were looked into, and so were written, and what the profile says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CodeRow {
    /// Functions with a word that differs, relocation and interned names aside, each once.
    pub functions: u64,
    /// Of these, functions outside the profile's modules.
    pub cold: u64,
    /// Of all, functions that the profile given does not name. None where none is given.
    pub unnamed: Option<u64>,
    /// Copied pages with such a function. None where no profile is given.
    pub pages_unnamed: Option<u64>,
    /// Of these, pages with no other written function. None where no profile is given.
    pub pages_only_unnamed: Option<u64>,
    /// Some of these functions.
    pub examples: Vec<String>,
}

/// What there is to say of an image in all processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Each section.
    pub sections: Vec<SectionRow>,
    /// Each field, by how many pages it alone has cost.
    pub fields: Vec<FieldRow>,
    /// Objects that have cost most pages.
    pub objects: Vec<ObjectRow>,
    /// Functions.
    pub code: CodeRow,
}

#[derive(Debug, Default)]
struct FieldCount {
    pages: u64,
    alone: u64,
    words: u64,
    objects: BTreeSet<u32>,
    since_fork: u64,
    since_fork_alone: u64,
}

#[derive(Debug, Default)]
struct ObjectCount {
    share: f64,
    words: BTreeMap<&'static str, u64>,
}

/// Adds pages up.
#[derive(Debug)]
pub struct Dirty<'a> {
    image: &'a Image<'a>,
    file: &'a [u8],
    objects: Objects<'a>,
    profile: Option<&'a Profile>,
    sections: [SectionRow; AREAS],
    fields: BTreeMap<(usize, Type, Field), FieldCount>,
    costs: Counts<u32, ObjectCount>,
    /// Numbers of functions, and whether the profile names them.
    functions: Counts<u32, Option<bool>>,
    pages_unnamed: [u64; 2],
}

/// Counts by key; hashed without a seed, for the order is never used.
type Counts<K, V> = HashMap<K, V, FixedState>;

/// A word that differs.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// None: it lies between objects.
    object: Option<u32>,
    kind: Type,
    field: Field,
    /// It is not as in the parent.
    since_fork: bool,
}

impl<'a> Dirty<'a> {
    /// Nothing so far. `file` is the whole file, `pages` those of which something will be added: only modules that need one of them are looked through.
    ///
    /// # Errors
    /// The image is of a version of CPython whose objects are not known, or its tables are damaged.
    pub fn new(
        image: &'a Image<'a>,
        file: &'a [u8],
        pages: &BTreeSet<u32>,
        profile: Option<&'a Profile>,
    ) -> Result<Dirty<'a>> {
        let mut wanted = vec![false; image.len()];
        for (number, wanted) in wanted.iter_mut().enumerate() {
            let mut runs = image.runs(&image.entry(number as u32))?;
            *wanted = runs.any(|(first, count)| pages.range(first..first + count).next().is_some());
        }
        let objects = Objects::find(image, file, |module| wanted[module as usize])?;
        let page = PAGE as u64;
        let sections = Area::ALL.map(|area| SectionRow {
            section: NAMES[area.part()],
            pages: image.size(area) / page,
            hot: image.head.hot[area as usize].div_ceil(page),
            ..SectionRow::default()
        });
        Ok(Dirty {
            image,
            file,
            objects,
            profile,
            sections,
            fields: BTreeMap::new(),
            costs: Counts::default(),
            functions: Counts::default(),
            pages_unnamed: [0; 2],
        })
    }

    /// Notes that a page is in a process's memory, copied or not.
    pub fn present(&mut self, page: u32) {
        if let Some((area, _)) = self.place(page) {
            self.sections[area as usize].present += 1;
        }
    }

    /// The section of a page, and its number in that.
    fn place(&self, page: u32) -> Option<(Area, u64)> {
        let offset = self.offset(page);
        let area = self.objects.area(offset)?;
        Some((area, (offset - self.image.starts[area as usize]) / PAGE as u64))
    }

    fn offset(&self, page: u32) -> u64 {
        self.image.starts[0] + u64::from(page) * PAGE as u64
    }

    /// Adds a copied page. Returns the number of words that differ, and by how much addresses of the interpreter's do, if any does.
    pub fn add(&mut self, copied: Copied<'_>) -> (u64, Option<u64>) {
        let Some((area, number)) = self.place(copied.page) else { return (0, None) };
        let start = self.offset(copied.page);
        let was = &self.file[start as usize..start as usize + PAGE];
        let bits = self.image.bits(copied.page).unwrap_or(&[]);
        let is_address = |word: usize| bits.get(word / 8).is_some_and(|byte| byte >> (word % 8) & 1 != 0);
        let mut delta = None;
        let mut changes: Vec<Change> = Vec::new();
        for word in 0..WORDS {
            let (old, new) = (u64_at(was, 8 * word).unwrap_or(0), u64_at(copied.bytes, 8 * word).unwrap_or(0));
            if old == new {
                continue;
            }
            let offset = start + 8 * word as u64;
            let found = self.objects.at(offset);
            let (object, mut kind) = found.map_or((None, Type::None), |n| (Some(n as u32), self.objects.all[n].kind));
            // All addresses of the interpreter's move by the same distance. Another object is never put in place of one of them.
            let field = if is_address(word) {
                delta.get_or_insert(new.wrapping_sub(old));
                // One cause, whatever the objects.
                kind = Type::None;
                RELOCATED
            } else {
                found.map_or(fields::OUTSIDE, |n| self.field(n, offset, old))
            };
            let since_fork = copied.parent.is_some_and(|parent| u64_at(parent, 8 * word) != Some(new));
            changes.push(Change { object, kind, field, since_fork });
        }

        let cold = number >= self.sections[area as usize].hot;
        let row = &mut self.sections[area as usize];
        row.copied += 1;
        row.inherited += u64::from(copied.inherited);
        row.cold += u64::from(cold);
        let words = changes.len() as u64;
        row.words += words;
        row.unchanged += u64::from(changes.is_empty());
        row.relocated += u64::from(!changes.is_empty() && changes.iter().all(|change| change.field == RELOCATED));
        if changes.is_empty() {
            changes.push(Change { object: None, kind: Type::None, field: UNCHANGED, since_fork: false });
        }
        self.count_fields(area, &changes, words == 0);
        self.count_objects(&changes);
        if area == Area::Code {
            self.count_functions(&changes);
        }
        (words, delta)
    }

    fn field(&self, number: usize, offset: u64, old: u64) -> Field {
        let object = &self.objects.all[number];
        let Some(at) = offset.checked_sub(object.at) else {
            return Field { name: "PyGC_Head", cause: "tracked by the collector" };
        };
        let flags = if object.kind == Type::Str { self.objects.flags(object.at) } else { 0 };
        field_of(object.kind, at as usize, old, flags, self.objects.shape)
    }

    fn count_fields(&mut self, area: Area, changes: &[Change], unchanged: bool) {
        let mut keys: BTreeSet<(Type, Field)> = BTreeSet::new();
        for change in changes {
            keys.insert((change.kind, change.field));
            let count = self.fields.entry((area as usize, change.kind, change.field)).or_default();
            count.words += u64::from(!unchanged);
            count.objects.extend(change.object);
        }
        let others: Vec<_> = keys.iter().filter(|(_, field)| *field != RELOCATED).collect();
        let alone = match &others[..] {
            [only] => Some(**only),
            [] => keys.first().copied(),
            _ => None,
        };
        let since: BTreeSet<(Type, Field)> =
            changes.iter().filter(|change| change.since_fork).map(|change| (change.kind, change.field)).collect();
        for key in &since {
            let count = self.fields.entry((area as usize, key.0, key.1)).or_default();
            count.since_fork += 1;
            count.since_fork_alone += u64::from(since.len() == 1);
        }
        for (kind, field) in keys {
            let count = self.fields.entry((area as usize, kind, field)).or_default();
            count.pages += 1;
            count.alone += u64::from(alone == Some((kind, field)));
        }
    }

    fn count_objects(&mut self, changes: &[Change]) {
        // Where anything else was written, relocation alone would not have made it worse.
        let relocation = changes.iter().all(|change| change.field == RELOCATED);
        let counted = changes.iter().filter(|change| relocation || change.field != RELOCATED);
        let counted: Vec<(u32, Field)> = counted.filter_map(|change| Some((change.object?, change.field))).collect();
        let changed: BTreeSet<u32> = counted.iter().map(|(object, _)| *object).collect();
        for object in &changed {
            self.costs.entry(*object).or_default().share += 1.0 / changed.len() as f64;
        }
        for (object, field) in counted {
            *self.costs.entry(object).or_default().words.entry(field.name).or_default() += 1;
        }
    }

    fn count_functions(&mut self, changes: &[Change]) {
        // What the loader wrote says nothing of use.
        let used = |change: &&Change| change.kind == Type::Code && change.field.cause != fields::INTERNED;
        let written = changes.iter().filter(used);
        let written: BTreeSet<u32> = written.filter_map(|change| change.object).collect();
        let (mut named, mut unnamed) = (0, 0);
        for object in written {
            let objects = &self.objects;
            let known = self.functions.entry(object).or_insert_with(|| {
                let profile = self.profile?;
                let (source, name, line) = objects.function(objects.all[object as usize].at)?;
                Some(profile.function(&source, &name, line).is_some())
            });
            match known {
                Some(true) => named += 1,
                Some(false) => unnamed += 1,
                None => (),
            }
        }
        self.pages_unnamed[0] += u64::from(unnamed > 0);
        self.pages_unnamed[1] += u64::from(unnamed > 0 && named == 0);
    }

    /// All that was added; of objects and examples at most so many.
    pub fn report(&self, most: usize) -> Report {
        let section = |area: usize| self.sections[area].section;
        let field = |(&(area, kind, field), count): (&(usize, Type, Field), &FieldCount)| FieldRow {
            section: section(area),
            kind,
            field: field.name,
            cause: field.cause,
            pages: count.pages,
            alone: count.alone,
            words: count.words,
            objects: count.objects.len() as u64,
            since_fork: count.since_fork,
            since_fork_alone: count.since_fork_alone,
        };
        let mut fields: Vec<FieldRow> = self.fields.iter().map(field).collect();
        fields.sort_by_key(|row| std::cmp::Reverse((row.alone, row.pages, row.words)));

        let mut costs: Vec<(u32, &ObjectCount)> = self.costs.iter().map(|(object, count)| (*object, count)).collect();
        let words = |count: &ObjectCount| count.words.values().sum::<u64>();
        costs.sort_by(|(a, x), (b, y)| {
            let by_cost = y.share.total_cmp(&x.share);
            by_cost.then_with(|| words(y).cmp(&words(x))).then_with(|| a.cmp(b))
        });
        let object = |(number, count): &(u32, &ObjectCount)| {
            let object = &self.objects.all[*number as usize];
            ObjectRow {
                kind: object.kind,
                object: self.objects.label(*number as usize),
                section: self.objects.area(object.at).map_or("", |area| section(area as usize)),
                pages: count.share,
                words: words(count),
                field: count.words.iter().max_by_key(|(_, words)| **words).map_or("", |(name, _)| name),
            }
        };

        let hot = self.image.starts[Area::Code as usize] + self.image.head.hot[Area::Code as usize];
        let mut unnamed: Vec<u32> =
            self.functions.iter().filter(|(_, known)| **known == Some(false)).map(|(object, _)| *object).collect();
        unnamed.sort_unstable();
        let asked = self.profile.is_some();
        let code = CodeRow {
            functions: self.functions.len() as u64,
            cold: self.functions.keys().filter(|n| self.objects.all[**n as usize].at >= hot).count() as u64,
            unnamed: asked.then_some(unnamed.len() as u64),
            pages_unnamed: asked.then_some(self.pages_unnamed[0]),
            pages_only_unnamed: asked.then_some(self.pages_unnamed[1]),
            examples: unnamed.iter().take(most).map(|n| self.objects.label(*n as usize)).collect(),
        };
        Report {
            sections: self.sections.to_vec(),
            fields,
            objects: costs.iter().take(most).map(object).collect(),
            code,
        }
    }
}
