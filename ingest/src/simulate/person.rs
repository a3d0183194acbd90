//! Who the simulated people are: place by census share, age, sex, race, and what they agreed to.

use epiledger_privacy::day::Day;

use super::dice::Dice;
use super::epidemic;
use super::{DATA_CUT, FIRST_DAY};
use crate::bundle::Person as PersonRow;
use crate::regions::{COUNTIES, STATE};

/// Illness in each county beside the state's mean, in the order of [`COUNTIES`]: invented, so that maps show something.
const COUNTY_FACTOR: [f64; 14] = [0.9, 1.1, 1.3, 0.7, 1.1, 1.0, 1.4, 0.9, 0.8, 0.6, 0.9, 1.1, 1.2, 1.1];

/// What a person agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// A grant for this purpose, for all categories or for `general` alone.
    Granted {
        /// Purpose.
        purpose: &'static str,
        /// Only the category `general`.
        general_only: bool,
        /// Taken back later.
        revoked: bool,
    },
    /// An explicit no, without any grant.
    Denied,
    /// Never asked.
    None,
}

/// One simulated person.
pub(super) struct Person {
    pub(super) county: usize,
    pub(super) born: Day,
    pub(super) female: bool,
    pub(super) race: &'static str,
    pub(super) hispanic: bool,
    pub(super) zip: String,
    /// First day observed.
    pub(super) start: Day,
    /// Last day observed.
    pub(super) end: Day,
    pub(super) end_reason: &'static str,
    pub(super) consent: Consent,
    /// Day of the epidemic's diagnosis, within the observed days.
    pub(super) case: Option<Day>,
}

impl Person {
    /// Draws a person; who must show a bad record has to agree, or nobody would look at it.
    pub(super) fn draw(dice: &mut Dice, must_consent: bool) -> Self {
        let county = dice.weighted(COUNTIES.iter().map(|(_, _, people, _)| *people as f64));
        // Shares of ten-year age bands in Massachusetts, rounded (US Census Bureau, ACS 2020).
        let band = dice.weighted([10.3, 12.6, 14.5, 13.6, 12.1, 13.7, 12.0, 7.2, 3.3, 0.7].into_iter());
        let age_days = (band as i32) * 3652 + dice.between(0, 3651);
        let born = Day((DATA_CUT.0 - age_days).max(FIRST_DAY.0));
        let race = ["white", "black", "asian", "other", "native", "hawaiian"]
            .into_iter()
            .nth(dice.weighted([71.0, 8.0, 7.5, 12.9, 0.5, 0.1].into_iter()))
            .unwrap_or("other");
        let zip_area = COUNTIES.get(county).map_or("000", |(_, _, _, area)| area);
        let opened = Day(dice.between(Day::parse("2016-01-01").map_or(0, |d| d.0), OPENED_UNTIL));
        let start = born.max(opened);
        let (end, end_reason) = departure(dice, start, born);
        let factor = COUNTY_FACTOR.get(county).copied().unwrap_or(1.0);
        let female = dice.chance(0.512);
        let hispanic = dice.chance(0.126);
        let zip = format!("{zip_area}{:02}", dice.between(1, 79));
        let case = epidemic::case(dice, factor).filter(|day| start <= *day && *day <= end);
        let consent = consent(dice, must_consent);
        Self { county, born, female, race, hispanic, zip, start, end, end_reason, consent, case }
    }

    /// Illness in the person's county beside the state's mean.
    pub(super) fn county_factor(&self) -> f64 {
        COUNTY_FACTOR.get(self.county).copied().unwrap_or(1.0)
    }

    /// The person's county's FIPS code.
    pub(super) fn county_code(&self) -> Option<String> {
        COUNTIES.get(self.county).map(|(code, ..)| (*code).to_owned())
    }

    /// Age in completed years on a day, about.
    pub(super) fn age_on(&self, day: Day) -> f64 {
        f64::from(day.0 - self.born.0) / 365.25
    }

    /// The row that the hospital writes.
    pub(super) fn row(&self) -> PersonRow {
        PersonRow {
            birth_date: Some(self.born.to_string()),
            year_of_birth: None,
            gender: if self.female { "female" } else { "male" }.to_owned(),
            race: self.race.to_owned(),
            ethnicity: if self.hispanic { "hispanic" } else { "nonhispanic" }.to_owned(),
            state: Some(STATE.0.to_owned()),
            county: self.county_code(),
            zip: Some(self.zip.clone()),
        }
    }
}

/// Last day on which somebody's observation begins, 2020-06-30.
const OPENED_UNTIL: i32 = 18_443;

/// When and why observation ends.
fn departure(dice: &mut Dice, start: Day, born: Day) -> (Day, &'static str) {
    let age = f64::from(DATA_CUT.0 - born.0) / 365.25;
    let dies = 0.004 + if age > 60.0 { (age - 60.0) * 0.006 } else { 0.0 };
    let earliest = start.0 + 180;
    if earliest < DATA_CUT.0 {
        if dice.chance(dies) {
            return (Day(dice.between(earliest, DATA_CUT.0)), "died");
        }
        if dice.chance(0.04) {
            return (Day(dice.between(earliest, DATA_CUT.0 - 1)), "moved");
        }
    }
    (DATA_CUT, "data_cut")
}

fn consent(dice: &mut Dice, must: bool) -> Consent {
    let draw = dice.unit();
    let general_only = dice.chance(0.05);
    let revoked = dice.chance(0.022);
    if must {
        return Consent::Granted { purpose: "GRU", general_only: false, revoked: false };
    }
    // 92 in 100 grant: 72 anything, 14 health research, 6 one disease; 4 say no, 4 were never asked.
    let purpose = match draw {
        d if d < 0.72 => "GRU",
        d if d < 0.86 => "HMB",
        d if d < 0.92 => "DS",
        d if d < 0.96 => return Consent::Denied,
        _ => return Consent::None,
    };
    Consent::Granted { purpose, general_only, revoked }
}
