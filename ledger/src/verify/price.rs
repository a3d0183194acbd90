//! What an intent pays, recomputed: each draw's price from its sensitivity and noise, their sum, and the noise of draws
//! that were combined.

use super::{
    decimal::{RHO_PLACES, combines, gaussian_units, price_covers, spans_groups, units},
    policies::Amount,
};
use crate::entry::{QueryIntent, query::Bounds};

/// Noise on integers.
const GAUSSIAN: &str = "discrete_gaussian";

/// The choice of candidates. Its D^2 is that of its scores and its sigma is its scale, and it costs the same: OpenDP's
/// map doubles the change of a score and takes an eighth of the square, for each of G cells.
const NOISY_MAX: &str = "noisy_max";

/// Most draws that are combined into one number.
const MOST_COMBINED: usize = 16;

/// The intent's price, if each primitive pays for its sensitivity and the sum is right.
pub(crate) fn price(intent: &QueryIntent) -> Result<Amount, String> {
    let price = Amount::parse(&intent.rho, &intent.delta).ok_or("its price is no decimal in whole units")?;
    let mut sum = 0_u128;
    for primitive in &intent.primitives {
        if ![GAUSSIAN, NOISY_MAX].contains(&primitive.mechanism.as_str()) {
            return Err("its mechanism is unknown to this auditor".into());
        }
        let rho = units(&primitive.rho, RHO_PLACES).ok_or("a primitive's rho is no decimal in whole units")?;
        match price_covers(rho, &primitive.sigma, &primitive.d_squared) {
            Some(true) => {}
            Some(false) => return Err("a primitive's rho is less than D^2 / (2 sigma^2)".into()),
            None => return Err("a primitive's sigma or D^2 is no decimal".into()),
        }
        if spans_groups(&primitive.d_squared, intent.bounds.groups) != Some(true) {
            return Err("a primitive's D^2 is not a square for each of the question's groups".into());
        }
        sum = sum.checked_add(rho).ok_or("the primitives' rho overflows")?;
    }
    if intent.primitives.is_empty() || sum != price.rho {
        return Err("its rho is not the sum of its primitives".into());
    }
    Ok(price)
}

/// What the draws of an intent are worth in a sum of Gaussians, in units of 10^-12; `None` where one is of another kind.
pub(crate) fn gaussian(intent: &QueryIntent) -> Option<u128> {
    intent.primitives.iter().try_fold(0_u128, |sum, draw| {
        let one = if draw.mechanism == GAUSSIAN { gaussian_units(&draw.sigma, &draw.d_squared) } else { None };
        sum.checked_add(one?)
    })
}

/// What is drawn for a question, over all the times that it was bought.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Drawn {
    id_space: String,
    snapshot: u64,
    bounds: Bounds,
    /// D^2 of each primitive, and the sigma of each of its draws.
    primitives: Vec<(String, Vec<String>)>,
}

impl Drawn {
    /// What an intent draws, added to what the outcome that it makes finer had drawn.
    pub(crate) fn of(intent: &QueryIntent, held: Option<&Self>) -> Result<Self, String> {
        let mut drawn = Self {
            id_space: intent.id_space.clone(),
            snapshot: intent.snapshot,
            bounds: intent.bounds.clone(),
            primitives: intent.primitives.iter().map(|p| (p.d_squared.clone(), vec![p.sigma.clone()])).collect(),
        };
        let Some(held) = held else {
            return match intent.primitives.iter().all(|primitive| primitive.combined.is_none()) {
                true => Ok(drawn),
                false => Err("it combines draws without naming the outcome that held the first".into()),
            };
        };
        let same = |a: &Self, b: &Self| {
            let d = |drawn: &Self| drawn.primitives.iter().map(|p| p.0.clone()).collect::<Vec<_>>();
            a.id_space == b.id_space && a.snapshot == b.snapshot && a.bounds == b.bounds && d(a) == d(b)
        };
        if !same(&drawn, held) {
            return Err("it draws something else than the outcome that it makes finer".into());
        }
        for ((primitive, logged), (_, before)) in
            drawn.primitives.iter_mut().zip(&intent.primitives).zip(&held.primitives)
        {
            if logged.mechanism == NOISY_MAX {
                match logged.combined {
                    // Bought anew.
                    None => continue,
                    Some(_) => return Err("choices of candidates cannot be combined".into()),
                }
            }
            if before.len() >= MOST_COMBINED {
                return Err(format!("more than {MOST_COMBINED} draws of one number are combined"));
            }
            let combined =
                logged.combined.as_deref().ok_or("a draw that makes another finer names no combined sigma")?;
            primitive.1.splice(0..0, before.iter().cloned());
            match combines(combined, &primitive.1) {
                Some(true) => {}
                Some(false) => return Err("a combined sigma is not that of the draws it combines".into()),
                None => return Err("a combined sigma is no decimal".into()),
            }
        }
        Ok(drawn)
    }
}
