//! Group-by and DISTINCT inside the private part: each works on the rows of one patient, so the bare, non-null patient
//! must be among its keys. Nothing may depend on the order of rows, and no float is summed.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::functions_aggregate as aggregates;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, LogicalPlan, Projection, TryCast};

use super::super::lineage::{Grid, Lineage, Node, Private, of_another_row};
use super::super::total::{Scope, Value, aggregate_of, condition, total, without_float_cast};
use super::{fits, folded, renamed};
use crate::refusal::{Code, PlanError};

/// Digits that the mean of a patient's whole numbers keeps after the point.
const MEAN_SCALE: i8 = 6;

/// Digits of the decimals that a mean takes: its result has 4 more, and no more than 38 can be had.
const MEAN_PRECISION: u8 = 24;

/// Walks a per-patient group-by, or one over public rows; `picks` numbers values that another row has.
pub(super) fn aggregate(aggregate: &Aggregate, input: Node, picks: &mut usize) -> Result<Node, PlanError> {
    let scope = Scope { schema: input.plan.schema(), columns: &input.columns, above: false };
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
    let mut predicates = input.predicates;
    let mut folds = Vec::new();
    let mut back: Vec<Option<DataType>> = vec![None; keys.len()];
    for expr in &aggregate.aggr_expr {
        let fold = one_fold(aggregate_of(expr)?, &scope, fan_out)?;
        folds.push(renamed(expr, fold.expr));
        back.push(fold.back_to);
        let lineage = folded(fold.grid, fold.year_only, input.private.is_some() && determined);
        *picks += 1;
        let origin = of_another_row(fold.picks.as_ref(), &mut predicates, *picks);
        columns.push(Lineage { origin, outer: true, ..lineage });
    }
    let grouped = LogicalPlan::Aggregate(fits(Aggregate::try_new(Arc::new(input.plan), keys, folds))?);
    let plan = if back.iter().all(Option::is_none) { grouped } else { cast_back(grouped, &back)? };
    // All keys together are unique; where they follow from the patient, the patient alone is.
    let mut unique = vec![(0..aggregate.group_expr.len()).collect()];
    if determined && let Some(unit) = columns.iter().position(|c| c.unit) {
        unique.push(vec![unit]);
    }
    let private = input.private.map(|p| if determined { Private { fan_out: 1, rows: 1, groups: 1, ..p } } else { p });
    let public_rows = if aggregate.group_expr.is_empty() { input.public_rows.min(1) } else { input.public_rows };
    Ok(Node { plan, columns, private, public_rows, unique, predicates })
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
pub(super) fn distinct(input: Node, picks: &mut usize) -> Result<Node, PlanError> {
    let visible = input.plan.schema().iter().zip(&input.columns).filter(|(_, lineage)| !lineage.hidden);
    let keys: Vec<Expr> = visible.map(|(field, _)| Expr::Column(field.into())).collect();
    let grouped = fits(Aggregate::try_new(Arc::new(input.plan.clone()), keys, Vec::new()))?;
    aggregate(&grouped, input, picks)
}

/// One aggregate of a patient's rows.
struct Fold {
    expr: Expr,
    grid: Option<Grid>,
    /// A date known by the year only.
    year_only: bool,
    /// Where its value comes from, when it is one of the rows'.
    picks: Option<Expr>,
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
    let extreme = known(aggregates::min_max::min_udaf()) || known(aggregates::min_max::max_udaf());
    let picks = arg.lineage.origin.clone().filter(|_| extreme);
    let grid = if counts {
        Some(rows)
    } else if extreme {
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
    Ok(Fold { expr: Expr::AggregateFunction(fold), grid, year_only, picks, back_to })
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
pub(super) fn narrow(arg: &mut Value) -> bool {
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
