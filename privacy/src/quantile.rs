//! How well each candidate stands for a quantile: the scores that the noisy maximum selects by.
//!
//! Symbols and proofs: `mechanism.md`, claim 6.

/// The quantile a/b, 0 < a < b, in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Quantile {
    above: u32,
    of: u32,
}

/// Finest step of a quantile: a thousandth.
const STEPS: u32 = 1_000;

/// What is selected of a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// The candidate itself.
    Middle,
    /// A candidate that is at most the quantile, but for odds of 1/40.
    Low,
    /// A candidate that is at least the quantile, but for odds of 1/40.
    High,
}

impl End {
    /// Every one.
    pub(crate) const ALL: [Self; 3] = [Self::Middle, Self::Low, Self::High];
}

impl Quantile {
    /// The median.
    pub(crate) const MEDIAN: Self = Self { above: 1, of: 2 };

    /// From a share with at most three digits after the point, between 0 and 1; None for another.
    pub(crate) fn of_share(share: f64) -> Option<Self> {
        let thousandths = (share * f64::from(STEPS)).round();
        if !(1.0..f64::from(STEPS)).contains(&thousandths) || (share - thousandths / f64::from(STEPS)).abs() > 1e-9 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1..1000")]
        let above = thousandths as u32;
        let (mut common, mut rest) = (STEPS, above);
        while rest > 0 {
            (common, rest) = (rest, common % rest);
        }
        Some(Self { above: above / common, of: STEPS / common })
    }

    /// The quantile counted from the other end.
    pub(crate) const fn reversed(self) -> Self {
        Self { above: self.of - self.above, of: self.of }
    }

    /// Most that one patient changes a score: max(a, b-a).
    pub(crate) const fn change(self) -> u32 {
        if self.above > self.of - self.above { self.above } else { self.of - self.above }
    }

    /// b.
    pub(crate) const fn denominator(self) -> u32 {
        self.of
    }

    /// The share in words.
    pub(crate) fn share(self) -> f64 {
        f64::from(self.above) / f64::from(self.of)
    }

    /// The score of each candidate, the best highest, from the number of patients at each. `margin` is E of claim 6.
    pub(crate) fn scores(self, at: &[u64], end: End, margin: i64) -> Vec<i64> {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (a, rest) = (i64::from(self.above), i64::from(self.of - self.above));
        let all: u64 = at.iter().sum();
        // F_j = (b-a) #(<= c_j) - a #(> c_j), rising with j.
        let mut seen = 0;
        let up_to: Vec<i64> = at
            .iter()
            .map(|count| {
                seen += count;
                (rest * signed(seen)).saturating_sub(a * signed(all - seen))
            })
            .collect();
        let of = |index: usize| up_to.get(index).copied();
        let before = |index: usize| index.checked_sub(1).and_then(of);
        (0..at.len())
            .map(|index| match end {
                End::Middle => {
                    let here = at.get(index).copied().map_or(0, signed);
                    // #(< c_j) leaves out those at c_j, and so does #(> c_j).
                    let below = of(index).unwrap_or(0) - rest * here;
                    -below.abs()
                }
                End::Low => {
                    let too_high = if index == 0 { 0 } else { of(index).unwrap_or(0) + margin };
                    let too_low = of(index + 1).map_or(0, |next| -(next + margin));
                    -too_high.max(too_low).max(0)
                }
                End::High => {
                    let too_low = if of(index + 1).is_none() { 0 } else { margin - of(index).unwrap_or(0) };
                    let too_high = before(index).map_or(0, |last| last - margin);
                    -too_low.max(too_high).max(0)
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARGIN: i64 = 7;

    #[test]
    fn shares_are_lowest_terms_of_thousandths() {
        for (share, above, of) in [(0.5, 1, 2), (0.95, 19, 20), (0.001, 1, 1_000), (0.999, 999, 1_000), (0.25, 1, 4)] {
            assert_eq!(Quantile::of_share(share), Some(Quantile { above, of }), "{share}");
            assert_eq!(Quantile::of_share(share).unwrap().reversed(), Quantile { above: of - above, of });
        }
        for wrong in [0.0, 1.0, -0.5, 0.9999, 0.0005, f64::NAN, f64::INFINITY] {
            assert_eq!(Quantile::of_share(wrong), None, "{wrong}");
        }
    }

    /// Every patient, at every candidate, over every small cell: no score moves by more than the declared change, and
    /// some score moves by all of it.
    #[test]
    fn one_patient_changes_each_score_by_at_most_the_declared_change() {
        for quantile in [Quantile::MEDIAN, Quantile { above: 1, of: 4 }, Quantile { above: 19, of: 20 }] {
            let mut most = [0; 3];
            for cell in 0..4_u64.pow(4) {
                let without: Vec<u64> = (0..4).map(|j| cell / 4_u64.pow(j) % 4).collect();
                for at in 0..4 {
                    let mut with = without.clone();
                    with[at] += 1;
                    for (end, most) in End::ALL.into_iter().zip(&mut most) {
                        let pairs = quantile.scores(&with, end, MARGIN).into_iter();
                        for (a, b) in pairs.zip(quantile.scores(&without, end, MARGIN)) {
                            *most = (a - b).abs().max(*most);
                        }
                    }
                }
            }
            assert_eq!(most, [i64::from(quantile.change()); 3], "{quantile:?}");
        }
    }

    proptest! {
        /// Against the definition, and the claim that makes the ends an interval: a choice that falls short by less
        /// than the margin lies on its side of the quantile, and one choice does not fall short at all.
        #[test]
        fn ends_within_their_margin_enclose_the_quantile(
            cell in prop::collection::vec(0u64..40, 1..30), above in 1u32..20, margin in 1i64..200,
        ) {
            let quantile = Quantile { above, of: 20 };
            let all: u64 = cell.iter().sum();
            let (a, b) = (u64::from(above), 20);
            // The least candidate with at least a/b of the values at or below it.
            let exact = (0..cell.len()).find(|j| b * cell[..=*j].iter().sum::<u64>() >= a * all).unwrap();
            let scores = |end| quantile.scores(&cell, end, margin);
            for (j, score) in scores(End::Middle).into_iter().enumerate() {
                let (below, over): (u64, u64) = (cell[..j].iter().sum(), cell[j + 1..].iter().sum());
                prop_assert_eq!(score, -((b - a) as i64 * below as i64 - a as i64 * over as i64).abs());
            }
            for (j, score) in scores(End::Low).into_iter().enumerate() {
                prop_assert!(score <= -margin || j <= exact, "low {} of {}: {}", j, exact, score);
            }
            for (j, score) in scores(End::High).into_iter().enumerate() {
                prop_assert!(score <= -margin || j >= exact, "high {} of {}: {}", j, exact, score);
            }
            prop_assert_eq!(scores(End::Low).into_iter().max(), Some(0));
            prop_assert_eq!(scores(End::High).into_iter().max(), Some(0));
        }
    }
}
