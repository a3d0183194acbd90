//! Filters, and what their conditions with literals say of ranges and keys.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator, TryCast};

use super::super::lineage::{Grid, Lineage, Node};
use super::super::total::{Scope, condition};
use super::{conjuncts, fits};
use crate::refusal::PlanError;

/// Walks a filter.
pub(super) fn filter(predicate: &Expr, mut input: Node) -> Result<Node, PlanError> {
    let scope = Scope { schema: input.plan.schema(), columns: &input.columns, above: false };
    let rewritten = condition(predicate, &scope)?;
    let mut narrowed = input.columns.clone();
    for part in conjuncts(&rewritten.expr) {
        narrow(part, input.plan.schema(), &mut narrowed);
    }
    if let Some(origin) = rewritten.lineage.origin {
        input.predicates.push(origin);
    } else {
        // The whole is too large or not over scanned columns; its parts may be.
        for part in conjuncts(predicate) {
            if let Some(origin) = condition(part, &scope)?.lineage.origin {
                input.predicates.push(origin);
            }
        }
    }
    let plan = LogicalPlan::Filter(fits(Filter::try_new(rewritten.expr, Arc::new(input.plan)))?);
    Ok(Node { plan, columns: narrowed, ..input })
}

/// `x < literal` and its kin narrow the range of column x.
fn narrow(part: &Expr, schema: &DFSchema, columns: &mut [Lineage]) {
    let mut apply = |column: &Expr, narrowed: &dyn Fn(Grid) -> Grid| {
        let index = bare(column).and_then(|c| schema.maybe_index_of_column(c));
        if let Some(lineage) = index.and_then(|index| columns.get_mut(index)) {
            lineage.grid = lineage.grid.map(narrowed);
        }
    };
    let constant = |e: &Expr| {
        if let Expr::Literal(v, _) = e { Grid::of_literal(v) } else { None }
    };
    match part {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            for (column, op, value) in [(left, Some(*op), constant(right)), (right, op.swap(), constant(left))] {
                let Some(value) = value else { continue };
                match op {
                    Some(Operator::Eq) => apply(column, &|grid| grid.within(value)),
                    Some(Operator::Lt | Operator::LtEq) => apply(column, &|grid| grid.at_most(value)),
                    Some(Operator::Gt | Operator::GtEq) => apply(column, &|grid| grid.at_least(value)),
                    _ => {}
                }
            }
        }
        Expr::Between(between) if !between.negated => {
            if let (Some(low), Some(high)) = (constant(&between.low), constant(&between.high)) {
                apply(&between.expr, &|grid| grid.at_least(low).at_most(high));
            }
        }
        _ => {}
    }
}

/// The column under a cast that keeps its order and values.
fn bare(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::TryCast(TryCast { expr, field }) if field.data_type().is_decimal() || field.data_type().is_floating() => {
            bare(expr)
        }
        // The finite form of a cast to a float.
        Expr::ScalarFunction(call) if call.func.name() == "total_finite" => call.args.first().and_then(bare),
        _ => None,
    }
}
