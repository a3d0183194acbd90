//! Verified transactions on their way to the bucket of their patient: one file per range of `person_id`.
//!
//! A frame is: length of the rest (u32), `person_id` (i64), ledger index (u64), length of the entry (u32), the
//! entry's stored bytes, then the payload if there is one. Numbers are big-endian. The files are working space: they
//! are made anew by each run and removed at its end.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::IngestError;
use crate::table::State;

/// Bytes that each bucket's file gathers before it writes.
const BUFFER: usize = 64 * 1024;

/// The spill files of one run.
pub(super) struct Spill {
    dir: PathBuf,
    files: Vec<BufWriter<File>>,
}

impl Spill {
    /// New, empty files in `dir`, which is emptied first.
    pub(super) fn create(dir: &Path, buckets: u32) -> Result<Self, IngestError> {
        remove(dir)?;
        fs::create_dir_all(dir).map_err(IngestError::io("make", dir))?;
        let files = (0..buckets)
            .map(|bucket| {
                let path = dir.join(format!("{bucket:05}"));
                let file = File::create(&path).map_err(IngestError::io("make", &path))?;
                Ok(BufWriter::with_capacity(BUFFER, file))
            })
            .collect::<Result<_, IngestError>>()?;
        Ok(Self { dir: dir.to_owned(), files })
    }

    /// Adds a transaction to its patient's bucket.
    pub(super) fn add(
        &mut self,
        state: &State,
        person: i64,
        index: u64,
        entry: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<(), IngestError> {
        let Some(file) = self.files.get_mut(state.bucket(person) as usize) else {
            return Err(IngestError::Worker);
        };
        let payload = payload.unwrap_or_default();
        // A payload is limited by the log's frame, 64 MiB, so both lengths fit.
        let length = (8 + 8 + 4 + entry.len() + payload.len()) as u32;
        let mut write = |bytes: &[u8]| file.write_all(bytes);
        write(&length.to_be_bytes())
            .and_then(|()| write(&person.to_be_bytes()))
            .and_then(|()| write(&index.to_be_bytes()))
            .and_then(|()| write(&(entry.len() as u32).to_be_bytes()))
            .and_then(|()| write(entry))
            .and_then(|()| write(payload))
            .map_err(IngestError::io("write", &self.dir))
    }

    /// Ends writing.
    pub(super) fn finish(mut self) -> Result<(), IngestError> {
        self.files.iter_mut().try_for_each(|file| file.flush()).map_err(IngestError::io("write", &self.dir))
    }
}

/// Removes the working space, if it is there.
pub(super) fn remove(dir: &Path) -> Result<(), IngestError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(IngestError::io("remove", dir)(e)),
        _ => Ok(()),
    }
}

/// One transaction of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    /// The patient.
    pub(super) person: i64,
    /// Ledger index.
    pub(super) index: u64,
    /// The entry's stored bytes.
    pub(super) entry: &'a [u8],
    /// The payload; empty when there is none.
    pub(super) payload: &'a [u8],
}

/// Reads a bucket as a whole.
pub(super) fn read(dir: &Path, bucket: u32) -> Result<Vec<u8>, IngestError> {
    let path = dir.join(format!("{bucket:05}"));
    fs::read(&path).map_err(IngestError::io("read", &path))
}

/// The frames of a bucket by patient, each patient's in the order of the ledger.
pub(super) fn frames(bytes: &[u8]) -> Result<Vec<Frame<'_>>, IngestError> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let frame = next(&mut rest).ok_or_else(|| IngestError::Damaged {
            file: "spill".to_owned(),
            reason: "a frame is cut short; run again".to_owned(),
        })?;
        frames.push(frame);
    }
    frames.sort_by_key(|frame: &Frame<'_>| (frame.person, frame.index));
    Ok(frames)
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<Frame<'a>> {
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at_checked(count)?;
        *rest = tail;
        Some(head)
    };
    let length = u32::from_be_bytes(take(4)?.try_into().ok()?) as usize;
    let person = i64::from_be_bytes(take(8)?.try_into().ok()?);
    let index = u64::from_be_bytes(take(8)?.try_into().ok()?);
    let entry_length = u32::from_be_bytes(take(4)?.try_into().ok()?) as usize;
    let entry = take(entry_length)?;
    let payload = take(length.checked_sub(20 + entry_length)?)?;
    Some(Frame { person, index, entry, payload })
}

#[cfg(test)]
mod tests {
    use epiledger_privacy::day::Day;

    use super::*;

    #[test]
    fn frames_come_back_by_patient_and_index() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("spill");
        let state = State { ledger_size: 1, cut_at: Day(0), catalog_hash: String::new(), buckets: 4 };
        let mut spill = Spill::create(&dir, 4).unwrap();
        spill.add(&state, 9, 3, b"c", Some(b"payload")).unwrap();
        spill.add(&state, 5, 2, b"b", None).unwrap();
        spill.add(&state, 9, 1, b"a", None).unwrap();
        spill.finish().unwrap();
        let bytes = read(&dir, 0).unwrap();
        let frames = frames(&bytes).unwrap();
        let seen: Vec<_> = frames.iter().map(|f| (f.person, f.index, f.entry, f.payload)).collect();
        let empty: &[u8] = b"";
        assert_eq!(seen, [(5, 2, b"b".as_slice(), empty), (9, 1, b"a", empty), (9, 3, b"c", b"payload")]);
        assert!(super::frames(&bytes[..bytes.len() - 1]).is_err());
        assert!(read(&dir, 3).unwrap().is_empty());
        remove(&dir).unwrap();
        remove(&dir).unwrap();
    }
}
