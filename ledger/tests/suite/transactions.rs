//! The ledger keeps what was submitted; the auditor counts what does not count, and verifies fast enough.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use epiledger_ledger::{
    Canonical, LedgerEntry, LogReader, NewEntry, SignedTransaction, Transaction,
    entry::{Erase, KeyRotate, key::Party},
    parse_ledger_entry,
    verify::{AuditOptions, Kind, audit},
};
use serde_json::json;

use crate::folder::{TestClock, create, grant, hex, payload, public, record, register, retract, sign};

#[test]
fn bad_transactions_are_counted_by_reason_and_are_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), "test.example/ledger", Arc::new(TestClock::default()));
    let mut broken = String::from_utf8(grant("p", 3).entry.into_bytes()).unwrap();
    broken = broken.replace("\"grantee\":\"*\"", "\"grantee\":\"x\"");
    let broken = NewEntry::from(Canonical::parse(broken.into_bytes()).unwrap());
    let foreign = NewEntry::from(Canonical::of(&json!({"body": {"a": 1}, "type": "Unknown"})).unwrap());
    let rotate = KeyRotate { owner: "p".into(), old_key: public(3), new_key: public(4), from_height: 0 };
    let first = log
        .append(vec![
            register(Party::Registrar, "r", 1, 1),
            register(Party::Hospital, "h", 2, 1),
            register(Party::Patient, "p", 3, 2),
            record("a", "p", b"a", 2),
            broken,
            foreign,
            sign(Transaction::KeyRotate(rotate), 3),
            grant("p", 3),
            grant("p", 4),
            grant("p", 2),
            grant("p", 9),
            record("b", "p", b"b", 4),
            register(Party::Hospital, "h2", 2, 1),
            register(Party::Patient, "p", 8, 2),
            retract("a", "p", 3, 2),
            retract("a", "p", 3, 2),
            retract("b", "p", 11, 2),
            retract("a", "p", 99, 2),
            retract("a", "p", 14, 2),
        ])
        .unwrap()
        .first;
    assert_eq!(first, 0);
    drop(log);
    let report = audit(dir.path(), AuditOptions::default());
    assert_eq!((report.fault, report.kind), (None, Some(Kind::Ledger)));
    let ledger = report.ledger.unwrap();
    let expected = BTreeMap::from([
        ("BAD_SIGNATURE", 1),
        ("MALFORMED", 1),
        ("KEY_REVOKED", 1),
        ("WRONG_SIGNER", 2),
        ("UNKNOWN_KEY", 1),
        ("KEY_TAKEN", 1),
        ("OWNER_TAKEN", 1),
        ("PREV_NOT_NEWEST", 3),
    ]);
    assert_eq!(ledger.bad_transactions, expected);
    assert_eq!((ledger.keys, ledger.transactions["ModifyRecord"]), (4, 5));
}

/// Registrar 1, hospitals h = 2 and h2 = 5, patients p = 3 and q = 4 of h, and then these transactions; no blob is left.
/// Where the auditor finds a blob missing.
fn without_blobs(transactions: Vec<NewEntry>) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), "test.example/ledger", Arc::new(TestClock::default()));
    let parties = [
        register(Party::Registrar, "r", 1, 1),
        register(Party::Hospital, "h", 2, 1),
        register(Party::Hospital, "h2", 5, 1),
        register(Party::Patient, "p", 3, 2),
        register(Party::Patient, "q", 4, 2),
    ];
    log.append(parties.into_iter().chain(transactions).collect()).unwrap();
    drop(log);
    std::fs::write(dir.path().join("blobs/000000.pack"), b"").unwrap();
    let size = audit(dir.path(), AuditOptions::default()).size;
    std::fs::remove_file(dir.path().join("journal/00000000000000000000.seg")).unwrap();
    std::fs::write(dir.path().join(format!("journal/{size:020}.seg")), b"").unwrap();
    let blobs: usize = LogReader::open(dir.path()).unwrap().entries(0).map(|item| item.unwrap().2.len()).sum();
    assert_eq!(blobs, 0, "an erased blob is left out");
    let found = audit(dir.path(), AuditOptions::default()).fault;
    found.map(|fault| {
        assert_eq!(fault.layer, "blob", "{fault}");
        fault.what
    })
}

fn erase(patient: &str, signer: u8) -> NewEntry {
    let payload_sha256 = payload(b"rows").sha256;
    let erase = Erase { patient: patient.into(), payload_sha256, basis: "withdrawal".into() };
    sign(Transaction::Erase(erase), signer)
}

#[test]
fn a_missing_payload_is_excused_by_its_own_patients_later_erasure_alone() {
    let of = |id: &str, patient: &str| record(id, patient, b"rows", 2);
    let fifth = || Some("entry 5".to_owned());
    assert_eq!(without_blobs(vec![of("a", "p")]), fifth(), "nothing says so");
    for signer in [1, 2, 3] {
        assert_eq!(
            without_blobs(vec![of("a", "p"), erase("p", signer)]),
            None,
            "registrar, hospital, patient: {signer}"
        );
    }
    assert_eq!(without_blobs(vec![of("a", "p"), erase("p", 5)]), fifth(), "another hospital may not sign it");
    assert_eq!(without_blobs(vec![of("a", "p"), erase("q", 4)]), fifth(), "another patient's erasure is not of it");
    assert_eq!(without_blobs(vec![of("a", "p"), erase("q", 1)]), fifth(), "nor by the registrar");
    assert_eq!(without_blobs(vec![erase("p", 3), of("a", "p")]), Some("entry 6".to_owned()), "it was stored after");
    let shared = || vec![of("a", "p"), of("b", "q"), erase("p", 3)];
    assert_eq!(without_blobs(shared()), Some("entry 6".to_owned()), "the other patient's record still names it");
    assert_eq!(without_blobs([shared(), vec![erase("q", 4)]].concat()), None);
    let strangers = vec![of("a", "p"), record("c", "thief", b"rows", 9)];
    assert_eq!(without_blobs([strangers.clone(), vec![erase("thief", 1)]].concat()), fifth());
    assert_eq!(without_blobs([strangers, vec![erase("p", 3)]].concat()), None, "a stranger's entry holds nothing up");
}

#[test]
fn thousands_of_signed_entries_verify_in_a_second_or_so() {
    const ENTRIES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), "test.example/ledger", Arc::new(TestClock::default()));
    log.append(vec![register(Party::Registrar, "r", 1, 1), register(Party::Hospital, "h", 2, 1)]).unwrap();
    let started = Instant::now();
    let new = |n: usize| record(&format!("r{n}"), &format!("p{}", n / 3), format!("{n}").repeat(60).as_bytes(), 2);
    let entries: Vec<NewEntry> = std::thread::scope(|scope| {
        let halves: Vec<_> = [0..ENTRIES / 2, ENTRIES / 2..ENTRIES]
            .map(|half| scope.spawn(move || half.map(new).collect::<Vec<_>>()))
            .into();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    println!("{ENTRIES} signed in {:?}", started.elapsed());
    let started = Instant::now();
    for chunk in entries.chunks(4096) {
        drop(log.submit(chunk.to_vec()).unwrap());
    }
    log.flush().unwrap();
    println!("appended and published in {:?}", started.elapsed());
    let started = Instant::now();
    let mut last = 0;
    let report = audit(
        dir.path(),
        AuditOptions { progress: Some(&|done, all| assert!(done <= all)), ..AuditOptions::default() },
    );
    println!("verified in {:?}: {report}", started.elapsed());
    assert_eq!(report.fault, None);
    assert_eq!(report.ledger.unwrap().bad_transactions, BTreeMap::new());
    let started = Instant::now();
    for item in LogReader::open(dir.path()).unwrap().entries(0) {
        let (index, bytes, blobs) = item.unwrap();
        assert!(index == 0 || index == last + 1);
        last = index;
        if let LedgerEntry::Transaction(SignedTransaction { transaction: Transaction::NewRecord(record), .. }) =
            parse_ledger_entry(&bytes).unwrap()
        {
            assert_eq!(hex(&epiledger_ledger::tree::sha256(&blobs[0])), record.payload.sha256);
        }
    }
    println!("read and parsed in {:?}", started.elapsed());
    assert_eq!(last + 1, log.size());
}
