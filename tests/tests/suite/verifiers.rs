//! Strangers' programs and ours, each on the other's logs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use epiledger_tests::{App, command, verifiers};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: usize) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    fs::write(path, changed).unwrap();
    bytes
}

#[test]
fn both_independent_verifiers_take_the_demos_logs_and_no_tampered_copy() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 100).stop().unwrap().success());
    let mut refused = 0;
    for log in ["audit", "ledger"].map(|name| data.join(name)) {
        for (name, output) in verifiers::verify(&log) {
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8_lossy(&output.stdout).contains("signature and root hold"));
        }
        // Theirs are the key, the head and the tree; journal and blobs are the auditor's.
        let tree = files(&log.join("tile"));
        let step = tree.len() / 6 + 1;
        for path in tree.into_iter().step_by(step).chain([log.join("key"), log.join("checkpoint")]) {
            let bytes = flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
            for (name, output) in verifiers::verify(&log) {
                assert_eq!(output.status.code(), Some(1), "{name} takes a changed {}", path.display());
                refused += 1;
            }
            fs::write(&path, bytes).unwrap();
        }
    }
    println!("shown: independent verifiers took the demo's logs and refused {refused} of {refused} tampered copies");
}

/// `audit verify DIR --key VKEY --tree-only`.
fn tree_only(dir: &Path, key: &str) -> Output {
    let pin = dir.with_extension("pin");
    let output = command().args(["audit", "verify", "--tree-only", "--key", key, "--pin"]).arg(&pin).arg(dir).output();
    // Each verdict is a first one: what an earlier one saw must not decide it.
    let _ = fs::remove_file(pin);
    output.unwrap()
}

#[test]
fn a_log_of_another_implementation_verifies_and_a_flipped_byte_of_it_exits_with_6() {
    let Some(program) = verifiers::go("foreign") else { return };
    let root = tempfile::tempdir().unwrap();
    for size in ["1", "256", "700"] {
        let dir = root.path().join(size);
        let written = Command::new(&program).arg(&dir).arg(size).output().unwrap();
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let key = String::from_utf8(written.stdout).unwrap();
        let words =
            |output: &Output| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        let output = tree_only(&dir, key.trim());
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        assert!(words(&output).contains(&format!("{size} entries")), "{}", words(&output));
        for path in files(&dir).into_iter().filter(|path| !path.ends_with("key")) {
            let length = fs::metadata(&path).unwrap().len() as usize;
            for at in [0, length / 2, length - 2] {
                let bytes = flip(&path, at);
                let output = tree_only(&dir, key.trim());
                assert_eq!(output.status.code(), Some(6), "byte {at} of {}: {}", path.display(), words(&output));
                fs::write(&path, bytes).unwrap();
            }
        }
        assert_eq!(tree_only(&dir, key.trim()).status.code(), Some(0), "all was put back");
    }
}
