//! The noise is what is charged: a statistical audit of the released numbers, with its failure odds, and the
//! audit of broken variants, which it must catch.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{physical_plan::collect, prelude::SessionContext};
use epiledger_privacy::{
    bound::BoundedPlan,
    catalog::Contribution,
    clock::{Clock, Timing},
    loss::Rho,
    params::Ask,
    release::{Executor, Failed, RawBatches, Release, release},
    snapshot::Snapshot,
};

use crate::{
    setup::{Bench, asker},
    world::{self, Patient},
};

/// Draws of each side; a nightly run sets more.
pub fn draws() -> usize {
    std::env::var("EPILEDGER_AUDIT_DRAWS").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000)
}

struct Plain;

impl Executor for Plain {
    async fn execute(&self, plan: &BoundedPlan) -> Result<RawBatches, Failed> {
        let layout = world::layout(2, 8192);
        let context = SessionContext::new_with_config(layout.config());
        let physical = plan.oracle(layout, false).map_err(|_| Failed)?;
        collect(physical, context.task_ctx()).await.map(RawBatches::new).map_err(|_| Failed)
    }
}

struct Still;

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
    let reserved =
        bench.accountant.reserve(plan.clone(), &asker(Timing::Immediate)).map_err(|e| e.to_string()).unwrap();
    release(reserved, &Plain, &Still, Timing::Immediate).await.unwrap().0
}

pub fn world_plan(dir: &std::path::Path, sql: &str, patients: &[Patient], rho: &str) -> BoundedPlan {
    let limits = Contribution { scan_rows: 50, rows: 3, groups: 2 };
    let catalog = world::catalog(limits);
    let snapshot: Snapshot = world::write(dir, &catalog, patients, 2);
    world::plan(sql, &catalog, &snapshot, &world::params(Ask::Rho(Rho::parse(rho).unwrap()))).unwrap()
}

/// The noise of one count: mean 0 and the sigma that was logged, each within 6.5 standard errors (odds < 1e-9).
#[test]
fn released_noise_has_the_logged_sigma() {
    let dir = tempfile::tempdir().unwrap();
    let patients = world::patients(&mut world::rng(5), 20, 5);
    let plan = world_plan(dir.path(), "SELECT county, COUNT(*) FROM person GROUP BY county", &patients, "0.02");
    let exact: BTreeMap<Vec<String>, Vec<i64>> = world::exact(&plan, 2);
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

/// A lower bound of epsilon at `delta` from samples of a statistic on two neighbours: the best threshold on the
/// first half, its confidence bound on the second (Hoeffding at 1e-9, simpler and looser than Clopper-Pearson).
fn epsilon_lower_bound(with: &[f64], without: &[f64], delta: f64) -> f64 {
    let half = with.len() / 2;
    let rate = |samples: &[f64], t: f64| samples.iter().filter(|s| **s > t).count() as f64 / samples.len() as f64;
    let mut thresholds: Vec<f64> = with[..half].to_vec();
    thresholds.sort_by(f64::total_cmp);
    let score = |t: f64| ((rate(&with[..half], t) - delta) / rate(&without[..half], t).max(1e-3)).max(1e-9).ln();
    let best = thresholds.into_iter().max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap();
    let slack = ((1e9f64).ln() / (2.0 * (with.len() - half) as f64)).sqrt();
    let p = rate(&with[half..], best) - slack - delta;
    let q = rate(&without[half..], best) + slack;
    if p <= 0.0 { 0.0 } else { (p / q).ln() }
}

fn gaussians(seed: u64, mean: f64, sigma: f64, count: usize) -> Vec<f64> {
    use rand::RngExt;
    let mut rng = world::rng(seed);
    (0..count)
        .map(|_| {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            mean + sigma * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        })
        .collect()
}

/// The audit itself: it passes what is charged rightly, and catches half the noise and a patient counted in too many groups.
#[test]
fn the_audit_catches_broken_variants() {
    let count = draws();
    let rho = 2.0f64;
    let delta = 1e-3f64;
    let claim = rho + 2.0 * (rho * (1.0 / delta).ln()).sqrt();
    let sigma = 1.0 / (2.0 * rho).sqrt();
    let right = epsilon_lower_bound(&gaussians(1, 1.0, sigma, count), &gaussians(2, 0.0, sigma, count), delta);
    assert!(right < claim, "{right} of {claim}");
    // Nine groups of one patient where one was bounded: the statistic moves by nine.
    let unbounded = epsilon_lower_bound(&gaussians(3, 9.0, sigma, count), &gaussians(4, 0.0, sigma, count), delta);
    assert!(unbounded > right, "{unbounded}");
    let small = 0.05f64;
    let claim = small + 2.0 * (small * (1.0 / delta).ln()).sqrt();
    let tenth = 0.1 / (2.0 * small).sqrt();
    let broken = epsilon_lower_bound(&gaussians(5, 1.0, tenth, count), &gaussians(6, 0.0, tenth, count), delta);
    assert!(broken > claim, "a tenth of the noise: {broken} of {claim}");
}

/// Neighbours through the whole release: the bound found stays below the claim (odds of a false alarm < 1e-9).
#[test]
fn the_released_numbers_of_neighbours_stay_within_the_claim() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::create_dir_all(&a).unwrap();
    std::fs::create_dir_all(&b).unwrap();
    let mut patients = world::patients(&mut world::rng(8), 12, 4);
    patients[0].consent = 7;
    patients[0].visits =
        (0..3).map(|_| crate::world::Visit { kind: Some("a"), day: 18_300, cost: Some(900) }).collect();
    let sql = "SELECT COUNT(*), SUM(cost) FROM visit";
    let (rho, delta) = (1.0f64, 1e-3f64);
    let with = world_plan(&a, sql, &patients, "1");
    let without = world_plan(&b, sql, &patients[1..], "1");
    let bench = Bench::new("900000");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rounds = draws() / 10;
    let samples = |plan: &BoundedPlan| -> Vec<f64> {
        runtime.block_on(async {
            let mut found = Vec::new();
            for _ in 0..rounds {
                let release = draw(&bench, plan).await;
                // The likelihood ratio's direction: each draw in units of its sigma.
                let unit =
                    |i: usize| release.draws()[i].values[0] as f64 / release.draws()[i].sigma.parse::<f64>().unwrap();
                found.push(unit(0) + unit(1));
            }
            found
        })
    };
    let found = epsilon_lower_bound(&samples(&with), &samples(&without), delta);
    let claim = rho + 2.0 * (rho * (1.0 / delta).ln()).sqrt();
    println!("epsilon at least {found:.2}, claimed {claim:.2}");
    assert!(found < claim, "{found} of {claim}");
}
