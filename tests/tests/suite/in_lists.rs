//! Conditions on two lists after IN are SQL's where a value is NULL and where a list holds columns.

use std::collections::BTreeMap;

use crate::world::{Simulated, Visit, exact_of, layout};

#[test]
fn two_lists_of_one_value_are_neither_merged_over_nulls_nor_over_columns() {
    let world = Simulated::new(5, 80, 8);
    let visits: Vec<&Visit> =
        world.patients.iter().filter(|patient| patient.consent & 2 != 0).flat_map(|patient| &patient.visits).collect();
    let known = visits.iter().filter(|visit| visit.kind.is_some()).count();
    let a = visits.iter().filter(|visit| visit.kind == Some("a")).count();
    assert!(0 < a && a < known && known < visits.len());
    for (condition, expected) in [
        ("NOT (kind IN ('a', 'x', 'y', 'z') AND kind IN ('b', 'u', 'v', 'w'))", known),
        ("kind NOT IN ('a', 'x', 'y', 'z') OR kind NOT IN ('b', 'u', 'v', 'w')", known),
        ("NOT (kind IN ('a', 'x', 'y', 'z') AND kind NOT IN ('a', 'x', 'y', 'z'))", known),
        ("NOT ((kind = 'a' OR kind = 'x') AND (kind = 'b' OR kind = 'u'))", known),
        ("kind IN (other, 'x') AND kind IN (kind, 'u')", a),
    ] {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM (SELECT kind, CASE WHEN kind = 'a' THEN 'a' ELSE 'q' END AS other FROM visit) v \
             WHERE {condition}"
        );
        let plan = world.plan(&sql);
        let found = exact_of(&plan, layout(2, 16), false);
        let expected = i64::try_from(expected).unwrap();
        assert_eq!(found, BTreeMap::from([(vec![], vec![expected])]), "{condition}");
    }
}
