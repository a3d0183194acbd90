//! Privacy loss in integer units: approximate zCDP `(rho, delta)`, always rounded against the asker.
//!
//! Rho is counted in 1e-12 and delta in 1e-18, so sums are exact and an auditor can repeat them.
//! Epsilon is only shown: `epsilon = rho + 2 sqrt(rho ln(1/delta_rep))` (Bun and Steinke 2016,
//! proposition 1.3), looser than OpenDP's conversion but within reach of any verifier.

use std::fmt;

/// An amount in units of 10^-PLACES.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Units<const PLACES: usize>(u128);

/// zCDP's rho in units of 1e-12.
pub type Rho = Units<RHO_PLACES>;

/// Approximate zCDP's delta in units of 1e-18.
pub type Delta = Units<DELTA_PLACES>;

/// Digits after the point of a [`Rho`].
pub const RHO_PLACES: usize = 12;

/// Digits after the point of a [`Delta`].
pub const DELTA_PLACES: usize = 18;

/// Units in rho = 1.
pub const RHO_ONE: u128 = 1_000_000_000_000;

/// Units in delta = 1.
pub const DELTA_ONE: u128 = 1_000_000_000_000_000_000;

/// Largest rho or delta that can be typed: far past any use, far from overflow.
const LARGEST_WHOLE: u128 = 1_000_000;

/// A number that can't be a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossError {
    /// Not a plain decimal.
    #[error("not a decimal number: write it like 0.0005")]
    NotADecimal,
    /// Zero, negative, not finite, or past one million.
    #[error("out of range: it must be above 0 and at most 1000000")]
    OutOfRange,
    /// More digits than the unit has.
    #[error("too many digits after the point")]
    TooFine,
}

/// Reads `12.34` into units of 10^-places, exactly.
fn parse_units(text: &str, places: usize) -> Result<u128, LossError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || (text.contains('.') && fraction.is_empty()) {
        return Err(LossError::NotADecimal);
    }
    let significant = fraction.trim_end_matches('0');
    if significant.len() > places {
        return Err(LossError::TooFine);
    }
    let whole: u128 = whole.parse().map_err(|_| LossError::OutOfRange)?;
    if whole > LARGEST_WHOLE {
        return Err(LossError::OutOfRange);
    }
    let mut units = whole;
    for position in 0..places {
        let digit = significant.as_bytes().get(position).map_or(0, |b| b - b'0');
        units = units * 10 + u128::from(digit);
    }
    Ok(units)
}

impl<const PLACES: usize> Units<PLACES> {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From a whole number of units.
    #[must_use]
    pub const fn from_units(units: u128) -> Self {
        Self(units)
    }

    /// How many units.
    #[must_use]
    pub const fn units(self) -> u128 {
        self.0
    }

    /// Reads an exact decimal with at most PLACES places.
    ///
    /// # Errors
    /// Not a decimal, too large, or too fine.
    pub fn parse(text: &str) -> Result<Self, LossError> {
        parse_units(text, PLACES).map(Self)
    }

    /// Sum, or the largest value: a saturated sum is past every cap, so it is refused.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of `self` after `spent`, at least 0.
    #[must_use]
    pub const fn less(self, spent: Self) -> Self {
        Self(self.0.saturating_sub(spent.0))
    }
}

/// The shortest exact decimal.
impl<const PLACES: usize> fmt::Display for Units<PLACES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padded = format!("{:0>width$}", self.0, width = PLACES + 1);
        let (whole, fraction) = padded.split_at(padded.len() - PLACES);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { write!(f, "{whole}") } else { write!(f, "{whole}.{fraction}") }
    }
}

impl Rho {
    /// The largest rho whose [`Self::epsilon`] at `delta_rep` is at most `epsilon`.
    ///
    /// # Errors
    /// `epsilon` is not above 0 and at most one million, or is so small that no unit fits.
    pub fn from_epsilon(epsilon: f64, delta_rep: Delta) -> Result<Self, LossError> {
        if !epsilon.is_finite() || epsilon <= 0.0 || epsilon > 1e6 {
            return Err(LossError::OutOfRange);
        }
        let l = delta_rep.ln_inverse();
        // (sqrt(L+e) - sqrt(L))^2 in the form that does not cancel for small e.
        let root = epsilon / ((l + epsilon).sqrt() + l.sqrt());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "finite, positive and at most 1e18 here"
        )]
        let mut units = (root * root * 1e12).floor() as u128;
        while units > 0 && Self(units).epsilon(delta_rep) > epsilon {
            units -= 1;
        }
        if units == 0 { Err(LossError::OutOfRange) } else { Ok(Self(units)) }
    }

    /// `rho + 2 sqrt(rho ln(1/delta_rep))`, rounded up to a millionth.
    #[must_use]
    pub fn epsilon(self, delta_rep: Delta) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "rounded up below by more than the loss")]
        let rho = self.0 as f64 / 1e12;
        let exact = rho + 2.0 * (rho * delta_rep.ln_inverse()).sqrt();
        // A relative 1e-14 covers the few roundings above.
        (exact * (1.0 + 1e-14) * 1e6).ceil() / 1e6
    }
}

impl Delta {
    /// `ln(1/delta)`, rounded up; 0 for delta of 1 or more, and delta 0 counts as one unit.
    fn ln_inverse(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "rounded up below by more than the loss")]
        let delta = (self.0.max(1) as f64) / 1e18;
        (-delta.ln()).max(0.0) * (1.0 + 1e-14)
    }
}

/// A loss of approximate zCDP. Losses add under adaptive composition, rho to rho and delta to delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrivacyLoss {
    /// zCDP's rho.
    pub rho: Rho,
    /// Probability outside of it.
    pub delta: Delta,
}

impl PrivacyLoss {
    /// Nothing.
    pub const ZERO: Self = Self { rho: Rho::ZERO, delta: Delta::ZERO };

    /// Adaptive sequential composition.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { rho: self.rho.plus(other.rho), delta: self.delta.plus(other.delta) }
    }

    /// What is left of `self` after `spent`, each part at least 0.
    #[must_use]
    pub const fn less(self, spent: Self) -> Self {
        Self { rho: self.rho.less(spent.rho), delta: self.delta.less(spent.delta) }
    }

    /// Is each part within `cap`?
    #[must_use]
    pub fn within(self, cap: Self) -> bool {
        self.rho <= cap.rho && self.delta <= cap.delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_and_written_exactly() {
        for text in ["0", "1", "0.5", "0.0005", "0.000000000001", "12.345678901234"] {
            assert_eq!(Rho::parse(text).unwrap().to_string(), text.to_string());
        }
        assert_eq!(Rho::parse("0.50").unwrap(), Rho::from_units(500_000_000_000));
        assert_eq!(Rho::parse("0.0000000000001"), Err(LossError::TooFine));
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e-3", "NaN", "inf", "0x1", "1 "] {
            assert_eq!(Rho::parse(text), Err(LossError::NotADecimal), "{text}");
        }
        assert_eq!(Rho::parse("1e308".trim_end_matches("e308")).unwrap(), Rho::from_units(RHO_ONE));
        assert_eq!(Rho::parse(&"9".repeat(60)), Err(LossError::OutOfRange));
    }

    #[test]
    fn the_lifetime_default_shows_the_epsilon_the_design_states() {
        let shown = Rho::parse("0.5").unwrap().epsilon(Delta::parse("0.00000001").unwrap());
        assert!((6.5..6.7).contains(&shown), "{shown}");
    }

    #[test]
    fn bad_epsilons_are_refused() {
        let delta = Delta::parse("0.00000001").unwrap();
        for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e308, 1e-300] {
            assert_eq!(Rho::from_epsilon(epsilon, delta), Err(LossError::OutOfRange), "{epsilon}");
        }
    }

    proptest! {
        #[test]
        fn an_asked_epsilon_is_never_exceeded_and_nearly_reached(epsilon in 0.001f64..50.0) {
            let delta = Delta::parse("0.00000001").unwrap();
            let rho = Rho::from_epsilon(epsilon, delta).unwrap();
            prop_assert!(rho.epsilon(delta) <= epsilon);
            let more = Rho::from_units(rho.units() + rho.units() / 1000 + 10_000);
            prop_assert!(more.epsilon(delta) > epsilon - 2e-6);
        }
    }
}
