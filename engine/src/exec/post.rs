//! Post-processing: HAVING, ORDER BY, LIMIT, arithmetic and public joins over released numbers, with an
//! interval beside every value.
//!
//! A count or sum that is shown as it was drawn has the mechanism's closed-form interval. Any other value is
//! computed again from noisy numbers with the same noise added once more, many times (a parametric bootstrap);
//! the 2.5 and 97.5 percentiles are its interval. Nothing here sees data.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, UInt64Array},
        compute::{CastOptions, cast_with_options, concat_batches, take_record_batch},
        datatypes::{DataType, Field, Float64Type, Schema, TimeUnit, UInt64Type},
    },
    common::{
        DFSchema, DataFusionError, Result,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, execution_props::ExecutionProps},
    physical_expr::{PhysicalExpr, create_physical_expr},
};
use epiledger_privacy::{bound::BoundedPlan, release::Release};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::{
    lineage::{CELL, Tables, base, carry},
    local::LocalExecutor,
};
use crate::api::{AnswerColumn, ColumnRole};

/// Most numbers that the replicates of one answer compute.
const REPLICATE_BUDGET: usize = 4_000_000;

/// The columns and rows of an answer.
pub struct Answered {
    /// What each column is.
    pub columns: Vec<AnswerColumn>,
    /// The rows.
    pub batch: RecordBatch,
}

/// Public tables by name.
pub type PublicTables = BTreeMap<String, Vec<RecordBatch>>;

impl Tables for PublicTables {
    fn public(&self, name: &str) -> Option<Vec<RecordBatch>> {
        self.get(name).cloned()
    }
}

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
    let broken = |_| DataFusionError::Execution("the release is not one of this plan".into());
    let noisy = release.table(plan).map_err(broken)?;
    let carried = carry(plan.post(), &noisy, public)?;
    let schema = Arc::new(carried.plan.schema().as_arrow().clone());
    let batches = executor.run(&carried.plan).await?;
    let rows = concat_batches(&batches.first().map_or(schema, RecordBatch::schema), &batches)?;
    let rows = rows.slice(0, rows.num_rows().min(row_limit.unwrap_or(usize::MAX)));
    let keys = plan.release_schema().fields().len() - plan.aggregates();

    let values: Vec<Value> = (0..carried.visible)
        .map(|index| {
            Value::classify(carried.lineage.get(index).cloned().flatten(), keys, plan.release_schema().fields().len())
        })
        .collect::<Result<_>>()?;
    let intervals = intervals(plan, release, &rows, &values, keys)?;

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
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
    Ok(Answered { columns, batch })
}

const SUFFIXES: [(&str, ColumnRole); 3] =
    [("low", ColumnRole::Low), ("high", ColumnRole::High), ("sigma", ColumnRole::Sigma)];

/// Low, high and sigma of each row.
type Ends = [Vec<Option<f64>>; 3];

/// What a visible column is.
enum Value {
    /// Made of keys and public columns alone.
    Key,
    /// The noisy table's column as it is.
    Drawn(usize),
    /// Computed from noisy columns.
    Computed(Expr),
    /// Made of released numbers in a way that is not traced.
    Untraced,
}

impl Value {
    fn classify(lineage: Option<Expr>, keys: usize, width: usize) -> Result<Self> {
        let Some(expr) = lineage else { return Ok(Self::Untraced) };
        let noisy: Vec<String> = (keys..width).map(base).collect();
        if let Expr::Column(column) = &expr
            && let Some(index) = noisy.iter().position(|name| *name == column.name)
        {
            return Ok(Self::Drawn(index));
        }
        let mut reads = false;
        expr.apply(|e| {
            reads |= matches!(e, Expr::Column(column) if noisy.contains(&column.name));
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if reads { Self::Computed(expr) } else { Self::Key })
    }
}

fn intervals(
    plan: &BoundedPlan,
    release: &Release,
    rows: &RecordBatch,
    values: &[Value],
    keys: usize,
) -> Result<Vec<Ends>> {
    let count = rows.num_rows();
    let nothing = || -> Ends { [vec![None; count], vec![None; count], vec![None; count]] };
    let mut ends: Vec<Ends> = values.iter().map(|_| nothing()).collect();
    let cells = rows.schema().index_of(CELL).ok().map(|i| rows.column(i).as_primitive::<UInt64Type>().clone());
    let Some(cells) = cells else { return Ok(ends) };
    let mut simulated: Vec<(usize, Arc<dyn PhysicalExpr>)> = Vec::new();
    let schema = DFSchema::try_from(rows.schema().as_ref().clone())?;
    for (position, value) in values.iter().enumerate() {
        let expr = match value {
            Value::Key | Value::Untraced => continue,
            Value::Drawn(index) => match closed_form(plan, release, &cells, *index) {
                Some(closed) => {
                    if let Some(slot) = ends.get_mut(position) {
                        *slot = closed;
                    }
                    continue;
                }
                None => Expr::Column(datafusion::common::Column::new_unqualified(base(keys + index))),
            },
            Value::Computed(expr) => expr.clone(),
        };
        simulated.push((position, physical(&expr, &schema)?));
    }
    if simulated.is_empty() || count == 0 {
        return Ok(ends);
    }
    let replicates = (REPLICATE_BUDGET / (count * simulated.len())).clamp(200, 1_000);
    let mut drawn: Vec<Vec<Vec<f64>>> = simulated.iter().map(|_| vec![Vec::with_capacity(replicates); count]).collect();
    let mut normal = normal_source(release);
    for _ in 0..replicates {
        let table = release
            .replicate(plan, &mut normal)
            .map_err(|_| DataFusionError::Execution("the release is not one of this plan".into()))?;
        let again = take_record_batch(&table, &cells)?;
        let batch = with_base(rows, &again)?;
        for ((_, expr), column) in simulated.iter().zip(&mut drawn) {
            let array = expr.evaluate(&batch)?.into_array(count)?;
            let Some(numbers) = as_numbers(&array)? else { continue };
            for (row, of_row) in column.iter_mut().enumerate() {
                if numbers.is_valid(row) && numbers.value(row).is_finite() {
                    of_row.push(numbers.value(row));
                }
            }
        }
    }
    for ((position, _), column) in simulated.iter().zip(drawn) {
        let summaries = column.into_iter().map(summary);
        let mut slot = nothing();
        for (row, summary) in summaries.enumerate() {
            for (end, value) in slot.iter_mut().zip(summary) {
                if let Some(cell) = end.get_mut(row) {
                    *cell = value;
                }
            }
        }
        if let Some(end) = ends.get_mut(*position) {
            *end = slot;
        }
    }
    Ok(ends)
}

fn closed_form(plan: &BoundedPlan, release: &Release, cells: &UInt64Array, index: usize) -> Option<Ends> {
    let mut ends: Ends = [Vec::new(), Vec::new(), Vec::new()];
    for cell in cells {
        let interval = match cell.and_then(|c| usize::try_from(c).ok()) {
            Some(row) => {
                let i = release.closed_form(plan, index, row)?;
                [Some(i.low), Some(i.high), Some(i.sigma)]
            }
            // A row of a public table without a released cell (an outer join).
            None => [None; 3],
        };
        for (end, value) in ends.iter_mut().zip(interval) {
            end.push(value);
        }
    }
    // An empty answer has no row to ask; the form is then decided by the plan alone.
    Some(ends)
}

/// The rows with their noisy base columns replaced by those of a replicate.
fn with_base(rows: &RecordBatch, again: &RecordBatch) -> Result<RecordBatch> {
    let columns = rows
        .schema()
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| {
            field
                .name()
                .strip_prefix("__base")
                .and_then(|i| i.parse::<usize>().ok())
                .and_then(|i| again.columns().get(i))
                .unwrap_or(column)
                .clone()
        })
        .collect();
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, schema, &ExecutionProps::new(), &Default::default())
}

/// Low, high and standard deviation of what the replicates gave; nothing from fewer than half of 200.
fn summary(mut values: Vec<f64>) -> [Option<f64>; 3] {
    if values.len() < 100 {
        return [None; 3];
    }
    values.sort_by(f64::total_cmp);
    let count = values.len();
    #[expect(clippy::cast_precision_loss, reason = "at most a thousand values")]
    let n = count as f64;
    let mean = values.iter().sum::<f64>() / n;
    let sigma = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    // The outer order statistics of the 2.5 % tails.
    let cut = count / 40;
    [values.get(cut.saturating_sub(1)).copied(), values.get(count - cut.max(1)).copied(), Some(sigma)]
}

/// Standard normal draws, the same for the same release: an answer given again has the same intervals.
fn normal_source(release: &Release) -> impl FnMut() -> f64 {
    let seed = Sha256::digest(format!("{} {}", release.query_id(), release.cache_key()));
    let mut rng = StdRng::from_seed(seed.into());
    move || {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        // Box and Muller 1958; 1 - u lies in (0, 1].
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

fn as_numbers(array: &ArrayRef) -> Result<Option<Float64Array>> {
    if !array.data_type().is_numeric() {
        return Ok(None);
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(Some(cast_with_options(array, &DataType::Float64, &options)?.as_primitive::<Float64Type>().clone()))
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
