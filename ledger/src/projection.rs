//! The projection: journal frames become tiles, bundles, packs and `checkpoint`, behind the commit path.
//!
//! Recovery runs this very code on the frames that the last published checkpoint does not cover. Frames are read back
//! from the journal and re-hashed: a checkpoint is published only when its root follows from the bytes on disk.

use std::{
    collections::HashSet,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    blob::BlobStore,
    checkpoint::Checkpoint,
    durable::{create_dirs, replace_file, replace_files},
    error::LogError,
    fs::Fs,
    journal::Frame,
    tiles::{MAX_LEVEL, TILE_HEIGHT, TILE_WIDTH, TileKind, TilePath, TileReader, fold_hashes, push_entry},
    tree::{Frontier, Hash, leaf_hash, sha256},
};

/// Writes a log's published files.
pub(crate) struct Projection {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    temporary: PathBuf,
    frontier: Frontier,
    /// Hashes of the rightmost, partial tile of each level.
    levels: Vec<Vec<Hash>>,
    /// Bytes of the rightmost, partial bundle.
    bundle: Vec<u8>,
    /// Tiles that became full since the last publication.
    full: Vec<(TilePath, Vec<u8>)>,
    folders: HashSet<PathBuf>,
}

impl Projection {
    /// Goes on from a published checkpoint, whose right edge is read and verified.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        temporary: PathBuf,
        published: &Checkpoint,
    ) -> Result<Self, LogError> {
        let size = published.size;
        let tiles = TileReader::new(Arc::clone(&fs), dir, published);
        let frontier = Frontier::read(&tiles, size)?;
        if frontier.root() != published.root {
            return Err(LogError::corrupt("checkpoint", "the tiles do not have the signed root"));
        }
        let mut levels = Vec::new();
        for level in 0..=MAX_LEVEL {
            let count = size.checked_shr(TILE_HEIGHT * level).unwrap_or(0);
            let partial = if count.is_multiple_of(TILE_WIDTH) {
                Vec::new()
            } else {
                tiles.hashes(level, count / TILE_WIDTH)?.to_vec()
            };
            levels.push(partial);
        }
        let mut bundle = Vec::new();
        if !size.is_multiple_of(TILE_WIDTH) {
            tiles.bundle(size / TILE_WIDTH)?.iter().for_each(|entry| push_entry(&mut bundle, entry));
        }
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            temporary,
            frontier,
            levels,
            bundle,
            full: Vec::new(),
            folders: HashSet::new(),
        })
    }

    /// The tree so far.
    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Takes in one frame; `head` is the checkpoint that it committed. Gives the hashes of its blobs, now in packs.
    pub(crate) fn apply(
        &mut self,
        frame: &Frame,
        head: &Checkpoint,
        blobs: &BlobStore,
    ) -> Result<HashSet<Hash>, LogError> {
        if frame.first != self.frontier.size() {
            return Err(LogError::corrupt(
                format!("journal frame {}", frame.first),
                "it does not follow the one before",
            ));
        }
        let mut fresh = Vec::new();
        let mut seen = HashSet::new();
        for blob in frame.blobs() {
            let hash = sha256(blob);
            if seen.insert(hash) && !blobs.contains(&hash)? {
                fresh.push((hash, blob));
            }
        }
        blobs.append(&fresh)?;
        for entry in frame.entries() {
            self.push(entry);
        }
        if self.frontier.root() != head.root || self.frontier.size() != head.size {
            return Err(LogError::corrupt(
                format!("journal frame {}", frame.first),
                "its entries do not have the signed root",
            ));
        }
        Ok(seen)
    }

    /// Makes tiles and bundles durable, then `checkpoint`; then removes the partial tiles that full ones replace.
    pub(crate) fn publish(&mut self, head: &Checkpoint) -> Result<(), LogError> {
        let full = std::mem::take(&mut self.full);
        let partial = |kind: TileKind, bytes: Vec<u8>| {
            TilePath::of_size(kind, self.partial_index(kind), head.size).map(|tile| (tile, bytes))
        };
        let tails =
            self.levels.iter().zip(0..).map(|(hashes, level)| partial(TileKind::Hashes(level), hashes.concat()));
        let tails = tails.chain([partial(TileKind::Entries, self.bundle.clone())]);
        let files: Vec<_> =
            full.iter().cloned().chain(tails.flatten().filter(|(tile, _)| tile.width < TILE_WIDTH)).collect();
        let mut writes = Vec::new();
        for (tile, bytes) in files {
            let path = self.dir.join(tile.path());
            if let Some(folder) = path.parent()
                && self.folders.insert(folder.to_owned())
            {
                create_dirs(self.fs.as_ref(), &self.dir, folder)?;
            }
            writes.push((path, bytes));
        }
        replace_files(self.fs.as_ref(), &self.temporary, &writes)?;
        replace_file(self.fs.as_ref(), &self.dir.join("checkpoint"), &self.temporary, head.note.as_bytes())?;
        full.iter().try_for_each(|(tile, _)| self.remove_partials(tile))
    }

    fn partial_index(&self, kind: TileKind) -> u64 {
        let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
        self.frontier.size().checked_shr(TILE_HEIGHT * (level + 1)).unwrap_or(0)
    }

    fn push(&mut self, entry: &[u8]) {
        let index = self.frontier.size() / TILE_WIDTH;
        let mut hash = leaf_hash(entry);
        self.frontier.push(hash);
        push_entry(&mut self.bundle, entry);
        if self.frontier.size().is_multiple_of(TILE_WIDTH) {
            let tile = TilePath { kind: TileKind::Entries, index, width: TILE_WIDTH };
            self.full.push((tile, std::mem::take(&mut self.bundle)));
        }
        for (level, hashes) in (0..).zip(&mut self.levels) {
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_WIDTH {
                break;
            }
            let index = (self.frontier.size() >> (TILE_HEIGHT * (level + 1))) - 1;
            let tile = TilePath { kind: TileKind::Hashes(level), index, width: TILE_WIDTH };
            hash = fold_hashes(hashes).unwrap_or_default();
            self.full.push((tile, std::mem::take(hashes).concat()));
        }
    }

    fn remove_partials(&mut self, full: &TilePath) -> Result<(), LogError> {
        let folder = self.dir.join(format!("{}.p", full.path()));
        self.folders.remove(&folder);
        // Most full tiles were never partial in a published tree.
        let names = match self.fs.list(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            names => names.map_err(|error| LogError::io("list", &folder, &error))?,
        };
        for (name, _) in names {
            let path = folder.join(name);
            self.fs.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
        }
        self.fs.remove_dir(&folder).map_err(|error| LogError::io("remove", &folder, &error))
    }
}
