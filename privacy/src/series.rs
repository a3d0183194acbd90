//! Series for dashboards: one question about fixed periods, each patient counted once over all of them, one price.
//!
//! A series is opened over a horizon of weeks or months and paid for once. Each cut closes some periods, by the calendar
//! alone ([`SeriesTerms::closed`]); their counts leave, with the opening's noise, and cost nothing more: see
//! `mechanism.md`, claim 9. The ledger changes between cuts, so what keeps a patient in one period at most is not the
//! question but a set: who was counted is written down before a window's outcome is, and is not counted again.
//! The set is private. It lies outside of the core, which has no files, behind [`Counted`].

mod book;

use std::io;

use datafusion::{arrow::datatypes::DataType, common::ScalarValue};
use epiledger_ledger::entry::SeriesTerms;
use sha2::{Digest, Sha256};

pub use book::{Book, Series, Taken};

use crate::{
    day::Day,
    refusal::{Code, PlanError},
};

/// The periods that a plan of a series releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The series' periods.
    pub terms: SeriesTerms,
    /// First day of the window.
    pub from: String,
    /// First day after it.
    pub to: String,
}

impl Window {
    /// What a cut at this instant closes from a day on; None when the terms are no whole periods.
    #[must_use]
    pub fn at(terms: &SeriesTerms, from: &str, cut_at: &str) -> Option<Self> {
        Some(Self { terms: terms.clone(), from: from.to_owned(), to: terms.closed(cut_at)? })
    }

    /// First day, and the first one after it, as numbers.
    pub(crate) fn days(&self) -> Option<(i32, i32)> {
        Some((Day::parse(&self.from)?.0, Day::parse(&self.to)?.0))
    }

    /// The window's cells, in order, of a question in which a patient is in one group and whose public cells within the
    /// horizon are its periods, up to the end of what the catalog declares: the horizon may go on, into days to come.
    pub(crate) fn cells(
        &self,
        declared: Option<Vec<Vec<ScalarValue>>>,
        one_group: bool,
    ) -> Result<Vec<Vec<ScalarValue>>, PlanError> {
        let refused = |words: &str| PlanError::new(Code::InvalidGrouping, words.to_owned());
        if !one_group {
            return Err(refused(
                "a patient could be in several periods: count by a first date, found by person_id below",
            ));
        }
        let mut days = self.terms.days().ok_or_else(|| refused("the horizon is no whole periods"))?;
        days.pop();
        let declared = declared.unwrap_or_default();
        let within = declared.iter().filter_map(|cell| match cell.first()?.cast_to(&DataType::Date32) {
            Ok(ScalarValue::Date32(Some(day))) if cell.len() == 1 => Some(Day(day).to_string()),
            _ => None,
        });
        let within: Vec<String> = within.filter(|day| self.terms.from <= *day && *day < self.terms.to).collect();
        let of = declared.first().and_then(|cell| cell.first()).map(ScalarValue::data_type);
        let (Some(of), false, true) = (of, within.is_empty(), days.starts_with(&within)) else {
            return Err(refused(
                "a series has one key, the week or month of a date, and begins within that date's range",
            ));
        };
        let cell = |day: &String| {
            let day = Day::parse(day).map(|day| ScalarValue::Date32(Some(day.0)));
            let cell = day.and_then(|day| day.cast_to(&of).ok());
            cell.map(|cell| vec![cell]).ok_or_else(|| refused("a series has one key, the week or month of a date"))
        };
        days.iter().filter(|day| self.from <= **day && **day < self.to).map(cell).collect()
    }
}

/// Where it is written whom a series has counted. A name is the statement's id of the opening or of a window.
pub trait Counted: Send + Sync {
    /// Keeps what a window counted: durable, and whole or not there, when this returns.
    ///
    /// # Errors
    /// The disk's.
    fn put(&self, series: &str, window: &str, content: &[u8]) -> io::Result<()>;

    /// What was kept for a window; None when nothing was.
    ///
    /// # Errors
    /// The disk's.
    fn get(&self, series: &str, window: &str) -> io::Result<Option<Vec<u8>>>;

    /// Was something kept for a window? Nothing of it is read.
    ///
    /// # Errors
    /// The disk's.
    fn has(&self, series: &str, window: &str) -> io::Result<bool>;
}

fn digest(series: &str, window: &str, units: &[u8]) -> [u8; 32] {
    Sha256::digest([format!("epiledger-counted/1\n{series}\n{window}\n").as_bytes(), units].concat()).into()
}

/// Units, eight bytes each, and a hash over them and the names.
pub(crate) fn written(series: &str, window: &str, units: &[i64]) -> Vec<u8> {
    let units: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let digest = digest(series, window, &units);
    [&units[..], &digest].concat()
}

/// The units of [`written`]; None for any other bytes.
pub(crate) fn read(series: &str, window: &str, content: &[u8]) -> Option<Vec<i64>> {
    let (units, hash) = content.split_last_chunk::<32>()?;
    let (units, rest) = units.as_chunks::<8>();
    (rest.is_empty() && digest(series, window, units.as_flattened()) == *hash)
        .then(|| units.iter().map(|unit| i64::from_le_bytes(*unit)).collect())
}

#[cfg(test)]
mod tests {
    use epiledger_ledger::entry::Period;

    use super::*;

    #[test]
    fn what_was_counted_reads_back_under_its_own_name_alone() {
        let units = [i64::MIN, -1, 0, 7, i64::MAX];
        let content = written("a", "b", &units);
        assert_eq!(read("a", "b", &content).unwrap(), units);
        assert_eq!(read("a", "b", &written("a", "b", &[])).unwrap(), Vec::<i64>::new());
        for (series, window) in [("a", "c"), ("b", "a"), ("a\nb", "")] {
            assert_eq!(read(series, window, &content), None);
        }
        for at in 0..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 1;
            assert_eq!(read("a", "b", &changed), None, "byte {at}");
            assert_eq!(read("a", "b", &content[..at]), None, "cut to {at}");
        }
    }

    #[test]
    fn a_windows_cells_are_its_periods_and_the_horizon_may_go_on_past_the_declared_range() {
        let day = |text: &str| Day::parse(text).unwrap().0;
        let cells = |days: &[&str]| {
            Some(days.iter().map(|text| vec![ScalarValue::Date32(Some(day(text)))]).collect::<Vec<_>>())
        };
        let window = |from: &str, to: &str| {
            let (period, horizon) = (Period::Month, ["2020-01-01", "2020-04-01"].map(str::to_owned));
            let [first, last] = horizon;
            let terms = SeriesTerms { period, from: first, to: last, lag: 0 };
            Window { terms, from: from.into(), to: to.into() }
        };
        let months = cells(&["2019-12-01", "2020-01-01", "2020-02-01", "2020-03-01", "2020-04-01"]);
        let got = window("2020-02-01", "2020-04-01").cells(months.clone(), true).unwrap();
        assert_eq!(Some(got), cells(&["2020-02-01", "2020-03-01"]));
        assert_eq!(
            window("2020-01-01", "2020-01-01").cells(months.clone(), true).unwrap(),
            Vec::<Vec<ScalarValue>>::new()
        );
        let got = window("2020-02-01", "2020-04-01").cells(cells(&["2019-12-01", "2020-01-01"]), true).unwrap();
        assert_eq!(Some(got), cells(&["2020-02-01", "2020-03-01"]));
        let two = Some(vec![vec![ScalarValue::Date32(Some(day("2020-01-01"))), ScalarValue::from("x")]]);
        for wrong in [
            None,
            two,
            cells(&[]),
            cells(&["2019-12-01", "2020-04-01"]),
            cells(&["2020-02-01", "2020-03-01"]),
            cells(&["2020-01-01", "2020-01-15", "2020-02-01", "2020-03-01"]),
        ] {
            assert!(window("2020-01-01", "2020-02-01").cells(wrong.clone(), true).is_err(), "{wrong:?}");
        }
        assert!(window("2020-01-01", "2020-02-01").cells(months, false).is_err());
    }
}
