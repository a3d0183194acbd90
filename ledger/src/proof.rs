//! Inclusion proofs as text (C2SP tlog-proof), and the tree they are taken from.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    checkpoint::Checkpoint,
    error::LogError,
    note::VerifierKey,
    tiles::TileReader,
    tree::{Hash, Nodes, check_inclusion, leaf_hash, node_hash},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Published tiles, and the leaves after them that are durable in the journal alone.
pub(crate) struct Overlay {
    pub tiles: TileReader,
    pub leaves: Vec<Hash>,
}

impl Nodes for Overlay {
    type Error = LogError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, LogError> {
        let published = self.tiles.size();
        if (index + 1) << level <= published {
            return self.tiles.node(level, index);
        }
        let Some(below) = level.checked_sub(1) else {
            let leaf = usize::try_from(index - published).ok().and_then(|at| self.leaves.get(at));
            return leaf.copied().ok_or(LogError::OutOfRange { index, size: published + self.leaves.len() as u64 });
        };
        Ok(node_hash(&self.node(below, 2 * index)?, &self.node(below, 2 * index + 1)?))
    }
}

/// The text of a proof.
pub(crate) fn proof_text(index: u64, path: &[Hash], head: &Checkpoint) -> String {
    let hashes: String = path.iter().map(|hash| BASE64_STANDARD.encode(hash) + "\n").collect();
    format!("{FIRST_LINE}\nindex {index}\n{hashes}\n{}", head.note)
}

/// Verifies a receipt: that `entry` is in the log of `key`, at which index and under which head. `None` when any part
/// does not fit.
pub fn check_proof(text: &str, key: &VerifierKey, entry: &[u8]) -> Option<(u64, Checkpoint)> {
    let (proof, note) = text.split_once("\n\n")?;
    let head = Checkpoint::open(note, key)?;
    let mut lines = proof.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let index: u64 = lines.find(|line| !line.starts_with("extra "))?.strip_prefix("index ")?.parse().ok()?;
    let path = lines.map(|line| BASE64_STANDARD.decode(line).ok()?.try_into().ok()).collect::<Option<Vec<Hash>>>()?;
    check_inclusion(&path, index, head.size, &leaf_hash(entry), &head.root).then_some((index, head))
}
