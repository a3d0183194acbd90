//! Policies as of some moment of the audit log: which caps bind, and which raise is still pending.

use std::collections::HashMap;

use super::decimal::{DELTA_PLACES, RHO_PLACES, units};
use crate::entry::{PolicyPropose, PolicySet, PolicyTerms, QueryIntent, protocol::RAISE_SECONDS};

/// An amount of budget in integer units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// In 1e-12.
    pub rho: u128,
    /// In 1e-18.
    pub delta: u128,
}

impl Amount {
    pub(crate) fn parse(rho: &str, delta: &str) -> Option<Self> {
        Some(Self { rho: units(rho, RHO_PLACES)?, delta: units(delta, DELTA_PLACES)? })
    }

    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        Some(Self { rho: self.rho.checked_add(other.rho)?, delta: self.delta.checked_add(other.delta)? })
    }

    pub(crate) fn within(self, cap: Self) -> bool {
        self.rho <= cap.rho && self.delta <= cap.delta
    }
}

/// A policy with its caps parsed.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub number: u64,
    pub id_space: String,
    pub cap: Amount,
    pub principal_cap: Amount,
    /// Rho of any 24 hours, in 1e-12.
    pub window_cap: u128,
    /// Where an epsilon is shown, in 1e-18.
    pub delta_rep: u128,
    effective: u64,
}

impl Policy {
    fn read(number: u64, terms: &PolicyTerms, effective: u64) -> Option<Self> {
        // Read for their form alone: they bind nothing.
        units(&terms.query_rho, RHO_PLACES)?;
        units(&terms.query_delta, DELTA_PLACES)?;
        Some(Self {
            number,
            id_space: terms.id_space.clone(),
            cap: Amount::parse(&terms.rho_cap, &terms.delta_cap)?,
            principal_cap: Amount::parse(&terms.principal_rho_cap, &terms.principal_delta_cap)?,
            window_cap: units(&terms.window_rho_cap, RHO_PLACES)?,
            delta_rep: units(&terms.delta_rep, DELTA_PLACES)?,
            effective,
        })
    }

    fn caps(&self) -> [u128; 5] {
        [self.cap.rho, self.cap.delta, self.principal_cap.rho, self.principal_cap.delta, self.window_cap]
    }
}

/// All policies so far, and the proposals that none has followed yet.
#[derive(Default)]
pub(crate) struct Policies {
    policies: Vec<Policy>,
    proposals: HashMap<u64, PolicyPropose>,
}

impl Policies {
    /// Takes in a proposal.
    pub(crate) fn propose(&mut self, index: u64, entry: &PolicyPropose) {
        self.proposals.insert(index, entry.clone());
    }

    /// Takes in a policy. `entry.time` was compared with its block before.
    pub(crate) fn set(&mut self, entry: &PolicySet) -> Result<(), String> {
        let expected = self.policies.last().map_or(1, |last| last.number + 1);
        if entry.policy != expected {
            return Err(format!("the policy's number is {}, not {expected}", entry.policy));
        }
        let [one, other] = &entry.approvers;
        if one == other || one.is_empty() || other.is_empty() {
            return Err("a policy needs two different approvers".into());
        }
        match self.proposals.get(&entry.proposal) {
            Some(proposal) if proposal.by == *one && proposal.terms == entry.terms => {}
            _ => return Err("it confirms no proposal of its first approver that stands".into()),
        }
        let policy = Policy::read(entry.policy, &entry.terms, entry.effective)
            .ok_or("a cap or a default of the policy is no decimal in whole units")?;
        let delay = match self.in_force(&policy.id_space, entry.time) {
            None => 0,
            Some(old) => {
                let pairs = || policy.caps().into_iter().zip(old.caps());
                let (raises, lowers) = (pairs().any(|(new, old)| new > old), pairs().any(|(new, old)| new < old));
                if raises && lowers {
                    return Err("a policy raises one cap and lowers another".into());
                }
                if raises { RAISE_SECONDS } else { 0 }
            }
        };
        if Some(entry.effective) != entry.time.checked_add(delay) {
            return Err(format!("the policy is in force {delay} seconds after its time, no sooner and no later"));
        }
        self.proposals.clear();
        self.policies.push(policy);
        Ok(())
    }

    fn in_force(&self, id_space: &str, time: u64) -> Option<&Policy> {
        self.policies.iter().rev().find(|policy| policy.id_space == id_space && policy.effective <= time)
    }

    /// The policy that an intent names, if it is the one in force at the intent's time.
    pub(crate) fn of(&self, intent: &QueryIntent) -> Result<&Policy, String> {
        self.in_force(&intent.id_space, intent.time)
            .filter(|policy| policy.number == intent.policy)
            .ok_or_else(|| format!("policy {} is not in force for this id space", intent.policy))
    }

    /// The policy of each id space that is in force at a time, or the first that will be.
    pub(crate) fn newest(&self, time: u64) -> impl Iterator<Item = &Policy> {
        let first = |policy: &&Policy| {
            self.policies.iter().find(|earlier| earlier.id_space == policy.id_space).map(|p| p.number)
                == Some(policy.number)
        };
        self.policies.iter().filter(first).filter_map(move |policy| self.in_force(&policy.id_space, time))
    }
}
