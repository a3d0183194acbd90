use epiledger_privacy::mechanism::Gaussian;
use proptest::prelude::*;

use super::*;

fn rho(text: &str) -> Rho {
    Rho::parse(text).unwrap()
}

fn at(text: &str) -> Delta {
    Delta::parse(text).unwrap()
}

/// A draw of sensitivity `d` and scale `steps / 1024`.
fn draw(d: u64, steps: u64) -> Gaussian {
    Gaussian::with_sigma(u128::from(d).pow(2), steps).unwrap()
}

fn sum(draws: &[Gaussian]) -> PrivacyLoss {
    draws.iter().map(Gaussian::loss).sum()
}

/// Odds of each value of a discrete Gaussian, from `-reach` to `reach`.
fn odds(sigma: f64) -> Vec<f64> {
    let reach = (sigma * 12.0).ceil() as i64;
    let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
    let all: f64 = (-reach..=reach).map(weight).sum();
    (-reach..=reach).map(|x| weight(x) / all).collect()
}

/// Odds of each sum of two independent numbers, both centred.
fn convolved(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; a.len() + b.len() - 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            sums[i + j] += x * y;
        }
    }
    sums
}

/// Draws of a number that one patient changes: the change, sigma, how many.
type Parts = [(i64, f64, u32)];

/// What all of them together give, by adding up the outcomes.
struct Exact {
    /// Odds and privacy loss of every outcome.
    outcomes: Vec<(f64, f64)>,
}

impl Exact {
    fn of(parts: &Parts) -> Self {
        let mut outcomes = vec![(1.0, 0.0)];
        for (shift, sigma, times) in parts {
            let one = odds(*sigma);
            let sums = (1..*times).fold(one.clone(), |sums, _| convolved(&sums, &one));
            let (middle, shift) = ((sums.len() / 2) as f64, *shift as f64);
            // ln P[x] / P[x - shift] of each draw is (shift^2 - 2 shift x) / (2 sigma^2), up to the sign of x.
            let loss = |x: f64| (f64::from(*times) * shift * shift + 2.0 * shift * x) / (2.0 * sigma * sigma);
            let of_sums: Vec<(f64, f64)> =
                sums.iter().enumerate().map(|(i, odds)| (*odds, loss(i as f64 - middle))).collect();
            let pairs = outcomes.iter().flat_map(|(p, l)| of_sums.iter().map(move |(q, m)| (p * q, l + m)));
            outcomes = pairs.filter(|(odds, _)| *odds > 1e-30).collect();
        }
        Self { outcomes }
    }

    fn delta(&self, epsilon: f64) -> f64 {
        self.outcomes
            .iter()
            .filter(|(_, loss)| *loss > epsilon)
            .map(|(odds, loss)| odds * -(epsilon - loss).exp_m1())
            .sum()
    }
}

/// Draws of all sizes, alone and in series: at the shown epsilon the exact delta of the discrete noise is within what was
/// asked, and in a series of ordinary scales nothing much smaller would do.
#[test]
fn the_epsilon_of_gaussian_draws_holds_for_discrete_noise_and_is_tight() {
    let cases: [(&Parts, f64); 9] = [
        (&[(1, 2.0, 1)], f64::INFINITY),
        (&[(1, 2.5, 9)], f64::INFINITY),
        (&[(3, 4.0, 2)], f64::INFINITY),
        (&[(1, 5.0, 20)], 1.08),
        (&[(2, 8.0, 10)], 1.04),
        (&[(1, 10.0, 40)], 1.03),
        (&[(1, 40.0, 1)], 1.01),
        (&[(1, 40.0, 10)], 1.01),
        (&[(1, 6.0, 5), (2, 9.0, 5)], 1.06),
    ];
    for (parts, tight) in cases {
        let exact = Exact::of(parts);
        let draws: Vec<Gaussian> = parts
            .iter()
            .flat_map(|(shift, sigma, times)| vec![draw(*shift as u64, (sigma * 1024.0) as u64); *times as usize])
            .collect();
        for delta_rep in ["0.0001", "0.000001", "0.00000001"] {
            let (shown, wanted) = (epsilon(sum(&draws), at(delta_rep)), delta_rep.parse::<f64>().unwrap());
            let found = exact.delta(shown);
            assert!(found <= wanted, "{parts:?} at {delta_rep}: {found} at epsilon {shown}");
            assert!(exact.delta(shown / tight) > wanted, "{parts:?} at {delta_rep}: less than {shown} would do");
        }
    }
}

/// Scales so small that every lattice effect shows, one draw: the exact delta at the shown epsilon is within what was asked.
#[test]
fn small_scales_hold_too() {
    for steps in (512..6_000).step_by(61) {
        for shift in 1..4 {
            let exact = Exact::of(&[(shift, steps as f64 / 1024.0, 1)]);
            for delta_rep in ["0.01", "0.0001", "0.000001"] {
                let shown = epsilon(draw(shift as u64, steps).loss(), at(delta_rep));
                let found = exact.delta(shown);
                let wanted = delta_rep.parse::<f64>().unwrap();
                assert!(found <= wanted, "{shift} by {steps}/1024 at {delta_rep}: {found} at epsilon {shown}");
            }
        }
    }
}

/// The conversion of zCDP is the least over a fine grid of its parameter, rounded up.
#[test]
fn the_epsilon_of_any_draws_is_the_least_of_its_parameter() {
    for text in ["0.000000000001", "0.00001", "0.0005", "0.09", "0.5", "3", "100", "100000"] {
        for delta_rep in ["0.001", "0.00000001", "0.000000000000000001"] {
            let (shown, r) = (of_any(rho(text), at(delta_rep)), text.parse::<f64>().unwrap());
            let l = -delta_rep.parse::<f64>().unwrap().ln();
            let of = |a: f64| r * a + (l - (a - 1.0).ln()) / (a - 1.0) + a * (-1.0 / a).ln_1p() / (a - 1.0);
            let grid = (-60_000..60_000).map(|step| of(1.0 + (f64::from(step) / 2_000.0).exp()));
            let least = grid.fold(f64::INFINITY, f64::min).max(0.0);
            let looser = r + 2.0 * (r * l).sqrt();
            assert!(
                shown >= least * (1.0 - 1e-6) - 1e-9 && shown <= least * 1.001 + 2e-6,
                "{text} {delta_rep}: {shown}, {least}"
            );
            assert!(shown <= looser + 1e-6, "never past Bun and Steinke's {looser}");
        }
    }
}

/// Epsilons of Gaussian and of any draws that `tests/verifiers/epsilon.py` finds with 60 digits.
#[test]
fn another_implementation_finds_the_same() {
    let cases = [
        ("0.000000000001", "0.001", 0.0000000, 0.0000000),
        ("0.000000000001", "0.00000001", 0.0000029, 0.0000035),
        ("0.000000000001", "0.000000000000000001", 0.0000096, 0.0000100),
        ("0.0000001", "0.001", 0.0000000, 0.0000000),
        ("0.0000001", "0.00000001", 0.0016706, 0.0018196),
        ("0.0000001", "0.000000000000000001", 0.0033892, 0.0035025),
        ("0.0005", "0.001", 0.0466988, 0.0590573),
        ("0.0005", "0.00000001", 0.1477697, 0.1576064),
        ("0.0005", "0.000000000000000001", 0.2567877, 0.2645510),
        ("0.09803", "0.001", 1.1692823, 1.3404635),
        ("0.09803", "0.00000001", 2.3760789, 2.5115702),
        ("0.09803", "0.000000000000000001", 3.8218728, 3.9297315),
        ("0.5", "0.001", 3.1386705, 3.5365618),
        ("0.5", "0.00000001", 5.7760984, 6.0861586),
        ("0.5", "0.000000000000000001", 8.9971817, 9.2426986),
        ("3", "0.001", 9.9278780, 10.9691165),
        ("3", "0.00000001", 16.2283171, 17.0170296),
        ("3", "0.000000000000000001", 24.0261236, 24.6420089),
        ("30", "0.001", 53.0975266, 56.8364969),
        ("30", "0.00000001", 72.7194606, 75.4490150),
        ("30", "0.000000000000000001", 97.1653223, 99.2436915),
    ];
    for (units, delta_rep, gaussian, any) in cases {
        let (units, delta_rep) = (rho(units), at(delta_rep));
        let close = |shown: f64, exact: f64| shown >= exact - 1e-7 && shown <= exact * (1.0 + 1e-6) + 3e-6;
        let shown = (of_gaussian(units, delta_rep).unwrap(), of_any(units, delta_rep));
        assert!(close(shown.0, gaussian) && close(shown.1, any), "{units} at {delta_rep}: {shown:?}");
    }
}

proptest! {
    /// A series of Gaussians is never shown as more than any draws of the same rho, and what is not Gaussian never less.
    #[test]
    fn gaussian_draws_are_shown_as_no_more_than_any_draws(d in 1u64..50, steps in 8_192u64..1 << 24, times in 1u128..500) {
        let one = draw(d, steps).loss().times(times);
        for delta_rep in ["0.000001", "0.00000001"] {
            let any = epsilon(PrivacyLoss::of_any(one.rho, one.delta), at(delta_rep));
            prop_assert!(epsilon(one, at(delta_rep)) <= any);
            let mixed = one.plus(PrivacyLoss::of_any(Rho::from_units(1), Delta::ZERO));
            prop_assert!(epsilon(mixed, at(delta_rep)) >= any);
        }
    }

    /// More is never shown as less.
    #[test]
    fn epsilon_rises_with_the_loss(units in 1u128..1 << 42, more in 1u128..1 << 30) {
        let (less, more) = (Rho::from_units(units), Rho::from_units(units + more));
        for delta_rep in ["0.000001", "0.00000001"] {
            prop_assert!(of_any(less, at(delta_rep)) <= of_any(more, at(delta_rep)));
            prop_assert!(of_gaussian(less, at(delta_rep)) <= of_gaussian(more, at(delta_rep)));
        }
    }
}

#[test]
fn nothing_is_shown_as_nothing_and_what_may_be_anything_as_any() {
    assert_eq!(epsilon(PrivacyLoss::ZERO, at("0.00000001")), 0.0);
    assert_eq!(of_gaussian(Rho::ANY, at("0.00000001")), None);
    let cap = PrivacyLoss::of_any(rho("0.5"), Delta::ZERO);
    assert!((6.0..6.6).contains(&epsilon(cap, at("0.00000001"))), "{}", epsilon(cap, at("0.00000001")));
}
