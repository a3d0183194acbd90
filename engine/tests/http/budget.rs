//! Budgets over HTTP: two people set a policy, accuracy is bought and bettered, plans and histories are free.

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::server::handlers::keys::KeyRequest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::app::{App, Reply};

fn post(app: &App, role: Role, path: &str, body: &Value) -> Reply {
    app.ask(Method::POST, path).role(role).json(body).send()
}

fn rho(price: &Value) -> f64 {
    price["rho"].as_str().unwrap().parse().unwrap()
}

#[test]
fn one_proposes_and_another_confirms_and_a_raise_waits() {
    // A folder of its own: a policy binds every other test.
    let app = App::of(400, 7);
    let before = app.read(Role::Board, "/v1/policies").json();
    assert_eq!(before["in_force"]["policy"], 1);
    assert_eq!(before["in_force"]["approvers"], json!(["demo-steward", "demo-board"]));
    let propose = |body: Value| post(&app, Role::Steward, "/v1/policies", &body);
    let confirm = |role: Role, index: &Value| post(&app, role, &format!("/v1/policies/{index}/confirm"), &json!({}));
    let cap = |app: &App| {
        let in_force = app.read(Role::Researcher, "/v1/policies").json()["in_force"].clone();
        in_force["terms"]["window_rho_cap"].clone()
    };

    // Lowering binds at once; a proposal alone binds nothing.
    let lower = propose(json!({ "window_rho_cap": "1" }));
    assert_eq!(lower.status, StatusCode::CREATED, "{}", lower.text());
    let lower = lower.json()["index"].clone();
    assert_eq!(cap(&app), "3");
    assert_eq!(app.read(Role::Steward, "/v1/policies").json()["proposals"][0]["index"], lower);
    let own = confirm(Role::Steward, &lower);
    assert_eq!((own.status, own.json()["code"].clone()), (StatusCode::UNPROCESSABLE_ENTITY, json!("INVALID_ACT")));
    let set = confirm(Role::Board, &lower);
    assert_eq!(set.status, StatusCode::CREATED, "{}", set.text());
    assert_eq!((set.json()["policy"].clone(), set.json()["in_force"].clone()), (json!(2), json!(true)));
    assert_eq!(cap(&app), "1");
    assert_eq!(confirm(Role::Board, &lower).status, StatusCode::NOT_FOUND, "once");

    // A raise is public, and pending for seven days; another steward may confirm it.
    let raise = propose(json!({ "rho_cap": "4" })).json()["index"].clone();
    let request = KeyRequest { principal: "steward-2".into(), role: Role::Steward, days: 1 };
    let other = app.server.create_key(&request, "test").unwrap();
    let second = format!("Bearer {}", other.token.expose_secret());
    let path = format!("/v1/policies/{raise}/confirm");
    let set = app.ask(Method::POST, &path).header("authorization", &second).json(&json!({})).send().json();
    assert_eq!((set["policy"].clone(), set["in_force"].clone()), (json!(3), json!(false)));
    let now = app.read(Role::Researcher, "/v1/policies").json();
    assert_eq!((now["in_force"]["policy"].clone(), now["pending"]["policy"].clone()), (json!(2), json!(3)));
    let wait = now["pending"]["effective"].as_u64().unwrap() - now["pending"]["time"].as_u64().unwrap();
    assert_eq!(wait, 7 * 86_400);

    // Mixed, malformed and foreign acts.
    let mixed = propose(json!({ "rho_cap": "4", "window_rho_cap": "0.5" })).json()["index"].clone();
    let refused = confirm(Role::Board, &mixed);
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("lower first"), "{}", refused.text());
    assert_eq!(propose(json!({ "rho_cap": "much" })).status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(propose(json!({ "cap": "1" })).status, StatusCode::BAD_REQUEST);
    assert_eq!(post(&app, Role::Board, "/v1/policies", &json!({})).status, StatusCode::FORBIDDEN);
    for (delta_rep, status) in [("0", 422), ("0.02", 422), ("1", 422), ("0.01", 201)] {
        assert_eq!(propose(json!({ "delta_rep": delta_rep })).status, status, "epsilon at {delta_rep}");
    }
    assert_eq!(confirm(Role::Operator, &mixed).status, StatusCode::FORBIDDEN);
    let log = app.read(Role::Board, "/v1/audit?type=policy.set&limit=100").json();
    assert_eq!(log["entries"].as_array().unwrap().len(), 3);

    // Spending past the window names it.
    let dear = app.query(&json!({ "sql": "SELECT COUNT(*) FROM person", "privacy": { "rho": "1.5" } })).json();
    assert_eq!((dear["code"].clone(), dear["level"].clone()), (json!("BUDGET_EXHAUSTED"), json!("window")));
    assert!(dear["hint"].as_str().unwrap().contains("24 hours"), "{dear}");
}

#[test]
fn more_accuracy_costs_the_difference_and_the_better_answer_is_kept() {
    let app = App::get();
    let ask = |rho: &str| {
        let body = json!({ "sql": "SELECT race, gender, COUNT(*) AS n FROM person GROUP BY race, gender", "privacy": { "rho": rho } });
        let reply = app.query(&body);
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.json()
    };
    let (coarse, fine) = (ask("0.001"), ask("0.003"));
    assert_eq!((coarse["cached"].clone(), fine["cached"].clone()), (json!(false), json!(false)));
    let paid = rho(&coarse["price"]) + rho(&fine["price"]);
    assert!(paid <= 0.003 && paid > 0.00297, "{paid}");
    let width = |answer: &Value| answer["rows"][0][4].as_f64().unwrap() - answer["rows"][0][3].as_f64().unwrap();
    assert!((width(&coarse) / width(&fine) - f64::sqrt(3.0)).abs() < 0.2, "{coarse} {fine}");
    for again in [ask("0.003"), ask("0.001"), ask("0.002")] {
        assert_eq!((again["cached"].clone(), again["rows"].clone()), (json!(true), fine["rows"].clone()));
        assert_eq!(rho(&again["price"]), 0.0);
    }
    let entries = app.read(Role::Board, "/v1/audit?type=query.intent&text=race,%20gender&limit=1000").json();
    let finer: Vec<&Value> = entries["entries"].as_array().unwrap().iter().map(|e| &e["body"]["finer"]).collect();
    assert_eq!((finer.len(), finer[0]), (2, &Value::Null));
    assert_eq!(finer[1], &coarse["receipt"]["index"], "it names the outcome that it makes finer");
}

#[test]
fn an_accuracy_of_a_mean_needs_an_assumption_and_then_is_what_comes() {
    let app = App::get();
    let sql = "SELECT AVG(year_of_birth) AS year FROM person";
    let estimate = |privacy: Value| {
        post(app, Role::Researcher, "/v1/statements/estimate", &json!({ "sql": sql, "privacy": privacy }))
    };
    let bare = estimate(json!({ "accuracy": 5 }));
    assert_eq!(
        (bare.status, bare.json()["code"].clone()),
        (StatusCode::UNPROCESSABLE_ENTITY, json!("BAD_PRIVACY_PARAM"))
    );
    let price = |n: u64, width: f64| {
        let reply = estimate(json!({ "accuracy": width, "assume_n": n }));
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        rho(&reply.json()["price"])
    };
    let base = price(200, 4.0);
    assert!((price(400, 4.0) / base - 0.25).abs() < 0.01 && (price(200, 2.0) / base - 4.0).abs() < 0.1);
    // There are more than 200 people, so the interval that comes is no wider than what was asked.
    let answer = app.query(&json!({ "sql": sql, "privacy": { "accuracy": 4, "assume_n": 200 } }));
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let row = answer.json()["rows"][0].clone();
    assert!(row[2].as_f64().unwrap() - row[1].as_f64().unwrap() <= 8.0, "{row}");
    let count = estimate(json!({ "accuracy": 0, "assume_n": 5 }));
    assert_eq!(count.status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// A count that the asker's protocol has released serves as n: asked alone, or in the same question at another price. No
/// other one does, and a dummy takes none.
#[test]
fn an_accuracy_of_a_mean_takes_the_count_that_was_released() {
    let app = App::of(400, 7);
    let ask = |path: &str, sql: &str, privacy: Value| {
        post(&app, Role::Researcher, path, &json!({ "sql": sql, "privacy": privacy }))
    };
    let released = |sql: &str| {
        let reply = ask("/v1/statements", sql, json!({ "rho": "0.01" }));
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.json()["rows"].as_array().unwrap().clone()
    };
    let estimate = |sql: &str, privacy: Value| {
        let reply = ask("/v1/statements/estimate", sql, privacy);
        assert_eq!(reply.status, StatusCode::OK, "{sql}: {}", reply.text());
        reply.json()
    };
    let refused = |path: &str, sql: &str| {
        let reply = ask(path, sql, json!({ "accuracy": 8 }));
        assert_eq!(reply.json()["code"], "BAD_PRIVACY_PARAM", "{sql}: {}", reply.text());
    };
    let (over, mean) = ("FROM person WHERE year_of_birth > 1931", "SELECT AVG(year_of_birth) AS year");
    let mean = format!("{mean} {over}");
    refused("/v1/statements/estimate", &mean);
    // Counts of other rows, of other values and by other keys.
    released("SELECT COUNT(year_of_birth) AS n FROM person WHERE year_of_birth > 1932");
    released(&format!("SELECT COUNT(gender) AS n {over}"));
    released(&format!("SELECT gender, COUNT(year_of_birth) AS n {over} GROUP BY gender"));
    refused("/v1/statements/estimate", &mean);
    let n = released(&format!("SELECT COUNT(year_of_birth) AS n {over}"))[0][0].as_i64().unwrap();
    let (spent, size) = (app.read(Role::Researcher, "/v1/budget").json(), app.log_size());
    let told = estimate(&mean, json!({ "accuracy": 8 }));
    assert_eq!(told["assumed_n"], json!(n));
    assert_eq!(told["price"], estimate(&mean, json!({ "accuracy": 8, "assume_n": n }))["price"]);
    assert_eq!((app.read(Role::Researcher, "/v1/budget").json(), app.log_size()), (spent, size), "free, not logged");
    let answer = ask("/v1/statements", &mean, json!({ "accuracy": 8 }));
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let (answer, row) = (answer.json(), answer.json()["rows"][0].clone());
    assert_eq!(answer["price"]["rho"], told["price"]["rho"]);
    assert!(row[2].as_f64().unwrap() - row[1].as_f64().unwrap() <= 16.0 * 1.1, "{row}");
    refused("/v1/statements/dummy", &mean);

    // By keys it is the least: every cell is as fine as was asked. A cell may have nobody, and then there is none.
    let by_gender = format!("SELECT gender, VAR_POP(year_of_birth) AS v {over} GROUP BY gender");
    let counts = released(&format!("SELECT gender, COUNT(year_of_birth) AS n {over} GROUP BY gender"));
    let least = counts.iter().map(|row| row[1].as_i64().unwrap()).min().unwrap();
    let told = ask("/v1/statements/estimate", &by_gender, json!({ "accuracy": 5_000 })).json();
    let expected = if least > 0 { json!(least) } else { Value::Null };
    assert_eq!(told["assumed_n"], expected, "{counts:?}");
    // The question itself, at another price, has its own.
    let deviation = "SELECT STDDEV(year_of_birth) AS d FROM person WHERE year_of_birth > 1933";
    refused("/v1/statements/estimate", deviation);
    released(deviation);
    let again = estimate(deviation, json!({ "accuracy": 40 }));
    assert!((100..700).contains(&again["assumed_n"].as_i64().unwrap()), "{again}");
    // A count needs none, and what the asker assumes is taken.
    let plain = estimate(&format!("SELECT COUNT(year_of_birth) AS n {over}"), json!({ "accuracy": 20 }));
    assert_eq!(plain.get("assumed_n"), None);
    assert_eq!(estimate(&mean, json!({ "accuracy": 8, "assume_n": 5_000 }))["assumed_n"], json!(5_000));

    // Another protocol neither takes it nor learns that it is there.
    let approval = json!({ "protocol": "second", "title": "a test", "purpose": "HMB", "investigators": ["someone"],
        "rho_cap": "0.1", "delta_cap": "0.000001", "valid_from": "2020-01-01", "valid_to": "2099-12-31" });
    let approved = post(&app, Role::Board, "/v1/protocols", &approval);
    assert_eq!(approved.status, StatusCode::CREATED, "{}", approved.text());
    let request = KeyRequest { principal: "someone".into(), role: Role::Researcher, days: 1 };
    let other = app.server.create_key(&request, "test").unwrap();
    let bearer = format!("Bearer {}", other.token.expose_secret());
    let body = json!({ "sql": mean, "privacy": { "accuracy": 8 } });
    let reply = app.ask(Method::POST, "/v1/statements/estimate").header("authorization", &bearer).json(&body).send();
    assert_eq!(reply.json()["code"], "BAD_PRIVACY_PARAM", "{}", reply.text());
}

#[test]
fn an_accuracy_past_the_budget_is_refused_with_the_one_in_reach() {
    let app = App::get();
    let count = |accuracy: f64| {
        app.query(&json!({ "sql": "SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > DATE '2020-02-02'", "privacy": { "accuracy": accuracy } }))
    };
    let refused = count(1.0);
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text());
    let problem = refused.json();
    let reachable = problem["reachable"].as_f64().unwrap();
    assert!(reachable > 1.0 && problem["hint"].as_str().unwrap().contains(&reachable.to_string()), "{problem}");
    // What it names is in reach: an estimate of it costs no more than what is left.
    let body = json!({ "sql": "SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > DATE '2020-02-02'", "privacy": { "accuracy": reachable } });
    let estimate = post(app, Role::Researcher, "/v1/statements/estimate", &body).json();
    assert!(rho(&estimate["price"]) <= rho(&problem["remaining"]) * 1.001, "{estimate} {problem}");
}

#[test]
fn prices_are_told_as_odds_for_one_person_and_for_a_household() {
    let app = App::get();
    let body = json!({ "sql": "SELECT COUNT(*) FROM death", "privacy": { "rho": "0.0005" } });
    let estimate = post(app, Role::Researcher, "/v1/statements/estimate", &body).json();
    let [one, four] = [0, 1].map(|i| estimate["groups"][i].clone());
    assert_eq!((one["people"].clone(), four["people"].clone()), (json!(1), json!(4)));
    assert!((rho(&four) / rho(&one) - 16.0).abs() < 1e-9, "k^2 rho");
    assert_eq!(one["epsilon"], estimate["price"]["epsilon"]);
    assert!(one["words"].as_str().unwrap().contains("a suspicion of 1 in 100"));
    let budget = app.read(Role::Researcher, "/v1/budget").json();
    assert!(rho(&budget["groups"][0]) > 1.0 && budget["groups"][0]["odds_factor"].as_f64().unwrap() > 1_000.0);
}

#[test]
fn a_plan_says_how_far_the_budget_reaches_and_spends_nothing() {
    let app = App::of(400, 7);
    let plan = |body: &Value| post(&app, Role::Researcher, "/v1/budget/plan", body);
    let question = |n: u32| json!({ "sql": format!("SELECT COUNT(*) FROM person WHERE year_of_birth > {n}"), "privacy": { "rho": "0.01" } });
    let size = app.log_size();
    let one = plan(&json!({ "questions": [question(1971)] })).json();
    let two = plan(&json!({ "questions": [question(1971), question(1972), question(1971)], "repeats": 52 })).json();
    assert!((rho(&two["once"]) / rho(&one["once"]) - 2.0).abs() < 1e-6, "the same question twice is paid once: {two}");
    assert!((rho(&two["planned"]) / rho(&one["once"]) - 104.0).abs() < 1e-6);
    let left = app.read(Role::Researcher, "/v1/budget").json()["remaining"].clone();
    assert_eq!(two["reaches"].as_f64().unwrap(), (rho(&left) / rho(&two["once"])).floor(), "{two} {left}");
    assert_eq!(two["days"], 1);
    assert!(two["groups"][1]["words"].as_str().unwrap().contains("4 linked people"));
    for bad in [json!({ "questions": [] }), json!({ "questions": [question(1)], "repeats": 0 })] {
        assert_eq!(plan(&bad).status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    assert_eq!(plan(&json!({ "questions": [{ "sql": "SELECT * FROM person" }] })).json()["code"], "ROW_LEVEL_OUTPUT");
    assert_eq!(plan(&json!({ "questions": 5 })).status, StatusCode::BAD_REQUEST);
    let log = app.read(Role::Board, &format!("/v1/audit?from={size}&limit=1000")).text();
    assert!(!log.contains("> 1971") && !log.contains("> 1972"));
}

#[test]
fn the_history_is_the_fold_after_each_paid_question() {
    let app = App::of(400, 7);
    for year in [1961, 1962, 1963] {
        let sql = format!("SELECT COUNT(*) FROM person WHERE year_of_birth > {year}");
        assert_eq!(app.query(&json!({ "sql": sql, "privacy": { "rho": "0.01" } })).status, StatusCode::OK);
    }
    let points = app.read(Role::Researcher, "/v1/budget/history").json()["points"].clone();
    let points = points.as_array().unwrap();
    assert_eq!(points.len(), 3);
    let mut sum = 0.0;
    for point in points {
        sum += rho(&point["price"]);
        for level in point["levels"].as_array().unwrap() {
            assert!((rho(&level["spent"]) - sum).abs() < 1e-11, "{point}");
            assert!((rho(&level["remaining"]) + sum - rho(&level["cap"])).abs() < 1e-11, "{point}");
        }
        assert_eq!(point["levels"].as_array().unwrap().len(), 4, "id space, window, protocol, principal");
    }
    let budget = app.read(Role::Researcher, "/v1/budget").json();
    let lasting = |levels: &Value| -> Vec<Value> {
        levels.as_array().unwrap().iter().filter(|l| l["level"] != "window").cloned().collect()
    };
    assert_eq!(lasting(&points[2]["levels"]), lasting(&budget["levels"]), "the last point is now");
    let newest = app.read(Role::Researcher, "/v1/budget/history?limit=1").json();
    assert_eq!(newest["points"], json!([points[2]]));
    // Others' protocols are not a researcher's to see; the board names one.
    let other = app.read(Role::Researcher, "/v1/budget/history?protocol=other").json();
    assert_eq!(other["points"][0]["levels"].as_array().unwrap().len(), 3);
    let board = app.read(Role::Board, "/v1/budget/history?protocol=demo").json();
    assert_eq!(board["points"][2]["levels"][2], points[2]["levels"][2]);
}

#[test]
fn an_idempotency_key_belongs_to_one_whole_request() {
    let app = App::get();
    let ask = |body: &Value, key: &str| {
        app.ask(Method::POST, "/v1/statements").role(Role::Researcher).header("idempotency-key", key).json(body).send()
    };
    let body =
        json!({ "sql": "SELECT COUNT(*) FROM person WHERE year_of_birth > 1933", "privacy": { "rho": "0.001" } });
    let first = ask(&body, "whole");
    assert_eq!(first.status, StatusCode::OK, "{}", first.text());
    let (first, again) = (first.json(), ask(&body, "whole").json());
    assert_eq!((again["rows"].clone(), again["cached"].clone()), (first["rows"].clone(), json!(true)));
    assert_eq!(again["statement_id"], first["statement_id"]);
    for other in [
        json!({ "sql": body["sql"], "privacy": { "rho": "0.002" } }),
        json!({ "sql": body["sql"], "privacy": { "rho": "0.001" }, "row_limit": 1 }),
        json!({ "sql": "SELECT COUNT(*) FROM death", "privacy": { "rho": "0.001" } }),
    ] {
        let reply = ask(&other, "whole");
        assert_eq!(
            (reply.status, reply.json()["code"].clone()),
            (StatusCode::UNPROCESSABLE_ENTITY, json!("IDEMPOTENCY_KEY_REUSED")),
            "{other}"
        );
    }
    // The log has hashes alone: neither the key nor an unsalted request.
    let entries = app.read(Role::Board, "/v1/audit?type=query.intent&text=1933&limit=10").json();
    let intent = &entries["entries"][0]["body"];
    assert!(
        intent["idempotency"].as_str().unwrap().len() == 64 && intent["request_commit"].as_str().unwrap().len() == 64
    );
}
