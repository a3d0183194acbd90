//! Stopped at any step and run again: the same tables, the old snapshot visible until the new one is.

use std::sync::atomic::{AtomicUsize, Ordering};

use epiledger_ingest::simulate::simulate;
use epiledger_ingest::snapshot::newest;
use epiledger_ingest::{IngestError, Options, Pipeline, Progress, Stage};

use crate::support::{Writer, bundle, content, cut, grant, ingest};

fn prepare(dir: &std::path::Path) {
    simulate(dir, 40, 5, &|_| {}).unwrap();
    ingest(dir);
    let writer = Writer::open(dir);
    let (patient, key) = writer.patient(1);
    writer.append(grant(&patient, "GRU", "*"), &key, vec![]);
    writer.record(&patient, "r", "general", &bundle("44054006"));
    writer.close();
}

#[test]
fn any_stop_is_made_good_by_the_next_run() {
    let reference = tempfile::tempdir().unwrap();
    prepare(reference.path());
    let steps = AtomicUsize::new(0);
    let count = |_: Progress| {
        steps.fetch_add(1, Ordering::Relaxed);
        true
    };
    Pipeline::run(reference.path(), Options { watch: &count, ..Options::at(cut()) }).unwrap();
    let (wanted, wanted_bytes) = content(reference.path());
    assert_eq!(wanted.number, 2);
    let steps = steps.into_inner();
    assert!(steps > 10, "every stage and every commit is a step");

    for stop in 1..=steps {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let (old, _) = content(dir.path());
        let seen = AtomicUsize::new(0);
        let published = AtomicUsize::new(0);
        let watch = |progress: Progress| {
            published.fetch_add(usize::from(progress.stage == Stage::Publish), Ordering::Relaxed);
            seen.fetch_add(1, Ordering::Relaxed) + 1 < stop
        };
        let stopped = Pipeline::run(dir.path(), Options { watch: &watch, ..Options::at(cut()) });
        assert!(matches!(stopped, Err(IngestError::Stopped)), "step {stop}");
        if published.into_inner() == 0 {
            assert_eq!(newest(dir.path()).unwrap(), Some(old), "the old snapshot holds after step {stop}");
        }
        ingest(dir.path());
        let (manifest, bytes) = content(dir.path());
        assert_eq!(manifest.tables, wanted.tables, "after step {stop}");
        assert!(bytes == wanted_bytes, "the same bytes after step {stop}");
        assert!(!dir.path().join("tables/.spill").exists());
    }
}

#[test]
fn only_one_ingest_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    simulate(dir.path(), 5, 5, &|_| {}).unwrap();
    let inner = |_: Progress| {
        let second = Pipeline::run(dir.path(), Options::at(cut()));
        assert!(matches!(second, Err(IngestError::Busy)));
        true
    };
    Pipeline::run(dir.path(), Options { watch: &inner, ..Options::at(cut()) }).unwrap();
}
