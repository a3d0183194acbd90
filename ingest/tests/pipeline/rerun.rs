//! Running again: nothing new, nothing written; something new, a new snapshot.

use epiledger_ingest::lease::hold;
use epiledger_ingest::simulate::simulate;
use epiledger_ingest::snapshot::newest;
use epiledger_ingest::{IngestError, Options, Pipeline};
use epiledger_privacy::day::Day;

use crate::support::{Writer, bundle, content, cut, grant, ingest, rows};

#[test]
fn two_thousand_people_come_through() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulate(dir.path(), 2000, 7, &|_| {}).unwrap();
    let summary = ingest(dir.path());
    assert!(summary.changed);
    assert_eq!(summary.snapshot, 1);
    assert_eq!(summary.transactions, simulated.transactions);
    assert_eq!(summary.patients, 2000);
    assert_eq!(summary.admitted, simulated.granted, "a patient is in the tables when a grant stands");
    let rows = rows(dir.path());
    assert_eq!(rows["person"].len() as u64, simulated.granted);
    assert_eq!(rows["observation_period"].len() as u64, simulated.granted);
    for (table, rows) in &rows {
        assert!(!rows.is_empty(), "{table} is empty");
    }
    assert!(rows["person"].iter().all(|row| row["state"] == "MA" && row["county"].starts_with("250")));
    assert_eq!(summary.risk.people, simulated.granted);
    assert!(summary.risk.unique > 0.0 && summary.risk.smallest_class == 1);
}

#[test]
fn a_run_without_news_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 60, 7, &|_| {}).unwrap();
    ingest(dir.path());
    let before = content(dir.path());
    let files = walk(dir.path());
    let summary = Pipeline::run(dir.path(), Options::at(Day::parse("2026-03-01").unwrap())).unwrap();
    assert!(!summary.changed);
    assert_eq!((summary.snapshot, content(dir.path())), (1, before));
    assert_eq!(walk(dir.path()), files, "no file is new, gone or changed");
}

#[test]
fn a_forced_cut_has_a_new_number_and_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 60, 7, &|_| {}).unwrap();
    ingest(dir.path());
    let (first, bytes) = content(dir.path());
    Pipeline::run(dir.path(), Options { force: true, ..Options::at(cut()) }).unwrap();
    let (second, again) = content(dir.path());
    assert_eq!((second.number, second.tables, again), (2, first.tables, bytes));
}

#[test]
fn two_data_folders_of_one_seed_have_the_same_tables() {
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        simulate(dir.path(), 120, 3, &|_| {}).unwrap();
        ingest(dir.path());
        crate::support::visible(rows(dir.path()))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_new_transaction_makes_a_new_snapshot_and_the_old_one_stays_for_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 60, 7, &|_| {}).unwrap();
    ingest(dir.path());
    let (first, bytes) = content(dir.path());
    let held = hold(dir.path()).unwrap();
    let writer = Writer::open(dir.path());
    let (patient, key) = writer.patient(1);
    writer.append(grant(&patient, "GRU", "*"), &key, vec![]);
    writer.record(&patient, "r", "general", &bundle("44054006"));
    writer.close();
    let summary = ingest(dir.path());
    assert_eq!((summary.snapshot, summary.changed), (2, true));
    assert_eq!(summary.admitted, first.tables["person"].files.iter().map(|f| f.rows).sum::<u64>() + 1);
    for (path, old) in &bytes {
        assert_eq!(&std::fs::read(dir.path().join(path)).unwrap(), old, "{path}");
    }
    drop(held);
}

#[test]
fn the_expert_profile_needs_a_determination_in_force() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 20, 7, &|_| {}).unwrap();
    let late = Options::at(Day::parse("2036-01-01").unwrap());
    assert!(matches!(Pipeline::run(dir.path(), late), Err(IngestError::NoDetermination { .. })));
    assert_eq!(newest(dir.path()).unwrap(), None);
    ingest(dir.path());
}

/// Every file with its length and time of change.
fn walk(dir: &std::path::Path) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(walk(&entry.path()));
        } else if entry.file_name() != "lock" {
            found.push((entry.path(), meta.len(), meta.modified().unwrap()));
        }
    }
    found.sort();
    found
}
