//! Calendar functions over dates (Date32) and nothing else: no time zone, no timestamp, no overflow.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Date32Array, Int64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::calendar::{Part, format_of};
use super::{arrays, literal, typed, wrong_types};
use crate::day::Day;

/// A part of a date, or the length of a period that starts on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Ten calendar years.
    Decade,
    /// Calendar year.
    Year,
    /// Year of the ISO week.
    IsoYear,
    /// Quarter, 1-4.
    Quarter,
    /// Month, 1-12.
    Month,
    /// ISO week, 1-53, weeks begin on Monday.
    Week,
    /// Day of the month, 1-31.
    Day,
    /// Day of the week, Sunday 0 to Saturday 6.
    DayOfWeek,
    /// Day of the week, Monday 1 to Sunday 7.
    IsoDayOfWeek,
    /// Day of the year, 1-366.
    DayOfYear,
}

impl Field {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "decade" => Self::Decade,
            "year" | "years" => Self::Year,
            "isoyear" => Self::IsoYear,
            "quarter" => Self::Quarter,
            "month" | "months" => Self::Month,
            "week" | "weeks" | "isoweek" => Self::Week,
            "day" | "days" => Self::Day,
            "dow" => Self::DayOfWeek,
            "isodow" => Self::IsoDayOfWeek,
            "doy" => Self::DayOfYear,
            _ => return None,
        })
    }

    /// Can a date known by its year alone answer it?
    #[must_use]
    pub const fn is_coarse(self) -> bool {
        matches!(self, Self::Decade | Self::Year)
    }

    /// Is it the length of a period?
    pub(super) const fn is_period(self) -> bool {
        !matches!(self, Self::IsoYear | Self::DayOfWeek | Self::IsoDayOfWeek | Self::DayOfYear)
    }

    /// Its value for a day.
    #[must_use]
    pub fn of(self, day: Day) -> i64 {
        let (year, month, of_month) = day.parts();
        match self {
            Self::Decade => i64::from(year).div_euclid(10),
            Self::Year => i64::from(year),
            Self::IsoYear => i64::from(thursday(day).parts().0),
            Self::Quarter => i64::from(month.saturating_sub(1) / 3 + 1),
            Self::Month => i64::from(month),
            Self::Week => (day_of_year(thursday(day)) - 1) / 7 + 1,
            Self::Day => i64::from(of_month),
            Self::DayOfWeek => i64::from((day.weekday() + 1) % 7),
            Self::IsoDayOfWeek => i64::from(day.weekday() + 1),
            Self::DayOfYear => day_of_year(day),
        }
    }

    /// First day of the period of this length that holds `day`; NULL for parts that are not periods, and for a start
    /// outside years 1-9999.
    #[must_use]
    pub fn start(self, day: Day) -> Option<Day> {
        let (year, month, _) = day.parts();
        let start = match self {
            Self::Decade => Day::from_parts(year.div_euclid(10) * 10, 1, 1),
            Self::Year => Day::from_parts(year, 1, 1),
            Self::Quarter => Day::from_parts(year, month.saturating_sub(1) / 3 * 3 + 1, 1),
            Self::Month => Day::from_parts(year, month, 1),
            Self::Week => day.0.checked_sub(i32::try_from(day.weekday()).ok()?).map(Day),
            Self::Day => Some(day),
            Self::IsoYear | Self::DayOfWeek | Self::IsoDayOfWeek | Self::DayOfYear => None,
        };
        start.filter(|start| is_written(*start))
    }

    /// Number of the period of this length that holds `day`, counted from some fixed one; none for parts that are not
    /// periods.
    pub(super) fn period(self, day: Day) -> Option<i64> {
        let (year, month, _) = day.parts();
        let year = i64::from(year);
        match self {
            Self::Decade => Some(year.div_euclid(10)),
            Self::Year => Some(year),
            Self::Quarter => Some(year * 4 + i64::from(month.saturating_sub(1) / 3)),
            Self::Month => Some(year * 12 + i64::from(month)),
            // Day 0 is a Thursday.
            Self::Week => Some((i64::from(day.0) + 3).div_euclid(7)),
            Self::Day => Some(i64::from(day.0)),
            Self::IsoYear | Self::DayOfWeek | Self::IsoDayOfWeek | Self::DayOfYear => None,
        }
    }
}

/// Does the day lie in years 1-9999, where every date can be written as text?
pub(super) fn is_written(day: Day) -> bool {
    (1..=9999).contains(&day.year())
}

/// The Thursday of the day's ISO week, which lies in the week's year.
fn thursday(day: Day) -> Day {
    Day(day.0.saturating_add(3).saturating_sub(i32::try_from(day.weekday()).unwrap_or(0)))
}

fn day_of_year(day: Day) -> i64 {
    let first = Day::from_parts(day.parts().0, 1, 1).unwrap_or(day);
    i64::from(day.0) - i64::from(first.0) + 1
}

/// The field that a literal names.
pub(super) fn field_of(value: &ScalarValue) -> Option<Field> {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            Field::parse(text)
        }
        _ => None,
    }
}

fn literal_field(args: &ScalarFunctionArgs) -> Result<Field> {
    field_of(literal(args, 0)?).ok_or_else(|| exec_datafusion_err!("no such part of a date"))
}

/// `date_trunc('month', d)`: the first day of the period, a date.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DateTrunc {
    signature: Signature,
}

impl DateTrunc {
    /// The function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl Default for DateTrunc {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Utf8, DataType::Date32] => Ok(DataType::Date32),
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let field = literal_field(&args)?;
        let columns = arrays(&args)?;
        let days: &Date32Array = typed(&columns, 1)?;
        let starts: Date32Array = days.iter().map(|d| field.start(Day(d?)).map(|start| start.0)).collect();
        Ok(ColumnarValue::Array(Arc::new(starts)))
    }
}

/// `date_part('year', d)`, `EXTRACT(YEAR FROM d)`, `year(d)`: a whole number.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DatePart {
    fixed: Option<Field>,
    signature: Signature,
}

impl DatePart {
    /// The function with its part as first argument, or with a fixed part and the date alone.
    #[must_use]
    pub fn new(fixed: Option<Field>) -> Self {
        let arity = if fixed.is_some() { 1 } else { 2 };
        Self { fixed, signature: Signature::any(arity, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &'static str {
        match self.fixed {
            Some(Field::Year) => "year",
            Some(Field::Quarter) => "quarter",
            Some(Field::Month) => "month",
            Some(Field::Week) => "week",
            Some(_) => "day",
            None => "date_part",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.fixed, types) {
            (None, [DataType::Utf8, DataType::Date32]) | (Some(_), [DataType::Date32]) => Ok(DataType::Int64),
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let (field, index) = match self.fixed {
            Some(field) => (field, 0),
            None => (literal_field(&args)?, 1),
        };
        let days: &Date32Array = typed(&columns, index)?;
        let values: Int64Array = days.iter().map(|d| d.map(|d| field.of(Day(d)))).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// The finest that a call reads of a date, and none for functions that read no date.
pub(crate) fn field_read(
    function: &datafusion::logical_expr::ScalarUDF,
    literal: Option<&ScalarValue>,
) -> Option<Field> {
    match function.name() {
        "date_trunc" | "date_part" | "date_diff" => literal.and_then(field_of),
        "age" => Some(Field::Year),
        "last_day" => Some(Field::Day),
        "to_char" => {
            let parts = literal.and_then(format_of)?;
            let years = |part: &Part| matches!(part, Part::Text(_) | Part::Field(Field::Year, _));
            Some(if parts.iter().all(years) { Field::Year } else { Field::Day })
        }
        "year" => Some(Field::Year),
        "quarter" => Some(Field::Quarter),
        "month" => Some(Field::Month),
        "week" => Some(Field::Week),
        "day" => Some(Field::Day),
        _ => None,
    }
}

/// A date moved by whole months (day clipped to the month's end), then by whole days; NULL outside years 1-9999.
///
/// Arguments: the date, months (Int64), days (Int64).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DateShift {
    signature: Signature,
}

impl DateShift {
    /// The function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::any(3, Volatility::Immutable) }
    }
}

impl Default for DateShift {
    fn default() -> Self {
        Self::new()
    }
}

fn shift(day: i32, months: i64, days: i64) -> Option<i32> {
    let (year, month, of_month) = Day(day).parts();
    let moved = if months == 0 {
        Day(day)
    } else {
        let months = (i64::from(year) * 12 + i64::from(month) - 1).checked_add(months)?;
        let (year, month) =
            (i32::try_from(months.div_euclid(12)).ok()?, u32::try_from(months.rem_euclid(12)).ok()? + 1);
        (0..4).find_map(|clip| Day::from_parts(year, month, of_month.checked_sub(clip)?))?
    };
    i32::try_from(i64::from(moved.0).checked_add(days)?).ok().filter(|d| is_written(Day(*d)))
}

impl ScalarUDFImpl for DateShift {
    fn name(&self) -> &'static str {
        "total_date_shift"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Date32, DataType::Int64, DataType::Int64] => Ok(DataType::Date32),
            _ => Err(wrong_types(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> = arrays(&args)?;
        let dates: &Date32Array = typed(&columns, 0)?;
        let (months, days): (&Int64Array, &Int64Array) = (typed(&columns, 1)?, typed(&columns, 2)?);
        let moved: Date32Array = (0..dates.len())
            .map(|row| {
                let known = dates.is_valid(row) && months.is_valid(row) && days.is_valid(row);
                known.then(|| shift(dates.value(row), months.value(row), days.value(row))).flatten()
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(moved)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn iso_weeks_at_the_turn_of_the_year() {
        for (text, year, week) in [
            ("2020-12-31", 2020, 53),
            ("2021-01-03", 2020, 53),
            ("2021-01-04", 2021, 1),
            ("2018-12-31", 2019, 1),
            ("2016-01-01", 2015, 53),
        ] {
            assert_eq!((Field::IsoYear.of(day(text)), Field::Week.of(day(text))), (year, week), "{text}");
        }
    }

    #[test]
    fn periods_start_on_their_first_day() {
        let d = day("2020-08-19");
        assert_eq!(Field::Month.start(d), Some(day("2020-08-01")));
        assert_eq!(Field::Quarter.start(d), Some(day("2020-07-01")));
        assert_eq!(Field::Week.start(d), Some(day("2020-08-17")));
        assert_eq!(Field::DayOfWeek.of(d), 3);
        assert_eq!(Field::DayOfYear.of(d), 232);
    }

    #[test]
    fn periods_start_within_years_1_to_9999() {
        // 0001-01-01 is a Monday; 9999-12-31 is the last day.
        let (first, last) = (day("0001-01-01"), day("9999-12-31"));
        for field in [Field::Decade, Field::Year, Field::Quarter, Field::Month, Field::Week, Field::Day] {
            for outside in [i32::MIN, -96_465_292, first.0 - 1, last.0 + 1, 95_026_236, i32::MAX] {
                assert!(field.start(Day(outside)).is_none_or(|d| (first..=last).contains(&d)), "{field:?} {outside}");
            }
        }
        assert_eq!((Field::Week.start(first), Field::Week.start(Day(first.0 - 1))), (Some(first), None));
        assert_eq!((Field::Day.start(last), Field::Day.start(Day(last.0 + 1))), (Some(last), None));
    }

    #[test]
    fn months_clip_to_the_last_day_and_nothing_overflows() {
        assert_eq!(shift(day("2020-01-31").0, 1, 0), Some(day("2020-02-29").0));
        assert_eq!(shift(day("2020-03-01").0, 0, -1), Some(day("2020-02-29").0));
        for extreme in [i32::MIN, i32::MAX, 0] {
            for by in [i64::MIN, i64::MAX, -1, 0, 1] {
                let _ = (shift(extreme, by, 0), shift(extreme, 0, by), shift(extreme, by, by));
                let _ =
                    (Field::Week.of(Day(extreme)), Field::Month.start(Day(extreme)), Field::Week.start(Day(extreme)));
            }
        }
        assert_eq!(shift(0, i64::MAX, 0), None);
    }
}
