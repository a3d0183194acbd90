//! Prices, caps and who may ask.

use epiledger_tests::App;
use serde_json::{Value, json};

fn rho(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_demo_leaves_epsilon_10_and_beyond_the_budget_is_429_with_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 300);
    let before = app.budget();
    for level in before["levels"].as_array().unwrap() {
        assert!(level["remaining"]["epsilon"].as_f64().unwrap() >= 10.0, "{level}");
    }
    assert_eq!(app.budget(), before, "it changes only when something is spent");
    let entries = app.audit().len();
    let reply = app.ask("SELECT COUNT(*) FROM visit_occurrence", "50");
    assert_eq!(reply.status, 429, "{}", reply.text());
    let problem = reply.json();
    assert_eq!(problem["code"], "BUDGET_EXHAUSTED");
    assert!(rho(&problem["required"]["rho"]) > rho(&problem["remaining"]["rho"]), "{problem}");
    assert_eq!(app.budget(), before);
    let logged = app.audit();
    assert_eq!(logged.len(), entries + 1);
    assert_eq!(logged.last().unwrap()["body"]["code"], "BUDGET_EXHAUSTED");

    // A small question still fits, and lowers every level by its price alone.
    let answer = app.ask("SELECT COUNT(*) FROM visit_occurrence", "0.25").json();
    let after = app.budget();
    for (old, new) in before["levels"].as_array().unwrap().iter().zip(after["levels"].as_array().unwrap()) {
        let spent = rho(&new["spent"]["rho"]) - rho(&old["spent"]["rho"]);
        assert!((spent - rho(&answer["price"]["rho"])).abs() < 1e-11, "{old} {new}");
    }
}

#[test]
fn bad_prices_are_refused_and_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let before = app.budget();
    for privacy in [
        json!({ "epsilon": 0 }),
        json!({ "epsilon": -1 }),
        json!({ "epsilon": "NaN" }),
        json!({ "epsilon": "inf" }),
        json!({ "epsilon": 1e308 }),
        json!({ "rho": "0" }),
        json!({ "rho": "-0.1" }),
        json!({ "accuracy": 0 }),
        json!({ "accuracy": "0.0001" }),
    ] {
        let body = json!({ "sql": "SELECT COUNT(*) FROM person", "privacy": privacy });
        let reply = app.post("researcher", "/v1/statements", &body);
        assert!(matches!(reply.status, 400 | 422), "{privacy}: {} {}", reply.status, reply.text());
    }
    assert_eq!(app.budget(), before);
}

#[test]
fn an_estimate_is_free_not_logged_and_equals_the_price() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let body = json!({ "sql": "SELECT visit_source_value, COUNT(*) FROM visit_occurrence GROUP BY 1", "privacy": { "accuracy": 200 } });
    let (budget, entries) = (app.budget(), app.audit().len());
    let estimate = app.post("researcher", "/v1/statements/estimate", &body).json();
    assert_eq!((app.budget(), app.audit().len()), (budget, entries));
    let half = estimate["primitives"][0]["half_width"].as_f64().unwrap();
    assert!(half <= 200.0 && half > 150.0, "{estimate}");
    let answer = app.post("researcher", "/v1/statements", &body).json();
    assert_eq!(answer["price"]["rho"], estimate["price"]["rho"]);
    for row in answer["rows"].as_array().unwrap() {
        let width = (row[3].as_f64().unwrap() - row[2].as_f64().unwrap()) / 2.0;
        assert!((width - half).abs() < 1e-9, "{row}");
    }
}

/// Whatever an accuracy is of, it has a price, and the answer shows an interval that is no wider.
#[test]
fn a_wanted_accuracy_is_what_the_answer_shows() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 600);
    let x = "days_supply";
    let counted = app.ask(&format!("SELECT COUNT({x}) AS n FROM drug_exposure"), "0.2").json();
    let n = counted["rows"][0][0].as_f64().unwrap() as u64;
    assert!(n > 300, "{counted}");
    let some = format!("COUNT(*) FILTER (WHERE {x} > 30)");
    for (asked, width, assumed, shown) in [
        (format!("SUM({x}) AS a, AVG({x}) AS b"), 300_000.0, false, 1.0),
        (format!("COUNT({x}) AS a"), 300.0, false, 1.0),
        (format!("AVG({x}) AS a"), 100.0, true, 1.1),
        // Its count was released above.
        (format!("AVG({x}) AS a"), 90.0, false, 1.1),
        (format!("VAR_POP({x}) AS a"), 30_000.0, true, 1.1),
        (format!("STDDEV({x}) AS a"), 180.0, true, 1.1),
        // A ratio is as wide as its noisy denominator says: its noise is under 6 % here, a fourth off is past 4 sigma.
        (format!("{some} * 1.0 / COUNT(*) AS a"), 0.1, true, 1.3),
        (format!("1 - CAST({some} AS DOUBLE) / NULLIF(COUNT({x}), 0) AS a"), 0.1, true, 1.3),
    ] {
        let sql = format!("SELECT {asked} FROM drug_exposure");
        let privacy = if assumed { json!({ "accuracy": width, "assume_n": n }) } else { json!({ "accuracy": width }) };
        let reply = app.post("researcher", "/v1/statements", &json!({ "sql": sql, "privacy": privacy }));
        assert_eq!(reply.status, 200, "{sql}: {}", reply.text());
        let row = reply.json()["rows"][0].clone();
        let half = (row[2].as_f64().unwrap() - row[1].as_f64().unwrap()) / 2.0;
        assert!(half <= width * shown, "{sql}: {half} is wider than {width}");
    }
    for (asked, privacy) in [
        (format!("AVG({x}) FILTER (WHERE {x} > 31)"), json!({ "accuracy": 10 })),
        (format!("COUNT({x})"), json!({ "accuracy": 10, "assume_n": 100 })),
        (format!("MEDIAN({x})"), json!({ "accuracy": 10, "assume_n": 100 })),
        (format!("VAR({x})"), json!({ "accuracy": 1e-9, "assume_n": 1 })),
    ] {
        let body = json!({ "sql": format!("SELECT {asked} FROM drug_exposure"), "privacy": privacy });
        let problem = app.post("researcher", "/v1/statements", &body).json();
        assert_eq!(problem["code"], "BAD_PRIVACY_PARAM", "{body} {problem}");
    }
    let plan = json!({ "questions": [{ "sql": format!("SELECT AVG({x}) FROM drug_exposure"),
        "privacy": { "accuracy": 100, "assume_n": n } }], "repeats": 2 });
    let planned = app.post("researcher", "/v1/budget/plan", &plan).json();
    assert!(rho(&planned["once"]["rho"]) > 0.0, "{planned}");
}

#[test]
fn unknown_keys_are_released_only_past_k_min_and_the_threshold() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 1_500);
    let sql = "SELECT condition_source_value, COUNT(DISTINCT person_id) AS n FROM condition_occurrence GROUP BY condition_source_value";
    let body = json!({ "sql": sql, "privacy": { "rho": "0.2" } });
    let estimate = app.post("researcher", "/v1/statements/estimate", &body).json();
    assert_eq!((estimate["keys"].as_str(), estimate["k_min"].as_u64()), (Some("unknown"), Some(11)));
    let threshold = estimate["threshold"].as_f64().unwrap();
    assert!(threshold > 11.0);
    // One patient's delta is what is charged; four linked ones lower the threshold by three besides.
    let delta = |people: usize| rho(&estimate["groups"][people]["delta"]);
    assert_eq!(estimate["groups"][0]["delta"], estimate["price"]["delta"]);
    assert!(delta(1) > 4.0 * delta(0) && delta(1) < 1e-3, "{estimate}");
    let answer = app.post("researcher", "/v1/statements", &body).json();
    assert!(answer["price"]["delta"].as_str().unwrap().parse::<f64>().unwrap() > 0.0);
    let rows = answer["rows"].as_array().unwrap();
    assert!(!rows.is_empty(), "some code is common");
    for row in rows {
        assert!(row[1].as_f64().unwrap() > threshold, "{row}");
        assert!(row[2].as_f64().unwrap() >= 11.0, "the interval starts at k_min: {row}");
    }
}

#[test]
fn roles_are_kept_apart_and_denials_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let body = json!({ "sql": "SELECT COUNT(*) FROM person" });
    for role in ["epidemiologist", "board", "steward", "operator"] {
        assert_eq!(app.post(role, "/v1/statements", &body).status, 403, "{role}");
    }
    assert_eq!(app.post("nobody", "/v1/statements", &body).status, 401);
    assert_eq!(app.get("researcher", "/v1/audit").status, 403);
    assert_eq!(app.get("nobody", "/v1/audit/checkpoint").status, 200);
    assert_eq!(app.get("researcher", "/v1/ledger/checkpoint").status, 403);
    let denied: Vec<String> = app
        .audit()
        .iter()
        .filter(|e| e["type"] == "access.denied")
        .map(|e| e["body"]["principal"].as_str().unwrap().to_owned())
        .collect();
    assert!(denied.len() >= 5, "{denied:?}");
    assert!(denied.iter().any(|p| p.contains("board")), "{denied:?}");
}

#[test]
fn an_idempotency_key_gives_the_stored_answer_and_never_another() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::demo(&dir.path().join("data"), 100);
    let body = json!({ "sql": "SELECT COUNT(*) FROM death", "privacy": { "rho": "0.001" } });
    let key = [("Idempotency-Key", "first")];
    let one = app.post_with("researcher", "/v1/statements", &body, &key).json();
    let spent = app.budget();
    let two = app.post_with("researcher", "/v1/statements", &body, &key).json();
    assert_eq!((&one["rows"], app.budget()), (&two["rows"], spent));
    let other = json!({ "sql": "SELECT COUNT(*) FROM person", "privacy": { "rho": "0.001" } });
    assert_eq!(app.post_with("researcher", "/v1/statements", &other, &key).status, 422);
}
