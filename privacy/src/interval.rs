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
    let half = linear_half(sigma_a, factor, sigma_b);
    Interval { low: value - half, high: value + half, sigma: Some(sigma_a.hypot(factor * sigma_b)) }
}

/// Half-width of [`linear`].
pub(crate) fn linear_half(sigma_a: f64, factor: f64, sigma_b: f64) -> f64 {
    (NORMAL * sigma_a.hypot(factor * sigma_b)).ceil() + 1.0 + factor.abs()
}

/// A threshold that decided whether a count is seen at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// The first draw had to be above it.
    pub(crate) over: u64,
    /// A key with fewer patients is never released.
    pub(crate) k_min: u64,
    /// Standard deviation of the first draw's noise; that of the value itself where there is one draw.
    pub(crate) first: f64,
}

/// The interval of a count that was seen only because its first draw passed a threshold: the equal-tailed confidence
/// interval of the mean `m`, at least `k_min`.
///
/// A value that combines several draws by inverse variance is sufficient for `m`: given it, the first draw is Gaussian
/// around it with variance `first^2 - sigma^2`, whatever `m` is. So `P[value >= v | first draw > over]` is an integral
/// over one dimension, and rises with `m`.
#[must_use]
pub(crate) fn truncated(value: i64, sigma: f64, passed: Passed) -> Interval {
    #[expect(clippy::cast_precision_loss, reason = "counts under 2^53")]
    let (value, over, k_min) = (value as f64, passed.over as f64 + 0.5, passed.k_min as f64);
    let beside = (passed.first.powi(2) - sigma.powi(2)).max(0.0).sqrt();
    // The noise is discrete: half a step on either side keeps the tails closed.
    let above = |mean: f64, from: f64| {
        if beside == 0.0 {
            return tail((from.max(over) - mean) / sigma);
        }
        let density = |x: f64| (-0.5 * ((x - mean) / sigma).powi(2)).exp() * tail((over - x) / beside);
        let end = from.max(over).max(mean) + 9.0 * sigma;
        let (low, high) = (from.min(over), from.max(over));
        let below = if from < over { simpson(low.max(mean - 9.0 * sigma), over, density) } else { 0.0 };
        (below + simpson(high, end, density)) / (sigma * std::f64::consts::TAU.sqrt())
    };
    let upper = |mean: f64, from: f64| above(mean, from) / tail((over - mean) / passed.first).max(f64::MIN_POSITIVE);
    let solve = |from: f64, wanted: f64| {
        let far = 40.0 * passed.first;
        let (mut low, mut high) = (value.min(over) - far - over, value.max(over) + far);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if upper(middle, from) < wanted { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    };
    let low = solve(value - 0.5, 0.025).max(k_min);
    let high = solve(value + 0.5, 0.975).max(low);
    Interval { low: low.floor(), high: high.ceil(), sigma: Some(sigma) }
}

/// Simpson's rule; 0 for an empty range.
fn simpson(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    const PANELS: u32 = 100;
    if to <= from {
        return 0.0;
    }
    let step = (to - from) / f64::from(2 * PANELS);
    let inner = (1..2 * PANELS).map(|i| f(from + step * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 });
    (f(from) + inner.sum::<f64>() + f(to)) * step / 3.0
}

/// P[Z > z] of a standard normal.
fn tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(over: u64, first: f64) -> Passed {
        Passed { over, k_min: 11, first }
    }

    #[test]
    fn far_above_the_threshold_truncation_changes_nothing() {
        let interval = truncated(10_000, 30.0, passed(100, 30.0));
        assert!((interval.low - (10_000.0 - 1.96 * 30.0)).abs() < 2.0, "{interval:?}");
        assert!((interval.high - (10_000.0 + 1.96 * 30.0)).abs() < 2.0, "{interval:?}");
    }

    #[test]
    fn just_above_the_threshold_the_interval_reaches_down_to_k_min() {
        let interval = truncated(101, 30.0, passed(100, 30.0));
        assert_eq!(interval.low, 11.0);
        assert!(interval.high > 101.0, "{interval:?}");
    }

    /// 20,000 simulated counts seen only past the threshold, by one draw and by two of which the first decides; the
    /// odds that a true 95 % fails this are < 1e-9. Intervals that forget the threshold fail it.
    #[test]
    fn truncated_intervals_cover() {
        let mut state = 88_172_645_463_325_252u64;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        let least = 0.95 - 6.5 * (0.95f64 * 0.05 / 1_000.0).sqrt();
        for (first, second) in [(20.0, None), (20.0, Some(20.0)), (20.0, Some(5.0)), (20.0, Some(80.0))] {
            for truth in [60.0, 100.0, 140.0] {
                let over = 90u64;
                let (mut seen, mut covered, mut naive) = (0u32, 0u32, 0u32);
                while seen < 1_000 {
                    let one: f64 = (truth + first * normal()).round();
                    let two = second.map(|sigma: f64| ((truth + sigma * normal()).round(), sigma));
                    if one <= over as f64 {
                        continue;
                    }
                    let (value, sigma) = two.map_or((one, first), |(two, second)| {
                        let (p, q) = (1.0 / first.powi(2), 1.0 / second.powi(2));
                        ((one * p + two * q) / (p + q), 1.0 / (p + q).sqrt())
                    });
                    let interval = truncated(value.round() as i64, sigma, passed(over, first));
                    seen += 1;
                    covered += u32::from((interval.low..=interval.high).contains(&truth));
                    naive += u32::from((value - truth).abs() <= 1.96 * sigma + 1.0);
                }
                let rate = |count: u32| f64::from(count) / f64::from(seen);
                assert!(rate(covered) > least, "{second:?} {truth}: {}", rate(covered));
                assert!(truth > 60.0 || second == Some(5.0) || rate(naive) < least, "{second:?}: {}", rate(naive));
            }
        }
    }
}
