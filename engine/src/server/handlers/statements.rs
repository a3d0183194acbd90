//! Questions: ask, estimate, and try on simulated people.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::Value;

use super::super::Server;
use super::super::error::Problem;
use super::super::format::Format;
use super::{body, query};
use crate::api::{Principal, PrivacyAsk, QueryRequest};

/// Longest `Idempotency-Key`, bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The body of `POST /v1/statements` and of an estimate.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The SQL text.
    pub sql: String,
    /// Values of `$name`.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// The protocol; the key's only one when absent.
    pub protocol: Option<String>,
    /// The price: exactly one of `epsilon`, `rho`, `accuracy`, a number or a decimal string.
    pub privacy: Option<BTreeMap<String, Value>>,
    /// Seconds the caller would wait; statements answer in the same request, so it changes nothing yet.
    pub wait: Option<f64>,
    /// Most rows in the answer.
    pub row_limit: Option<usize>,
}

/// `?format=`.
#[derive(Debug, Default, Deserialize)]
pub struct Choice {
    /// `json`, `csv`, `ndjson`, `arrow` or `parquet`.
    pub format: Option<String>,
}

impl Statement {
    /// The engine's request.
    ///
    /// # Errors
    /// 400 on a bad `wait`.
    pub fn request(self, idempotency_key: Option<String>) -> Result<QueryRequest, Problem> {
        if self.wait.is_some_and(|w| !w.is_finite() || w < 0.0) {
            return Err(Problem::bad_request("`wait` is a number of seconds, 0 or more"));
        }
        Ok(QueryRequest {
            sql: self.sql,
            params: self.params,
            protocol: self.protocol,
            privacy: self.privacy.map(ask_of),
            idempotency_key,
            row_limit: self.row_limit,
        })
    }
}

fn ask_of(mut members: BTreeMap<String, Value>) -> PrivacyAsk {
    let assume_n = match members.remove("assume_n") {
        None => None,
        Some(n) => match n.as_u64() {
            Some(n) if n > 0 => Some(n),
            _ => return PrivacyAsk::Malformed,
        },
    };
    let mut members = members.into_iter();
    let (Some((name, value)), None) = (members.next(), members.next()) else {
        return PrivacyAsk::Malformed;
    };
    let decimal = match value {
        Value::String(text) => text,
        // Rust prints a float without an exponent, in the fewest digits that read back the same.
        Value::Number(n) => n.as_u64().map_or_else(|| n.as_f64().unwrap_or(-1.0).to_string(), |n| n.to_string()),
        _ => return PrivacyAsk::Malformed,
    };
    match (name.as_str(), assume_n) {
        ("epsilon", None) => PrivacyAsk::Epsilon(decimal),
        ("rho", None) => PrivacyAsk::Rho(decimal),
        ("accuracy", assume_n) => PrivacyAsk::Accuracy(decimal, assume_n),
        _ => PrivacyAsk::Malformed,
    }
}

/// `POST /v1/statements`: the format is settled before anything is spent.
///
/// # Errors
/// Problems of the request, refusals, budget, deadline.
pub async fn ask(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    choice: Result<Query<Choice>, QueryRejection>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let format = Format::negotiate(query(choice)?.format.as_deref(), &headers)?;
    let request = body::<Statement>(bytes)?.request(idempotency_key(&headers)?)?;
    // A task of its own: a caller who hangs up must not stop a paid question before its outcome is logged.
    let asked = Arc::clone(&server);
    let answer = tokio::spawn(async move { asked.engine.query(&principal, request).await });
    let answer = answer.await.map_err(|e| Problem::internal(&e))??;
    format.respond(&answer)
}

/// `POST /v1/statements/estimate`: price and accuracy from text and catalog alone.
///
/// # Errors
/// Problems of the request, and refusals.
pub async fn estimate(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request = body::<Statement>(bytes)?.request(None)?;
    let _turn = server.estimates.acquire().await;
    let estimate = server.off_thread(move |s| s.engine.estimate(&principal, request)).await??;
    Ok(Json(estimate).into_response())
}

/// `POST /v1/statements/dummy`: the same question about simulated people, free and not logged.
///
/// # Errors
/// Problems of the request, and refusals.
pub async fn dummy(
    State(server): State<Arc<Server>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    choice: Result<Query<Choice>, QueryRejection>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let format = Format::negotiate(query(choice)?.format.as_deref(), &headers)?;
    let request = body::<Statement>(bytes)?.request(None)?;
    let _turn = server.estimates.acquire().await;
    let answer = server.engine.dummy(&principal, request).await?;
    format.respond(&answer)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => Err(Problem::bad_request("`Idempotency-Key` has 1 to 255 visible ASCII characters")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn privacy(value: Value) -> Result<Option<PrivacyAsk>, Problem> {
        let statement: Statement = serde_json::from_value(json!({"sql": "SELECT 1", "privacy": value})).unwrap();
        statement.request(None).map(|r| r.privacy)
    }

    #[test]
    fn a_price_is_a_number_or_a_text_and_never_has_an_exponent() {
        assert_eq!(privacy(json!({"epsilon": 0.5})).unwrap(), Some(PrivacyAsk::Epsilon("0.5".into())));
        assert_eq!(privacy(json!({"rho": 1e-7})).unwrap(), Some(PrivacyAsk::Rho("0.0000001".into())));
        assert_eq!(privacy(json!({"rho": "0.001"})).unwrap(), Some(PrivacyAsk::Rho("0.001".into())));
        assert_eq!(privacy(json!({"accuracy": 20})).unwrap(), Some(PrivacyAsk::Accuracy("20".into(), None)));
        let assumed = privacy(json!({"accuracy": 2, "assume_n": 500})).unwrap();
        assert_eq!(assumed, Some(PrivacyAsk::Accuracy("2".into(), Some(500))));
        assert_eq!(privacy(Value::Null).unwrap(), None);
        for bad in [
            json!({}),
            json!({"epsilon": 1, "rho": 1}),
            json!({"sigma": 1}),
            json!({"epsilon": true}),
            json!({"assume_n": 5}),
            json!({"rho": 1, "assume_n": 5}),
            json!({"accuracy": 1, "assume_n": 0}),
        ] {
            assert_eq!(privacy(bad).unwrap(), Some(PrivacyAsk::Malformed));
        }
    }

    #[test]
    fn unknown_members_are_refused_by_name() {
        let error = body::<Statement>(Ok(Bytes::from_static(br#"{"sql": "SELECT 1", "privcy": {}}"#))).unwrap_err();
        assert_eq!(error.status, 400);
        assert!(error.detail.contains("privcy"));
    }
}
