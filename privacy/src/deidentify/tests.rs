//! The de-identifier from outside: records in, rows or refusals out.

use epiledger_ledger::entry::consent::GrantAccess;
use epiledger_ledger::entry::record::Period;
use serde_json::json;

use super::*;
use crate::consent::{Consents, Record, admit};
use crate::research::{Region, research_catalog};

fn catalog(profile: Profile) -> Catalog {
    let region = |code: &str, level: &str| Region {
        region_code: code.into(),
        name: code.into(),
        parent_code: None,
        level: level.into(),
        population_year: 2020,
        population: 1,
    };
    research_catalog("2025-12-31", profile, 100, &[region("MA", "state"), region("25017", "county")])
}

fn deidentifier(profile: Profile) -> DeIdentifier {
    DeIdentifier::new(&catalog(profile), PseudonymKey::new(&[7; 32])).unwrap()
}

fn consented(transaction: u64, bundle: &Value) -> Consented {
    let mut consents = Consents::default();
    consents.grant(
        0,
        GrantAccess {
            patient: "p".into(),
            grantee: "*".into(),
            purposes: vec!["HMB".into()],
            categories: vec!["*".into()],
            data_period: None,
            valid_from: "2000-01-01".into(),
            valid_to: None,
            wrap_sha256: None,
        },
    );
    let record = Record {
        person: 5,
        provider: "h1".into(),
        record_id: format!("r{transaction}"),
        transaction,
        category: "general".into(),
        period: Period { start: "2020-01-01".into(), end: "2020-12-31".into() },
        rows: serde_json::to_vec(bundle).unwrap(),
    };
    admit(record, &consents, Day::parse("2026-01-01").unwrap()).unwrap()
}

fn bundle() -> Value {
    json!({
        "format": "omop-rows/1",
        "person": {"birth_date": "1931-05-06", "gender": "F", "race": "white", "ethnicity": "nonhispanic",
                   "state": "MA", "county": "25017", "zip": "2139", "shoe_size": 40},
        "observation_period": {"observation_period_start_date": "2015-03-04",
                               "observation_period_end_date": "2030-01-01", "end_reason": "data_cut"},
        "visit_occurrence": [{"visit": 0, "visit_source_value": "AMB", "visit_start_date": "2020-05-01T23:30:00-05:00",
                              "visit_end_date": null, "care_site_region": "25017"}],
        "condition_occurrence": [{"visit": 0, "condition_source_value": "840539006",
            "condition_source_vocabulary": "SNOMED", "condition_start_date": "2020-05-01", "condition_end_date": null}],
        "measurement": [{"visit": 0, "measurement_source_value": "8480-6", "measurement_source_vocabulary": "LOINC",
            "measurement_date": "2020-05-01", "value_as_number": 5000, "value_as_string": "felt very well today",
            "unit_source_value": "mm[Hg]"}],
        "note": [{"note_text": "seen with her brother"}]
    })
}

fn texts(rows: &[Row]) -> String {
    format!("{rows:?}")
}

#[test]
fn the_expert_profile_keeps_county_and_day() {
    let (rows, refused) = deidentifier(Profile::ExpertDetermination).patient(5, &[consented(9, &bundle())]);
    assert_eq!(refused, []);
    let rows = rows.unwrap();
    let [person, period, visit, condition, drug, measurement, procedure, death] = rows.tables();
    let text = |t: &str| Cell::Text(t.into());
    assert_eq!(person[0].cells()[..3], [Cell::Int(5), Cell::Int(1931), text("90+")]);
    assert_eq!(person[0].cells()[9..], [text("MA"), text("25017"), text("021")]);
    assert_eq!((person[0].consent(), person[0].transaction()), (6, 9));
    assert_eq!(period[0].cells()[2], Cell::Day(Day::parse("2025-12-31").unwrap().0));
    assert_eq!(visit[0].cells()[4], Cell::Day(Day::parse("2020-05-01").unwrap().0));
    assert_eq!(condition[0].cells()[1], visit[0].cells()[1], "a condition names its visit");
    assert_eq!(condition[0].cells()[5], text("INF012"));
    assert_eq!(measurement[0].cells()[6], Cell::Decimal(100_000), "clamped to the declared bound");
    assert_eq!(measurement[0].cells()[7], Cell::Null, "free text drops");
    assert!(drug.is_empty() && procedure.is_empty() && death.is_empty());
    assert!(!texts(visit).contains("brother") && !texts(person).contains("40"));
}

#[test]
fn safe_harbor_keeps_state_and_year() {
    let (rows, _) = deidentifier(Profile::SafeHarbor).patient(5, &[consented(9, &bundle())]);
    let rows = rows.unwrap();
    let [person, _, visit, ..] = rows.tables();
    assert_eq!(person[0].cells()[1], Cell::Int(1935), "no year of birth tells an age over 90");
    assert_eq!(person[0].cells()[10], Cell::Null, "no county");
    assert_eq!(visit[0].cells()[4], Cell::Day(Day::parse("2020-01-01").unwrap().0));
}

#[test]
fn an_identifier_refuses_its_record_alone() {
    let mut planted = bundle();
    planted["measurement"][0]["patient_name"] = json!("Jane Roe");
    let deidentifier = deidentifier(Profile::ExpertDetermination);
    let (rows, refused) = deidentifier.patient(5, &[consented(9, &bundle()), consented(10, &planted)]);
    assert_eq!(rows.unwrap().tables()[5].len(), 1);
    assert_eq!(refused, [Refused { transaction: 10, fault: Fault::Identifier { field: "patient_name".into() } }]);
}

#[test]
fn faults_are_told_apart() {
    let deidentifier = deidentifier(Profile::ExpertDetermination);
    let fault = |change: &dyn Fn(&mut Value)| {
        let mut changed = bundle();
        change(&mut changed);
        let (_, refused) = deidentifier.patient(5, &[consented(9, &bundle()), consented(10, &changed)]);
        refused.into_iter().map(|r| (r.transaction, r.fault)).next()
    };
    assert_eq!(fault(&|_| {}), None);
    assert_eq!(fault(&|b| b["format"] = json!("omop-rows/2")), Some((10, Fault::Bundle)));
    let row = |table, field| Some((10, Fault::Row { table, field }));
    let date = fault(&|b| b["condition_occurrence"][0]["condition_start_date"] = json!("2020-02-30"));
    assert_eq!(date, row("condition_occurrence", "condition_start_date"));
    assert_eq!(fault(&|b| b["visit_occurrence"] = json!({})), row("visit_occurrence", ""));
    let code = fault(&|b| b["condition_occurrence"][0]["condition_source_value"] = json!(null));
    assert_eq!(code, row("condition_occurrence", "condition_source_value"));
}

#[test]
fn rows_without_a_person_are_refused() {
    let mut orphan = bundle();
    orphan["person"] = json!(null);
    let (rows, refused) = deidentifier(Profile::ExpertDetermination).patient(5, &[consented(9, &orphan)]);
    assert!(rows.is_none());
    assert_eq!(refused, [Refused { transaction: 9, fault: Fault::NoPerson }]);
}

#[test]
fn the_newest_person_row_stands_and_days_past_the_cut_drop() {
    let mut moved = bundle();
    moved["person"]["gender"] = json!("male");
    moved["visit_occurrence"][0]["visit_start_date"] = json!("2026-01-01");
    let records = [consented(9, &bundle()), consented(12, &moved)];
    let (rows, refused) = deidentifier(Profile::ExpertDetermination).patient(5, &records);
    let rows = rows.unwrap();
    assert_eq!(refused, []);
    assert_eq!(rows.tables()[0].len(), 1);
    assert_eq!(rows.tables()[0][0].cells()[4], Cell::Text("male".into()));
    assert_eq!((rows.tables()[2].len(), rows.dropped()), (1, 1));
}
