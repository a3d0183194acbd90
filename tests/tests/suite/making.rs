//! kill -9 while a ledger is made: it is whole or not there, and the same command starts over.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use epiledger_tests::{binary, run};

const PEOPLE: usize = 1_500;

fn arguments() -> Vec<String> {
    ["ledger", "simulate", "--seed", "5", "--people"]
        .map(str::to_owned)
        .into_iter()
        .chain([PEOPLE.to_string()])
        .collect()
}

fn patients(data: &Path) -> Vec<u8> {
    fs::read(data.join("keys/patients.jsonl")).unwrap()
}

#[test]
fn a_simulation_killed_at_any_moment_leaves_no_ledger_or_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let arguments = arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert!(run(&whole, &arguments).status.success());
    let killed = dir.path().join("killed");
    let (mut stopped, mut finished) = (0, 0);
    for round in 0..14u64 {
        let mut child = Command::new(binary())
            .args(&arguments)
            .arg("--data")
            .arg(&killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(5 + 37 * round % 211 + 25 * round));
        let _ = child.kill();
        let _ = child.wait();
        let ingest = run(&killed, &["ingest"]);
        if killed.join("ledger").exists() {
            finished += 1;
            assert!(ingest.status.success(), "{}", String::from_utf8_lossy(&ingest.stderr));
            break;
        }
        stopped += 1;
        assert_eq!(ingest.status.code(), Some(1));
        let said = String::from_utf8_lossy(&ingest.stderr).into_owned();
        assert!(said.contains("`ledger` is missing"), "{said}");
        assert!(!killed.join("snapshots").exists() && !killed.join("tables").exists());
    }
    println!("stopped {stopped} times, finished before the kill {finished} times");
    assert!(stopped > 2, "the kills came too late to mean anything");
    if finished == 0 {
        let made = run(&killed, &arguments);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        assert!(run(&killed, &["ingest"]).status.success());
    }
    assert_eq!(patients(&killed), patients(&whole), "every key is there");
    assert!(!killed.join("ledger.new").exists());
    let verified = run(&killed, &["ledger", "verify", killed.join("ledger").to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let again = run(&killed, &arguments);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already holds a ledger"));
}
