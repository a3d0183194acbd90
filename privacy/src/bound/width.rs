//! How wide an answer's interval would be at a price, where that does not depend on data or the asker assumes what does.

use super::{
    BoundedPlan,
    measure::Output,
    shares::{divide, shares},
};
use crate::{interval::linear_half, loss::Rho, mechanism::Gaussian};

/// Radius of the ball, in two and in three dimensions, that holds 95 % of a standard normal point: intervals of values
/// that are computed from so many draws are the extremes over it (`mechanism.md`, claim 7).
const OF_TWO: f64 = 2.447_8;
const OF_THREE: f64 = 2.795_5;

/// The value whose interval is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The first count or sum: its width depends on no data.
    Exact,
    /// The first mean, variance or deviation, in a cell of so many values.
    Of(u64),
    /// One count divided by another (positions of aggregates), where the other is so large.
    Share {
        /// The numerator.
        part: usize,
        /// The denominator.
        whole: usize,
        /// The denominator's size.
        of: u64,
    },
}

impl BoundedPlan {
    /// Half-width of the 95 % interval of a value, in its own unit, if the question were asked at this price; infinite
    /// where no noise fits the price, None where the question has no such value.
    ///
    /// For what depends on data it is the width to first order where it is widest. A mean `m + S/N` has
    /// `r sqrt(sigma_S^2 + h^2 sigma_N^2) / n`, at an end of the declared range (h is half of the range, r the radius);
    /// a variance `r sqrt(w^2 sigma_Q^2 + 4 h^2 sigma_S^2 + (3 h^2/2)^2 sigma_N^2) / n`, where all values are one end of
    /// it; a deviation the root of that, since the root is steepest there; a share of 1
    /// `r sqrt(sigma_part^2 + sigma_whole^2) / of`. Fewer values have a wider interval, and an answer's own intervals do
    /// not use the assumption.
    #[must_use]
    pub fn width(&self, rho: Rho, wanted: Wanted) -> Option<f64> {
        let parts = divide(rho, &shares(&self.measured));
        let draw = |position: usize| {
            let drawn = self.measured.drawn.get(position)?;
            Gaussian::priced(self.measured.d_squared(*drawn, &self.size), *parts.get(position)?).ok()
        };
        let sigma = |position: usize| draw(position).map_or(f64::INFINITY, |draw| draw.sigma());
        // A whole number is known to a step of its grid at best.
        #[expect(clippy::cast_precision_loss, reason = "half-widths are under 2^53")]
        let half = |position: usize| draw(position).map_or(f64::INFINITY, |draw| draw.half_width().max(1) as f64);
        let unit = |scale: i8| 10f64.powi(i32::from(scale));
        #[expect(clippy::cast_precision_loss, reason = "an assumed number needs no more")]
        let number = |n: u64| n.max(1) as f64;
        let outputs = &self.measured.outputs;
        match wanted {
            Wanted::Exact => outputs.iter().find_map(|output| match *output {
                Output::Count(position) => Some(half(position)),
                Output::Sum { total, scale } => Some(half(total) / unit(scale)),
                #[expect(clippy::cast_precision_loss, reason = "ranges are under 2^25")]
                Output::CentredSum { centred, count, range } => {
                    Some(linear_half(sigma(centred), range.middle() as f64, sigma(count)) / unit(range.scale))
                }
                _ => None,
            }),
            Wanted::Of(n) => outputs.iter().find_map(|output| match *output {
                #[expect(clippy::cast_precision_loss, reason = "ranges are under 2^25")]
                Output::Mean { centred, count, range } => {
                    let noise = sigma(centred).hypot(range.half() as f64 * sigma(count));
                    Some(OF_TWO * noise / number(n) / unit(range.scale))
                }
                #[expect(clippy::cast_precision_loss, reason = "ranges are under 2^25")]
                Output::Variance { squares, centred, count, range, spread } => {
                    let (h, w) = (range.half() as f64, range.square_unit() as f64);
                    let of_sums = (w * sigma(squares)).hypot(2.0 * h * sigma(centred));
                    let noise = of_sums.hypot(1.5 * h * h * sigma(count));
                    let correction = if spread.sample { number(n.max(2)) / (number(n.max(2)) - 1.0) } else { 1.0 };
                    let width = OF_THREE * noise / number(n) * correction;
                    let one = unit(range.scale);
                    Some(if spread.root { width.sqrt() / one } else { width / one / one })
                }
                _ => None,
            }),
            Wanted::Share { part, whole, of } => match (outputs.get(part)?, outputs.get(whole)?) {
                (Output::Count(part), Output::Count(whole)) => {
                    Some(OF_TWO * sigma(*part).hypot(sigma(*whole)) / number(of))
                }
                _ => None,
            },
        }
    }
}
