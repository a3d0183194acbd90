//! A text and a result go from the log: two principals, one of the board; gone from memory, disk and every route.

use std::path::{Path, PathBuf};

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::open::OpenOptions;
use epiledger_engine::query::Engine;
use epiledger_engine::server::handlers::keys::KeyRequest;
use epiledger_ledger::verify::{AuditOptions, audit};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::app::{App, Reply};

const SQL: &str = "SELECT COUNT(*) AS n FROM person WHERE county = 'zyzzyva-1'";

fn post(app: &App, role: Role, path: &str, body: &Value) -> Reply {
    app.ask(Method::POST, path).role(role).json(body).send()
}

fn propose(app: &App, role: Role, body: &Value) -> Reply {
    post(app, role, "/v1/redactions", body)
}

fn confirm(app: &App, role: Role, id: &Value) -> Reply {
    post(app, role, &format!("/v1/redactions/{id}/confirm"), &json!({}))
}

fn ask(app: &App, key: Option<&str>) -> Reply {
    let ask = app.ask(Method::POST, "/v1/statements").role(Role::Researcher).json(&json!({ "sql": SQL }));
    match key {
        Some(key) => ask.header("idempotency-key", key).send(),
        None => ask.send(),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn holds(dir: &Path, text: &str) -> bool {
    let has = |path: &PathBuf| std::fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    files(dir).iter().any(has)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(&path, &target).map(drop).unwrap() }
    }
}

#[test]
fn a_redacted_statement_is_gone_everywhere_and_the_log_still_verifies() {
    let app = App::of(60, 21);
    let first = ask(&app, Some("k"));
    assert_eq!(first.status, StatusCode::OK, "{}", first.text());
    let id = first.json()["statement_id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&app, None).json()["cached"], true);
    let other = app.query(&json!({ "sql": "SELECT COUNT(*) AS n FROM person" })).json();
    app.server.engine.audit().flush().unwrap();
    let log = app.server.data.join("audit");
    assert!(holds(&log, "zyzzyva-1") && holds(&log, &id));

    let body = json!({ "statement": id, "basis": "court order 7" });
    let proposal = propose(&app, Role::Steward, &body).json();
    let what: Vec<&str> = proposal["blobs"].as_array().unwrap().iter().map(|b| b["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["text", "result", "text"], "the question, its result, and its repetition");
    assert_eq!(app.read(Role::Board, "/v1/redactions").json()["proposals"][0]["id"], proposal["id"]);
    let size = app.log_size();
    assert_eq!(confirm(&app, Role::Steward, &proposal["id"]).status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.log_size(), size, "nothing is written by one alone");
    let done = confirm(&app, Role::Board, &proposal["id"]);
    assert_eq!(done.status, StatusCode::CREATED, "{}", done.text());
    assert_eq!(confirm(&app, Role::Board, &proposal["id"]).status, StatusCode::NOT_FOUND);

    // Gone from every route at once.
    for blob in proposal["blobs"].as_array().unwrap() {
        let path = format!("/v1/audit/blob/{}", blob["sha256"].as_str().unwrap());
        assert_eq!(app.read(Role::Board, &path).status, StatusCode::NOT_FOUND);
    }
    let result = app.read(Role::Epidemiologist, &format!("/v1/statements/{id}/result"));
    assert!(!result.status.is_success(), "{}", result.text());
    let releases = app.read(Role::Epidemiologist, "/v1/releases").text();
    assert!(!releases.contains(&id) && releases.contains(other["statement_id"].as_str().unwrap()), "{releases}");
    let search = app.read(Role::Board, "/v1/audit?limit=1000").text();
    assert!(!search.contains("zyzzyva-1"), "{search}");
    assert!(!ask(&app, Some("k")).status.is_success(), "a replay has nothing to give");
    assert!(!holds(&log, "zyzzyva-1"));
    // Its numbers are gone too: what is left of the statement is its id in intent and outcome.
    let blobs = log.join("blobs");
    assert!(!holds(&blobs, &id));

    // A restart has the same releases, and the log verifies.
    app.server.engine.audit().flush().unwrap();
    let report = audit(&log, AuditOptions::default());
    assert_eq!((report.fault, report.checked.erased_blobs), (None, 3));
    let place = tempfile::tempdir().unwrap();
    let again = place.path().join("data");
    copy(&app.server.data, &again);
    let engine = app.run(Engine::open(&again, OpenOptions { immediate: true, ..OpenOptions::default() })).unwrap();
    let epidemiologist = epiledger_engine::api::Principal {
        name: "e".into(),
        key_id: "k".into(),
        role: Role::Epidemiologist,
        protocols: Vec::new(),
    };
    let ids = |engine: &Engine| -> Vec<String> {
        engine.releases(&epidemiologist).into_iter().map(|release| release.statement_id).collect()
    };
    assert_eq!(ids(&engine), ids(&app.server.engine));
    // The question costs again.
    let paid = ask(&app, None).json();
    assert_eq!(paid["cached"], false, "{paid}");
}

#[test]
fn the_board_is_one_of_the_two_and_nothing_is_redacted_that_is_not_there() {
    let app = App::of(40, 22);
    assert_eq!(ask(&app, None).status, StatusCode::OK);
    let intent = app.read(Role::Board, "/v1/audit?type=query.intent").json()["entries"][0].clone();
    let commit = intent["body"]["sql_commit"].as_str().unwrap().to_owned();
    let good = json!({ "sha256": commit, "basis": "b" });
    let second = KeyRequest { principal: "steward-2".into(), role: Role::Steward, days: 1 };
    let token = app.server.create_key(&second, "test").unwrap().token.expose_secret().to_owned();
    let proposal = propose(&app, Role::Steward, &good).json();
    let path = format!("/v1/redactions/{}/confirm", proposal["id"]);
    let refused = app.ask(Method::POST, &path).header("authorization", &format!("Bearer {token}")).send();
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("ethics board"), "{}", refused.text());

    let snapshot = app.read(Role::Board, "/v1/audit?type=snapshot").json();
    for wrong in [
        json!({ "basis": "b" }),
        json!({ "sha256": commit, "statement": "s", "basis": "b" }),
        json!({ "sha256": commit, "basis": " " }),
        json!({ "sha256": commit, "basis": "x".repeat(201) }),
        json!({ "sha256": "0".repeat(64), "basis": "b" }),
        json!({ "statement": "none", "basis": "b" }),
        // What the log says about the data is the board's for good.
        json!({ "sha256": snapshot["entries"][0]["body"]["commit"], "basis": "b" }),
    ] {
        let reply = propose(&app, Role::Board, &wrong);
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {}", reply.text());
    }
    // The text alone: the release stays, and is cited without it.
    let proposal = propose(&app, Role::Board, &good).json();
    assert_eq!(confirm(&app, Role::Steward, &proposal["id"]).status, StatusCode::CREATED);
    let releases = app.read(Role::Epidemiologist, "/v1/releases").json();
    assert_eq!(releases["releases"][0]["sql"], "(redacted)", "{releases}");
    assert_eq!(ask(&app, None).json()["cached"], true);
    assert_eq!(propose(&app, Role::Board, &good).status, StatusCode::UNPROCESSABLE_ENTITY, "it is gone already");
}
