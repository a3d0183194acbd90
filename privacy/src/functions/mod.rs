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
pub(crate) use date::field_read;
pub use date::{DatePart, DateShift, DateTrunc, Field};
pub use number::Number;
pub use text::Text;

use crate::refusal::{Code, PlanError};

/// Makes a function.
type Make = fn() -> ScalarUDF;

/// Names that the SQL planner may use, and the functions they mean.
const NAMES: [(&str, Make); 40] = [
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

    /// Arrays of the values that break things, all of one length.
    fn nasty() -> Vec<ArrayRef> {
        use datafusion::arrow::array::{
            BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
        };
        let most = 10_i128.pow(18) - 1;
        let decimals = |values: Vec<i128>| Decimal128Array::from(values).with_precision_and_scale(18, 2).unwrap();
        let long = "é".repeat(3000);
        vec![
            Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(-1), Some(i64::MAX), Some(i64::MIN), None])),
            Arc::new(Float64Array::from(vec![
                Some(0.0),
                Some(-0.0),
                Some(f64::NAN),
                Some(f64::INFINITY),
                Some(-1e308),
                None,
            ])),
            Arc::new(decimals(vec![0, 1, -1, most, -most, i128::MAX])),
            Arc::new(StringArray::from(vec![
                Some(""),
                Some("ß\u{301}\0"),
                Some(long.as_str()),
                Some("%_\\"),
                Some("1e999"),
                None,
            ])),
            Arc::new(Date32Array::from(vec![Some(0), Some(1), Some(i32::MAX), Some(i32::MIN), Some(-719_163), None])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, None, None, None])),
        ]
    }

    fn literals() -> Vec<ScalarValue> {
        let whole = [0, 1, -1, i64::MAX, i64::MIN].map(|v| ScalarValue::Int64(Some(v)));
        let floats = [0.0, -1.0, 1e308].map(|v| ScalarValue::Float64(Some(v)));
        let texts = ["", "month", "week", "decade", "é"].map(|v| ScalarValue::Utf8(Some(v.to_owned())));
        whole.into_iter().chain(floats).chain(texts).collect()
    }

    /// Calls the function when it takes these types and literals; its answer must not be an error.
    fn survives(function: &ScalarUDF, args: &[ColumnarValue]) -> bool {
        use datafusion::arrow::datatypes::Field as ArrowField;
        let types: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
        let exprs: Vec<Expr> = args
            .iter()
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Expr::Literal(value.clone(), None),
                ColumnarValue::Array(_) => datafusion::prelude::col("x"),
            })
            .collect();
        let arity = function.signature().type_signature.is_one_of_arity(types.len());
        let Ok(result) = function.return_type(&types) else {
            return false;
        };
        if !arity || check_arguments(function, &exprs).is_err() {
            return false;
        }
        let call = ScalarFunctionArgs {
            args: args.to_vec(),
            arg_fields: types.iter().map(|t| Arc::new(ArrowField::new("a", t.clone(), true))).collect(),
            number_rows: 6,
            return_field: Arc::new(ArrowField::new("r", result.clone(), true)),
            config_options: Arc::new(datafusion::config::ConfigOptions::default()),
        };
        let answer = function.invoke_with_args(call);
        let answer = answer.unwrap_or_else(|e| panic!("{} of {types:?} failed: {e}", function.name()));
        assert_eq!(answer.data_type(), result, "{}", function.name());
        // These pick one of their arguments; all others make floats, and must make finite ones.
        let picks = ["coalesce", "nullif", "greatest", "least"].contains(&function.name());
        if !picks
            && let Some(floats) =
                answer.to_array(6).unwrap().as_any().downcast_ref::<datafusion::arrow::array::Float64Array>()
        {
            assert!(floats.iter().flatten().all(f64::is_finite), "{} gave {floats:?}", function.name());
        }
        true
    }

    /// Does a signature take this number of arguments?
    trait Arity {
        fn is_one_of_arity(&self, count: usize) -> bool;
    }

    impl Arity for datafusion::logical_expr::TypeSignature {
        fn is_one_of_arity(&self, count: usize) -> bool {
            match self {
                Self::Any(n) => *n == count,
                Self::OneOf(all) => all.iter().any(|one| one.is_one_of_arity(count)),
                _ => true,
            }
        }
    }

    #[test]
    fn no_function_fails_on_any_input() {
        let arrays: Vec<ColumnarValue> = nasty().into_iter().map(ColumnarValue::Array).collect();
        let scalars: Vec<ColumnarValue> = literals().into_iter().map(ColumnarValue::Scalar).collect();
        let any: Vec<&ColumnarValue> = arrays.iter().chain(&scalars).collect();
        let mut functions: Vec<ScalarUDF> = names().iter().map(|name| scalar(name).unwrap().as_ref().clone()).collect();
        functions.extend(Operation::ALL.iter().map(|op| ScalarUDF::from(Arithmetic::new(*op))));
        functions.extend([ScalarUDF::from(DateShift::new()), ScalarUDF::from(Text::Join)]);
        for function in &functions {
            let mut called = 0;
            for a in &any {
                called += usize::from(survives(function, &[(*a).clone()]));
                for b in &any {
                    called += usize::from(survives(function, &[(*a).clone(), (*b).clone()]));
                    for c in &any {
                        called += usize::from(survives(function, &[(*a).clone(), (*b).clone(), (*c).clone()]));
                        if function.name() == "width_bucket" {
                            let count = ColumnarValue::Scalar(ScalarValue::Int64(Some(7)));
                            called +=
                                usize::from(survives(function, &[(*a).clone(), (*b).clone(), (*c).clone(), count]));
                        }
                    }
                }
            }
            assert!(called > 0, "{} was never called", function.name());
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
