//! Epsilon at a delta: a view of what is charged in rho, and a way to ask for it. Rounded up to a millionth when it is
//! shown, never passed when it is asked.
//!
//! Two conversions, each valid for what it names (the core's `mechanism.md`, claim 10): that of zCDP for any draws (Canonne,
//! Kamath and Steinke 2020), and for draws that are all discrete Gaussians the curve of Gaussian differential privacy
//! (Dong, Roth and Su 2022; Balle and Wang 2018), which is tight for a whole series of them.

use epiledger_privacy::{
    loss::{DELTA_ONE, Delta, PrivacyLoss, RHO_ONE, Rho},
    refusal::{Code, PlanError},
};

use crate::{
    api::{QueryError, QueryRequest},
    query::Engine,
    question::refused,
};

/// Steps of a shown epsilon in 1.
const GRID: f64 = 1e6;

/// Relative allowance for rounding in floats: what is subtracted cancels at most 8 of their 16 digits.
const ROUNDING: f64 = 1e-6;

/// Epsilon's allowance for the distance between a discrete Gaussian and a rounded continuous one (claim 10).
const DISCRETE: f64 = 1e-7;

/// Past it the curve of a Gaussian is not evaluated, far from where `exp` ends.
const LARGEST: f64 = 500.0;

/// The largest epsilon that can be asked.
const MOST: f64 = 1e6;

impl Engine {
    /// The largest rho whose draws, by this question's mechanisms and scales, have at most the asked epsilon.
    pub(crate) fn of_epsilon(&self, request: &QueryRequest, text: &str, purpose: &str) -> Result<Rho, QueryError> {
        let bad = |what: &str| refused(&PlanError::new(Code::BadPrivacyParam, what.to_owned()));
        let asked: f64 = text.parse().map_err(|_| bad("epsilon is not a number"))?;
        if !asked.is_finite() || asked <= 0.0 || asked > MOST {
            return Err(bad("epsilon must be a finite number above 0 and at most 1000000"));
        }
        let (plan, delta_rep) = (self.at(request, Rho::from_units(RHO_ONE), purpose)?, self.delta_rep());
        // Draws cost at most what they are priced at, so what fits for any draws fits for these.
        let any = largest(Rho::ZERO, |rho| of_any(rho, delta_rep) <= asked);
        Ok(largest(any, |rho| plan.loss_at(rho).is_some_and(|loss| epsilon(loss, delta_rep) <= asked)))
    }
}

/// The largest rho that fits, above one that does: what fits falls with rho.
fn largest(known: Rho, fits: impl Fn(Rho) -> bool) -> Rho {
    let (mut low, mut high) = (known.units(), 1_000_000 * RHO_ONE);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(Rho::from_units(middle)) { low = middle } else { high = middle }
    }
    Rho::from_units(low)
}

/// The least epsilon that is known to hold at `delta_rep`, beside the loss's own delta.
#[must_use]
pub fn epsilon(loss: PrivacyLoss, delta_rep: Delta) -> f64 {
    let any = of_any(loss.rho, delta_rep);
    of_gaussian(loss.gaussian, delta_rep).map_or(any, |gaussian| gaussian.min(any))
}

/// Epsilon of whatever is rho-zCDP: the least of `rho a + (ln(1/delta) - ln(a - 1)) / (a - 1) + a ln(1 - 1/a) / (a - 1)` over
/// a > 1. Each `a` gives one that holds.
fn of_any(rho: Rho, delta_rep: Delta) -> f64 {
    let (rho, l) = (float(rho.units(), RHO_ONE), -delta(delta_rep).ln());
    if rho == 0.0 || l <= 0.0 {
        return 0.0;
    }
    // With x = a - 1 the derivative vanishes where x^2 rho + ln(1 + x) = ln(1/delta), whose left side rises.
    let (mut x, mut high) = (1e-9_f64, 1e12_f64);
    for _ in 0..64 {
        let middle = (x * high).sqrt();
        if middle * middle * rho + middle.ln_1p() < l { x = middle } else { high = middle }
    }
    let exact = rho * (1.0 + x) + l / x - (1.0 / x).ln_1p() - x.ln_1p() / x;
    ((exact.max(0.0) * (1.0 + 1e-12) + 1e-12) * GRID).ceil() / GRID
}

/// The least step of the grid at which [`curve`] is at most delta, for `gaussian = mu^2 / 2`. None past any use: that is
/// also where some draw is not Gaussian.
fn of_gaussian(gaussian: Rho, delta_rep: Delta) -> Option<f64> {
    if gaussian == Rho::ZERO {
        return Some(0.0);
    }
    let (mu, delta) = ((2.0 * float(gaussian.units(), RHO_ONE)).sqrt(), delta(delta_rep));
    let holds = |epsilon: f64| curve(mu, epsilon - DISCRETE) * (1.0 + ROUNDING) <= delta;
    if !holds(LARGEST) {
        return None;
    }
    // The curve falls with epsilon. What was drawn is shown as a step at least.
    let (mut low, mut high) = (0.0, LARGEST * GRID);
    while high - low > 1.0 {
        let middle = f64::midpoint(low, high).floor();
        if holds(middle / GRID) { high = middle } else { low = middle }
    }
    Some(high / GRID)
}

/// Delta at `epsilon` of two Gaussians of deviation 1 whose means are `mu` apart.
fn curve(mu: f64, epsilon: f64) -> f64 {
    let tail = |x: f64| 0.5 * libm::erfc(x / std::f64::consts::SQRT_2);
    tail(epsilon / mu - mu / 2.0) - epsilon.exp() * tail(epsilon / mu + mu / 2.0)
}

/// What the loss itself passes with a chance of at most delta, by whatever is rho-zCDP: `rho + 2 sqrt(rho ln(1/delta))`, a
/// hair more for rounding. An epsilon is less, since it bounds events and not each outcome.
pub fn mostly(rho: Rho, delta_rep: Delta) -> f64 {
    let (rho, l) = (float(rho.units(), RHO_ONE), -delta(delta_rep).ln());
    (rho + 2.0 * (rho * l).max(0.0).sqrt()) * (1.0 + 1e-12)
}

/// Delta as a float; 0 counts as one unit.
fn delta(delta_rep: Delta) -> f64 {
    float(delta_rep.units().max(1), DELTA_ONE)
}

fn float(units: u128, one: u128) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "what is lost is far under the allowances above")]
    let (units, one) = (units as f64, one as f64);
    units / one
}

#[cfg(test)]
mod tests;
