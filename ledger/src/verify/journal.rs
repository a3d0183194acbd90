//! The journal as an auditor reads it: whole frames, one after the other, and what they add to the published tree.

use std::{collections::HashSet, fs::File, path::Path};

use super::report::Fault;
use crate::{
    blob::push_record,
    checkpoint::Checkpoint,
    entry::mentioned_hashes,
    fs::FsFile,
    journal::{Frame, segment_first, segment_name},
    note::VerifierKey,
    recover::read_frame,
    torn::is_torn_frame,
    tree::{Hash, leaf_hash, sha256},
};

/// Where the frames lie; each is read again when it is needed.
pub(crate) struct JournalCheck {
    files: Vec<(String, File)>,
    frames: Vec<Place>,
    /// Index after the last frame.
    pub end: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes at the end of the newest segment that a writer did not finish.
    pub unfinished: u64,
}

struct Place {
    file: usize,
    offset: u64,
    length: u64,
    first: u64,
    end: u64,
}

impl JournalCheck {
    /// No frames: a mirror has none.
    pub(crate) fn none(published: u64) -> Self {
        Self { files: Vec::new(), frames: Vec::new(), end: published, bytes: 0, unfinished: 0 }
    }

    /// Finds the frames. Every byte of every segment must belong to one, but for a frame at the very end that a writer
    /// is writing, or was when it stopped: it was never acknowledged, and the next start drops it.
    pub(crate) fn open(dir: &Path, published: u64, key: &VerifierKey) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::new("journal", "files", error.to_string());
        let mut names = Vec::new();
        for item in std::fs::read_dir(dir.join("journal")).map_err(failed)? {
            let name = item.map_err(failed)?.file_name().to_string_lossy().into_owned();
            names.extend(segment_first(&name));
        }
        names.sort_unstable();
        let mut journal = Self { files: Vec::new(), frames: Vec::new(), end: 0, bytes: 0, unfinished: 0 };
        for first in &names {
            journal.segment(dir, *first, published, (names.last() == Some(first)).then_some(key))?;
        }
        if journal.files.is_empty() {
            return Err(Fault::new("journal", "journal", "it has no segment"));
        }
        if journal.end < published {
            let name = journal.files.last().map_or_else(String::new, |(name, _)| name.clone());
            return Err(Fault::new(name, "journal", "it ends before the published checkpoint"));
        }
        Ok(journal)
    }

    /// `newest` is the log's key when this is the newest segment, the one that may end in an unfinished frame.
    fn segment(&mut self, dir: &Path, first: u64, published: u64, newest: Option<&VerifierKey>) -> Result<(), Fault> {
        let name = format!("journal/{}", segment_name(first));
        let failed = |error: std::io::Error| Fault::new(name.as_str(), "files", error.to_string());
        // Published segments are removed one by one, so a gap below the published size is no loss.
        if first != self.end && (self.end > published || first > published) {
            return Err(Fault::new(name, "journal", "the segment before it is missing or cut"));
        }
        let file = File::open(dir.join(&name)).map_err(failed)?;
        let length = file.length().map_err(failed)?;
        self.bytes += length;
        self.end = first;
        let mut offset = 0;
        while offset < length {
            let frame = read_frame(&file, offset, length).map_err(failed)?;
            let whole = frame.is_some();
            let Some(frame) = frame.filter(|frame| frame.first == self.end) else {
                let mut rest = vec![0; usize::try_from(length - offset).unwrap_or(0)];
                file.read_exact_at(&mut rest, offset).map_err(failed)?;
                let unfinished = |key| is_torn_frame(&rest, offset, self.end, key);
                if !whole && self.end >= published && newest.is_some_and(unfinished) {
                    self.unfinished = length - offset;
                    break;
                }
                return Err(Fault::new(
                    name,
                    "journal",
                    format!("no whole frame stands at byte {offset}, and no stopped writer leaves such bytes"),
                ));
            };
            let bytes = frame.bytes().len() as u64;
            self.frames.push(Place {
                file: self.files.len(),
                offset,
                length: offset + bytes,
                first: frame.first,
                end: frame.end(),
            });
            self.end = frame.end();
            offset += bytes;
        }
        self.files.push((name, file));
        Ok(())
    }

    fn read(&self, place: &Place) -> Result<Frame, Fault> {
        let gone = || Fault::new("journal", "journal", "a frame changed while it was audited");
        let (_, file) = self.files.get(place.file).ok_or_else(gone)?;
        read_frame(file, place.offset, place.length).ok().flatten().ok_or_else(gone)
    }

    /// The frame that holds an entry.
    fn holding(&self, index: u64) -> Option<&Place> {
        let at = self.frames.partition_point(|place| place.end <= index);
        self.frames.get(at).filter(|place| place.first <= index)
    }

    /// Index after the frame that holds an entry; `None` when none does.
    pub(crate) fn end_of(&self, index: u64) -> Option<u64> {
        self.holding(index).map(|place| place.end)
    }

    /// Entries from an index on: those of the frame that holds it. Empty past the end.
    pub(crate) fn entries_from(&self, index: u64) -> Result<Vec<Vec<u8>>, Fault> {
        let Some(place) = self.holding(index) else { return Ok(Vec::new()) };
        let skip = usize::try_from(index - place.first).unwrap_or(usize::MAX);
        Ok(self.read(place)?.entries().skip(skip).map(<[u8]>::to_vec).collect())
    }

    /// Blobs of frames that end past the published size: they need not be in a pack yet.
    pub(crate) fn unpublished_blobs(&self, published: u64) -> Result<HashSet<Hash>, Fault> {
        let mut blobs = HashSet::new();
        for place in self.frames.iter().filter(|place| place.end > published) {
            blobs.extend(self.read(place)?.blobs().map(sha256));
        }
        Ok(blobs)
    }

    /// At least `enough` bytes of the pack records of unpublished blobs that are not `stored`, in their order, or all.
    pub(crate) fn unpublished_records(
        &self,
        published: u64,
        enough: usize,
        stored: impl Fn(&Hash) -> bool,
    ) -> Result<Vec<u8>, Fault> {
        let (mut records, mut seen) = (Vec::new(), HashSet::new());
        for place in self.frames.iter().filter(|place| place.end > published) {
            for blob in self.read(place)?.blobs() {
                let hash = sha256(blob);
                if records.len() < enough && seen.insert(hash) && !stored(&hash) {
                    push_record(&mut records, &hash, blob);
                }
            }
        }
        Ok(records)
    }

    /// Compares the frame that ends at a size with the tree: its entries with the leaves, its note with the root, its blobs
    /// with its entries.
    pub(crate) fn compare(&self, end: u64, leaves: &[Hash], root: &Hash, key: &VerifierKey) -> Result<(), Fault> {
        let Some(place) = self.holding(end.saturating_sub(1)) else { return Ok(()) };
        let frame = self.read(place)?;
        let name = self.files.get(place.file).map_or("journal", |(name, _)| name);
        let fault = |message: &str| Fault::new(name, "journal", format!("frame at byte {}: {message}", place.offset));
        let mut expected = leaves.iter();
        for (index, entry) in (frame.first..).zip(frame.entries()) {
            if expected.next() != Some(&leaf_hash(entry)) {
                return Err(fault(&format!("its entry {index} is not the log's")));
            }
        }
        let head = Checkpoint::open(frame.note(), key)
            .ok_or_else(|| fault("its checkpoint is not signed by the log's key"))?;
        if head.size != frame.end() || head.root != *root {
            return Err(fault("its checkpoint does not have the root of the tree"));
        }
        let mut mentioned = frame.entries().map(mentioned_hashes);
        let mut names = mentioned.next().unwrap_or_default();
        for hash in frame.blobs().map(sha256) {
            while !names.contains(&hash) {
                names = mentioned.next().ok_or_else(|| fault("it holds a blob that none of its entries names"))?;
            }
        }
        Ok(())
    }
}
