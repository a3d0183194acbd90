//! The tree of a log that another implementation wrote: `tests/verifiers/foreign.py`, from C2SP's text alone.

use std::{fs, path::Path};

use epiledger_ledger::{
    FolderSource, SourceError, VerifierKey,
    verify::{Report, TreeOptions, audit_tree},
};

use crate::{
    folder::{files, key, small_audit, small_ledger},
    python::python,
};

fn foreign(dir: &Path, size: u64) -> VerifierKey {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/verifiers/foreign.py");
    let output = python().unwrap().arg(script).arg(dir).arg(size.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    VerifierKey::parse(String::from_utf8(output.stdout).unwrap().trim()).unwrap()
}

fn tree(dir: &Path, key: &VerifierKey, pinned_heads: &[String]) -> Report {
    audit_tree(&FolderSource::new(dir), TreeOptions { key, pinned_heads, progress: None }).unwrap()
}

#[test]
fn a_foreign_tree_of_any_shape_holds() {
    if python().is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for size in [0, 1, 255, 256, 257, 700, 65_536 + 300] {
        let dir = root.path().join(size.to_string());
        fs::create_dir(&dir).unwrap();
        let key = foreign(&dir, size);
        let report = tree(&dir, &key, &[]);
        assert_eq!((report.fault.as_ref(), report.size, report.checked.entries), (None, size, size));
        assert_eq!(report.checked.tiles + report.checked.bundles, files(&dir).len() as u64 - 2, "every file is read");
    }
}

#[test]
fn our_own_logs_hold_too() {
    let root = tempfile::tempdir().unwrap();
    for (name, build) in [("ledger", small_ledger as fn(&Path)), ("audit", small_audit)] {
        let dir = root.path().join(name);
        build(&dir);
        let report = tree(&dir, &key(&format!("test.example/{name}")).verifier_key(), &[]);
        assert_eq!(report.fault, None);
        assert!(report.to_string().contains("tree alone"), "{report}");
    }
}

#[test]
fn every_change_of_a_foreign_tree_is_named() {
    if python().is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let key = foreign(&dir, 700);
    let mut seen = std::collections::BTreeSet::new();
    for file in files(&dir).iter().filter(|file| !file.ends_with("key")) {
        let bytes = fs::read(file).unwrap();
        let places = (0..bytes.len()).step_by(bytes.len() / 40 + 1).chain([bytes.len() - 1]);
        let flipped = places.map(|at| {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            changed
        });
        let cut = [bytes[..bytes.len() - 1].to_vec(), Vec::new(), [&bytes[..], &[0]].concat(), bytes.repeat(2)];
        for (number, changed) in flipped.chain(cut).enumerate() {
            fs::write(file, &changed).unwrap();
            // A signature of a key that the auditor does not know is not looked at.
            let unknown = file.ends_with("checkpoint") && changed.len() == bytes.len();
            match tree(&dir, &key, &[]).fault {
                Some(fault) => drop(seen.insert(fault.layer)),
                None => assert!(unknown, "change {number} of {}", file.display()),
            }
        }
        fs::remove_file(file).unwrap();
        let missing =
            audit_tree(&FolderSource::new(&dir), TreeOptions { key: &key, pinned_heads: &[], progress: None });
        match file.ends_with("checkpoint") {
            true => assert_eq!(missing, Err(SourceError::Missing("checkpoint".into()))),
            false => assert!(missing.unwrap().fault.is_some(), "without {}", file.display()),
        }
        fs::write(file, &bytes).unwrap();
    }
    assert!(["checkpoint", "tile", "entry"].iter().all(|layer| seen.contains(layer)), "{seen:?}");
    assert_eq!(tree(&dir, &key, &[]).fault, None);
}

#[test]
fn a_pinned_head_must_be_continued() {
    if python().is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let (short, long) = (root.path().join("short"), root.path().join("long"));
    let key = foreign(&short, 300);
    foreign(&long, 900);
    let note = |dir: &Path| fs::read_to_string(dir.join("checkpoint")).unwrap();
    assert_eq!(tree(&long, &key, &[note(&short), note(&long)]).fault, None);
    let backwards = tree(&short, &key, &[note(&long)]).fault.unwrap();
    assert!(backwards.layer == "pinned" && backwards.message.contains("goes backwards"), "{backwards}");
    let other = root.path().join("other");
    small_audit(&other);
    let strange = tree(&long, &key, &[note(&other)]).fault.unwrap();
    assert!(strange.message.contains("not signed by this log's key"), "{strange}");
    let wrong = crate::folder::key("other.example/log").verifier_key();
    assert!(tree(&long, &wrong, &[]).fault.unwrap().message.contains("signed"));
}
