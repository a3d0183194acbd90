//! Blobs: content outside the log, addressed by SHA-256, in append-only packs.
//!
//! ```text
//! NNNNNN.pack = ("ELB1" length:u32 sha256:32 bytes)*      in the order of the entries that name them
//! NNNNNN.idx  = (sha256:32 offset:u64)*                   sorted; written once, when the pack is closed
//! ```
//! The newest pack has no index file; its index is read from the pack: by the writer on opening, by a reader when it is
//! first asked for a blob that is not where it looked and in no pack before. A blob is stored once.

mod erase;
mod repair;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, RwLock},
};

use crate::{
    durable::replace_file,
    erasure,
    error::LogError,
    fs::{Fs, FsFile},
    tree::{Hash, sha256},
};

/// Length of magic, length and hash before a blob's bytes.
pub(crate) const RECORD_HEADER: u64 = 40;

/// Length of one index record.
pub(crate) const INDEX_RECORD: u64 = 40;

const MAGIC: &[u8; 4] = b"ELB1";

/// File name of a pack.
pub(crate) fn pack_name(number: u64) -> String {
    format!("{number:06}.pack")
}

/// File name of a pack's index.
pub(crate) fn index_name(number: u64) -> String {
    format!("{number:06}.idx")
}

/// Hash and length in a record's header; `None` when it is none.
pub(crate) fn parse_header(header: &[u8]) -> Option<(Hash, u64)> {
    let (magic, rest) = header.split_first_chunk::<4>()?;
    let (length, hash) = rest.split_first_chunk::<4>()?;
    (magic == MAGIC).then_some((hash.try_into().ok()?, u32::from_be_bytes(*length).into()))
}

/// Appends a blob's record to a pack's bytes.
pub(crate) fn push_record(pack: &mut Vec<u8>, hash: &Hash, blob: &[u8]) {
    pack.extend_from_slice(MAGIC);
    // A blob is shorter than a frame, so the length fits.
    pack.extend_from_slice(&u32::try_from(blob.len()).unwrap_or(u32::MAX).to_be_bytes());
    pack.extend_from_slice(hash);
    pack.extend_from_slice(blob);
}

/// Bytes of a closed pack's index.
pub(crate) fn index_bytes(records: impl Iterator<Item = (Hash, u64)>) -> Vec<u8> {
    let mut sorted: Vec<_> = records.collect();
    sorted.sort_unstable();
    sorted.iter().flat_map(|(hash, offset)| [hash.as_slice(), &offset.to_be_bytes()].concat()).collect()
}

/// Where an index of so many records has a blob; `None` when it has none.
pub(crate) fn search_index(index: &dyn FsFile, records: u64, hash: &Hash) -> io::Result<Option<u64>> {
    let (mut low, mut high) = (0, records);
    while low < high {
        let middle = low.midpoint(high);
        let mut record = [0; INDEX_RECORD as usize];
        index.read_exact_at(&mut record, middle * INDEX_RECORD)?;
        let (found, offset) = record.split_at(32);
        match found.cmp(hash.as_slice()) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Ok(offset.try_into().ok().map(u64::from_be_bytes)),
        }
    }
    Ok(None)
}

/// Where a blob's record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The pack's number.
    pub pack: u64,
    /// Offset of the record.
    pub offset: u64,
}

#[derive(Default)]
struct Packs {
    closed: Vec<Closed>,
    open: Option<Open>,
}

struct Closed {
    number: u64,
    pack: Arc<dyn FsFile>,
    index: Index,
}

/// Number and file of a pack that has no index file.
type Newest = (u64, Arc<dyn FsFile>);

/// Where a closed pack's records begin.
enum Index {
    /// As its index file says.
    File {
        /// The file.
        file: Arc<dyn FsFile>,
        /// Its records.
        records: u64,
    },
    /// As the pack itself says, read when it is first needed: the newest pack of a reader has no index file, and while
    /// an erasure is under way the file may be of the pack before it. The first eight bytes of each hash and where its
    /// record begins, sorted: a reader's memory must not grow by a pack's hashes.
    Pack(OnceLock<Vec<(u64, u64)>>),
}

struct Open {
    number: u64,
    pack: Arc<dyn FsFile>,
    length: u64,
    records: HashMap<Hash, u64>,
}

/// The packs of one log.
pub(crate) struct BlobStore {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    temporary: PathBuf,
    pack_bytes: u64,
    packs: RwLock<Packs>,
}

impl BlobStore {
    /// Opens the packs of a folder for reading alone.
    pub(crate) fn read_only(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, LogError> {
        let (dir, temporary) = (dir.to_owned(), PathBuf::new());
        let store = Self { fs, dir, temporary, pack_bytes: u64::MAX, packs: RwLock::default() };
        let (mut closed, newest) = store.files()?;
        closed.extend(newest.map(|(number, pack)| Closed { number, pack, index: Index::Pack(OnceLock::new()) }));
        *store.packs.write().map_err(|_| LogError::Closed)? = Packs { closed, open: None };
        Ok(store)
    }

    /// Opens the packs of a folder; what is torn at the end of the newest is not seen. `temporary` is where an index
    /// file is written before it gets its name; a pack of `pack_bytes` or more is closed.
    pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path, temporary: PathBuf, pack_bytes: u64) -> Result<Self, LogError> {
        let store = Self { fs, dir: dir.to_owned(), temporary, pack_bytes, packs: RwLock::default() };
        let (closed, newest) = store.files()?;
        let open = newest.map(|(number, pack)| Open::read(number, pack, dir)).transpose()?;
        *store.packs.write().map_err(|_| LogError::Closed)? = Packs { closed, open };
        Ok(store)
    }

    /// The closed packs, and the newest where that has no index file.
    fn files(&self) -> Result<(Vec<Closed>, Option<Newest>), LogError> {
        let names = self.fs.list(&self.dir).map_err(|error| LogError::io("list", &self.dir, &error))?;
        let (mut closed, mut newest) = (Vec::new(), None::<Newest>);
        for number in (0..).take_while(|number| names.iter().any(|(name, _)| *name == pack_name(*number))) {
            if let Some((number, _)) = newest {
                return Err(LogError::corrupt(index_name(number), "the index of a closed pack is missing"));
            }
            let pack = self.file(&pack_name(number))?;
            if names.iter().any(|(name, _)| *name == index_name(number)) {
                closed.push(Closed { number, pack, index: self.index(number)? });
            } else {
                newest = Some((number, pack));
            }
        }
        if self.dir.parent().map_or(Ok(false), |log| erasure::is_under_way(self.fs.as_ref(), log))? {
            closed.iter_mut().for_each(|closed| closed.index = Index::Pack(OnceLock::new()));
        }
        Ok((closed, newest))
    }

    /// Whether a blob is stored.
    pub(crate) fn contains(&self, hash: &Hash) -> Result<bool, LogError> {
        Ok(self.find(hash)?.is_some())
    }

    /// Where a pack's records begin, as the pack itself says.
    pub(crate) fn scan(&self, number: u64) -> Result<HashMap<Hash, u64>, LogError> {
        Open::read(number, self.file(&pack_name(number))?, &self.dir).map(|open| open.records)
    }

    /// Where a blob lies.
    pub(crate) fn find(&self, hash: &Hash) -> Result<Option<Place>, LogError> {
        let packs = self.packs.read().map_err(|_| LogError::Closed)?;
        if let Some(open) = &packs.open
            && let Some(offset) = open.records.get(hash)
        {
            return Ok(Some(Place { pack: open.number, offset: *offset }));
        }
        // A file is searched where it lies; of a pack the index must be read, and kept.
        let (files, rest): (Vec<_>, Vec<_>) =
            packs.closed.iter().rev().partition(|closed| matches!(closed.index, Index::File { .. }));
        for closed in files.into_iter().chain(rest) {
            if let Some(offset) = closed.find(hash, &self.dir)? {
                return Ok(Some(Place { pack: closed.number, offset }));
            }
        }
        Ok(None)
    }

    /// A blob, its hash verified; `None` when it is not stored.
    pub(crate) fn get(&self, hash: &Hash) -> Result<Option<Vec<u8>>, LogError> {
        self.find(hash)?.map(|place| self.read_at(place, hash)).transpose()
    }

    /// The blob at a place, its hash verified; an error when another stands there.
    pub(crate) fn read_at(&self, place: Place, hash: &Hash) -> Result<Vec<u8>, LogError> {
        let file = {
            let packs = self.packs.read().map_err(|_| LogError::Closed)?;
            let open = packs.open.as_ref().filter(|open| open.number == place.pack).map(|open| Arc::clone(&open.pack));
            let closed = || {
                packs.closed.iter().find(|closed| closed.number == place.pack).map(|closed| Arc::clone(&closed.pack))
            };
            open.or_else(closed).ok_or_else(|| LogError::corrupt(pack_name(place.pack), "the pack is missing"))?
        };
        let path = self.dir.join(pack_name(place.pack));
        let failed = |error: io::Error| LogError::io("read a blob in", &path, &error);
        let mut header = [0; RECORD_HEADER as usize];
        file.read_exact_at(&mut header, place.offset).map_err(failed)?;
        let (found, length) = parse_header(&header)
            .ok_or_else(|| LogError::corrupt(pack_name(place.pack), "no blob stands where one should"))?;
        let other = || LogError::corrupt(pack_name(place.pack), "a blob's bytes do not have its address");
        if found != *hash {
            return Err(other());
        }
        // A wrong length must not ask for memory that the file does not fill.
        if place.offset + RECORD_HEADER + length > file.length().map_err(failed)? {
            return Err(LogError::corrupt(pack_name(place.pack), "a blob ends past the file"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, place.offset + RECORD_HEADER).map_err(failed)?;
        if sha256(&bytes) == *hash { Ok(bytes) } else { Err(other()) }
    }

    /// Stores blobs that are not stored yet, durably, in order; closes the pack when it is long enough.
    pub(crate) fn append(&self, blobs: &[(Hash, &[u8])]) -> Result<(), LogError> {
        let mut packs = self.packs.write().map_err(|_| LogError::Closed)?;
        let full = |packs: &Packs| packs.open.as_ref().is_some_and(|open| open.length >= self.pack_bytes);
        let mut rest = blobs;
        while !rest.is_empty() || full(&packs) {
            if full(&packs) {
                self.close(&mut packs)?;
            }
            if rest.is_empty() {
                break;
            }
            let number = packs.closed.len() as u64;
            if packs.open.is_none() {
                packs.open = Some(self.create(number)?);
            }
            let Some(open) = &mut packs.open else {
                return Err(LogError::Closed);
            };
            rest = open
                .append(rest, self.pack_bytes)
                .map_err(|error| LogError::io("write", &self.dir.join(pack_name(number)), &error))?;
        }
        Ok(())
    }

    fn create(&self, number: u64) -> Result<Open, LogError> {
        let path = self.dir.join(pack_name(number));
        let failed = |error: io::Error| LogError::io("create", &path, &error);
        let dir = self.fs.open_dir(&self.dir).map_err(failed)?;
        let pack = self.fs.create(&path).map_err(failed)?;
        dir.sync_dir().map_err(failed)?;
        Ok(Open { number, pack, length: 0, records: HashMap::new() })
    }

    fn close(&self, packs: &mut Packs) -> Result<(), LogError> {
        let Some(open) = packs.open.take() else { return Ok(()) };
        let bytes = index_bytes(open.records.iter().map(|(hash, offset)| (*hash, *offset)));
        replace_file(self.fs.as_ref(), &self.dir.join(index_name(open.number)), &self.temporary, &bytes)?;
        packs.closed.push(Closed { number: open.number, pack: open.pack, index: self.index(open.number)? });
        Ok(())
    }

    fn index(&self, number: u64) -> Result<Index, LogError> {
        let file = self.file(&index_name(number))?;
        let records = length(&file, &self.dir)? / INDEX_RECORD;
        Ok(Index::File { file, records })
    }

    fn file(&self, name: &str) -> Result<Arc<dyn FsFile>, LogError> {
        let path = self.dir.join(name);
        self.fs.open(&path).map_err(|error| LogError::io("open", &path, &error))
    }
}

impl Open {
    /// The newest pack as it lies there.
    fn read(number: u64, pack: Arc<dyn FsFile>, dir: &Path) -> Result<Self, LogError> {
        let mut records = HashMap::new();
        let length = scan(number, pack.as_ref(), dir, |hash, offset| {
            records.insert(hash, offset);
        })?;
        Ok(Self { number, pack, length, records })
    }

    /// Writes as many of the blobs as the pack takes before it is full, and syncs; the rest is given back.
    fn append<'a, 'b>(&mut self, blobs: &'a [(Hash, &'b [u8])], pack_bytes: u64) -> io::Result<&'a [(Hash, &'b [u8])]> {
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        let mut rest = blobs;
        while let Some(((hash, blob), after)) = rest.split_first() {
            let offset = self.length + bytes.len() as u64;
            if offset >= pack_bytes {
                break;
            }
            push_record(&mut bytes, hash, blob);
            places.push((*hash, offset));
            rest = after;
        }
        self.pack.write_all_at(&bytes, self.length)?;
        self.pack.sync_data()?;
        self.length += bytes.len() as u64;
        self.records.extend(places);
        Ok(rest)
    }
}

impl Closed {
    fn find(&self, hash: &Hash, dir: &Path) -> Result<Option<u64>, LogError> {
        match &self.index {
            Index::File { file, records } => search_index(file.as_ref(), *records, hash)
                .map_err(|error| LogError::io("search an index in", dir, &error)),
            Index::Pack(index) => {
                let records = match index.get() {
                    Some(records) => records,
                    None => {
                        let records = self.prefixes(dir)?;
                        index.get_or_init(|| records)
                    }
                };
                let prefix = prefix(hash);
                let start = records.partition_point(|(other, _)| *other < prefix);
                let alike = records.iter().skip(start).take_while(|(other, _)| *other == prefix);
                for (_, offset) in alike {
                    let mut header = [0; RECORD_HEADER as usize];
                    let read = self.pack.read_exact_at(&mut header, *offset);
                    read.map_err(|error| LogError::io("read", &dir.join(pack_name(self.number)), &error))?;
                    if parse_header(&header).is_some_and(|(found, _)| found == *hash) {
                        return Ok(Some(*offset));
                    }
                }
                Ok(None)
            }
        }
    }

    /// What [`Index::Pack`] holds.
    fn prefixes(&self, dir: &Path) -> Result<Vec<(u64, u64)>, LogError> {
        let mut records = Vec::new();
        scan(self.number, self.pack.as_ref(), dir, |hash, offset| records.push((prefix(&hash), offset)))?;
        records.sort_unstable();
        Ok(records)
    }
}

fn length(file: &Arc<dyn FsFile>, dir: &Path) -> Result<u64, LogError> {
    file.length().map_err(|error| LogError::io("measure a file in", dir, &error))
}

fn prefix(hash: &Hash) -> u64 {
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Reads the headers of a pack up to the first bytes that are no whole record; where those begin.
fn scan(number: u64, pack: &dyn FsFile, dir: &Path, mut found: impl FnMut(Hash, u64)) -> Result<u64, LogError> {
    let failed = |error: io::Error| LogError::io("read", &dir.join(pack_name(number)), &error);
    let total = pack.length().map_err(failed)?;
    let mut at = 0;
    let mut header = [0; RECORD_HEADER as usize];
    while at + RECORD_HEADER <= total {
        pack.read_exact_at(&mut header, at).map_err(failed)?;
        let Some((hash, size)) = parse_header(&header) else {
            break;
        };
        let end = at + RECORD_HEADER + size;
        if end > total {
            break;
        }
        found(hash, at);
        at = end;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::StdFs;

    #[test]
    fn hashes_that_begin_alike_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let alike = [1, 2, 3].map(|last| {
            let mut hash = [7; 32];
            hash[31] = last;
            hash
        });
        let mut pack = Vec::new();
        push_record(&mut pack, &alike[0], b"one");
        push_record(&mut pack, &[9; 32], b"another");
        push_record(&mut pack, &alike[1], b"two");
        std::fs::write(dir.path().join(pack_name(0)), &pack).unwrap();
        let store = BlobStore::read_only(Arc::new(StdFs), dir.path()).unwrap();
        let offsets = alike.map(|hash| store.find(&hash).unwrap().map(|place| place.offset));
        assert_eq!(offsets, [Some(0), Some(43 + 47), None]);
        let writing = BlobStore::open(Arc::new(StdFs), dir.path(), PathBuf::new(), u64::MAX).unwrap();
        assert_eq!(alike.map(|hash| writing.find(&hash).unwrap().map(|place| place.offset)), offsets);
    }
}
