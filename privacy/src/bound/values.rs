//! Values that are not summed: the distinct ones of a group, and the grid that quantiles are chosen from.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, AsArray, Int64Array},
        datatypes::DataType,
    },
    common::{DataFusionError, Result},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    prelude::Expr,
};

use super::integer::{ClampRange, arrays, int64};

/// The public grid of a quantile: candidate j stands for `low + j step` on the value's own grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidates {
    pub(crate) range: ClampRange,
    /// Grid units between neighbours: 1, 2 or 5 times a power of ten.
    pub(crate) step: i64,
    /// How many.
    pub(crate) count: u64,
}

impl Candidates {
    /// The finest grid over `range` with at most `most` candidates, `most` >= 2.
    pub(crate) fn of(range: ClampRange, most: u64) -> Self {
        let mut step = 1_i64;
        for factor in [2, 5, 10].into_iter().cycle() {
            let found = Self { range, step, count: 0 };
            let count = found.index(range.high).unsigned_abs() + 1;
            if count <= most.max(2) {
                return Self { count, ..found };
            }
            // 1, 2, 5, 10, 20, 50, ..
            step = if factor == 5 { step / 2 * 5 } else { step * 2 };
        }
        Self { range, step, count: 1 }
    }

    /// The candidate nearest to a clamped value, halves upwards.
    pub(crate) fn index(self, clamped: i64) -> i64 {
        (clamped.clamp(self.range.low, self.range.high) - self.range.low + self.step / 2) / self.step
    }

    /// How many of these indices stand at each candidate.
    pub(crate) fn count_of(self, indices: &[i64]) -> Vec<u64> {
        let mut counts = vec![0; usize::try_from(self.count).unwrap_or(0)];
        for index in indices {
            if let Some(count) = usize::try_from(*index).ok().and_then(|index| counts.get_mut(index)) {
                *count += 1;
            }
        }
        counts
    }

    /// The value that a candidate stands for, in grid units.
    pub(crate) fn value(self, index: i64) -> i64 {
        self.range.low.saturating_add(index.saturating_mul(self.step)).clamp(self.range.low, self.range.high)
    }
}

/// [`Candidates::index`] of a clamped value. NULL stays NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Nearest {
    candidates: Candidates,
    signature: Signature,
}

impl ScalarUDFImpl for Nearest {
    fn name(&self) -> &'static str {
        "nearest_candidate"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arrays(&args)?;
        let clamped = arrays.first().ok_or_else(|| DataFusionError::Internal("nearest takes a value".into()))?;
        let nearest: Int64Array = int64(clamped)?.iter().map(|x| x.map(|x| self.candidates.index(x))).collect();
        Ok(ColumnarValue::Array(Arc::new(nearest)))
    }
}

/// The candidate nearest to a clamped value.
pub(crate) fn nearest_candidate(clamped: Expr, candidates: Candidates) -> Expr {
    let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
    ScalarUDF::from(Nearest { candidates, signature }).call(vec![clamped])
}

/// How many different hashes, NULL left out, lie in a list of lists of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Different {
    signature: Signature,
}

impl ScalarUDFImpl for Different {
    fn name(&self) -> &'static str {
        "different_values"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wrong = || DataFusionError::Internal("different_values takes lists of lists of hashes".into());
        let arrays = arrays(&args)?;
        let groups = arrays.first().and_then(|groups| groups.as_list_opt::<i32>()).ok_or_else(wrong)?;
        let mut counts = Vec::with_capacity(groups.len());
        for group in 0..groups.len() {
            let mut seen: std::collections::HashSet<Vec<u8>> = std::collections::HashSet::new();
            if !groups.is_null(group) {
                let patients = groups.value(group);
                let patients = patients.as_list_opt::<i32>().ok_or_else(wrong)?;
                for patient in (0..patients.len()).filter(|patient| !patients.is_null(*patient)) {
                    let hashes = patients.value(patient);
                    let hashes = hashes.as_fixed_size_binary_opt().ok_or_else(wrong)?;
                    seen.extend(hashes.iter().flatten().map(<[u8]>::to_vec));
                }
            }
            counts.push(i64::try_from(seen.len()).unwrap_or(i64::MAX));
        }
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(counts))))
    }
}

/// Is this one of the functions of this file? All are total.
pub(crate) fn is_ours(function: &ScalarUDF) -> bool {
    let inner = function.inner();
    inner.is::<Nearest>() || inner.is::<Different>()
}

/// The number of distinct values of a group, from a list for each patient.
pub(crate) fn different_values(lists: Expr) -> Expr {
    ScalarUDF::from(Different { signature: Signature::any(1, Volatility::Immutable) }).call(vec![lists])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grids_are_fine_round_and_within_their_count() {
        let of = |low, high, most| {
            let found = Candidates::of(ClampRange { scale: 0, low, high }, most);
            (found.step, found.count)
        };
        assert_eq!(of(0, 120, 1_000), (1, 121));
        assert_eq!(of(0, 120, 121), (1, 121));
        assert_eq!(of(0, 120, 120), (2, 61));
        assert_eq!(of(-500, 1_000, 1_000), (2, 751));
        assert_eq!(of(-500, 1_000, 100), (20, 76));
        assert_eq!(of(0, 1 << 24, 1_000), (20_000, 840));
        assert_eq!(of(7, 7, 20), (1, 1));
    }

    proptest! {
        #[test]
        fn a_candidate_is_within_half_a_step_of_its_values(
            low in -10_000i64..10_000, width in 0i64..1_000_000, at in 0i64..1_000_000, most in 20u64..1_000,
        ) {
            let range = ClampRange { scale: 0, low, high: low + width };
            let candidates = Candidates::of(range, most);
            prop_assert!(candidates.count <= most);
            let x = low + at.min(width);
            let index = candidates.index(x);
            prop_assert!((0..candidates.count as i64).contains(&index));
            prop_assert!(2 * (candidates.value(index) - x).abs() <= candidates.step);
            prop_assert!(index == 0 || candidates.index(x - 1) <= index);
        }
    }
}
