//! Policies: the list, and the two acts that set one.

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
use crate::policy::PolicyRequest;

/// `GET /v1/policies`: in force, pending, proposed.
pub async fn list(State(server): State<Arc<Server>>) -> Response {
    Json(server.engine.policies()).into_response()
}

/// `POST /v1/policies`: the first act. `index` names the proposal.
///
/// # Errors
/// 400 on a malformed body, 422 when it breaks a rule.
pub async fn propose(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request = body::<PolicyRequest>(bytes)?;
    let index = server.off_thread(move |s| s.engine.propose_policy(&principal, request)).await??;
    Ok((StatusCode::CREATED, Json(json!({ "index": index }))).into_response())
}

/// `POST /v1/policies/{proposal}/confirm`: the second act, of another principal.
///
/// # Errors
/// 404 where no such proposal stands, 422 when it breaks a rule.
pub async fn confirm(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    proposal: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    let proposal = path(proposal)?;
    if !server.engine.policies().proposals.iter().any(|p| p.index == proposal) {
        return Err(Problem::not_found(format!("no proposal {proposal} stands; GET /v1/policies lists them")));
    }
    let logged = server.off_thread(move |s| s.engine.confirm_policy(&principal, proposal)).await??;
    Ok((StatusCode::CREATED, Json(logged)).into_response())
}
