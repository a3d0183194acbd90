//! Differences of dates, ages, and dates made of parts or written as text. As in [`super::date`], over Date32 alone.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::date::{Field, field_of, is_written};
use super::{arrays, literal, typed, wrong_types};
use crate::day::Day;

/// A calendar function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Calendar {
    /// `date_diff('month', from, to)`: starts of such periods that lie between, counted from `from` to `to`.
    Difference,
    /// `age(later, earlier)`: whole years, as a person's age.
    Age,
    /// Last day of the month.
    LastDay,
    /// `make_date(year, month, day)`, NULL when there is no such day.
    Make,
    /// The date that a text `YYYY-MM-DD` begins with, else NULL.
    Parse,
    /// `to_char(d, '%Y-%m')`: see [`format_of`].
    Format,
}

/// The planner coerces arguments by [`ScalarUDFImpl::coerce_types`].
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Immutable));

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// As it is written.
    Text(String),
    /// A field, with leading zeros to this width.
    Field(Field, usize),
    /// Name of the month or of the day of the week, three letters.
    Short(&'static [&'static str], Field),
}

const MONTHS: [&str; 13] = ["", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Longest format, in bytes.
const MAX_FORMAT_BYTES: usize = 64;

/// The parts of a format of strftime(3): `%Y %m %d %j %G %V %u %w %b %a %%`; none for any other.
pub(crate) fn format_of(value: &ScalarValue) -> Option<Vec<Part>> {
    let ScalarValue::Utf8(Some(text)) = value else { return None };
    if text.len() > MAX_FORMAT_BYTES {
        return None;
    }
    let mut parts = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let field = |field, width| Part::Field(field, width);
        parts.push(if c == '%' {
            match chars.next()? {
                'Y' => field(Field::Year, 4),
                'm' => field(Field::Month, 2),
                'd' => field(Field::Day, 2),
                'j' => field(Field::DayOfYear, 3),
                'G' => field(Field::IsoYear, 4),
                'V' => field(Field::Week, 2),
                'u' => field(Field::IsoDayOfWeek, 1),
                'w' => field(Field::DayOfWeek, 1),
                'b' => Part::Short(&MONTHS, Field::Month),
                'a' => Part::Short(&WEEKDAYS, Field::DayOfWeek),
                '%' => Part::Text("%".to_owned()),
                _ => return None,
            }
        } else {
            Part::Text(c.to_string())
        });
    }
    Some(parts)
}

fn written(day: Day, parts: &[Part]) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(as_is) => text.push_str(as_is),
            Part::Field(field, width) => text.push_str(&format!("{:0width$}", field.of(day))),
            Part::Short(names, field) => text.push_str(names.get(usize::try_from(field.of(day)).ok()?)?),
        }
    }
    is_written(day).then_some(text)
}

/// Periods of a field from one day to another; none for fields that are not periods.
pub(crate) fn difference(field: Field, from: Day, to: Day) -> Option<i64> {
    Some(field.period(to)? - field.period(from)?)
}

/// Whole years from `earlier` to `later`, negative when they are the other way round.
pub(crate) fn age(later: Day, earlier: Day) -> i64 {
    let whole = |later: Day, earlier: Day| {
        let ((y2, m2, d2), (y1, m1, d1)) = (later.parts(), earlier.parts());
        i64::from(y2) - i64::from(y1) - i64::from((m2, d2) < (m1, d1))
    };
    if later >= earlier { whole(later, earlier) } else { -whole(earlier, later) }
}

impl ScalarUDFImpl for Calendar {
    fn name(&self) -> &str {
        match self {
            Self::Difference => "date_diff",
            Self::Age => "age",
            Self::LastDay => "last_day",
            Self::Make => "make_date",
            Self::Parse => "to_date",
            Self::Format => "to_char",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType::{Date32, Int64, Utf8};
        let wanted: &[DataType] = match self {
            Self::Difference => &[Utf8, Date32, Date32],
            Self::Age => &[Date32, Date32],
            Self::LastDay => &[Date32],
            Self::Make => &[Int64, Int64, Int64],
            Self::Parse => &[Utf8],
            Self::Format => &[Date32, Utf8],
        };
        // A text may stand for a date, as in comparisons.
        let fits = |(have, want): (&DataType, &DataType)| match want {
            Date32 => matches!(have, Date32 | Utf8 | DataType::Null),
            Int64 => have.is_integer() || *have == DataType::Null,
            other => have == other || *have == DataType::Null,
        };
        if types.len() == wanted.len() && types.iter().zip(wanted).all(fits) {
            Ok(wanted.to_vec())
        } else {
            Err(wrong_types(self.name(), types))
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        // The planner has coerced the arguments; a plan from elsewhere must not skip that.
        if self.coerce_types(types)? != types {
            return Err(wrong_types(self.name(), types));
        }
        Ok(match self {
            Self::Difference | Self::Age => DataType::Int64,
            Self::LastDay | Self::Make | Self::Parse => DataType::Date32,
            Self::Format => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let bad = || exec_datafusion_err!("not a part or a format of a date");
        let days = |index: usize| typed::<Date32Array>(&columns, index);
        let result: ArrayRef = match self {
            Self::Difference => {
                let field = field_of(literal(&args, 0)?).ok_or_else(bad)?;
                let pairs = days(1)?.iter().zip(days(2)?.iter());
                Arc::new(pairs.map(|(from, to)| difference(field, Day(from?), Day(to?))).collect::<Int64Array>())
            }
            Self::Age => {
                let pairs = days(0)?.iter().zip(days(1)?.iter());
                Arc::new(pairs.map(|(later, earlier)| Some(age(Day(later?), Day(earlier?)))).collect::<Int64Array>())
            }
            Self::LastDay => {
                let last = |d: i32| {
                    let (year, month, _) = Day(d).parts();
                    (28..=31).rev().find_map(|day| Day::from_parts(year, month, day)).map(|day| day.0)
                };
                Arc::new(days(0)?.iter().map(|d| last(d?)).collect::<Date32Array>())
            }
            Self::Make => {
                let part = |index: usize| typed::<Int64Array>(&columns, index);
                let made = |((year, month), day): ((Option<i64>, Option<i64>), Option<i64>)| {
                    let (year, month) = (i32::try_from(year?).ok()?, u32::try_from(month?).ok()?);
                    Day::from_parts(year, month, u32::try_from(day?).ok()?).map(|day| day.0)
                };
                let parts = part(0)?.iter().zip(part(1)?.iter()).zip(part(2)?.iter());
                Arc::new(parts.map(made).collect::<Date32Array>())
            }
            Self::Parse => {
                let text: &StringArray = typed(&columns, 0)?;
                Arc::new(text.iter().map(|t| Day::parse(t?).map(|day| day.0)).collect::<Date32Array>())
            }
            Self::Format => {
                let parts = format_of(literal(&args, 1)?).ok_or_else(bad)?;
                Arc::new(days(0)?.iter().map(|d| written(Day(d?), &parts)).collect::<StringArray>())
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn ages_are_whole_years() {
        for (later, earlier, years) in [
            ("2020-03-01", "2000-03-01", 20),
            ("2020-02-29", "2000-03-01", 19),
            ("2021-02-28", "2000-02-29", 20),
            ("2021-03-01", "2000-02-29", 21),
            ("2000-03-01", "2020-02-29", -19),
            ("2020-01-01", "2020-01-01", 0),
        ] {
            assert_eq!(age(day(later), day(earlier)), years, "{later} {earlier}");
        }
    }

    #[test]
    fn differences_count_starts_of_periods() {
        let between = |field, from: &str, to: &str| difference(field, day(from), day(to));
        assert_eq!(between(Field::Month, "2020-01-31", "2020-02-01"), Some(1));
        assert_eq!(between(Field::Month, "2020-02-01", "2020-02-29"), Some(0));
        assert_eq!(between(Field::Year, "2020-01-01", "2019-12-31"), Some(-1));
        assert_eq!(between(Field::Quarter, "2019-12-31", "2020-04-01"), Some(2));
        // 2020-01-05 is a Sunday.
        assert_eq!(between(Field::Week, "2020-01-05", "2020-01-06"), Some(1));
        assert_eq!(between(Field::Day, "2020-02-28", "2020-03-01"), Some(2));
        assert_eq!(between(Field::DayOfWeek, "2020-02-28", "2020-03-01"), None);
    }

    #[test]
    fn dates_are_written_as_their_format_says() {
        let of =
            |format: &str| format_of(&ScalarValue::from(format)).and_then(|parts| written(day("2021-01-03"), &parts));
        assert_eq!(of("%Y-%m-%d").as_deref(), Some("2021-01-03"));
        assert_eq!(of("%G-W%V-%u").as_deref(), Some("2020-W53-7"));
        assert_eq!(of("%b %a %j 100%%").as_deref(), Some("Jan Sun 003 100%"));
        assert_eq!(of("%H"), None);
        assert_eq!(of("%"), None);
        assert_eq!(of(&"x".repeat(MAX_FORMAT_BYTES + 1)), None);
    }

    proptest! {
        /// What interval analysis rests on: later days never make a difference or an age smaller.
        #[test]
        fn ages_and_differences_grow_with_the_later_day(a in any::<i32>(), b in any::<i32>(), c in any::<i32>()) {
            let (b, c) = (Day(b.min(c)), Day(b.max(c)));
            prop_assert!(age(b, Day(a)) <= age(c, Day(a)));
            prop_assert!(age(Day(a), b) >= age(Day(a), c));
            for field in [Field::Decade, Field::Year, Field::Quarter, Field::Month, Field::Week, Field::Day] {
                prop_assert!(difference(field, Day(a), b) <= difference(field, Day(a), c));
                // A period begins where the count goes up.
                if let (Some(start), Some(before)) = (field.start(c), c.0.checked_sub(1)) {
                    prop_assert_eq!(difference(field, Day(before), c), Some(i64::from(start == c)));
                }
            }
        }
    }
}
