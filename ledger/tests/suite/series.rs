//! The auditor on series: what the windows of one may be, and one wrong variant for each rule.

use std::sync::Arc;

use epiledger_ledger::{
    AuditEntry,
    entry::{Period, ProtocolApprove, QueryIntent, SeriesTerms, SeriesWindow, SnapshotPinned, query::Outcome},
    verify::{AuditOptions, audit},
};

use crate::{
    budget::layer,
    folder::{AuditWriter, TestClock, protocol, salted},
};

fn window(opened: Option<u64>, from: &str, to: &str) -> SeriesWindow {
    let terms = SeriesTerms { period: Period::Week, from: "2026-02-02".into(), to: "2026-03-30".into(), lag: 6 };
    SeriesWindow { opened, plan: "3".repeat(64), terms, from: from.into(), to: to.into() }
}

fn cut(writer: &AuditWriter, number: u64, day: &str) {
    let (commit, blob) = salted("manifest");
    let cut_at = format!("{day}T03:00Z");
    writer.append(AuditEntry::Snapshot(SnapshotPinned { number, cut_at, scheduled: true, commit }), vec![blob]);
}

/// A question of a series, as it is written by the accountant at this moment.
fn question(writer: &AuditWriter, snapshot: u64, of: SeriesWindow) -> QueryIntent {
    let mut intent = QueryIntent { snapshot, delta: "0".into(), ..writer.intent() };
    intent.state.delta = "0".into();
    if of.opened.is_some() {
        intent.rho = "0".into();
    }
    intent.series = Some(of);
    intent
}

fn ask(writer: &mut AuditWriter, intent: QueryIntent) -> (u64, String) {
    let query_id = intent.query_id.clone();
    let (commit, blob) = salted("SELECT 1");
    let blobs = if intent.sql_commit == commit { vec![blob] } else { vec![] };
    writer.intents += 1;
    writer.rho += if intent.rho == "0" { 0 } else { 5_000_000_000 };
    (writer.append(AuditEntry::QueryIntent(intent), blobs), query_id)
}

/// The opening at the cut of 1 March, which closes the weeks up to 23 February; answered.
fn open(writer: &mut AuditWriter) -> u64 {
    let intent = question(writer, 1, window(None, "2026-02-02", "2026-02-23"));
    let (index, query_id) = ask(writer, intent);
    writer.answer(index, &query_id, Outcome::Answered);
    index
}

#[test]
fn an_opening_pays_for_every_window_of_its_horizon() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = AuditWriter::new(dir.path(), Arc::new(TestClock::default()));
    let opened = open(&mut writer);
    let windows = [
        (2, "2026-03-08", "2026-02-23", "2026-03-02", Outcome::Answered),
        (3, "2026-03-22", "2026-03-02", "2026-03-16", Outcome::Abandoned),
        (4, "2026-12-01", "2026-03-16", "2026-03-30", Outcome::Answered),
    ];
    for (number, day, from, to, ended) in windows {
        cut(&writer, number, day);
        let intent = question(&writer, number, window(Some(opened), from, to));
        let (index, query_id) = ask(&mut writer, intent);
        writer.answer(index, &query_id, ended);
    }
    drop(writer);
    let report = audit(dir.path(), AuditOptions::default());
    assert_eq!(report.fault, None);
    assert!(report.to_string().contains("3 of them are windows of a series"), "{report}");
    let summary = report.audit.unwrap();
    assert_eq!((summary.intents, summary.windows, summary.primitives), (4, 3, 1));
    assert_eq!(summary.budgets[0].rho, "0.005");
}

#[test]
fn an_opening_that_is_not_the_calendars_is_a_fault() {
    let faults = |of: SeriesWindow, change: fn(&mut QueryIntent)| {
        layer(|writer, _| {
            let mut intent = question(writer, 1, of);
            change(&mut intent);
            ask(writer, intent);
        })
    };
    let right = || window(None, "2026-02-02", "2026-02-23");
    assert_eq!(faults(right(), |_| ()), "none");
    assert_eq!(faults(window(None, "2026-02-02", "2026-03-02"), |_| ()), "series", "a week that is not closed");
    assert_eq!(faults(window(None, "2026-02-02", "2026-02-16"), |_| ()), "series", "a closed week left out");
    assert_eq!(faults(window(None, "2026-02-09", "2026-02-23"), |_| ()), "series", "not from the horizon's start");
    let mut odd = right();
    odd.terms.from = "2026-02-03".into();
    assert_eq!(faults(odd, |_| ()), "series", "no whole weeks");
    assert_eq!(faults(right(), |intent| intent.bounds.groups = 2), "series", "two weeks of a patient");
    assert_eq!(faults(right(), |intent| intent.bounds.k_min = Some(11)), "series", "unknown keys");
    assert_eq!(faults(right(), |intent| intent.rho = "0".into()), "budget", "an opening for nothing");
    assert_eq!(faults(right(), |intent| intent.primitives[0].sigma = "9".into()), "budget", "too little noise");
}

#[test]
fn a_window_that_its_opening_did_not_pay_for_is_a_fault() {
    type Change = fn(&mut QueryIntent);
    let of: fn(&mut QueryIntent) -> &mut SeriesWindow = |intent| intent.series.as_mut().unwrap();
    let second = |change: &dyn Fn(&mut QueryIntent)| {
        layer(|writer, _| {
            let opened = open(writer);
            let other = ProtocolApprove { protocol: "y".into(), ..protocol() };
            writer.append(AuditEntry::ProtocolApprove(other), vec![]);
            cut(writer, 2, "2026-03-15");
            let mut intent = question(writer, 2, window(Some(opened), "2026-02-23", "2026-03-09"));
            change(&mut intent);
            ask(writer, intent);
        })
    };
    assert_eq!(second(&|_| ()), "none");
    assert_eq!(second(&|intent| of(intent).from = "2026-02-16".into()), "series", "an overlap");
    assert_eq!(second(&|intent| of(intent).from = "2026-03-02".into()), "series", "a gap");
    assert_eq!(second(&|intent| of(intent).to = "2026-03-16".into()), "series", "a week that is open");
    assert_eq!(second(&|intent| of(intent).opened = Some(1)), "series", "an entry that opened nothing");
    let wrong: [(&str, Change); 9] = [
        ("less noise", |intent| intent.primitives[0].sigma = "9".into()),
        ("more noise", |intent| intent.primitives[0].sigma = "11".into()),
        ("another D^2", |intent| intent.primitives[0].d_squared = "4".into()),
        ("one more draw", |intent| intent.primitives.push(intent.primitives[0].clone())),
        ("another text", |intent| intent.sql_commit = salted("manifest").0),
        ("another protocol", |intent| intent.protocol = "y".into()),
        ("other bounds", |intent| intent.bounds.rows = 2),
        ("a price", |intent| intent.rho = "0.005".into()),
        ("a delta", |intent| intent.delta = "0.000000001".into()),
    ];
    for (what, change) in wrong {
        assert_eq!(second(&change), "series", "{what}");
    }
    assert_eq!(second(&|intent| of(intent).plan = "4".repeat(64)), "series", "another plan");
    assert_eq!(second(&|intent| of(intent).terms.lag = 0), "series", "another lag");
    // The horizon of the terms is the opening's: a longer one is not its, and nothing is left after its end.
    assert_eq!(second(&|intent| of(intent).terms.to = "2026-04-06".into()), "series", "another horizon");
    let after_the_end = layer(|writer, _| {
        let opened = open(writer);
        for (number, day, from) in [(2, "2026-05-01", "2026-02-23"), (3, "2026-06-01", "2026-03-30")] {
            cut(writer, number, day);
            let intent = question(writer, number, window(Some(opened), from, "2026-03-30"));
            let (index, query_id) = ask(writer, intent);
            writer.answer(index, &query_id, Outcome::Answered);
        }
    });
    assert_eq!(after_the_end, "series");
}

#[test]
fn windows_come_one_after_the_other_and_after_their_opening() {
    let before_the_opening = layer(|writer, _| {
        cut(writer, 2, "2026-03-15");
        // Where the opening will stand: after this entry and its block.
        let opened = writer.log.size() + 2;
        let intent = question(writer, 2, window(Some(opened), "2026-02-23", "2026-03-09"));
        ask(writer, intent);
        open(writer);
    });
    assert_eq!(before_the_opening, "series");
    let beside_another = layer(|writer, _| {
        let intent = question(writer, 1, window(None, "2026-02-02", "2026-02-23"));
        let (opened, _) = ask(writer, intent);
        cut(writer, 2, "2026-03-15");
        let intent = question(writer, 2, window(Some(opened), "2026-02-23", "2026-03-09"));
        ask(writer, intent);
    });
    assert_eq!(beside_another, "series", "whom the first counts is not written down yet");
}
