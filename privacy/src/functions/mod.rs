//! The scalar functions of the dialect: each total (every input has a value or NULL, never an error) and none
//! lengthens its input by more than a constant.
//!
//! A failure while rows are read would be a bit about the data that no charge covers, so nothing fallible runs
//! there. The set is closed: [`scalar`] names it for the SQL planner, [`allowed`] is what the walk and the check of
//! the physical plan accept, by the function itself and not by its name.

mod arithmetic;
mod choose;
mod date;
mod number;
mod text;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, plan_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF};

pub use arithmetic::{Arithmetic, Operation};
pub use choose::Choose;
pub use date::{DatePart, DateShift, DateTrunc, Field};
pub(crate) use date::field_read;
pub use number::Number;
pub use text::Text;

use crate::refusal::{Code, PlanError};

/// Names that the SQL planner may use, and the functions they mean.
const NAMES: [(&str, fn() -> ScalarUDF); 40] = [
    ("date_trunc", || DateTrunc::new().into()),
    ("date_part", || DatePart::new(None).into()),
    ("extract", || DatePart::new(None).into()),
    ("year", || DatePart::new(Some(Field::Year)).into()),
    ("quarter", || DatePart::new(Some(Field::Quarter)).into()),
    ("month", || DatePart::new(Some(Field::Month)).into()),
    ("week", || DatePart::new(Some(Field::Week)).into()),
    ("day", || DatePart::new(Some(Field::Day)).into()),
    ("coalesce", || Choose::Coalesce.into()),
    ("ifnull", || Choose::Coalesce.into()),
    ("nullif", || Choose::NullIf.into()),
    ("greatest", || Choose::Greatest.into()),
    ("least", || Choose::Least.into()),
    ("abs", || Number::Abs.into()),
    ("floor", || Number::Floor.into()),
    ("ceil", || Number::Ceil.into()),
    ("ceiling", || Number::Ceil.into()),
    ("round", || Number::Round.into()),
    ("sqrt", || Number::Sqrt.into()),
    ("ln", || Number::Ln.into()),
    ("log10", || Number::Log10.into()),
    ("exp", || Number::Exp.into()),
    ("power", || Number::Power.into()),
    ("pow", || Number::Power.into()),
    ("width_bucket", || Number::WidthBucket.into()),
    ("lower", || Text::Lower.into()),
    ("upper", || Text::Upper.into()),
    ("trim", || Text::Trim.into()),
    ("btrim", || Text::Trim.into()),
    ("ltrim", || Text::TrimStart.into()),
    ("rtrim", || Text::TrimEnd.into()),
    ("substr", || Text::Substring.into()),
    ("substring", || Text::Substring.into()),
    ("left", || Text::Left.into()),
    ("right", || Text::Right.into()),
    ("length", || Text::Length.into()),
    ("char_length", || Text::Length.into()),
    ("strpos", || Text::Position.into()),
    ("starts_with", || Text::StartsWith.into()),
    ("concat", || Text::Concat.into()),
];

/// The function of this name (lower case), or none when the dialect has no such function.
#[must_use]
pub fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, make)| Arc::new(make()))
}

/// Every name that [`scalar`] knows.
#[must_use]
pub fn names() -> Vec<String> {
    NAMES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Is this one of our total functions, or the rewritten form of an operator? Decided by the function itself.
#[must_use]
pub fn allowed(function: &ScalarUDF) -> bool {
    Operation::ALL.iter().any(|op| *function == ScalarUDF::from(Arithmetic::new(*op)))
        || *function == ScalarUDF::from(DateShift::new())
        || *function == ScalarUDF::from(Text::Join)
        || NAMES.iter().any(|(_, make)| *function == make())
}

/// Refuses calls whose patterns, units or lengths are not literals, and units that do not exist.
pub(crate) fn check_arguments(function: &ScalarUDF, args: &[Expr]) -> std::result::Result<(), PlanError> {
    let name = function.name();
    let literal = |index: usize| match args.get(index) {
        None => Ok(()),
        Some(Expr::Literal(value, _)) if !value.is_null() => Ok(()),
        Some(_) => Err(PlanError::new(
            Code::NonTotalFn,
            format!("argument {} of {name} must be written as a literal", index + 1),
        )),
    };
    match name {
        "date_trunc" | "date_part" => {
            literal(0)?;
            if !matches!(args.first(), Some(Expr::Literal(value, _)) if date::field_of(value).is_some()) {
                return Err(PlanError::new(
                    Code::NonTotalFn,
                    format!("{name} knows year, quarter, month, week, day, and EXTRACT also dow, isodow, doy, decade"),
                ));
            }
            Ok(())
        }
        "round" | "left" | "right" | "strpos" | "starts_with" => literal(1),
        "substr" => literal(1).and_then(|()| literal(2)),
        "width_bucket" => literal(1).and_then(|()| literal(2)).and_then(|()| literal(3)),
        _ => Ok(()),
    }
}

/// Does this function read a period or a part of a date?
pub(crate) fn reads_a_field(function: &ScalarUDF) -> bool {
    matches!(function.name(), "date_trunc" | "date_part" | "year" | "quarter" | "month" | "week" | "day")
}

/// The arguments as arrays of the batch's length.
fn arrays(args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect()
}

/// Argument `index` as a literal value.
fn literal(args: &ScalarFunctionArgs, index: usize) -> Result<&ScalarValue> {
    match args.args.get(index) {
        Some(ColumnarValue::Scalar(value)) => Ok(value),
        _ => Err(exec_datafusion_err!("argument {} is not a literal", index + 1)),
    }
}

/// Argument `index` as a typed array.
fn typed<T: 'static>(arrays: &[ArrayRef], index: usize) -> Result<&T> {
    arrays
        .get(index)
        .and_then(|array| array.as_any().downcast_ref::<T>())
        .ok_or_else(|| exec_datafusion_err!("argument {} has another type than planned", index + 1))
}

/// The error for a call that does not type-check; it names the function only.
fn wrong_types(name: &str, types: &[DataType]) -> DataFusionError {
    plan_datafusion_err!("{name} does not take these {} arguments", types.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::Volatility;

    #[test]
    fn every_name_means_an_allowed_immutable_function() {
        for name in names() {
            let function = scalar(&name).unwrap();
            assert!(allowed(&function), "{name}");
            assert_eq!(function.signature().volatility, Volatility::Immutable, "{name}");
        }
    }

    #[test]
    fn functions_of_the_engine_with_our_names_are_not_allowed() {
        assert!(!allowed(&datafusion::functions::math::floor()));
        assert!(!allowed(&datafusion::functions::datetime::date_trunc()));
        assert!(!allowed(&datafusion::functions::math::random()));
        assert!(scalar("random").is_none());
    }
}
