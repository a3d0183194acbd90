//! Pages: they work without script, name the policy, escape what they show, and spend nothing.

use axum::http::{Method, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::panel;
use serde_json::json;

use crate::app::App;

/// Asks the standing questions once, as the demo does.
fn ask_panels(app: &App) {
    for panel in panel::DEMO.into_iter().chain([panel::PREVALENCE]) {
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
    assert!(text.contains("per 100 patients, by county") && text.contains("(period prevalence), by month"), "{text}");
    assert!(text.matches("<svg").count() >= 4 && !text.contains("Not released yet"));
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
fn a_filter_of_the_audit_page_searches_the_whole_log_and_stays_from_page_to_page() {
    let app = App::of(50, 11);
    let born = |year: u32| format!("SELECT COUNT(*) AS n FROM person WHERE year_of_birth > {year}");
    let asked = 104;
    for year in 1900..1900 + asked {
        assert_eq!(app.query(&json!({ "sql": born(year), "privacy": { "rho": "0.0001" } })).status, StatusCode::OK);
    }
    let indices = |page: &str| -> Vec<u64> {
        let cells = page.split("<td><a href=\"/v1/audit/proof/").skip(1);
        cells.map(|cell| cell.split('"').next().unwrap().parse().unwrap()).collect()
    };
    let button = |page: &str, name: &str| -> Option<u64> {
        let rest = page.split(&format!("<button name=\"{name}\" value=\"")).nth(1)?;
        rest.split('"').next().unwrap().parse().ok()
    };
    let get = |query: &str| app.read(Role::Board, &format!("/audit?{query}")).text();
    let first = get("type=query.intent&principal=&protocol=&text=1900");
    assert_eq!(indices(&first).len(), 1, "the oldest is found: {first}");
    assert_eq!((button(&first, "before"), button(&first, "from")), (None, None));

    // From page to page under a filter: every entry of it once, newest first, and back again.
    let filter = "type=query.intent&principal=&protocol=&text=year_of_birth";
    let newest = get(filter);
    assert_eq!(indices(&newest).len(), 100);
    assert!(newest.contains(r#"<input type="hidden" name="text" value="year_of_birth">"#));
    assert_eq!(button(&newest, "from"), None);
    let oldest = get(&format!("{filter}&before={}", button(&newest, "before").unwrap()));
    let all: Vec<u64> = [indices(&newest), indices(&oldest)].concat();
    assert_eq!(all.len(), asked as usize);
    assert!(all.is_sorted_by(|a, b| a > b), "{all:?}");
    assert_eq!(button(&oldest, "before"), None);
    let back = get(&format!("{filter}&from={}", button(&oldest, "from").unwrap()));
    assert_eq!(indices(&back), indices(&newest));
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
