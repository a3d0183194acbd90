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
