//! The ledger as hospitals and patients use it while it is served: a signed transaction in, and a patient's records out
//! to those whom the patient's grants name. Nobody needs an API key here: a registered ledger key signs each request.
//!
//! What the ledger says so far (keys, versions, each patient's transactions) is folded once and kept; the first request
//! after a start reads the ledger from its beginning.

mod fold;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use epiledger_ingest::{Folder, IngestError, precheck::readable};
use epiledger_ledger::{
    KeyFault, LedgerEntry, Log, LogError, LogReader, NewEntry, NoteKey, StdFs, Transaction,
    entry::{
        Canonical, EntryError, ReadRequest,
        key::Party,
        named_blobs,
        record::{Payload, Period, Seal},
    },
    parse_ledger_entry,
};
use epiledger_privacy::deidentify::Fault;

use crate::open::{hex, today};
use fold::{Fold, Version};
use sha2::{Digest, Sha256};

/// How far a reader's clock may be from ours, seconds.
const CLOCK_SLACK: u64 = 300;

/// The ledger of a data folder.
pub struct Chain {
    folder: Folder,
    fold: Mutex<Fold>,
}

/// A transaction that is on the ledger now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnLedger {
    /// Its index.
    pub index: u64,
    /// Its inclusion under a signed head, a C2SP tlog-proof.
    pub proof: String,
}

/// The newest version of a record that the reader may read.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenRecord {
    /// Ledger index of this version.
    pub index: u64,
    /// The provider's name of it.
    pub record_id: String,
    /// Who wrote it.
    pub provider: String,
    /// Its consent category.
    pub category: String,
    /// Days it speaks of.
    pub effective_period: Period,
    /// Where its payload is.
    pub payload: Payload,
    /// The payload as it is stored; `None` when it was erased.
    pub bytes: Option<Vec<u8>>,
    /// The grant that opens it; `None` for the patient and the provider themselves.
    pub grant: Option<u64>,
    /// The data key as that grant wraps it to the reader; `None` while the payload is not sealed.
    pub wrap: Option<Vec<u8>>,
}

/// Why a transaction is not taken, or records are not given.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Not the canonical form of a transaction.
    #[error("the entry is no transaction in its canonical form: {0}")]
    Malformed(String),
    /// It would not count on the ledger.
    #[error("the ledger would not count it: {0}")]
    Key(#[from] KeyFault),
    /// The provider has a record of that name for this patient.
    #[error("this provider has a record of that id for this patient already: send a ModifyRecord")]
    Duplicate,
    /// A blob that the entry names did not come, another came, or its size is another.
    #[error("{0}")]
    Blobs(&'static str),
    /// The ingester could not read it.
    #[error("the payload can't be read: {0}")]
    Payload(Fault),
    /// The reader is not who it says, or its clock is off.
    #[error("the request is not signed by a key that is registered to this party at this time")]
    Unsigned,
    /// Its bytes would stay.
    #[error("an erasure takes bytes off the disk too: `epiledger ledger erase` where the ledger lies does both")]
    Erasure,
    /// Nothing that this reader may read, or no such patient.
    #[error("no record of such a patient is open to this reader")]
    Nothing,
    /// The folder holds a copy.
    #[error("this folder holds a copy of the ledger: send the transaction to the one who writes it")]
    Copy,
    /// Someone else appends.
    #[error("another process appends to the ledger; send it again in a moment")]
    Busy,
    /// Ours to mend.
    #[error(transparent)]
    Log(LogError),
    /// Ours to mend.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl From<LogError> for ChainError {
    fn from(error: LogError) -> Self {
        if matches!(error, LogError::Locked(_)) { Self::Busy } else { Self::Log(error) }
    }
}

impl From<EntryError> for ChainError {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::BadSignature | EntryError::BadKey => Self::Key(KeyFault::BadSignature),
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl Chain {
    /// The ledger under `data`.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self { folder: Folder::new(data), fold: Mutex::default() }
    }

    fn dir(&self) -> PathBuf {
        self.folder.ledger()
    }

    /// Appends a signed transaction with the blobs that it names; it is durable and published when this returns.
    ///
    /// # Errors
    /// It would not count, it is malformed, or the ledger can't be written; nothing is on the ledger then.
    pub fn append(&self, entry: Vec<u8>, blobs: Vec<Vec<u8>>) -> Result<OnLedger, ChainError> {
        let LedgerEntry::Transaction(signed) = parse_ledger_entry(&entry)? else {
            return Err(ChainError::Malformed("a block is written by the ledger alone".to_owned()));
        };
        signed.verify_signature()?;
        if matches!(signed.transaction, Transaction::Erase(_)) {
            return Err(ChainError::Erasure);
        }
        self.has_its_blobs(&signed.transaction, &entry, &blobs)?;
        // One at a time: the next one is judged by what this one says.
        let mut fold = self.fold.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = LogReader::open(&self.dir())?;
        fold.follow(&reader)?;
        fold.counts(&reader, &signed, reader.size())?;
        if let Transaction::NewRecord(record) = &signed.transaction
            && fold.versions(&reader, &record.patient)?.iter().any(|v| v.is(&record.provider, &record.record_id))
        {
            return Err(ChainError::Duplicate);
        }
        if !self.folder.ledger_key().exists() {
            return Err(ChainError::Copy);
        }
        let log = Log::open(Arc::new(StdFs), &self.dir(), NoteKey::load(&self.folder.ledger_key())?)?;
        let appended = log.append(vec![NewEntry { entry: Canonical::parse(entry)?, blobs }])?;
        log.flush()?;
        Ok(OnLedger { index: appended.first, proof: log.prove_inclusion(appended.first)? })
    }

    /// Exactly the blobs that the entry names, each of the stated size and, while it is not sealed, readable.
    fn has_its_blobs(&self, transaction: &Transaction, entry: &[u8], blobs: &[Vec<u8>]) -> Result<(), ChainError> {
        let came: Vec<[u8; 32]> = blobs.iter().map(|blob| Sha256::digest(blob).into()).collect();
        if came != named_blobs(entry) {
            return Err(ChainError::Blobs("the blobs are not those whose SHA-256 the transaction names"));
        }
        let (provider, record_id, payload) = match transaction {
            Transaction::NewRecord(new) => (&new.provider, &new.record_id, Some(&new.payload)),
            Transaction::ModifyRecord(new) => (&new.provider, &new.record_id, new.payload.as_ref()),
            _ => return Ok(()),
        };
        let (Some(payload), Some(blob)) = (payload, blobs.first()) else { return Ok(()) };
        if payload.size != blob.len() as u64 {
            return Err(ChainError::Blobs("the payload is not as long as the transaction says"));
        }
        if payload.seal == Seal::None {
            readable(&self.folder, provider, record_id, blob)?.map_err(ChainError::Payload)?;
        }
        Ok(())
    }

    /// The newest versions of a patient's records that the signer of `request` may read at `now` (Unix seconds): the
    /// patient all, a provider its own, and whoever a grant in force names what it covers. `seen` is told what will be
    /// given, before it is given: the reader, the record's indices and the grants'.
    ///
    /// # Errors
    /// [`ChainError::Unsigned`], [`ChainError::Nothing`], or the ledger can't be read.
    pub fn records<E: From<ChainError>>(
        &self,
        patient: &str,
        request: &ReadRequest,
        now: u64,
        seen: impl FnOnce(&[OpenRecord]) -> Result<(), E>,
    ) -> Result<Vec<OpenRecord>, E> {
        let open = self.open_to(patient, request, now)?;
        if open.is_empty() {
            return Err(ChainError::Nothing.into());
        }
        seen(&open)?;
        Ok(open)
    }

    fn open_to(&self, patient: &str, request: &ReadRequest, now: u64) -> Result<Vec<OpenRecord>, ChainError> {
        let reader = LogReader::open(&self.dir())?;
        let origin = reader.checkpoint().origin.clone();
        request.verify(&origin, patient).map_err(|_| ChainError::Unsigned)?;
        if request.time.abs_diff(now) > CLOCK_SLACK {
            return Err(ChainError::Unsigned);
        }
        let mut fold = self.fold.lock().unwrap_or_else(PoisonError::into_inner);
        fold.follow(&reader)?;
        if !fold.is_key_of(request, reader.size()) {
            return Err(ChainError::Unsigned);
        }
        let (versions, consents) = (fold.versions(&reader, patient)?, fold.consents(&reader, patient)?);
        drop(fold);
        let mut open = Vec::new();
        for version in versions {
            let own = match request.party {
                Party::Patient => request.owner == patient,
                Party::Hospital => request.owner == version.provider,
                Party::Registrar | Party::Expert => false,
            };
            let grant = consents.of.opened_to(&request.owner, &version.category, &version.period, today());
            // A patient's id and a hospital's may be spelled alike: grants name hospitals and protocols.
            let grant = grant.filter(|_| request.party == Party::Hospital && !own);
            if own || grant.is_some() {
                open.push(opened(&reader, version, grant, consents.wrap(grant))?);
            }
        }
        Ok(open)
    }
}

fn opened(
    reader: &LogReader,
    version: Version,
    grant: Option<u64>,
    wrap: Option<&str>,
) -> Result<OpenRecord, LogError> {
    Ok(OpenRecord {
        index: version.index,
        bytes: reader.blob(&version.payload.sha256)?,
        wrap: wrap.map(|sha256| reader.blob(sha256)).transpose()?.flatten(),
        record_id: version.record_id,
        provider: version.provider,
        category: version.category,
        effective_period: version.period,
        payload: version.payload,
        grant,
    })
}

/// SHA-256(salt || text) in hex, and the blob behind it: who read what, for the board.
#[must_use]
pub fn read_commitment(patient: &str, open: &[OpenRecord]) -> (String, Vec<u8>) {
    let records: Vec<u64> = open.iter().map(|record| record.index).collect();
    let grants: Vec<u64> = open.iter().filter_map(|record| record.grant).collect();
    let text = serde_json::json!({ "patient": patient, "records": records, "grants": grants }).to_string();
    let blob = [&rand::random::<[u8; 32]>()[..], text.as_bytes()].concat();
    (hex(&Sha256::digest(&blob)), blob)
}
