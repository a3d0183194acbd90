//! Consent transactions: what a patient signs. Default deny; a later index beats an earlier one.

use serde::{Deserialize, Serialize};

use super::record::Period;

/// Research purposes, broadest first (GA4GH Data Use Ontology): a grant for one covers those after it.
pub const PURPOSES: [&str; 3] = ["GRU", "HMB", "DS"];

/// The patient lets research of some purposes read some categories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantAccess {
    /// The patient's public id; the patient's own key signs.
    pub patient: String,
    /// A protocol, or `*` for any approved research.
    pub grantee: String,
    /// Members of [`PURPOSES`]; others grant nothing.
    pub purposes: Vec<String>,
    /// Members of [`super::record::CATEGORIES`], or `*` for all.
    pub categories: Vec<String>,
    /// Only records whose effective period lies within; null for all.
    pub data_period: Option<Period>,
    /// First day in force, `YYYY-MM-DD`.
    pub valid_from: String,
    /// Last day in force; null for no end.
    pub valid_to: Option<String>,
    /// SHA-256 of the data key wrapped to the grantee; null while payloads are unsealed.
    pub wrap_sha256: Option<String>,
}

/// What a revocation takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One grant, named by `grant_index`.
    Grant,
    /// Every grant so far for `purpose`.
    Purpose,
    /// Every grant so far.
    All,
}

/// The patient takes back access from this index on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeAccess {
    /// The patient's public id; the patient's own key signs.
    pub patient: String,
    /// How much is taken back.
    pub scope: Scope,
    /// The grant's ledger index, when `scope` is `grant`.
    pub grant_index: Option<u64>,
    /// The purpose, when `scope` is `purpose`.
    pub purpose: Option<String>,
}

/// A study asks patients for access (informative; grants nothing).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestAccess {
    /// The asking protocol.
    pub protocol: String,
    /// Wanted purposes.
    pub purposes: Vec<String>,
    /// Wanted categories.
    pub categories: Vec<String>,
    /// Wanted period; null for all.
    pub period: Option<Period>,
}
