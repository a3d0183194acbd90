//! Dates moved by intervals and by days.

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator, ScalarUDF};

use super::cast::cast;
use super::{Scope, Value, call, constant, value};
use crate::functions::{Arithmetic, DateShift, Operation};
use crate::refusal::{Code, PlanError};

/// A date moved by an interval of whole months and days, or by a number of days.
pub(super) fn shift(date: Value, op: Operator, by: &Expr, scope: &Scope<'_>, depth: usize) -> Result<Value, PlanError> {
    let refused =
        || PlanError::new(Code::NonTotalFn, "dates move by whole days and months: d + INTERVAL '30 days', d + 30");
    let sign = if op == Operator::Minus { -1 } else { 1 };
    let whole = |n: i64| constant(ScalarValue::Int64(Some(n * sign)));
    let by = if let Expr::Alias(alias) = by { &alias.expr } else { by };
    let (months, days) = match by {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _) if v.nanoseconds % 86_400_000_000_000 == 0 => {
            (whole(v.months.into()), whole(i64::from(v.days) + v.nanoseconds / 86_400_000_000_000))
        }
        Expr::Literal(ScalarValue::IntervalYearMonth(Some(v)), _) => (whole((*v).into()), whole(0)),
        Expr::Literal(ScalarValue::IntervalDayTime(Some(v)), _) if v.milliseconds == 0 => {
            (whole(0), whole(v.days.into()))
        }
        _ => {
            let days = value(counted_days(by).ok_or_else(refused)?, scope, depth + 1)?;
            if !days.data_type.is_integer() {
                return Err(refused());
            }
            let days = cast(days, &DataType::Int64)?;
            let days =
                if sign < 0 { call(ScalarUDF::from(Arithmetic::new(Operation::Negate)), vec![days])? } else { days };
            (whole(0), days)
        }
    };
    if date.data_type != DataType::Date32 {
        return Err(refused());
    }
    call(ScalarUDF::from(DateShift::new()), vec![date, months, days])
}

/// n, in the planner's coercion of `date + n`: `CAST(CAST(n * 86400 AS seconds) AS INTERVAL)`.
fn counted_days(by: &Expr) -> Option<&Expr> {
    let Expr::Cast(Cast { expr: seconds, field }) = by else {
        return None;
    };
    let Expr::Cast(Cast { expr: product, .. }) = seconds.as_ref() else {
        return None;
    };
    let Expr::BinaryExpr(BinaryExpr { left: days, op: Operator::Multiply, right }) = product.as_ref() else {
        return None;
    };
    let a_day = matches!(right.as_ref(), Expr::Literal(v, _) if v.cast_to(&DataType::Int64).is_ok_and(|v| v == ScalarValue::from(86_400_i64)));
    (a_day && *field.data_type() == DataType::Interval(IntervalUnit::MonthDayNano)).then_some(days)
}
