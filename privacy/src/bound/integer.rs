//! The integer functions of the bounded plan: clamp to the grid, down-weight, and the group hash.
//!
//! All are total: no input makes them fail. Symbols are those of `bound.md`.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array},
        compute::{CastOptions, cast_with_options},
        datatypes::{DataType, Decimal128Type, Int64Type},
        row::{RowConverter, SortField},
    },
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    prelude::Expr,
};
use siphasher::sip128::{Hasher128, SipHasher24};

/// A numeric expression's declared range, as i64 grid units (value x 10^scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClampRange {
    pub(crate) scale: i8,
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// Largest H: squares are kept on a coarser unit past it, so that their noise has a scale and their sums fit.
const LARGEST_SQUARE: u128 = 1 << 28;

impl ClampRange {
    /// m = floor((L+U)/2).
    pub(crate) fn middle(self) -> i64 {
        (self.low + self.high).div_euclid(2)
    }

    /// h = max(U-m, m-L).
    pub(crate) fn half(self) -> u128 {
        u128::from((self.high - self.middle()).max(self.middle() - self.low).unsigned_abs())
    }

    /// max(|L|, |U|).
    pub(crate) fn magnitude(self) -> u128 {
        u128::from(self.low.unsigned_abs().max(self.high.unsigned_abs()))
    }

    /// Is the variance of S + m N, `h^2 + m^2` to that of N, at most that of T?
    pub(crate) fn centred_is_finer(self) -> bool {
        let middle = u128::from(self.middle().unsigned_abs());
        self.half().pow(2) + middle.pow(2) <= self.magnitude().pow(2)
    }

    /// w: grid units squared in 1 of a square; 1 while h^2 is at most 2^28.
    pub(crate) fn square_unit(self) -> u128 {
        self.half().pow(2).div_ceil(LARGEST_SQUARE).max(1)
    }

    /// floor(H/2), with H = floor(h^2/w).
    pub(crate) fn square_middle(self) -> u128 {
        self.half().pow(2) / self.square_unit() / 2
    }

    /// ceil(H/2) >= |square(x)|.
    pub(crate) fn largest_square(self) -> u128 {
        (self.half().pow(2) / self.square_unit()).div_ceil(2)
    }

    /// `floor((x-m)^2 / w) - floor(H/2)`: a centred square, for x within the range.
    fn square(self, x: i64) -> i64 {
        let distance = u128::from((x - self.middle()).unsigned_abs()).min(self.half());
        let square = i64::try_from(distance * distance / self.square_unit()).unwrap_or(i64::MAX);
        square - i64::try_from(self.square_middle()).unwrap_or(0)
    }
}

pub(super) fn arrays(args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    args.args.iter().map(|value| value.to_array(args.number_rows)).collect()
}

pub(super) fn int64(array: &ArrayRef) -> Result<&Int64Array> {
    array.as_primitive_opt::<Int64Type>().ok_or_else(|| DataFusionError::Internal("not an Int64 column".into()))
}

/// `clamp(x, L, U)` on the grid, as Int64. NULL stays NULL; what the grid can't hold becomes NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Clamp {
    range: ClampRange,
    signature: Signature,
}

impl ScalarUDFImpl for Clamp {
    fn name(&self) -> &'static str {
        "clamp_to_grid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ClampRange { scale, low, high } = self.range;
        let clamped = match arrays(&args)?.first() {
            Some(array) => {
                let options = CastOptions { safe: true, ..CastOptions::default() };
                let exact = cast_with_options(array, &DataType::Decimal128(38, scale), &options)?;
                let exact = exact.as_primitive::<Decimal128Type>();
                exact
                    .iter()
                    .map(|value| value.and_then(|v| i64::try_from(v.clamp(i128::from(low), i128::from(high))).ok()))
                    .collect::<Int64Array>()
            }
            None => Int64Array::new_null(args.number_rows),
        };
        Ok(ColumnarValue::Array(Arc::new(clamped)))
    }
}

/// `clamp(x, L, U)` of a numeric expression.
pub(crate) fn clamp(x: Expr, range: ClampRange) -> Expr {
    ScalarUDF::from(Clamp { range, signature: Signature::any(1, Volatility::Immutable) }).call(vec![x])
}

/// [`ClampRange::square`] of a clamped value. NULL stays NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Square {
    range: ClampRange,
    signature: Signature,
}

impl ScalarUDFImpl for Square {
    fn name(&self) -> &'static str {
        "centred_square"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arrays(&args)?;
        let clamped = arrays.first().ok_or_else(|| DataFusionError::Internal("centred_square takes a value".into()))?;
        let squares: Int64Array = int64(clamped)?.iter().map(|x| x.map(|x| self.range.square(x))).collect();
        Ok(ColumnarValue::Array(Arc::new(squares)))
    }
}

/// The centred square of a clamped value.
pub(crate) fn centred_square(clamped: Expr, range: ClampRange) -> Expr {
    let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
    ScalarUDF::from(Square { range, signature }).call(vec![clamped])
}

/// `trunc(total * R / count)` where `count > R`, else `total`. With total = count it is `min(count, R)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DownWeight {
    rows: u64,
    signature: Signature,
}

impl DownWeight {
    fn weigh(&self, total: i64, count: i64) -> i64 {
        let rows = i128::from(self.rows);
        if i128::from(count) <= rows {
            return total;
        }
        // |total * R / count| <= |total|, so the way back to i64 can't fail.
        i64::try_from(i128::from(total) * rows / i128::from(count)).unwrap_or(0)
    }
}

impl ScalarUDFImpl for DownWeight {
    fn name(&self) -> &'static str {
        "down_weight"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arrays(&args)?;
        let (Some(total), Some(count)) = (arrays.first(), arrays.get(1)) else {
            return Err(DataFusionError::Internal("down_weight takes a total and a count".into()));
        };
        let weighed: Int64Array = int64(total)?
            .iter()
            .zip(int64(count)?.iter())
            .map(|pair| match pair {
                (Some(total), Some(count)) => Some(self.weigh(total, count)),
                _ => None,
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(weighed)))
    }
}

/// Down-weights a unit's `total` over `count` rows to R rows.
pub(crate) fn down_weight(total: Expr, count: Expr, rows: u64) -> Expr {
    let signature = Signature::exact(vec![DataType::Int64, DataType::Int64], Volatility::Immutable);
    ScalarUDF::from(DownWeight { rows, signature }).call(vec![total, count])
}

/// Keyed 128-bit SipHash over Arrow's row encoding of (unit, keys): typed, self-delimiting, injective.
#[derive(Debug, PartialEq, Eq)]
struct GroupHash {
    key: [u8; 16],
    signature: Signature,
}

impl Hash for GroupHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl ScalarUDFImpl for GroupHash {
    fn name(&self) -> &'static str {
        "group_hash"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::FixedSizeBinary(16))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arrays(&args)?;
        let fields = arrays.iter().map(|a| SortField::new(a.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&arrays)?;
        let hashes = rows.iter().map(|row| {
            let mut hasher = SipHasher24::new_with_key(&self.key);
            hasher.write(row.data());
            hasher.finish128().as_u128().to_be_bytes()
        });
        let hashes: Vec<[u8; 16]> = hashes.collect();
        if hashes.is_empty() {
            return Ok(ColumnarValue::Scalar(ScalarValue::FixedSizeBinary(16, None)));
        }
        Ok(ColumnarValue::Array(Arc::new(FixedSizeBinaryArray::try_from_iter(hashes.into_iter())?)))
    }
}

/// Is this one of the functions of this file?
pub(crate) fn is_ours(function: &ScalarUDF) -> bool {
    let inner = function.inner();
    inner.is::<Clamp>() || inner.is::<Square>() || inner.is::<DownWeight>() || inner.is::<GroupHash>()
}

/// The hash that chooses which G groups of a unit count.
pub(crate) fn group_hash(unit_and_keys: Vec<Expr>, key: [u8; 16]) -> Expr {
    ScalarUDF::from(GroupHash { key, signature: Signature::variadic_any(Volatility::Immutable) }).call(unit_and_keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn down_weighting_never_passes_r_rows_of_the_largest_value(
            values in prop::collection::vec(-1000i64..=1000, 1..40), rows in 1u64..10,
        ) {
            let weigh = DownWeight { rows, signature: Signature::any(2, Volatility::Immutable) };
            let total: i64 = values.iter().sum();
            let got = weigh.weigh(total, values.len() as i64);
            prop_assert!(got.unsigned_abs() <= rows * 1000);
            if values.len() as u64 <= rows {
                prop_assert_eq!(got, total);
            }
            prop_assert!(got.unsigned_abs() <= total.unsigned_abs());
        }
    }

    proptest! {
        /// |q| <= ceil(H/2) for every value of the range, H <= 2^28, and w = 1 on small ranges.
        #[test]
        fn centred_squares_keep_their_bound(low in -(1i64 << 24)..(1 << 24), width in 0i64..(1 << 25), at in 0.0f64..=1.0) {
            let high = (low + width).min(1 << 24);
            let range = ClampRange { scale: 0, low, high };
            let x = low + ((high - low) as f64 * at) as i64;
            for x in [x, low, high, range.middle()] {
                prop_assert!(u128::from(range.square(x).unsigned_abs()) <= range.largest_square());
            }
            prop_assert!(range.largest_square() <= LARGEST_SQUARE / 2);
            let reached = [low, high, range.middle()].map(|x| u128::from(range.square(x).unsigned_abs()));
            prop_assert!(reached.contains(&range.largest_square()));
            prop_assert_eq!(range.square_unit() == 1, range.half() <= 1 << 14);
        }
    }

    #[test]
    fn a_count_is_cut_to_r() {
        let weigh = DownWeight { rows: 4, signature: Signature::any(2, Volatility::Immutable) };
        assert_eq!((weigh.weigh(3, 3), weigh.weigh(4, 4), weigh.weigh(977, 977)), (3, 4, 4));
    }
}
