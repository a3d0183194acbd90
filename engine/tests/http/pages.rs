//! Pages: they work without script, name the policy, escape what they show, and spend nothing.

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::panel;
use serde_json::json;

use crate::app::App;

/// Asks the standing questions once, as the demo does.
fn ask_panels(app: &App) {
    for panel in panel::DEMO {
        let reply = app.query(&json!({ "sql": panel.sql, "privacy": { "rho": panel.rho } }));
        assert_eq!(reply.status, StatusCode::OK, "{}: {}", panel.sql, reply.text());
    }
}

#[test]
fn the_start_page_shows_the_county_table_to_anyone_in_demo_mode() {
    let app = App::get();
    ask_panels(app);
    let size = app.log_size();
    let page = app.ask(Method::GET, "/").send();
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("25017") && page.text().contains("<svg"), "{}", page.text());
    assert!(page.text().contains("95 % interval"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'none'") && policy.contains("default-src 'none'"));
    assert!(!page.text().contains("<script") && !page.text().contains("style="));
    let rows = app.read(Role::Board, &format!("/v1/audit?from={size}&type=query.intent")).json();
    let text = rows["entries"].to_string();
    assert!(!text.contains(panel::PATIENTS.sql), "looking at a page asks nothing");
}

#[test]
fn the_dashboard_shows_prevalence_by_county_and_by_month() {
    let app = App::get();
    ask_panels(app);
    let page = app.read(Role::Epidemiologist, "/dashboard");
    assert_eq!(page.status, StatusCode::OK);
    let text = page.text();
    assert!(text.contains("per 100 patients, by county") && text.contains("by month"), "{text}");
    assert!(text.matches("<svg").count() >= 3 && !text.contains("Not released yet"));
}

#[test]
fn the_audit_page_shows_the_full_text_escaped() {
    let app = App::get();
    let sql = "SELECT COUNT(*) AS n FROM person WHERE gender = '<script>alert(1)</script>'";
    let reply = app.query(&json!({ "sql": sql }));
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let page = app.read(Role::Board, "/audit?type=query.intent&text=alert");
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text().contains("<script"));
    assert!(page.text().contains("alert(1)"), "{}", page.text());
    assert_eq!(app.read(Role::Researcher, "/audit").status, StatusCode::FORBIDDEN);
}

#[test]
fn login_sets_a_strict_cookie_and_leads_to_the_roles_page() {
    let app = App::get();
    let form = |key: &str| {
        let ask = app.ask(Method::POST, "/login").header("content-type", "application/x-www-form-urlencoded");
        ask.body(format!("key={key}")).send()
    };
    let reply = form(app.token(Role::Board));
    assert_eq!((reply.status, &reply.headers["location"]), (StatusCode::SEE_OTHER, &"/audit".parse().unwrap()));
    let cookie = reply.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    let pair = cookie.split(';').next().unwrap();
    let page = app.ask(Method::GET, "/audit").header("cookie", pair).send();
    assert_eq!(page.status, StatusCode::OK);
    let wrong = form("epl_0_0");
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers.contains_key("set-cookie"));
    assert!(wrong.headers.contains_key("content-security-policy"));
}
