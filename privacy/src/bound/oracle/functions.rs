//! The functions of the relational form. All are total: no input makes them fail.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, ListArray},
        datatypes::{DataType, Field, Int64Type},
        row::{RowConverter, SortField},
    },
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    prelude::Expr,
};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::bound::{integer::ClampRange, values::Candidates};

fn arrays(args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    args.args.iter().map(|value| value.to_array(args.number_rows)).collect()
}

fn int64(array: &ArrayRef) -> Result<&Int64Array> {
    array.as_primitive_opt::<Int64Type>().ok_or_else(|| DataFusionError::Internal("not an Int64 column".into()))
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
            let mut seen: HashSet<Vec<u8>> = HashSet::new();
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

/// The number of distinct values of a group, from a list for each patient.
pub(crate) fn different_values(lists: Expr) -> Expr {
    ScalarUDF::from(Different { signature: Signature::any(1, Volatility::Immutable) }).call(vec![lists])
}

/// The hash that chooses which G groups of a unit count.
pub(crate) fn group_hash(unit_and_keys: Vec<Expr>, key: [u8; 16]) -> Expr {
    ScalarUDF::from(GroupHash { key, signature: Signature::variadic_any(Volatility::Immutable) }).call(unit_and_keys)
}

/// How many patients chose each candidate, from a list with one candidate of each.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chosen {
    candidates: Candidates,
    signature: Signature,
}

impl ScalarUDFImpl for Chosen {
    fn name(&self) -> &'static str {
        "chosen_candidates"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wrong = || DataFusionError::Internal("chosen_candidates takes a list of candidates".into());
        let arrays = arrays(&args)?;
        let groups = arrays.first().and_then(|groups| groups.as_list_opt::<i32>()).ok_or_else(wrong)?;
        let mut counted = Vec::with_capacity(groups.len());
        for group in 0..groups.len() {
            let mut counts = vec![Some(0); usize::try_from(self.candidates.count).unwrap_or(0)];
            if !groups.is_null(group) {
                let chosen = groups.value(group);
                for index in int64(&chosen)?.iter().flatten() {
                    if let Some(Some(count)) = usize::try_from(index).ok().and_then(|index| counts.get_mut(index)) {
                        *count += 1;
                    }
                }
            }
            counted.push(Some(counts));
        }
        Ok(ColumnarValue::Array(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(counted))))
    }
}

/// The number of patients at each candidate, from a list with one candidate of each patient.
pub(crate) fn chosen_candidates(list: Expr, candidates: Candidates) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(Chosen { candidates, signature }).call(vec![list])
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

    #[test]
    fn a_count_is_cut_to_r() {
        let weigh = DownWeight { rows: 4, signature: Signature::any(2, Volatility::Immutable) };
        assert_eq!((weigh.weigh(3, 3), weigh.weigh(4, 4), weigh.weigh(977, 977)), (3, 4, 4));
    }
}
