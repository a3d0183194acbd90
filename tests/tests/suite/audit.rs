//! A statistical audit: from released numbers of neighbours a lower bound of the loss, which must lie below what was
//! charged, and must not for a broken variant.
//!
//! Bounds on probabilities are Clopper and Pearson's (1934), exact for any sample size, each at odds of 1e-10 to be
//! wrong; a test draws fewer than ten of them, so a right mechanism fails it with odds below 1e-9.

use std::path::Path;

use epiledger_privacy::{
    bound::BoundedPlan,
    catalog::{Contribution, Kind},
    loss::{Delta, Rho},
};

use crate::{
    setup::Bench,
    statistics::{Held, draw_from, draws, exact as exact_of, raw},
    world::{self, Patient, Visit},
};

const ODDS: f64 = 1e-10;

/// ln of the probability that a binomial of n trials has from `from` to `to` successes.
fn ln_binomial(factorials: &[f64], n: usize, p: f64, from: usize, to: usize) -> f64 {
    let term = |k: usize| {
        let chosen = factorials[n] - factorials[k] - factorials[n - k];
        let of = |count: usize, p: f64| if count == 0 { 0.0 } else { count as f64 * p.ln() };
        chosen + of(k, p) + of(n - k, 1.0 - p)
    };
    let most = (from..=to).map(term).fold(f64::NEG_INFINITY, f64::max);
    most + (from..=to).map(|k| (term(k) - most).exp()).sum::<f64>().ln()
}

/// Clopper and Pearson's bounds on a probability, from k successes in n trials, each wrong with odds of [`ODDS`].
fn clopper_pearson(k: usize, n: usize) -> (f64, f64) {
    let mut factorials = vec![0.0; n + 1];
    for i in 1..=n {
        factorials[i] = factorials[i - 1] + (i as f64).ln();
    }
    let solve = |holds: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if holds(middle) { low = middle } else { high = middle }
        }
        (low, high)
    };
    // P[X >= k] rises with p, P[X <= k] falls.
    let low = if k == 0 { 0.0 } else { solve(&|p| ln_binomial(&factorials, n, p, k, n) < ODDS.ln()).0 };
    let high = if k == n { 1.0 } else { solve(&|p| ln_binomial(&factorials, n, p, 0, k) > ODDS.ln()).1 };
    (low, high)
}

/// P[Z <= z], and its inverse.
fn normal(z: f64) -> f64 {
    // Erf by its series with Gaussian factor (Abramowitz and Stegun 7.1.6), good to 1e-12 here.
    let z = z.clamp(-7.0, 7.0);
    let (mut term, mut sum) = (z, z);
    for k in 1..200 {
        term *= z * z / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 + sum * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

fn probit(p: f64) -> f64 {
    let (mut low, mut high) = (-7.0, 7.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if normal(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Rates of a statistic above the threshold that tells the two sides apart best on the first half of the samples,
/// counted on the second: Clopper and Pearson's low bound with the patient, high bound without.
fn rates(with: &[f64], without: &[f64]) -> (f64, f64) {
    let half = with.len() / 2;
    let above = |samples: &[f64], t: f64| samples.iter().filter(|s| **s > t).count();
    let mut thresholds: Vec<f64> = with[..half].iter().chain(&without[..half]).copied().collect();
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    // By the bounds themselves: an event in the tails that tells much of few samples bounds little.
    let bounds = |with: &[f64], without: &[f64], t: f64| {
        let n = with.len();
        (clopper_pearson(above(with, t), n).0, clopper_pearson(above(without, t), n).1)
    };
    let gap = |t: f64| {
        let (p, q) = bounds(&with[..half], &without[..half], t);
        probit(p) - probit(q)
    };
    let step = (thresholds.len() / 100).max(1);
    let best = thresholds.into_iter().step_by(step).max_by(|a, b| gap(*a).total_cmp(&gap(*b))).unwrap();
    bounds(&with[half..2 * half], &without[half..2 * half], best)
}

/// A lower bound of rho. A Gaussian with D^2/(2 sigma^2) = rho moves no event's probit by more than sqrt(2 rho) (Dong, Roth
/// and Su 2022, a Gaussian is exactly GDP), the tightest claim there is, so the best event bounds rho from below.
pub fn rho_at_least(with: &[f64], without: &[f64]) -> f64 {
    let (p, q) = rates(with, without);
    (probit(p) - probit(q)).max(0.0).powi(2) / 2.0
}

/// A lower bound of epsilon at delta 0.
fn epsilon_at_least(with: &[f64], without: &[f64]) -> f64 {
    let (p, q) = rates(with, without);
    if p <= 0.0 { 0.0 } else { (p / q).ln().max(0.0) }
}

#[test]
fn clopper_pearson_is_exact() {
    // 0 of n: 1 - odds^(1/n); n of n: odds^(1/n).
    for n in [1, 10, 500] {
        let root = ODDS.powf(1.0 / n as f64);
        assert!((clopper_pearson(0, n).1 - (1.0 - root)).abs() < 1e-9 && clopper_pearson(0, n).0 == 0.0);
        assert!((clopper_pearson(n, n).0 - root).abs() < 1e-9 && clopper_pearson(n, n).1 == 1.0);
    }
    let (low, high) = clopper_pearson(500, 1_000);
    assert!((low - (1.0 - high)).abs() < 1e-9 && (0.39..0.41).contains(&low), "{low} {high}");
    assert!((normal(1.96) - 0.975).abs() < 1e-4 && (probit(0.975) - 1.96).abs() < 1e-3);
    assert!((normal(-6.0) - 9.866e-10).abs() < 1e-12);
}

const LIMITS: Contribution = Contribution { scan_rows: 50, rows: 3, groups: 2 };

const KINDS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// A dozen patients; the first has this many visits in each of the first kinds.
fn patients(visits: usize, kinds: usize) -> Vec<Patient> {
    let mut patients = world::patients(&mut world::rng(8), 12, 4);
    patients[0].consent = 7;
    let of_first = |i: usize| Visit { kind: Some(KINDS[i % kinds]), day: 18_300 + i as i32, cost: Some(1_000) };
    patients[0].visits = (0..visits * kinds).map(of_first).collect();
    patients
}

fn plan_of(dir: &Path, sql: &str, patients: &[Patient], limits: Contribution, high: i64, rho: &str) -> BoundedPlan {
    std::fs::create_dir_all(dir).unwrap();
    let mut catalog = world::catalog(limits);
    let columns = &mut catalog.tables.get_mut("visit").unwrap().columns;
    columns[1].domain = Some(KINDS.map(str::to_owned).to_vec());
    columns[3].kind = Kind::Decimal { scale: 2, low: world::LOW, high };
    let snapshot = world::write(dir, &catalog, patients, 2);
    world::plan(sql, &catalog, &snapshot, &world::params(Rho::parse(rho).unwrap())).unwrap()
}

/// The numbers of many releases: for each release the values of each draw.
fn releases(bench: &Bench, plan: &BoundedPlan, count: usize) -> Vec<Vec<Vec<i64>>> {
    let held = Held(raw(plan));
    let mut found = Vec::new();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for _ in 0..count {
            let release = draw_from(bench, plan, &held).await;
            found.push(release.draws().iter().map(|draw| draw.values.clone()).collect());
        }
    });
    found
}

/// V of every draw over the public cells in order.
fn exact(plan: &BoundedPlan) -> Vec<Vec<i64>> {
    let found = exact_of(plan);
    let cell = |kind: &str, draw: usize| found.get(&vec![kind.to_owned()]).map_or(0, |v| v[draw]);
    (0..plan.draws().len()).map(|draw| KINDS.iter().map(|kind| cell(kind, draw)).collect()).collect()
}

/// Draw by draw and cell by cell.
fn combined(a: &[Vec<i64>], b: &[Vec<i64>], f: impl Fn(i64, i64) -> i64) -> Vec<Vec<i64>> {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()).collect()
}

const SUMS: &str =
    "SELECT kind, COUNT(*), SUM(cost) FILTER (WHERE cost > 1), VAR(cost), COUNT(DISTINCT day) FROM visit GROUP BY kind";

/// Neighbours through the whole release: every kind of sum at once, one patient at the bounds of each. The same noise,
/// halved, or for one draw's price in all of them, or over sums in which the patient was not held to G groups, to R
/// rows or to the range, is caught.
#[test]
fn released_sums_stay_within_their_charge_and_broken_variants_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let sums = |name: &str, patients: &[Patient], limits: Contribution, high: i64| {
        let with = plan_of(&dir.path().join(name), SUMS, patients, limits, high, "2");
        let without = plan_of(&dir.path().join(format!("{name} without")), SUMS, &patients[1..], limits, high, "2");
        (with, without)
    };
    let (with, without) = sums("right", &patients(3, 2), LIMITS, world::HIGH);
    let right = (exact(&with), exact(&without));
    let bench = Bench::new("900000");
    let noise = |plan: &BoundedPlan, exact: &[Vec<i64>]| -> Vec<Vec<Vec<i64>>> {
        releases(&bench, plan, draws() / 2).iter().map(|values| combined(values, exact, |v, e| v - e)).collect()
    };
    let noises = (noise(&with, &right.0), noise(&without, &right.1));
    // A bound of rho when these are the sums and the noise is divided. Cells are drawn independently, so noise turned by
    // as many cells as the two sides differ in is another sample.
    let audit_turned = |sums: &(Vec<Vec<i64>>, Vec<Vec<i64>>), divided: f64, turns: usize| {
        let difference = combined(&sums.0, &sums.1, |a, b| a - b);
        // The direction of the likelihood ratio: each cell times its difference, over the variance.
        let statistic = |released: Vec<Vec<i64>>| -> f64 {
            let of_draw = |(draw, values): (usize, &Vec<i64>)| {
                let along: f64 = values.iter().zip(&difference[draw]).map(|(v, d)| *v as f64 * *d as f64).sum();
                along / with.draws()[draw].sigma().powi(2)
            };
            released.iter().enumerate().map(of_draw).sum()
        };
        let samples = |noises: &[Vec<Vec<i64>>], exact: &[Vec<i64>]| -> Vec<f64> {
            let turned = |noise: &[Vec<i64>], turn: usize| -> Vec<Vec<i64>> {
                let by = turn * KINDS.len() / turns;
                noise.iter().map(|of_draw| [&of_draw[by..], &of_draw[..by]].concat()).collect()
            };
            let released =
                |noise: Vec<Vec<i64>>| combined(&noise, exact, |n, e| e + (n as f64 / divided).round() as i64);
            let all = noises.iter().flat_map(|noise| (0..turns).map(|turn| turned(noise, turn)));
            all.map(|noise| statistic(released(noise))).collect()
        };
        rho_at_least(&samples(&noises.0, &sums.0), &samples(&noises.1, &sums.1))
    };
    let audit = |sums: &(Vec<Vec<i64>>, Vec<Vec<i64>>), divided: f64| audit_turned(sums, divided, 1);
    let charged = with.loss().rho.units() as f64 / 1e12;
    let found = audit(&right, 1.0);
    println!("rho at least {found:.3}, charged {charged:.3}");
    assert!(found <= charged, "{found} of {charged}");
    // It has teeth: this patient costs all that is charged, and a good part of it is seen.
    assert!(found > charged / 10.0, "{found} of {charged}");

    let draws = with.draws().len() as f64;
    let mut broken =
        vec![("half sigma", audit(&right, 2.0)), ("one charge for all draws", audit(&right, draws.sqrt()))];
    for (what, patients, limits, high) in [
        ("no G bound", patients(3, 12), Contribution { groups: 50, ..LIMITS }, world::HIGH),
        ("no R bound", patients(40, 1), Contribution { rows: 50, ..LIMITS }, world::HIGH),
        ("no clamp", patients_at(50_000), LIMITS, 100_000),
    ] {
        let (with, without) = sums(what, &patients, limits, high);
        broken.push((what, audit(&(exact(&with), exact(&without)), 1.0)));
    }
    // Half of the rows in one partition and half in another: bounded twice, as two patients are.
    let halves = {
        let mut halves = patients(3, 2);
        halves.insert(1, Patient { id: 5, ..halves[0].clone() });
        halves
    };
    let split = (sums("split", &halves, LIMITS, world::HIGH).0, sums("rest", &halves[1..], LIMITS, world::HIGH).1);
    broken.push(("a patient split over two partitions", audit(&(exact(&split.0), exact(&split.1)), 1.0)));
    // The rows of two patients without a unit, taken for one patient: the groups of one push out those of the other.
    let without_unit = |name: &str, kinds: &[&'static str]| {
        let mut merged = patients(0, 1);
        let visits = kinds.iter().flat_map(|kind| [18_300, 18_301, 18_302].map(|day| (*kind, day)));
        let cost = Some(world::HIGH);
        merged[0].visits = visits.map(|(kind, day)| Visit { kind: Some(kind), day, cost }).collect();
        exact(&sums(name, &merged, LIMITS, world::HIGH).0)
    };
    let rest = exact(&with_nobody(dir.path()));
    let all = without_unit("both", &KINDS);
    let (first, second): (Vec<usize>, Vec<usize>) = (0..KINDS.len()).partition(|cell| all[0][*cell] != rest[0][*cell]);
    assert_eq!(first.len(), LIMITS.groups as usize, "G groups of the merged unit are kept");
    let second = without_unit("second", &second.iter().map(|cell| KINDS[*cell]).collect::<Vec<_>>());
    // They differ in G cells of one and G of the other: moved to the first third, they leave room for three turns.
    let (all, second) = (gathered(&all, &second), gathered(&second, &all));
    broken.push(("rows without a unit merged", audit_turned(&(all, second), 1.0, 3)));
    for (what, found) in broken {
        println!("{what}: rho at least {found:.3}, charged {charged:.3}");
        assert!(found > charged, "{what}: {found} of {charged}");
    }
}

/// The first sums with the cells in which the two differ before all others.
fn gathered(sums: &[Vec<i64>], others: &[Vec<i64>]) -> Vec<Vec<i64>> {
    let differs = |cell: &usize| sums.iter().zip(others).any(|(a, b)| a[*cell] != b[*cell]);
    let (first, rest): (Vec<usize>, Vec<usize>) = (0..KINDS.len()).partition(differs);
    assert!(first.len() <= KINDS.len() / 3, "{first:?}");
    sums.iter().map(|of_draw| first.iter().chain(&rest).map(|cell| of_draw[*cell]).collect()).collect()
}

/// The others alone.
fn with_nobody(dir: &Path) -> BoundedPlan {
    plan_of(&dir.join("nobody"), SUMS, &patients(0, 1)[1..], LIMITS, world::HIGH, "2")
}

fn patients_at(cost: i64) -> Vec<Patient> {
    let mut patients = patients(3, 2);
    patients[0].visits.iter_mut().for_each(|visit| visit.cost = Some(cost));
    patients
}

/// Neighbours through the whole release of a median: one patient more in a cell moves the odds of no choice by more than
/// exp(2 change/scale), the cost of the exponential mechanism at this scale. At half the scale they move by more.
#[test]
fn a_released_quantile_stays_within_its_charge_and_half_the_scale_does_not() {
    // Of 62 buckets, so that a choice is quick.
    let sql = "SELECT kind, MEDIAN(width_bucket(cost, -5, 10, 60)) FROM visit GROUP BY kind";
    let bench = Bench::new("900000");
    let dir = tempfile::tempdir().unwrap();
    // In every kind one patient in the middle and three at either end; with the patient a fourth at the low one. Choices
    // on both sides of the middle are as good without; with the patient one gains a rank and the other loses one.
    let people = |more: bool| -> Vec<Patient> {
        let costs = [world::LOW, world::LOW, world::LOW, 250, world::HIGH, world::HIGH, world::HIGH, world::LOW];
        let of_kind = costs.iter().take(7 + usize::from(more));
        let visits = KINDS.iter().flat_map(|kind| of_kind.clone().map(|cost| (*kind, *cost)));
        let patient = |(i, (kind, cost)): (usize, (&'static str, i64))| Patient {
            id: i as i64,
            county: "north",
            consent: 7,
            visits: vec![Visit { kind: Some(kind), day: 18_300, cost: Some(cost) }],
        };
        visits.enumerate().map(patient).collect()
    };
    let audit = |rho: &str| -> (f64, f64) {
        let plan = |more: bool| {
            let path = dir.path().join(format!("{rho} {more}"));
            plan_of(&path, sql, &people(more), LIMITS, world::HIGH, rho)
        };
        let (with, without) = (plan(true), plan(false));
        // Every cell is a pair of neighbours of its own.
        let choices = |plan: &BoundedPlan| -> Vec<f64> {
            let released = releases(&bench, plan, draws() / 4);
            released.iter().flat_map(|release| release[0].iter().map(|choice| *choice as f64)).collect()
        };
        (epsilon_at_least(&choices(&without), &choices(&with)), 2.0 / with.draws()[0].sigma())
    };
    let (found, claim) = audit("1");
    println!("epsilon at least {found:.3}, claimed {claim:.3}");
    assert!(found <= claim && found > claim / 4.0, "{found} of {claim}");
    let (broken, of_four) = audit("4");
    assert!((of_four / claim - 2.0).abs() < 0.01, "a price of four is half the scale: {of_four} {claim}");
    println!("half the scale: epsilon at least {broken:.3}, claimed {claim:.3}");
    assert!(broken > claim, "half the scale: {broken} of {claim}");
}

const RARE: &str = "SELECT kind, COUNT(DISTINCT person_id) FROM visit GROUP BY kind";

/// A key with k_min patients in one ledger and one fewer in its neighbour is seen in the first alone, and no more often
/// than delta; a comparison by >= instead of > would show it more often than that.
#[test]
fn a_key_of_k_min_patients_is_seen_no_more_often_than_delta() {
    let dir = tempfile::tempdir().unwrap();
    let visit = || Visit { kind: Some("a"), day: 18_300, cost: None };
    let people = |count: i64| -> Vec<Patient> {
        (0..count).map(|id| Patient { id, county: "north", consent: 7, visits: vec![visit()] }).collect()
    };
    let plan = |name: &str, count: i64| {
        let (path, catalog) = (dir.path().join(name), world::catalog(Contribution { groups: 1, ..LIMITS }));
        std::fs::create_dir_all(&path).unwrap();
        let snapshot = world::write(&path, &catalog, &people(count), 1);
        let mut params = world::params(Rho::parse("1").unwrap());
        params.query_delta = Delta::parse("0.1").unwrap();
        world::plan(RARE, &catalog, &snapshot, &params).unwrap()
    };
    // A log's delta is spent after ten of these.
    let (count, of_each) = (draws() / 2, 8);
    let seen = |plan: &BoundedPlan| -> usize {
        let seen = |_| releases(&Bench::new("900000"), plan, of_each).iter().filter(|r| !r[0].is_empty()).count();
        (0..count / of_each).map(seen).sum()
    };
    let at_k_min = plan("k_min", 11);
    let delta = at_k_min.loss().delta.units() as f64 / 1e18;
    let (low, high) = clopper_pearson(seen(&at_k_min), count);
    println!("seen with odds of {low:.4} to {high:.4}, charged {delta:.4}");
    assert!(low <= delta, "seen with odds of at least {low}, charged {delta}");
    assert_eq!(seen(&plan("fewer", 10)), 0);
    // The same noise, on a key that is public so that every draw is seen: > holds, >= shows the key more often than delta.
    let (sigma, over) = (at_k_min.draws()[0].sigma(), i64::try_from(at_k_min.threshold().unwrap().over).unwrap());
    let public =
        plan_of(&dir.path().join("public"), RARE, &people(11), Contribution { groups: 1, ..LIMITS }, world::HIGH, "1");
    assert!((public.draws()[0].sigma() / sigma - 1.0).abs() < 1e-6);
    let noisy: Vec<i64> = releases(&Bench::new("900000"), &public, count).iter().map(|r| r[0][0]).collect();
    let odds = |shown: &dyn Fn(i64) -> bool| clopper_pearson(noisy.iter().filter(|n| shown(**n)).count(), count);
    let (right, broken) = (odds(&|n| n > over), odds(&|n| n >= over));
    println!("> shows it with odds of {:.4} to {:.4}, >= with {:.4} to {:.4}", right.0, right.1, broken.0, broken.1);
    assert!(right.0 <= delta && broken.0 > delta, "{right:?} {broken:?}, charged {delta}");
}
