//! What is left: no clock and no log index, so it changes only when something is spent or a policy is set.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Json, Response};

use super::super::Server;
use crate::api::Principal;

/// `GET /v1/budget`.
pub async fn show(State(server): State<Arc<Server>>, Extension(principal): Extension<Principal>) -> Response {
    Json(server.engine.budget(&principal)).into_response()
}
