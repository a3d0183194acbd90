//! The bounded plan against a naive reference, and on neighbouring datasets.

use std::collections::BTreeMap;

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
    let snapshot = world::write(dir.path(), &catalog, patients, files);
    let plan = world::plan(sql, &catalog, &snapshot, &world::params(ask())).unwrap();
    world::exact(&plan, partitions)
}

/// Statements of every shape that the dialect accepts; the last aggregates make several primitives.
const STATEMENTS: [&str; 12] = [
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
    let sql = "SELECT kind, COUNT(DISTINCT person_id), COUNT(*), COUNT(cost), SUM(cost) FROM visit GROUP BY kind";
    let bounds = [1, 3, 3, 3 * LOW.abs().max(HIGH.abs())];
    let mut reached = [false; 4];
    let mut groups_reached = false;
    for case in 0..cases() * 3 {
        let mut rng = world::rng(case);
        let mut patients = world::patients(&mut rng, 6, 14);
        if case % 4 == 0 {
            // A heavy patient at the end of the range, all in one kind.
            patients[0].consent = 7;
            patients[0].visits.iter_mut().for_each(|v| {
                v.kind = Some("a");
                v.cost = Some(2_500);
            });
        }
        let with = run(sql, &patients, limits, 2, 2);
        let without = run(sql, &patients[1..], limits, 2, 2);
        let keys: std::collections::BTreeSet<_> = with.keys().chain(without.keys()).collect();
        let zero = vec![0; 4];
        let mut changed = 0;
        for key in keys {
            let (a, b) = (with.get(key).unwrap_or(&zero), without.get(key).unwrap_or(&zero));
            changed += usize::from(a != b);
            for (i, bound) in bounds.iter().enumerate() {
                let difference = (a[i] - b[i]).abs();
                assert!(difference <= *bound, "case {case}: primitive {i} changed by {difference}");
                reached[i] |= difference == *bound;
            }
        }
        assert!(changed <= 2, "case {case}: {changed} groups changed");
        groups_reached |= changed == 2;
    }
    assert!(groups_reached && reached == [true; 4], "bounds not reached: {groups_reached} {reached:?}");
}

/// With room for every row and group, V is what plain arithmetic gives, in big integers.
#[test]
fn v_equals_a_naive_reference() {
    let limits = Contribution { scan_rows: 50, rows: 2, groups: 50 };
    let sql = "SELECT p.county, v.kind, COUNT(DISTINCT v.person_id), COUNT(*), COUNT(v.cost), SUM(v.cost) \
               FROM person p JOIN visit v ON p.person_id = v.person_id GROUP BY p.county, v.kind";
    for case in 0..cases() {
        let patients = world::patients(&mut world::rng(77 + case), 15, 8);
        let mut reference: BTreeMap<Vec<String>, Vec<i128>> = BTreeMap::new();
        for patient in patients.iter().filter(|p| p.consent & 2 != 0) {
            let mut groups: BTreeMap<&str, Vec<Option<i64>>> = BTreeMap::new();
            for visit in &patient.visits {
                groups.entry(visit.kind.unwrap_or("")).or_default().push(visit.cost);
            }
            for (kind, costs) in groups {
                let rows = costs.len() as i128;
                let known: Vec<i128> = costs.iter().flatten().map(|c| i128::from((*c).clamp(LOW, HIGH))).collect();
                let count = known.len() as i128;
                let total: i128 = known.iter().sum();
                let total = if count > 2 { total * 2 / count } else { total };
                let cell = reference.entry(vec![patient.county.into(), kind.into()]).or_insert_with(|| vec![0; 4]);
                for (sum, part) in cell.iter_mut().zip([1, rows.min(2), count.min(2), total]) {
                    *sum += part;
                }
            }
        }
        let got = run(sql, &patients, limits, 3, 2);
        let got: BTreeMap<_, Vec<i128>> =
            got.into_iter().map(|(k, v)| (k, v.into_iter().map(i128::from).collect())).collect();
        assert_eq!(got, reference, "case {case}");
    }
}

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
