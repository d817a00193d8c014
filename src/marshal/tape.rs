//! The tape: where each object of a marshal stream starts and where its subtree ends. Eight bytes an object, in pre-order;
//! nothing is decoded, payloads stay in the input.

use super::FLAG_REF;
use super::read::{Parser, Sink, Summary};
use super::version::Version;
use crate::error::Result;

/// One object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the type byte.
    pub at: u32,
    /// Index of the entry after this object's subtree.
    pub next: u32,
}

/// The objects of one stream in pre-order. Reuse it from file to file: [`Tape::read`] clears and refills it.
#[derive(Default)]
pub struct Tape {
    entries: Vec<Entry>,
    open: Vec<u32>,
    parser: Parser,
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the object at `start` of `input` and keeps its positions.
    ///
    /// # Errors
    /// As [`Parser::parse`]; the tape then holds what was read before the error.
    pub fn read(&mut self, input: &[u8], start: usize, version: &Version) -> Result<Summary> {
        self.entries.clear();
        self.open.clear();
        let mut recorder = Recorder { entries: &mut self.entries, open: &mut self.open };
        self.parser.parse(input, start, version, &mut recorder)
    }

    /// All objects in pre-order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `index`.
    pub fn get(&self, index: usize) -> Option<Entry> {
        self.entries.get(index).copied()
    }

    /// The indices of the direct children of the object at `index`.
    pub fn children(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.get(index).map_or(0, |e| e.next as usize);
        let mut at = index + 1;
        std::iter::from_fn(move || {
            let child = at;
            (child < end).then(|| {
                at = self.entries[child].next as usize;
                child
            })
        })
    }
}

/// The type code at `at` of the stream, its flag taken off.
pub fn code_at(input: &[u8], entry: Entry) -> u8 {
    input.get(entry.at as usize).map_or(0, |b| b & !FLAG_REF)
}

struct Recorder<'a> {
    entries: &'a mut Vec<Entry>,
    open: &'a mut Vec<u32>,
}

impl Recorder<'_> {
    #[inline(always)]
    fn push(&mut self, at: usize) {
        let next = self.entries.len() as u32 + 1;
        self.entries.push(Entry { at: at as u32, next });
    }
}

impl Sink for Recorder<'_> {
    #[inline(always)]
    fn leaf(&mut self, at: usize, _byte: u8, _end: usize) {
        self.push(at);
    }

    #[inline(always)]
    fn reference(&mut self, at: usize, _byte: u8, _number: u32) {
        self.push(at);
    }

    #[inline(always)]
    fn string(&mut self, at: usize, _byte: u8, _start: usize, _len: usize) {
        self.push(at);
    }

    #[inline(always)]
    fn open(&mut self, at: usize, _byte: u8) {
        self.open.push(self.entries.len() as u32);
        self.push(at);
    }

    #[inline(always)]
    fn close(&mut self, _end: usize) {
        if let Some(index) = self.open.pop() {
            self.entries[index as usize].next = self.entries.len() as u32;
        }
    }
}
