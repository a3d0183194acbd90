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
        measure::{Needed, Output},
    },
    interval::{self, Interval},
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

    /// The same table with noise of the same sigma added once more, for intervals of values that are computed
    /// from several noisy numbers. `normal` gives standard normal draws; they protect nothing.
    ///
    /// # Errors
    /// [`Failed`] when the release is not one of this plan.
    pub fn replicate(&self, plan: &BoundedPlan, normal: &mut dyn FnMut() -> f64) -> Result<RecordBatch, Failed> {
        let values: Vec<Vec<i64>> = self
            .draws()
            .iter()
            .map(|draw| {
                let sigma: f64 = draw.sigma.parse().unwrap_or(0.0);
                #[expect(clippy::cast_possible_truncation, reason = "float to integer saturates")]
                draw.values.iter().map(|v| v.saturating_add((normal() * sigma).round() as i64)).collect()
            })
            .collect();
        self.table_of(plan, &values)
    }

    /// The closed-form interval of aggregate `index` (counted after the keys) in cell `row`; None where a value is
    /// computed from several noisy numbers.
    #[must_use]
    pub fn closed_form(&self, plan: &BoundedPlan, index: usize, row: usize) -> Option<Interval> {
        let (position, scale) = match plan.measured().outputs.get(index)? {
            Output::Count(position) => (*position, 0),
            Output::Sum { total, scale } => (*total, *scale),
            Output::CentredSum { .. } | Output::Mean { .. } => return None,
        };
        let draw = self.draws().get(position)?;
        let sigma: f64 = draw.sigma.parse().ok()?;
        let value = *draw.values.get(row)?;
        let grid = match (plan.measured().needed.get(position)?, self.threshold()) {
            (Needed::Patients, Some((over, k_min))) => interval::truncated(value, sigma, over, k_min),
            _ => interval::symmetric(value, sigma, draw.half_width),
        };
        Some(grid.scaled(scale))
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
            #[expect(clippy::cast_precision_loss, reason = "a noisy mean needs no more than a float's digits")]
            let mean = |(s, n): (&i64, &i64)| {
                let mean = range.middle() as f64 + *s as f64 / (*n).max(1) as f64;
                mean.clamp(range.low as f64, range.high as f64) / 10f64.powi(i32::from(range.scale))
            };
            Arc::new(column(centred)?.iter().zip(column(count)?).map(mean).collect::<Float64Array>())
        }
    })
}

fn decimal(values: impl Iterator<Item = i128>, scale: i8) -> Result<ArrayRef, Failed> {
    let array = Decimal128Array::from_iter_values(values).with_precision_and_scale(38, scale).map_err(|_| Failed)?;
    Ok(Arc::new(array))
}
