//! A 95 % interval beside every value of an answer: noise only, not clipping bias, not sampling error.
//!
//! - A count, sum or quantile that is shown as it was drawn has the mechanism's closed form.
//! - Any other value f made from one released row is a function of k noisy numbers. With odds of 95 % the exact numbers
//!   lie within a ball around the noisy ones (`region`), and then the exact f lies between the least and the greatest f
//!   over that ball. Many points of it are tried, most on its surface. (Noise added once more, a bootstrap, covers too
//!   little where f bends or is clamped: 85 % for a variance of few rows.)
//! - A value made from several released rows (an aggregate, a window, a union) needs the whole plan above the
//!   release: it runs again over such numbers ([`Rows::All`], so that what HAVING or LIMIT would then leave out still
//!   counts), and rows are matched by what tells them apart. The interval is the hull of the percentiles and of their
//!   mirror image at the shown value, which is the same for sums and covers for most of the bias of folds that bend
//!   (MAX, RANK, STDDEV): those are biased themselves, noise makes them larger.
//!
//! There is none (null) for a value that is no number or is NULL itself; for a key made of noisy values; where rows
//! can't be told apart (a question that shows several rows of equal keys); where the row is missing in half of the
//! runs; and where the plan makes so many rows that [`WORK`] does not cover [`FEWEST`] runs.

use std::collections::HashMap;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, UInt64Array},
        compute::{CastOptions, cast_with_options},
        datatypes::{DataType, Float64Type, UInt64Type},
        row::{RowConverter, SortField},
    },
    common::{Column, DFSchema, Result},
    logical_expr::{Expr, execution_props::ExecutionProps},
    physical_expr::create_physical_expr,
};
use epiledger_privacy::{bound::BoundedPlan, release::Release};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::{
    lineage::{CELL, Rows, carry, identifies, is_exact, is_named, value_name, value_of},
    local::LocalExecutor,
    post::{PublicTables, broken, with_cell},
    region::{self, Region},
    replay::{Replay, Slot},
};

/// Most rows that all steps of a plan make together over its runs.
const WORK: usize = 100_000_000;

/// Fewest replicates that make an interval.
const FEWEST: usize = 200;

/// Most runs of a whole plan.
const MOST_RUNS: usize = 400;

/// Low, high and sigma of each row.
pub(super) type Ends = [Vec<Option<f64>>; 3];

/// What a visible column is.
pub(super) enum Value {
    /// Made of keys and public columns alone.
    Key,
    /// The noisy table's column as it is: which scan of it, and which value.
    Drawn(usize, usize),
    /// Computed from one released row.
    Computed(Expr),
    /// Computed from several released rows.
    Whole,
    /// A key that is made of noisy values.
    Named,
}

impl Value {
    /// Reads a column's expression over carried columns.
    pub fn classify(lineage: Option<Expr>) -> Self {
        match lineage {
            None => Self::Whole,
            Some(expr) if is_exact(&expr) => Self::Key,
            Some(expr) if is_named(&expr) => Self::Named,
            Some(expr) => match &expr {
                Expr::Column(column) => {
                    value_of(&column.name).map_or_else(|| Self::Computed(expr.clone()), |(s, i)| Self::Drawn(s, i))
                }
                _ => Self::Computed(expr),
            },
        }
    }
}

/// The numbers that replicates gave for one column, row by row.
type Numbers = Vec<Vec<f64>>;

/// The intervals of each visible column.
pub(super) async fn intervals(
    executor: &LocalExecutor,
    plan: &BoundedPlan,
    release: &Release,
    public: &PublicTables,
    rows: &RecordBatch,
    values: &[Value],
) -> Result<Vec<Ends>> {
    let count = rows.num_rows();
    let mut ends: Vec<Ends> =
        values.iter().map(|_| [vec![None; count], vec![None; count], vec![None; count]]).collect();
    if count == 0 {
        return Ok(ends);
    }
    let schema = DFSchema::try_from(rows.schema().as_ref().clone())?;
    let mut by_row: Vec<(usize, Expr)> = Vec::new();
    let mut by_run: Vec<(usize, Numbers)> = Vec::new();
    for ((position, value), slot) in values.iter().enumerate().zip(&mut ends) {
        let expr = match value {
            Value::Key | Value::Named => continue,
            Value::Whole => {
                by_run.push((position, vec![Vec::new(); count]));
                continue;
            }
            Value::Drawn(scan, index) => match closed_form(plan, release, rows, *scan, *index) {
                Some(closed) => {
                    *slot = closed;
                    continue;
                }
                None => Expr::Column(Column::new_unqualified(value_name(*scan, *index))),
            },
            Value::Computed(expr) => expr.clone(),
        };
        by_row.push((position, expr));
    }
    let mut normal = normal_source(release);
    let noise = release.noise(plan).map_err(broken)?;
    let points = region::points(count, by_row.len());
    for (position, expr) in by_row {
        let region = Region::new(plan, &noise, rows, &expr);
        let expr = create_physical_expr(&expr, &schema, &ExecutionProps::new(), &Default::default())?;
        let found = region.extremes(&expr, points, &mut normal)?;
        fill(&mut ends, position, found.into_iter());
    }
    let mut runs = match by_run.len() {
        0 => None,
        _ => Some(Runs::new(executor, plan, release, public, rows).await?),
    };
    let mut number = 0;
    while let Some(runs) = runs.as_mut().filter(|runs| number < runs.most) {
        let table = noise.replicate(&mut normal).map_err(broken)?;
        runs.run(executor, &table, &mut by_run).await?;
        number += 1;
    }
    for (position, numbers) in by_run {
        let least = runs.as_ref().map_or(usize::MAX, |runs| (runs.most / 2).max(FEWEST / 2));
        let shown = as_numbers(rows.column(position))?;
        let shown = |row: usize| shown.as_ref().and_then(|array| finite(array, row));
        let ends_of = |(row, of_row)| shown(row).map_or([None; 3], |value| summary(of_row, least, value));
        fill(&mut ends, position, numbers.into_iter().enumerate().map(ends_of));
    }
    Ok(ends)
}

fn fill(ends: &mut [Ends], position: usize, summaries: impl Iterator<Item = [Option<f64>; 3]>) {
    let Some(ends) = ends.get_mut(position) else { return };
    for (row, summary) in summaries.enumerate() {
        for (end, value) in ends.iter_mut().zip(summary) {
            if let Some(slot) = end.get_mut(row) {
                *slot = value;
            }
        }
    }
}

/// Runs of the whole plan above the release.
struct Runs {
    replay: Replay,
    identity: Identity,
    /// Rows of the answer by what tells them apart.
    places: HashMap<Vec<u8>, Option<usize>>,
    /// How many runs there will be.
    most: usize,
}

impl Runs {
    async fn new(
        executor: &LocalExecutor,
        plan: &BoundedPlan,
        release: &Release,
        public: &PublicTables,
        rows: &RecordBatch,
    ) -> Result<Self> {
        let keys = plan.release_schema().fields().len() - plan.aggregates();
        let (slot, source) = Slot::new(with_cell(&release.table(plan).map_err(broken)?)?)?;
        let carried = carry(plan.post(), &source, keys, public, Rows::All)?;
        let identity = Identity::new(rows)?;
        let mut places = HashMap::new();
        for (row, name) in identity.names(rows)?.into_iter().enumerate() {
            places.entry(name).and_modify(|place| *place = None).or_insert(Some(row));
        }
        Ok(Self { replay: Replay::new(executor, &carried.plan, slot).await?, identity, places, most: MOST_RUNS })
    }

    /// One run: the numbers of rows that are told apart here and in the answer.
    async fn run(
        &mut self,
        executor: &LocalExecutor,
        table: &RecordBatch,
        into: &mut [(usize, Numbers)],
    ) -> Result<()> {
        let (rows, work) = self.replay.run(executor, with_cell(table)?).await?;
        let affordable = WORK / work.max(1);
        if affordable < FEWEST {
            self.most = 0;
            return Ok(());
        }
        self.most = self.most.min(affordable);
        let mut here: HashMap<usize, Option<usize>> = HashMap::new();
        for (row, name) in self.identity.names(&rows)?.into_iter().enumerate() {
            if let Some(Some(place)) = self.places.get(&name) {
                here.entry(*place).and_modify(|row| *row = None).or_insert(Some(row));
            }
        }
        for (position, numbers) in into {
            let Some(array) = as_numbers(rows.column(*position))? else { continue };
            for (place, row) in &here {
                if let (Some(of_row), Some(row)) = (numbers.get_mut(*place), row) {
                    of_row.extend(finite(&array, *row));
                }
            }
        }
        Ok(())
    }
}

/// What tells the rows of a carried plan apart: cells, keys and names, as bytes.
struct Identity {
    columns: Vec<String>,
    converter: RowConverter,
}

impl Identity {
    fn new(rows: &RecordBatch) -> Result<Self> {
        let schema = rows.schema();
        let fields: Vec<_> = schema.fields().iter().filter(|field| identifies(field.name())).collect();
        let sorts = fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let columns = fields.iter().map(|field| field.name().clone()).collect();
        Ok(Self { columns, converter: RowConverter::new(sorts)? })
    }

    fn names(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        if self.columns.is_empty() {
            return Ok(vec![Vec::new(); rows.num_rows()]);
        }
        let columns = self.columns.iter().filter_map(|name| rows.column_by_name(name).cloned()).collect::<Vec<_>>();
        let names = self.converter.convert_columns(&columns)?;
        Ok(names.iter().map(|name| name.data().to_vec()).collect())
    }
}

fn closed_form(plan: &BoundedPlan, release: &Release, rows: &RecordBatch, scan: usize, index: usize) -> Option<Ends> {
    let cells = cells(rows, scan)?;
    let mut ends: Ends = [Vec::new(), Vec::new(), Vec::new()];
    for cell in &cells {
        let interval = match cell.and_then(|c| usize::try_from(c).ok()) {
            Some(row) => {
                let i = release.closed_form(plan, index, row)?;
                [Some(i.low), Some(i.high), i.sigma]
            }
            // A row of a public table without a released cell (an outer join).
            None => [None; 3],
        };
        for (end, value) in ends.iter_mut().zip(interval) {
            end.push(value);
        }
    }
    Some(ends)
}

/// Which row of the noisy table each row was made from.
pub(super) fn cells(rows: &RecordBatch, scan: usize) -> Option<UInt64Array> {
    rows.column_by_name(&format!("{CELL}{scan}"))?.as_primitive_opt::<UInt64Type>().cloned()
}

/// Low, high and standard deviation of what the replicates gave; nothing from fewer than `least`. Low and high reach
/// out to the percentiles' mirror image at the value that is shown.
fn summary(mut values: Vec<f64>, least: usize, shown: f64) -> [Option<f64>; 3] {
    if values.len() < least {
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
    let (low, high) = (values.get(cut.saturating_sub(1)).copied(), values.get(count - cut.max(1)).copied());
    let (Some(low), Some(high)) = (low, high) else { return [None; 3] };
    [Some(low.min(2.0 * shown - high)), Some(high.max(2.0 * shown - low)), Some(sigma)]
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

pub(super) fn as_numbers(array: &ArrayRef) -> Result<Option<Float64Array>> {
    if !array.data_type().is_numeric() {
        return Ok(None);
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(Some(cast_with_options(array, &DataType::Float64, &options)?.as_primitive::<Float64Type>().clone()))
}

pub(super) fn finite(array: &Float64Array, row: usize) -> Option<f64> {
    (row < array.len() && array.is_valid(row)).then(|| array.value(row)).filter(|value| value.is_finite())
}
