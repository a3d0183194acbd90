//! `+ - * / %` and unary minus without failures: overflow, division by zero and NaN are NULL, infinities clamp.

use datafusion::arrow::array::{Array, ArrayRef, Decimal128Array, Float32Array, Float64Array, new_null_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{arrays, wrong_types};

/// Which operator an [`Arithmetic`] function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// a + b
    Add,
    /// a - b
    Subtract,
    /// a * b
    Multiply,
    /// a / b
    Divide,
    /// a % b
    Remainder,
    /// -a
    Negate,
    /// a float as it is, but NaN is NULL and infinities clamp (casts from text can make both).
    Finite,
    /// Whole days from one date to another.
    Days,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 8] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Remainder,
        Self::Negate,
        Self::Finite,
        Self::Days,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Add => "total_add",
            Self::Subtract => "total_subtract",
            Self::Multiply => "total_multiply",
            Self::Divide => "total_divide",
            Self::Remainder => "total_remainder",
            Self::Negate => "total_negate",
            Self::Finite => "total_finite",
            Self::Days => "total_days",
        }
    }

    const fn operator(self) -> Option<Operator> {
        match self {
            Self::Add => Some(Operator::Plus),
            Self::Subtract => Some(Operator::Minus),
            Self::Multiply => Some(Operator::Multiply),
            Self::Divide => Some(Operator::Divide),
            Self::Remainder => Some(Operator::Modulo),
            Self::Negate | Self::Finite | Self::Days => None,
        }
    }
}

/// An operator as a total function, with the operator's own result type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Arithmetic {
    operation: Operation,
    signature: Signature,
}

impl Arithmetic {
    /// The total form of `operation`.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        let arity = if matches!(operation, Operation::Negate | Operation::Finite) { 1 } else { 2 };
        Self { operation, signature: Signature::any(arity, Volatility::Immutable) }
    }

    fn compute(&self, args: &[ArrayRef]) -> std::result::Result<ArrayRef, ArrowError> {
        let (Some(left), right) = (args.first(), args.get(1).or(args.first())) else {
            return Err(ArrowError::ComputeError("no argument".into()));
        };
        let right = right.unwrap_or(left);
        match self.operation {
            Operation::Add => numeric::add(left, right),
            Operation::Subtract => numeric::sub(left, right),
            Operation::Multiply => numeric::mul(left, right),
            Operation::Divide => numeric::div(left, right),
            Operation::Remainder => numeric::rem(left, right),
            Operation::Negate => numeric::neg(left),
            Operation::Finite => Ok(ArrayRef::clone(left)),
            Operation::Days => {
                let wide = |array: &ArrayRef| {
                    let days = datafusion::arrow::compute::cast(array, &DataType::Int32)?;
                    datafusion::arrow::compute::cast(&days, &DataType::Int64)
                };
                numeric::sub(&wide(left)?, &wide(right)?)
            }
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.operation.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.operation, types) {
            (Operation::Days, [DataType::Date32, DataType::Date32]) => Ok(DataType::Int64),
            (Operation::Negate, [one]) if (one.is_signed_integer() || one.is_floating() || one.is_decimal()) => {
                Ok(one.clone())
            }
            (Operation::Finite, [one]) if one.is_floating() => Ok(one.clone()),
            (operation, [left, right]) if left.is_numeric() && right.is_numeric() => match operation.operator() {
                Some(operator) => BinaryTypeCoercer::new(left, &operator, right).get_result_type(),
                None => Err(wrong_types(self.name(), types)),
            },
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result_type = args.return_type().clone();
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let columns = arrays(&args)?;
        let whole = match self.compute(&columns) {
            Ok(array) if *array.data_type() == result_type => array,
            // Some row failed (or its type differs): row by row, where a failure is NULL.
            _ => row_by_row(self, &columns, &result_type)?,
        };
        let array = finite(whole);
        if constant && array.len() == 1 {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

fn row_by_row(function: &Arithmetic, columns: &[ArrayRef], result_type: &DataType) -> Result<ArrayRef> {
    let null = new_null_array(result_type, 1);
    let rows = columns.first().map_or(0, Array::len);
    let values: Vec<ArrayRef> = (0..rows)
        .map(|row| {
            let row: Vec<ArrayRef> = columns.iter().map(|column| column.slice(row, 1)).collect();
            match function.compute(&row) {
                Ok(value) if value.data_type() == result_type => value,
                _ => ArrayRef::clone(&null),
            }
        })
        .collect();
    if values.is_empty() {
        return Ok(new_null_array(result_type, 0));
    }
    let parts: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(concat(&parts)?)
}

/// NaN is NULL, infinities are the greatest finite numbers, and a decimal of more digits than its type has is NULL: the
/// engine checks that in some places alone, and fails there.
pub(super) fn finite(array: ArrayRef) -> ArrayRef {
    if let Some(floats) = array.as_any().downcast_ref::<Float64Array>() {
        if floats.iter().flatten().all(f64::is_finite) {
            return array;
        }
        let clean = |x: f64| (!x.is_nan()).then(|| x.clamp(f64::MIN, f64::MAX));
        return std::sync::Arc::new(floats.iter().map(|x| x.and_then(clean)).collect::<Float64Array>());
    }
    if let Some(floats) = array.as_any().downcast_ref::<Float32Array>() {
        let clean = |x: f32| (!x.is_nan()).then(|| x.clamp(f32::MIN, f32::MAX));
        return std::sync::Arc::new(floats.iter().map(|x| x.and_then(clean)).collect::<Float32Array>());
    }
    if let Some(decimals) = array.as_any().downcast_ref::<Decimal128Array>() {
        let fitting = decimals.null_if_overflow_precision(decimals.precision());
        return std::sync::Arc::new(fitting.with_data_type(array.data_type().clone()));
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::{Field, Int64Type};
    use datafusion::config::ConfigOptions;
    use std::sync::Arc;

    fn call(operation: Operation, left: ArrayRef, right: ArrayRef) -> ArrayRef {
        let function = Arithmetic::new(operation);
        let types = [left.data_type().clone(), right.data_type().clone()];
        let result = function.return_type(&types).unwrap();
        let rows = left.len();
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(left), ColumnarValue::Array(right)],
            arg_fields: types.iter().map(|t| Arc::new(Field::new("a", t.clone(), true))).collect(),
            number_rows: rows,
            return_field: Arc::new(Field::new("r", result, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        function.invoke_with_args(args).unwrap().to_array(rows).unwrap()
    }

    #[test]
    fn integers_that_fail_are_null_and_their_neighbours_are_not() {
        let left: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(i64::MIN), Some(5), None]));
        let right: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), Some(-1), Some(0), Some(1)]));
        let values = |op| {
            let result = call(op, Arc::clone(&left), Arc::clone(&right));
            result.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
        };
        assert_eq!(values(Operation::Divide), [Some(3), None, None, None]);
        assert_eq!(values(Operation::Remainder)[2], None);
        assert_eq!(values(Operation::Remainder)[0], Some(1));
        assert_eq!(values(Operation::Add), [Some(9), None, Some(5), None]);
        assert_eq!(values(Operation::Multiply)[1], None);
    }

    #[test]
    fn decimals_divide_by_zero_to_null() {
        let of = |values: Vec<i128>| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_precision_and_scale(18, 2).unwrap())
        };
        let result = call(Operation::Divide, of(vec![100, 100]), of(vec![0, 200]));
        assert!(result.is_null(0));
        assert!(result.is_valid(1));
        let product = call(Operation::Multiply, of(vec![i128::MAX, 3]), of(vec![5, 7]));
        assert!(product.is_null(0));
        assert!(product.is_valid(1));
    }

    #[test]
    fn floats_never_give_nan_or_infinity() {
        let left: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 1.0, -1.0, f64::MAX]));
        let right: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 0.0, 0.0, 0.5]));
        let result = call(Operation::Divide, left, right);
        let result = result.as_any().downcast_ref::<Float64Array>().unwrap();
        assert!(result.iter().flatten().all(f64::is_finite), "{result:?}");
        assert!(result.is_null(0));
    }

    #[test]
    fn days_between_dates() {
        let of = |days: Vec<i32>| -> ArrayRef { Arc::new(datafusion::arrow::array::Date32Array::from(days)) };
        let result = call(Operation::Days, of(vec![10, i32::MAX]), of(vec![3, i32::MIN]));
        let days: Vec<_> = result.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(days, [Some(7), Some(i64::from(i32::MAX) - i64::from(i32::MIN))]);
    }
}
