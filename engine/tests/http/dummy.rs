//! Dummy twins: of the shape of the answer, and of nothing in the dataset.

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::server::format::Format;
use serde_json::{Value, json};

use crate::app::{App, Reply};

/// Public keys, unknown keys, a mean, a sum with a total, a window over released numbers.
const QUESTIONS: [&str; 4] = [
    "SELECT county, COUNT(*) AS n FROM person GROUP BY county ORDER BY county",
    "SELECT condition_source_value AS code, COUNT(DISTINCT person_id) AS n FROM condition_occurrence \
     GROUP BY condition_source_value ORDER BY code",
    "SELECT gender, AVG(year_of_birth) AS mean, SUM(year_of_birth) AS sum FROM person GROUP BY gender ORDER BY gender",
    "SELECT gender, n * 1.0 / SUM(n) OVER () AS share FROM (SELECT gender, COUNT(*) AS n FROM person GROUP BY gender) \
     ORDER BY gender",
];

fn ask(app: &App, path: &str, sql: &str, format: Format) -> Reply {
    let body = json!({ "sql": sql, "privacy": { "rho": "0.01" } });
    let ask = app.ask(Method::POST, path).role(Role::Researcher).header("accept", format.media_type());
    ask.json(&body).send()
}

fn dummy(app: &App, sql: &str, format: Format) -> Reply {
    let reply = ask(app, "/v1/statements/dummy", sql, format);
    assert_eq!(reply.status, StatusCode::OK, "{sql}: {}", reply.text());
    reply
}

/// Two datasets of one catalog: other people, another secret, another log. Every byte of every format is equal, in
/// headers too, and says that it is a dummy.
#[test]
fn dummies_of_two_datasets_are_byte_equal_and_flagged_in_every_format() {
    let (one, other) = (App::of(60, 7), App::of(120, 8));
    assert_eq!(one.server.engine.catalog().hash(), other.server.engine.catalog().hash());
    for sql in QUESTIONS {
        for format in Format::ALL {
            let (a, b) = (dummy(&one, sql, format), dummy(&other, sql, format));
            assert!(a.body == b.body, "{} of {sql}", format.name());
            assert_eq!(a.headers, b.headers, "{} of {sql}", format.name());
            assert_eq!(a.headers["epiledger-dummy"], "true");
            let marks: &[&str] = match format {
                Format::Json => &["\"dummy\":true", "\"state\":\"dummy\""],
                Format::Arrow | Format::Parquet => &["epiledger.dummy"],
                Format::Csv | Format::Ndjson => &[],
            };
            for mark in marks {
                assert!(a.text().contains(mark), "{} of {sql} lacks {mark}", format.name());
            }
        }
        assert!(dummy(&one, sql, Format::Json).json()["rows"].as_array().is_some_and(|rows| !rows.is_empty()), "{sql}");
    }
    // The real answers of the two differ, so equal dummies mean something.
    let real = |app: &App| ask(app, "/v1/statements", QUESTIONS[0], Format::Json).json()["rows"].clone();
    assert_ne!(real(&one), real(&other));
}

#[test]
fn a_dummy_has_the_shape_of_the_answer_costs_nothing_and_leaves_no_trace() {
    // Its own, since a release that is asked for here under one text would be cached for tests that ask under another.
    let app = &App::of(60, 10);
    let size = app.log_size();
    let before = app.read(Role::Researcher, "/v1/budget").body;
    let tried: Vec<Value> = QUESTIONS.iter().map(|sql| dummy(app, sql, Format::Json).json()).collect();
    let found = app.read(Role::Board, &format!("/v1/audit?from={size}&text=SUM(year_of_birth)&limit=1000")).json();
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(0), "nothing about it is logged");
    assert_eq!(app.read(Role::Researcher, "/v1/budget").body, before, "nothing is spent");
    for (sql, tried) in QUESTIONS.iter().zip(tried) {
        assert_eq!((&tried["price"]["rho"], &tried["price"]["epsilon"]), (&json!("0"), &json!(0.0)));
        let real = ask(app, "/v1/statements", sql, Format::Json).json();
        assert_eq!((&real["columns"], &real["dummy"]), (&tried["columns"], &json!(false)), "{sql}");
        for row in tried["rows"].as_array().unwrap() {
            let number = |i: usize| row[i].as_f64().unwrap();
            assert!(number(2) <= number(1) && number(1) <= number(3) && number(4) > 0.0, "{sql}: {row}");
        }
    }
    let refused = ask(app, "/v1/statements/dummy", "SELECT person_id FROM person", Format::Json);
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
}

/// No file of a private table is opened: it works when they are gone, and the real question does not.
#[test]
fn a_dummy_needs_no_private_file() {
    let app = App::of(60, 9);
    std::fs::remove_dir_all(app.server.data.join("tables")).unwrap();
    std::fs::remove_dir_all(app.server.data.join("ledger")).unwrap();
    for sql in QUESTIONS {
        dummy(&app, sql, Format::Json);
    }
    let real = ask(&app, "/v1/statements", QUESTIONS[0], Format::Json);
    assert_eq!(real.status, StatusCode::GATEWAY_TIMEOUT, "{}", real.text());
}
