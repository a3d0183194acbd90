//! Protocols: the list, and the board's two acts.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use epiledger_ledger::entry::protocol::ProtocolApprove;
use serde::Deserialize;
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;
use super::{body, path};
use crate::api::Principal;

/// The body of `POST /v1/protocols`. The approver is the caller.
#[derive(Debug, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The protocol's id.
    pub protocol: String,
    /// One line that says what it studies.
    pub title: String,
    /// `GRU`, `HMB` or `DS`.
    pub purpose: String,
    /// Principals who may ask under it.
    pub investigators: Vec<String>,
    /// Lifetime rho, a decimal.
    pub rho_cap: String,
    /// Lifetime delta, a decimal.
    pub delta_cap: String,
    /// First day, `YYYY-MM-DD`.
    pub valid_from: String,
    /// Last day, `YYYY-MM-DD`.
    pub valid_to: String,
}

impl Approval {
    /// The log entry, signed off by `approver`.
    #[must_use]
    pub fn by(self, approver: &str) -> ProtocolApprove {
        ProtocolApprove {
            protocol: self.protocol,
            title: self.title,
            purpose: self.purpose,
            investigators: self.investigators,
            rho_cap: self.rho_cap,
            delta_cap: self.delta_cap,
            valid_from: self.valid_from,
            valid_to: self.valid_to,
            approver: approver.to_owned(),
        }
    }
}

/// `GET /v1/protocols`: a researcher sees the protocols that name them, the board and the steward see all.
pub async fn list(State(server): State<Arc<Server>>, Extension(principal): Extension<Principal>) -> Response {
    let mut protocols = server.engine.protocols();
    if principal.role == crate::api::Role::Researcher {
        protocols.retain(|p| principal.protocols.contains(&p.protocol));
    }
    Json(json!({ "protocols": protocols })).into_response()
}

/// `POST /v1/protocols`.
///
/// # Errors
/// 400 on a malformed body, 422 when the approval breaks a rule.
pub async fn approve(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let approval = body::<Approval>(bytes)?.by(&principal.name);
    let index = server.off_thread(move |s| s.engine.approve(&principal, approval)).await??;
    Ok((StatusCode::CREATED, Json(json!({ "index": index }))).into_response())
}

/// `POST /v1/protocols/{protocol}/suspend`.
///
/// # Errors
/// 404 for an unknown protocol.
pub async fn suspend(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    protocol: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let protocol = path(protocol)?;
    if !server.engine.protocols().iter().any(|p| p.protocol == protocol) {
        return Err(Problem::not_found(format!("no protocol has the id {protocol}")));
    }
    let index = server.off_thread(move |s| s.engine.suspend(&principal, &protocol)).await??;
    Ok(Json(json!({ "index": index })).into_response())
}
