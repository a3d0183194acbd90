//! The auditor recomputes every rule of the audit log: one right log, and one wrong variant for each rule.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use epiledger_ledger::{
    AuditEntry,
    entry::{ProtocolApprove, ProtocolSuspend, QueryIntent, Redaction, SnapshotPinned, query::Outcome},
    tree::sha256,
    verify::{AuditOptions, Fault, Report, audit},
};

use crate::folder::{AuditWriter, TestClock, files, hex, policy, protocol, salted};

fn report(dir: &Path, writer: AuditWriter) -> Report {
    drop(writer);
    audit(dir, AuditOptions::default())
}

/// The fault of a log that goes on as `run` says.
fn after(run: impl FnOnce(&mut AuditWriter, &TestClock)) -> Option<Fault> {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let mut writer = AuditWriter::new(dir.path(), Arc::clone(&clock) as Arc<_>);
    run(&mut writer, &clock);
    report(dir.path(), writer).fault
}

fn layer(run: impl FnOnce(&mut AuditWriter, &TestClock)) -> &'static str {
    after(run).map_or("none", |fault| {
        assert!(fault.what.starts_with("entry "), "{fault}");
        fault.layer
    })
}

const DAY: u64 = 86_400;

#[test]
fn questions_within_the_rules_have_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = AuditWriter::new(dir.path(), Arc::new(TestClock::default()));
    for outcome in [Outcome::Answered, Outcome::Failed, Outcome::Abandoned] {
        let intent = writer.intent();
        let index = writer.ask(intent.clone());
        writer.answer(index, &intent.query_id, outcome);
    }
    let report = report(dir.path(), writer);
    assert_eq!(report.fault, None);
    let summary = report.audit.unwrap();
    assert_eq!((summary.intents, summary.answered, summary.failed, summary.abandoned, summary.open), (3, 1, 1, 1, 0));
    let budget = &summary.budgets[0];
    assert_eq!((budget.rho.as_str(), budget.rho_cap.as_str(), budget.delta.as_str()), ("0.015", "0.5", "0.000000003"));
}

#[test]
fn a_wrong_intent_is_a_fault() {
    type Change = fn(&mut QueryIntent);
    let wrong: [(&str, &str, Change); 16] = [
        ("price below D^2 / (2 sigma^2)", "budget", |intent| intent.primitives[0].d_squared = "2".into()),
        ("sigma a hair too small", "budget", |intent| intent.primitives[0].sigma = "9.99999999999999999999".into()),
        ("sum of primitives", "budget", |intent| intent.rho = "0.004".into()),
        ("no primitive", "budget", |intent| intent.primitives.clear()),
        ("mechanism", "budget", |intent| intent.primitives[0].mechanism = "laplace".into()),
        ("13 places", "budget", |intent| intent.rho = "0.0050000000000".into()),
        ("negative delta", "budget", |intent| intent.delta = "-0.1".into()),
        ("state's intents", "budget", |intent| intent.state.intents = 9),
        ("state's rho", "budget", |intent| intent.state.rho = "0.001".into()),
        ("state's delta", "budget", |intent| intent.state.delta = "0.001".into()),
        ("policy number", "policy", |intent| intent.policy = 2),
        ("id space", "policy", |intent| intent.id_space = "other".into()),
        ("protocol", "protocol", |intent| intent.protocol = "y".into()),
        ("purpose", "protocol", |intent| intent.purpose = "HMB".into()),
        ("principal", "protocol", |intent| intent.principal = "eve".into()),
        ("snapshot", "snapshot", |intent| intent.snapshot = 2),
    ];
    for (what, expected, change) in wrong {
        let found = layer(|writer, _| {
            let mut intent = writer.intent();
            change(&mut intent);
            writer.ask(intent);
        });
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(layer(|writer, _| assert!(writer.ask(writer.intent()) > 0)), "none");
}

#[test]
fn caps_are_never_passed_at_any_level() {
    let ask = |writer: &mut AuditWriter, count: usize| {
        for _ in 0..count {
            let intent = writer.intent();
            let index = writer.ask(intent.clone());
            writer.answer(index, &intent.query_id, Outcome::Failed);
        }
    };
    // The protocol's cap of 0.4 holds 80 questions, whatever their outcome; a second approval gives no new cap.
    let again = |writer: &mut AuditWriter| writer.append(AuditEntry::ProtocolApprove(protocol()), vec![]);
    assert_eq!(layer(|writer, _| ask(writer, 80)), "none");
    assert_eq!(
        layer(|writer, _| (0..2).for_each(|_| {
            again(writer);
            ask(writer, 41)
        })),
        "budget"
    );
    // The id space's 0.5 holds 100, over protocols and principals.
    let other = |protocol: &str, principal: &str| ProtocolApprove {
        protocol: protocol.into(),
        investigators: vec![principal.into()],
        ..self::protocol()
    };
    let spread = |writer: &mut AuditWriter, count: usize| {
        for n in 0..count {
            let (name, principal) = (format!("x{}", n % 3), format!("p{}", n % 3));
            writer.append(AuditEntry::ProtocolApprove(other(&name, &principal)), vec![]);
            let mut intent = writer.intent();
            (intent.protocol, intent.principal) = (name, principal);
            writer.ask(intent);
        }
    };
    assert_eq!(layer(|writer, _| spread(writer, 100)), "none");
    assert_eq!(layer(|writer, _| spread(writer, 101)), "budget");
    // A lower cap for one principal.
    let lower = |writer: &mut AuditWriter| {
        let mut lower = policy(2, "0.5", "2026-03-01");
        lower.principal_rho_cap = "0.01".into();
        writer.append(AuditEntry::PolicySet(lower), vec![]);
    };
    let under = |writer: &mut AuditWriter, count: usize| {
        lower(writer);
        for _ in 0..count {
            let mut intent = writer.intent();
            intent.policy = 2;
            writer.ask(intent);
        }
    };
    assert_eq!(layer(|writer, _| under(writer, 2)), "none");
    assert_eq!(layer(|writer, _| under(writer, 3)), "budget");
}

#[test]
fn outcomes_end_their_own_intent_once() {
    let asked = |writer: &mut AuditWriter| {
        let intent = writer.intent();
        (writer.ask(intent.clone()), intent.query_id)
    };
    assert_eq!(
        layer(|writer, _| {
            let (index, id) = asked(writer);
            writer.answer(index, &id, Outcome::Answered);
        }),
        "none"
    );
    assert_eq!(
        layer(|writer, _| {
            let (index, id) = asked(writer);
            writer.answer(index + 1, &id, Outcome::Failed);
        }),
        "outcome"
    );
    assert_eq!(
        layer(|writer, _| {
            let (index, _) = asked(writer);
            writer.answer(index, &"0".repeat(32), Outcome::Failed);
        }),
        "outcome"
    );
    assert_eq!(
        layer(|writer, _| {
            let (index, id) = asked(writer);
            (0..2).for_each(|_| assert!(writer.answer(index, &id, Outcome::Failed) > 0));
        }),
        "outcome"
    );
    let same_id = |writer: &mut AuditWriter| {
        let (_, id) = asked(writer);
        let mut intent = writer.intent();
        intent.query_id = id;
        writer.ask(intent);
    };
    assert_eq!(layer(|writer, _| same_id(writer)), "entry");
}

#[test]
fn repeats_cite_an_answered_outcome() {
    let outcome = |writer: &mut AuditWriter, outcome| {
        let intent = writer.intent();
        let index = writer.ask(intent.clone());
        (index, writer.answer(index, &intent.query_id, outcome))
    };
    assert_eq!(
        layer(|writer, _| {
            let cites = outcome(writer, Outcome::Answered).1;
            writer.repeat(cites);
        }),
        "none"
    );
    assert_eq!(
        layer(|writer, _| {
            let cites = outcome(writer, Outcome::Failed).1;
            writer.repeat(cites);
        }),
        "outcome"
    );
    assert_eq!(
        layer(|writer, _| {
            let cites = outcome(writer, Outcome::Answered).0;
            writer.repeat(cites);
        }),
        "outcome"
    );
}

#[test]
fn protocols_hold_in_their_dates_and_until_suspended() {
    let dated = |from: &str, to: &str| {
        let approve = ProtocolApprove { valid_from: from.into(), valid_to: to.into(), ..protocol() };
        layer(|writer, _| {
            writer.append(AuditEntry::ProtocolApprove(approve), vec![]);
            writer.ask(writer.intent());
        })
    };
    assert_eq!(dated("2026-03-01", "2026-03-01"), "none");
    assert_eq!(dated("2026-03-02", "2026-12-31"), "protocol");
    assert_eq!(dated("2026-01-01", "2026-02-28"), "protocol");
    assert_eq!(dated("soon", "2026-12-31"), "protocol");
    let suspend = || AuditEntry::ProtocolSuspend(ProtocolSuspend { protocol: "x".into(), by: "board".into() });
    assert_eq!(
        layer(|writer, _| {
            writer.append(suspend(), vec![]);
            writer.ask(writer.intent());
        }),
        "protocol"
    );
    // Asked in the last second of its last day, stored after midnight.
    let late = |seconds| {
        layer(|writer, clock| {
            writer.append(
                AuditEntry::ProtocolApprove(ProtocolApprove { valid_to: "2026-03-01".into(), ..protocol() }),
                vec![],
            );
            clock.0.store(DAY / 2 + seconds, Ordering::SeqCst);
            writer.ask(writer.intent());
        })
    };
    assert_eq!(late(30), "none");
    assert_eq!(late(3600), "protocol");
}

#[test]
fn policies_are_numbered_have_two_approvers_and_rise_after_seven_days() {
    let next = |change: fn(&mut epiledger_ledger::entry::PolicySet)| {
        let mut next = policy(2, "0.5", "2026-03-01");
        change(&mut next);
        layer(|writer, _| assert!(writer.append(AuditEntry::PolicySet(next), vec![]) > 0))
    };
    assert_eq!(next(|_| ()), "none");
    assert_eq!(next(|policy| policy.policy = 3), "policy");
    assert_eq!(next(|policy| policy.policy = 1), "policy");
    assert_eq!(next(|policy| policy.approvers[1] = "one".into()), "policy");
    assert_eq!(next(|policy| policy.approvers[1] = String::new()), "policy");
    assert_eq!(next(|policy| policy.rho_cap = "0.6".into()), "policy");
    assert_eq!(next(|policy| (policy.rho_cap, policy.effective) = ("0.6".into(), "2026-03-08".into())), "none");
    assert_eq!(
        next(|policy| (policy.principal_delta_cap, policy.effective) = ("0.1".into(), "2026-03-07".into())),
        "policy"
    );
    // Before its first day the old policy is in force, from then on the new one.
    let asked = |days: u64, number: u64| {
        layer(|writer, clock| {
            writer.append(AuditEntry::PolicySet(policy(2, "0.6", "2026-03-08")), vec![]);
            clock.0.store(days * DAY, Ordering::SeqCst);
            let mut intent = writer.intent();
            intent.policy = number;
            writer.ask(intent);
        })
    };
    assert_eq!([asked(6, 1), asked(6, 2), asked(7, 1), asked(7, 2)], ["none", "policy", "policy", "none"]);
}

#[test]
fn snapshots_rise_and_a_missing_blob_needs_a_redaction() {
    let snapshot = |number| {
        let (commit, blob) = salted("manifest");
        (
            AuditEntry::Snapshot(SnapshotPinned {
                number,
                cut_at: "2026-03-02T03:00Z".into(),
                scheduled: true,
                commit,
            }),
            vec![blob],
        )
    };
    assert_eq!(
        layer(|writer, _| {
            let (entry, blobs) = snapshot(2);
            writer.append(entry, blobs);
        }),
        "none"
    );
    assert_eq!(
        layer(|writer, _| {
            let (entry, blobs) = snapshot(1);
            writer.append(entry, blobs);
        }),
        "snapshot"
    );

    let redacted = |two: &str, erase: bool, redact: bool| {
        let dir = tempfile::tempdir().unwrap();
        let writer = AuditWriter::new(dir.path(), Arc::new(TestClock::default()));
        writer.refuse();
        let sql = salted("SELECT *").1;
        if redact {
            let approvers = ["one".into(), two.into()];
            let entry = Redaction { sha256: hex(&sha256(&sql)), basis: "court order".into(), approvers };
            writer.append(AuditEntry::Redaction(entry), vec![]);
        }
        writer.log.flush().unwrap();
        drop(writer);
        if erase {
            // As the eraser leaves it: no trace in the pack, and the journal begins after it.
            let pack = files(&dir.path().join("blobs")).pop().unwrap();
            let bytes = std::fs::read(&pack).unwrap();
            std::fs::write(&pack, &bytes[..bytes.len() - 40 - sql.len()]).unwrap();
            let size = audit(dir.path(), AuditOptions::default()).size;
            std::fs::remove_file(files(&dir.path().join("journal")).pop().unwrap()).unwrap();
            std::fs::write(dir.path().join(format!("journal/{size:020}.seg")), b"").unwrap();
        }
        audit(dir.path(), AuditOptions::default())
    };
    assert_eq!(redacted("two", false, true).fault, None);
    assert_eq!(redacted("one", false, true).fault.unwrap().layer, "redaction");
    let erased = redacted("two", true, true);
    assert_eq!((erased.fault, erased.checked.erased_blobs), (None, 1));
    assert_eq!(redacted("two", true, false).fault.unwrap().layer, "blob");
}
