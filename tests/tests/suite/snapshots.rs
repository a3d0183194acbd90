//! Another process cuts a snapshot while the server runs.

use epiledger_tests::{App, run};
use serde_json::{Value, json};

const GENDERS: &str = "SELECT gender, COUNT(*) AS n FROM person GROUP BY gender";

#[test]
fn a_running_server_takes_up_a_cut_of_another_process_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 200);
    let first = app.ask(GENDERS, "0.001").json();
    assert_eq!(first["snapshot"], json!({ "number": 1, "cut_at": "2025-12-31T00:00Z" }));
    let cut = run(&data, &["ingest", "--cut", "--json"]);
    assert!(cut.status.success(), "{}", String::from_utf8_lossy(&cut.stderr));
    let cut: Value = serde_json::from_slice(&cut.stdout).unwrap();
    assert_eq!(cut["snapshot"], 2);

    let current = || app.get("researcher", "/v1/datasets").json()["datasets"][0]["snapshot"].clone();
    let taken_up = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        current()["number"] == 2
    });
    assert!(taken_up, "{}", current());
    let second = app.ask(GENDERS, "0.001").json();
    assert_eq!((&second["snapshot"], &second["cached"]), (&current(), &json!(false)));
    let pinned: Vec<Value> = app.audit().into_iter().filter(|entry| entry["type"] == "snapshot").collect();
    let numbers: Vec<&Value> = pinned.iter().map(|entry| &entry["body"]["number"]).collect();
    assert_eq!(numbers, [&json!(1), &json!(2)]);
    assert!(pinned.iter().all(|entry| entry["body"]["scheduled"] == false), "{pinned:?}");
    // Without --cut nothing is due before the schedule's next hour.
    let idle = run(&data, &["ingest", "--json"]);
    let idle: Value = serde_json::from_slice(&idle.stdout).unwrap();
    assert_eq!((&idle["changed"], &idle["snapshot"]), (&json!(false), &json!(2)), "{idle}");
    assert!(app.stop().unwrap().success());
    let verified = run(&data, &["audit", "verify", data.join("audit").to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
