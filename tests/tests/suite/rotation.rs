//! The audit log goes on under a new key: budget, releases and cache are as before, and the closed log is missed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use epiledger_tests::App;
use serde_json::Value;

use crate::rollback::{FIRST, Place, SECOND, THIRD, answered, copy, stop};

fn spent(app: &App) -> Value {
    app.budget()["levels"][0]["spent"]["rho"].clone()
}

fn rotate(place: &Place) {
    let (steward, board) = (place.key("steward"), place.key("board"));
    place.expect(0, &["new key", "audit."], &["audit", "rotate", "--approver", &steward, "--approver", &board]);
}

fn vkey(dir: &Path) -> String {
    fs::read_to_string(dir.join("key")).unwrap().trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn after_a_rotation_budget_releases_and_cache_are_as_before() {
    let place = Place::new();
    let app = place.demo();
    let rows = answered(&app, FIRST, false);
    let before = spent(&app);
    let (steward, board, researcher) = (place.key("steward"), place.key("board"), place.key("researcher"));
    place.expect(2, &["stop the server"], &["audit", "rotate", "--approver", &steward, "--approver", &board]);
    stop(app);
    place.expect(2, &["two approvers"], &["audit", "rotate", "--approver", &steward]);
    for other in [&steward, &researcher] {
        place.expect(5, &["two approvers"], &["audit", "rotate", "--approver", &steward, "--approver", other]);
    }
    let older = place.at("older");
    copy(&place.data(), &older);
    rotate(&place);
    let (first, second) = (place.data().join("audit"), place.data().join("audit.2"));

    let app = place.serve();
    assert_eq!(spent(&app), before);
    assert_eq!(answered(&app, FIRST, true), rows);
    let answer = app.ask(SECOND, "0.001").json();
    assert_ne!(spent(&app), before);
    let file = place.at("answer.json");
    fs::write(&file, answer.to_string()).unwrap();
    place.expect(0, &["as its key signed", "audit.2"], &["audit", "receipt", text(&file)]);
    // The first answer again, by its id: its receipt is the closed log's.
    let id = app.ask(FIRST, "0.001").json()["statement_id"].as_str().unwrap().to_owned();
    let again = app.get("researcher", &format!("/v1/statements/{id}"));
    assert_eq!(again.json()["rows"], rows, "{}", again.text());
    fs::write(&file, &again.bytes).unwrap();
    place.expect(0, &["as its key signed"], &["audit", "receipt", text(&file), "--key", &vkey(&first)]);
    let entries = app.audit();
    let types: Vec<&str> = entries.iter().filter_map(|entry| entry["type"].as_str()).collect();
    let at = types.iter().position(|kind| *kind == "log.close").unwrap();
    assert_eq!(types[at + 1], "log.continue");
    let indices: Vec<u64> = entries.iter().filter_map(|entry| entry["index"].as_u64()).collect();
    assert!(indices.is_sorted() && indices.len() == entries.len());
    let checkpoint = app.get("board", "/v1/audit/checkpoint").text();
    assert!(checkpoint.starts_with("epiledger.local/audit.2\n"), "{checkpoint}");
    let key = vkey(&second);
    let url = format!("{}/v1/audit", app.url);
    place.expect(0, &["NOT given"], &["audit", "verify", &url, "--key", &key]);
    place.expect(0, &["audited first"], &["audit", "verify", &url, "--key", &key, "--previous", text(&first)]);
    stop(app);

    place.expect(0, &["audited first", "7 questions paid", "no fault"], &["audit", "verify"]);
    place.expect(0, &["it is closed", &key], &["audit", "verify", text(&first)]);
    let alone = place.at("alone");
    copy(&second, &alone);
    place.expect(0, &["NOT given"], &["audit", "verify", text(&alone)]);
    place.expect(0, &["audited first"], &["audit", "verify", text(&alone), "--previous", text(&first)]);

    // An auditor who keeps a head of the first log follows into the next, and further.
    let pin = place.at("auditor.pin");
    let keeping = ["audit", "verify", "--pin", text(&pin)];
    place.expect(0, &["first audit"], &[&keeping[..], &[text(&first)]].concat());
    place.expect(6, &["pinned key"], &[&keeping[..], &[text(&alone)]].concat());
    place.expect(0, &["continues the head"], &keeping);

    // A second rotation, and a copy of all three.
    rotate(&place);
    place.expect(0, &["continues the head"], &keeping);
    let app = place.serve();
    answered(&app, FIRST, true);
    answered(&app, SECOND, true);
    answered(&app, THIRD, false);
    place.expect(0, &["backed up"], &["backup", text(&place.at("backup"))]);
    stop(app);
    place.expect(0, &["audited first", "audit.3"], &["audit", "verify"]);
    let newest = place.put(&older, "newest");
    let app = place.serve();
    let refused = app.ask(THIRD, "0.001");
    assert!(refused.status == 503 && refused.text().contains("another log"), "{}", refused.text());
    stop(app);
    fs::rename(place.data(), place.at("older-again")).unwrap();
    place.expect(0, &["goes on"], &["restore", text(&place.at("backup"))]);
    let app = place.serve();
    answered(&app, THIRD, true);
    answered(&app, FIRST, true);
    assert_eq!(app.ask(FIRST, "0.002").status, 200);
    stop(app);
    place.expect(0, &["audited first"], &["audit", "verify"]);

    // Either log missing, or changed, is noticed.
    let _ = place.put(&newest, "restored");
    let gone = |name: &str| {
        fs::rename(place.data().join(name), place.at("aside")).unwrap();
        let (code, words) = place.run(&place.data(), &["serve", "--port", "0"]);
        assert!(code != 0 && words.contains(name), "{code}: {words}");
        fs::rename(place.at("aside"), place.data().join(name)).unwrap();
    };
    ["audit", "audit.2", "audit.3"].into_iter().for_each(gone);
    let bundle = fs::read_dir(first.join("tile/entries")).unwrap().next().unwrap().unwrap().path();
    let bundle = if bundle.is_dir() { fs::read_dir(bundle).unwrap().next().unwrap().unwrap().path() } else { bundle };
    let mut bytes = fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    place.expect(6, &["broken at"], &["audit", "verify"]);
}

/// What each stop of a rotation leaves in the folder, made by hand.
#[test]
fn a_rotation_that_was_stopped_is_finished_or_was_never_begun() {
    let place = Place::new();
    fs::write(place.at("settings.toml"), "timing = \"immediate\"\n").unwrap();
    let app = place.demo();
    answered(&app, FIRST, false);
    let before = spent(&app);
    stop(app);
    let keys = |name: &str| -> PathBuf { place.data().join("keys").join(name) };
    let whole = place.at("whole");
    copy(&place.data(), &whole);
    rotate(&place);
    let rotated = place.at("rotated");
    copy(&place.data(), &rotated);

    // The key is there and the log is not closed.
    fs::remove_dir_all(place.data()).unwrap();
    copy(&whole, &place.data());
    fs::copy(rotated.join("keys/audit.2.key"), keys("audit.2.next.key")).unwrap();
    stop(place.serve());
    assert!(!place.data().join("audit.2").exists());
    rotate(&place);
    assert_eq!(vkey(&place.data().join("audit.2")), vkey(&rotated.join("audit.2")));

    // The log is closed, and the next one is not there, or has no checkpoint, or is there beside a key without its name.
    for left in 0..3 {
        fs::remove_dir_all(place.data()).unwrap();
        copy(&rotated, &place.data());
        fs::rename(keys("audit.2.key"), keys("audit.2.next.key")).unwrap();
        match left {
            0 => fs::remove_dir_all(place.data().join("audit.2")).unwrap(),
            1 => {
                fs::remove_dir_all(place.data().join("audit.2")).unwrap();
                fs::create_dir(place.data().join("audit.2")).unwrap();
            }
            _ => {}
        }
        let app = place.serve();
        assert_eq!(spent(&app), before);
        answered(&app, FIRST, true);
        answered(&app, SECOND, false);
        stop(app);
        assert!(keys("audit.2.key").exists() && !keys("audit.2.next.key").exists());
        // Each of these copies is another log to those who saw the others.
        let pin = place.at(&format!("pin{left}"));
        place.expect(0, &["audited first"], &["audit", "verify", "--pin", text(&pin)]);
    }

    // A closed log alone goes nowhere.
    fs::remove_dir_all(place.data()).unwrap();
    copy(&rotated, &place.data());
    fs::remove_dir_all(place.data().join("audit.2")).unwrap();
    fs::remove_file(keys("audit.2.key")).unwrap();
    let app = place.serve();
    answered(&app, FIRST, true);
    let refused = app.ask(SECOND, "0.001");
    assert!(refused.status == 503 && refused.text().contains("closed"), "{}", refused.text());
    stop(app);
}
