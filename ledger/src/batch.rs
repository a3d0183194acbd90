//! Entries on their way into a batch, checked and hashed on the caller's thread.

use crate::{
    entry::{Canonical, mentioned_hashes, named_blobs},
    error::LogError,
    journal::MAX_FRAME,
    tree::{Hash, leaf_hash, sha256},
};

/// Most entries in a batch, the block leaf not counted.
pub(crate) const BATCH_ENTRIES: usize = 512;

/// Most bytes of entries in a batch.
pub(crate) const BATCH_ENTRY_BYTES: usize = 1024 * 1024;

/// Most bytes of blobs in a batch: what a frame holds, less room for entries, lengths and the note.
pub(crate) const BATCH_BLOB_BYTES: usize = MAX_FRAME - 2 * BATCH_ENTRY_BYTES;

/// Bytes that a blob costs beside its own, in frame and pack.
const BLOB_OVERHEAD: usize = 64;

/// An entry to append, and the blobs that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The entry.
    pub entry: Canonical,
    /// Content of the blobs; each one's lower-case hex SHA-256 must stand in the entry as a string.
    pub blobs: Vec<Vec<u8>>,
}

impl From<Canonical> for NewEntry {
    fn from(entry: Canonical) -> Self {
        Self { entry, blobs: Vec::new() }
    }
}

/// A checked entry with its hashes.
pub(crate) struct Incoming {
    pub entry: Vec<u8>,
    pub leaf: Hash,
    pub blobs: Vec<(Hash, Vec<u8>)>,
    /// Blobs that it names and that did not come with it.
    pub elsewhere: Vec<Hash>,
}

impl Incoming {
    /// Hashes an entry and its blobs.
    ///
    /// # Errors
    /// The entry poses as a block, a blob is not named in it, or they are too long.
    pub(crate) fn check(new: NewEntry) -> Result<Self, LogError> {
        let entry = new.entry.into_bytes();
        // Verifiers know a block by these bytes: one that a submitter wrote would break the chain for them.
        if entry.ends_with(b"\"type\":\"block\"}") {
            return Err(LogError::BlockSubmitted);
        }
        let mut blobs: Vec<(Hash, Vec<u8>)> = new.blobs.into_iter().map(|blob| (sha256(&blob), blob)).collect();
        let named = named_blobs(&entry);
        if !blobs.is_empty() {
            // In the order in which the entry names them, since readers meet them so.
            let mentioned = mentioned_hashes(&entry);
            let place = |hash: &Hash| mentioned.iter().position(|other| other == hash);
            if blobs.iter().any(|(hash, _)| place(hash).is_none()) {
                return Err(LogError::BlobNotNamed);
            }
            blobs.sort_by_key(|(hash, _)| place(hash));
        }
        let elsewhere = named.into_iter().filter(|hash| blobs.iter().all(|(other, _)| other != hash)).collect();
        let incoming = Self { leaf: leaf_hash(&entry), entry, blobs, elsewhere };
        match incoming.blob_bytes() {
            too_long if too_long > BATCH_BLOB_BYTES => Err(LogError::BlobTooLong(too_long)),
            _ => Ok(incoming),
        }
    }

    fn blob_bytes(&self) -> usize {
        self.blobs.iter().map(|(_, blob)| blob.len() + BLOB_OVERHEAD).sum()
    }
}

/// Entries that will be one journal frame.
#[derive(Default)]
pub(crate) struct Batch {
    /// Index of the first entry.
    pub first: u64,
    pub entries: Vec<Incoming>,
    entry_bytes: usize,
    blob_bytes: usize,
}

impl Batch {
    /// An empty batch at an index.
    pub(crate) fn at(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Whether these entries still fit, all together.
    pub(crate) fn fits(&self, entries: &[Incoming]) -> bool {
        self.entries.len() + entries.len() <= BATCH_ENTRIES
            && self.entry_bytes + entries.iter().map(|new| new.entry.len()).sum::<usize>() <= BATCH_ENTRY_BYTES
            && self.blob_bytes + entries.iter().map(Incoming::blob_bytes).sum::<usize>() <= BATCH_BLOB_BYTES
    }

    /// Adds an entry and gives its index.
    pub(crate) fn push(&mut self, new: Incoming) -> u64 {
        let index = self.block_index();
        self.entry_bytes += new.entry.len();
        self.blob_bytes += new.blob_bytes();
        self.entries.push(new);
        index
    }

    /// Index of the block leaf that closes it.
    pub(crate) fn block_index(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Memory that it holds, about.
    pub(crate) fn bytes(&self) -> usize {
        self.entry_bytes + self.blob_bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hex;

    #[test]
    fn blobs_are_named_and_come_in_the_entrys_order() {
        let (one, two) = (b"one".to_vec(), b"two".to_vec());
        let name = |blob: &[u8]| hex::encode(&sha256(blob));
        let body = json!({"body": {"a": name(&two), "b": name(&one)}, "type": "x"});
        let entry = Canonical::of(&body).unwrap();
        let incoming =
            Incoming::check(NewEntry { entry: entry.clone(), blobs: vec![one.clone(), two.clone()] }).unwrap();
        assert_eq!(incoming.blobs, vec![(sha256(&two), two), (sha256(&one), one)]);
        let stranger = NewEntry { entry, blobs: vec![b"three".to_vec()] };
        assert_eq!(Incoming::check(stranger).err(), Some(LogError::BlobNotNamed));
    }

    #[test]
    fn nobody_but_the_log_writes_blocks() {
        let block = json!({"body": {"count": 0, "first": 0, "height": 1, "prev": "", "time": 0}, "type": "block"});
        for posing in [block, json!({"body": {}, "type": "block"}), json!({"a": 1, "type": "block"})] {
            let refused = Incoming::check(Canonical::of(&posing).unwrap().into()).err();
            assert_eq!(refused, Some(LogError::BlockSubmitted));
        }
        assert!(Incoming::check(Canonical::of(&json!({"a": {"type": "block"}})).unwrap().into()).is_ok());
    }

    #[test]
    fn a_batch_is_full_at_its_limits() {
        let incoming = || Incoming::check(Canonical::of(&json!({"a": "x".repeat(4096 - 8)})).unwrap().into()).unwrap();
        let mut batch = Batch::at(10);
        for at in 0..256 {
            assert!(batch.fits(&[incoming()]), "{at}");
            assert_eq!(batch.push(incoming()), 10 + at);
        }
        assert!(!batch.fits(&[incoming()]), "one MiB of entries is full");
        assert_eq!(batch.block_index(), 266);
    }
}
