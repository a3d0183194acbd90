//! Synthea's exports, CSV of both column generations or Parquet: one signed bundle per patient.
//!
//! The folder's `patients` file is needed; `encounters`, `conditions`, `medications`, `immunizations`, `observations`
//! and `procedures` are taken when there. Everything is read and checked before anything is written. Names, addresses,
//! coordinates, numbers of documents and free text are never read; a patient's id becomes a keyed hash.

mod columns;
mod people;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ed25519_dalek::SigningKey;
use epiledger_ledger::NewEntry;
use epiledger_ledger::entry::consent::GrantAccess;
use epiledger_ledger::entry::key::Party;
use epiledger_ledger::entry::record::{NewRecord, Period};
use epiledger_ledger::{SignedTransaction, Transaction};
use epiledger_privacy::catalog::Profile;
use epiledger_privacy::day::Day;
use epiledger_privacy::research::research_catalog;
use serde::Serialize;

use self::people::{People, Person};
use crate::bundle::Packer;
use crate::error::IngestError;
use crate::folder::{Folder, hex, write_secret};
use crate::ledger_writer::LedgerWriter;
use crate::making::Making;
use crate::parties::{Authorities, PatientKeys, derive, plain, random_seed, register};
use crate::progress::{Progress, Stage};
use crate::public_tables;
use crate::regions::massachusetts;

/// Whose consent an import writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportConsent {
    /// Every patient grants general research use.
    All,
    /// Nobody grants anything.
    None,
}

/// How a folder is imported. The dates and sizes are a steward's constants, not read from the data.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// Consents to write.
    pub consent: ImportConsent,
    /// Day the data ends.
    pub data_cut: Day,
    /// Upper limit of the number of patients, for the catalog.
    pub declared_patients: u64,
    /// The profile of the catalog. `expert_determination` needs a determination on the ledger before an ingest:
    /// [`crate::parties::determine`].
    pub profile: Profile,
}

impl ImportOptions {
    /// The expert's profile, 100,000 patients at most, data up to this day.
    #[must_use]
    pub fn new(consent: ImportConsent, data_cut: Day) -> Self {
        Self { consent, data_cut, declared_patients: 100_000, profile: Profile::ExpertDetermination }
    }
}

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// Patients.
    pub people: u64,
    /// Hospitals.
    pub hospitals: u64,
    /// Transactions written.
    pub transactions: u64,
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Rows left out because their patient is not in the patients' file, by file.
    pub orphans: BTreeMap<&'static str, u64>,
}

/// Hospital of patients without an encounter.
const UNNAMED: &str = "h-synthea";

/// Patients that are signed at a time, per worker.
const PATIENTS_A_TASK: usize = 200;

/// Imports a folder into an empty or missing data folder: ledger, keys and catalog.
///
/// # Errors
/// A file is missing or a row is malformed (file and line are named, nothing was written), or the data folder already
/// holds a ledger.
pub fn import_synthea(
    data: &Path,
    dir: &Path,
    options: &ImportOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<ImportSummary, IngestError> {
    let folder = Folder::new(data);
    if folder.ledger().exists() {
        return Err(IngestError::NotEmpty);
    }
    let people = People::read(dir, options.data_cut)?;
    let making = Making::begin(&folder)?;
    let root = random_seed()?;
    write_secret(&folder.keys().join("import.key"), hex(&root).as_bytes())?;
    let catalog =
        research_catalog(&options.data_cut.to_string(), options.profile, options.declared_patients, &massachusetts());
    folder.write_catalog(&catalog)?;
    public_tables::write(&folder, &catalog, &massachusetts())?;

    let hospitals: BTreeSet<String> = people.persons.iter().map(hospital_of).collect();
    let hospitals: Vec<&str> = hospitals.iter().map(String::as_str).collect();
    let authorities = Authorities::create(&folder, &root, &hospitals)?;
    let mut ledger = LedgerWriter::new(making.ledger()?);
    let mut keys = PatientKeys::create(&folder)?;
    ledger.submit(authorities.opening()?)?;
    let import = Import { root, authorities: &authorities, hospitals: &hospitals, options };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let mut done = 0;
    for window in people.persons.chunks(PATIENTS_A_TASK * workers) {
        for signed in import.window(window)? {
            for (patient, seed) in &signed.patients {
                keys.add(patient, seed)?;
            }
            ledger.submit(signed.entries)?;
        }
        done += window.len() as u64;
        progress(Progress { stage: Stage::Import, done, total: people.persons.len() as u64 });
    }
    keys.finish()?;
    let transactions = ledger.finish()?;
    making.finish()?;
    Ok(ImportSummary {
        people: done,
        hospitals: hospitals.len() as u64,
        transactions,
        rows: count(&people.persons),
        orphans: people.orphans,
    })
}

/// The id of a patient's hospital: a hash of the organization's.
fn hospital_of(person: &Person) -> String {
    person.organization.as_ref().map_or_else(
        || UNNAMED.to_owned(),
        |organization| {
            let hash = derive(&[0; 32], "organization", organization);
            format!("h-{}", hex(hash.get(..6).unwrap_or_default()))
        },
    )
}

fn count(persons: &[Person]) -> BTreeMap<&'static str, u64> {
    let mut rows = BTreeMap::new();
    for bundle in persons.iter().map(|person| &person.bundle) {
        for (table, count) in [
            ("person", usize::from(bundle.person.is_some())),
            ("observation_period", usize::from(bundle.observation_period.is_some())),
            ("visit_occurrence", bundle.visit_occurrence.len()),
            ("condition_occurrence", bundle.condition_occurrence.len()),
            ("drug_exposure", bundle.drug_exposure.len()),
            ("measurement", bundle.measurement.len()),
            ("procedure_occurrence", bundle.procedure_occurrence.len()),
            ("death", usize::from(bundle.death.is_some())),
        ] {
            *rows.entry(table).or_default() += count as u64;
        }
    }
    rows
}

/// A patient's public id with the key's seed.
type PatientSeed = (String, [u8; 32]);

/// Some patients' seeds and transactions.
#[derive(Default)]
struct Signed {
    patients: Vec<PatientSeed>,
    entries: Vec<NewEntry>,
}

/// What is the same for all patients.
struct Import<'a> {
    root: [u8; 32],
    authorities: &'a Authorities,
    hospitals: &'a [&'a str],
    options: &'a ImportOptions,
}

impl Import<'_> {
    /// Signs some patients in parallel, in order.
    fn window(&self, persons: &[Person]) -> Result<Vec<Signed>, IngestError> {
        std::thread::scope(|scope| {
            let tasks: Vec<_> = persons
                .chunks(PATIENTS_A_TASK)
                .map(|some| {
                    scope.spawn(move || {
                        let mut packer = Packer::new()?;
                        let mut signed = Signed::default();
                        for person in some {
                            let patient = self.patient(person, &mut packer, &mut signed.entries)?;
                            signed.patients.push(patient);
                        }
                        Ok(signed)
                    })
                })
                .collect();
            tasks.into_iter().map(|task| task.join().unwrap_or(Err(IngestError::Worker))).collect()
        })
    }

    /// A patient's transactions: key, consent, record.
    fn patient(
        &self,
        person: &Person,
        packer: &mut Packer,
        entries: &mut Vec<NewEntry>,
    ) -> Result<PatientSeed, IngestError> {
        let hospital = hospital_of(person);
        let position = self.hospitals.binary_search(&hospital.as_str()).map_err(|_| IngestError::Worker)?;
        let Some((provider, provider_key)) = self.authorities.hospital(position) else {
            return Err(IngestError::Worker);
        };
        let id = derive(&self.root, "patient id", &person.source_id);
        let patient = format!("p-{}", hex(id.get(..10).unwrap_or_default()));
        let seed = derive(&self.root, "patient", &person.source_id);
        let key = SigningKey::from_bytes(&seed);
        entries.push(plain(register(&patient, Party::Patient, &key, provider_key)?));
        if self.options.consent == ImportConsent::All {
            let body = GrantAccess {
                patient: patient.clone(),
                grantee: "*".to_owned(),
                purposes: vec!["GRU".to_owned()],
                categories: vec!["*".to_owned()],
                data_period: None,
                valid_from: "2000-01-01".to_owned(),
                valid_to: None,
                wrap_sha256: None,
            };
            entries.push(plain(SignedTransaction::sign(Transaction::GrantAccess(body), &key)?));
        }
        let (blob, payload) = packer.pack(&person.bundle)?;
        let (start, end) = person.period(self.options.data_cut);
        let body = NewRecord {
            record_id: "import".to_owned(),
            patient: patient.clone(),
            provider: provider.clone(),
            category: "general".to_owned(),
            effective_period: Period { start: start.to_string(), end: end.to_string() },
            payload,
        };
        let entry = SignedTransaction::sign(Transaction::NewRecord(body), provider_key)?;
        entries.push(NewEntry { entry, blobs: vec![blob] });
        Ok((patient, seed))
    }
}
