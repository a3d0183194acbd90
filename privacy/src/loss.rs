//! Privacy loss in integer units: approximate zCDP `(rho, delta)`, always rounded against the asker.
//!
//! Rho is counted in 1e-12 and delta in 1e-18, so sums are exact and an auditor can repeat them.
//! Epsilon is only shown (`epsilon.rs`).

use std::{fmt, iter::Sum};

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

    /// More than any number that is typed; sums stay at it.
    pub const ANY: Self = Self(u128::MAX);

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

    /// So many times as much, or the largest value.
    #[must_use]
    pub const fn times(self, number: u128) -> Self {
        Self(self.0.saturating_mul(number))
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

/// A loss of approximate zCDP. Losses add under adaptive composition, rho to rho and delta to delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrivacyLoss {
    /// zCDP's rho.
    pub rho: Rho,
    /// Probability outside of it.
    pub delta: Delta,
    /// Half the square of the m of m-Gaussian differential privacy, where all of it is noise on integers; the largest value
    /// where some of it is not, or may not be. It is above rho, by a hair where sigma is well above 2 (`mechanism.md`, claim 10); only epsilon reads it.
    pub gaussian: Rho,
}

impl PrivacyLoss {
    /// Nothing.
    pub const ZERO: Self = Self { rho: Rho::ZERO, delta: Delta::ZERO, gaussian: Rho::ZERO };

    /// A loss by whatever draws: a cap, or what is left of one.
    #[must_use]
    pub const fn of_any(rho: Rho, delta: Delta) -> Self {
        Self { rho, delta, gaussian: Rho::ANY }
    }

    /// Adaptive sequential composition.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            rho: self.rho.plus(other.rho),
            delta: self.delta.plus(other.delta),
            gaussian: self.gaussian.plus(other.gaussian),
        }
    }

    /// The loss so many times.
    #[must_use]
    pub const fn times(self, number: u128) -> Self {
        Self { rho: self.rho.times(number), delta: self.delta.times(number), gaussian: self.gaussian.times(number) }
    }

    /// What is left of `self` after `spent`, each part at least 0; it may go to any draws.
    #[must_use]
    pub const fn less(self, spent: Self) -> Self {
        Self::of_any(self.rho.less(spent.rho), self.delta.less(spent.delta))
    }

    /// Is each part within `cap`?
    #[must_use]
    pub fn within(self, cap: Self) -> bool {
        self.rho <= cap.rho && self.delta <= cap.delta
    }
}

/// What several questions or draws cost together.
impl Sum for PrivacyLoss {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Self::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn one_draw_that_is_not_gaussian_makes_a_sum_of_any_draws() {
        let (rho, one) = (Rho::from_units(5), Rho::from_units(6));
        let gaussian = PrivacyLoss { rho, delta: Delta::ZERO, gaussian: one };
        assert_eq!(gaussian.times(3).gaussian, Rho::from_units(18));
        assert_eq!(
            gaussian.plus(gaussian).plus(PrivacyLoss::of_any(rho, Delta::ZERO)),
            PrivacyLoss::of_any(rho.times(3), Delta::ZERO)
        );
        assert_eq!(PrivacyLoss::of_any(rho, Delta::ZERO).less(gaussian), PrivacyLoss::of_any(Rho::ZERO, Delta::ZERO));
    }
}
