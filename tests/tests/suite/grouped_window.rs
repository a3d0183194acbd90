//! Ranks over groups are counted in their own order, whatever windows come before them and wherever the keys stand.

use std::collections::BTreeMap;

use crate::world::{Patient, Simulated, exact_of, layout};

/// Of a patient's kinds of visit with one visit, of those with two and of those with more, whether the one that ended
/// first is `a`, by hand; where there is more than one kind.
fn first_is_a(patient: &Patient) -> usize {
    let mut kinds = BTreeMap::<Option<&str>, (usize, i32)>::new();
    for visit in &patient.visits {
        let (count, last) = kinds.entry(visit.kind).or_default();
        (*count, *last) = (*count + 1, visit.day.max(*last));
    }
    let mut often = BTreeMap::<(bool, bool), Vec<(i32, bool, Option<&str>)>>::new();
    for (kind, (count, last)) in kinds {
        often.entry((count > 1, count > 2)).or_default().push((last, kind.is_none(), kind));
    }
    let several = often.into_values().filter(|kinds| kinds.len() > 1);
    several.filter(|kinds| kinds.iter().min().is_some_and(|(.., kind)| *kind == Some("a"))).count()
}

#[test]
fn a_rank_over_groups_is_not_in_the_order_of_an_earlier_window() {
    let world = Simulated::new(5, 80, 8);
    let sql = "SELECT COUNT(*) AS n FROM ( \
        SELECT kind, ROW_NUMBER() OVER (PARTITION BY person_id, often, more ORDER BY last, kind) AS r FROM ( \
        SELECT person_id, often, more, last, kind FROM ( \
        SELECT person_id, often, more, last, kind, COUNT(*) OVER (PARTITION BY person_id, often, more) AS c FROM ( \
        SELECT person_id, CASE WHEN n > 1 THEN 1 ELSE 0 END AS often, n > 2 AS more, last, kind FROM ( \
        SELECT person_id, kind, COUNT(*) AS n, MAX(day) AS last FROM visit GROUP BY person_id, kind) a) b) d \
        WHERE c > 1) e) t WHERE r = 1 AND kind = 'a'";
    let plan = world.plan(sql);
    let consent = world.patients.iter().filter(|patient| patient.consent & 2 != 0);
    let expected = i64::try_from(consent.map(first_is_a).sum::<usize>()).unwrap();
    for (partitions, rows) in [(1, 3), (2, 16), (1, 8192)] {
        let found = exact_of(&plan, layout(partitions, rows), false);
        assert_eq!(found, BTreeMap::from([(vec![], vec![expected])]), "{partitions}, {rows}");
    }
    assert!(expected > 5, "{expected}");
}
