//! V in this process: keys and exact columns, in canonical order, on their way to the noise.

use std::collections::HashMap;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array},
        compute::{concat_batches, take},
        datatypes::{DataType, Int64Type},
        row::{RowConverter, SortField},
    },
    common::ScalarValue,
};

use super::{Failed, RawBatches};
use crate::bound::{BoundedPlan, measure::Needed};

/// A column of V in this process, one entry for each cell.
pub(super) enum Column {
    /// Integers; NULL sums (of no rows) are 0.
    Sums(Vec<i64>),
    /// Patients at each candidate; none where no patient has a value.
    Candidates(Vec<Vec<u64>>),
}

impl Column {
    fn read(array: &ArrayRef) -> Result<Self, Failed> {
        if let Some(sums) = array.as_primitive_opt::<Int64Type>() {
            return Ok(Self::Sums(sums.iter().map(|value| value.unwrap_or(0)).collect()));
        }
        let lists = array.as_list_opt::<i32>().ok_or(Failed)?;
        let cell = |row: usize| {
            if lists.is_null(row) {
                return Ok(Vec::new());
            }
            let values = lists.value(row);
            let counts = values.as_primitive_opt::<Int64Type>().ok_or(Failed)?;
            Ok(counts.iter().map(|count| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0)).collect())
        };
        (0..lists.len()).map(cell).collect::<Result<_, Failed>>().map(Self::Candidates)
    }

    pub(super) fn sums(&self) -> Result<&[i64], Failed> {
        match self {
            Self::Sums(sums) => Ok(sums),
            Self::Candidates(_) => Err(Failed),
        }
    }

    /// The entries at these cells; nothing at None.
    pub(super) fn at(&self, cells: impl Iterator<Item = Option<usize>>) -> Self {
        match self {
            Self::Sums(sums) => {
                Self::Sums(cells.map(|cell| cell.and_then(|c| sums.get(c).copied()).unwrap_or(0)).collect())
            }
            Self::Candidates(counts) => Self::Candidates(
                cells.map(|cell| cell.and_then(|c| counts.get(c).cloned()).unwrap_or_default()).collect(),
            ),
        }
    }
}

pub(super) type Exact = (Vec<ArrayRef>, Vec<Column>);

/// V's rows as key arrays and columns.
fn columns(plan: &BoundedPlan, raw: RawBatches) -> Result<Exact, Failed> {
    let (key_count, needed) = (plan.key_types().len(), plan.measured().needed.len());
    let Some(first) = raw.0.first() else {
        let keys = plan.key_types().iter().map(new_empty_array).collect();
        let empty = |needed: &Needed| match needed {
            Needed::Medians { .. } => Column::Candidates(Vec::new()),
            _ => Column::Sums(Vec::new()),
        };
        return Ok((keys, plan.measured().needed.iter().map(empty).collect()));
    };
    let batch = concat_batches(&first.schema(), &raw.0).map_err(|_| Failed)?;
    if batch.num_columns() != key_count + needed {
        return Err(Failed);
    }
    let columns = batch.columns().iter().skip(key_count).map(Column::read).collect::<Result<_, _>>()?;
    Ok((batch.columns().iter().take(key_count).cloned().collect(), columns))
}

fn converter(types: &[DataType]) -> Result<RowConverter, Failed> {
    RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect()).map_err(|_| Failed)
}

/// Every public cell in its order, with what was found for it, or nothing.
pub(super) fn zero_filled(plan: &BoundedPlan, public: &[Vec<ScalarValue>], raw: RawBatches) -> Result<Exact, Failed> {
    let keys = plan
        .key_types()
        .iter()
        .enumerate()
        .map(|(index, data_type)| {
            let values =
                public.iter().map(|cell| cell.get(index).ok_or(Failed)?.cast_to(data_type).map_err(|_| Failed));
            let values = values.collect::<Result<Vec<_>, Failed>>()?;
            if values.is_empty() {
                return Ok(new_empty_array(data_type));
            }
            ScalarValue::iter_to_array(values).map_err(|_| Failed)
        })
        .collect::<Result<Vec<_>, Failed>>()?;
    let values = at_keys(plan, &keys, raw)?;
    Ok((keys, values))
}

/// What was found at each of these keys, or nothing. Without keys there is one cell.
pub(super) fn at_keys(plan: &BoundedPlan, keys: &[ArrayRef], raw: RawBatches) -> Result<Vec<Column>, Failed> {
    let (found_keys, found) = columns(plan, raw)?;
    if plan.key_types().is_empty() {
        return Ok(found.iter().map(|column| column.at(std::iter::once(Some(0)))).collect());
    }
    let converter = converter(plan.key_types())?;
    let found_rows = converter.convert_columns(&found_keys).map_err(|_| Failed)?;
    let place: HashMap<&[u8], usize> = found_rows.iter().enumerate().map(|(index, row)| (row.data(), index)).collect();
    let cells = converter.convert_columns(keys).map_err(|_| Failed)?;
    let places: Vec<Option<usize>> = cells.iter().map(|cell| place.get(cell.data()).copied()).collect();
    Ok(found.iter().map(|column| column.at(places.iter().copied())).collect())
}

/// Unknown keys in canonical order, so that the order of noise does not depend on how rows were read.
pub(super) fn ordered(plan: &BoundedPlan, raw: RawBatches) -> Result<Exact, Failed> {
    let (keys, values) = columns(plan, raw)?;
    let rows = converter(plan.key_types())?.convert_columns(&keys).map_err(|_| Failed)?;
    let mut order: Vec<(&[u8], usize)> = rows.iter().enumerate().map(|(index, row)| (row.data(), index)).collect();
    let mut sorted: Vec<(Vec<u8>, usize)> = order.drain(..).map(|(row, index)| (row.to_vec(), index)).collect();
    sorted.sort_unstable();
    let order: Vec<usize> = sorted.into_iter().map(|(_, index)| index).collect();
    let indices: Result<Vec<u32>, _> = order.iter().map(|index| u32::try_from(*index)).collect();
    let indices = UInt32Array::from(indices.map_err(|_| Failed)?);
    let keys = keys.iter().map(|key| take(key, &indices, None).map_err(|_| Failed)).collect::<Result<Vec<_>, _>>()?;
    let values = values.iter().map(|column| column.at(order.iter().copied().map(Some))).collect();
    Ok((keys, values))
}
