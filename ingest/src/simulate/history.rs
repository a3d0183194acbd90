//! What happened to a simulated person: visits, conditions by age and place, prescriptions, measurements, procedures.
//!
//! Codes are SNOMED CT, RxNorm, CVX and LOINC identifiers, opaque here.

use epiledger_privacy::day::Day;

use super::dice::Dice;
use super::epidemic;
use super::person::Person;
use crate::bundle::{Bundle, Condition, Drug, Measurement, Procedure, Visit};

/// A lasting condition: code, age at which half of those who ever get it have it, share of people who ever get it,
/// factor for women, whether the county's factor applies, and a drug that goes with it.
struct Lasting {
    code: &'static str,
    half_age: f64,
    share: f64,
    women: f64,
    by_place: bool,
    drug: Option<&'static str>,
}

const LASTING: [Lasting; 12] = [
    Lasting { code: "59621000", half_age: 55.0, share: 0.55, women: 0.95, by_place: true, drug: Some("314076") },
    Lasting { code: "44054006", half_age: 58.0, share: 0.20, women: 0.85, by_place: true, drug: Some("860975") },
    Lasting { code: "55822004", half_age: 56.0, share: 0.40, women: 0.95, by_place: false, drug: Some("312961") },
    Lasting { code: "53741008", half_age: 70.0, share: 0.18, women: 0.65, by_place: true, drug: Some("309362") },
    Lasting { code: "49436004", half_age: 76.0, share: 0.12, women: 0.8, by_place: false, drug: Some("855332") },
    Lasting { code: "88805009", half_age: 78.0, share: 0.10, women: 0.9, by_place: true, drug: Some("310429") },
    Lasting { code: "431855005", half_age: 72.0, share: 0.14, women: 1.05, by_place: false, drug: None },
    Lasting { code: "230690007", half_age: 76.0, share: 0.07, women: 1.0, by_place: true, drug: None },
    Lasting { code: "13645005", half_age: 66.0, share: 0.11, women: 1.0, by_place: true, drug: Some("896188") },
    Lasting { code: "195967001", half_age: 14.0, share: 0.10, women: 1.1, by_place: true, drug: Some("745679") },
    Lasting { code: "162864005", half_age: 34.0, share: 0.28, women: 1.0, by_place: true, drug: None },
    Lasting { code: "239873007", half_age: 62.0, share: 0.22, women: 1.2, by_place: false, drug: Some("849574") },
];

/// Short illnesses: code, cases a year, days, a drug.
const SHORT: [(&str, f64, i32, Option<&str>); 6] = [
    ("444814009", 0.12, 14, None),
    ("195662009", 0.09, 10, Some("834061")),
    ("10509002", 0.06, 14, Some("1049221")),
    ("6142004", 0.05, 9, Some("261315")),
    ("65363002", 0.03, 12, Some("308192")),
    ("197927001", 0.03, 7, Some("564666")),
];

/// What makes the second bundle private to a category: depression, with its visit and drug.
const DEPRESSION: (&str, &str) = ("370143000", "312938");

const SNOMED: &str = "SNOMED";

/// A person's history; the second bundle, if any, belongs to the category `mental_health`.
pub(super) fn history(dice: &mut Dice, person: &Person) -> (Bundle, Option<Bundle>) {
    let mut events = Events { bundle: Bundle::default(), person };
    events.lasting(dice);
    events.short(dice);
    events.checkups(dice);
    if let Some(day) = person.case {
        events.covid(dice, day);
    }
    events.vaccination(dice);
    let mental = (person.age_on(person.end) > 14.0 && dice.chance(if person.female { 0.13 } else { 0.08 }))
        .then(|| mental_health(dice, person));
    (events.bundle, mental)
}

struct Events<'a> {
    bundle: Bundle,
    person: &'a Person,
}

impl Events<'_> {
    /// A day within the observed ones.
    fn any_day(&self, dice: &mut Dice) -> Day {
        Day(dice.between(self.person.start.0, self.person.end.0))
    }

    /// A day some days later, if still observed.
    fn later(&self, day: Day, days: i32) -> Option<String> {
        (day.0 + days <= self.person.end.0).then(|| Day(day.0 + days).to_string())
    }

    /// Adds a visit; its number in the bundle.
    fn visit(&mut self, kind: &'static str, day: Day, days: i32) -> Option<i64> {
        let number = i64::try_from(self.bundle.visit_occurrence.len()).ok()?;
        self.bundle.visit_occurrence.push(Visit {
            visit: number,
            visit_source_value: kind,
            visit_start_date: day.to_string(),
            visit_end_date: self.later(day, days),
            care_site_region: self.person.county_code(),
        });
        Some(number)
    }

    fn condition(&mut self, visit: Option<i64>, code: &str, day: Day, days: Option<i32>) {
        self.bundle.condition_occurrence.push(Condition {
            visit,
            condition_source_value: code.to_owned(),
            condition_source_vocabulary: SNOMED,
            condition_category: None,
            condition_start_date: day.to_string(),
            condition_end_date: days.and_then(|d| self.later(day, d)),
        });
    }

    fn drug(&mut self, visit: Option<i64>, code: &str, day: Day, days: i32) {
        self.bundle.drug_exposure.push(Drug {
            visit,
            drug_source_value: code.to_owned(),
            drug_source_vocabulary: "RxNorm",
            drug_exposure_start_date: day.to_string(),
            drug_exposure_end_date: self.later(day, days),
            quantity: Some(days.to_string()),
            days_supply: Some(i64::from(days)),
            lot_number: None,
        });
    }

    fn measure(&mut self, visit: Option<i64>, code: &str, day: Day, value: f64, unit: &str) {
        self.bundle.measurement.push(Measurement {
            visit,
            measurement_source_value: code.to_owned(),
            measurement_source_vocabulary: "LOINC",
            measurement_date: day.to_string(),
            value_as_number: Some(format!("{value:.1}")),
            value_as_string: None,
            unit_source_value: Some(unit.to_owned()),
        });
    }

    fn lasting(&mut self, dice: &mut Dice) {
        for kind in &LASTING {
            let age = self.person.age_on(self.person.end);
            let place = if kind.by_place { self.person.county_factor() } else { 1.0 };
            let sex = if self.person.female { kind.women } else { 1.0 };
            let risk = kind.share * place * sex / (1.0 + ((kind.half_age - age) / 8.0).exp());
            // The draw is made for everybody, so that each risk leaves the others' draws alone.
            if !dice.chance(risk.min(0.95)) {
                continue;
            }
            let day = self.any_day(dice);
            let visit = self.visit("AMB", day, 0);
            self.condition(visit, kind.code, day, None);
            if let Some(drug) = kind.drug {
                self.drug(visit, drug, day, 90);
                if dice.chance(0.6) {
                    let renewed = Day((day.0 + 90).min(self.person.end.0));
                    let visit = self.visit("AMB", renewed, 0);
                    self.drug(visit, drug, renewed, 90);
                }
            }
            if kind.code == "44054006" {
                let value = dice.around(7.4, 0.9);
                self.measure(visit, "4548-4", day, value, "%");
            }
        }
    }

    fn short(&mut self, dice: &mut Dice) {
        let years = f64::from(self.person.end.0 - self.person.start.0) / 365.25;
        for (code, yearly, days, drug) in SHORT {
            for _ in 0..dice.poisson(yearly * years, 5) {
                let day = self.any_day(dice);
                let kind = if dice.chance(0.08) { "EMER" } else { "AMB" };
                let visit = self.visit(kind, day, 0);
                self.condition(visit, code, day, Some(days));
                if let Some(drug) = drug.filter(|_| dice.chance(0.7)) {
                    self.drug(visit, drug, day, days.min(10));
                }
            }
        }
    }

    fn checkups(&mut self, dice: &mut Dice) {
        let years = f64::from(self.person.end.0 - self.person.start.0) / 365.25;
        for _ in 0..dice.poisson(years * 0.45, 8) {
            let day = self.any_day(dice);
            let age = self.person.age_on(day);
            let visit = self.visit("AMB", day, 0);
            self.bundle.procedure_occurrence.push(Procedure {
                visit,
                procedure_source_value: "162673000".to_owned(),
                procedure_source_vocabulary: SNOMED,
                procedure_date: day.to_string(),
            });
            let sex = if self.person.female { -3.0 } else { 2.0 };
            let systolic = dice.around(102.0 + age.min(80.0) * 0.42 + sex, 11.0).clamp(75.0, 220.0);
            self.measure(visit, "8480-6", day, systolic, "mm[Hg]");
            let diastolic = dice.around(62.0 + age.min(60.0) * 0.28, 8.0).clamp(40.0, 130.0);
            self.measure(visit, "8462-4", day, diastolic, "mm[Hg]");
            let bmi = dice.around(19.0 + age.min(50.0) * 0.17, 3.8).clamp(12.0, 60.0);
            self.measure(visit, "39156-5", day, bmi, "kg/m2");
        }
    }

    fn covid(&mut self, dice: &mut Dice, day: Day) {
        let severe = dice.chance(0.02 + (self.person.age_on(day) / 100.0).powi(3) * 0.3);
        let visit = if severe { self.visit("IMP", day, 9) } else { self.visit("AMB", day, 0) };
        self.condition(visit, epidemic::CODE, day, Some(if severe { 35 } else { 14 }));
        let spo2 = if severe { dice.around(87.0, 3.0) } else { dice.around(96.0, 1.2) };
        self.measure(visit, "2708-6", day, spo2.min(100.0), "%");
    }

    fn vaccination(&mut self, dice: &mut Dice) {
        let day = Day(dice.between(18_700, 18_950));
        let lot = dice.between(1, 40);
        let observed = (self.person.start..=self.person.end).contains(&day);
        if observed && self.person.age_on(day) > 12.0 && dice.chance(0.78) {
            let visit = self.visit("AMB", day, 0);
            self.bundle.drug_exposure.push(Drug {
                visit,
                drug_source_value: "208".to_owned(),
                drug_source_vocabulary: "CVX",
                drug_exposure_start_date: day.to_string(),
                drug_exposure_end_date: Some(day.to_string()),
                quantity: Some("1".to_owned()),
                days_supply: None,
                lot_number: Some(format!("LOT{lot:03}")),
            });
        }
    }
}

fn mental_health(dice: &mut Dice, person: &Person) -> Bundle {
    let mut events = Events { bundle: Bundle::default(), person };
    let day = events.any_day(dice);
    let visit = events.visit("AMB", day, 0);
    events.condition(visit, DEPRESSION.0, day, None);
    events.drug(visit, DEPRESSION.1, day, 90);
    events.bundle
}
