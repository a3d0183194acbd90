//! Policies and protocols as of some moment of the audit log: which caps bind, who may ask what until when.

use std::collections::HashMap;

use super::{
    day::{SLACK_SECONDS, day_after, day_of, is_day},
    decimal::{DELTA_PLACES, RHO_PLACES, units},
};
use crate::entry::{PolicySet, ProtocolApprove, QueryIntent};

/// Days between a raise of a cap and the first day on which it counts.
const RAISE_DAYS: u64 = 7;

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
    effective: String,
    first: bool,
}

/// A protocol with its caps parsed.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    pub cap: Amount,
    entry: ProtocolApprove,
    suspended: bool,
}

/// All policies and protocols so far.
#[derive(Default)]
pub(crate) struct Rules {
    policies: Vec<Policy>,
    protocols: HashMap<String, Protocol>,
}

impl Rules {
    /// Takes in a policy at a block's time.
    pub(crate) fn set_policy(&mut self, policy: &PolicySet, time: u64) -> Result<(), String> {
        let expected = self.policies.last().map_or(1, |last| last.number + 1);
        if policy.policy != expected {
            return Err(format!("the policy's number is {}, not {expected}", policy.policy));
        }
        let [one, other] = &policy.approvers;
        if one == other || one.is_empty() || other.is_empty() {
            return Err("a policy needs two different approvers".into());
        }
        if !is_day(&policy.effective) {
            return Err("the policy's first day is no date".into());
        }
        let cap = Amount::parse(&policy.rho_cap, &policy.delta_cap);
        let principal = Amount::parse(&policy.principal_rho_cap, &policy.principal_delta_cap);
        let (Some(cap), Some(principal_cap)) = (cap, principal) else {
            return Err("a cap is no decimal in whole units".into());
        };
        for (text, places) in
            [(&policy.query_rho, RHO_PLACES), (&policy.query_delta, DELTA_PLACES), (&policy.delta_rep, DELTA_PLACES)]
        {
            units(text, places).ok_or("a default of the policy is no decimal in whole units")?;
        }
        let before = self.policies.iter().rev().find(|old| old.id_space == policy.id_space);
        let raised = before.is_some_and(|old| !cap.within(old.cap) || !principal_cap.within(old.principal_cap));
        if raised && policy.effective < day_after(time.saturating_sub(SLACK_SECONDS), RAISE_DAYS) {
            return Err(format!("a cap is raised earlier than {RAISE_DAYS} days after its entry"));
        }
        self.policies.push(Policy {
            number: policy.policy,
            id_space: policy.id_space.clone(),
            cap,
            principal_cap,
            effective: policy.effective.clone(),
            first: before.is_none(),
        });
        Ok(())
    }

    /// The policy that an intent names, if it is the one in force at a block's time or shortly before.
    pub(crate) fn policy(&self, intent: &QueryIntent, time: u64) -> Result<&Policy, String> {
        let in_force = |time: u64| {
            let day = day_of(time);
            let counts =
                |policy: &&Policy| policy.id_space == intent.id_space && (policy.first || policy.effective <= day);
            self.policies.iter().rev().find(counts)
        };
        let named = |policy: &&Policy| policy.number == intent.policy;
        in_force(time)
            .filter(named)
            .or_else(|| in_force(time.saturating_sub(SLACK_SECONDS)).filter(named))
            .ok_or_else(|| format!("policy {} is not in force for this id space", intent.policy))
    }

    /// The newest policy of each id space, in the order of their numbers.
    pub(crate) fn newest_policies(&self) -> impl Iterator<Item = &Policy> {
        let newest = |policy: &&Policy| {
            !self.policies.iter().any(|later| later.id_space == policy.id_space && later.number > policy.number)
        };
        self.policies.iter().filter(newest)
    }

    /// Takes in an approval; a later one of the same protocol replaces the earlier.
    pub(crate) fn approve(&mut self, entry: &ProtocolApprove) -> Result<(), String> {
        let cap = Amount::parse(&entry.rho_cap, &entry.delta_cap).ok_or("a cap is no decimal in whole units")?;
        if !is_day(&entry.valid_from) || !is_day(&entry.valid_to) {
            return Err("the protocol's days are no dates".into());
        }
        self.protocols.insert(entry.protocol.clone(), Protocol { cap, entry: entry.clone(), suspended: false });
        Ok(())
    }

    /// Takes in a suspension.
    pub(crate) fn suspend(&mut self, protocol: &str) -> Result<(), String> {
        self.protocols.get_mut(protocol).ok_or("the suspended protocol was never approved")?.suspended = true;
        Ok(())
    }

    /// The protocol, if questions under it may be answered at a block's time or shortly before.
    pub(crate) fn protocol(&self, name: &str, time: u64) -> Result<&Protocol, String> {
        let protocol = self.protocols.get(name).ok_or("its protocol was never approved")?;
        if protocol.suspended {
            return Err("its protocol is suspended".into());
        }
        let early = protocol.entry.valid_from > day_of(time);
        if early || protocol.entry.valid_to < day_of(time.saturating_sub(SLACK_SECONDS)) {
            return Err("its protocol is not in its dates".into());
        }
        Ok(protocol)
    }

    /// Protocols ever approved.
    pub(crate) fn protocols(&self) -> u64 {
        self.protocols.len() as u64
    }
}

impl Protocol {
    /// Whether the intent's principal and purpose are the protocol's.
    pub(crate) fn covers(&self, intent: &QueryIntent) -> Result<(), String> {
        if intent.purpose != self.entry.purpose {
            return Err("its purpose is not its protocol's".into());
        }
        if !self.entry.investigators.contains(&intent.principal) {
            return Err("its principal is no investigator of its protocol".into());
        }
        Ok(())
    }
}
