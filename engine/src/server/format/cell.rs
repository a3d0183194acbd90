//! One cell of an answer as JSON or as text. NULL stays NULL; a number that JSON can't hold is NULL.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

/// The cell as a JSON value: integers and decimals as numbers, dates and times as ISO 8601 strings.
pub(super) fn json(column: &ArrayRef, row: usize) -> Value {
    if row >= column.len() || column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::from(column.as_boolean().value(row)),
        DataType::Int8 => Value::from(column.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => Value::from(column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => Value::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::from(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Value::from(column.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => Value::from(column.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => Value::from(column.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => Value::from(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => Value::from(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Value::from(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => {
            let text = column.as_primitive::<Decimal128Type>().value_as_string(row);
            text.parse::<f64>().map_or(Value::Null, Value::from)
        }
        _ => text(column, row).map_or(Value::Null, Value::from),
    }
}

/// The cell as text, or nothing when it is NULL.
pub(super) fn text(column: &ArrayRef, row: usize) -> Option<String> {
    if row >= column.len() || column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            value.is_finite().then(|| value.to_string())
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
            formatter.value(row).try_to_string().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Date32Array, Decimal128Array, Float64Array, TimestampSecondArray};

    use super::*;

    #[test]
    fn cells_become_what_the_type_says() {
        let date: ArrayRef = Arc::new(Date32Array::from(vec![Some(18_262), None]));
        assert_eq!(json(&date, 0), Value::from("2020-01-01"));
        assert_eq!(json(&date, 1), Value::Null);
        assert_eq!(json(&date, 2), Value::Null);
        let money = Decimal128Array::from(vec![12_345]).with_precision_and_scale(18, 2).unwrap();
        let money: ArrayRef = Arc::new(money);
        assert_eq!(json(&money, 0), Value::from(123.45));
        assert_eq!(text(&money, 0).unwrap(), "123.45");
        let float: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 0.1]));
        assert_eq!(json(&float, 0), Value::Null);
        assert_eq!(text(&float, 0), None);
        assert_eq!(text(&float, 1).unwrap(), "0.1");
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        assert_eq!(json(&flag, 0), Value::from(true));
        let time: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1_577_836_800]));
        assert_eq!(json(&time, 0), Value::from("2020-01-01T00:00:00"));
    }
}
