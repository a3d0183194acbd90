//! An epidemic with known truth: COVID-19 through 2020, two waves by week.

use std::collections::BTreeMap;

use epiledger_privacy::day::Day;
use serde::Serialize;

use super::dice::Dice;

/// The condition's code (SNOMED CT, opaque).
pub(crate) const CODE: &str = "840539006";

/// The Monday that begins the first week: 2020-01-06.
const FIRST_MONDAY: Day = Day(18_267);

/// Chance in 100,000 of a case in each week of 2020 for a person in a county of factor 1.
const WEEKLY: [u16; 51] = [
    0, 0, 0, 0, 0, 0, 2, 6, 20, 70, 180, 420, 700, 900, 960, 880, 720, 560, 430, 330, 250, 190, 140, 110, 90, 75, 65,
    60, 60, 60, 62, 65, 68, 72, 80, 95, 115, 140, 175, 220, 280, 360, 450, 560, 680, 800, 900, 960, 1000, 1010, 980,
];

/// A person's case, if there is one: the day it was diagnosed.
pub(super) fn case(dice: &mut Dice, county_factor: f64) -> Option<Day> {
    let mut left = dice.unit() * 100_000.0;
    let day_of_week = dice.between(0, 6);
    for (week, chance) in (0_i32..).zip(WEEKLY) {
        let chance = f64::from(chance) * county_factor;
        if left < chance {
            return Some(Day(FIRST_MONDAY.0 + week * 7 + day_of_week));
        }
        left -= chance;
    }
    None
}

/// Cases of one week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WeekTruth {
    /// Cases on the ledger.
    pub recorded: u64,
    /// Those of them whose patient's consent lets general research read them.
    pub consented: u64,
}

/// The truth: cases by the Monday that begins their week, `YYYY-MM-DD`.
pub type Truth = BTreeMap<String, WeekTruth>;

/// The Monday of a day's week.
pub(super) fn monday(day: Day) -> Day {
    Day(day.0 - day.weekday().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_lie_in_2020() {
        assert_eq!(FIRST_MONDAY.to_string(), "2020-01-06");
        assert_eq!(FIRST_MONDAY.weekday(), 0);
        assert_eq!(monday(Day(FIRST_MONDAY.0 + 6)), FIRST_MONDAY);
        let last = Day(FIRST_MONDAY.0 + 7 * (WEEKLY.len() as i32 - 1) + 6);
        assert_eq!(last.year(), 2020);
    }

    #[test]
    fn cases_follow_the_curve() {
        let mut dice = Dice::new([1; 32]);
        let people = 50_000;
        let cases: Vec<Day> = (0..people).filter_map(|_| case(&mut dice, 1.0)).collect();
        let share: f64 = WEEKLY.iter().map(|w| f64::from(*w) / 100_000.0).sum();
        assert!((cases.len() as f64 / f64::from(people) - share).abs() < 0.01);
        let peak = cases.iter().filter(|d| monday(**d) == Day(FIRST_MONDAY.0 + 7 * 14)).count();
        assert!((350..620).contains(&peak), "{peak}");
    }
}
