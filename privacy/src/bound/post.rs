//! The plan above the released aggregate: it reads the noisy table and public tables, and nothing of patients.
//!
//! It can leak nothing, since it sees released numbers alone. It is still an allow-list, so that it can neither fail
//! in a way that tells more than its answer nor reach a private table by another name.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, TableReference};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, FetchType, Join, LogicalPlan, Operator, SkipType, Subquery,
};

use super::lineage::is_public_key;
use super::total::{Scope, total};
use super::walk::check_frame;
use crate::catalog::Catalog;
use crate::functions;
use crate::query::NOISY;
use crate::refusal::{Code, PlanError};

/// Walks a post plan.
///
/// # Errors
/// `NESTED_DP` when it reads a private table; the refusal of a node or function that is not part of the dialect;
/// `TOO_MUCH_WORK` when its rows could multiply past the limit.
pub(crate) fn check_post(plan: &LogicalPlan, catalog: &Catalog) -> Result<(), PlanError> {
    let mut refused: Option<PlanError> = None;
    let go_on = |refused: &Option<PlanError>| {
        if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue }
    };
    let walked = plan.apply(|node| {
        refused = check_node(node, catalog).err().or_else(|| check_functions(node).err());
        if refused.is_none() {
            node.apply_subqueries(|inner| {
                inner.apply_with_subqueries(|node| {
                    refused = check_node(node, catalog).map_err(in_expression).err();
                    refused = refused.take().or_else(|| check_functions(node).err());
                    Ok(go_on(&refused))
                })
            })?;
        }
        Ok(go_on(&refused))
    });
    match (refused, walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(_)) => Err(PlanError::new(Code::NonTotalFn, "the plan above the aggregate cannot be read")),
        (None, Ok(_)) => check_size(plan, catalog),
    }
}

/// Patients' rows in a sub-query of an expression.
fn in_expression(refusal: PlanError) -> PlanError {
    match refusal.code {
        Code::NestedDp => {
            PlanError::new(Code::PrivateSubqueryInExpr, "a sub-query over patients' rows is not tied to the patient")
        }
        _ => refusal,
    }
}

fn check_size(plan: &LogicalPlan, catalog: &Catalog) -> Result<(), PlanError> {
    let most = most_rows(plan, catalog);
    if most > MAX_ROWS {
        let words = format!("the part above the aggregate could make {most} rows; the limit is {}", MAX_ROWS);
        return Err(PlanError::new(Code::TooMuchWork, words));
    }
    Ok(())
}

fn check_node(node: &LogicalPlan, catalog: &Catalog) -> Result<(), PlanError> {
    match node {
        LogicalPlan::TableScan(scan) => match &scan.table_name {
            TableReference::Bare { table } if table.as_ref() == NOISY => Ok(()),
            TableReference::Bare { table } => match catalog.table(table) {
                Some(known) if known.private.is_none() => Ok(()),
                Some(_) => Err(PlanError::new(Code::NestedDp, "a released result meets patients' rows again")),
                None => Err(PlanError::new(Code::UnknownName, "a table that is not in the catalog")),
            },
            _ => Err(PlanError::new(Code::UnknownName, "a table that is not in the catalog")),
        },
        LogicalPlan::Limit(limit) => {
            let skip = matches!(limit.get_skip_type(), Ok(SkipType::Literal(_)));
            if skip && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(_))) {
                Ok(())
            } else {
                Err(PlanError::new(Code::TypeMismatch, "LIMIT and OFFSET take whole numbers, 0 or more"))
            }
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => Ok(()),
        LogicalPlan::RecursiveQuery(_) => Err(PlanError::new(Code::Recursive, "a recursive query")),
        LogicalPlan::Distinct(Distinct::On(_))
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Extension(_) => {
            Err(PlanError::new(Code::NonTotalFn, "the plan has an operator that is not part of the dialect"))
        }
        LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Statement(_) => Err(PlanError::new(Code::NotAQuery, "the statement is not a question")),
    }
}

/// Aggregates and windows that may be taken over released numbers.
const FOLDS: [&str; 20] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "median",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "corr",
    "bool_and",
    "bool_or",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "lag",
    "lead",
    "first_value",
];

fn check_functions(node: &LogicalPlan) -> Result<(), PlanError> {
    let (mut refused, mut framed) = (None, None);
    let mut refuse = |name: &str| {
        refused = Some(PlanError::new(Code::NonTotalFn, format!("the function {name} is not part of the dialect")));
        Ok(TreeNodeRecursion::Stop)
    };
    let walked = node.apply_expressions(|expr| {
        expr.apply(|expr| match expr {
            Expr::ScalarFunction(call) if !functions::allowed(&call.func) => refuse(call.func.name()),
            Expr::AggregateFunction(fold) if !FOLDS.contains(&fold.func.name()) => refuse(fold.func.name()),
            Expr::WindowFunction(window) => {
                let name = match &window.fun {
                    WindowFunctionDefinition::AggregateUDF(udf) => udf.name(),
                    WindowFunctionDefinition::WindowUDF(udf) => udf.name(),
                };
                if !FOLDS.contains(&name) && name != "last_value" {
                    return refuse(name);
                }
                if let Err(refusal) = check_frame(&window.params.window_frame) {
                    framed = Some(refusal);
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            }
            Expr::SimilarTo(_) | Expr::Unnest(_) | Expr::HigherOrderFunction(_) | Expr::Lambda(_) => {
                refuse("of lists and patterns")
            }
            Expr::ScalarVariable(_, _) | Expr::Placeholder(_) => refuse("of variables"),
            _ => Ok(TreeNodeRecursion::Continue),
        })
    });
    match (refused.or(framed), walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(_)) => Err(PlanError::new(Code::NonTotalFn, "an expression above the aggregate cannot be read")),
        (None, Ok(_)) => Ok(()),
    }
}

/// Most rows that any step of a post plan may make.
const MAX_ROWS: u64 = 10_000_000;

/// Rows that the noisy table counts as: how many cells it has is not known when the plan is checked.
const NOISY_ROWS: u64 = 1_000;

/// Most rows that a step of this plan makes. Public tables have their declared rows, joins multiply them; a join on a
/// key of a public table ([`is_public_key`]) meets one row of it at most.
fn most_rows(plan: &LogicalPlan, catalog: &Catalog) -> u64 {
    let mut size = Size { catalog, most: 0 };
    size.rows(plan, &[]);
    size.most
}

struct Size<'a> {
    catalog: &'a Catalog,
    /// The greatest number of rows found.
    most: u64,
}

impl Size<'_> {
    /// Rows of a plan, under conditions that the filters directly above it ask.
    fn rows(&mut self, plan: &LogicalPlan, asked: &[&Expr]) -> u64 {
        // Rows that come out, and rows that its expressions are asked of.
        let (own, around) = match plan {
            LogicalPlan::TableScan(scan) => {
                let rows = match &scan.table_name {
                    TableReference::Bare { table } if table.as_ref() == NOISY => NOISY_ROWS,
                    name => self.catalog.table(name.table()).map_or(u64::MAX, |table| table.declared_rows),
                };
                (rows, rows)
            }
            LogicalPlan::Filter(filter) => {
                let mut all = split_conjunction(&filter.predicate);
                let picks_one = meets_one(&filter.input, &all, |with| with.column_refs().is_empty());
                all.extend(asked);
                let rows = self.rows(&filter.input, &all);
                (if picks_one { rows.min(1) } else { rows }, rows)
            }
            LogicalPlan::Join(join) => self.join(join, asked),
            LogicalPlan::Aggregate(aggregate) => {
                let rows = self.rows(&aggregate.input, &[]);
                (if aggregate.group_expr.is_empty() { 1 } else { rows }, rows)
            }
            LogicalPlan::Values(values) => (u64::try_from(values.values.len()).unwrap_or(u64::MAX), 1),
            LogicalPlan::EmptyRelation(_) => (1, 1),
            other => {
                let rows = other.inputs().into_iter().map(|input| self.rows(input, &[])).fold(0, u64::saturating_add);
                (rows, rows)
            }
        };
        self.most = self.most.max(own);
        for subquery in subqueries(plan) {
            let rows = self.rows(&subquery.subquery, &[]);
            // One that looks at the rows around it is joined to them; another one runs once.
            if !subquery.outer_ref_columns.is_empty() {
                self.most = self.most.max(around.saturating_mul(rows));
            }
        }
        own
    }

    /// Rows that a join gives out, and pairs that it looks at.
    fn join(&mut self, join: &Join, asked: &[&Expr]) -> (u64, u64) {
        let inner = join.join_type == JoinType::Inner;
        let pairs: Vec<Expr> = join.on.iter().map(|(l, r)| l.clone().eq(r.clone())).collect();
        let mut all: Vec<&Expr> = pairs.iter().collect();
        all.extend(join.filter.iter().flat_map(split_conjunction));
        if inner {
            // The optimizer moves the conditions above inner joins into them.
            all.extend(asked);
        }
        let below: &[&Expr] = if inner { &all } else { &[] };
        let (l, r) = (self.rows(&join.left, below), self.rows(&join.right, below));
        let met = if meets_one(&join.right, &all, |with| within(with, &join.left)) {
            l
        } else if meets_one(&join.left, &all, |with| within(with, &join.right)) {
            r
        } else {
            l.saturating_mul(r)
        };
        // What a join compares is its work, whatever it gives out.
        self.most = self.most.max(met);
        use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
        let out = match join.join_type {
            Inner => met,
            LeftSemi | LeftAnti | LeftMark => l,
            RightSemi | RightAnti | RightMark => r,
            // A preserved row without a match comes out too.
            Left | Right | Full => met.max(l.saturating_add(r)),
        };
        (out, met)
    }
}

/// The sub-queries in the expressions of one node.
fn subqueries(plan: &LogicalPlan) -> Vec<Subquery> {
    let mut found = Vec::new();
    // The closures give no error, so there is none to lose.
    let _ = plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            match expr {
                Expr::ScalarSubquery(subquery) => found.push(subquery.clone()),
                Expr::InSubquery(within) => found.push(within.subquery.clone()),
                Expr::SetComparison(compared) => found.push(compared.subquery.clone()),
                Expr::Exists(exists) => found.push(exists.subquery.clone()),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    found
}

/// Do these conditions meet one row of the plan at most: is each column of a unique set asked to equal something that
/// `outside` holds for?
fn meets_one(plan: &LogicalPlan, conditions: &[&Expr], outside: impl Fn(&Expr) -> bool) -> bool {
    let is = |side: &Expr, index: usize| matches!(side, Expr::Column(column) if plan.schema().maybe_index_of_column(column) == Some(index));
    let asked = |index: &usize| {
        conditions.iter().any(|part| match part {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                (is(left, *index) && outside(right)) || (is(right, *index) && outside(left))
            }
            _ => false,
        })
    };
    unique(plan).iter().any(|set| set.iter().all(asked))
}

/// Sets of columns, by position, in which no two rows of the plan are alike; an empty set where there is one row.
fn unique(plan: &LogicalPlan) -> Vec<Vec<usize>> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let key = |index: &usize| is_public_key(scan.table_name.table(), plan.schema().field(*index).name());
            (0..plan.schema().fields().len()).filter(key).map(|index| vec![index]).collect()
        }
        LogicalPlan::SubqueryAlias(alias) => unique(&alias.input),
        LogicalPlan::Filter(filter) => unique(&filter.input),
        LogicalPlan::Sort(sort) => unique(&sort.input),
        LogicalPlan::Limit(limit) => unique(&limit.input),
        LogicalPlan::Aggregate(aggregate) => {
            let sets = aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
            if sets { Vec::new() } else { vec![(0..aggregate.group_expr.len()).collect()] }
        }
        LogicalPlan::EmptyRelation(_) => vec![Vec::new()],
        LogicalPlan::Projection(projection) => {
            let source = |expr: &Expr| match bare(expr) {
                Expr::Column(column) => projection.input.schema().maybe_index_of_column(column),
                _ => None,
            };
            let sources: Vec<Option<usize>> = projection.expr.iter().map(source).collect();
            let position = |index: &usize| sources.iter().position(|source| *source == Some(*index));
            let kept = |set: &Vec<usize>| set.iter().map(position).collect();
            unique(&projection.input).iter().filter_map(kept).collect()
        }
        _ => Vec::new(),
    }
}

/// Is this expression over columns of the plan alone?
fn within(expr: &Expr, plan: &LogicalPlan) -> bool {
    let columns = expr.column_refs();
    columns.iter().all(|column| plan.schema().maybe_index_of_column(column).is_some())
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// Rewrites every expression so that it gives NULL where it would fail, by the allow-list of the private part.
///
/// # Errors
/// The refusal of an expression; `TYPE_MISMATCH` when the rewritten plan does not fit together.
pub(crate) fn total_post(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    let mut refused: Option<PlanError> = None;
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let inputs: Vec<_> = node.inputs().into_iter().map(|input| input.schema().as_ref().clone()).collect();
        let mut schema = inputs.first().cloned().unwrap_or_else(|| node.schema().as_ref().clone());
        for other in inputs.iter().skip(1) {
            schema.merge(other);
        }
        let scope = Scope { schema: &schema, columns: &[], above: true };
        let preserver = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let new = expr.transform_down(|expr| match &expr {
                // Their arguments are reached one by one.
                Expr::Alias(_) | Expr::AggregateFunction(_) | Expr::WindowFunction(_) => Ok(Transformed::no(expr)),
                _ => match total(&expr, &scope) {
                    Ok(value) => Ok(Transformed::new(value.expr, true, TreeNodeRecursion::Jump)),
                    Err(refusal) => {
                        refused.get_or_insert(refusal);
                        Ok(Transformed::new(expr, false, TreeNodeRecursion::Stop))
                    }
                },
            })?;
            Ok(new.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    });
    match (refused, rewritten) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(rewritten)) => Ok(rewritten.data),
        (None, Err(_)) => Err(PlanError::new(Code::TypeMismatch, "the part above the aggregate does not fit together")),
    }
}
