//! One byte of any file of either log, and `audit verify` names the fault and exits with 6.

use std::{
    fs,
    path::{Path, PathBuf},
};

use epiledger_tests::{App, command};

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { files(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn verify(dir: &Path) -> (Option<i32>, String) {
    let output = command()
        .args(["audit", "verify"])
        .arg(dir)
        .env("XDG_STATE_HOME", dir.with_file_name("state"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_flipped_byte_in_any_file_of_either_log_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(App::demo(&data, 60).stop().unwrap().success());
    for log in ["audit", "ledger"] {
        let original = data.join(log);
        assert_eq!(verify(&original).0, Some(0), "{}", verify(&original).1);
        // The folder is self-contained: a copy elsewhere verifies too.
        let copied = dir.path().join("elsewhere").join(log);
        copy(&original, &copied);
        assert_eq!(verify(&copied).0, Some(0), "{}", verify(&copied).1);
        let mut paths = Vec::new();
        files(&copied, &mut paths);
        let paths: Vec<PathBuf> = paths.into_iter().filter(|p| p.file_name().is_some_and(|n| n != "lock")).collect();
        assert!(paths.len() >= 5, "{paths:?}");
        for path in paths {
            let bytes = fs::read(&path).unwrap();
            if bytes.is_empty() {
                continue;
            }
            // First, last and a middle byte of every file; the ledger crate's own tests flip each byte.
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                fs::write(&path, &flipped).unwrap();
                let (code, text) = verify(&copied);
                assert_eq!(code, Some(6), "byte {at} of {}: {text}", path.display());
                assert!(text.contains("broken at"), "{text}");
            }
            fs::write(&path, &bytes).unwrap();
            if log == "audit" {
                fs::remove_file(&path).unwrap();
                // A journal segment may go once it is covered, a partial tile once a wider one stands.
                let (code, text) = verify(&copied);
                let may_go = path
                    .components()
                    .any(|c| c.as_os_str() == "journal" || c.as_os_str().to_string_lossy().ends_with(".p"));
                assert!(code == Some(6) || may_go, "without {}: {text}", path.display());
                fs::write(&path, &bytes).unwrap();
            }
        }
        assert_eq!(verify(&copied).0, Some(0), "unflipped it verifies again");
    }
}
