//! Recorded answers: the list, and one again, free.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

use super::super::Server;
use super::super::error::Problem;
use super::super::format::Format;
use super::statements::Choice;
use super::{path, query};
use crate::api::{Principal, QueryError, ReleaseSummary};

#[derive(Serialize)]
struct List {
    releases: Vec<ReleaseSummary>,
}

/// `GET /v1/releases`.
///
/// # Errors
/// 500 when the log can't be read.
pub async fn list(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, Problem> {
    let releases = server.off_thread(move |s| s.engine.releases(&principal)).await?;
    Ok(Json(List { releases }).into_response())
}

/// `GET /v1/statements/{id}` and `/result`: the same numbers as when it was asked.
///
/// # Errors
/// 404 when there is none, or none that the caller may read; 406 on a format that can't be given.
pub async fn result(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    choice: Result<Query<Choice>, QueryRejection>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let format = Format::negotiate(query(choice)?.format.as_deref(), &headers)?;
    let id = path(id)?;
    let released = server.off_thread(move |s| s.engine.release(&principal, &id)).await?;
    let answer = released.map_err(|error| match error {
        // Whether it is missing or another's is not for the caller to know.
        QueryError::Forbidden(why) => Problem::not_found(why),
        other => other.into(),
    })?;
    format.respond(&answer)
}
