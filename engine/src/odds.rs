//! A price told as odds: what an answer could teach someone who already suspects that a person is in the data.
//!
//! With privacy loss at most l, but for a chance of delta, the odds of any suspicion change by a factor of at most e^l
//! either way (Kasiviswanathan and Smith 2014). The loss of what is rho-zCDP, and of whatever is made of it, passes
//! `l = rho + 2 sqrt(rho ln(1/delta))` with a chance of at most delta (Bun and Steinke 2016, the proof of proposition 1.3).
//! An epsilon of (epsilon, delta)-differential privacy is less: it lets the loss itself pass it more often than by
//! delta. For k linked people (a household, one person under several ids) rho grows to k^2 rho (their proposition 1.9).

use epiledger_privacy::loss::{Delta, PrivacyLoss};
use serde::{Deserialize, Serialize};

use crate::epsilon::{epsilon, mostly};

/// Sizes of groups that are told: one person, and a household.
const PEOPLE: [u64; 2] = [1, 4];

/// The suspicion that words and numbers start from.
const PRIOR: f64 = 0.01;

/// What a loss means for a group of linked people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupLoss {
    /// Their number, k.
    pub people: u64,
    /// k^2 rho, a decimal.
    pub rho: String,
    /// Its epsilon at `delta_rep`.
    pub epsilon: f64,
    /// Their delta, a decimal: with unknown keys k G P[noise > t - k + 1] for each question. None for a cap, since what
    /// a cap leaves room for depends on the questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<String>,
    /// The odds of a suspicion change by at most this factor, up or down.
    pub odds_factor: f64,
    /// What a suspicion of 1 in 100 becomes at most.
    pub one_in_100_at_most: f64,
    /// What it becomes at least.
    pub one_in_100_at_least: f64,
    /// The same in words.
    pub words: String,
}

/// A loss told for one person and for a household; `delta` is that of so many linked people, where it is known.
#[must_use]
pub fn groups(loss: PrivacyLoss, delta_rep: Delta, delta: impl Fn(u64) -> Option<Delta>) -> Vec<GroupLoss> {
    PEOPLE.into_iter().map(|people| group(people, loss, delta(people), delta_rep)).collect()
}

fn group(people: u64, loss: PrivacyLoss, delta: Option<Delta>, delta_rep: Delta) -> GroupLoss {
    let loss = loss.times(u128::from(people) * u128::from(people));
    let epsilon = epsilon(loss, delta_rep);
    let odds_factor = mostly(loss.rho, delta_rep).exp();
    let after = |factor: f64| {
        let odds = PRIOR / (1.0 - PRIOR) * factor;
        // Infinite odds are certainty.
        if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 }
    };
    let (most, least) = (after(odds_factor), after(1.0 / odds_factor));
    let whom = if people == 1 { "someone is".to_owned() } else { format!("{people} linked people are") };
    let but = match delta {
        Some(delta) => format!("a chance of {}", delta_rep.plus(delta)),
        None => format!("a chance of {delta_rep} and what each question's estimate adds to it for unknown keys"),
    };
    let words = format!(
        "a suspicion of 1 in 100 that {whom} in the data could become at most {} in 100 and at least {} in 100, \
         but for {but}",
        digits(most * 100.0, f64::ceil),
        digits(least * 100.0, f64::floor)
    );
    GroupLoss {
        people,
        rho: loss.rho.to_string(),
        epsilon,
        delta: delta.map(|delta| delta.to_string()),
        odds_factor,
        one_in_100_at_most: most,
        one_in_100_at_least: least,
        words,
    }
}

/// Two significant digits after the leading zeros, as people read them, rounded by `round`: what is at most, up.
fn digits(number: f64, round: fn(f64) -> f64) -> String {
    let places = if number >= 10.0 {
        0
    } else if number >= 1.0 {
        1
    } else if number >= 0.1 {
        2
    } else {
        4
    };
    // Floats a hair off a shown step are that step.
    let scale = 10f64.powi(places);
    let steps = number * scale;
    let steps = if (steps - steps.round()).abs() < 1e-9 { steps.round() } else { round(steps) };
    format!("{:.1$}", steps / scale, places.unsigned_abs() as usize)
}

#[cfg(test)]
mod tests {
    use epiledger_privacy::loss::Rho;

    use super::*;

    fn any(rho: &str) -> PrivacyLoss {
        PrivacyLoss::of_any(Rho::parse(rho).unwrap(), Delta::ZERO)
    }

    #[test]
    fn a_price_is_told_as_odds_for_one_and_for_a_household() {
        let delta = Delta::parse("0.00000001").unwrap();
        let told = groups(any("0.0005"), delta, |people| Some(Delta::from_units(u128::from(people))));
        assert_eq!(told[1].delta.as_deref(), Some("0.000000000000000004"));
        assert!(told[1].words.ends_with("but for a chance of 0.000000010000000004"), "{}", told[1].words);
        assert_eq!((told[0].people, told[1].people), (1, 4));
        assert_eq!((told[0].rho.as_str(), told[1].rho.as_str()), ("0.0005", "0.008"));
        // rho + 2 sqrt(rho ln(10^8)) = 0.1925: odds of 1 to 99 times 1.2123.
        assert!((told[0].epsilon, told[0].epsilon.exp() < told[0].odds_factor) == (0.157_607, true));
        assert!((told[0].odds_factor - 1.2123).abs() < 1e-3, "{:?}", told[0]);
        assert!(
            (told[0].one_in_100_at_most - 0.0121).abs() < 1e-4 && (told[0].one_in_100_at_least - 0.0083).abs() < 1e-4
        );
        assert!(told[0].words.contains("1.3 in 100 and at least 0.82 in 100") && told[0].words.contains("0.00000001"));
        assert!(told[1].epsilon > 3.9 * told[0].epsilon && told[1].words.contains("4 linked people"));
    }

    #[test]
    fn nothing_teaches_nothing_and_everything_is_certainty() {
        let delta = Delta::parse("0.00000001").unwrap();
        let nothing = groups(PrivacyLoss::ZERO, delta, |_| None);
        assert_eq!(nothing[1].delta, None);
        assert_eq!((nothing[0].odds_factor, nothing[0].one_in_100_at_most), (1.0, 0.01));
        let all = groups(any("100000"), delta, |_| None);
        assert_eq!((all[1].one_in_100_at_most, all[1].one_in_100_at_least), (1.0, 0.0));
    }
}
