//! Blobs that are erased: gone from every file, with an entry that says so, and nothing else with them.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use epiledger_ledger::{
    AuditEntry, Log, LogError, LogReader, NewEntry, Setup, StdFs,
    entry::{Redaction, key::Party},
    tree::sha256,
    verify::{AuditOptions, Report, audit},
};

use crate::folder::{
    AuditWriter, TestClock, erase, files, grant, hex, key, record, register, retract, salted, short, small_audit,
};

const ORIGIN: &str = "test.example/ledger";

/// Packs and segments of a few blobs.
fn setup() -> Setup {
    short(6_000, 4_000)
}

fn open(dir: &Path) -> Log {
    Log::open_with(Arc::new(StdFs), dir, key(ORIGIN), setup()).unwrap()
}

/// Incompressible and unlike each other.
fn blob(n: u8) -> Vec<u8> {
    (0..30_u8).flat_map(|at| sha256(&[n, at])).collect()
}

/// Registrar 1, hospital 2, patients 3 and 4; a record with a blob of its own each.
fn ledger(dir: &Path) -> Log {
    let log = Log::create_with(Arc::new(StdFs), dir, ORIGIN, key(ORIGIN), setup()).unwrap();
    let parties = [(Party::Registrar, "r", 1, 1), (Party::Hospital, "h", 2, 1), (Party::Patient, "p", 3, 2)];
    log.append(parties.map(|(party, owner, new, signer)| register(party, owner, new, signer)).to_vec()).unwrap();
    for n in 0..20 {
        log.append(vec![record(&format!("r{n}"), "p", &blob(n), 2)]).unwrap();
    }
    log
}

fn name(blob: &[u8]) -> String {
    hex(&sha256(blob))
}

/// Erases as the patient does.
fn erase_all(log: &Log, blobs: &[Vec<u8>]) -> Result<(), LogError> {
    let names: Vec<String> = blobs.iter().map(|blob| name(blob)).collect();
    log.erase(&names, || log.append(blobs.iter().map(|blob| erase("p", blob, 3)).collect()).map(drop))
}

/// Files of a folder that hold a part of the blob.
fn holding(dir: &Path, blob: &[u8]) -> Vec<String> {
    let part = &blob[100..164];
    // A log drops the segments that it has published on its own time, some of them after they were listed here.
    let bytes = |path: &Path| {
        fs::read(path).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })
    };
    let holds = |path: &PathBuf| bytes(path).unwrap().windows(part.len()).any(|window| window == part);
    files(dir).into_iter().filter(holds).map(|path| path.display().to_string()).collect()
}

fn verdict(dir: &Path) -> Report {
    audit(dir, AuditOptions::default())
}

#[test]
fn an_erased_blob_is_in_no_file_and_every_other_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = ledger(&dir);
    log.flush().unwrap();
    let packs = files(&dir).iter().filter(|path| path.extension().is_some_and(|e| e == "pack")).count();
    assert!(packs > 3, "{packs} packs");
    // The first, one within, one that follows it, and the newest.
    let gone = [blob(0), blob(7), blob(8), blob(19)];
    for blob in &gone {
        assert!(!holding(&dir, blob).is_empty());
    }
    erase_all(&log, &gone).unwrap();
    for n in 0..20 {
        let erased = gone.contains(&blob(n));
        assert_eq!(log.blob(&name(&blob(n))).unwrap(), (!erased).then(|| blob(n)), "{n}");
        assert_eq!(holding(&dir, &blob(n)).is_empty(), erased, "{n}: {:?}", holding(&dir, &blob(n)));
    }
    assert!(!dir.join("journal/tmp.erasing").exists());
    let head = log.checkpoint();
    log.append(vec![record("more", "p", &blob(50), 2)]).unwrap();
    log.flush().unwrap();
    assert!(log.prove_consistency(head.size, log.size()).is_ok(), "the tree goes on");
    drop(log);
    let report = verdict(&dir);
    assert_eq!((report.fault, report.checked.erased_blobs), (None, 4));
    let reader = LogReader::open(&dir).unwrap();
    let stored: usize = reader.entries(0).map(|entry| entry.unwrap().2.len()).sum();
    assert_eq!(stored, 20 + 1 - 4);
    let log = open(&dir);
    assert_eq!(log.blob(&name(&blob(50))).unwrap(), Some(blob(50)));
    assert_eq!(log.blob(&name(&blob(7))).unwrap(), None);
}

#[test]
fn all_of_a_pack_can_go() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = ledger(&dir);
    let all: Vec<Vec<u8>> = (0..20).map(blob).collect();
    erase_all(&log, &all).unwrap();
    assert!(all.iter().all(|blob| holding(&dir, blob).is_empty()));
    log.append(vec![record("more", "p", &blob(50), 2)]).unwrap();
    drop(log);
    drop(open(&dir));
    assert_eq!(verdict(&dir).fault, None);
}

#[test]
fn what_no_entry_says_is_not_erased() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = ledger(&dir);
    let names = [name(&blob(3)), name(&blob(4))];
    // One is planned and not said.
    log.erase(&names, || log.append(vec![erase("p", &blob(3), 3)])).unwrap();
    assert_eq!(log.blob(&names[0]).unwrap(), None);
    assert_eq!(log.blob(&names[1]).unwrap(), Some(blob(4)));
    // The append is refused, and the next one is taken.
    let refused = log.erase(&names[1..], || log.append(vec![NewEntry { blobs: vec![blob(1)], ..grant("p", 3) }]));
    assert_eq!(refused.err(), Some(LogError::BlobNotNamed));
    assert_eq!(log.blob(&names[1]).unwrap(), Some(blob(4)));
    log.append(vec![record("again", "p", &blob(4), 2)]).unwrap();
    let unknown = log.erase(&names[..1], || log.append(vec![erase("p", &blob(3), 3)]));
    assert_eq!(unknown.err(), Some(LogError::BlobUnknown(names[0].clone())));
    let malformed = log.erase(&["..".to_owned()], || log.append(vec![]));
    assert!(matches!(malformed, Err(LogError::BlobUnknown(_))));
    log.flush().unwrap();
    assert_eq!(verdict(&dir).fault, None);
}

#[test]
fn no_entry_names_a_blob_while_it_is_erased_and_later_it_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = ledger(&dir);
    let payload = blob(5);
    let again = || record("again", "p", &payload, 2);
    let elsewhere = || NewEntry { blobs: vec![], ..again() };
    log.erase(&[name(&payload)], || {
        for entry in [again(), elsewhere()] {
            assert_eq!(log.append(vec![entry]).err(), Some(LogError::BlobErasing(name(&payload))));
        }
        // Others go on.
        log.append(vec![record("other", "p", &blob(60), 2), retract("r1", "p", 5, 2)])?;
        log.append(vec![erase("p", &payload, 3)])
    })
    .unwrap();
    assert_eq!(log.append(vec![elsewhere()]).err(), Some(LogError::BlobMissing(name(&payload))));
    log.append(vec![again()]).unwrap();
    log.flush().unwrap();
    assert_eq!(log.blob(&name(&payload)).unwrap(), Some(payload));
    assert_eq!(verdict(&dir).fault, None);
}

#[test]
fn writers_go_on_while_blobs_are_erased() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = ledger(&dir);
    std::thread::scope(|scope| {
        let log = &log;
        for writer in 0..4_u8 {
            scope.spawn(move || {
                for n in 0..25_u8 {
                    let id = format!("w{writer}-{n}");
                    log.append(vec![record(&id, "p", format!("{id} of a writer").as_bytes(), 2)]).unwrap();
                }
            });
        }
        for n in 0..10 {
            erase_all(log, &[blob(n)]).unwrap();
        }
    });
    log.flush().unwrap();
    for writer in 0..4_u8 {
        for n in 0..25_u8 {
            let written = format!("w{writer}-{n} of a writer").into_bytes();
            assert_eq!(log.blob(&name(&written)).unwrap(), Some(written));
        }
    }
    assert!((0..10).all(|n| holding(&dir, &blob(n)).is_empty()));
    drop(log);
    let report = verdict(&dir);
    assert_eq!((report.fault, report.checked.erased_blobs), (None, 10));
}

#[test]
fn a_text_of_the_audit_log_goes_with_a_redaction_and_is_missed_without() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    small_audit(&dir);
    let log = Log::open(Arc::new(StdFs), &dir, key("test.example/audit")).unwrap();
    let (commit, text) = salted("result");
    let redaction = Redaction { sha256: commit.clone(), basis: "b".into(), approvers: ["one".into(), "two".into()] };
    let entry = AuditEntry::Redaction(redaction).to_canonical().unwrap();
    log.erase(std::slice::from_ref(&commit), || log.append(vec![entry.into()])).unwrap();
    assert_eq!(log.blob(&commit).unwrap(), None);
    assert!(files(&dir).iter().all(|file| !fs::read(file).unwrap().windows(text.len()).any(|part| part == text)));
    drop(log);
    let report = verdict(&dir);
    assert_eq!((report.fault, report.checked.erased_blobs), (None, 1));

    // The same without the entry: a plan whose entry is another's.
    let bare = tempfile::tempdir().unwrap();
    let bare = bare.path().join("log");
    let mut writer = AuditWriter::new(&bare, Arc::new(TestClock::default()));
    let intent = writer.intent();
    writer.ask(intent);
    writer.log.flush().unwrap();
    drop(writer);
    let pack = bare.join("blobs/000000.pack");
    let whole = fs::read(&pack).unwrap();
    let at = whole.windows(8).position(|part| part == b"SELECT 1").unwrap();
    fs::write(&pack, &whole[..at - 32 - 40]).unwrap();
    let fault = verdict(&bare).fault.unwrap().to_string();
    assert!(fault.contains("says that it was erased"), "{fault}");
}
