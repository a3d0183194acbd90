//! The state of every budget: a pure fold over the audit log, entry by entry.
//!
//! Time is what the entries name: the log's own, on the minute. Anyone can recompute the fold from the log;
//! `ledger::verify` does so independently.

use std::collections::{BTreeMap, VecDeque};

use epiledger_ledger::entry::{
    AuditEntry, PolicyPropose, PolicySet, ProtocolApprove, QueryIntent, QueryOutcome,
    protocol::{RAISE_SECONDS, WINDOW_SECONDS},
    query::{AccountantState, Outcome},
};

use crate::{
    day::Day,
    loss::{Delta, PrivacyLoss, Rho},
    mechanism::Draw,
    series::Book,
};

/// Questions without an answer, failed or abandoned, that suspend a protocol: each may have revealed one bit.
/// Those under way count beforehand, so that no more than these can ever fail.
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

/// A policy, read into units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// As logged.
    pub entry: PolicySet,
    /// Lifetime cap of the id space.
    pub cap: PrivacyLoss,
    /// Lifetime cap of each principal.
    pub principal_cap: PrivacyLoss,
    /// Cap of any 24 hours of the id space; its delta is the lifetime's.
    pub window_cap: PrivacyLoss,
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
        let terms = &entry.terms;
        let loss = |rho: &str, delta: &str| Some(PrivacyLoss::of_any(Rho::parse(rho).ok()?, Delta::parse(delta).ok()?));
        Some(Self {
            cap: loss(&terms.rho_cap, &terms.delta_cap)?,
            principal_cap: loss(&terms.principal_rho_cap, &terms.principal_delta_cap)?,
            window_cap: loss(&terms.window_rho_cap, &terms.delta_cap)?,
            query_rho: Rho::parse(&terms.query_rho).ok()?,
            query_delta: Delta::parse(&terms.query_delta).ok()?,
            delta_rep: Delta::parse(&terms.delta_rep).ok()?,
            entry: entry.clone(),
        })
    }

    /// Is each cap at most that of `other`?
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        self.cap.within(other.cap)
            && self.principal_cap.within(other.principal_cap)
            && self.window_cap.within(other.window_cap)
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
    /// Paid questions without outcome.
    pub under_way: u32,
}

impl Protocol {
    /// May this principal ask under it at this time?
    ///
    /// # Errors
    /// Why not.
    pub fn usable(&self, principal: &str, time: u64) -> Result<(), &'static str> {
        let today = day_of(time);
        if self.suspended || self.failures >= FAILURES_ALLOWED {
            return Err("is suspended: ask the ethics board");
        }
        if today < self.approval.valid_from || today > self.approval.valid_to {
            return Err("is not in its dates: ask the ethics board to renew it");
        }
        if !self.approval.investigators.iter().any(|name| name == principal) {
            return Err("does not name you as an investigator: ask the ethics board");
        }
        Ok(())
    }

    /// Would one more question, if all under way failed too, be past what is allowed?
    #[must_use]
    pub const fn full(&self) -> bool {
        self.failures.saturating_add(self.under_way) >= FAILURES_ALLOWED
    }
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
    /// `id_space`, `window`, `protocol` or `principal`.
    pub level: &'static str,
    /// Which one.
    pub name: String,
    /// Its cap.
    pub cap: PrivacyLoss,
    /// What was spent of it.
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
    policies: Vec<Policy>,
    proposals: BTreeMap<u64, PolicyPropose>,
    protocols: BTreeMap<String, Protocol>,
    principals: BTreeMap<String, PrivacyLoss>,
    spent: PrivacyLoss,
    /// Time and price of the intents that may still count for the window.
    window: VecDeque<(u64, PrivacyLoss)>,
    /// Their sum.
    in_window: PrivacyLoss,
    intents: u64,
    open: BTreeMap<String, OpenIntent>,
    series: Book,
    time: u64,
}

impl Budget {
    /// Can this entry be the next one? Nothing changes.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, entry: &AuditEntry) -> Result<(), &'static str> {
        match entry {
            AuditEntry::PolicySet(set) => self.check_policy(set).map(drop),
            AuditEntry::ProtocolApprove(approval) => cap_of(approval).map(drop),
            AuditEntry::ProtocolSuspend(suspend) if !self.protocols.contains_key(&suspend.protocol) => {
                Err("a suspension of an unknown protocol")
            }
            AuditEntry::QueryIntent(intent) => self.check_intent(intent).map(drop),
            AuditEntry::QueryOutcome(outcome) => match self.open.get(&outcome.query_id) {
                None => Err("an outcome without an open intent"),
                Some(open) if open.index != outcome.intent => Err("an outcome of another intent"),
                Some(_) => Ok(()),
            },
            AuditEntry::PolicyPropose(_)
            | AuditEntry::ProtocolSuspend(_)
            | AuditEntry::QueryRefused(_)
            | AuditEntry::QueryRepeated(_)
            | AuditEntry::AccessDenied(_)
            | AuditEntry::RecordRead(_)
            | AuditEntry::RoleChange(_)
            | AuditEntry::Snapshot(_)
            | AuditEntry::Redaction(_)
            | AuditEntry::LogClose(_)
            | AuditEntry::LogContinue(_) => Ok(()),
        }
    }

    /// Applies the next entry, or changes nothing.
    ///
    /// # Errors
    /// The entry can't follow the ones before it.
    pub fn apply(&mut self, index: u64, entry: &AuditEntry) -> Result<(), FoldError> {
        self.try_apply(index, entry).map_err(|what| FoldError { index, what })
    }

    fn try_apply(&mut self, index: u64, entry: &AuditEntry) -> Result<(), &'static str> {
        self.check(entry)?;
        match entry {
            AuditEntry::PolicyPropose(proposal) => {
                self.proposals.insert(index, proposal.clone());
            }
            AuditEntry::PolicySet(set) => {
                let policy = self.check_policy(set)?;
                self.time = set.time;
                self.proposals.clear();
                self.policies.push(policy);
            }
            AuditEntry::ProtocolApprove(approval) => {
                let cap = cap_of(approval)?;
                let old = self.protocols.get(&approval.protocol);
                let (spent, under_way) = old.map_or((PrivacyLoss::ZERO, 0), |old| (old.spent, old.under_way));
                let approval = approval.clone();
                let name = approval.protocol.clone();
                self.protocols
                    .insert(name, Protocol { approval, cap, spent, suspended: false, failures: 0, under_way });
            }
            AuditEntry::ProtocolSuspend(suspend) => {
                if let Some(protocol) = self.protocols.get_mut(&suspend.protocol) {
                    protocol.suspended = true;
                }
            }
            AuditEntry::QueryIntent(intent) => self.apply_intent(index, intent)?,
            AuditEntry::QueryOutcome(outcome) => self.apply_outcome(outcome),
            AuditEntry::Snapshot(cut) => self.series.cut(cut.number, &cut.cut_at),
            _ => {}
        }
        Ok(())
    }

    /// The policy that follows, if the entry is right: two principals, its number, and in force no sooner than its
    /// caps may be.
    fn check_policy(&self, set: &PolicySet) -> Result<Policy, &'static str> {
        let [first, second] = &set.approvers;
        let policy = Policy::read(set).ok_or("a policy with a number that is none")?;
        if set.policy != self.next_policy() {
            return Err("a policy out of its number");
        }
        if first == second {
            return Err("a policy with one approver");
        }
        if !self.proposals.get(&set.proposal).is_some_and(|p| p.by == *first && p.terms == set.terms) {
            return Err("a policy that confirms no proposal of its first approver");
        }
        if set.time < self.time {
            return Err("a policy from before the entries before it");
        }
        if self.policies.first().is_some_and(|old| old.entry.terms.id_space != set.terms.id_space) {
            return Err("a policy of another id space: a new name gives no new cap");
        }
        if Some(set.effective) != self.effective(&policy, set.time)? {
            return Err("a policy in force at another time than its caps allow");
        }
        Ok(policy)
    }

    /// From when a policy is in force that is set at `time`: at once, or seven days later when it raises a cap.
    fn effective(&self, policy: &Policy, time: u64) -> Result<Option<u64>, &'static str> {
        match self.policy(time) {
            Some(old) if !policy.within(old) => match old.within(policy) {
                true => Ok(time.checked_add(RAISE_SECONDS)),
                false => Err("a policy that raises one cap and lowers another: lower first, then raise"),
            },
            _ => Ok(Some(time)),
        }
    }

    /// The entry that confirms a proposal now.
    ///
    /// # Errors
    /// There is no such proposal, it is the confirmer's own, or the policy can't follow.
    pub fn confirmed(&self, proposal: u64, by: &str, time: u64) -> Result<PolicySet, &'static str> {
        let proposed = self.proposals.get(&proposal).ok_or("no such proposal stands")?;
        let approvers = [proposed.by.clone(), by.to_owned()];
        let (policy, terms) = (self.next_policy(), proposed.terms.clone());
        let mut set = PolicySet { policy, proposal, terms, approvers, time, effective: time };
        let read = Policy::read(&set).ok_or("a policy with a number that is none")?;
        set.effective = self.effective(&read, time)?.ok_or("a policy past the end of time")?;
        self.check_policy(&set).map(|_| set)
    }

    fn next_policy(&self) -> u64 {
        self.policies.last().map_or(1, |last| last.entry.policy + 1)
    }

    fn check_intent(&self, intent: &QueryIntent) -> Result<PrivacyLoss, &'static str> {
        let loss = paid(intent).ok_or("an intent with a price that is none")?;
        if intent.time < self.time {
            return Err("an intent from before the entries before it");
        }
        if intent.state != self.state() {
            return Err("an intent against another state of the budget");
        }
        if self.policy(intent.time).is_none_or(|policy| policy.entry.policy != intent.policy) {
            return Err("an intent under a policy that is not in force");
        }
        let protocol = self.protocols.get(&intent.protocol).ok_or("an intent under an unknown protocol")?;
        protocol.usable(&intent.principal, intent.time).map_err(|_| "an intent that its protocol does not allow")?;
        if protocol.full() {
            return Err("an intent beside too many that may fail");
        }
        self.series.check(intent)?;
        let levels = self.levels(&intent.protocol, &intent.principal, intent.time);
        if levels.iter().any(|level| !loss.within(level.remaining())) {
            return Err("an intent past a cap");
        }
        Ok(loss)
    }

    fn apply_intent(&mut self, index: u64, intent: &QueryIntent) -> Result<(), &'static str> {
        let loss = self.check_intent(intent)?;
        if let Some(protocol) = self.protocols.get_mut(&intent.protocol) {
            protocol.spent = protocol.spent.plus(loss);
            protocol.under_way += 1;
        }
        let principal = self.principals.entry(intent.principal.clone()).or_default();
        *principal = principal.plus(loss);
        self.spent = self.spent.plus(loss);
        self.time = intent.time;
        self.in_window = self.window_spent(intent.time).plus(loss);
        while self.window.front().is_some_and(|(at, _)| !in_window(*at, intent.time)) {
            self.window.pop_front();
        }
        self.window.push_back((intent.time, loss));
        self.intents += 1;
        self.series.begin(index, intent);
        self.open.insert(intent.query_id.clone(), OpenIntent { index, protocol: intent.protocol.clone() });
        Ok(())
    }

    fn apply_outcome(&mut self, outcome: &QueryOutcome) {
        let ended = self.open.remove(&outcome.query_id);
        self.series.end(&outcome.query_id, outcome.outcome);
        if let Some(protocol) = ended.and_then(|open| self.protocols.get_mut(&open.protocol)) {
            protocol.under_way = protocol.under_way.saturating_sub(1);
            protocol.failures += u32::from(outcome.outcome != Outcome::Answered);
        }
    }

    /// The policy in force at a time: the last one whose time has come.
    #[must_use]
    pub fn policy(&self, time: u64) -> Option<&Policy> {
        self.policies.iter().rev().find(|policy| policy.entry.effective <= time)
    }

    /// The policy that will be in force later, if nobody sets another: the newest, while it is pending.
    #[must_use]
    pub fn pending(&self, time: u64) -> Option<&Policy> {
        self.policies.last().filter(|policy| policy.entry.effective > time)
    }

    /// Proposals that nobody confirmed yet, by log index.
    #[must_use]
    pub const fn proposals(&self) -> &BTreeMap<u64, PolicyPropose> {
        &self.proposals
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

    /// The series that were opened.
    #[must_use]
    pub const fn series(&self) -> &Book {
        &self.series
    }

    /// The state that the next intent names.
    #[must_use]
    pub fn state(&self) -> AccountantState {
        AccountantState { intents: self.intents, rho: self.spent.rho.to_string(), delta: self.spent.delta.to_string() }
    }

    /// What was spent in the 24 hours before a time, by whatever draws: a rate is no promise of its own. Intents are in the
    /// order of their times.
    fn window_spent(&self, time: u64) -> PrivacyLoss {
        let past = self.window.iter().take_while(|(at, _)| !in_window(*at, time));
        let left = past.fold(self.in_window, |left, (_, loss)| left.less(*loss));
        PrivacyLoss::of_any(left.rho, left.delta)
    }

    /// Every level that binds this asker at a time, the id space first. Empty before the first policy.
    #[must_use]
    pub fn levels(&self, protocol: &str, principal: &str, time: u64) -> Vec<Level> {
        let Some(policy) = self.policy(time) else { return Vec::new() };
        let level = |level, name: &str, cap, spent| Level { level, name: name.to_owned(), cap, spent };
        let mut levels = vec![
            level("id_space", &policy.entry.terms.id_space, policy.cap, self.spent),
            level("window", "24 hours", policy.window_cap, self.window_spent(time)),
        ];
        if let Some(found) = self.protocols.get(protocol) {
            levels.push(level("protocol", protocol, found.cap, found.spent));
        }
        let spent = self.principals.get(principal).copied().unwrap_or_default();
        levels.push(level("principal", principal, policy.principal_cap, spent));
        levels
    }
}

/// The day of a time of the log, `YYYY-MM-DD`.
fn day_of(time: u64) -> String {
    Day(i32::try_from(time / 86_400).unwrap_or(i32::MAX)).to_string()
}

/// Does what was paid at `at` count for the window at `time`?
const fn in_window(at: u64, time: u64) -> bool {
    at.saturating_add(WINDOW_SECONDS) > time
}

/// What an intent pays. A window that its series' opening paid for is free, whatever it draws.
#[must_use]
pub fn paid(intent: &QueryIntent) -> Option<PrivacyLoss> {
    let (rho, delta) = (Rho::parse(&intent.rho).ok()?, Delta::parse(&intent.delta).ok()?);
    let drawn: PrivacyLoss = intent.primitives.iter().map(Draw::logged).sum();
    let gaussian = if rho == Rho::ZERO { Rho::ZERO } else { drawn.gaussian };
    Some(PrivacyLoss { rho, delta, gaussian })
}

fn cap_of(approval: &ProtocolApprove) -> Result<PrivacyLoss, &'static str> {
    match (Rho::parse(&approval.rho_cap), Delta::parse(&approval.delta_cap)) {
        (Ok(rho), Ok(delta)) => Ok(PrivacyLoss::of_any(rho, delta)),
        _ => Err("a protocol with a cap that is none"),
    }
}
