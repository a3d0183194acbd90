//! Policies: one principal proposes caps, another confirms them. Both acts are entries of the log.
//!
//! A policy that raises no cap is in force at once. One that raises a cap is public from its entry on and in force
//! seven days later, by the log's time; the folder's first policy stays within the defaults.

use epiledger_ledger::entry::{PolicySet, PolicyTerms};
use epiledger_privacy::{
    budget::Policy,
    loss::{DELTA_ONE, Delta},
};
use serde::{Deserialize, Serialize};

use crate::{
    api::{Principal, QueryError, Role},
    open::default_terms,
    query::Engine,
    review::{broken, not_written},
};

/// Where an epsilon is shown at most: a chance that is told as "but for".
const DELTA_REP_MOST: Delta = Delta::from_units(DELTA_ONE / 100);

/// The body of `POST /v1/policies`: what differs from the policy in force, or from the defaults before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRequest {
    /// Lifetime rho of the id space, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho_cap: Option<String>,
    /// Lifetime delta of the id space, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_cap: Option<String>,
    /// Lifetime rho of one principal, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_rho_cap: Option<String>,
    /// Lifetime delta of one principal, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_delta_cap: Option<String>,
    /// Most rho of any 24 hours, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_rho_cap: Option<String>,
    /// Rho of a question that names no price, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_rho: Option<String>,
    /// Delta of a question with unknown keys, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_delta: Option<String>,
    /// Delta at which epsilon is shown, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_rep: Option<String>,
}

/// A proposal that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// Its log index, by which it is confirmed.
    pub index: u64,
    /// Who proposed.
    pub by: String,
    /// What.
    pub terms: PolicyTerms,
}

/// `GET /v1/policies`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policies {
    /// The policy in force; null before the first.
    pub in_force: Option<PolicySet>,
    /// One that raises a cap, and the Unix time from which it will be in force.
    pub pending: Option<PolicySet>,
    /// Proposals that nobody confirmed yet.
    pub proposals: Vec<Proposal>,
}

/// A policy that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyLogged {
    /// Log index of its entry.
    pub index: u64,
    /// Its number.
    pub policy: u64,
    /// Unix seconds from which it is in force.
    pub effective: u64,
    /// Is it in force already?
    pub in_force: bool,
}

impl PolicyRequest {
    fn over(self, old: PolicyTerms, catalog: String) -> PolicyTerms {
        PolicyTerms {
            id_space: old.id_space,
            rho_cap: self.rho_cap.unwrap_or(old.rho_cap),
            delta_cap: self.delta_cap.unwrap_or(old.delta_cap),
            principal_rho_cap: self.principal_rho_cap.unwrap_or(old.principal_rho_cap),
            principal_delta_cap: self.principal_delta_cap.unwrap_or(old.principal_delta_cap),
            window_rho_cap: self.window_rho_cap.unwrap_or(old.window_rho_cap),
            query_rho: self.query_rho.unwrap_or(old.query_rho),
            query_delta: self.query_delta.unwrap_or(old.query_delta),
            delta_rep: self.delta_rep.unwrap_or(old.delta_rep),
            catalog,
        }
    }
}

/// Terms as the policy they would make; None where a number is not one.
fn read(terms: &PolicyTerms) -> Option<Policy> {
    let approvers = [String::new(), String::new()];
    Policy::read(&PolicySet { policy: 0, proposal: 0, terms: terms.clone(), approvers, time: 0, effective: 0 })
}

impl Engine {
    /// The policy in force, the one that is pending, and what is proposed.
    #[must_use]
    pub fn policies(&self) -> Policies {
        let (budget, time) = (self.accountant.budget(), self.audit().time());
        let proposals = budget.proposals().iter();
        Policies {
            in_force: budget.policy(time).map(|policy| policy.entry.clone()),
            pending: budget.pending(time).map(|policy| policy.entry.clone()),
            proposals: proposals
                .map(|(index, p)| Proposal { index: *index, by: p.by.clone(), terms: p.terms.clone() })
                .collect(),
        }
    }

    /// Proposes a policy for the catalog in use: the steward's act. Gives the proposal's log index.
    ///
    /// # Errors
    /// A number is not one, a first policy is past the defaults, or the log stopped.
    pub fn propose_policy(&self, who: &Principal, request: PolicyRequest) -> Result<u64, QueryError> {
        if who.role != Role::Steward {
            return Err(QueryError::Forbidden("a steward proposes a policy".into()));
        }
        let default = default_terms(&self.catalog);
        let old = self.accountant.policy();
        let first = old.is_none();
        let terms = request.over(old.map_or_else(|| default.clone(), |old| old.entry.terms), self.catalog.hash());
        let policy = read(&terms).ok_or_else(|| broken("policy", "a number of it is not a decimal such as 0.5"))?;
        // Epsilon and odds are told but for this chance.
        if policy.delta_rep == Delta::ZERO || policy.delta_rep > DELTA_REP_MOST {
            return Err(broken("policy", "delta_rep, where an epsilon is shown, must be above 0 and at most 0.01"));
        }
        if first && !read(&default).is_some_and(|default| policy.within(&default)) {
            let why = format!(
                "a first policy is within the defaults: rho {}, delta {}, rho {} in 24 hours; a later one may raise them, in force after seven days",
                default.rho_cap, default.delta_cap, default.window_rho_cap
            );
            return Err(broken("policy", &why));
        }
        self.writable()?;
        self.accountant.propose_policy(terms, &who.name).map_err(not_written)
    }

    /// Confirms another principal's proposal: the act of a second steward, or of the board.
    ///
    /// # Errors
    /// No such proposal stands, it is the caller's own, the catalog changed since, it raises one cap and lowers
    /// another, or the log stopped.
    pub fn confirm_policy(&self, who: &Principal, proposal: u64) -> Result<PolicyLogged, QueryError> {
        if !matches!(who.role, Role::Steward | Role::Board) {
            return Err(QueryError::Forbidden("another steward or the ethics board confirms a policy".into()));
        }
        self.writable()?;
        let budget = self.accountant.budget();
        if budget.proposals().get(&proposal).is_some_and(|p| p.terms.catalog != self.catalog.hash()) {
            return Err(broken("policy", "it was proposed for another catalog; propose it again"));
        }
        let (index, set) = self.accountant.confirm_policy(proposal, &who.name).map_err(not_written)?;
        let in_force = set.effective <= set.time;
        Ok(PolicyLogged { index, policy: set.policy, effective: set.effective, in_force })
    }
}
