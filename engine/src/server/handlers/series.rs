//! Series: open one, list them, show one, take one further.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use epiledger_ledger::entry::{Period, SeriesTerms};
use serde::{Deserialize, Serialize};

use super::super::Server;
use super::super::error::Problem;
use super::statements::Statement;
use super::{body, path};
use crate::api::{Principal, QueryError};
use crate::series::{SeriesRequest, SeriesView};

/// The body of `POST /v1/series`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesBody {
    /// The SQL text: a count by the week or month of a first-ever date.
    pub sql: String,
    /// Values of `$name`.
    #[serde(default)]
    pub params: std::collections::BTreeMap<String, serde_json::Value>,
    /// The protocol; the key's only one when absent.
    pub protocol: Option<String>,
    /// The price of the whole series: exactly one of `epsilon`, `rho`, `accuracy`.
    pub privacy: Option<std::collections::BTreeMap<String, serde_json::Value>>,
    /// `week`, from Monday, or `month`.
    pub period: Period,
    /// First day of the first period.
    pub from: String,
    /// First day after the last period.
    pub to: String,
    /// Days after its end at which a period is closed; 0 when absent.
    #[serde(default)]
    pub lag: u32,
}

#[derive(Serialize)]
struct List {
    series: Vec<SeriesView>,
}

/// `POST /v1/series`.
///
/// # Errors
/// As of a question: 422, 429, 403, 504.
pub async fn open(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let SeriesBody { sql, params, protocol, privacy, period, from, to, lag } = body(bytes)?;
    let statement = Statement { sql, params, protocol, privacy, ..Statement::default() };
    let request = SeriesRequest { question: statement.request(None)?, terms: SeriesTerms { period, from, to, lag } };
    // Once it is paid it goes on to its end, whether the caller waits or not.
    let engine = Arc::clone(&server.engine);
    let opened = tokio::spawn(async move { engine.open_series(&principal, request).await }).await;
    let view = opened.map_err(|e| Problem::internal(&e))??;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// `GET /v1/series`.
///
/// # Errors
/// 500 when the log can't be read.
pub async fn list(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, Problem> {
    let series = server.off_thread(move |s| s.engine.all_series(&principal)).await?;
    Ok(Json(List { series }).into_response())
}

/// `GET /v1/series/{id}`.
///
/// # Errors
/// 404 when there is none that the caller may read.
pub async fn show(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = path(id)?;
    let view = server.off_thread(move |s| s.engine.series(&principal, &id)).await?.map_err(missing)?;
    Ok(Json(view).into_response())
}

/// `POST /v1/series/{id}/refresh`: takes every series further that is due, and shows this one.
///
/// # Errors
/// 404 when there is none that the caller may read; why this one can't go on.
pub async fn refresh(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = path(id)?;
    let (named, who) = (id.clone(), principal.clone());
    server.off_thread(move |s| s.engine.series(&who, &named)).await?.map_err(missing)?;
    let engine = Arc::clone(&server.engine);
    let refreshed = tokio::spawn(async move { engine.refresh_series().await }).await;
    for (refreshed, ended) in refreshed.map_err(|e| Problem::internal(&e))? {
        if refreshed == id {
            ended?;
        }
    }
    let view = server.off_thread(move |s| s.engine.series(&principal, &id)).await?.map_err(missing)?;
    Ok(Json(view).into_response())
}

/// Whether it is missing or another's is not for the caller to know.
fn missing(error: QueryError) -> Problem {
    match error {
        QueryError::Forbidden(why) => Problem::not_found(why),
        other => other.into(),
    }
}
