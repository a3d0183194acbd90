//! A person's own random numbers: a function of the seed and the person's number, so that leaving one person out
//! changes nobody else.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of a 32-byte seed.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// 0 <= x < 1, on a grid of 2^-53.
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A whole number of `low..=high`; `low` when the range is empty.
    pub(super) fn between(&mut self, low: i32, high: i32) -> i32 {
        let width = f64::from(high) - f64::from(low) + 1.0;
        if width < 1.0 { low } else { low + (self.unit() * width) as i32 }
    }

    /// Position of one of the weights, drawn in proportion to them; 0 when all are 0.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        for (position, weight) in weights.enumerate() {
            if left < weight {
                return position;
            }
            left -= weight;
        }
        0
    }

    /// A number about `mean` with standard deviation `sd`: Irwin-Hall of 12, within six deviations.
    pub(super) fn around(&mut self, mean: f64, sd: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| self.unit()).sum();
        mean + sd * (sum - 6.0)
    }

    /// How many of a Poisson process with this mean, at most `most`.
    pub(super) fn poisson(&mut self, mean: f64, most: usize) -> usize {
        let limit = (-mean).exp();
        let mut product = self.unit();
        let mut count = 0;
        while product > limit && count < most {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_means() {
        let mut dice = Dice::new([9; 32]);
        let n = 20_000;
        let mean = |draw: &mut dyn FnMut() -> f64| (0..n).map(|_| draw()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || f64::from(dice.between(1, 6))) - 3.5).abs() < 0.1);
        assert!((mean(&mut || dice.around(120.0, 15.0)) - 120.0).abs() < 1.0);
        assert!((mean(&mut || dice.poisson(4.0, 100) as f64) - 4.0).abs() < 0.15);
        assert!((mean(&mut || dice.weighted([1.0, 0.0, 3.0].into_iter()) as f64) - 1.5).abs() < 0.1);
    }
}
