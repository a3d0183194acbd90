//! How a question's rho is divided between its draws: in closed form, in integers.
//!
//! Formula and proof: `mechanism.md`, claim 3.

use super::measure::{Drawn, Measured, Output};
use crate::{loss::Rho, quantile::End};

/// A weight of 1: a count or sum that is shown as it was drawn.
const ONE: u128 = 60 << 20;

/// `part / whole` of a weight of 1.
fn of_one(part: u128, whole: u128) -> u128 {
    part * ONE / whole.max(1)
}

/// The weight of each draw: the sum over outputs of the variance that it adds at rho = 1/2, relative to the square of
/// the output's bound for one patient.
fn weights(measured: &Measured) -> Vec<u128> {
    let mut weights = vec![0_u128; measured.drawn.len()];
    let mut add = |draw: usize, weight: u128| {
        if let Some(sum) = weights.get_mut(draw) {
            *sum += weight;
        }
    };
    for output in &measured.outputs {
        match *output {
            Output::Count(draw) | Output::Sum { total: draw, .. } => add(draw, ONE),
            Output::CentredSum { centred, count, range } => {
                let (half, middle) = (range.half(), u128::from(range.middle().unsigned_abs()));
                let largest = range.magnitude().pow(2);
                add(centred, of_one(half.pow(2), largest));
                add(count, of_one(middle.pow(2), largest));
            }
            Output::Mean { centred, count, .. } => {
                add(centred, ONE);
                add(count, of_one(1, 3));
            }
            Output::Variance { squares, centred, count, .. } => {
                add(squares, of_one(1, 4));
                add(centred, of_one(4, 3));
                add(count, of_one(47, 60));
            }
            Output::Quantile { .. } => {}
        }
    }
    for (weight, drawn) in weights.iter_mut().zip(&measured.drawn) {
        match drawn {
            Drawn::Selected { end: End::Middle, .. } => *weight += ONE,
            Drawn::Selected { .. } => *weight += of_one(1, 4),
            // n that only a threshold needs counts like one that is shown.
            Drawn::Noisy(_) if *weight == 0 => *weight = ONE,
            Drawn::Noisy(_) => {}
        }
    }
    weights
}

/// The share of each draw: proportional to the root of its weight.
pub(crate) fn shares(measured: &Measured) -> Vec<u128> {
    weights(measured).into_iter().map(|weight| weight.isqrt().max(1)).collect()
}

/// `rho` in these shares, each rounded down.
pub(crate) fn divide(rho: Rho, shares: &[u128]) -> Vec<Rho> {
    let all = shares.iter().sum::<u128>().max(1);
    shares.iter().map(|share| Rho::from_units(rho.units().saturating_mul(*share) / all)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// No other division of the same rho has a smaller sum of weight / rho (beyond the rounding of roots).
        #[test]
        fn the_shares_are_the_best(
            weights in prop::collection::vec(1u128..ONE * 4, 2..6), moved in 1u64..900, from in 0usize..6, to in 0usize..6,
        ) {
            let shares: Vec<u128> = weights.iter().map(|w| w.isqrt().max(1)).collect();
            let rho = Rho::from_units(1_000_000_000);
            let divided = divide(rho, &shares);
            prop_assert!(divided.iter().map(|r| r.units()).sum::<u128>() <= rho.units());
            let cost = |parts: &[f64]| weights.iter().zip(parts).map(|(w, p)| *w as f64 / p).sum::<f64>();
            let ours: Vec<f64> = divided.iter().map(|r| r.units() as f64).collect();
            let (from, to) = (from % weights.len(), to % weights.len());
            let mut other = ours.clone();
            let step = ours[from] * moved as f64 / 1_000.0;
            other[from] -= step;
            other[to] += step;
            prop_assert!(cost(&ours) <= cost(&other) * (1.0 + 1e-6));
        }
    }
}
