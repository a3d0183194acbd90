//! The fold over the audit log: the whole budget recomputed from its intents, in integers.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    decimal::{DELTA_PLACES, RHO_PLACES, price_covers, print, units},
    protocols::{Amount, Rules},
    report::{AuditSummary, Fault, IdSpaceBudget},
};
use crate::{
    entry::{AuditEntry, QueryIntent, QueryOutcome, query::Outcome},
    hex,
};

/// The one mechanism whose price this auditor can recompute.
const GAUSSIAN: &str = "discrete_gaussian";

/// Everything that later entries of an audit log must agree with.
#[derive(Default)]
pub(crate) struct AuditFold {
    rules: Rules,
    /// Entries of the batch whose block leaf is still to come, since the block has the time.
    batch: Vec<(u64, AuditEntry)>,
    spent: HashMap<String, Amount>,
    by_protocol: HashMap<String, Amount>,
    by_principal: HashMap<(String, String), Amount>,
    /// Intents without an outcome: query id by log index.
    open: HashMap<u64, String>,
    query_ids: HashSet<String>,
    answered: BTreeSet<u64>,
    snapshots: BTreeSet<u64>,
    summary: AuditSummary,
}

impl AuditFold {
    /// An entry; it counts when its block comes.
    pub(crate) fn entry(&mut self, index: u64, entry: AuditEntry) {
        self.batch.push((index, entry));
    }

    /// The end of a batch.
    pub(crate) fn block(&mut self, time: u64) -> Result<(), Fault> {
        for (index, entry) in std::mem::take(&mut self.batch) {
            self.apply(index, &entry, time).map_err(|(layer, message)| Fault::entry(index, layer, message))?;
        }
        Ok(())
    }

    fn apply(&mut self, index: u64, entry: &AuditEntry, time: u64) -> Result<(), (&'static str, String)> {
        let is = |layer: &'static str| move |message: String| (layer, message);
        match entry {
            AuditEntry::PolicySet(policy) => self.rules.set_policy(policy, time).map_err(is("policy")),
            AuditEntry::ProtocolApprove(protocol) => self.rules.approve(protocol).map_err(is("protocol")),
            AuditEntry::ProtocolSuspend(suspend) => self.rules.suspend(&suspend.protocol).map_err(is("protocol")),
            AuditEntry::QueryIntent(intent) => self.intent(index, intent, time),
            AuditEntry::QueryOutcome(outcome) => self.outcome(index, outcome).map_err(is("outcome")),
            AuditEntry::QueryRefused(refused) => {
                self.summary.refused += 1;
                commitment(&refused.sql_commit).map_err(is("entry"))
            }
            AuditEntry::QueryRepeated(repeated) => {
                self.summary.repeated += 1;
                commitment(&repeated.sql_commit).map_err(is("entry"))?;
                self.rules.protocol(&repeated.protocol, time).map_err(is("protocol"))?;
                if !self.answered.contains(&repeated.cites) {
                    return Err((
                        "outcome",
                        format!("it cites entry {}, which is no answered outcome", repeated.cites),
                    ));
                }
                Ok(())
            }
            AuditEntry::Snapshot(snapshot) => {
                if self.snapshots.last().is_some_and(|last| *last >= snapshot.number) {
                    return Err(("snapshot", "snapshot numbers must rise".into()));
                }
                self.snapshots.insert(snapshot.number);
                commitment(&snapshot.commit).map_err(is("entry"))
            }
            AuditEntry::Redaction(redaction) => {
                let [one, other] = &redaction.approvers;
                if one == other || one.is_empty() || other.is_empty() {
                    return Err(("redaction", "a redaction needs two different approvers".into()));
                }
                commitment(&redaction.sha256).map_err(is("entry"))
            }
            AuditEntry::AccessDenied(_) | AuditEntry::RoleChange(_) => Ok(()),
        }
    }

    fn intent(&mut self, index: u64, intent: &QueryIntent, time: u64) -> Result<(), (&'static str, String)> {
        let is = |layer: &'static str| move |message: String| (layer, message);
        commitment(&intent.sql_commit).and(commitment(&intent.plan_commit)).map_err(is("entry"))?;
        if !self.query_ids.insert(intent.query_id.clone()) {
            return Err(("entry", "its query id was used before".into()));
        }
        if !self.snapshots.contains(&intent.snapshot) {
            return Err(("snapshot", format!("snapshot {} was never pinned", intent.snapshot)));
        }
        let policy = self.rules.policy(intent, time).map_err(is("policy"))?;
        let protocol = self.rules.protocol(&intent.protocol, time).map_err(is("protocol"))?;
        protocol.covers(intent).map_err(is("protocol"))?;
        let price = self.price(intent).map_err(is("budget"))?;

        let spent = self.spent.get(&intent.id_space).copied().unwrap_or_default();
        let read = Amount::parse(&intent.state.rho, &intent.state.delta);
        if read != Some(spent) || intent.state.intents != self.summary.intents {
            return Err(("budget", "the state that it read is not the fold of the intents before it".into()));
        }
        let principal = (intent.id_space.clone(), intent.principal.clone());
        let too_much = || ("budget", "a sum of the budget overflows".to_owned());
        let total = spent.plus(price).ok_or_else(too_much)?;
        let of_protocol =
            self.by_protocol.get(&intent.protocol).copied().unwrap_or_default().plus(price).ok_or_else(too_much)?;
        let of_principal =
            self.by_principal.get(&principal).copied().unwrap_or_default().plus(price).ok_or_else(too_much)?;
        for (level, amount, cap) in [
            ("id space", total, policy.cap),
            ("protocol", of_protocol, protocol.cap),
            ("principal", of_principal, policy.principal_cap),
        ] {
            if !amount.within(cap) {
                return Err(("budget", format!("it passes the cap of its {level}")));
            }
        }
        self.spent.insert(intent.id_space.clone(), total);
        self.by_protocol.insert(intent.protocol.clone(), of_protocol);
        self.by_principal.insert(principal, of_principal);
        self.open.insert(index, intent.query_id.clone());
        self.summary.intents += 1;
        self.summary.primitives += intent.primitives.len() as u64;
        Ok(())
    }

    /// The intent's price, if each primitive pays for its sensitivity and the sum is right.
    fn price(&self, intent: &QueryIntent) -> Result<Amount, String> {
        let price = Amount::parse(&intent.rho, &intent.delta).ok_or("its price is no decimal in whole units")?;
        let mut sum = 0_u128;
        for primitive in &intent.primitives {
            if primitive.mechanism != GAUSSIAN {
                return Err("its mechanism is unknown to this auditor".into());
            }
            let rho = units(&primitive.rho, RHO_PLACES).ok_or("a primitive's rho is no decimal in whole units")?;
            match price_covers(rho, &primitive.sigma, &primitive.d_squared) {
                Some(true) => {}
                Some(false) => return Err("a primitive's rho is less than D^2 / (2 sigma^2)".into()),
                None => return Err("a primitive's sigma or D^2 is no decimal".into()),
            }
            sum = sum.checked_add(rho).ok_or("the primitives' rho overflows")?;
        }
        if intent.primitives.is_empty() || sum != price.rho {
            return Err("its rho is not the sum of its primitives".into());
        }
        Ok(price)
    }

    fn outcome(&mut self, index: u64, outcome: &QueryOutcome) -> Result<(), String> {
        if self.open.remove(&outcome.intent).as_ref() != Some(&outcome.query_id) {
            return Err("it ends no open intent of its query id".into());
        }
        if outcome.result_commit.is_some() != (outcome.outcome == Outcome::Answered) {
            return Err("answered outcomes alone have a result".into());
        }
        outcome.result_commit.as_deref().map_or(Ok(()), commitment)?;
        match outcome.outcome {
            Outcome::Answered => {
                self.answered.insert(index);
                self.summary.answered += 1;
            }
            Outcome::Failed => self.summary.failed += 1,
            Outcome::Abandoned => self.summary.abandoned += 1,
        }
        Ok(())
    }

    /// What the log adds up to.
    pub(crate) fn summary(&self) -> AuditSummary {
        let budget = |policy: &super::protocols::Policy| {
            let spent = self.spent.get(&policy.id_space).copied().unwrap_or_default();
            IdSpaceBudget {
                id_space: policy.id_space.clone(),
                rho: print(spent.rho, RHO_PLACES),
                rho_cap: print(policy.cap.rho, RHO_PLACES),
                delta: print(spent.delta, DELTA_PLACES),
                delta_cap: print(policy.cap.delta, DELTA_PLACES),
            }
        };
        AuditSummary {
            open: self.open.len() as u64,
            protocols: self.rules.protocols(),
            budgets: self.rules.newest_policies().map(budget).collect(),
            ..self.summary.clone()
        }
    }
}

fn commitment(text: &str) -> Result<(), String> {
    hex::decode::<32>(text).map(drop).ok_or_else(|| "a commitment is not 64 lower-case hex digits".into())
}
