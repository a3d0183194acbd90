//! Group-by, DISTINCT and windows inside the private part: each works on the rows of one patient, so the bare,
//! non-null patient must be among its keys. Nothing may depend on the order of rows, and no float is summed.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::functions_aggregate as aggregates;
use datafusion::functions_window as windows;
use datafusion::logical_expr::expr::{AggregateFunction, Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, LogicalPlan, Projection, TryCast, Window, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::scalar::ScalarValue;

use super::super::lineage::{Grid, Lineage, Node, Private};
use super::super::total::{Scope, Value, aggregate_of, condition, total, without_float_cast};
use super::{fits, folded, renamed};
use crate::refusal::{Code, PlanError};

/// Digits that the mean of a patient's whole numbers keeps after the point.
const MEAN_SCALE: i8 = 6;

/// Digits of the decimals that a mean takes: its result has 4 more, and no more than 38 can be had.
const MEAN_PRECISION: u8 = 24;

/// Longest distance of a window frame by ROWS: more rows than a patient has.
const MAX_FRAME_DISTANCE: u64 = 1_000_000;

/// Walks a per-patient group-by, or one over public rows.
pub(super) fn aggregate(aggregate: &Aggregate, input: Node) -> Result<Node, PlanError> {
    let scope = Scope { schema: input.plan.schema(), columns: &input.columns };
    let fan_out = input.private.as_ref().map_or(input.public_rows, |p| p.fan_out);
    let mut columns = Vec::new();
    let mut keys = Vec::new();
    for key in &aggregate.group_expr {
        let Value { expr, lineage, .. } = total(key, &scope)?;
        keys.push(renamed(key, expr));
        columns.push(Lineage { hidden: false, ..lineage });
    }
    if input.private.is_some() && !columns.iter().any(|c| c.unit) {
        return Err(PlanError::new(
            Code::NestedDp,
            "an aggregate over several patients stands below another one, or is joined with patients' rows",
        ));
    }
    let determined = columns.iter().all(|c| c.unit_determined);
    let mut folds = Vec::new();
    let mut back: Vec<Option<DataType>> = vec![None; keys.len()];
    for expr in &aggregate.aggr_expr {
        let fold = one_fold(aggregate_of(expr)?, &scope, fan_out)?;
        folds.push(renamed(expr, fold.expr));
        back.push(fold.back_to);
        columns.push(folded(fold.grid, fold.year_only, input.private.is_some() && determined));
    }
    let grouped = LogicalPlan::Aggregate(fits(Aggregate::try_new(Arc::new(input.plan), keys, folds))?);
    let plan = if back.iter().all(Option::is_none) { grouped } else { cast_back(grouped, &back)? };
    let private = input.private.map(|p| if determined { Private { fan_out: 1, rows: 1, groups: 1, ..p } } else { p });
    Ok(Node { plan, columns, private, public_rows: input.public_rows, predicates: input.predicates })
}

/// Gives folds that were computed as decimals the type that the rest of the plan expects, under their names.
fn cast_back(plan: LogicalPlan, back: &[Option<DataType>]) -> Result<LogicalPlan, PlanError> {
    let fields = plan.schema().iter().zip(back).map(|(field, back_to)| {
        let column = Expr::Column(field.into());
        let (relation, name) = (field.0.cloned(), field.1.name().clone());
        match back_to {
            Some(data_type) => {
                Expr::TryCast(TryCast::new(Box::new(column), data_type.clone())).alias_qualified(relation, name)
            }
            None => column,
        }
    });
    let fields: Vec<Expr> = fields.collect();
    Ok(LogicalPlan::Projection(fits(Projection::try_new(fields, Arc::new(plan)))?))
}

/// Walks DISTINCT: a group-by of every column.
pub(super) fn distinct(input: Node) -> Result<Node, PlanError> {
    let visible = input.plan.schema().iter().zip(&input.columns).filter(|(_, lineage)| !lineage.hidden);
    let keys: Vec<Expr> = visible.map(|(field, _)| Expr::Column(field.into())).collect();
    let grouped = fits(Aggregate::try_new(Arc::new(input.plan.clone()), keys, Vec::new()))?;
    aggregate(&grouped, input)
}

/// One aggregate of a patient's rows.
struct Fold {
    expr: Expr,
    grid: Option<Grid>,
    /// A date known by the year only.
    year_only: bool,
    /// The float type that it had before its argument became a decimal.
    back_to: Option<DataType>,
}

fn one_fold(function: &AggregateFunction, scope: &Scope<'_>, fan_out: u64) -> Result<Fold, PlanError> {
    let params = &function.params;
    let name = function.func.name();
    let refuse = |words: &str| Err(PlanError::new(Code::AggUnsupported, format!("{name} {words}")));
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return refuse("with an order or a treatment of NULLs");
    }
    let known = |udf: Arc<AggregateUDF>| *function.func == *udf;
    let (sum, average) = (known(aggregates::sum::sum_udaf()), known(aggregates::average::avg_udaf()));
    let [arg] = params.args.as_slice() else {
        return refuse("of several arguments");
    };
    let bare = if sum || average { without_float_cast(arg) } else { arg };
    let was_float = !std::ptr::eq(bare, arg);
    let mut arg = total(bare, scope)?;
    let filter = params.filter.as_deref().map(|filter| condition(filter, scope)).transpose()?;
    let rows = Grid::whole(0, fan_out.into());
    let mut back_to = None;
    let counts = known(aggregates::count::count_udaf());
    let grid = if counts {
        Some(rows)
    } else if known(aggregates::min_max::min_udaf()) || known(aggregates::min_max::max_udaf()) {
        arg.lineage.grid
    } else if sum || average {
        if !(arg.data_type.is_decimal() || (sum && arg.data_type.is_integer())) {
            exact(&mut arg, name)?;
            back_to = Some(DataType::Float64);
        } else if average && !narrow(&mut arg) {
            let planned =
                if was_float { DataType::Float64 } else { fits(function.func.return_type(&[arg.data_type.clone()]))? };
            let decimal = DataType::Decimal128(MEAN_PRECISION, MEAN_SCALE);
            arg.expr = Expr::TryCast(TryCast::new(Box::new(arg.expr), decimal.clone()));
            arg.data_type = decimal;
            back_to = Some(planned);
        }
        arg.lineage.grid.and_then(|grid| if sum { grid.times(rows) } else { Some(grid) })
    } else {
        return refuse("inside a per-patient sub-query");
    };
    let year_only = arg.lineage.year_only && !counts;
    let filter = filter.map(|f| Box::new(f.expr));
    let func = Arc::clone(&function.func);
    let fold = AggregateFunction::new_udf(func, vec![arg.expr], params.distinct, filter, Vec::new(), None);
    Ok(Fold { expr: Expr::AggregateFunction(fold), grid, year_only, back_to })
}

/// The argument as a decimal, so that the order of rows cannot change a sum.
fn exact(arg: &mut Value, name: &str) -> Result<(), PlanError> {
    let unbounded =
        || PlanError::new(Code::UnboundedColumn, format!("{name} of an expression without declared bounds"));
    if !arg.data_type.is_numeric() {
        return Err(unbounded());
    }
    arg.lineage.grid.ok_or_else(unbounded)?;
    let decimal = DataType::Decimal128(MEAN_PRECISION, MEAN_SCALE);
    arg.expr = Expr::TryCast(TryCast::new(Box::new(arg.expr.clone()), decimal.clone()));
    arg.data_type = decimal;
    Ok(())
}

/// Makes a decimal's values that do not fit its own type (rounding can add a digit) NULL, so that their mean cannot
/// overflow; false, with nothing done, where the type has too many digits for a mean.
fn narrow(arg: &mut Value) -> bool {
    let DataType::Decimal128(precision, scale) = arg.data_type else {
        return false;
    };
    if precision > MEAN_PRECISION {
        return false;
    }
    // A cast to the same type checks nothing; one from a wider type does.
    let wider = TryCast::new(Box::new(arg.expr.clone()), DataType::Decimal128(precision + 1, scale));
    arg.expr = Expr::TryCast(TryCast::new(Box::new(Expr::TryCast(wider)), arg.data_type.clone()));
    true
}

/// Walks windows: over a patient's rows, or over public rows.
pub(super) fn window(window: &Window, input: Node) -> Result<Node, PlanError> {
    let mut columns = input.columns.clone();
    let mut rewritten = Vec::new();
    for expr in &window.window_expr {
        let (new, grid, year_only) = one_window(window_of(expr)?, &input)?;
        rewritten.push(renamed(expr, new));
        columns.push(folded(grid, year_only, false));
    }
    let plan = LogicalPlan::Window(fits(Window::try_new(rewritten, Arc::new(input.plan)))?);
    Ok(Node { plan, columns, ..input })
}

fn window_of(expr: &Expr) -> Result<&WindowFunction, PlanError> {
    match expr {
        Expr::Alias(alias) => window_of(&alias.expr),
        Expr::WindowFunction(function) => Ok(function),
        _ => Err(PlanError::new(Code::AggUnsupported, "something else than a window function is asked of a window")),
    }
}

/// Which rows a window function reads: peers alike, or one row after the other.
#[derive(PartialEq)]
enum Reads {
    /// Rows with equal order keys get the same value, so ties do not matter.
    Peers,
    /// Ties matter: the order is completed by the whole row.
    Sequence,
}

fn one_window(function: &WindowFunction, input: &Node) -> Result<(Expr, Option<Grid>, bool), PlanError> {
    let params = &function.params;
    let scope = Scope { schema: input.plan.schema(), columns: &input.columns };
    let keys = params.partition_by.iter().map(|key| total(key, &scope)).collect::<Result<Vec<_>, _>>()?;
    if input.private.is_some() && !keys.iter().any(|key| key.lineage.unit) {
        return Err(PlanError::new(
            Code::WindowNotByUnit,
            "a window over patients' rows without PARTITION BY person_id",
        ));
    }
    let refuse = |words: &str| Err(PlanError::new(Code::AggUnsupported, format!("a window {words}")));
    if params.filter.is_some() || params.distinct || params.null_treatment.is_some() {
        return refuse("with FILTER, DISTINCT or a treatment of NULLs");
    }
    let mut args = params.args.iter().map(|arg| total(arg, &scope)).collect::<Result<Vec<_>, _>>()?;
    let fan_out = input.private.as_ref().map_or(input.public_rows, |p| p.fan_out);
    let Some((reads, grid)) = known_window(&function.fun, &args, fan_out)? else {
        return refuse(&format!("function {}", function.fun.name()));
    };
    let average = aggregates::average::avg_udaf();
    if matches!(&function.fun, WindowFunctionDefinition::AggregateUDF(udf) if **udf == *average)
        && !args.iter_mut().all(narrow)
    {
        return Err(PlanError::new(
            Code::NonTotalFn,
            "AVG in a window of more than 24 digits: CAST the argument to DECIMAL(18, 2)",
        ));
    }
    let year_only = args.first().is_some_and(|arg| arg.lineage.year_only);
    let frame = &params.window_frame;
    let by_rows = frame.units == WindowFrameUnits::Rows;
    let by_edges = edge(&frame.start_bound) && edge(&frame.end_bound);
    if !(by_rows || by_edges) {
        return refuse("frame by RANGE or GROUPS with a distance: use ROWS");
    }
    check_frame(frame)?;
    let mut order_by = Vec::new();
    for sort in &params.order_by {
        order_by.push(Sort { expr: total(&sort.expr, &scope)?.expr, ..sort.clone() });
    }
    if reads == Reads::Sequence || by_rows {
        let whole_row = input.plan.schema().iter().map(|field| Sort::new(Expr::Column(field.into()), true, false));
        order_by.extend(whole_row);
    }
    let rewritten = WindowFunction {
        fun: function.fun.clone(),
        params: WindowFunctionParams {
            args: args.into_iter().map(|arg| arg.expr).collect(),
            partition_by: keys.into_iter().map(|key| key.expr).collect(),
            order_by,
            window_frame: completed(frame, reads == Reads::Sequence && !by_rows),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    };
    Ok((Expr::from(rewritten), grid, year_only))
}

fn edge(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => distance.is_null(),
    }
}

/// Refuses frames that end before they start or reach too far: the engine may fail on them while it reads rows.
fn check_frame(frame: &WindowFrame) -> Result<(), PlanError> {
    let refused = |words: &str| Err(PlanError::new(Code::NonTotalFn, words));
    // Rows from the current one; none for a distance that is no number of rows.
    let reach = |bound: &WindowFrameBound| -> Option<i64> {
        let (distance, sign) = match bound {
            WindowFrameBound::CurrentRow => return Some(0),
            WindowFrameBound::Preceding(distance) => (distance, -1),
            WindowFrameBound::Following(distance) => (distance, 1),
        };
        if distance.is_null() {
            return Some(sign * i64::MAX);
        }
        match distance.cast_to(&DataType::UInt64) {
            Ok(ScalarValue::UInt64(Some(n))) if n <= MAX_FRAME_DISTANCE => Some(sign * i64::try_from(n).ok()?),
            _ => None,
        }
    };
    let (Some(start), Some(end)) = (reach(&frame.start_bound), reach(&frame.end_bound)) else {
        return refused("a window frame reaches at most 1,000,000 rows");
    };
    if start > end || start == i64::MAX || end == -i64::MAX {
        return refused("a window frame starts after its end");
    }
    Ok(())
}

/// Where the whole row completes the order, each row has only itself as a peer, so a frame by RANGE reads as one by
/// ROWS, which takes any number of order keys.
fn completed(frame: &WindowFrame, to_rows: bool) -> WindowFrame {
    if !to_rows {
        return frame.clone();
    }
    let none = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
        WindowFrameBound::Preceding(_) => WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Following(_) => WindowFrameBound::Following(ScalarValue::UInt64(None)),
    };
    WindowFrame::new_bounds(WindowFrameUnits::Rows, none(&frame.start_bound), none(&frame.end_bound))
}

fn known_window(
    function: &WindowFunctionDefinition,
    args: &[Value],
    fan_out: u64,
) -> Result<Option<(Reads, Option<Grid>)>, PlanError> {
    let rows = Grid::whole(0, fan_out.into());
    let of_first = args.first().and_then(|arg| arg.lineage.grid);
    let literals = args.iter().skip(1).all(|arg| matches!(arg.expr, Expr::Literal(_, _)));
    Ok(match function {
        WindowFunctionDefinition::AggregateUDF(udf) => {
            let known = |other: Arc<AggregateUDF>| **udf == *other;
            let [arg] = args else { return Ok(None) };
            let sum = known(aggregates::sum::sum_udaf());
            if known(aggregates::count::count_udaf()) {
                Some((Reads::Peers, Some(rows)))
            } else if known(aggregates::min_max::min_udaf()) || known(aggregates::min_max::max_udaf()) {
                Some((Reads::Peers, of_first))
            } else if sum || known(aggregates::average::avg_udaf()) {
                if !(arg.data_type.is_decimal() || (sum && arg.data_type.is_integer())) {
                    return Err(PlanError::new(
                        Code::AggUnsupported,
                        format!("{} of floats in a window: CAST the argument to DECIMAL(18, 2)", udf.name()),
                    ));
                }
                Some((Reads::Peers, of_first.and_then(|grid| if sum { grid.times(rows) } else { Some(grid) })))
            } else {
                None
            }
        }
        WindowFunctionDefinition::WindowUDF(udf) => {
            let known = |other: Arc<datafusion::logical_expr::WindowUDF>| **udf == *other;
            let ranked = Grid::whole(1, fan_out.into());
            if known(windows::row_number::row_number_udwf()) {
                Some((Reads::Sequence, Some(ranked)))
            } else if known(windows::rank::rank_udwf()) || known(windows::rank::dense_rank_udwf()) {
                Some((Reads::Peers, Some(ranked)))
            } else if literals && [windows::lead_lag::lag_udwf(), windows::lead_lag::lead_udwf()].into_iter().any(known)
            {
                Some((Reads::Sequence, if args.len() < 3 { of_first } else { None }))
            } else if [windows::nth_value::first_value_udwf(), windows::nth_value::last_value_udwf()]
                .into_iter()
                .any(known)
            {
                Some((Reads::Sequence, of_first))
            } else {
                None
            }
        }
    })
}
