//! `sql/library`: each statement over simulated people, exactly, against plain arithmetic day by day; and through the
//! server, with noise.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Date32Type, Int32Type, Int64Type},
};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use epiledger_ingest::{
    Folder, Options, Pipeline, Progress,
    simulate::{DATA_CUT, simulate},
    snapshot::{self, SnapshotManifest},
};
use epiledger_privacy::{
    bound::bound,
    consent::purpose_bit,
    day::Day,
    loss::Rho,
    snapshot::{PublicTable, Snapshot, StoredFile},
};
use epiledger_sql::{Value, bind, parse};
use epiledger_tests::App;
use serde_json::json;

use crate::world;

const COVID: &str = "840539006";
const SINUSITIS: &str = "444814009";
const HYPERTENSION: &str = "59621000";

/// Each statement with the values that it is asked with.
fn questions() -> [(&'static str, Vec<(&'static str, Value)>); 6] {
    let text = |name: &'static str, value: &str| (name, Value::Text(value.to_owned()));
    let year = || vec![text("start", "2020-01-01"), text("end", "2020-12-31")];
    let with = |mut values: Vec<(&'static str, Value)>, more| {
        values.push(more);
        values
    };
    [
        ("point_prevalence", vec![text("code", HYPERTENSION), text("day", "2023-06-30")]),
        ("period_prevalence", with(year(), text("code", SINUSITIS))),
        ("incidence_rate_first_ever", with(year(), text("code", COVID))),
        ("incidence_rate", with(with(year(), text("code", SINUSITIS)), ("washout", Value::Integer(90)))),
        ("epidemic_curve", with(year(), text("code", COVID))),
        ("epidemic_curve_first_ever", vec![text("code", COVID)]),
    ]
}

fn library(name: &str) -> String {
    let path = Path::new("../sql/library").join(format!("{name}.sql"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_statement_of_the_library_is_asked_here() {
    let folder = Path::new("../sql/library");
    let stems = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let stems: BTreeSet<String> = stems.map(|p: PathBuf| p.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(stems, questions().iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// One patient as the tables have them.
struct Patient {
    gender: String,
    observed: (i32, i32),
    /// Code, first day, last day if it ended.
    conditions: Vec<(String, i32, Option<i32>)>,
}

/// The people of a data folder whose consent covers health research, and the folder's snapshot.
struct Data {
    snapshot: Snapshot,
    patients: Vec<Patient>,
}

fn data(dir: &Path, people: u64) -> Data {
    simulate(dir, people, 7, &|_: Progress| {}).unwrap();
    Pipeline::run(dir, Options::at(DATA_CUT)).unwrap();
    let manifest = snapshot::newest(dir).unwrap().unwrap();
    let mut found = Snapshot { number: 1, cut_at: manifest.cut_at.clone(), synthetic: true, ..Snapshot::default() };
    for (name, table) in &manifest.tables {
        let stored = table.files.iter().map(|file| StoredFile {
            path: dir.join(&file.path).to_string_lossy().trim_start_matches('/').to_owned(),
            size: file.size,
            low: file.low,
            high: file.high,
        });
        found.private.insert(name.clone(), stored.collect());
    }
    for (name, _) in Folder::new(dir).catalog().unwrap().tables.iter().filter(|(_, table)| table.private.is_none()) {
        let path = Folder::new(dir).public().join(format!("{name}.parquet"));
        let table = PublicTable { rows: vec![read(vec![path])], ..PublicTable::default() };
        found.public.insert(name.clone(), table);
    }
    Data { snapshot: found, patients: patients(dir, &manifest) }
}

fn read(files: Vec<PathBuf>) -> RecordBatch {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let files: Vec<String> = files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
        let options = ParquetReadOptions::default().skip_metadata(true);
        let frame = SessionContext::new().read_parquet(files, options).await.unwrap();
        let schema = frame.schema().as_arrow().clone();
        concat_batches(&schema.into(), &frame.collect().await.unwrap()).unwrap()
    })
}

fn patients(dir: &Path, manifest: &SnapshotManifest) -> Vec<Patient> {
    let table = |name: &str| read(manifest.tables[name].files.iter().map(|file| dir.join(&file.path)).collect());
    let (persons, periods, conditions) = (table("person"), table("observation_period"), table("condition_occurrence"));
    let bit = purpose_bit("HMB").unwrap();
    let ids = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    let covered = |batch: &RecordBatch, row: usize| {
        batch.column_by_name("_consent").unwrap().as_primitive::<Int32Type>().value(row) & bit != 0
    };
    let text = |batch: &RecordBatch, name: &str, row: usize| {
        let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
        column.unwrap().as_string::<i32>().value(row).to_owned()
    };
    let day = |batch: &RecordBatch, name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap().as_primitive::<Date32Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let mut observed = BTreeMap::new();
    for (row, id) in ids(&periods).into_iter().enumerate().filter(|(row, _)| covered(&periods, *row)) {
        let ends = ["observation_period_start_date", "observation_period_end_date"];
        observed.insert(id, ends.map(|name| day(&periods, name, row).unwrap()));
    }
    let codes = arrow::compute::cast(
        conditions.column_by_name("condition_source_value").unwrap(),
        &arrow::datatypes::DataType::Utf8,
    )
    .unwrap();
    let mut seen: BTreeMap<i64, Vec<(String, i32, Option<i32>)>> = BTreeMap::new();
    for (row, id) in ids(&conditions).into_iter().enumerate().filter(|(row, _)| covered(&conditions, *row)) {
        let start = day(&conditions, "condition_start_date", row).unwrap();
        let code = codes.as_string::<i32>().value(row).to_owned();
        seen.entry(id).or_default().push((code, start, day(&conditions, "condition_end_date", row)));
    }
    let one = |(row, id): (usize, i64)| {
        let [first, last] = *observed.get(&id)?;
        Some(Patient {
            gender: text(&persons, "gender", row),
            observed: (first, last),
            conditions: seen.remove(&id).unwrap_or_default(),
        })
    };
    ids(&persons).into_iter().enumerate().filter(|(row, _)| covered(&persons, *row)).filter_map(one).collect()
}

fn date(text: &str) -> i32 {
    Day::parse(text).unwrap().0
}

impl Patient {
    fn of(&self, code: &str) -> impl Iterator<Item = (i32, Option<i32>)> {
        self.conditions.iter().filter(move |c| c.0 == code).map(|c| (c.1, c.2))
    }

    fn first(&self, code: &str) -> Option<i32> {
        self.of(code).map(|c| c.0).min()
    }
}

type Groups = BTreeMap<Vec<String>, Vec<i64>>;

/// What the definitions say, in the order of the measured numbers, day by day and person by person.
fn naive(name: &str, patients: &[Patient]) -> Groups {
    let (start, end) = (date("2020-01-01"), date("2020-12-31"));
    let mut groups = Groups::new();
    let mut add = |key: String, numbers: &[i64]| {
        let group = groups.entry(vec![key]).or_insert_with(|| vec![0; numbers.len()]);
        group.iter_mut().zip(numbers).for_each(|(sum, n)| *sum += n);
    };
    for patient in patients {
        let (first, last) = patient.observed;
        let key = patient.gender.clone();
        match name {
            "point_prevalence" => {
                let day = date("2023-06-30");
                let case = patient.of(HYPERTENSION).any(|(from, to)| (from..=to.unwrap_or(i32::MAX)).contains(&day));
                if (first..=last).contains(&day) {
                    add(key, &[1, i64::from(case)]);
                }
            }
            "period_prevalence" => {
                let touches = (start..=end).any(|day| (first..=last).contains(&day));
                let whole = (start..=end).all(|day| (first..=last).contains(&day));
                let covers =
                    |day: i32| patient.of(SINUSITIS).any(|(from, to)| (from..=to.unwrap_or(i32::MAX)).contains(&day));
                let case = (start..=end).any(covers);
                if touches {
                    add(key, &[1, i64::from(case), i64::from(whole), i64::from(whole && case)]);
                }
            }
            "incidence_rate_first_ever" => {
                let case = patient.first(COVID);
                let at_risk = |day: &i32| (first..=last).contains(day) && case.is_none_or(|case| *day <= case);
                let days = (start..=end).filter(at_risk).count();
                let counted = case.is_some_and(|case| (start..=end).contains(&case) && (first..=last).contains(&case));
                add(key, &[i64::try_from(days).unwrap(), i64::from(counted)]);
            }
            "incidence_rate" => {
                let spells: Vec<(i32, i32)> =
                    patient.of(SINUSITIS).map(|(from, to)| (from, to.unwrap_or(end) + 90)).collect();
                let at_risk = |day: i32| !spells.iter().any(|(from, until)| (from + 1..=*until).contains(&day));
                let days = (start..=end).filter(|day| (first..=last).contains(day) && at_risk(*day));
                let days: Vec<i32> = days.collect();
                let cases = days.iter().filter(|day| spells.iter().any(|(from, _)| from == *day)).count();
                add(key, &[i64::try_from(days.len()).unwrap(), i64::try_from(cases.min(5)).unwrap()]);
            }
            "epidemic_curve" => {
                if let Some(case) = patient.first(COVID).filter(|case| (start..=end).contains(case)) {
                    let monday = case - i32::try_from(Day(case).weekday()).unwrap();
                    add(Day(monday).to_string(), &[1]);
                }
            }
            "epidemic_curve_first_ever" => {
                if let Some(case) = patient.first(COVID) {
                    let monday = case - i32::try_from(Day(case).weekday()).unwrap();
                    add(Day(monday).to_string(), &[1]);
                }
            }
            other => panic!("{other} has no plain arithmetic"),
        }
    }
    groups
}

#[test]
fn every_statement_counts_what_its_definition_counts() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let data = data(&root, 1500);
    let catalog = Folder::new(&root).catalog().unwrap();
    let mut params = world::params(Rho::parse("0.1").unwrap());
    params.purpose_bit = purpose_bit("HMB").unwrap();
    for (name, values) in questions() {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let query = bind(&parse(&library(name)).unwrap(), &catalog, &values).unwrap_or_else(|e| panic!("{name}: {e}"));
        let plan = bound(&query, &catalog, &data.snapshot, &params).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(plan.cells().is_some(), "{name}: its keys are public");
        assert_eq!((plan.bounds().rows, plan.bounds().groups), (1, 1), "{name}: a person is one row of one group");
        let mut wanted = naive(name, &data.patients);
        wanted.retain(|_, numbers| numbers.iter().any(|n| *n != 0));
        assert!(wanted.len() > 1 && wanted.values().all(|numbers| numbers[0] > 0), "{name}: {wanted:?}");
        assert!(wanted.values().any(|numbers| numbers.last().is_some_and(|n| *n > 0)), "{name}: {wanted:?}");
        assert_eq!(world::exact(&plan, 2), wanted, "{name}");
    }
}

#[test]
fn the_server_answers_every_statement() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 400);
    for (name, values) in questions() {
        let values: BTreeMap<&str, Value> = values.into_iter().collect();
        let body = json!({ "sql": library(name), "params": values, "privacy": { "rho": "0.01" } });
        let reply = app.post("researcher", "/v1/statements", &body);
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
}
