//! Errors as RFC 9457 problem+json: a stable `type` and `code`, whose fault it is, what to do.

use std::ops::{Deref, DerefMut};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::{Position, Price, QueryError};

/// An error response: its [`Details`] behind a pointer, so that results stay small.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// What a problem says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Details {
    /// `urn:epiledger:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What is wrong, without data and without secrets.
    pub detail: String,
    /// Stable code, SCREAMING_SNAKE.
    pub code: String,
    /// Where in the SQL text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The accepted form, or what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the question needs (429).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<Price>,
    /// What is left at the level that refuses (429).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Price>,
    /// The level that refuses (429).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The half-width that what is left would buy (429 where an accuracy was asked).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reachable: Option<f64>,
}

impl Problem {
    /// A problem with a code and a sentence.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("urn:epiledger:problem:{code}"),
            title: code.to_lowercase().replace('_', " "),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            position: None,
            hint: None,
            required: None,
            remaining: None,
            level: None,
            reachable: None,
        }))
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// 400: the request is malformed.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail)
    }

    /// 401: no key, or not a valid one.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "this needs a valid API key; none came with the request")
            .hint("send `Authorization: Bearer epl_<id>_<secret>`; a key may also have expired or been revoked")
    }

    /// 404: nothing there, or nothing that the caller may see.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
    }

    /// 500: our fault; the reason goes to the operator's log, not to the caller.
    #[must_use]
    pub fn internal(why: &dyn std::fmt::Display) -> Self {
        tracing::error!(reason = %why, "a request failed inside");
        let detail = "the server failed; its log says why. Nothing you sent was wrong";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let detail = error.to_string();
        match error {
            QueryError::Refused { code, message, position, hint } => {
                let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, &code, message).hint(hint);
                problem.position = position;
                problem
            }
            QueryError::Budget { required, remaining, level, reachable } => {
                let hint = match (reachable, level.as_str()) {
                    (Some(width), _) => {
                        format!("what is left buys a half-width of {width}: ask for that, or a wider one")
                    }
                    (None, "window") => {
                        "ask later: what was spent over 24 hours ago counts no more at this level".into()
                    }
                    _ => "ask for less accuracy (a smaller epsilon), or ask the board for another protocol".to_owned(),
                };
                let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "BUDGET_EXHAUSTED", detail).hint(hint);
                problem.required = Some(*required);
                problem.remaining = Some(*remaining);
                problem.level = Some(level);
                problem.reachable = reachable;
                problem
            }
            QueryError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail),
            QueryError::Conflict => Self::new(StatusCode::CONFLICT, "IDEMPOTENCY_IN_FLIGHT", detail),
            QueryError::KeyReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", detail),
            QueryError::Failed => Self::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE", detail),
            QueryError::RolledBack(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ROLLED_BACK", detail).hint(
                "what was released before is still given; new questions and acts need the operator to restore the \
                 newest copy of the data folder",
            ),
            QueryError::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(rho: &str) -> Box<Price> {
        Box::new(Price { rho: rho.into(), delta: "0".into(), epsilon: 1.0 })
    }

    #[test]
    fn a_refusal_keeps_code_span_and_hint_and_leaves_out_empty_members() {
        let position = Some(Position { line: 1, column: 8, length: 9 });
        let error = QueryError::Refused {
            code: "UNIT_IN_OUTPUT".into(),
            message: "person_id is in the output".into(),
            position,
            hint: "count patients".into(),
        };
        let problem = Problem::from(error);
        let json: serde_json::Value = serde_json::to_value(&problem).unwrap();
        assert_eq!(problem.status, 422);
        assert_eq!(json["type"], "urn:epiledger:problem:UNIT_IN_OUTPUT");
        assert_eq!(json["position"]["column"], 8);
        assert!(json.get("required").is_none() && json.get("level").is_none());
    }

    #[test]
    fn each_error_has_its_status() {
        let (required, remaining) = (price("2"), price("1"));
        let budget = QueryError::Budget { required, remaining, level: "protocol".into(), reachable: None };
        let cases = [
            (budget, 429),
            (QueryError::Forbidden("no".into()), 403),
            (QueryError::Conflict, 409),
            (QueryError::KeyReused, 422),
            (QueryError::Failed, 504),
            (QueryError::RolledBack("older".into()), 503),
            (QueryError::Unavailable("starting".into()), 503),
        ];
        for (error, status) in cases {
            let problem = Problem::from(error);
            assert_eq!(problem.status, status);
            if status == 429 {
                assert_eq!(problem.required.as_ref().unwrap().rho, "2");
                assert_eq!(problem.remaining.as_ref().unwrap().rho, "1");
            }
        }
    }
}
