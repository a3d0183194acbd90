//! Transactions about one patient's records: what a hospital signs.

use serde::{Deserialize, Serialize};

/// A payload outside the log: the blob's content address and how it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Lower-case hex SHA-256 of the stored blob.
    pub sha256: String,
    /// Length of the stored blob in bytes.
    pub size: u64,
    /// How the blob is sealed; `none` or `xchacha20poly1305`.
    pub seal: Seal,
    /// Name of the data key it is sealed under; null while `seal` is `none`.
    pub key_id: Option<String>,
}

/// How a payload is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seal {
    /// Stored as is.
    None,
    /// XChaCha20-Poly1305 under the patient's data key.
    Xchacha20poly1305,
}

/// First and last day that a record speaks of, ISO dates, inclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// First day, `YYYY-MM-DD`.
    pub start: String,
    /// Last day, `YYYY-MM-DD`.
    pub end: String,
}

/// A new bundle of a patient's rows. `record_id` is unique within (provider, patient).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRecord {
    /// The provider's own name of the record.
    pub record_id: String,
    /// The patient's public id.
    pub patient: String,
    /// The signing provider's id.
    pub provider: String,
    /// Consent category, one of [`CATEGORIES`].
    pub category: String,
    /// Days the record speaks of.
    pub effective_period: Period,
    /// The rows, a blob.
    pub payload: Payload,
}

/// Consent categories that a record may carry and a grant may name.
pub const CATEGORIES: [&str; 5] = ["general", "mental_health", "sexual_health", "substance_use", "genetic"];

/// Why a record is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The earlier record was wrong.
    Correct,
    /// The earlier record was incomplete.
    Amend,
    /// The earlier record must not be used; the payload is null.
    Retract,
}

/// A correction: it supersedes the record transaction at `prev_index`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifyRecord {
    /// The record's name, as in the transaction it supersedes.
    pub record_id: String,
    /// The patient's public id, as before.
    pub patient: String,
    /// The signing provider, as before.
    pub provider: String,
    /// Ledger index of the newest version of the record.
    pub prev_index: u64,
    /// Why.
    pub reason: Reason,
    /// The whole corrected bundle; null when `reason` is `retract`.
    pub payload: Option<Payload>,
}

/// A payload is gone from the blob store, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// The patient whose payload it was.
    pub patient: String,
    /// Lower-case hex SHA-256 of the erased blob.
    pub payload_sha256: String,
    /// The ground for erasing, for example `withdrawal`.
    pub basis: String,
}
