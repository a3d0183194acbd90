//! A log that is being written: its auditor is not in the way, and a thread that dies leaves nobody waiting.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use epiledger_ledger::{
    Fs, FsDir, FsFile, Log, LogError, Setup, StdFs,
    entry::key::Party,
    verify::{AuditOptions, audit},
};

use crate::folder::{TestClock, grant, key, record, register};

const ORIGIN: &str = "test.example/ledger";

#[test]
fn a_busy_log_is_audited_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup {
        clock: Arc::new(TestClock::default()),
        segment_bytes: 200_000,
        pack_bytes: 100_000,
        publish_pause: std::time::Duration::ZERO,
    };
    let log = Log::create_with(Arc::new(StdFs), dir.path(), ORIGIN, key(ORIGIN), setup).unwrap();
    log.append(vec![
        register(Party::Registrar, "r", 1, 1),
        register(Party::Hospital, "h", 2, 1),
        register(Party::Patient, "p", 3, 2),
    ])
    .unwrap();
    let batch = |from: usize, count: usize| {
        (from..from + count).map(|n| record(&format!("r{n}"), "p", n.to_string().repeat(100).as_bytes(), 2)).collect()
    };
    log.append(batch(0, 2_000)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = 2_000;
            while !done.load(Ordering::SeqCst) {
                log.append(batch(next, 3)).unwrap();
                next += 3;
            }
            next
        });
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let started = std::time::Instant::now();
            let report = audit(dir.path(), AuditOptions::default());
            assert_eq!(report.fault, None, "{report}");
            println!("{} entries audited in {:?}", report.size, started.elapsed());
            sizes.push(report.size);
        }
        done.store(true, Ordering::SeqCst);
        assert!(writer.join().unwrap() > 2_030, "it wrote all the while");
        assert!(sizes.is_sorted() && sizes.first() < sizes.last(), "{sizes:?}");
    });
    log.flush().unwrap();
    drop(log);
    let report = audit(dir.path(), AuditOptions::default());
    assert_eq!((report.fault, report.checked.unfinished_bytes), (None, 0));
    // At rest every byte counts again: a tile past the end is nobody's.
    std::fs::write(dir.path().join("tile/0/900"), [0; 8192]).unwrap();
    assert_eq!(audit(dir.path(), AuditOptions::default()).fault.unwrap().what, "tile/0/900");
}

/// Real files, but for a bug: a write of the journal panics once it is told to.
struct Buggy(Arc<AtomicBool>);

struct BuggyFile(Arc<dyn FsFile>, Arc<AtomicBool>);

impl FsFile for BuggyFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(!self.1.load(Ordering::SeqCst), "a bug in the writing thread");
        self.0.write_all_at(bytes, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Fs for Buggy {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        StdFs.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        StdFs.list(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        StdFs.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        Ok(Arc::new(BuggyFile(StdFs.open_write(path)?, Arc::clone(&self.0))))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        StdFs.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdFs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        StdFs.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        StdFs.remove_dir(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn FsDir>> {
        StdFs.open_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        StdFs.lock(path)
    }
}

#[test]
fn a_thread_that_panics_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let bug = Arc::new(AtomicBool::new(false));
    let log = Log::create(Arc::new(Buggy(Arc::clone(&bug))), dir.path(), ORIGIN, key(ORIGIN)).unwrap();
    log.append(vec![grant("p", 3)]).unwrap();
    bug.store(true, Ordering::SeqCst);
    assert!(matches!(log.append(vec![grant("p", 3)]), Err(LogError::Poisoned(_))));
    assert!(matches!(log.flush(), Err(LogError::Poisoned(_))));
    assert!(matches!(log.submit(vec![grant("p", 3)]).map(drop), Err(LogError::Poisoned(_))));
    drop(log);
    let log = Log::open(Arc::new(StdFs), dir.path(), key(ORIGIN)).unwrap();
    assert_eq!(log.size(), 2, "the entry and its block that were acknowledged");
}
