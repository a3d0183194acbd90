//! Nothing in a log's folder can be changed unnoticed: bytes flipped, files cut, removed, added, swapped, replayed.

use std::{fs, path::Path};

use crate::folder::{copy, files, key, small_audit, small_ledger};
use epiledger_ledger::{
    Log, LogError, StdFs,
    verify::{AuditOptions, Kind, audit},
};

fn fault(dir: &Path) -> Option<String> {
    audit(dir, AuditOptions::default()).fault.map(|fault| fault.to_string())
}

fn both(test: impl Fn(&Path, Kind)) {
    for (build, kind) in [(small_ledger as fn(&Path), Kind::Ledger), (small_audit, Kind::Audit)] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        build(&log);
        test(&log, kind);
    }
}

fn name<'a>(dir: &Path, file: &'a Path) -> &'a str {
    file.strip_prefix(dir).unwrap().to_str().unwrap()
}

#[test]
fn an_untouched_log_has_no_fault_also_on_a_copy() {
    both(|dir, kind| {
        let report = audit(dir, AuditOptions::default());
        assert_eq!((report.fault, report.kind), (None, Some(kind)));
        assert_eq!(report.checked.entries, report.size);
        let elsewhere = tempfile::tempdir().unwrap();
        copy(dir, elsewhere.path());
        assert_eq!(fault(elsewhere.path()), None);
        if let Some(ledger) = report.ledger {
            assert_eq!(
                ledger.bad_transactions.into_iter().collect::<Vec<_>>(),
                [("UNKNOWN_KEY", 1), ("WRONG_SIGNER", 1)]
            );
        }
        if let Some(audit) = report.audit {
            assert_eq!((audit.intents, audit.answered, audit.open, audit.repeated, audit.refused), (2, 1, 1, 1, 1));
            assert_eq!((audit.budgets[0].rho.as_str(), audit.budgets[0].delta.as_str()), ("0.01", "0.000000002"));
        }
    });
}

/// Flips one bit of each byte of each file but the lock.
fn flip_every_byte(build: fn(&Path)) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("log");
    build(&dir);
    for file in files(&dir).iter().filter(|file| !file.ends_with("lock")) {
        let bytes = fs::read(file).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(file, &changed).unwrap();
            assert!(fault(&dir).is_some(), "byte {at} of {}", name(&dir, file));
        }
        fs::write(file, &bytes).unwrap();
    }
    assert_eq!(fault(&dir), None);
}

#[test]
fn every_flipped_byte_of_a_ledger_is_a_fault() {
    flip_every_byte(small_ledger);
}

#[test]
fn every_flipped_byte_of_an_audit_log_is_a_fault() {
    flip_every_byte(small_audit);
}

#[test]
fn a_fault_names_the_entry_tile_or_file() {
    both(|dir, _| {
        let mut seen = Vec::new();
        for file in files(dir).iter().filter(|file| !file.ends_with("lock")) {
            let bytes = fs::read(file).unwrap();
            let mut changed = bytes.clone();
            let at = bytes.len() / 2;
            changed[at] ^= 4;
            fs::write(file, &changed).unwrap();
            let found = audit(dir, AuditOptions::default()).fault.unwrap();
            let path = name(dir, file);
            let right = found.what == path || (path.starts_with("tile/entries/") && found.what.starts_with("entry "));
            assert!(right, "{path}: {found}");
            seen.push(found.layer);
            fs::write(file, &bytes).unwrap();
        }
        for layer in ["checkpoint", "entry", "tile", "journal", "blob"] {
            assert!(seen.contains(&layer), "{layer} in {seen:?}");
        }
    });
}

#[test]
fn every_file_cut_longer_or_gone_is_a_fault() {
    both(|dir, _| {
        for file in files(dir).iter().filter(|file| !file.ends_with("lock")) {
            let bytes = fs::read(file).unwrap();
            for changed in [
                &bytes[..bytes.len() - 1],
                &bytes[..bytes.len() / 2],
                &[],
                &[&bytes[..], b"\n"].concat(),
                &[&bytes[..], &bytes[..]].concat(),
            ] {
                fs::write(file, changed).unwrap();
                assert!(fault(dir).is_some(), "{} bytes of {}", changed.len(), name(dir, file));
            }
            fs::remove_file(file).unwrap();
            // An old partial tile may go as soon as a wider one is there: nothing refers to it any more.
            let newest = |width: u64| {
                !file.with_file_name((width + 1).to_string()).exists()
                    && files(file.parent().unwrap()).iter().all(|other| {
                        other.file_name().unwrap().to_str().unwrap().parse::<u64>().is_ok_and(|other| other < width)
                    })
            };
            let width = file.file_name().unwrap().to_str().unwrap().parse::<u64>().ok();
            if width.is_none_or(newest) {
                assert!(fault(dir).is_some(), "without {}", name(dir, file));
            }
            fs::write(file, &bytes).unwrap();
        }
        assert_eq!(fault(dir), None);
    });
}

#[test]
fn foreign_files_are_faults() {
    both(|dir, _| {
        for path in [
            "note.txt",
            "tile/0/001",
            "tile/0/000.p/200",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/x",
            "blobs/000001.pack",
            "blobs/000000.idx",
            "blobs/x",
            "journal/x",
            "journal/00000000000000000099.seg",
        ] {
            fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
            fs::write(dir.join(path), b"x").unwrap();
            assert!(fault(dir).is_some(), "{path}");
            fs::remove_file(dir.join(path)).unwrap();
        }
        assert_eq!(fault(dir), None);
    });
}

#[test]
fn an_old_or_rewritten_log_is_caught_by_a_pinned_head_or_key() {
    both(|dir, kind| {
        let old = tempfile::tempdir().unwrap();
        copy(dir, old.path());
        let origin = if kind == Kind::Ledger { "test.example/ledger" } else { "test.example/audit" };
        let log = Log::open(std::sync::Arc::new(StdFs), dir, key(origin)).unwrap();
        let earlier = log.checkpoint().note;
        let entry = log.read(2).unwrap();
        let again = epiledger_ledger::Canonical::parse(entry).unwrap();
        let newer = log.append(vec![again.into()]).unwrap().checkpoint.note;
        drop(log);
        let with = |dir: &Path, head: &String| {
            audit(dir, AuditOptions { pinned_heads: std::slice::from_ref(head), ..AuditOptions::default() }).fault
        };
        assert_eq!(with(old.path(), &earlier), None);
        let found = with(old.path(), &newer).unwrap();
        assert_eq!(found.layer, "pinned", "{found}");
        // The replay alone is a fault for the audit log (a policy twice), and for a ledger it is not.
        assert_eq!(with(dir, &earlier).is_none(), kind == Kind::Ledger);

        let other = epiledger_ledger::NoteKey::from_seed(origin, &[9; 32]).unwrap().verifier();
        let pinned = AuditOptions { pinned_key: Some(&other), ..AuditOptions::default() };
        assert_eq!(audit(old.path(), pinned).fault.unwrap().what, "key");
        let right = key(origin).verifier();
        let pinned = AuditOptions { pinned_key: Some(&right), ..AuditOptions::default() };
        assert_eq!(audit(old.path(), pinned).fault, None);
    });
}

#[test]
fn a_missing_folder_is_a_fault_and_no_panic() {
    assert!(fault(Path::new("no/such/folder")).is_some());
    let empty = tempfile::tempdir().unwrap();
    assert!(fault(empty.path()).is_some());
}

#[test]
fn a_damaged_log_is_not_opened_for_writing() {
    both(|dir, kind| {
        let origin = if kind == Kind::Ledger { "test.example/ledger" } else { "test.example/audit" };
        for file in ["checkpoint", "key"] {
            let path = dir.join(file);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[1..]).unwrap();
            let error = Log::open(std::sync::Arc::new(StdFs), dir, key(origin)).unwrap_err();
            assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
            fs::write(&path, &bytes).unwrap();
        }
        Log::open(std::sync::Arc::new(StdFs), dir, key(origin)).unwrap();
        assert_eq!(fault(dir), None);
    });
}
