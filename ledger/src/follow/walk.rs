//! From a signed head to every tile and entry under it.

use std::sync::Arc;

use super::{
    FollowError, Source, SourceError,
    nodes::{SourceNodes, fetch_tile},
};
use crate::{
    checkpoint::Checkpoint,
    note::VerifierKey,
    tiles::{MAX_LEVEL, TILE_HEIGHT, TILE_WIDTH, TileKind, TilePath, fold_hashes, push_entry, split_bundle},
    tree::{Frontier, Hash, check_consistency, check_inclusion, leaf_hash, prove_consistency, prove_inclusion},
    verify::Fault,
};

/// Longest checkpoint that is read: room for many cosignatures.
const MAX_CHECKPOINT: usize = 64 * 1024;

/// The newest head that a source serves, opened by the log's key.
pub(crate) fn fetch_head(source: &dyn Source, key: &VerifierKey) -> Result<Checkpoint, FollowError> {
    let fault = |message: String| Fault::new("checkpoint", "checkpoint", message);
    let bytes = source.fetch("checkpoint", MAX_CHECKPOINT).map_err(|error| match error {
        SourceError::TooLong(..) => FollowError::Fault(fault(error.to_string())),
        other => other.into(),
    })?;
    let note = String::from_utf8(bytes).map_err(|_| fault("it is no text".into()))?;
    if let Some(head) = Checkpoint::open_cosigned(&note, key) {
        return Ok(head);
    }
    // The note is not trusted, so its first line is shown short and escaped.
    let origin: String = note.lines().next().unwrap_or_default().chars().take(100).collect();
    let message = match origin == key.name() {
        true => format!("it is no checkpoint that the key of `{}` signed", key.name()),
        false => format!("it is not of the log `{}`, it begins with `{}`", key.name(), origin.escape_debug()),
    };
    Err(fault(message).into())
}

/// Entries that were found under the signed root.
pub(crate) struct Bundle {
    /// Index of the first.
    pub first: u64,
    /// Their bytes.
    pub entries: Vec<Vec<u8>>,
    /// Their leaf hashes.
    pub leaves: Vec<Hash>,
}

/// Where a walk goes on: the right edge of a tree that was verified earlier, cut to whole bundles.
pub(crate) struct Edge {
    /// The tree's right edge.
    pub frontier: Frontier,
    /// Hashes of the rightmost, partial tile of each level.
    pub levels: Vec<Vec<Hash>>,
}

impl Default for Edge {
    fn default() -> Self {
        Self { frontier: Frontier::default(), levels: (0..=MAX_LEVEL).map(|_| Vec::new()).collect() }
    }
}

/// A walk over a source, from left to right.
pub(crate) struct Walk<'a> {
    source: &'a dyn Source,
    head: &'a Checkpoint,
    nodes: SourceNodes<'a>,
    edge: Edge,
    /// Files found right, by kind, and their bytes.
    pub tiles: u64,
    pub bundles: u64,
    pub bytes: u64,
}

/// What takes in the bytes of each tile and bundle that a walk found right.
pub(crate) type Keep<'a> = dyn FnMut(TilePath, &[u8]) -> Result<(), FollowError> + 'a;

impl<'a> Walk<'a> {
    /// Begins after the edge of a tree verified earlier, whose head the new one must continue.
    pub(crate) fn start(
        source: &'a dyn Source,
        head: &'a Checkpoint,
        known: Option<&Checkpoint>,
        edge: Edge,
    ) -> Result<Self, FollowError> {
        let nodes = SourceNodes::new(source, head.size);
        if Frontier::read(&nodes, head.size)?.root() != head.root {
            return Err(Fault::new("tile", "tile", "the tiles on the right edge do not have the signed root").into());
        }
        if let Some(known) = known {
            continues(&nodes, known, head)?;
        }
        Ok(Self { source, head, nodes, edge, tiles: 0, bundles: 0, bytes: 0 })
    }

    /// Entries so far.
    pub(crate) fn size(&self) -> u64 {
        self.edge.frontier.size()
    }

    /// The next bundle; `None` at the end of the tree, whose root is then the signed one.
    pub(crate) fn next(&mut self, keep: &mut Keep<'_>) -> Result<Option<Bundle>, FollowError> {
        let first = self.size();
        let tile = TilePath::of_size(TileKind::Entries, first / TILE_WIDTH, self.head.size);
        let Some(tile) = tile.filter(|_| first < self.head.size) else {
            self.finish(keep)?;
            return Ok(None);
        };
        // One path from the first leaf to the root holds all the tile's hashes, so it proves every one of them.
        let hashes = self.nodes.hashes(0, tile.index)?;
        let leaf = hashes.first().copied().unwrap_or_default();
        let path = prove_inclusion(&self.nodes, first, self.head.size)?;
        if !check_inclusion(&path, first, self.head.size, &leaf, &self.head.root) {
            let tile = TilePath { kind: TileKind::Hashes(0), ..tile };
            return Err(Fault::new(tile.path(), "tile", "its hashes do not lead to the signed root").into());
        }
        let bundle = self.bundle(tile, first, &hashes)?;
        let mut bytes = Vec::new();
        bundle.entries.iter().for_each(|entry| push_entry(&mut bytes, entry));
        self.bundles += 1;
        self.bytes += bytes.len() as u64;
        keep(tile, &bytes)?;
        for leaf in &bundle.leaves {
            self.push(*leaf, keep)?;
        }
        Ok(Some(bundle))
    }

    fn bundle(&self, tile: TilePath, first: u64, hashes: &Arc<Vec<Hash>>) -> Result<Bundle, FollowError> {
        let bytes = fetch_tile(self.source, tile)?;
        let broken = || Fault::new(tile.path(), "tile", "it does not hold its entries and nothing else");
        // More bytes are right only when the full bundle stands in for a partial one.
        let (split, rest) = split_bundle(&bytes, tile.width).ok_or_else(broken)?;
        let whole = |rest: &[u8]| split_bundle(rest, TILE_WIDTH - tile.width).is_some_and(|(_, rest)| rest.is_empty());
        if !rest.is_empty() && !whole(rest) {
            return Err(broken().into());
        }
        let leaves: Vec<Hash> = split.iter().map(|entry| leaf_hash(entry)).collect();
        if let Some(at) = leaves.iter().zip(hashes.iter()).position(|(leaf, hash)| leaf != hash) {
            let message = "its bytes do not have the hash that the log signed";
            return Err(Fault::entry(first + at as u64, "entry", message).into());
        }
        Ok(Bundle { first, entries: split.into_iter().map(<[u8]>::to_vec).collect(), leaves })
    }

    /// Takes in a leaf; compares and keeps each tile that becomes full.
    fn push(&mut self, leaf: Hash, keep: &mut Keep<'_>) -> Result<(), FollowError> {
        self.edge.frontier.push(leaf);
        let size = self.size();
        let mut hash = leaf;
        for level in 0..=MAX_LEVEL {
            let Some(hashes) = usize::try_from(level).ok().and_then(|level| self.edge.levels.get_mut(level)) else {
                break;
            };
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_WIDTH {
                break;
            }
            let full = std::mem::take(hashes);
            hash = fold_hashes(&full).unwrap_or_default();
            self.compare(level, (size >> (TILE_HEIGHT * (level + 1))) - 1, &full, keep)?;
        }
        Ok(())
    }

    /// The partial tiles of the right edge, and the root.
    fn finish(&mut self, keep: &mut Keep<'_>) -> Result<(), FollowError> {
        let size = self.size();
        for level in 0..=MAX_LEVEL {
            let hashes = usize::try_from(level).ok().and_then(|at| self.edge.levels.get_mut(at)).map(std::mem::take);
            let index = size.checked_shr(TILE_HEIGHT * (level + 1)).unwrap_or(0);
            self.compare(level, index, &hashes.unwrap_or_default(), keep)?;
        }
        match self.edge.frontier.root() == self.head.root && size == self.head.size {
            true => Ok(()),
            false => Err(Fault::new("checkpoint", "checkpoint", "its root is not the root of the entries").into()),
        }
    }

    fn compare(&mut self, level: u32, index: u64, hashes: &[Hash], keep: &mut Keep<'_>) -> Result<(), FollowError> {
        let width = hashes.len() as u64;
        if width == 0 {
            return Ok(());
        }
        let tile = TilePath { kind: TileKind::Hashes(level), index, width };
        if self.nodes.hashes(level, index)?.as_slice() != hashes {
            return Err(Fault::new(tile.path(), "tile", "it differs from the recomputed tile").into());
        }
        let bytes = hashes.concat();
        self.tiles += 1;
        self.bytes += bytes.len() as u64;
        keep(tile, &bytes)
    }
}

/// That a head continues an earlier one: not shorter, and with the same entries before its end.
fn continues(nodes: &SourceNodes<'_>, known: &Checkpoint, head: &Checkpoint) -> Result<(), FollowError> {
    let fault = |message: String| Err(Fault::new("checkpoint", "pinned", message).into());
    if head.size < known.size {
        return fault(format!(
            "it goes backwards, to {} entries from {} that were verified before: an old copy, or a tail cut off",
            head.size, known.size
        ));
    }
    let proof = prove_consistency(nodes, known.size, head.size)?;
    match check_consistency(&proof, known.size, &known.root, head.size, &head.root) {
        true => Ok(()),
        false => fault(format!("it does not continue the head of {} entries verified before: a fork", known.size)),
    }
}
