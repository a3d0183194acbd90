//! Login by pasting a key: the cookie holds it, `HttpOnly` and `SameSite=Strict`, for the browser's session.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use secrecy::SecretString;
use serde::Deserialize;

use super::super::Server;
use super::super::auth::COOKIE;
use super::super::error::Problem;
use super::render;
use crate::api::Role;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    wrong: bool,
}

/// The login form's body.
#[derive(Deserialize)]
pub struct Pasted {
    key: String,
}

/// `GET /login`.
///
/// # Errors
/// 500 when the page can't be rendered.
pub async fn form() -> Result<Response, Problem> {
    render(&LoginPage { wrong: false })
}

/// `POST /login`: to where the key's role starts, or the form again.
///
/// # Errors
/// 500 when the page can't be rendered.
pub async fn login(
    State(server): State<Arc<Server>>,
    pasted: Result<Form<Pasted>, FormRejection>,
) -> Result<Response, Problem> {
    let text = pasted.map(|f| f.0.key.trim().to_owned()).unwrap_or_default();
    let key = server.keys.find(&SecretString::from(text.as_str()));
    let Some(key) = key else {
        let page = render(&LoginPage { wrong: true })?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let start = match key.role {
        Role::Researcher | Role::Epidemiologist => "/dashboard",
        Role::Board => "/audit",
        Role::Steward | Role::Operator => "/",
    };
    // A key that was found is `epl_<hex>_<hex>`, so it can't hold a character that ends a cookie.
    let cookie = format!("{COOKIE}={text}; Path=/; HttpOnly; SameSite=Strict");
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to(start)).into_response())
}

/// `POST /logout`.
pub async fn logout() -> Response {
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to("/")).into_response()
}
