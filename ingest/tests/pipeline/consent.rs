//! The tables equal a naive re-evaluation of the ledger, record by record, under any interleaving.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use epiledger_ingest::Folder;
use epiledger_ingest::simulate::simulate;
use epiledger_ledger::entry::consent::Scope;
use epiledger_ledger::{LedgerEntry, LogReader, Transaction, parse_ledger_entry};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Writer, bundle, grant, ingest, revoke, rows};

/// What one patient may do next, drawn at random.
fn write_at_random(data: &Path, rng: &mut ChaCha8Rng) {
    let writer = Writer::open(data);
    let mut draw = |n: u32| rng.next_u32() % n;
    let patients: Vec<_> = (1..=6).map(|n| writer.patient(n)).collect();
    let mut grants: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for number in 0..70 {
        let (patient, key): &(String, ed25519_dalek::SigningKey) = &patients[draw(6) as usize];
        let purpose = ["GRU", "HMB", "DS", "POA"][draw(4) as usize];
        let category = ["*", "general", "mental_health", "dental"][draw(4) as usize];
        match draw(20) {
            0..9 => {
                writer.record(patient, &format!("r{number}"), category, &bundle(&format!("{}", 1000 + number)));
            }
            9..17 => {
                let index = writer.append(grant(patient, purpose, category), key, vec![]);
                grants.entry(patient.clone()).or_default().push(index);
            }
            17 => {
                let known = grants.get(patient).cloned().unwrap_or_default();
                let named = known.get(draw(3) as usize).copied();
                writer.append(revoke(patient, Scope::Grant, named, None), key, vec![]);
            }
            18 => {
                writer.append(revoke(patient, Scope::Purpose, None, Some(purpose)), key, vec![]);
            }
            _ => {
                writer.append(revoke(patient, Scope::All, None, None), key, vec![]);
            }
        }
    }
    writer.close();
}

/// Purposes, narrowest first.
const RANK: [&str; 3] = ["DS", "HMB", "GRU"];

/// Replays the consents of a patient up to the end of the ledger; the broadest purpose for a category.
fn naive(entries: &[(u64, Transaction)], patient: &str, category: &str) -> Option<usize> {
    let mut live: Vec<(u64, usize, String)> = Vec::new();
    let mut grants = BTreeSet::new();
    for (index, transaction) in entries {
        match transaction {
            Transaction::GrantAccess(grant) if grant.patient == patient => {
                grants.insert(*index);
                for purpose in &grant.purposes {
                    if let Some(rank) = RANK.iter().position(|p| p == purpose) {
                        live.extend(grant.categories.iter().map(|c| (*index, rank, c.clone())));
                    }
                }
            }
            Transaction::RevokeAccess(revoke) if revoke.patient == patient => {
                let rank = revoke.purpose.as_ref().and_then(|p| RANK.iter().position(|r| r == p));
                match (revoke.scope, revoke.grant_index.filter(|i| grants.contains(i)), rank) {
                    (Scope::Grant, Some(named), _) => live.retain(|(index, ..)| *index != named),
                    (Scope::Purpose, _, Some(rank)) => live.retain(|(_, granted, _)| *granted < rank),
                    _ => live.clear(),
                }
            }
            _ => {}
        }
    }
    let known = ["general", "mental_health", "sexual_health", "substance_use", "genetic"].contains(&category);
    let named = live.iter().filter(|(_, _, c)| known && (c == "*" || c == category));
    named.map(|(_, rank, _)| *rank).max()
}

#[test]
fn every_record_is_there_exactly_when_its_patients_consents_say_so() {
    let mut total = 0;
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        simulate(dir.path(), 30, 9, &|_| {}).unwrap();
        write_at_random(dir.path(), &mut ChaCha8Rng::seed_from_u64(seed));
        ingest(dir.path());

        let reader = LogReader::open(&Folder::new(dir.path()).ledger()).unwrap();
        let mut entries = Vec::new();
        for stored in reader.entries(0) {
            let (index, bytes, _) = stored.unwrap();
            if let LedgerEntry::Transaction(signed) = parse_ledger_entry(&bytes).unwrap() {
                entries.push((index, signed.transaction));
            }
        }
        let mut expected = BTreeMap::new();
        for (index, transaction) in &entries {
            if let Transaction::NewRecord(record) = transaction
                && record.patient.starts_with("p-test")
                && let Some(rank) = naive(&entries, &record.patient, &record.category)
            {
                expected.insert(index.to_string(), [4, 6, 7][rank].to_string());
            }
        }
        let of_test = |row: &&BTreeMap<String, String>| row["condition_source_value"].len() == 4;
        let found: BTreeMap<String, String> = rows(dir.path())["condition_occurrence"]
            .iter()
            .filter(of_test)
            .map(|row| (row["_transaction"].clone(), row["_consent"].clone()))
            .collect();
        assert_eq!(found, expected);
        total += expected.len();
    }
    assert!(total > 20, "{total}");
}
