//! The grid that quantiles are chosen from.

use super::integer::ClampRange;

/// The public grid of a quantile: candidate j stands for `low + j step` on the value's own grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidates {
    pub(crate) range: ClampRange,
    /// Grid units between neighbours: 1, 2 or 5 times a power of ten.
    pub(crate) step: i64,
    /// How many.
    pub(crate) count: u64,
}

impl Candidates {
    /// The finest grid over `range` with at most `most` candidates, `most` >= 2.
    pub(crate) fn of(range: ClampRange, most: u64) -> Self {
        let mut step = 1_i64;
        for factor in [2, 5, 10].into_iter().cycle() {
            let found = Self { range, step, count: 0 };
            let count = found.index(range.high).unsigned_abs() + 1;
            if count <= most.max(2) {
                return Self { count, ..found };
            }
            // 1, 2, 5, 10, 20, 50, ..
            step = if factor == 5 { step / 2 * 5 } else { step * 2 };
        }
        Self { range, step, count: 1 }
    }

    /// The candidate nearest to a clamped value, halves upwards.
    pub(crate) fn index(self, clamped: i64) -> i64 {
        (clamped.clamp(self.range.low, self.range.high) - self.range.low + self.step / 2) / self.step
    }

    /// The value that a candidate stands for, in grid units.
    pub(crate) fn value(self, index: i64) -> i64 {
        self.range.low.saturating_add(index.saturating_mul(self.step)).clamp(self.range.low, self.range.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grids_are_fine_round_and_within_their_count() {
        let of = |low, high, most| {
            let found = Candidates::of(ClampRange { scale: 0, low, high }, most);
            (found.step, found.count)
        };
        assert_eq!(of(0, 120, 1_000), (1, 121));
        assert_eq!(of(0, 120, 121), (1, 121));
        assert_eq!(of(0, 120, 120), (2, 61));
        assert_eq!(of(-500, 1_000, 1_000), (2, 751));
        assert_eq!(of(-500, 1_000, 100), (20, 76));
        assert_eq!(of(0, 1 << 24, 1_000), (20_000, 840));
        assert_eq!(of(7, 7, 20), (1, 1));
    }

    proptest! {
        #[test]
        fn a_candidate_is_within_half_a_step_of_its_values(
            low in -10_000i64..10_000, width in 0i64..1_000_000, at in 0i64..1_000_000, most in 20u64..1_000,
        ) {
            let range = ClampRange { scale: 0, low, high: low + width };
            let candidates = Candidates::of(range, most);
            prop_assert!(candidates.count <= most);
            let x = low + at.min(width);
            let index = candidates.index(x);
            prop_assert!((0..candidates.count as i64).contains(&index));
            prop_assert!(2 * (candidates.value(index) - x).abs() <= candidates.step);
            prop_assert!(index == 0 || candidates.index(x - 1) <= index);
        }
    }
}
