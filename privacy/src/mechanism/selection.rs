//! The choice of one candidate in each cell: OpenDP's noisy maximum.

use dashu::{integer::IBig, integer::UBig, rational::RBig};
use opendp::{
    core::Measurement,
    domains::{AtomDomain, VectorDomain},
    measurements::make_noisy_max,
    measures::ZeroConcentratedDivergence,
    metrics::LInfDistance,
};

use super::{Gaussian, MechanismError};
use crate::loss::{RHO_ONE, Rho};

/// A noisy maximum over integer scores, in each of the cells that one patient can touch.
///
/// With G cells and scores that one patient changes by at most `change`, `D^2 = G change^2` and
/// `rho >= D^2 / (2 scale^2)`: the same integers, and the same check, as for a Gaussian of sigma = scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisyMax {
    price: Gaussian,
    groups: u64,
    change: u32,
    candidates: u64,
    /// Score of one patient's rank: b of the quantile a/b.
    of: u32,
}

type Selection = Measurement<VectorDomain<AtomDomain<i64>>, LInfDistance<i64>, ZeroConcentratedDivergence, usize>;

impl NoisyMax {
    /// The least scale whose charge is at most `rho`.
    ///
    /// # Errors
    /// [`MechanismError::NoScale`] when the scale would leave its grid, or OpenDP's map would pass the charge.
    pub(crate) fn priced(
        (groups, change, of): (u64, u32, u32),
        candidates: u64,
        rho: Rho,
    ) -> Result<Self, MechanismError> {
        let d_squared = u128::from(groups) * u128::from(change) * u128::from(change);
        let found = Self { price: Gaussian::priced(d_squared, rho)?, groups, change, candidates, of };
        found.build().map_err(|_| MechanismError::NoScale)?;
        Ok(found)
    }

    /// Its squared sensitivity, scale (as sigma) and charge.
    pub(crate) const fn price(&self) -> &Gaussian {
        &self.price
    }

    /// E: with odds of at least 39/40 the score of the choice is above the best one minus E (`mechanism.md`, claim 6).
    pub(crate) fn margin(&self) -> i64 {
        self.shortfall(40.0).saturating_add(1)
    }

    /// How many patients lie between the choice and the asked rank, with odds of at least 95 %.
    pub(crate) fn half_width(&self) -> u64 {
        self.shortfall(20.0).unsigned_abs().div_ceil(u64::from(self.of.max(1)))
    }

    /// `ceil(scale ln(odds K))`: the choice falls this far short of the best score with odds of at most 1 in `odds`.
    fn shortfall(&self, odds: f64) -> i64 {
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand candidates")]
        let candidates = self.candidates as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a scale is under 2^42; saturates")]
        let shortfall = (self.price.sigma() * (odds * candidates).ln()).ceil() as i64;
        shortfall
    }

    /// The measurement, if its map over all cells of one patient is within the charge.
    fn build(&self) -> Result<Selection, MechanismError> {
        let source = |_| MechanismError::Source;
        let measurement = make_noisy_max(
            VectorDomain::new(AtomDomain::<i64>::default()),
            LInfDistance::<i64>::default(),
            ZeroConcentratedDivergence,
            self.price.sigma(),
            false,
        )
        .map_err(source)?;
        let one_cell = measurement.map(&i64::from(self.change)).map_err(source)?;
        let mapped = RBig::try_from(one_cell).map_err(|_| MechanismError::Source)? * RBig::from(self.groups);
        let charged = RBig::from_parts(IBig::from(self.price.rho().units()), UBig::from(RHO_ONE));
        if mapped <= charged { Ok(measurement) } else { Err(MechanismError::Source) }
    }

    /// Chooses one index from each cell's scores.
    ///
    /// # Errors
    /// [`MechanismError::Source`]: OpenDP's source of randomness failed, or a cell has no candidates.
    pub(crate) fn select(&self, cells: impl Iterator<Item = Vec<i64>>) -> Result<Vec<usize>, MechanismError> {
        let measurement = self.build()?;
        cells.map(|scores| measurement.invoke(&scores).map_err(|_| MechanismError::Source)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rho(text: &str) -> Rho {
        Rho::parse(text).unwrap()
    }

    #[test]
    fn the_charge_covers_d_squared_over_two_scale_squared_and_opendps_map() {
        for (groups, change, of) in [(1, 1, 2), (20, 19, 20), (5, 999, 1_000), (1_000_000, 1, 2)] {
            for price in ["0.00001", "0.0005", "0.5", "3", "1000"] {
                let draw = NoisyMax::priced((groups, change, of), 100, rho(price)).unwrap();
                let scale = draw.price().sigma();
                let cost = groups as f64 * f64::from(change).powi(2) / (2.0 * scale * scale);
                assert!(draw.price().rho() <= rho(price));
                // Nearly all is used, but for the steps of a small scale.
                let used = cost / price.parse::<f64>().unwrap();
                assert!(used <= 1.0 && used > (1.0 - 1.0 / 1_024.0 / scale).powi(2) - 1e-6, "{cost} of {price}");
                assert_eq!(draw.select(std::iter::once(vec![0, 0])).map(|i| i.len()), Ok(1));
            }
        }
    }

    #[test]
    fn a_clear_maximum_is_chosen_and_equal_scores_are_equally_likely() {
        let draw = NoisyMax::priced((1, 1, 2), 3, rho("0.5")).unwrap();
        assert_eq!(draw.select(std::iter::once(vec![-400, 0, -400])).unwrap(), [1]);
        let chosen = draw.select((0..3_000).map(|_| vec![7, 7, 7])).unwrap();
        for index in 0..3 {
            let count = chosen.iter().filter(|i| **i == index).count() as f64;
            assert!((count - 1_000.0).abs() < 6.5 * (3_000.0f64 * 2.0 / 9.0).sqrt(), "{index}: {count}");
        }
        assert!(draw.select(std::iter::once(Vec::new())).is_err());
    }

    /// The choice falls short by more than the margin less often than stated: odds of a false alarm under 1e-9.
    #[test]
    fn shortfalls_are_within_their_odds() {
        let draw = NoisyMax::priced((1, 1, 2), 50, rho("0.1")).unwrap();
        let (rounds, scores) = (4_000, (0..50).map(|j| -8 * j).collect::<Vec<i64>>());
        let chosen = draw.select((0..rounds).map(|_| scores.clone())).unwrap();
        let short = chosen.iter().filter(|i| 8 * **i as i64 >= draw.margin()).count() as f64;
        let expected = f64::from(rounds) / 40.0;
        assert!(short < expected + 6.5 * expected.sqrt(), "{short}");
    }
}
