//! `coalesce`, `nullif`, `greatest`, `least` over arguments of one type.

use std::cmp::Ordering;
use std::sync::LazyLock;

use datafusion::arrow::array::{ArrayRef, BooleanArray, make_comparator};
use datafusion::arrow::compute::kernels::{nullif::nullif, zip::zip};
use datafusion::arrow::compute::{SortOptions, is_not_null};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{arrays, wrong_types};

/// Picks one of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choose {
    /// The first that is not NULL.
    Coalesce,
    /// The first, or NULL when it equals the second.
    NullIf,
    /// The greatest that is not NULL.
    Greatest,
    /// The least that is not NULL.
    Least,
}

/// The planner coerces arguments to one type by [`ScalarUDFImpl::coerce_types`].
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Immutable));

impl ScalarUDFImpl for Choose {
    fn name(&self) -> &str {
        match self {
            Self::Coalesce => "coalesce",
            Self::NullIf => "nullif",
            Self::Greatest => "greatest",
            Self::Least => "least",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let enough = if *self == Self::NullIf { types.len() == 2 } else { !types.is_empty() };
        let mut known = types.iter().filter(|t| **t != DataType::Null);
        let first = known.next().cloned().unwrap_or(DataType::Null);
        let common = known.try_fold(first, |all, one| comparison_coercion(&all, one));
        match common {
            Some(common) if enough => Ok(vec![common; types.len()]),
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [first, rest @ ..] if rest.iter().all(|t| t == first) => Ok(first.clone()),
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let (first, rest) = columns.split_first().ok_or_else(|| exec_datafusion_err!("no argument"))?;
        let result = rest.iter().try_fold(ArrayRef::clone(first), |chosen, next| self.pick(&chosen, next))?;
        Ok(ColumnarValue::Array(result))
    }
}

impl Choose {
    fn pick(self, chosen: &ArrayRef, next: &ArrayRef) -> Result<ArrayRef> {
        if self == Self::Coalesce {
            return Ok(zip(&is_not_null(chosen)?, chosen, next)?);
        }
        let compare = make_comparator(chosen, next, SortOptions::default())?;
        let both = |row: usize| chosen.is_valid(row) && next.is_valid(row);
        let mask = |keep: &dyn Fn(usize) -> bool| BooleanArray::from_iter((0..chosen.len()).map(|row| Some(keep(row))));
        if self == Self::NullIf {
            return Ok(nullif(chosen, &mask(&|row| both(row) && compare(row, row).is_eq()))?);
        }
        let wanted = if self == Self::Greatest { Ordering::Less } else { Ordering::Greater };
        Ok(zip(
            &mask(&|row| {
                if both(row) { compare(row, row) != wanted } else { chosen.is_valid(row) }
            }),
            chosen,
            next,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::Int64Type;
    use std::sync::Arc;

    #[test]
    fn each_choice_over_nulls() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4), None]));
        let b: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), Some(2), None, Some(4), None]));
        let of = |choice: Choose| choice.pick(&a, &b).unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        assert_eq!(of(Choose::Coalesce), [Some(1), Some(2), Some(3), Some(4), None]);
        assert_eq!(of(Choose::NullIf), [Some(1), None, Some(3), None, None]);
        assert_eq!(of(Choose::Greatest), [Some(2), Some(2), Some(3), Some(4), None]);
        assert_eq!(of(Choose::Least), [Some(1), Some(2), Some(3), Some(4), None]);
    }
}
