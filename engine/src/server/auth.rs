//! From a request to a [`Principal`], or a denial; the gate in front of every handler.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::SecretString;

use super::Server;
use super::error::Problem;
use super::permission::{Access, Kind, Route};
use crate::api::Principal;

/// The pages' login cookie. It is `HttpOnly` and `SameSite=Strict`, and only pages read it.
pub const COOKIE: &str = "epiledger_key";

/// The gate of one route.
#[derive(Clone)]
pub struct Gate {
    /// The server whose keys count.
    pub server: Arc<Server>,
    /// The route that is guarded.
    pub route: Route,
}

/// Lets a request through when its key may call the route; the handler then finds a [`Principal`] in the extensions.
///
/// # Errors
/// 401 without a valid key, 403 when its role may not (that denial goes on the chain).
pub async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Gate { server, route } = gate;
    // What a signed route needs, its handler checks: the signature covers what it asks for.
    if matches!(route.access(), Access::Public | Access::Signed) {
        return next.run(request).await;
    }
    let Some(principal) = principal(&server, route, request.headers()) else {
        return match route.kind() {
            Kind::Api => Problem::unauthorized().into_response(),
            Kind::Page => Redirect::to("/login").into_response(),
        };
    };
    if !route.access().allows(principal.role) {
        let role = principal.role.as_str();
        let logged = server.off_thread(move |s| s.engine.denied(&principal.name, route.path())).await;
        // A denial that can't be logged is still a denial; the reason goes to the operator.
        match logged.map(|result| result.map_err(Problem::from)) {
            Ok(Ok(())) => {}
            Ok(Err(problem)) | Err(problem) => return problem.into_response(),
        }
        let detail = format!("a {role} key may not {} {}", route.verb().as_str(), route.path());
        return Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail)
            .hint("use a key of a role that may; the denial was logged")
            .into_response();
    }
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// Who a request comes from: the bearer token, or on pages the cookie.
fn principal(server: &Server, route: Route, headers: &HeaderMap) -> Option<Principal> {
    let token = bearer(headers).or_else(|| (route.kind() == Kind::Page).then(|| cookie(headers)).flatten())?;
    let key = server.keys.find(&token)?;
    Some(server.principal(&key))
}

fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| SecretString::from(token.trim()))
}

/// The key in the login cookie.
#[must_use]
pub fn cookie(headers: &HeaderMap) -> Option<SecretString> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| SecretString::from(value))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn tokens_are_read_from_their_own_places_alone() {
        let mut headers = HeaderMap::new();
        assert!(bearer(&headers).is_none() && cookie(&headers).is_none());
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("bearer  epl_a_b"));
        assert_eq!(bearer(&headers).unwrap().expose_secret(), "epl_a_b");
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic epl_a_b"));
        assert!(bearer(&headers).is_none());
        headers.insert(header::COOKIE, HeaderValue::from_static("x=1; epiledger_key=epl_c_d; y=2"));
        assert_eq!(cookie(&headers).unwrap().expose_secret(), "epl_c_d");
    }
}
