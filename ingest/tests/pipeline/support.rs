//! Ledgers to ingest, and the rows that came out.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use ed25519_dalek::SigningKey;
use epiledger_ingest::parties::signing_key;
use epiledger_ingest::snapshot::{SnapshotManifest, newest};
use epiledger_ingest::{Folder, Options, Pipeline, Summary};
use epiledger_ledger::entry::consent::{GrantAccess, RevokeAccess, Scope};
use epiledger_ledger::entry::key::{KeyRegister, Party};
use epiledger_ledger::entry::record::{NewRecord, Payload, Period, Seal};
use epiledger_ledger::{Log, NewEntry, NoteKey, SignedTransaction, StdFs, Transaction};
use epiledger_privacy::day::Day;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The day of every cut in these tests.
pub fn cut() -> Day {
    Day::parse("2026-02-01").unwrap()
}

/// Ingests.
pub fn ingest(data: &Path) -> Summary {
    Pipeline::run(data, Options::at(cut())).unwrap()
}

/// Every row of every table of the newest snapshot, as column name to text; null is an absent column.
pub type Rows = BTreeMap<String, Vec<BTreeMap<String, String>>>;

/// Reads the newest snapshot by its manifest.
pub fn rows(data: &Path) -> Rows {
    let manifest = newest(data).unwrap().unwrap();
    manifest.tables.iter().map(|(name, table)| (name.clone(), table_rows(data, table))).collect()
}

fn table_rows(data: &Path, table: &epiledger_ingest::snapshot::TableManifest) -> Vec<BTreeMap<String, String>> {
    let mut rows = Vec::new();
    let mut last = i64::MIN;
    for file in &table.files {
        let path = data.join(&file.path);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), file.size);
        let mut count = 0;
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let options = FormatOptions::default();
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
                .collect();
            for row in 0..batch.num_rows() {
                let mut cells = BTreeMap::new();
                for (field, (column, format)) in
                    batch.schema().fields().iter().zip(batch.columns().iter().zip(&columns))
                {
                    if column.is_valid(row) {
                        cells.insert(field.name().clone(), format.value(row).to_string());
                    }
                }
                let person: i64 = cells["person_id"].parse().unwrap();
                assert!(person >= last, "rows are clustered by person");
                assert!((file.low..=file.high).contains(&person), "a person lies in its file's range");
                last = person;
                count += 1;
                rows.push(cells);
            }
        }
        assert_eq!(count, file.rows);
    }
    rows
}

/// The rows without lineage.
pub fn visible(mut rows: Rows) -> Rows {
    for row in rows.values_mut().flatten() {
        row.retain(|name, _| !name.starts_with('_'));
    }
    rows
}

/// A manifest's tables, and every file's bytes.
pub fn content(data: &Path) -> (SnapshotManifest, BTreeMap<String, Vec<u8>>) {
    let manifest = newest(data).unwrap().unwrap();
    let files = manifest.tables.values().flat_map(|table| &table.files);
    let bytes = files.map(|file| (file.path.clone(), std::fs::read(data.join(&file.path)).unwrap())).collect();
    (manifest, bytes)
}

/// A data folder's ledger, open for more transactions.
pub struct Writer {
    log: Log,
    hospital: SigningKey,
    /// The hospital that signs.
    pub provider: String,
}

impl Writer {
    /// Opens a simulated data folder's ledger.
    pub fn open(data: &Path) -> Self {
        let key = NoteKey::load(&Folder::new(data).ledger_key()).unwrap();
        let log = Log::open(Arc::new(StdFs), &Folder::new(data).ledger(), key).unwrap();
        let provider = "h-cape".to_owned();
        let hospital = signing_key(data, Party::Hospital, &provider).unwrap().unwrap();
        Self { log, hospital, provider }
    }

    /// Appends what was signed; its index.
    pub fn append(&self, transaction: Transaction, key: &SigningKey, blobs: Vec<Vec<u8>>) -> u64 {
        let entry = SignedTransaction::sign(transaction, key).unwrap();
        self.log.append(vec![NewEntry { entry, blobs }]).unwrap().first
    }

    /// Appends what the hospital signs.
    pub fn hospital(&self, transaction: Transaction, blobs: Vec<Vec<u8>>) -> u64 {
        self.append(transaction, &self.hospital, blobs)
    }

    /// Registers a patient whose key is made of the number.
    pub fn patient(&self, number: u8) -> (String, SigningKey) {
        let key = SigningKey::from_bytes(&[number; 32]);
        let patient = format!("p-test-{number}");
        let public_key = key.verifying_key().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        let body = KeyRegister { owner: patient.clone(), party: Party::Patient, public_key, from_height: 0 };
        self.hospital(Transaction::KeyRegister(body), vec![]);
        (patient, key)
    }

    /// A new record of a category with this bundle.
    pub fn record(&self, patient: &str, record_id: &str, category: &str, bundle: &Value) -> u64 {
        let (blob, payload) = pack(bundle);
        let body = NewRecord {
            record_id: record_id.to_owned(),
            patient: patient.to_owned(),
            provider: self.provider.clone(),
            category: category.to_owned(),
            effective_period: Period { start: "2020-01-01".into(), end: "2020-12-31".into() },
            payload,
        };
        self.hospital(Transaction::NewRecord(body), vec![blob])
    }

    /// Publishes what was appended.
    pub fn close(self) {
        self.log.flush().unwrap();
    }
}

/// A bundle's blob and payload.
pub fn pack(bundle: &Value) -> (Vec<u8>, Payload) {
    let blob = zstd::encode_all(bundle.to_string().as_bytes(), 1).unwrap();
    let sha256 = Sha256::digest(&blob).iter().map(|b| format!("{b:02x}")).collect();
    let size = blob.len() as u64;
    (blob, Payload { sha256, size, seal: Seal::None, key_id: None })
}

/// A grant for everything of these categories.
pub fn grant(patient: &str, purpose: &str, category: &str) -> Transaction {
    Transaction::GrantAccess(GrantAccess {
        patient: patient.to_owned(),
        grantee: "*".to_owned(),
        purposes: vec![purpose.to_owned()],
        categories: vec![category.to_owned()],
        data_period: None,
        valid_from: "2020-01-01".to_owned(),
        valid_to: None,
        wrap_sha256: None,
    })
}

/// A revocation.
pub fn revoke(patient: &str, scope: Scope, grant_index: Option<u64>, purpose: Option<&str>) -> Transaction {
    let purpose = purpose.map(str::to_owned);
    Transaction::RevokeAccess(RevokeAccess { patient: patient.to_owned(), scope, grant_index, purpose })
}

/// A bundle with a person and one condition of this code.
pub fn bundle(code: &str) -> Value {
    serde_json::json!({
        "format": "omop-rows/1",
        "person": {"year_of_birth": 1980, "gender": "female", "race": "white", "ethnicity": "nonhispanic",
                   "state": "MA", "county": "25001"},
        "condition_occurrence": [{"condition_source_value": code, "condition_source_vocabulary": "SNOMED",
                                  "condition_start_date": "2020-03-01"}]
    })
}

/// Codes of the conditions whose lineage is one of these transactions.
pub fn codes_of(data: &Path, transactions: &[u64]) -> Vec<String> {
    let wanted: Vec<String> = transactions.iter().map(u64::to_string).collect();
    let rows = rows(data);
    let found = rows["condition_occurrence"].iter().filter(|row| wanted.contains(&row["_transaction"]));
    found.map(|row| row["condition_source_value"].clone()).collect()
}
