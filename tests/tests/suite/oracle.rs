//! The bounded plan against a naive reference, and on neighbouring datasets.

use std::collections::{BTreeMap, BTreeSet};

use epiledger_privacy::{catalog::Contribution, loss::Rho, params::Ask};

use crate::world::{self, Exact, HIGH, LOW, Patient};

/// Cases a statement runs over; a nightly run sets more.
fn cases() -> u64 {
    std::env::var("EPILEDGER_ORACLE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

fn ask() -> Ask {
    Ask::Rho(Rho::parse("0.1").unwrap())
}

fn run(sql: &str, patients: &[Patient], limits: Contribution, files: usize, partitions: usize) -> Exact {
    let dir = tempfile::tempdir().unwrap();
    let catalog = world::catalog(limits);
    let snapshot = world::simulated(world::write(dir.path(), &catalog, patients, files));
    let plan = world::plan(sql, &catalog, &snapshot, &world::params(ask())).unwrap();
    world::exact(&plan, partitions)
}

/// Statements of every shape that the dialect accepts; the last aggregates make several primitives.
const STATEMENTS: [&str; 16] = [
    "SELECT COUNT(*) FROM person",
    "SELECT county, COUNT(*) FROM person GROUP BY county",
    "SELECT kind, COUNT(*), COUNT(DISTINCT person_id) FROM visit GROUP BY kind",
    "SELECT p.county, v.kind, SUM(v.cost), COUNT(v.cost) FROM person p JOIN visit v ON p.person_id = v.person_id GROUP BY p.county, v.kind",
    "SELECT date_trunc('month', day) AS month, COUNT(*) FROM visit GROUP BY date_trunc('month', day)",
    "SELECT county, COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit WHERE kind = 'a') GROUP BY county",
    "SELECT county, COUNT(*) FROM person WHERE person_id NOT IN (SELECT person_id FROM visit WHERE kind = 'b') GROUP BY county",
    "SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM visit v WHERE v.person_id = p.person_id AND v.cost > 5)",
    "SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(*) AS n FROM visit GROUP BY person_id) t GROUP BY n",
    "WITH x AS (SELECT person_id, kind FROM visit WHERE cost IS NOT NULL) SELECT kind, COUNT(*) FROM x GROUP BY kind",
    "SELECT AVG(cost), SUM(cost) FROM visit",
    "SELECT kind, SUM(CASE WHEN cost > 3 THEN 1 ELSE 0 END) FROM visit GROUP BY kind",
    "SELECT kind, VAR(cost), STDDEV_POP(cost), AVG(cost), SUM(cost), COUNT(cost) FROM visit GROUP BY kind",
    "SELECT kind, COUNT(DISTINCT person_id) FILTER (WHERE cost > 3), SUM(cost) FILTER (WHERE cost > 3), VAR_POP(cost) FILTER (WHERE cost < 3) FROM visit GROUP BY kind",
    "SELECT kind, MEDIAN(cost), APPROX_PERCENTILE_CONT(cost, 0.9) FILTER (WHERE kind <> 'b') FROM visit GROUP BY kind",
    "SELECT width_bucket(cost, -5, 10, 3) AS b, COUNT(*), approx_median(cost) FROM visit GROUP BY b",
];

/// V of all patients is the sum of V of each patient alone: no patient's part depends on another (lemma 1 of bound.md),
/// whatever the files, partitions and the choice of G groups.
#[test]
fn v_is_the_sum_of_every_patients_own_part() {
    let mut cut = false;
    for (number, sql) in STATEMENTS.iter().enumerate() {
        for case in 0..cases().div_ceil(6) {
            let mut rng = world::rng(1_000 * number as u64 + case);
            let patients = world::patients(&mut rng, 9, 9);
            let limits = Contribution { scan_rows: 6, rows: 2, groups: 2 };
            let whole = run(sql, &patients, limits, 1 + case as usize % 3, 1 + number % 3);
            let mut sum = Exact::new();
            for patient in &patients {
                let alone = run(sql, std::slice::from_ref(patient), limits, 1, 1);
                cut |= patient.visits.len() > 6;
                for (key, values) in alone {
                    let total = sum.entry(key).or_insert_with(|| vec![0; values.len()]);
                    total.iter_mut().zip(values).for_each(|(t, v)| *t += v);
                }
            }
            sum.retain(|_, values| values.iter().any(|v| *v != 0));
            assert_eq!(whole, sum, "{sql}, case {case}");
        }
    }
    assert!(cut, "no patient passed the row cap, so the test proved less than it says");
}

/// One patient changes at most G groups, and each primitive in one group by at most its bound; every bound is reached.
#[test]
fn one_patient_changes_v_within_the_declared_sensitivity() {
    let limits = Contribution { scan_rows: 50, rows: 3, groups: 2 };
    // In order of first need: n (for the threshold), n_i, N, N_i, S, Q, E, T, and the counts of all candidates.
    let sql = "SELECT kind, COUNT(DISTINCT person_id) FILTER (WHERE cost > -1), COUNT(*), COUNT(cost), VAR(cost), \
               COUNT(DISTINCT day), SUM(cost) FILTER (WHERE cost > -1), MEDIAN(cost) FROM visit GROUP BY kind";
    // m = 250, h = 750, w = 1, H = h^2.
    let half_square = (750 * 750_i64 + 1) / 2;
    let bounds = [1, 1, 3, 3, 3 * half_square, 3 * 750, 3, 3 * LOW.abs().max(HIGH.abs())];
    let mut reached = [false; 9];
    let mut groups_reached = false;
    for case in 0..cases() * 3 {
        let mut rng = world::rng(case);
        let mut patients = world::patients(&mut rng, 6, 14);
        if case % 4 == 0 {
            // A heavy patient at the end of the range, all in one kind; in the middle of it, every second time.
            patients[0].consent = 7;
            for (day, visit) in patients[0].visits.iter_mut().enumerate() {
                visit.kind = Some("a");
                visit.day = 18_262 + day as i32;
                visit.cost = Some(if case % 8 == 0 { 2_500 } else { 250 });
            }
        }
        let with = run(sql, &patients, limits, 2, 2);
        let without = run(sql, &patients[1..], limits, 2, 2);
        let keys: BTreeSet<_> = with.keys().chain(without.keys()).collect();
        let zero = vec![0; bounds.len() + world::CANDIDATES];
        let mut changed = 0;
        for key in keys {
            let (a, b) = (with.get(key).unwrap_or(&zero), without.get(key).unwrap_or(&zero));
            assert_eq!(a.len(), zero.len());
            changed += usize::from(a != b);
            for (i, bound) in bounds.iter().enumerate() {
                let difference = (a[i] - b[i]).abs();
                assert!(difference <= *bound, "case {case}: primitive {i} changed by {difference}");
                reached[i] |= difference == *bound;
            }
            // One candidate of this patient, or none.
            let chosen: i64 = a.iter().zip(b).skip(bounds.len()).map(|(a, b)| (a - b).abs()).sum();
            assert!(chosen <= 1, "case {case}: {chosen} candidates changed");
            reached[8] |= chosen == 1;
        }
        assert!(changed <= 2, "case {case}: {changed} groups changed");
        groups_reached |= changed == 2;
    }
    assert!(groups_reached && reached == [true; 9], "bounds not reached: {groups_reached} {reached:?}");
}

/// What one patient puts into one group, in big integers and straight from the definitions of bound.md.
fn naive(visits: &[&world::Visit], rows: i128) -> Vec<i128> {
    let (low, high, middle, half) = (i128::from(LOW), i128::from(HIGH), 250_i128, 750_i128);
    let clamped = |filter: fn(i128) -> bool| -> Vec<i128> {
        let known = visits.iter().filter_map(|v| v.cost).map(i128::from).filter(|cost| filter(*cost));
        known.map(|cost| cost.clamp(low, high)).collect()
    };
    let down = |total: i128, count: usize| {
        let count = count as i128;
        if count > rows { total * rows / count } else { total }
    };
    let all = clamped(|_| true);
    let some = clamped(|cost| cost > -100);
    let count = all.len() as i128;
    let square = |x: &i128| (x - middle) * (x - middle) - half * half / 2;
    let sum = |of: &[i128]| of.iter().sum::<i128>();
    let mut sorted: Vec<i128> = all.iter().map(|x| (x - low + 1) / 2).collect();
    sorted.sort_unstable();
    let mut parts = vec![
        1,
        i128::from(!some.is_empty()),
        (visits.len() as i128).min(rows),
        count.min(rows),
        down(all.iter().map(square).sum(), all.len()),
        down(all.iter().map(|x| x - middle).sum(), all.len()),
        0,
        down(sum(&some), some.len()),
    ];
    let mut candidates = vec![0; world::CANDIDATES];
    if let Some(lower) = sorted.len().checked_sub(1).map(|last| sorted[last / 2]) {
        candidates[usize::try_from(lower).unwrap()] = 1;
    }
    parts.extend(candidates);
    parts
}

/// With room for every group, V is what plain arithmetic gives, in big integers. Of distinct values all count where no
/// patient has more than D = R of them in a group, else no more than the sum of D by patient.
#[test]
fn v_equals_a_naive_reference() {
    let sql = "SELECT p.county, v.kind, COUNT(DISTINCT v.person_id) FILTER (WHERE v.cost > -1), COUNT(*), COUNT(v.cost), \
               VAR(v.cost), COUNT(DISTINCT v.day), SUM(v.cost) FILTER (WHERE v.cost > -1), MEDIAN(v.cost) \
               FROM person p JOIN visit v ON p.person_id = v.person_id GROUP BY p.county, v.kind";
    let (mut cut, mut whole) = (false, false);
    for case in 0..cases() * 2 {
        let rows = [2, 9][case as usize % 2];
        let limits = Contribution { scan_rows: 50, rows, groups: 6 };
        let patients = world::patients(&mut world::rng(77 + case), 15, 8);
        let mut reference: BTreeMap<Vec<String>, Vec<i128>> = BTreeMap::new();
        let mut days: BTreeMap<Vec<String>, Vec<BTreeSet<i32>>> = BTreeMap::new();
        for patient in patients.iter().filter(|p| p.consent & 2 != 0) {
            let mut groups: BTreeMap<&str, Vec<&world::Visit>> = BTreeMap::new();
            for visit in &patient.visits {
                groups.entry(visit.kind.unwrap_or("")).or_default().push(visit);
            }
            for (kind, visits) in groups {
                let key = vec![patient.county.to_owned(), kind.to_owned()];
                let parts = naive(&visits, i128::from(rows));
                let cell = reference.entry(key.clone()).or_insert_with(|| vec![0; parts.len()]);
                cell.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
                days.entry(key).or_default().push(visits.iter().map(|v| v.day).collect());
            }
        }
        let got = run(sql, &patients, limits, 3, 2);
        assert!(got.keys().eq(reference.keys()), "case {case}");
        for (key, got) in got {
            let days = &days[&key];
            let all: BTreeSet<i32> = days.iter().flatten().copied().collect();
            let most: u64 = days.iter().map(|of_one| rows.min(of_one.len() as u64)).sum();
            let distinct = got[DISTINCT] as u64;
            if days.iter().all(|of_one| of_one.len() as u64 <= rows) {
                assert_eq!(distinct, all.len() as u64, "case {case}, {key:?}");
                whole = true;
            } else {
                assert!((1..=most.min(all.len() as u64)).contains(&distinct), "case {case}, {key:?}: {distinct}");
                cut = true;
            }
            let mut got: Vec<i128> = got.into_iter().map(i128::from).collect();
            got[DISTINCT] = 0;
            assert_eq!(got, reference[&key], "case {case}, {key:?}");
        }
    }
    assert!(cut && whole, "one of the two sides of D was never seen");
}

/// Position of the distinct values among the primitives of `naive`.
const DISTINCT: usize = 6;

/// Order of rows, files and partitions changes nothing.
#[test]
fn order_and_layout_do_not_matter() {
    let limits = Contribution { scan_rows: 4, rows: 2, groups: 2 };
    for (number, sql) in STATEMENTS.iter().enumerate() {
        let patients = world::patients(&mut world::rng(500 + number as u64), 12, 10);
        let mut turned = patients.clone();
        turned.iter_mut().for_each(|p| p.visits.reverse());
        assert_eq!(run(sql, &patients, limits, 1, 1), run(sql, &turned, limits, 4, 3), "{sql}");
    }
}

/// The operator gives the relational form's integers, and the plain arithmetic's, in every layout.
#[test]
fn the_operator_equals_the_relational_form() {
    let mut more_than_r_or_g = false;
    for (number, sql) in STATEMENTS.iter().enumerate() {
        for case in 0..cases().div_ceil(4) {
            let patients = world::patients(&mut world::rng(9_000 + 100 * number as u64 + case), 40, 12);
            let limits = Contribution { scan_rows: 3 + case * 4, rows: 1 + case % 3, groups: 1 + case % 4 };
            let dir = tempfile::tempdir().unwrap();
            let catalog = world::catalog(limits);
            let snapshot = world::write(dir.path(), &catalog, &patients, 1 + (case as usize * 3) % 7);
            let snapshot = world::simulated(snapshot);
            let plan = world::plan(sql, &catalog, &snapshot, &world::params(ask())).unwrap();
            let relational = world::exact_of(&plan, world::layout(2, 8192), true);
            for (partitions, rows) in [(1, 8192), (2, 7), (3, 1), (8, 64)] {
                let streamed = world::exact_of(&plan, world::layout(partitions, rows), false);
                assert_eq!(streamed, relational, "{sql}, case {case}, {partitions} partitions, {rows} rows a batch");
            }
            more_than_r_or_g |= !relational.is_empty();
        }
    }
    assert!(more_than_r_or_g);
}
