//! From the aggregates that are asked to the integers of V and the draws on them: each distinct one once.
//!
//! The integers are defined here and in `integer.rs` and `values.rs`; whatever computes V computes these.

use datafusion::prelude::Expr;

use super::{
    integer::ClampRange,
    lineage::Grid,
    total::{Measure, Spread, Values},
    values::Candidates,
};
use crate::{
    quantile::{End, Quantile},
    refusal::{Code, PlanError},
};

/// Largest magnitude on a grid, so that no sum over a patient (10^6 rows) wraps an i64.
const LARGEST_GRID: u128 = 1 << 24;

/// Largest sum over all patients that the catalog declares: past it a question is refused.
const LARGEST_SUM: u128 = 1 << 62;

/// D: most distinct values of one patient in one group.
const DISTINCT_VALUES: u64 = 64;

/// Most products of cells and candidates over all selections of a question.
const LARGEST_SELECTION: u64 = 2_000_000;

/// Most candidates of one quantile.
const MOST_CANDIDATES: u64 = 1_000;

/// Fewest candidates: a coarser grid would say next to nothing.
const FEWEST_CANDIDATES: u64 = 20;

/// Digits after the point that a clamped value may have; with `LARGEST_GRID` every one fits a decimal.
const SCALES: std::ops::RangeInclusive<i8> = 0..=18;

/// A column of V. Indices are positions in [`Measured::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Needed {
    /// n: patients.
    Patients,
    /// `n_i`: patients with a value.
    Having(usize),
    /// N: rows.
    Rows,
    /// `N_i`: non-null values.
    Count(usize),
    /// `T_i`: sum of clamped values.
    Total(usize),
    /// `S_i`: sum of clamped values minus the middle of their range.
    Centred(usize),
    /// `Q_i`: sum of [`ClampRange::square`].
    Squares(usize),
    /// `E_i`: distinct values, at most `limit` (D) of one patient.
    Distinct { value: usize, limit: u64 },
    /// `M_i`: one candidate of each patient, the lower median of theirs.
    Medians { value: usize, candidates: Candidates },
}

/// One draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    /// Noise on each cell of this column of V.
    Noisy(usize),
    /// One candidate in each cell, from the values of this column of V.
    Selected { column: usize, quantile: Quantile, end: End, candidates: Candidates },
}

impl Drawn {
    /// The column of V that it reads.
    pub(crate) const fn column(self) -> usize {
        match self {
            Self::Noisy(column) | Self::Selected { column, .. } => column,
        }
    }
}

/// How an asked aggregate is made of draws. Numbers are positions in [`Measured::drawn`].
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
    /// `clamp(w (Q/N + floor(H/2)) - (S/N)^2, 0, h^2)`, see [`ClampRange::variance`].
    Variance { squares: usize, centred: usize, count: usize, range: ClampRange, spread: Spread },
    /// The candidate of `middle`, with an interval from `low` to `high`.
    Quantile { middle: usize, low: usize, high: usize, candidates: Candidates },
}

/// What the plan says of the size of a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// R.
    pub(crate) rows: u64,
    /// G.
    pub(crate) groups: u64,
    /// Declared number of patients.
    pub(crate) patients: u64,
    /// Public cells; None for unknown keys.
    pub(crate) cells: Option<u64>,
    /// Fewest patients behind an unknown key.
    pub(crate) k_min: u64,
}

impl Size {
    /// Most cells that are released: an unknown key has `k_min` patients, and a patient has G keys.
    fn most_cells(&self) -> u128 {
        let unknown = u128::from(self.patients) * u128::from(self.groups) / u128::from(self.k_min.max(1));
        self.cells.map_or(unknown, u128::from).max(1)
    }
}

/// What is measured for a list of aggregates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Distinct value expressions, with their range where they are clamped.
    pub(crate) values: Vec<(Expr, Option<ClampRange>)>,
    /// Columns of V, in order of first need.
    pub(crate) needed: Vec<Needed>,
    /// Distinct draws, in order of first need.
    pub(crate) drawn: Vec<Drawn>,
    /// One for each asked aggregate, in order.
    pub(crate) outputs: Vec<Output>,
}

impl Measured {
    /// Plans the draws. Unknown keys need n for their threshold, shown or not; so does a question without aggregates.
    ///
    /// # Errors
    /// `UNBOUNDED_COLUMN` for a grid whose sums could pass 64 bits, `TOO_MANY_CELLS` for quantiles over too many.
    pub(crate) fn plan(measures: &[Measure], size: &Size) -> Result<Self, PlanError> {
        let mut measured = Self::default();
        if size.cells.is_none() || measures.is_empty() {
            measured.noisy(Needed::Patients);
        }
        // Ranges first, so that COUNT(x) beside SUM(x) counts the same clamped column.
        for measure in measures {
            if let Some((x, grid)) = measure.ranged() {
                let range = clamp_range(grid)?;
                measured.value(x, Some(range));
            }
        }
        let most = most_candidates(measures, size);
        for measure in measures {
            let output = measured.output(measure, measures, most, size.rows)?;
            measured.outputs.push(output);
        }
        let fits = |drawn: &Drawn| u128::from(size.patients) * measured.in_one_group(*drawn, size.rows) < LARGEST_SUM;
        if measured.drawn.iter().all(fits) { Ok(measured) } else { Err(too_wide()) }
    }

    fn output(&mut self, measure: &Measure, all: &[Measure], most: u64, rows: u64) -> Result<Output, PlanError> {
        Ok(match measure {
            Measure::Patients => Output::Count(self.noisy(Needed::Patients)),
            Measure::Rows => Output::Count(self.noisy(Needed::Rows)),
            Measure::PatientsWith(x) => {
                let value = self.value(x, None);
                Output::Count(self.noisy(Needed::Having(value)))
            }
            Measure::Values(x) => {
                let value = self.value(x, None);
                Output::Count(self.noisy(Needed::Count(value)))
            }
            Measure::Distinct(x, values) => {
                // The values as they are: clamped ones would fall together.
                let value = position_or_push(&mut self.values, (x.clone(), None));
                // So many rows count, and so many values.
                let limit = if *values == Values::One { 1 } else { rows.clamp(1, DISTINCT_VALUES) };
                Output::Count(self.noisy(Needed::Distinct { value, limit }))
            }
            Measure::Sum(x, grid) => {
                let range = clamp_range(*grid)?;
                let value = self.value(x, Some(range));
                if all.iter().any(|other| other.counts(x)) && range.centred_is_finer() {
                    let (centred, count) = self.centred(value);
                    Output::CentredSum { centred, count, range }
                } else {
                    Output::Sum { total: self.noisy(Needed::Total(value)), scale: range.scale }
                }
            }
            Measure::Average(x, grid) => {
                let range = clamp_range(*grid)?;
                let value = self.value(x, Some(range));
                let (centred, count) = self.centred(value);
                Output::Mean { centred, count, range }
            }
            Measure::Variance(x, grid, spread) => {
                let range = clamp_range(*grid)?;
                let value = self.value(x, Some(range));
                let squares = self.noisy(Needed::Squares(value));
                let (centred, count) = self.centred(value);
                Output::Variance { squares, centred, count, range, spread: *spread }
            }
            Measure::Quantile(x, grid, quantile) => {
                let range = clamp_range(*grid)?;
                let value = self.value(x, Some(range));
                let candidates = Candidates::of(range, most.max(FEWEST_CANDIDATES));
                if candidates.count > most {
                    let words = format!("quantiles in so many groups leave {most} candidates to each");
                    return Err(PlanError::new(Code::TooManyCells, words));
                }
                let column = position_or_push(&mut self.needed, Needed::Medians { value, candidates });
                let mut select = |end| {
                    let drawn = Drawn::Selected { column, quantile: *quantile, end, candidates };
                    position_or_push(&mut self.drawn, drawn)
                };
                let (middle, low, high) = (select(End::Middle), select(End::Low), select(End::High));
                Output::Quantile { middle, low, high, candidates }
            }
        })
    }

    fn centred(&mut self, value: usize) -> (usize, usize) {
        (self.noisy(Needed::Centred(value)), self.noisy(Needed::Count(value)))
    }

    /// What one patient changes at most in one group: a draw's integer, or the score of a candidate.
    fn in_one_group(&self, drawn: Drawn, rows: u64) -> u128 {
        let range = |index: usize| self.values.get(index).and_then(|value| value.1);
        let rows = u128::from(rows);
        let most = match drawn {
            Drawn::Selected { quantile, .. } => u128::from(quantile.change()),
            Drawn::Noisy(column) => match self.needed.get(column) {
                Some(Needed::Patients | Needed::Having(_)) => 1,
                Some(Needed::Rows | Needed::Count(_)) => rows,
                Some(Needed::Total(i)) => rows * range(*i).map_or(0, ClampRange::magnitude),
                Some(Needed::Centred(i)) => rows * range(*i).map_or(0, ClampRange::half),
                Some(Needed::Squares(i)) => rows * range(*i).map_or(0, ClampRange::largest_square),
                Some(Needed::Distinct { limit, .. }) => u128::from(*limit),
                // Only selected from; without a bound nothing is drawn.
                Some(Needed::Medians { .. }) | None => u128::MAX >> 64,
            },
        };
        // A range of one value (L = U) has a constant centred sum; 1 keeps the mechanism defined and is safe.
        most.max(1)
    }

    /// Squared L2 sensitivity D^2 of a draw over all groups: G times the square of its bound in one.
    pub(crate) fn d_squared(&self, drawn: Drawn, size: &Size) -> u128 {
        let in_one_group = self.in_one_group(drawn, size.rows);
        u128::from(size.groups).saturating_mul(in_one_group.saturating_mul(in_one_group))
    }

    /// Products of cells and candidates over all choices.
    pub(crate) fn choices(&self, size: &Size) -> u64 {
        let candidates = |drawn: &Drawn| match drawn {
            Drawn::Selected { candidates, .. } => candidates.count,
            Drawn::Noisy(_) => 0,
        };
        let products = size.most_cells().saturating_mul(self.drawn.iter().map(candidates).sum::<u64>().into());
        u64::try_from(products).unwrap_or(u64::MAX)
    }

    /// What a draw measures, in words, and the digits of its grid after the point.
    pub(crate) fn describe(&self, drawn: Drawn) -> (String, i8) {
        let value = |index: usize| self.values.get(index);
        let name = |index: usize| value(index).map_or_else(String::new, |v| v.0.schema_name().to_string());
        let range = |index: usize| value(index).and_then(|v| v.1);
        let scale = |index: usize| range(index).map_or(0, |range| range.scale);
        match (drawn, self.needed.get(drawn.column())) {
            (Drawn::Selected { quantile, end, .. }, Some(Needed::Medians { value, .. })) => {
                let end = match end {
                    End::Middle => "",
                    End::Low => "low end of the ",
                    End::High => "high end of the ",
                };
                (format!("{end}{} quantile of {}", quantile.share(), name(*value)), scale(*value))
            }
            (_, Some(needed)) => match needed {
                Needed::Patients => ("patients".to_owned(), 0),
                Needed::Having(i) => (format!("patients with {}", name(*i)), 0),
                Needed::Rows => ("rows".to_owned(), 0),
                Needed::Count(i) => (format!("count of {}", name(*i)), 0),
                Needed::Total(i) => (format!("sum of {}", name(*i)), scale(*i)),
                Needed::Centred(i) => (format!("centred sum of {}", name(*i)), scale(*i)),
                Needed::Squares(i) => {
                    let unit = range(*i).map_or(1, ClampRange::square_unit);
                    let unit = if unit == 1 { String::new() } else { format!(" in {unit} squared grid units") };
                    (format!("centred squares of {}{unit}", name(*i)), scale(*i).saturating_mul(2))
                }
                Needed::Distinct { value, .. } => (format!("distinct values of {}", name(*value)), 0),
                Needed::Medians { value, .. } => (format!("patients' medians of {}", name(*value)), scale(*value)),
            },
            (_, None) => (String::new(), 0),
        }
    }

    fn noisy(&mut self, needed: Needed) -> usize {
        let column = position_or_push(&mut self.needed, needed);
        position_or_push(&mut self.drawn, Drawn::Noisy(column))
    }

    fn value(&mut self, x: &Expr, range: Option<ClampRange>) -> usize {
        let same = |(have, of): &(Expr, Option<ClampRange>)| have == x && (range.is_none() || *of == range);
        self.values.iter().position(same).unwrap_or_else(|| {
            self.values.push((x.clone(), range));
            self.values.len() - 1
        })
    }
}

/// Most candidates of each quantile, so that all selections stay within their limit.
fn most_candidates(measures: &[Measure], size: &Size) -> u64 {
    let mut quantiles: Vec<&Measure> = Vec::new();
    for measure in measures {
        if matches!(measure, Measure::Quantile(..)) && !quantiles.contains(&measure) {
            quantiles.push(measure);
        }
    }
    let selections = size.most_cells().saturating_mul(End::ALL.len() as u128 * quantiles.len().max(1) as u128);
    u64::try_from(u128::from(LARGEST_SELECTION) / selections).map_or(0, |most| most.min(MOST_CANDIDATES))
}

fn position_or_push<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|have| *have == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

fn too_wide() -> PlanError {
    PlanError::new(Code::UnboundedColumn, "the declared range of the summed expression is too wide to sum")
}

fn clamp_range(grid: Grid) -> Result<ClampRange, PlanError> {
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
