//! More accuracy for the difference in price: a second draw beside the ones that are held, combined by inverse variance.
//!
//! Given the held release, the second draw is a discrete Gaussian over V restricted to the keys that were released, with
//! V's own bound D: by adaptive composition its price adds to what was paid. It releases no key, so it has no delta.
//! The combined number is post-processing: with `p_i = 1/sigma_i^2`, `x = sum(p_i x_i) / sum(p_i)` in whole-number
//! arithmetic of any size, rounded once; its sigma is `1/sqrt(sum(p_i))`, the least multiple of 1/1024 above.

use std::sync::Arc;

use dashu::{
    base::{Abs, SquareRoot},
    integer::{IBig, UBig},
};
use epiledger_ledger::entry::query::Primitive;
use serde::{Deserialize, Serialize};

use crate::{
    accountant::Cached,
    bound::BoundedPlan,
    loss::{PrivacyLoss, Rho},
    mechanism::{Draw, Gaussian, sigma_decimal, sigma_steps, wide_half_width},
    release::{Failed, Release, ReleasedDraw},
};

/// Most draws that are combined into one number; then it is bought anew.
const MOST_COMBINED: usize = 16;

/// One of the independent draws behind a combined number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its standard deviation, an exact decimal.
    pub sigma: String,
    /// One for each cell.
    pub values: Vec<i64>,
}

/// What is drawn when a question is asked with more accuracy than is held.
#[derive(Clone)]
pub(crate) struct Finer {
    held: Arc<Release>,
    cites: u64,
    draws: Vec<Draw>,
    combined: Vec<u64>,
}

impl Finer {
    /// The draws for the difference between what `plan` asks and what was paid; None where nothing is gained by them,
    /// or some number of the plan can't be combined.
    pub(crate) fn of(plan: &BoundedPlan, held: &Cached) -> Option<Self> {
        let released = held.release.draws();
        if released.len() != plan.draws().len() {
            return None;
        }
        let (mut draws, mut combined) = (Vec::new(), Vec::new());
        for (asked, held) in plan.draws().iter().zip(released) {
            // A chosen candidate is no number that another one could be averaged with.
            let Draw::Gaussian(asked) = asked else { return None };
            let paid = Rho::parse(&held.rho).ok()?;
            let draw = Gaussian::priced(asked.d_squared(), asked.rho().less(paid)).ok()?;
            let mut sigmas = steps_of(held)?;
            sigmas.push(draw.sigma_steps());
            if sigmas.len() > MOST_COMBINED {
                return None;
            }
            combined.push(combined_steps(&sigmas)?);
            draws.push(Draw::Gaussian(draw));
        }
        Some(Self { held: Arc::clone(&held.release), cites: held.index, draws, combined })
    }

    /// Log index of the outcome that is made finer.
    pub(crate) const fn cites(&self) -> u64 {
        self.cites
    }

    /// The release that is made finer.
    pub(crate) fn held(&self) -> &Release {
        &self.held
    }

    /// What the draws cost together.
    pub(crate) fn loss(&self) -> PrivacyLoss {
        self.draws.iter().map(Draw::loss).sum()
    }

    /// The draws as the log records them.
    pub(crate) fn primitives(&self) -> Vec<Primitive> {
        let draws = self.draws.iter().zip(&self.combined);
        draws
            .map(|(draw, combined)| Primitive { combined: Some(sigma_decimal(*combined)), ..draw.primitive() })
            .collect()
    }

    /// Draws once more over `exact`, V at the held keys, and combines.
    pub(crate) fn draw(&self, plan: &BoundedPlan, exact: &[&[i64]]) -> Result<Vec<ReleasedDraw>, Failed> {
        let all = self.held.draws().iter().zip(&self.draws).zip(&self.combined).zip(plan.draws()).zip(exact);
        all.map(|((((held, draw), combined), asked), exact)| {
            let Draw::Gaussian(draw) = draw else { return Err(Failed) };
            let fresh = Part { sigma: draw.sigma_decimal(), values: draw.add_noise(exact).map_err(|_| Failed)? };
            let mut parts = held.parts();
            parts.push(fresh);
            let paid = Rho::parse(&held.rho).map_err(|_| Failed)?.plus(draw.rho());
            Ok(ReleasedDraw {
                what: held.what.clone(),
                mechanism: held.mechanism.clone(),
                scale: held.scale,
                rho: paid.to_string(),
                asked: asked.rho().to_string(),
                sigma: sigma_decimal(*combined),
                half_width: wide_half_width(*combined),
                values: combine(&parts)?,
                combines: parts,
            })
        })
        .collect()
    }
}

/// Is each number of the release at least what the plan would buy?
pub(crate) fn as_fine(held: &Release, plan: &BoundedPlan) -> bool {
    let fine = |(held, asked): (&ReleasedDraw, &Draw)| Rho::parse(&held.asked).is_ok_and(|h| h >= asked.rho());
    held.draws().len() == plan.draws().len() && held.draws().iter().zip(plan.draws()).all(fine)
}

fn steps_of(held: &ReleasedDraw) -> Option<Vec<u64>> {
    held.parts().iter().map(|part| sigma_steps(&part.sigma)).collect()
}

/// Squares of the sigmas: their product, and the product over each.
fn weights(sigmas: &[u64]) -> (UBig, Vec<UBig>) {
    let squares: Vec<UBig> = sigmas.iter().map(|s| UBig::from(*s) * UBig::from(*s)).collect();
    let product = squares.iter().fold(UBig::ONE, |product, square| product * square);
    let each = squares.iter().map(|square| &product / square).collect();
    (product, each)
}

/// The least s with `s^2 * sum(1 / s_i^2) >= 1`, all in 1/1024.
fn combined_steps(sigmas: &[u64]) -> Option<u64> {
    if sigmas.is_empty() || sigmas.contains(&0) {
        return None;
    }
    let (product, each) = weights(sigmas);
    let precision = each.into_iter().fold(UBig::ZERO, |sum, weight| sum + weight);
    // s^2 is whole, so it reaches product / precision when it reaches its ceiling.
    let square = (&product + &precision - UBig::ONE) / &precision;
    let mut root = square.sqrt();
    if &root * &root < square {
        root += UBig::ONE;
    }
    u64::try_from(root).ok()
}

/// Each cell's draws combined, rounded to the nearest whole number.
fn combine(parts: &[Part]) -> Result<Vec<i64>, Failed> {
    let sigmas: Option<Vec<u64>> = parts.iter().map(|part| sigma_steps(&part.sigma)).collect();
    let (_, each) = weights(&sigmas.ok_or(Failed)?);
    let precision = each.iter().fold(UBig::ZERO, |sum, weight| sum + weight);
    let cells = parts.first().map_or(0, |part| part.values.len());
    let half = IBig::from(precision.clone() / UBig::from(2u8));
    (0..cells)
        .map(|cell| {
            let mut sum = IBig::ZERO;
            for (part, weight) in parts.iter().zip(&each) {
                sum += IBig::from(weight.clone()) * IBig::from(*part.values.get(cell).ok_or(Failed)?);
            }
            // Away from zero and back, so that a number and its negative are treated alike.
            let size = ((&sum).abs() + &half) / IBig::from(precision.clone());
            let rounded = if sum < IBig::ZERO { -size } else { size };
            i64::try_from(rounded).map_err(|_| Failed)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(sigma: &str, values: &[i64]) -> Part {
        Part { sigma: sigma.into(), values: values.to_vec() }
    }

    #[test]
    fn combined_noise_is_that_of_both_draws() {
        let steps = |sigma: f64| (sigma * 1024.0) as u64;
        assert_eq!(combined_steps(&[steps(3.0), steps(4.0)]), Some(2458), "2.4 rounded up to the grid");
        assert_eq!(combined_steps(&[steps(10.0), steps(7.5)]), Some(steps(6.0)), "exact");
        assert_eq!(combined_steps(&[steps(2.0); 4]), Some(steps(1.0)));
        assert_eq!(combined_steps(&[1 << 52; 16]), Some(1 << 50));
        assert_eq!((combined_steps(&[]), combined_steps(&[5, 0])), (None, None));
    }

    #[test]
    fn numbers_are_weighed_by_their_precision_and_rounded_alike_on_both_sides() {
        let both = combine(&[part("10", &[100, -100, 7, i64::MAX]), part("7.5", &[0, 0, 7, i64::MAX])]).unwrap();
        // 100 * 0.36 and 0 * 0.64.
        assert_eq!(both, [36, -36, 7, i64::MAX]);
        assert_eq!(combine(&[part("1", &[0, 0]), part("1", &[1, -1])]).unwrap(), [1, -1]);
        assert_eq!(combine(&[part("1", &[0]), part("1", &[])]), Err(Failed));
    }

    /// Exact odds for noises so small that every lattice effect shows: the stated half-width holds 95 %.
    #[test]
    fn half_widths_of_combined_numbers_hold_95_percent() {
        let weight = |x: i64, sigma: f64| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
        for (one, two) in [("0.5", "0.5"), ("0.5", "3"), ("1", "0.75"), ("2", "2"), ("5", "1.5"), ("4", "30")] {
            let sigmas = [one, two].map(|text| sigma_steps(text).unwrap());
            let half = wide_half_width(combined_steps(&sigmas).unwrap());
            let (a, b): (f64, f64) = (one.parse().unwrap(), two.parse().unwrap());
            let (mut inside, mut total) = (0.0, 0.0);
            for x in -60..=60 {
                for y in -300..=300 {
                    let odds = weight(x, a) * weight(y, b);
                    total += odds;
                    let value = combine(&[part(one, &[x]), part(two, &[y])]).unwrap()[0];
                    inside += if value.unsigned_abs() <= half { odds } else { 0.0 };
                }
            }
            assert!(inside / total >= 0.95, "{one} and {two}: {} within {half}", inside / total);
        }
    }
}
