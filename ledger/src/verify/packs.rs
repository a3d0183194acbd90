//! Blob packs read from end to end beside the entries: every record's hash, its order, and each index file. A record is
//! looked up in its pack's index when it goes by, so that no pack's records are held.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::report::Fault;
use crate::{
    blob::{
        BlobStore, INDEX_RECORD, Place, RECORD_HEADER, index_bytes, index_name, pack_name, parse_header, search_index,
    },
    erasure::{is_index_of, planned},
    fs::{FsFile, StdFs},
    setup::PACK_BYTES,
    torn::is_torn,
    tree::{Hash, sha256},
};

/// Follows the packs in step with the entries that name their blobs.
pub(crate) struct PackCheck {
    dir: PathBuf,
    stored: BlobStore,
    packs: u64,
    indexed: Vec<bool>,
    /// Length of the newest pack when the audit began: what is appended since is not judged.
    newest_length: u64,
    current: Option<Pack>,
    next_pack: u64,
    /// The record that no entry has named yet.
    waiting: Option<Hash>,
    /// What stands at the end of the newest pack and is no whole record.
    rest: Option<Rest>,
    /// Blobs wait in the journal to be stored, so the newest pack may be half-written.
    pub growing: bool,
    /// A mirror's run has not ended: what it fetched past its head is not judged.
    unfinished: bool,
    /// Blobs that an erasure was taking out when it was stopped: an index may still be of the pack before.
    erasing: HashSet<Hash>,
    /// Blobs hashed, and bytes of packs and indices.
    pub blobs: u64,
    pub bytes: u64,
}

/// The end of a pack that is no whole record.
struct Rest {
    bytes: Vec<u8>,
    at: Place,
    fault: Fault,
}

struct Pack {
    number: u64,
    file: BufReader<File>,
    length: u64,
    /// Records read, where the last of them begins, and where it ends.
    records: u64,
    last: u64,
    offset: u64,
    /// The index file and its length; the newest pack has none while it grows.
    index: Option<(File, u64)>,
}

impl PackCheck {
    /// Lists the packs; unknown names, gaps and missing indices are faults. `unfinished`: of a mirror whose run has not
    /// ended.
    pub(crate) fn open(dir: &Path, unfinished: bool) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::new("blobs", "files", error.to_string());
        let mut names: Vec<String> = Vec::new();
        for item in std::fs::read_dir(dir).map_err(failed)? {
            names.push(item.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        let has = |name: String| names.contains(&name);
        let packs = (0..).take_while(|number| has(pack_name(*number))).count() as u64;
        let indexed: Vec<bool> = (0..packs).map(|number| has(index_name(number))).collect();
        for name in &names {
            if !(0..packs).any(|number| *name == pack_name(number) || *name == index_name(number)) {
                return Err(Fault::new(
                    format!("blobs/{name}"),
                    "files",
                    "no such file belongs to a log, or the pack before it is missing",
                ));
            }
        }
        if let Some(gap) = indexed.iter().take(indexed.len().saturating_sub(1)).position(|indexed| !indexed) {
            return Err(Fault::new(
                format!("blobs/{}", index_name(gap as u64)),
                "blob",
                "the index of a closed pack is missing",
            ));
        }
        let newest = packs.checked_sub(1).map(|newest| dir.join(pack_name(newest)).metadata());
        let newest_length = newest.transpose().map_err(failed)?.map_or(0, |data| data.len());
        let erasing = dir.parent().map(|log| planned(&StdFs, log)).unwrap_or_default();
        Ok(Self {
            dir: dir.to_owned(),
            stored: BlobStore::read_only(Arc::new(StdFs), dir)?,
            packs,
            indexed,
            newest_length,
            current: None,
            next_pack: 0,
            waiting: None,
            rest: None,
            growing: false,
            unfinished,
            erasing,
            blobs: 0,
            bytes: 0,
        })
    }

    /// Passes the records that an entry names, in their order; which those were.
    pub(crate) fn follow(&mut self, mentioned: &[Hash]) -> Result<Vec<Hash>, Fault> {
        let mut passed = Vec::new();
        while !mentioned.is_empty()
            && let Some(hash) = self.peek()?
            && mentioned.contains(&hash)
        {
            passed.push(hash);
            self.waiting = None;
        }
        Ok(passed)
    }

    /// Whether a blob is stored, and not in what a mirror's run left unfinished.
    pub(crate) fn holds(&self, hash: &Hash) -> Result<bool, Fault> {
        let place = self.stored.find(hash)?;
        match &self.rest {
            Some(rest) if self.unfinished && place.is_some_and(|place| place >= rest.at) => Err(rest.fault.clone()),
            _ => Ok(place.is_some()),
        }
    }

    /// No record may be left, and no bytes but what the projection was writing: a torn copy of what `expected` gives,
    /// which is the records still to be stored (at least so many bytes of them) but for those that are there. Bytes that
    /// a stopped writer left.
    pub(crate) fn finish(
        &mut self,
        expected: impl FnOnce(usize, &dyn Fn(&Hash) -> bool) -> Result<Vec<u8>, Fault>,
    ) -> Result<u64, Fault> {
        if self.unfinished {
            return self.pass_rest();
        }
        if self.peek()?.is_some() {
            let number = self.current.as_ref().map_or(0, |pack| pack.number);
            return Err(Fault::new(
                format!("blobs/{}", pack_name(number)),
                "blob",
                "it holds a blob that no entry names at its place",
            ));
        }
        let Some(rest) = self.rest.take() else { return Ok(0) };
        let before = |hash: &Hash| matches!(self.stored.find(hash), Ok(Some(place)) if place < rest.at);
        let written = expected(rest.bytes.len(), &before)?;
        if self.growing && is_torn(&rest.bytes, &written, rest.at.offset) {
            return Ok(rest.bytes.len() as u64);
        }
        Err(rest.fault)
    }

    /// Passes what is left; its bytes. Each blob still has its address.
    fn pass_rest(&mut self) -> Result<u64, Fault> {
        let mut bytes = 0;
        while self.peek()?.is_some() {
            bytes += self.current.as_ref().map_or(0, |pack| pack.offset - pack.last);
            self.waiting = None;
        }
        Ok(bytes + self.rest.take().map_or(0, |rest| rest.bytes.len() as u64))
    }

    fn peek(&mut self) -> Result<Option<Hash>, Fault> {
        while self.waiting.is_none() {
            let Some(pack) = &mut self.current else {
                if self.next_pack == self.packs {
                    return Ok(None);
                }
                let mut pack = Pack::open(&self.dir, self.next_pack, self.is_indexed(self.next_pack))?;
                self.next_pack += 1;
                if self.next_pack == self.packs {
                    pack.length = pack.length.min(self.newest_length);
                }
                self.current = Some(pack);
                continue;
            };
            match pack.next() {
                Ok(Some(hash)) => {
                    pack.check_place(&hash, &self.stored, !self.erasing.is_empty())?;
                    self.blobs += 1;
                    self.waiting = Some(hash);
                }
                Ok(None) => self.close()?,
                Err(fault) => self.keep_rest(fault)?,
            }
        }
        Ok(self.waiting)
    }

    fn is_indexed(&self, number: u64) -> bool {
        usize::try_from(number).ok().and_then(|at| self.indexed.get(at)) == Some(&true)
    }

    /// Keeps the end of the newest pack, which is judged when all entries are known.
    fn keep_rest(&mut self, fault: Fault) -> Result<(), Fault> {
        let newest = self.next_pack == self.packs;
        let Some(pack) = self.current.take().filter(|pack| newest && pack.index.is_none()) else {
            return Err(fault);
        };
        let mut bytes = vec![0; usize::try_from(pack.length - pack.offset).unwrap_or(0)];
        let read = pack.file.get_ref().read_exact_at(&mut bytes, pack.offset);
        if read.is_err() {
            return Err(fault);
        }
        self.bytes += pack.length;
        self.rest = Some(Rest { bytes, at: Place { pack: pack.number, offset: pack.offset }, fault });
        Ok(())
    }

    /// Judges the index of a pack that was read to its end.
    fn close(&mut self) -> Result<(), Fault> {
        let Some(pack) = self.current.take() else { return Ok(()) };
        self.bytes += pack.length;
        let Some((_, length)) = pack.index else {
            return match pack.length < PACK_BYTES || self.growing {
                true => Ok(()),
                false => Err(pack.index_fault("blob", "the index of a closed pack is missing")),
            };
        };
        // Each record was found in it, so one of no more records has nothing else, and in order.
        let right = match self.erasing.is_empty() {
            true => length == pack.records * INDEX_RECORD,
            false => self.is_index(&pack)?,
        };
        self.bytes += length;
        if right { Ok(()) } else { Err(pack.index_fault("blob", "it is not the index of its pack")) }
    }

    /// Whether a pack's index is its own, or that of the pack before the erasure that is under way.
    fn is_index(&self, pack: &Pack) -> Result<bool, Fault> {
        let found = std::fs::read(self.dir.join(index_name(pack.number)))
            .map_err(|error| pack.index_fault("files", &error.to_string()))?;
        let records = self.stored.scan(pack.number)?;
        let own = || index_bytes(records.iter().map(|(hash, offset)| (*hash, *offset))) == found;
        Ok(records.len() as u64 == pack.records && (own() || is_index_of(&found, &records, &self.erasing)))
    }
}

impl Pack {
    fn open(dir: &Path, number: u64, indexed: bool) -> Result<Self, Fault> {
        let failed =
            |error: std::io::Error| Fault::new(format!("blobs/{}", pack_name(number)), "files", error.to_string());
        let file = File::open(dir.join(pack_name(number))).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let file = BufReader::with_capacity(1 << 20, file);
        let mut pack = Self { number, file, length, records: 0, last: 0, offset: 0, index: None };
        if indexed {
            let index = File::open(dir.join(index_name(number))).and_then(|file| Ok((file.length()?, file)));
            let (length, file) = index.map_err(|error| pack.index_fault("files", &error.to_string()))?;
            pack.index = Some((file, length));
        }
        Ok(pack)
    }

    fn index_fault(&self, layer: &'static str, message: &str) -> Fault {
        Fault::new(format!("blobs/{}", index_name(self.number)), layer, message)
    }

    /// That the last record is where the index has its blob; a blob that is there twice cannot be. Where a pack without
    /// an index has it the store knows.
    fn check_place(&self, hash: &Hash, stored: &BlobStore, erasing: bool) -> Result<(), Fault> {
        let Some((index, length)) = &self.index else {
            let place = Place { pack: self.number, offset: self.last };
            return match stored.find(hash)? == Some(place) {
                true => Ok(()),
                false => {
                    let message = format!("byte {}: a blob is stored twice", self.last);
                    Err(Fault::new(format!("blobs/{}", pack_name(self.number)), "blob", message))
                }
            };
        };
        // The index may be of the pack before, and is judged whole.
        if erasing {
            return Ok(());
        }
        let found = search_index(index, length / INDEX_RECORD, hash)
            .map_err(|error| self.index_fault("files", &error.to_string()))?;
        match found == Some(self.last) {
            true => Ok(()),
            false => {
                Err(self.index_fault("blob", &format!("it does not have the blob at byte {} of its pack", self.last)))
            }
        }
    }

    /// The next record's address, its bytes verified.
    fn next(&mut self) -> Result<Option<Hash>, Fault> {
        if self.offset == self.length {
            return Ok(None);
        }
        let at = self.offset;
        let name = format!("blobs/{}", pack_name(self.number));
        let fault = |message: &str| Fault::new(name.as_str(), "blob", format!("byte {at}: {message}"));
        let mut header = [0; RECORD_HEADER as usize];
        let short = |_| fault("it ends within a blob");
        if self.length - at < RECORD_HEADER {
            return Err(fault("it ends within a blob"));
        }
        self.file.read_exact(&mut header).map_err(short)?;
        let (hash, length) = parse_header(&header).ok_or_else(|| fault("no blob stands here"))?;
        let end = at + RECORD_HEADER + length;
        if end > self.length {
            return Err(fault("it ends within a blob"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact(&mut bytes).map_err(short)?;
        if sha256(&bytes) != hash {
            return Err(fault("the blob's bytes do not have its address"));
        }
        (self.records, self.last, self.offset) = (self.records + 1, at, end);
        Ok(Some(hash))
    }
}
