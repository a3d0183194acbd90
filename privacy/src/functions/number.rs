//! Functions over numbers. What has no finite value is NULL; infinities clamp.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::arithmetic::finite;
use super::{arrays, literal, typed, wrong_types};

/// A function over numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Absolute value, of the argument's type.
    Abs,
    /// Greatest whole number not above, of the argument's type.
    Floor,
    /// Least whole number not below, of the argument's type.
    Ceil,
    /// Nearest, halves away from zero, to n digits (a literal, 0 when left out).
    Round,
    /// Towards zero, to n digits (a literal, 0 when left out).
    Trunc,
    /// -1, 0 or 1.
    Sign,
    /// Square root, as a float.
    Sqrt,
    /// Natural logarithm.
    Ln,
    /// Logarithm to base 10.
    Log10,
    /// Logarithm to base 2.
    Log2,
    /// `log(x)` to base 10, `log(base, x)`.
    Log,
    /// Cube root.
    Cbrt,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// Tangent of radians.
    Tan,
    /// Arc sine.
    Asin,
    /// Arc cosine.
    Acos,
    /// Arc tangent.
    Atan,
    /// `atan2(y, x)`.
    Atan2,
    /// Radians to degrees.
    Degrees,
    /// Degrees to radians.
    Radians,
    /// e to the power.
    Exp,
    /// a to the power b.
    Power,
    /// Remainder of a / b with a's sign: whole for whole numbers, else a float.
    Mod,
    /// `width_bucket(x, low, high, count)`: 0 below, 1..=count inside, count+1 from high on.
    WidthBucket,
}

impl Number {
    const fn keeps_type(self) -> bool {
        matches!(self, Self::Abs | Self::Floor | Self::Ceil | Self::Round | Self::Trunc | Self::Sign)
    }
}

/// The planner coerces arguments by [`ScalarUDFImpl::coerce_types`].
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Immutable));

impl ScalarUDFImpl for Number {
    fn name(&self) -> &str {
        match self {
            Self::Abs => "abs",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Trunc => "trunc",
            Self::Sign => "signum",
            Self::Sqrt => "sqrt",
            Self::Ln => "ln",
            Self::Log10 => "log10",
            Self::Log2 => "log2",
            Self::Log => "log",
            Self::Cbrt => "cbrt",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Tan => "tan",
            Self::Asin => "asin",
            Self::Acos => "acos",
            Self::Atan => "atan",
            Self::Atan2 => "atan2",
            Self::Degrees => "degrees",
            Self::Radians => "radians",
            Self::Exp => "exp",
            Self::Power => "power",
            Self::Mod => "mod",
            Self::WidthBucket => "width_bucket",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let numeric = |t: &DataType| t.is_numeric() || *t == DataType::Null;
        let kept = |t: &DataType| match t {
            DataType::Decimal128(_, _) | DataType::Float64 => t.clone(),
            DataType::Float32 => DataType::Float64,
            _ => DataType::Int64,
        };
        match (self, types) {
            (Self::Round | Self::Trunc, [one, digits]) if numeric(one) && digits.is_integer() => {
                Ok(vec![kept(one), DataType::Int64])
            }
            (Self::Power | Self::Log | Self::Atan2 | Self::Mod, [a, b]) if numeric(a) && numeric(b) => {
                let whole = *self == Self::Mod && a.is_integer() && b.is_integer();
                Ok(vec![if whole { DataType::Int64 } else { DataType::Float64 }; 2])
            }
            (Self::Power | Self::Atan2 | Self::Mod | Self::WidthBucket, [_]) => Err(wrong_types(self.name(), types)),
            (one_to_one, [one]) if one_to_one.keeps_type() && numeric(one) => Ok(vec![kept(one)]),
            (_, [one]) if numeric(one) => Ok(vec![DataType::Float64]),
            (Self::WidthBucket, [x, low, high, count])
                if [x, low, high].into_iter().all(numeric) && count.is_integer() =>
            {
                Ok(vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int64])
            }
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        // The planner has coerced the arguments; a plan from elsewhere must not skip that.
        if self.coerce_types(types)? != types {
            return Err(wrong_types(self.name(), types));
        }
        match (self, types.first()) {
            (Self::WidthBucket, Some(_)) => Ok(DataType::Int64),
            (kept, Some(one)) if kept.keeps_type() || *kept == Self::Mod => Ok(one.clone()),
            (_, Some(_)) => Ok(DataType::Float64),
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let rounds = matches!(self, Self::Round | Self::Trunc);
        let digits = if rounds && args.args.len() > 1 { whole(&args, 1)? } else { 0 };
        let result: ArrayRef = match columns.first().map(|c| c.data_type().clone()) {
            Some(DataType::Int64) if *self == Self::Mod => {
                let (a, b): (&Int64Array, &Int64Array) = (typed(&columns, 0)?, typed(&columns, 1)?);
                let remainder = |(a, b): (Option<i64>, Option<i64>)| Some(a?.wrapping_rem(b.filter(|b| *b != 0)?));
                Arc::new(a.iter().zip(b.iter()).map(remainder).collect::<Int64Array>())
            }
            Some(DataType::Int64) => {
                let values: &Int64Array = typed(&columns, 0)?;
                Arc::new(values.iter().map(|x| self.integer(x?, digits)).collect::<Int64Array>())
            }
            Some(DataType::Decimal128(precision, scale)) => {
                let values: &Decimal128Array = typed(&columns, 0)?;
                let rounded: Decimal128Array = values.iter().map(|x| self.decimal(x?, scale, digits)).collect();
                // 9.99 rounds up to 10.00, which has a digit more than its type may have.
                finite(Arc::new(rounded.with_precision_and_scale(precision, scale)?))
            }
            _ if *self == Self::WidthBucket => {
                let (low, high, count) = (float(&args, 1)?, float(&args, 2)?, whole(&args, 3)?);
                let values: &Float64Array = typed(&columns, 0)?;
                Arc::new(values.iter().map(|x| bucket(x?, low, high, count)).collect::<Int64Array>())
            }
            _ if args.args.len() == 2 && !rounds => {
                let (a, b): (&Float64Array, &Float64Array) = (typed(&columns, 0)?, typed(&columns, 1)?);
                let pairs = a.iter().zip(b.iter());
                finite(Arc::new(pairs.map(|(a, b)| Some(self.pair(a?, b?))).collect::<Float64Array>()))
            }
            _ => {
                let values: &Float64Array = typed(&columns, 0)?;
                finite(Arc::new(values.iter().map(|x| Some(self.float(x?, digits))).collect::<Float64Array>()))
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}

impl Number {
    fn integer(self, x: i64, digits: i64) -> Option<i64> {
        match self {
            Self::Abs => x.checked_abs(),
            Self::Sign => Some(x.signum()),
            Self::Round | Self::Trunc if digits < 0 => i64::try_from(self.decimal(i128::from(x), 0, digits)?).ok(),
            _ => Some(x),
        }
    }

    /// `x` in units of 10^-scale.
    fn decimal(self, x: i128, scale: i8, digits: i64) -> Option<i128> {
        match self {
            Self::Abs => return x.checked_abs(),
            Self::Sign => return x.signum().checked_mul(10_i128.checked_pow(u32::try_from(scale).ok()?)?),
            _ => {}
        }
        let drop = i64::from(scale).saturating_sub(digits);
        let Some(unit) = u32::try_from(drop.max(0)).ok().and_then(|drop| 10_i128.checked_pow(drop)) else {
            return Some(0);
        };
        let down = x.div_euclid(unit).checked_mul(unit)?;
        let up = if down == x { down } else { down.checked_add(unit)? };
        match self {
            Self::Ceil => Some(up),
            Self::Floor => Some(down),
            Self::Trunc => Some(if x < 0 { up } else { down }),
            _ => {
                let (below, above) = (x.checked_sub(down)?, up.checked_sub(x)?);
                Some(if above < below || (above == below && x >= 0) { up } else { down })
            }
        }
    }

    fn float(self, x: f64, digits: i64) -> f64 {
        match self {
            Self::Abs => x.abs(),
            Self::Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Sqrt => x.sqrt(),
            Self::Cbrt => x.cbrt(),
            // ln 0 is minus infinity, which would clamp to a number that means nothing.
            Self::Ln if x > 0.0 => x.ln(),
            Self::Log10 | Self::Log if x > 0.0 => x.log10(),
            Self::Log2 if x > 0.0 => x.log2(),
            Self::Ln | Self::Log10 | Self::Log2 | Self::Log => f64::NAN,
            Self::Exp => x.exp(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Degrees => x.to_degrees(),
            Self::Radians => x.to_radians(),
            _ => {
                let unit = 10_f64.powi(i32::try_from(digits.clamp(-300, 300)).unwrap_or(0));
                let whole = if self == Self::Trunc { (x * unit).trunc() } else { (x * unit).round() };
                if (x * unit).is_finite() { whole / unit } else { x }
            }
        }
    }

    fn pair(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Power => a.powf(b),
            Self::Atan2 => a.atan2(b),
            Self::Mod => a % b,
            // log(base, x): a base of 1 would divide by zero.
            _ if a > 0.0 && b > 0.0 && a != 1.0 => b.ln() / a.ln(),
            _ => f64::NAN,
        }
    }
}

fn bucket(x: f64, low: f64, high: f64, count: i64) -> Option<i64> {
    if !(low < high && count >= 1) || x.is_nan() {
        return None;
    }
    if x < low {
        return Some(0);
    }
    if x >= high {
        return count.checked_add(1);
    }
    // x lies in [low, high), so the quotient is within 0..count up to rounding; the clamp takes care of that.
    let place = ((x - low) / (high - low) * count as f64).floor() as i64;
    Some(place.clamp(0, count - 1) + 1)
}

fn whole(args: &ScalarFunctionArgs, index: usize) -> Result<i64> {
    match literal(args, index)? {
        ScalarValue::Int64(Some(value)) => Ok(*value),
        _ => Err(exec_datafusion_err!("argument {} is not a whole number", index + 1)),
    }
}

fn float(args: &ScalarFunctionArgs, index: usize) -> Result<f64> {
    match literal(args, index)? {
        ScalarValue::Float64(Some(value)) => Ok(*value),
        _ => Err(exec_datafusion_err!("argument {} is not a number", index + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_down_up_and_half_away_from_zero() {
        assert_eq!(Number::Floor.decimal(-150, 2, 0), Some(-200));
        assert_eq!(Number::Ceil.decimal(-150, 2, 0), Some(-100));
        assert_eq!(Number::Round.decimal(-150, 2, 0), Some(-200));
        assert_eq!(Number::Round.decimal(150, 2, 0), Some(200));
        assert_eq!(Number::Round.decimal(149, 2, 0), Some(100));
        assert_eq!(Number::Round.decimal(149, 2, 9), Some(149));
        assert_eq!(Number::Floor.decimal(i128::MIN, 2, 0), None);
        assert_eq!(Number::Round.decimal(7, 0, i64::MIN), Some(0));
    }

    #[test]
    fn towards_zero_and_signs() {
        assert_eq!(Number::Trunc.decimal(-159, 2, 1), Some(-150));
        assert_eq!(Number::Trunc.decimal(159, 2, 0), Some(100));
        assert_eq!(Number::Sign.decimal(-159, 2, 0), Some(-100));
        assert_eq!(Number::Trunc.float(-1.59, 1), -1.5);
        assert_eq!(Number::Sign.integer(i64::MIN, 0), Some(-1));
        assert_eq!(Number::Log.pair(2.0, 8.0), 3.0);
        assert!(Number::Log.pair(1.0, 8.0).is_nan() && Number::Log.pair(0.0, 8.0).is_nan());
    }

    #[test]
    fn integers_have_no_absolute_value_past_the_end() {
        assert_eq!(Number::Abs.integer(i64::MIN, 0), None);
        assert_eq!(Number::Abs.integer(-3, 0), Some(3));
        assert_eq!(Number::Round.integer(1250, -2), Some(1300));
    }

    #[test]
    fn logarithms_of_what_has_none_are_null() {
        assert!(Number::Ln.float(0.0, 0).is_nan());
        assert!(Number::Ln.float(-1.0, 0).is_nan());
        assert_eq!(Number::Ln.float(1.0, 0), 0.0);
    }

    #[test]
    fn buckets_count_from_one_and_catch_both_sides() {
        let of = |x| bucket(x, 0.0, 10.0, 5);
        assert_eq!([of(-0.1), of(0.0), of(1.9), of(2.0), of(9.99), of(10.0)], [0, 1, 1, 2, 5, 6].map(Some));
        assert_eq!(bucket(1.0, 2.0, 2.0, 5), None);
        assert_eq!(bucket(f64::NAN, 0.0, 1.0, 5), None);
        assert_eq!(bucket(5.0, 0.0, 10.0, i64::MAX).map(|b| b > 0), Some(true));
    }
}
