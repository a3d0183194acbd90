//! The state of every budget: a pure fold over the audit log, entry by entry.
//!
//! Anyone can recompute it from the log; `ledger::verify` does so independently.

use std::collections::BTreeMap;

use epiledger_ledger::entry::{
    AuditEntry, PolicySet, ProtocolApprove, QueryIntent,
    query::{AccountantState, Outcome},
};

use crate::loss::{Delta, PrivacyLoss, Rho};

/// Questions without an answer, failed or abandoned, that suspend a protocol: each may have revealed one bit.
pub const FAILURES_ALLOWED: u32 = 3;

/// An entry that contradicts the log before it. The log is not what this engine writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit entry {index}: {what}")]
pub struct FoldError {
    /// Its index.
    pub index: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A policy in force, read into units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// As logged.
    pub entry: PolicySet,
    /// Lifetime cap of the id space.
    pub cap: PrivacyLoss,
    /// Lifetime cap of each principal.
    pub principal_cap: PrivacyLoss,
    /// A question's default rho.
    pub query_rho: Rho,
    /// Delta of a question with unknown keys.
    pub query_delta: Delta,
    /// Delta at which epsilon is shown.
    pub delta_rep: Delta,
}

impl Policy {
    /// Reads a logged policy; None where a number is not one.
    #[must_use]
    pub fn read(entry: &PolicySet) -> Option<Self> {
        let loss =
            |rho: &str, delta: &str| Some(PrivacyLoss { rho: Rho::parse(rho).ok()?, delta: Delta::parse(delta).ok()? });
        Some(Self {
            cap: loss(&entry.rho_cap, &entry.delta_cap)?,
            principal_cap: loss(&entry.principal_rho_cap, &entry.principal_delta_cap)?,
            query_rho: Rho::parse(&entry.query_rho).ok()?,
            query_delta: Delta::parse(&entry.query_delta).ok()?,
            delta_rep: Delta::parse(&entry.delta_rep).ok()?,
            entry: entry.clone(),
        })
    }
}

/// A protocol and what was spent under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// As approved last.
    pub approval: ProtocolApprove,
    /// Its lifetime cap.
    pub cap: PrivacyLoss,
    /// What was spent.
    pub spent: PrivacyLoss,
    /// Was it suspended after its last approval?
    pub suspended: bool,
    /// Failures since its last approval.
    pub failures: u32,
}

/// A paid question without outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIntent {
    /// Log index of the intent.
    pub index: u64,
    /// Its protocol.
    pub protocol: String,
}

/// A level of the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// `id_space`, `protocol` or `principal`.
    pub level: &'static str,
    /// Which one.
    pub name: String,
    /// Its lifetime cap.
    pub cap: PrivacyLoss,
    /// What was spent.
    pub spent: PrivacyLoss,
}

impl Level {
    /// What is left.
    #[must_use]
    pub const fn remaining(&self) -> PrivacyLoss {
        self.cap.less(self.spent)
    }
}

/// Everything that the log says about budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    policy: Option<Policy>,
    protocols: BTreeMap<String, Protocol>,
    principals: BTreeMap<String, PrivacyLoss>,
    spent: PrivacyLoss,
    intents: u64,
    open: BTreeMap<String, OpenIntent>,
}

impl Budget {
    /// Applies the next entry.
    ///
    /// # Errors
    /// The entry can't follow the ones before it.
    pub fn apply(&mut self, index: u64, entry: &AuditEntry) -> Result<(), FoldError> {
        let fault = |what| Err(FoldError { index, what });
        match entry {
            AuditEntry::PolicySet(set) => {
                let next = self.policy.as_ref().map_or(1, |p| p.entry.policy + 1);
                let [first, second] = &set.approvers;
                match Policy::read(set) {
                    _ if set.policy != next => return fault("a policy out of its number"),
                    _ if first == second => return fault("a policy with one approver"),
                    None => return fault("a policy with a number that is none"),
                    Some(policy) => {
                        let within =
                            |old: &Policy| policy.cap.within(old.cap) && policy.principal_cap.within(old.principal_cap);
                        if self.policy.as_ref().is_some_and(|old| !within(old)) {
                            return fault("a policy that raises a cap");
                        }
                        self.policy = Some(policy);
                    }
                }
            }
            AuditEntry::ProtocolApprove(approval) => {
                let (Ok(rho), Ok(delta)) = (Rho::parse(&approval.rho_cap), Delta::parse(&approval.delta_cap)) else {
                    return fault("a protocol with a cap that is none");
                };
                let spent = self.protocols.get(&approval.protocol).map_or(PrivacyLoss::ZERO, |p| p.spent);
                let cap = PrivacyLoss { rho, delta };
                let protocol = Protocol { approval: approval.clone(), cap, spent, suspended: false, failures: 0 };
                self.protocols.insert(approval.protocol.clone(), protocol);
            }
            AuditEntry::ProtocolSuspend(suspend) => match self.protocols.get_mut(&suspend.protocol) {
                Some(protocol) => protocol.suspended = true,
                None => return fault("a suspension of an unknown protocol"),
            },
            AuditEntry::QueryIntent(intent) => self.apply_intent(index, intent)?,
            AuditEntry::QueryOutcome(outcome) => {
                let Some(open) = self.open.remove(&outcome.query_id) else {
                    return fault("an outcome without an open intent");
                };
                if open.index != outcome.intent {
                    return fault("an outcome of another intent");
                }
                if outcome.outcome != Outcome::Answered
                    && let Some(protocol) = self.protocols.get_mut(&open.protocol)
                {
                    protocol.failures += 1;
                }
            }
            AuditEntry::QueryRefused(_)
            | AuditEntry::QueryRepeated(_)
            | AuditEntry::AccessDenied(_)
            | AuditEntry::RoleChange(_)
            | AuditEntry::Snapshot(_)
            | AuditEntry::Redaction(_) => {}
        }
        Ok(())
    }

    fn apply_intent(&mut self, index: u64, intent: &QueryIntent) -> Result<(), FoldError> {
        let fault = |what| Err(FoldError { index, what });
        let (Ok(rho), Ok(delta)) = (Rho::parse(&intent.rho), Delta::parse(&intent.delta)) else {
            return fault("an intent with a price that is none");
        };
        let loss = PrivacyLoss { rho, delta };
        if intent.state != self.state() {
            return fault("an intent against another state of the budget");
        }
        for level in self.levels(&intent.protocol, &intent.principal) {
            if !loss.within(level.remaining()) {
                return fault("an intent past a cap");
            }
        }
        let Some(protocol) = self.protocols.get_mut(&intent.protocol) else {
            return fault("an intent under an unknown protocol");
        };
        protocol.spent = protocol.spent.plus(loss);
        let principal = self.principals.entry(intent.principal.clone()).or_default();
        *principal = principal.plus(loss);
        self.spent = self.spent.plus(loss);
        self.intents += 1;
        self.open.insert(intent.query_id.clone(), OpenIntent { index, protocol: intent.protocol.clone() });
        Ok(())
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// All protocols, by id.
    #[must_use]
    pub const fn protocols(&self) -> &BTreeMap<String, Protocol> {
        &self.protocols
    }

    /// Paid questions without outcome, by query id.
    #[must_use]
    pub const fn open(&self) -> &BTreeMap<String, OpenIntent> {
        &self.open
    }

    /// The state that the next intent names.
    #[must_use]
    pub fn state(&self) -> AccountantState {
        AccountantState { intents: self.intents, rho: self.spent.rho.to_string(), delta: self.spent.delta.to_string() }
    }

    /// Every level that binds this asker, the id space first. Empty before the first policy.
    #[must_use]
    pub fn levels(&self, protocol: &str, principal: &str) -> Vec<Level> {
        let Some(policy) = &self.policy else { return Vec::new() };
        let mut levels =
            vec![Level { level: "id_space", name: policy.entry.id_space.clone(), cap: policy.cap, spent: self.spent }];
        if let Some(found) = self.protocols.get(protocol) {
            levels.push(Level { level: "protocol", name: protocol.to_owned(), cap: found.cap, spent: found.spent });
        }
        let spent = self.principals.get(principal).copied().unwrap_or_default();
        levels.push(Level { level: "principal", name: principal.to_owned(), cap: policy.principal_cap, spent });
        levels
    }
}
