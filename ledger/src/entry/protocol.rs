//! The audit log's entries about who may ask, and how much.

use serde::{Deserialize, Serialize};

/// An ethics board approves a protocol: who may ask for which purpose until when, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtocolApprove {
    /// The protocol's id.
    pub protocol: String,
    /// One line that says what it studies.
    pub title: String,
    /// A purpose of [`super::consent::PURPOSES`].
    pub purpose: String,
    /// Principals who may ask under it.
    pub investigators: Vec<String>,
    /// Lifetime rho of the protocol, a decimal.
    pub rho_cap: String,
    /// Lifetime delta of the protocol, a decimal.
    pub delta_cap: String,
    /// First day it may be used, `YYYY-MM-DD`.
    pub valid_from: String,
    /// Last day it may be used, `YYYY-MM-DD`.
    pub valid_to: String,
    /// The approving principal.
    pub approver: String,
}

/// A protocol may no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtocolSuspend {
    /// The protocol's id.
    pub protocol: String,
    /// The suspending principal, or `engine` after three failures.
    pub by: String,
}

/// Caps and rules for everything after it. The first in a log is in force at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySet {
    /// 1 for the first policy of a log, then one more each.
    pub policy: u64,
    /// The id space it governs.
    pub id_space: String,
    /// Lifetime rho of the id space, a decimal.
    pub rho_cap: String,
    /// Lifetime delta of the id space, a decimal.
    pub delta_cap: String,
    /// Lifetime rho of one principal, a decimal.
    pub principal_rho_cap: String,
    /// Lifetime delta of one principal, a decimal.
    pub principal_delta_cap: String,
    /// Rho that a question costs when it names no price, a decimal.
    pub query_rho: String,
    /// Delta that a question with unknown keys pays, a decimal.
    pub query_delta: String,
    /// Delta at which epsilon is shown, a decimal.
    pub delta_rep: String,
    /// SHA-256 of the catalog in force.
    pub catalog: String,
    /// Two different principals.
    pub approvers: [String; 2],
    /// First day in force, `YYYY-MM-DD`.
    pub effective: String,
}

/// A role given to a principal or taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    /// The principal's pseudonym.
    pub principal: String,
    /// The API key's id.
    pub key_id: String,
    /// The role, or null when the key is revoked.
    pub role: Option<String>,
    /// Who did it.
    pub by: String,
}

/// The server reads a new snapshot from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotPinned {
    /// The snapshot's number.
    pub number: u64,
    /// The cut's instant, `YYYY-MM-DDTHH:MMZ`.
    pub cut_at: String,
    /// Was it cut on the public schedule? Otherwise someone asked for it, or it is the first of its folder.
    pub scheduled: bool,
    /// Salted commitment to table versions, ledger size and root; the blob is salt || manifest.
    pub commit: String,
}

/// Text was erased from the blob store; two different principals approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// SHA-256 of the erased blob.
    pub sha256: String,
    /// The ground.
    pub basis: String,
    /// Two different principals.
    pub approvers: [String; 2],
}
