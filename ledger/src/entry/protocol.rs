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

/// Caps, default prices and the catalog that they are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTerms {
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
    /// Most rho that the id space spends in any 24 hours, a decimal.
    pub window_rho_cap: String,
    /// Rho that a question costs when it names no price, a decimal.
    pub query_rho: String,
    /// Delta that a question with unknown keys pays, a decimal.
    pub query_delta: String,
    /// Delta at which epsilon is shown, a decimal.
    pub delta_rep: String,
    /// SHA-256 of the catalog in force.
    pub catalog: String,
}

/// The first of the two acts that set a policy. It stands until the next policy is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyPropose {
    /// The proposing principal.
    pub by: String,
    /// What is proposed.
    pub terms: PolicyTerms,
}

/// Seconds between the log's time of a policy that raises a cap and the time from which it is in force: seven days.
pub const RAISE_SECONDS: u64 = 7 * 86_400;

/// Seconds of the rate window.
pub const WINDOW_SECONDS: u64 = 86_400;

/// The second act: another principal confirms the proposal.
///
/// In force at any time is the policy with the highest number whose `effective` has come: a later policy replaces one
/// that was still pending. One that raises a cap of the policy in force is pending for [`RAISE_SECONDS`], and lowers
/// none; every other one is in force at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySet {
    /// 1 for the first policy of a log, then one more each.
    pub policy: u64,
    /// Log index of the proposal.
    pub proposal: u64,
    /// The proposal's terms.
    pub terms: PolicyTerms,
    /// Two different principals: who proposed, who confirmed.
    pub approvers: [String; 2],
    /// The log's time, Unix seconds on the minute.
    pub time: u64,
    /// From when it is in force, Unix seconds.
    pub effective: u64,
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
