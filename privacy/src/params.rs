//! What a question may cost and under which rules: typed by the asker or taken from the policy.

use crate::loss::{Delta, Rho};

/// Version of the meaning of questions; part of every cache key. Raised when the same plan would
/// be answered in another way.
pub const SEMANTICS_VERSION: u32 = 2;

/// Everything beside plan and snapshot that decides what is drawn and charged.
#[derive(Clone, Debug)]
pub struct PrivacyParams {
    /// The price: asked, or the policy's default.
    pub rho: Rho,
    /// Delta that a question with unknown keys may use.
    pub query_delta: Delta,
    /// Fewest patients behind a released unknown key.
    pub k_min: u64,
    /// The id space that pays.
    pub id_space: String,
    /// The policy's number.
    pub policy: u64,
    /// The protocol's purpose, as a bit of the consent set (see [`crate::consent`]).
    pub purpose_bit: i32,
    /// The dataset's secret: keys of the hashes that choose rows and groups.
    pub secret: [u8; 32],
}

/// Fewest patients behind a released unknown key, unless a policy says more.
pub const K_MIN: u64 = 11;
