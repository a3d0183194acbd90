//! Real Synthea exports of three kinds, where they are on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::SessionContext;
use epiledger_ingest::parties::determine;
use epiledger_ingest::snapshot::newest;
use epiledger_ingest::source::{ImportConsent, ImportOptions, ImportSummary, import_synthea};
use epiledger_ingest::{IngestError, Options, Pipeline, Summary};
use epiledger_privacy::catalog::Profile;
use epiledger_privacy::day::Day;

use crate::real_data::real_data;
use crate::support::{cut, rows};

fn import(data: &Path, dir: &Path, options: &ImportOptions) -> (ImportSummary, Summary) {
    let imported = import_synthea(data, dir, options, &|_| {}).unwrap();
    determine(data, "2026-01-01", "2027-01-01").unwrap();
    (imported, Pipeline::run(data, Options::at(cut())).unwrap())
}

fn options(consent: ImportConsent, data_cut: &str) -> ImportOptions {
    ImportOptions::new(consent, Day::parse(data_cut).unwrap())
}

/// Runs SQL by plain DataFusion over the files that the newest manifest names.
fn count_by(data: &Path, sql: &str) -> Vec<(String, i64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        for (name, table) in newest(data).unwrap().unwrap().tables {
            let paths: Vec<ListingTableUrl> = table
                .files
                .iter()
                .map(|file| ListingTableUrl::parse(data.join(&file.path).to_str().unwrap()).unwrap())
                .collect();
            let options = ListingOptions::new(Arc::new(ParquetFormat::default()));
            let config = ListingTableConfig::new_with_multi_paths(paths).with_listing_options(options);
            let config = config.infer_schema(&context.state()).await.unwrap();
            context.register_table(name, Arc::new(ListingTable::try_new(config).unwrap())).unwrap();
        }
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let mut found = Vec::new();
        for batch in batches {
            let keys = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            let counts = batch.column(1).as_primitive::<Int64Type>();
            let keys = keys.as_string::<i32>();
            found.extend((0..batch.num_rows()).map(|row| (keys.value(row).to_owned(), counts.value(row))));
        }
        found
    })
}

#[test]
fn coronary_heart_disease_by_county_in_26191_persons() {
    let Some(dir) = real_data("synthea_ma_cardio_parquet") else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let (imported, summary) = import(data.path(), &dir, &options(ImportConsent::All, "2021-12-31"));
    assert_eq!((imported.people, summary.admitted), (26_191, 26_191));
    assert_eq!((imported.rows["condition_occurrence"], imported.rows["drug_exposure"]), (7_088, 95_710));
    assert!(imported.orphans.is_empty() && summary.quarantined.is_empty());
    let sql = "SELECT county, COUNT(DISTINCT p.person_id) FROM person p JOIN condition_occurrence c \
               ON p.person_id = c.person_id WHERE condition_source_value = '53741008' \
               GROUP BY county ORDER BY 2 DESC, 1 LIMIT 5";
    let wanted = [("25017", 268), ("25027", 141), ("25025", 137), ("25009", 128), ("25021", 128)];
    assert_eq!(count_by(data.path(), sql), wanted.map(|(county, count)| (county.to_owned(), count)));
    let sql = "SELECT zip3, COUNT(*) FROM person WHERE zip3 IS NOT NULL GROUP BY 1";
    let zips = count_by(data.path(), sql);
    assert!(zips.iter().all(|(zip, _)| zip.starts_with('0')), "a ZIP keeps its leading zero: {zips:?}");
    assert!(!zips.is_empty());
}

#[test]
fn a_covid_wave_in_older_csv_columns() {
    let Some(dir) = real_data("synthea_ma_covid_1k") else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let (imported, summary) = import(data.path(), &dir, &options(ImportConsent::All, "2021-12-31"));
    assert_eq!(imported.people, summary.admitted);
    assert!(summary.quarantined.is_empty(), "{:?}", summary.quarantined);
    let sql = "SELECT date_trunc('year', condition_start_date), COUNT(DISTINCT person_id) FROM condition_occurrence \
               WHERE condition_source_value = '840539006' GROUP BY 1 ORDER BY 1";
    let cases: i64 = count_by(data.path(), sql).iter().map(|(_, count)| count).sum();
    assert_eq!(cases, 849);
    let sql = "SELECT condition_category, COUNT(*) FROM condition_occurrence GROUP BY 1 ORDER BY 1";
    let found = count_by(data.path(), sql);
    assert!(found.iter().any(|(category, count)| category == "finding" && *count > 3000), "{found:?}");
}

#[test]
fn measurements_of_6184_persons() {
    let Some(dir) = real_data("synthea_ma_metabolic_6k") else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let (imported, summary) = import(data.path(), &dir, &options(ImportConsent::All, "2021-12-31"));
    assert_eq!((imported.people, summary.admitted), (6_184, 6_184));
    assert_eq!(summary.rows["measurement"], imported.rows["measurement"]);
    let sql = "SELECT unit_source_value, COUNT(value_as_number) FROM measurement GROUP BY 1 ORDER BY 1";
    let units = count_by(data.path(), sql);
    assert!(units.iter().any(|(unit, count)| unit == "fL" && *count > 100), "{units:?}");
}

#[test]
fn the_newest_csv_columns_with_visits_procedures_and_hospitals() {
    let Some(dir) = real_data("synthea_full_110") else { return };
    let data = tempfile::tempdir().unwrap();
    let (imported, summary) = import(data.path(), &dir, &options(ImportConsent::All, "2025-12-31"));
    assert_eq!(imported.people, summary.admitted);
    assert!(imported.hospitals > 10, "{}", imported.hospitals);
    assert_eq!(summary.rows["visit_occurrence"], imported.rows["visit_occurrence"]);
    let sql = "SELECT visit_source_value, COUNT(*) FROM visit_occurrence v JOIN procedure_occurrence p \
               ON v.visit_occurrence_id = p.visit_occurrence_id GROUP BY 1";
    let joined: i64 = count_by(data.path(), sql).iter().map(|(_, count)| count).sum();
    assert_eq!(joined as u64, imported.rows["procedure_occurrence"], "every procedure finds its visit");
}

#[test]
fn without_consent_nothing_is_in_the_tables() {
    let Some(dir) = real_data("synthea_full_110") else { return };
    let data = tempfile::tempdir().unwrap();
    let (imported, summary) = import(data.path(), &dir, &options(ImportConsent::None, "2025-12-31"));
    assert_eq!((summary.patients, summary.admitted), (imported.people, 0));
    assert_eq!(summary.denied_records, imported.people);
    assert!(rows(data.path()).values().all(Vec::is_empty));
}

/// A small export: two generations of columns, a year of birth, an orphan, open and closed conditions.
fn small(dir: &Path) {
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write(
        "patients.csv",
        "Id,BIRTHDATE,DEATHDATE,SSN,FIRST,LAST,RACE,ETHNICITY,GENDER,ADDRESS,STATE,COUNTY,ZIP\n\
         a1,1950-02-03,2020-05-06,999-11-2222,Ann99,Lee77,white,nonhispanic,F,1 Some Street,Massachusetts,Middlesex County,2139.0\n\
         b2,1987,,999-11-3333,Bob99,Ray77,black,hispanic,M,2 Some Street,Ohio,Cook County,\n",
    );
    write(
        "conditions.csv",
        "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION\n\
         2019-03-04,,a1,e1,44054006,Diabetes\n\
         2019-03-04,2019-04-04,b2,e2,160903007,Full-time employment (finding)\n\
         2019-03-04,,nobody,e3,44054006,Diabetes\n",
    );
    write("immunizations.csv", "DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION\n2019-01-02T23:30:00-05:00,a1,e1,140,Flu\n");
}

#[test]
fn a_small_export_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    let data = tempfile::tempdir().unwrap();
    let (imported, summary) = import(data.path(), dir.path(), &options(ImportConsent::All, "2021-12-31"));
    assert_eq!(imported.orphans.into_iter().collect::<Vec<_>>(), [("conditions", 1)]);
    assert_eq!(summary.admitted, 2);
    let rows = rows(data.path());
    let ann = rows["person"].iter().find(|row| row["gender"] == "female").unwrap();
    assert_eq!((ann["county"].as_str(), ann["zip3"].as_str(), ann["year_of_birth"].as_str()), ("25017", "021", "1950"));
    let bob = rows["person"].iter().find(|row| row["gender"] == "male").unwrap();
    assert_eq!((bob.get("county"), bob.get("state"), bob["year_of_birth"].as_str()), (None, None, "1987"));
    let of = |table: &str, person: &str| rows[table].iter().find(|row| row["person_id"] == person).cloned().unwrap();
    let period = of("observation_period", &ann["person_id"]);
    assert_eq!(period["observation_period_start_date"], "2019-01-02", "the local day, not UTC's");
    assert_eq!((period["observation_period_end_date"].as_str(), period["end_reason"].as_str()), ("2020-05-06", "died"));
    assert_eq!(of("observation_period", &bob["person_id"])["observation_period_end_date"], "2021-12-31");
    let diabetes = of("condition_occurrence", &ann["person_id"]);
    assert_eq!((diabetes.get("condition_end_date"), diabetes["condition_category"].as_str()), (None, "END002"));
    assert_eq!(of("condition_occurrence", &bob["person_id"])["condition_category"], "finding");
    assert_eq!(of("death", &ann["person_id"])["death_date"], "2020-05-06");
    // Direct identifiers are nowhere in the data folder: they were never read.
    for path in walk(data.path()) {
        let bytes = std::fs::read(&path).unwrap();
        for word in ["Ann99", "999-11-2222", "Some Street"] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word} in {path:?}");
        }
    }
}

#[test]
fn malformed_files_stop_the_import_before_anything_is_written() {
    let fails = |name: &str, text: &str| {
        let dir = tempfile::tempdir().unwrap();
        small(dir.path());
        std::fs::write(dir.path().join(name), text).unwrap();
        let data = tempfile::tempdir().unwrap();
        let options = ImportOptions { profile: Profile::SafeHarbor, ..options(ImportConsent::All, "2021-12-31") };
        let error = import_synthea(data.path(), dir.path(), &options, &|_| {}).unwrap_err();
        assert!(std::fs::read_dir(data.path()).unwrap().next().is_none(), "nothing is half-written");
        assert!(matches!(error, IngestError::Source { .. }));
        error.to_string()
    };
    let header = "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION\n";
    let bad_date = fails("conditions.csv", &format!("{header}2019-02-30,,a1,e1,1,x\n"));
    assert!(bad_date.contains("conditions.csv` line 2") && bad_date.contains("START"), "{bad_date}");
    let no_column = fails("conditions.csv", "START,PATIENT\n2019-02-03,a1\n");
    assert!(no_column.contains("no column CODE"), "{no_column}");
    let misspelt = fails("patients.csv", "Id,BIRTHDATE,GENDER,CONTY\na1,1950-01-01,F,Middlesex County\n");
    assert!(misspelt.contains("CONTY") && misspelt.contains("did you mean COUNTY?"), "{misspelt}");
    let unknown = fails("conditions.csv", "START,PATIENT,CODE,DESCRIPTON\n2019-02-03,a1,1,x\n");
    assert!(unknown.contains("conditions.csv` line 1") && unknown.contains("DESCRIPTION?"), "{unknown}");
    let twice = fails("patients.csv", "Id,BIRTHDATE,GENDER\na1,1950-01-01,F\na1,1950-01-01,F\n");
    assert!(twice.contains("line 3") && twice.contains("twice"), "{twice}");
    assert!(!bad_date.contains("a1"), "no patient is named");
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}
