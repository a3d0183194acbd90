//! API keys over HTTP: the operator lists, creates and revokes; each change goes on the chain.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use epiledger_ledger::entry::protocol::RoleChange;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Server;
use super::super::error::Problem;
use super::super::keys::{ApiKey, KeyError};
use super::{body, path};
use crate::api::{Principal, Role};

/// The body of `POST /v1/keys`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// The principal's pseudonym: 1 to 64 letters, digits, `-`, `_` or `.`.
    pub principal: String,
    /// What it may do.
    pub role: Role,
    /// Days it lives, 1 to 366.
    #[serde(default = "ninety")]
    pub days: u64,
}

const fn ninety() -> u64 {
    90
}

/// A key without its hash.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Public id.
    pub id: String,
    /// The principal's pseudonym.
    pub principal: String,
    /// What it may do.
    pub role: Role,
    /// Creation, Unix seconds.
    pub created: u64,
    /// When it ends, Unix seconds.
    pub expires: u64,
    /// Taken away?
    pub revoked: bool,
}

impl From<ApiKey> for Shown {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, secret_sha256: _, principal, role, created, expires, revoked } = key;
        Self { id, principal, role, created, expires, revoked }
    }
}

/// `GET /v1/keys`.
pub async fn list(State(server): State<Arc<Server>>) -> Response {
    let keys: Vec<Shown> = server.keys.list().into_iter().map(Shown::from).collect();
    Json(json!({ "keys": keys })).into_response()
}

/// `POST /v1/keys`: the only answer that holds the token.
///
/// # Errors
/// 400 on a bad name or lifetime; 503 when the change can't go on the chain, and then no key works.
pub async fn create(
    State(server): State<Arc<Server>>,
    Extension(operator): Extension<Principal>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request: KeyRequest = body(bytes)?;
    let made = server.off_thread(move |s| s.create_key(&request, &operator.name)).await??;
    let token = made.token.expose_secret();
    let body = json!({ "token": token, "key": Shown::from(made.key.clone()) });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `DELETE /v1/keys/{id}`.
///
/// # Errors
/// 404 for an unknown id.
pub async fn revoke(
    State(server): State<Arc<Server>>,
    Extension(operator): Extension<Principal>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = path(id)?;
    let key = server.off_thread(move |s| s.revoke_key(&id, &operator.name)).await??;
    Ok(Json(json!({ "key": Shown::from(key) })).into_response())
}

impl Server {
    /// Makes a key and logs its role. A key whose change can't be logged is revoked again at once.
    ///
    /// # Errors
    /// When the request is bad, the file can't be written or the log can't be.
    pub fn create_key(&self, request: &KeyRequest, by: &str) -> Result<super::super::keys::NewKey, Problem> {
        let made = self.keys.create(&request.principal, request.role, request.days)?;
        let change = RoleChange {
            principal: made.key.principal.clone(),
            key_id: made.key.id.clone(),
            role: Some(made.key.role.as_str().to_owned()),
            by: by.to_owned(),
        };
        if let Err(error) = self.engine.change_role(change) {
            self.keys.revoke(&made.key.id)?;
            return Err(error.into());
        }
        Ok(made)
    }

    /// Takes a key away, then logs it: a failure to log leaves it revoked.
    ///
    /// # Errors
    /// When no key has the id, the file can't be written or the log can't be.
    pub fn revoke_key(&self, id: &str, by: &str) -> Result<ApiKey, Problem> {
        let key = self.keys.revoke(id)?;
        let change =
            RoleChange { principal: key.principal.clone(), key_id: key.id.clone(), role: None, by: by.to_owned() };
        self.engine.change_role(change)?;
        Ok(key)
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match &error {
            KeyError::BadName | KeyError::BadLifetime(_) => Self::bad_request(error.to_string()),
            KeyError::Unknown(_) => Self::not_found(error.to_string()),
            KeyError::Io { .. } | KeyError::Broken { .. } => Self::internal(&error),
        }
    }
}
