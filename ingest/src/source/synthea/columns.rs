//! The columns of Synthea's files, in all generations of its CSV exporter: those that are read, and the others, which
//! are named here so that a misspelt column is told from one that is left alone on purpose.

use super::table::Use::{self, May, Must, Never};

/// Names with one use.
fn all(names: &'static str, used: Use) -> impl Iterator<Item = (&'static str, Use)> {
    names.split(' ').map(move |name| (name, used))
}

/// The columns of `patients`. Names, addresses, coordinates and numbers of documents are never read.
pub(super) fn patients() -> Vec<(&'static str, Use)> {
    let never = "SSN DRIVERS PASSPORT PREFIX FIRST MIDDLE LAST SUFFIX MAIDEN MARITAL BIRTHPLACE ADDRESS CITY LAT LON \
                 HEALTHCARE_EXPENSES HEALTHCARE_COVERAGE INCOME";
    all("Id BIRTHDATE GENDER", Must)
        .chain(all("DEATHDATE RACE ETHNICITY STATE COUNTY FIPS ZIP", May))
        .chain(all(never, Never))
        .collect()
}

/// The columns of a file of events.
pub(super) fn events(file: &str) -> Vec<(&'static str, Use)> {
    let (must, may, never) = match file {
        "encounters" => (
            "Id PATIENT ENCOUNTERCLASS START",
            "ORGANIZATION STOP",
            "PROVIDER PAYER CODE DESCRIPTION COST BASE_ENCOUNTER_COST TOTAL_CLAIM_COST PAYER_COVERAGE REASONCODE \
             REASONDESCRIPTION",
        ),
        "conditions" => ("PATIENT CODE START", "ENCOUNTER DESCRIPTION STOP", "SYSTEM"),
        "medications" => (
            "PATIENT CODE START",
            "ENCOUNTER DESCRIPTION STOP",
            "PAYER COST BASE_COST PAYER_COVERAGE DISPENSES TOTALCOST REASONCODE REASONDESCRIPTION",
        ),
        "immunizations" => ("PATIENT CODE", "ENCOUNTER DESCRIPTION DATE START", "ID COST BASE_COST"),
        "observations" => ("PATIENT CODE", "ENCOUNTER DESCRIPTION DATE START VALUE UNITS TYPE", "CATEGORY SYSTEM"),
        _ => (
            "PATIENT CODE",
            "ENCOUNTER DESCRIPTION DATE START",
            "STOP SYSTEM COST BASE_COST REASONCODE REASONDESCRIPTION",
        ),
    };
    all(must, Must).chain(all(may, May)).chain(all(never, Never)).collect()
}
