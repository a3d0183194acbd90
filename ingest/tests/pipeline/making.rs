//! A ledger that is being made is none until it is whole.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use epiledger_ingest::parties::signing_key;
use epiledger_ingest::simulate::simulate;
use epiledger_ingest::{Folder, IngestError, Options, Pipeline};
use epiledger_ledger::entry::key::Party;

use crate::support::{cut, ingest, rows};

/// Whoever looks meanwhile finds no ledger, and nobody else may make one.
#[test]
fn while_it_is_made_it_can_be_neither_read_nor_made_a_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let looked = AtomicBool::new(false);
    simulate(&data, 50, 3, &|_| {
        looked.store(true, Ordering::Relaxed);
        let refused = Pipeline::run(&data, Options::at(cut())).unwrap_err();
        assert!(refused.to_string().contains("not finished"), "{refused}");
        assert!(matches!(simulate(&data, 50, 3, &|_| {}), Err(IngestError::Making)));
    })
    .unwrap();
    assert!(looked.into_inner());
    assert!(!data.join("tables").exists(), "a refused ingest writes nothing");
    ingest(&data);
    assert!(!rows(&data)["person"].is_empty());
}

#[test]
fn what_a_stop_left_is_started_over() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // A stop at the first step, by a panic in the middle of it.
    let stopped = std::panic::catch_unwind(|| simulate(&data, 250, 3, &|_| panic!("stopped here")));
    assert!(stopped.is_err());
    let folder = Folder::new(&data);
    assert!(!folder.ledger().exists() && folder.new_ledger().exists());
    let refused = Pipeline::run(&data, Options::at(cut())).unwrap_err();
    assert!(refused.to_string().contains("run the same"), "{refused}");
    let made = simulate(&data, 250, 3, &|_| {}).unwrap();
    assert!(!folder.new_ledger().exists());
    let summary = ingest(&data);
    assert_eq!((summary.patients, made.people), (250, 250));
    let lines = fs::read_to_string(data.join("keys/patients.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 250);
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(signing_key(&data, Party::Patient, last["patient"].as_str().unwrap()).unwrap().is_some());
    assert!(matches!(simulate(&data, 250, 3, &|_| {}), Err(IngestError::NotEmpty)));
}
