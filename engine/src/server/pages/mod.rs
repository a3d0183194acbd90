//! Pages for people: rendered here, no script, nothing from elsewhere.

pub mod audit;
pub mod dashboard;
pub mod home;
pub mod login;
mod table;

use askama::Template;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use super::error::Problem;

/// The style sheet.
const STYLE: &str = include_str!("../../../templates/style.css");

/// `GET /style.css`.
pub async fn style() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, STYLE).into_response()
}

/// A template as a response.
fn render(template: &impl Template) -> Result<Response, Problem> {
    let html = template.render().map_err(|e| Problem::internal(&e))?;
    Ok(Html(html).into_response())
}
