//! What a patient's withdrawals took out of the tables, and at which cuts the tables still held the patient. For the
//! steward: made anew from the ledger when it is asked for, and kept nowhere.
//!
//! Rows are counted by the pipeline's own second pass over the patient's transactions as they stood. Those of a payload
//! that is erased can't be counted any more: nothing is left to count them from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use epiledger_ledger::entry::consent::{RevokeAccess, Scope};
use epiledger_ledger::{KeyRegistry, LedgerEntry, LogReader, SignedTransaction, Transaction, parse_ledger_entry};
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::day::Day;
use epiledger_privacy::deidentify::{DeIdentifier, PseudonymKey};
use epiledger_privacy::research::PRIVATE_TABLES;
use serde::Serialize;

use super::fold::Patient;
use super::spill::Frame;
use super::verify::judge;
use crate::bundle::Unpacker;
use crate::error::IngestError;
use crate::folder::Folder;
use crate::snapshot::{self, SnapshotManifest};

/// Whose withdrawals.
#[derive(Clone, Debug)]
pub enum Of {
    /// A patient's, all of them.
    Patient(String),
    /// Those of one grant, by its ledger index: as if the patient had given no other.
    Grant(u64),
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The patient.
    pub patient: String,
    /// Ledger entries read.
    pub ledger_size: u64,
    /// The grants, by ledger index.
    pub grants: Vec<Grant>,
    /// What took something back, by ledger index.
    pub withdrawals: Vec<Withdrawal>,
    /// Every cut at which research could read the patient.
    pub held: Vec<Held>,
}

/// A grant.
#[derive(Clone, Debug, Serialize)]
pub struct Grant {
    /// Ledger index.
    pub index: u64,
    /// Purposes.
    pub purposes: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// First day in force.
    pub valid_from: String,
    /// Last day in force, if there is one.
    pub valid_to: Option<String>,
}

/// A revocation or an erasure.
#[derive(Clone, Debug, Serialize)]
pub struct Withdrawal {
    /// Ledger index.
    pub index: u64,
    /// `RevokeAccess` or `Erase`.
    pub kind: &'static str,
    /// The first cut that covers it; none while it is still to come.
    pub from_snapshot: Option<u64>,
    /// That cut's instant.
    pub cut_at: Option<String>,
    /// Rows by table that could be read just before it, and not after it.
    pub rows: BTreeMap<&'static str, u64>,
    /// Records among them whose payload is erased meanwhile, so that their rows can't be counted.
    pub uncounted_records: u64,
    /// The payload that it erased, lower-case hex SHA-256.
    pub payload: Option<String>,
    /// Are the payload's bytes gone?
    pub gone: Option<bool>,
}

/// A cut at which research could read the patient.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// The snapshot's number.
    pub snapshot: u64,
    /// The cut's instant.
    pub cut_at: String,
    /// Records.
    pub records: u64,
    /// Bit set of the purposes that some record could be read for (`epiledger_privacy::consent`).
    pub purposes: i32,
}

/// Makes the report of a data folder.
///
/// # Errors
/// No such patient or grant is on the ledger, or a file can't be read.
pub fn report(data: &Path, of: &Of) -> Result<Report, IngestError> {
    let folder = Folder::new(data);
    folder.require_ledger()?;
    let reader = LogReader::open(&folder.ledger())?;
    let key = folder.pseudonym_key()?;
    let history = History::read(&reader, of, &key)?;
    let catalog = folder.catalog()?;
    let counter = Counter { history: &history, deidentifier: DeIdentifier::new(&catalog, key)? };
    let cuts = cuts(data)?;
    Ok(Report {
        patient: history.patient.clone(),
        ledger_size: reader.size(),
        grants: history.grants(),
        withdrawals: counter.withdrawals(&reader, &cuts, &catalog)?,
        held: counter.held(&cuts)?,
    })
}

/// Every snapshot of the folder, oldest first.
fn cuts(data: &Path) -> Result<Vec<SnapshotManifest>, IngestError> {
    let newest = snapshot::newest_number(data)?.unwrap_or(0);
    (1..=newest).map(|number| snapshot::read(data, number)).collect()
}

fn day(cut: &SnapshotManifest) -> Day {
    cut.cut_at.get(..10).and_then(Day::parse).unwrap_or(Day(0))
}

/// A patient's transactions whose signatures verify, in the order of the ledger.
struct History {
    patient: String,
    person: i64,
    authorities: KeyRegistry,
    entries: Vec<Entry>,
}

struct Entry {
    index: u64,
    bytes: Vec<u8>,
    payload: Vec<u8>,
    transaction: Transaction,
}

impl History {
    fn read(reader: &LogReader, of: &Of, key: &PseudonymKey) -> Result<Self, IngestError> {
        let patient = match of {
            Of::Patient(patient) => patient.clone(),
            Of::Grant(index) => match grant_at(reader, *index) {
                Some(patient) => patient,
                None => return Err(IngestError::Missing { file: format!("entry {index}"), hint: "it is no grant" }),
            },
        };
        let mut history =
            Self { person: key.person(&patient), patient, authorities: KeyRegistry::new(), entries: Vec::new() };
        for stored in reader.entries(0) {
            let (index, bytes, payload) = stored?;
            let Ok(LedgerEntry::Transaction(signed)) = parse_ledger_entry(&bytes) else { continue };
            if !history.concerns(&signed) || signed.verify_signature().is_err() {
                continue;
            }
            if judge(&mut history.authorities, &signed, index).is_ok_and(|of| of.as_ref() == Some(&history.patient)) {
                let payload = payload.into_iter().next().unwrap_or_default();
                history.entries.push(Entry { index, bytes, payload, transaction: signed.transaction });
            }
        }
        if history.entries.is_empty() {
            let hint = "the ledger has no transaction of theirs";
            return Err(IngestError::Missing { file: history.patient, hint });
        }
        if let Of::Grant(only) = of {
            history.keep_grant(*only);
        }
        Ok(history)
    }

    /// Is it of this patient, or does it say who may sign? Others need no verification here.
    fn concerns(&self, signed: &SignedTransaction) -> bool {
        match &signed.transaction {
            Transaction::NewRecord(body) => body.patient == self.patient,
            Transaction::ModifyRecord(body) => body.patient == self.patient,
            Transaction::GrantAccess(body) => body.patient == self.patient,
            Transaction::RevokeAccess(body) => body.patient == self.patient,
            Transaction::Erase(body) => body.patient == self.patient,
            Transaction::KeyRegister(body) => {
                body.party != epiledger_ledger::entry::key::Party::Patient || body.owner == self.patient
            }
            Transaction::KeyRotate(_) | Transaction::KeyRevoke(_) => true,
            Transaction::RequestAccess(_) | Transaction::Determination(_) => false,
        }
    }

    /// Leaves out every other grant, and what takes back another grant alone.
    fn keep_grant(&mut self, only: u64) {
        let grants: BTreeSet<u64> = self.entries.iter().filter(|e| is_grant(e)).map(|e| e.index).collect();
        self.entries.retain(|entry| match &entry.transaction {
            Transaction::GrantAccess(_) => entry.index == only,
            Transaction::RevokeAccess(RevokeAccess { scope: Scope::Grant, grant_index: Some(named), .. }) => {
                *named == only || *named > entry.index || !grants.contains(named)
            }
            _ => true,
        });
    }

    fn grants(&self) -> Vec<Grant> {
        let grant = |entry: &Entry| match &entry.transaction {
            Transaction::GrantAccess(body) => Some(Grant {
                index: entry.index,
                purposes: body.purposes.clone(),
                categories: body.categories.clone(),
                valid_from: body.valid_from.clone(),
                valid_to: body.valid_to.clone(),
            }),
            _ => None,
        };
        self.entries.iter().filter_map(grant).collect()
    }

    /// The patient as of the first `size` ledger entries.
    fn fold(&self, size: u64) -> Result<Patient<'_>, IngestError> {
        let frames: Vec<Frame<'_>> = self
            .entries
            .iter()
            .take_while(|entry| entry.index < size)
            .map(|entry| Frame {
                person: self.person,
                index: entry.index,
                entry: &entry.bytes,
                payload: &entry.payload,
            })
            .collect();
        Patient::fold(&self.authorities, &frames)
    }
}

fn is_grant(entry: &Entry) -> bool {
    matches!(entry.transaction, Transaction::GrantAccess(_))
}

fn grant_at(reader: &LogReader, index: u64) -> Option<String> {
    match parse_ledger_entry(&reader.read(index).ok()?) {
        Ok(LedgerEntry::Transaction(signed)) => match signed.transaction {
            Transaction::GrantAccess(body) => Some(body.patient),
            _ => None,
        },
        _ => None,
    }
}

/// Rows that could be read, and records that could but whose payload is gone.
struct Count {
    rows: [u64; PRIVATE_TABLES.len()],
    readable: u64,
    counted: u64,
}

struct Counter<'a> {
    history: &'a History,
    deidentifier: DeIdentifier,
}

impl Counter<'_> {
    fn count(&self, size: u64, cut: Day) -> Result<Count, IngestError> {
        let mut patient = self.history.fold(size)?;
        let readable = patient.readable(cut).len() as u64;
        let admitted = patient.admit(cut, &mut Unpacker::new()?);
        let mut count = Count { rows: [0; PRIVATE_TABLES.len()], readable, counted: admitted.records.len() as u64 };
        if let (Some(rows), _) = self.deidentifier.patient(self.history.person, &admitted.records) {
            for (count, rows) in count.rows.iter_mut().zip(rows.tables()) {
                *count = rows.len() as u64;
            }
        }
        Ok(count)
    }

    fn withdrawals(
        &self,
        reader: &LogReader,
        cuts: &[SnapshotManifest],
        catalog: &Catalog,
    ) -> Result<Vec<Withdrawal>, IngestError> {
        let mut withdrawals = Vec::new();
        for entry in &self.history.entries {
            let (kind, payload) = match &entry.transaction {
                Transaction::RevokeAccess(_) => ("RevokeAccess", None),
                Transaction::Erase(body) => ("Erase", Some(body.payload_sha256.clone())),
                _ => continue,
            };
            let cut = cuts.iter().find(|cut| cut.ledger_size > entry.index);
            // Before its cut comes, as the newest one would see it.
            let on = cut.or(cuts.last()).map_or_else(|| Day::parse(&catalog.data_cut).unwrap_or(Day(0)), day);
            let (before, after) = (self.count(entry.index, on)?, self.count(entry.index + 1, on)?);
            let rows = PRIVATE_TABLES.into_iter().zip(before.rows.into_iter().zip(after.rows));
            let gone = payload.as_ref().map(|hash| reader.blob(hash).map(|blob| blob.is_none())).transpose()?;
            let uncounted = |count: &Count| count.readable.saturating_sub(count.counted);
            withdrawals.push(Withdrawal {
                index: entry.index,
                kind,
                from_snapshot: cut.map(|cut| cut.number),
                cut_at: cut.map(|cut| cut.cut_at.clone()),
                rows: rows
                    .map(|(table, (before, after))| (table, before.saturating_sub(after)))
                    .filter(|(_, rows)| *rows > 0)
                    .collect(),
                uncounted_records: uncounted(&before).saturating_sub(uncounted(&after)),
                payload,
                gone,
            });
        }
        Ok(withdrawals)
    }

    fn held(&self, cuts: &[SnapshotManifest]) -> Result<Vec<Held>, IngestError> {
        let mut held = Vec::new();
        for cut in cuts {
            let readable = self.history.fold(cut.ledger_size)?.readable(day(cut));
            if !readable.is_empty() {
                held.push(Held {
                    snapshot: cut.number,
                    cut_at: cut.cut_at.clone(),
                    records: readable.len() as u64,
                    purposes: readable.into_iter().fold(0, |all, bits| all | bits),
                });
            }
        }
        Ok(held)
    }
}
