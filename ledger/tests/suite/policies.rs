//! The auditor on policies: who sets them, and from when their caps bind.

use std::sync::atomic::Ordering;

use epiledger_ledger::{
    AuditEntry,
    entry::{PolicySet, PolicyTerms},
};

use crate::{
    budget::{DAY, layer},
    folder::{NOON, terms},
};

#[test]
fn policies_are_numbered_and_have_a_proposer_and_a_confirmer() {
    let next = |change: fn(&mut PolicySet)| layer(|writer, _| writer.set_policy(2, terms("0.5"), 0, change));
    assert_eq!(next(|_| ()), "none");
    assert_eq!(next(|policy| policy.policy = 3), "policy");
    assert_eq!(next(|policy| policy.policy = 1), "policy");
    assert_eq!(next(|policy| policy.approvers[1] = "one".into()), "policy");
    assert_eq!(next(|policy| policy.approvers[1] = String::new()), "policy");
    assert_eq!(next(|policy| policy.approvers[0] = "three".into()), "policy", "not who proposed");
    assert_eq!(next(|policy| policy.proposal -= 1), "policy", "no proposal");
    assert_eq!(next(|policy| policy.terms.rho_cap = "0.4".into()), "policy", "not what was proposed");
    assert_eq!(next(|policy| policy.terms.query_rho = "x".into()), "policy");
    assert_eq!(next(|policy| policy.time -= 1), "policy", "not on the minute");
    assert_eq!(next(|policy| (policy.time, policy.effective) = (NOON - 660, NOON - 660)), "policy", "an old time");
    assert_eq!(next(|policy| (policy.time, policy.effective) = (NOON + 60, NOON + 60)), "policy", "a time to come");
    // A proposal is used once, and none stands past the next policy.
    let twice = layer(|writer, _| {
        let mut first = None;
        writer.set_policy(2, terms("0.5"), 0, |policy| first = Some(policy.clone()));
        let again = PolicySet { policy: 3, ..first.unwrap() };
        writer.append(AuditEntry::PolicySet(again), vec![]);
    });
    assert_eq!(twice, "policy");
}

#[test]
fn a_lower_cap_binds_at_once_and_a_raise_after_seven_days() {
    let set = |change: fn(&mut PolicyTerms), later: u64| {
        let mut terms = terms("0.5");
        change(&mut terms);
        layer(|writer, _| writer.set_policy(2, terms, later, |_| ()))
    };
    let week = 7 * DAY;
    let raises: [fn(&mut PolicyTerms); 5] = [
        |terms| terms.rho_cap = "0.500000000001".into(),
        |terms| terms.delta_cap = "0.1".into(),
        |terms| terms.principal_rho_cap = "0.6".into(),
        |terms| terms.principal_delta_cap = "0.1".into(),
        |terms| terms.window_rho_cap = "0.6".into(),
    ];
    for raise in raises {
        assert_eq!([set(raise, week), set(raise, week - 60), set(raise, 0)], ["none", "policy", "policy"]);
    }
    assert_eq!([set(|terms| terms.rho_cap = "0.4".into(), 0), set(|_| (), week)], ["none", "policy"]);
    let mixed: fn(&mut PolicyTerms) = |terms| (terms.rho_cap, terms.window_rho_cap) = ("0.6".into(), "0.4".into());
    assert_eq!([set(mixed, 0), set(mixed, week)], ["policy", "policy"]);

    // Until its time the old policy is in force, from then on the new one.
    let asked = |seconds: u64, number: u64| {
        layer(|writer, clock| {
            writer.set_policy(2, terms("0.6"), week, |_| ());
            clock.0.store(seconds, Ordering::SeqCst);
            let mut intent = writer.intent();
            intent.policy = number;
            writer.ask(intent);
        })
    };
    assert_eq!([asked(week - 60, 1), asked(week - 60, 2)], ["none", "policy"]);
    assert_eq!([asked(week, 1), asked(week, 2)], ["policy", "none"]);

    // A later policy replaces one that is pending; the pending one gives it no head start.
    let replaced = |cap: &'static str, later: u64, number: u64| {
        layer(|writer, clock| {
            writer.set_policy(2, terms("0.6"), week, |_| ());
            clock.0.store(DAY, Ordering::SeqCst);
            writer.set_policy(3, terms(cap), later, |_| ());
            clock.0.store(week, Ordering::SeqCst);
            let mut intent = writer.intent();
            intent.policy = number;
            writer.ask(intent);
        })
    };
    assert_eq!([replaced("0.4", 0, 3), replaced("0.4", 0, 2)], ["none", "policy"]);
    assert_eq!([replaced("0.6", 0, 3), replaced("0.6", week, 2)], ["policy", "none"]);
}
