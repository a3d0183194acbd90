//! The audit log for people (search) and for verifiers (inclusion proofs).

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;
use super::{path, query};
use crate::api::AuditFilter;

/// `GET /v1/audit`: entries with the full text of their questions.
///
/// # Errors
/// 400 on a bad filter.
pub async fn search(
    State(server): State<Arc<Server>>,
    filter: Result<Query<AuditFilter>, QueryRejection>,
) -> Result<Response, Problem> {
    let filter = query(filter)?;
    let rows = server.off_thread(move |s| (s.engine.audit_search(&filter), s.engine.audit().size())).await?;
    let (rows, size) = rows;
    Ok(Json(json!({ "size": size, "entries": rows? })).into_response())
}

/// `GET /v1/audit/proof/{index}`: a C2SP tlog-proof with the newest checkpoint.
///
/// # Errors
/// 404 past the log's end.
pub async fn proof(
    State(server): State<Arc<Server>>,
    index: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    let index = path(index)?;
    let proof = server
        .off_thread(move |s| {
            let log = s.engine.audit();
            (index < log.size()).then(|| log.prove_inclusion(index))
        })
        .await?;
    let proof = proof.ok_or_else(|| Problem::not_found(format!("the log has no entry {index} yet")))?;
    let proof = proof.map_err(|e| Problem::internal(&e))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], proof).into_response())
}
