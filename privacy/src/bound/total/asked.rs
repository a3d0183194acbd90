//! What the released aggregate measures.

use datafusion::functions_aggregate as aggregates;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Case, Cast, Expr};

use super::super::lineage::{Grid, Relation};
use super::{Scope, Value, condition, total};
use crate::refusal::{Code, PlanError};

/// What one aggregate measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Measure {
    /// COUNT(DISTINCT patient).
    Patients,
    /// COUNT(*).
    Rows,
    /// COUNT(x): rows where it is not NULL.
    Values(Expr),
    /// SUM(x) of a number, clamped to the grid.
    Sum(Expr, Grid),
    /// AVG(x) of a number, clamped to the grid.
    Average(Expr, Grid),
}

/// The aggregate under its aliases.
pub(crate) fn aggregate_of(expr: &Expr) -> Result<&AggregateFunction, PlanError> {
    match expr {
        Expr::Alias(alias) => aggregate_of(&alias.expr),
        Expr::AggregateFunction(function) => Ok(function),
        _ => Err(PlanError::new(Code::AggUnsupported, "something else than an aggregate is asked of the groups")),
    }
}

/// `x` under a numeric cast to a float, which AVG's coercion adds: whole numbers and decimals stay exact without it.
pub(crate) fn without_float_cast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) if field.data_type().is_floating() => inner,
        other => other,
    }
}

/// What each aggregate of the released node measures, in order.
///
/// # Errors
/// `AGG_UNSUPPORTED`, `UNBOUNDED_COLUMN`, or the refusal of an argument.
pub(crate) fn measures(aggregate: &Aggregate, relation: &Relation) -> Result<Vec<Measure>, PlanError> {
    let scope = Scope { schema: relation.plan.schema(), columns: &relation.columns, above: false };
    aggregate.aggr_expr.iter().map(|expr| measure(aggregate_of(expr)?, &scope)).collect()
}

fn measure(function: &AggregateFunction, scope: &Scope<'_>) -> Result<Measure, PlanError> {
    let params = &function.params;
    let name = function.func.name();
    let refuse = |words: String| Err(PlanError::new(Code::AggUnsupported, words));
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return refuse(format!("{name} with an order or a treatment of NULLs"));
    }
    let known = |udf: std::sync::Arc<datafusion::logical_expr::AggregateUDF>| *function.func == *udf;
    let (count, sum, average) = (
        known(aggregates::count::count_udaf()),
        known(aggregates::sum::sum_udaf()),
        known(aggregates::average::avg_udaf()),
    );
    let [arg] = params.args.as_slice() else {
        return refuse(format!("{name} of several arguments"));
    };
    if !(count || sum || average) {
        return refuse(format!("{name} cannot be released"));
    }
    let filter = params.filter.as_ref().map(|filter| condition(filter, scope)).transpose()?;
    if params.distinct {
        let arg = total(arg, scope)?;
        if arg.lineage.lost_unit {
            return Err(PlanError::new(
                Code::OuterJoinNullsPrivate,
                "patients are counted by a column that an outer join may have made NULL",
            ));
        }
        return match (count && arg.lineage.unit, filter) {
            (true, None) => Ok(Measure::Patients),
            (true, Some(_)) => refuse("COUNT(DISTINCT person_id) with a FILTER: put the condition in WHERE".into()),
            _ => refuse(format!("{name} of distinct values")),
        };
    }
    if count {
        let arg = total(arg, scope)?;
        let never_null = arg.lineage.unit || matches!(&arg.expr, Expr::Literal(value, _) if !value.is_null());
        return Ok(match filter {
            None if never_null => Measure::Rows,
            filter => Measure::Values(filtered(filter, arg.expr)),
        });
    }
    let arg = total(without_float_cast(arg), scope)?;
    let unbounded =
        || PlanError::new(Code::UnboundedColumn, format!("{name} of an expression without declared bounds"));
    if !arg.data_type.is_numeric() {
        return Err(unbounded());
    }
    let grid = arg.lineage.grid.and_then(Grid::measured).ok_or_else(unbounded)?;
    let expr = filtered(filter, arg.expr);
    Ok(if sum { Measure::Sum(expr, grid) } else { Measure::Average(expr, grid) })
}

/// `CASE WHEN filter THEN x END`.
fn filtered(filter: Option<Value>, x: Expr) -> Expr {
    match filter {
        None => x,
        Some(filter) => {
            Expr::Case(Case { expr: None, when_then_expr: vec![(Box::new(filter.expr), Box::new(x))], else_expr: None })
        }
    }
}
