//! Bad transactions: each is put aside with its code, and nothing else is lost.

use ed25519_dalek::SigningKey;
use epiledger_ingest::quarantine::{Quarantined, read};
use epiledger_ingest::simulate::simulate;
use epiledger_ledger::Transaction;
use epiledger_ledger::entry::consent::Scope;
use epiledger_ledger::entry::key::KeyRevoke;
use epiledger_ledger::entry::record::{NewRecord, Period};

use crate::support::{Writer, bundle, codes_of, grant, ingest, pack, revoke, rows};

#[test]
fn the_simulators_bad_transactions_get_their_codes() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulate(dir.path(), 1000, 2, &|_| {}).unwrap();
    let summary = ingest(dir.path());
    let found: Vec<(&str, u64)> = summary.quarantined.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    let planted: Vec<(&str, u64)> = simulated.bad.iter().map(|(code, count)| (*code, *count)).collect();
    assert_eq!(planted.len(), 5);
    assert_eq!(found, planted);
    let quarantine = read(dir.path()).unwrap();
    assert_eq!(quarantine.counts, summary.quarantined);
    let identifier = quarantine.transactions.iter().find(|t| t.code == "IDENTIFIER").unwrap();
    assert_eq!(identifier.field.as_deref(), Some("patient_ssn"));
    let text = std::fs::read_to_string(dir.path().join("quarantine.json")).unwrap();
    assert!(!text.contains("999-00"), "the value is never told");
    // The good records of the same persons came through.
    assert_eq!(rows(dir.path())["person"].len() as u64, simulated.granted);
}

fn code_at(all: &[Quarantined], index: u64) -> Option<&str> {
    all.iter().find(|t| t.index == index).map(|t| t.code.as_str())
}

#[test]
fn keys_count_only_while_they_hold_and_for_their_owner() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 3, 2, &|_| {}).unwrap();
    let writer = Writer::open(dir.path());
    let stranger = SigningKey::from_bytes(&[99; 32]);
    let unregistered = writer.append(grant("p-test-1", "GRU", "*"), &SigningKey::from_bytes(&[1; 32]), vec![]);
    let (first, first_key) = writer.patient(1);
    let (second, second_key) = writer.patient(2);
    let by_another = writer.append(grant(&first, "GRU", "*"), &second_key, vec![]);
    let by_stranger = writer.append(grant(&first, "GRU", "*"), &stranger, vec![]);
    let record = writer.record(&first, "r", "general", &bundle("1111"));
    let body = NewRecord {
        record_id: "own".into(),
        patient: second.clone(),
        provider: writer.provider.clone(),
        category: "general".into(),
        effective_period: Period { start: "2020-01-01".into(), end: "2020-12-31".into() },
        payload: pack(&bundle("2222")).1,
    };
    let by_patient = writer.append(Transaction::NewRecord(body), &second_key, vec![pack(&bundle("2222")).0]);
    let public_key = second_key.verifying_key().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let ends = KeyRevoke { owner: second.clone(), public_key, from_height: 0 };
    writer.append(Transaction::KeyRevoke(ends), &second_key, vec![]);
    let after_revocation = writer.append(grant(&second, "GRU", "*"), &second_key, vec![]);
    let foreign_revocation = writer.append(revoke(&first, Scope::All, None, None), &second_key, vec![]);
    writer.append(grant(&first, "GRU", "*"), &first_key, vec![]);
    writer.close();
    ingest(dir.path());
    let all = read(dir.path()).unwrap().transactions;
    assert_eq!(code_at(&all, unregistered), Some("UNKNOWN_KEY"));
    assert_eq!(code_at(&all, by_another), Some("UNKNOWN_KEY"), "another patient's key is unknown here");
    assert_eq!(code_at(&all, by_stranger), Some("UNKNOWN_KEY"));
    assert_eq!(code_at(&all, by_patient), Some("UNKNOWN_KEY"));
    assert_eq!(code_at(&all, after_revocation), Some("KEY_REVOKED"));
    assert_eq!(code_at(&all, foreign_revocation), Some("UNKNOWN_KEY"), "nobody else takes consent back");
    assert_eq!(codes_of(dir.path(), &[record]), ["1111"]);
}

#[test]
fn unreadable_bundles_and_orphans_are_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 3, 2, &|_| {}).unwrap();
    let writer = Writer::open(dir.path());
    let (patient, key) = writer.patient(1);
    writer.append(grant(&patient, "GRU", "*"), &key, vec![]);
    let mut orphan = bundle("1111");
    orphan["person"] = serde_json::Value::Null;
    let orphan = writer.record(&patient, "orphan", "general", &orphan);
    let mut unknown = bundle("2222");
    unknown["format"] = "other/9".into();
    let unknown = writer.record(&patient, "unknown", "general", &unknown);
    writer.close();
    ingest(dir.path());
    let all = read(dir.path()).unwrap().transactions;
    assert_eq!(code_at(&all, orphan), Some("NO_PERSON"));
    assert_eq!(code_at(&all, unknown), Some("BAD_PAYLOAD"));
}
