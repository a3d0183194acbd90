//! The daily cut: at its hour, once, changed or not.

use epiledger_ingest::schedule::cut_if_due;
use epiledger_ingest::simulate::simulate;
use epiledger_ingest::snapshot::{newest, read};
use epiledger_ingest::{IngestError, Schedule};

use crate::support::{rows, visible};

const HOUR: u64 = 3_600;

/// 2026-02-01T00:00Z.
const DAY: u64 = 1_769_904_000;

#[test]
fn each_day_is_cut_once_at_its_hour_whether_anything_changed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 60, 7, &|_| {}).unwrap();
    let schedule = Schedule::daily(3).unwrap();
    let due = |now: u64| cut_if_due(dir.path(), schedule, now, &|_| true).unwrap().map(|summary| summary.snapshot);
    let cut_at = |number: u64| {
        let manifest = read(dir.path(), number).unwrap();
        (manifest.cut_at, manifest.scheduled)
    };
    // The first of a folder is cut at once, which the schedule did not say.
    assert_eq!(due(DAY + 2 * HOUR + 61), Some(1));
    assert_eq!(cut_at(1), ("2026-02-01T02:01Z".into(), false));
    assert_eq!(due(DAY + 3 * HOUR - 1), None);
    let first = visible(rows(dir.path()));
    // Nothing new on the ledger: the cut is made all the same.
    assert_eq!(due(DAY + 3 * HOUR + 500), Some(2));
    assert_eq!(cut_at(2), ("2026-02-01T03:00Z".into(), true));
    assert_eq!(visible(rows(dir.path())), first);
    assert_eq!(due(DAY + 26 * HOUR), None);
    // Of three days without a cut the last one is made up for, and no other.
    assert_eq!(due(DAY + 3 * 24 * HOUR + 4 * HOUR), Some(3));
    assert_eq!(cut_at(3), ("2026-02-04T03:00Z".into(), true));
    assert_eq!(due(DAY + 3 * 24 * HOUR + 4 * HOUR), None);
}

#[test]
fn a_cut_waits_while_another_ingest_runs() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 20, 7, &|_| {}).unwrap();
    let schedule = Schedule::daily(3).unwrap();
    let turned_away = std::sync::atomic::AtomicU32::new(0);
    let inner = |_| {
        match cut_if_due(dir.path(), schedule, DAY, &|_| true) {
            Err(IngestError::Busy) => {
                turned_away.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            // Once the manifest is there, nothing is due.
            second => assert!(matches!(second, Ok(None)), "two at once"),
        }
        true
    };
    assert!(cut_if_due(dir.path(), schedule, DAY, &inner).unwrap().is_some());
    assert!(turned_away.into_inner() > 0);
    assert_eq!(newest(dir.path()).unwrap().map(|manifest| manifest.number), Some(1));
}
