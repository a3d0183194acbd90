//! What an audit holds does not grow with the log. The only test of its binary: the bytes of all threads are counted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc};

use epiledger_ledger::{
    AuditEntry, Log, NewEntry, NoteKey, Setup, StdFs,
    entry::QueryRefused,
    tree::sha256,
    verify::{AuditOptions, audit},
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static BYTES: PeakAlloc = PeakAlloc;

/// More than fill the auditor's cache of 64 tiles.
const ENTRIES: u64 = 18_000;

/// Bytes of each entry's blob.
const BLOB: u64 = 40;

/// Bytes that a pack has before each blob.
const RECORD_HEADER: u64 = 40;

/// Refused questions, each with a blob of its own, all in one closed pack.
fn write(dir: &Path, entries: u64) {
    let key = NoteKey::from_seed("test.example/audit", &[1; 32]).unwrap();
    let setup = Setup { pack_bytes: entries * (BLOB + RECORD_HEADER), ..Setup::default() };
    let log = Log::create_with(Arc::new(StdFs), dir, "test.example/audit", key, setup).unwrap();
    let refused = |n: u64| {
        let blob = format!("{n:0width$}", width = usize::try_from(BLOB).unwrap()).into_bytes();
        let sql_commit = sha256(&blob).iter().map(|byte| format!("{byte:02x}")).collect();
        let entry =
            QueryRefused { principal: "ada".into(), protocol: "x".into(), sql_commit, code: "ROW_LEVEL".into() };
        NewEntry { blobs: vec![blob], ..AuditEntry::QueryRefused(entry).to_canonical().unwrap().into() }
    };
    for first in (0..entries).step_by(500) {
        log.append((first..(first + 500).min(entries)).map(refused).collect()).unwrap();
    }
    log.flush().unwrap();
    assert!(dir.join("blobs/000000.idx").exists() && !dir.join("blobs/000001.pack").exists());
}

/// The most bytes that were held at once while a log of so many entries was audited.
fn peak(entries: u64) -> usize {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("log");
    write(&dir, entries);
    BYTES.reset_peak_usage();
    let before = BYTES.current_usage();
    let report = audit(&dir, AuditOptions::default());
    assert_eq!((report.fault, report.checked.blobs), (None, entries));
    BYTES.peak_usage() - before
}

#[test]
fn an_audit_of_eight_times_the_entries_holds_no_more_bytes() {
    let (few, many) = (peak(ENTRIES), peak(8 * ENTRIES));
    println!("shown: an audit of {ENTRIES} entries held {few} bytes at most, of eight times as many {many}");
    // Threads take their shares at other moments: less than two bytes for each entry more.
    assert!(many < few + 2 * 7 * usize::try_from(ENTRIES).unwrap(), "{few} bytes, then {many}");
}
