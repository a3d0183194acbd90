//! The newest pack after a stop: whole, durable, and nothing of it lost that was published.
//!
//! Published blobs stand in front and were synced before their head was. Behind them may stand what the projection was
//! copying from frames that are not published: torn, or in memory alone. The journal has those blobs still, so a torn
//! rest is cut off and the projection stores them again; but a rest that is no torn copy of them was changed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    path::Path,
    sync::Arc,
};

use super::{BlobStore, Closed, RECORD_HEADER, length, pack_name, parse_header, push_record};
use crate::{
    error::LogError,
    fs::FsFile,
    state::{BlobPlace, FrameRef},
    torn::is_torn,
    tree::{Hash, sha256},
};

/// Bytes written again at once.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// Records from the start of a pack up to the first that is not whole.
struct Whole {
    records: HashMap<Hash, u64>,
    length: u64,
}

impl BlobStore {
    /// Cuts off what is no whole record at the end of the newest pack, and makes the rest durable: enough where all can
    /// be fetched again.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn cut_unfinished(&self) -> Result<(), LogError> {
        let mut packs = self.packs.write().map_err(|_| LogError::Closed)?;
        let Some(open) = &mut packs.open else { return Ok(()) };
        let path = self.dir.join(pack_name(open.number));
        let failed = |error: io::Error| LogError::io("cut", &path, &error);
        open.pack = self.fs.open_write(&path).map_err(failed)?;
        open.pack.set_length(open.length).and_then(|()| open.pack.sync_data()).map_err(failed)?;
        self.fs.open_dir(&self.dir).and_then(|handle| handle.sync_dir()).map_err(failed)
    }

    /// Makes the newest pack fit for appending. `frames` are the unpublished ones and `waiting` their blobs.
    ///
    /// # Errors
    /// The pack ends in bytes that no stop left there, or the system refuses.
    pub(crate) fn repair(
        &self,
        frames: &VecDeque<FrameRef>,
        waiting: &HashMap<Hash, BlobPlace>,
        dir: &Path,
    ) -> Result<(), LogError> {
        let mut packs = self.packs.write().map_err(|_| LogError::Closed)?;
        let packs = &mut *packs;
        let Some(open) = &mut packs.open else { return Ok(()) };
        let (number, store) = (open.number, &self.dir);
        let failed = |action| move |error: io::Error| LogError::io(action, &store.join(pack_name(number)), &error);
        let file = self.fs.open_write(&self.dir.join(pack_name(open.number))).map_err(failed("open"))?;
        let total = length(&file, &self.dir)?;
        let changed = || LogError::corrupt(format!("blobs/{}", pack_name(number)), "it ends in bytes that are no blob");
        if frames.is_empty() {
            if total > open.length {
                return Err(changed());
            }
        } else {
            let whole = whole(file.as_ref(), total).map_err(failed("read"))?;
            if whole.length < total {
                let mut rest = vec![0; usize::try_from(total - whole.length).unwrap_or(0)];
                file.read_exact_at(&mut rest, whole.length).map_err(failed("read"))?;
                let expected = expected(frames, dir, &packs.closed, &whole.records, rest.len())?;
                if !is_torn(&rest, &expected, whole.length) {
                    return Err(changed());
                }
                file.set_length(whole.length).map_err(failed("cut"))?;
            }
            let first = waiting.keys().filter_map(|hash| whole.records.get(hash)).min();
            write_again(file.as_ref(), first.copied().unwrap_or(whole.length), whole.length)
                .map_err(failed("write"))?;
            (open.records, open.length) = (whole.records, whole.length);
        }
        open.pack = Arc::clone(&file);
        Ok(())
    }
}

fn whole(pack: &dyn FsFile, total: u64) -> io::Result<Whole> {
    let mut whole = Whole { records: HashMap::new(), length: 0 };
    let mut header = [0; RECORD_HEADER as usize];
    while whole.length + RECORD_HEADER <= total {
        pack.read_exact_at(&mut header, whole.length)?;
        let Some((hash, size)) = parse_header(&header) else { break };
        let end = whole.length + RECORD_HEADER + size;
        if end > total {
            break;
        }
        let mut blob = vec![0; usize::try_from(size).unwrap_or(0)];
        pack.read_exact_at(&mut blob, whole.length + RECORD_HEADER)?;
        if sha256(&blob) != hash {
            break;
        }
        whole.records.insert(hash, whole.length);
        whole.length = end;
    }
    Ok(whole)
}

/// At least `enough` bytes of the records that the projection of these frames was storing next, or all of them.
fn expected(
    frames: &VecDeque<FrameRef>,
    dir: &Path,
    closed: &[Closed],
    stored: &HashMap<Hash, u64>,
    enough: usize,
) -> Result<Vec<u8>, LogError> {
    let mut bytes = Vec::new();
    let mut seen = HashSet::new();
    for frame in frames {
        for blob in frame.read(dir)?.blobs() {
            let hash = sha256(blob);
            if bytes.len() >= enough {
                return Ok(bytes);
            }
            let mut elsewhere = stored.contains_key(&hash);
            for pack in closed {
                elsewhere = elsewhere || pack.find(&hash, dir)?.is_some();
            }
            if seen.insert(hash) && !elsewhere {
                push_record(&mut bytes, &hash, blob);
            }
        }
    }
    Ok(bytes)
}

/// Writes what stands in a range there again, and syncs: it may have been read from memory alone.
fn write_again(pack: &dyn FsFile, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let mut bytes = vec![0; usize::try_from(CHUNK_BYTES.min(end - at)).unwrap_or(0)];
        pack.read_exact_at(&mut bytes, at)?;
        pack.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
    }
    pack.sync_data()
}
