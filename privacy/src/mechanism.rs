//! The one place where noise is drawn: the discrete Gaussian on integers, by OpenDP.
//!
//! Proof and symbols: `mechanism.md` beside this file. A measurement is built, its privacy map is
//! evaluated, and it is invoked and dropped inside [`Gaussian::add_noise`], since OpenDP's functions
//! are not `Send`; [`NoisyMax`] does the same with the noisy maximum. Sigma is a whole number of 1/1024, so it is exact as a binary float (what OpenDP
//! takes), as a decimal (what the log records) and as an integer (what the auditor computes with).

use dashu::{base::Sign, integer::IBig, integer::UBig, rational::RBig};
use epiledger_ledger::entry::query::Primitive;
use opendp::{
    accuracy::{conservative_discrete_gaussian_tail_to_alpha, discrete_gaussian_scale_to_accuracy},
    domains::{AtomDomain, VectorDomain},
    measurements::make_gaussian,
    measures::ZeroConcentratedDivergence,
    metrics::L2Distance,
};

use crate::loss::{DELTA_ONE, Delta, PrivacyLoss, RHO_ONE, Rho};

mod selection;

pub use selection::NoisyMax;

/// Steps of sigma's grid in 1.
const SIGMA_ONE: u64 = 1024;

/// Largest sigma on the grid, so that it stays exact as an f64 and noise stays far from i64's ends.
const SIGMA_LARGEST: u64 = 1 << 52;

/// Digits of 1/1024 after the point.
const SIGMA_PLACES: usize = 10;

/// Above this, OpenDP's search for an interval loops over i32 (see privacy.md); a formula takes over.
const ACCURACY_SEARCH_LARGEST: u64 = 1_000;

/// Bits after the point of the sensitivity handed to OpenDP.
const SENSITIVITY_BITS: usize = 40;

/// Name of noise on integers in the log.
const GAUSSIAN: &str = "discrete_gaussian";

/// Variance of the rounding by which a continuous Gaussian becomes a discrete one (`mechanism.md`, claim 10).
const ROUNDING_VARIANCE: u128 = 3;

/// Why noise could not be drawn or priced. Holds nothing of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MechanismError {
    /// No sigma on the grid gives the asked price.
    #[error("no noise scale fits this price: ask for a larger epsilon, or a coarser question")]
    NoScale,
    /// OpenDP refused to build or to draw, or its map exceeds the charge.
    #[error("the noise source failed")]
    Source,
}

/// One draw of a question, of either mechanism.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Noise on the integer of each cell.
    Gaussian(Gaussian),
    /// The choice of one candidate in each cell.
    NoisyMax(NoisyMax),
}

impl Draw {
    /// Squared sensitivity, sigma (a noisy maximum's scale) and charge: `rho >= D^2 / (2 sigma^2)` for both.
    #[must_use]
    pub const fn price(&self) -> &Gaussian {
        match self {
            Self::Gaussian(draw) => draw,
            Self::NoisyMax(draw) => draw.price(),
        }
    }

    /// The mechanism's name in the log.
    #[must_use]
    pub const fn mechanism(&self) -> &'static str {
        match self {
            Self::Gaussian(_) => GAUSSIAN,
            Self::NoisyMax(_) => "noisy_max",
        }
    }

    /// What a draw costs.
    #[must_use]
    pub const fn rho(&self) -> Rho {
        self.price().rho()
    }

    /// What a draw costs, and whether it is Gaussian.
    #[must_use]
    pub fn loss(&self) -> PrivacyLoss {
        match self {
            Self::Gaussian(draw) => draw.loss(),
            Self::NoisyMax(draw) => PrivacyLoss::of_any(draw.price().rho(), Delta::ZERO),
        }
    }

    /// Standard deviation, or a noisy maximum's scale.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.price().sigma()
    }

    /// What a draw cost that the log records; one that can't be read is of any mechanism.
    pub(crate) fn logged(primitive: &Primitive) -> PrivacyLoss {
        let read = || Gaussian::with_sigma(primitive.d_squared.parse().ok()?, sigma_steps(&primitive.sigma)?).ok();
        let found = if primitive.mechanism == GAUSSIAN { read() } else { None };
        let gaussian = found.map_or(Rho::ANY, |draw| draw.gaussian());
        PrivacyLoss { rho: Rho::parse(&primitive.rho).unwrap_or(Rho::ANY), delta: Delta::ZERO, gaussian }
    }

    /// The draw as the log records it.
    pub(crate) fn primitive(&self) -> Primitive {
        Primitive {
            mechanism: self.mechanism().into(),
            d_squared: self.price().d_squared().to_string(),
            sigma: self.price().sigma_decimal(),
            rho: self.rho().to_string(),
            combined: None,
        }
    }

    /// Half-width of the 95 % interval of an integer; for a noisy maximum the patients between choice and asked rank.
    #[must_use]
    pub fn half_width(&self) -> u64 {
        match self {
            Self::Gaussian(draw) => draw.half_width(),
            Self::NoisyMax(draw) => draw.half_width(),
        }
    }
}

/// A discrete Gaussian with its squared L2 sensitivity and its charge: `rho >= D^2 / (2 sigma^2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gaussian {
    d_squared: u128,
    sigma_steps: u64,
    rho: Rho,
}

impl Gaussian {
    /// The least noise whose charge is at most `rho`, for squared sensitivity `d_squared` above 0.
    ///
    /// # Errors
    /// [`MechanismError::NoScale`] when sigma would leave its grid.
    pub fn priced(d_squared: u128, rho: Rho) -> Result<Self, MechanismError> {
        // A charge is at least two units: one of loss, one for the rounding of OpenDP's map.
        if rho.units() < 2 || d_squared == 0 {
            return Err(MechanismError::NoScale);
        }
        // sigma^2 >= D^2/(2 rho); a float start a hair below it, then exact steps up: a handful.
        #[expect(clippy::cast_precision_loss, reason = "only a starting point")]
        let start = (d_squared as f64 / 2.0 / ((rho.units() - 1) as f64 / 1e12)).sqrt() * SIGMA_ONE as f64;
        if start.is_nan() || start >= SIGMA_LARGEST as f64 {
            return Err(MechanismError::NoScale);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and under 2^52")]
        let mut steps = (start as u64).saturating_sub(2).max(1);
        loop {
            let found = Self { d_squared, sigma_steps: steps, rho: charge(d_squared, steps) };
            if found.rho <= rho {
                return Ok(found);
            }
            // Relative steps of 2^-40 keep the loop short where the float start was off for a huge D.
            steps = steps + 1 + (steps >> 40);
            if steps > SIGMA_LARGEST {
                return Err(MechanismError::NoScale);
            }
        }
    }

    /// The noise with the given sigma, in 1/1024; used to read a logged primitive back.
    ///
    /// # Errors
    /// [`MechanismError::NoScale`] when sigma is 0 or leaves its grid.
    pub fn with_sigma(d_squared: u128, sigma_steps: u64) -> Result<Self, MechanismError> {
        if d_squared == 0 || sigma_steps == 0 || sigma_steps > SIGMA_LARGEST {
            return Err(MechanismError::NoScale);
        }
        Ok(Self { d_squared, sigma_steps, rho: charge(d_squared, sigma_steps) })
    }

    /// Squared L2 sensitivity on the integer grid.
    #[must_use]
    pub const fn d_squared(&self) -> u128 {
        self.d_squared
    }

    /// What a draw costs.
    #[must_use]
    pub const fn rho(&self) -> Rho {
        self.rho
    }

    /// Its part in a sum of Gaussians: `D^2 / (2 (sigma^2 - 3))` rounded up, the largest value where that is none.
    fn gaussian(&self) -> Rho {
        let steps = u128::from(SIGMA_ONE).pow(2);
        let left = u128::from(self.sigma_steps).pow(2).saturating_sub(ROUNDING_VARIANCE * steps);
        if left == 0 {
            return Rho::ANY;
        }
        let (whole, left) = (UBig::from(self.d_squared) * UBig::from(steps * RHO_ONE), UBig::from(2 * left));
        u128::try_from((whole + &left - UBig::ONE) / left).map_or(Rho::ANY, Rho::from_units)
    }

    /// What a draw costs.
    #[must_use]
    pub fn loss(&self) -> PrivacyLoss {
        PrivacyLoss { rho: self.rho, delta: Delta::ZERO, gaussian: self.gaussian() }
    }

    /// Sigma as a float, exact.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "at most 2^52, so exact")]
        let steps = self.sigma_steps as f64;
        steps / SIGMA_ONE as f64
    }

    /// Sigma as an exact decimal.
    #[must_use]
    pub fn sigma_decimal(&self) -> String {
        sigma_decimal(self.sigma_steps)
    }

    /// Sigma in 1/1024.
    pub(crate) const fn sigma_steps(&self) -> u64 {
        self.sigma_steps
    }

    fn sigma_rational(&self) -> RBig {
        RBig::from_parts(IBig::from(self.sigma_steps), UBig::from(SIGMA_ONE))
    }

    /// Half-width `h` with P[|noise| <= h] >= 0.95.
    #[must_use]
    pub fn half_width(&self) -> u64 {
        let sigma = self.sigma();
        if self.sigma_steps <= ACCURACY_SEARCH_LARGEST * SIGMA_ONE {
            // OpenDP's accuracy a has P[|noise| >= a] <= alpha, so a - 1 is the closed half-width.
            if let Ok(accuracy) = discrete_gaussian_scale_to_accuracy(sigma, 0.05) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
                return (accuracy.ceil() as u64).saturating_sub(1);
            }
        }
        wide_half_width(self.sigma_steps)
    }

    /// The least `t >= 1` with `groups * P[noise > t] <= delta`, and that product rounded up: what a
    /// release of unknown keys is charged.
    ///
    /// # Errors
    /// [`MechanismError::NoScale`] when no threshold reaches `delta`.
    pub fn threshold(&self, groups: u64, delta: Delta) -> Result<(u64, Delta), MechanismError> {
        let product = |t: u64| self.passing(groups, t);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "under 2^58, saturates")]
        let mut high = (self.sigma() * 40.0).ceil() as u64 + 2;
        if product(high)? > delta {
            return Err(MechanismError::NoScale);
        }
        // The tail falls with t, so halving finds the least.
        let mut low = 0;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if product(middle)? <= delta { high = middle } else { low = middle }
        }
        Ok((high, product(high)?))
    }

    /// `groups * P[noise > t]`, rounded up.
    ///
    /// # Errors
    /// [`MechanismError::Source`]: OpenDP knows no tail of this scale.
    pub(crate) fn passing(&self, groups: u64, t: u64) -> Result<Delta, MechanismError> {
        let p = conservative_discrete_gaussian_tail_to_alpha(self.sigma_rational(), UBig::from(t))
            .map_err(|_| MechanismError::Source)?;
        #[expect(clippy::cast_precision_loss, reason = "rounded up by more than the loss")]
        let units = (p * groups as f64 * DELTA_ONE as f64 * (1.0 + 1e-12)).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Ok(Delta::from_units((units as u128).saturating_add(1)))
    }

    /// Adds one draw to each value. The values come out in their order.
    ///
    /// # Errors
    /// [`MechanismError::Source`]: OpenDP's source of randomness failed, or its privacy map is above
    /// the charge. Nothing of the values is in the error.
    pub(crate) fn add_noise(&self, values: &[i64]) -> Result<Vec<i64>, MechanismError> {
        let measurement = make_gaussian::<_, _, ZeroConcentratedDivergence>(
            VectorDomain::new(AtomDomain::<IBig>::default()),
            L2Distance::<RBig>::default(),
            self.sigma(),
            None,
        )
        .map_err(|_| MechanismError::Source)?;
        let mapped = measurement.map(&sensitivity(self.d_squared)).map_err(|_| MechanismError::Source)?;
        let charged = RBig::from_parts(IBig::from(self.rho.units()), UBig::from(RHO_ONE));
        match RBig::try_from(mapped) {
            Ok(mapped) if mapped <= charged => {}
            _ => return Err(MechanismError::Source),
        }
        let exact: Vec<IBig> = values.iter().map(|v| IBig::from(*v)).collect();
        let noisy = measurement.invoke(&exact).map_err(|_| MechanismError::Source)?;
        // Saturation is post-processing; with sigma under 2^42 it never happens in practice.
        Ok(noisy.iter().map(saturate).collect())
    }
}

/// Steps of 1/1024 as an exact decimal.
pub(crate) fn sigma_decimal(steps: u64) -> String {
    let whole = steps / SIGMA_ONE;
    // 1/1024 = 0.0009765625 exactly.
    let fraction = (steps % SIGMA_ONE) * 9_765_625;
    let digits = format!("{fraction:0>width$}", width = SIGMA_PLACES);
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { whole.to_string() } else { format!("{whole}.{digits}") }
}

/// The steps of a decimal that [`sigma_decimal`] wrote.
pub(crate) fn sigma_steps(decimal: &str) -> Option<u64> {
    // A multiple of 1/1024 up to 2^42 is exact as a float, and so is its product with 1024.
    let steps = decimal.parse::<f64>().ok()? * SIGMA_ONE as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared with its decimal below")]
    let steps = steps as u64;
    (steps > 0 && sigma_decimal(steps) == decimal).then_some(steps)
}

/// Half-width that holds 95 % of a Gaussian of `steps / 1024`, on a lattice of any offset.
pub(crate) fn wide_half_width(steps: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 2^52, so exact")]
    let sigma = steps as f64 / SIGMA_ONE as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "under 2^53")]
    let width = (1.96 * sigma).ceil() as u64;
    width + 1
}

fn saturate(value: &IBig) -> i64 {
    i64::try_from(value).unwrap_or(if value.sign() == Sign::Negative { i64::MIN } else { i64::MAX })
}

/// The least d on a grid of 2^-40 with d^2 >= D^2.
fn sensitivity(d_squared: u128) -> RBig {
    let scaled = UBig::from(d_squared) << (2 * SENSITIVITY_BITS);
    let mut root = dashu::base::SquareRoot::sqrt(&scaled);
    if &root * &root < scaled {
        root += UBig::ONE;
    }
    RBig::from_parts(IBig::from(root), UBig::ONE << SENSITIVITY_BITS)
}

/// `d^2 / (2 sigma^2)` in units of 1e-12, rounded up, and one unit more: the unit covers the rounding
/// of OpenDP's map to a float, so that the map evaluated before each draw never passes the charge.
fn charge(d_squared: u128, sigma_steps: u64) -> Rho {
    let d = sensitivity(d_squared);
    let sigma = RBig::from_parts(IBig::from(sigma_steps), UBig::from(SIGMA_ONE));
    let ratio = (&d * &d) / (&sigma * &sigma * RBig::from(2u8)) * RBig::from(RHO_ONE);
    let units = u128::try_from(ratio.ceil()).unwrap_or(u128::MAX - 1);
    Rho::from_units(units.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rho(text: &str) -> Rho {
        Rho::parse(text).unwrap()
    }

    proptest! {
        /// The charge never passes the asked price, covers D^2/(2 sigma^2) in exact integers, and is nearly used up.
        #[test]
        fn a_priced_draw_is_charged_at_most_what_was_asked_and_at_least_what_it_costs(
            d in 1u64..1_000_000, micro in 1u64..1_000_000,
        ) {
            let d_squared = u128::from(d) * u128::from(d);
            let asked = Rho::from_units(u128::from(micro) * 1_000_000);
            let draw = Gaussian::priced(d_squared, asked).unwrap();
            prop_assert!(draw.rho() <= asked);
            // rho * 2 * steps^2 >= D^2 * 1024^2 * 1e12, in integers of any size.
            let steps = num_bigint::BigUint::from(draw.sigma_steps);
            let left = num_bigint::BigUint::from(draw.rho().units()) * 2u8 * &steps * &steps;
            let right = num_bigint::BigUint::from(d_squared) * (1u64 << 20) * 1_000_000_000_000u64;
            prop_assert!(left >= right);
            prop_assert_eq!(draw.sigma_decimal().parse::<f64>().unwrap(), draw.sigma());
            if draw.sigma_steps > 1 {
                let finer = Gaussian::with_sigma(d_squared, draw.sigma_steps - 1).unwrap();
                prop_assert!(finer.rho() > asked, "a smaller sigma would have fitted");
            }
        }
    }

    #[test]
    fn prices_that_no_noise_fits_are_errors_and_end() {
        for (d_squared, units) in [(1, 0), (1, 1), (0, 5), (u128::MAX >> 8, 2)] {
            assert_eq!(Gaussian::priced(d_squared, Rho::from_units(units)), Err(MechanismError::NoScale));
        }
    }

    #[test]
    fn opendps_map_never_passes_the_charge() {
        for d_squared in [1, 2, 3, 50, 400, 1_000_003, 1 << 60] {
            for price in ["0.00001", "0.0005", "0.5", "3"] {
                let draw = Gaussian::priced(d_squared, rho(price)).unwrap();
                assert_eq!(draw.add_noise(&[0; 3]).map(|v| v.len()), Ok(3), "{d_squared} {price}");
            }
        }
    }

    /// The closed half-width of small sigmas holds at least 95 % of the exact distribution, one step less does not.
    #[test]
    fn half_widths_are_the_least_that_hold_95_percent() {
        for price in ["0.5", "0.05", "0.005", "0.0005"] {
            let draw = Gaussian::priced(1, rho(price)).unwrap();
            let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * draw.sigma() * draw.sigma())).exp();
            let total: f64 = (-4_000..=4_000).map(weight).sum();
            let inside = |h: i64| (-h..=h).map(weight).sum::<f64>() / total;
            let half = draw.half_width() as i64;
            assert!(inside(half) >= 0.95 && inside(half - 1) < 0.95, "{price}: {half}");
        }
    }

    /// k G P[noise > t - k + 1]: more than k times one's own, and the whole of it where t is under k.
    #[test]
    fn linked_patients_pass_a_lower_threshold() {
        let draw = Gaussian::priced(1, rho("0.02")).unwrap();
        let (t, one) = draw.threshold(2, Delta::parse("0.00001").unwrap()).unwrap();
        assert_eq!(draw.passing(2, t).unwrap(), one);
        let four = draw.passing(4 * 2, t - 3).unwrap();
        assert!(four.units() > 4 * one.units() && four.units() < 100 * one.units(), "{one} {four}");
    }

    #[test]
    fn the_threshold_is_the_least_that_keeps_delta() {
        let draw = Gaussian::priced(20, rho("0.01")).unwrap();
        let delta = Delta::parse("0.000000001").unwrap();
        let (t, charged) = draw.threshold(20, delta).unwrap();
        assert!(charged <= delta && t as f64 > 5.0 * draw.sigma());
        let tail = |t: f64| 20.0 * 0.5 * libm::erfc(t / draw.sigma() / std::f64::consts::SQRT_2);
        assert!(tail(t as f64) <= 1e-9 && tail(t as f64 - 2.0) > 1e-9, "{t}");
    }
}
