//! The leaf that closes each batch: the chain of blocks inside the Merkle tree.

use serde::{Deserialize, Serialize};

use super::canonical::{Canonical, EntryError};
use crate::hex;

/// One batch of entries, linked to the batch before by the hash of that one's block leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// 0 for the first block, then one more each.
    pub height: u64,
    /// RFC 6962 leaf hash of the previous block leaf, lower-case hex; 64 zeros in the first.
    pub prev: String,
    /// Log index of the batch's first entry.
    pub first: u64,
    /// Entries in the batch, this leaf not counted; its own index is `first + count`.
    pub count: u64,
    /// Unix seconds, rounded down to the minute; never less than the previous block's.
    pub time: u64,
}

#[derive(Serialize)]
struct Wire<'a> {
    r#type: &'static str,
    body: &'a Block,
}

impl Block {
    /// The `prev` of a log's first block.
    pub const NO_PREVIOUS: [u8; 32] = [0; 32];

    /// The entry that stands in the log.
    ///
    /// # Errors
    /// A number passes 2^53 - 1.
    pub fn to_canonical(&self) -> Result<Canonical, EntryError> {
        Canonical::of(&Wire { r#type: "block", body: self })
    }

    /// `prev` as bytes.
    ///
    /// # Errors
    /// It is not 64 lower-case hex digits.
    pub fn prev_hash(&self) -> Result<[u8; 32], EntryError> {
        hex::decode(&self.prev).ok_or(EntryError::Field("prev"))
    }
}
