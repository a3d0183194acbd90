//! Consent: which records research may read, and for which purposes. Default deny.
//!
//! A pure function of one patient's consent transactions in ledger order and of the cut's day:
//! - nothing is readable that no grant in force covers;
//! - a later ledger index beats an earlier one, whatever day either claims;
//! - deny beats permit: what a revocation may mean, it takes back. One that names nothing we know takes back all;
//! - an unknown purpose or category, an unreadable date or a grant to one protocol alone permits nothing
//!   (a table's rows carry purposes, not protocols).
//!
//! Purposes nest (GA4GH DUO): GRU covers HMB covers DS. So a grant's purpose sets its own bit and the narrower ones,
//! and a revoked purpose takes back every earlier granted purpose that covers it; a narrower purpose that was granted
//! by its own name stays.

use epiledger_ledger::entry::consent::{GrantAccess, RevokeAccess, Scope};
use epiledger_ledger::entry::record::{CATEGORIES, Period};

use crate::day::Day;

/// Bit of general research use.
pub const GRU: i32 = 1;
/// Bit of health, medical or biomedical research.
pub const HMB: i32 = 2;
/// Bit of disease-specific research.
pub const DS: i32 = 4;

/// The bits, broadest first, in the order of the ledger's `PURPOSES`.
const NESTED: [(&str, i32); 3] = [("GRU", GRU), ("HMB", HMB), ("DS", DS)];

/// The bit that a protocol of this purpose needs in a row's consent set; `None` for an unknown purpose.
#[must_use]
pub fn purpose_bit(purpose: &str) -> Option<i32> {
    NESTED.iter().find(|(name, _)| *name == purpose).map(|(_, bit)| *bit)
}

/// Every bit that a grant for `purpose` sets: its own and the narrower ones.
fn covered_bits(purpose: &str) -> i32 {
    let from = NESTED.iter().position(|(name, _)| *name == purpose).unwrap_or(NESTED.len());
    NESTED.iter().skip(from).fold(0, |bits, (_, bit)| bits | bit)
}

/// One version of one record as the ledger holds it: a bundle of rows that nobody may read yet.
#[derive(Debug)]
pub struct Record {
    /// The patient's pseudonym.
    pub person: i64,
    /// The provider that signed it.
    pub provider: String,
    /// Its name within (provider, patient).
    pub record_id: String,
    /// Ledger index of this version.
    pub transaction: u64,
    /// Its consent category.
    pub category: String,
    /// Days it speaks of.
    pub period: Period,
    /// The bundle, JSON `omop-rows/1`, unpacked.
    pub rows: Vec<u8>,
}

/// A record that research may read, for at least one purpose. Only [`admit`] makes one.
///
/// ```
/// use epiledger_privacy::consent::{Consented, Consents, Record, admit};
/// fn ask(record: Record, consents: &Consents) -> Option<Consented> {
///     admit(record, consents, epiledger_privacy::day::Day(0))
/// }
/// ```
///
/// Without asking there is no way to one:
///
/// ```compile_fail,E0451
/// use epiledger_privacy::consent::{Consented, Consents, Record, admit};
/// fn ask(record: Record, _consents: &Consents) -> Option<Consented> {
///     Some(Consented { record, purposes: 7 })
/// }
/// ```
#[derive(Debug)]
pub struct Consented {
    record: Record,
    purposes: i32,
}

impl Consented {
    /// The record.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Bit set of the purposes that may read it; never 0.
    pub(crate) fn purposes(&self) -> i32 {
        self.purposes
    }

    /// Ledger index of the record's version, for the steward's reports.
    #[must_use]
    pub fn transaction(&self) -> u64 {
        self.record.transaction
    }
}

/// One patient's consent transactions, signed and verified, each with its ledger index.
#[derive(Clone, Debug, Default)]
pub struct Consents {
    grants: Vec<(u64, GrantAccess)>,
    revocations: Vec<(u64, RevokeAccess)>,
}

impl Consents {
    /// Adds a grant at a ledger index.
    pub fn grant(&mut self, index: u64, grant: GrantAccess) {
        self.grants.push((index, grant));
    }

    /// Adds a revocation at a ledger index.
    pub fn revoke(&mut self, index: u64, revocation: RevokeAccess) {
        self.revocations.push((index, revocation));
    }

    /// Bit set of the purposes for which a record of this category and period may be read on the cut's day.
    #[must_use]
    pub fn purposes(&self, category: &str, period: &Period, cut: Day) -> i32 {
        if !CATEGORIES.contains(&category) {
            return 0;
        }
        let Some(span) = span(period) else { return 0 };
        let mut bits = 0;
        for (index, grant) in &self.grants {
            if !applies(grant, "*", category, span, cut) {
                continue;
            }
            for purpose in &grant.purposes {
                if !self.taken_back(*index, purpose) {
                    bits |= covered_bits(purpose);
                }
            }
        }
        bits
    }

    /// The newest grant in force that names this grantee for a record of this category and period, on this day. A grant
    /// to all research names nobody: research reads through the gate alone.
    #[must_use]
    pub fn opened_to(&self, grantee: &str, category: &str, period: &Period, day: Day) -> Option<u64> {
        let span = span(period).filter(|_| grantee != "*" && CATEGORIES.contains(&category))?;
        let opens = |(index, grant): &&(u64, GrantAccess)| {
            applies(grant, grantee, category, span, day) && grant.purposes.iter().any(|p| !self.taken_back(*index, p))
        };
        self.grants.iter().filter(opens).map(|(index, _)| *index).max()
    }

    /// Does a later revocation take back the purpose that the grant at `index` names?
    fn taken_back(&self, index: u64, purpose: &str) -> bool {
        self.revocations.iter().filter(|(at, _)| *at > index).any(|(at, revocation)| match revocation.scope {
            Scope::All => true,
            Scope::Grant => match revocation.grant_index {
                Some(named) if self.grants.iter().any(|(g, _)| *g == named && named < *at) => named == index,
                _ => true,
            },
            Scope::Purpose => match revocation.purpose.as_deref().and_then(purpose_bit) {
                Some(bit) => covered_bits(purpose) & bit != 0,
                None => true,
            },
        })
    }
}

/// First and last day of a period; `None` when a date is unreadable or the order is wrong.
fn span(period: &Period) -> Option<(Day, Day)> {
    let (start, end) = (Day::parse(&period.start)?, Day::parse(&period.end)?);
    (start <= end).then_some((start, end))
}

/// Is the grant in force on the cut's day, and does it speak of this record?
fn applies(grant: &GrantAccess, grantee: &str, category: &str, record: (Day, Day), cut: Day) -> bool {
    let Some(from) = Day::parse(&grant.valid_from) else {
        return false;
    };
    let until = match &grant.valid_to {
        None => cut,
        Some(text) => match Day::parse(text) {
            Some(day) => day,
            None => return false,
        },
    };
    let within = match &grant.data_period {
        None => true,
        Some(period) => span(period).is_some_and(|(start, end)| start <= record.0 && record.1 <= end),
    };
    let named = grant.categories.iter().any(|c| c == "*" || c == category);
    grant.grantee == grantee && from <= cut && cut <= until && within && named
}

/// Lets a record through when the patient's consents cover it for at least one purpose on the cut's day.
#[must_use]
pub fn admit(record: Record, consents: &Consents, cut: Day) -> Option<Consented> {
    let purposes = consents.purposes(&record.category, &record.period, cut);
    (purposes != 0).then_some(Consented { record, purposes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn period(start: &str, end: &str) -> Period {
        Period { start: start.into(), end: end.into() }
    }

    fn grant(purposes: &[&str], categories: &[&str]) -> GrantAccess {
        GrantAccess {
            patient: "p".into(),
            grantee: "*".into(),
            purposes: purposes.iter().map(|p| (*p).to_owned()).collect(),
            categories: categories.iter().map(|c| (*c).to_owned()).collect(),
            data_period: None,
            valid_from: "2020-01-01".into(),
            valid_to: None,
            wrap_sha256: None,
        }
    }

    fn revoke(scope: Scope, grant_index: Option<u64>, purpose: Option<&str>) -> RevokeAccess {
        RevokeAccess { patient: "p".into(), scope, grant_index, purpose: purpose.map(str::to_owned) }
    }

    fn bits(consents: &Consents, category: &str) -> i32 {
        consents.purposes(category, &period("2021-01-01", "2021-02-01"), Day::parse("2025-12-31").unwrap())
    }

    #[test]
    fn nothing_granted_is_nothing_readable() {
        assert_eq!(bits(&Consents::default(), "general"), 0);
    }

    #[test]
    fn broad_covers_narrow_and_not_the_reverse() {
        for (name, expected) in [("GRU", 7), ("HMB", 6), ("DS", 4), ("ANYTHING", 0)] {
            let mut consents = Consents::default();
            consents.grant(3, grant(&[name], &["*"]));
            assert_eq!(bits(&consents, "genetic"), expected, "{name}");
        }
    }

    #[test]
    fn unknown_category_is_excluded_even_under_a_star() {
        let mut consents = Consents::default();
        consents.grant(3, grant(&["GRU"], &["*"]));
        assert_eq!(bits(&consents, "dental"), 0);
        consents = Consents::default();
        consents.grant(3, grant(&["GRU"], &["mental_health"]));
        assert_eq!((bits(&consents, "mental_health"), bits(&consents, "general")), (7, 0));
    }

    #[test]
    fn the_later_index_wins() {
        let mut consents = Consents::default();
        consents.grant(3, grant(&["GRU"], &["*"]));
        consents.revoke(5, revoke(Scope::All, None, None));
        assert_eq!(bits(&consents, "general"), 0);
        consents.grant(7, grant(&["DS"], &["*"]));
        assert_eq!(bits(&consents, "general"), DS);
        consents.revoke(6, revoke(Scope::All, None, None));
        assert_eq!(bits(&consents, "general"), DS);
    }

    #[test]
    fn a_revoked_purpose_takes_the_broader_ones_with_it() {
        let mut consents = Consents::default();
        consents.grant(3, grant(&["GRU", "DS"], &["*"]));
        consents.revoke(4, revoke(Scope::Purpose, None, Some("HMB")));
        assert_eq!(bits(&consents, "general"), DS);
        consents.revoke(5, revoke(Scope::Purpose, None, Some("DS")));
        assert_eq!(bits(&consents, "general"), 0);
    }

    #[test]
    fn a_revocation_that_names_nothing_known_takes_back_all() {
        for lost in [
            revoke(Scope::Grant, Some(99), None),
            revoke(Scope::Grant, None, None),
            revoke(Scope::Purpose, None, Some("POA")),
            revoke(Scope::Purpose, None, None),
        ] {
            let mut consents = Consents::default();
            consents.grant(3, grant(&["GRU"], &["*"]));
            consents.revoke(4, lost);
            assert_eq!(bits(&consents, "general"), 0);
        }
    }

    #[test]
    fn time_limits_hold() {
        let cut = Day::parse("2025-12-31").unwrap();
        let record = period("2021-01-01", "2021-02-01");
        let mut limited = grant(&["GRU"], &["*"]);
        limited.valid_to = Some("2025-12-30".into());
        let mut consents = Consents::default();
        consents.grant(1, limited.clone());
        assert_eq!(consents.purposes("general", &record, cut), 0);
        limited.valid_to = Some("2025-12-31".into());
        limited.data_period = Some(period("2021-01-02", "2022-01-01"));
        let mut consents = Consents::default();
        consents.grant(1, limited);
        assert_eq!(consents.purposes("general", &record, cut), 0);
        assert_eq!(consents.purposes("general", &period("2021-01-02", "2021-02-01"), cut), 7);
    }

    /// Independent words for the same rule: replay event by event, keep the set of live (grant, purpose) pairs.
    fn replay(events: &[Event], category: &str) -> i32 {
        let mut live: Vec<(u64, String, Vec<String>)> = Vec::new();
        let mut grants = Vec::new();
        let order = ["DS", "HMB", "GRU"];
        let rank = |p: &str| order.iter().position(|o| *o == p);
        for (index, event) in events.iter().enumerate() {
            let index = index as u64;
            match event {
                Event::Grant(purposes, categories) => {
                    grants.push(index);
                    live.extend(purposes.iter().map(|p| (index, p.clone(), categories.clone())));
                }
                Event::Revoke(Scope::Grant, Some(named), _) if grants.contains(named) => {
                    live.retain(|(at, _, _)| at != named);
                }
                Event::Revoke(Scope::Purpose, _, Some(purpose)) if rank(purpose).is_some() => {
                    live.retain(|(_, p, _)| rank(p) < rank(purpose));
                }
                Event::Revoke(..) => live.clear(),
            }
        }
        let best = live
            .iter()
            .filter(|(_, _, c)| CATEGORIES.contains(&category) && c.iter().any(|c| c == "*" || c == category))
            .filter_map(|(_, p, _)| rank(p))
            .max();
        [0, DS, DS | HMB, DS | HMB | GRU][best.map_or(0, |r| r + 1)]
    }

    #[derive(Clone, Debug)]
    enum Event {
        Grant(Vec<String>, Vec<String>),
        Revoke(Scope, Option<u64>, Option<String>),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let purpose = prop_oneof![Just("GRU"), Just("HMB"), Just("DS"), Just("POA")].prop_map(str::to_owned);
        let category = prop_oneof![Just("general"), Just("genetic"), Just("*"), Just("dental")].prop_map(str::to_owned);
        let grants = (prop::collection::vec(purpose.clone(), 0..3), prop::collection::vec(category, 0..3))
            .prop_map(|(purposes, categories)| Event::Grant(purposes, categories));
        let scope = prop_oneof![Just(Scope::Grant), Just(Scope::Purpose), Just(Scope::All)];
        let revocations = (scope, prop::option::of(0..12_u64), prop::option::of(purpose))
            .prop_map(|(scope, index, purpose)| Event::Revoke(scope, index, purpose));
        prop::collection::vec(prop_oneof![3 => grants, 1 => revocations], 0..12)
    }

    proptest! {
        #[test]
        fn equals_a_naive_replay(events in events(), category in prop_oneof![Just("general"), Just("genetic"), Just("dental")]) {
            let mut consents = Consents::default();
            for (index, event) in events.iter().enumerate() {
                let index = index as u64;
                match event {
                    Event::Grant(p, c) => {
                        let (p, c): (Vec<&str>, Vec<&str>) =
                            (p.iter().map(String::as_str).collect(), c.iter().map(String::as_str).collect());
                        consents.grant(index, grant(&p, &c));
                    }
                    Event::Revoke(s, i, p) => {
                        consents.revoke(index, revoke(*s, *i, p.as_deref()));
                    }
                }
            }
            prop_assert_eq!(bits(&consents, category), replay(&events, category));
        }
    }
}
