//! The journal: one frame per batch, in segments named by their first index. A frame is durable or it is not there.
//!
//! ```text
//! frame   = header payload                                numbers are big-endian
//! header  = "ELJ2" length:u32 crc32c:u32 zeros:u32 check:u32
//!           length and crc of the payload; crc of the 16 bytes before
//! zeros   = sectors of the file in which the frame has zeros alone: more of them show that some were never written
//! payload = first:u64 entries:u32 blobs:u32 note:u32      index of the first entry, counts, length of the note
//!           (length:u16 entry)*  (length:u32 blob)*  note
//! ```
//! The last entry is the block leaf. The note is the checkpoint that the frame's fdatasync commits.

use std::ops::Range;

use crate::{entry::MAX_ENTRY, error::LogError, torn::zero_sectors};

/// Largest frame payload in bytes.
pub(crate) const MAX_FRAME: usize = 64 * 1024 * 1024;

/// Length of a header.
pub(crate) const FRAME_HEADER: usize = 20;

/// What every frame begins with.
pub(crate) const MAGIC: &[u8; 4] = b"ELJ2";

/// File name of the segment whose first frame begins at an index.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The index in a segment's file name; `None` for other files.
pub(crate) fn segment_first(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".seg")?.parse().ok()?;
    (segment_name(first) == name).then_some(first)
}

/// What a whole header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Length of the frame, header included.
    pub length: usize,
    /// Checksum of the payload.
    crc: u32,
    /// Sectors that the frame leaves zero.
    pub zeros: usize,
}

impl Header {
    /// Reads the header that these bytes begin with; `None` when none stands there, or a changed one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (header, check) = bytes.get(..FRAME_HEADER)?.split_last_chunk::<4>()?;
        let (magic, numbers) = header.split_first_chunk::<4>()?;
        let (numbers, _) = numbers.as_chunks::<4>();
        let [length, crc, zeros] = numbers else { return None };
        let [length, zeros] = [length, zeros].map(|number| usize::try_from(u32::from_be_bytes(*number)).ok());
        let (length, zeros) = (length.filter(|length| *length <= MAX_FRAME)?, zeros?);
        let right = magic == MAGIC && u32::from_be_bytes(*check) == crc32c::crc32c(header);
        right.then_some(Self { length: length + FRAME_HEADER, crc: u32::from_be_bytes(*crc), zeros })
    }
}

/// A frame's bytes, and where its parts lie in them.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    /// Index of the first entry.
    pub first: u64,
    entries: Vec<Range<usize>>,
    blobs: Vec<Range<usize>>,
    note: Range<usize>,
}

/// What stands at an offset of a segment.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A whole frame.
    Frame(Frame),
    /// No bytes are left.
    End,
    /// Bytes that are no whole frame.
    Torn,
}

impl Frame {
    /// Puts a frame together without its note, which is signed over hashes taken from these very bytes.
    pub(crate) fn begin(first: u64, entries: &[&[u8]], blobs: &[&[u8]]) -> FrameBuilder {
        let mut bytes = vec![0; FRAME_HEADER];
        bytes.extend_from_slice(&first.to_be_bytes());
        for count in [entries.len(), blobs.len(), 0] {
            bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        }
        let mut builder = FrameBuilder { bytes, first, entries: Vec::new(), blobs: Vec::new() };
        for entry in entries {
            let length = u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes();
            let place = builder.push(&length, entry);
            builder.entries.push(place);
        }
        for blob in blobs {
            let length = u32::try_from(blob.len()).unwrap_or(u32::MAX).to_be_bytes();
            let place = builder.push(&length, blob);
            builder.blobs.push(place);
        }
        builder
    }

    /// Reads the frame at the start of a segment's remaining bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Parsed {
        if bytes.is_empty() {
            return Parsed::End;
        }
        Self::parse_whole(bytes).map_or(Parsed::Torn, Parsed::Frame)
    }

    fn parse_whole(bytes: &[u8]) -> Option<Self> {
        let Header { length, crc, .. } = Header::read(bytes)?;
        let frame = bytes.get(..length)?;
        if crc32c::crc32c(frame.get(FRAME_HEADER..)?) != crc {
            return None;
        }
        let mut at = FRAME_HEADER;
        let mut take = |count: usize| {
            let end = at.checked_add(count).filter(|end| *end <= length)?;
            Some(std::mem::replace(&mut at, end)..end)
        };
        let number =
            |range: Range<usize>| Some(frame.get(range)?.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte)));
        let size = |number: u64| usize::try_from(number).ok();
        let first = number(take(8)?)?;
        let (entries, blobs, note) = (number(take(4)?)?, number(take(4)?)?, size(number(take(4)?)?)?);
        let mut parts = |count: u64, width: usize| {
            let mut ranges = Vec::new();
            for _ in 0..count {
                let length = size(number(take(width)?)?)?;
                ranges.push(take(length)?);
            }
            Some(ranges)
        };
        let entries = parts(entries, 2)?;
        let blobs = parts(blobs, 4)?;
        let note = take(note)?;
        std::str::from_utf8(frame.get(note.clone())?).ok()?;
        let short = |entry: &Range<usize>| entry.len() <= MAX_ENTRY;
        (at == length && !entries.is_empty() && entries.iter().all(short)).then(|| Self {
            bytes: frame.to_vec(),
            first,
            entries,
            blobs,
            note,
        })
    }

    /// Every whole frame that begins anywhere in these bytes.
    pub(crate) fn all_in(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| window == MAGIC).map(|(at, _)| at);
        starts.filter_map(|at| bytes.get(at..).and_then(Self::parse_whole))
    }

    /// The frame as stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its entries in order, the block leaf last.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        self.entries.iter().map(|range| self.slice(range))
    }

    /// Its blobs, in the order of the entries that name them.
    pub(crate) fn blobs(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.blobs.iter().map(|range| self.slice(range))
    }

    /// The blobs' places within the frame.
    pub(crate) fn blob_ranges(&self) -> &[Range<usize>] {
        &self.blobs
    }

    /// The checkpoint's note.
    pub(crate) fn note(&self) -> &str {
        std::str::from_utf8(self.slice(&self.note)).unwrap_or_default()
    }

    /// Index after the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// A frame that still lacks its note.
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
    first: u64,
    entries: Vec<Range<usize>>,
    blobs: Vec<Range<usize>>,
}

impl FrameBuilder {
    /// The entries as they stand in the frame's bytes.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }

    /// Adds the note and closes the frame, which will stand at `offset` of its segment.
    ///
    /// # Errors
    /// The frame is too long; callers cut batches so that it never is.
    pub(crate) fn finish(mut self, note: &str, offset: u64) -> Result<Frame, LogError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(note.as_bytes());
        let length = self.bytes.len() - FRAME_HEADER;
        if length > MAX_FRAME {
            return Err(LogError::BlobTooLong(length));
        }
        let note_length = u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.patch(FRAME_HEADER + 16, &note_length);
        let crc = crc32c::crc32c(self.bytes.get(FRAME_HEADER..).unwrap_or_default()).to_be_bytes();
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.patch(0, &[MAGIC.as_slice(), &length, &crc].concat());
        let zeros = u32::try_from(zero_sectors(&self.bytes, offset)).unwrap_or(u32::MAX).to_be_bytes();
        self.patch(FRAME_HEADER - 8, &zeros);
        let check = crc32c::crc32c(self.bytes.get(..FRAME_HEADER - 4).unwrap_or_default()).to_be_bytes();
        self.patch(FRAME_HEADER - 4, &check);
        let note = start..self.bytes.len();
        Ok(Frame { bytes: self.bytes, first: self.first, entries: self.entries, blobs: self.blobs, note })
    }

    fn push(&mut self, length: &[u8], bytes: &[u8]) -> Range<usize> {
        self.bytes.extend_from_slice(length);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame::begin(7, &[b"{\"a\":1}", b"{}"], &[b"blob", b""]).finish("note\n", 0).unwrap()
    }

    #[test]
    fn a_frame_reads_back() {
        let Parsed::Frame(read) = Frame::parse(&[frame().bytes(), b"next"].concat()) else { panic!("torn") };
        assert_eq!((read.first, read.end(), read.note()), (7, 9, "note\n"));
        assert_eq!(read.entries().collect::<Vec<_>>(), [b"{\"a\":1}".as_slice(), b"{}"]);
        assert_eq!(read.blobs().collect::<Vec<_>>(), [b"blob".as_slice(), b""]);
        assert_eq!(read.bytes(), frame().bytes());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_tears_it() {
        let whole = frame().bytes().to_vec();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                assert!(matches!(Frame::parse(&bytes), Parsed::Torn), "byte {at} bit {bit}");
            }
            let cut = Frame::parse(&whole[..at]);
            assert!(matches!(cut, Parsed::Torn) || (at == 0 && matches!(cut, Parsed::End)), "{at}");
        }
        assert_eq!(
            Frame::all_in(&[b"torn".as_slice(), &whole].concat()).map(|frame| frame.first).collect::<Vec<_>>(),
            [7]
        );
        assert_eq!(Frame::all_in(&whole[1..]).count(), 0);
    }

    #[test]
    fn segments_are_named_by_their_first_index() {
        assert_eq!(segment_name(7), "00000000000000000007.seg");
        assert_eq!(segment_first("00000000000000000007.seg"), Some(7));
        for name in ["7.seg", "00000000000000000007.tmp", "+0000000000000000007.seg"] {
            assert_eq!(segment_first(name), None, "{name}");
        }
    }
}
