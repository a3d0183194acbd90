//! The audit log for people (search) and for verifiers (inclusion proofs).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;
use super::super::format;
use super::{body, path, query};
use crate::api::AuditFilter;
use crate::exec::audit::AuditQueryError;

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

/// The body of `POST /v1/audit/query`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The SQL text.
    pub sql: String,
}

/// `POST /v1/audit/query`: the board's question over `audit.entries`.
///
/// # Errors
/// 422 when the text is refused or passes a limit, 503 while another question runs.
pub async fn question(
    State(server): State<Arc<Server>>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Question { sql } = body(bytes)?;
    let answer = server.engine.audit_query(sql).await?;
    let (columns, rows) = format::table(&answer.schema, &answer.batches);
    Ok(Json(json!({ "columns": columns, "rows": rows, "truncated": answer.truncated })).into_response())
}

impl From<AuditQueryError> for Problem {
    fn from(error: AuditQueryError) -> Self {
        let detail = error.to_string();
        match error {
            AuditQueryError::Refused(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "AUDIT_QUERY", detail)
                .hint("one SELECT over audit.entries: index, time, type, principal, protocol, rho, delta, text, .."),
            AuditQueryError::Limit(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "TOO_LARGE", detail),
            AuditQueryError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", detail),
            AuditQueryError::Failed(why) => Self::internal(&why),
        }
    }
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
