//! A set of numbers, which are dense: a bit for each.

/// See the module.
#[derive(Debug)]
pub(super) struct Set(Vec<u64>);

impl Set {
    /// None of the numbers below `end`.
    pub(super) fn new(end: usize) -> Set {
        Set(vec![0; end.div_ceil(64)])
    }

    /// Whether `number` is in it.
    pub(super) fn has(&self, number: u32) -> bool {
        self.0[number as usize / 64] >> (number % 64) & 1 != 0
    }

    /// Adds `number`. Whether it was not there before.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let new = !self.has(number);
        self.0[number as usize / 64] |= 1 << (number % 64);
        new
    }
}
