//! Packs written anew without the blobs that are erased. The others keep their order, and each its bytes.

use std::{collections::HashSet, io, path::Path};

use super::{BlobStore, Closed, Index, Open, RECORD_HEADER, index_bytes, index_name, pack_name, parse_header};
use crate::{durable::replace_files, error::LogError, fs::FsFile, tree::Hash};

/// A pack's bytes without some of its blobs.
struct Kept {
    bytes: Vec<u8>,
    /// Where each record begins in them.
    records: Vec<(Hash, u64)>,
    /// Blobs left out.
    erased: u64,
}

impl BlobStore {
    /// Writes every pack that holds one of these blobs anew without them, with its index; readers that opened the old
    /// files still have those. Number of blobs erased. `temporary` is a prefix of names that nothing else uses.
    ///
    /// # Errors
    /// A pack is damaged, or the system refuses: open the log again, which finishes it.
    pub(crate) fn erase(&self, erased: &HashSet<Hash>, temporary: &Path) -> Result<u64, LogError> {
        let mut count = 0;
        for at in 0.. {
            // One pack at a time, so that those who wait for the store wait for no more than that.
            let mut packs = self.packs.write().map_err(|_| LogError::Closed)?;
            if let Some(closed) = packs.closed.get_mut(at) {
                count += self.erase_closed(closed, erased, temporary)?;
                continue;
            }
            if let Some(open) = &mut packs.open {
                count += self.erase_open(open, erased, temporary)?;
            }
            break;
        }
        Ok(count)
    }

    fn erase_closed(&self, closed: &mut Closed, erased: &HashSet<Hash>, temporary: &Path) -> Result<u64, LogError> {
        let mut holds = false;
        for hash in erased {
            holds |= closed.find(hash, &self.dir)?.is_some();
        }
        // An index that an erasure left behind is written anew in any case.
        if !holds && matches!(closed.index, Index::File { .. }) {
            return Ok(0);
        }
        let kept = self.without(closed.number, closed.pack.as_ref(), erased)?;
        let mut files = Vec::new();
        if kept.erased > 0 {
            files.push((self.dir.join(pack_name(closed.number)), kept.bytes));
        }
        files.push((self.dir.join(index_name(closed.number)), index_bytes(kept.records.into_iter())));
        replace_files(self.fs.as_ref(), temporary, &files)?;
        closed.pack = self.file(&pack_name(closed.number))?;
        closed.index = self.index(closed.number)?;
        Ok(kept.erased)
    }

    fn erase_open(&self, open: &mut Open, erased: &HashSet<Hash>, temporary: &Path) -> Result<u64, LogError> {
        if !erased.iter().any(|hash| open.records.contains_key(hash)) {
            return Ok(0);
        }
        let kept = self.without(open.number, open.pack.as_ref(), erased)?;
        let path = self.dir.join(pack_name(open.number));
        let length = kept.bytes.len() as u64;
        replace_files(self.fs.as_ref(), temporary, &[(path.clone(), kept.bytes)])?;
        open.pack = self.fs.open_write(&path).map_err(|error| LogError::io("open", &path, &error))?;
        (open.length, open.records) = (length, kept.records.into_iter().collect());
        Ok(kept.erased)
    }

    fn without(&self, number: u64, pack: &dyn FsFile, erased: &HashSet<Hash>) -> Result<Kept, LogError> {
        let path = self.dir.join(pack_name(number));
        let failed = |error: io::Error| LogError::io("read", &path, &error);
        let total = pack.length().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(total).unwrap_or(0)];
        pack.read_exact_at(&mut bytes, 0).map_err(failed)?;
        keep(&bytes, erased).ok_or_else(|| LogError::corrupt(pack_name(number), "it holds bytes that are no blob"))
    }
}

/// `None` when the bytes are not whole records from end to end.
fn keep(pack: &[u8], erased: &HashSet<Hash>) -> Option<Kept> {
    let mut kept = Kept { bytes: Vec::with_capacity(pack.len()), records: Vec::new(), erased: 0 };
    let mut rest = pack;
    while !rest.is_empty() {
        let header = usize::try_from(RECORD_HEADER).ok()?;
        let (hash, size) = parse_header(rest.get(..header)?)?;
        let (record, after) = rest.split_at_checked(header.checked_add(usize::try_from(size).ok()?)?)?;
        rest = after;
        if erased.contains(&hash) {
            kept.erased += 1;
        } else {
            kept.records.push((hash, kept.bytes.len() as u64));
            kept.bytes.extend_from_slice(record);
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{blob::push_record, tree::sha256};

    #[test]
    fn what_is_kept_keeps_its_order_and_bytes() {
        let blobs: [&[u8]; 4] = [b"one", b"", b"three", b"four"];
        let mut pack = Vec::new();
        blobs.iter().for_each(|blob| push_record(&mut pack, &sha256(blob), blob));
        let kept = keep(&pack, &HashSet::from([sha256(b"one"), sha256(b"three"), sha256(b"elsewhere")])).unwrap();
        let mut expected = Vec::new();
        let mut records = Vec::new();
        for blob in [b"".as_slice(), b"four"] {
            records.push((sha256(blob), expected.len() as u64));
            push_record(&mut expected, &sha256(blob), blob);
        }
        assert_eq!((kept.bytes, kept.records, kept.erased), (expected, records, 2));
        assert!(keep(&pack[..pack.len() - 1], &HashSet::new()).is_none());
        assert_eq!(keep(&[], &HashSet::new()).unwrap().erased, 0);
    }
}
