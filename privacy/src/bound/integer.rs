//! The grid that values are clamped to, and what a clamped value is worth. Symbols are those of `bound.md`.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{AsArray, Int64Array},
        compute::{CastOptions, cast_with_options},
        datatypes::{DataType, Decimal128Type},
    },
    common::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    prelude::Expr,
};

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
    pub(crate) fn square(self, x: i64) -> i64 {
        let distance = u128::from((x - self.middle()).unsigned_abs()).min(self.half());
        let square = i64::try_from(distance * distance / self.square_unit()).unwrap_or(i64::MAX);
        square - i64::try_from(self.square_middle()).unwrap_or(0)
    }
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
        let clamped = match args.args.first() {
            Some(value) => {
                let array = value.to_array(args.number_rows)?;
                let options = CastOptions { safe: true, ..CastOptions::default() };
                let exact = cast_with_options(&array, &DataType::Decimal128(38, scale), &options)?;
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

/// Is this [`clamp`]?
pub(crate) fn is_clamp(function: &ScalarUDF) -> bool {
    function.inner().is::<Clamp>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
}
