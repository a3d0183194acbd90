//! The auditor recomputes every rule of the audit log: one right log, and one wrong variant for each rule.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use epiledger_ledger::{
    AuditEntry,
    entry::{PolicyTerms, ProtocolApprove, ProtocolSuspend, QueryIntent, Redaction, SnapshotPinned, query::Outcome},
    tree::sha256,
    verify::{AuditOptions, Fault, Report, audit},
};

use crate::folder::{AuditWriter, TestClock, files, hex, protocol, salted, terms};

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

pub fn layer(run: impl FnOnce(&mut AuditWriter, &TestClock)) -> &'static str {
    after(run).map_or("none", |fault| {
        assert!(fault.what.starts_with("entry "), "{fault}");
        fault.layer
    })
}

pub const DAY: u64 = 86_400;

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
    let wrong: [(&str, &str, Change); 19] = [
        ("price below D^2 / (2 sigma^2)", "budget", |intent| intent.primitives[0].d_squared = "2".into()),
        ("sigma a hair too small", "budget", |intent| intent.primitives[0].sigma = "9.99999999999999999999".into()),
        ("a quantile's price understated", "budget", |intent| {
            // Change 19 in one group: D^2 = 361.
            let primitive = &mut intent.primitives[0];
            (primitive.mechanism, primitive.d_squared, primitive.sigma) =
                ("noisy_max".into(), "361".into(), "189.9".into());
        }),
        ("D^2 of one group where a patient is in two", "budget", |intent| intent.bounds.groups = 2),
        ("D^2 that is no square", "budget", |intent| {
            (intent.primitives[0].d_squared, intent.primitives[0].sigma) = ("2".into(), "15".into());
        }),
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
    let quantile = |writer: &mut AuditWriter| {
        let mut intent = writer.intent();
        let primitive = &mut intent.primitives[0];
        (primitive.mechanism, primitive.d_squared, primitive.sigma) = ("noisy_max".into(), "722".into(), "269".into());
        intent.bounds.groups = 2;
        writer.ask(intent)
    };
    assert_eq!(layer(|writer, _| assert!(quantile(writer) > 0)), "none");
}

#[test]
fn caps_are_never_passed_at_any_level() {
    let answered = |writer: &mut AuditWriter, intent: QueryIntent| {
        let index = writer.ask(intent.clone());
        writer.answer(index, &intent.query_id, Outcome::Answered);
    };
    let ask = |writer: &mut AuditWriter, count: usize| {
        for _ in 0..count {
            answered(writer, writer.intent());
        }
    };
    // The protocol's cap of 0.4 holds 80 questions; a second approval gives no new cap.
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
            answered(writer, intent);
        }
    };
    assert_eq!(layer(|writer, _| spread(writer, 100)), "none");
    assert_eq!(layer(|writer, _| spread(writer, 101)), "budget");
    // A lower cap for one principal.
    let lower = |writer: &mut AuditWriter| {
        let lower = PolicyTerms { principal_rho_cap: "0.01".into(), ..terms("0.5") };
        writer.set_policy(2, lower, 0, |_| ());
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
    // Asked in the last minute of its last day: its own time counts, which is its block's or shortly before.
    let late = |named: u64, stored: u64| {
        layer(|writer, clock| {
            writer.append(
                AuditEntry::ProtocolApprove(ProtocolApprove { valid_to: "2026-03-01".into(), ..protocol() }),
                vec![],
            );
            clock.0.store(DAY / 2 - 60 + named, Ordering::SeqCst);
            let intent = writer.intent();
            clock.0.store(DAY / 2 - 60 + stored, Ordering::SeqCst);
            writer.ask(intent);
        })
    };
    assert_eq!([late(0, 0), late(0, 90), late(60, 60)], ["none", "none", "protocol"]);
    assert_eq!([late(0, 600), late(0, 660)], ["none", "entry"], "a time far before its block's is no time");
}

#[test]
fn no_more_questions_run_beside_each_other_than_may_fail() {
    let ask = |writer: &mut AuditWriter, outcome: Option<Outcome>| {
        let intent = writer.intent();
        let index = writer.ask(intent.clone());
        if let Some(outcome) = outcome {
            writer.answer(index, &intent.query_id, outcome);
        }
        (index, intent.query_id)
    };
    let run = |endings: &[Option<Outcome>]| {
        layer(|writer, _| {
            endings.iter().for_each(|ending| {
                ask(writer, *ending);
            });
        })
    };
    let (answered, failed, abandoned) = (Some(Outcome::Answered), Some(Outcome::Failed), Some(Outcome::Abandoned));
    assert_eq!(run(&[None, None, None]), "none");
    assert_eq!(run(&[None, None, None, None]), "protocol");
    assert_eq!(run(&[answered, answered, answered, answered, None, None, None]), "none");
    assert_eq!(run(&[failed, None, abandoned]), "none");
    assert_eq!(run(&[failed, None, abandoned, answered]), "protocol");
    assert_eq!(run(&[failed, answered, abandoned, answered, None, None]), "protocol");
    assert_eq!(run(&[failed, failed, failed, answered]), "protocol", "suspended or not");
    // A new approval forgives what failed, not what may still fail.
    let approved = |before: [Option<Outcome>; 3], then: usize| {
        layer(|writer, _| {
            before.iter().for_each(|ending| {
                ask(writer, *ending);
            });
            writer.append(AuditEntry::ProtocolApprove(protocol()), vec![]);
            (0..then).for_each(|_| {
                ask(writer, None);
            });
        })
    };
    assert_eq!([approved([failed; 3], 3), approved([failed; 3], 4)], ["none", "protocol"]);
    assert_eq!([approved([None, None, failed], 1), approved([None, None, failed], 2)], ["none", "protocol"]);
    // One that ends well makes room.
    let room = layer(|writer, _| {
        let (index, id) = ask(writer, None);
        (0..2).for_each(|_| {
            ask(writer, None);
        });
        writer.answer(index, &id, Outcome::Answered);
        ask(writer, None);
    });
    assert_eq!(room, "none");
}

#[test]
fn the_rate_window_is_any_24_hours_by_the_times_that_intents_name() {
    // 0.02 holds four questions of 0.005.
    let times = |at: &[u64]| {
        layer(|writer, clock| {
            writer.set_policy(2, PolicyTerms { window_rho_cap: "0.02".into(), ..terms("0.5") }, 0, |_| ());
            for at in at {
                clock.0.store(*at, Ordering::SeqCst);
                let mut intent = writer.intent();
                intent.policy = 2;
                let index = writer.ask(intent.clone());
                writer.answer(index, &intent.query_id, Outcome::Answered);
            }
        })
    };
    assert_eq!(times(&[0, 60, 120, 180]), "none");
    assert_eq!(times(&[0, 60, 120, 180, 240]), "budget");
    assert_eq!(times(&[0, 0, 0, 0, DAY - 60]), "budget");
    assert_eq!(times(&[0, 0, 0, 0, DAY]), "none");
    assert_eq!(times(&[0, 60, 60, 60, DAY, DAY]), "budget", "the first left, the others did not");
    assert_eq!(times(&[0, 60, 60, 60, DAY, DAY + 60, DAY + 60, DAY + 60]), "none");
}

#[test]
fn times_never_go_back() {
    let backwards = |by: u64| {
        layer(|writer, clock| {
            clock.0.store(300, Ordering::SeqCst);
            writer.ask(writer.intent());
            let mut intent = writer.intent();
            intent.time -= by;
            writer.ask(intent);
        })
    };
    assert_eq!([backwards(0), backwards(60), backwards(1)], ["none", "entry", "entry"]);
}

#[test]
fn a_finer_answer_combines_the_draws_it_names() {
    // sigma 10, then 7.5 more: together 6, since 1/100 + 16/900 = 1/36. D^2 = 1, rho of 7.5 is 0.00888..
    let finer = |writer: &AuditWriter, cites: u64| {
        let mut intent = writer.intent();
        intent.finer = Some(cites);
        intent.primitives[0].sigma = "7.5".into();
        intent.primitives[0].rho = "0.008888888889".into();
        intent.primitives[0].combined = Some("6".into());
        intent.rho = "0.008888888889".into();
        intent.delta = "0".into();
        intent
    };
    let run = |change: fn(&mut QueryIntent)| {
        layer(|writer, _| {
            let first = writer.intent();
            let index = writer.ask(first.clone());
            let cites = writer.answer(index, &first.query_id, Outcome::Answered);
            let mut intent = finer(writer, cites);
            change(&mut intent);
            writer.ask(intent);
        })
    };
    assert_eq!(run(|_| ()), "none");
    let wrong: [fn(&mut QueryIntent); 9] = [
        |intent| intent.primitives[0].combined = Some("5.9990234375".into()),
        |intent| intent.primitives[0].combined = Some("6.0009765625".into()),
        |intent| intent.primitives[0].combined = Some("six".into()),
        |intent| intent.primitives[0].combined = None,
        |intent| intent.finer = None,
        |intent| intent.finer = intent.finer.map(|cited| cited - 1),
        |intent| intent.bounds.groups = 2,
        |intent| intent.primitives[0].d_squared = "0".into(),
        |intent| (intent.rho, intent.primitives[0].rho) = ("0.008888888888".into(), "0.008888888888".into()),
    ];
    for (at, change) in wrong.into_iter().enumerate() {
        assert_eq!(run(change), "budget", "{at}");
    }
    // A failed question holds nothing.
    let failed = layer(|writer, _| {
        let first = writer.intent();
        let index = writer.ask(first.clone());
        let cites = writer.answer(index, &first.query_id, Outcome::Failed);
        writer.ask(finer(writer, cites));
    });
    assert_eq!(failed, "budget");
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
