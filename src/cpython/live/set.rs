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

    /// The highest number in it below `end`.
    pub(super) fn last_below(&self, end: u32) -> Option<u32> {
        let whole = end as usize / 64;
        let rest = self.0.get(whole).map_or(0, |word| word & ((1 << (end % 64)) - 1));
        let word = |index: usize| if index == whole { rest } else { self.0[index] };
        let index = (0..=whole).rev().find(|index| word(*index) != 0)?;
        Some(index as u32 * 64 + word(index).ilog2())
    }
}

#[cfg(test)]
mod tests {
    use super::Set;

    #[test]
    fn the_highest_below_a_number() {
        let mut set = Set::new(200);
        assert_eq!(set.last_below(200), None);
        [3, 63, 64, 130].into_iter().for_each(|number| assert!(set.insert(number)));
        let found = [0, 3, 4, 64, 65, 128, 130, 131, 192, 200].map(|end| set.last_below(end));
        assert_eq!(
            found,
            [None, None, Some(3), Some(63), Some(64), Some(64), Some(64), Some(130), Some(130), Some(130)]
        );
    }
}
