//! `/audit`: the log for the board, each question with its full text. Reading it changes nothing.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

use super::super::Server;
use super::super::error::Problem;
use super::super::handlers::query;
use super::render;
use crate::api::{AuditFilter, AuditRow, ProtocolView, QueryError};

/// Entries on one page.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    entries: Vec<Entry>,
    protocols: Vec<ProtocolView>,
    filter: AuditFilter,
    size: u64,
    /// The page of what passes the filter before this index.
    older: Option<u64>,
    /// The page of what passes the filter from this index on.
    newer: Option<u64>,
}

/// One entry as the page shows it.
struct Entry {
    index: u64,
    time: String,
    kind: String,
    who: String,
    price: String,
    text: Option<String>,
    body: String,
}

/// The audit list.
///
/// # Errors
/// 400 on a bad filter, 500 when the log can't be read.
pub async fn page(
    State(server): State<Arc<Server>>,
    filter: Result<Query<AuditFilter>, QueryRejection>,
) -> Result<Response, Problem> {
    let mut filter = query(filter)?;
    // An empty form field is no filter.
    for field in [&mut filter.kind, &mut filter.principal, &mut filter.protocol, &mut filter.text] {
        field.take_if(|text| text.is_empty());
    }
    filter.limit = Some(PAGE);
    let asked = filter.clone();
    let (rows, size, more) = server
        .off_thread(move |s| {
            let rows = s.engine.audit_search(&asked)?;
            // Is there one more on either side that passes the same filter?
            let beside = |from: Option<u64>, before: Option<u64>| {
                let one = AuditFilter { from, before, limit: Some(1), ..asked.clone() };
                s.engine.audit_search(&one).map(|found| !found.is_empty())
            };
            let (first, next) = (rows.first().map(|row| row.index), rows.last().map(|row| row.index + 1));
            let older = match first {
                Some(first) if beside(None, Some(first))? => Some(first),
                _ => None,
            };
            let newer = match next {
                Some(next) if beside(Some(next), None)? => Some(next),
                _ => None,
            };
            Ok::<_, QueryError>((rows, s.engine.audit().size(), (older, newer)))
        })
        .await??;
    let (older, newer) = more;
    render(&Audit {
        entries: rows.into_iter().rev().map(Entry::from).collect(),
        protocols: server.engine.protocols(),
        older,
        newer,
        filter,
        size,
    })
}

impl From<AuditRow> for Entry {
    fn from(row: AuditRow) -> Self {
        let field = |name: &str| row.body.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let who = field("principal").or_else(|| field("approver")).or_else(|| field("by")).unwrap_or_default();
        let price = match (field("rho"), field("delta")) {
            (Some(rho), Some(delta)) => format!("rho {rho}, delta {delta}"),
            _ => field("code").or_else(|| field("outcome")).unwrap_or_default(),
        };
        let body = serde_json::to_string_pretty(&row.body).unwrap_or_default();
        Self { index: row.index, time: minute(row.time), kind: row.kind, who, price, text: row.text, body }
    }
}

/// Unix seconds as `YYYY-MM-DD hh:mm` in UTC (days to date after Hinnant's `civil_from_days`).
fn minute(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * part + 2) / 5 + 1, if part < 10 { part + 3 } else { part - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", second / 3_600, second % 3_600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_utc_dates() {
        assert_eq!(minute(0), "1970-01-01 00:00");
        assert_eq!(minute(1_582_934_460), "2020-02-29 00:01");
        assert_eq!(minute(1_767_225_540), "2025-12-31 23:59");
    }

    #[test]
    fn an_entry_shows_who_price_and_text() {
        let body = serde_json::json!({"principal": "r-1", "rho": "0.1", "delta": "0"});
        let row = AuditRow { index: 3, kind: "query.intent".into(), body, time: 0, text: Some("SELECT 1".into()) };
        let entry = Entry::from(row);
        assert_eq!((entry.who.as_str(), entry.price.as_str()), ("r-1", "rho 0.1, delta 0"));
        assert_eq!(entry.text.as_deref(), Some("SELECT 1"));
    }
}
