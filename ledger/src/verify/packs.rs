//! Blob packs read from end to end beside the entries: every record's hash, its order, and each index file.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use super::report::Fault;
use crate::{
    blob::{PACK_BYTES, RECORD_HEADER, index_bytes, index_name, pack_name, parse_header},
    tree::{Hash, sha256},
};

/// Follows the packs in step with the entries that name their blobs.
pub(crate) struct PackCheck {
    dir: PathBuf,
    packs: u64,
    indexed: Vec<bool>,
    current: Option<Pack>,
    next_pack: u64,
    /// The record that no entry has named yet.
    waiting: Option<Hash>,
    /// Blobs hashed, and bytes of packs and indices.
    pub blobs: u64,
    pub bytes: u64,
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
            current: None,
            next_pack: 0,
            waiting: None,
            blobs: 0,
            bytes: 0,
        }
    }

    /// Lists the packs; unknown names, gaps and missing indices are faults.
    pub(crate) fn open(dir: &Path) -> Result<Self, Fault> {
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
        Ok(Self { dir: dir.to_owned(), packs, indexed, ..Self::none() })
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

    /// No record may be left.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        if self.peek()?.is_some() {
            let number = self.current.as_ref().map_or(0, |pack| pack.number);
            return Err(Fault::new(
                format!("blobs/{}", pack_name(number)),
                "blob",
                "it holds a blob that no entry names at its place",
            ));
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<Hash>, Fault> {
        while self.waiting.is_none() {
            let Some(pack) = &mut self.current else {
                if self.next_pack == self.packs {
                    return Ok(None);
                }
                self.current = Some(Pack::open(&self.dir, self.next_pack)?);
                self.next_pack += 1;
                continue;
            };
            match pack.next()? {
                Some(hash) => {
                    self.blobs += 1;
                    self.waiting = Some(hash);
                }
                None => self.close()?,
            }
        }
        Ok(self.waiting)
    }

    /// Compares the index of a pack that was read to its end.
    fn close(&mut self) -> Result<(), Fault> {
        let Some(pack) = self.current.take() else { return Ok(()) };
        self.bytes += pack.length;
        let name = index_name(pack.number);
        let indexed = usize::try_from(pack.number).ok().and_then(|at| self.indexed.get(at)) == Some(&true);
        if !indexed {
            // The newest pack has no index while it grows.
            return match pack.length < PACK_BYTES {
                true => Ok(()),
                false => Err(Fault::new(format!("blobs/{name}"), "blob", "the index of a closed pack is missing")),
            };
        }
        let found = std::fs::read(self.dir.join(&name))
            .map_err(|error| Fault::new(format!("blobs/{name}"), "files", error.to_string()))?;
        if found != index_bytes(pack.records.into_iter()) {
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
