//! Ranges of expressions from the declared ranges of columns. They set sensitivities; measures clamp to them, so a
//! range that were too narrow would bias an answer and never leak.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::lineage::Grid;
use crate::day::Day;
use crate::functions::{Field, age, difference};

/// Digits after the point kept for numbers that are not on a grid (floats, quotients).
const FLOAT_SCALE: i8 = 6;

/// 1 on the grid of floats.
const UNIT: i128 = 1_000_000;

/// Largest magnitude of a range, in grid units: past it a range is no range.
const LARGEST: i128 = 1 << 90;

/// Largest magnitude of a measured range in grid units; coarser grids are chosen until it fits.
const LARGEST_MEASURED: i128 = 1 << 24;

/// Most digits after the point of a measured range: far below the 38 that a decimal can have.
const FINEST_MEASURED: i8 = 12;

impl Grid {
    /// The range `low..=high` in whole numbers.
    pub(crate) const fn whole(low: i128, high: i128) -> Self {
        Self { scale: 0, low, high }
    }

    /// The range of one constant.
    pub(crate) fn of_literal(value: &ScalarValue) -> Option<Self> {
        let point = |scale: i8, v: i128| Some(Self { scale, low: v, high: v });
        match value {
            ScalarValue::Int8(Some(v)) => point(0, (*v).into()),
            ScalarValue::Int16(Some(v)) => point(0, (*v).into()),
            ScalarValue::Int32(Some(v)) | ScalarValue::Date32(Some(v)) => point(0, (*v).into()),
            ScalarValue::Int64(Some(v)) => point(0, (*v).into()),
            ScalarValue::UInt64(Some(v)) => point(0, (*v).into()),
            ScalarValue::Decimal128(Some(v), _, scale) if *scale >= 0 => point(*scale, *v),
            ScalarValue::Float64(Some(v)) => Self::of_float(*v),
            ScalarValue::Float32(Some(v)) => Self::of_float(f64::from(*v)),
            _ => None,
        }
        .map(Self::reduced)
    }

    fn of_float(v: f64) -> Option<Self> {
        let scaled = v * 10_f64.powi(FLOAT_SCALE.into());
        if scaled.is_nan() || scaled.abs() >= 1e15 {
            return None;
        }
        // Shortest decimals such as 0.1 times 10^6 land within a rounding error of a whole number.
        let near = scaled.round();
        let exact = (scaled - near).abs() <= scaled.abs() * 1e-14;
        let (low, high) = if exact { (near, near) } else { (scaled.floor(), scaled.ceil()) };
        Some(Self { scale: FLOAT_SCALE, low: low as i128, high: high as i128 })
    }

    /// The same range on the coarsest grid that holds it exactly.
    fn reduced(mut self) -> Self {
        while self.scale > 0 && self.low % 10 == 0 && self.high % 10 == 0 {
            self = Self { scale: self.scale - 1, low: self.low / 10, high: self.high / 10 };
        }
        self
    }

    fn checked(self) -> Option<Self> {
        (self.low.abs() <= LARGEST && self.high.abs() <= LARGEST && self.low <= self.high).then_some(self)
    }

    /// The least range on the grid of `scale` that covers this one.
    pub(crate) fn rescaled(self, scale: i8) -> Option<Self> {
        let unit = 10_i128.checked_pow(u32::from(scale.abs_diff(self.scale)))?;
        if scale >= self.scale {
            return Self { scale, low: self.low.checked_mul(unit)?, high: self.high.checked_mul(unit)? }.checked();
        }
        Some(Self { scale, low: self.low.div_euclid(unit), high: -(-self.high).div_euclid(unit) })
    }

    fn aligned(self, other: Self) -> Option<(Self, Self)> {
        let scale = self.scale.max(other.scale);
        Some((self.rescaled(scale)?, other.rescaled(scale)?))
    }

    /// The least range that covers both.
    pub(crate) fn hull(self, other: Self) -> Option<Self> {
        let (a, b) = self.aligned(other)?;
        Some(Self { scale: a.scale, low: a.low.min(b.low), high: a.high.max(b.high) })
    }

    /// What is in both ranges; this range when they do not meet (no row satisfies the condition then).
    pub(crate) fn within(self, other: Self) -> Self {
        self.at_least(other).at_most(other)
    }

    /// This range from the other's low end on.
    pub(crate) fn at_least(self, other: Self) -> Self {
        match other.rescaled(self.scale) {
            Some(other) if other.low <= self.high => Self { low: self.low.max(other.low), ..self },
            _ => self,
        }
    }

    /// This range up to the other's high end.
    pub(crate) fn at_most(self, other: Self) -> Self {
        match other.rescaled(self.scale) {
            Some(other) if other.high >= self.low => Self { high: self.high.min(other.high), ..self },
            _ => self,
        }
    }

    fn plus(self, other: Self) -> Option<Self> {
        let (a, b) = self.aligned(other)?;
        Self { scale: a.scale, low: a.low + b.low, high: a.high + b.high }.checked()
    }

    pub(crate) fn negated(self) -> Self {
        Self { scale: self.scale, low: -self.high, high: -self.low }
    }

    pub(crate) fn times(self, other: Self) -> Option<Self> {
        let corners = [(self.low, other.low), (self.low, other.high), (self.high, other.low), (self.high, other.high)];
        let mut products = Vec::with_capacity(4);
        for (a, b) in corners {
            products.push(a.checked_mul(b)?);
        }
        let scale = self.scale.checked_add(other.scale)?;
        Self { scale, low: *products.iter().min()?, high: *products.iter().max()? }.checked().map(Self::reduced)
    }

    /// Division by what is never 0. Whole numbers divide by any: a quotient is no larger than its dividend, and
    /// division by 0 is NULL.
    fn over(self, divisor: Self, whole: bool) -> Option<Self> {
        if divisor.low <= 0 && divisor.high >= 0 {
            let most = self.rescaled(0)?;
            let most = most.low.abs().max(most.high.abs());
            return whole.then_some(Self::whole(-most, most));
        }
        let digits = u32::try_from(i32::from(FLOAT_SCALE) + i32::from(divisor.scale) - i32::from(self.scale)).ok()?;
        let unit = 10_i128.checked_pow(digits)?;
        let (a, b) = (self.low.checked_mul(unit)?, self.high.checked_mul(unit)?);
        let corners = [a / divisor.low, a / divisor.high, b / divisor.low, b / divisor.high];
        let outward = Self { scale: FLOAT_SCALE, low: corners.iter().min()? - 1, high: corners.iter().max()? + 1 };
        // Whole numbers divide towards zero, so the covering whole range is enough.
        if whole { outward.rescaled(0) } else { outward.checked() }
    }

    /// Any number at all, as wide as a range can be.
    fn unknown(of: &DataType) -> Option<Self> {
        let scale = if of.is_integer() { 0 } else { FLOAT_SCALE };
        of.is_numeric().then_some(Self { scale, low: -LARGEST, high: LARGEST })
    }

    /// The range after rounding to this many digits, whichever way.
    fn rounded(self, digits: Option<Self>) -> Option<Self> {
        let digits = digits.map_or(0, |digits| digits.low);
        if digits >= i128::from(self.scale) {
            return Some(self);
        }
        let unit = 10_i128.checked_pow(u32::try_from(-digits.min(0)).ok()?)?;
        let coarse = self.rescaled(i8::try_from(digits.max(0)).ok()?)?;
        let (low, high) = (coarse.low.div_euclid(unit) * unit, -(-coarse.high).div_euclid(unit) * unit);
        Self { low, high, ..coarse }.checked()
    }

    /// The range after a cast to this type.
    pub(crate) fn cast(self, to: &DataType) -> Option<Self> {
        match to {
            DataType::Decimal128(_, scale) => self.rescaled((*scale).min(self.scale).max(0)),
            integer if integer.is_integer() => self.rescaled(0),
            DataType::Float64 | DataType::Float32 | DataType::Date32 => Some(self),
            _ => None,
        }
    }

    /// The range on the finest grid whose magnitudes and digits a measure can take; none when it is too wide for all.
    pub(crate) fn measured(mut self) -> Option<Self> {
        let too_fine = |grid: Self| grid.scale > FINEST_MEASURED;
        while self.scale > 0 && (too_fine(self) || self.low.abs().max(self.high.abs()) > LARGEST_MEASURED) {
            self = self.rescaled(self.scale - 1)?;
        }
        (self.low.abs().max(self.high.abs()) <= LARGEST_MEASURED).then_some(self)
    }
}

/// The range of a function of the dialect, from the ranges of its arguments; `field` is what it reads of a date.
pub(crate) fn of_function(name: &str, field: Option<Field>, to: &DataType, args: &[Option<Grid>]) -> Option<Grid> {
    let arg = |index: usize| args.get(index).copied().flatten();
    match name {
        "total_add" => arg(0)?.plus(arg(1)?),
        "total_subtract" | "total_days" => arg(0)?.plus(arg(1)?.negated()),
        "total_multiply" => arg(0)?.times(arg(1)?),
        "total_divide" => arg(0)?.over(arg(1)?, to.is_integer()),
        "total_remainder" => {
            let divisor = arg(1)?;
            let most = divisor.low.abs().max(divisor.high.abs());
            let low = if arg(0).is_some_and(|a| a.low >= 0) { 0 } else { -most };
            Some(Grid { scale: divisor.scale, low, high: most })
        }
        "total_negate" => arg(0).map(Grid::negated),
        "total_finite" => arg(0),
        "total_date_shift" => {
            // Months are at most 31 days long.
            let months = arg(1)?.times(Grid::whole(28, 31))?.hull(arg(1)?.times(Grid::whole(0, 31))?)?;
            arg(0)?.plus(months)?.plus(arg(2)?)
        }
        "abs" => {
            let a = arg(0)?;
            let low = if a.low <= 0 && a.high >= 0 { 0 } else { a.low.abs().min(a.high.abs()) };
            Some(Grid { scale: a.scale, low, high: a.low.abs().max(a.high.abs()) })
        }
        "floor" | "ceil" | "round" | "trunc" => arg(0)?.rounded(arg(1)),
        "signum" => Some(Grid::whole(-1, 1)),
        "sin" | "cos" => Some(Grid { scale: FLOAT_SCALE, low: -UNIT, high: UNIT }),
        "coalesce" => hull(args.iter().copied()),
        "nullif" => arg(0),
        "greatest" | "least" => {
            // An argument without a range may be anything, and a number bounds it: LEAST(GREATEST(x, 0), 10).
            let all = hull(args.iter().map(|one| one.or_else(|| Grid::unknown(to))))?;
            let numbers = args.iter().flatten().filter(|one| one.low == one.high);
            let bounded =
                |all: Grid, one: &Grid| if name == "greatest" { all.at_least(*one) } else { all.at_most(*one) };
            Some(numbers.fold(all, bounded))
        }
        "width_bucket" => arg(3).map(|count| Grid::whole(0, count.high.saturating_add(1))),
        "length" | "strpos" | "regexp_count" => Some(Grid::whole(0, 4096)),
        "date_trunc" => arg(1).or(arg(0)),
        "make_date" => {
            let years = arg(0)?;
            let of = |year: i128, month, day| {
                let year = i32::try_from(year.clamp(1, 9999)).ok()?;
                Day::from_parts(year, month, day).map(|day| i128::from(day.0))
            };
            Some(Grid::whole(of(years.low, 1, 1)?, of(years.high, 12, 31)?))
        }
        "last_day" => arg(0)?.plus(Grid::whole(0, 30)),
        "date_diff" => of_dates(arg(1)?, arg(2)?, |from, to| difference(field?, from, to)),
        "age" => of_dates(arg(1)?, arg(0)?, |from, to| Some(age(to, from))),
        _ => of_field(field?, arg(1).or(arg(0))),
    }
}

fn hull(mut ranges: impl Iterator<Item = Option<Grid>>) -> Option<Grid> {
    let first = ranges.next()??;
    ranges.try_fold(first, |all, one| all.hull(one?))
}

/// The range of a count that grows with `to` and falls with `from`.
fn of_dates(from: Grid, to: Grid, count: impl Fn(Day, Day) -> Option<i64>) -> Option<Grid> {
    let day = |days: i128| i32::try_from(days).ok().map(Day);
    let least = count(day(from.high)?, day(to.low)?)?;
    let most = count(day(from.low)?, day(to.high)?)?;
    Some(Grid::whole(least.into(), most.into()))
}

fn of_field(field: Field, days: Option<Grid>) -> Option<Grid> {
    Some(match field {
        Field::Quarter => Grid::whole(1, 4),
        Field::Month => Grid::whole(1, 12),
        Field::Week => Grid::whole(1, 53),
        Field::Day => Grid::whole(1, 31),
        Field::DayOfWeek => Grid::whole(0, 6),
        Field::IsoDayOfWeek => Grid::whole(1, 7),
        Field::DayOfYear => Grid::whole(1, 366),
        Field::Year | Field::IsoYear | Field::Decade => {
            let days = days?;
            let of = |day: i128| i32::try_from(day).ok().map(|day| i128::from(field.of(Day(day))));
            Grid::whole(of(days.low)?, of(days.high)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_differences_and_quotients_cover_their_corners() {
        let a = Grid { scale: 2, low: -150, high: 300 };
        let b = Grid::whole(-2, 4);
        assert_eq!(a.times(b), Some(Grid { scale: 0, low: -6, high: 12 }));
        assert_eq!(a.plus(b.negated()), Some(Grid { scale: 2, low: -550, high: 500 }));
        let third = a.over(Grid::whole(3, 3), false).unwrap();
        assert!(third.low <= -500_000 && third.high >= 1_000_000 && third.high < 1_000_010, "{third:?}");
        assert_eq!(a.over(b, false), None);
        assert_eq!(Grid::whole(0, 99).over(Grid::whole(-10, -10), true), Some(Grid::whole(-10, 1)));
    }

    #[test]
    fn quotients_by_ranges_cover_their_corners() {
        let of = |low, high| Some(Grid { scale: 6, low, high });
        let a = Grid::whole(-6, 12);
        assert_eq!(a.over(Grid::whole(2, 3), false), of(-3_000_001, 6_000_001));
        assert_eq!(a.over(Grid::whole(-3, -2), false), of(-6_000_001, 3_000_001));
        assert_eq!(a.over(Grid::whole(-3, 2), false), None);
        assert_eq!(a.over(Grid::whole(-3, 2), true), Some(Grid::whole(-12, 12)));
        let tenths = Grid { scale: 1, low: 5, high: 20 };
        assert_eq!(Grid::whole(1, 1).over(tenths, false), of(499_999, 2_000_001));
    }

    #[test]
    fn rounding_covers_what_it_rounds_to() {
        let a = Grid { scale: 2, low: -1_250, high: 1_299 };
        let digits = |n: i128| Some(Grid::whole(n, n));
        assert_eq!(a.rounded(None), Some(Grid::whole(-13, 13)));
        assert_eq!(a.rounded(digits(1)), Some(Grid { scale: 1, low: -125, high: 130 }));
        assert_eq!(a.rounded(digits(9)), Some(a));
        assert_eq!(a.rounded(digits(-1)), Some(Grid::whole(-20, 20)));
        assert_eq!(a.rounded(digits(-400)), None);
    }

    #[test]
    fn a_number_bounds_what_has_no_range() {
        let number = |n| Some(Grid::whole(n, n));
        let of = |name: &str, args: &[Option<Grid>]| of_function(name, None, &DataType::Float64, args);
        let low = of("greatest", &[None, number(0)]);
        assert_eq!(of("least", &[low, number(10)]), Some(Grid { scale: 6, low: 0, high: 10_000_000 }));
        assert_eq!(of("least", &[None, number(10)]).and_then(Grid::measured), None);
        assert_eq!(of("greatest", &[Some(Grid::whole(-5, 5)), number(0)]), Some(Grid::whole(0, 5)));
        assert_eq!(of("coalesce", &[None, number(0)]), None);
    }

    #[test]
    fn differences_of_dates_have_the_range_of_their_corners() {
        let days = |low: &str, high: &str| {
            Some(Grid::whole(Day::parse(low).unwrap().0.into(), Day::parse(high).unwrap().0.into()))
        };
        let (from, to) = (days("2000-06-15", "2010-01-01"), days("2019-01-01", "2020-12-31"));
        let months = of_function("date_diff", Some(Field::Month), &DataType::Int64, &[None, from, to]);
        assert_eq!(months, Some(Grid::whole(108, 246)));
        assert_eq!(of_function("age", Some(Field::Year), &DataType::Int64, &[to, from]), Some(Grid::whole(9, 20)));
    }

    #[test]
    fn floats_become_their_short_decimals() {
        assert_eq!(Grid::of_literal(&ScalarValue::from(1.5_f64)), Some(Grid { scale: 1, low: 15, high: 15 }));
        assert_eq!(Grid::of_literal(&ScalarValue::from(0.1_f64)), Some(Grid { scale: 1, low: 1, high: 1 }));
        let third = Grid::of_literal(&ScalarValue::from(1.0_f64 / 3.0)).unwrap();
        assert_eq!((third.low, third.high), (333_333, 333_334));
        assert_eq!(Grid::of_literal(&ScalarValue::from(f64::NAN)), None);
    }

    #[test]
    fn a_measured_range_fits_24_bits() {
        let wide = Grid { scale: 6, low: 0, high: 1_000_000_000 };
        assert_eq!(wide.measured(), Some(Grid { scale: 4, low: 0, high: 10_000_000 }));
    }

    #[test]
    fn a_measured_range_keeps_12_digits_after_the_point() {
        let millionth = Grid { scale: 6, low: 1, high: 1 };
        let fine = (0..7).try_fold(Grid::whole(-5, 90), |grid, _| grid.times(millionth)).unwrap();
        assert!(fine.scale > 38, "{fine:?}");
        assert_eq!(fine.measured(), Some(Grid { scale: 12, low: -1, high: 1 }));
    }

    #[test]
    fn ages_from_dates_and_birth_years() {
        let days = Grid::whole(Day::parse("2015-01-01").unwrap().0.into(), Day::parse("2025-12-31").unwrap().0.into());
        let years = of_function("year", Some(Field::Year), &DataType::Int64, &[Some(days)]).unwrap();
        assert_eq!(years, Grid::whole(2015, 2025));
        let age = of_function("total_subtract", None, &DataType::Int64, &[Some(years), Some(Grid::whole(1900, 2025))]);
        assert_eq!(age, Some(Grid::whole(-10, 125)));
    }
}
