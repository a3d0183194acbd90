//! The streaming bounding operator: P1, U, U1, U2 and V of `bound.md` in one pass over P.
//!
//! It takes P with each unit in one partition and units in order, as [`super::scan`] delivers them and joins, folds
//! and windows on the unit keep them. So the state of a unit lives from its first row to its last ([`unit`]), and
//! only V ([`groups`]) grows with the data. [`exec`] runs the partitions side by side and adds their V's up.
//!
//! Sums and counts of a slot are folded row by row; what needs the values one by one waits until the unit has ended
//! ([`listed`]). A new primitive is one more [`Measured`]: what a unit's rows leave for it, and the column of V that
//! takes it ([`column`]).

mod column;
pub(super) mod exec;
mod groups;
mod listed;
mod size;
mod unit;

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, new_empty_array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    common::{DataFusionError, Result, ScalarValue},
};

use self::column::Column;
use super::{form::Parts, integer::ClampRange, measure::Needed, values::Candidates};

/// What the operator computes. Columns of its input: the unit, the keys, the values; of its output: the keys, then
/// one for each needed integer.
#[derive(Debug)]
pub(super) struct Shape {
    /// Types of the keys.
    keys: Vec<DataType>,
    /// Types of the values.
    values: Vec<DataType>,
    /// Public cells as columns; None for unknown keys.
    cells: Option<Vec<ArrayRef>>,
    /// What each value column is folded into.
    folds: Vec<Fold>,
    /// The integers of V.
    needed: Vec<Measured>,
    /// R.
    rows: i64,
    /// G.
    groups: usize,
    /// Most rows of a unit: one with more contributes nothing.
    allowance: i64,
    /// k_q.
    group_key: [u8; 16],
    schema: SchemaRef,
}

/// What the rows of a unit in one group are folded into, for one value column: always how many are not NULL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fold {
    /// Their sum too?
    sum: bool,
    /// The sum of their squares too?
    squares: Option<ClampRange>,
}

/// An integer of V, over what a slot holds. `value` is the position of a value column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measured {
    /// 1.
    Patients,
    /// rows, at most R.
    Rows,
    /// `count_i`, at most `most`: R, or 1 for `having_i`.
    Count { value: usize, most: i64 },
    /// `total_i - m count_i`, which is `centred_i`; m is 0 for `total_i`.
    Sum { value: usize, middle: i64 },
    /// `squares_i`.
    Squares { value: usize },
    /// `kept_i`: at most `limit` (D) different values.
    Distinct { value: usize, limit: usize },
    /// `median_i`: one candidate.
    Medians { value: usize, candidates: Candidates },
}

impl Shape {
    /// The shape of these parts over the types of P's keys and values.
    pub(super) fn of(parts: &Parts, keys: Vec<DataType>, values: Vec<DataType>) -> Result<Self> {
        let range = |value: usize| parts.values.get(value).and_then(|(_, range)| *range);
        let rows = i64::try_from(parts.rows).unwrap_or(i64::MAX);
        let mut folds = vec![Fold::default(); values.len()];
        let mut needed = Vec::with_capacity(parts.needed.len());
        for need in &parts.needed {
            let measured = match *need {
                Needed::Patients => Measured::Patients,
                Needed::Rows => Measured::Rows,
                Needed::Having(value) => Measured::Count { value, most: 1 },
                Needed::Count(value) => Measured::Count { value, most: rows },
                Needed::Total(value) => Measured::Sum { value, middle: 0 },
                Needed::Centred(value) => Measured::Sum { value, middle: range(value).map_or(0, ClampRange::middle) },
                Needed::Squares(value) => Measured::Squares { value },
                Needed::Distinct { value, limit } => {
                    Measured::Distinct { value, limit: usize::try_from(limit).unwrap_or(1) }
                }
                Needed::Medians { value, candidates } => Measured::Medians { value, candidates },
            };
            match measured {
                Measured::Sum { value, .. } => {
                    if let Some(fold) = folds.get_mut(value) {
                        fold.sum = true;
                    }
                }
                Measured::Squares { value } => {
                    if let Some(fold) = folds.get_mut(value) {
                        fold.squares = range(value);
                    }
                }
                _ => {}
            }
            needed.push(measured);
        }
        let cells = parts.cells.as_deref().filter(|_| !keys.is_empty()).map(|cells| columns(cells, &keys));
        let columns = needed.iter().enumerate();
        let integers = columns.map(|(at, need)| Field::new(format!("__sum{at}"), Column::data_type(need), true));
        let fields = keys.iter().enumerate().map(|(at, key)| Field::new(format!("__key{at}"), key.clone(), true));
        Ok(Self {
            cells: cells.transpose()?,
            schema: Arc::new(Schema::new(fields.chain(integers).collect::<Vec<_>>())),
            keys,
            values,
            folds,
            needed,
            rows,
            groups: usize::try_from(parts.groups).unwrap_or(usize::MAX),
            allowance: parts.allowance.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX),
            group_key: parts.group_key,
        })
    }

    /// Types of the keys.
    pub(super) fn keys(&self) -> &[DataType] {
        &self.keys
    }

    /// The input's column of a value.
    const fn column_of(&self, value: usize) -> usize {
        1 + self.keys.len() + value
    }
}

/// Cells as columns of these types.
pub(super) fn columns(cells: &[Vec<ScalarValue>], types: &[DataType]) -> Result<Vec<ArrayRef>> {
    let column = |(index, data_type): (usize, &DataType)| {
        if cells.is_empty() {
            return Ok(new_empty_array(data_type));
        }
        let values = cells.iter().map(|cell| {
            cell.get(index)
                .ok_or_else(|| DataFusionError::Internal("a cell lacks a key".into()))
                .and_then(|value| value.cast_to(data_type))
        });
        ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)
    };
    types.iter().enumerate().map(column).collect()
}

#[cfg(test)]
mod tests;
