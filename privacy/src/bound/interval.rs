//! Ranges of expressions from the declared ranges of columns. They set sensitivities; measures clamp to them, so a
//! range that were too narrow would bias an answer and never leak.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::lineage::Grid;
use crate::day::Day;
use crate::functions::Field;

/// Digits after the point kept for numbers that are not on a grid (floats, quotients).
const FLOAT_SCALE: i8 = 6;

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

    /// Division by a constant that is not 0.
    fn over(self, divisor: Self, whole: bool) -> Option<Self> {
        if divisor.low != divisor.high || divisor.low == 0 {
            return None;
        }
        let digits = u32::try_from(i32::from(FLOAT_SCALE) + i32::from(divisor.scale) - i32::from(self.scale)).ok()?;
        let unit = 10_i128.checked_pow(digits)?;
        let (a, b) = (self.low.checked_mul(unit)?, self.high.checked_mul(unit)?);
        let (a, b) = if divisor.low > 0 { (a, b) } else { (b, a) };
        let d = divisor.low;
        let outward =
            Self { scale: FLOAT_SCALE, low: a.div_euclid(d).min(a / d) - 1, high: b.div_euclid(d).max(b / d) + 1 };
        // Whole numbers divide towards zero, so the covering whole range is enough.
        if whole { outward.rescaled(0) } else { outward.checked() }
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

    /// The range on the finest grid whose magnitudes and digits a measure can take.
    pub(crate) fn measured(mut self) -> Option<Self> {
        let too_fine = |grid: Self| grid.scale > FINEST_MEASURED;
        while self.scale > 0 && (too_fine(self) || self.low.abs().max(self.high.abs()) > LARGEST_MEASURED) {
            self = self.rescaled(self.scale - 1)?;
        }
        Some(self)
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
        "floor" | "ceil" | "round" => arg(0)?.rescaled(0),
        "coalesce" | "nullif" | "greatest" | "least" => {
            let used = if name == "nullif" { args.get(..1)? } else { args };
            used.iter().copied().try_fold(None, |all: Option<Grid>, one| {
                let one = one?;
                Some(Some(all.map_or(Some(one), |all| all.hull(one))?))
            })?
        }
        "width_bucket" => arg(3).map(|count| Grid::whole(0, count.high.saturating_add(1))),
        "length" | "strpos" => Some(Grid::whole(0, 4096)),
        "date_trunc" => arg(1).or(arg(0)),
        _ => of_field(field?, arg(1).or(arg(0))),
    }
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
