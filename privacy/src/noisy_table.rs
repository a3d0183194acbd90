//! The table that post-processing reads: noisy integers turned into the aggregates that were asked.
//!
//! Everything here is post-processing of a [`Release`]: it sees no data. Arrays are built from scalars,
//! so no buffer can hold more than what was released.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch},
    compute::{CastOptions, cast_with_options},
};

use crate::{
    bound::{
        BoundedPlan,
        integer::ClampRange,
        measure::{Drawn, Needed, Output},
        total::Spread,
        values::Candidates,
    },
    interval::{self, Interval, NORMAL, Passed},
    release::{Failed, Release},
};

impl Release {
    /// The noisy table of `plan`: one row a cell, columns and types of [`BoundedPlan::release_schema`].
    ///
    /// # Errors
    /// [`Failed`] when the release is not one of this plan.
    pub fn table(&self, plan: &BoundedPlan) -> Result<RecordBatch, Failed> {
        self.table_of(plan, &self.values())
    }

    /// How far the exact numbers may lie from the noisy ones.
    ///
    /// # Errors
    /// [`Failed`] when the release is not one of this plan.
    pub fn noise<'a>(&'a self, plan: &'a BoundedPlan) -> Result<Noise<'a>, Failed> {
        let of_draw = |draw: usize| (0..self.cells()).map(|row| self.reach(plan, draw, row)).collect();
        let reach = (0..self.draws().len()).map(of_draw).collect::<Option<_>>().ok_or(Failed)?;
        Ok(Noise { release: self, plan, reach })
    }

    /// One standard deviation of a draw's number in a cell, downwards and upwards.
    fn reach(&self, plan: &BoundedPlan, draw: usize, row: usize) -> Option<(f64, f64)> {
        let released = self.draws().get(draw)?;
        let value = *released.values.get(row)?;
        let sigma: f64 = released.sigma.parse().ok()?;
        let drawn = plan.measured().drawn.get(draw)?;
        let ends = match (drawn, plan.measured().needed.get(drawn.column())?, self.threshold()) {
            (Drawn::Noisy(_), Needed::Patients, Some((over, k_min))) => {
                interval::truncated(value, sigma, Passed { over, k_min, first: released.first_sigma()? })
            }
            (Drawn::Noisy(_), _, _) => return Some((sigma, sigma)),
            // A choice moves as if its interval were a normal value's; the ends themselves are in no value.
            (Drawn::Selected { .. }, _, _) => plan.measured().outputs.iter().find_map(|output| match output {
                Output::Quantile { middle, low, high, candidates } if *middle == draw => {
                    self.quantile(*middle, *low, *high, *candidates, row)
                }
                Output::Quantile { low, high, .. } if *low == draw || *high == draw => {
                    Some(interval::symmetric(value, 0.0, 0))
                }
                _ => None,
            })?,
        };
        #[expect(clippy::cast_precision_loss, reason = "noisy values mean nothing past 2^53")]
        let value = value as f64;
        Some(((value - ends.low) / NORMAL, (ends.high - value) / NORMAL))
    }

    /// The draws that these aggregates (counted after the keys) are made of.
    #[must_use]
    pub fn draws_of(plan: &BoundedPlan, aggregates: &[usize]) -> Vec<usize> {
        let mut draws: Vec<usize> = Vec::new();
        for output in aggregates.iter().filter_map(|index| plan.measured().outputs.get(*index)) {
            match *output {
                Output::Count(draw) | Output::Sum { total: draw, .. } | Output::Quantile { middle: draw, .. } => {
                    draws.push(draw);
                }
                Output::CentredSum { centred, count, .. } | Output::Mean { centred, count, .. } => {
                    draws.extend([centred, count]);
                }
                Output::Variance { squares, centred, count, .. } => draws.extend([squares, centred, count]),
            }
        }
        draws.sort_unstable();
        draws.dedup();
        draws
    }

    /// The closed-form interval of aggregate `index` (counted after the keys) in cell `row`; None where a value is
    /// computed from several noisy numbers.
    #[must_use]
    pub fn closed_form(&self, plan: &BoundedPlan, index: usize, row: usize) -> Option<Interval> {
        let (position, scale) = match *plan.measured().outputs.get(index)? {
            Output::Count(position) => (position, 0),
            Output::Sum { total, scale } => (total, scale),
            Output::CentredSum { centred, count, range } => {
                let (sum, rows) = (self.draws().get(centred)?, self.draws().get(count)?);
                let (of_sum, of_rows): (f64, f64) = (sum.sigma.parse().ok()?, rows.sigma.parse().ok()?);
                #[expect(clippy::cast_precision_loss, reason = "a range is under 2^25")]
                let middle = range.middle() as f64;
                #[expect(clippy::cast_precision_loss, reason = "noisy values mean nothing past 2^53")]
                let value = *sum.values.get(row)? as f64 + middle * *rows.values.get(row)? as f64;
                return Some(interval::linear(value, of_sum, middle, of_rows).scaled(range.scale));
            }
            Output::Quantile { middle, low, high, candidates } => {
                return Some(self.quantile(middle, low, high, candidates, row)?.scaled(candidates.range.scale));
            }
            Output::Mean { .. } | Output::Variance { .. } => return None,
        };
        let draw = self.draws().get(position)?;
        let sigma: f64 = draw.sigma.parse().ok()?;
        let value = *draw.values.get(row)?;
        let column = plan.measured().drawn.get(position)?.column();
        let grid = match (plan.measured().needed.get(column)?, self.threshold()) {
            (Needed::Patients, Some((over, k_min))) => {
                interval::truncated(value, sigma, Passed { over, k_min, first: draw.first_sigma()? })
            }
            _ => interval::symmetric(value, sigma, draw.half_width),
        };
        Some(grid.scaled(scale))
    }

    /// From the low end to the high end, each half a step of the candidates further out.
    fn quantile(&self, middle: usize, low: usize, high: usize, candidates: Candidates, row: usize) -> Option<Interval> {
        let of = |draw: usize| self.draws().get(draw)?.values.get(row).copied();
        let (middle, low, high) = (of(middle)?, of(low)?, of(high)?);
        let (low, high) = (low.min(middle) - candidates.step / 2, high.max(middle) + candidates.step / 2);
        #[expect(clippy::cast_precision_loss, reason = "a range is under 2^25")]
        let (low, high) = (low.max(candidates.range.low) as f64, high.min(candidates.range.high) as f64);
        Some(Interval { low, high, sigma: None })
    }

    fn values(&self) -> Vec<Vec<i64>> {
        self.draws().iter().map(|draw| draw.values.clone()).collect()
    }

    fn table_of(&self, plan: &BoundedPlan, values: &[Vec<i64>]) -> Result<RecordBatch, Failed> {
        let mut columns = self.key_arrays()?;
        for output in &plan.measured().outputs {
            columns.push(output_array(output, values)?);
        }
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let columns = columns
            .iter()
            .zip(plan.release_schema().fields())
            .map(|(column, field)| cast_with_options(column, field.data_type(), &options).map_err(|_| Failed))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(self.cells()));
        RecordBatch::try_new_with_options(Arc::clone(plan.release_schema()), columns, &rows).map_err(|_| Failed)
    }
}

/// A release's numbers, and how far the exact ones may lie from them.
pub struct Noise<'a> {
    release: &'a Release,
    plan: &'a BoundedPlan,
    /// By draw and cell.
    reach: Vec<Vec<(f64, f64)>>,
}

impl Noise<'_> {
    /// The noisy table with these draws moved by so many standard deviations, away from zero to whole numbers.
    ///
    /// # Errors
    /// [`Failed`] when there is no such draw.
    pub fn moved(&self, by: &[(usize, f64)]) -> Result<RecordBatch, Failed> {
        let mut values = self.release.values();
        for (draw, deviations) in by {
            let reach = self.reach.get(*draw).ok_or(Failed)?;
            for (value, reach) in values.get_mut(*draw).ok_or(Failed)?.iter_mut().zip(reach) {
                *value = moved(*value, *reach, *deviations);
            }
        }
        self.release.table_of(self.plan, &values)
    }

    /// The noisy table with as much noise added once more. `normal` gives standard normal draws; they protect nothing.
    ///
    /// # Errors
    /// [`Failed`] when the release is not one of the plan.
    pub fn replicate(&self, normal: &mut dyn FnMut() -> f64) -> Result<RecordBatch, Failed> {
        let mut values = self.release.values();
        for (values, reach) in values.iter_mut().zip(&self.reach) {
            for (value, reach) in values.iter_mut().zip(reach) {
                *value = moved(*value, *reach, normal());
            }
        }
        self.release.table_of(self.plan, &values)
    }
}

fn moved(value: i64, (down, up): (f64, f64), deviations: f64) -> i64 {
    let by = deviations * if deviations < 0.0 { down } else { up };
    // Away from zero: noise is whole.
    let by = if by < 0.0 { by.floor() } else { by.ceil() };
    #[expect(clippy::cast_possible_truncation, reason = "float to integer saturates")]
    let by = by as i64;
    value.saturating_add(by)
}

fn output_array(output: &Output, values: &[Vec<i64>]) -> Result<ArrayRef, Failed> {
    let column = |position: usize| values.get(position).ok_or(Failed);
    Ok(match *output {
        Output::Count(position) => Arc::new(Int64Array::from(column(position)?.clone())),
        Output::Sum { total, scale } => decimal(column(total)?.iter().map(|v| i128::from(*v)), scale)?,
        Output::CentredSum { centred, count, range } => {
            let middle = i128::from(range.middle());
            let pairs = column(centred)?.iter().zip(column(count)?);
            decimal(pairs.map(|(s, n)| i128::from(*s) + middle * i128::from(*n)), range.scale)?
        }
        Output::Mean { centred, count, range } => {
            let mean = |(s, n): (&i64, &i64)| mean(range, *s, *n);
            Arc::new(column(centred)?.iter().zip(column(count)?).map(mean).collect::<Float64Array>())
        }
        Output::Variance { squares, centred, count, range, spread } => {
            let parts = column(squares)?.iter().zip(column(centred)?).zip(column(count)?);
            let spread = |((q, s), n): ((&i64, &i64), &i64)| variance(range, spread, *q, *s, *n);
            Arc::new(parts.map(spread).collect::<Float64Array>())
        }
        Output::Quantile { middle, candidates, .. } => {
            decimal(column(middle)?.iter().map(|v| i128::from(*v)), candidates.range.scale)?
        }
    })
}

/// `clamp(m + S / max(1, N))`, in the value's unit. Of no values it is within the range too: that there are none is
/// not public.
#[expect(clippy::cast_precision_loss, reason = "a noisy mean needs no more than a float's digits")]
fn mean(range: ClampRange, s: i64, n: i64) -> f64 {
    let mean = range.middle() as f64 + s as f64 / n.max(1) as f64;
    mean.clamp(range.low as f64, range.high as f64) / 10f64.powi(i32::from(range.scale))
}

/// `clamp(w (Q/N + floor(H/2)) - (S/N)^2, 0, h^2)`, for a sample times N/(N-1), and its root for a deviation.
#[expect(clippy::cast_precision_loss, reason = "a noisy variance needs no more than a float's digits")]
fn variance(range: ClampRange, spread: Spread, q: i64, s: i64, n: i64) -> f64 {
    let count = n.max(1) as f64;
    let square = range.square_unit() as f64 * (q as f64 / count + range.square_middle() as f64);
    let mut variance = (square - (s as f64 / count).powi(2)).clamp(0.0, (range.half() as f64).powi(2));
    if spread.sample {
        // Of one value a sample's variance is undefined; that there is one is not public, so two are assumed.
        variance *= n.max(2) as f64 / (n.max(2) - 1) as f64;
    }
    let one = 10f64.powi(i32::from(range.scale));
    if spread.root { variance.sqrt() / one } else { variance / one / one }
}

fn decimal(values: impl Iterator<Item = i128>, scale: i8) -> Result<ArrayRef, Failed> {
    let array = Decimal128Array::from_iter_values(values).with_precision_and_scale(38, scale).map_err(|_| Failed)?;
    Ok(Arc::new(array))
}
