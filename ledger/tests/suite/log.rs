//! A log as its callers see it: indices, durability, reading, proofs, closing and opening again.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use epiledger_ledger::{
    AuditEntry, Block, Canonical, Fs, Log, LogError, LogReader, NewEntry, NoteKey, Setup, StdFs, check_proof,
    entry::{AccessDenied, QueryRefused},
    parse_audit_entry, tree,
};
use serde_json::json;

fn key() -> NoteKey {
    NoteKey::from_seed("log.example/audit", &[1; 32]).unwrap()
}

fn create(dir: &Path) -> Log {
    Log::create(Arc::new(StdFs), dir, "log.example/audit", key()).unwrap()
}

fn open(dir: &Path) -> Log {
    Log::open(Arc::new(StdFs), dir, key()).unwrap()
}

fn denied(count: u64) -> NewEntry {
    let entry = AccessDenied { principal: "p".into(), route: "/v1".into(), count };
    AuditEntry::AccessDenied(entry).to_canonical().unwrap().into()
}

fn refused(text: &str) -> NewEntry {
    let blob = text.as_bytes().to_vec();
    let sql_commit = tree::sha256(&blob).iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = QueryRefused { principal: "p".into(), protocol: "x".into(), sql_commit, code: "CODE".into() };
    NewEntry { entry: AuditEntry::QueryRefused(entry).to_canonical().unwrap(), blobs: vec![blob] }
}

#[test]
fn entries_keep_their_index_and_bytes_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut log = create(dir.path());
    assert_eq!(log.checkpoint().size, 0);
    for round in 0..30 {
        let entries: Vec<_> = (0..round * 3 % 40 + 1).map(|n| denied(round * 1000 + n)).collect();
        let appended = log.append(entries.clone()).unwrap();
        for (entry, n) in entries.iter().zip(0..) {
            expected.push((appended.index(n).unwrap(), entry.entry.as_bytes().to_vec()));
        }
        assert!(appended.checkpoint.size > expected.last().unwrap().0);
        if round % 7 == 0 {
            drop(log);
            log = open(dir.path());
        }
        for (index, bytes) in &expected {
            assert_eq!(&log.read(*index).unwrap(), bytes);
        }
    }
    let size = log.size();
    assert!(matches!(log.read(size), Err(LogError::OutOfRange { .. })));
    log.flush().unwrap();
    let reader = LogReader::open(dir.path()).unwrap();
    let all: Vec<_> = reader.entries(0).map(|item| item.unwrap()).collect();
    assert_eq!(all.len() as u64, size);
    let blocks = all.iter().filter(|(_, bytes, _)| bytes.ends_with(b"\"type\":\"block\"}")).count();
    assert_eq!(blocks, 30);
    assert_eq!(all.len(), expected.len() + blocks);
    for (index, bytes) in &expected {
        assert_eq!(&all[*index as usize].1, bytes);
    }
}

#[test]
fn blocks_are_linked_by_leaf_hash() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path());
    let mut prev = Block::NO_PREVIOUS;
    for height in 0..5 {
        let appended = log.append(vec![denied(1), denied(2)]).unwrap();
        let bytes = log.read(appended.first + 2).unwrap();
        let epiledger_ledger::AuditLogEntry::Block(block) = parse_audit_entry(&bytes).unwrap() else {
            panic!("no block")
        };
        assert_eq!((block.height, block.first, block.count), (height, appended.first, 2));
        assert_eq!(block.prev_hash().unwrap(), prev);
        assert_eq!(block.time % 60, 0);
        prev = tree::leaf_hash(&bytes);
    }
}

#[test]
fn every_entry_is_proven_under_the_newest_head() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path());
    let mut heads = vec![log.checkpoint()];
    for n in 0..20 {
        let ticket = log.submit((0..n * 5).map(denied).collect()).unwrap();
        heads.push(ticket.wait().unwrap().checkpoint);
    }
    let key = key().verifier_key();
    let size = log.size();
    assert!(size > 512);
    for index in 0..size {
        let text = log.prove_inclusion(index).unwrap();
        let entry = log.read(index).unwrap();
        let (proven, head) = check_proof(&text, &key, &entry).unwrap();
        assert_eq!((proven, head.size), (index, size));
        assert!(check_proof(&text, &key, b"{}").is_none());
    }
    assert!(log.prove_inclusion(size).is_err());
    for pair in heads.windows(2) {
        let proof = log.prove_consistency(pair[0].size, pair[1].size).unwrap();
        assert!(tree::check_consistency(&proof, pair[0].size, &pair[0].root, pair[1].size, &pair[1].root));
    }
    assert!(log.prove_consistency(0, size + 1).is_err());
}

#[test]
fn blobs_are_there_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path());
    let name = |text: &str| tree::sha256(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    log.append(vec![refused("SELECT 1"), refused("SELECT 2")]).unwrap();
    assert_eq!(log.blob(&name("SELECT 1")).unwrap().unwrap(), b"SELECT 1");
    assert_eq!(log.blob(&name("SELECT 3")).unwrap(), None);
    let mut nameless = refused("SELECT 1");
    nameless.blobs = vec![b"SELECT 9".to_vec()];
    assert_eq!(log.submit(vec![nameless]).err(), Some(LogError::BlobNotNamed));
    let mut missing = refused("SELECT 3");
    missing.blobs.clear();
    assert_eq!(log.submit(vec![missing.clone()]).err(), Some(LogError::BlobMissing(name("SELECT 3"))));
    let mut again = refused("SELECT 2");
    again.blobs.clear();
    log.append(vec![again, refused("SELECT 3"), missing]).unwrap();
    drop(log);
    let log = open(dir.path());
    for text in ["SELECT 1", "SELECT 2", "SELECT 3"] {
        assert_eq!(log.blob(&name(text)).unwrap().unwrap(), text.as_bytes());
    }
    let reader = LogReader::open(dir.path()).unwrap();
    let blobs: Vec<_> = reader.entries(0).flat_map(|item| item.unwrap().2).collect();
    assert_eq!(
        blobs,
        ["SELECT 1", "SELECT 2", "SELECT 2", "SELECT 3", "SELECT 3"].map(|text| text.as_bytes().to_vec())
    );
    assert_eq!(reader.entries(4).flat_map(|item| item.unwrap().2).count(), 2);
}

#[test]
fn a_reader_finds_what_is_named_again_in_any_pack() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { pack_bytes: 100, ..Setup::default() };
    let log = Log::create_with(Arc::new(StdFs), dir.path(), "log.example/audit", key(), setup).unwrap();
    let named = [0, 1, 2, 0, 3, 4, 5, 1, 6, 4, 7, 7, 2, 8, 9, 9];
    for n in named {
        log.append(vec![refused(&format!("SELECT {n}"))]).unwrap();
    }
    drop(log);
    assert!(dir.path().join("blobs/000002.idx").exists() && dir.path().join("blobs/000003.pack").exists());
    let reader = LogReader::open(dir.path()).unwrap();
    // Each entry is followed by its block.
    for (from, rest) in (0..).step_by(2).zip((0..named.len()).map(|at| &named[at..])) {
        let blobs: Vec<_> = reader.entries(from).flat_map(|item| item.unwrap().2).collect();
        let expected: Vec<_> = rest.iter().map(|n| format!("SELECT {n}").into_bytes()).collect();
        assert_eq!(blobs, expected, "from {from}");
    }
}

#[test]
fn a_log_has_one_writer_and_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a").join("log");
    let log = create(&path);
    assert!(matches!(Log::open(Arc::new(StdFs), &path, key()), Err(LogError::Locked(_))));
    assert!(matches!(Log::create(Arc::new(StdFs), &path, "log.example/audit", key()), Err(LogError::NotEmpty(_))));
    drop(log);
    let other = NoteKey::from_seed("log.example/audit", &[2; 32]).unwrap();
    assert!(matches!(Log::open(Arc::new(StdFs), &path, other), Err(LogError::WrongKey)));
    assert!(matches!(Log::create(Arc::new(StdFs), &dir.path().join("b"), "other", key()), Err(LogError::WrongKey)));
    open(&path);
}

#[test]
fn many_writers_get_different_indices_and_short_submissions_stay_together() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path());
    let mut indices: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let log = &log;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for round in 0..20 {
                        let appended =
                            log.append((0..7).map(|n| denied(writer * 1000 + round * 10 + n)).collect()).unwrap();
                        assert_eq!(appended.index(6), Some(appended.first + 6));
                        assert_eq!(appended.index(7), None);
                        mine.extend((0..7).map(|n| appended.first + n));
                    }
                    mine
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(indices.len(), 8 * 20 * 7);
}

#[test]
fn a_hundred_thousand_entries_append_in_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path());
    let long = |n: u64| NewEntry::from(Canonical::of(&json!({"n": n, "text": "x".repeat(600)})).unwrap());
    let entries: Vec<_> = (0..100_000).map(long).collect();
    let started = Instant::now();
    let tickets: Vec<_> = entries.chunks(10_000).map(|chunk| log.submit(chunk.to_vec()).unwrap()).collect();
    let mut last = 0;
    for ticket in tickets {
        let (first, end) = (ticket.first_index(), ticket.index(9_999).unwrap());
        assert!(first >= last && end >= first + 9_999 && ticket.index(10_000).is_none());
        last = end + 1;
        assert!(ticket.wait().unwrap().checkpoint.size > end);
    }
    let durable = started.elapsed();
    log.flush().unwrap();
    println!("100,000 entries durable in {durable:?}, published in {:?}", started.elapsed());
    assert!(log.size() > 100_000);
    drop(log);
    let started = Instant::now();
    let log = open(dir.path());
    println!("opened in {:?}", started.elapsed());
    let journal: Vec<_> = std::fs::read_dir(dir.path().join("journal")).unwrap().collect();
    assert!(journal.len() <= 2, "covered segments are removed: {}", journal.len());
    assert!(log.read(99_999).unwrap().len() > 600);
}

/// Where programs are started on other threads, a lock that was let go is free at once.
#[test]
fn a_process_that_is_being_started_holds_no_lock_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(std::process::Command::new("true").status().unwrap().success());
            }
        });
        let held = (0..20_000).filter(|_| StdFs.lock(&path).is_err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(held, 0);
    });
}
