//! How commands end over logs and keys that are not in order: by whose fault it is, and the same way everywhere.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use epiledger_ledger::{Canonical, Log, NoteKey, StdFs};
use epiledger_tests::{App, binary, run};
use serde_json::json;

#[track_caller]
fn expect(code: i32, words: &str, data: &Path, args: &[&str]) -> String {
    let output = run(data, args);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(words), "{args:?} does not say {words:?}: {text}");
    text
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The widest of the partial files in a folder.
fn widest(folder: &Path) -> PathBuf {
    let width = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    fs::read_dir(folder).unwrap().map(|item| item.unwrap().path()).max_by_key(width).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_command_ends_the_same_way_over_a_damaged_log_an_open_key_or_a_taken_lock() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let app = App::demo(&data, 100);
    expect(75, "in use by another process", &data, &["serve", "--port", "0"]);
    assert!(app.stop().unwrap().success());
    let determine = ["ledger", "determine", "--method", "m", "--date", "2026-01-01", "--expires", "2026-12-31"];
    let determine = [&determine[..], &["--risk-max", "0.05"]].concat();
    let patients = fs::read_to_string(data.join("keys/patients.jsonl")).unwrap();
    let patient: serde_json::Value = serde_json::from_str(patients.lines().next().unwrap()).unwrap();
    let grant = ["ledger", "grant", patient["patient"].as_str().unwrap(), "--valid-from", "2026-01-01"];

    // A damaged log: 6.
    let audit = dir.path().join("audit");
    copy(&data, &audit);
    flip(&widest(&audit.join("audit/tile/entries/000.p")), 90);
    for args in [&["serve", "--port", "0"][..], &["keys", "list"]] {
        expect(6, "is damaged", &audit, args);
    }
    let ledger = dir.path().join("ledger");
    copy(&data, &ledger);
    flip(&ledger.join("ledger/tile/entries/000"), 90);
    expect(6, "tile/entries/000", &ledger, &["ledger", "show", "5"]);
    expect(6, "tile/entries/000", &ledger, &["ingest", "--cut"]);
    expect(6, "tile/entries/000", &ledger, &["audit", "export", text(&ledger.join("ledger")), "--jsonl"]);
    flip(&ledger.join("ledger/checkpoint"), 5);
    for args in [&determine[..], &grant, &["ledger", "show"], &["ingest", "--cut"]] {
        expect(6, "`checkpoint` is damaged", &ledger, args);
    }

    // A key that others may read: 2.
    let open = |name: &str, args: &[&str]| {
        let path = data.join("keys").join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        expect(2, "chmod 600", &data, args);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    open("audit.key", &["serve", "--port", "0"]);
    open("secret.key", &["keys", "list"]);
    open("ledger.key", &determine);
    open("expert.key", &determine);
    open("patients.jsonl", &grant);
    open("pseudonym.key", &["ingest", "--cut"]);

    // What the ledger may hold is shown, and the audit log's form is not the ledger's: nothing is broken.
    let note = NoteKey::load(&data.join("keys/ledger.key")).unwrap();
    let log = Log::open(Arc::new(StdFs), &data.join("ledger"), note).unwrap();
    let index = log.append(vec![Canonical::of(&json!({ "a": "b" })).unwrap().into()]).unwrap().first;
    log.flush().unwrap();
    drop(log);
    expect(0, "MALFORMED", &data, &["ledger", "show", &index.to_string()]);
    expect(0, "MALFORMED", &data, &["ledger", "show"]);
    expect(2, "--jsonl", &data, &["audit", "export", text(&data.join("ledger")), "--fhir"]);
    expect(0, "MALFORMED", &data, &["ledger", "verify"]);
}

#[test]
fn an_audit_needs_no_home_and_a_mirror_on_its_way_is_not_broken() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 60).stop().unwrap().success());
    let log = data.join("audit");
    // A file where the state folder should be: nothing can be written, whoever runs it.
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let verify = |home: &Path, more: &[&str]| {
        let command = &mut Command::new(binary());
        command.args(["audit", "verify"]).arg(&log).args(more).env("XDG_STATE_HOME", home);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = verify(&file, &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("no fault") && out.contains("nothing is pinned") && err.contains("can't be written"),
        "{out}{err}"
    );
    let named = file.join("board.pin");
    assert_eq!(verify(dir.path(), &["--pin", text(&named)]).0, Some(1), "a pin that was asked for");

    let (mirror, nowhere) = (dir.path().join("mirror"), dir.path().join("nowhere"));
    fs::create_dir(&nowhere).unwrap();
    let key = log.join("key");
    expect(1, "not there", &data, &["ledger", "mirror", text(&nowhere), text(&mirror), "--key", text(&key)]);
    expect(75, "mirror again", &data, &["audit", "verify", text(&mirror)]);
    expect(0, "entries", &data, &["ledger", "mirror", text(&log), text(&mirror), "--key", text(&key)]);
    fs::create_dir(mirror.join("incoming")).unwrap();
    fs::write(mirror.join("incoming/tile_0_000"), b"half").unwrap();
    expect(0, "4 bytes are unfinished", &data, &["audit", "verify", text(&mirror)]);
}

#[test]
fn two_histories_of_one_log_are_a_fork() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    assert!(App::demo(&one, 60).stop().unwrap().success());
    copy(&one, &other);
    let common = Log::open(Arc::new(StdFs), &one.join("audit"), NoteKey::load(&one.join("keys/audit.key")).unwrap());
    let common = common.unwrap().size();
    for (data, question) in [(&one, "SELECT COUNT(*) FROM person"), (&other, "SELECT COUNT(*) FROM measurement")] {
        let app = App::demo(data, 60);
        assert_eq!(app.ask(question, "0.001").status, 200);
        assert!(app.stop().unwrap().success());
    }
    let logs = [one.join("audit"), other.join("audit")];
    let said = expect(6, "differ there", &one, &["audit", "diff", text(&logs[0]), text(&logs[1])]);
    let at: u64 = said.split("up to entry ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(at >= common, "{at} of {common}: {said}");
    let shown = expect(6, "\"forked\":true", &one, &["--json", "audit", "diff", text(&logs[0]), text(&logs[1])]);
    assert!(shown.contains(&format!("\"common\":{at}")), "{shown}");
}
