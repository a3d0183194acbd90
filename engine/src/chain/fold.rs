//! What the ledger says so far, in the order of its entries.

use std::collections::HashMap;

use epiledger_ledger::{
    KeyFault, KeyRegistry, LedgerEntry, LogError, LogReader, RecordChain, SignedTransaction, Transaction,
    entry::{
        ReadRequest,
        record::{Payload, Period},
    },
    parse_ledger_entry,
};
use epiledger_privacy::consent::Consents;

/// Keys, versions and each patient's transactions that count, up to an index.
#[derive(Default)]
pub(super) struct Fold {
    next: u64,
    registry: KeyRegistry,
    chain: RecordChain,
    of_patient: HashMap<String, Vec<u64>>,
}

/// The newest version of a record.
pub(super) struct Version {
    pub(super) index: u64,
    pub(super) record_id: String,
    pub(super) provider: String,
    pub(super) category: String,
    pub(super) period: Period,
    pub(super) payload: Payload,
    retracted: bool,
}

impl Version {
    /// Is it this record?
    pub(super) fn is(&self, provider: &str, record_id: &str) -> bool {
        self.provider == provider && self.record_id == record_id
    }
}

/// A patient's consents, and the data keys that the grants wrap.
pub(super) struct Granted {
    pub(super) of: Consents,
    wraps: HashMap<u64, String>,
}

impl Granted {
    /// The wrapped key of a grant, by its SHA-256.
    pub(super) fn wrap(&self, grant: Option<u64>) -> Option<&str> {
        self.wraps.get(&grant?).map(String::as_str)
    }
}

impl Fold {
    /// Takes in what is new on the ledger.
    pub(super) fn follow(&mut self, reader: &LogReader) -> Result<(), LogError> {
        for stored in reader.entries(self.next) {
            let (index, bytes, _) = stored?;
            self.next = index + 1;
            let Ok(LedgerEntry::Transaction(signed)) = parse_ledger_entry(&bytes) else { continue };
            let counts = match signed.verify_signature() {
                Ok(()) => self.counts(reader, &signed, index),
                Err(_) => Err(KeyFault::BadSignature),
            };
            let taken = counts.and_then(|()| self.registry.apply(&signed.transaction, &signed.key, index));
            if taken.is_err() {
                self.chain.refuse(index);
                continue;
            }
            let patient = match signed.transaction {
                Transaction::ModifyRecord(modify) => {
                    // It counts, so it supersedes: judged a moment ago.
                    let _ = self.chain.supersede(&modify, before(reader, modify.prev_index, index).as_ref());
                    modify.patient
                }
                Transaction::NewRecord(new) => new.patient,
                Transaction::GrantAccess(grant) => grant.patient,
                Transaction::RevokeAccess(revoke) => revoke.patient,
                _ => continue,
            };
            self.of_patient.entry(patient).or_default().push(index);
        }
        Ok(())
    }

    /// Whether a transaction whose signature verifies would count at this index.
    pub(super) fn counts(&self, reader: &LogReader, signed: &SignedTransaction, index: u64) -> Result<(), KeyFault> {
        self.registry.may_sign(&signed.transaction, &signed.key, index)?;
        match &signed.transaction {
            Transaction::ModifyRecord(modify) => {
                self.chain.may_supersede(modify, before(reader, modify.prev_index, index).as_ref())
            }
            _ => Ok(()),
        }
    }

    /// Is the request's key registered to the party that it names?
    pub(super) fn is_key_of(&self, request: &ReadRequest, index: u64) -> bool {
        self.registry.is_key_of(request.party, &request.owner, &request.key, index)
    }

    /// The newest version of each of a patient's records, retracted ones left out.
    pub(super) fn versions(&self, reader: &LogReader, patient: &str) -> Result<Vec<Version>, LogError> {
        let mut versions: Vec<Version> = Vec::new();
        for (index, transaction) in self.transactions(reader, patient)? {
            match transaction {
                Transaction::NewRecord(new) => versions.push(Version {
                    index,
                    record_id: new.record_id,
                    provider: new.provider,
                    category: new.category,
                    period: new.effective_period,
                    payload: new.payload,
                    retracted: false,
                }),
                Transaction::ModifyRecord(modify) => {
                    let Some(version) = versions.iter_mut().find(|v| v.is(&modify.provider, &modify.record_id)) else {
                        continue;
                    };
                    version.index = index;
                    version.retracted = modify.payload.is_none();
                    if let Some(payload) = modify.payload {
                        version.payload = payload;
                    }
                }
                _ => {}
            }
        }
        versions.retain(|version| !version.retracted);
        Ok(versions)
    }

    /// A patient's consents.
    pub(super) fn consents(&self, reader: &LogReader, patient: &str) -> Result<Granted, LogError> {
        let mut granted = Granted { of: Consents::default(), wraps: HashMap::new() };
        for (index, transaction) in self.transactions(reader, patient)? {
            match transaction {
                Transaction::GrantAccess(grant) => {
                    granted.wraps.extend(grant.wrap_sha256.clone().map(|wrap| (index, wrap)));
                    granted.of.grant(index, grant);
                }
                Transaction::RevokeAccess(revoke) => granted.of.revoke(index, revoke),
                _ => {}
            }
        }
        Ok(granted)
    }

    fn transactions(&self, reader: &LogReader, patient: &str) -> Result<Vec<(u64, Transaction)>, LogError> {
        let indices = self.of_patient.get(patient).map_or(&[][..], Vec::as_slice);
        let read = |index: &u64| {
            let entry = parse_ledger_entry(&reader.read(*index)?).map_err(LogError::from)?;
            Ok(match entry {
                LedgerEntry::Transaction(signed) => Some((*index, signed.transaction)),
                LedgerEntry::Block(_) => None,
            })
        };
        indices.iter().filter_map(|index| read(index).transpose()).collect()
    }
}

/// The transaction at an index before another.
fn before(reader: &LogReader, at: u64, index: u64) -> Option<Transaction> {
    match parse_ledger_entry(&reader.read(at).ok().filter(|_| at < index)?).ok()? {
        LedgerEntry::Transaction(signed) => Some(signed.transaction),
        LedgerEntry::Block(_) => None,
    }
}
