//! Objects as a builder took them out of an interpreter: their bytes, and what their pointers lead to. No address of the builder's process is in here.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// What an object is, as far as its place in the image depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An interned `str`: its hash is written when it is first looked up.
    Name,
    /// Another `str` that may serve as a key.
    Key,
    /// Any other object without references of its own: long text, `bytes`, numbers.
    Leaf,
    /// A tuple.
    Tuple,
    /// Code that a function runs.
    Function,
    /// Code of a module or a class body that runs once: a template for an ordinary object.
    Once,
    /// A tuple that only such code refers to: its constants, its names.
    OnceTuple,
    /// A byte string of such code: its tables.
    OnceLeaf,
}

impl Kind {
    /// Whether it is a tuple, a template's own too.
    pub fn is_tuple(self) -> bool {
        matches!(self, Kind::Tuple | Kind::OnceTuple)
    }

    /// Whether it is code.
    pub fn is_code(self) -> bool {
        matches!(self, Kind::Function | Kind::Once)
    }
}

/// What a pointer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ref {
    /// An object of the graph.
    Object(u32),
    /// An address in the interpreter's file, counted from where the file is loaded.
    Interpreter(u64),
    /// A payload section of the package, by its number, and an offset in it.
    Payload(u8, u64),
    /// An object that is made when the module is loaded: its number.
    Made(u32),
}

/// An object: ranges of the graph's bytes and pointers.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its bytes, with zeros for pointers.
    bytes: Range<usize>,
    /// Its pointers.
    refs: Range<usize>,
}

/// A module of the package.
#[derive(Clone, Debug)]
pub struct Module {
    /// Number of its record.
    pub record: u32,
    /// Its code, of [`Kind::Once`].
    pub root: u32,
    /// `co_filename`.
    pub source: String,
}

/// What the profile is asked about a function's code.
#[derive(Clone, Debug)]
pub struct Function {
    /// Number of the object.
    pub object: u32,
    /// Number of the module.
    pub module: u32,
    /// `co_qualname`.
    pub name: String,
    /// `co_firstlineno`.
    pub line: u32,
}

/// All objects of an image.
#[derive(Debug, Default)]
pub struct Graph {
    objects: Vec<Object>,
    bytes: Vec<u8>,
    /// Offset in the object's bytes, and what the pointer there leads to.
    refs: Vec<(u32, Ref)>,
    /// Objects that others may stand for.
    same: HashTable<u32>,
    /// What is made when a module is loaded: marshal data.
    pub made: Vec<Vec<u8>>,
    made_numbers: HashMap<Vec<u8>, u32>,
    /// Modules, by their records.
    pub modules: Vec<Module>,
    /// All code of [`Kind::Function`].
    pub functions: Vec<Function>,
}

impl Graph {
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// What object `number` is.
    pub fn kind(&self, number: u32) -> Kind {
        self.objects[number as usize].kind
    }

    /// Its bytes, with zeros for pointers.
    pub fn bytes(&self, number: u32) -> &[u8] {
        &self.bytes[self.objects[number as usize].bytes.clone()]
    }

    /// Its pointers, by offset.
    pub fn refs(&self, number: u32) -> &[(u32, Ref)] {
        &self.refs[self.objects[number as usize].refs.clone()]
    }

    /// The objects it leads to.
    pub fn children(&self, number: u32) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.refs(number).iter().filter_map(|(_, to)| match to {
            Ref::Object(child) => Some(*child),
            _ => None,
        })
    }

    /// Adds an object. Where `shared`, one that is the same already stands for it.
    pub fn add(&mut self, kind: Kind, bytes: &[u8], refs: &[(u32, Ref)], shared: bool) -> u32 {
        let hasher = FixedState::default();
        let hash = hasher.hash_one((kind, bytes, refs));
        if shared {
            let same = |n: &u32| self.kind(*n) == kind && self.bytes(*n) == bytes && self.refs(*n) == refs;
            if let Some(number) = self.same.find(hash, same) {
                return *number;
            }
        }
        let number = self.objects.len() as u32;
        let (at, first) = (self.bytes.len(), self.refs.len());
        self.bytes.extend_from_slice(bytes);
        self.refs.extend_from_slice(refs);
        self.objects.push(Object { kind, bytes: at..self.bytes.len(), refs: first..self.refs.len() });
        if shared {
            let Graph { same, objects, bytes, refs, .. } = self;
            same.insert_unique(hash, number, |n| {
                let object = &objects[*n as usize];
                hasher.hash_one((object.kind, &bytes[object.bytes.clone()], &refs[object.refs.clone()]))
            });
        }
        number
    }

    /// The number of an object to be made of `marshal` data at load time.
    pub fn add_made(&mut self, marshal: Vec<u8>) -> u32 {
        let next = self.made.len() as u32;
        *self.made_numbers.entry(marshal).or_insert_with_key(|marshal| {
            self.made.push(marshal.clone());
            next
        })
    }

    /// The graph as it was with `objects` objects: what was added since for a module that cannot be in the image is taken back.
    pub fn truncate(&mut self, mark: &Mark) {
        for number in mark.objects as u32..self.objects.len() as u32 {
            let hash = FixedState::default().hash_one((self.kind(number), self.bytes(number), self.refs(number)));
            if let Ok(entry) = self.same.find_entry(hash, |n| *n == number) {
                entry.remove();
            }
        }
        self.objects.truncate(mark.objects);
        self.bytes.truncate(mark.bytes);
        self.refs.truncate(mark.refs);
        self.functions.truncate(mark.functions);
    }

    /// Where the graph ends now.
    pub fn mark(&self) -> Mark {
        Mark {
            objects: self.objects.len(),
            bytes: self.bytes.len(),
            refs: self.refs.len(),
            functions: self.functions.len(),
        }
    }
}

/// An end of a graph that it can be cut back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    objects: usize,
    bytes: usize,
    refs: usize,
    functions: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything a graph says of its objects.
    fn contents(graph: &Graph) -> Vec<String> {
        let one = |n| format!("{:?} {:?} {:?}", graph.kind(n), graph.bytes(n), graph.refs(n));
        (0..graph.len() as u32).map(one).collect()
    }

    #[test]
    fn equal_objects_are_one_where_they_may_be_shared() {
        let mut graph = Graph::default();
        let to = [(8, Ref::Interpreter(1))];
        let first = graph.add(Kind::Leaf, b"12345678", &to, true);
        assert_eq!(graph.add(Kind::Leaf, b"12345678", &to, true), first);
        let others = [
            graph.add(Kind::Key, b"12345678", &to, true),
            graph.add(Kind::Leaf, b"12345679", &to, true),
            graph.add(Kind::Leaf, b"12345678", &[(8, Ref::Interpreter(2))], true),
            graph.add(Kind::Leaf, b"12345678", &[(16, Ref::Interpreter(1))], true),
            graph.add(Kind::Leaf, b"12345678", &[], true),
            graph.add(Kind::Leaf, b"12345678", &to, false),
        ];
        assert_eq!(others, [1, 2, 3, 4, 5, 6]);
        // One that may not be shared is not found either.
        assert_eq!(graph.add(Kind::Leaf, b"12345678", &to, true), first);
        assert_eq!(graph.add_made(b"a".to_vec()), 0);
        assert_eq!(graph.add_made(b"b".to_vec()), 1);
        assert_eq!(graph.add_made(b"a".to_vec()), 0);
    }

    #[test]
    fn children_are_the_objects_that_pointers_lead_to_in_their_order() {
        let mut graph = Graph::default();
        let [a, b] = [b"a", b"b"].map(|bytes| graph.add(Kind::Leaf, bytes, &[], true));
        let refs = [(8, Ref::Interpreter(5)), (24, Ref::Object(b)), (32, Ref::Made(0)), (40, Ref::Object(a))];
        let tuple = graph.add(Kind::Tuple, &[0; 48], &refs, true);
        assert_eq!(graph.children(tuple).collect::<Vec<_>>(), [b, a]);
    }

    #[test]
    fn what_is_taken_back_is_not_found_again() {
        let mut graph = Graph::default();
        let kept = graph.add(Kind::Leaf, b"kept", &[], true);
        let mark = graph.mark();
        let before = contents(&graph);
        for round in 0..3 {
            let gone = graph.add(Kind::Leaf, b"gone", &[(8, Ref::Object(kept))], true);
            let code = graph.add(Kind::Function, b"code", &[(24, Ref::Object(gone))], false);
            graph.functions.push(Function { object: code, module: 0, name: "f".into(), line: 1 });
            assert_eq!(contents(&graph).len(), 3, "round {round}");
            graph.truncate(&mark);
            assert_eq!(contents(&graph), before);
            assert!(graph.functions.is_empty());
        }
        assert_eq!(graph.add(Kind::Leaf, b"kept", &[], true), kept);
        // A number that was taken back stands for what was added since.
        let new = graph.add(Kind::Leaf, b"new", &[], true);
        let gone = graph.add(Kind::Leaf, b"gone", &[(8, Ref::Object(kept))], true);
        assert_eq!((new, gone), (kept + 1, kept + 2));
        assert_eq!(graph.bytes(new), b"new");
    }
}
