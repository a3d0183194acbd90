//! The research tables of this project: OMOP CDM v5.4's names, with bounds, key domains and sizes.
//!
//! Every number here is a steward's choice or comes from a published code list, none from patient data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, Column, Contribution, Kind, Profile, Table, UNIT};
use crate::day::Day;
use crate::deidentify::listed_conditions;

/// A place of the public `region` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its code: two letters of a state, or a county's five-digit FIPS code.
    pub region_code: String,
    /// Its name, as a county's `Middlesex`, without the word County.
    pub name: String,
    /// The code of the region that holds it; null at the top.
    pub parent_code: Option<String>,
    /// `state` or `county`.
    pub level: String,
    /// Year of the population figure.
    pub population_year: i64,
    /// Resident population.
    pub population: i64,
}

/// First day that any date column may hold.
pub const FIRST_DAY: &str = "1900-01-01";

/// First day of the calendar table.
pub const CALENDAR_START: &str = "2000-01-01";

/// Rows of the published standard populations: WHO 21, ESP 20, US 19.
const STANDARD_ROWS: u64 = 60;

/// Age bands, ten years each; age is the data cut's year minus the year of birth.
pub const AGE_BANDS: [&str; 10] =
    ["0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "90+"];
/// Genders.
pub const GENDERS: [&str; 4] = ["female", "male", "other", "unknown"];
/// Races (US Census categories, as Synthea spells them).
pub const RACES: [&str; 7] = ["asian", "black", "hawaiian", "native", "other", "unknown", "white"];
/// Ethnicities.
pub const ETHNICITIES: [&str; 3] = ["hispanic", "nonhispanic", "unknown"];
/// Kinds of visit (HL7 v3 ActEncounterCode).
pub const VISITS: [&str; 6] = ["AMB", "EMER", "HH", "IMP", "OBSENC", "VR"];
/// Why observation ended.
pub const END_REASONS: [&str; 4] = ["data_cut", "died", "moved", "withdrew"];

/// Condition categories with their names: CCSR for ICD-10-CM diagnoses (AHRQ HCUP, public domain), and three of our own.
pub const CONDITION_CATEGORIES: [(&str, &str); 41] = [
    ("CIR007", "Essential hypertension"),
    ("CIR009", "Acute myocardial infarction"),
    ("CIR011", "Coronary atherosclerosis and other heart disease"),
    ("CIR013", "Acute pulmonary embolism"),
    ("CIR017", "Cardiac dysrhythmias"),
    ("CIR018", "Cardiac arrest and ventricular fibrillation"),
    ("CIR019", "Heart failure"),
    ("CIR020", "Cerebral infarction"),
    ("DIG004", "Esophageal disorders"),
    ("DIG009", "Appendicitis and other appendiceal conditions"),
    ("EAR001", "Otitis media"),
    ("END002", "Diabetes mellitus without complication"),
    ("END003", "Diabetes mellitus with complication"),
    ("END009", "Obesity"),
    ("END010", "Disorders of lipid metabolism"),
    ("END016", "Other specified and unspecified nutritional and metabolic disorders"),
    ("GEN002", "Acute and unspecified renal failure"),
    ("GEN003", "Chronic kidney disease"),
    ("GEN004", "Urinary tract infections"),
    ("INF002", "Septicemia"),
    ("INF012", "Coronavirus disease 2019 (COVID-19)"),
    ("INJ", "Injury, poisoning and certain other consequences of external causes"),
    ("MBD002", "Depressive disorders"),
    ("MBD005", "Anxiety and fear-related disorders"),
    ("MBD017", "Alcohol-related disorders"),
    ("MBD018", "Opioid-related disorders"),
    ("MUS006", "Osteoarthritis"),
    ("MUS013", "Osteoporosis"),
    ("NVS009", "Epilepsy; convulsions"),
    ("NVS010", "Headache; including migraine"),
    ("NVS011", "Neurocognitive disorders"),
    ("PRG", "Pregnancy, childbirth and the puerperium"),
    ("RSP001", "Sinusitis"),
    ("RSP002", "Pneumonia (except that caused by tuberculosis)"),
    ("RSP003", "Influenza"),
    ("RSP005", "Acute bronchitis"),
    ("RSP006", "Other specified upper respiratory infections"),
    ("RSP008", "Chronic obstructive pulmonary disease and bronchiectasis"),
    ("RSP009", "Asthma"),
    ("finding", "A finding or a situation, not a disease"),
    ("other", "Any other condition"),
];

/// Private tables in the order in which a patient's rows are made.
pub const PRIVATE_TABLES: [&str; 8] = [
    "person",
    "observation_period",
    "visit_occurrence",
    "condition_occurrence",
    "drug_exposure",
    "measurement",
    "procedure_occurrence",
    "death",
];

/// The catalog of the research tables.
///
/// `data_cut` is the day the data ends (`YYYY-MM-DD`), a steward's constant; `declared_patients` an upper limit;
/// `regions` the states and counties that people may live in.
#[must_use]
pub fn research_catalog(data_cut: &str, profile: Profile, declared_patients: u64, regions: &[Region]) -> Catalog {
    let columns = Columns { data_cut, profile, regions };
    let one = Contribution { scan_rows: 1, rows: 1, groups: 1 };
    let visits = Contribution { scan_rows: 2000, rows: 4, groups: 20 };
    let events = Contribution { scan_rows: 5000, rows: 4, groups: 20 };
    let private: [(&str, Contribution, u64, Vec<Column>); 8] = [
        ("person", one, 1, columns.person()),
        ("observation_period", one, 1, columns.observation_period()),
        ("visit_occurrence", visits, 100, columns.visit()),
        ("condition_occurrence", visits, 100, columns.condition()),
        ("drug_exposure", events, 200, columns.drug()),
        ("measurement", events, 200, columns.measurement()),
        ("procedure_occurrence", events, 200, columns.procedure()),
        ("death", one, 1, columns.death()),
    ];
    let mut tables: BTreeMap<String, Table> = private
        .into_iter()
        .map(|(name, bounds, per_patient, columns)| {
            let declared_rows = declared_patients.saturating_mul(per_patient);
            (name.to_owned(), Table { private: Some(bounds), declared_rows, columns })
        })
        .collect();
    for (name, declared_rows, columns) in public_tables(data_cut, regions) {
        tables.insert(name.to_owned(), Table { private: None, declared_rows, columns });
    }
    Catalog { dataset: "research".to_owned(), data_cut: data_cut.to_owned(), profile, declared_patients, tables }
}

/// Public tables: name, rows as they are published (a question's work is priced by them), columns.
fn public_tables(data_cut: &str, regions: &[Region]) -> [(&'static str, u64, Vec<Column>); 4] {
    let rows = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).max(1);
    let days = Day::parse(CALENDAR_START).zip(Day::parse(data_cut)).map_or(1, |(first, last)| last.0 - first.0 + 1);
    let number = |low, high| Kind::Integer { low, high };
    let day = Kind::Date { low: FIRST_DAY.to_owned(), high: data_cut.to_owned(), year_only: false };
    [
        (
            "region",
            rows(regions.len()),
            vec![
                column("region_code", Kind::Text, false),
                column("name", Kind::Text, false),
                column("parent_code", Kind::Text, true),
                column("level", Kind::Text, false),
                column("population_year", number(1900, 2100), false),
                column("population", number(0, 10_000_000_000), false),
            ],
        ),
        (
            "concept",
            rows(CONDITION_CATEGORIES.len() + listed_conditions().count()),
            vec![
                column("vocabulary_id", Kind::Text, false),
                column("concept_code", Kind::Text, false),
                column("concept_name", Kind::Text, true),
                column("condition_category", Kind::Text, true),
            ],
        ),
        (
            "calendar",
            u64::try_from(days).unwrap_or(1).max(1),
            vec![
                column("day", day, false),
                column("year", number(1900, 2100), false),
                column("month", number(1, 12), false),
                column("weekday", number(1, 7), false),
                column("iso_year", number(1899, 2101), false),
                column("iso_week", number(1, 53), false),
                column("mmwr_year", number(1899, 2101), false),
                column("mmwr_week", number(1, 53), false),
            ],
        ),
        (
            "standard_population",
            STANDARD_ROWS,
            vec![
                column("standard", Kind::Text, false),
                column("age_low", number(0, 130), false),
                column("age_high", number(0, 130), true),
                column("weight", Kind::Decimal { scale: 6, low: 0, high: 1_000_000 }, false),
            ],
        ),
    ]
}

/// A column without a domain.
fn column(name: &str, kind: Kind, nullable: bool) -> Column {
    Column { name: name.to_owned(), kind, nullable, domain: None }
}

/// A text or id column with its public keys, in order and each once.
fn keyed<S: Into<String>>(name: &str, kind: Kind, nullable: bool, domain: impl IntoIterator<Item = S>) -> Column {
    let mut domain: Vec<String> = domain.into_iter().map(Into::into).collect();
    domain.sort_unstable();
    domain.dedup();
    Column { domain: Some(domain), ..column(name, kind, nullable) }
}

/// What the columns of one dataset depend on.
struct Columns<'a> {
    data_cut: &'a str,
    profile: Profile,
    regions: &'a [Region],
}

impl Columns<'_> {
    fn unit(&self) -> Column {
        column(UNIT, Kind::Id, false)
    }

    fn date(&self, name: &str, nullable: bool) -> Column {
        let year_only = self.profile == Profile::SafeHarbor;
        let kind = Kind::Date { low: FIRST_DAY.to_owned(), high: self.data_cut.to_owned(), year_only };
        column(name, kind, nullable)
    }

    fn of_level(&self, level: &str) -> Vec<String> {
        self.regions.iter().filter(|r| r.level == level).map(|r| r.region_code.clone()).collect()
    }

    /// A county column: its domain under an expert's determination, always null without one.
    fn county(&self, name: &str) -> Column {
        match self.profile {
            Profile::ExpertDetermination => keyed(name, Kind::Text, true, self.of_level("county")),
            Profile::SafeHarbor => column(name, Kind::Text, true),
        }
    }

    fn person(&self) -> Vec<Column> {
        let cut_year = i64::from(Day::parse(self.data_cut).map_or(2100, Day::year));
        // Safe Harbor: ages over 89 are one class, so no earlier year of birth may be told.
        let first_year = match self.profile {
            Profile::SafeHarbor => (cut_year - 90).max(1900),
            Profile::ExpertDetermination => 1900,
        };
        let years = Kind::Integer { low: first_year, high: cut_year };
        vec![
            self.unit(),
            keyed("year_of_birth", years, false, (first_year..=cut_year).map(|y| y.to_string())),
            keyed("age_band", Kind::Text, false, AGE_BANDS),
            keyed("gender_concept_id", Kind::Id, false, ["0", "8507", "8532"]),
            keyed("gender", Kind::Text, false, GENDERS),
            keyed("race_concept_id", Kind::Id, false, ["0", "8515", "8516", "8527", "8557", "8657"]),
            keyed("race", Kind::Text, false, RACES),
            keyed("ethnicity_concept_id", Kind::Id, false, ["0", "38003563", "38003564"]),
            keyed("ethnicity", Kind::Text, false, ETHNICITIES),
            keyed("state", Kind::Text, true, self.of_level("state")),
            self.county("county"),
            column("zip3", Kind::Text, true),
        ]
    }

    fn observation_period(&self) -> Vec<Column> {
        vec![
            self.unit(),
            self.date("observation_period_start_date", false),
            self.date("observation_period_end_date", false),
            keyed("end_reason", Kind::Text, false, END_REASONS),
        ]
    }

    fn visit(&self) -> Vec<Column> {
        vec![
            self.unit(),
            column("visit_occurrence_id", Kind::Id, false),
            keyed("visit_concept_id", Kind::Id, false, ["0", "9201", "9202", "9203"]),
            keyed("visit_source_value", Kind::Text, true, VISITS),
            self.date("visit_start_date", false),
            self.date("visit_end_date", true),
            self.county("care_site_region"),
        ]
    }

    /// The columns that name what was seen: visit, concept, code and its vocabulary.
    fn coded(&self, stem: &str) -> Vec<Column> {
        vec![
            self.unit(),
            column("visit_occurrence_id", Kind::Id, true),
            column(&format!("{stem}_concept_id"), Kind::Id, false),
            column(&format!("{stem}_source_value"), Kind::Text, false),
            column(&format!("{stem}_source_vocabulary"), Kind::Text, true),
        ]
    }

    fn condition(&self) -> Vec<Column> {
        let mut columns = self.coded("condition");
        columns.push(keyed("condition_category", Kind::Text, false, CONDITION_CATEGORIES.map(|(code, _)| code)));
        columns.push(self.date("condition_start_date", false));
        columns.push(self.date("condition_end_date", true));
        columns
    }

    fn drug(&self) -> Vec<Column> {
        let mut columns = self.coded("drug");
        columns.push(self.date("drug_exposure_start_date", false));
        columns.push(self.date("drug_exposure_end_date", true));
        columns.push(column("quantity", Kind::Decimal { scale: 2, low: 0, high: 1_000_000 }, true));
        columns.push(column("days_supply", Kind::Integer { low: 0, high: 365 }, true));
        columns.push(column("lot_number", Kind::Text, true));
        columns
    }

    fn measurement(&self) -> Vec<Column> {
        let mut columns = self.coded("measurement");
        columns.push(self.date("measurement_date", false));
        columns.push(column("value_as_number", Kind::Decimal { scale: 2, low: 0, high: 100_000 }, true));
        columns.push(column("value_as_string", Kind::Text, true));
        columns.push(column("unit_source_value", Kind::Text, true));
        columns
    }

    fn procedure(&self) -> Vec<Column> {
        let mut columns = self.coded("procedure");
        columns.push(self.date("procedure_date", false));
        columns
    }

    fn death(&self) -> Vec<Column> {
        vec![self.unit(), self.date("death_date", false), column("cause_source_value", Kind::Text, true)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions() -> Vec<Region> {
        let region = |code: &str, parent: Option<&str>, level: &str| Region {
            region_code: code.into(),
            name: code.into(),
            parent_code: parent.map(str::to_owned),
            level: level.into(),
            population_year: 2020,
            population: 1,
        };
        vec![region("MA", None, "state"), region("25017", Some("MA"), "county")]
    }

    #[test]
    fn every_private_table_starts_with_the_unit_and_declares_bounds() {
        let catalog = research_catalog("2025-12-31", Profile::ExpertDetermination, 1000, &regions());
        for name in PRIVATE_TABLES {
            let table = catalog.table(name).unwrap();
            assert!(table.private.is_some(), "{name}");
            assert_eq!(table.columns[0].name, UNIT);
            assert!(!table.columns[0].nullable);
        }
        assert_eq!(catalog.tables.values().filter(|t| t.private.is_none()).count(), 4);
    }

    #[test]
    fn the_profile_decides_places_and_dates() {
        let expert = research_catalog("2025-12-31", Profile::ExpertDetermination, 1000, &regions());
        let safe = research_catalog("2025-12-31", Profile::SafeHarbor, 1000, &regions());
        let county = |c: &Catalog| c.table("person").unwrap().column("county").unwrap().domain.clone();
        assert_eq!(county(&expert), Some(vec!["25017".to_owned()]));
        assert_eq!(county(&safe), None);
        let kind = |c: &Catalog| c.table("death").unwrap().column("death_date").unwrap().kind.clone();
        assert!(matches!(kind(&expert), Kind::Date { year_only: false, .. }));
        assert!(matches!(kind(&safe), Kind::Date { year_only: true, .. }));
        assert_ne!(expert.hash(), safe.hash());
    }
}
