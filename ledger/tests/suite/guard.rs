//! A head kept outside of the folder never runs ahead of the log, and a frozen log takes nothing.

use std::{
    io,
    sync::{Arc, Mutex},
};

use epiledger_ledger::{Checkpoint, HeadPin, Log, LogError, LogReader, Mirror, StdFs, verify};

use crate::folder::{TestClock, create, grant, key, record, small_ledger};

const ORIGIN: &str = "test.example/ledger";

/// Keeps heads, until it is told to fail.
#[derive(Default)]
struct Kept {
    heads: Mutex<Vec<u64>>,
    fails: bool,
}

impl HeadPin for Kept {
    fn advance(&self, head: &Checkpoint) -> io::Result<()> {
        self.heads.lock().unwrap().push(head.size);
        if self.fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[test]
fn a_pin_keeps_a_durable_head_that_covers_the_entries_before_they_are_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), ORIGIN, Arc::new(TestClock::default()));
    let pin = Arc::new(Kept::default());
    log.pin_heads(Arc::clone(&pin) as Arc<_>).unwrap();
    log.append(vec![grant("p", 3)]).unwrap();
    assert_eq!(*pin.heads.lock().unwrap(), [0], "what is not waited for as pinned stays for later");
    let tickets: Vec<_> = (0..40).map(|_| log.submit(vec![grant("p", 3)]).unwrap()).collect();
    std::thread::scope(|scope| {
        for ticket in tickets {
            let (log, pin) = (&log, &pin);
            scope.spawn(move || {
                let first = ticket.first_index();
                let appended = ticket.wait_pinned().unwrap();
                let kept = *pin.heads.lock().unwrap().iter().max().unwrap();
                assert!(kept > first && kept <= log.size() && appended.checkpoint.size > first);
            });
        }
    });
    let heads = pin.heads.lock().unwrap().clone();
    assert!(heads.is_sorted() && heads.len() <= 41, "{heads:?}");
    println!("40 waiters shared {} writes", heads.len() - 1);
}

#[test]
fn a_pin_that_fails_stops_the_log_and_what_was_durable_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), ORIGIN, Arc::new(TestClock::default()));
    log.pin_heads(Arc::new(Kept::default())).unwrap();
    drop(log);
    let log = Log::open(Arc::new(StdFs), dir.path(), key(ORIGIN)).unwrap();
    assert!(log.pin_heads(Arc::new(Kept { fails: true, ..Kept::default() })).is_err());
    log.append(vec![grant("p", 3)]).unwrap();
    drop(log);

    struct Later(Kept);
    impl HeadPin for Later {
        fn advance(&self, head: &Checkpoint) -> io::Result<()> {
            if head.size > 2 { Err(io::ErrorKind::StorageFull.into()) } else { self.0.advance(head) }
        }
    }
    let log = Log::open(Arc::new(StdFs), dir.path(), key(ORIGIN)).unwrap();
    log.pin_heads(Arc::new(Later(Kept::default()))).unwrap();
    let failed = log.submit(vec![grant("p", 3)]).unwrap().wait_pinned();
    assert!(matches!(failed, Err(LogError::Io { .. })), "{failed:?}");
    assert!(matches!(log.append(vec![grant("p", 3)]), Err(LogError::Poisoned(_))));
    drop(log);
    assert_eq!(Log::open(Arc::new(StdFs), dir.path(), key(ORIGIN)).unwrap().size(), 4);
}

#[test]
fn a_frozen_log_reads_and_proves_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), ORIGIN, Arc::new(TestClock::default()));
    log.append(vec![grant("p", 3)]).unwrap();
    let head = log.checkpoint();
    assert_eq!(log.frozen(), None);
    log.freeze("it is an older copy");
    log.freeze("another reason");
    assert_eq!(log.frozen(), Some("it is an older copy"));
    let refused = log.append(vec![grant("p", 3)]);
    assert!(matches!(&refused, Err(LogError::Frozen(why)) if why == "it is an older copy"), "{refused:?}");
    assert!(log.read(0).is_ok() && log.prove_inclusion(0).is_ok());
    assert_eq!((log.root_at(head.size).unwrap(), log.checkpoint()), (head.root, head));
    assert!(matches!(log.root_at(9), Err(LogError::OutOfRange { .. })));
}

#[test]
fn a_mirror_is_adopted_by_its_keys_holder_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (original, copy) = (dir.path().join("log"), dir.path().join("copy"));
    small_ledger(&original);
    let reader = LogReader::open(&original).unwrap();
    let mirror = || Mirror::open(Arc::new(StdFs), &copy, reader.verifier_key(), true).unwrap();
    assert!(mirror().adopt(&key(ORIGIN)).is_err(), "nothing was mirrored yet");
    mirror().sync(&reader, &|_, _| ()).unwrap();
    assert!(mirror().adopt(&key("test.example/other")).is_err());
    mirror().adopt(&key(ORIGIN)).unwrap();
    let report = |dir| verify::audit(dir, verify::AuditOptions::default());
    assert_eq!(report(&copy).fault, None);
    let log = Log::open(Arc::new(StdFs), &copy, key(ORIGIN)).unwrap();
    assert_eq!((log.size(), log.checkpoint().root), (reader.size(), reader.checkpoint().root));
    log.append(vec![record("d", "p", b"rows of d", 2)]).unwrap();
    log.flush().unwrap();
    drop(log);
    assert_eq!(report(&copy).fault, None);
    assert_eq!(report(&copy).checked.blobs, report(&original).checked.blobs + 1);
}
