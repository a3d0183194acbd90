//! A person withdraws from a running service: rows, payloads, texts and results go, and what stays is told.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use epiledger_tests::{App, run};
use serde_json::{Value, json};

/// A key of the running demo in a file of its own.
fn key_file(app: &App, dir: &Path, role: &str) -> String {
    let path = dir.join(format!("{role}.key"));
    fs::write(&path, app.keys[role].as_str().unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ok(data: &Path, args: &[&str]) -> Value {
    let output = run(data, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// Ledger entries of a patient with their index, as `ledger show` prints them.
fn entries(data: &Path, size: u64) -> Vec<(u64, Value)> {
    let reader = epiledger_ledger::LogReader::open(&data.join("ledger")).unwrap();
    assert!(reader.size() >= size);
    let entry = |stored: Result<epiledger_ledger::StoredEntry, _>| {
        let (index, bytes, _) = stored.unwrap();
        (index, serde_json::from_slice(&bytes).unwrap())
    };
    reader.entries(0).map(entry).collect()
}

/// Patients with a history and a standing grant for everything, and the payload of that history.
fn consenting(data: &Path) -> Vec<(String, String)> {
    let all = entries(data, 1);
    let of = |kind: &str, patient: &str| -> Vec<Value> {
        let is = |(_, e): &&(u64, Value)| e["type"] == kind && e["body"]["patient"] == patient;
        all.iter().filter(is).map(|(_, e)| e["body"].clone()).collect()
    };
    let mut found = Vec::new();
    for (_, entry) in all.iter().filter(|(_, e)| e["type"] == "NewRecord" && e["body"]["record_id"] == "history") {
        let patient = entry["body"]["patient"].as_str().unwrap();
        let grants = of("GrantAccess", patient);
        let plain =
            grants.len() == 1 && grants[0]["purposes"] == json!(["GRU"]) && grants[0]["categories"] == json!(["*"]);
        if plain && of("RevokeAccess", patient).is_empty() && of("ModifyRecord", patient).is_empty() {
            let payload = entry["body"]["payload"]["sha256"].as_str().unwrap();
            found.push((patient.to_owned(), payload.to_owned()));
        }
    }
    found
}

fn states(data: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(data.join("tables/person")).unwrap().map(|e| e.unwrap().path());
    names.filter(|path| !path.ends_with("_delta_log")).collect()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let came = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        done()
    });
    assert!(came, "{what}");
}

#[test]
fn a_withdrawal_from_a_running_service() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 200);
    let [steward, board] = ["steward", "board"].map(|role| key_file(&app, dir.path(), role));
    let asked = app.ask("SELECT gender, COUNT(*) AS n FROM person GROUP BY gender", "0.001").json();
    let statement = asked["statement_id"].as_str().unwrap().to_owned();
    let people = consenting(&data);
    let ((leaver, _), (eraser, payload)) = (people[0].clone(), people[1].clone());
    // The server reads the payload, and keeps the ledger open.
    let blob = format!("/v1/ledger/blob/{payload}");
    assert_eq!(app.get("operator", &blob).status, 200);

    // One takes everything back, another has a record erased; the server runs on.
    ok(&data, &["ledger", "revoke", &leaver, "--json"]);
    let erase = ["ledger", "erase", "--record", "history", "--basis", "withdrawal", "--json"];
    let ambiguous = run(&data, &erase);
    assert_eq!(ambiguous.status.code(), Some(2), "{}", String::from_utf8_lossy(&ambiguous.stderr));
    let one: Vec<&str> = erase.iter().copied().chain(["--patient", eraser.as_str()]).collect();
    let erased = ok(&data, &one);
    assert_eq!((&erased["payloads"][0]["sha256"], &erased["payloads"][0]["gone"]), (&json!(payload), &json!(true)));
    assert_eq!(app.get("operator", &blob).status, 404, "not even from a file that was open");
    assert_eq!(run(&data, &one).status.code(), Some(2), "it is erased already");
    let verified = run(&data, &["ledger", "verify", data.join("ledger").to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    // The next cut: the server takes it up, and the files of the one before go.
    let before = states(&data);
    assert_eq!(before.len(), 1);
    assert_eq!(ok(&data, &["ingest", "--cut", "--json"])["snapshot"], 2);
    wait_until("the files of the superseded snapshot go", || !before[0].exists());
    assert_eq!(states(&data).len(), 1);
    assert_eq!(app.ask("SELECT COUNT(*) FROM person", "0.001").json()["snapshot"]["number"], 2);

    // The steward's report.
    let none = run(&data, &["consent", "report", "--patient", &leaver, "--key-file", &board]);
    assert_eq!(none.status.code(), Some(5), "it is the steward's");
    let report = ok(&data, &["consent", "report", "--patient", &leaver, "--key-file", &steward, "--json"]);
    let withdrawal = &report["consent"]["withdrawals"][0];
    assert_eq!((&withdrawal["kind"], &withdrawal["from_snapshot"]), (&json!("RevokeAccess"), &json!(2)), "{report}");
    assert_eq!(withdrawal["rows"]["person"], 1, "{report}");
    let stay: Vec<&Value> = report["releases_that_stay"].as_array().unwrap().iter().map(|r| &r["snapshot"]).collect();
    assert!(stay.len() >= 4 && stay.iter().all(|snapshot| **snapshot == json!(1)), "{report}");
    assert!(report.to_string().contains(&statement));
    let report = ok(&data, &["consent", "report", "--patient", &eraser, "--key-file", &steward, "--json"]);
    let withdrawal = &report["consent"]["withdrawals"][0];
    assert_eq!((&withdrawal["kind"], &withdrawal["gone"]), (&json!("Erase"), &json!(true)), "{report}");
    assert_eq!(withdrawal["uncounted_records"], 1, "{report}");
    let size = app.get("board", "/v1/audit/checkpoint").text();
    assert_eq!(app.get("board", "/v1/audit/checkpoint").text(), size, "a report is on no chain");

    // A statement goes with two keys, through the server and over the folder itself.
    let redact = |id: &str| -> Vec<String> {
        let words = ["audit", "redact", "--statement", id, "--reason", "withdrawal", "--approver", &steward];
        words.iter().chain(&["--approver", board.as_str(), "--json"]).map(|word| (*word).to_owned()).collect()
    };
    let words = redact(&statement);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let redacted = ok(&data, &words);
    assert_eq!(redacted["blobs"].as_array().unwrap().len(), 2, "{redacted}");
    assert_ne!(app.get("researcher", &format!("/v1/statements/{statement}/result")).status, 200);
    let other = app.ask("SELECT race, COUNT(*) AS n FROM person GROUP BY race", "0.001").json();
    assert!(app.stop().unwrap().success());
    let words = redact(other["statement_id"].as_str().unwrap());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(ok(&data, &words)["blobs"].as_array().unwrap().len(), 2);
    assert_eq!(run(&data, &words).status.code(), Some(3), "it is gone already");
    let verified = run(&data, &["audit", "verify", data.join("audit").to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let twice = ["audit", "redact", &"0".repeat(64), "--reason", "r", "--approver", &steward];
    assert_eq!(run(&data, &twice).status.code(), Some(2), "one key is not two");
}
