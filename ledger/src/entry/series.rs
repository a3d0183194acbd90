//! A series: one question about fixed periods, paid once, whose numbers leave window by window as periods close.
//!
//! Which periods a cut closes follows from the calendar alone: no window is anyone's choice, so none tells anything.

use serde::{Deserialize, Serialize};

use crate::verify::day::{day_of, is_day};

/// Most periods of a series.
const MOST_PERIODS: usize = 1_000;

/// Longest wait after a period's end, in days.
const LONGEST_LAG: u32 = 3_650;

/// What a series counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// Monday to Sunday.
    Week,
    /// A month of the calendar.
    Month,
}

/// The periods that a series is about, fixed when it is opened. Days are `YYYY-MM-DD`, from 1970 on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesTerms {
    /// How long each period is.
    pub period: Period,
    /// First day of the first period.
    pub from: String,
    /// First day after the last period: the end of the horizon.
    pub to: String,
    /// Days after a period's last day on which it is closed: what is recorded later is not counted.
    pub lag: u32,
}

/// Which periods a paid question releases, and the series that they are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesWindow {
    /// Log index of the intent that opened the series and paid for all of it; null in that intent itself.
    pub opened: Option<u64>,
    /// SHA-256(the salt of `sql_commit` || the canonical plan without its cut): the same in every window of a series.
    pub plan: String,
    /// The same in every window of a series.
    pub terms: SeriesTerms,
    /// First day of the window: the end of the one before it.
    pub from: String,
    /// First day after it: [`SeriesTerms::closed`] of its snapshot. Equal to `from` in an opening before any period is
    /// closed.
    pub to: String,
}

impl SeriesTerms {
    /// First day of every period, and the first day after them all; None when they are no whole periods, or too many.
    #[must_use]
    pub fn days(&self) -> Option<Vec<String>> {
        let (mut day, end) = (number(&self.from)?, number(&self.to)?);
        let starts = match self.period {
            Period::Week => (day + 3) % 7 == 0,
            Period::Month => self.from.ends_with("-01"),
        };
        if !starts || day >= end || self.lag > LONGEST_LAG {
            return None;
        }
        let mut days = vec![self.from.clone()];
        while day < end && days.len() <= MOST_PERIODS {
            day = self.next(day);
            days.push(text(day));
        }
        (day == end).then_some(days)
    }

    /// First day of the first period that a cut at this instant (`YYYY-MM-DDT..`) leaves open; the horizon's end when
    /// it closes all. None as in [`Self::days`].
    #[must_use]
    pub fn closed(&self, cut_at: &str) -> Option<String> {
        let cut = cut_at.get(..10).filter(|day| number(day).is_some())?;
        let days = self.days()?;
        let open = days.iter().skip(1).take_while(|end| self.closes(end).is_some_and(|day| *day <= *cut)).count();
        days.get(open).cloned()
    }

    /// The day whose cut closes the period that ends before `end`.
    #[must_use]
    pub fn closes(&self, end: &str) -> Option<String> {
        Some(text(number(end)? + u64::from(self.lag)))
    }

    /// First day of the period after the one that begins on `day`.
    fn next(&self, day: u64) -> u64 {
        match self.period {
            Period::Week => day + 7,
            Period::Month => (day + 28..=day + 31).find(|next| text(*next).ends_with("-01")).unwrap_or(day + 31),
        }
    }
}

/// Days since 1970-01-01; None for what is no day.
fn number(day: &str) -> Option<u64> {
    if !is_day(day) {
        return None;
    }
    let part = |at: std::ops::Range<usize>| day.get(at)?.parse::<u64>().ok();
    let (year, month, of_month) = (part(0..4)?, part(5..7)?, part(8..10)?);
    if year < 1970 {
        return None;
    }
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let shifted = year - u64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + of_month.checked_sub(1)?;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    days.checked_sub(719_468).filter(|days| text(*days) == day)
}

fn text(day: u64) -> String {
    day_of(day * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(period: Period, from: &str, to: &str, lag: u32) -> SeriesTerms {
        SeriesTerms { period, from: from.into(), to: to.into(), lag }
    }

    #[test]
    fn every_day_has_its_number_and_no_other_text_has_one() {
        for day in 0..60_000 {
            assert_eq!(number(&text(day)), Some(day));
        }
        for wrong in ["2021-02-29", "2021-13-01", "2021-00-10", "2021-01-00", "1969-12-31", "2021-1-1", ""] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_horizon_is_whole_periods() {
        let weeks = terms(Period::Week, "2020-03-02", "2020-03-16", 0);
        assert_eq!(weeks.days().unwrap(), ["2020-03-02", "2020-03-09", "2020-03-16"]);
        let months = terms(Period::Month, "2019-12-01", "2020-04-01", 0);
        assert_eq!(months.days().unwrap(), ["2019-12-01", "2020-01-01", "2020-02-01", "2020-03-01", "2020-04-01"]);
        for wrong in [
            terms(Period::Week, "2020-03-03", "2020-03-17", 0),
            terms(Period::Week, "2020-03-02", "2020-03-15", 0),
            terms(Period::Week, "2020-03-02", "2020-03-02", 0),
            terms(Period::Week, "2020-03-16", "2020-03-02", 0),
            terms(Period::Week, "1990-01-01", "2020-03-02", 0),
            terms(Period::Month, "2020-03-02", "2020-04-01", 0),
            terms(Period::Month, "2020-03-01", "2020-04-02", 0),
            terms(Period::Month, "2020-03-01", "2020-04-01", 3_651),
        ] {
            assert_eq!(wrong.days(), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_cut_closes_what_ended_its_lag_before() {
        let weeks = terms(Period::Week, "2020-03-02", "2020-03-23", 7);
        for (cut, closed) in [
            ("2020-01-01T03:00Z", "2020-03-02"),
            ("2020-03-15T23:59Z", "2020-03-02"),
            ("2020-03-16T00:00Z", "2020-03-09"),
            ("2020-03-23T03:00Z", "2020-03-16"),
            ("2020-03-30T03:00Z", "2020-03-23"),
            ("2029-03-30T03:00Z", "2020-03-23"),
        ] {
            assert_eq!(weeks.closed(cut).as_deref(), Some(closed), "{cut}");
        }
        assert_eq!(weeks.closed("soon"), None);
    }
}
