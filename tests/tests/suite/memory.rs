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

/// What is reserved follows what a plan may hold, by text and catalog: more groups, values and candidates are more.
#[test]
fn more_is_reserved_where_more_may_be_held() {
    let dir = tempfile::tempdir().unwrap();
    let patients = world::patients(&mut world::rng(3), 40, 4);
    let memory = |sql: &str| world_plan(dir.path(), sql, &patients, "0.02").memory();
    let one = memory("SELECT COUNT(*) FROM visit");
    let months = memory("SELECT date_trunc('month', day) AS month, COUNT(*) FROM visit GROUP BY 1");
    let kinds = memory("SELECT kind, COUNT(*) FROM visit GROUP BY kind");
    assert!(one < months && months < kinds, "{one}, {months}, {kinds}");
    let distinct = memory("SELECT COUNT(DISTINCT kind) FROM visit");
    let medians = memory("SELECT date_trunc('month', day) AS month, MEDIAN(cost) FROM visit GROUP BY 1");
    assert!(distinct > one && medians > months, "{distinct}, {medians}");
    assert!(kinds.max(medians) <= 1 << 30, "several fit side by side");
}

/// Each fits into its own memory, and both into no one's.
#[tokio::test]
async fn two_questions_hold_side_by_side_what_would_not_fit_into_one_memory() {
    let dir = tempfile::tempdir().unwrap();
    let plan = world_plan(dir.path(), "SELECT kind, COUNT(*) FROM visit GROUP BY kind", &wordy(400), "0.02");
    let (bench, executor) = (Bench::new("900000"), LocalExecutor::new().unwrap());
    let paid = || bench.accountant.reserve(plan.clone(), &asker(Timing::Immediate)).map_err(|e| e.to_string()).unwrap();
    let (one, two) = (executor.reserve(&plan).await, executor.reserve(&plan).await);
    assert!(one.is_some() && two.is_some());
    let (one, two) = tokio::join!(
        release(paid(), &executor, &Still, Timing::Immediate),
        release(paid(), &executor, &Still, Timing::Immediate)
    );
    assert!(one.is_ok() && two.is_ok(), "{:?}, {:?}", one.err(), two.err());
}
