//! What writes a log: a caller that waits alone, or else the writer's thread; and the projection's thread behind them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    batch::Batch,
    checkpoint::Checkpoint,
    entry::Block,
    error::LogError,
    fs::FsFile,
    hex,
    journal::{Frame, segment_name},
    log::Shared,
    projection::Projection,
    state::{BlobPlace, FrameRef, State},
    tree::{Frontier, Hash, leaf_hash},
};

/// Most bytes of frames that one publication takes in.
const ROUND_BYTES: usize = 32 * 1024 * 1024;

/// Most entries that one publication takes in.
const ROUND_ENTRIES: u64 = 32 * 1024;

/// Where the next frame goes.
pub(crate) struct Tail {
    pub frontier: Frontier,
    /// Leaf hash of the last block, and the next block's height.
    pub last_block: Hash,
    pub next_height: u64,
    pub segment: Arc<dyn FsFile>,
    pub segment_first: u64,
    pub offset: u64,
}

fn died() -> LogError {
    LogError::Poisoned("a writing thread died".to_owned())
}

/// The next piece of writing, which its holder does; nobody else writes meanwhile.
#[must_use = "nothing is written until it runs"]
pub(crate) struct Writing<'a> {
    shared: &'a Shared,
    tail: Tail,
    work: Work,
}

/// What is written next.
enum Work {
    /// Commits a batch.
    Batch(Batch),
    /// Begins a new segment, so that the ones before can be dropped.
    Segment,
}

/// Takes up the next segment when one is asked for, else the oldest waiting batch; `None` when another thread writes or
/// there is nothing to write.
pub(crate) fn take_up<'a>(shared: &'a Shared, state: &mut State) -> Option<Writing<'a>> {
    if state.poison.is_some() || !state.has_work() {
        return None;
    }
    let tail = state.tail.take()?;
    if state.sealed.is_empty() && !state.roll {
        state.seal();
    }
    let batch = if state.roll { None } else { state.sealed.pop_front() };
    let bytes = batch.as_ref().map_or(0, Batch::bytes);
    state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
    Some(Writing { shared, tail, work: batch.map_or(Work::Segment, Work::Batch) })
}

impl Writing<'_> {
    /// Writes; an error stops the log, and so does a panic: whoever waits must hear of it, not die of it.
    pub(crate) fn run(self) {
        let Self { shared, mut tail, work } = self;
        let done = catch_unwind(AssertUnwindSafe(|| match work {
            Work::Batch(batch) => commit(shared, &mut tail, batch),
            Work::Segment => roll(shared, &mut tail),
        }));
        if let Err(error) = done.unwrap_or_else(|_| Err(died())) {
            shared.poison(&error);
        }
        if let Ok(mut state) = shared.state.lock() {
            state.tail = Some(tail);
            state.handed_over = state.has_work();
            if state.handed_over || state.closing || state.poison.is_some() {
                shared.work.notify_one();
            }
        }
        shared.progress.notify_all();
    }
}

/// Writes what callers leave until the log closes or a write fails.
pub(crate) fn run_writer(shared: &Shared) {
    while let Some(writing) = next_writing(shared) {
        writing.run();
    }
    if let Ok(mut state) = shared.state.lock() {
        state.writer_done = true;
    }
    shared.progress.notify_all();
    shared.gathered.notify_all();
}

/// What to write; `None` when the log closes or has stopped, and nobody writes.
fn next_writing(shared: &Shared) -> Option<Writing<'_>> {
    let mut state = shared.state.lock().ok()?;
    loop {
        if let Some(writing) = take_up(shared, &mut state) {
            return Some(writing);
        }
        // Nothing waits, or a caller writes it.
        let over = state.poison.is_some() || (state.closing && !state.has_work());
        if over && state.tail.is_some() {
            return None;
        }
        state = shared.work.wait(state).ok()?;
    }
}

fn commit(shared: &Shared, tail: &mut Tail, batch: Batch) -> Result<(), LogError> {
    // Entries of the batch name times that were given out before: the block is not earlier than any of them.
    let time = shared.state()?.tick(shared.setup.clock.now_seconds());
    let block = Block {
        height: tail.next_height,
        prev: hex::encode(&tail.last_block),
        first: batch.first,
        count: batch.entries.len() as u64,
        time,
    };
    let block_leaf = block.to_canonical()?.into_bytes();
    let mut entries: Vec<&[u8]> = batch.entries.iter().map(|new| new.entry.as_slice()).collect();
    entries.push(&block_leaf);
    let blobs: Vec<&[u8]> =
        batch.entries.iter().flat_map(|new| new.blobs.iter().map(|(_, blob)| blob.as_slice())).collect();
    let builder = Frame::begin(batch.first, &entries, &blobs);
    // What is signed is hashed from the frame itself: a bit that flipped since submission must not get a signature.
    let leaves: Vec<Hash> = builder.entries().map(leaf_hash).collect();
    if !batch.entries.iter().map(|new| new.leaf).eq(leaves.iter().copied().take(batch.entries.len())) {
        return Err(LogError::corrupt("memory", "an entry changed between submission and writing"));
    }
    leaves.iter().for_each(|leaf| tail.frontier.push(*leaf));
    let head = Checkpoint::sign(&shared.key, tail.frontier.size(), tail.frontier.root());
    if tail.offset >= shared.setup.segment_bytes {
        next_segment(shared, tail, batch.first)?;
    }
    let frame = builder.finish(&head.note, tail.offset)?;
    let path = shared.dir.join("journal").join(segment_name(tail.segment_first));
    tail.segment
        .write_all_at(frame.bytes(), tail.offset)
        .and_then(|()| tail.segment.sync_data())
        .map_err(|error| LogError::io("write the journal", &path, &error))?;

    // The frame is durable from here on.
    tail.last_block = leaves.last().copied().unwrap_or_default();
    tail.next_height = block.height + 1;
    let mut state = shared.state()?;
    let hashes = batch.entries.iter().flat_map(|new| new.blobs.iter().map(|(hash, _)| *hash));
    for (hash, range) in hashes.zip(frame.blob_ranges()) {
        let (segment, offset) = (Arc::clone(&tail.segment), tail.offset + range.start as u64);
        state.waiting_blobs.insert(hash, BlobPlace::Journal { segment, offset, length: range.len() });
    }
    state.frames.push_back(FrameRef {
        segment: Arc::clone(&tail.segment),
        segment_first: tail.segment_first,
        offset: tail.offset,
        length: frame.bytes().len(),
        first: frame.first,
        end: frame.end(),
    });
    state.leaves.extend(leaves);
    state.durable = head;
    let first_to_publish = state.frames.len() == 1;
    drop(state);
    if first_to_publish {
        shared.gathered.notify_one();
    }
    tail.offset += frame.bytes().len() as u64;
    Ok(())
}

/// Begins a new segment, unless the newest is empty.
fn roll(shared: &Shared, tail: &mut Tail) -> Result<(), LogError> {
    if tail.offset > 0 {
        let first = tail.frontier.size();
        next_segment(shared, tail, first)?;
    }
    shared.state()?.roll = false;
    Ok(())
}

fn next_segment(shared: &Shared, tail: &mut Tail, first: u64) -> Result<(), LogError> {
    let dir = shared.dir.join("journal");
    let path = dir.join(segment_name(first));
    let failed = |error: std::io::Error| LogError::io("create the journal segment", &path, &error);
    let handle = shared.fs.open_dir(&dir).map_err(failed)?;
    tail.segment = shared.fs.create(&path).map_err(failed)?;
    handle.sync_dir().map_err(failed)?;
    (tail.segment_first, tail.offset) = (first, 0);
    shared.state()?.segments.push_back(first);
    Ok(())
}

/// Publishes durable frames until the log closes and all are published, or a write fails.
pub(crate) fn run_projection(shared: &Shared, mut projection: Projection) {
    let rounds = catch_unwind(AssertUnwindSafe(|| {
        let mut last = None;
        while let Some(frames) = next_round(shared, last)? {
            publish(shared, &mut projection, &frames)?;
            last = Some(Instant::now());
        }
        Ok(())
    }));
    if let Err(error) = rounds.unwrap_or_else(|_| Err(died())) {
        shared.poison(&error);
    }
}

/// Frames to publish together, after `last`; `None` when there will be no more.
fn next_round(shared: &Shared, last: Option<Instant>) -> Result<Option<Vec<FrameRef>>, LogError> {
    let mut state = shared.state()?;
    loop {
        if state.poison.is_some() || (state.writer_done && state.frames.is_empty()) {
            return Ok(None);
        }
        let pause = last.map_or(Duration::ZERO, |last| shared.setup.publish_pause.saturating_sub(last.elapsed()));
        let hurry = state.closing || state.wanted > state.published.size;
        if !pause.is_zero() && !hurry && !state.frames.is_empty() {
            state = shared.gathered.wait_timeout(state, pause).map_err(|_| LogError::Closed)?.0;
            continue;
        }
        let mut bytes = 0;
        let start = state.frames.front().map_or(0, |frame| frame.first);
        let room = |frame: &&FrameRef| {
            bytes += frame.length;
            frame.first == start || (bytes <= ROUND_BYTES && frame.end - start <= ROUND_ENTRIES)
        };
        let frames: Vec<_> = state.frames.iter().take_while(room).cloned().collect();
        if !frames.is_empty() {
            return Ok(Some(frames));
        }
        state = shared.gathered.wait(state).map_err(|_| LogError::Closed)?;
    }
}

fn publish(shared: &Shared, projection: &mut Projection, frames: &[FrameRef]) -> Result<(), LogError> {
    let mut head = None;
    let mut stored = Vec::new();
    for place in frames {
        let frame = place.read(&shared.dir)?;
        let unsigned = || LogError::corrupt(segment_name(place.segment_first), "a frame's checkpoint does not verify");
        let checkpoint = Checkpoint::open(frame.note(), &shared.key.verifier_key()).ok_or_else(unsigned)?;
        stored.extend(projection.apply(&frame, &checkpoint, &shared.blobs)?);
        head = Some(checkpoint);
    }
    let Some(head) = head else { return Ok(()) };
    projection.publish(&head)?;

    let mut state = shared.state()?;
    let leaves = usize::try_from(head.size - state.published.size).unwrap_or(usize::MAX).min(state.leaves.len());
    state.leaves.drain(..leaves);
    let done = state.frames.partition_point(|frame| frame.end <= head.size);
    state.frames.drain(..done);
    for hash in stored {
        state.waiting_blobs.remove(&hash);
    }
    state.published = head;
    drop(state);
    shared.progress.notify_all();
    drop_covered(shared)
}

/// Drops the segments that the published checkpoint covers.
pub(crate) fn drop_covered(shared: &Shared) -> Result<(), LogError> {
    let _alone = shared.locks.dropping.lock().unwrap_or_else(PoisonError::into_inner);
    let mut covered = Vec::new();
    let mut state = shared.state()?;
    while state.segments.get(1).is_some_and(|next| *next <= state.published.size) {
        covered.extend(state.segments.pop_front());
    }
    drop(state);
    remove_segments(shared, &covered)
}

/// Removes segments that a published checkpoint covers. A crash may bring one back; opening removes it again.
pub(crate) fn remove_segments(shared: &Shared, covered: &[u64]) -> Result<(), LogError> {
    for first in covered {
        let path = shared.dir.join("journal").join(segment_name(*first));
        shared.fs.remove(&path).map_err(|error| LogError::io("remove the journal segment", &path, &error))?;
    }
    Ok(())
}
