//! The tree recomputed from the entries, and every tile and bundle file compared with it.

use std::{path::PathBuf, sync::Arc};

use super::report::Fault;
use crate::{
    fs::{Fs, StdFs},
    tiles::{MAX_LEVEL, TILE_HEIGHT, TILE_WIDTH, TileKind, TilePath, fold_hashes, push_entry},
    tree::{Frontier, Hash},
};

/// Builds the tree entry by entry and compares each tile when it is full, the rest at the end.
pub(crate) struct TreeCheck {
    dir: PathBuf,
    fs: Arc<StdFs>,
    /// Size of the published tree, whose tiles must all be there.
    published: u64,
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
    /// Bundle bytes after each of its entries.
    bundle_ends: Vec<usize>,
    /// Files compared, and their bytes.
    pub tiles: u64,
    pub bundles: u64,
    pub bytes: u64,
}

impl TreeCheck {
    pub(crate) fn new(dir: PathBuf, published: u64) -> Self {
        Self {
            dir,
            fs: Arc::new(StdFs),
            published,
            frontier: Frontier::default(),
            levels: (0..=MAX_LEVEL).map(|_| Vec::new()).collect(),
            bundle: Vec::new(),
            bundle_ends: Vec::new(),
            tiles: 0,
            bundles: 0,
            bytes: 0,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Takes in the next entry.
    pub(crate) fn push(&mut self, entry: &[u8], leaf: Hash) -> Result<(), Fault> {
        self.frontier.push(leaf);
        push_entry(&mut self.bundle, entry);
        self.bundle_ends.push(self.bundle.len());
        let size = self.frontier.size();
        if size.is_multiple_of(TILE_WIDTH) {
            let (bytes, ends) = (std::mem::take(&mut self.bundle), std::mem::take(&mut self.bundle_ends));
            self.compare(TileKind::Entries, size / TILE_WIDTH - 1, &bytes, &ends)?;
        }
        let mut hash = leaf;
        for level in 0..=MAX_LEVEL {
            let Some(hashes) = usize::try_from(level).ok().and_then(|level| self.levels.get_mut(level)) else {
                break;
            };
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_WIDTH {
                break;
            }
            let full = std::mem::take(hashes);
            hash = fold_hashes(&full).unwrap_or_default();
            self.compare_hashes(level, (size >> (TILE_HEIGHT * (level + 1))) - 1, &full)?;
        }
        Ok(())
    }

    /// Compares the tiles of the right edge.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        let size = self.frontier.size();
        let index = |level: u32| size.checked_shr(TILE_HEIGHT * (level + 1)).unwrap_or(0);
        for level in 0..=MAX_LEVEL {
            let hashes = usize::try_from(level).ok().and_then(|level| self.levels.get_mut(level)).map(std::mem::take);
            self.compare_hashes(level, index(level), &hashes.unwrap_or_default())?;
        }
        let (bytes, ends) = (std::mem::take(&mut self.bundle), std::mem::take(&mut self.bundle_ends));
        self.compare(TileKind::Entries, index(0), &bytes, &ends)
    }

    fn compare_hashes(&mut self, level: u32, index: u64, hashes: &[Hash]) -> Result<(), Fault> {
        let ends: Vec<usize> = (1..=hashes.len()).map(|count| count * 32).collect();
        self.compare(TileKind::Hashes(level), index, &hashes.concat(), &ends)
    }

    /// Compares every file at one place, full or partial of any width, with the recomputed bytes.
    fn compare(&mut self, kind: TileKind, index: u64, bytes: &[u8], ends: &[usize]) -> Result<(), Fault> {
        let Some(needed) =
            TilePath::of_size(kind, index, self.published).or(TilePath::of_size(kind, index, self.size()))
        else {
            return Ok(());
        };
        let full = needed.full();
        let mut there = self.compare_file(full, bytes, ends)?;
        for (name, _) in self.fs.list(&self.dir.join(format!("{}.p", full.path()))).unwrap_or_default() {
            let Ok(width) = name.parse() else { continue };
            let found = self.compare_file(TilePath { width, ..full }, bytes, ends)?;
            there = there || (found && width == needed.width);
        }
        // A live writer removes partial tiles when the full one is there.
        there = there || self.compare_file(full, bytes, ends)?;
        if !there && TilePath::of_size(kind, index, self.published).is_some() {
            return Err(Fault::new(needed.path(), "tile", "the file is missing"));
        }
        Ok(())
    }

    /// Whether a file is there; a fault when it is and differs. One that is wider than the tree must begin as the tree
    /// does; whether it may be there is the file list's question.
    fn compare_file(&mut self, tile: TilePath, bytes: &[u8], ends: &[usize]) -> Result<bool, Fault> {
        let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
        let end = width.min(ends.len()).checked_sub(1).and_then(|last| ends.get(last));
        let Some(expected) = end.and_then(|end| bytes.get(..*end)) else { return Ok(false) };
        match self.fs.read(&self.dir.join(tile.path())) {
            Ok(found) if found == expected || (width > ends.len() && found.starts_with(expected)) => {
                let count = if tile.kind == TileKind::Entries { &mut self.bundles } else { &mut self.tiles };
                *count += 1;
                self.bytes += found.len() as u64;
                Ok(true)
            }
            Ok(found) => {
                let at = found.iter().zip(expected).position(|(one, other)| one != other);
                let at = at.unwrap_or(found.len().min(expected.len()));
                Err(Fault::new(tile.path(), "tile", format!("it differs from the recomputed tile at byte {at}")))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Fault::new(tile.path(), "files", error.to_string())),
        }
    }
}
