//! From the aggregates that are asked to the integers that are drawn: each distinct one once.

use datafusion::prelude::Expr;

use super::{integer::ClampRange, lineage::Grid, total::Measure};
use crate::refusal::{Code, PlanError};

/// Largest magnitude on a grid, so that no sum over a patient (10^6 rows) or over 2^36 patients wraps an i64.
const LARGEST_GRID: u128 = 1 << 24;

/// Digits after the point that a clamped value may have; with `LARGEST_GRID` every one fits a decimal.
const SCALES: std::ops::RangeInclusive<i8> = 0..=18;

/// An integer of V. Indices are positions in [`Measured::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Needed {
    /// n: patients.
    Patients,
    /// N: rows.
    Rows,
    /// `N_i`: non-null values.
    Count(usize),
    /// `T_i`: sum of clamped values.
    Total(usize),
    /// `S_i`: sum of clamped values minus the middle of their range.
    Centred(usize),
}

/// How an asked aggregate is made of noisy integers. Numbers are positions in [`Measured::needed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A noisy count as it is.
    Count(usize),
    /// `T / 10^scale`.
    Sum { total: usize, scale: i8 },
    /// `(S + m N) / 10^scale`.
    CentredSum { centred: usize, count: usize, range: ClampRange },
    /// `clamp(m + S / max(1, N)) / 10^scale`.
    Mean { centred: usize, count: usize, range: ClampRange },
}

/// What is measured for a list of aggregates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Distinct value expressions, with their range where they are summed.
    pub(crate) values: Vec<(Expr, Option<ClampRange>)>,
    /// Distinct integers, in order of first need.
    pub(crate) needed: Vec<Needed>,
    /// One for each asked aggregate, in order.
    pub(crate) outputs: Vec<Output>,
}

impl ClampRange {
    /// m = floor((L+U)/2).
    pub(crate) fn middle(self) -> i64 {
        (self.low + self.high).div_euclid(2)
    }

    /// h = max(U-m, m-L).
    fn half(self) -> u128 {
        u128::from((self.high - self.middle()).max(self.middle() - self.low).unsigned_abs())
    }

    /// max(|L|, |U|).
    fn magnitude(self) -> u128 {
        u128::from(self.low.unsigned_abs().max(self.high.unsigned_abs()))
    }
}

impl Measured {
    /// Plans the draws. Unknown keys need n for their threshold, shown or not; so does a question without aggregates.
    ///
    /// # Errors
    /// `UNBOUNDED_COLUMN` for a grid whose sums could pass 64 bits.
    pub(crate) fn plan(measures: &[Measure], unknown_keys: bool) -> Result<Self, PlanError> {
        let mut measured = Self::default();
        if unknown_keys || measures.is_empty() {
            measured.need(Needed::Patients);
        }
        // Ranges first, so that COUNT(x) beside SUM(x) counts the same clamped column.
        for measure in measures {
            if let Measure::Sum(x, grid) | Measure::Average(x, grid) = measure {
                let range = clamp_range(*grid)?;
                measured.value(x, Some(range));
            }
        }
        for measure in measures {
            let output = match measure {
                Measure::Patients => Output::Count(measured.need(Needed::Patients)),
                Measure::Rows => Output::Count(measured.need(Needed::Rows)),
                Measure::Values(x) => {
                    let value = measured.value(x, None);
                    Output::Count(measured.need(Needed::Count(value)))
                }
                Measure::Sum(x, grid) => {
                    let range = clamp_range(*grid)?;
                    let value = measured.value(x, Some(range));
                    let centred = range.half().pow(2)
                        + range.middle().unsigned_abs() as u128 * range.middle().unsigned_abs() as u128;
                    let with_mean = measures.iter().any(|m| matches!(m, Measure::Average(y, _) if y == x));
                    if with_mean && centred <= range.magnitude().pow(2) {
                        let (centred, count) =
                            (measured.need(Needed::Centred(value)), measured.need(Needed::Count(value)));
                        Output::CentredSum { centred, count, range }
                    } else {
                        Output::Sum { total: measured.need(Needed::Total(value)), scale: range.scale }
                    }
                }
                Measure::Average(x, grid) => {
                    let range = clamp_range(*grid)?;
                    let value = measured.value(x, Some(range));
                    let (centred, count) = (measured.need(Needed::Centred(value)), measured.need(Needed::Count(value)));
                    Output::Mean { centred, count, range }
                }
            };
            measured.outputs.push(output);
        }
        Ok(measured)
    }

    /// Squared L2 sensitivity D^2 of one needed integer over all groups: G times the square of its bound in one.
    pub(crate) fn d_squared(&self, needed: Needed, rows: u64, groups: u64) -> u128 {
        let range = |index: usize| self.values.get(index).and_then(|value| value.1);
        let in_one_group = match needed {
            Needed::Patients => 1,
            Needed::Rows | Needed::Count(_) => u128::from(rows),
            Needed::Total(i) => u128::from(rows) * range(i).map_or(0, ClampRange::magnitude),
            Needed::Centred(i) => u128::from(rows) * range(i).map_or(0, ClampRange::half),
        };
        // A range of one value (L = U) has a constant centred sum; 1 keeps the mechanism defined and is safe.
        let in_one_group = in_one_group.max(1);
        u128::from(groups) * in_one_group * in_one_group
    }

    fn need(&mut self, needed: Needed) -> usize {
        position_or_push(&mut self.needed, |have| *have == needed, needed)
    }

    fn value(&mut self, x: &Expr, range: Option<ClampRange>) -> usize {
        let index = position_or_push(&mut self.values, |(have, _)| have == x, (x.clone(), range));
        if let Some(value) = self.values.get_mut(index) {
            value.1 = value.1.or(range);
        }
        index
    }
}

fn position_or_push<T>(list: &mut Vec<T>, same: impl Fn(&T) -> bool, item: T) -> usize {
    list.iter().position(same).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

fn clamp_range(grid: Grid) -> Result<ClampRange, PlanError> {
    let too_wide =
        || PlanError::new(Code::UnboundedColumn, "the declared range of the summed expression is too wide to sum");
    let (low, high) =
        (i64::try_from(grid.low).map_err(|_| too_wide())?, i64::try_from(grid.high).map_err(|_| too_wide())?);
    let range = ClampRange { scale: grid.scale, low, high };
    if low > high || range.magnitude() > LARGEST_GRID || !SCALES.contains(&range.scale) {
        Err(too_wide())
    } else {
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_outside_0_to_18_is_refused() {
        for (scale, fits) in [(-1, false), (0, true), (18, true), (19, false), (42, false)] {
            let range = clamp_range(Grid { scale, low: 0, high: 9 });
            assert_eq!(range.is_ok(), fits, "{scale}");
        }
    }
}
