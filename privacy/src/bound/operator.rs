//! The streaming bounding operator: P1, U, U1, U2 and V of `bound.md` in one pass over P.
//!
//! It takes P with each unit in one partition and units in order, as [`super::scan`] delivers them and joins, folds
//! and windows on the unit keep them. So the state of a unit lives from its first row to its last ([`unit`]), and
//! only V ([`groups`]) grows with the data. [`exec`] runs the partitions side by side and adds their V's up.
//!
//! Same integers as the relational form ([`super::relational`]), which tests hold it to. A new primitive is one more
//! arm of [`Shape::fold`] (what a unit's rows are folded into) and of `unit::Units::measured` (what U1 makes of it).

pub(super) mod exec;
mod groups;
mod unit;

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, new_empty_array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    common::{DataFusionError, Result, ScalarValue},
};

use super::{integer::ClampRange, measure::Needed, relational::Parts};

/// What the operator computes. Columns of its input: the unit, the keys, the values; of its output: the keys, then
/// one Int64 for each needed integer.
#[derive(Debug)]
pub(super) struct Shape {
    /// Types of the keys.
    keys: Vec<DataType>,
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

/// What the rows of a unit in one group are folded into, for one value column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fold {
    /// How many are not NULL.
    Count,
    /// That, and their sum.
    Sum,
}

/// An integer of V, over folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measured {
    /// 1.
    Patients,
    /// c.
    Rows,
    /// `c_i`.
    Count { value: usize },
    /// `t_i - m c_i`, which is `s_i`; m is 0 for `t_i`.
    Sum { value: usize, middle: i64 },
}

impl Shape {
    /// The shape of these parts over P's types; None when a primitive is not computed here, so that the relational
    /// form must run.
    pub(super) fn of(parts: &Parts, keys: Vec<DataType>) -> Result<Option<Self>> {
        let range = |value: &usize| parts.values.get(*value).and_then(|(_, range)| *range);
        let mut folds = vec![Fold::Count; parts.values.len()];
        let mut needed = Vec::with_capacity(parts.needed.len());
        for need in &parts.needed {
            let (measured, fold) = match need {
                Needed::Patients => (Measured::Patients, None),
                Needed::Rows => (Measured::Rows, None),
                Needed::Count(value) => (Measured::Count { value: *value }, None),
                Needed::Total(value) => (Measured::Sum { value: *value, middle: 0 }, Some(*value)),
                Needed::Centred(value) => {
                    let middle = range(value).map_or(0, ClampRange::middle);
                    (Measured::Sum { value: *value, middle }, Some(*value))
                }
                Needed::Having(_) | Needed::Squares(_) | Needed::Distinct { .. } | Needed::Medians { .. } => {
                    return Ok(None);
                }
            };
            needed.push(measured);
            if let Some(fold) = fold.and_then(|value| folds.get_mut(value)) {
                *fold = Fold::Sum;
            }
        }
        let cells = parts.cells.as_deref().filter(|_| !keys.is_empty()).map(|cells| columns(cells, &keys));
        let integers = (0..needed.len()).map(|at| Field::new(format!("__sum{at}"), DataType::Int64, true));
        let fields = keys.iter().enumerate().map(|(at, key)| Field::new(format!("__key{at}"), key.clone(), true));
        Ok(Some(Self {
            cells: cells.transpose()?,
            schema: Arc::new(Schema::new(fields.chain(integers).collect::<Vec<_>>())),
            keys,
            folds,
            needed,
            rows: i64::try_from(parts.rows).unwrap_or(i64::MAX),
            groups: usize::try_from(parts.groups).unwrap_or(usize::MAX),
            allowance: parts.allowance.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX),
            group_key: parts.group_key,
        }))
    }

    /// Positions of the value columns.
    fn values(&self) -> std::ops::Range<usize> {
        1 + self.keys.len()..1 + self.keys.len() + self.folds.len()
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
