//! 95 % intervals of a noisy integer: noise only, not clipping bias, not sampling error.

/// Standard deviations on either side of a normal value that hold 95 %.
pub(crate) const NORMAL: f64 = 1.96;

/// A value's interval and standard deviation, in the value's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Low end.
    pub low: f64,
    /// High end.
    pub high: f64,
    /// Standard deviation of the noise; none for a chosen value.
    pub sigma: Option<f64>,
}

impl Interval {
    /// From grid units to the value's unit.
    #[must_use]
    pub fn scaled(self, scale: i8) -> Self {
        let one = 10f64.powi(i32::from(scale));
        Self { low: self.low / one, high: self.high / one, sigma: self.sigma.map(|sigma| sigma / one) }
    }
}

/// `value` plus and minus the mechanism's half-width.
#[must_use]
pub(crate) fn symmetric(value: i64, sigma: f64, half_width: u64) -> Interval {
    #[expect(
        clippy::cast_precision_loss,
        reason = "noisy values and widths are under 2^53 wherever they mean anything"
    )]
    let (value, half) = (value as f64, half_width as f64);
    Interval { low: value - half, high: value + half, sigma: Some(sigma) }
}

/// The interval of `a + factor b`, two noisy integers, rounded outwards by a step of each.
#[must_use]
pub(crate) fn linear(value: f64, sigma_a: f64, factor: f64, sigma_b: f64) -> Interval {
    let sigma = sigma_a.hypot(factor * sigma_b);
    let half = (NORMAL * sigma).ceil() + 1.0 + factor.abs();
    Interval { low: value - half, high: value + half, sigma: Some(sigma) }
}

/// The interval of a count that was seen only because it passed `over`: the equal-tailed confidence interval
/// of the mean of a Gaussian truncated to `> over`, at least `k_min` (a key with fewer is never released).
#[must_use]
pub(crate) fn truncated(value: i64, sigma: f64, over: u64, k_min: u64) -> Interval {
    #[expect(clippy::cast_precision_loss, reason = "counts under 2^53")]
    let (value, over, k_min) = (value as f64, over as f64, k_min as f64);
    // P[X >= value | X > over] as a function of the mean rises; solve it for both tails.
    // The noise is discrete: half a step on either side keeps the tails closed.
    let upper =
        |mean: f64, from: f64| tail((from - mean) / sigma) / tail((over + 0.5 - mean) / sigma).max(f64::MIN_POSITIVE);
    let solve = |from: f64, wanted: f64| {
        let (mut low, mut high) = (value - 40.0 * sigma - over, value + 40.0 * sigma);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if upper(middle, from) < wanted { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    };
    let low = solve(value - 0.5, 0.025).max(k_min);
    let high = solve(value + 0.5, 0.975).max(low);
    Interval { low: low.floor(), high: high.ceil(), sigma: Some(sigma) }
}

/// P[Z > z] of a standard normal.
fn tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_above_the_threshold_truncation_changes_nothing() {
        let interval = truncated(10_000, 30.0, 100, 11);
        assert!((interval.low - (10_000.0 - 1.96 * 30.0)).abs() < 2.0, "{interval:?}");
        assert!((interval.high - (10_000.0 + 1.96 * 30.0)).abs() < 2.0, "{interval:?}");
    }

    #[test]
    fn just_above_the_threshold_the_interval_reaches_down_to_k_min() {
        let interval = truncated(101, 30.0, 100, 11);
        assert_eq!(interval.low, 11.0);
        assert!(interval.high > 101.0, "{interval:?}");
    }

    /// 20,000 simulated counts seen only past the threshold; the odds that a true 95 % fails this are < 1e-9.
    #[test]
    fn truncated_intervals_cover() {
        let (sigma, over, k_min, truth) = (20.0, 90u64, 11u64, 100.0);
        let mut state = 88_172_645_463_325_252u64;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let (mut seen, mut covered) = (0u32, 0u32);
        while seen < 20_000 {
            let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
            let value = (truth + sigma * normal).round() as i64;
            if value > over as i64 {
                let interval = truncated(value, sigma, over, k_min);
                seen += 1;
                covered += u32::from((interval.low..=interval.high).contains(&truth));
            }
        }
        let rate = f64::from(covered) / f64::from(seen);
        assert!(rate > 0.95 - 6.5 * (0.95f64 * 0.05 / 20_000.0).sqrt(), "{rate}");
    }
}
