//! kill -9: nothing acknowledged is lost, nothing is released unpaid, ingest ends in the same tables.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use epiledger_tests::{App, command, run};
use serde_json::json;

/// Between intent and outcome: the price stays spent, the next start closes it as abandoned, the log verifies.
#[test]
fn killed_between_intent_and_outcome_the_question_is_abandoned_and_paid() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 300).stop().unwrap().success());
    // Two rounds: a third question without answer would suspend the protocol.
    // With time classes an outcome waits for its boundary: a window of 100 ms after the intent.
    let mut abandoned = 0;
    for round in 0..2u64 {
        let app = App::start(&data, &["serve", "--json", "--port", "0"]);
        let keys: serde_json::Value = serde_json::from_slice(&fs::read(data.join("demo.json")).unwrap()).unwrap();
        let url = app.url.clone();
        let token = keys["keys"]["researcher"].as_str().unwrap().to_owned();
        let sql =
            format!("SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > DATE '2020-01-{:02}'", round + 1);
        let asked = std::thread::spawn(move || {
            let body = json!({ "sql": sql, "privacy": { "rho": "0.001" } }).to_string();
            let _ = ureq::post(format!("{url}/v1/statements"))
                .header("Content-Type", "application/json")
                .header("Authorization", format!("Bearer {token}"))
                .send(body);
        });
        std::thread::sleep(Duration::from_millis(40 + 10 * round));
        app.kill();
        asked.join().unwrap();
    }
    let app = App::demo(&data, 300);
    let entries = app.audit();
    let mut paid = std::collections::BTreeSet::new();
    for entry in &entries {
        let id = entry["body"]["query_id"].as_str().unwrap_or_default().to_owned();
        match entry["type"].as_str().unwrap() {
            "query.intent" => assert!(paid.insert(id)),
            "query.outcome" => {
                assert!(paid.remove(&id), "an outcome without intent");
                abandoned += u32::from(entry["body"]["outcome"] == "abandoned");
            }
            _ => {}
        }
    }
    assert!(paid.is_empty(), "every intent has an outcome after a restart: {paid:?}");
    println!("abandoned in two rounds: {abandoned}");
    assert!(app.stop().unwrap().success());
    let verified = run(&data, &["audit", "verify", data.join("audit").to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// The bytes of each file of the newest snapshot, by table.
pub fn tables(data: &Path) -> Vec<(String, Vec<u8>)> {
    let newest = epiledger_ingest::snapshot::newest(data).unwrap().unwrap();
    let mut found: Vec<(String, Vec<u8>)> = newest
        .tables
        .iter()
        .flat_map(|(name, table)| {
            table
                .files
                .iter()
                .enumerate()
                .map(move |(i, file)| (format!("{name} {i}"), fs::read(data.join(&file.path)).unwrap()))
        })
        .collect();
    found.sort();
    found
}

/// Killed at many moments and run again, ingest ends in the same bytes of every file.
#[test]
fn ingest_killed_at_any_moment_and_run_again_ends_in_the_same_tables() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    assert!(run(&whole, &["ledger", "simulate", "--people", "800", "--seed", "3"]).status.success());
    let copy = |to: &Path| {
        assert!(Command::new("cp").arg("-r").arg(&whole).arg(to).status().unwrap().success());
    };
    let killed = dir.path().join("killed");
    copy(&killed);
    assert!(run(&whole, &["ingest"]).status.success());
    let expected = tables(&whole);
    assert!(expected.len() > 5);
    for round in 0..8u64 {
        let mut child = command()
            .args(["ingest", "--data"])
            .arg(&killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(30 + 60 * round));
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(run(&killed, &["ingest"]).status.success());
    assert!(tables(&killed) == expected, "tables differ after kills");
    let snapshots = fs::read_dir(killed.join("snapshots")).unwrap().count();
    assert!(run(&killed, &["ingest"]).status.success());
    assert_eq!(fs::read_dir(killed.join("snapshots")).unwrap().count(), snapshots, "nothing new, nothing written");
}
