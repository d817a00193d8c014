//! Random marshal objects, and an encoder for them that shares no code with the reader.

use proptest::prelude::*;
use pye::marshal::version::Version;
use pye::marshal::{Dialect, FLAG_REF};

/// A random object; `flag` asks for a reference number.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Atom(u8, bool),
    Fixed(u8, Vec<u8>, bool),
    Long(bool, Vec<u16>, bool),
    Text8(u8, Vec<u8>, bool),
    String(u8, Vec<u8>, bool),
    /// A reference to one of the objects numbered so far, chosen by this number.
    Ref(u32),
    Seq(u8, Vec<Node>, bool),
    Dict(u8, Vec<(Node, Node)>, bool),
    Slice(Vec<Node>, bool),
    Code(u32, Vec<Node>, bool),
}

/// Random objects of every type, a few levels deep.
pub(crate) fn node() -> impl Strategy<Value = Node> {
    let code = |codes: &'static [u8]| prop::sample::select(codes);
    let bytes = |max: usize| prop::collection::vec(any::<u8>(), 0..max);
    let leaf = prop_oneof![
        2 => (code(b"NFTS."), any::<bool>()).prop_map(|(c, f)| Node::Atom(c, f)),
        2 => (code(b"iIgy"), prop::collection::vec(any::<u8>(), 16), any::<bool>()).prop_map(|(c, b, f)| Node::Fixed(c, b, f)),
        1 => (any::<bool>(), prop::collection::vec(any::<u16>(), 0..6), any::<bool>()).prop_map(|(n, d, f)| Node::Long(n, d, f)),
        1 => (code(b"fx"), bytes(256), any::<bool>()).prop_map(|(c, b, f)| Node::Text8(c, b, f)),
        4 => (code(b"stuaAzZ"), bytes(300), any::<bool>()).prop_map(|(c, b, f)| Node::String(c, b, f)),
        4 => any::<u32>().prop_map(Node::Ref),
    ];
    leaf.prop_recursive(6, 120, 12, move |inner| {
        let many = |max: usize| prop::collection::vec(inner.clone(), 0..max);
        prop_oneof![
            3 => (code(b"([<>)"), many(12), any::<bool>()).prop_map(|(c, n, f)| Node::Seq(c, n, f)),
            1 => (code(b"{}"), prop::collection::vec((inner.clone(), inner.clone()), 0..5), any::<bool>())
                .prop_map(|(c, n, f)| Node::Dict(c, n, f)),
            1 => (prop::collection::vec(inner.clone(), 3), any::<bool>()).prop_map(|(n, f)| Node::Slice(n, f)),
            1 => (any::<u32>(), prop::collection::vec(inner.clone(), 10), any::<bool>())
                .prop_map(|(l, n, f)| Node::Code(l, n, f)),
        ]
    })
}

/// Encodes [`Node`]s as a given version would read them, counting objects and numbers independently of the reader.
pub(crate) struct Encoder {
    version: &'static Version,
    /// The marshal data.
    pub(crate) out: Vec<u8>,
    /// Objects that took a number; in 2.7, interned strings.
    pub(crate) numbered: u32,
    /// All objects, NULL included.
    pub(crate) objects: usize,
}

impl Encoder {
    /// Encodes `root`.
    pub(crate) fn encode(version: &'static Version, root: &Node) -> Encoder {
        let mut encoder = Encoder { version, out: Vec::new(), numbered: 0, objects: 0 };
        encoder.put(root);
        encoder
    }

    /// Writes a type byte; a code of a later dialect becomes `or`.
    fn code(&mut self, code: u8, or: u8, flag: bool) -> u8 {
        let since = match code {
            b'a' | b'A' | b'z' | b'Z' | b')' => Dialect::V4,
            b':' => Dialect::V5,
            b'}' => Dialect::V6,
            _ => Dialect::V2,
        };
        let code = if self.version.dialect < since { or } else { code };
        let v2 = self.version.dialect == Dialect::V2;
        let flag = flag && !v2;
        let takes_number = if v2 { code == b't' } else { flag && !b"NFTS.".contains(&code) };
        self.numbered += u32::from(takes_number);
        self.objects += 1;
        self.out.push(code | if flag { FLAG_REF } else { 0 });
        code
    }

    fn all(&mut self, nodes: &[Node]) {
        nodes.iter().for_each(|n| self.put(n));
    }

    fn number(&mut self, number: u32) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    fn put(&mut self, node: &Node) {
        match node {
            Node::Atom(code, flag) => {
                self.code(*code, *code, *flag);
            }
            Node::Fixed(code, bytes, flag) => {
                let len = match self.code(*code, *code, *flag) {
                    b'i' => 4,
                    b'y' => 16,
                    _ => 8,
                };
                self.out.extend_from_slice(&bytes[..len]);
            }
            Node::Long(negative, digits, flag) => {
                self.code(b'l', b'l', *flag);
                let count = digits.len() as i32;
                self.number(if *negative { -count } else { count } as u32);
                digits.iter().for_each(|d| self.out.extend_from_slice(&d.to_le_bytes()));
            }
            Node::Text8(code, text, flag) => {
                for _ in 0..if self.code(*code, *code, *flag) == b'f' { 1 } else { 2 } {
                    self.out.push(text.len() as u8);
                    self.out.extend_from_slice(text);
                }
            }
            Node::String(code, bytes, flag) => match self.code(*code, b't', *flag) {
                b'z' | b'Z' => {
                    let bytes = &bytes[..bytes.len().min(255)];
                    self.out.push(bytes.len() as u8);
                    self.out.extend_from_slice(bytes);
                }
                _ => {
                    self.number(bytes.len() as u32);
                    self.out.extend_from_slice(bytes);
                }
            },
            Node::Ref(choice) => match choice.checked_rem(self.numbered) {
                Some(number) => {
                    self.objects += 1;
                    self.out.push(if self.version.dialect == Dialect::V2 { b'R' } else { b'r' });
                    self.number(number);
                }
                None => self.put(&Node::Atom(b'N', false)),
            },
            Node::Seq(code, nodes, flag) => {
                match self.code(*code, b'(', *flag) {
                    b')' => self.out.push(nodes.len() as u8),
                    _ => self.number(nodes.len() as u32),
                }
                self.all(nodes);
            }
            Node::Dict(code, pairs, flag) => {
                self.code(*code, b'{', *flag);
                for (key, value) in pairs {
                    self.put(key);
                    self.put(value);
                }
                self.code(b'0', b'0', false);
            }
            Node::Slice(nodes, flag) => {
                if self.code(b':', b'(', *flag) == b'(' {
                    self.number(3);
                }
                self.all(nodes);
            }
            Node::Code(long, nodes, flag) => {
                let layout = &self.version.code;
                self.code(b'c', b'c', *flag);
                layout.longs.iter().for_each(|_| self.number(*long));
                let (head, tail) = nodes.split_at(layout.objects.len());
                self.all(head);
                self.number(long.wrapping_mul(3));
                self.all(&tail[..layout.tail.len()]);
            }
        }
    }
}
