//! Which payloads of a ledger an erasure asks for, and who may ask: for the patient of a record, or the provider who
//! wrote it. Nothing is written here.
//!
//! A payload is stored once, by its hash: one that a record of another patient holds too stays, though the entry is
//! written and the patient's own rows go.

use std::collections::{BTreeMap, BTreeSet};

use epiledger_ledger::entry::named_blobs;
use epiledger_ledger::entry::record::Erase;
use epiledger_ledger::{KeyFault, KeyRegistry, LedgerEntry, LogReader, Transaction, parse_ledger_entry};

use crate::error::IngestError;
use crate::folder::hex;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Every version of a record; the patient is needed when several have one of this name.
    Record {
        /// The record's name.
        record_id: String,
        /// Whose.
        patient: Option<String>,
    },
    /// A payload, or a wrapped key.
    Payload {
        /// Lower-case hex SHA-256.
        sha256: String,
        /// Whose.
        patient: Option<String>,
    },
}

/// One payload that can be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Lower-case hex SHA-256.
    pub sha256: String,
    /// Ledger entries of the patient that name it.
    pub entries: Vec<u64>,
    /// Providers of those.
    pub providers: BTreeSet<String>,
    /// Entries about others that count and name it: while there are any, its bytes stay.
    pub others: u64,
}

/// What was found.
pub struct Erasable {
    /// The patient.
    pub patient: String,
    /// Each payload that is still stored.
    pub payloads: Vec<Payload>,
    keys: KeyRegistry,
    size: u64,
}

/// Why nothing can be erased.
#[derive(Debug, thiserror::Error)]
pub enum NotErasable {
    /// The ledger can't be read.
    #[error(transparent)]
    Ledger(#[from] IngestError),
    /// Nothing of that name.
    #[error("no record on the ledger names that, or its payload is erased already")]
    Unknown,
    /// Several patients.
    #[error("{0} patients have that: name one with --patient")]
    Ambiguous(usize),
}

impl From<epiledger_ledger::LogError> for NotErasable {
    fn from(error: epiledger_ledger::LogError) -> Self {
        Self::Ledger(error.into())
    }
}

/// A record transaction or grant, as far as erasing goes: whose it is, who wrote it, its record.
struct Holder<'a> {
    patient: &'a str,
    provider: Option<&'a str>,
    record_id: Option<&'a str>,
}

fn holder(transaction: &Transaction) -> Option<Holder<'_>> {
    let of = |patient, provider, record_id| Some(Holder { patient, provider, record_id });
    match transaction {
        Transaction::NewRecord(body) => of(&body.patient, Some(&body.provider), Some(&body.record_id)),
        Transaction::ModifyRecord(body) => of(&body.patient, Some(&body.provider), Some(&body.record_id)),
        Transaction::GrantAccess(body) => of(&body.patient, None, None),
        _ => None,
    }
}

impl Wanted {
    fn is(&self, of: &Holder<'_>, hash: &str) -> bool {
        let (named, patient) = match self {
            Self::Payload { sha256, patient } => (sha256 == hash, patient),
            Self::Record { record_id, patient } => (of.record_id == Some(record_id), patient),
        };
        named && patient.as_deref().is_none_or(|patient| patient == of.patient)
    }
}

impl Erasable {
    /// Searches a ledger from end to end.
    ///
    /// # Errors
    /// Nothing is found, or of several patients, or the ledger can't be read.
    pub fn find(reader: &LogReader, wanted: &Wanted) -> Result<Self, NotErasable> {
        // What is asked for, by patient; and the same in entries that do not count.
        let (mut wanted_of, mut others_of) = (BTreeMap::new(), BTreeMap::new());
        let mut keys = KeyRegistry::new();
        each(reader, |index, entry, transaction, key| {
            if let Some(of) = holder(transaction) {
                for hash in named_blobs(entry).iter().map(|hash| hex(hash)).filter(|hash| wanted.is(&of, hash)) {
                    let counts = keys.may_sign(transaction, key, index).is_ok() && verifies(entry);
                    let found: &mut BTreeMap<String, BTreeSet<String>> =
                        if counts { &mut wanted_of } else { &mut others_of };
                    found.entry(of.patient.to_owned()).or_default().insert(hash);
                }
            }
            apply(&mut keys, index, entry, transaction, key);
        })?;
        if wanted_of.is_empty() {
            wanted_of = others_of;
        }
        let patients = wanted_of.len();
        let (patient, hashes) = match (wanted_of.pop_first(), patients) {
            (None, _) => return Err(NotErasable::Unknown),
            (Some(only), 1) => only,
            _ => return Err(NotErasable::Ambiguous(patients)),
        };
        let mut found: BTreeMap<String, Payload> = BTreeMap::new();
        each(reader, |index, entry, transaction, key| {
            let Some(of) = holder(transaction) else { return };
            for hash in named_blobs(entry).iter().map(|hash| hex(hash)).filter(|hash| hashes.contains(hash)) {
                let payload = found.entry(hash.clone()).or_insert_with(|| Payload {
                    sha256: hash,
                    entries: Vec::new(),
                    providers: BTreeSet::new(),
                    others: 0,
                });
                if of.patient == patient {
                    payload.entries.push(index);
                    payload.providers.extend(of.provider.map(str::to_owned));
                } else if keys.may_sign(transaction, key, index).is_ok() && verifies(entry) {
                    // A stranger's entry that does not count keeps nothing from being erased.
                    payload.others += 1;
                }
            }
        })?;
        let mut payloads = Vec::new();
        for payload in found.into_values() {
            if reader.blob(&payload.sha256)?.is_some() {
                payloads.push(payload);
            }
        }
        if payloads.is_empty() {
            return Err(NotErasable::Unknown);
        }
        Ok(Self { patient, payloads, keys, size: reader.size() })
    }

    /// The provider of every payload, if there is only one.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        let mut all = self.payloads.iter().flat_map(|payload| &payload.providers);
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    /// The entry for a payload, without its signature.
    #[must_use]
    pub fn entry(&self, payload: &Payload, basis: &str) -> Transaction {
        let (patient, basis) = (self.patient.clone(), basis.to_owned());
        Transaction::Erase(Erase { patient, payload_sha256: payload.sha256.clone(), basis })
    }

    /// Whether the entry counts when this key (64 hex digits) signs it.
    ///
    /// # Errors
    /// Why it would not.
    pub fn may_sign(&self, entry: &Transaction, key: &str) -> Result<(), KeyFault> {
        self.keys.may_sign(entry, key, self.size)
    }
}

/// Every transaction with its index, stored bytes and key.
fn each(reader: &LogReader, mut take: impl FnMut(u64, &[u8], &Transaction, &str)) -> Result<(), NotErasable> {
    for stored in reader.entries(0) {
        let (index, entry, _) = stored?;
        if let Ok(LedgerEntry::Transaction(signed)) = parse_ledger_entry(&entry) {
            take(index, &entry, &signed.transaction, &signed.key);
        }
    }
    Ok(())
}

fn verifies(entry: &[u8]) -> bool {
    match parse_ledger_entry(entry) {
        Ok(LedgerEntry::Transaction(signed)) => signed.verify_signature().is_ok(),
        _ => false,
    }
}

/// Takes in what a transaction says about keys, when its signature verifies.
fn apply(keys: &mut KeyRegistry, index: u64, entry: &[u8], transaction: &Transaction, key: &str) {
    if !matches!(transaction, Transaction::KeyRegister(_) | Transaction::KeyRotate(_) | Transaction::KeyRevoke(_)) {
        return;
    }
    if verifies(entry) {
        // One that does not count changes nothing.
        let _ = keys.apply(transaction, key, index);
    }
}
