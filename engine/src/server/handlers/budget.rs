//! What is left at every level, how it came to that, and how far it would reach.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;
use super::statements::Statement;
use super::{body, query};
use crate::api::{Principal, QueryRequest};
use crate::reach::HistoryFilter;

/// The body of `POST /v1/budget/plan`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The questions of one round.
    pub questions: Vec<Statement>,
    /// Rounds, each of a later snapshot.
    #[serde(default = "once")]
    pub repeats: u64,
    /// The protocol of questions that name none.
    pub protocol: Option<String>,
}

const fn once() -> u64 {
    1
}

/// `GET /v1/budget`.
pub async fn show(State(server): State<Arc<Server>>, Extension(principal): Extension<Principal>) -> Response {
    Json(server.engine.budget(&principal)).into_response()
}

/// `POST /v1/budget/plan`: free, from text and catalog alone.
///
/// # Errors
/// Problems of the request, and the refusal that a question would get.
pub async fn plan(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Plan { questions, repeats, protocol } = body::<Plan>(bytes)?;
    let questions = questions.into_iter().map(|statement| {
        let request = statement.request(None)?;
        Ok(QueryRequest { protocol: request.protocol.or_else(|| protocol.clone()), ..request })
    });
    let questions = questions.collect::<Result<Vec<_>, Problem>>()?;
    let _turn = server.estimates.acquire().await;
    let reach = server.off_thread(move |s| s.engine.reach(&principal, &questions, repeats)).await??;
    Ok(Json(reach).into_response())
}

/// `GET /v1/budget/history`.
///
/// # Errors
/// 400 on a bad filter, 500 when the log can't be read.
pub async fn history(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    filter: Result<Query<HistoryFilter>, QueryRejection>,
) -> Result<Response, Problem> {
    let filter = query(filter)?;
    let points = server.off_thread(move |s| s.engine.history(&principal, &filter)).await??;
    Ok(Json(json!({ "points": points })).into_response())
}
