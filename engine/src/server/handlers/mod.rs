//! One file a noun; each handler parses, calls the engine and formats.

pub mod audit;
pub mod budget;
pub mod datasets;
pub mod health;
pub mod keys;
pub mod ledger;
pub mod policies;
pub mod protocols;
pub mod redactions;
pub mod releases;
pub mod series;
pub mod statements;
pub mod tiles;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::error::Problem;

/// A JSON body; unknown members are errors where the type says so.
pub(crate) fn body<T: DeserializeOwned>(bytes: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let bytes = bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            "the request's body is larger than this address takes (2 MiB; a transaction 16 MiB)",
        ),
        _ => Problem::bad_request("the request's body couldn't be read to its end"),
    })?;
    serde_json::from_slice(&bytes).map_err(|e| Problem::bad_request(format!("the body isn't the JSON expected: {e}")))
}

/// The query string.
pub(crate) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|q| q.0).map_err(|e| Problem::bad_request(e.body_text()))
}

/// The path's parameters.
pub(crate) fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|p| p.0).map_err(|e| Problem::not_found(e.body_text()))
}
