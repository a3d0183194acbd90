//! What a stop can leave of an append that no sync had made durable, told apart from bytes that were changed.
//!
//! Disks write sectors whole or not at all, and a file that grows shows zeros where a sector was not written: recovery
//! makes every cut durable before anything is appended again, so no older bytes can show through. What is left of an
//! append is then a prefix of it, any of its sectors zero. Bytes that are not of this form were changed, or rotted,
//! and may have been acknowledged: they stop the writer, and the auditor names them.

use crate::{
    checkpoint::Checkpoint,
    journal::{FRAME_HEADER, Frame, Header, MAGIC},
    note::VerifierKey,
};

/// Bytes that every disk writes as one.
const SECTOR: usize = 512;

/// The parts of `bytes`, which stand at `offset` of their file, that lie in one sector each.
fn sectors(bytes: &[u8], offset: u64) -> impl Iterator<Item = (usize, &[u8])> {
    let into = usize::try_from(offset % SECTOR as u64).unwrap_or(0);
    let (first, rest) = bytes.split_at((SECTOR - into).min(bytes.len()));
    let starts = (0..rest.len()).step_by(SECTOR).map(move |at| first.len() + at);
    std::iter::once((0, first)).chain(starts.zip(rest.chunks(SECTOR)))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Whether `found`, at `offset` of its file, is what a stop can leave of appending `written` there.
pub(crate) fn is_torn(found: &[u8], written: &[u8], offset: u64) -> bool {
    found.len() <= written.len()
        && sectors(found, offset).all(|(at, part)| is_zero(part) || written.get(at..at + part.len()) == Some(part))
}

/// Whether `found`, the rest of the newest journal segment from `offset` on and no whole frame, is what a stop can leave
/// of one frame that was never acknowledged. `end` is the index after the last whole frame before it.
///
/// Its header says how many of its sectors are zeros by themselves, so that zeros in a blob are no sign of a stop.
pub(crate) fn is_torn_frame(found: &[u8], offset: u64, end: u64, key: &VerifierKey) -> bool {
    let torn = match Header::read(found) {
        Some(Header { length, zeros, .. }) => {
            found.len() < length || (found.len() == length && zero_sectors(found, offset) > zeros)
        }
        None => is_cut_header(found) || sectors(found, offset).any(|(at, part)| at < FRAME_HEADER && is_zero(part)),
    };
    torn && !holds_later_frame(found, end, key)
}

/// How many sectors of a file hold nothing but zeros of `bytes`, which stand at `offset`.
pub(crate) fn zero_sectors(bytes: &[u8], offset: u64) -> usize {
    sectors(bytes, offset).filter(|(_, part)| is_zero(part)).count()
}

/// Whether a later frame of this log stands whole in these bytes: then what stands before it was acknowledged.
///
/// A blob may hold the bytes of a frame; it cannot hold one past the end, since no such head has left the log.
fn holds_later_frame(bytes: &[u8], end: u64, key: &VerifierKey) -> bool {
    Frame::all_in(bytes).any(|frame| {
        frame.first > end && Checkpoint::open(frame.note(), key).is_some_and(|head| head.size == frame.end())
    })
}

/// Whether these bytes begin a header and end within it.
fn is_cut_header(found: &[u8]) -> bool {
    found.len() < FRAME_HEADER && (MAGIC.starts_with(found) || found.starts_with(MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{note::NoteKey, tree::sha256};

    fn key() -> NoteKey {
        NoteKey::from_seed("log.example/audit", &[3; 32]).unwrap()
    }

    /// A frame of entries 7 and 8 with a blob that fills sectors.
    fn frame(first: u64, blob: &[u8], offset: u64) -> Vec<u8> {
        let head = Checkpoint::sign(&key(), first + 2, sha256(b"root"));
        Frame::begin(first, &[b"{\"a\":1}", b"{}"], &[blob]).finish(&head.note, offset).unwrap().bytes().to_vec()
    }

    /// Blobs without zeros, of zeros alone, and with some sectors of them.
    fn blobs() -> [Vec<u8>; 3] {
        [vec![0xaa; 2000], vec![0; 2000], [vec![0xaa; 600], vec![0; 1200], vec![0xaa; 200]].concat()]
    }

    fn torn(found: &[u8], offset: u64) -> bool {
        is_torn_frame(found, offset, 7, &key().verifier_key())
    }

    #[test]
    fn every_prefix_and_every_hole_is_torn() {
        for (blob, offset) in blobs().iter().flat_map(|blob| [0, 100, 505, 511, 512, 4096 + 9].map(|at| (blob, at))) {
            let whole = frame(7, blob, offset);
            for cut in 1..whole.len() {
                assert!(torn(&whole[..cut], offset), "{cut} bytes at {offset}");
            }
            let parts: Vec<_> = sectors(&whole, offset).map(|(at, part)| at..at + part.len()).collect();
            assert_eq!(parts.iter().map(ExactSizeIterator::len).sum::<usize>(), whole.len());
            for missing in 1_u32..1 << parts.len() {
                let mut found = whole.clone();
                for (at, part) in parts.iter().enumerate().filter(|(at, _)| missing >> at & 1 == 1) {
                    assert!(at < parts.len());
                    found[part.clone()].fill(0);
                }
                // What was zero before is not missed: the frame is whole.
                assert_eq!(torn(&found, offset), found != whole, "sectors {missing:b} at {offset}");
                assert!(is_torn(&found, &whole, offset));
            }
        }
    }

    #[test]
    fn a_changed_byte_of_a_whole_frame_is_not_torn() {
        for (blob, offset) in blobs().iter().flat_map(|blob| [0, 100, 512].map(|at| (blob, at))) {
            let whole = frame(7, blob, offset);
            for at in 0..whole.len() {
                for bit in 0..8 {
                    let mut found = whole.clone();
                    found[at] ^= 1 << bit;
                    assert!(!torn(&found, offset), "byte {at} bit {bit}");
                    assert!(!is_torn(&found, &whole, offset));
                }
            }
            assert!(!torn(&[whole.as_slice(), b"\n"].concat(), offset), "a whole frame comes before it");
        }
        assert!(!torn(b"x", 0));
    }

    #[test]
    fn a_frame_after_it_makes_it_damage_and_a_frame_within_a_blob_does_not() {
        let mut hole = frame(7, &[0xaa; 2000], 0);
        hole[512..1024].fill(0);
        assert!(torn(&hole, 0));
        assert!(!torn(&[hole.clone(), frame(9, b"x", 0)].concat(), 0));
        // The submitter's own bytes: an earlier frame of this log, and a later one that nobody signed.
        let earlier = frame(5, b"old", 0);
        let forged = Frame::begin(9, &[b"{}"], &[]).finish("note\n", 0).unwrap();
        let whole = frame(7, &[earlier, forged.bytes().to_vec(), vec![0xaa; 600]].concat(), 0);
        for cut in 1..whole.len() {
            assert!(torn(&whole[..cut], 0), "{cut}");
        }
    }
}
