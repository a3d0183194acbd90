//! Casts: NULL where the value does not fit, and the value itself for a literal. Dates outside years 1-9999, which
//! cannot all be written as text, do not fit.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ScalarUDF, TryCast};

use super::{Value, build, call, constant, is_plain, one};
use crate::day::Day;
use crate::functions::{Arithmetic, DateShift, Operation};
use crate::refusal::{Code, PlanError};

/// A cast that gives NULL where it cannot; of a literal, its value.
pub(crate) fn cast(inner: Value, to: &DataType) -> Result<Value, PlanError> {
    if inner.data_type == *to {
        return Ok(inner);
    }
    if let Expr::Literal(literal, _) = &inner.expr {
        let wrong = || PlanError::new(Code::TypeMismatch, "a literal does not have the type that is asked of it");
        let outside =
            |v: &ScalarValue| matches!(v, ScalarValue::Date32(Some(d)) if !(1..=9999).contains(&Day(*d).year()));
        if outside(literal) {
            return Err(wrong());
        }
        let folded = literal.cast_to(to).map_err(|_| wrong())?;
        if outside(&folded) || (folded.is_null() && !literal.is_null()) {
            return Err(wrong());
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
    let inner = if *from == DataType::Date32 { within_years(inner)? } else { inner };
    let grid = inner.lineage.grid.and_then(|grid| grid.cast(to));
    let target = to.clone();
    let cast =
        build(vec![inner], to.clone(), grid, move |parts| Expr::TryCast(TryCast::new(one(parts), target.clone())));
    match to {
        to if to.is_floating() => call(ScalarUDF::from(Arithmetic::new(Operation::Finite)), vec![cast]),
        DataType::Date32 => within_years(cast),
        _ => Ok(cast),
    }
}

/// The date itself, NULL outside years 1-9999: a date moved by nothing.
fn within_years(date: Value) -> Result<Value, PlanError> {
    let none = || constant(ScalarValue::Int64(Some(0)));
    call(ScalarUDF::from(DateShift::new()), vec![date, none(), none()])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringArray};
    use datafusion::arrow::datatypes::Date32Type;
    use datafusion::common::{DFSchema, ToDFSchema};
    use datafusion::execution::context::ExecutionProps;
    use datafusion::physical_expr::create_physical_expr;
    use datafusion::prelude::{cast as cast_of, col, lit};

    use super::super::{Scope, total};
    use super::*;
    use crate::bound::lineage::Lineage;

    fn run(column: ArrayRef, expr: &Expr) -> ArrayRef {
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let schema: DFSchema = batch.schema().to_dfschema().unwrap();
        let value = total(expr, &Scope { schema: &schema, columns: &[Lineage::default()], above: false }).unwrap();
        let physical = create_physical_expr(&value.expr, &schema, &ExecutionProps::new(), &Default::default()).unwrap();
        physical.evaluate(&batch).unwrap().to_array(batch.num_rows()).unwrap()
    }

    #[test]
    fn dates_outside_years_1_to_9999_are_null_from_text_and_to_text() {
        let texts = ["-262143-01-01", "+262142-12-31", "+10000-01-01", "0000-12-31", "9999-12-31", "2020-02-29", "x"];
        let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let dates = run(Arc::clone(&texts), &cast_of(col("x"), DataType::Date32));
        let known: Vec<bool> = dates.as_primitive::<Date32Type>().iter().map(|d| d.is_some()).collect();
        assert_eq!(known, [false, false, false, false, true, true, false]);

        let days: ArrayRef = Arc::new(Date32Array::from(vec![i32::MIN, -96_465_293, 0, i32::MAX]));
        let shown = run(days, &cast_of(col("x"), DataType::Utf8));
        assert_eq!(shown.as_string::<i32>().iter().collect::<Vec<_>>(), [None, None, Some("1970-01-01"), None]);

        let week = crate::functions::scalar("date_trunc").unwrap();
        let week = week.call(vec![lit("week"), cast_of(col("x"), DataType::Date32)]);
        assert_eq!(run(texts, &cast_of(week, DataType::Utf8)).null_count(), 5);
    }

    #[test]
    fn a_literal_date_outside_years_1_to_9999_is_refused() {
        let schema = DFSchema::empty();
        let scope = Scope { schema: &schema, columns: &[], above: false };
        for text in ["-262143-01-01", "+10000-01-01"] {
            assert_eq!(
                total(&cast_of(lit(text), DataType::Date32), &scope).map(|_| ()).map_err(|e| e.code),
                Err(Code::TypeMismatch)
            );
        }
        assert!(total(&cast_of(lit("2020-01-01"), DataType::Date32), &scope).is_ok());
    }
}
