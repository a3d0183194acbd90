//! Casts: NULL where the value does not fit, and the value itself for a literal.

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, ScalarUDF, TryCast};

use super::{Value, build, call, constant, is_plain, one};
use crate::functions::{Arithmetic, Operation};
use crate::refusal::{Code, PlanError};

/// A cast that gives NULL where it cannot; of a literal, its value.
pub(super) fn cast(inner: Value, to: &DataType) -> Result<Value, PlanError> {
    if inner.data_type == *to {
        return Ok(inner);
    }
    if let Expr::Literal(literal, _) = &inner.expr {
        let wrong = |_| PlanError::new(Code::TypeMismatch, "a literal does not have the type that is asked of it");
        let folded = literal.cast_to(to).map_err(wrong)?;
        if folded.is_null() && !literal.is_null() {
            return Err(PlanError::new(Code::TypeMismatch, "a literal does not have the type that is asked of it"));
        }
        return Ok(constant(folded));
    }
    let from = &inner.data_type;
    let number = |t: &DataType| t.is_numeric() && is_plain(t);
    let fits = match (from, to) {
        (DataType::Null, to) => is_plain(to),
        (from, to) if number(from) && number(to) => true,
        (DataType::Utf8, DataType::Date32 | DataType::Boolean) => true,
        (DataType::Utf8, to) => number(to),
        (from, DataType::Utf8) => is_plain(from),
        (DataType::Boolean, to) => to.is_integer() && is_plain(to),
        _ => false,
    };
    if !fits {
        return Err(PlanError::new(Code::NonTotalFn, "a cast between these types is not part of the dialect"));
    }
    let grid = inner.lineage.grid.and_then(|grid| grid.cast(to));
    let target = to.clone();
    let cast =
        build(vec![inner], to.clone(), grid, move |parts| Expr::TryCast(TryCast::new(one(parts), target.clone())));
    if to.is_floating() { call(ScalarUDF::from(Arithmetic::new(Operation::Finite)), vec![cast]) } else { Ok(cast) }
}
