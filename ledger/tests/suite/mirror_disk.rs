//! A mirror on a simulated disk: power fails after every change of its making and following, or any call fails once.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use epiledger_ledger::{
    LogReader, Mirror, MirrorError,
    verify::{AuditOptions, audit},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    disk::{Disk, EIO, ENOSPC, Failure, State, Survival},
    folder::key,
    mirror::{Served, steps},
};

const ORIGIN: &str = "test.example/ledger";
const DIR: &str = "/data/mirror";

/// Every so manieth call fails; 1 for a night.
fn stride() -> usize {
    std::env::var("EPILEDGER_FAULT_STRIDE").map_or(5, |stride| stride.parse().unwrap())
}

/// Follows a log's folder to its head; the size.
fn follow(disk: &Disk, log: &Path) -> Result<u64, MirrorError> {
    let mut mirror = Mirror::open(Arc::new(disk.clone()), Path::new(DIR), &key(ORIGIN).verifier_key(), true)?;
    mirror.sync(&Served::plain(log), &|_, _| {}).map(|synced| synced.to)
}

/// The size of the head that is there.
fn head(disk: &Disk) -> u64 {
    let mirror = Mirror::open(Arc::new(disk.clone()), Path::new(DIR), &key(ORIGIN).verifier_key(), true).unwrap();
    mirror.head().map_or(0, |head| head.size)
}

/// Follows to the end, whatever a stop left, and audits every file.
fn finish(disk: &Disk, log: &Path) {
    let size = follow(disk, log).unwrap();
    let dir = tempfile::tempdir().unwrap();
    disk.state().copy_to(Path::new(DIR), dir.path());
    let report = audit(dir.path(), AuditOptions::default());
    assert_eq!((report.fault, report.size), (None, size));
    assert_eq!(LogReader::open(dir.path()).unwrap().checkpoint(), LogReader::open(log).unwrap().checkpoint());
}

/// Two heads of one log: some entries, and enough more to fill a tile.
fn heads(root: &Path) -> [PathBuf; 2] {
    let steps = steps(root, false);
    [steps[1].clone(), steps[2].clone()]
}

#[test]
fn after_a_crash_at_any_point_a_mirror_follows_on_and_its_head_never_goes_back() {
    let root = tempfile::tempdir().unwrap();
    let heads = heads(root.path());
    let disk = Disk::default();
    let mut told = vec![(0, 0)];
    for log in &heads {
        let size = follow(&disk, log).unwrap();
        told.push((disk.position(), size));
    }
    let trace = disk.trace();
    let mut state = State::default();
    let survivals = [Survival::Nothing, Survival::Sectors, Survival::All, Survival::Prefix];
    for point in 0..=trace.len() {
        let mut random = StdRng::seed_from_u64(point as u64);
        let disk = Disk::of(state.crash(survivals[point % 4], &mut random));
        let known = told.iter().filter(|(position, _)| *position <= point).map(|(_, size)| *size).max().unwrap();
        assert!(head(&disk) >= known, "after change {point} of {}", trace.len());
        finish(&disk, &heads[1]);
        if let Some(op) = trace.get(point) {
            state.apply(op).unwrap();
        }
    }
    println!("shown: a mirror's crash points tried {}, heads that went back: 0", trace.len() + 1);
    assert!(trace.len() > 60, "{}", trace.len());
}

#[test]
fn a_failed_call_leaves_a_mirror_that_follows_on() {
    let root = tempfile::tempdir().unwrap();
    let heads = heads(root.path());
    let matrix = [Failure::Failed, Failure::Persisted].map(|failure| [(failure, ENOSPC), (failure, EIO)]);
    let mut calls = 0;
    for ((failure, number), first) in matrix.into_iter().flatten().zip(1..) {
        for call in (first..).step_by(stride()) {
            let disk = Disk::default();
            disk.fail(call, failure, number);
            let result = follow(&disk, &heads[0]).and_then(|_| follow(&disk, &heads[1]));
            if disk.failed().is_none() {
                break;
            }
            if let Err(error) = result {
                assert!(matches!(error, MirrorError::Folder(_)), "{failure:?} call {call}: {error}");
            }
            finish(&disk, &heads[1]);
            calls += 1;
        }
    }
    println!("shown: EIO and ENOSPC in a mirror's making and following: {calls} calls, each followed on from");
}
