//! Questions and neighbouring tables made together from a seed: whatever is accepted ends alike on both neighbours, at
//! the same instant and, for public keys, with the same cells. A patient whose rows are made to break things is in one
//! of them alone.
//!
//! `EPILEDGER_CASES` is the number of questions (200 by default), `EPILEDGER_SEED` where they start.

mod grammar;
mod shapes;
mod tables;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use epiledger_engine::exec::{local::LocalExecutor, post};
use epiledger_privacy::bound::{BoundedPlan, bound};
use epiledger_privacy::clock::{Clock, Timing};
use epiledger_privacy::loss::Rho;
use epiledger_privacy::params::Ask;
use epiledger_privacy::release::release;
use epiledger_privacy::snapshot::Snapshot;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::setup::{Bench, asker};
use crate::world::params;
use grammar::Grammar;
use tables::{Patient, catalog, patient, write};

/// A clock that stands still: a run takes no time, and whoever sleeps wakes at once, noted. A deadline never comes.
#[derive(Default)]
struct Still(Mutex<Vec<Duration>>);

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep_until<'a>(&'a self, instant: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            // The shortest class is where a run that took no time leaves; a deadline is later.
            if instant > Duration::from_millis(100) {
                std::future::pending::<()>().await;
            }
            self.0.lock().unwrap().push(instant);
        })
    }
}

/// What can be seen of one question from outside, its numbers left out.
#[derive(Debug, PartialEq)]
struct Seen {
    answered: bool,
    left_at: Vec<Duration>,
    /// The keys, for public ones.
    keys: Option<String>,
    /// Whether the answer could be shown.
    shown: Result<(), String>,
}

struct World {
    executor: LocalExecutor,
    paying: Bench,
}

impl World {
    async fn ask(&self, plan: BoundedPlan, snapshot: &Snapshot) -> Seen {
        let clock = Still::default();
        let reserved = self.paying.accountant.reserve(plan.clone(), &asker(Timing::Classes));
        let reserved = reserved.map_err(|e| e.to_string()).unwrap();
        let answer = release(reserved, &self.executor, &clock, Timing::Classes).await;
        let left_at = clock.0.lock().unwrap().clone();
        let Ok((released, _)) = answer else {
            return Seen { answered: false, left_at, keys: None, shown: Err("the run failed".into()) };
        };
        let json = serde_json::to_value(&*released).unwrap();
        let keys = plan.cells().map(|_| json["keys"].to_string());
        let shown = post::answer(&self.executor, &plan, &released, &snapshot.public, None).await;
        Seen { answered: true, left_at, keys, shown: shown.map(|_| ()).map_err(|e| e.to_string()) }
    }
}

/// Ordinary patients, and the same with one more that was made to break things.
fn neighbours(rng: &mut StdRng, dir: &std::path::Path) -> [Snapshot; 2] {
    let catalog = catalog();
    let ordinary: Vec<Patient> = (0..20).map(|_| patient(rng, &catalog, false)).collect();
    let hostile = patient(rng, &catalog, true);
    let numbered = |patients: Vec<&Patient>| -> Vec<(i64, Patient)> {
        patients.into_iter().enumerate().map(|(i, p)| (i64::try_from(i).unwrap() * 10, p.clone())).collect()
    };
    let with: Vec<&Patient> = ordinary.iter().take(10).chain([&hostile]).chain(ordinary.iter().skip(10)).collect();
    [("without", ordinary.iter().collect()), ("with", with)].map(|(name, patients): (&str, Vec<&Patient>)| {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let patients = numbered(patients);
        let patients: Vec<(i64, &Patient)> = patients.iter().map(|(id, p)| (*id, p)).collect();
        write(&dir, &catalog, &patients)
    })
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn generated_questions_end_alike_on_generated_neighbours() {
    let (cases, seed) = (number("EPILEDGER_CASES", 200), number("EPILEDGER_SEED", 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World { executor: LocalExecutor::new().unwrap(), paying: Bench::new("1000000") };
    let (catalog, dir) = (catalog(), tempfile::tempdir().unwrap());
    let params = params(Ask::Rho(Rho::parse("0.001").unwrap()));
    let mut pairs = Vec::new();
    for pair in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(pair));
        pairs.push(neighbours(&mut rng, &dir.path().join(pair.to_string())));
    }
    let (mut asked, mut refused, mut wrong) = (0_u64, BTreeMap::<String, u64>::new(), Vec::new());
    for case in 0..cases {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(case));
        let sql = Grammar::new(&mut rng).question();
        let query =
            epiledger_sql::parse(&sql).and_then(|parsed| epiledger_sql::bind(&parsed, &catalog, &BTreeMap::new()));
        let [without, with] = &pairs[rng.random_range(0..pairs.len())];
        let query = match query {
            Ok(query) => query,
            Err(refusal) => {
                *refused.entry(refusal.code.to_string()).or_default() += 1;
                if std::env::var_os("EPILEDGER_SHOW").is_some() {
                    eprintln!("{refusal}\n  {sql}");
                }
                continue;
            }
        };
        let plans = [without, with].map(|snapshot| (bound(&query, &catalog, snapshot, &params), snapshot));
        let [Ok(first), Ok(second)] = plans.map(|(plan, snapshot)| plan.map(|plan| (plan, snapshot))) else {
            wrong.push(format!("seed {}: the core refuses what was accepted\n  {sql}", seed.wrapping_add(case)));
            continue;
        };
        asked += 1;
        let seen = [first, second].map(|(plan, snapshot)| runtime.block_on(world.ask(plan, snapshot)));
        let ended = seen.iter().all(|seen| seen.answered && seen.shown.is_ok());
        if !ended || seen[0] != seen[1] {
            wrong.push(format!("seed {}: {seen:?}\n  {sql}", seed.wrapping_add(case)));
        }
        if wrong.len() == 5 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!("{asked} of {cases} questions were answered; refused: {refused:?}");
    assert!(asked * 2 > cases, "{asked} of {cases}; refused: {refused:?}");
}
