// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Percentiles of durations from counts per range, in memory that does not grow with their number.
//!
//! Log-linear as in HdrHistogram: each power of two is cut into 32 equal ranges, and a value is told as the middle of its
//! range, so a percentile is off by at most 1/64 (1.6 %) of itself; values below 64 ns are exact.

/// Ranges per power of two, as a power of two.
const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;

/// Counts of values; 8 bytes for each range up to that of the greatest value, 15 KB at most.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

#[inline]
fn index(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    ((shift as usize) << SUB_BITS) + (value >> shift) as usize
}

/// The middle of a range.
fn value(index: usize) -> u64 {
    if index < 2 * SUB {
        return index as u64;
    }
    let shift = (index >> SUB_BITS) as u32 - 1;
    let low = ((index & (SUB - 1)) + SUB) as u64;
    (low << shift) + (1u64 << shift) / 2
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        let at = index(value);
        self.total += 1;
        match self.counts.get_mut(at) {
            Some(count) => *count += 1,
            None => self.grow(at),
        }
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        self.counts.resize(at + 1, 0);
        if let Some(count) = self.counts.get_mut(at) {
            *count = 1;
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The value that `permille` of 1000 values do not exceed; 0 without values.
    pub fn percentile(&self, permille: u64) -> u64 {
        let rank = self.total.saturating_mul(permille).div_ceil(1000).max(1);
        let mut below = 0;
        for (at, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return value(at);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_within_two_percent_and_small_ones_exactly() {
        let mut seed = 1u64;
        for round in 0..100_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let given = seed >> (round % 64);
            let told = value(index(given));
            assert!(told.abs_diff(given) <= given / 64, "{given} is told as {told}");
        }
        assert!((0..64).all(|given| value(index(given)) == given));
        assert!(index(u64::MAX) < 60 * SUB);
    }

    #[test]
    fn ranges_follow_each_other_without_gap() {
        for shift in 6..63 {
            let edge = 1u64 << shift;
            assert_eq!(index(edge), index(edge - 1) + 1);
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(500), 0);
        for value in 1..=50 {
            histogram.add(value);
        }
        assert_eq!([1, 500, 990, 1000].map(|permille| histogram.percentile(permille)), [1, 25, 50, 50]);
    }
}
