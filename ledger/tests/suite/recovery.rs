//! After any stop the log opens by the normal path with every acknowledged entry, or says why it will not.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use crate::folder::{AuditWriter, NOON, TestClock, copy, create, files, grant, key, record, small_audit};
use epiledger_ledger::{
    LedgerEntry, Log, LogError, LogReader, NewEntry, Setup, StdFs, parse_ledger_entry,
    verify::{AuditOptions, audit},
};

const ORIGIN: &str = "test.example/ledger";

fn open(dir: &Path) -> Result<Log, LogError> {
    Log::open(Arc::new(StdFs), dir, key(ORIGIN))
}

fn no_fault(dir: &Path) {
    assert_eq!(audit(dir, AuditOptions::default()).fault, None);
}

fn entry(n: usize) -> NewEntry {
    record(&format!("r{n}"), "p", format!("rows {n}").as_bytes(), 2)
}

/// Three batches, everything still in one journal segment; the entries' bytes, and the folder after each batch.
fn three_batches(dir: &Path) -> (Vec<Vec<u8>>, Vec<PathBuf>) {
    let log = create(&dir.join("log"), ORIGIN, Arc::new(TestClock::default()));
    let mut stages = Vec::new();
    let mut entries = Vec::new();
    for batch in 0..3 {
        let new: Vec<_> = (0..3).map(|n| entry(batch * 10 + n)).collect();
        entries.extend(new.iter().map(|new| new.entry.as_bytes().to_vec()));
        log.append(new).unwrap();
        log.flush().unwrap();
        let stage = dir.join(format!("stage{batch}"));
        copy(&dir.join("log"), &stage);
        stages.push(stage);
    }
    (entries, stages)
}

/// Indices of the entries of [`three_batches`]: each fourth leaf is a block.
fn index(n: usize) -> u64 {
    (n + n / 3) as u64
}

fn segment(dir: &Path) -> PathBuf {
    files(&dir.join("journal")).pop().unwrap()
}

#[test]
fn a_stale_projection_catches_up_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (entries, stages) = three_batches(dir.path());
    for stage in &stages[..2] {
        // The journal of the last stage over the tiles, packs and checkpoint of an earlier one.
        fs::copy(segment(&stages[2]), segment(stage)).unwrap();
        no_fault(stage);
        let log = open(stage).unwrap();
        assert_eq!(log.size(), 12);
        for (n, bytes) in entries.iter().enumerate() {
            assert_eq!(&log.read(index(n)).unwrap(), bytes);
        }
        log.append(vec![entry(99)]).unwrap();
        drop(log);
        no_fault(stage);
        let blobs: Vec<_> = LogReader::open(stage).unwrap().entries(0).flat_map(|item| item.unwrap().2).collect();
        assert_eq!(blobs.len(), 10);
    }
}

#[test]
fn a_half_written_projection_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (_, stages) = three_batches(dir.path());
    // Every subset order that a crash can leave: tiles and packs of the last stage, the checkpoint of an earlier one.
    for earlier in &stages[..2] {
        let crashed = tempfile::tempdir().unwrap();
        copy(&stages[2], crashed.path());
        fs::copy(earlier.join("checkpoint"), crashed.path().join("checkpoint")).unwrap();
        no_fault(crashed.path());
        // A pack torn while it was copied from the journal.
        let pack = crashed.path().join("blobs/000000.pack");
        let whole = fs::read(&pack).unwrap();
        for cut in [1, 20, 45, whole.len() / 4] {
            fs::write(&pack, &whole[..whole.len() - cut]).unwrap();
            let again = tempfile::tempdir().unwrap();
            copy(crashed.path(), again.path());
            drop(open(again.path()).unwrap());
            no_fault(again.path());
            assert_eq!(fs::read(again.path().join("blobs/000000.pack")).unwrap(), whole);
        }
        fs::write(crashed.path().join("journal/tmp.0"), b"half").unwrap();
        fs::write(&pack, &whole).unwrap();
        drop(open(crashed.path()).unwrap());
        no_fault(crashed.path());
    }
}

#[test]
fn a_torn_tail_is_dropped_when_no_published_head_covers_it() {
    let dir = tempfile::tempdir().unwrap();
    let (entries, stages) = three_batches(dir.path());
    let whole = fs::read(segment(&stages[2])).unwrap();
    let start = fs::read(segment(&stages[1])).unwrap().len();
    for length in (start..whole.len()).step_by(7) {
        let crashed = tempfile::tempdir().unwrap();
        copy(&stages[1], crashed.path());
        fs::write(segment(crashed.path()), &whole[..length]).unwrap();
        let report = audit(crashed.path(), AuditOptions::default());
        assert_eq!((report.fault, report.size), (None, 8), "a torn tail is no fault");
        assert_eq!(report.checked.unfinished_bytes, (length - start) as u64);
        let log = open(crashed.path()).unwrap();
        assert_eq!(log.size(), 8, "cut at {length}");
        assert_eq!(log.read(index(5)).unwrap(), entries[5]);
        assert_eq!(log.append(vec![entry(50)]).unwrap().first, 8);
        drop(log);
        no_fault(crashed.path());
    }
}

#[test]
fn a_flipped_byte_of_a_frame_that_is_not_published_yet_is_named_and_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (_, stages) = three_batches(dir.path());
    let whole = fs::read(segment(&stages[2])).unwrap();
    let start = fs::read(segment(&stages[1])).unwrap().len();
    let path = segment(&stages[1]);
    let name = format!("journal/{}", path.file_name().unwrap().to_str().unwrap());
    for at in start..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let fault = audit(&stages[1], AuditOptions::default()).fault.unwrap();
        assert_eq!((fault.what.as_str(), fault.layer), (name.as_str(), "journal"), "byte {at}");
        if at % 16 == 0 {
            assert!(matches!(open(&stages[1]), Err(LogError::Corrupt { .. })), "byte {at}");
        }
    }
    assert_eq!(fs::read(&path).unwrap().len(), whole.len(), "nothing was cut");
}

#[test]
fn a_lost_or_damaged_acknowledged_frame_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (_, stages) = three_batches(dir.path());
    let whole = fs::read(segment(&stages[2])).unwrap();
    let published = stages[2].as_path();
    let refused = |what: &str, folder: &Path| match open(folder) {
        Err(LogError::Corrupt { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(segment(published), &whole[..length]).unwrap();
        refused("a published frame is torn", published);
    }
    let path = segment(published);
    fs::remove_file(&path).unwrap();
    refused("the journal is gone", published);
    // Damage before a whole frame is no torn tail, whatever is published.
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    let first = segment(&stages[0]);
    fs::write(&first, &damaged).unwrap();
    refused("damage in the middle", &stages[0]);
    fs::write(&path, &whole).unwrap();
    drop(open(published).unwrap());
    no_fault(published);
}

#[test]
fn a_published_tile_that_does_not_fit_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (_, stages) = three_batches(dir.path());
    for file in ["tile/0/000.p/12", "tile/entries/000.p/12"] {
        let path = stages[2].join(file);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        changed[40] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(matches!(open(&stages[2]), Err(LogError::Corrupt { .. })), "{file}");
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_clock_that_goes_backwards_turns_no_block_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    clock.0.store(3600, Ordering::SeqCst);
    let log = create(dir.path(), ORIGIN, Arc::clone(&clock) as Arc<_>);
    log.append(vec![grant("p", 3)]).unwrap();
    clock.0.store(0, Ordering::SeqCst);
    log.append(vec![grant("p", 3)]).unwrap();
    drop(log);
    let log = Log::open_with(
        Arc::new(StdFs),
        dir.path(),
        key(ORIGIN),
        Setup { clock: Arc::clone(&clock) as Arc<_>, ..Setup::default() },
    )
    .unwrap();
    log.append(vec![grant("p", 3)]).unwrap();
    clock.0.store(7_259, Ordering::SeqCst);
    log.append(vec![grant("p", 3)]).unwrap();
    let times: Vec<_> = (1..log.size())
        .step_by(2)
        .map(|index| match parse_ledger_entry(&log.read(index).unwrap()).unwrap() {
            LedgerEntry::Block(block) => block.time - NOON,
            LedgerEntry::Transaction(_) => panic!("no block"),
        })
        .collect();
    assert_eq!(times, [3600, 3600, 3600, 7200], "never back, and rounded down to the minute");
    drop(log);
    no_fault(dir.path());
}

#[test]
fn auditing_a_log_that_is_being_written_finds_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut writer = AuditWriter::new(&path, Arc::new(TestClock::default()));
    std::thread::scope(|scope| {
        let auditor = scope.spawn(|| (0..5).map(|_| audit(&path, AuditOptions::default())).collect::<Vec<_>>());
        while !auditor.is_finished() && writer.intents < 70 {
            writer.ask(writer.intent());
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        for report in auditor.join().unwrap() {
            assert_eq!(report.fault, None);
        }
    });
    assert!(writer.intents > 0);
    let twin = tempfile::tempdir().unwrap();
    small_audit(&twin.path().join("log"));
    no_fault(&twin.path().join("log"));
}
