//! Which types the objects of an image are of, as far as the image tells: a type is an address of the interpreter's, and which is which is learnt from where objects
//! stand. The root of a module is code, and code has tuples, `str` and `bytes` in known places.

use super::shape::Type;

/// The types that can be learnt. All others are taken for those of numbers.
const KINDS: [Type; 4] = [Type::Code, Type::Tuple, Type::Str, Type::Bytes];

/// Words that are types, by [`KINDS`], where they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Types([Option<u64>; KINDS.len()]);

impl Types {
    /// The type that `word` is.
    pub(super) fn kind(&self, word: u64) -> Type {
        let known = self.0.iter().position(|known| *known == Some(word));
        known.map_or(Type::Number, |i| KINDS[i])
    }

    /// Notes that `word` is the type `kind`. False, and nothing is noted: it is known to be another, or `kind` to be another word.
    pub(super) fn learn(&mut self, kind: Type, word: u64) -> bool {
        let agrees =
            |(k, known): (&Type, &Option<u64>)| (*k == kind) == (*known == Some(word)) || *k == kind && known.is_none();
        if !KINDS.iter().zip(&self.0).all(agrees) {
            return false;
        }
        if let Some(i) = KINDS.iter().position(|k| *k == kind) {
            self.0[i] = Some(word);
        }
        true
    }

    /// Whether all are known.
    pub(super) fn is_complete(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }
}
