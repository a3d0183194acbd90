//! The report of what a withdrawal removed, against the tables themselves.

use std::collections::BTreeMap;
use std::path::Path;

use epiledger_ingest::simulate::simulate;
use epiledger_ingest::withdrawal::{Of, Report, report};
use epiledger_ledger::entry::consent::Scope;

use crate::support::{Writer, bundle, grant, ingest, revoke, rows};

/// Rows by table, without those tables that have none.
fn counts(data: &Path) -> BTreeMap<String, u64> {
    rows(data).into_iter().map(|(table, rows)| (table, rows.len() as u64)).collect()
}

fn removed(report: &Report, at: usize) -> BTreeMap<String, u64> {
    report.withdrawals[at].rows.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect()
}

#[test]
fn the_rows_that_are_reported_are_those_that_left() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    simulate(data, 20, 1, &|_| {}).unwrap();
    let writer = Writer::open(data);
    let (patient, key) = writer.patient(1);
    let first = writer.append(grant(&patient, "HMB", "general"), &key, vec![]);
    writer.append(grant(&patient, "GRU", "mental_health"), &key, vec![]);
    writer.record(&patient, "a", "general", &bundle("1111"));
    writer.record(&patient, "b", "mental_health", &bundle("2222"));
    writer.close();
    ingest(data);
    let before = counts(data);
    let of = Of::Patient(patient.clone());
    let none = report(data, &of).unwrap();
    assert!(none.withdrawals.is_empty());
    assert_eq!((none.held.len(), none.held[0].snapshot, none.held[0].records, none.held[0].purposes), (1, 1, 2, 7));

    let writer = Writer::open(data);
    let revoked = writer.append(revoke(&patient, Scope::Grant, Some(first), None), &key, vec![]);
    writer.close();
    let waiting = report(data, &of).unwrap();
    assert_eq!((waiting.withdrawals[0].index, waiting.withdrawals[0].from_snapshot), (revoked, None));
    ingest(data);
    let between = counts(data);
    let writer = Writer::open(data);
    writer.append(revoke(&patient, Scope::All, None, None), &key, vec![]);
    writer.close();
    ingest(data);
    let after = counts(data);

    let whole = report(data, &of).unwrap();
    assert_eq!(whole.grants.len(), 2);
    for (at, (one, other)) in [(&before, &between), (&between, &after)].into_iter().enumerate() {
        let gone = one.iter().map(|(table, rows)| (table.clone(), rows - other[table])).filter(|(_, rows)| *rows > 0);
        assert_eq!(removed(&whole, at), gone.collect(), "withdrawal {at}");
        assert_eq!(whole.withdrawals[at].from_snapshot, Some(at as u64 + 2));
        assert_eq!(whole.withdrawals[at].uncounted_records, 0);
    }
    let held: Vec<(u64, i32)> = whole.held.iter().map(|held| (held.snapshot, held.purposes)).collect();
    assert_eq!(held, [(1, 7), (2, 7)]);
    // Of the first grant alone: it was in force at the first cut, for narrower purposes.
    let one = report(data, &Of::Grant(first)).unwrap();
    let held: Vec<(u64, u64, i32)> = one.held.iter().map(|h| (h.snapshot, h.records, h.purposes)).collect();
    assert_eq!((held, one.grants.len()), (vec![(1, 1, 6)], 1));

    for unknown in [Of::Patient("p-nobody".into()), Of::Grant(revoked), Of::Grant(1 << 40)] {
        assert!(report(data, &unknown).is_err(), "{unknown:?}");
    }
}
