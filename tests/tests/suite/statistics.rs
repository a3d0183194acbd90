//! The released numbers through the whole path: reserve, execute, release. `audit.rs` compares those of neighbours.

use std::sync::{Arc, Mutex};

use datafusion::{
    arrow::record_batch::RecordBatch,
    physical_plan::{ExecutionPlan, collect},
    prelude::SessionContext,
};
use epiledger_privacy::{
    bound::{BoundedPlan, physical::Layout},
    catalog::Contribution,
    clock::{Clock, Timing},
    loss::Rho,
    release::{Executor, Failed, RawBatches, Release, release},
    snapshot::Snapshot,
};

use crate::{
    setup::{Bench, asker},
    world::{self, Exact, Patient, by_key},
};

/// Draws of each side; a nightly run sets more.
pub fn draws() -> usize {
    std::env::var("EPILEDGER_AUDIT_DRAWS").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000)
}

/// Keeps the V that it ran.
#[derive(Default)]
struct Kept(Mutex<Vec<RecordBatch>>);

impl Executor for Kept {
    async fn execute(&self, v: Arc<dyn ExecutionPlan>, _: usize) -> Result<RawBatches, Failed> {
        let context = SessionContext::new_with_config(Layout::default().config());
        let batches = collect(v, context.task_ctx()).await.map_err(|_| Failed)?;
        self.0.lock().unwrap().clone_from(&batches);
        Ok(RawBatches::new(batches))
    }
}

/// The exact V of a plan, as an executor sees it: by paying for the question.
pub fn raw(plan: &BoundedPlan) -> Vec<RecordBatch> {
    let kept = Kept::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(draw_from(&Bench::new("900000"), plan, &kept));
    kept.0.into_inner().unwrap()
}

/// [`raw`] by key.
pub fn exact(plan: &BoundedPlan) -> Exact {
    by_key(plan, &raw(plan))
}

/// Gives the V that was computed before.
pub struct Held(pub Vec<RecordBatch>);

impl Executor for Held {
    async fn execute(&self, _: Arc<dyn ExecutionPlan>, _: usize) -> Result<RawBatches, Failed> {
        Ok(RawBatches::new(self.0.clone()))
    }
}

pub struct Still;

impl Clock for Still {
    fn now(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn sleep_until<'a>(&'a self, _: std::time::Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        // A deadline never comes; with `Timing::Immediate` nothing else waits.
        Box::pin(std::future::pending())
    }
}

pub async fn draw(bench: &Bench, plan: &BoundedPlan) -> Arc<Release> {
    draw_from(bench, plan, &Kept::default()).await
}

pub async fn draw_from(bench: &Bench, plan: &BoundedPlan, executor: &impl Executor) -> Arc<Release> {
    let reserved =
        bench.accountant.reserve(plan.clone(), &asker(Timing::Immediate)).map_err(|e| e.to_string()).unwrap();
    release(reserved, executor, &Still, Timing::Immediate).await.unwrap().0
}

pub fn world_plan(dir: &std::path::Path, sql: &str, patients: &[Patient], rho: &str) -> BoundedPlan {
    let limits = Contribution { scan_rows: 50, rows: 3, groups: 2 };
    let catalog = world::catalog(limits);
    let snapshot: Snapshot = world::write(dir, &catalog, patients, 2);
    world::plan(sql, &catalog, &snapshot, &world::params(Rho::parse(rho).unwrap())).unwrap()
}

/// The noise of one count: mean 0 and the sigma that was logged, each within 6.5 standard errors (odds < 1e-9).
#[test]
fn released_noise_has_the_logged_sigma() {
    let dir = tempfile::tempdir().unwrap();
    let patients = world::patients(&mut world::rng(5), 20, 5);
    let plan = world_plan(dir.path(), "SELECT county, COUNT(*) FROM person GROUP BY county", &patients, "0.02");
    let exact = exact(&plan);
    let truth: Vec<f64> =
        world::COUNTIES.iter().map(|c| exact.get(&vec![(*c).to_owned()]).map_or(0.0, |v| v[0] as f64)).collect();
    let bench = Bench::new("900000");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rounds = draws() / 20;
    let mut noise = Vec::new();
    let mut sigma = 0.0;
    runtime.block_on(async {
        for _ in 0..rounds {
            let release = draw(&bench, &plan).await;
            sigma = release.draws()[0].sigma.parse().unwrap();
            let values = release.draws()[0].values.iter();
            noise.extend(values.zip(&truth).map(|(v, t)| *v as f64 - t));
        }
    });
    let n = noise.len() as f64;
    let mean = noise.iter().sum::<f64>() / n;
    let variance = noise.iter().map(|x| x * x).sum::<f64>() / n;
    assert!(mean.abs() < 6.5 * sigma / n.sqrt(), "mean {mean}");
    assert!((variance / (sigma * sigma) - 1.0).abs() < 6.5 * (2.0 / n).sqrt(), "variance {variance}, sigma {sigma}");
    // D = 1 (each person has one county): rho = 1/(2 sigma^2).
    assert!((1.0 / (2.0 * sigma * sigma) / 0.02 - 1.0).abs() < 0.01);
}
