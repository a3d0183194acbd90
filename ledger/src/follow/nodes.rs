//! Tiles of a source, each of the one width that the tree's size gives it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{FollowError, Source, SourceError};
use crate::{
    tiles::{TILE_HEIGHT, TILE_WIDTH, TileKind, TilePath, fold_hashes, split_hashes},
    tree::{Hash, Nodes},
    verify::Fault,
};

/// Longest bundle that tlog-tiles allows: 256 entries of 65,535 bytes, each behind its length.
const MAX_BUNDLE: usize = 256 * (2 + 65_535);

/// Length of a full hash tile.
const MAX_TILE: usize = 256 * 32;

/// Tiles kept: a walk goes from left to right, so only those above it come again.
const CACHED_TILES: usize = 64;

/// The tile's bytes, or those of the full one that took its place.
pub(super) fn fetch_tile(source: &dyn Source, tile: TilePath) -> Result<Vec<u8>, FollowError> {
    let limit = if tile.kind == TileKind::Entries { MAX_BUNDLE } else { MAX_TILE };
    let mut result = source.fetch(&tile.path(), limit);
    if matches!(result, Err(SourceError::Missing(_))) && tile.width < TILE_WIDTH {
        result = source.fetch(&tile.full().path(), limit);
    }
    result.map_err(|error| match error {
        SourceError::Missing(_) => {
            Fault::new(tile.path(), "tile", "it is missing, though the signed checkpoint covers it").into()
        }
        SourceError::TooLong(..) => Fault::new(tile.path(), "tile", error.to_string()).into(),
        other => other.into(),
    })
}

/// Hashes of tiles by level and index.
type Cache = HashMap<(u32, u64), Arc<Vec<Hash>>>;

/// The hash tiles of a source at one size. Nothing is verified here: proofs made from them are.
pub(super) struct SourceNodes<'a> {
    source: &'a dyn Source,
    size: u64,
    cache: Mutex<Cache>,
}

impl<'a> SourceNodes<'a> {
    pub(super) fn new(source: &'a dyn Source, size: u64) -> Self {
        Self { source, size, cache: Mutex::default() }
    }

    /// The hashes of a tile at this size.
    pub(super) fn hashes(&self, level: u32, index: u64) -> Result<Arc<Vec<Hash>>, FollowError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hashes) = cache.get(&(level, index)) {
            return Ok(Arc::clone(hashes));
        }
        let tile = TilePath::of_size(TileKind::Hashes(level), index, self.size)
            .ok_or_else(|| Fault::new("tile", "tile", "a proof needs a hash that no tree of this size has"))?;
        let bytes = fetch_tile(self.source, tile)?;
        let wide = |hashes: &Vec<Hash>| [tile.width, TILE_WIDTH].contains(&(hashes.len() as u64));
        let mut hashes = split_hashes(&bytes)
            .filter(wide)
            .ok_or_else(|| Fault::new(tile.path(), "tile", format!("it is not {} hashes wide", tile.width)))?;
        hashes.truncate(usize::try_from(tile.width).unwrap_or(usize::MAX));
        if cache.len() >= CACHED_TILES {
            // Of level 0 each is read once.
            cache.retain(|(level, _), _| *level > 0);
            if cache.len() >= CACHED_TILES {
                cache.clear();
            }
        }
        let hashes = Arc::new(hashes);
        cache.insert((level, index), Arc::clone(&hashes));
        Ok(hashes)
    }
}

impl Nodes for SourceNodes<'_> {
    type Error = FollowError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, FollowError> {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = index << height;
        let hashes = self.hashes(tile_level, first / TILE_WIDTH)?;
        let start = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let found = hashes.get(start..start.saturating_add(1 << height)).and_then(fold_hashes);
        found.ok_or_else(|| Fault::new("tile", "tile", "a proof needs a hash that no tree of this size has").into())
    }
}
