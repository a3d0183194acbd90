//! A newer snapshot is taken up while serving: logged before it is read, and not by what is under way.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use epiledger_engine::api::{Principal, QueryRequest, Role};
use epiledger_engine::open::{self, DEMO_PROTOCOL, OpenOptions};
use epiledger_engine::query::Engine;
use epiledger_ingest::{Options, Pipeline, Schedule, simulate::DATA_CUT};
use epiledger_ledger::entry::{AuditEntry, AuditLogEntry, SnapshotPinned, parse_audit_entry};
use epiledger_ledger::verify::{AuditOptions, audit};

/// 2026-01-10T00:00Z, after the demo's cut.
const DAY: u64 = 1_768_003_200;

fn pinned(engine: &Engine) -> Vec<SnapshotPinned> {
    let log = engine.audit();
    (0..log.size())
        .filter_map(|index| match parse_audit_entry(&log.read(index).unwrap()).unwrap() {
            AuditLogEntry::Entry(AuditEntry::Snapshot(pinned)) => Some(pinned),
            _ => None,
        })
        .collect()
}

fn researcher() -> Principal {
    Principal {
        name: open::demo_principal(Role::Researcher).to_owned(),
        key_id: "k".into(),
        role: Role::Researcher,
        protocols: vec![DEMO_PROTOCOL.to_owned()],
    }
}

fn question() -> QueryRequest {
    QueryRequest { sql: "SELECT gender, COUNT(*) AS n FROM person GROUP BY gender".into(), ..QueryRequest::default() }
}

async fn demo(data: &Path) -> Arc<Engine> {
    let folder = data.to_path_buf();
    let made = tokio::task::spawn_blocking(move || open::create_demo(&folder, 80, 7, &mut |_| ()));
    made.await.unwrap().unwrap();
    Engine::open(data, OpenOptions { immediate: true, ..OpenOptions::default() }).await.unwrap()
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_snapshot_is_read_from_its_entry_on_and_old_releases_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let engine = demo(&data).await;
    let first = engine.query(&researcher(), question()).await.unwrap();
    assert_eq!((first.snapshot.number, first.snapshot.cut_at.as_str()), (1, "2025-12-31T00:00Z"));
    // A question that holds its snapshot while another one is taken up.
    let held = engine.snapshot();

    let at = data.clone();
    off_thread(move || Pipeline::run(&at, Options { force: true, ..Options::at(DATA_CUT) }).unwrap()).await;
    assert_eq!(pinned(&engine).len(), 1, "nothing is logged before it is taken up");
    let looking = Arc::clone(&engine);
    assert!(off_thread(move || looking.refresh().unwrap()).await);
    let looking = Arc::clone(&engine);
    assert!(!off_thread(move || looking.refresh().unwrap()).await, "there is nothing newer");
    let entries: Vec<(u64, bool)> = pinned(&engine).iter().map(|p| (p.number, p.scheduled)).collect();
    assert_eq!(entries, [(1, false), (2, false)], "each is logged once, and neither was on schedule");
    assert_eq!((held.number, engine.snapshot().number), (1, 2));

    let second = engine.query(&researcher(), question()).await.unwrap();
    assert_eq!((second.snapshot.number, second.cached), (2, false), "another cut is another question");
    let again = engine.release(&researcher(), &first.statement_id).unwrap();
    assert_eq!((again.snapshot, again.batch), (first.snapshot, first.batch));
    engine.audit().flush().unwrap();
    assert_eq!(audit(&data.join("audit"), AuditOptions::default()).fault, None);
}

/// A question may read its snapshot's files to its end; then they go, since nobody may see the rows any more.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_earlier_snapshot_stay_for_what_is_under_way_and_then_go() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let engine = demo(&data).await;
    let held = engine.snapshot();
    let there = |snapshot: &epiledger_privacy::snapshot::Snapshot| {
        let mut files = snapshot.private.values().flatten();
        files.all(|file| Path::new("/").join(&file.path).exists())
    };
    let at = data.clone();
    let day = epiledger_privacy::day::Day(DATA_CUT.0 + 1);
    off_thread(move || Pipeline::run(&at, Options { force: true, ..Options::at(day) }).unwrap()).await;
    let look = || {
        let engine = Arc::clone(&engine);
        off_thread(move || engine.refresh().unwrap())
    };
    assert!(there(&held), "the server has not taken the new one up yet");
    assert!(look().await);
    look().await;
    assert!(there(&held), "something still reads it");
    let answer = engine.query(&researcher(), question()).await.unwrap();
    assert_eq!(answer.snapshot.number, 2);
    let old = (*held).clone();
    drop(held);
    look().await;
    assert!(!there(&old), "nobody reads it any more");
    assert!(there(&engine.snapshot()));
    assert!(
        engine
            .query(&researcher(), QueryRequest { sql: "SELECT COUNT(*) FROM person".into(), ..question() })
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_cuts_on_schedule_once_a_day_and_reads_what_it_cut() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let engine = demo(&data).await;
    let look = |now: u64| {
        let engine = Arc::clone(&engine);
        off_thread(move || engine.look(Schedule::daily(3), now, &|_| true).unwrap())
    };
    assert!(!look(DAY + 4 * 3_600).await, "a demo's folder has no schedule");
    std::fs::remove_file(data.join("no-schedule")).unwrap();
    assert!(look(DAY + 4 * 3_600).await, "the demo's cut lies before the schedule's newest");
    assert!(!look(DAY + 26 * 3_600).await);
    assert!(look(DAY + 27 * 3_600).await);
    let seen: BTreeMap<u64, (String, bool)> =
        pinned(&engine).into_iter().map(|p| (p.number, (p.cut_at, p.scheduled))).collect();
    assert_eq!(seen[&2], ("2026-01-10T03:00Z".into(), true));
    assert_eq!(seen[&3], ("2026-01-11T03:00Z".into(), true));
    let answer = engine.query(&researcher(), question()).await.unwrap();
    assert_eq!((answer.snapshot.number, answer.snapshot.cut_at.as_str()), (3, "2026-01-11T03:00Z"));
}
