//! Text functions. Results are at most [`MAX_TEXT_BYTES`] long: a longer one is NULL.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{arrays, literal, typed, wrong_types};

/// Longest text that a function returns, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// A text function. Positions and lengths count characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Text {
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// Without white space at both ends.
    Trim,
    /// Without white space at the start.
    TrimStart,
    /// Without white space at the end.
    TrimEnd,
    /// From a position, of a length at most.
    Substring,
    /// The first n characters; for a negative n all but the last.
    Left,
    /// The last n characters; for a negative n all but the first.
    Right,
    /// Characters.
    Length,
    /// Position of a literal, 0 when absent.
    Position,
    /// Does it start with a literal?
    StartsWith,
    /// All arguments joined, NULL as empty.
    Concat,
    /// The operator `||`: NULL when a side is NULL.
    Join,
}

fn signature(text: Text) -> &'static Signature {
    use std::sync::LazyLock;
    static ANY: LazyLock<[Signature; 4]> = LazyLock::new(|| {
        [
            Signature::any(1, Volatility::Immutable),
            Signature::any(2, Volatility::Immutable),
            Signature::one_of(
                vec![datafusion::logical_expr::TypeSignature::Any(2), datafusion::logical_expr::TypeSignature::Any(3)],
                Volatility::Immutable,
            ),
            Signature::variadic_any(Volatility::Immutable),
        ]
    });
    let [one, two, two_or_three, many] = &*ANY;
    match text {
        Text::Lower | Text::Upper | Text::Trim | Text::TrimStart | Text::TrimEnd | Text::Length => one,
        Text::Left | Text::Right | Text::Position | Text::StartsWith | Text::Join => two,
        Text::Substring => two_or_three,
        Text::Concat => many,
    }
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        match self {
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Trim => "btrim",
            Self::TrimStart => "ltrim",
            Self::TrimEnd => "rtrim",
            Self::Substring => "substr",
            Self::Left => "left",
            Self::Right => "right",
            Self::Length => "length",
            Self::Position => "strpos",
            Self::StartsWith => "starts_with",
            Self::Concat => "concat",
            Self::Join => "total_join",
        }
    }

    fn signature(&self) -> &Signature {
        signature(*self)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        use DataType::{Boolean, Int64, Utf8};
        match (self, types) {
            (Self::Lower | Self::Upper | Self::Trim | Self::TrimStart | Self::TrimEnd, [Utf8])
            | (Self::Substring, [Utf8, Int64] | [Utf8, Int64, Int64])
            | (Self::Left | Self::Right, [Utf8, Int64])
            | (Self::Join, [Utf8, Utf8]) => Ok(Utf8),
            (Self::Concat, all) if !all.is_empty() && all.iter().all(|t| *t == Utf8) => Ok(Utf8),
            (Self::Length, [Utf8]) | (Self::Position, [Utf8, Utf8]) => Ok(Int64),
            (Self::StartsWith, [Utf8, Utf8]) => Ok(Boolean),
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let text: &StringArray = typed(&columns, 0)?;
        let each = |f: &dyn Fn(&str) -> String| -> ArrayRef {
            Arc::new(text.iter().map(|t| short(f(t?))).collect::<StringArray>())
        };
        Ok(ColumnarValue::Array(match self {
            Self::Lower => each(&str::to_lowercase),
            Self::Upper => each(&str::to_uppercase),
            Self::Trim => each(&|t| t.trim().to_owned()),
            Self::TrimStart => each(&|t| t.trim_start().to_owned()),
            Self::TrimEnd => each(&|t| t.trim_end().to_owned()),
            Self::Substring => {
                let from = whole(&args, 1)?;
                let count = if args.args.len() > 2 { whole(&args, 2)? } else { i64::MAX };
                each(&|t| substring(t, from, count))
            }
            Self::Left => {
                let count = whole(&args, 1)?;
                each(&|t| t.chars().take(counted(t, count)).collect())
            }
            Self::Right => {
                let count = whole(&args, 1)?;
                each(&|t| t.chars().skip(t.chars().count() - counted(t, count)).collect())
            }
            Self::Length => {
                let length = |t: &str| i64::try_from(t.chars().count()).ok();
                Arc::new(text.iter().map(|t| length(t?)).collect::<Int64Array>())
            }
            Self::Position => {
                let wanted = words(&args, 1)?;
                let position = |t: &str| {
                    let before = t.find(wanted).and_then(|at| t.get(..at));
                    before.map_or(Some(0), |before| i64::try_from(before.chars().count() + 1).ok())
                };
                Arc::new(text.iter().map(|t| position(t?)).collect::<Int64Array>())
            }
            Self::StartsWith => {
                let wanted = words(&args, 1)?;
                Arc::new(text.iter().map(|t| t.map(|t| t.starts_with(wanted))).collect::<BooleanArray>())
            }
            Self::Concat | Self::Join => joined(&columns, *self == Self::Join)?,
        }))
    }
}

fn joined(columns: &[ArrayRef], strict: bool) -> Result<ArrayRef> {
    let texts = (0..columns.len()).map(|i| typed::<StringArray>(columns, i)).collect::<Result<Vec<_>>>()?;
    let rows = texts.first().map_or(0, |t| t.len());
    let row = |row: usize| {
        if strict && texts.iter().any(|t| t.is_null(row)) {
            return None;
        }
        short(texts.iter().filter(|t| t.is_valid(row)).map(|t| t.value(row)).collect())
    };
    Ok(Arc::new((0..rows).map(row).collect::<StringArray>()))
}

fn short(text: String) -> Option<String> {
    (text.len() <= MAX_TEXT_BYTES).then_some(text)
}

/// Characters from the 1-based position `from`, for `count`, as SQL has it: positions before 1 count too.
fn substring(text: &str, from: i64, count: i64) -> String {
    let end = from.saturating_add(count.max(0));
    let place = |at: i64| usize::try_from(at.saturating_sub(1).max(0)).unwrap_or(usize::MAX);
    text.chars().take(place(end)).skip(place(from)).collect()
}

/// How many characters `n` keeps: n of them, or for a negative n all but -n.
fn counted(text: &str, n: i64) -> usize {
    let all = text.chars().count();
    let n_abs = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    if n >= 0 { n_abs.min(all) } else { all.saturating_sub(n_abs) }
}

fn whole(args: &ScalarFunctionArgs, index: usize) -> Result<i64> {
    match literal(args, index)? {
        ScalarValue::Int64(Some(value)) => Ok(*value),
        _ => Err(exec_datafusion_err!("argument {} is not a whole number", index + 1)),
    }
}

fn words(args: &ScalarFunctionArgs, index: usize) -> Result<&str> {
    match literal(args, index)? {
        ScalarValue::Utf8(Some(value)) => Ok(value),
        _ => Err(exec_datafusion_err!("argument {} is not a text", index + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substrings_at_every_edge() {
        assert_eq!(substring("abcdef", 2, 3), "bcd");
        assert_eq!(substring("abcdef", 0, 3), "ab");
        assert_eq!(substring("abcdef", -5, 3), "");
        assert_eq!(substring("abcdef", 5, i64::MAX), "ef");
        assert_eq!(substring("abcdef", i64::MIN, i64::MAX), "");
        assert_eq!(substring("häß", 2, -1), "");
        assert_eq!(substring("häß", 2, 1), "ä");
    }

    #[test]
    fn negative_counts_leave_characters_out() {
        assert_eq!(counted("abc", -1), 2);
        assert_eq!(counted("abc", i64::MIN), 0);
        assert_eq!(counted("abc", 9), 3);
    }

    #[test]
    fn a_text_that_grows_too_long_is_null() {
        let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(MAX_TEXT_BYTES / 2 + 1), "a".to_owned()]));
        let both = joined(&[Arc::clone(&long), long], true).unwrap();
        assert!(both.is_null(0));
        assert!(both.is_valid(1));
    }
}
