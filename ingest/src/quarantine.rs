//! Transactions that are put aside: by ledger index and reason code, never by content.

use std::collections::BTreeMap;

use epiledger_ledger::KeyFault;
use epiledger_privacy::deidentify::Fault;
use serde::{Deserialize, Serialize};

use crate::error::IngestError;
use crate::folder::{Folder, replace};

/// Most entries that the file lists; the counts go on beyond.
const MAX_LISTED: usize = 100_000;

/// Why a transaction gives no rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The ledger's rules: signature, key, signer, newest version. The code is the ledger's.
    Key(KeyFault),
    /// The payload is sealed, and no data key is held.
    Sealed,
    /// The payload is not in the blob store, and no `Erase` says so.
    PayloadMissing,
    /// Not a bundle of the known format, or too long.
    BadPayload,
    /// A direct identifier in this field.
    Identifier(String),
    /// A row that can't be read: table and field.
    MalformedRow(&'static str, &'static str),
    /// The provider has used the record id for this patient before.
    DuplicateRecord,
    /// A correction without rows that is no retraction, or a retraction with rows.
    PayloadMismatch,
    /// A patient's rows without a person row.
    NoPerson,
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key(fault) => fault.code(),
            Self::Sealed => "SEALED",
            Self::PayloadMissing => "PAYLOAD_MISSING",
            Self::BadPayload => "BAD_PAYLOAD",
            Self::Identifier(_) => "IDENTIFIER",
            Self::MalformedRow(..) => "MALFORMED_ROW",
            Self::DuplicateRecord => "DUPLICATE_RECORD",
            Self::PayloadMismatch => "PAYLOAD_MISMATCH",
            Self::NoPerson => "NO_PERSON",
        }
    }

    /// The field that is at fault, if one is: a name, never a value.
    fn field(&self) -> Option<String> {
        match self {
            Self::Identifier(field) => Some(field.clone()),
            Self::MalformedRow(table, field) => Some(format!("{table}.{field}")),
            _ => None,
        }
    }
}

impl From<KeyFault> for Reason {
    fn from(fault: KeyFault) -> Self {
        Self::Key(fault)
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Bundle => Self::BadPayload,
            Fault::Identifier { field } => Self::Identifier(field),
            Fault::Row { table, field } => Self::MalformedRow(table, field),
            Fault::NoPerson => Self::NoPerson,
        }
    }
}

/// One transaction in `quarantine.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// Ledger index.
    pub index: u64,
    /// Reason code.
    pub code: String,
    /// The field at fault, if one is.
    pub field: Option<String>,
}

/// `DATA/quarantine.json`: what the newest ingest put aside. For the steward; no researcher's route shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// Ledger entries read.
    pub ledger_size: u64,
    /// Transactions by code.
    pub counts: BTreeMap<String, u64>,
    /// The transactions by index, the first hundred thousand.
    pub transactions: Vec<Quarantined>,
}

impl Quarantine {
    /// Puts a transaction aside.
    pub(crate) fn add(&mut self, index: u64, reason: &Reason) {
        *self.counts.entry(reason.code().to_owned()).or_default() += 1;
        if self.transactions.len() < MAX_LISTED {
            let (code, field) = (reason.code().to_owned(), reason.field());
            self.transactions.push(Quarantined { index, code, field });
        }
    }

    /// Takes over what another part of the work put aside.
    pub(crate) fn merge(&mut self, other: Self) {
        for (code, count) in other.counts {
            *self.counts.entry(code).or_default() += count;
        }
        self.transactions.extend(other.transactions);
    }

    /// Writes `quarantine.json`, in the order of the ledger.
    pub(crate) fn write(&mut self, folder: &Folder) -> Result<(), IngestError> {
        self.transactions.sort_by_key(|t| t.index);
        self.transactions.truncate(MAX_LISTED);
        let path = folder.root().join("quarantine.json");
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| IngestError::Damaged { file: "quarantine.json".to_owned(), reason: e.to_string() })?;
        replace(&path, &text)
    }
}

/// Reads `DATA/quarantine.json`; empty before the first ingest.
///
/// # Errors
/// It can't be read.
pub fn read(data: &std::path::Path) -> Result<Quarantine, IngestError> {
    let path = data.join("quarantine.json");
    if !path.exists() {
        return Ok(Quarantine::default());
    }
    let bytes = std::fs::read(&path).map_err(IngestError::io("read", &path))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| IngestError::Damaged { file: "quarantine.json".to_owned(), reason: e.to_string() })
}
