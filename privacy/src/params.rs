//! What a question may cost and under which rules: typed by the asker or taken from the policy.

use crate::{
    loss::{Delta, Rho},
    refusal::{Code, PlanError},
};

/// Version of the meaning of questions; part of every cache key. Raised when the same plan would
/// be answered in another way.
pub const SEMANTICS_VERSION: u32 = 2;

/// How the asker names the price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    /// A rho.
    Rho(Rho),
    /// An epsilon at the policy's `delta_rep`.
    Epsilon(f64),
}

/// Everything beside plan and snapshot that decides what is drawn and charged.
#[derive(Clone, Debug)]
pub struct PrivacyParams {
    /// The price, or None for the policy's default.
    pub ask: Option<Ask>,
    /// The policy's default rho of a question.
    pub query_rho: Rho,
    /// Delta that a question with unknown keys may use.
    pub query_delta: Delta,
    /// Delta at which epsilon is shown and asked.
    pub delta_rep: Delta,
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

impl PrivacyParams {
    /// The rho that is asked.
    ///
    /// # Errors
    /// `BAD_PRIVACY_PARAM`: not positive, not finite, or out of range.
    pub(crate) fn asked_rho(&self) -> Result<Rho, PlanError> {
        let bad = |what: &str| PlanError::new(Code::BadPrivacyParam, what.to_owned());
        match self.ask {
            None => Ok(self.query_rho),
            Some(Ask::Rho(rho)) if rho == Rho::ZERO => Err(bad("rho must be above 0")),
            Some(Ask::Rho(rho)) => Ok(rho),
            Some(Ask::Epsilon(epsilon)) => Rho::from_epsilon(epsilon, self.delta_rep)
                .map_err(|_| bad("epsilon must be a finite number above 0 and at most 1000000")),
        }
    }
}
