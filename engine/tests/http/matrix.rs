//! The permission matrix as callers meet it: every role, and no key, on every route.

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::server::permission::{Access, Kind, Route, Verb};

use crate::app::{App, Ask};

/// A request to a route that does nothing even when it is let through: unknown ids, and no body.
fn harmless(app: &App, route: Route) -> Ask<'_> {
    let method = match route.verb() {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
        Verb::Delete => Method::DELETE,
    };
    let path = route.path().replace("{*path}", "0/000").replace("{index}", "0");
    let path = path
        .replace("{id}", "none")
        .replace("{dataset}", "none")
        .replace("{protocol}", "none")
        .replace("{proposal}", "0")
        .replace("{redaction}", "0")
        .replace("{sha256}", "none");
    app.ask(method, &path)
}

#[test]
fn every_role_on_every_route() {
    let app = App::get();
    for route in Route::ALL.iter().copied() {
        for role in Role::ALL {
            let reply = harmless(app, route).role(role).send();
            let cell = format!("{} on {} {}", role.as_str(), route.verb().as_str(), route.path());
            if route.access() == Access::Signed {
                // An API key is no ledger key.
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST].contains(&reply.status);
                assert!(refused, "{cell}: {}", reply.status);
            } else if route.access().allows(role) {
                let denied = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status);
                // A wrong paste into the login form is a 401 of its own.
                assert!(!denied || route == Route::Login, "{cell}: {}", reply.status);
                assert_ne!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{cell}");
                assert_ne!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{cell}: {}", reply.text());
            } else {
                assert_eq!(reply.status, StatusCode::FORBIDDEN, "{cell}");
                assert_eq!(reply.json()["code"], "FORBIDDEN", "{cell}");
            }
        }
    }
}

#[test]
fn without_a_valid_key_only_public_routes_answer() {
    let app = App::get();
    let forged = format!("epl_{}_{}", "0".repeat(16), "0".repeat(64));
    for route in Route::ALL.iter().copied() {
        for token in [None, Some(forged.as_str()), Some("nonsense")] {
            let mut request = harmless(app, route);
            if let Some(token) = token {
                request = request.header("authorization", &format!("Bearer {token}"));
            }
            let reply = request.send();
            let cell = format!("{token:?} on {} {}", route.verb().as_str(), route.path());
            match (route.access(), route.kind()) {
                (Access::Signed, _) => {
                    let refused = [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST].contains(&reply.status);
                    assert!(refused, "{cell}: {}", reply.status);
                }
                (Access::Public, _) => assert_ne!(reply.status, StatusCode::FORBIDDEN, "{cell}"),
                (_, Kind::Api) => {
                    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{cell}");
                    assert_eq!(reply.headers["www-authenticate"], "Bearer");
                    assert_eq!(reply.headers["content-type"], "application/problem+json");
                }
                (_, Kind::Page) => {
                    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{cell}");
                    assert_eq!(reply.headers["location"], "/login");
                }
            }
        }
    }
}

#[test]
fn a_denial_of_a_known_key_goes_on_the_chain() {
    let app = App::get();
    // Another test may have caused this very denial within the minute: then it is counted there already.
    let reply = harmless(app, Route::KeyCreate).role(Role::Steward).send();
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let rows = app.read(Role::Board, "/v1/audit?type=access.denied&limit=1000").json();
    let entries = rows["entries"].as_array().unwrap();
    assert!(entries.iter().any(|e| e["body"]["route"] == "/v1/keys"), "{entries:?}");
}

#[test]
fn the_cookie_opens_pages_and_never_the_api() {
    let app = App::get();
    let cookie = format!("epiledger_key={}", app.token(Role::Epidemiologist));
    let page = app.ask(Method::GET, "/dashboard").header("cookie", &cookie).send();
    assert_eq!(page.status, StatusCode::OK);
    let api = app.ask(Method::GET, "/v1/releases").header("cookie", &cookie).send();
    assert_eq!(api.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_created_key_works_until_it_is_revoked() {
    let app = App::get();
    let body = serde_json::json!({ "principal": "steward-2", "role": "steward", "days": 2 });
    let made = app.ask(Method::POST, "/v1/keys").role(Role::Operator).json(&body).send();
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let made = made.json();
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    let get = || app.ask(Method::GET, "/v1/datasets").header("authorization", &token).send().status;
    assert_eq!(get(), StatusCode::OK);
    let id = made["key"]["id"].as_str().unwrap();
    let gone = app.ask(Method::DELETE, &format!("/v1/keys/{id}")).role(Role::Operator).send();
    assert_eq!(gone.status, StatusCode::OK);
    assert_eq!(get(), StatusCode::UNAUTHORIZED);
    let list = app.read(Role::Operator, "/v1/keys");
    assert!(!list.text().contains("secret"), "a list of keys shows no secret and no hash");
    let log = app.read(Role::Board, "/v1/audit?type=role.change&limit=1000").json();
    let roles: Vec<_> = log["entries"].as_array().unwrap().iter().filter(|e| e["body"]["key_id"] == id).collect();
    assert_eq!(roles.len(), 2);
    assert!(roles[1]["body"]["role"].is_null());
}
