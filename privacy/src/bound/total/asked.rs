//! What the released aggregate measures.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate as aggregates;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Case, Cast, Expr};

use super::super::lineage::{Grid, Relation};
use super::{Scope, Value, condition, total};
use crate::quantile::Quantile;
use crate::refusal::{Code, PlanError};

/// What one aggregate measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Measure {
    /// COUNT(DISTINCT patient).
    Patients,
    /// COUNT(DISTINCT patient) FILTER (..): patients with a row where it is not NULL.
    PatientsWith(Expr),
    /// COUNT(*).
    Rows,
    /// COUNT(x): rows where it is not NULL.
    Values(Expr),
    /// COUNT(DISTINCT x), of one value for all rows of a patient, or of several.
    Distinct(Expr, Values),
    /// SUM(x) of a number, clamped to the grid.
    Sum(Expr, Grid),
    /// AVG(x) of a number, clamped to the grid.
    Average(Expr, Grid),
    /// VAR(x), STDDEV(x) of a number, clamped to the grid.
    Variance(Expr, Grid, Spread),
    /// MEDIAN(x) and the like, of a number clamped to the grid.
    Quantile(Expr, Grid, Quantile),
}

/// How many values a patient has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// One, in all rows.
    One,
    /// Perhaps several.
    Several,
}

/// Which measure of spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Of a sample: divided by N-1.
    pub(crate) sample: bool,
    /// Its root, the standard deviation.
    pub(crate) root: bool,
}

impl Measure {
    /// The number and its range, where it is clamped.
    pub(crate) const fn ranged(&self) -> Option<(&Expr, Grid)> {
        match self {
            Self::Sum(x, grid) | Self::Average(x, grid) | Self::Variance(x, grid, _) | Self::Quantile(x, grid, _) => {
                Some((x, *grid))
            }
            Self::Patients | Self::PatientsWith(_) | Self::Rows | Self::Values(_) | Self::Distinct(..) => None,
        }
    }

    /// Does it need the number of values of `x`?
    pub(crate) fn counts(&self, x: &Expr) -> bool {
        matches!(self, Self::Values(y) | Self::Average(y, _) | Self::Variance(y, _, _) if y == x)
    }
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

/// The aggregates that are released.
#[derive(Clone, Copy)]
enum Asked {
    Count,
    Sum,
    Average,
    Variance(Spread),
    Quantile,
}

fn known(function: &AggregateUDF) -> Option<Asked> {
    let spread = |sample, root| Asked::Variance(Spread { sample, root });
    [
        (aggregates::count::count_udaf(), Asked::Count),
        (aggregates::sum::sum_udaf(), Asked::Sum),
        (aggregates::average::avg_udaf(), Asked::Average),
        (aggregates::variance::var_samp_udaf(), spread(true, false)),
        (aggregates::variance::var_pop_udaf(), spread(false, false)),
        (aggregates::stddev::stddev_udaf(), spread(true, true)),
        (aggregates::stddev::stddev_pop_udaf(), spread(false, true)),
        (aggregates::median::median_udaf(), Asked::Quantile),
        (aggregates::approx_median::approx_median_udaf(), Asked::Quantile),
        (aggregates::approx_percentile_cont::approx_percentile_cont_udaf(), Asked::Quantile),
    ]
    .into_iter()
    .find_map(|(udaf, asked)| (*function == *udaf).then_some(asked))
}

fn measure(function: &AggregateFunction, scope: &Scope<'_>) -> Result<Measure, PlanError> {
    let params = &function.params;
    let name = function.func.name();
    let refuse = |words: String| Err(PlanError::new(Code::AggUnsupported, words));
    let Some(asked) = known(&function.func) else {
        return refuse(match name {
            "min" => "MIN cannot be released; ask for a low quantile: APPROX_PERCENTILE_CONT(x, 0.01)".into(),
            "max" => "MAX cannot be released; ask for a high quantile: APPROX_PERCENTILE_CONT(x, 0.99)".into(),
            _ => format!("{name} cannot be released"),
        });
    };
    let quantile = if matches!(asked, Asked::Quantile) { Some(quantile(function, scope)?) } else { None };
    if params.null_treatment.is_some() || (quantile.is_none() && !params.order_by.is_empty()) {
        return refuse(format!("{name} with an order or a treatment of NULLs"));
    }
    let arg = match (params.args.as_slice(), quantile) {
        ([arg], _) | ([arg, _], Some(_)) => arg,
        _ => return refuse(format!("{name} of several arguments")),
    };
    let filter = params.filter.as_ref().map(|filter| condition(filter, scope)).transpose()?;
    if let Asked::Count = asked {
        let arg = total(arg, scope)?;
        return if params.distinct { distinct(arg, filter, scope) } else { Ok(count(arg, filter)) };
    }
    if params.distinct {
        return refuse(format!("{name} of distinct values"));
    }
    let arg = total(without_float_cast(arg), scope)?;
    let unbounded =
        || PlanError::new(Code::UnboundedColumn, format!("{name} of an expression without declared bounds"));
    if !arg.data_type.is_numeric() {
        return Err(unbounded());
    }
    let grid = arg.lineage.grid.and_then(Grid::measured).ok_or_else(unbounded)?;
    let expr = filtered(filter, arg.expr);
    Ok(match (asked, quantile) {
        (_, Some(quantile)) => Measure::Quantile(expr, grid, quantile),
        (Asked::Variance(spread), _) => Measure::Variance(expr, grid, spread),
        (Asked::Average, _) => Measure::Average(expr, grid),
        (Asked::Sum | Asked::Count | Asked::Quantile, _) => Measure::Sum(expr, grid),
    })
}

fn count(arg: Value, filter: Option<Value>) -> Measure {
    let never_null = arg.lineage.unit || matches!(&arg.expr, Expr::Literal(value, _) if !value.is_null());
    match filter {
        None if never_null => Measure::Rows,
        filter => Measure::Values(filtered(filter, arg.expr)),
    }
}

fn distinct(arg: Value, filter: Option<Value>, scope: &Scope<'_>) -> Result<Measure, PlanError> {
    if arg.lineage.lost_unit {
        return Err(PlanError::new(
            Code::OuterJoinNullsPrivate,
            "patients are counted by a column that an outer join may have made NULL",
        ));
    }
    let values = if arg.lineage.unit_determined { Values::One } else { Values::Several };
    Ok(match (arg.lineage.unit || sometimes_unit(&arg.expr, scope), filter) {
        (true, None) if arg.lineage.unit => Measure::Patients,
        (true, filter) => Measure::PatientsWith(filtered(filter, arg.expr)),
        (false, filter) => Measure::Distinct(filtered(filter, arg.expr), values),
    })
}

/// Is it `CASE WHEN .. THEN patient END`, the older spelling of FILTER?
fn sometimes_unit(expr: &Expr, scope: &Scope<'_>) -> bool {
    let Expr::Case(Case { when_then_expr, else_expr, .. }) = expr else { return false };
    let null = |e: &Expr| matches!(e, Expr::Literal(value, _) if value.is_null());
    let unit = |e: &Expr| total(e, scope).is_ok_and(|value| value.lineage.unit);
    else_expr.as_deref().is_none_or(null) && when_then_expr.iter().all(|(_, then)| unit(then))
}

/// Which quantile is asked: the share is a literal with at most three digits, between 0 and 1.
fn quantile(function: &AggregateFunction, scope: &Scope<'_>) -> Result<Quantile, PlanError> {
    let refuse = |words: &str| PlanError::new(Code::AggUnsupported, words);
    let args = function.params.args.as_slice();
    let share = match args {
        [_] => return if function.params.order_by.is_empty() { Ok(Quantile::MEDIAN) } else { Err(refuse("an order")) },
        [_, share] => total(share, scope)?.expr,
        _ => return Err(refuse("a quantile takes a value and a share")),
    };
    let share = match share {
        Expr::Literal(share, _) => share.cast_to(&DataType::Float64).ok(),
        _ => None,
    };
    let wrong = || refuse("the share of a quantile is a literal between 0 and 1 with at most three digits: 0.95");
    let Some(ScalarValue::Float64(Some(share))) = share else { return Err(wrong()) };
    let quantile = Quantile::of_share(share).ok_or_else(wrong)?;
    match function.params.order_by.as_slice() {
        [] => Ok(quantile),
        // WITHIN GROUP (ORDER BY x) puts x among the arguments too.
        [sort] if args.first().is_some_and(|x| without_float_cast(x) == without_float_cast(&sort.expr)) => {
            Ok(if sort.asc { quantile } else { quantile.reversed() })
        }
        _ => Err(refuse("a quantile is ordered by its own value")),
    }
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
