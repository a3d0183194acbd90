//! Windows inside the private part: each works on the rows of one patient, so the bare, non-null patient must be among
//! its PARTITION BY. What reads one row after the other has its order completed by the whole row, since the engine's
//! sort is not stable: rows that are still alike are equal, so nothing depends on the order in which rows were stored.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::functions_aggregate as aggregates;
use datafusion::functions_window as windows;
use datafusion::logical_expr::expr::{NullTreatment, Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    AggregateUDF, Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
    WindowUDF,
};
use datafusion::scalar::ScalarValue;

use super::super::lineage::{Grid, Lineage, Node, of_another_row};
use super::super::total::{Scope, Value, total, total_cast};
use super::fold::narrow;
use super::{fits, folded, renamed};
use crate::refusal::{Code, PlanError};

/// Longest distance of a frame by ROWS, and of LAG and LEAD: more rows than a patient has.
const MAX_DISTANCE: u64 = 1_000_000;

/// Walks windows: over a patient's rows, or over public rows; `picks` numbers values that another row has.
pub(super) fn window(window: &Window, input: Node, picks: &mut usize) -> Result<Node, PlanError> {
    let mut columns = input.columns.clone();
    let mut predicates = input.predicates.clone();
    // One node for each order: the planner takes windows of one order at a time, and completing the order of some
    // told them apart.
    let mut nodes: Vec<(Expr, Vec<Expr>)> = Vec::new();
    for expr in &window.window_expr {
        let (new, lineage) = one_window(window_of(expr)?, &input)?;
        let named = renamed(expr, new.clone());
        match nodes.last_mut() {
            Some((first, run)) if in_one_order(first, &new) => run.push(named),
            _ => nodes.push((new, vec![named])),
        }
        *picks += 1;
        let origin = of_another_row(lineage.origin.as_ref(), &mut predicates, *picks);
        columns.push(Lineage { origin, outer: true, ..lineage });
    }
    let mut plan = input.plan;
    for (_, run) in nodes {
        plan = LogicalPlan::Window(fits(Window::try_new(run, Arc::new(plan)))?);
    }
    Ok(Node { plan, columns, predicates, ..input })
}

/// The keys without those that follow from the others: where some are unique, the engine takes rows in their order for
/// sorted by any more, and then fails to find the more among what they are sorted by.
fn told_apart(keys: Vec<Expr>, input: &Node) -> Vec<Expr> {
    let position = |key: &Expr| match key {
        Expr::Column(column) => input.plan.schema().maybe_index_of_column(column),
        _ => None,
    };
    let asked: Vec<Option<usize>> = keys.iter().map(position).collect();
    let unique =
        input.unique.iter().find(|set| !set.is_empty() && set.iter().all(|index| asked.contains(&Some(*index))));
    let Some(unique) = unique else { return keys };
    keys.into_iter()
        .zip(asked)
        .filter(|(_, at)| at.is_some_and(|at| unique.contains(&at)))
        .map(|(key, _)| key)
        .collect()
}

/// Do two windows sort alike?
fn in_one_order(a: &Expr, b: &Expr) -> bool {
    let (Expr::WindowFunction(a), Expr::WindowFunction(b)) = (a, b) else { return false };
    (&a.params.partition_by, &a.params.order_by) == (&b.params.partition_by, &b.params.order_by)
}

fn window_of(expr: &Expr) -> Result<&WindowFunction, PlanError> {
    match expr {
        Expr::Alias(alias) => window_of(&alias.expr),
        Expr::WindowFunction(function) => Ok(function),
        _ => Err(PlanError::new(Code::AggUnsupported, "something else than a window function is asked of a window")),
    }
}

/// Which rows a window function reads.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    /// Rows with equal order keys alike, whatever the frame says: ranks.
    Ties,
    /// The rows of the frame, in any order.
    Frame,
    /// One row after the other: the order is completed by the whole row.
    Sequence,
}

fn one_window(function: &WindowFunction, input: &Node) -> Result<(Expr, Lineage), PlanError> {
    let params = &function.params;
    let scope = Scope { schema: input.plan.schema(), columns: &input.columns, above: false };
    let keys = params.partition_by.iter().map(|key| total(key, &scope)).collect::<Result<Vec<_>, _>>()?;
    if input.private.is_some() && !keys.iter().any(|key| key.lineage.unit) {
        return Err(PlanError::new(
            Code::WindowNotByUnit,
            "a window over patients' rows without PARTITION BY person_id",
        ));
    }
    let refuse = |words: &str| Err(PlanError::new(Code::AggUnsupported, format!("a window {words}")));
    let skips_nulls = params.null_treatment.is_some_and(|nulls| nulls != NullTreatment::RespectNulls);
    if params.filter.is_some() || params.distinct || skips_nulls {
        return refuse("with FILTER, DISTINCT or IGNORE NULLS");
    }
    let mut args = params.args.iter().map(|arg| total(arg, &scope)).collect::<Result<Vec<_>, _>>()?;
    let fan_out = input.private.as_ref().map_or(input.public_rows, |p| p.fan_out);
    let Some(Known { reads, grid, picks }) = known_window(&function.fun, &mut args, fan_out)? else {
        return refuse(&format!("function {}", function.fun.name()));
    };
    let picked = args.first().filter(|_| picks).and_then(|arg| arg.lineage.origin.clone());
    let average = aggregates::average::avg_udaf();
    if matches!(&function.fun, WindowFunctionDefinition::AggregateUDF(udf) if **udf == *average)
        && !args.iter_mut().all(narrow)
    {
        return Err(PlanError::new(
            Code::NonTotalFn,
            "AVG in a window of more than 24 digits: CAST the argument to DECIMAL(18, 2)",
        ));
    }
    let frame = &params.window_frame;
    let by_rows = frame.units == WindowFrameUnits::Rows;
    check_frame(frame)?;
    let mut order_by = Vec::new();
    for sort in &params.order_by {
        order_by.push(Sort { expr: total(&sort.expr, &scope)?.expr, ..sort.clone() });
    }
    let whole_partition = reads == Reads::Frame && unbounded(&frame.start_bound) && unbounded(&frame.end_bound);
    if reads == Reads::Sequence || (reads == Reads::Frame && by_rows && !whole_partition) {
        let whole_row = input.plan.schema().iter().map(|field| Sort::new(Expr::Column(field.into()), true, false));
        order_by.extend(whole_row);
    }
    let of_the_patient = input.private.is_some() && keys.iter().all(|key| key.lineage.unit_determined);
    let year_only = args.first().is_some_and(|arg| arg.lineage.year_only);
    let lineage = Lineage { origin: picked, ..folded(grid, year_only, whole_partition && of_the_patient) };
    let rewritten = WindowFunction {
        fun: function.fun.clone(),
        params: WindowFunctionParams {
            args: args.into_iter().map(|arg| arg.expr).collect(),
            partition_by: told_apart(keys.into_iter().map(|key| key.expr).collect(), input),
            order_by,
            window_frame: completed(frame, reads == Reads::Sequence && !by_rows),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    };
    Ok((Expr::from(rewritten), lineage))
}

fn edge(bound: &WindowFrameBound) -> bool {
    matches!(bound, WindowFrameBound::CurrentRow) || unbounded(bound)
}

fn unbounded(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::CurrentRow => false,
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => distance.is_null(),
    }
}

/// A number of rows, no more than a patient has.
fn distance(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::UInt64) {
        Ok(ScalarValue::UInt64(Some(n))) if n <= MAX_DISTANCE && value.data_type().is_integer() => {
            i64::try_from(n).ok()
        }
        _ => None,
    }
}

/// Refuses frames by a distance of values, that end before they start, or reach too far: the engine may fail on them
/// while it reads rows.
pub(crate) fn check_frame(frame: &WindowFrame) -> Result<(), PlanError> {
    if frame.units != WindowFrameUnits::Rows && !(edge(&frame.start_bound) && edge(&frame.end_bound)) {
        let words = "a window frame by RANGE or GROUPS with a distance: use ROWS";
        return Err(PlanError::new(Code::AggUnsupported, words));
    }
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
        self::distance(distance).map(|rows| sign * rows)
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

/// A window function of the dialect.
struct Known {
    reads: Reads,
    /// The range of its values.
    grid: Option<Grid>,
    /// Is its value the argument's in one of the rows?
    picks: bool,
}

/// What is known of a window function; none for one that is not of the dialect. Arguments after the first are checked
/// here.
fn known_window(
    function: &WindowFunctionDefinition,
    args: &mut [Value],
    fan_out: u64,
) -> Result<Option<Known>, PlanError> {
    let rows = Grid::whole(0, fan_out.into());
    let of_first = args.first().and_then(|arg| arg.lineage.grid);
    let computed = |reads, grid| Some(Known { reads, grid, picks: false });
    let picked = |reads, grid| Some(Known { reads, grid, picks: true });
    Ok(match function {
        WindowFunctionDefinition::AggregateUDF(udf) => {
            let known = |other: Arc<AggregateUDF>| **udf == *other;
            let [arg] = args else { return Ok(None) };
            let sum = known(aggregates::sum::sum_udaf());
            if known(aggregates::count::count_udaf()) {
                computed(Reads::Frame, Some(rows))
            } else if known(aggregates::min_max::min_udaf()) || known(aggregates::min_max::max_udaf()) {
                picked(Reads::Frame, of_first)
            } else if sum || known(aggregates::average::avg_udaf()) {
                if !(arg.data_type.is_decimal() || (sum && arg.data_type.is_integer())) {
                    return Err(PlanError::new(
                        Code::AggUnsupported,
                        format!("{} of floats in a window: CAST the argument to DECIMAL(18, 2)", udf.name()),
                    ));
                }
                computed(Reads::Frame, of_first.and_then(|grid| if sum { grid.times(rows) } else { Some(grid) }))
            } else {
                None
            }
        }
        WindowFunctionDefinition::WindowUDF(udf) => {
            let known = |other: Arc<WindowUDF>| **udf == *other;
            let ranked = Grid::whole(1, fan_out.into());
            if known(windows::row_number::row_number_udwf()) {
                computed(Reads::Sequence, Some(ranked))
            } else if known(windows::rank::rank_udwf()) || known(windows::rank::dense_rank_udwf()) {
                computed(Reads::Ties, Some(ranked))
            } else if [windows::lead_lag::lag_udwf(), windows::lead_lag::lead_udwf()].into_iter().any(known) {
                match shifted(args)? {
                    None => picked(Reads::Sequence, of_first),
                    Some(default) => {
                        computed(Reads::Sequence, of_first.zip(default).and_then(|(all, one)| all.hull(one)))
                    }
                }
            } else if [windows::nth_value::first_value_udwf(), windows::nth_value::last_value_udwf()]
                .into_iter()
                .any(known)
            {
                picked(Reads::Sequence, of_first)
            } else {
                None
            }
        }
    })
}

/// Checks offset and default of LAG and LEAD; the default's range, when it is a value.
fn shifted(args: &mut [Value]) -> Result<Option<Option<Grid>>, PlanError> {
    let refused = |words: &str| Err(PlanError::new(Code::NonTotalFn, words));
    if let Some(offset) = args.get(1) {
        match &offset.expr {
            Expr::Literal(value, _) if distance(value).is_some() => {}
            _ => return refused("the offset of LAG and LEAD is a whole number written out, from 0 to 1,000,000"),
        }
    }
    let of_value = args.first().map(|value| value.data_type.clone());
    let (Some(default), Some(of_value)) = (args.get_mut(2), of_value) else { return Ok(None) };
    // The engine casts it to the value's type while it runs, which may fail: it is cast here.
    *default = total_cast(default.clone(), &of_value)?;
    match &default.expr {
        Expr::Literal(value, _) if value.is_null() => Ok(None),
        Expr::Literal(_, _) => Ok(Some(default.lineage.grid)),
        _ => refused("the default of LAG and LEAD is written as a literal"),
    }
}
