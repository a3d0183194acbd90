//! What may be asked about: tables, columns, bounds and public keys. All of it is public by declaration.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;
use super::path;

/// `GET /v1/datasets`.
pub async fn list(State(server): State<Arc<Server>>) -> Response {
    let catalog = server.engine.catalog();
    let snapshot = server.engine.snapshot();
    let (private, public): (Vec<_>, Vec<_>) = catalog.tables.iter().partition(|(_, t)| t.private.is_some());
    let names = |tables: Vec<(&String, _)>| tables.into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let dataset = json!({
        "dataset": catalog.dataset,
        "data_cut": catalog.data_cut,
        "snapshot": { "number": snapshot.number, "cut_at": snapshot.cut_at },
        "profile": catalog.profile,
        "private_tables": names(private),
        "public_tables": names(public),
    });
    Json(json!({ "datasets": [dataset] })).into_response()
}

/// `GET /v1/datasets/{dataset}/schema`.
///
/// # Errors
/// 404 for another dataset.
pub async fn schema(
    State(server): State<Arc<Server>>,
    dataset: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let dataset = path(dataset)?;
    let catalog = server.engine.catalog();
    if catalog.dataset != dataset {
        let detail = format!("no dataset has this name; there is `{}`", catalog.dataset);
        return Err(Problem::not_found(detail));
    }
    Ok(Json(catalog).into_response())
}
