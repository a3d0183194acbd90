//! `Log`: the one object that writes a log.
//!
//! [`Log::submit`] gives each entry its index and puts it into a batch; one journal frame is made of a batch, whose
//! fdatasync is the commit point; the projection thread follows with tiles, packs and `checkpoint`.
//! No signed head leaves and no waiter is answered before the frame that carries it is durable.

mod guard;
mod succeed;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::JoinHandle,
};

use crate::{
    batch::{Incoming, NewEntry},
    blob::BlobStore,
    checkpoint::Checkpoint,
    create,
    erasure::Locks,
    error::{LogError, short},
    fs::Fs,
    hex,
    note::NoteKey,
    proof::{Overlay, proof_text},
    recover,
    setup::Setup,
    state::{BlobPlace, State},
    tiles::{TILE_WIDTH, TileKind, TilePath, TileReader, read_tile},
    tree::{self, Hash},
    writer,
};

pub(crate) use guard::Guard;
pub use guard::HeadPin;
use succeed::Previous;

/// Bytes that may wait for the writer before [`Log::submit`] makes its caller wait too.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// A log open for writing; holds the folder's lock until dropped. Dropping writes what was submitted.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held until the threads have ended; a ticket that outlives the log does not keep it.
    _lock: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// A bundle's place, and its entries.
type KeptBundle = (TilePath, Arc<Vec<Vec<u8>>>);

/// What the log's handles and its two threads share.
pub(crate) struct Shared {
    pub fs: Arc<dyn Fs>,
    pub dir: PathBuf,
    pub key: NoteKey,
    pub setup: Setup,
    pub blobs: BlobStore,
    pub locks: Locks,
    pub state: Mutex<State>,
    /// Why nothing may be appended, and where heads are kept.
    pub guard: Guard,
    /// Set when the log is opened, if it goes on after others.
    pub previous: OnceLock<Previous>,
    /// The published bundle that was read last.
    pub last_bundle: Mutex<Option<KeptBundle>>,
    /// Something was submitted, or the log closes.
    pub work: Condvar,
    /// Something became durable or published, or the log stopped.
    pub progress: Condvar,
    /// There are frames to publish, or somebody waits for them, or the log stopped.
    pub gathered: Condvar,
}

impl Shared {
    /// The state; a thread that died holding it poisons the log as a failed write does.
    pub(crate) fn state(&self) -> Result<MutexGuard<'_, State>, LogError> {
        self.state.lock().map_err(|_| LogError::Poisoned("a writing thread died".to_owned()))
    }

    /// Index of the log's first entry.
    pub(crate) fn first(&self) -> u64 {
        self.previous.get().map_or(0, Previous::size)
    }

    /// Stops the log for good: waiters get the error, nothing is written any more.
    pub(crate) fn poison(&self, error: &LogError) {
        if let Ok(mut state) = self.state.lock() {
            state.poison.get_or_insert_with(|| match error {
                LogError::Poisoned(_) => error.clone(),
                _ => LogError::Poisoned(error.to_string()),
            });
        }
        self.work.notify_all();
        self.progress.notify_all();
        self.gathered.notify_all();
    }
}

/// Entries that are on their way to the disk.
#[must_use = "an entry is stored only when `wait` has returned"]
pub struct Ticket {
    shared: Arc<Shared>,
    first: u64,
    /// Index within this log after the last entry.
    end: u64,
    runs: Vec<(u64, u64)>,
}

/// Entries that are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Index of the first entry of the submission.
    pub first: u64,
    /// A signed head that covers all of them.
    pub checkpoint: Checkpoint,
    runs: Vec<(u64, u64)>,
}

/// The index of the `position`-th of entries that lie in runs of (first index, count).
fn nth(runs: &[(u64, u64)], mut position: u64) -> Option<u64> {
    for (first, count) in runs {
        if position < *count {
            return Some(first + position);
        }
        position -= count;
    }
    None
}

impl Ticket {
    /// Index of the first entry (the next free one for an empty submission).
    pub fn first_index(&self) -> u64 {
        self.first
    }

    /// Index of the `position`-th entry of the submission, from 0. A submission of at most 512 entries and 1 MiB is
    /// consecutive; a longer one has block leaves in between.
    pub fn index(&self, position: u64) -> Option<u64> {
        nth(&self.runs, position)
    }

    /// Blocks until the entries are durable. Whoever waits alone writes: to wake a thread takes as long as many a disk.
    ///
    /// # Errors
    /// The log stopped; whether the entries are stored shows when it is opened again.
    pub fn wait(self) -> Result<Appended, LogError> {
        let mut state = self.shared.state()?;
        while state.durable.size < self.end {
            if let Some(error) = &state.poison {
                return Err(error.clone());
            }
            let alone = if state.handed_over { None } else { writer::take_up(&self.shared, &mut state) };
            state = match alone {
                Some(writing) => {
                    drop(state);
                    writing.run();
                    self.shared.state()?
                }
                None => self.shared.progress.wait(state).map_err(|_| LogError::Closed)?,
            };
        }
        Ok(Appended { first: self.first, checkpoint: state.durable.clone(), runs: self.runs })
    }
}

impl Appended {
    /// Index of the `position`-th entry of the submission, from 0; see [`Ticket::index`].
    pub fn index(&self, position: u64) -> Option<u64> {
        nth(&self.runs, position)
    }
}

impl Log {
    /// Makes a new, empty log and opens it; finishes one whose making was stopped half-way.
    ///
    /// # Errors
    /// The folder is not empty, `origin` is not the key's name, or the system refuses.
    pub fn create(fs: Arc<dyn Fs>, dir: &Path, origin: &str, key: NoteKey) -> Result<Self, LogError> {
        Self::create_with(fs, dir, origin, key, Setup::default())
    }

    /// [`Self::create`] in other surroundings.
    ///
    /// # Errors
    /// As there.
    pub fn create_with(
        fs: Arc<dyn Fs>,
        dir: &Path,
        origin: &str,
        key: NoteKey,
        setup: Setup,
    ) -> Result<Self, LogError> {
        if origin != key.origin() {
            return Err(LogError::WrongKey);
        }
        create::create(fs.as_ref(), dir, &key)?;
        Self::open_with(fs, dir, key, setup)
    }

    /// Opens a log for writing: takes the lock, drops a torn tail of the journal, and goes on where it stopped.
    ///
    /// # Errors
    /// Another writer has it, the key is another, or a file is not what the log wrote.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, key: NoteKey) -> Result<Self, LogError> {
        Self::open_with(fs, dir, key, Setup::default())
    }

    /// [`Self::open`] in other surroundings.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(fs: Arc<dyn Fs>, dir: &Path, key: NoteKey, setup: Setup) -> Result<Self, LogError> {
        let recovered = recover::open(fs, dir, key, setup)?;
        let shared = Arc::new(recovered.shared);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map_err(|error| LogError::io("start a thread for", dir, &error))
        };
        let (writer, projector) = (Arc::clone(&shared), Arc::clone(&shared));
        let mut log = Self { shared, threads: Vec::new(), _lock: recovered.lock };
        log.threads.push(spawn("log-writer", Box::new(move || writer::run_writer(&writer)))?);
        log.threads
            .push(spawn("log-projection", Box::new(move || writer::run_projection(&projector, recovered.projection)))?);
        log.freeze_closed()?;
        // An erasure that a stop left half-way.
        log.settle()?;
        Ok(log)
    }

    /// Gives entries their indices in the order of calls, and returns before they are durable. Waits only when
    /// 64 MiB are queued already.
    ///
    /// # Errors
    /// A blob is not named or not there, or the log has stopped or is frozen. Nothing is submitted then.
    pub fn submit(&self, entries: Vec<NewEntry>) -> Result<Ticket, LogError> {
        self.shared.guard.check()?;
        let incoming = entries.into_iter().map(Incoming::check).collect::<Result<Vec<_>, _>>()?;
        let mut state = self.shared.state()?;
        loop {
            if let Some(error) = &state.poison {
                return Err(error.clone());
            }
            if state.queued_bytes < QUEUE_BYTES {
                break;
            }
            state = self.shared.progress.wait(state).map_err(|_| LogError::Closed)?;
        }
        state.require_blobs(&incoming, &self.shared.blobs)?;
        let (mut runs, next) = state.enqueue(incoming);
        drop(state);
        self.shared.work.notify_one();
        let end = runs.last().map_or(0, |run| run.0 + run.1);
        let before = self.first();
        runs.iter_mut().for_each(|run| run.0 += before);
        let first = runs.first().map_or(before + next, |run| run.0);
        Ok(Ticket { shared: Arc::clone(&self.shared), first, end, runs })
    }

    /// [`Self::submit`] and [`Ticket::wait`].
    ///
    /// # Errors
    /// As there.
    pub fn append(&self, entries: Vec<NewEntry>) -> Result<Appended, LogError> {
        self.submit(entries)?.wait()
    }

    /// The log's time, in Unix seconds on the minute: not before any block that is stored, and not after the block
    /// that will hold what is submitted from now on.
    pub fn time(&self) -> u64 {
        let now = self.shared.setup.clock.now_seconds();
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).tick(now)
    }

    /// The log's folder.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.shared.key.origin()
    }

    /// The public key as text, which auditors pin.
    pub fn verifier(&self) -> String {
        self.shared.key.verifier()
    }

    /// The newest durable head. Its tiles may still be on their way; see [`Self::published`].
    pub fn checkpoint(&self) -> Checkpoint {
        self.head(|state| state.durable.clone())
    }

    /// The newest head whose tiles are all there: what `checkpoint` in the folder says.
    pub fn published(&self) -> Checkpoint {
        self.head(|state| state.published.clone())
    }

    /// Durable entries, block leaves counted, and those of the logs before this one.
    pub fn size(&self) -> u64 {
        self.first() + self.head(|state| state.durable.size)
    }

    /// A dead thread leaves the state as it was: reading heads stays right.
    fn head<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.shared.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the log has stopped, when a write has failed: whoever runs it must open it again.
    pub fn failure(&self) -> Option<LogError> {
        self.shared.state().map_or_else(Some, |state| state.poison.clone())
    }

    /// The stored bytes of a durable entry.
    ///
    /// # Errors
    /// There is no such entry, or it cannot be read.
    pub fn read(&self, index: u64) -> Result<Vec<u8>, LogError> {
        if let Some(previous) = self.before(index) {
            return previous.read(index);
        }
        let index = self.place(index);
        let (size, published, frame) = {
            let state = self.shared.state()?;
            (state.durable.size, state.published.clone(), state.frame_of(index))
        };
        let missing = LogError::OutOfRange { index, size };
        if index >= size {
            return Err(missing);
        }
        let at = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(frame) = frame {
            let entry = frame.read(&self.shared.dir)?.entries().nth(at(index - frame.first)).map(<[u8]>::to_vec);
            return entry.ok_or(missing);
        }
        let bundle = self.bundle(index / TILE_WIDTH, &published)?;
        bundle.get(at(index % TILE_WIDTH)).cloned().ok_or(missing)
    }

    /// A published bundle, found under the signed root; the last one is kept, since readers go through the log in order.
    fn bundle(&self, number: u64, published: &Checkpoint) -> Result<Arc<Vec<Vec<u8>>>, LogError> {
        let tile = TilePath::of_size(TileKind::Entries, number, published.size);
        let mut kept = self.shared.last_bundle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((place, bundle)) = kept.as_ref()
            && Some(*place) == tile
        {
            return Ok(Arc::clone(bundle));
        }
        let tiles = TileReader::new(Arc::clone(&self.shared.fs), &self.shared.dir, published);
        let bundle = Arc::new(tiles.bundle(number)?);
        *kept = tile.map(|tile| (tile, Arc::clone(&bundle)));
        Ok(bundle)
    }

    /// A stored blob by its lower-case hex SHA-256; `None` when it was never stored or is erased.
    ///
    /// # Errors
    /// It cannot be read, or its bytes have changed.
    pub fn blob(&self, sha256_hex: &str) -> Result<Option<Vec<u8>>, LogError> {
        let Some(hash) = hex::decode::<32>(sha256_hex) else {
            return Ok(None);
        };
        let place = self.shared.state()?.waiting_blobs.get(&hash).cloned();
        match place {
            Some(BlobPlace::Journal { segment, offset, length }) => {
                let mut bytes = vec![0; length];
                segment
                    .read_exact_at(&mut bytes, offset)
                    .map_err(|error| LogError::io("read the journal in", &self.shared.dir, &error))?;
                if tree::sha256(&bytes) != hash {
                    return Err(LogError::corrupt("journal", "a blob's bytes do not have its address"));
                }
                Ok(Some(bytes))
            }
            Some(BlobPlace::Queued) | None => match (self.shared.blobs.get(&hash)?, self.shared.previous.get()) {
                (None, Some(previous)) => previous.blob(sha256_hex),
                (found, _) => Ok(found),
            },
        }
    }

    /// A public file of the log by its C2SP name (`checkpoint`, `tile/0/000.p/5`, `tile/entries/000`); `None` for any
    /// other name and for tiles that are not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, LogError> {
        if path == "checkpoint" {
            return Ok(Some(self.published().note.into_bytes()));
        }
        let Some(tile) = TilePath::parse(path) else {
            return Ok(None);
        };
        match read_tile(self.shared.fs.as_ref(), &self.shared.dir, tile) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(LogError::Io { kind: std::io::ErrorKind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Inclusion proof of an entry under the newest durable head, as one C2SP tlog-proof text with its checkpoint; the
    /// entry itself is the extra line, so that the text is a whole receipt.
    ///
    /// # Errors
    /// There is no such entry, or a tile cannot be read.
    pub fn prove_inclusion(&self, index: u64) -> Result<String, LogError> {
        if let Some(previous) = self.before(index) {
            return previous.prove(index);
        }
        let (nodes, head) = self.nodes()?;
        let (entry, index) = (self.read(index)?, self.place(index));
        if index >= head.size {
            return Err(LogError::OutOfRange { index, size: head.size });
        }
        Ok(proof_text(&entry, index, &tree::prove_inclusion(&nodes, index, head.size)?, &head))
    }

    /// Consistency proof between two sizes (RFC 6962, section 2.1.2).
    ///
    /// # Errors
    /// `old` is larger than `new`, `new` is past the end, or a tile cannot be read.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        let (nodes, head) = self.nodes()?;
        if new > head.size || old > new {
            return Err(LogError::OutOfRange { index: old.max(new), size: head.size });
        }
        tree::prove_consistency(&nodes, old, new)
    }

    fn nodes(&self) -> Result<(Overlay, Checkpoint), LogError> {
        let state = self.shared.state()?;
        let tiles = TileReader::new(Arc::clone(&self.shared.fs), &self.shared.dir, &state.published);
        Ok((Overlay { tiles, leaves: state.leaves.iter().copied().collect() }, state.durable.clone()))
    }

    /// Blocks until everything submitted so far is durable and published.
    ///
    /// # Errors
    /// The log stopped.
    pub fn flush(&self) -> Result<(), LogError> {
        let mut state = self.shared.state()?;
        let end = state.last_submitted();
        while state.published.size < end {
            state.wanted = state.wanted.max(end);
            self.shared.gathered.notify_one();
            if let Some(error) = &state.poison {
                return Err(error.clone());
            }
            state = self.shared.progress.wait(state).map_err(|_| LogError::Closed)?;
        }
        state.poison.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.closing = true;
        }
        self.shared.work.notify_all();
        self.shared.gathered.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that died has poisoned the state already.
            drop(thread.join());
        }
    }
}

/// The folder's name for messages.
pub(crate) fn folder_name(dir: &Path) -> String {
    short(dir)
}
