//! Tiles and entry bundles (C2SP tlog-tiles): their names, bytes, and reading them back.
//!
//! A tile holds up to 256 consecutive hashes of one level, a bundle the entries under a level 0 tile, each behind its
//! length as a big-endian u16. Full ones never change; a partial one is named by its width.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    checkpoint::Checkpoint,
    error::LogError,
    fs::Fs,
    tree::{Hash, Nodes, check_inclusion, leaf_hash, node_hash, prove_inclusion},
};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Log2 of [`TILE_WIDTH`].
pub(crate) const TILE_HEIGHT: u32 = 8;

/// Highest tile level of a log that a u64 can count.
pub(crate) const MAX_LEVEL: u32 = 7;

/// Tiles that a reader keeps: proofs read the same few near the root again.
const CACHED_TILES: usize = 64;

/// What a tile file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of one level.
    Hashes(u32),
    /// Log entries.
    Entries,
}

/// The name of one tile or bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    /// What it holds.
    pub kind: TileKind,
    /// Place in its level, from 0.
    pub index: u64,
    /// Hashes or entries in it, 1 to 256.
    pub width: u64,
}

impl TilePath {
    /// The tile that a tree of `size` leaves has at a place, full or partial; `None` when it is empty there.
    pub fn of_size(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
        let count = size.checked_shr(TILE_HEIGHT * level).unwrap_or(0);
        let width = count.saturating_sub(index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH);
        (width > 0).then_some(Self { kind, index, width })
    }

    /// The path below the log's folder or address: `tile/0/x001/x234/067`, `tile/entries/000.p/12`.
    pub fn path(&self) -> String {
        let level = match self.kind {
            TileKind::Hashes(level) => level.to_string(),
            TileKind::Entries => "entries".to_owned(),
        };
        let mut name = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1000);
            rest /= 1000;
        }
        match self.width {
            TILE_WIDTH => format!("tile/{level}/{name}"),
            width => format!("tile/{level}/{name}.p/{width}"),
        }
    }

    /// Reads a path; the one spelling of [`Self::path`] alone, so a request cannot leave the folder.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, name) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = if level == "entries" { TileKind::Entries } else { TileKind::Hashes(level.parse().ok()?) };
        let (name, width) = match name.split_once(".p/") {
            Some((name, width)) => (name, width.parse().ok()?),
            None => (name, TILE_WIDTH),
        };
        let mut index = 0_u64;
        for part in name.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            index = index.checked_mul(1000)?.checked_add(digits.parse::<u16>().ok()?.into())?;
        }
        let parsed = Self { kind, index, width };
        let level_known = !matches!(kind, TileKind::Hashes(level) if level > MAX_LEVEL);
        (level_known && (1..=TILE_WIDTH).contains(&width) && parsed.path() == path).then_some(parsed)
    }

    /// The full tile at the same place.
    pub(crate) fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }
}

/// Appends one entry to a bundle's bytes.
pub(crate) fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    // Entries are at most 16 KiB, so the length fits.
    bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The first `width` entries of a bundle, and the bytes after them; `None` when it holds fewer.
pub(crate) fn split_bundle(mut bytes: &[u8], width: u64) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut entries = Vec::new();
    for _ in 0..width {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        bytes = rest;
    }
    Some((entries, bytes))
}

/// Root of the subtree over some hashes of a tile, a power of two of them.
pub(crate) fn fold_hashes(hashes: &[Hash]) -> Option<Hash> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| if let [left, right] = pair { node_hash(left, right) } else { [0; 32] })
            .collect();
    }
    row.first().copied()
}

/// The hashes of a tile's bytes; `None` when they are not whole.
pub(crate) fn split_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Hashes of tiles by level and index.
type TileCache = HashMap<(u32, u64), Arc<Vec<Hash>>>;

/// The published tiles of a log under one signed head.
pub(crate) struct TileReader {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    size: u64,
    root: Hash,
    cache: Mutex<TileCache>,
}

impl TileReader {
    /// Reads the tiles of a head's tree.
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: &Path, head: &Checkpoint) -> Self {
        Self { fs, dir: dir.to_owned(), size: head.size, root: head.root, cache: Mutex::default() }
    }

    /// The size that the tiles are read at.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the tile at a place, or of the full one when it has grown since.
    pub(crate) fn read(&self, tile: TilePath) -> Result<Vec<u8>, LogError> {
        read_tile(self.fs.as_ref(), &self.dir, tile).map_err(|error| match error {
            LogError::Io { kind: io::ErrorKind::NotFound, .. } => {
                LogError::corrupt(tile.path(), "it is missing, though the signed checkpoint covers it")
            }
            other => other,
        })
    }

    /// The entries of a bundle, each with the hash in its tile, and the tile under the signed root.
    pub(crate) fn bundle(&self, index: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let (tile, entries) = self.stored(index)?;
        let hashes = self.hashes(0, index)?;
        if !entries.iter().map(|entry| leaf_hash(entry)).eq(hashes.iter().copied()) {
            return Err(LogError::corrupt(tile.path(), "an entry does not have the hash in its tile"));
        }
        // One path from the first leaf to the root holds all the tile's hashes, so it proves every one of them.
        let (first, leaf) = (index * TILE_WIDTH, hashes.first().copied().unwrap_or_default());
        if !check_inclusion(&prove_inclusion(self, first, self.size)?, first, self.size, &leaf, &self.root) {
            let tile = TilePath { kind: TileKind::Hashes(0), ..tile };
            return Err(LogError::corrupt(tile.path(), "its hashes do not lead to the signed root"));
        }
        Ok(entries)
    }

    /// One entry, compared with its hash in the tile alone: for one who has followed the tiles to the root before.
    pub(crate) fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let (tile, entries) = self.stored(index / TILE_WIDTH)?;
        let hashes = self.hashes(0, index / TILE_WIDTH)?;
        let at = usize::try_from(index % TILE_WIDTH).unwrap_or(usize::MAX);
        let entry = entries.into_iter().nth(at).filter(|entry| hashes.get(at) == Some(&leaf_hash(entry)));
        entry.ok_or_else(|| LogError::corrupt(tile.path(), "an entry does not have the hash in its tile"))
    }

    /// A bundle as it lies there, and its name.
    fn stored(&self, index: u64) -> Result<(TilePath, Vec<Vec<u8>>), LogError> {
        let out = LogError::OutOfRange { index: index.saturating_mul(TILE_WIDTH), size: self.size };
        let tile = TilePath::of_size(TileKind::Entries, index, self.size).ok_or(out)?;
        let bytes = self.read(tile)?;
        let short = || LogError::corrupt(tile.path(), "it ends within an entry");
        let (entries, _) = split_bundle(&bytes, tile.width).ok_or_else(short)?;
        Ok((tile, entries.into_iter().map(<[u8]>::to_vec).collect()))
    }

    /// The hashes of a tile at this size.
    pub(crate) fn hashes(&self, level: u32, index: u64) -> Result<Arc<Vec<Hash>>, LogError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hashes) = cache.get(&(level, index)) {
            return Ok(Arc::clone(hashes));
        }
        let out = LogError::OutOfRange { index, size: self.size };
        let tile = TilePath::of_size(TileKind::Hashes(level), index, self.size).ok_or(out)?;
        let bytes = self.read(tile)?;
        let count = usize::try_from(tile.width).unwrap_or(usize::MAX);
        let mut hashes =
            split_hashes(&bytes).ok_or_else(|| LogError::corrupt(tile.path(), "no whole number of hashes"))?;
        if hashes.len() < count {
            return Err(LogError::corrupt(tile.path(), "hashes are missing"));
        }
        hashes.truncate(count);
        let hashes = Arc::new(hashes);
        if cache.len() >= CACHED_TILES {
            cache.clear();
        }
        cache.insert((level, index), Arc::clone(&hashes));
        Ok(hashes)
    }
}

/// Bytes of a tile; a partial one may have been replaced by the full one since the size was read.
pub(crate) fn read_tile(fs: &dyn Fs, dir: &Path, tile: TilePath) -> Result<Vec<u8>, LogError> {
    let path = dir.join(tile.path());
    let result = match fs.read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && tile.width < TILE_WIDTH => {
            fs.read(&dir.join(tile.full().path()))
        }
        other => other,
    };
    result.map_err(|error| LogError::io("read the tile", &path, &error))
}

impl Nodes for TileReader {
    type Error = LogError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, LogError> {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = index << height;
        let hashes = self.hashes(tile_level, first / TILE_WIDTH)?;
        let start = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        hashes
            .get(start..start + (1 << height))
            .and_then(fold_hashes)
            .ok_or(LogError::OutOfRange { index, size: self.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_specification() {
        // C2SP tlog-tiles, "Merkle Tree": index 1234067 and the tiles of a tree of 70,000 entries.
        let tile = TilePath { kind: TileKind::Hashes(0), index: 1_234_067, width: 256 };
        assert_eq!(tile.path(), "tile/0/x001/x234/067");
        let at = |level, index| TilePath::of_size(TileKind::Hashes(level), index, 70_000).map(|tile| tile.path());
        assert_eq!(at(0, 272), Some("tile/0/272".into()));
        assert_eq!(at(0, 273), Some("tile/0/273.p/112".into()));
        assert_eq!(at(1, 0), Some("tile/1/000".into()));
        assert_eq!(at(1, 1), Some("tile/1/001.p/17".into()));
        assert_eq!(at(2, 0), Some("tile/2/000.p/1".into()));
        assert_eq!((at(0, 274), at(2, 1), at(3, 0)), (None, None, None));
        let one = |level| TilePath::of_size(TileKind::Hashes(level), 0, 256).map(|tile| tile.path());
        assert_eq!((one(0), one(1)), (Some("tile/0/000".into()), Some("tile/1/000.p/1".into())));
        let bundle = TilePath::of_size(TileKind::Entries, 1234, 1234 * 256 + 12).unwrap();
        assert_eq!(bundle.path(), "tile/entries/x001/234.p/12");
        for tile in [tile, bundle] {
            assert_eq!(TilePath::parse(&tile.path()), Some(tile));
        }
    }

    #[test]
    fn other_spellings_are_no_names() {
        for path in [
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/00/000",
            "tile/8/000",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/../../key",
            "tile/0/+01",
            "/tile/0/000",
            "tile/data/000",
            "checkpoint",
        ] {
            assert_eq!(TilePath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn bundles_split_where_they_were_joined() {
        let mut bundle = Vec::new();
        push_entry(&mut bundle, b"one");
        push_entry(&mut bundle, b"");
        assert_eq!(bundle, b"\0\x03one\0\0");
        assert_eq!(split_bundle(&bundle, 2), Some((vec![b"one".as_slice(), b""], b"".as_slice())));
        assert_eq!(split_bundle(&bundle, 1).unwrap().1, b"\0\0");
        assert_eq!(split_bundle(&bundle, 3), None);
    }
}
