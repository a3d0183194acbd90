//! The bounded plan in relational form: P -> P1 -> U -> U1 -> U2 -> V of `bound.md`, step by step.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, Schema},
    common::{
        Column, DataFusionError, JoinType, NullEquality, Result, ScalarValue, TableReference,
        tree_node::{Transformed, TreeNode},
    },
    datasource::{MemTable, provider_as_source},
    functions_aggregate::{
        expr_fn::{count, sum},
        sum::sum_udaf,
    },
    functions_window::expr_fn::row_number,
    logical_expr::{
        Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Operator, TableScan, WindowFunctionDefinition,
        binary_expr, expr::WindowFunction, ident, lit,
    },
};

use super::{
    integer::{ClampRange, clamp, down_weight, group_hash},
    measure::Needed,
    scan::GuardedTable,
};
use crate::{
    catalog::{CONSENT, Catalog, UNIT},
    snapshot::Snapshot,
};

/// Columns of U, U1 and U2 that no SQL can name: the parser's identifiers never reach these plans.
const UNIT_COLUMN: &str = "__unit";
const RANK: &str = "__rank";

fn key_column(index: usize) -> String {
    format!("__key{index}")
}

fn value_column(index: usize) -> String {
    format!("__value{index}")
}

/// Everything that the construction needs, all of it decided from text and catalog.
pub(super) struct Parts<'a> {
    /// P: the walked private sub-plan.
    pub(super) input: LogicalPlan,
    /// Its unit, bare and non-null.
    pub(super) unit: Column,
    /// Group expressions over P.
    pub(super) keys: &'a [Expr],
    /// Public cells; None for unknown keys.
    pub(super) cells: Option<&'a [Vec<ScalarValue>]>,
    /// Values that are counted or summed.
    pub(super) values: &'a [(Expr, Option<ClampRange>)],
    /// Which integers V must hold, in order.
    pub(super) needed: &'a [Needed],
    /// R.
    pub(super) rows: u64,
    /// G.
    pub(super) groups: u64,
    /// Most rows of a unit in P, where they are not the scan's to cap.
    pub(super) allowance: Option<u64>,
    /// k_q.
    pub(super) group_key: [u8; 16],
}

/// V: columns `__key0..`, then one Int64 column for each needed integer.
pub(super) fn bounded(parts: Parts<'_>) -> Result<LogicalPlan> {
    let key_names: Vec<String> = (0..parts.keys.len()).map(key_column).collect();
    let keys = || key_names.iter().map(ident).collect::<Vec<_>>();

    // P, reduced to the unit, the keys and the clamped values.
    let mut columns = vec![Expr::Column(parts.unit).alias(UNIT_COLUMN)];
    columns.extend(parts.keys.iter().zip(&key_names).map(|(key, name)| key.clone().unalias_nested().data.alias(name)));
    for (index, (value, range)) in parts.values.iter().enumerate() {
        let value = value.clone();
        let value = range.map_or(value.clone(), |range| clamp(value, range));
        columns.push(value.alias(value_column(index)));
    }
    let p =
        LogicalPlanBuilder::from(parts.input).project(columns)?.filter(ident(UNIT_COLUMN).is_not_null())?.build()?;

    // P1: rows with foreign keys go before anything is bounded.
    let p1 = match parts.cells {
        Some(cells) if !parts.keys.is_empty() => semi_join_cells(p, &key_names, cells)?,
        _ => p,
    };

    // U: one row per unit and group.
    let mut group = vec![ident(UNIT_COLUMN)];
    group.extend(keys());
    let mut sums = vec![count(lit(1i64)).alias("__rows")];
    for (index, (_, range)) in parts.values.iter().enumerate() {
        let value = ident(value_column(index));
        sums.push(count(value.clone()).alias(format!("__count{index}")));
        if let Some(range) = range {
            if parts.needed.contains(&Needed::Total(index)) {
                sums.push(sum(value.clone()).alias(format!("__total{index}")));
            }
            if parts.needed.contains(&Needed::Centred(index)) {
                let centred = binary_expr(value, Operator::Minus, lit(range.middle()));
                sums.push(sum(centred).alias(format!("__centred{index}")));
            }
        }
    }
    let u = LogicalPlanBuilder::from(p1).aggregate(group, sums)?.build()?;
    let u = match parts.allowance {
        Some(most) => within_allowance(u, parts.keys.is_empty(), most)?,
        None => u,
    };

    // U1: down-weight to R rows.
    let mut columns = vec![ident(UNIT_COLUMN)];
    columns.extend(keys());
    for (position, needed) in parts.needed.iter().enumerate() {
        let weighed = match needed {
            Needed::Patients => lit(1i64),
            Needed::Rows => down_weight(ident("__rows"), ident("__rows"), parts.rows),
            Needed::Count(i) => {
                let count = ident(format!("__count{i}"));
                down_weight(count.clone(), count, parts.rows)
            }
            Needed::Total(i) => down_weight(ident(format!("__total{i}")), ident(format!("__count{i}")), parts.rows),
            Needed::Centred(i) => down_weight(ident(format!("__centred{i}")), ident(format!("__count{i}")), parts.rows),
        };
        columns.push(weighed.alias(format!("__measure{position}")));
    }
    let u1 = LogicalPlanBuilder::from(u).project(columns)?.build()?;

    // U2: at most G groups a unit. Without keys there is one group by construction.
    let u2 = if parts.keys.is_empty() {
        u1
    } else {
        let mut hashed = vec![ident(UNIT_COLUMN)];
        hashed.extend(keys());
        let mut order = vec![group_hash(hashed, parts.group_key).sort(true, true)];
        order.extend(keys().into_iter().map(|key| key.sort(true, true)));
        let rank = row_number().partition_by(vec![ident(UNIT_COLUMN)]).order_by(order).build()?.alias(RANK);
        LogicalPlanBuilder::from(u1)
            .window(vec![rank])?
            .filter(binary_expr(ident(RANK), Operator::LtEq, lit(parts.groups)))?
            .build()?
    };

    // V: whole integers by group.
    let measures = (0..parts.needed.len()).map(|position| {
        let name = format!("__measure{position}");
        sum(ident(&name)).alias(name.replace("measure", "sum"))
    });
    LogicalPlanBuilder::from(u2).aggregate(keys(), measures.collect::<Vec<_>>())?.build()
}

/// Drops units with more rows than the plan allows them: joins by an id that is not unique would multiply theirs. It
/// depends on that unit alone.
fn within_allowance(u: LogicalPlan, one_group: bool, most: u64) -> Result<LogicalPlan> {
    let most = lit(i64::try_from(most).unwrap_or(i64::MAX));
    let u = LogicalPlanBuilder::from(u);
    if one_group {
        return u.filter(binary_expr(ident("__rows"), Operator::LtEq, most))?.build();
    }
    let rows = WindowFunction::new(WindowFunctionDefinition::AggregateUDF(sum_udaf()), vec![ident("__rows")]);
    let of_unit = Expr::from(rows).partition_by(vec![ident(UNIT_COLUMN)]).build()?.alias("__of_unit");
    u.window(vec![of_unit])?.filter(binary_expr(ident("__of_unit"), Operator::LtEq, most))?.build()
}

/// Keeps the rows whose keys are public cells; a NULL cell matches NULL.
fn semi_join_cells(p: LogicalPlan, names: &[String], cells: &[Vec<ScalarValue>]) -> Result<LogicalPlan> {
    let fields = names.iter().map(|name| p.schema().field_with_unqualified_name(name).cloned());
    let fields: Vec<Field> =
        fields.collect::<Result<Vec<_>>>()?.into_iter().map(|f| (*f).clone().with_nullable(true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = (0..names.len())
        .map(|index| {
            let data_type: &DataType = schema.field(index).data_type();
            let values = cells.iter().map(|cell| {
                cell.get(index)
                    .ok_or_else(|| DataFusionError::Internal("a cell lacks a key".into()))
                    .and_then(|value| value.cast_to(data_type))
            });
            let values = values.collect::<Result<Vec<_>>>()?;
            if values.is_empty() {
                return Ok(datafusion::arrow::array::new_empty_array(data_type));
            }
            ScalarValue::iter_to_array(values)
        })
        .collect::<Result<Vec<_>>>()?;
    let batch = datafusion::arrow::record_batch::RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let table = Arc::new(MemTable::try_new(schema, vec![vec![batch]])?);
    let cells = LogicalPlanBuilder::scan("__cells", provider_as_source(table), None)?.build()?;
    let left: Vec<Column> = names.iter().map(Column::from_name).collect();
    let right: Vec<Column> =
        names.iter().map(|name| Column::new(Some(TableReference::bare("__cells")), name)).collect();
    LogicalPlanBuilder::from(p)
        .join_detailed(cells, JoinType::LeftSemi, (left, right), None, NullEquality::NullEqualsNull)?
        .build()
}

/// Puts the data behind the names: private scans become guarded scans under the consent filter, public
/// scans read the snapshot's tables.
pub(super) fn with_sources(
    plan: LogicalPlan,
    catalog: &Catalog,
    snapshot: &Snapshot,
    purpose_bit: i32,
    scan_key: [u8; 16],
) -> Result<LogicalPlan> {
    let mut providers: BTreeMap<String, Arc<GuardedTable>> = BTreeMap::new();
    let swapped = plan.transform_up(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let name = scan.table_name.table().to_owned();
            let table = catalog
                .table(&name)
                .ok_or_else(|| DataFusionError::Internal("a scan of a table that the catalog lacks".into()))?;
            if !scan.filters.is_empty() || scan.fetch.is_some() {
                return Err(DataFusionError::Internal("a scan with a filter or a limit of its own".into()));
            }
            match table.private {
                None => public_scan(&scan, &name, snapshot).map(Transformed::yes),
                Some(contribution) => {
                    let provider = providers.entry(name.clone()).or_insert_with(|| {
                        let stored = table.stored_schema();
                        let visible =
                            stored.fields().iter().filter(|f| f.name() == CONSENT || !f.name().starts_with('_'));
                        let visible: Vec<_> = visible.cloned().collect();
                        Arc::new(GuardedTable {
                            schema: Arc::new(Schema::new(visible)),
                            files: snapshot.private.get(&name).cloned().unwrap_or_default(),
                            scan_rows: contribution.scan_rows,
                            key: scan_key,
                        })
                    });
                    if provider.schema.fields().first().is_none_or(|f| f.name() != UNIT) {
                        return Err(DataFusionError::Internal("a private table must begin with the unit".into()));
                    }
                    private_scan(&scan, Arc::clone(provider), purpose_bit).map(Transformed::yes)
                }
            }
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(swapped.data)
}

fn columns_of(scan: &TableScan) -> Vec<Expr> {
    scan.projected_schema
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .collect()
}

fn private_scan(scan: &TableScan, provider: Arc<GuardedTable>, purpose_bit: i32) -> Result<LogicalPlan> {
    let consent = Expr::Column(Column::new(Some(scan.table_name.clone()), CONSENT));
    let covered = binary_expr(binary_expr(consent, Operator::BitwiseAnd, lit(purpose_bit)), Operator::NotEq, lit(0i32));
    LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(provider), None)?
        .filter(covered)?
        .project(columns_of(scan))?
        .build()
}

fn public_scan(scan: &TableScan, name: &str, snapshot: &Snapshot) -> Result<LogicalPlan> {
    let batches = snapshot
        .public
        .get(name)
        .ok_or_else(|| DataFusionError::Internal("a public table is not in the snapshot".into()))?;
    let schema = batches
        .first()
        .map(datafusion::arrow::record_batch::RecordBatch::schema)
        .ok_or_else(|| DataFusionError::Internal("a public table is empty".into()))?;
    let table = Arc::new(MemTable::try_new(schema, vec![batches.clone()])?);
    LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(table), None)?
        .project(columns_of(scan))?
        .build()
}
