//! Whether a question is answered never depends on data: each statement that once failed on some rows alone is asked
//! where rows match and where none do, and must end alike. And no text takes the server down.

use epiledger_tests::App;
use serde_json::json;

/// `$` is a county: one that has patients, or one that has none.
const PAIRS: [&str; 7] = [
    // AVG of wide decimals overflowed.
    "SELECT COUNT(*) FROM (SELECT person_id, AVG(CASE WHEN county = '$' THEN \
     CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0)) ELSE CAST(0 AS DECIMAL(38,0)) END) a \
     FROM person GROUP BY person_id) t WHERE a > 0",
    // A date before the calendar's beginning could not be written.
    "SELECT COUNT(*) FROM person WHERE CAST(date_trunc('week', CAST(CASE WHEN county = '$' THEN '-262143-01-01' \
     ELSE '2020-01-01' END AS DATE)) AS VARCHAR) <> 'x'",
    // A grid past the engine's widest decimal.
    "SELECT SUM(year_of_birth*0.000001*0.000001*0.000001*0.000001*0.000001*0.000001*0.000001) FROM person WHERE county = '$'",
    // A window frame whose end wraps.
    "SELECT COUNT(*) FROM (SELECT person_id, FIRST_VALUE(year_of_birth) OVER (PARTITION BY person_id ORDER BY \
     year_of_birth ROWS BETWEEN 1 PRECEDING AND 18446744073709551615 FOLLOWING) c FROM person WHERE county = '$') t WHERE c > 0",
    // Joins to public rows that multiply for some patients alone.
    "SELECT COUNT(*) FROM person p \
     JOIN (SELECT year, day FROM calendar) a ON a.year = CASE WHEN p.county = '$' THEN 2020 ELSE 0 END \
     JOIN (SELECT year, day FROM calendar) b ON b.year = CASE WHEN p.county = '$' THEN 2020 ELSE 0 END \
     JOIN (SELECT year, day FROM calendar) c ON c.year = CASE WHEN p.county = '$' THEN 2020 ELSE 0 END",
    // A row without a partner met the join's condition with NULLs in columns that are stored without any.
    "SELECT COUNT(*) FROM (SELECT person_id, year_of_birth FROM person WHERE county = '$') p \
     LEFT JOIN visit v ON p.person_id = v.person_id AND v.visit_start_date > make_date(p.year_of_birth + 65, 1, 1)",
    "SELECT COUNT(*) FROM visit v RIGHT JOIN (SELECT person_id, year_of_birth FROM person WHERE county = '$') p \
     ON p.person_id = v.person_id AND v.visit_start_date > make_date(p.year_of_birth + 65, 1, 1)",
];

#[test]
fn a_question_ends_alike_whether_rows_match_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 400);
    for statement in PAIRS {
        let status = |county: &str| app.ask(&statement.replace('$', county), "0.001").status;
        let (some, none) = (status("25017"), status("nosuch"));
        assert_eq!(some, none, "{statement}");
        assert!(matches!(some, 200 | 422), "{some}: {statement}");
    }
}

#[test]
fn no_text_takes_the_server_down_or_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let nested = |open: &str, times: usize, inner: &str, close: &str| {
        format!("SELECT COUNT(*) FROM person WHERE {}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let mut selects = "SELECT * FROM person".to_owned();
    for level in 0..40 {
        selects = format!("SELECT * FROM ({selects}) t{level}");
    }
    let texts = [
        nested("NOT (", 46, "county = 'x'", ")"),
        nested("NOT (", 60, "county = 'x'", ")"),
        nested("NOT (", 120, "county = 'x'", ")"),
        nested("NOT ", 500, "county = 'x'", ""),
        nested("coalesce(", 60, "county", ")") + " = 'x'",
        nested("coalesce(", 180, "county", ")") + " = 'x'",
        nested("- ", 500, "year_of_birth", "") + " < 0",
        format!("SELECT COUNT(*) FROM ({selects}) t"),
        "SELECT a.county, a.n, c.day, d.day FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) a \
         CROSS JOIN calendar c CROSS JOIN calendar d"
            .to_owned(),
        "SELECT COUNT(*) FROM person WHERE year_of_birth IN (SELECT c.year FROM calendar c, calendar d)".to_owned(),
    ];
    for text in texts {
        let body = json!({ "sql": text });
        let reply = app.post("researcher", "/v1/statements/estimate", &body);
        assert!(matches!(reply.status, 200 | 422), "{}: {}", reply.status, &text[..80.min(text.len())]);
    }
    assert_eq!(app.ask("SELECT COUNT(*) FROM person", "0.001").status, 200);
}

/// A text that looks like another plan's printed form is another question.
#[test]
fn a_crafted_literal_is_not_served_from_anothers_cache() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let ask = |keys: &str| app.ask(&format!("SELECT COUNT(*) FROM person WHERE county IN ({keys})"), "0.001").json();
    assert_eq!(ask("'25001','25017'")["cached"], json!(false));
    let forged = ask("'25001\"), None), Literal(Utf8(\"25017'");
    assert_eq!(forged["cached"], json!(false), "{forged}");
    assert_eq!(ask("'25001','25017'")["cached"], json!(true));
}
