//! Where each column of an answer comes from: a post plan rewritten to carry along what its rows are made of.
//!
//! Beside the visible columns every row carries, under names that no question can use,
//! - `__cell<s>`: which row of the noisy table it was made from (`s` counts the scans of that table);
//! - `__value<s>_<i>`: that row's noisy value `i`;
//! - `__key<n>`: exact values: the cell's keys, columns of public tables, the keys of an aggregate over released
//!   numbers, the branch of a UNION;
//! - `__named<n>`: keys that were themselves made of noisy values (`GROUP BY n > 100`).
//!
//! Cells, keys and names together tell one row from another, also when the plan runs again over other noisy numbers.
//! With the values beside it, a number that was made row by row can be computed again without the plan.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, FieldRef},
    common::{
        Column, DFSchema, DataFusionError, JoinType, Result, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::{MemTable, TableProvider, provider_as_source},
    logical_expr::{
        Aggregate, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, TableScan, lit,
        utils::{conjunction, split_conjunction_owned},
    },
};
use epiledger_privacy::query::NOISY;

use super::post::PublicTables;

/// Number of the noisy table's row, in the noisy table; carried as `__cell<s>`.
pub(super) const CELL: &str = "__cell";

const VALUE: &str = "__value";
const KEY: &str = "__key";
const NAMED: &str = "__named";

/// The carried copy of noisy value `index` (counted after the keys) of scan `scan`.
pub(super) fn value_name(scan: usize, index: usize) -> String {
    format!("{VALUE}{scan}_{index}")
}

/// Scan and index behind the name of a carried noisy value.
pub(super) fn value_of(name: &str) -> Option<(usize, usize)> {
    let (scan, index) = name.strip_prefix(VALUE)?.split_once('_')?;
    Some((scan.parse().ok()?, index.parse().ok()?))
}

/// Does this carried column help to tell rows apart?
pub(super) fn identifies(name: &str) -> bool {
    name.starts_with(CELL) || name.starts_with(KEY) || name.starts_with(NAMED)
}

/// Does this expression over carried columns read exact ones alone?
pub(super) fn is_exact(expr: &Expr) -> bool {
    !expr.column_refs().iter().any(|column| column.name.starts_with(VALUE) || column.name.starts_with(NAMED))
}

/// Does it read a key that was made of noisy values?
pub(super) fn is_named(expr: &Expr) -> bool {
    expr.column_refs().iter().any(|column| column.name.starts_with(NAMED))
}

fn is_carried(name: &str) -> bool {
    identifies(name) || name.starts_with(VALUE)
}

/// Which rows a carried plan gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Those of the answer, in its order.
    Shown,
    /// Also those that only a condition on noisy values, or a LIMIT, keeps out of the answer. It is asked of the
    /// rows at the top alone: below an aggregate, a window or a join it decides what the numbers are.
    All,
}

/// A post plan that carries what its rows are made of.
pub(super) struct Carried {
    /// Visible columns first, in their order, then the carried ones.
    pub plan: LogicalPlan,
    /// For each visible column its expression over carried columns; None where it was made of several rows
    /// (an aggregate or a window over released numbers, a union).
    pub lineage: Vec<Option<Expr>>,
}

struct Walked {
    plan: LogicalPlan,
    /// One for each column of `plan`, carried ones included.
    lineage: Vec<Option<Expr>>,
}

/// Rewrites `post` to read `noisy` (the noisy table with [`CELL`] behind its columns, `keys` of them keys).
///
/// # Errors
/// The plan can't be rebuilt.
pub(super) fn carry(
    post: &LogicalPlan,
    noisy: &Arc<dyn TableProvider>,
    keys: usize,
    public: &PublicTables,
    rows: Rows,
) -> Result<Carried> {
    let mut walk = Walk { noisy, keys, rows, scans: 0, names: 0 };
    let Walked { plan, lineage } = walk.node(&with_public_rows(post, public)?, true)?;
    // Joins interleave carried columns; put the visible ones first.
    let mut order: Vec<usize> = (0..lineage.len()).collect();
    order.sort_by_key(|index| is_carried(plan.schema().field(*index).name()));
    let visible = order.iter().filter(|index| !is_carried(plan.schema().field(**index).name())).count();
    let columns = order.iter().map(|index| column(plan.schema(), *index)).collect();
    let lineage = order.iter().take(visible).map(|index| lineage.get(*index).cloned().flatten()).collect();
    let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
    Ok(Carried { plan, lineage })
}

/// Puts the rows of public tables behind their scans, those of sub-queries too.
fn with_public_rows(post: &LogicalPlan, public: &PublicTables) -> Result<LogicalPlan> {
    let sourced = post.clone().transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) if scan.table_name.table() != NOISY => {
            let batches = public.get(scan.table_name.table()).map_or_else(Vec::new, |table| table.rows.clone());
            let schema = batches.first().map_or_else(|| scan.source.schema(), |batch| batch.schema());
            let provider = provider_as_source(Arc::new(MemTable::try_new(schema, vec![batches])?));
            let projection = scan.projection.clone();
            let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), provider, projection)?.build()?;
            Ok(Transformed::yes(plan))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(sourced.data)
}

fn column(schema: &DFSchema, index: usize) -> Expr {
    let (qualifier, field) = schema.qualified_field(index);
    Expr::Column(Column::new(qualifier.cloned(), field.name()))
}

fn carried(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn reads_noisy(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == NOISY);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

struct Walk<'a> {
    noisy: &'a Arc<dyn TableProvider>,
    keys: usize,
    rows: Rows,
    scans: usize,
    names: usize,
}

impl Walk<'_> {
    /// Rewrites a node; `top` says that everything above it takes its rows one by one.
    fn node(&mut self, node: &LogicalPlan, top: bool) -> Result<Walked> {
        if !reads_noisy(node)? {
            return self.exact(node.clone());
        }
        let all = top && self.rows == Rows::All;
        match node {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => project(&projection.expr, self.node(&projection.input, top)?),
            LogicalPlan::Filter(filter) if all => {
                let input = self.node(&filter.input, top)?;
                kept(filter, input)
            }
            LogicalPlan::Sort(sort) if all => self.node(&sort.input, top),
            LogicalPlan::Limit(limit) if all => self.node(&limit.input, top),
            LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
                let inputs = self.inputs(node, top)?;
                over(node, inputs, |lineage| lineage)
            }
            LogicalPlan::Window(window) => {
                let inputs = self.inputs(node, false)?;
                let made = window.window_expr.len();
                over(node, inputs, |lineage| lineage.into_iter().chain(std::iter::repeat_n(None, made)).collect())
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Union(_) => self.union(node, top),
            // The core's allow-list has nothing else above a released aggregate; its rows would have no name.
            _ => {
                let inputs = self.inputs(node, false)?;
                let plans = inputs.into_iter().zip(node.inputs()).map(|(input, old)| visible_part(input, old));
                let plan = node.with_new_exprs(node.expressions(), plans.collect::<Result<_>>()?)?;
                let lineage = vec![None; plan.schema().fields().len()];
                Ok(Walked { plan, lineage })
            }
        }
    }

    fn inputs(&mut self, node: &LogicalPlan, top: bool) -> Result<Vec<Walked>> {
        node.inputs().into_iter().map(|input| self.node(input, top)).collect()
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    /// Rows that no released number takes part in: all columns are exact.
    fn exact(&mut self, plan: LogicalPlan) -> Result<Walked> {
        let width = plan.schema().fields().len();
        let mut columns: Vec<Expr> = (0..width).map(|index| column(plan.schema(), index)).collect();
        let names: Vec<String> = (0..width).map(|_| self.name(KEY)).collect();
        let copies: Vec<Expr> = columns.iter().cloned().zip(&names).map(|(column, name)| column.alias(name)).collect();
        columns.extend(copies);
        let lineage: Vec<_> = names.iter().map(|name| Some(carried(name))).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        Ok(Walked { plan, lineage: [lineage.clone(), lineage].concat() })
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Walked> {
        let number = self.scans;
        self.scans += 1;
        let source = provider_as_source(Arc::clone(self.noisy));
        let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?.build()?;
        let (mut columns, mut copies, mut lineage) = (Vec::new(), Vec::new(), Vec::new());
        for (position, field) in scan.projected_schema.fields().iter().enumerate() {
            // Columns of the noisy table are called `c<i>`, also when only some of them are read.
            let index = field.name().trim_start_matches('c').parse().unwrap_or(position);
            let copy = match index.checked_sub(self.keys) {
                Some(value) => value_name(number, value),
                None => self.name(KEY),
            };
            let original = column(&scan.projected_schema, position);
            copies.push(original.clone().alias(&copy));
            columns.push(original);
            lineage.push(Some(carried(&copy)));
        }
        let cell = format!("{CELL}{number}");
        copies.push(Expr::Column(Column::new(Some(scan.table_name.clone()), CELL)).alias(&cell));
        lineage.extend(lineage.clone());
        lineage.push(Some(carried(&cell)));
        columns.extend(copies);
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        Ok(Walked { plan, lineage })
    }

    fn join(&mut self, join: &Join) -> Result<Walked> {
        let node = LogicalPlan::Join(join.clone());
        let inputs = self.inputs(&node, false)?;
        let (left, right) = match inputs.as_slice() {
            [left, right] => (left.lineage.clone(), right.lineage.clone()),
            _ => (Vec::new(), Vec::new()),
        };
        use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
        let lineage = match join.join_type {
            Inner | Left | Right | Full => [left, right].concat(),
            LeftSemi | LeftAnti => left,
            RightSemi | RightAnti => right,
            LeftMark => [left, vec![None]].concat(),
            RightMark => [right, vec![None]].concat(),
        };
        over(&node, inputs, |_| lineage)
    }

    /// The exact keys of an aggregate tell its rows apart. Keys that were made of noisy values do so only where there
    /// is no other: the planner adds columns to a GROUP BY that the others determine.
    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Walked> {
        let input = self.node(&aggregate.input, false)?;
        let keys = aggregate.group_expr.iter().map(|key| Ok(trace(key, &input)?.as_ref().is_some_and(is_exact)));
        let exact: Vec<bool> = keys.collect::<Result<_>>()?;
        let kind = if exact.contains(&true) { KEY } else { NAMED };
        let input = visible_part(input, &aggregate.input)?;
        let (group, folds) = (aggregate.group_expr.clone(), aggregate.aggr_expr.clone());
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, folds)?);
        let mut columns: Vec<Expr> = (0..plan.schema().fields().len()).map(|i| column(plan.schema(), i)).collect();
        let mut lineage = vec![None; columns.len()];
        for (index, _) in exact.iter().enumerate().filter(|(_, exact)| **exact || kind == NAMED) {
            let name = self.name(kind);
            columns.push(column(plan.schema(), index).alias(&name));
            if let Some(slot) = lineage.get_mut(index) {
                *slot = Some(carried(&name));
            }
            lineage.push(Some(carried(&name)));
        }
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        Ok(Walked { plan, lineage })
    }

    /// A row of a union is told by its branch and by what told it there; other branches have NULLs in its place.
    fn union(&mut self, node: &LogicalPlan, top: bool) -> Result<Walked> {
        let inputs = self.inputs(node, top)?;
        let told: Vec<Vec<(Expr, DataType, String)>> = inputs
            .iter()
            .map(|input| {
                let schema = input.plan.schema();
                let fields = schema.fields().iter().enumerate().filter(|(_, field)| identifies(field.name()));
                let kind = |name: &str| if name.starts_with(NAMED) { NAMED } else { KEY };
                let mut tell = |(index, field): (usize, &FieldRef)| {
                    (column(schema, index), field.data_type().clone(), self.name(kind(field.name())))
                };
                fields.map(&mut tell).collect()
            })
            .collect();
        // A column is exact when it is in every branch.
        let mut exact = Vec::new();
        for index in 0..node.schema().fields().len() {
            let mut everywhere = true;
            for (input, old) in inputs.iter().zip(node.inputs()) {
                everywhere &= trace(&column(old.schema(), index), input)?.as_ref().is_some_and(is_exact);
            }
            exact.push(everywhere.then(|| self.name(KEY)));
        }
        let branch = self.name(KEY);
        let mut plans = Vec::new();
        for (number, (input, old)) in inputs.into_iter().zip(node.inputs()).enumerate() {
            let named = |index: usize| {
                let (qualifier, field) = node.schema().qualified_field(index);
                column(old.schema(), index).alias_qualified(qualifier.cloned(), field.name())
            };
            let mut columns: Vec<Expr> = (0..exact.len()).map(named).collect();
            let copies = exact.iter().enumerate();
            columns.extend(copies.filter_map(|(i, name)| Some(column(old.schema(), i).alias(name.as_ref()?))));
            columns.push(lit(number as u64).alias(&branch));
            for (of, (expr, data_type, name)) in
                told.iter().enumerate().flat_map(|(of, t)| t.iter().map(move |t| (of, t)))
            {
                let other = || Ok::<_, DataFusionError>(Expr::Literal(ScalarValue::try_from(data_type)?, None));
                columns.push(if of == number { expr.clone() } else { other()? }.alias(name));
            }
            plans.push(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input.plan))?));
        }
        let mut lineage: Vec<Option<Expr>> = exact.iter().map(|name| name.as_deref().map(carried)).collect();
        let names = exact.iter().flatten().chain([&branch]).chain(told.iter().flatten().map(|(_, _, name)| name));
        lineage.extend(names.map(|name| Some(carried(name))));
        let mut plans = plans.into_iter();
        let first = LogicalPlanBuilder::from(plans.next().unwrap_or_else(|| node.clone()));
        let plan = plans.try_fold(first, LogicalPlanBuilder::union)?.build()?;
        Ok(Walked { plan, lineage })
    }
}

/// The node over its rewritten inputs.
fn over(
    node: &LogicalPlan,
    inputs: Vec<Walked>,
    lineage: impl FnOnce(Vec<Option<Expr>>) -> Vec<Option<Expr>>,
) -> Result<Walked> {
    let (plans, lineages): (Vec<_>, Vec<_>) = inputs.into_iter().map(|input| (input.plan, input.lineage)).unzip();
    Ok(Walked { plan: node.with_new_exprs(node.expressions(), plans)?, lineage: lineage(lineages.concat()) })
}

/// The filter's conditions on exact values alone.
fn kept(filter: &Filter, input: Walked) -> Result<Walked> {
    let mut exact = Vec::new();
    for part in split_conjunction_owned(filter.predicate.clone()) {
        if trace(&part, &input)?.as_ref().is_some_and(is_exact) {
            exact.push(part);
        }
    }
    let Some(predicate) = conjunction(exact) else { return Ok(input) };
    let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input.plan))?);
    Ok(Walked { plan, lineage: input.lineage })
}

/// An expression over the input's columns in terms of carried ones; None where it can't be traced.
fn trace(expr: &Expr, input: &Walked) -> Result<Option<Expr>> {
    let mut traced = true;
    let expr = expr.clone().unalias_nested().data.transform_up(|e| match &e {
        Expr::Column(column) => {
            let index = input.plan.schema().maybe_index_of_column(column);
            match index.and_then(|i| input.lineage.get(i).cloned().flatten()) {
                Some(source) => Ok(Transformed::yes(source)),
                None => {
                    traced = false;
                    Ok(Transformed::no(e))
                }
            }
        }
        Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => {
            traced = false;
            Ok(Transformed::no(e))
        }
        _ => Ok(Transformed::no(e)),
    })?;
    Ok(traced.then_some(expr.data))
}

/// The projection, then every carried column of its input; expressions in terms of carried columns.
fn project(exprs: &[Expr], input: Walked) -> Result<Walked> {
    let mut columns = exprs.to_vec();
    let mut lineage = exprs.iter().map(|expr| trace(expr, &input)).collect::<Result<Vec<_>>>()?;
    for index in 0..input.plan.schema().fields().len() {
        if is_carried(input.plan.schema().field(index).name()) {
            columns.push(column(input.plan.schema(), index));
            lineage.push(input.lineage.get(index).cloned().flatten());
        }
    }
    let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input.plan))?);
    Ok(Walked { plan, lineage })
}

/// The columns that the old input had, without the carried ones.
fn visible_part(input: Walked, old: &LogicalPlan) -> Result<LogicalPlan> {
    let columns = (0..old.schema().fields().len()).map(|index| column(old.schema(), index)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input.plan))?))
}
