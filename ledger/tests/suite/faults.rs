//! Any call of the disk fails once, with no effect, half of it or all: the log stops, its waiters hear "unknown",
//! nothing is signed any more, and the next start goes the normal way.

use std::{path::Path, sync::Arc};

use epiledger_ledger::{Log, LogError, NoteKey};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    disk::{Call, Disk, EIO, ENOSPC, Failure, Op, Survival},
    folder::{grant, key},
    workload::{DIR, ORIGIN, Told, create, fault, live, open, setup, start},
};

/// Every so manieth call fails; 1 for a night.
fn stride() -> u64 {
    std::env::var("EPILEDGER_FAULT_STRIDE").map_or(5, |stride| stride.parse().unwrap())
}

/// Lives with one failing call; the call, if it came to that, and whether the caller was told.
fn live_with(call: u64, failure: Failure, number: i32) -> (Option<Call>, bool) {
    let disk = Disk::default();
    let mut told = Told::default();
    disk.fail(call, failure, number);
    let result = live(&disk, &mut told);
    let failed = disk.failed();
    if let Err(error) = &result {
        assert!(failed.is_some(), "{error}");
        assert!(matches!(error, LogError::Poisoned(_) | LogError::Io { .. }), "call {call}: {error}");
        assert_eq!(error.to_string().contains("free space"), number == ENOSPC, "it says what to do: {error}");
    }
    // The next start sees what this process saw, and what it builds on is durable.
    let log = start(&disk, &told);
    told.check(&log);
    told.opened(&disk, &log);
    told.append(&disk, &log, vec![grant("p", 3)]).unwrap();
    told.flush(&disk, &log).unwrap();
    drop(log);
    assert_eq!(fault(&disk.state()), None);
    let mut random = StdRng::seed_from_u64(call);
    let survival = [Survival::Nothing, Survival::Sectors][random.random_range(0..2)];
    let disk = Disk::of(disk.state().crash(survival, &mut random));
    let reopened = open(&disk);
    assert!(reopened.is_ok(), "{failure:?} call {call}, {result:?}: {reopened:?}");
    told.check(&reopened.unwrap());
    assert_eq!(fault(&disk.state()), None);
    (failed, result.is_err())
}

/// Whether the call drops what is published already: that comes after the answer, so a log that is closed then has
/// nobody to tell, and the next start does it.
fn tidies_up(call: &Call) -> bool {
    matches!(call, Call::Change(Op::Remove(path)) if path.starts_with(format!("{DIR}/journal")))
}

#[test]
fn a_failed_call_anywhere_stops_the_log_and_loses_nothing() {
    let matrix = [Failure::Failed, Failure::Persisted].map(|failure| [(failure, ENOSPC), (failure, EIO)]);
    // Each of the four begins at another call, so that a stride leaves out as few calls as it can.
    for ((failure, number), first) in matrix.into_iter().flatten().zip(1..) {
        let (mut calls, mut stopped) = (0_u64, 0_u64);
        for call in (first..).step_by(usize::try_from(stride()).unwrap()) {
            let (failed, told) = live_with(call, failure, number);
            let Some(failed) = failed else { break };
            calls += 1;
            stopped += u64::from(told);
            assert!(told || tidies_up(&failed), "call {call} failed unheard: {failed:?}");
        }
        let name = if number == EIO { "EIO" } else { "ENOSPC" };
        println!(
            "shown: {name} on every {}th call, {failure:?}: {calls} calls, {stopped} stopped the log, \
             acknowledged entries lost: 0",
            stride()
        );
        assert!((calls + 1) * stride() > 400, "the whole life was walked: {calls}");
        assert!(stopped * 2 > calls, "{stopped} of {calls}");
    }
}

#[test]
fn a_failed_sync_is_unknown_to_waiters_and_no_later_head_is_signed() {
    for failure in [Failure::Failed, Failure::Persisted] {
        let disk = Disk::default();
        let mut told = Told::default();
        let log = create(&disk).unwrap();
        told.opened(&disk, &log);
        told.append(&disk, &log, vec![grant("p", 3)]).unwrap();
        told.flush(&disk, &log).unwrap();
        let head = log.checkpoint();
        // The next calls are the write of a frame and its sync.
        disk.fail(2, failure, EIO);
        let tickets: Vec<_> = (0..3).map(|_| log.submit(vec![grant("p", 3)])).collect();
        for ticket in tickets {
            let error = ticket.and_then(|ticket| ticket.wait()).unwrap_err();
            assert!(matches!(&error, LogError::Poisoned(_)), "{error}");
            assert!(error.to_string().contains("may or may not be stored"), "{error}");
        }
        let position = disk.position();
        assert!(matches!(log.append(vec![grant("p", 3)]), Err(LogError::Poisoned(_))));
        assert!(matches!(log.flush(), Err(LogError::Poisoned(_))));
        assert_eq!((log.checkpoint(), log.published()), (head.clone(), head.clone()));
        drop(log);
        assert_eq!(disk.position(), position, "nothing is written after a failed sync");
        let log = start(&disk, &told);
        told.check(&log);
        // What was in doubt is there or not, and from now on durable.
        told.opened(&disk, &log);
        drop(log);
        let disk = Disk::of(disk.state().crash(Survival::Nothing, &mut StdRng::seed_from_u64(1)));
        told.check(&open(&disk).unwrap());
    }
}

#[test]
fn the_second_writer_is_refused_and_told_why() {
    let disk = Disk::default();
    let log = create(&disk).unwrap();
    let error = open(&disk).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`data/log` is in use by another process: one writer at a time; stop it, or ask the running server"
    );
    assert!(matches!(create(&disk), Err(LogError::NotEmpty(_))));
    drop(log);
    drop(open(&disk).unwrap());
}

/// Creation fails at each call, and the same call finishes it; with another key it is somebody else's.
#[test]
fn a_stopped_creation_is_finished_by_the_same_call() {
    for failure in [Failure::Failed, Failure::Persisted] {
        for call in 1.. {
            let disk = Disk::default();
            disk.fail(call, failure, ENOSPC);
            drop(create(&disk));
            if disk.failed().is_none() {
                assert!(call > 40);
                break;
            }
            let has = |file: &str| {
                disk.state().list(Path::new(DIR)).is_ok_and(|names| names.iter().any(|(name, _)| name == file))
            };
            if has("key") {
                let other = NoteKey::from_seed(ORIGIN, &[9; 32]).unwrap();
                let taken = Log::create_with(Arc::new(disk.clone()), Path::new(DIR), ORIGIN, other, setup());
                assert!(matches!(taken, Err(LogError::NotEmpty(_))), "call {call}");
            }
            let log = if has("checkpoint") { open(&disk) } else { create(&disk) };
            let log = log.unwrap_or_else(|error| panic!("{failure:?} call {call}: {error}"));
            let mut told = Told::default();
            told.opened(&disk, &log);
            told.append(&disk, &log, vec![grant("p", 3)]).unwrap();
            told.check(&log);
        }
    }
    let disk = Disk::default();
    let other = "test.example/other";
    drop(Log::create_with(Arc::new(disk.clone()), Path::new(DIR), other, key(other), setup()).unwrap());
    assert!(matches!(create(&disk), Err(LogError::NotEmpty(_))));
}

#[test]
fn the_first_entry_of_an_empty_log_is_entry_0_and_closes_block_0() {
    let disk = Disk::default();
    let mut told = Told::default();
    let log = create(&disk).unwrap();
    told.opened(&disk, &log);
    assert_eq!((log.size(), log.published().size), (0, 0));
    assert_eq!(log.read(0).err(), Some(LogError::OutOfRange { index: 0, size: 0 }));
    assert!(log.prove_inclusion(0).is_err());
    assert_eq!(log.prove_consistency(0, 0).unwrap(), Vec::<epiledger_ledger::Hash>::new());
    assert_eq!(log.append(vec![]).unwrap().checkpoint.size, 0, "nothing to append is no block");
    assert_eq!(fault(&disk.state()), None);
    drop(log);
    let log = open(&disk).unwrap();
    told.append(&disk, &log, vec![grant("p", 3)]).unwrap();
    assert_eq!(log.size(), 2, "the entry and its block");
    told.flush(&disk, &log).unwrap();
    told.check(&log);
    assert_eq!(fault(&disk.state()), None);
}
