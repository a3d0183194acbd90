//! The least and the greatest a value can be while the exact numbers lie where they do at 95 %.
//!
//! In units of standard deviations the exact numbers of one row lie around the noisy ones like a standard normal point
//! in k dimensions, so within a ball of radius sqrt(chi-squared(k, 0.95)) with odds of 95 %. Each number that the value
//! reads is a dimension: a draw, and which of the joined copies of the release it is read from. Two copies may show one
//! cell, and then move as one: the radius grows by the root of the number of copies, which covers that too.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, compute::take_record_batch},
    common::Result,
    logical_expr::Expr,
    physical_expr::PhysicalExpr,
};
use epiledger_privacy::{bound::BoundedPlan, noisy_table::Noise, release::Release};

use super::{
    intervals::{as_numbers, cells, finite},
    lineage::value_of,
    post::broken,
};

/// Most numbers that the points of one answer compute.
const BUDGET: usize = 4_000_000;

/// How many points to try for each of `columns` values over `rows` rows.
pub(super) fn points(rows: usize, columns: usize) -> usize {
    (BUDGET / (rows * columns).max(1)).clamp(200, 600)
}

/// The ball of one value's numbers, in every row.
pub(super) struct Region<'a> {
    plan: &'a BoundedPlan,
    noise: &'a Noise<'a>,
    rows: &'a RecordBatch,
    /// Draws by the copy of the release that they are read from.
    draws: BTreeMap<usize, Vec<usize>>,
}

impl<'a> Region<'a> {
    /// For a value that is this expression over carried columns.
    pub(super) fn new(plan: &'a BoundedPlan, noise: &'a Noise<'a>, rows: &'a RecordBatch, expr: &Expr) -> Self {
        let mut read: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (scan, index) in expr.column_refs().iter().filter_map(|column| value_of(&column.name)) {
            read.entry(scan).or_default().push(index);
        }
        let draws = read.into_iter().map(|(scan, read)| (scan, Release::draws_of(plan, &read))).collect();
        Self { plan, noise, rows, draws }
    }

    /// Low, high and standard deviation in each row, from so many points.
    pub(super) fn extremes(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        points: usize,
        normal: &mut impl FnMut() -> f64,
    ) -> Result<Vec<[Option<f64>; 3]>> {
        let dimensions = self.draws.values().map(Vec::len).sum::<usize>().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a few copies of the release")]
        let radius = radius(dimensions) * (self.draws.len().max(1) as f64).sqrt();
        let mut found: Vec<Option<(f64, f64)>> = vec![None; self.rows.num_rows()];
        for number in 0..points {
            let batch = self.moved(&point(dimensions, number, points, normal), radius)?;
            let array = expr.evaluate(&batch)?.into_array(self.rows.num_rows())?;
            let Some(array) = as_numbers(&array)? else { break };
            for (row, extremes) in found.iter_mut().enumerate() {
                if let Some(value) = finite(&array, row) {
                    let (low, high) = extremes.unwrap_or((value, value));
                    *extremes = Some((low.min(value), high.max(value)));
                }
            }
        }
        // The deviation is the one that a linear value with these ends would have.
        let ends = |f: Option<(f64, f64)>| [f.map(|f| f.0), f.map(|f| f.1), f.map(|f| (f.1 - f.0) / 2.0 / radius)];
        Ok(found.into_iter().map(ends).collect())
    }

    /// The rows with their noisy values moved to a point of the ball.
    fn moved(&self, point: &[f64], radius: f64) -> Result<RecordBatch> {
        let keys = self.plan.release_schema().fields().len() - self.plan.aggregates();
        let mut point = point.iter();
        let mut taken: BTreeMap<usize, RecordBatch> = BTreeMap::new();
        for (scan, draws) in &self.draws {
            let by: Vec<(usize, f64)> = draws.iter().copied().zip(point.by_ref().map(|x| x * radius)).collect();
            let table = self.noise.moved(&by).map_err(broken)?;
            if let Some(cells) = cells(self.rows, *scan) {
                taken.insert(*scan, take_record_batch(&table, &cells)?);
            }
        }
        let schema = self.rows.schema();
        let columns = schema.fields().iter().zip(self.rows.columns()).map(|(field, column)| {
            let moved = value_of(field.name())
                .and_then(|(scan, index)| taken.get(&scan).and_then(|table| table.columns().get(keys + index)));
            Arc::clone(moved.unwrap_or(column))
        });
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
    }
}

/// Radius of the ball in `k` standard normal dimensions that holds 95 %: Wilson and Hilferty 1931, and 3 % of its square
/// more, which covers their error.
fn radius(k: usize) -> f64 {
    let k = f64::from(u32::try_from(k).unwrap_or(u32::MAX));
    let part = 2.0 / (9.0 * k);
    (1.03 * k * (1.0 - part + 1.645 * part.sqrt()).powi(3)).sqrt()
}

/// Point `number` of `of` in the unit ball of `k` dimensions: most on its surface, some half way to it.
fn point(k: usize, number: usize, of: usize, normal: &mut impl FnMut() -> f64) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "at most some hundreds")]
    let turn = number as f64 / of.saturating_sub(1).max(1) as f64;
    let inside = if number % 4 == 3 { 0.5 } else { 1.0 };
    let direction: Vec<f64> = match k {
        // A line, from one end to the other.
        1 => return vec![2.0 * turn - 1.0],
        2 => vec![(std::f64::consts::TAU * turn).cos(), (std::f64::consts::TAU * turn).sin()],
        _ => {
            let drawn: Vec<f64> = (0..k).map(|_| normal()).collect();
            let length = drawn.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            drawn.into_iter().map(|x| x / length).collect()
        }
    };
    direction.into_iter().map(|x| x * inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of chi-squared at 0.95, from any table of it.
    #[test]
    fn the_radius_is_never_too_small_and_hardly_too_large() {
        for (k, quantile) in [(1, 3.8415), (2, 5.9915), (3, 7.8147), (5, 11.0705), (10, 18.3070), (30, 43.7730)] {
            let squared = radius(k).powi(2);
            assert!(squared >= quantile && squared < quantile * 1.04, "{k}: {squared} for {quantile}");
        }
    }

    #[test]
    fn points_reach_the_surface_in_every_direction_and_stay_inside() {
        for k in 1..5 {
            let mut state = 1_u64;
            let mut normal = || {
                let mut sum = -6.0;
                for _ in 0..12 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    sum += (state >> 11) as f64 / (1_u64 << 53) as f64;
                }
                sum
            };
            let points: Vec<Vec<f64>> = (0..400).map(|number| point(k, number, 400, &mut normal)).collect();
            assert!(points.iter().all(|p| p.iter().map(|x| x * x).sum::<f64>() <= 1.0 + 1e-12));
            for axis in 0..k {
                for sign in [-1.0, 1.0] {
                    let most = points.iter().map(|p| sign * p[axis]).fold(f64::NEG_INFINITY, f64::max);
                    assert!(most > 0.85, "{k} {axis}: {most}");
                }
            }
        }
    }
}
