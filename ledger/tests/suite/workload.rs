//! A life of a log on a simulated disk, what its callers were told at each moment, and the check that all of it holds.

use std::{collections::HashSet, path::Path, sync::Arc};

use epiledger_ledger::{
    Canonical, Checkpoint, Log, LogError, NewEntry, Setup,
    tree::{self, Frontier, leaf_hash, sha256},
    verify::{AuditOptions, audit},
};

use crate::{
    disk::{Disk, State},
    folder::{TestClock, grant, hex, key, record},
};

pub const ORIGIN: &str = "test.example/ledger";
pub const DIR: &str = "/data/log";

/// Short files, so that segments and packs are closed in a small log.
pub fn setup() -> Setup {
    Setup { clock: Arc::new(TestClock::default()), segment_bytes: 4_000, pack_bytes: 3_000 }
}

pub fn open(disk: &Disk) -> Result<Log, LogError> {
    Log::open_with(Arc::new(disk.clone()), Path::new(DIR), key(ORIGIN), setup())
}

pub fn create(disk: &Disk) -> Result<Log, LogError> {
    Log::create_with(Arc::new(disk.clone()), Path::new(DIR), ORIGIN, key(ORIGIN), setup())
}

/// What callers know: entries that were acknowledged and heads that left, each with the change after which they knew it.
#[derive(Clone, Default)]
pub struct Told {
    /// After which change the log was there.
    pub created: Option<usize>,
    entries: Vec<(usize, u64, NewEntry)>,
    heads: Vec<(usize, Checkpoint)>,
}

impl Told {
    /// What was known when that many changes were made.
    pub fn until(&self, position: usize) -> Self {
        let known = |at: usize| at <= position;
        Self {
            created: self.created.filter(|at| known(*at)),
            entries: self.entries.iter().filter(|(at, ..)| known(*at)).cloned().collect(),
            heads: self.heads.iter().filter(|(at, _)| known(*at)).cloned().collect(),
        }
    }

    /// Everything here is known from the start of another record on.
    pub fn at_start(mut self) -> Self {
        self.created = self.created.map(|_| 0);
        self.entries.iter_mut().for_each(|(at, ..)| *at = 0);
        self.heads.iter_mut().for_each(|(at, _)| *at = 0);
        self
    }

    pub fn acknowledged(&self) -> usize {
        self.entries.len()
    }

    fn head(&mut self, disk: &Disk, head: Checkpoint) {
        self.heads.push((disk.position(), head));
    }

    /// The log is open, and says its heads.
    pub fn opened(&mut self, disk: &Disk, log: &Log) {
        self.created.get_or_insert(disk.position());
        self.head(disk, log.checkpoint());
        self.head(disk, log.published());
    }

    /// Appends and waits.
    pub fn append(&mut self, disk: &Disk, log: &Log, entries: Vec<NewEntry>) -> Result<(), LogError> {
        let appended = log.append(entries.clone()).inspect_err(|_| stays_stopped(log))?;
        let position = disk.position();
        for (entry, n) in entries.into_iter().zip(0..) {
            self.entries.push((position, appended.index(n).unwrap(), entry));
        }
        self.head(disk, appended.checkpoint);
        Ok(())
    }

    /// Waits until everything is published.
    pub fn flush(&mut self, disk: &Disk, log: &Log) -> Result<(), LogError> {
        log.flush().inspect_err(|_| stays_stopped(log))?;
        let published = log.published();
        self.head(disk, published);
        Ok(())
    }

    /// The log holds all that was told; entry by entry its tree is the one of its head, and of every earlier one.
    pub fn check(&self, log: &Log) {
        for (_, index, entry) in &self.entries {
            assert_eq!(log.read(*index).unwrap(), entry.entry.as_bytes(), "entry {index}");
            for blob in &entry.blobs {
                assert_eq!(log.blob(&hex(&sha256(blob))).unwrap().as_ref(), Some(blob), "a blob of entry {index}");
            }
        }
        let head = log.checkpoint();
        let mut frontier = Frontier::default();
        let mut roots = vec![frontier.root()];
        for index in 0..head.size {
            frontier.push(leaf_hash(&log.read(index).unwrap()));
            roots.push(frontier.root());
        }
        assert_eq!(frontier.root(), head.root);
        let mut proven = HashSet::new();
        for (_, told) in &self.heads {
            assert!(told.size <= head.size, "the log has {} entries, and a head of {} left it", head.size, told.size);
            assert_eq!(roots[told.size as usize], told.root, "two trees of size {}", told.size);
            if proven.insert(told.size) {
                let proof = log.prove_consistency(told.size, head.size).unwrap();
                assert!(tree::check_consistency(&proof, told.size, &told.root, head.size, &head.root));
            }
        }
    }
}

/// A log that failed takes nothing more.
fn stays_stopped(log: &Log) {
    assert!(matches!(log.append(vec![grant("p", 3)]), Err(LogError::Poisoned(_))));
}

pub fn with_blob(n: usize, length: usize) -> NewEntry {
    let blob: Vec<u8> = (0..length).map(|at| (at * 7 + n * 13 + at / 255) as u8).collect();
    record(&format!("r{n}"), "p", &blob, 2)
}

/// An entry without a signature: it does not count as a transaction, and is stored like one.
fn plain(n: u64) -> NewEntry {
    Canonical::of(&serde_json::json!({ "n": n })).unwrap().into()
}

/// One life: made, written to in batches of one to many entries, with and without blobs, some of them stored already,
/// past a full tile, over closed segments and packs, closed and opened again.
pub fn live(disk: &Disk, told: &mut Told) -> Result<(), LogError> {
    let log = create(disk)?;
    told.opened(disk, &log);
    told.append(disk, &log, vec![grant("p", 3)])?;
    told.append(disk, &log, vec![with_blob(0, 700), grant("p", 3), with_blob(1, 30)])?;
    told.flush(disk, &log)?;
    for n in 2..6 {
        told.append(disk, &log, vec![with_blob(n, 500 * n), with_blob(1, 30)])?;
    }
    told.append(disk, &log, (0..240).map(plain).collect())?;
    told.append(disk, &log, (0..9).map(|n| with_blob(10 + n, 20)).collect())?;
    told.flush(disk, &log)?;
    drop(log);
    let log = open(disk)?;
    told.opened(disk, &log);
    told.append(disk, &log, vec![grant("p", 3), with_blob(30, 1_400)])?;
    told.flush(disk, &log)?;
    told.append(disk, &log, vec![with_blob(31, 1_500), with_blob(1, 30)])?;
    told.flush(disk, &log)
}

/// Opens what a stop left, by the path that every start takes; makes the log when it was not made yet.
pub fn start(disk: &Disk, told: &Told) -> Log {
    match open(disk) {
        Err(_) if told.created.is_none() => create(disk).unwrap(),
        opened => opened.unwrap(),
    }
}

/// The auditor's verdict on the files as they are seen.
pub fn fault(state: &State) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    state.copy_to(Path::new(DIR), dir.path());
    audit(dir.path(), AuditOptions::default()).fault.map(|fault| fault.to_string())
}
