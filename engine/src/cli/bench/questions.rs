//! A question's time through the gate, beside the same SQL by plain DataFusion over the same Parquet files: in turn, so
//! that both find the same caches warm. Each time the text differs in a date, since a question asked again is free.
//!
//! The plain run reads the bench's own simulated people in a folder that the bench made and removes.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion::prelude::{ParquetReadOptions, SessionContext};
use epiledger_ingest::snapshot;
use epiledger_ledger::entry::protocol::ProtocolApprove;
use epiledger_privacy::day::Day;
use tokio::runtime::Runtime;

use super::{Failure, Row};
use crate::api::{Principal, PrivacyAsk, QueryRequest, Role};
use crate::open::{DEMO_PROTOCOL, OpenOptions, default_terms, demo_principal, today};
use crate::policy::PolicyRequest;
use crate::query::Engine;

/// Questions that are timed; `{n}` is another number each time.
const QUESTIONS: [(&str, &str); 2] = [
    (
        "patients by county",
        "SELECT county, COUNT(DISTINCT person_id) FROM person WHERE year_of_birth > 18{n} GROUP BY county",
    ),
    (
        "patients by diagnosis",
        "SELECT condition_category, COUNT(DISTINCT person_id) FROM condition_occurrence \
         WHERE condition_start_date > DATE '19{n}-01-01' GROUP BY condition_category",
    ),
];

/// Times that each is asked, after one that is not counted.
const ASKED: usize = 9;

/// Medians of each, with and without privacy.
pub(super) fn rows(data: &Path) -> Result<Vec<Row>, Failure> {
    let runtime = Runtime::new().map_err(Failure::of)?;
    runtime.block_on(async {
        let engine =
            Engine::open(data, OpenOptions { immediate: true, ..OpenOptions::default() }).await.map_err(Failure::of)?;
        allow(&engine)?;
        let plain = plain(data).await?;
        let mut rows = Vec::new();
        for (name, sql) in QUESTIONS {
            let (mut private, mut exact) = (Vec::new(), Vec::new());
            for n in 0..=ASKED {
                let sql = sql.replace("{n}", &(10 + n).to_string());
                let started = Instant::now();
                ask(&engine, &sql).await?;
                private.push(started.elapsed().as_secs_f64() * 1e3);
                let started = Instant::now();
                collect(&plain, &sql).await?;
                exact.push(started.elapsed().as_secs_f64() * 1e3);
            }
            let (private, exact) = (median(&private), median(&exact));
            let figure = format!("median of {ASKED}: {private:.1} ms (without privacy {exact:.1} ms)");
            rows.push(Row::new(format!("question: {name}"), figure));
        }
        Ok(rows)
    })
}

/// The median of all times but the first, which warms up.
fn median(times: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = times.iter().skip(1).copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "the side without privacy runs over the bench's own simulated people")]
async fn collect(plain: &SessionContext, sql: &str) -> Result<(), Failure> {
    let frame = plain.sql(sql).await.map_err(Failure::of)?;
    frame.collect().await.map(drop).map_err(Failure::of)
}

/// A policy and a protocol, so that the questions may be asked.
fn allow(engine: &Engine) -> Result<(), Failure> {
    let (board, steward) = (demo_principal(Role::Board), demo_principal(Role::Steward));
    let who = |name: &str, role: Role| Principal {
        name: name.to_owned(),
        key_id: "bench".to_owned(),
        role,
        protocols: Vec::new(),
    };
    let proposal = engine.propose_policy(&who(steward, Role::Steward), PolicyRequest::default())?;
    engine.confirm_policy(&who(board, Role::Board), proposal)?;
    let terms = default_terms(engine.catalog());
    let today = today();
    let approval = ProtocolApprove {
        protocol: DEMO_PROTOCOL.to_owned(),
        title: "Speed of questions".to_owned(),
        purpose: "HMB".to_owned(),
        investigators: vec![demo_principal(Role::Researcher).to_owned()],
        rho_cap: terms.rho_cap,
        delta_cap: terms.delta_cap,
        valid_from: today.to_string(),
        valid_to: Day(today.0 + 1).to_string(),
        approver: board.to_owned(),
    };
    engine.approve(&who(board, Role::Board), approval).map(|_| ()).map_err(Failure::of)
}

async fn ask(engine: &Arc<Engine>, sql: &str) -> Result<(), Failure> {
    let who = Principal {
        name: demo_principal(Role::Researcher).to_owned(),
        key_id: "bench".to_owned(),
        role: Role::Researcher,
        protocols: vec![DEMO_PROTOCOL.to_owned()],
    };
    let privacy = Some(PrivacyAsk::Rho("0.0005".to_owned()));
    let request = QueryRequest { sql: sql.to_owned(), privacy, ..QueryRequest::default() };
    engine.query(&who, request).await.map(|_| ()).map_err(Failure::of)
}

/// The snapshot's files as plain tables.
async fn plain(data: &Path) -> Result<SessionContext, Failure> {
    let context = SessionContext::new();
    let manifest = snapshot::newest(data).map_err(Failure::of)?;
    let manifest = manifest.ok_or_else(|| Failure::of("the bench's folder holds no snapshot"))?;
    for (name, table) in manifest.tables {
        let files: Vec<String> =
            table.files.iter().map(|f| data.join(&f.path).to_string_lossy().into_owned()).collect();
        let frame = context.read_parquet(files, ParquetReadOptions::default()).await.map_err(Failure::of)?;
        context.register_table(name.as_str(), frame.into_view()).map_err(Failure::of)?;
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_does_not_count() {
        assert!((median(&[99.0, 3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }
}
