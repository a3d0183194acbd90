//! The fold over the audit log: the whole budget recomputed from its intents, in integers.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    rc::Rc,
};

use super::{
    day::SLACK_SECONDS,
    decimal::{DELTA_PLACES, RHO_PLACES, print},
    policies::{Amount, Policies},
    price::{Drawn, gaussian, price},
    protocols::Protocols,
    report::{AuditSummary, Continued, Fault, IdSpaceBudget},
    series::Book,
};
use crate::{
    entry::{AuditEntry, QueryIntent, QueryOutcome, protocol::WINDOW_SECONDS, query::Outcome},
    hex,
    registry::{Short, short},
};

/// A rule that an entry breaks: the layer, and what does not fit.
type Broken = (&'static str, String);

/// A closed log, as the one after it must continue it.
pub(crate) struct Closed {
    pub key: String,
    pub checkpoint: String,
    pub size: u64,
}

/// An intent without an outcome.
struct Open {
    query_id: String,
    protocol: String,
    drawn: Rc<Drawn>,
}

/// Answers by their index, and what each of them drew. Most questions draw alike, and what is alike is kept once.
#[derive(Default)]
struct Answers {
    /// Indices rise.
    all: Vec<(u64, Rc<Drawn>)>,
    draws: HashSet<Rc<Drawn>>,
}

impl Answers {
    fn get(&self, index: u64) -> Option<&Rc<Drawn>> {
        let at = self.all.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.all.get(at).map(|(_, drawn)| drawn)
    }

    fn push(&mut self, index: u64, drawn: Rc<Drawn>) {
        let drawn = self.draws.get(&drawn).cloned().unwrap_or(drawn);
        self.draws.insert(Rc::clone(&drawn));
        self.all.push((index, drawn));
    }
}

/// Time and rho of the intents of the last 24 hours, and their sum.
#[derive(Default)]
struct Window(VecDeque<(u64, u128)>, u128);

impl Window {
    /// Takes in an intent and gives the sum with it; `None` when it overflows.
    fn push(&mut self, time: u64, rho: u128) -> Option<u128> {
        while self.0.front().is_some_and(|(at, _)| at.saturating_add(WINDOW_SECONDS) <= time) {
            self.1 -= self.0.pop_front()?.1;
        }
        self.0.push_back((time, rho));
        self.1 = self.1.checked_add(rho)?;
        Some(self.1)
    }
}

/// Everything that later entries of an audit log must agree with.
#[derive(Default)]
pub(crate) struct AuditFold {
    /// The log's own verifier key.
    key: String,
    /// The log before this one, when it was audited.
    before: Option<Closed>,
    /// Entries of the logs before this one: indices that entries name count on from there.
    first: u64,
    /// The key that the closing entry names; nothing follows it.
    closed: Option<String>,
    /// The log goes on after one that was not given, so that nothing can be recomputed.
    continues: Option<Continued>,
    policies: Policies,
    protocols: Protocols,
    /// Entries of the batch whose block leaf is still to come, since the block has the time.
    batch: Vec<(u64, AuditEntry)>,
    /// The time that the newest timed entry names.
    time: u64,
    spent: HashMap<String, Amount>,
    /// By id space, while all that was drawn is Gaussian: what it is worth as a sum.
    gaussian: HashMap<String, Option<u128>>,
    by_protocol: HashMap<String, Amount>,
    by_principal: HashMap<(String, String), Amount>,
    /// By id space.
    window: HashMap<String, Window>,
    /// Intents without an outcome, by log index.
    open: HashMap<u64, Open>,
    query_ids: HashSet<Short>,
    answered: Answers,
    snapshots: BTreeSet<u64>,
    series: Book,
    summary: AuditSummary,
}

impl AuditFold {
    /// Of a log of this key, after one that was audited before.
    pub(crate) fn of(key: &str, before: Option<(Self, Closed)>) -> Self {
        let key = key.to_owned();
        match before {
            None => Self { key, ..Self::default() },
            Some((fold, before)) => Self { key, first: fold.first + before.size, before: Some(before), ..fold },
        }
    }

    /// Nothing but a closing entry's block follows it; a first entry names the closed log before, if one is known.
    fn rotation(&mut self, place: u64, entry: &AuditEntry) -> Result<(), String> {
        let begins = match entry {
            AuditEntry::LogContinue(begins) if place == 0 => Some(begins),
            AuditEntry::LogContinue(_) => return Err("a log goes on after another with its first entry alone".into()),
            _ => None,
        };
        match (begins, &self.before) {
            (Some(begins), before) => {
                let fits = |before: &Closed| {
                    (&begins.key, &begins.checkpoint) == (&before.key, &before.checkpoint)
                        && begins.first == self.first
                        && self.closed.as_ref() == Some(&self.key)
                };
                if before.as_ref().is_some_and(|before| !fits(before)) {
                    return Err("it does not continue the log before it as that was closed".into());
                }
                let origin = begins.key.split('+').next().unwrap_or_default().to_owned();
                let known = self.continues.as_ref().is_none_or(|log| log.recomputed);
                let recomputed = before.is_some() && known;
                self.first = begins.first;
                self.continues = Some(Continued { origin, first: begins.first, recomputed });
                self.closed = None;
            }
            (None, Some(_)) if place == 0 => return Err("it does not begin with the log before it".into()),
            (None, _) if self.closed.is_some() => return Err("it follows the entry that closed the log".into()),
            (None, _) => {}
        }
        if let AuditEntry::LogClose(close) = entry {
            let [one, other] = &close.approvers;
            if one == other || one.is_empty() || other.is_empty() {
                return Err("closing a log needs two different approvers".into());
            }
            self.closed = Some(close.key.clone());
        }
        Ok(())
    }

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

    fn apply(&mut self, place: u64, entry: &AuditEntry, time: u64) -> Result<(), Broken> {
        let is = |layer: &'static str| move |message: String| (layer, message);
        self.rotation(place, entry).map_err(is("rotation"))?;
        if self.continues.as_ref().is_some_and(|log| !log.recomputed) {
            return Ok(());
        }
        let index = self.first + place;
        match entry {
            AuditEntry::PolicyPropose(proposal) => {
                self.policies.propose(index, proposal);
                Ok(())
            }
            AuditEntry::PolicySet(policy) => {
                self.timed(policy.time, time).and_then(|()| self.policies.set(policy)).map_err(is("policy"))
            }
            AuditEntry::ProtocolApprove(protocol) => self.protocols.approve(protocol).map_err(is("protocol")),
            AuditEntry::ProtocolSuspend(suspend) => self.protocols.suspend(&suspend.protocol).map_err(is("protocol")),
            AuditEntry::QueryIntent(intent) => self.intent(index, intent, time),
            AuditEntry::QueryOutcome(outcome) => self.outcome(index, outcome).map_err(is("outcome")),
            AuditEntry::QueryRefused(refused) => {
                self.summary.refused += 1;
                commitment(&refused.sql_commit).map_err(is("entry"))
            }
            AuditEntry::QueryRepeated(repeated) => {
                self.summary.repeated += 1;
                commitment(&repeated.sql_commit).map_err(is("entry"))?;
                self.protocols.may_repeat(&repeated.protocol, time).map_err(is("protocol"))?;
                if self.answered.get(repeated.cites).is_none() {
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
                self.series.cut(snapshot.number, &snapshot.cut_at);
                commitment(&snapshot.commit).map_err(is("entry"))
            }
            AuditEntry::Redaction(redaction) => {
                let [one, other] = &redaction.approvers;
                if one == other || one.is_empty() || other.is_empty() {
                    return Err(("redaction", "a redaction needs two different approvers".into()));
                }
                commitment(&redaction.sha256).map_err(is("entry"))
            }
            AuditEntry::AccessDenied(_)
            | AuditEntry::RecordRead(_)
            | AuditEntry::RoleChange(_)
            | AuditEntry::LogClose(_)
            | AuditEntry::LogContinue(_) => Ok(()),
        }
    }

    /// The time that an entry names is on the minute, never goes back, and is its block's or shortly before.
    fn timed(&mut self, named: u64, block: u64) -> Result<(), String> {
        if !named.is_multiple_of(60) || named > block || named.saturating_add(SLACK_SECONDS) < block {
            return Err(format!("its time {named} is not a minute at or shortly before its block's, {block}"));
        }
        if named < self.time {
            return Err(format!("its time {named} is before that of an earlier entry, {}", self.time));
        }
        self.time = named;
        Ok(())
    }

    fn intent(&mut self, index: u64, intent: &QueryIntent, time: u64) -> Result<(), Broken> {
        let is = |layer: &'static str| move |message: String| (layer, message);
        commitment(&intent.sql_commit).and(commitment(&intent.plan_commit)).map_err(is("entry"))?;
        for hash in [&intent.idempotency, &intent.request_commit].into_iter().flatten() {
            commitment(hash).map_err(is("entry"))?;
        }
        if !self.query_ids.insert(short(&[intent.query_id.as_bytes()])) {
            return Err(("entry", "its query id was used before".into()));
        }
        self.timed(intent.time, time).map_err(is("entry"))?;
        if !self.snapshots.contains(&intent.snapshot) {
            return Err(("snapshot", format!("snapshot {} was never pinned", intent.snapshot)));
        }
        let policy = self.policies.of(intent).map_err(is("policy"))?;
        let protocol = self.protocols.of(intent).map_err(is("protocol"))?;
        // A window of a series was paid for by its opening, whose primitives it repeats.
        let paid = self.series.begin(index, intent).map_err(is("series"))?;
        let price = if paid { Amount::default() } else { price(intent).map_err(is("budget"))? };
        let held = match intent.finer {
            None => None,
            Some(cited) => {
                let found = self.answered.get(cited).map(Rc::as_ref);
                Some(found.ok_or_else(|| ("budget", format!("it makes entry {cited} finer, which is no answer")))?)
            }
        };
        let drawn = Rc::new(Drawn::of(intent, held).map_err(is("budget"))?);

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
        let window = self.window.entry(intent.id_space.clone()).or_default();
        let in_window = window.push(intent.time, price.rho).ok_or_else(too_much)?;
        if in_window > policy.window_cap {
            return Err(("budget", "it passes the cap of its rate window".into()));
        }
        self.spent.insert(intent.id_space.clone(), total);
        if !paid {
            let sum = self.gaussian.entry(intent.id_space.clone()).or_insert(Some(0));
            *sum = sum.zip(gaussian(intent)).and_then(|(sum, one)| sum.checked_add(one));
        }
        self.by_protocol.insert(intent.protocol.clone(), of_protocol);
        self.by_principal.insert(principal, of_principal);
        self.protocols.begin(&intent.protocol);
        self.open.insert(index, Open { query_id: intent.query_id.clone(), protocol: intent.protocol.clone(), drawn });
        self.summary.intents += 1;
        self.summary.finer += u64::from(intent.finer.is_some());
        self.summary.windows += u64::from(paid);
        if !paid {
            self.summary.primitives += intent.primitives.len() as u64;
        }
        Ok(())
    }

    fn outcome(&mut self, index: u64, outcome: &QueryOutcome) -> Result<(), String> {
        let ended = self.open.remove(&outcome.intent).filter(|open| open.query_id == outcome.query_id);
        let ended = ended.ok_or("it ends no open intent of its query id")?;
        let answered = outcome.outcome == Outcome::Answered;
        if outcome.result_commit.is_some() != answered {
            return Err("answered outcomes alone have a result".into());
        }
        outcome.result_commit.as_deref().map_or(Ok(()), commitment)?;
        self.protocols.end(&ended.protocol, answered);
        self.series.end(outcome.intent);
        match outcome.outcome {
            Outcome::Answered => {
                self.answered.push(index, ended.drawn);
                self.summary.answered += 1;
            }
            Outcome::Failed => self.summary.failed += 1,
            Outcome::Abandoned => self.summary.abandoned += 1,
        }
        Ok(())
    }

    /// What the log adds up to.
    pub(crate) fn summary(&self) -> AuditSummary {
        let budget = |policy: &super::policies::Policy| {
            let spent = self.spent.get(&policy.id_space).copied().unwrap_or_default();
            IdSpaceBudget {
                id_space: policy.id_space.clone(),
                rho: print(spent.rho, RHO_PLACES),
                rho_cap: print(policy.cap.rho, RHO_PLACES),
                delta: print(spent.delta, DELTA_PLACES),
                delta_cap: print(policy.cap.delta, DELTA_PLACES),
                gaussian: self
                    .gaussian
                    .get(&policy.id_space)
                    .copied()
                    .unwrap_or(Some(0))
                    .map(|sum| print(sum, RHO_PLACES)),
                delta_rep: print(policy.delta_rep, DELTA_PLACES),
            }
        };
        AuditSummary {
            open: self.open.len() as u64,
            protocols: self.protocols.count(),
            budgets: self.policies.newest(self.time).map(budget).collect(),
            continues: self.continues.clone(),
            closed: self.closed.clone(),
            ..self.summary.clone()
        }
    }
}

fn commitment(text: &str) -> Result<(), String> {
    hex::decode::<32>(text).map(drop).ok_or_else(|| "a commitment is not 64 lower-case hex digits".into())
}
