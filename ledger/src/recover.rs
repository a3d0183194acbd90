//! Opening a log after any stop: the frames that the published checkpoint does not cover go through the same
//! projection as in normal operation.
//!
//! What is read may lie in memory alone, left there by a process that was killed before its sync, or whose sync failed.
//! So nothing is built on before it is durable: names by syncing their folders, and the bytes of unpublished frames and
//! of their blobs by writing them again, since a sync that failed is not repeated by the next one.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, OnceLock},
};

use crate::{
    batch::Batch,
    blob::BlobStore,
    checkpoint::Checkpoint,
    create::{is_leftover, temporary},
    entry::{Block, LedgerEntry, parse_ledger_entry},
    erasure::{Locks, PLAN},
    error::LogError,
    fs::{Fs, FsFile},
    journal::{FRAME_HEADER, Frame, Header, Parsed, segment_first, segment_name},
    log::{Guard, Shared, folder_name},
    note::{NoteKey, VerifierKey},
    projection::Projection,
    setup::Setup,
    state::{BlobPlace, FrameRef, State},
    tiles::{TILE_WIDTH, TileReader},
    torn::is_torn_frame,
    tree::{Frontier, Hash, leaf_hash, sha256},
    writer::{Tail, remove_segments},
};

/// What opening a folder gives to the log and its threads.
pub(crate) struct Recovered {
    pub shared: Shared,
    pub lock: Box<dyn Send + Sync>,
    pub projection: Projection,
}

/// Reads a small text file of the folder.
fn text(fs: &dyn Fs, dir: &Path, name: &str) -> Result<String, LogError> {
    let bytes = fs.read(&dir.join(name)).map_err(|error| LogError::io("read", &dir.join(name), &error))?;
    String::from_utf8(bytes).map_err(|_| LogError::corrupt(name, "it is no text"))
}

/// The published head and the log's key, as every reader opens them.
pub(crate) fn read_head(fs: &dyn Fs, dir: &Path) -> Result<(VerifierKey, Checkpoint), LogError> {
    let key = text(fs, dir, "key")?;
    let key = key.strip_suffix('\n').ok_or_else(|| LogError::corrupt("key", "it does not end with one newline"))?;
    let key = VerifierKey::parse(key).map_err(|error| LogError::corrupt("key", error.to_string()))?;
    let note = text(fs, dir, "checkpoint")?;
    let unsigned = || LogError::corrupt("checkpoint", "it is not signed by the log's key as it stands");
    Ok((key.clone(), Checkpoint::open(&note, &key).ok_or_else(unsigned)?))
}

/// Takes the folder's lock.
pub(crate) fn take_lock(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn Send + Sync>, LogError> {
    fs.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => LogError::Locked(folder_name(dir)),
        _ => LogError::io("lock", &dir.join("lock"), &error),
    })
}

/// Locks and opens a folder.
pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path, key: NoteKey, setup: Setup) -> Result<Recovered, LogError> {
    let lock = take_lock(fs.as_ref(), dir)?;
    let (verifier, published) = read_head(fs.as_ref(), dir)?;
    if verifier != key.verifier_key() {
        return Err(LogError::WrongKey);
    }
    remove_leftovers(fs.as_ref(), dir)?;
    for folder in [dir, &dir.join("journal"), &dir.join("blobs")] {
        let synced = fs.open_dir(folder).and_then(|handle| handle.sync_dir());
        synced.map_err(|error| LogError::io("sync", folder, &error))?;
    }
    let journal = Journal::open(fs.as_ref(), dir)?;
    let projection = Projection::open(Arc::clone(&fs), dir, temporary(dir), &published)?;
    let mut frontier = projection.frontier().clone();
    let mut scan = Scan::new(&journal, &verifier, published.clone());
    for (first, file) in &journal.segments {
        scan.segment(*first, file, &mut frontier, dir)?;
    }
    let Some((segment_first, segment)) = journal.segments.last().cloned() else {
        return Err(LogError::corrupt("journal", "it has no segment"));
    };
    if scan.end < published.size {
        return Err(LogError::corrupt(
            "journal",
            "it ends before the published checkpoint: acknowledged entries may be lost",
        ));
    }
    if let Some(torn) = scan.torn_at {
        let path = dir.join("journal").join(segment_name(segment_first));
        segment
            .set_length(torn)
            .and_then(|()| segment.sync_data())
            .map_err(|error| LogError::io("cut", &path, &error))?;
    }
    scan.frames.iter().try_for_each(|frame| frame.write_again(dir))?;
    for (first, file) in journal.segments.iter().filter(|(first, _)| scan.holds(*first)) {
        let path = dir.join("journal").join(segment_name(*first));
        file.sync_data().map_err(|error| LogError::io("sync", &path, &error))?;
    }
    let blobs = BlobStore::open(Arc::clone(&fs), &dir.join("blobs"), temporary(dir), setup.pack_bytes)?;
    blobs.repair(&scan.frames, &scan.blobs, dir)?;

    let (last_block, block) = match scan.last_block {
        Some((hash, block)) => (hash, Some(block)),
        None => last_published_block(&fs, dir, &published)?,
    };
    let mut segments: VecDeque<u64> = journal.segments.iter().map(|(first, _)| *first).collect();
    let mut covered = Vec::new();
    while segments.get(1).is_some_and(|next| *next <= published.size) {
        covered.extend(segments.pop_front());
    }
    let durable = scan.head;
    let last_time = block.as_ref().map_or(0, |block| block.time);
    let offset = segment.length().map_err(|error| LogError::io("measure", dir, &error))?;
    let tail = Tail {
        frontier,
        last_block,
        next_height: block.as_ref().map_or(0, |block| block.height + 1),
        segment,
        segment_first,
        offset,
    };
    let state = State {
        tail: Some(tail),
        handed_over: false,
        sealed: VecDeque::new(),
        open: Batch::at(durable.size),
        queued_bytes: 0,
        durable,
        published,
        frames: scan.frames,
        leaves: scan.leaves,
        waiting_blobs: scan.blobs,
        erasing: HashSet::new(),
        roll: false,
        segments,
        time: last_time,
        wanted: 0,
        poison: None,
        closing: false,
        writer_done: false,
    };
    let (state, work, progress, gathered) = (Mutex::new(state), Condvar::new(), Condvar::new(), Condvar::new());
    let (dir, guard, last_bundle) = (dir.to_owned(), Guard::default(), Mutex::default());
    let (locks, previous) = (Locks::default(), OnceLock::new());
    let shared =
        Shared { fs, dir, key, setup, blobs, locks, guard, previous, last_bundle, state, work, progress, gathered };
    remove_segments(&shared, &covered)?;
    Ok(Recovered { shared, lock, projection })
}

/// Files that a crash left before they had a name.
fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> Result<(), LogError> {
    let journal = dir.join("journal");
    let names = fs.list(&journal).map_err(|error| LogError::io("list", &journal, &error))?;
    // The plan of an erasure is brought to its end once the log runs.
    for (name, _) in names.iter().filter(|(name, _)| is_leftover(name) && name != PLAN) {
        fs.remove(&journal.join(name)).map_err(|error| LogError::io("remove", &journal.join(name), &error))?;
    }
    Ok(())
}

/// The last leaf of a published tree, which is a block.
fn last_published_block(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    published: &Checkpoint,
) -> Result<(Hash, Option<Block>), LogError> {
    let Some(last) = published.size.checked_sub(1) else {
        return Ok((Block::NO_PREVIOUS, None));
    };
    let entries = TileReader::new(Arc::clone(fs), dir, published).bundle(last / TILE_WIDTH)?;
    let (hash, block) = entries
        .last()
        .and_then(|entry| block_of(entry))
        .ok_or_else(|| LogError::corrupt("tile/entries", "the last entry is no block"))?;
    Ok((hash, Some(block)))
}

fn block_of(entry: &[u8]) -> Option<(Hash, Block)> {
    match parse_ledger_entry(entry) {
        Ok(LedgerEntry::Block(block)) => Some((leaf_hash(entry), block)),
        _ => None,
    }
}

/// The journal's segments in order, open for writing.
struct Journal {
    segments: Vec<(u64, Arc<dyn FsFile>)>,
}

impl Journal {
    fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, LogError> {
        let journal = dir.join("journal");
        let names = fs.list(&journal).map_err(|error| LogError::io("list", &journal, &error))?;
        let mut segments = Vec::new();
        for (name, _) in names.into_iter().filter(|(name, _)| name != PLAN) {
            let first =
                segment_first(&name).ok_or_else(|| LogError::corrupt(format!("journal/{name}"), "it is no segment"))?;
            let path = journal.join(&name);
            segments.push((first, fs.open_write(&path).map_err(|error| LogError::io("open", &path, &error))?));
        }
        Ok(Self { segments })
    }
}

/// Reads the journal frame by frame; keeps what is not published.
struct Scan<'a> {
    key: &'a VerifierKey,
    published: Checkpoint,
    last_segment: Option<u64>,
    head: Checkpoint,
    /// Index after the last whole frame.
    end: u64,
    frames: VecDeque<FrameRef>,
    leaves: VecDeque<Hash>,
    blobs: HashMap<Hash, BlobPlace>,
    last_block: Option<(Hash, Block)>,
    torn_at: Option<u64>,
}

impl<'a> Scan<'a> {
    fn new(journal: &Journal, key: &'a VerifierKey, published: Checkpoint) -> Self {
        Self {
            key,
            last_segment: journal.segments.last().map(|(first, _)| *first),
            head: published.clone(),
            published,
            end: 0,
            frames: VecDeque::new(),
            leaves: VecDeque::new(),
            blobs: HashMap::new(),
            last_block: None,
            torn_at: None,
        }
    }

    fn segment(
        &mut self,
        first: u64,
        file: &Arc<dyn FsFile>,
        frontier: &mut Frontier,
        dir: &Path,
    ) -> Result<(), LogError> {
        let name = segment_name(first);
        let failed = |error: io::Error| LogError::io("read", &dir.join("journal").join(&name), &error);
        let damaged = |reason: &str| LogError::corrupt(format!("journal/{name}"), reason);
        let length = file.length().map_err(failed)?;
        // Whole segments that are published may be gone, or come back one by one after a crash.
        if first != self.end && self.end > self.published.size || first > self.end && first > self.published.size {
            return Err(damaged("a segment before it is missing"));
        }
        self.end = first;
        let mut offset = 0;
        while offset < length {
            let Some(frame) = read_frame(file.as_ref(), offset, length).map_err(failed)? else {
                return self.tear(first, file.as_ref(), offset, length, dir);
            };
            if frame.first != self.end {
                return Err(damaged("a frame does not follow the one before"));
            }
            self.end = frame.end();
            if self.end > self.published.size {
                self.keep(&frame, first, file, offset, frontier)
                    .ok_or_else(|| damaged("a frame does not carry its own signed head"))?;
            }
            offset += frame.bytes().len() as u64;
        }
        Ok(())
    }

    /// Whether a segment has unpublished frames.
    fn holds(&self, segment_first: u64) -> bool {
        self.frames.iter().any(|frame| frame.segment_first == segment_first)
    }

    /// Takes in an unpublished frame; `None` when its note is not the signed head of what it holds.
    fn keep(
        &mut self,
        frame: &Frame,
        segment_first: u64,
        file: &Arc<dyn FsFile>,
        offset: u64,
        frontier: &mut Frontier,
    ) -> Option<()> {
        if frame.first != frontier.size() {
            return None;
        }
        for entry in frame.entries() {
            let leaf = leaf_hash(entry);
            frontier.push(leaf);
            self.leaves.push_back(leaf);
        }
        let head = Checkpoint::open(frame.note(), self.key)?;
        if (head.size, head.root) != (frontier.size(), frontier.root()) {
            return None;
        }
        self.last_block = Some(block_of(frame.entries().next_back()?)?);
        for (blob, range) in frame.blobs().zip(frame.blob_ranges()) {
            let (segment, offset) = (Arc::clone(file), offset + range.start as u64);
            self.blobs.insert(sha256(blob), BlobPlace::Journal { segment, offset, length: range.len() });
        }
        let length = frame.bytes().len();
        self.frames.push_back(FrameRef {
            segment: Arc::clone(file),
            segment_first,
            offset,
            length,
            first: frame.first,
            end: frame.end(),
        });
        self.head = head;
        Some(())
    }

    /// Bytes that are no frame: a torn tail in the newest segment, when no published head covers them; else damage.
    fn tear(&mut self, first: u64, file: &dyn FsFile, offset: u64, length: u64, dir: &Path) -> Result<(), LogError> {
        let name = format!("journal/{}", segment_name(first));
        let mut rest = vec![0; usize::try_from(length - offset).unwrap_or(0)];
        file.read_exact_at(&mut rest, offset).map_err(|error| LogError::io("read", &dir.join(&name), &error))?;
        let newest = self.last_segment == Some(first) && self.end >= self.published.size;
        if !newest || !is_torn_frame(&rest, offset, self.end, self.key) {
            return Err(LogError::corrupt(
                name,
                format!("the frame at byte {offset} was changed after it was written, and it was acknowledged"),
            ));
        }
        self.torn_at = Some(offset);
        Ok(())
    }
}

/// The frame at an offset; `None` when no whole frame stands there.
pub(crate) fn read_frame(file: &dyn FsFile, offset: u64, length: u64) -> io::Result<Option<Frame>> {
    let mut header = [0; FRAME_HEADER];
    if offset + FRAME_HEADER as u64 > length {
        return Ok(None);
    }
    file.read_exact_at(&mut header, offset)?;
    let Some(size) = Header::read(&header).map(|header| header.length).filter(|size| offset + *size as u64 <= length)
    else {
        return Ok(None);
    };
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(match Frame::parse(&bytes) {
        Parsed::Frame(frame) => Some(frame),
        Parsed::End | Parsed::Torn => None,
    })
}
