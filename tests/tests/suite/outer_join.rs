//! An outer join with a condition of its own gives its rows in order of their patient, however few fit into a batch.

use std::collections::BTreeMap;

use crate::world::{Simulated, exact_of, layout};

/// Pairs of a visit and a later one, or of a visit and none, against a plain count: the condition drops most pairs, so
/// that whole batches of them shrink to a few rows.
#[test]
fn a_filtered_outer_join_keeps_its_patients_in_order_in_any_layout() {
    let world = Simulated::new(11, 60, 5);
    let pairs = |meets: fn(i32, i32) -> bool, most: u64| -> i64 {
        let consent = world.patients.iter().filter(|patient| patient.consent & 2 != 0);
        let of_one = consent.map(|patient| {
            let partners = |day: i32| patient.visits.iter().filter(|other| meets(day, other.day)).count().max(1);
            patient.visits.iter().map(|visit| partners(visit.day)).sum::<usize>().min(most as usize)
        });
        i64::try_from(of_one.sum::<usize>()).unwrap()
    };
    for (condition, meets) in [
        ("v.day < w.day", (|day, other| day < other) as fn(i32, i32) -> bool),
        ("v.day = w.day", |day, other| day == other),
    ] {
        let sql =
            format!("SELECT COUNT(*) AS n FROM visit v LEFT JOIN visit w ON v.person_id = w.person_id AND {condition}");
        let plan = world.plan(&sql);
        let expected = pairs(meets, plan.bounds().rows);
        for (partitions, rows) in [(1, 2), (1, 3), (1, 7), (2, 16), (1, 64), (2, 8192)] {
            let found = exact_of(&plan, layout(partitions, rows), false);
            assert_eq!(found, BTreeMap::from([(vec![], vec![expected])]), "{condition}, {partitions}, {rows}");
        }
    }
}
