//! Refused with code, span and hint; nothing spent, one log entry each.

use epiledger_tests::App;

const REFUSED: [(&str, &str); 24] = [
    ("SELECT * FROM person", "ROW_LEVEL_OUTPUT"),
    ("SELECT person_id, COUNT(*) FROM person GROUP BY person_id", "UNIT_IN_OUTPUT"),
    (
        "SELECT COUNT(*) FROM condition_occurrence c JOIN measurement m ON c.condition_start_date = m.measurement_date",
        "PRIVATE_JOIN_NOT_ON_UNIT",
    ),
    ("SELECT MIN(year_of_birth) FROM person", "AGG_UNSUPPORTED"),
    ("COPY person TO '/tmp/x.csv'", "NOT_A_QUERY"),
    ("CREATE TABLE x AS SELECT 1", "NOT_A_QUERY"),
    ("DELETE FROM person", "NOT_A_QUERY"),
    ("EXPLAIN ANALYZE SELECT COUNT(*) FROM person", "NOT_A_QUERY"),
    (
        "SELECT COUNT(*) FROM person WHERE year_of_birth > (SELECT AVG(year_of_birth) FROM person)",
        "PRIVATE_SUBQUERY_IN_EXPR",
    ),
    (
        "WITH w AS (SELECT person_id, COUNT(*) OVER (PARTITION BY county) AS n FROM person) SELECT SUM(n) FROM w",
        "WINDOW_NOT_BY_UNIT",
    ),
    (
        "SELECT COUNT(*) FROM person WHERE person_id NOT IN (SELECT d.person_id FROM person p LEFT JOIN death d ON p.person_id = d.person_id)",
        "OUTER_JOIN_NULLS_PRIVATE",
    ),
    ("SELECT COUNT(*) FROM person a CROSS JOIN person b", "CROSS_JOIN_PRIVATE"),
    ("SELECT COUNT(*) FROM (SELECT person_id FROM person LIMIT 5) t", "LIMIT_OR_SAMPLE_BEFORE_AGG"),
    ("SELECT county, gender, COUNT(*) FROM person GROUP BY ROLLUP (county, gender)", "GROUPING_SETS"),
    ("SELECT COUNT(*) FROM person WHERE random() < 0.5", "VOLATILE_FN"),
    ("SELECT SUM(visit_occurrence_id) FROM visit_occurrence", "UNBOUNDED_COLUMN"),
    ("SELECT COUNT(*) FROM pearson", "UNKNOWN_NAME"),
    ("SELECT COUNT(*) FROM person; SELECT COUNT(*) FROM person", "MULTIPLE_STATEMENTS"),
    ("SELEC COUNT(*) FROM person", "SYNTAX"),
    ("SELECT county, COUNT(*) FROM person", "INVALID_GROUPING"),
    (
        "WITH RECURSIVE r AS (SELECT person_id FROM person UNION ALL SELECT person_id FROM r) SELECT COUNT(*) FROM r",
        "RECURSIVE",
    ),
    ("SELECT COUNT(*) FROM (SELECT region_code AS k FROM region UNION ALL SELECT county FROM person) t", "SETOP_MIXED"),
    (
        "SELECT COUNT(*) FROM person p JOIN (SELECT county, COUNT(*) AS n FROM person GROUP BY county) q ON p.county = q.county",
        "NESTED_DP",
    ),
    ("SELECT MAX(year_of_birth) FROM person", "AGG_UNSUPPORTED"),
];

#[test]
fn each_is_refused_with_its_code_nothing_is_spent_and_one_entry_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let budget = app.budget();
    let mut wrong = Vec::new();
    for (sql, code) in REFUSED {
        let before = app.audit().len();
        let reply = app.ask(sql, "0.001");
        let problem = reply.json();
        if (reply.status, problem["code"].as_str()) != (422, Some(code)) {
            wrong.push(format!("{sql}: {} {problem}", reply.status));
            continue;
        }
        assert_eq!(reply.content_type, "application/problem+json");
        let position = &problem["position"];
        assert!(position["line"].as_u64() >= Some(1) && position["length"].as_u64() >= Some(1), "{sql}: {problem}");
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{sql}");
        let entries = app.audit();
        assert_eq!(entries.len(), before + 1, "{sql}");
        let last = entries.last().unwrap();
        assert_eq!((&last["type"], &last["body"]["code"]), (&"query.refused".into(), &code.into()), "{sql}");
        assert_eq!(last["text"], sql);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(app.budget(), budget);
}

#[test]
fn a_huge_or_hostile_text_is_refused_quickly_and_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let deep = format!("SELECT {}COUNT(*){} FROM person", "(".repeat(10_000), ")".repeat(10_000));
    let wide = format!("SELECT {} FROM person", vec!["COUNT(*)"; 100_000].join(", "));
    let long = format!("SELECT COUNT(*) FROM person -- {}", "x".repeat(1 << 20));
    for text in [deep, wide, long] {
        let reply = app.ask(&text, "0.001");
        assert!(matches!(reply.status, 413 | 422), "{} {}", reply.status, reply.text());
    }
    assert_eq!(app.ask("SELECT COUNT(*) FROM person", "0.001").status, 200);
}
