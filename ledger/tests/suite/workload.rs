//! A life of a log on a simulated disk, what its callers were told at each moment, and the check that all of it holds.

use std::{collections::HashSet, path::Path, sync::Arc};

use epiledger_ledger::{
    Canonical, Checkpoint, Hash, Log, LogError, NewEntry, Setup,
    entry::{erased_blobs, key::Party},
    tree::{self, Frontier, leaf_hash, sha256},
    verify::{AuditOptions, audit},
};

use crate::{
    disk::{Disk, State},
    folder::{erase, grant, hex, key, record, register, short},
};

pub const ORIGIN: &str = "test.example/ledger";
pub const DIR: &str = "/data/log";

/// Short files, so that segments and packs are closed in a small log.
pub fn setup() -> Setup {
    short(4_000, 3_000)
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
    /// Blobs whose erasure began, and those whose erasure was acknowledged.
    erasing: Vec<(usize, Hash)>,
    erased: Vec<(usize, Hash)>,
}

impl Told {
    /// What was known when that many changes were made.
    pub fn until(&self, position: usize) -> Self {
        let known = |at: usize| at <= position;
        Self {
            created: self.created.filter(|at| known(*at)),
            entries: self.entries.iter().filter(|(at, ..)| known(*at)).cloned().collect(),
            heads: self.heads.iter().filter(|(at, _)| known(*at)).cloned().collect(),
            // It may have begun with the change that was under way.
            erasing: self.erasing.iter().filter(|(at, _)| known(*at)).copied().collect(),
            erased: self.erased.iter().filter(|(at, _)| known(*at)).copied().collect(),
        }
    }

    /// Everything here is known from the start of another record on.
    pub fn at_start(mut self) -> Self {
        self.created = self.created.map(|_| 0);
        self.entries.iter_mut().for_each(|(at, ..)| *at = 0);
        self.heads.iter_mut().for_each(|(at, _)| *at = 0);
        self.erasing.iter_mut().chain(&mut self.erased).for_each(|(at, _)| *at = 0);
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

    /// Erases the blobs of entries: the patient signs for each.
    pub fn erase(&mut self, disk: &Disk, log: &Log, of: &[NewEntry]) -> Result<(), LogError> {
        let blobs: Vec<Vec<u8>> = of.iter().flat_map(|entry| entry.blobs.clone()).collect();
        let hashes: Vec<Hash> = blobs.iter().map(|blob| sha256(blob)).collect();
        let position = disk.position();
        self.erasing.extend(hashes.iter().map(|hash| (position, *hash)));
        let names: Vec<String> = hashes.iter().map(|hash| hex(hash)).collect();
        let entries = blobs.iter().map(|blob| erase("p", blob, 3)).collect();
        let done = log.erase(&names, || self.append(disk, log, entries));
        // What failed before anything was written leaves the log as it was.
        if log.failure().is_some() {
            stays_stopped(log);
        }
        done?;
        let position = disk.position();
        self.erased.extend(hashes.iter().map(|hash| (position, *hash)));
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
    ///
    /// A blob is gone when an entry says that it was erased, which takes that an erasure had begun, and otherwise there.
    pub fn check(&self, log: &Log) {
        let head = log.checkpoint();
        let said: HashSet<Hash> = (0..head.size).flat_map(|index| erased_blobs(&log.read(index).unwrap())).collect();
        let begun: HashSet<Hash> = self.erasing.iter().map(|(_, hash)| *hash).collect();
        assert!(said.is_subset(&begun), "an erasure that nobody began");
        assert!(self.erased.iter().all(|(_, hash)| said.contains(hash)), "an erasure that was acknowledged is lost");
        for (_, index, entry) in &self.entries {
            assert_eq!(log.read(*index).unwrap(), entry.entry.as_bytes(), "entry {index}");
            for blob in &entry.blobs {
                let expected = (!said.contains(&sha256(blob))).then_some(blob);
                assert_eq!(log.blob(&hex(&sha256(blob))).unwrap().as_ref(), expected, "a blob of entry {index}");
            }
        }
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
/// past a full tile, over closed segments and packs, some blobs erased, closed and opened again.
pub fn live(disk: &Disk, told: &mut Told) -> Result<(), LogError> {
    let log = create(disk)?;
    told.opened(disk, &log);
    let keys = [(Party::Registrar, "r", 1, 1), (Party::Hospital, "h", 2, 1), (Party::Patient, "p", 3, 2)];
    told.append(disk, &log, keys.map(|(party, owner, new, signer)| register(party, owner, new, signer)).to_vec())?;
    told.append(disk, &log, vec![grant("p", 3)])?;
    told.append(disk, &log, vec![with_blob(0, 700), grant("p", 3), with_blob(1, 30)])?;
    told.flush(disk, &log)?;
    for n in 2..6 {
        told.append(disk, &log, vec![with_blob(n, 500 * n), with_blob(1, 30)])?;
    }
    told.append(disk, &log, (0..240).map(plain).collect())?;
    told.append(disk, &log, (0..9).map(|n| with_blob(10 + n, 20)).collect())?;
    // One of a closed pack, one that is on its way.
    told.erase(disk, &log, &[with_blob(3, 1_500), with_blob(12, 20)])?;
    told.flush(disk, &log)?;
    drop(log);
    let log = open(disk)?;
    told.opened(disk, &log);
    told.append(disk, &log, vec![grant("p", 3), with_blob(30, 1_400)])?;
    told.flush(disk, &log)?;
    told.append(disk, &log, vec![with_blob(31, 1_500), with_blob(1, 30)])?;
    told.flush(disk, &log)?;
    told.erase(disk, &log, &[with_blob(2, 1_000), with_blob(30, 1_400)])?;
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
