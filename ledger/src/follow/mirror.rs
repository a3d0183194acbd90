//! A log's mirror: a folder with `key`, `checkpoint`, `tile/` and, when the source gives them, `blobs/`.
//!
//! | Stops | Left behind | Next run |
//! |---|---|---|
//! | while fetching | staged files in `incoming/`, blobs of entries not yet under `checkpoint` | fetches again; a blob is kept once |
//! | while renaming | some of the new tiles beside the old `checkpoint` | writes the same bytes again |
//! | after `checkpoint` | an `incoming/` without use | removes it |
//!
//! Readers see the old head or the new one, since `checkpoint` is replaced last, when every file under it is durable.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{FollowError, Source, SourceError, Walk, fetch_head, walk::Edge};
use crate::{
    blob::BlobStore,
    checkpoint::Checkpoint,
    create::temporary,
    durable::{create_dirs, replace_file},
    entry::named_blobs,
    error::LogError,
    fs::Fs,
    hex,
    journal::segment_name,
    note::{NoteKey, VerifierKey},
    recover::take_lock,
    setup::PACK_BYTES,
    tiles::{MAX_LEVEL, TILE_HEIGHT, TILE_WIDTH, TilePath, TileReader},
    tree::{Frontier, Hash, sha256},
    verify::Fault,
};

/// The file that says that a folder is a mirror, and whether it keeps blobs.
pub(crate) const MARKER: &str = "mirror";

/// Where fetched files wait until all of them are there.
pub(crate) const INCOMING: &str = "incoming";

/// Longest blob that is fetched: what one journal frame can hold.
const MAX_BLOB: usize = crate::batch::BATCH_BLOB_BYTES;

/// Blobs fetched at the same time.
const BLOB_FETCHES: usize = 8;

/// Why a mirror could not be made or brought up to date. What it had stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// The log or its server.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The mirror's own folder.
    #[error(transparent)]
    Folder(#[from] LogError),
    /// The folder is in use for something else.
    #[error("`{dir}` {reason}: name an empty folder, or the mirror's own")]
    NotThisMirror {
        /// The folder.
        dir: String,
        /// What it is.
        reason: &'static str,
    },
}

impl From<Fault> for MirrorError {
    fn from(fault: Fault) -> Self {
        Self::Follow(fault.into())
    }
}

/// What a run of a mirror changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Synced {
    /// Entries before.
    pub from: u64,
    /// Entries now.
    pub to: u64,
    /// Blobs fetched.
    pub blobs: u64,
}

/// A mirror, locked for this process.
pub struct Mirror {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    key: VerifierKey,
    head: Option<Checkpoint>,
    blobs: Option<BlobStore>,
    _lock: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("head", &self.head).finish_non_exhaustive()
    }
}

fn marker_text(blobs: bool) -> String {
    format!("epiledger mirror v1\nblobs {}\n", if blobs { "kept" } else { "none" })
}

/// Whether a folder is a mirror, and then whether it keeps blobs.
pub(crate) fn read_marker(fs: &dyn Fs, dir: &Path) -> Result<Option<bool>, LogError> {
    let text = match fs.read(&dir.join(MARKER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("read", &dir.join(MARKER), &error)),
    };
    let known = [true, false].into_iter().find(|blobs| marker_text(*blobs).as_bytes() == text);
    known.map(Some).ok_or_else(|| LogError::corrupt(MARKER, "it is not as a mirror writes it"))
}

impl Mirror {
    /// Makes a mirror in an empty or missing folder, or opens the one that is there.
    ///
    /// # Errors
    /// The folder is something else or in use, or what it holds is not what its checkpoint signs.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, key: &VerifierKey, blobs: bool) -> Result<Self, MirrorError> {
        let other = |reason: &'static str| MirrorError::NotThisMirror { dir: crate::log::folder_name(dir), reason };
        let names = match fs.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(LogError::io("list", dir, &error).into()),
        };
        // Without a marker, a making that was stopped may have left these.
        let begun = ["lock", INCOMING, "tile", "blobs", "key"];
        if names.iter().all(|(name, _)| begun.contains(&name.as_str())) {
            create(fs.as_ref(), dir, key, blobs)?;
        }
        let lock = take_lock(fs.as_ref(), dir)?;
        match read_marker(fs.as_ref(), dir)? {
            None => return Err(other("holds something that is no mirror")),
            Some(kept) if kept && !blobs => {
                return Err(other("is a mirror with blobs, which need a key to be fetched"));
            }
            Some(kept) if !kept && blobs => return Err(other("is a mirror without blobs, made without a key")),
            Some(_) => {}
        }
        let found = fs.read(&dir.join("key")).map_err(|error| LogError::io("read", &dir.join("key"), &error))?;
        if found != format!("{key}\n").as_bytes() {
            return Err(other("is the mirror of another log, or of another key of it"));
        }
        let head = match fs.read(&dir.join("checkpoint")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(LogError::io("read", &dir.join("checkpoint"), &error).into()),
            Ok(note) => Some(
                String::from_utf8(note)
                    .ok()
                    .and_then(|note| Checkpoint::open_cosigned(&note, key))
                    .ok_or_else(|| LogError::corrupt("checkpoint", "it is not signed by the mirrored log's key"))?,
            ),
        };
        let store = match blobs {
            true => {
                let index = dir.join(INCOMING).join("index");
                let store = BlobStore::open(Arc::clone(&fs), &dir.join("blobs"), index, PACK_BYTES)?;
                store.cut_unfinished()?;
                Some(store)
            }
            false => None,
        };
        Ok(Self { fs, dir: dir.to_owned(), key: key.clone(), head, blobs: store, _lock: lock })
    }

    /// The head that everything in the folder was verified under; `None` before the first run.
    pub fn head(&self) -> Option<&Checkpoint> {
        self.head.as_ref()
    }

    /// Fetches and verifies what the log has grown by. `progress` is told entries done and entries in all.
    ///
    /// # Errors
    /// The log is broken or cannot be read; nothing of it was accepted then. Or the mirror's own disk.
    pub fn sync(&mut self, source: &dyn Source, progress: &dyn Fn(u64, u64)) -> Result<Synced, MirrorError> {
        let head = fetch_head(source, &self.key)?;
        let from = self.head.as_ref().map_or(0, |head| head.size);
        if self.head.as_ref().is_some_and(|known| (known.size, known.root) == (head.size, head.root)) {
            // A run that was stopped after its head was durable has left it.
            remove_dir(self.fs.as_ref(), &self.dir.join(INCOMING))?;
            return Ok(Synced { from, to: from, blobs: 0 });
        }
        let mut walk = Walk::start(source, &head, self.head.as_ref(), self.edge()?)?;
        self.clean()?;
        let mut staged: Vec<TilePath> = Vec::new();
        let mut disk: Option<LogError> = None;
        let mut fetched = 0;
        loop {
            let (fs, dir) = (self.fs.as_ref(), &self.dir);
            let mut keep = |tile: TilePath, bytes: &[u8]| {
                if disk.is_none() {
                    disk = stage(fs, dir, tile, bytes).err();
                    staged.push(tile);
                }
                Ok(())
            };
            let bundle = walk.next(&mut keep)?;
            if let Some(error) = disk {
                return Err(error.into());
            }
            let Some(bundle) = bundle else { break };
            fetched += self.fetch_blobs(source, bundle.first, from, &bundle.entries)?;
            progress(walk.size(), head.size);
        }
        self.publish(&staged, &head)?;
        let to = head.size;
        self.head = Some(head);
        Ok(Synced { from, to, blobs: fetched })
    }

    /// Makes the log itself of a mirror with blobs, for who holds its key: a writer goes on after the mirrored head.
    ///
    /// # Errors
    /// The key is another, nothing or no blob was mirrored, or the mirror's own disk.
    pub fn adopt(self, key: &NoteKey) -> Result<(), MirrorError> {
        if key.verifier_key() != self.key {
            return Err(LogError::WrongKey.into());
        }
        let (Some(head), Some(_)) = (&self.head, &self.blobs) else {
            let (dir, reason) = (crate::log::folder_name(&self.dir), "has no head, or none of the blobs");
            return Err(MirrorError::NotThisMirror { dir, reason });
        };
        let (fs, journal) = (self.fs.as_ref(), self.dir.join("journal"));
        create_dirs(fs, &self.dir, &journal)?;
        // As if every segment before it had been published and removed.
        replace_file(fs, &journal.join(segment_name(head.size)), &temporary(&self.dir), b"")?;
        let folder = fs.open_dir(&self.dir).map_err(|error| LogError::io("open", &self.dir, &error))?;
        fs.remove(&self.dir.join(MARKER)).map_err(|error| LogError::io("remove", &self.dir.join(MARKER), &error))?;
        Ok(folder.sync_dir().map_err(|error| LogError::io("sync", &self.dir, &error))?)
    }

    /// The right edge of what is there, cut to whole bundles, since the last one grows.
    fn edge(&self) -> Result<Edge, MirrorError> {
        let mut edge = Edge::default();
        let Some(head) = &self.head else { return Ok(edge) };
        let tiles = TileReader::new(Arc::clone(&self.fs), &self.dir, head);
        if Frontier::read(&tiles, head.size)?.root() != head.root {
            return Err(LogError::corrupt("tile", "the tiles do not have the signed root").into());
        }
        let size = head.size - head.size % TILE_WIDTH;
        edge.frontier = Frontier::read(&tiles, size)?;
        for (level, hashes) in (0..=MAX_LEVEL).zip(&mut edge.levels).skip(1) {
            let count = size.checked_shr(TILE_HEIGHT * level).unwrap_or(0);
            if !count.is_multiple_of(TILE_WIDTH) {
                *hashes = tiles.hashes(level, count / TILE_WIDTH)?.to_vec();
            }
        }
        Ok(edge)
    }

    /// Fetches the blobs that the entries from an index on name and that are not here, several at a time, and keeps
    /// them in the entries' order. One that the source has no more was erased: what that means is the auditor's.
    fn fetch_blobs(&self, source: &dyn Source, first: u64, from: u64, entries: &[Vec<u8>]) -> Result<u64, MirrorError> {
        let Some(store) = &self.blobs else { return Ok(0) };
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut wanted: Vec<Hash> = Vec::new();
        let mut seen = BTreeSet::new();
        for hash in entries.iter().skip(skip).flat_map(|entry| named_blobs(entry)) {
            if seen.insert(hash) && !store.contains(&hash)? {
                wanted.push(hash);
            }
        }
        let mut kept = 0;
        for group in wanted.chunks(BLOB_FETCHES) {
            let fetched: Vec<Result<Option<Vec<u8>>, FollowError>> = std::thread::scope(|scope| {
                let threads: Vec<_> = group.iter().map(|hash| scope.spawn(move || fetch_blob(source, hash))).collect();
                let died = || Err(SourceError::Failed("a thread that fetched a blob died".into()).into());
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| died())).collect()
            });
            let mut fresh: Vec<(Hash, Vec<u8>)> = Vec::new();
            for (hash, bytes) in group.iter().zip(fetched) {
                fresh.extend(bytes?.map(|bytes| (*hash, bytes)));
            }
            let records: Vec<(Hash, &[u8])> = fresh.iter().map(|(hash, bytes)| (*hash, bytes.as_slice())).collect();
            store.append(&records)?;
            kept += records.len() as u64;
        }
        Ok(kept)
    }

    /// Gives the staged files their names, removes partial tiles that are full now, and moves the head.
    fn publish(&self, staged: &[TilePath], head: &Checkpoint) -> Result<(), LogError> {
        let fs = self.fs.as_ref();
        let mut folders = BTreeSet::new();
        for tile in staged {
            let target = self.dir.join(tile.path());
            let folder = target.parent().unwrap_or(&self.dir).to_owned();
            if folders.insert(folder.clone()) {
                create_dirs(fs, &self.dir, &folder)?;
            }
            fs.rename(&staged_path(&self.dir, *tile), &target)
                .map_err(|error| LogError::io("rename", &target, &error))?;
        }
        for folder in &folders {
            let failed = |error: io::Error| LogError::io("sync", folder, &error);
            fs.open_dir(folder).map_err(failed)?.sync_dir().map_err(failed)?;
        }
        replace_file(fs, &self.dir.join("checkpoint"), &self.dir.join(INCOMING).join("head"), head.note.as_bytes())?;
        for tile in staged.iter().filter(|tile| tile.width == TILE_WIDTH) {
            remove_dir(fs, &self.dir.join(format!("{}.p", tile.path())))?;
        }
        remove_dir(fs, &self.dir.join(INCOMING))
    }

    /// An empty `incoming/`.
    fn clean(&self) -> Result<(), LogError> {
        remove_dir(self.fs.as_ref(), &self.dir.join(INCOMING))?;
        create_dirs(self.fs.as_ref(), &self.dir, &self.dir.join(INCOMING))
    }
}

/// The folders and small files of a new mirror; the marker comes last, without it the folder is none.
fn create(fs: &dyn Fs, dir: &Path, key: &VerifierKey, blobs: bool) -> Result<(), LogError> {
    let parent = dir.ancestors().find(|parent| parent.as_os_str().is_empty() || fs.list(parent).is_ok());
    create_dirs(fs, parent.unwrap_or(Path::new("/")), dir)?;
    for folder in ["tile", INCOMING].into_iter().chain(blobs.then_some("blobs")) {
        create_dirs(fs, dir, &dir.join(folder))?;
    }
    let temporary = dir.join(INCOMING).join("new");
    replace_file(fs, &dir.join("key"), &temporary, format!("{key}\n").as_bytes())?;
    replace_file(fs, &dir.join(MARKER), &temporary, marker_text(blobs).as_bytes())?;
    remove_dir(fs, &dir.join(INCOMING))
}

/// Where a tile waits: its path in one name.
fn staged_path(dir: &Path, tile: TilePath) -> PathBuf {
    dir.join(INCOMING).join(tile.path().replace('/', "_"))
}

/// Whether a name in `incoming/` is one that a run gives.
pub(crate) fn is_staged(name: &str) -> bool {
    ["head.0", "index.0", "new.0"].contains(&name) || TilePath::parse(&name.replace('_', "/")).is_some()
}

fn stage(fs: &dyn Fs, dir: &Path, tile: TilePath, bytes: &[u8]) -> Result<(), LogError> {
    let path = staged_path(dir, tile);
    fs.create(&path)
        .and_then(|file| file.write_all_at(bytes, 0).and_then(|()| file.sync_data()))
        .map_err(|error| LogError::io("write", &path, &error))
}

/// Removes a folder of files, if it is there.
fn remove_dir(fs: &dyn Fs, dir: &Path) -> Result<(), LogError> {
    let Ok(names) = fs.list(dir) else { return Ok(()) };
    for (name, _) in names {
        let path = dir.join(name);
        fs.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
    }
    fs.remove_dir(dir).map_err(|error| LogError::io("remove", dir, &error))
}

/// A blob with its address checked; `None` when the source has it no more.
fn fetch_blob(source: &dyn Source, hash: &Hash) -> Result<Option<Vec<u8>>, FollowError> {
    let path = format!("blob/{}", hex::encode(hash));
    match source.fetch(&path, MAX_BLOB) {
        Ok(bytes) if sha256(&bytes) == *hash => Ok(Some(bytes)),
        Ok(_) => Err(Fault::new(path, "blob", "the blob's bytes do not have its address").into()),
        Err(SourceError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
