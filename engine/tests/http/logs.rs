//! The log's public files over HTTP: what a verifier fetches is what lies on disk, and proofs hold.

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_ledger::{check_proof, parse_audit_entry};

use crate::app::App;

#[test]
fn checkpoint_tiles_and_proofs_need_no_key_and_fit_together() {
    let app = App::get();
    app.server.engine.audit().flush().unwrap();
    let checkpoint = app.ask(Method::GET, "/v1/audit/checkpoint").send();
    assert_eq!(checkpoint.status, StatusCode::OK);
    let size: u64 = checkpoint.text().lines().nth(1).unwrap().parse().unwrap();
    assert!(size > 0);
    let width = size % 256;
    let tile = if size < 256 { format!("/v1/audit/tile/0/000.p/{width}") } else { "/v1/audit/tile/0/000".to_owned() };
    let tile = app.ask(Method::GET, &tile).send();
    assert_eq!(tile.status, StatusCode::OK, "{}", tile.text());
    assert_eq!(tile.body.len() as u64, size.min(256) * 32);
    assert!(tile.headers["cache-control"].to_str().unwrap().contains("immutable"));

    let proof = app.ask(Method::GET, "/v1/audit/proof/0").send();
    assert_eq!(proof.status, StatusCode::OK);
    let entry = app.server.engine.audit().read(0).unwrap();
    parse_audit_entry(&entry).unwrap();
    let verifier = app.server.engine.audit().verifier();
    let key = epiledger_ledger::VerifierKey::parse(&verifier).unwrap();
    assert_eq!(check_proof(&proof.text(), &key, &entry).unwrap().0, 0);
    assert!(check_proof(&proof.text(), &key, b"another entry").is_none());
    assert_eq!(app.ask(Method::GET, "/v1/audit/proof/99999999").send().status, StatusCode::NOT_FOUND);
}

#[test]
fn nothing_but_tiles_can_be_fetched() {
    let app = App::get();
    for path in ["..%2F..%2Fkeys%2Fapi.json", "entries/..%2F..%2Fkey", "0/000.p/999", "%2Fetc%2Fpasswd"] {
        let reply = app.ask(Method::GET, &format!("/v1/audit/tile/{path}")).send();
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(reply.json()["code"], "NOT_FOUND");
    }
}

#[test]
fn the_ledgers_files_are_the_operators() {
    let app = App::get();
    let note = app.read(Role::Operator, "/v1/ledger/checkpoint");
    assert_eq!(note.status, StatusCode::OK);
    assert!(note.text().lines().nth(1).unwrap().parse::<u64>().unwrap() > 400);
    assert_eq!(app.read(Role::Operator, "/v1/ledger/tile/0/000").status, StatusCode::OK);
    assert_eq!(app.ask(Method::GET, "/v1/ledger/checkpoint").send().status, StatusCode::UNAUTHORIZED);
}

#[test]
fn health_readiness_and_version_answer_without_a_key() {
    let app = App::get();
    assert_eq!(app.ask(Method::GET, "/healthz").send().text(), "ok\n");
    assert_eq!(app.ask(Method::GET, "/readyz").send().json()["ready"], true);
    assert_eq!(app.ask(Method::GET, "/version").send().json()["name"], "epiledger");
    assert_eq!(app.ask(Method::GET, "/nowhere").send().json()["code"], "NOT_FOUND");
}

fn question(app: &App, sql: &str) -> (StatusCode, serde_json::Value) {
    let body = serde_json::json!({ "sql": sql });
    let reply = app.ask(Method::POST, "/v1/audit/query").role(Role::Board).json(&body).send();
    (reply.status, reply.json())
}

#[test]
fn the_board_asks_the_log_in_sql() {
    let app = App::get();
    let listed = app.read(Role::Board, "/v1/audit?limit=1000&from=0").json();
    let (status, answer) = question(app, "SELECT index, type, body, time FROM audit.entries ORDER BY index");
    assert_eq!(status, StatusCode::OK, "{answer}");
    let rows = answer["rows"].as_array().unwrap();
    for (entry, row) in listed["entries"].as_array().unwrap().iter().zip(rows) {
        assert_eq!((&entry["index"], &entry["type"]), (&row[0], &row[1]));
        let body: serde_json::Value = serde_json::from_str(row[2].as_str().unwrap()).unwrap();
        assert_eq!(entry["body"], body);
    }
    let (_, answer) =
        question(app, "SELECT type, COUNT(*) AS n, SUM(rho) AS rho FROM entries GROUP BY type ORDER BY 1");
    let names: Vec<_> = answer["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!((names, &answer["truncated"]), (vec!["type", "n", "rho"], &serde_json::json!(false)));
    let (_, policy) = question(app, "SELECT COUNT(*) FROM audit.entries WHERE type = 'policy.set'");
    assert!(policy["rows"][0][0].as_u64().unwrap() >= 1, "{policy}");
}

/// Neither a private table, nor a file, nor a setting, nor a way to grow without end.
#[test]
fn the_boards_context_holds_the_log_and_nothing_else() {
    let app = App::get();
    for sql in [
        "SELECT * FROM person",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM read_parquet('x.parquet')",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM generate_series(1, 1000000000)",
        "SELECT repeat('x', 1000000000)",
        "SELECT body || body FROM audit.entries",
        "SELECT concat(body, body) FROM audit.entries",
        "SELECT array_agg(body) FROM audit.entries",
        "SELECT string_agg(body, ',') FROM audit.entries",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT * FROM n",
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "COPY audit.entries TO '/tmp/entries.csv'",
        "COPY (SELECT 1) TO 'entries.parquet'",
        "INSERT INTO audit.entries VALUES (1)",
        "DROP TABLE audit.entries",
        "SET datafusion.execution.batch_size = 1",
        "SHOW ALL",
        "EXPLAIN ANALYZE SELECT 1",
        "PREPARE p AS SELECT 1",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "",
        "\u{0}",
    ] {
        let (status, problem) = question(app, sql);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{sql}: {problem}");
        assert_eq!(problem["code"], "AUDIT_QUERY", "{sql}: {problem}");
        assert!(!problem["detail"].as_str().unwrap().contains("root:"), "{problem}");
    }
    let long = format!("SELECT '{}'", "x".repeat(20_000));
    assert_eq!(question(app, &long).0, StatusCode::UNPROCESSABLE_ENTITY);
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(question(app, &deep).0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn a_question_that_is_too_large_ends_at_its_limits() {
    let app = App::get();
    let many = format!("(VALUES {})", vec!["(1)"; 2_500].join(","));
    let (status, answer) = question(app, &format!("SELECT e.index FROM audit.entries e CROSS JOIN {many} a"));
    assert_eq!((status, &answer["truncated"]), (StatusCode::OK, &serde_json::json!(true)), "{answer}");
    assert_eq!(answer["rows"].as_array().unwrap().len(), 10_000);
    let (_, answer) =
        question(app, "SELECT COUNT(*) > 1 FROM audit.entries a JOIN audit.entries b ON a.index = b.cites");
    assert_eq!(answer["truncated"], false, "{answer}");
    // What would be collected without end is refused before it starts.
    for sql in [
        "SELECT COUNT(*) FROM audit.entries a CROSS JOIN audit.entries b CROSS JOIN audit.entries c",
        "SELECT COUNT(*) FROM audit.entries a, audit.entries b WHERE a.index IN (SELECT cites FROM audit.entries)",
    ] {
        let (status, problem) = question(app, sql);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{sql}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("one join"), "{problem}");
    }
}

#[test]
fn blobs_are_read_by_those_who_may() {
    let app = App::get();
    let snapshot = app.read(Role::Board, "/v1/audit?type=snapshot").json();
    let commit = snapshot["entries"][0]["body"]["commit"].as_str().unwrap().to_owned();
    let blob = app.read(Role::Board, &format!("/v1/audit/blob/{commit}"));
    assert_eq!(blob.status, StatusCode::OK);
    let hash = epiledger_ledger::tree::sha256(&blob.body);
    assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), commit);
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Board) {
        assert_eq!(app.read(role, &format!("/v1/audit/blob/{commit}")).status, StatusCode::FORBIDDEN);
    }
    for wrong in ["0".repeat(64), "..%2F..%2Fkeys".into(), commit.to_uppercase()] {
        assert_eq!(app.read(Role::Board, &format!("/v1/audit/blob/{wrong}")).status, StatusCode::NOT_FOUND, "{wrong}");
    }
    assert_eq!(app.read(Role::Operator, &format!("/v1/ledger/blob/{}", "0".repeat(64))).status, StatusCode::NOT_FOUND);
    assert_eq!(app.read(Role::Board, &format!("/v1/ledger/blob/{}", "0".repeat(64))).status, StatusCode::FORBIDDEN);
}
