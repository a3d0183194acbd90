//! Real (Synthea) records through the whole path. Skipped with a word where the folder is absent.

use std::{collections::BTreeMap, path::Path};

use arrow::{array::AsArray, datatypes::Int64Type};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use epiledger_tests::{App, real_data, run};

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

    // Over fresh budgets (fresh draws of the same question) the interval holds the truth at the stated rate.
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
    let (mut seen, mut covered) = (0u32, 0u32);
    for draw in 0..40 {
        // An alias makes no new question, so a tautology with a number does.
        let sql = format!(
            "SELECT p.county, COUNT(*) FROM person p WHERE p.year_of_birth <> {} AND p.person_id IN \
             (SELECT person_id FROM condition_occurrence WHERE condition_source_value = '53741008') GROUP BY p.county",
            1_000 + draw
        );
        let answer = app.ask(&sql, "0.01").json();
        for row in answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}")) {
            let truth = cases.get(row[0].as_str().unwrap()).copied().unwrap_or(0) as f64;
            seen += 1;
            covered += u32::from(row[2].as_f64().unwrap() <= truth && truth <= row[3].as_f64().unwrap());
        }
    }
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
