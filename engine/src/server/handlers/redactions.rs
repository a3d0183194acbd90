//! Redactions: those that wait, and the two acts that take a text or a result out of the audit log's blobs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;
use super::{body, path};
use crate::api::Principal;
use crate::redaction::RedactionRequest;

/// `GET /v1/redactions`: proposals that wait for a second principal.
pub async fn list(State(server): State<Arc<Server>>) -> Response {
    Json(json!({ "proposals": server.engine.redactions() })).into_response()
}

/// `POST /v1/redactions`: the first act. `id` names the proposal.
///
/// # Errors
/// 400 on a malformed body, 422 when it names nothing that is stored.
pub async fn propose(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request = body::<RedactionRequest>(bytes)?;
    let proposal = server.off_thread(move |s| s.engine.propose_redaction(&principal, request)).await??;
    Ok((StatusCode::CREATED, Json(proposal)).into_response())
}

/// `POST /v1/redactions/{redaction}/confirm`: the second act, of another principal.
///
/// # Errors
/// 404 where no such proposal stands, 422 when it breaks a rule.
pub async fn confirm(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    redaction: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    let redaction = path(redaction)?;
    if !server.engine.redactions().iter().any(|proposal| proposal.id == redaction) {
        return Err(Problem::not_found(format!("no redaction {redaction} waits; GET /v1/redactions lists them")));
    }
    let redacted = server.off_thread(move |s| s.engine.confirm_redaction(&principal, redaction)).await??;
    Ok((StatusCode::CREATED, Json(redacted)).into_response())
}
