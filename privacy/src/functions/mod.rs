//! The scalar functions of the dialect: each total (every input has a value or NULL, never an error) and none
//! lengthens its input by more than a constant.
//!
//! A failure while rows are read would be a bit about the data that no charge covers, so nothing fallible runs
//! there. The set is closed: [`scalar`] names it for the SQL planner, [`allowed`] is what the walk and the check of
//! the physical plan accept, by the function itself and not by its name.

mod arithmetic;
mod calendar;
mod choose;
mod date;
mod number;
mod pattern;
mod text;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, plan_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF};

pub use arithmetic::{Arithmetic, Operation};
pub use calendar::Calendar;
pub(crate) use calendar::{age, difference};
pub use choose::Choose;
pub(crate) use date::field_read;
pub use date::{DatePart, DateShift, DateTrunc, Field};
pub use number::Number;
pub use pattern::Pattern;
pub(crate) use pattern::{MAX_PATTERN_BYTES, similar};
pub use text::Text;

use crate::refusal::{Code, PlanError};

/// Makes a function.
type Make = fn() -> ScalarUDF;

/// Names that the SQL planner may use, and the functions they mean.
const NAMES: [(&str, Make); 79] = [
    ("date_trunc", || DateTrunc::new().into()),
    ("date_part", || DatePart::new(None).into()),
    ("extract", || DatePart::new(None).into()),
    ("year", || DatePart::new(Some(Field::Year)).into()),
    ("quarter", || DatePart::new(Some(Field::Quarter)).into()),
    ("month", || DatePart::new(Some(Field::Month)).into()),
    ("week", || DatePart::new(Some(Field::Week)).into()),
    ("day", || DatePart::new(Some(Field::Day)).into()),
    ("date_diff", || Calendar::Difference.into()),
    ("datediff", || Calendar::Difference.into()),
    ("age", || Calendar::Age.into()),
    ("last_day", || Calendar::LastDay.into()),
    ("make_date", || Calendar::Make.into()),
    ("to_date", || Calendar::Parse.into()),
    ("to_char", || Calendar::Format.into()),
    ("date_format", || Calendar::Format.into()),
    ("coalesce", || Choose::Coalesce.into()),
    ("ifnull", || Choose::Coalesce.into()),
    ("nvl", || Choose::Coalesce.into()),
    ("nullif", || Choose::NullIf.into()),
    ("greatest", || Choose::Greatest.into()),
    ("least", || Choose::Least.into()),
    ("abs", || Number::Abs.into()),
    ("floor", || Number::Floor.into()),
    ("ceil", || Number::Ceil.into()),
    ("ceiling", || Number::Ceil.into()),
    ("round", || Number::Round.into()),
    ("trunc", || Number::Trunc.into()),
    ("sign", || Number::Sign.into()),
    ("signum", || Number::Sign.into()),
    ("sqrt", || Number::Sqrt.into()),
    ("cbrt", || Number::Cbrt.into()),
    ("ln", || Number::Ln.into()),
    ("log", || Number::Log.into()),
    ("log2", || Number::Log2.into()),
    ("log10", || Number::Log10.into()),
    ("exp", || Number::Exp.into()),
    ("power", || Number::Power.into()),
    ("pow", || Number::Power.into()),
    ("mod", || Number::Mod.into()),
    ("sin", || Number::Sin.into()),
    ("cos", || Number::Cos.into()),
    ("tan", || Number::Tan.into()),
    ("asin", || Number::Asin.into()),
    ("acos", || Number::Acos.into()),
    ("atan", || Number::Atan.into()),
    ("atan2", || Number::Atan2.into()),
    ("degrees", || Number::Degrees.into()),
    ("radians", || Number::Radians.into()),
    ("width_bucket", || Number::WidthBucket.into()),
    ("lower", || Text::Lower.into()),
    ("upper", || Text::Upper.into()),
    ("initcap", || Text::Initcap.into()),
    ("reverse", || Text::Reverse.into()),
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
    ("character_length", || Text::Length.into()),
    ("strpos", || Text::Position.into()),
    ("instr", || Text::Position.into()),
    ("starts_with", || Text::StartsWith.into()),
    ("ends_with", || Text::EndsWith.into()),
    ("contains", || Text::Contains.into()),
    ("replace", || Text::Replace.into()),
    ("translate", || Text::Translate.into()),
    ("split_part", || Text::SplitPart.into()),
    ("concat", || Text::Concat.into()),
    ("concat_ws", || Text::ConcatWs.into()),
    ("regexp_like", || Pattern::Like.into()),
    ("regexp_count", || Pattern::Count.into()),
    ("regexp_substr", || Pattern::Substring.into()),
    ("regexp_replace", || Pattern::Replace.into()),
];

/// The function of this name (lower case), or none when the dialect has no such function.
#[must_use]
pub fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, make)| Arc::new(make()))
}

/// Every name that [`scalar`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// Is this one of our total functions, or the rewritten form of an operator? Decided by the function itself.
#[must_use]
pub fn allowed(function: &ScalarUDF) -> bool {
    Operation::ALL.iter().any(|op| *function == ScalarUDF::from(Arithmetic::new(*op)))
        || *function == ScalarUDF::from(DateShift::new())
        || *function == ScalarUDF::from(Text::Join)
        || NAMES.iter().any(|(_, make)| *function == make())
}

/// Refuses calls whose patterns, units or lengths are not literals, and units, formats and patterns that do not exist.
pub(crate) fn check_arguments(function: &ScalarUDF, args: &[Expr]) -> std::result::Result<(), PlanError> {
    let name = function.name();
    let refuse = |words: String| Err(PlanError::new(Code::NonTotalFn, words));
    let literal = |index: usize| match args.get(index) {
        Some(Expr::Literal(value, _)) if !value.is_null() => Some(value),
        _ => None,
    };
    let written: &[usize] = match name {
        "date_trunc" | "date_part" | "date_diff" | "concat_ws" => &[0],
        "round" | "trunc" | "left" | "right" | "strpos" | "starts_with" | "ends_with" | "contains" | "to_char"
        | "btrim" | "ltrim" | "rtrim" => &[1],
        "substr" | "replace" | "translate" | "split_part" => &[1, 2],
        "width_bucket" | "regexp_like" | "regexp_count" | "regexp_substr" | "regexp_replace" => &[1, 2, 3],
        _ => &[],
    };
    if let Some(index) = written.iter().find(|index| **index < args.len() && literal(**index).is_none()) {
        return refuse(format!("argument {} of {name} must be written as a literal", index + 1));
    }
    match name {
        "date_trunc" | "date_diff" if !literal(0).and_then(date::field_of).is_some_and(Field::is_period) => {
            refuse(format!("{name} knows year, quarter, month, week, day, decade"))
        }
        "date_part" if literal(0).and_then(date::field_of).is_none() => refuse(
            "EXTRACT and date_part know year, quarter, month, week, day, decade, isoyear, dow, isodow, doy".into(),
        ),
        "to_char" if literal(1).and_then(calendar::format_of).is_none() => {
            refuse("a format is made of %Y %m %d %j %G %V %u %w %b %a and is at most 64 bytes long".into())
        }
        "regexp_like" | "regexp_count" | "regexp_substr" | "regexp_replace" => {
            let text = |index: usize| literal(index).and_then(|value| value.try_as_str().flatten());
            let flags = text(if name == "regexp_replace" { 3 } else { 2 }).unwrap_or_default();
            match text(1).and_then(|text| pattern::compiled(text, flags)) {
                Some(_) => Ok(()),
                None => refuse(
                    "not a regular expression of at most 512 bytes with flags i, m, s, g, without look-around and \
                     back-references"
                        .into(),
                ),
            }
        }
        _ => Ok(()),
    }
}

/// Does this function read a period or a part of a date?
pub(crate) fn reads_a_field(function: &ScalarUDF) -> bool {
    matches!(
        function.name(),
        "date_trunc"
            | "date_part"
            | "year"
            | "quarter"
            | "month"
            | "week"
            | "day"
            | "date_diff"
            | "age"
            | "last_day"
            | "to_char"
    )
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
            let function = scalar(name).unwrap();
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
        if !picks
            && let Some(decimals) =
                answer.to_array(6).unwrap().as_any().downcast_ref::<datafusion::arrow::array::Decimal128Array>()
        {
            let most = 10_u128.pow(decimals.precision().into());
            assert!(
                decimals.iter().flatten().all(|v| v.unsigned_abs() < most),
                "{} gave {decimals:?}",
                function.name()
            );
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
        let mut functions: Vec<ScalarUDF> = names().map(|name| scalar(name).unwrap().as_ref().clone()).collect();
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
