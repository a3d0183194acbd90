//! Text functions. Results are at most [`MAX_TEXT_BYTES`] long: a longer one is NULL.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, StringArray};
use datafusion::arrow::compute::kernels::nullif::nullif;
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
    /// Does it end with a literal?
    EndsWith,
    /// Does it hold a literal?
    Contains,
    /// A literal put in the place of another one, everywhere.
    Replace,
    /// Each character of a literal as the one at the same place of another literal, or left out.
    Translate,
    /// The n-th part between literals, from the end for a negative n; empty when there is none.
    SplitPart,
    /// First letters of words upper case, the others lower case.
    Initcap,
    /// Backwards.
    Reverse,
    /// All arguments joined, NULL as empty.
    Concat,
    /// All but the first joined with the first, a literal, between them; NULLs left out.
    ConcatWs,
    /// The operator `||`: NULL when a side is NULL.
    Join,
}

impl Text {
    /// Fewest and most arguments.
    const fn arity(self) -> (usize, usize) {
        match self {
            Self::Lower | Self::Upper | Self::Length | Self::Initcap | Self::Reverse => (1, 1),
            Self::Trim | Self::TrimStart | Self::TrimEnd => (1, 2),
            Self::Left | Self::Right | Self::Position | Self::Join => (2, 2),
            Self::StartsWith | Self::EndsWith | Self::Contains => (2, 2),
            Self::Substring => (2, 3),
            Self::Replace | Self::Translate | Self::SplitPart => (3, 3),
            Self::Concat => (1, usize::MAX),
            Self::ConcatWs => (2, usize::MAX),
        }
    }
}

/// The planner coerces arguments by [`ScalarUDFImpl::coerce_types`].
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Immutable));

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
            Self::EndsWith => "ends_with",
            Self::Contains => "contains",
            Self::Replace => "replace",
            Self::Translate => "translate",
            Self::SplitPart => "split_part",
            Self::Initcap => "initcap",
            Self::Reverse => "reverse",
            Self::Concat => "concat",
            Self::ConcatWs => "concat_ws",
            Self::Join => "total_join",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (fewest, most) = self.arity();
        if !(fewest..=most).contains(&types.len()) {
            return Err(wrong_types(self.name(), types));
        }
        let counts = |index: usize| match self {
            Self::Substring => index > 0,
            Self::Left | Self::Right => index == 1,
            Self::SplitPart => index == 2,
            _ => false,
        };
        // Joined parts may be of any type; elsewhere a number in the place of a text is a mistake.
        let joins = matches!(self, Self::Concat | Self::ConcatWs | Self::Join);
        let one = |(index, t): (usize, &DataType)| match t {
            DataType::Null if counts(index) => Some(DataType::Int64),
            t if counts(index) => t.is_integer().then_some(DataType::Int64),
            DataType::Utf8 | DataType::Null => Some(DataType::Utf8),
            _ => joins.then_some(DataType::Utf8),
        };
        let coerced: Option<Vec<DataType>> = types.iter().enumerate().map(one).collect();
        coerced.ok_or_else(|| wrong_types(self.name(), types))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        // The planner has coerced the arguments; a plan from elsewhere must not skip that.
        if self.coerce_types(types)? != types {
            return Err(wrong_types(self.name(), types));
        }
        Ok(match self {
            Self::Length | Self::Position => DataType::Int64,
            Self::StartsWith | Self::EndsWith | Self::Contains => DataType::Boolean,
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let text: &StringArray = typed(&columns, 0)?;
        let each = |f: &dyn Fn(&str) -> String| -> ArrayRef {
            Arc::new(text.iter().map(|t| short(f(t?))).collect::<StringArray>())
        };
        let test = |f: &dyn Fn(&str) -> bool| -> ArrayRef {
            Arc::new(text.iter().map(|t| t.map(f)).collect::<BooleanArray>())
        };
        let built = |f: &dyn Fn(&str, &mut Short) -> Option<()>| -> ArrayRef {
            let one = |t: &str| {
                let mut to = Short::default();
                f(t, &mut to).map(|()| to.0)
            };
            Arc::new(text.iter().map(|t| one(t?)).collect::<StringArray>())
        };
        let cut = if args.args.len() > 1 && matches!(self, Self::Trim | Self::TrimStart | Self::TrimEnd) {
            Some(words(&args, 1)?)
        } else {
            None
        };
        let cuts = |c: char| cut.map_or_else(|| c.is_whitespace(), |cut| cut.contains(c));
        Ok(ColumnarValue::Array(match self {
            Self::Lower => each(&str::to_lowercase),
            Self::Upper => each(&str::to_uppercase),
            Self::Initcap => each(&initcap),
            Self::Reverse => each(&|t| t.chars().rev().collect()),
            Self::Trim => each(&|t| t.trim_matches(cuts).to_owned()),
            Self::TrimStart => each(&|t| t.trim_start_matches(cuts).to_owned()),
            Self::TrimEnd => each(&|t| t.trim_end_matches(cuts).to_owned()),
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
                test(&|t| t.starts_with(wanted))
            }
            Self::EndsWith => {
                let wanted = words(&args, 1)?;
                test(&|t| t.ends_with(wanted))
            }
            Self::Contains => {
                let wanted = words(&args, 1)?;
                test(&|t| t.contains(wanted))
            }
            Self::Replace => {
                let (from, with) = (words(&args, 1)?, words(&args, 2)?);
                built(&|t, to| {
                    if from.is_empty() {
                        return to.push(t);
                    }
                    let mut parts = t.split(from);
                    to.push(parts.next()?)?;
                    parts.try_for_each(|part| to.push(with).and_then(|()| to.push(part)))
                })
            }
            Self::Translate => {
                let (from, with) = (words(&args, 1)?, words(&args, 2)?);
                let change = |c: char| match from.chars().position(|f| f == c) {
                    Some(place) => with.chars().nth(place),
                    None => Some(c),
                };
                each(&|t| t.chars().filter_map(change).collect())
            }
            Self::SplitPart => {
                let (between, place) = (words(&args, 1)?, whole(&args, 2)?);
                each(&|t| split_part(t, between, place).unwrap_or_default().to_owned())
            }
            Self::Concat => joined(&columns, None)?,
            Self::Join => strict(&columns)?,
            Self::ConcatWs => joined(columns.get(1..).unwrap_or_default(), Some(words(&args, 0)?))?,
        }))
    }
}

/// A text that stops growing at [`MAX_TEXT_BYTES`].
#[derive(Default)]
pub(super) struct Short(pub(super) String);

impl Short {
    /// Appends, or gives nothing once the text is too long.
    pub(super) fn push(&mut self, part: &str) -> Option<()> {
        if self.0.len() + part.len() > MAX_TEXT_BYTES {
            return None;
        }
        self.0.push_str(part);
        Some(())
    }
}

fn texts(columns: &[ArrayRef]) -> Result<Vec<&StringArray>> {
    (0..columns.len()).map(|i| typed::<StringArray>(columns, i)).collect()
}

/// The parts of each row that are not NULL, one after the other.
fn joined(columns: &[ArrayRef], between: Option<&str>) -> Result<ArrayRef> {
    let texts = texts(columns)?;
    let row = |row: usize| {
        let mut to = Short::default();
        let mut first = true;
        for part in texts.iter().filter(|t| t.is_valid(row)) {
            if let Some(between) = between.filter(|_| !first) {
                to.push(between)?;
            }
            to.push(part.value(row))?;
            first = false;
        }
        Some(to.0)
    };
    Ok(Arc::new((0..texts.first().map_or(0, |t| t.len())).map(row).collect::<StringArray>()))
}

/// As [`joined`], but NULL where a part is NULL.
fn strict(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let all = joined(columns, None)?;
    let missing = texts(columns)?;
    let missing: BooleanArray = (0..all.len()).map(|row| Some(missing.iter().any(|t| t.is_null(row)))).collect();
    Ok(nullif(&all, &missing)?)
}

fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut to = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            to.extend(c.to_lowercase())
        } else {
            to.extend(c.to_uppercase())
        }
        inside = c.is_alphanumeric();
    }
    to
}

fn split_part<'t>(text: &'t str, between: &str, place: i64) -> Option<&'t str> {
    let nth = usize::try_from(place.unsigned_abs().checked_sub(1)?).ok()?;
    match (between.is_empty(), place > 0) {
        // Nothing to split at: the text is its own first and last part.
        (true, _) => (nth == 0).then_some(text),
        (false, true) => text.split(between).nth(nth),
        (false, false) => text.rsplit(between).nth(nth),
    }
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
        let both = strict(&[Arc::clone(&long), long]).unwrap();
        assert!(both.is_null(0));
        assert!(both.is_valid(1));
    }

    #[test]
    fn parts_words_and_joins() {
        assert_eq!(split_part("a-b-c", "-", 2), Some("b"));
        assert_eq!(split_part("a-b-c", "-", -1), Some("c"));
        assert_eq!(split_part("a-b-c", "-", 4), None);
        assert_eq!(split_part("a-b-c", "-", 0), None);
        assert_eq!(split_part("abc", "", i64::MIN), None);
        assert_eq!(initcap("type 2 dIABETES"), "Type 2 Diabetes");
        let column = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let of = |parts: &[Option<&str>], between| {
            let columns: Vec<ArrayRef> = parts.iter().map(|p| column(*p)).collect();
            typed::<StringArray>(&[joined(&columns, between).unwrap()], 0).unwrap().value(0).to_owned()
        };
        assert_eq!(of(&[Some("a"), None, Some("b")], Some("-")), "a-b");
        assert_eq!(of(&[None, None], Some("-")), "");
        assert_eq!(of(&[Some("a"), None], None), "a");
    }
}
