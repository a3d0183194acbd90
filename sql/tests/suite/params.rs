//! Parameters: typed, bound before anything is bounded, and never text of the question.

use std::collections::BTreeMap;

use epiledger_privacy::catalog::Profile;
use epiledger_privacy::refusal::Code;
use epiledger_sql::{SqlError, Value};

use crate::support::{Asked, ask, cache_key, catalog, pointed_at};

fn values(params: &[(&str, Value)]) -> BTreeMap<String, Value> {
    params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn refused(sql: &str, params: &[(&str, Value)]) -> SqlError {
    match ask(sql, &catalog(Profile::ExpertDetermination), &values(params)) {
        Asked::Refused(refusal) => *refusal,
        Asked::Accepted => panic!("accepted: {sql}"),
        Asked::RefusedByTheCore(refusal) => panic!("{sql}: {refusal}"),
    }
}

fn key(sql: &str, params: &[(&str, Value)]) -> String {
    cache_key(sql, &catalog(Profile::ExpertDetermination), &values(params))
}

/// A parameter is the literal it stands for, wherever a literal may stand; the cache key says whether it was taken so.
#[test]
fn a_parameter_is_its_literal() {
    for (with, without, params) in [
        ("county = $c", "county = '25017'", vec![("c", text("25017"))]),
        ("visit_start_date >= $d", "visit_start_date >= '2020-01-01'", vec![("d", text("2020-01-01"))]),
        (
            "year_of_birth + $n > $m",
            "year_of_birth + 1 > 1990",
            vec![("n", Value::Integer(1)), ("m", Value::Integer(1990))],
        ),
        ("$n + 1 < year_of_birth", "3 + 1 < year_of_birth", vec![("n", Value::Integer(3))]),
        ("coalesce(county, $c) = $c", "coalesce(county, 'x') = 'x'", vec![("c", text("x"))]),
        (
            "CASE WHEN $b THEN $x ELSE year_of_birth END > 5",
            "CASE WHEN TRUE THEN 1 ELSE year_of_birth END > 5",
            vec![("b", Value::Bool(true)), ("x", Value::Integer(1))],
        ),
        ("county LIKE $p", "county LIKE '25%'", vec![("p", text("25%"))]),
        ("county ~ $p", "county ~ '^25'", vec![("p", text("^25"))]),
        ("regexp_like(county, $p)", "regexp_like(county, '^25')", vec![("p", text("^25"))]),
        (
            "date_trunc($u, visit_start_date) = DATE '2020-01-01'",
            "date_trunc('month', visit_start_date) = DATE '2020-01-01'",
            vec![("u", text("month"))],
        ),
        (
            "visit_start_date + $n > visit_end_date",
            "visit_start_date + 30 > visit_end_date",
            vec![("n", Value::Integer(30))],
        ),
        ("county IN ($a, $b)", "county IN ('x', 'y')", vec![("a", text("x")), ("b", text("y"))]),
        (
            "year_of_birth BETWEEN $a AND $b",
            "year_of_birth BETWEEN 1950 AND 1960",
            vec![("a", Value::Integer(1950)), ("b", Value::Integer(1960))],
        ),
        ("substr(county, $a, 2) = 'x'", "substr(county, 1, 2) = 'x'", vec![("a", Value::Integer(1))]),
        ("county IS NOT DISTINCT FROM $n", "county IS NOT DISTINCT FROM NULL", vec![("n", Value::Null)]),
        (
            "person.person_id IN (SELECT person_id FROM death WHERE death_date > $d)",
            "person.person_id IN (SELECT person_id FROM death WHERE death_date > '2020-01-01')",
            vec![("d", text("2020-01-01"))],
        ),
    ] {
        let question = |condition: &str| {
            format!(
                "SELECT gender, COUNT(*) FROM person JOIN visit_occurrence USING (person_id) WHERE {condition} GROUP BY gender"
            )
        };
        assert_eq!(key(&question(with), &params), key(&question(without), &[]), "{with}");
    }
}

#[test]
fn a_parameter_may_stand_in_the_select_list_the_aggregate_and_above_it() {
    let limit = [("n", Value::Integer(3)), ("w", Value::Float(0.5))];
    let sql =
        "SELECT county, SUM(year_of_birth * $w) s FROM person GROUP BY county HAVING COUNT(*) > $n ORDER BY s LIMIT $n";
    assert_ne!(key(sql, &limit), key(sql, &[("n", Value::Integer(3)), ("w", Value::Float(0.25))]));
    // What is above the aggregate is no part of the key: it is free.
    assert_eq!(key(sql, &limit), key(sql, &[("n", Value::Integer(4)), ("w", Value::Float(0.5))]));
}

#[test]
fn a_parameter_is_no_number_of_the_select_list() {
    let by =
        |what: &str| format!("SELECT county, gender, COUNT(*) FROM person GROUP BY county, gender ORDER BY {what}");
    assert!(matches!(
        ask(&by("$n"), &catalog(Profile::ExpertDetermination), &values(&[("n", Value::Integer(9))])),
        Asked::Accepted
    ));
    assert_eq!(refused(&by("9"), &[]).code, Code::InvalidGrouping);
}

#[test]
fn a_text_stays_a_text() {
    let sql = "SELECT COUNT(*) FROM person WHERE county = $c";
    let keys: Vec<String> = ["25017' OR '1' = '1", "$c", "'", "\\", "$$", "x\0y", "NULL", "--"]
        .iter()
        .map(|hostile| key(sql, &[("c", text(hostile))]))
        .collect();
    let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn missing_unknown_and_misspelt_parameters_are_refused_in_their_place() {
    let sql = "SELECT COUNT(*) FROM person WHERE county = $county";
    let missing = refused(sql, &[]);
    assert_eq!((missing.code, pointed_at(sql, &missing).as_deref()), (Code::UnknownName, Some("$county")));
    assert!(missing.hint().contains("\"county\""), "{}", missing.hint());
    let misspelt = refused(sql, &[("conuty", text("x"))]);
    assert!(misspelt.hint().starts_with("Did you mean conuty?"), "{}", misspelt.hint());
    let unused = refused(sql, &[("county", text("x")), ("countyy", text("x"))]);
    assert_eq!(unused.code, Code::UnknownName);
    assert!(
        unused.message.contains("$countyy") && unused.hint().starts_with("Did you mean county?"),
        "{}",
        unused.hint()
    );
    for sql in ["SELECT COUNT(*) FROM person WHERE county = ?", "SELECT COUNT(*) FROM person WHERE county = $1"] {
        assert_eq!(refused(sql, &[("1", text("x"))]).code, Code::Syntax, "{sql}");
    }
}

#[test]
fn types_are_checked_as_of_literals() {
    for (condition, value, code) in [
        ("visit_start_date > $x", text("soon"), Code::TypeMismatch),
        ("visit_start_date > $x", Value::Bool(true), Code::TypeMismatch),
        ("visit_start_date > $x", text("2020-13-45"), Code::TypeMismatch),
        ("regexp_like(visit_source_value, $x)", text("("), Code::NonTotalFn),
        ("regexp_like(visit_source_value, $x)", Value::Integer(5), Code::TypeMismatch),
        ("visit_source_value LIKE $x", text(&"%a".repeat(200)), Code::NonTotalFn),
        ("date_trunc($x, visit_start_date) IS NULL", text("hour"), Code::NonTotalFn),
        ("visit_source_value = $x", text(&"x".repeat(70_000)), Code::TooLarge),
    ] {
        let sql = format!("SELECT COUNT(*) FROM visit_occurrence WHERE {condition}");
        let refusal = refused(&sql, &[("x", value)]);
        assert_eq!(refusal.code, code, "{sql}: {refusal}");
        assert!(!refusal.message.contains("soon"), "{refusal}");
    }
}
