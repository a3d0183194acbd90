//! Blob packs read from end to end beside the entries: every record's hash, its order, and each index file.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::report::Fault;
use crate::{
    blob::{Place, RECORD_HEADER, index_bytes, index_name, pack_name, parse_header},
    erasure::{is_index_of, planned},
    fs::StdFs,
    setup::PACK_BYTES,
    torn::is_torn,
    tree::{Hash, sha256},
};

/// Follows the packs in step with the entries that name their blobs.
pub(crate) struct PackCheck {
    dir: PathBuf,
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
    offset: u64,
    records: BTreeMap<Hash, u64>,
    fault: Fault,
}

struct Pack {
    number: u64,
    file: BufReader<File>,
    length: u64,
    offset: u64,
    records: BTreeMap<Hash, u64>,
}

impl PackCheck {
    /// No packs: a mirror made without a key has none.
    pub(crate) fn none() -> Self {
        Self {
            dir: PathBuf::new(),
            packs: 0,
            indexed: Vec::new(),
            newest_length: 0,
            current: None,
            next_pack: 0,
            waiting: None,
            rest: None,
            growing: false,
            unfinished: false,
            erasing: HashSet::new(),
            blobs: 0,
            bytes: 0,
        }
    }

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
        Ok(Self { dir: dir.to_owned(), packs, indexed, newest_length, unfinished, erasing, ..Self::none() })
    }

    /// Passes the records that an entry names, in their order.
    pub(crate) fn follow(&mut self, mentioned: &[Hash]) -> Result<(), Fault> {
        if mentioned.is_empty() {
            return Ok(());
        }
        while let Some(hash) = self.peek()? {
            if !mentioned.contains(&hash) {
                break;
            }
            self.waiting = None;
        }
        Ok(())
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
        let written = expected(rest.bytes.len(), &|hash| rest.records.contains_key(hash))?;
        if self.growing && is_torn(&rest.bytes, &written, rest.offset) {
            return Ok(rest.bytes.len() as u64);
        }
        Err(rest.fault)
    }

    /// That a blob under a mirror's head does not lie in what its run left unfinished.
    pub(crate) fn judged(&self, place: Place) -> Result<(), Fault> {
        match &self.rest {
            Some(rest) if self.unfinished && place.pack + 1 == self.packs && place.offset >= rest.offset => {
                Err(rest.fault.clone())
            }
            _ => Ok(()),
        }
    }

    /// Passes what is left; its bytes. Each blob still has its address.
    fn pass_rest(&mut self) -> Result<u64, Fault> {
        let mut bytes = 0;
        while let Some(hash) = self.peek()? {
            let start = self.current.as_ref().and_then(|pack| Some(pack.offset - pack.records.get(&hash)?));
            bytes += start.unwrap_or(0);
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
                let mut pack = Pack::open(&self.dir, self.next_pack)?;
                self.next_pack += 1;
                if self.next_pack == self.packs {
                    pack.length = pack.length.min(self.newest_length);
                }
                self.current = Some(pack);
                continue;
            };
            match pack.next() {
                Ok(Some(hash)) => {
                    self.blobs += 1;
                    self.waiting = Some(hash);
                }
                Ok(None) => self.close()?,
                Err(fault) => self.keep_rest(fault)?,
            }
        }
        Ok(self.waiting)
    }

    fn indexed(&self, number: u64) -> bool {
        usize::try_from(number).ok().and_then(|at| self.indexed.get(at)) == Some(&true)
    }

    /// Keeps the end of the newest pack, which is judged when all entries are known.
    fn keep_rest(&mut self, fault: Fault) -> Result<(), Fault> {
        let newest = self.next_pack == self.packs;
        let Some(pack) = self.current.take().filter(|pack| newest && !self.indexed(pack.number)) else {
            return Err(fault);
        };
        let mut bytes = vec![0; usize::try_from(pack.length - pack.offset).unwrap_or(0)];
        let read = pack.file.get_ref().read_exact_at(&mut bytes, pack.offset);
        if read.is_err() {
            return Err(fault);
        }
        self.bytes += pack.length;
        self.rest = Some(Rest { bytes, offset: pack.offset, records: pack.records, fault });
        Ok(())
    }

    /// Compares the index of a pack that was read to its end.
    fn close(&mut self) -> Result<(), Fault> {
        let Some(pack) = self.current.take() else { return Ok(()) };
        self.bytes += pack.length;
        let name = index_name(pack.number);
        if !self.indexed(pack.number) {
            // The newest pack has no index while it grows.
            return match pack.length < PACK_BYTES || self.growing {
                true => Ok(()),
                false => Err(Fault::new(format!("blobs/{name}"), "blob", "the index of a closed pack is missing")),
            };
        }
        let found = std::fs::read(self.dir.join(&name))
            .map_err(|error| Fault::new(format!("blobs/{name}"), "files", error.to_string()))?;
        if found != index_bytes(pack.records.iter().map(|(hash, offset)| (*hash, *offset)))
            && (self.erasing.is_empty() || !is_index_of(&found, &pack.records, &self.erasing))
        {
            return Err(Fault::new(format!("blobs/{name}"), "blob", "it is not the index of its pack"));
        }
        self.bytes += found.len() as u64;
        Ok(())
    }
}

impl Pack {
    fn open(dir: &Path, number: u64) -> Result<Self, Fault> {
        let failed =
            |error: std::io::Error| Fault::new(format!("blobs/{}", pack_name(number)), "files", error.to_string());
        let file = File::open(dir.join(pack_name(number))).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let file = BufReader::with_capacity(1 << 20, file);
        Ok(Self { number, file, length, offset: 0, records: BTreeMap::new() })
    }

    /// The next record's address, its bytes verified.
    fn next(&mut self) -> Result<Option<Hash>, Fault> {
        if self.offset == self.length {
            return Ok(None);
        }
        let at = self.offset;
        let fault = |message: &str| {
            Fault::new(format!("blobs/{}", pack_name(self.number)), "blob", format!("byte {at}: {message}"))
        };
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
        if self.records.insert(hash, at).is_some() {
            return Err(fault("a blob is stored twice"));
        }
        self.offset = end;
        Ok(Some(hash))
    }
}
