//! The oracle that tests hold the operator to: P -> P1 -> U -> U1 -> U2 -> V of `bound.md` step by step, of
//! DataFusion's own operators.
//!
//! Nobody's question runs it: [`BoundedPlan::oracle`] gives plans over simulated people alone, which can't be paid. The
//! tests that compare live in other crates, since they need the SQL; and a feature for them would be everybody's, since
//! Cargo unifies features. So exact integers of patients are reached by an executor, for a paid question, and on no
//! other way.

mod functions;

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field, Schema},
    common::{Column, JoinType, NullEquality, Result, ScalarValue, TableReference},
    datasource::{MemTable, provider_as_source},
    functions_aggregate::{
        count::count_udaf,
        expr_fn::{array_agg, count, min, sum},
        sum::sum_udaf,
    },
    functions_window::expr_fn::{dense_rank, row_number},
    logical_expr::{
        Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Operator, WindowFunctionDefinition, binary_expr,
        expr::WindowFunction, ident, lit, try_cast, when,
    },
    physical_plan::ExecutionPlan,
};

use self::functions::{
    centred_square, chosen_candidates, different_values, down_weight, group_hash, nearest_candidate,
};
use super::{
    BoundedPlan,
    form::{Form, Parts, UNIT_COLUMN, key_column, value_column},
    measure::Needed,
    physical::{self, Layout},
};
use crate::refusal::{Code, PlanError};

const RANK: &str = "__rank";

/// One of a unit's values in a group that V takes as it is, at the row that was chosen for it.
fn kept_column(position: usize) -> String {
    format!("__kept{position}")
}

impl BoundedPlan {
    /// The exact V of simulated people, in a layout, by the operator or in relational form.
    ///
    /// # Errors
    /// The plan is over patients, or as [`super::bound`].
    pub fn oracle(&self, layout: Layout, relational: bool) -> std::result::Result<Arc<dyn ExecutionPlan>, PlanError> {
        if !self.synthetic {
            return Err(PlanError::new(Code::NotAQuery, "exact numbers are those of simulated people alone"));
        }
        if relational { self.form.relational(layout) } else { self.form.planned(layout) }
    }
}

impl Form {
    /// The relational form of the same V. Its last steps fold patients together, so it is laid out and not walked.
    pub(super) fn relational(&self, layout: Layout) -> std::result::Result<Arc<dyn ExecutionPlan>, PlanError> {
        bounded(&self.parts)
            .and_then(|plan| physical::laid_out(&plan, None, layout))
            .map_err(|_| PlanError::new(Code::NotAQuery, "the relational form could not be built"))
    }
}

/// V: columns `__key0..`, then one column for each needed: Int64, and a list of Int64 for [`Needed::Medians`].
fn bounded(parts: &Parts) -> Result<LogicalPlan> {
    let key_names: Vec<String> = (0..parts.keys.len()).map(key_column).collect();
    let keys = || key_names.iter().map(ident).collect::<Vec<_>>();
    let p = parts.reduced()?;

    // P1: rows with foreign keys go before anything is bounded.
    let p1 = match &parts.cells {
        Some(cells) if !parts.keys.is_empty() => semi_join_cells(p, &key_names, cells)?,
        _ => p,
    };

    let p1 = with_kept(p1, parts, &key_names)?;

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
                let centred = binary_expr(value.clone(), Operator::Minus, lit(range.middle()));
                sums.push(sum(centred).alias(format!("__centred{index}")));
            }
            if parts.needed.contains(&Needed::Squares(index)) {
                sums.push(sum(centred_square(value, *range)).alias(format!("__squares{index}")));
            }
        }
    }
    for (position, needed) in parts.needed.iter().enumerate() {
        let kept = ident(kept_column(position));
        match needed {
            Needed::Distinct { .. } => {
                sums.push(array_agg(kept).distinct().build()?.alias(format!("__list{position}")));
            }
            Needed::Medians { .. } => sums.push(min(kept).alias(format!("__median{position}"))),
            _ => {}
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
            Needed::Having(i) => {
                let count = ident(format!("__count{i}"));
                down_weight(count.clone(), count, 1)
            }
            Needed::Rows => down_weight(ident("__rows"), ident("__rows"), parts.rows),
            Needed::Count(i) => {
                let count = ident(format!("__count{i}"));
                down_weight(count.clone(), count, parts.rows)
            }
            Needed::Total(i) => down_weight(ident(format!("__total{i}")), ident(format!("__count{i}")), parts.rows),
            Needed::Centred(i) => down_weight(ident(format!("__centred{i}")), ident(format!("__count{i}")), parts.rows),
            Needed::Squares(i) => down_weight(ident(format!("__squares{i}")), ident(format!("__count{i}")), parts.rows),
            Needed::Distinct { .. } => ident(format!("__list{position}")),
            Needed::Medians { .. } => ident(format!("__median{position}")),
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
    let gathered = parts.needed.iter().enumerate().map(|(position, needed)| {
        let measure = ident(format!("__measure{position}"));
        let gathered = match needed {
            Needed::Distinct { .. } | Needed::Medians { .. } => array_agg(measure),
            _ => sum(measure),
        };
        gathered.alias(format!("__sum{position}"))
    });
    let v = LogicalPlanBuilder::from(u2).aggregate(keys(), gathered.collect::<Vec<_>>())?;
    let mut columns = keys();
    for (position, needed) in parts.needed.iter().enumerate() {
        let name = format!("__sum{position}");
        columns.push(match needed {
            Needed::Distinct { .. } => different_values(ident(&name)).alias(name),
            Needed::Medians { candidates, .. } => chosen_candidates(ident(&name), *candidates).alias(name),
            _ => ident(&name),
        });
    }
    v.project(columns)?.build()
}

/// Adds the values that V takes as they are: of each unit and group the D values that are least by keyed hash, and the
/// lower median of its candidates. All is decided within one unit and group; ties are equal in all that is kept.
fn with_kept(p1: LogicalPlan, parts: &Parts, key_names: &[String]) -> Result<LogicalPlan> {
    let group = || {
        let mut group = vec![ident(UNIT_COLUMN)];
        group.extend(key_names.iter().map(ident));
        group
    };
    let columns = |plan: &LogicalPlan| plan.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let mut plan = p1;
    for (position, needed) in parts.needed.iter().enumerate() {
        let (code, rank) = (format!("__code{position}"), format!("__order{position}"));
        let mut coded = columns(&plan);
        match needed {
            Needed::Distinct { value, .. } => {
                let value = ident(value_column(*value));
                let hash = group_hash(vec![value.clone()], parts.group_key);
                coded.push(when(value.is_not_null(), hash).end()?.alias(&code));
            }
            Needed::Medians { value, candidates } => {
                coded.push(nearest_candidate(ident(value_column(*value)), *candidates).alias(&code));
            }
            _ => continue,
        }
        plan = LogicalPlanBuilder::from(plan).project(coded)?.build()?;
        let (windows, keep) = match needed {
            Needed::Distinct { limit, .. } => {
                let mut hashed = group();
                hashed.push(ident(&code));
                let order = vec![
                    ident(&code).is_null().sort(true, true),
                    group_hash(hashed, parts.group_key).sort(true, true),
                    ident(&code).sort(true, true),
                ];
                let ranked = dense_rank().partition_by(group()).order_by(order).build()?.alias(&rank);
                let limit = i64::try_from(*limit).unwrap_or(1);
                (vec![ranked], binary_expr(try_cast(ident(&rank), DataType::Int64), Operator::LtEq, lit(limit)))
            }
            _ => {
                let count_name = format!("__values{position}");
                let order = vec![ident(&code).sort(true, false)];
                let ranked = row_number().partition_by(group()).order_by(order).build()?.alias(&rank);
                let counted =
                    WindowFunction::new(WindowFunctionDefinition::AggregateUDF(count_udaf()), vec![ident(&code)]);
                let counted = Expr::from(counted).partition_by(group()).build()?.alias(&count_name);
                // The lower median of c values is number floor((c+1)/2).
                let twice = binary_expr(try_cast(ident(&rank), DataType::Int64), Operator::Multiply, lit(2i64));
                let even = binary_expr(twice.clone(), Operator::Eq, ident(&count_name));
                let odd = binary_expr(twice, Operator::Eq, binary_expr(ident(&count_name), Operator::Plus, lit(1i64)));
                (vec![ranked, counted], binary_expr(even, Operator::Or, odd))
            }
        };
        let mut kept = columns(&plan);
        let code_column = kept.pop();
        // One node for each: the planner takes windows of one order at a time.
        for window in windows {
            plan = LogicalPlanBuilder::from(plan).window(vec![window])?.build()?;
        }
        kept.push(when(keep, code_column.unwrap_or_else(|| ident(&code))).end()?.alias(kept_column(position)));
        plan = LogicalPlanBuilder::from(plan).project(kept)?.build()?;
    }
    Ok(plan)
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
    let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let columns = super::operator::columns(cells, &types)?;
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
