//! Second pass, one patient: transactions in the order of the ledger become the newest version of each record and
//! the consents in force.

use std::collections::{BTreeMap, BTreeSet};

use epiledger_ledger::entry::record::{ModifyRecord, NewRecord, Payload, Period, Reason as Change, Seal};
use epiledger_ledger::{KeyFault, KeyRegistry, LedgerEntry, SignedTransaction, Transaction, parse_ledger_entry};
use epiledger_privacy::consent::{Consented, Consents, Record, admit};
use epiledger_privacy::day::Day;

use super::spill::Frame;
use crate::bundle::Unpacker;
use crate::error::IngestError;
use crate::quarantine::Reason;

/// The newest version of a record.
struct Version<'a> {
    index: u64,
    category: String,
    period: Period,
    /// The payload and its address; none after a retraction.
    content: Option<(Payload, &'a [u8])>,
}

/// A patient's transactions, folded.
pub(super) struct Patient<'a> {
    person: i64,
    keys: KeyRegistry,
    consents: Consents,
    /// By provider and record id.
    records: BTreeMap<(String, String), Version<'a>>,
    erased: BTreeSet<String>,
    /// What was put aside on the way.
    pub(super) bad: Vec<(u64, Reason)>,
}

/// What a patient's transactions come to.
pub(super) struct Admitted {
    /// Records that research may read.
    pub(super) records: Vec<Consented>,
    /// Records that it may not.
    pub(super) denied: u64,
}

impl<'a> Patient<'a> {
    /// Folds a patient's frames, in the order of the ledger.
    pub(super) fn fold(authorities: &KeyRegistry, frames: &[Frame<'a>]) -> Result<Self, IngestError> {
        let mut patient = Self {
            person: frames.first().map_or(0, |frame| frame.person),
            keys: authorities.clone(),
            consents: Consents::default(),
            records: BTreeMap::new(),
            erased: BTreeSet::new(),
            bad: Vec::new(),
        };
        let mut name: Option<String> = None;
        for frame in frames {
            // The first pass has read these bytes before; only a damaged disk brings something else here.
            let Ok(LedgerEntry::Transaction(signed)) = parse_ledger_entry(frame.entry) else {
                let reason = "an entry changed between the passes; run again".to_owned();
                return Err(IngestError::Damaged { file: "spill".to_owned(), reason });
            };
            let owner = patient_of(&signed.transaction).unwrap_or_default();
            if name.get_or_insert_with(|| owner.to_owned()) != owner {
                return Err(IngestError::Collision);
            }
            if let Err(reason) = patient.take(frame, &signed) {
                patient.bad.push((frame.index, reason));
            }
        }
        Ok(patient)
    }

    fn take(&mut self, frame: &Frame<'a>, signed: &SignedTransaction) -> Result<(), Reason> {
        let index = frame.index;
        match &signed.transaction {
            Transaction::NewRecord(body) => self.new_record(frame, body),
            Transaction::ModifyRecord(body) => self.modify(frame, body),
            Transaction::GrantAccess(body) => {
                self.keys.may_sign(&signed.transaction, &signed.key, index)?;
                self.consents.grant(index, body.clone());
                Ok(())
            }
            Transaction::RevokeAccess(body) => {
                self.keys.may_sign(&signed.transaction, &signed.key, index)?;
                self.consents.revoke(index, body.clone());
                Ok(())
            }
            Transaction::Erase(body) => {
                self.keys.may_sign(&signed.transaction, &signed.key, index)?;
                self.erased.insert(body.payload_sha256.clone());
                Ok(())
            }
            keys => Ok(self.keys.apply(keys, &signed.key, index)?),
        }
    }

    fn new_record(&mut self, frame: &Frame<'a>, body: &NewRecord) -> Result<(), Reason> {
        let name = (body.provider.clone(), body.record_id.clone());
        if self.records.contains_key(&name) {
            return Err(Reason::DuplicateRecord);
        }
        let version = Version {
            index: frame.index,
            category: body.category.clone(),
            period: body.effective_period.clone(),
            content: Some((body.payload.clone(), frame.payload)),
        };
        self.records.insert(name, version);
        Ok(())
    }

    fn modify(&mut self, frame: &Frame<'a>, body: &ModifyRecord) -> Result<(), Reason> {
        let name = (body.provider.clone(), body.record_id.clone());
        let newest = self.records.get_mut(&name).filter(|version| version.index == body.prev_index);
        let version = newest.ok_or(Reason::Key(KeyFault::NotNewest))?;
        version.content = match (body.reason, &body.payload) {
            (Change::Retract, None) => None,
            (Change::Correct | Change::Amend, Some(payload)) => Some((payload.clone(), frame.payload)),
            _ => return Err(Reason::PayloadMismatch),
        };
        version.index = frame.index;
        Ok(())
    }

    /// Bit sets of the purposes for which each record may be read on the cut's day, whether its payload is there or
    /// not; records that may not be read at all are left out.
    pub(super) fn readable(&self, cut: Day) -> Vec<i32> {
        let records = self.records.values().filter(|version| {
            version.content.as_ref().is_some_and(|(payload, _)| !self.erased.contains(&payload.sha256))
        });
        let bits = records.map(|version| self.consents.purposes(&version.category, &version.period, cut));
        bits.filter(|bits| *bits != 0).collect()
    }

    /// The records that consent in force on the cut's day lets research read.
    pub(super) fn admit(&mut self, cut: Day, unpacker: &mut Unpacker) -> Admitted {
        let mut admitted = Admitted { records: Vec::new(), denied: 0 };
        for ((provider, record_id), version) in std::mem::take(&mut self.records) {
            let Some((payload, blob)) = version.content else {
                continue;
            };
            if self.erased.contains(&payload.sha256) {
                continue;
            }
            let rows = match open(&payload, blob, unpacker) {
                Ok(rows) => rows,
                Err(reason) => {
                    self.bad.push((version.index, reason));
                    continue;
                }
            };
            let record = Record {
                person: self.person,
                provider,
                record_id,
                transaction: version.index,
                category: version.category,
                period: version.period,
                rows,
            };
            match admit(record, &self.consents, cut) {
                Some(consented) => admitted.records.push(consented),
                None => admitted.denied += 1,
            }
        }
        admitted
    }
}

/// A payload's rows.
fn open(payload: &Payload, blob: &[u8], unpacker: &mut Unpacker) -> Result<Vec<u8>, Reason> {
    if payload.seal != Seal::None {
        return Err(Reason::Sealed);
    }
    if blob.is_empty() {
        return Err(Reason::PayloadMissing);
    }
    unpacker.unpack(blob).ok_or(Reason::BadPayload)
}

/// The patient that a transaction of a bucket is about.
fn patient_of(transaction: &Transaction) -> Option<&str> {
    Some(match transaction {
        Transaction::NewRecord(body) => &body.patient,
        Transaction::ModifyRecord(body) => &body.patient,
        Transaction::GrantAccess(body) => &body.patient,
        Transaction::RevokeAccess(body) => &body.patient,
        Transaction::Erase(body) => &body.patient,
        Transaction::KeyRegister(body) => &body.owner,
        Transaction::KeyRotate(body) => &body.owner,
        Transaction::KeyRevoke(body) => &body.owner,
        Transaction::RequestAccess(_) | Transaction::Determination(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use epiledger_ledger::entry::consent::GrantAccess;

    use super::*;

    fn grant(patient: &str) -> Vec<u8> {
        let body = GrantAccess {
            patient: patient.into(),
            grantee: "*".into(),
            purposes: vec!["GRU".into()],
            categories: vec!["*".into()],
            data_period: None,
            valid_from: "2020-01-01".into(),
            valid_to: None,
            wrap_sha256: None,
        };
        let key = SigningKey::from_bytes(&[1; 32]);
        SignedTransaction::sign(Transaction::GrantAccess(body), &key).unwrap().into_bytes()
    }

    #[test]
    fn two_patients_under_one_pseudonym_stop_the_ingest() {
        let (one, other) = (grant("p-1"), grant("p-2"));
        let frame = |index, entry| Frame { person: 5, index, entry, payload: &[] };
        let fold = |entries: [&'static str; 2]| {
            let bytes = entries.map(|name| if name == "p-1" { &one } else { &other });
            let frames = [frame(1, bytes[0].as_slice()), frame(2, bytes[1].as_slice())];
            Patient::fold(&KeyRegistry::new(), &frames).map(|patient| patient.bad.len())
        };
        assert!(matches!(fold(["p-1", "p-2"]), Err(IngestError::Collision)));
        assert!(matches!(fold(["p-1", "p-1"]), Ok(2)), "both grants are by a key that nobody registered");
    }
}
