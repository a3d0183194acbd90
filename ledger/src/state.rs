//! What a log knows between disk and callers: queued batches, the durable head, frames not yet published.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    batch::{Batch, Incoming},
    blob::BlobStore,
    checkpoint::Checkpoint,
    error::LogError,
    fs::FsFile,
    hex,
    journal::{Frame, Parsed, segment_name},
    tree::Hash,
    writer::Tail,
};

/// Shared state of a log; see [`crate::log`].
pub(crate) struct State {
    /// Where the next frame is written; taken out by whoever writes it, so that one thread writes at a time.
    pub tail: Option<Tail>,
    /// The writer's thread goes on: more waits than one caller should write.
    pub handed_over: bool,
    /// Batches that take no more entries, oldest first.
    pub sealed: VecDeque<Batch>,
    /// The batch that still grows.
    pub open: Batch,
    /// Memory that queued batches hold.
    pub queued_bytes: usize,
    /// Newest head whose frame is durable.
    pub durable: Checkpoint,
    /// Newest head whose tiles are durable.
    pub published: Checkpoint,
    /// Durable frames that are not published, oldest first.
    pub frames: VecDeque<FrameRef>,
    /// Leaf hashes of their entries.
    pub leaves: VecDeque<Hash>,
    /// Blobs that are not in a pack yet.
    pub waiting_blobs: HashMap<Hash, BlobPlace>,
    /// Blobs that an erasure takes out; no entry may name one meanwhile.
    pub erasing: HashSet<Hash>,
    /// The writer is asked to begin a new segment.
    pub roll: bool,
    /// First indices of the journal's segments, oldest first; the last one is written to.
    pub segments: VecDeque<u64>,
    /// No block that is still to come has an earlier time.
    pub time: u64,
    /// Somebody waits until this size is published.
    pub wanted: u64,
    /// Why the log stopped.
    pub poison: Option<LogError>,
    /// No more submissions come.
    pub closing: bool,
    /// The writer has ended; nothing becomes durable any more.
    pub writer_done: bool,
}

/// Where a blob is before it is in a pack.
#[derive(Clone)]
pub(crate) enum BlobPlace {
    /// In memory, not durable.
    Queued,
    /// In a durable frame.
    Journal {
        /// The segment's file.
        segment: Arc<dyn FsFile>,
        /// Offset of its bytes.
        offset: u64,
        /// Their length.
        length: usize,
    },
}

/// A durable frame in the journal.
#[derive(Clone)]
pub(crate) struct FrameRef {
    pub segment: Arc<dyn FsFile>,
    pub segment_first: u64,
    pub offset: u64,
    pub length: usize,
    /// Index of its first entry.
    pub first: u64,
    /// Index after its block leaf.
    pub end: u64,
}

impl FrameRef {
    fn path(&self, dir: &Path) -> PathBuf {
        dir.join("journal").join(segment_name(self.segment_first))
    }

    /// Writes a frame again that was found in the journal, so that the next sync of its segment covers it.
    pub(crate) fn write_again(&self, dir: &Path) -> Result<(), LogError> {
        let frame = self.read(dir)?;
        let written = self.segment.write_all_at(frame.bytes(), self.offset);
        written.map_err(|error| LogError::io("write", &self.path(dir), &error))
    }

    /// Reads the frame back from disk and verifies its checksum.
    pub(crate) fn read(&self, dir: &Path) -> Result<Frame, LogError> {
        let mut bytes = vec![0; self.length];
        let read = self.segment.read_exact_at(&mut bytes, self.offset);
        read.map_err(|error| LogError::io("read", &self.path(dir), &error))?;
        match Frame::parse(&bytes) {
            Parsed::Frame(frame) if frame.first == self.first && frame.end() == self.end => Ok(frame),
            _ => Err(LogError::corrupt(
                segment_name(self.segment_first),
                format!("the frame at byte {} changed", self.offset),
            )),
        }
    }
}

impl State {
    /// The minute of `now`, or the last one that was given out: time never goes back.
    pub(crate) fn tick(&mut self, now: u64) -> u64 {
        self.time = self.time.max(now - now % 60);
        self.time
    }

    /// Refuses entries that name a blob which is nowhere, or is being erased.
    pub(crate) fn require_blobs(&self, incoming: &[Incoming], stored: &BlobStore) -> Result<(), LogError> {
        for (at, new) in incoming.iter().enumerate() {
            let mut named = new.blobs.iter().map(|(hash, _)| hash).chain(&new.elsewhere);
            if let Some(hash) = named.find(|hash| self.erasing.contains(*hash)) {
                return Err(LogError::BlobErasing(hex::encode(hash)));
            }
            for hash in &new.elsewhere {
                let earlier = incoming.iter().take(at).flat_map(|other| &other.blobs);
                if !self.waiting_blobs.contains_key(hash)
                    && !earlier.into_iter().any(|(other, _)| other == hash)
                    && !stored.contains(hash)?
                {
                    return Err(LogError::BlobMissing(hex::encode(hash)));
                }
            }
        }
        Ok(())
    }

    /// Puts entries into batches; gives their runs of indices, and the next free index.
    pub(crate) fn enqueue(&mut self, incoming: Vec<Incoming>) -> (Vec<(u64, u64)>, u64) {
        // A submission that fits into one batch is one batch: all of it is durable, or none.
        if !self.open.fits(&incoming) && Batch::default().fits(&incoming) {
            self.seal();
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for new in incoming {
            if !self.open.fits(std::slice::from_ref(&new)) {
                self.seal();
            }
            for (hash, _) in &new.blobs {
                self.waiting_blobs.entry(*hash).or_insert(BlobPlace::Queued);
            }
            let before = self.open.bytes();
            let index = self.open.push(new);
            self.queued_bytes += self.open.bytes() - before;
            match runs.last_mut() {
                Some((first, count)) if *first + *count == index => *count += 1,
                _ => runs.push((index, 1)),
            }
        }
        (runs, self.open.block_index())
    }

    /// Closes the growing batch, if it has entries; its block leaf takes the next index.
    pub(crate) fn seal(&mut self) {
        if !self.open.entries.is_empty() {
            let next = Batch::at(self.open.block_index() + 1);
            self.sealed.push_back(std::mem::replace(&mut self.open, next));
        }
    }

    /// Whether something waits to be written.
    pub(crate) fn has_work(&self) -> bool {
        self.roll || !self.sealed.is_empty() || !self.open.entries.is_empty()
    }

    /// Index after the last submitted batch; what [`crate::Log::flush`] waits for.
    pub(crate) fn last_submitted(&self) -> u64 {
        self.open.first + if self.open.entries.is_empty() { 0 } else { self.open.entries.len() as u64 + 1 }
    }

    /// The unpublished frame that holds an index.
    pub(crate) fn frame_of(&self, index: u64) -> Option<FrameRef> {
        let at = self.frames.partition_point(|frame| frame.end <= index);
        self.frames.get(at).filter(|frame| frame.first <= index).cloned()
    }
}
