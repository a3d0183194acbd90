//! How far the budget reaches: questions planned ahead, and what was spent when.
//! Everything here is decided from texts, catalog and log; nothing reads data, nothing is spent.

use std::collections::VecDeque;

use epiledger_ledger::entry::{AuditEntry, AuditLogEntry, parse_audit_entry};
use epiledger_privacy::{
    accountant::Asker,
    budget::{Budget, Level, paid},
    loss::{Delta, PrivacyLoss},
    refusal::{Code, PlanError},
};
use serde::{Deserialize, Serialize};

use crate::{
    api::{GroupLoss, LevelBudget, Price, Principal, QueryError, QueryRequest, Role},
    odds::groups,
    price::price,
    query::{Engine, stopped},
    question::refused,
};

/// Most points of a history.
const MOST_POINTS: usize = 10_000;

/// Points of a history that names no limit.
const POINTS: usize = 200;

/// Most questions that are planned together.
const MOST_QUESTIONS: usize = 100;

/// Most repeats that are planned.
const MOST_REPEATS: u64 = 1_000_000;

/// How far a list of questions reaches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reach {
    /// All questions once. A question asked again of the same snapshot is free: a repeat is one of a later snapshot.
    pub once: Price,
    /// Repeats that are planned.
    pub repeats: u64,
    /// All of them, repeated.
    pub planned: Price,
    /// Repeats that what is left covers, at every level but the rate window.
    pub reaches: u64,
    /// The level that ends it.
    pub level: String,
    /// Fewest days that the rate window lets the planned repeats take.
    pub days: u64,
    /// The planned price as odds.
    pub groups: Vec<GroupLoss>,
}

/// What the levels were after a paid question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpentPoint {
    /// Log index of its intent.
    pub index: u64,
    /// The log's time, Unix seconds on the minute.
    pub time: u64,
    /// What it cost.
    pub price: Price,
    /// Every level that binds the caller, as it was then.
    pub levels: Vec<LevelBudget>,
}

/// Which points of the history to show.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryFilter {
    /// The protocol whose level is shown.
    pub protocol: Option<String>,
    /// At most this many of the newest.
    pub limit: Option<usize>,
}

impl Engine {
    /// How far the budget would reach for these questions, each as many times.
    ///
    /// # Errors
    /// A question that would be refused, too many of them, or a protocol that does not allow them.
    pub fn reach(&self, who: &Principal, questions: &[QueryRequest], repeats: u64) -> Result<Reach, QueryError> {
        let bad = |what: String| refused(&PlanError::new(Code::BadPrivacyParam, what));
        if questions.is_empty() || questions.len() > MOST_QUESTIONS || !(1..=MOST_REPEATS).contains(&repeats) {
            let what = format!("plan 1 to {MOST_QUESTIONS} questions and 1 to {MOST_REPEATS} repeats");
            return Err(bad(what));
        }
        let (mut once, mut seen): (PrivacyLoss, Vec<String>) = (PrivacyLoss::ZERO, Vec::new());
        let mut plans = Vec::new();
        let mut asker: Option<Asker> = None;
        for question in questions {
            let (asking, plan, _) = self.planned(who, question)?;
            if asker.as_ref().is_some_and(|first| first.protocol != asking.protocol) {
                return Err(bad("plan the questions of one protocol together".into()));
            }
            // The same question twice is paid once.
            if !seen.iter().any(|key| key == plan.cache_key()) {
                seen.push(plan.cache_key().to_owned());
                once = once.plus(plan.loss());
                plans.push(plan);
            }
            asker = Some(asking);
        }
        let levels = asker.map_or_else(Vec::new, |asker| self.accountant.levels(&asker.protocol, &asker.principal));
        let lasting = levels.iter().filter(|level| level.level != "window");
        let least =
            lasting.map(|level| (rounds(level.remaining(), once), level.level)).min_by_key(|(rounds, _)| *rounds);
        let window = levels.iter().find(|level| level.level == "window").map_or(0, |level| level.cap.rho.units());
        let planned = once.times(u128::from(repeats));
        let of_group = |people| {
            let one_round = plans.iter().try_fold(Delta::ZERO, |sum, plan| Some(sum.plus(plan.group_delta(people)?)));
            one_round.map(|delta: Delta| delta.times(u128::from(repeats)))
        };
        let delta_rep = self.delta_rep();
        Ok(Reach {
            once: price(once, delta_rep),
            repeats,
            planned: price(planned, delta_rep),
            reaches: least.map_or(0, |(rounds, _)| rounds),
            level: least.map_or_else(String::new, |(_, level)| level.to_owned()),
            days: u64::try_from(planned.rho.units().div_ceil(window.max(1))).unwrap_or(u64::MAX),
            groups: groups(planned, delta_rep, of_group),
        })
    }

    /// Spent and left at every level that binds the caller after each paid question: the fold over the log, again.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn history(&self, who: &Principal, filter: &HistoryFilter) -> Result<Vec<SpentPoint>, QueryError> {
        let limit = filter.limit.unwrap_or(POINTS).min(MOST_POINTS);
        let mine = |protocol: &&String| who.role != Role::Researcher || who.protocols.contains(protocol);
        let protocol = filter.protocol.as_ref().or(who.protocols.first()).filter(mine).cloned().unwrap_or_default();
        let (mut budget, mut points) = (Budget::default(), VecDeque::new());
        let delta_rep = self.delta_rep();
        for index in 0..self.audit().size() {
            let bytes = self.audit().read(index).map_err(stopped)?;
            let AuditLogEntry::Entry(entry) = parse_audit_entry(&bytes).map_err(stopped)? else { continue };
            budget.apply(index, &entry).map_err(stopped)?;
            let AuditEntry::QueryIntent(intent) = &entry else { continue };
            let loss = paid(intent).unwrap_or_default();
            let levels = budget.levels(&protocol, &who.name, intent.time);
            let levels = levels.into_iter().map(|level| shown(level, delta_rep)).collect();
            points.push_back(SpentPoint { index, time: intent.time, price: price(loss, delta_rep), levels });
            if points.len() > limit {
                points.pop_front();
            }
        }
        Ok(points.into())
    }
}

/// A level as people read it.
pub(crate) fn shown(level: Level, delta_rep: Delta) -> LevelBudget {
    LevelBudget {
        level: level.level.to_owned(),
        cap: price(level.cap, delta_rep),
        spent: price(level.spent, delta_rep),
        remaining: price(level.remaining(), delta_rep),
        name: level.name,
    }
}

/// How many times a price fits into what is left.
fn rounds(left: PrivacyLoss, once: PrivacyLoss) -> u64 {
    let times = |left: u128, once: u128| left.checked_div(once).unwrap_or(u128::MAX);
    let least = times(left.rho.units(), once.rho.units()).min(times(left.delta.units(), once.delta.units()));
    u64::try_from(least).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use epiledger_privacy::loss::Rho;

    use super::*;

    #[test]
    fn rounds_are_those_of_the_scarcer_of_rho_and_delta() {
        let loss = |rho, delta| PrivacyLoss::of_any(Rho::from_units(rho), Delta::from_units(delta));
        assert_eq!(rounds(loss(100, 10), loss(7, 0)), 14);
        assert_eq!(rounds(loss(100, 10), loss(7, 3)), 3);
        assert_eq!(rounds(loss(6, 10), loss(7, 3)), 0);
    }
}
