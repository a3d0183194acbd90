//! Synthea's files by patient: one bundle each, without a direct identifier.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use epiledger_privacy::day::Day;

use super::columns;
use super::table::{Row, find, read};
use crate::bundle::{
    Bundle, Condition, Death, Drug, Measurement, ObservationPeriod, Person as PersonRow, Procedure, Visit,
};
use crate::error::IngestError;
use crate::regions::{county_code, state_code};

/// One patient of the files.
pub(super) struct Person {
    /// Synthea's id: it goes no further than into a keyed hash.
    pub(super) source_id: String,
    /// Organization of the first encounter; none without encounters.
    pub(super) organization: Option<String>,
    pub(super) bundle: Bundle,
    born: Day,
    died: Option<Day>,
    first_record: Option<Day>,
    visits: HashMap<String, i64>,
}

/// All patients in the order of the patients' file, and what belongs to none.
pub(super) struct People {
    pub(super) persons: Vec<Person>,
    by_id: HashMap<String, usize>,
    /// Rows whose patient is not in the patients' file, by file.
    pub(super) orphans: BTreeMap<&'static str, u64>,
}

impl People {
    /// Reads a folder.
    pub(super) fn read(dir: &Path, data_cut: Day) -> Result<Self, IngestError> {
        let mut people = Self { persons: Vec::new(), by_id: HashMap::new(), orphans: BTreeMap::new() };
        let Some(patients) = find(dir, "patients") else {
            let hint = "give a folder of Synthea's CSV or Parquet files";
            return Err(IngestError::Missing { file: "patients.csv".to_owned(), hint });
        };
        people.patients(&patients)?;
        people.events(dir)?;
        for person in &mut people.persons {
            person.observe(data_cut);
        }
        Ok(people)
    }

    fn patients(&mut self, path: &Path) -> Result<(), IngestError> {
        read(path, &columns::patients(), &mut |row| {
            let source_id = row.need("Id")?.to_owned();
            if self.by_id.insert(source_id.clone(), self.persons.len()).is_some() {
                return Err(row.error("this patient stands in the file twice".to_owned()));
            }
            let county = row.get("FIPS").and_then(fips).or_else(|| row.get("COUNTY").and_then(county_code));
            let (born, died) = (birth(row)?, row.day("DEATHDATE")?);
            let person = PersonRow {
                birth_date: born.whole.map(|day| day.to_string()),
                year_of_birth: born.whole.is_none().then(|| born.day.year()),
                gender: row.need("GENDER")?.to_owned(),
                race: row.get("RACE").unwrap_or("unknown").to_owned(),
                ethnicity: row.get("ETHNICITY").unwrap_or("unknown").to_owned(),
                state: row.get("STATE").and_then(state_code).map(str::to_owned),
                county: county.map(str::to_owned),
                zip: row.get("ZIP").map(str::to_owned),
            };
            let death = died.map(|day| Death { death_date: day.to_string(), cause_source_value: None });
            self.persons.push(Person {
                source_id,
                organization: None,
                bundle: Bundle { person: Some(person), death, ..Bundle::default() },
                born: born.day,
                died,
                first_record: None,
                visits: HashMap::new(),
            });
            Ok(())
        })
    }

    /// Reads every file of events that is there. Encounters come first: the others name them.
    fn events(&mut self, dir: &Path) -> Result<(), IngestError> {
        type Take = fn(&mut Person, &Row<'_>) -> Result<Day, IngestError>;
        let files: [(&'static str, Take); 6] = [
            ("encounters", Person::encounter),
            ("conditions", Person::condition),
            ("medications", Person::medication),
            ("immunizations", Person::immunization),
            ("observations", Person::observation),
            ("procedures", Person::procedure),
        ];
        for (name, take) in files {
            let Some(path) = find(dir, name) else { continue };
            read(&path, &columns::events(name), &mut |row| {
                let found = self.by_id.get(row.need("PATIENT")?).and_then(|at| self.persons.get_mut(*at));
                let Some(person) = found else {
                    *self.orphans.entry(name).or_default() += 1;
                    return Ok(());
                };
                let day = take(person, row)?;
                person.first_record = Some(person.first_record.map_or(day, |first| first.min(day)));
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A five-digit county code of a listed county; a code that went through a number is the same code.
fn fips(text: &str) -> Option<&'static str> {
    let digits = text.split('.').next()?;
    crate::regions::COUNTIES.iter().map(|(code, ..)| *code).find(|code| *code == digits)
}

/// A day of birth, or the first day of a year of birth.
struct Birth {
    day: Day,
    whole: Option<Day>,
}

fn birth(row: &Row<'_>) -> Result<Birth, IngestError> {
    let text = row.need("BIRTHDATE")?;
    if text.len() == 4 {
        let year = text.parse().ok().and_then(|year| Day::from_parts(year, 1, 1));
        let day = year.ok_or_else(|| row.error("the column BIRTHDATE holds no year".to_owned()))?;
        return Ok(Birth { day, whole: None });
    }
    let day = row.need_day("BIRTHDATE")?;
    Ok(Birth { day, whole: Some(day) })
}

/// The day of an event, under the name that this generation of files uses.
fn event_day(row: &Row<'_>) -> Result<Day, IngestError> {
    match row.day("DATE")? {
        Some(day) => Ok(day),
        None => row.need_day("START"),
    }
}

/// A code as text; one that went through a number loses its `.0`.
fn code(row: &Row<'_>) -> Result<String, IngestError> {
    let text = row.need("CODE")?;
    Ok(text.strip_suffix(".0").unwrap_or(text).to_owned())
}

/// Findings and situations among conditions are no diseases: Synthea says so at the end of the description.
fn finding(description: Option<&str>) -> Option<&'static str> {
    let text = description?.trim_end();
    (text.ends_with("(finding)") || text.ends_with("(situation)")).then_some("finding")
}

fn text(day: Option<Day>) -> Option<String> {
    day.map(|day| day.to_string())
}

impl Person {
    fn visit(&self, row: &Row<'_>) -> Option<i64> {
        self.visits.get(row.get("ENCOUNTER")?).copied()
    }

    fn encounter(&mut self, row: &Row<'_>) -> Result<Day, IngestError> {
        let number = self.visits.len() as i64;
        if self.visits.insert(row.need("Id")?.to_owned(), number).is_some() {
            return Err(row.error("this encounter stands in the file twice".to_owned()));
        }
        let start = row.need_day("START")?;
        if self.organization.is_none() {
            self.organization = row.get("ORGANIZATION").map(str::to_owned);
        }
        let kind = match row.need("ENCOUNTERCLASS")? {
            "emergency" => "EMER",
            "inpatient" | "snf" | "hospice" => "IMP",
            "home" => "HH",
            "virtual" => "VR",
            "observation" => "OBSENC",
            _ => "AMB",
        };
        self.bundle.visit_occurrence.push(Visit {
            visit: number,
            visit_source_value: kind,
            visit_start_date: start.to_string(),
            visit_end_date: text(row.day("STOP")?),
            care_site_region: None,
        });
        Ok(start)
    }

    fn condition(&mut self, row: &Row<'_>) -> Result<Day, IngestError> {
        let start = row.need_day("START")?;
        self.bundle.condition_occurrence.push(Condition {
            visit: self.visit(row),
            condition_source_value: code(row)?,
            condition_source_vocabulary: "SNOMED",
            condition_category: finding(row.get("DESCRIPTION")),
            condition_start_date: start.to_string(),
            condition_end_date: text(row.day("STOP")?),
        });
        Ok(start)
    }

    fn drug(
        &mut self,
        row: &Row<'_>,
        vocabulary: &'static str,
        day: Day,
        end: Option<Day>,
    ) -> Result<Day, IngestError> {
        self.bundle.drug_exposure.push(Drug {
            visit: self.visit(row),
            drug_source_value: code(row)?,
            drug_source_vocabulary: vocabulary,
            drug_exposure_start_date: day.to_string(),
            drug_exposure_end_date: text(end),
            quantity: None,
            days_supply: None,
            lot_number: None,
        });
        Ok(day)
    }

    fn medication(&mut self, row: &Row<'_>) -> Result<Day, IngestError> {
        self.drug(row, "RxNorm", row.need_day("START")?, row.day("STOP")?)
    }

    fn immunization(&mut self, row: &Row<'_>) -> Result<Day, IngestError> {
        let day = event_day(row)?;
        self.drug(row, "CVX", day, Some(day))
    }

    fn observation(&mut self, row: &Row<'_>) -> Result<Day, IngestError> {
        let day = event_day(row)?;
        let numeric = row.get("TYPE").is_none_or(|kind| kind.eq_ignore_ascii_case("numeric"));
        let value = row.get("VALUE");
        let number = value.filter(|v| numeric && v.parse::<f64>().is_ok_and(f64::is_finite));
        self.bundle.measurement.push(Measurement {
            visit: self.visit(row),
            measurement_source_value: code(row)?,
            measurement_source_vocabulary: "LOINC",
            measurement_date: day.to_string(),
            value_as_number: number.map(str::to_owned),
            // Free text stays here: the de-identifier would drop it, and the ledger is for ever.
            value_as_string: None,
            unit_source_value: row.get("UNITS").map(str::to_owned),
        });
        Ok(day)
    }

    fn procedure(&mut self, row: &Row<'_>) -> Result<Day, IngestError> {
        let day = event_day(row)?;
        self.bundle.procedure_occurrence.push(Procedure {
            visit: self.visit(row),
            procedure_source_value: code(row)?,
            procedure_source_vocabulary: "SNOMED",
            procedure_date: day.to_string(),
        });
        Ok(day)
    }

    /// Observed from the first record, or without one from birth, to the earlier of death and the data's cut.
    fn observe(&mut self, data_cut: Day) {
        let start = self.first_record.unwrap_or(self.born).max(self.born);
        let end = self.died.map_or(data_cut, |died| died.min(data_cut));
        if start <= end {
            self.bundle.observation_period = Some(ObservationPeriod {
                observation_period_start_date: start.to_string(),
                observation_period_end_date: end.to_string(),
                end_reason: if self.died.is_some_and(|died| died <= data_cut) { "died" } else { "data_cut" },
            });
        }
    }

    /// First and last day that the bundle may speak of.
    pub(super) fn period(&self, data_cut: Day) -> (Day, Day) {
        let start = self.first_record.map_or(self.born, |first| first.min(self.born));
        (start, data_cut.max(start))
    }
}
