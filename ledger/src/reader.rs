//! Reading a log's folder without its lock: every entry in order, with its blobs, in flat memory.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    blob::{BlobStore, Place, RECORD_HEADER},
    checkpoint::Checkpoint,
    entry::named_blobs,
    error::LogError,
    follow::{FolderSource, Source, SourceError},
    fs::{Fs, StdFs},
    hex,
    note::VerifierKey,
    recover::read_head,
    tiles::{TILE_WIDTH, TileReader},
    tree::{Frontier, Hash},
};

/// An entry's index, its stored bytes, and the blobs that it names, in their order; erased ones are left out.
pub type StoredEntry = (u64, Vec<u8>, Vec<Vec<u8>>);

/// A bundle's number, and its entries.
type KeptBundle = (u64, Arc<Vec<Vec<u8>>>);

/// A log's folder as its published checkpoint says, pinned when it was opened; a writer may go on meanwhile.
pub struct LogReader {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    key: VerifierKey,
    checkpoint: Checkpoint,
    blobs: BlobStore,
    /// The bundle that was read last, since readers go through a log in order.
    last: Mutex<Option<KeptBundle>>,
}

impl LogReader {
    /// Opens a folder and verifies its checkpoint's signature, and that the tiles have the signed root.
    ///
    /// # Errors
    /// A file is missing or is not what the log wrote.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        Self::open_on(Arc::new(StdFs), dir)
    }

    /// [`Self::open`] on another disk.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, LogError> {
        let (key, checkpoint) = read_head(fs.as_ref(), dir)?;
        let tiles = TileReader::new(Arc::clone(&fs), dir, &checkpoint);
        if Frontier::read(&tiles, checkpoint.size)?.root() != checkpoint.root {
            return Err(LogError::corrupt("tile", "the tiles do not have the signed root"));
        }
        let blobs = BlobStore::read_only(Arc::clone(&fs), &dir.join("blobs"))?;
        Ok(Self { fs, dir: dir.to_owned(), key, checkpoint, blobs, last: Mutex::default() })
    }

    /// The pinned head.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log's public key.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    /// Entries at the pinned head.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The stored bytes of one entry.
    ///
    /// # Errors
    /// There is no such entry, or it cannot be read.
    pub fn read(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let out = LogError::OutOfRange { index, size: self.size() };
        if index >= self.size() {
            return Err(out);
        }
        let bundle = self.bundle(index / TILE_WIDTH)?;
        usize::try_from(index % TILE_WIDTH).ok().and_then(|at| bundle.get(at).cloned()).ok_or(out)
    }

    fn bundle(&self, number: u64) -> Result<Arc<Vec<Vec<u8>>>, LogError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bundle)) = last.as_ref().filter(|(kept, _)| *kept == number) {
            return Ok(Arc::clone(bundle));
        }
        let bundle = Arc::new(self.tiles().bundle(number)?);
        *last = Some((number, Arc::clone(&bundle)));
        Ok(bundle)
    }

    /// A stored blob by its hex SHA-256; `None` when it is not there.
    ///
    /// # Errors
    /// It cannot be read, or its bytes have changed.
    pub fn blob(&self, sha256_hex: &str) -> Result<Option<Vec<u8>>, LogError> {
        hex::decode::<32>(sha256_hex).map_or(Ok(None), |hash| self.blobs.get(&hash))
    }

    /// Every entry from an index on, block leaves too. Each is hashed and followed to the signed root, each blob compared
    /// with its address; after an error nothing more comes.
    pub fn entries(&self, from: u64) -> impl Iterator<Item = Result<StoredEntry, LogError>> + '_ {
        let place = (from == 0).then_some(Place { pack: 0, offset: 0 });
        let mut entries = Entries { reader: self, tiles: self.tiles(), next: from, bundle: Vec::new(), place };
        let mut failed = false;
        std::iter::from_fn(move || {
            let item = if failed { None } else { entries.advance().transpose() };
            failed = matches!(item, Some(Err(_)));
            item
        })
    }

    pub(crate) fn tiles(&self) -> TileReader {
        TileReader::new(Arc::clone(&self.fs), &self.dir, &self.checkpoint)
    }
}

/// The log at its pinned head, whatever a writer publishes meanwhile.
impl Source for LogReader {
    fn fetch(&self, path: &str, limit: usize) -> Result<Vec<u8>, SourceError> {
        let bytes = match path.strip_prefix("blob/") {
            Some(hash) => self.blob(hash).map_err(|error| SourceError::Failed(error.to_string()))?,
            None if path == "checkpoint" => Some(self.checkpoint.note.clone().into_bytes()),
            None => return FolderSource::new(&self.dir).fetch(path, limit),
        };
        let bytes = bytes.ok_or_else(|| SourceError::Missing(path.to_owned()))?;
        if bytes.len() > limit { Err(SourceError::TooLong(path.to_owned(), limit)) } else { Ok(bytes) }
    }
}

struct Entries<'a> {
    reader: &'a LogReader,
    tiles: TileReader,
    next: u64,
    /// What is left of the current bundle, in reverse.
    bundle: Vec<Vec<u8>>,
    /// Where the next blob most likely lies: blobs are stored in the order of the entries, so after the last one read.
    place: Option<Place>,
}

impl Entries<'_> {
    fn advance(&mut self) -> Result<Option<StoredEntry>, LogError> {
        if self.next >= self.reader.size() {
            return Ok(None);
        }
        if self.bundle.is_empty() {
            self.load()?;
        }
        let index = self.next;
        let missing = || LogError::OutOfRange { index, size: self.reader.size() };
        let entry = self.bundle.pop().ok_or_else(missing)?;
        self.next += 1;
        let mut blobs = Vec::new();
        for hash in named_blobs(&entry) {
            blobs.extend(self.blob(&hash)?);
        }
        Ok(Some((index, entry, blobs)))
    }

    fn load(&mut self) -> Result<(), LogError> {
        let number = self.next / TILE_WIDTH;
        let mut entries = self.tiles.bundle(number)?;
        entries.reverse();
        let skip = usize::try_from(self.next % TILE_WIDTH).unwrap_or(0);
        entries.truncate(entries.len().saturating_sub(skip));
        self.bundle = entries;
        Ok(())
    }

    fn blob(&mut self, hash: &Hash) -> Result<Option<Vec<u8>>, LogError> {
        let after = |place: Place, bytes: &[u8]| {
            Some(Place { offset: place.offset + RECORD_HEADER + bytes.len() as u64, ..place })
        };
        let next_pack = self.place.map(|place| Place { pack: place.pack + 1, offset: 0 });
        for place in self.place.into_iter().chain(next_pack) {
            if let Ok(bytes) = self.reader.blobs.read_at(place, hash) {
                self.place = after(place, &bytes);
                return Ok(Some(bytes));
            }
        }
        let Some(place) = self.reader.blobs.find(hash)? else { return Ok(None) };
        let bytes = self.reader.blobs.read_at(place, hash)?;
        // A blob that an entry before named too lies further back, and the next one still here.
        if self.place.is_none_or(|here| place > here) {
            self.place = after(place, &bytes);
        }
        Ok(Some(bytes))
    }
}
