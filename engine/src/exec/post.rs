//! Post-processing: HAVING, ORDER BY, LIMIT, arithmetic, folds and public joins over released numbers, with an
//! interval beside every value ([`super::intervals`]). Nothing here sees data.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, UInt64Array},
        compute::{CastOptions, cast_with_options, concat_batches},
        datatypes::{DataType, Field, Schema, TimeUnit},
    },
    common::{DataFusionError, Result},
    datasource::{MemTable, TableProvider},
};
use epiledger_privacy::{bound::BoundedPlan, release::Release, snapshot::PublicTable};

use super::{
    intervals::{Value, intervals},
    lineage::{CELL, Rows, carry},
    local::LocalExecutor,
};
use crate::api::{AnswerColumn, ColumnRole};

/// The columns and rows of an answer.
pub struct Answered {
    /// What each column is.
    pub columns: Vec<AnswerColumn>,
    /// The rows.
    pub batch: RecordBatch,
}

/// Public tables by name.
pub type PublicTables = BTreeMap<String, PublicTable>;

/// Runs the post plan of `plan` over `release`.
///
/// # Errors
/// The release is not one of this plan, or DataFusion fails (it does not on plans of the dialect).
pub async fn answer(
    executor: &LocalExecutor,
    plan: &BoundedPlan,
    release: &Release,
    public: &PublicTables,
    row_limit: Option<usize>,
) -> Result<Answered> {
    let noisy = with_cell(&release.table(plan).map_err(broken)?)?;
    let source: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(noisy.schema(), vec![vec![noisy]])?);
    let keys = plan.release_schema().fields().len() - plan.aggregates();
    let carried = carry(plan.post(), &source, keys, public, Rows::Shown)?;
    let schema = Arc::new(carried.plan.schema().as_arrow().clone());
    let batches = executor.run(&carried.plan).await?;
    let rows = concat_batches(&batches.first().map_or(schema, RecordBatch::schema), &batches)?;
    let rows = rows.slice(0, rows.num_rows().min(row_limit.unwrap_or(usize::MAX)));
    let values: Vec<Value> = carried.lineage.into_iter().map(Value::classify).collect();
    let intervals = intervals(executor, plan, release, public, &rows, &values).await?;

    let mut columns = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (index, (value, interval)) in values.iter().zip(intervals).enumerate() {
        let name = rows.schema().field(index).name().clone();
        let array = shown(rows.column(index))?;
        let role = if matches!(value, Value::Key) { ColumnRole::Key } else { ColumnRole::Value };
        columns.push(AnswerColumn { name: name.clone(), type_name: type_name(array.data_type()).into(), role });
        arrays.push(array);
        if role == ColumnRole::Value {
            for ((suffix, role), ends) in SUFFIXES.into_iter().zip(interval) {
                columns.push(AnswerColumn { name: format!("{name}_{suffix}"), type_name: "number".into(), role });
                arrays.push(Arc::new(Float64Array::from(ends)));
            }
        }
    }
    let fields: Vec<Field> =
        columns.iter().zip(&arrays).map(|(c, a)| Field::new(&c.name, a.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
    Ok(Answered { columns, batch })
}

const SUFFIXES: [(&str, ColumnRole); 3] =
    [("low", ColumnRole::Low), ("high", ColumnRole::High), ("sigma", ColumnRole::Sigma)];

/// What a release that is not one of its plan ends in.
pub(super) fn broken<E>(_: E) -> DataFusionError {
    DataFusionError::Execution("the release is not one of this plan".into())
}

/// The noisy table with the numbers of its rows behind its columns.
pub(super) fn with_cell(noisy: &RecordBatch) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = noisy.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(CELL, DataType::UInt64, true));
    let mut columns = noisy.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_iter_values(0..noisy.num_rows() as u64)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// An array as answers show it: integers, floats, text, booleans, dates; decimals and other floats as f64,
/// midnight timestamps of `date_trunc` as dates.
fn shown(array: &ArrayRef) -> Result<ArrayRef> {
    let target = match array.data_type() {
        DataType::Int64 | DataType::Float64 | DataType::Utf8 | DataType::Boolean | DataType::Date32 => {
            return Ok(Arc::clone(array));
        }
        t if t.is_integer() => DataType::Int64,
        t if t.is_numeric() => DataType::Float64,
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Millisecond, None),
        _ => DataType::Utf8,
    };
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(cast_with_options(array, &target, &options)?)
}

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "integer",
        DataType::Float64 => "number",
        DataType::Boolean => "boolean",
        DataType::Date32 => "date",
        DataType::Timestamp(_, _) => "timestamp",
        _ => "string",
    }
}
