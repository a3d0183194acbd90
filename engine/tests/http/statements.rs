//! Asking over HTTP: prices, refusals, the cache, and what costs nothing.

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use serde_json::{Value, json};

use crate::app::App;

const BY_COUNTY: &str = "SELECT county, COUNT(*) FROM person GROUP BY county";

/// A charge is never over what was asked, and sigma's grid keeps it near.
fn assert_close_under(price: &Value, asked: f64) {
    let rho: f64 = price["rho"].as_str().unwrap().parse().unwrap();
    assert!(rho <= asked && rho > 0.98 * asked, "{rho} for {asked}");
}

fn budget(app: &App) -> Vec<u8> {
    let reply = app.read(Role::Researcher, "/v1/budget");
    assert_eq!(reply.status, StatusCode::OK);
    reply.body
}

#[test]
fn an_answer_has_every_documented_member_and_its_values_lie_in_their_intervals() {
    let app = App::get();
    let sql = "SELECT county, COUNT(*) AS n FROM person WHERE year_of_birth > 1950 GROUP BY county ORDER BY county";
    let answer = app.query(&json!({ "sql": sql, "privacy": { "rho": "0.001" } }));
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let answer = answer.json();
    let names: Vec<&str> = answer["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["county", "n", "n_low", "n_high", "n_sigma"]);
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 14, "every county is answered");
    for row in rows {
        let [n, low, high, sigma] = [1, 2, 3, 4].map(|i| row[i].as_f64().unwrap());
        assert!(low <= n && n <= high && sigma > 0.0, "{row}");
    }
    assert_eq!(answer["state"], "answered");
    assert_close_under(&answer["price"], 0.001);
    assert_eq!(answer["statement_id"].as_str().unwrap().len(), 32);
    assert!(answer["receipt"]["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1\n"));
    assert!(answer["snapshot"]["number"].as_u64().is_some());
}

#[test]
fn the_same_question_again_is_free_and_gives_the_same_numbers() {
    let app = App::get();
    let body = json!({ "sql": "SELECT gender, COUNT(*) AS n FROM person GROUP BY gender" });
    let first = app.query(&body);
    assert_eq!(first.status, StatusCode::OK, "{}", first.text());
    let (first, before) = (first.json(), budget(app));
    let again =
        app.query(&json!({ "sql": "SELECT gender, COUNT(*) AS patients FROM person GROUP BY gender ORDER BY 1" }));
    let again = again.json();
    assert_eq!(again["cached"], true);
    assert_eq!(again["price"]["rho"].as_str().unwrap().parse::<f64>().unwrap(), 0.0);
    let sorted = |a: &Value| {
        let mut rows = a["rows"].as_array().unwrap().clone();
        rows.sort_by_key(Value::to_string);
        rows
    };
    assert_eq!(sorted(&first), sorted(&again));
    assert_eq!(budget(app), before);
    let id = first["statement_id"].as_str().unwrap();
    let recorded = app.read(Role::Epidemiologist, &format!("/v1/statements/{id}/result"));
    assert_eq!(recorded.status, StatusCode::OK, "{}", recorded.text());
    assert_eq!(sorted(&recorded.json()), sorted(&first));
}

#[test]
fn a_format_that_cannot_be_given_is_refused_before_anything_is_spent() {
    let app = App::get();
    let (before, size) = (budget(app), app.log_size());
    let body = json!({ "sql": "SELECT state, COUNT(*) FROM person GROUP BY state" });
    for (accept, path) in [("text/html", "/v1/statements"), ("*/*", "/v1/statements?format=xls")] {
        let ask = app.ask(Method::POST, path).role(Role::Researcher).header("accept", accept).json(&body);
        let reply = ask.send();
        assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE);
        assert_eq!(reply.json()["code"], "NOT_ACCEPTABLE");
    }
    assert_eq!(budget(app), before);
    let log = app.read(Role::Board, &format!("/v1/audit?from={size}&limit=1000")).text();
    assert!(!log.contains("GROUP BY state"), "a 406 leaves no entry about the question");
}

#[test]
fn a_refusal_has_code_place_and_hint_spends_nothing_and_is_logged_once() {
    let app = App::get();
    let before = budget(app);
    let sql = "SELECT person_id, COUNT(*) FROM person GROUP BY person_id -- once";
    let reply = app.query(&json!({ "sql": sql }));
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problem = reply.json();
    assert_eq!(problem["code"], "UNIT_IN_OUTPUT");
    assert_eq!(problem["position"]["line"], 1);
    assert!(problem["hint"].as_str().is_some_and(|h| !h.is_empty()));
    assert_eq!(budget(app), before);
    let log = app.read(Role::Board, "/v1/audit?type=query.refused&limit=1000").json();
    let logged: Vec<&Value> = log["entries"].as_array().unwrap().iter().filter(|e| e["text"] == sql).collect();
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0]["body"]["code"], "UNIT_IN_OUTPUT");
}

#[test]
fn an_estimate_is_free_and_unlogged_and_names_the_price() {
    let app = App::get();
    let before = budget(app);
    let body = json!({ "sql": "SELECT race, COUNT(*) AS only_estimated FROM person GROUP BY race", "privacy": { "rho": 0.002 } });
    let reply = app.ask(Method::POST, "/v1/statements/estimate").role(Role::Researcher).json(&body).send();
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let estimate = reply.json();
    assert_close_under(&estimate["price"], 0.002);
    assert_eq!(estimate["keys"], "public");
    assert!(estimate["primitives"][0]["half_width"].as_f64().unwrap() > 0.0);
    assert_eq!(budget(app), before);
    let log = app.read(Role::Board, "/v1/audit?text=only_estimated&limit=1000").json();
    assert_eq!(log["entries"].as_array().unwrap().len(), 0);
}

#[test]
fn too_dear_a_question_is_429_with_required_and_remaining() {
    let app = App::get();
    let reply = app.query(&json!({ "sql": "SELECT COUNT(*) FROM death", "privacy": { "rho": "1000" } }));
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{}", reply.text());
    let problem = reply.json();
    assert_eq!(problem["code"], "BUDGET_EXHAUSTED");
    assert_close_under(&problem["required"], 1000.0);
    assert!(problem["remaining"]["rho"].as_str().is_some());
}

#[test]
fn malformed_requests_are_400_and_say_what_is_wrong() {
    let app = App::get();
    let ask = |body: &str| {
        let ask = app.ask(Method::POST, "/v1/statements").role(Role::Researcher).body(body.to_owned());
        ask.send()
    };
    for body in ["", "[]", "{}", r#"{"sql": 5}"#, r#"{"sql": "SELECT 1", "epsilon": 1}"#] {
        let reply = ask(body);
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(reply.json()["code"], "BAD_REQUEST");
    }
    let bad_price = app.query(&json!({ "sql": BY_COUNTY, "privacy": { "epsilon": 1, "rho": 1 } }));
    assert_eq!(bad_price.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(bad_price.json()["code"], "BAD_PRIVACY_PARAM");
    let long = |bytes: usize| ask(&json!({ "sql": "x".repeat(bytes) }).to_string());
    for (bytes, status) in [(300 << 10, StatusCode::UNPROCESSABLE_ENTITY), (3 << 20, StatusCode::PAYLOAD_TOO_LARGE)] {
        let reply = long(bytes);
        assert_eq!((reply.status, &reply.json()["code"]), (status, &json!("TOO_LARGE")), "{bytes}");
    }
}

#[test]
fn the_schema_shows_bounds_and_keys_and_no_hidden_column() {
    let app = App::get();
    let list = app.read(Role::Steward, "/v1/datasets").json();
    let dataset = list["datasets"][0]["dataset"].as_str().unwrap();
    let schema = app.read(Role::Steward, &format!("/v1/datasets/{dataset}/schema"));
    assert_eq!(schema.status, StatusCode::OK);
    let person = &schema.json()["tables"]["person"];
    assert_eq!(person["private"]["scan_rows"], 1);
    assert_eq!(person["columns"][0]["name"], "person_id");
    assert!(!schema.text().contains("\"_consent\"") && !schema.text().contains("\"_transaction\""));
    assert_eq!(app.read(Role::Steward, "/v1/datasets/other/schema").status, StatusCode::NOT_FOUND);
}
