//! Decimal strings of the audit log, in exact integers.

use num_bigint::BigUint;

/// Places of rho: units of 1e-12.
pub(crate) const RHO_PLACES: usize = 12;

/// Places of delta: units of 1e-18.
pub(crate) const DELTA_PLACES: usize = 18;

/// Longest decimal that is looked at, so that arithmetic on a hostile log stays cheap.
const MAX_DIGITS: usize = 400;

/// A decimal's digits as one integer, and how many of them stand after the point; `None` unless it is `d+[.d+]`.
fn digits(text: &str) -> Option<(String, usize)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let pointed = text.contains('.') == fraction.is_empty();
    if whole.is_empty() || pointed || !number(whole) || !number(fraction) || text.len() > MAX_DIGITS {
        return None;
    }
    Some((format!("{whole}{fraction}"), fraction.len()))
}

/// The decimal in units of 10^-`places`; `None` when it has more places, is no plain decimal, or is too large.
pub(crate) fn units(text: &str, places: usize) -> Option<u128> {
    let (digits, fraction) = digits(text)?;
    let factor = 10_u128.checked_pow(u32::try_from(places.checked_sub(fraction)?).ok()?)?;
    digits.parse::<u128>().ok()?.checked_mul(factor)
}

/// Units as a decimal without needless zeros.
pub(crate) fn print(units: u128, places: usize) -> String {
    let text = format!("{units:0>width$}", width = places + 1);
    let (whole, fraction) = text.split_at(text.len() - places);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// Whether rho * 2 * sigma^2 >= D^2, exactly (Bun and Steinke 2016, Proposition 1.6, for the discrete Gaussian Canonne,
/// Kamath and Steinke 2020). `None` when a text is no decimal of its form.
pub(crate) fn price_covers(rho: u128, sigma: &str, d_squared: &str) -> Option<bool> {
    let (sigma, places) = digits(sigma)?;
    let (d_squared, 0) = digits(d_squared)? else {
        return None;
    };
    let integer = |text: &str| BigUint::parse_bytes(text.as_bytes(), 10);
    let (sigma, d_squared) = (integer(&sigma)?, integer(&d_squared)?);
    let scale = u32::try_from(RHO_PLACES + 2 * places).ok()?;
    Some(BigUint::from(rho) * 2_u32 * &sigma * &sigma >= d_squared * BigUint::from(10_u32).pow(scale))
}

/// Variance of the rounding that makes a discrete Gaussian of a continuous one.
const ROUNDING_VARIANCE: u32 = 3;

/// D^2 / (2 (sigma^2 - 3)) in units of 10^-12, rounded up: what a discrete Gaussian is worth in a sum of Gaussians (half the
/// square of its m; the proof is the privacy crate's `mechanism.md`, claim 10). `None` for a scale that is too small.
pub(crate) fn gaussian_units(sigma: &str, d_squared: &str) -> Option<u128> {
    let (sigma, places) = digits(sigma)?;
    let (d_squared, 0) = digits(d_squared)? else {
        return None;
    };
    let integer = |text: &str| BigUint::parse_bytes(text.as_bytes(), 10);
    let (sigma, d_squared) = (integer(&sigma)?, integer(&d_squared)?);
    let power = |places: usize| Some(BigUint::from(10_u32).pow(u32::try_from(places).ok()?));
    let (square, less) = (&sigma * &sigma, power(2 * places)? * ROUNDING_VARIANCE);
    if square <= less {
        return None;
    }
    let (whole, twice) = (d_squared * power(RHO_PLACES + 2 * places)?, (square - less) * 2_u32);
    ((whole + &twice - 1_u32) / twice).try_into().ok()
}

/// The grid of a combined sigma: 1/1024, as 10 places after the point.
const SIGMA_STEP: (u32, usize) = (9_765_625, 10);

/// Whether `combined` is the least multiple of 1/1024 that is at least the standard deviation of independent draws
/// combined by inverse variance: `combined^2 * sum(1 / sigma_i^2) >= 1`, exactly. `None` when a text is no positive
/// decimal.
pub(crate) fn combines(combined: &str, sigmas: &[String]) -> Option<bool> {
    let read = |text: &str| digits(text).map(|(digits, places)| (BigUint::parse_bytes(digits.as_bytes(), 10), places));
    let parsed: Vec<(BigUint, usize)> = std::iter::once(combined)
        .chain(sigmas.iter().map(String::as_str))
        .map(|text| read(text).and_then(|(number, places)| Some((number?, places))))
        .collect::<Option<_>>()?;
    // All on one grid of 10^-places, which then cancels.
    let places = parsed.iter().map(|(_, places)| *places).max()?.max(SIGMA_STEP.1);
    let power = |more: usize| Some(BigUint::from(10_u32).pow(u32::try_from(more).ok()?));
    let whole: Vec<BigUint> =
        parsed.into_iter().map(|(number, own)| Some(number * power(places - own)?)).collect::<Option<_>>()?;
    let (combined, sigmas) = whole.split_first()?;
    let step = BigUint::from(SIGMA_STEP.0) * power(places - SIGMA_STEP.1)?;
    let zero = BigUint::ZERO;
    if sigmas.is_empty() || whole.contains(&zero) {
        return None;
    }
    let product: BigUint = sigmas.iter().map(|s| s * s).product();
    let precision: BigUint = sigmas.iter().map(|s| &product / (s * s)).sum();
    let covers = |sigma: &BigUint| sigma * sigma * &precision >= product;
    let least = combined <= &step || !covers(&(combined - &step));
    Some(combined % &step == zero && covers(combined) && least)
}

/// Whether D^2 = G b^2 for a whole b > 0: the sensitivity of G groups, in each of which one patient changes an integer or
/// a score by at most b. `None` when the text is no whole number.
pub(crate) fn spans_groups(d_squared: &str, groups: u64) -> Option<bool> {
    let (d_squared, 0) = digits(d_squared)? else {
        return None;
    };
    let (d_squared, groups) = (BigUint::parse_bytes(d_squared.as_bytes(), 10)?, BigUint::from(groups.max(1)));
    let in_one = &d_squared / &groups;
    let root = in_one.sqrt();
    Some(root > BigUint::ZERO && &root * &root * groups == d_squared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_units_and_back() {
        for (text, value) in [("0.5", 500_000_000_000), ("0", 0), ("12.000000000001", 12_000_000_000_001)] {
            assert_eq!(units(text, RHO_PLACES), Some(value), "{text}");
            assert_eq!(print(value, RHO_PLACES), text);
        }
        assert_eq!(units("0.000000000000000001", DELTA_PLACES), Some(1));
        assert_eq!(print(1, DELTA_PLACES), "0.000000000000000001");
        for wrong in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "0.0000000000001",
            "1,5",
            " 1",
            "1.5.5",
            "99999999999999999999999999999",
        ] {
            assert_eq!(units(wrong, RHO_PLACES), None, "{wrong}");
        }
    }

    #[test]
    fn a_sensitivity_is_a_square_for_each_group() {
        for (d_squared, groups, right) in
            [("1", 1, true), ("20", 20, true), ("180", 20, true), ("1", 20, false), ("40", 20, false), ("0", 1, false)]
        {
            assert_eq!(spans_groups(d_squared, groups), Some(right), "{d_squared} over {groups}");
        }
        assert_eq!(spans_groups("1.5", 1), None);
    }

    #[test]
    fn a_price_is_compared_exactly() {
        // D^2 = 1, sigma = 10: rho must be 1/200.
        assert_eq!(price_covers(5_000_000_000, "10", "1"), Some(true));
        assert_eq!(price_covers(4_999_999_999, "10", "1"), Some(false));
        assert_eq!(price_covers(5_000_000_000, "9.9999999999999999999999999999", "1"), Some(false));
        // Past 128 bits on both sides.
        let (sigma, d_squared) = (format!("1{}", "0".repeat(60)), format!("1{}", "0".repeat(120)));
        assert_eq!(price_covers(500_000_000_000, &sigma, &d_squared), Some(true));
        assert_eq!(price_covers(499_999_999_999, &sigma, &d_squared), Some(false));
        for (sigma, d_squared) in [("-1", "1"), ("1", "1.5"), ("x", "1"), ("1", "")] {
            assert_eq!(price_covers(1, sigma, d_squared), None);
        }
    }

    #[test]
    fn a_gaussians_part_in_a_sum_is_rounded_up() {
        // 20 / (2 (100 - 3)).
        assert_eq!(gaussian_units("10", "20"), Some(103_092_783_506));
        assert_eq!(gaussian_units("2", "2"), Some(1_000_000_000_000));
        assert_eq!(gaussian_units("2.5", "13"), Some(2_000_000_000_000));
        for (sigma, d_squared) in [("1.5", "1"), ("1.7320508075", "1"), ("x", "1"), ("9", "1.5")] {
            assert_eq!(gaussian_units(sigma, d_squared), None, "{sigma}");
        }
    }

    #[test]
    fn combined_noise_is_the_least_step_that_covers() {
        let sigmas = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        // 1/3^2 + 1/4^2 = 25/144, so 12/5 = 2.4, which lies between two steps.
        let draws = sigmas(&["3", "4"]);
        assert_eq!(combines("2.400390625", &draws), Some(true));
        assert_eq!(combines("2.3994140625", &draws), Some(false), "a step less");
        assert_eq!(combines("2.4013671875", &draws), Some(false), "a step more");
        assert_eq!(combines("2.4", &draws), Some(false), "off the grid");
        // Exactly on the grid: four draws of 2 are one of 1.
        assert_eq!(combines("1", &sigmas(&["2", "2", "2", "2"])), Some(true));
        assert_eq!(combines("0.9990234375", &sigmas(&["2", "2", "2", "2"])), Some(false));
        for (combined, draws) in
            [("1", vec![]), ("1", vec!["0"]), ("0", vec!["1"]), ("x", vec!["1"]), ("1", vec!["-1"])]
        {
            assert_eq!(combines(combined, &sigmas(&draws)), None);
        }
    }
}
