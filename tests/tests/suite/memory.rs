//! Memory of its own: a question that fills what was reserved for it fails alone.

use epiledger_engine::exec::local::LocalExecutor;
use epiledger_privacy::{
    clock::Timing,
    release::{Failed, release},
};

use crate::{
    setup::{Bench, asker},
    statistics::{Still, world_plan},
    world::{self, COUNTIES, Patient, Visit},
};

/// Each of these patients has a key of its own, a hundred thousand letters long.
fn wordy(count: i64) -> Vec<Patient> {
    let visit = |id: i64| Visit { kind: Some(format!("{id}{}", "x".repeat(100_000)).leak()), day: 18_300, cost: None };
    let patient = |id: i64| Patient { id, county: COUNTIES[0], consent: 7, visits: vec![visit(id)] };
    (0..count).map(patient).collect()
}

#[tokio::test]
async fn one_questions_data_cannot_fail_another() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let heavy = world_plan(dirs[0].path(), "SELECT kind, COUNT(*) FROM visit GROUP BY kind", &wordy(3_000), "0.02");
    let patients = world::patients(&mut world::rng(3), 40, 4);
    let light = world_plan(dirs[1].path(), "SELECT kind, COUNT(*) FROM visit GROUP BY kind", &patients, "0.02");
    // By plan and catalog both may hold as much; what they do hold is the data's.
    assert_eq!(heavy.memory(), light.memory());
    assert!(heavy.memory() < 300_000_000, "the long keys would fit into {}", heavy.memory());

    let (bench, executor) = (Bench::new("900000"), LocalExecutor::new().unwrap());
    let paid = |plan| bench.accountant.reserve(plan, &asker(Timing::Immediate)).map_err(|e| e.to_string()).unwrap();
    let (one, two) = (executor.reserve(&heavy).await, executor.reserve(&light).await);
    assert!(one.is_some() && two.is_some());
    let (filled, answered) = tokio::join!(
        release(paid(heavy), &executor, &Still, Timing::Immediate),
        release(paid(light.clone()), &executor, &Still, Timing::Immediate)
    );
    assert_eq!(filled.err(), Some(Failed));
    assert!(answered.is_ok());
    // Nor does it leave anything behind.
    let again = world_plan(dirs[1].path(), "SELECT COUNT(*) FROM visit", &patients, "0.02");
    assert!(release(paid(again), &executor, &Still, Timing::Immediate).await.is_ok());
}
