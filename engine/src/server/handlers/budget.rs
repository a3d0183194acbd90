//! What is left at every level.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Json, Response};

use super::super::Server;
use crate::api::Principal;

/// `GET /v1/budget`.
pub async fn show(State(server): State<Arc<Server>>, Extension(principal): Extension<Principal>) -> Response {
    Json(server.engine.budget(&principal)).into_response()
}
