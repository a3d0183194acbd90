//! Series over HTTP: opened and paid once, read by others, taken further at a later cut, shown on the dashboard.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_ingest::{Options, Pipeline};
use epiledger_ledger::verify::{AuditOptions, audit};
use epiledger_privacy::day::Day;
use serde_json::{Value, json};

use crate::app::{App, Reply};

const FIRST_EVER: &str = include_str!("../../../sql/library/epidemic_curve_first_ever.sql");

/// A horizon that the demo's cut of 2025-12-31 leaves open at its end.
fn request() -> Value {
    json!({
        "sql": FIRST_EVER, "params": { "code": "840539006" }, "privacy": { "rho": "0.01" },
        "period": "week", "from": "2025-11-24", "to": "2026-01-12", "lag": 7,
    })
}

fn post(app: &App, path: &str, body: &Value) -> Reply {
    app.ask(Method::POST, path).role(Role::Researcher).json(body).send()
}

fn states(series: &Value) -> Vec<&str> {
    series["periods"].as_array().unwrap().iter().map(|p| p["state"].as_str().unwrap()).collect()
}

fn spent(app: &App) -> Value {
    app.read(Role::Researcher, "/v1/budget").json()["levels"][0]["spent"]["rho"].clone()
}

fn cut(app: &App, day: &str) {
    let data = app.server.data.clone();
    let day = Day::parse(day).unwrap();
    app.run(async move {
        tokio::task::spawn_blocking(move || {
            Pipeline::run(&data, Options { force: true, ..Options::at(day) }).map(drop).unwrap();
        })
        .await
        .unwrap();
    });
    assert!(app.server.engine.refresh().unwrap());
}

#[test]
fn a_series_is_paid_once_and_goes_on_by_itself_to_its_end() {
    let app = App::of(300, 11);
    let before = spent(&app);
    let opened = post(&app, "/v1/series", &request());
    assert_eq!(opened.status, StatusCode::CREATED, "{}", opened.text());
    let opened = opened.json();
    assert_eq!(states(&opened), ["released", "released", "released", "released", "open", "open", "open"]);
    assert_eq!((&opened["state"], &opened["next"]), (&json!("open"), &json!("2026-01-05")));
    let first = &opened["periods"][0];
    let [value, low, high] = ["value", "low", "high"].map(|name| first[name].as_i64().unwrap());
    assert!(low < value && value < high && high - value == value - low, "{first}");
    assert_eq!(first["snapshot"], json!({ "number": 1, "cut_at": "2025-12-31T00:00Z" }));
    assert!(opened["periods"][5]["value"].is_null() && opened["sigma"].as_f64().unwrap() > 7.0);
    let paid = spent(&app);
    assert_ne!(before, paid);

    // The same again is the same series, free; nothing is due before the next cut.
    let again = post(&app, "/v1/series", &request()).json();
    assert_eq!(again, opened);
    let id = opened["id"].as_str().unwrap();
    let refresh = format!("/v1/series/{id}/refresh");
    let size = app.log_size();
    assert_eq!(post(&app, &refresh, &json!({})).json(), opened);
    assert_eq!(app.log_size(), size, "nothing was asked");

    let engine = Arc::clone(&app.server.engine);
    // A later cut closes one more week, by the server itself; then all of them.
    cut(&app, "2026-01-06");
    let ended = app.run(async { engine.refresh_series().await });
    assert!(ended.iter().all(|(_, ended)| ended.is_ok()) && ended.len() == 1, "{ended:?}");
    let path = format!("/v1/series/{id}");
    let viewed = app.read(Role::Epidemiologist, &path).json();
    assert_eq!(states(&viewed)[3..], ["released", "released", "open", "open"]);
    assert_eq!(viewed["periods"][4]["snapshot"]["number"], 2);
    assert_eq!(viewed["periods"][0], opened["periods"][0], "what is released stays");
    assert!(app.server.data.join("series").join(id).is_dir());
    cut(&app, "2026-03-01");
    let done = post(&app, &refresh, &json!({})).json();
    assert_eq!((states(&done), &done["state"]), (vec!["released"; 7], &json!("complete")));
    assert_eq!((spent(&app), &done["next"]), (paid, &Value::Null));
    assert!(!app.server.data.join("series").join(id).exists(), "whom it counted is forgotten with its end");

    // Each window is a release like any other.
    let statement = app.read(Role::Epidemiologist, &format!("/v1/statements/{id}")).json();
    assert_eq!(statement["rows"].as_array().unwrap().len(), 4, "{statement}");
    assert_eq!(statement["rows"][0][1], opened["periods"][0]["value"]);
    let list = app.read(Role::Epidemiologist, "/v1/series").json();
    assert_eq!(list["series"], json!([done]));
    let page = app.read(Role::Epidemiologist, "/dashboard").text();
    assert!(page.contains("each patient counts once") && page.contains("no period is left"), "{page}");
    app.server.engine.audit().flush().unwrap();
    let report = audit(&app.server.data.join("audit"), AuditOptions::default());
    assert_eq!((report.fault, report.audit.unwrap().windows), (None, 2));
}

#[test]
fn what_can_be_no_series_is_refused_before_it_costs_anything() {
    let app = App::of(100, 13);
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut body = request();
        change(&mut body);
        let reply = post(&app, "/v1/series", &body);
        (reply.status.as_u16(), reply.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let before = spent(&app);
    let set = |name: &'static str, value: Value| move |body: &mut Value| body[name] = value.clone();
    let grouping = (422, "INVALID_GROUPING".to_owned());
    assert_eq!(refused(&set("from", json!("2025-11-25"))), grouping, "no Monday");
    assert_eq!(refused(&set("period", json!("month"))), grouping);
    assert_eq!(refused(&set("period", json!("day"))).0, 400);
    let every = "SELECT date_trunc('week', condition_start_date) AS week, COUNT(DISTINCT person_id) AS n \
                 FROM condition_occurrence GROUP BY 1";
    let plain = |sql: &'static str| {
        move |body: &mut Value| {
            body["sql"] = json!(sql);
            body["params"] = json!({});
        }
    };
    assert_eq!(refused(&plain(every)), grouping, "a patient in several weeks");
    let sum = "SELECT date_trunc('week', f.d) AS week, COUNT(*) * 2 AS n FROM (SELECT person_id, \
               MIN(condition_start_date) AS d FROM condition_occurrence GROUP BY person_id) f GROUP BY 1";
    assert_eq!(refused(&plain(sum)), (422, "AGG_UNSUPPORTED".into()), "something is made of the counts");
    assert_eq!(refused(&set("privacy", json!({ "rho": "100" }))), (429, "BUDGET_EXHAUSTED".into()));
    assert_eq!(spent(&app), before);
    assert_eq!(app.read(Role::Epidemiologist, "/v1/series/none").status, StatusCode::NOT_FOUND);
}

#[test]
fn a_panel_says_when_asking_it_anew_would_run_dry() {
    let app = App::of(100, 12);
    let panel = epiledger_engine::panel::EPIDEMIC;
    let reply = app.query(&json!({ "sql": panel.sql, "privacy": { "rho": panel.rho } }));
    assert_eq!(reply.status, StatusCode::OK);
    // 2.98 of 3 is left, and 0.02 a cut: 149 cuts after that of 2025-12-31.
    let page = app.read(Role::Epidemiologist, "/dashboard").text();
    assert!(page.contains("the budget would run dry after that of 2026-05-29"), "{page}");
}
