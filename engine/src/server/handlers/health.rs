//! Health of the process, for probes and operators. Says nothing about data.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;

/// `GET /healthz`.
pub async fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the log takes entries, and its newest one reads back and is proved under the head.
///
/// # Errors
/// 503 when the log is frozen, or its head doesn't verify.
pub async fn ready(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    server.engine.writable()?;
    let proved = server
        .off_thread(|s| {
            let log = s.engine.audit();
            match log.size().checked_sub(1) {
                Some(last) => log.prove_inclusion(last).map(|_| log.size()).map_err(|e| e.to_string()),
                None => Err("the audit log is empty".to_owned()),
            }
        })
        .await?;
    match proved {
        Ok(_) => Ok(Json(json!({ "ready": true, "dataset": server.engine.catalog().dataset })).into_response()),
        Err(why) => {
            tracing::error!(reason = %why, "not ready");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", "the audit log's head can't be verified"))
        }
    }
}

/// `GET /version`.
pub async fn version() -> Response {
    Json(json!({ "name": "epiledger", "version": env!("CARGO_PKG_VERSION") })).into_response()
}
