//! Random numbers from a seed: the same on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator of its own for everything that is told apart by `parts`.
    pub(crate) fn of(seed: u64, parts: &[u64]) -> Self {
        parts.iter().fold(Random(seed), |random, part| Random(random.clone().next() ^ part.rotate_left(17)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// Whether one of `in_how_many` cases is met.
    pub(crate) fn one(&mut self, in_how_many: u64) -> bool {
        self.below(in_how_many) == 0
    }
}
