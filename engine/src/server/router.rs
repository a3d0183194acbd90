//! The router: every row of the permission table, its handler, and the gate in front.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::auth::{Gate, gate};
use super::error::Problem;
use super::permission::{Route, Verb};
use super::{MAX_BODY, Server, handlers, openapi, pages};

/// What a browser may load: our own style sheet and nothing else; no script at all.
const POLICY: &str = "default-src 'none'; script-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The whole interface.
pub fn router(server: Arc<Server>) -> Router {
    let mut router = Router::new();
    for route in Route::ALL.iter().copied() {
        let guard = Gate { server: Arc::clone(&server), route };
        router = router.route(route.path(), handler(route).route_layer(from_fn_with_state(guard, gate)));
    }
    router
        .fallback(async || Problem::not_found("no such address; /openapi.json lists them"))
        .layer(map_response(guarded))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(server)
}

/// The handler of a route. Exhaustive: a new route without one does not compile.
fn handler(route: Route) -> MethodRouter<Arc<Server>> {
    let method = match route.verb() {
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
        Verb::Delete => MethodFilter::DELETE,
    };
    match route {
        Route::Ask => on(method, handlers::statements::ask),
        Route::Estimate => on(method, handlers::statements::estimate),
        Route::Dummy => on(method, handlers::statements::dummy),
        Route::Statement | Route::StatementResult => on(method, handlers::releases::result),
        Route::Datasets => on(method, handlers::datasets::list),
        Route::Schema => on(method, handlers::datasets::schema),
        Route::Budget => on(method, handlers::budget::show),
        Route::BudgetPlan => on(method, handlers::budget::plan),
        Route::BudgetHistory => on(method, handlers::budget::history),
        Route::Releases => on(method, handlers::releases::list),
        Route::SeriesOpen => on(method, handlers::series::open),
        Route::SeriesList => on(method, handlers::series::list),
        Route::SeriesShow => on(method, handlers::series::show),
        Route::SeriesRefresh => on(method, handlers::series::refresh),
        Route::Protocols => on(method, handlers::protocols::list),
        Route::ProtocolApprove => on(method, handlers::protocols::approve),
        Route::ProtocolSuspend => on(method, handlers::protocols::suspend),
        Route::Policies => on(method, handlers::policies::list),
        Route::PolicyPropose => on(method, handlers::policies::propose),
        Route::PolicyConfirm => on(method, handlers::policies::confirm),
        Route::Redactions => on(method, handlers::redactions::list),
        Route::RedactionPropose => on(method, handlers::redactions::propose),
        Route::RedactionConfirm => on(method, handlers::redactions::confirm),
        Route::AuditSearch => on(method, handlers::audit::search),
        Route::AuditQuery => on(method, handlers::audit::question),
        Route::AuditBlob => on(method, handlers::tiles::audit_blob),
        Route::AuditCheckpoint => on(method, handlers::tiles::audit_checkpoint),
        Route::AuditTile => on(method, handlers::tiles::audit_tile),
        Route::AuditProof => on(method, handlers::audit::proof),
        Route::LedgerCheckpoint => on(method, handlers::tiles::ledger_checkpoint),
        Route::LedgerTile => on(method, handlers::tiles::ledger_tile),
        Route::LedgerBlob => on(method, handlers::tiles::ledger_blob),
        Route::TransactionSubmit => {
            on(method, handlers::ledger::submit).layer(DefaultBodyLimit::max(handlers::ledger::MAX_TRANSACTION))
        }
        Route::PatientRecords => on(method, handlers::ledger::records),
        Route::Keys => on(method, handlers::keys::list),
        Route::KeyCreate => on(method, handlers::keys::create),
        Route::KeyRevoke => on(method, handlers::keys::revoke),
        Route::Health => on(method, handlers::health::health),
        Route::Ready => on(method, handlers::health::ready),
        Route::Version => on(method, handlers::health::version),
        Route::OpenApi => on(method, openapi::document),
        Route::HomePage => on(method, pages::home::page),
        Route::LoginPage => on(method, pages::login::form),
        Route::Login => on(method, pages::login::login),
        Route::Logout => on(method, pages::login::logout),
        Route::DashboardPage => on(method, pages::dashboard::page),
        Route::AuditPage => on(method, pages::audit::page),
        Route::Style => on(method, pages::style),
    }
}

/// Headers of every response; a handler's own Cache-Control stays.
async fn guarded(mut response: Response) -> Response {
    let fixed: [(HeaderName, &str); 3] =
        [(CONTENT_SECURITY_POLICY, POLICY), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "no-referrer")];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
