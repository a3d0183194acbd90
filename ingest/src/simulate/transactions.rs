//! A simulated person's transactions: key, consent, records, corrections, and for a few persons a bad one.

use ed25519_dalek::SigningKey;
use epiledger_ledger::NewEntry;
use epiledger_ledger::entry::consent::{GrantAccess, RevokeAccess, Scope};
use epiledger_ledger::entry::key::Party;
use epiledger_ledger::entry::record::{ModifyRecord, NewRecord, Payload, Period, Reason};
use epiledger_ledger::entry::{Canonical, LedgerEntry, SignedTransaction, Transaction, parse_ledger_entry};
use serde_json::json;

use super::dice::Dice;
use super::history::history;
use super::person::{Consent, Person};
use crate::bundle::{Bundle, Death, ObservationPeriod, Packer};
use crate::error::IngestError;
use crate::folder::hex;
use crate::parties::{Authorities, derive, plain, register};

/// A bad transaction that the ledger holds and that ingest must put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bad {
    /// A record whose signature does not fit.
    BrokenSignature,
    /// A record signed by a key that nobody registered.
    UnknownKey,
    /// A record with a social security number in a field.
    Identifier,
    /// A record with a day that does not exist.
    BadDate,
    /// A second record under a used record id.
    Duplicate,
}

impl Bad {
    /// Which bad transaction the person of this number has: one person in a hundred, each kind in turn.
    pub(super) fn of(number: u64) -> Option<Self> {
        match number % 500 {
            7 => Some(Self::BrokenSignature),
            107 => Some(Self::UnknownKey),
            207 => Some(Self::Identifier),
            307 => Some(Self::BadDate),
            407 => Some(Self::Duplicate),
            _ => None,
        }
    }

    /// The code that ingest must give it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BrokenSignature => "BAD_SIGNATURE",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::Identifier => "IDENTIFIER",
            Self::BadDate => "MALFORMED_ROW",
            Self::Duplicate => "DUPLICATE_RECORD",
        }
    }
}

/// What follows once the first transactions have their indices.
pub(super) enum After {
    /// The history is replaced.
    Correct(Box<(NewRecord, Vec<u8>, Payload)>),
    /// The history is withdrawn.
    Retract(Box<NewRecord>),
    /// The grant is taken back.
    Revoke,
}

/// One person's part of the ledger.
pub(super) struct Part {
    pub(super) patient: String,
    pub(super) seed: [u8; 32],
    pub(super) hospital: usize,
    pub(super) person: Person,
    pub(super) bad: Option<Bad>,
    /// Entries whose place does not matter.
    pub(super) entries: Vec<NewEntry>,
    /// Position in `entries` of the grant and of the history.
    pub(super) grant_at: usize,
    pub(super) history_at: usize,
    pub(super) after: Vec<After>,
}

/// What is the same for all persons of a simulation.
pub(super) struct World<'a> {
    pub(super) root: [u8; 32],
    pub(super) authorities: &'a Authorities,
}

impl World<'_> {
    /// Makes one person's part. `number` counts persons from 0.
    pub(super) fn part(&self, number: u64, packer: &mut Packer) -> Result<Part, IngestError> {
        let name = number.to_string();
        let bad = Bad::of(number);
        let mut dice = Dice::new(derive(&self.root, "person", &name));
        let person = Person::draw(&mut dice, bad.is_some());
        let hospital = person.county;
        let seed = derive(&self.root, "patient", &name);
        let key = SigningKey::from_bytes(&seed);
        let public = derive(&self.root, "patient id", &name);
        let patient = format!("p-{}", hex(public.get(..10).unwrap_or_default()));
        let Some((provider, provider_key)) = self.authorities.hospital(hospital) else {
            return Err(IngestError::Worker);
        };
        let mut part = Part {
            patient: patient.clone(),
            seed,
            hospital,
            person,
            bad,
            entries: vec![plain(register(&patient, Party::Patient, &key, provider_key)?)],
            grant_at: 0,
            history_at: 0,
            after: Vec::new(),
        };
        part.consent(&key)?;
        let signer = Signer { patient: &patient, provider, key: provider_key, period: part.period() };
        signer.records(&mut part, &mut dice, packer)?;
        if let Some(bad) = bad {
            let wrong = SigningKey::from_bytes(&derive(&self.root, "stranger", &name));
            signer.bad(&mut part, bad, &wrong, packer)?;
        }
        Ok(part)
    }

    /// The transactions that name indices, once `grant` and `history` are known.
    pub(super) fn after(&self, part: &Part, grant: u64, history: u64) -> Result<Vec<NewEntry>, IngestError> {
        let Some((_, provider_key)) = self.authorities.hospital(part.hospital) else {
            return Err(IngestError::Worker);
        };
        let modify = |of: &NewRecord, reason, payload| {
            let body = ModifyRecord {
                record_id: of.record_id.clone(),
                patient: of.patient.clone(),
                provider: of.provider.clone(),
                prev_index: history,
                reason,
                payload,
            };
            SignedTransaction::sign(Transaction::ModifyRecord(body), provider_key)
        };
        part.after
            .iter()
            .map(|after| {
                Ok(match after {
                    After::Correct(changed) => {
                        let (of, blob, payload) = changed.as_ref();
                        let entry = modify(of, Reason::Correct, Some(payload.clone()))?;
                        NewEntry { entry, blobs: vec![blob.clone()] }
                    }
                    After::Retract(of) => plain(modify(of, Reason::Retract, None)?),
                    After::Revoke => plain(revoke(&part.patient, &part.seed, Some(grant))?),
                })
            })
            .collect()
    }
}

/// A revocation of one grant, or of everything.
fn revoke(patient: &str, seed: &[u8; 32], grant: Option<u64>) -> Result<Canonical, IngestError> {
    let body = RevokeAccess {
        patient: patient.to_owned(),
        scope: if grant.is_some() { Scope::Grant } else { Scope::All },
        grant_index: grant,
        purpose: None,
    };
    Ok(SignedTransaction::sign(Transaction::RevokeAccess(body), &SigningKey::from_bytes(seed))?)
}

impl Part {
    /// Days that the person's records speak of.
    fn period(&self) -> Period {
        Period { start: self.person.start.to_string(), end: self.person.end.to_string() }
    }

    fn consent(&mut self, key: &SigningKey) -> Result<(), IngestError> {
        match self.person.consent {
            Consent::None => {}
            Consent::Denied => self.entries.push(plain(revoke(&self.patient, &self.seed, None)?)),
            Consent::Granted { purpose, general_only, revoked } => {
                self.grant_at = self.entries.len();
                self.entries.push(plain(grant(&self.patient, purpose, general_only, key)?));
                if revoked {
                    self.after.push(After::Revoke);
                }
            }
        }
        Ok(())
    }
}

/// A patient's grant.
fn grant(patient: &str, purpose: &str, general_only: bool, key: &SigningKey) -> Result<Canonical, IngestError> {
    let body = GrantAccess {
        patient: patient.to_owned(),
        grantee: "*".to_owned(),
        purposes: vec![purpose.to_owned()],
        categories: vec![if general_only { "general" } else { "*" }.to_owned()],
        data_period: None,
        valid_from: "2016-01-01".to_owned(),
        valid_to: None,
        wrap_sha256: None,
    };
    Ok(SignedTransaction::sign(Transaction::GrantAccess(body), key)?)
}

/// One hospital writing about one patient.
struct Signer<'a> {
    patient: &'a str,
    provider: &'a str,
    key: &'a SigningKey,
    period: Period,
}

impl Signer<'_> {
    fn record(&self, record_id: &str, category: &str, payload: Payload) -> NewRecord {
        NewRecord {
            record_id: record_id.to_owned(),
            patient: self.patient.to_owned(),
            provider: self.provider.to_owned(),
            category: category.to_owned(),
            effective_period: self.period.clone(),
            payload,
        }
    }

    fn sign(&self, record: NewRecord, blob: Vec<u8>) -> Result<NewEntry, IngestError> {
        let entry = SignedTransaction::sign(Transaction::NewRecord(record), self.key)?;
        Ok(NewEntry { entry, blobs: vec![blob] })
    }

    /// The admission record, the history, and what is private to a category; sometimes a change to come.
    fn records(&self, part: &mut Part, dice: &mut Dice, packer: &mut Packer) -> Result<(), IngestError> {
        let (bundle, mental) = history(dice, &part.person);
        let person = &part.person;
        let admission = Bundle {
            person: Some(person.row()),
            observation_period: Some(ObservationPeriod {
                observation_period_start_date: person.start.to_string(),
                observation_period_end_date: person.end.to_string(),
                end_reason: person.end_reason,
            }),
            death: (person.end_reason == "died")
                .then(|| Death { death_date: person.end.to_string(), cause_source_value: None }),
            ..Bundle::default()
        };
        let (blob, payload) = packer.pack(&admission)?;
        part.entries.push(self.sign(self.record("admission", "general", payload), blob)?);
        let (blob, payload) = packer.pack(&bundle)?;
        let record = self.record("history", "general", payload);
        part.history_at = part.entries.len();
        part.entries.push(self.sign(record.clone(), blob)?);
        if let Some(mental) = mental {
            let (blob, payload) = packer.pack(&mental)?;
            part.entries.push(self.sign(self.record("mental", "mental_health", payload), blob)?);
        }
        if dice.chance(0.01) && !bundle.measurement.is_empty() {
            let mut corrected = bundle;
            for measurement in &mut corrected.measurement {
                measurement.value_as_number = Some("99.5".to_owned());
            }
            let (blob, payload) = packer.pack(&corrected)?;
            part.after.push(After::Correct(Box::new((record, blob, payload))));
        } else if dice.chance(0.003) {
            part.after.push(After::Retract(Box::new(record)));
        }
        Ok(())
    }

    /// Adds a bad transaction beside the good ones.
    fn bad(&self, part: &mut Part, bad: Bad, stranger: &SigningKey, packer: &mut Packer) -> Result<(), IngestError> {
        let row = json!({
            "visit": null, "procedure_source_value": "430193006", "procedure_source_vocabulary": "SNOMED",
            "procedure_date": if bad == Bad::BadDate { "2021-02-30" } else { "2021-02-20" }, "for": part.patient,
        });
        let mut bundle = json!({"format": "omop-rows/1", "procedure_occurrence": [row]});
        if bad == Bad::Identifier
            && let Some(row) = bundle.pointer_mut("/procedure_occurrence/0").and_then(|row| row.as_object_mut())
        {
            row.insert("patient_ssn".to_owned(), json!("999-00-1234"));
        }
        let (blob, payload) = packer.pack_text(bundle.to_string().as_bytes())?;
        let id = if bad == Bad::Duplicate { "history" } else { "bad" };
        let record = self.record(id, "general", payload);
        let key = if bad == Bad::UnknownKey { stranger } else { self.key };
        let mut entry = SignedTransaction::sign(Transaction::NewRecord(record), key)?;
        if bad == Bad::BrokenSignature {
            entry = broken(entry)?;
        }
        part.entries.push(NewEntry { entry, blobs: vec![blob] });
        Ok(())
    }
}

/// The same entry with another record's signature under it.
fn broken(entry: Canonical) -> Result<Canonical, IngestError> {
    let LedgerEntry::Transaction(mut signed) = parse_ledger_entry(entry.as_bytes())? else {
        return Ok(entry);
    };
    let first = if signed.signature.starts_with('0') { "1" } else { "0" };
    signed.signature.replace_range(..1, first);
    Ok(Canonical::of(&signed)?)
}
