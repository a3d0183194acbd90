//! The key registry's transactions, and the expert's determination.

use serde::{Deserialize, Serialize};

/// Whom a key stands for. A ledger's first transaction registers the `registrar`, signed by itself;
/// the registrar's key registers hospitals and experts, a hospital's key registers patients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// The consortium that admits hospitals and experts.
    Registrar,
    /// A provider that signs records.
    Hospital,
    /// A person, who signs consents.
    Patient,
    /// A de-identification expert, who signs determinations.
    Expert,
}

impl Party {
    /// Its name in entries and requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registrar => "registrar",
            Self::Hospital => "hospital",
            Self::Patient => "patient",
            Self::Expert => "expert",
        }
    }

    /// The party of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Registrar, Self::Hospital, Self::Patient, Self::Expert].into_iter().find(|party| party.as_str() == name)
    }
}

/// A new key of a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRegister {
    /// The party's id: a provider id, a patient's public id, ..
    pub owner: String,
    /// What the party is.
    pub party: Party,
    /// Ed25519 public key, 64 lower-case hex digits; it is also the key's name in signatures.
    pub public_key: String,
    /// First ledger index at which its signatures count.
    pub from_height: u64,
}

/// A party replaces its key; signed by the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotate {
    /// The party's id.
    pub owner: String,
    /// The key that ends.
    pub old_key: String,
    /// The key that begins.
    pub new_key: String,
    /// First ledger index of the new key, and the first at which the old one no longer counts.
    pub from_height: u64,
}

/// A key ends; signed by the party or by whoever may register it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRevoke {
    /// The party's id.
    pub owner: String,
    /// The key that ends.
    pub public_key: String,
    /// First ledger index at which it no longer counts.
    pub from_height: u64,
}

/// An expert's determination (45 CFR 164.514(b)(1)): the `expert_determination` profile needs one in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Determination {
    /// The expert's id.
    pub expert: String,
    /// The method, in a few words.
    pub method: String,
    /// Day it was made, `YYYY-MM-DD`.
    pub date: String,
    /// Last day it holds, `YYYY-MM-DD`.
    pub expires: String,
    /// Largest risk found, a decimal string.
    pub risk_max: String,
}
