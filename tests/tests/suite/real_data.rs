//! Real (Synthea) records through the whole path. Skipped with a word where the folder is absent.

use std::{collections::BTreeMap, path::Path};

use arrow::{
    array::AsArray,
    datatypes::{Float64Type, Int64Type},
    util::display::array_value_to_string,
};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use epiledger_engine::exec::{local::LocalExecutor, post::answer};
use epiledger_ingest::{Folder, snapshot::FileManifest};
use epiledger_privacy::{
    loss::Rho,
    snapshot::{Snapshot, StoredFile},
};
use epiledger_tests::{App, real_data, run};

use crate::{
    setup::Bench,
    statistics::{Held, draw_from, raw},
    world,
};

const CASES: &str = "SELECT p.county AS county, COUNT(*) AS n FROM person p WHERE p.person_id IN \
                     (SELECT person_id FROM condition_occurrence WHERE condition_source_value = '53741008') \
                     GROUP BY p.county";

/// Persons with coronary heart disease by county, exactly, by DataFusion alone over the snapshot's files.
pub fn exactly(data: &Path, sql: &str) -> Vec<(String, i64)> {
    let manifest = epiledger_ingest::snapshot::newest(data).unwrap().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        for (name, table) in &manifest.tables {
            let files: Vec<String> =
                table.files.iter().map(|f| data.join(&f.path).to_string_lossy().into_owned()).collect();
            let frame = context.read_parquet(files, ParquetReadOptions::default()).await.unwrap();
            context.register_table(name.as_str(), frame.into_view()).unwrap();
        }
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let rows = batches.iter().flat_map(|batch| {
            let keys = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            let counts = batch.column(1).as_primitive::<Int64Type>().clone();
            (0..batch.num_rows())
                .map(|r| (keys.as_string::<i32>().value(r).to_owned(), counts.value(r)))
                .collect::<Vec<_>>()
        });
        rows.collect()
    })
}

const DETERMINE: [&str; 10] = [
    "ledger",
    "determine",
    "--method",
    "statistical",
    "--date",
    "2020-01-01",
    "--expires",
    "2099-12-31",
    "--risk-max",
    "0.04",
];

fn imported(data: &Path, folder: &Path) {
    let folder = folder.to_str().unwrap();
    let output = run(data, &["ledger", "import", "--synthea", folder, "--consent", "all"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let determined = run(data, &DETERMINE);
    assert!(determined.status.success(), "{}", String::from_utf8_lossy(&determined.stderr));
    let output = run(data, &["ingest"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn coronary_heart_disease_by_county_of_26191_persons() {
    let Some(folder) = real_data("synthea_ma_cardio_parquet") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    imported(&data, &folder);
    let people = exactly(&data, "SELECT 'all', COUNT(*) FROM person");
    assert_eq!(people[0].1, 26_191);
    let cases: BTreeMap<String, i64> = exactly(
        &data,
        "SELECT p.county, COUNT(DISTINCT p.person_id) FROM person p JOIN condition_occurrence c ON p.person_id = c.person_id \
         WHERE c.condition_source_value = '53741008' GROUP BY p.county",
    )
    .into_iter()
    .collect();
    for (county, expected) in [("25017", 268), ("25027", 141), ("25025", 137), ("25009", 128), ("25021", 128)] {
        assert_eq!(cases.get(county), Some(&expected), "{county}");
    }

    covers(&data, &cases);

    // The same by the command line and the server, once.
    let key = |role: &str, principal: &str| {
        let made = run(&data, &["keys", "create", principal, "--role", role, "--json"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        let path = dir.path().join(role);
        std::fs::write(&path, made["token"].as_str().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        (path.to_str().unwrap().to_owned(), made["token"].clone())
    };
    let (steward, board) = (key("steward", "s").0, key("board", "b").0);
    let set = run(&data, &["budget", "set", "--approver", &steward, "--approver", &board]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let approve = [
        "protocol",
        "approve",
        "chd",
        "--title",
        "Heart disease by county",
        "--purpose",
        "HMB",
        "--investigator",
        "r",
        "--rho-cap",
        "0.5",
        "--delta-cap",
        "0",
        "--valid-from",
        "2020-01-01",
        "--valid-to",
        "2099-12-31",
        "--key-file",
        &board,
    ];
    let approved = run(&data, &approve);
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    let token = key("researcher", "r").1;
    let mut app = App::start(&data, &["serve", "--json", "--port", "0"]);
    app.keys = serde_json::json!({ "researcher": token });
    let answer = app.ask(CASES, "0.01").json();
    let counties: Vec<&str> = answer["rows"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect();
    assert!(counties.len() == 14 && cases.keys().all(|county| counties.contains(&county.as_str())), "{answer}");
}

/// Over repeated fresh budgets, each spent on this one question, the intervals hold the truth at the stated rate.
fn covers(data: &Path, cases: &BTreeMap<String, i64>) {
    let catalog = Folder::new(data).catalog().unwrap();
    let manifest = epiledger_ingest::snapshot::newest(data).unwrap().unwrap();
    let root = std::fs::canonicalize(data).unwrap();
    let stored = |file: &FileManifest| StoredFile {
        path: root.join(&file.path).to_string_lossy().trim_start_matches('/').to_owned(),
        size: file.size,
        low: file.low,
        high: file.high,
    };
    let private = manifest.tables.iter().map(|(name, table)| (name.clone(), table.files.iter().map(stored).collect()));
    let snapshot = Snapshot { number: 1, private: private.collect(), ..Snapshot::default() };
    let params = world::params(Rho::parse("0.01").unwrap());
    let plan = world::plan(CASES, &catalog, &snapshot, &params).unwrap();
    let held = Held(raw(&plan));
    let executor = LocalExecutor::new().unwrap();
    let (mut seen, mut covered) = (0u32, 0u32);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for _ in 0..40 {
            let budget = Bench::new("0.01");
            let released = draw_from(&budget, &plan, &held).await;
            let answered = answer(&executor, &plan, &released, &BTreeMap::new(), None).await.unwrap().batch;
            let column = |name: &str| answered.column_by_name(name).unwrap();
            let end = |name: &str| column(name).as_primitive::<Float64Type>().clone();
            let (low, high) = (end("n_low"), end("n_high"));
            for row in 0..answered.num_rows() {
                let county = array_value_to_string(column("county"), row).unwrap();
                let truth = cases.get(&county).copied().unwrap_or(0) as f64;
                seen += 1;
                covered += u32::from(low.value(row) <= truth && truth <= high.value(row));
            }
        }
    });
    assert_eq!(seen, 40 * 14);
    // The mechanism covers at least 95 %; under it fewer than this has odds below 1e-9.
    let rate = f64::from(covered) / f64::from(seen);
    assert!(rate > 0.95 - 6.5 * (0.95f64 * 0.05 / f64::from(seen)).sqrt(), "{rate}");
}

#[test]
fn both_column_generations_of_synthea_csv_go_the_whole_way() {
    for name in ["synthea_ma_covid_1k", "synthea_ma_metabolic_6k"] {
        let Some(folder) = real_data(name) else { continue };
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        imported(&data, &folder);
        let people = exactly(&data, "SELECT 'all', COUNT(*) FROM person")[0].1;
        let lines = std::fs::read_to_string(folder.join("patients.csv")).unwrap().lines().count() as i64 - 1;
        assert_eq!(people, lines, "{name}");
        let conditions = exactly(&data, "SELECT 'all', COUNT(*) FROM condition_occurrence")[0].1;
        assert!(conditions > 1_000, "{name}: {conditions}");
        let verified = run(&data, &["audit", "verify", data.join("ledger").to_str().unwrap()]);
        assert!(verified.status.success());
    }
}

#[test]
fn consent_for_none_leaves_no_row() {
    let Some(folder) = real_data("synthea_full_110") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let folder = folder.to_str().unwrap();
    assert!(run(&data, &["ledger", "import", "--synthea", folder, "--consent", "none"]).status.success());
    assert!(run(&data, &DETERMINE).status.success());
    assert!(run(&data, &["ingest"]).status.success());
    assert_eq!(exactly(&data, "SELECT 'all', COUNT(*) FROM person")[0].1, 0);
}
