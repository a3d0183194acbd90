//! Corrections, retractions, revocations and erasures, each at the next snapshot.

use epiledger_ingest::simulate::simulate;
use epiledger_ledger::Transaction;
use epiledger_ledger::entry::record::{Erase, ModifyRecord, Reason};

use crate::support::{Writer, bundle, codes_of, grant, ingest, pack};

/// A correction by the same hospital.
fn modify(writer: &Writer, patient: &str, prev_index: u64, reason: Reason, code: Option<&str>) -> u64 {
    let packed = code.map(|code| pack(&bundle(code)));
    let (blobs, payload) = packed.map_or((vec![], None), |(blob, payload)| (vec![blob], Some(payload)));
    let body = ModifyRecord {
        record_id: "r".into(),
        patient: patient.to_owned(),
        provider: writer.provider.clone(),
        prev_index,
        reason,
        payload,
    };
    writer.hospital(Transaction::ModifyRecord(body), blobs)
}

#[test]
fn a_correction_supersedes_and_a_retraction_withdraws() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 3, 1, &|_| {}).unwrap();
    let writer = Writer::open(dir.path());
    let (patient, key) = writer.patient(1);
    writer.append(grant(&patient, "GRU", "*"), &key, vec![]);
    let first = writer.record(&patient, "r", "general", &bundle("1111"));
    writer.close();
    ingest(dir.path());
    assert_eq!(codes_of(dir.path(), &[first]), ["1111"]);

    let writer = Writer::open(dir.path());
    let second = modify(&writer, &patient, first, Reason::Correct, Some("2222"));
    let stale = modify(&writer, &patient, first, Reason::Correct, Some("3333"));
    let third = modify(&writer, &patient, second, Reason::Amend, Some("4444"));
    writer.close();
    let summary = ingest(dir.path());
    assert_eq!(codes_of(dir.path(), &[first, second, stale, third]), ["4444"]);
    assert_eq!(summary.quarantined["PREV_NOT_NEWEST"], 1);

    let writer = Writer::open(dir.path());
    let wrong = modify(&writer, &patient, third, Reason::Retract, Some("5555"));
    let last = modify(&writer, &patient, third, Reason::Retract, None);
    writer.close();
    let summary = ingest(dir.path());
    assert_eq!(codes_of(dir.path(), &[first, second, stale, third, wrong, last]), Vec::<String>::new());
    assert_eq!(summary.quarantined["PAYLOAD_MISMATCH"], 1);
}

#[test]
fn an_erased_payload_gives_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 3, 1, &|_| {}).unwrap();
    let writer = Writer::open(dir.path());
    let (patient, key) = writer.patient(1);
    writer.append(grant(&patient, "GRU", "*"), &key, vec![]);
    let record = writer.record(&patient, "r", "general", &bundle("1111"));
    let kept = writer.record(&patient, "kept", "general", &bundle("2222"));
    let (_, payload) = pack(&bundle("1111"));
    let body = Erase { patient: patient.clone(), payload_sha256: payload.sha256, basis: "withdrawal".into() };
    writer.append(Transaction::Erase(body), &key, vec![]);
    writer.close();
    let summary = ingest(dir.path());
    assert_eq!(codes_of(dir.path(), &[record, kept]), ["2222"]);
    assert_eq!(summary.quarantined.get("PAYLOAD_MISSING"), None);
}
