//! How wide an answer's first interval will be, where that does not depend on data or the asker assumes what does.

use super::{BoundedPlan, measure::Output};
use crate::{interval::NORMAL, mechanism::Draw};

impl BoundedPlan {
    /// Half-width of the 95 % interval of the first count or sum, in the value's own unit.
    ///
    /// With `assume_n`, of the first mean in a cell of that many values: `1.96 sqrt(sigma_S^2 + h^2 sigma_N^2) / n`, to
    /// first order and at the mean where it is widest, an end of the declared range (h is half of the range). A cell of
    /// fewer values has a wider interval; the answer's own intervals do not use the assumption.
    #[must_use]
    pub fn width(&self, assume_n: Option<u64>) -> Option<f64> {
        let sigma = |position: usize| self.draws().get(position).map(Draw::sigma);
        let unit = |scale: i8| 10f64.powi(i32::from(scale));
        let outputs = &self.measured().outputs;
        let Some(n) = assume_n else {
            let (position, scale) = outputs.iter().find_map(|output| match output {
                Output::Count(position) => Some((*position, 0)),
                Output::Sum { total, scale } => Some((*total, *scale)),
                _ => None,
            })?;
            #[expect(clippy::cast_precision_loss, reason = "half-widths are under 2^53")]
            return self.draws().get(position).map(|draw| draw.half_width() as f64 / unit(scale));
        };
        let (centred, count, range) = outputs.iter().find_map(|output| match output {
            Output::Mean { centred, count, range } => Some((*centred, *count, *range)),
            _ => None,
        })?;
        #[expect(clippy::cast_precision_loss, reason = "ranges are under 2^25, and an assumed number needs no more")]
        let (half, n) = (range.half() as f64, n.max(1) as f64);
        let noise = (sigma(centred)?.powi(2) + (half * sigma(count)?).powi(2)).sqrt();
        Some(NORMAL * noise / n / unit(range.scale))
    }
}
