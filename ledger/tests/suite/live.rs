//! A log that is being written: its auditor is not in the way, and a thread that dies leaves nobody waiting.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use epiledger_ledger::{
    Fs, FsDir, FsFile, Log, LogError, Setup, StdFs,
    entry::key::Party,
    verify::{AuditOptions, audit},
};

use crate::folder::{grant, key, record, register, short};

const ORIGIN: &str = "test.example/ledger";

#[test]
fn a_busy_log_is_audited_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let setup = short(200_000, 100_000);
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

/// What is called before each write of a file that was there when the log was opened: its journal.
type Before = Arc<dyn Fn() + Send + Sync>;

/// Real files whose writes are watched.
struct Watched(Before);

struct WatchedFile(Arc<dyn FsFile>, Before);

impl FsFile for WatchedFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (self.1)();
        self.0.write_all_at(bytes, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Fs for Watched {
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
        Ok(Arc::new(WatchedFile(StdFs.open_write(path)?, Arc::clone(&self.0))))
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
    let told = Arc::clone(&bug);
    let watched = Watched(Arc::new(move || assert!(!told.load(Ordering::SeqCst), "a bug in what writes")));
    let log = Log::create(Arc::new(watched), dir.path(), ORIGIN, key(ORIGIN)).unwrap();
    log.append(vec![grant("p", 3)]).unwrap();
    bug.store(true, Ordering::SeqCst);
    assert!(matches!(log.append(vec![grant("p", 3)]), Err(LogError::Poisoned(_))));
    assert!(matches!(log.flush(), Err(LogError::Poisoned(_))));
    assert!(matches!(log.submit(vec![grant("p", 3)]).map(drop), Err(LogError::Poisoned(_))));
    drop(log);
    let log = Log::open(Arc::new(StdFs), dir.path(), key(ORIGIN)).unwrap();
    assert_eq!(log.size(), 2, "the entry and its block that were acknowledged");
}

/// Nobody else is asked to write what one caller waits for alone. The writer's thread may come first, but not always.
#[test]
fn whoever_waits_alone_writes() {
    let dir = tempfile::tempdir().unwrap();
    let writers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&writers);
    let watched = Watched(Arc::new(move || seen.lock().unwrap().push(std::thread::current().id())));
    let log = Log::create(Arc::new(watched), dir.path(), ORIGIN, key(ORIGIN)).unwrap();
    for _ in 0..100 {
        log.append(vec![grant("p", 3)]).unwrap();
    }
    // What nobody waits for is written too.
    log.submit(vec![grant("p", 3)]).map(drop).unwrap();
    drop(log);
    let writers = writers.lock().unwrap();
    let mine = writers.iter().filter(|id| **id == std::thread::current().id()).count();
    println!("shown: of 101 entries, one at a time, {mine} were written by the caller that waited");
    assert!(mine > 0, "{writers:?}");
    let log = Log::open(Arc::new(StdFs), dir.path(), key(ORIGIN)).unwrap();
    assert_eq!(log.size(), 202);
}

/// With a pause that no test outlives: what is durable is published when somebody waits for it, and when the log closes.
#[test]
fn publication_pauses_unless_somebody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { publish_pause: Duration::from_secs(100_000), ..Setup::default() };
    let log = Log::create_with(Arc::new(StdFs), dir.path(), ORIGIN, key(ORIGIN), setup).unwrap();
    for round in 1..4 {
        log.append(vec![grant("p", 3)]).unwrap();
        log.flush().unwrap();
        assert_eq!(log.published().size, 2 * round);
    }
    // Long enough for many rounds.
    for _ in 0..200 {
        log.append(vec![grant("p", 3)]).unwrap();
    }
    assert_eq!((log.checkpoint().size, log.published().size), (406, 6));
    drop(log);
    let published = std::fs::read_to_string(dir.path().join("checkpoint")).unwrap();
    assert_eq!(published.lines().nth(1), Some("406"));
}
