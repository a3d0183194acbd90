//! Which payloads an erasure asks for, who may sign it, and whose bytes stay.

use ed25519_dalek::SigningKey;
use epiledger_ingest::Folder;
use epiledger_ingest::erasable::{Erasable, NotErasable, Wanted};
use epiledger_ingest::parties::signing_key;
use epiledger_ingest::simulate::simulate;
use epiledger_ledger::entry::key::Party;
use epiledger_ledger::entry::record::{ModifyRecord, NewRecord, Period, Reason};
use epiledger_ledger::{LogReader, Transaction};

use crate::support::{Writer, bundle, pack};

fn hex(key: &SigningKey) -> String {
    key.verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_version_of_a_record_is_found_and_what_others_hold_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    simulate(data, 3, 1, &|_| {}).unwrap();
    let writer = Writer::open(data);
    let ((one, key), (other, _)) = (writer.patient(1), writer.patient(2));
    let first = writer.record(&one, "a", "general", &bundle("1111"));
    let (blob, payload) = pack(&bundle("2222"));
    let body = ModifyRecord {
        record_id: "a".into(),
        patient: one.clone(),
        provider: writer.provider.clone(),
        prev_index: first,
        reason: Reason::Correct,
        payload: Some(payload.clone()),
    };
    let second = writer.hospital(Transaction::ModifyRecord(body), vec![blob]);
    writer.record(&one, "b", "general", &bundle("3333"));
    // The other patient's record has the same bytes; so has one that a stranger signed for a third.
    writer.record(&other, "a", "general", &bundle("1111"));
    let (blob, stolen) = pack(&bundle("2222"));
    let day = || "2020-01-01".to_owned();
    let body = NewRecord {
        record_id: "x".into(),
        patient: "p-third".into(),
        provider: writer.provider.clone(),
        category: "general".into(),
        effective_period: Period { start: day(), end: day() },
        payload: stolen,
    };
    writer.append(Transaction::NewRecord(body), &SigningKey::from_bytes(&[77; 32]), vec![blob]);
    writer.close();

    let reader = LogReader::open(&Folder::new(data).ledger()).unwrap();
    let record = |patient: Option<&str>| Wanted::Record { record_id: "a".into(), patient: patient.map(str::to_owned) };
    assert!(matches!(Erasable::find(&reader, &record(None)), Err(NotErasable::Ambiguous(2))));
    let found = Erasable::find(&reader, &record(Some(&one))).unwrap();
    let mut seen: Vec<(Vec<u64>, u64)> = found.payloads.iter().map(|p| (p.entries.clone(), p.others)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(vec![first], 1), (vec![second], 0)], "the stranger has no say");
    assert_eq!((found.patient.as_str(), found.provider()), (one.as_str(), Some("h-cape")));

    let entry = found.entry(&found.payloads[0], "withdrawal");
    let hospital = |id: &str| hex(&signing_key(data, Party::Hospital, id).unwrap().unwrap());
    for (signer, may) in [(hex(&key), true), (hospital("h-cape"), true), (hospital("h-west"), false)] {
        assert_eq!(found.may_sign(&entry, &signer).is_ok(), may);
    }
    assert!(found.may_sign(&entry, &hex(&SigningKey::from_bytes(&[77; 32]))).is_err());
    let payload_of = |sha256: &str, patient: Option<&str>| Wanted::Payload {
        sha256: sha256.to_owned(),
        patient: patient.map(str::to_owned),
    };
    for unknown in [
        payload_of(&"0".repeat(64), None),
        payload_of(&payload.sha256, Some(&other)),
        Wanted::Record { record_id: "zz".into(), patient: None },
    ] {
        assert!(matches!(Erasable::find(&reader, &unknown), Err(NotErasable::Unknown)));
    }
    let (_, shared) = pack(&bundle("1111"));
    assert!(matches!(Erasable::find(&reader, &payload_of(&shared.sha256, None)), Err(NotErasable::Ambiguous(2))));
    let corrected = Erasable::find(&reader, &payload_of(&payload.sha256, None)).unwrap();
    assert_eq!((corrected.patient, corrected.payloads.len()), (one, 1), "the stranger's patient is none");
}
