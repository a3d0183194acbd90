//! Verified transactions on their way to the bucket of their patient: one file per range of `person_id`.
//!
//! A bucket of the tables is read in slices, ranges of `person_id` in order, so a worker holds one slice at a time.
//! At most [`FAN_OUT`] files are written at a time, so neither memory nor open files grow with the ledger: with more
//! slices than that, the first files hold several slices each and are split, again and again, until each holds one.
//!
//! A frame is: length of the rest (u32), `person_id` (i64), ledger index (u64), length of the entry (u32), the
//! entry's stored bytes, then the payload if there is one. Numbers are big-endian. The files are working space: they
//! are made anew by each run and removed at its end.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::IngestError;
use crate::table::{State, range_of};

/// Files that are written at a time at most.
const FAN_OUT: u32 = 64;

/// Slices of a bucket.
const SLICES: u32 = 8;

/// Bytes that each of them gathers before it writes.
const BUFFER: usize = 64 * 1024;

/// Bytes of a frame between its own length and its entry: person, index, length of the entry.
const HEADER: usize = 8 + 8 + 4;

/// The spill files of one run, or those that one of them is split into.
pub(super) struct Spill {
    dir: PathBuf,
    slices: u32,
    /// The first slice, the one after the last, and how many slices each file but the last holds.
    first: u32,
    end: u32,
    span: u32,
    files: Vec<BufWriter<File>>,
}

impl Spill {
    /// New, empty files in `dir`, which is emptied first.
    pub(super) fn create(dir: &Path, state: &State) -> Result<Self, IngestError> {
        remove(dir)?;
        fs::create_dir_all(dir).map_err(IngestError::io("make", dir))?;
        let slices = state.buckets * SLICES;
        Self::of(dir, slices, 0, slices)
    }

    /// Files over `count` slices of all.
    fn of(dir: &Path, slices: u32, first: u32, count: u32) -> Result<Self, IngestError> {
        let (span, end) = (count.div_ceil(FAN_OUT).max(1), first + count);
        let files = (first..end)
            .step_by(span as usize)
            .map(|slice| {
                let path = path(dir, slice, span.min(end - slice));
                let file = File::create(&path).map_err(IngestError::io("make", &path))?;
                Ok(BufWriter::with_capacity(BUFFER, file))
            })
            .collect::<Result<_, IngestError>>()?;
        Ok(Self { dir: dir.to_owned(), slices, first, end, span, files })
    }

    /// Adds a transaction to its patient's slice.
    pub(super) fn add(
        &mut self,
        person: i64,
        index: u64,
        entry: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<(), IngestError> {
        let payload = payload.unwrap_or_default();
        let mut head = [0; 4 + HEADER];
        // A payload is limited by the log's frame, 64 MiB, so both lengths fit.
        head[..4].copy_from_slice(&((HEADER + entry.len() + payload.len()) as u32).to_be_bytes());
        head[4..12].copy_from_slice(&person.to_be_bytes());
        head[12..20].copy_from_slice(&index.to_be_bytes());
        head[20..].copy_from_slice(&(entry.len() as u32).to_be_bytes());
        self.write(person, &[&head, entry, payload])
    }

    fn write(&mut self, person: i64, parts: &[&[u8]]) -> Result<(), IngestError> {
        let slice = range_of(person, self.slices);
        let at = slice.checked_sub(self.first).map(|slice| (slice / self.span) as usize);
        let file = at.and_then(|at| self.files.get_mut(at)).ok_or(IngestError::Worker)?;
        parts.iter().try_for_each(|part| file.write_all(part)).map_err(IngestError::io("write", &self.dir))
    }

    /// Ends writing: afterwards each slice has its file.
    pub(super) fn finish(mut self) -> Result<(), IngestError> {
        self.files.iter_mut().try_for_each(|file| file.flush()).map_err(IngestError::io("write", &self.dir))?;
        let Self { dir, slices, first, end, span, files } = self;
        // Their buffers go before the next ones come.
        drop(files);
        let spans = (first..end).step_by(span as usize).map(|slice| (slice, span.min(end - slice)));
        spans.filter(|(_, span)| *span > 1).try_for_each(|(slice, span)| split(&dir, slices, slice, span))
    }
}

/// The name of a file over some slices; that of one slice is its number.
fn path(dir: &Path, first: u32, span: u32) -> PathBuf {
    dir.join(if span == 1 { format!("{first:06}") } else { format!("{first:06}+{span}") })
}

/// Splits a file of several slices, and removes it.
fn split(dir: &Path, slices: u32, first: u32, span: u32) -> Result<(), IngestError> {
    let whole = path(dir, first, span);
    let file = File::open(&whole).map_err(IngestError::io("read", &whole))?;
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut parts = Spill::of(dir, slices, first, span)?;
    let mut frame = Vec::new();
    while read_frame(&mut file, &mut frame).map_err(IngestError::io("read", &whole))? {
        let person = frame.get(4..12).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        parts.write(person.ok_or_else(cut_short)?, &[&frame])?;
    }
    fs::remove_file(&whole).map_err(IngestError::io("remove", &whole))?;
    parts.finish()
}

/// The next frame with its length; false at the end.
fn read_frame(file: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    frame.resize(4, 0);
    match file.read_exact(frame) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    let length = frame.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    frame.resize(4 + length as usize, 0);
    file.read_exact(&mut frame[4..])?;
    Ok(true)
}

fn cut_short() -> IngestError {
    IngestError::Damaged { file: "spill".to_owned(), reason: "a frame is cut short; run again".to_owned() }
}

/// Removes the working space, if it is there.
pub(super) fn remove(dir: &Path) -> Result<(), IngestError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(IngestError::io("remove", dir)(e)),
        _ => Ok(()),
    }
}

/// One transaction of a slice.
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

/// The slices of a bucket, in the order of their patients.
pub(super) fn slices(bucket: u32) -> Range<u32> {
    bucket * SLICES..(bucket + 1) * SLICES
}

/// Reads a slice as a whole into a buffer that one slice after the other uses, so that nothing is left in pieces.
pub(super) fn read(dir: &Path, slice: u32, bytes: &mut Vec<u8>) -> Result<(), IngestError> {
    let path = path(dir, slice, 1);
    let failed = IngestError::io("read", &path);
    bytes.clear();
    let read = File::open(&path).and_then(|mut file| {
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        bytes.reserve_exact(length);
        file.read_to_end(bytes)
    });
    read.map(drop).map_err(failed)
}

/// The frames of a slice by patient, each patient's in the order of the ledger.
pub(super) fn frames(bytes: &[u8]) -> Result<Vec<Frame<'_>>, IngestError> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        frames.push(next(&mut rest).ok_or_else(cut_short)?);
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
    let payload = take(length.checked_sub(HEADER + entry_length)?)?;
    Some(Frame { person, index, entry, payload })
}

#[cfg(test)]
mod tests {
    use epiledger_privacy::day::Day;

    use super::*;

    fn state(buckets: u32) -> State {
        State { ledger_size: 1, cut_at: Day(0), catalog_hash: String::new(), buckets }
    }

    #[test]
    fn frames_come_back_by_patient_and_index() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("spill");
        let mut spill = Spill::create(&dir, &state(4)).unwrap();
        spill.add(9, 3, b"c", Some(b"payload")).unwrap();
        spill.add(5, 2, b"b", None).unwrap();
        spill.add(9, 1, b"a", None).unwrap();
        spill.finish().unwrap();
        let mut bytes = Vec::new();
        read(&dir, 0, &mut bytes).unwrap();
        let frames = frames(&bytes).unwrap();
        let seen: Vec<_> = frames.iter().map(|f| (f.person, f.index, f.entry, f.payload)).collect();
        let empty: &[u8] = b"";
        assert_eq!(seen, [(5, 2, b"b".as_slice(), empty), (9, 1, b"a", empty), (9, 3, b"c", b"payload")]);
        assert!(super::frames(&bytes[..bytes.len() - 1]).is_err());
        read(&dir, 3, &mut bytes).unwrap();
        assert!(bytes.is_empty());
        remove(&dir).unwrap();
        remove(&dir).unwrap();
    }

    /// Two rounds of splitting, and at no time more files open than the fan-out and those that are split.
    #[test]
    fn more_slices_than_files_are_reached_by_splitting_in_the_order_of_patients() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("spill");
        let state = state(FAN_OUT * FAN_OUT / SLICES * 2 + 3);
        let mut spill = Spill::create(&dir, &state).unwrap();
        assert_eq!(spill.files.len(), FAN_OUT as usize);
        let people: Vec<i64> = (0..3_000_i64).map(|n| n.wrapping_mul(0x5851_f42d_4c95_7f2d) & i64::MAX).collect();
        for (index, person) in (0..).zip(&people) {
            spill.add(*person, index, &vec![7; index as usize % 300], Some(&index.to_be_bytes())).unwrap();
        }
        spill.finish().unwrap();
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            (state.buckets * SLICES) as usize,
            "one file a slice, no other"
        );
        let (mut seen, mut last, mut bytes) = (0, -1, Vec::new());
        for (bucket, slice) in (0..state.buckets).flat_map(|bucket| slices(bucket).map(move |slice| (bucket, slice))) {
            read(&dir, slice, &mut bytes).unwrap();
            for frame in frames(&bytes).unwrap() {
                assert_eq!(
                    (range_of(frame.person, state.buckets), people[frame.index as usize]),
                    (bucket, frame.person)
                );
                assert_eq!(frame.entry.len(), frame.index as usize % 300);
                assert_eq!(frame.payload, frame.index.to_be_bytes());
                assert!(frame.person > last, "patients come in order, over slices too");
                last = frame.person;
                seen += 1;
            }
        }
        assert_eq!(seen, people.len());
    }
}
