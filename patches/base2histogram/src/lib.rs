//! A histogram with one bucket for each power of two.
//!
//! openraft counts the sizes of its batches with the crate `base2histogram`, which makes the tables of
//! all its sixteen resolutions when the first histogram is made: 26 MB that stay in memory for good,
//! more than an idle node may have. This crate takes its place (`[patch.crates-io]`), with as much of
//! its surface as openraft uses. Nothing here shows these numbers; they would be right within a factor
//! of two.

use std::{fmt, marker::PhantomData};

/// Counts values by their power of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// How many values had this many significant bits.
    counts: [u64; 65],
    _data: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// An empty histogram.
    pub fn new() -> Self {
        Histogram { counts: [0; 65], _data: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value that came `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        self.counts[(u64::BITS - value.leading_zeros()) as usize] += count;
    }

    /// Some percentiles of the values so far; zeros without any.
    pub fn percentile_stats(&self) -> PercentileStats {
        let at = |permille| self.percentile(permille);
        PercentileStats {
            samples: self.samples(),
            p0_1: at(1),
            p1: at(10),
            p5: at(50),
            p10: at(100),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p99_9: at(999),
        }
    }

    fn samples(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The lower end of the bucket in which this share of the values ends.
    fn percentile(&self, permille: u64) -> u64 {
        let wanted = (self.samples() * permille).div_ceil(1000);
        let mut seen = 0;
        for (bits, count) in self.counts.iter().enumerate() {
            seen += count;
            if wanted > 0 && seen >= wanted {
                return if bits == 0 { 0 } else { 1 << (bits - 1) };
            }
        }
        0
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Some percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values there are.
    pub samples: u64,
    /// A thousandth of them are smaller.
    pub p0_1: u64,
    /// One in a hundred is smaller.
    pub p1: u64,
    /// One in twenty is smaller.
    pub p5: u64,
    /// One in ten is smaller.
    pub p10: u64,
    /// Half of them are smaller.
    pub p50: u64,
    /// Nine in ten are smaller.
    pub p90: u64,
    /// All but one in a hundred are smaller.
    pub p99: u64,
    /// All but one in a thousand are smaller.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n={} p50={} p99={}", self.samples, self.p50, self.p99)
    }
}

/// Histograms, one line each.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    lines: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// An empty chart.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a histogram under a name.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "it is called so where it is used")]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.lines.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_factor_of_two() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        for value in 0..1000 {
            histogram.record(value);
        }
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p10, stats.p50, stats.p99_9), (1000, 0, 64, 256, 512));
        assert!(AsciiChart::new().add("batch", histogram).to_string().contains("n=1000"));
    }
}
