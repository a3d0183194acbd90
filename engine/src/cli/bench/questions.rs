//! A question's time through the gate, beside the same SQL by plain DataFusion over the same Parquet files.
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

use super::Failure;
use crate::api::{Principal, PrivacyAsk, QueryRequest, Role};
use crate::open::{DEMO_PROTOCOL, OpenOptions, default_terms, demo_principal, today};
use crate::policy::PolicyRequest;
use crate::query::Engine;

/// Questions that are timed.
const QUESTIONS: [(&str, &str); 2] = [
    ("patients by county", "SELECT county, COUNT(DISTINCT person_id) FROM person GROUP BY county"),
    (
        "patients by diagnosis",
        "SELECT condition_category, COUNT(DISTINCT person_id) FROM condition_occurrence GROUP BY condition_category",
    ),
];

/// Milliseconds of each, with and without privacy.
#[expect(clippy::disallowed_methods, reason = "the side without privacy runs over the bench's own simulated people")]
pub(super) fn times(data: &Path) -> Result<Vec<(String, String)>, Failure> {
    let runtime = Runtime::new().map_err(Failure::of)?;
    runtime.block_on(async {
        let engine = Engine::open(data, OpenOptions { immediate: true }).await.map_err(Failure::of)?;
        allow(&engine)?;
        let plain = plain(data).await?;
        let mut rows = Vec::new();
        for (name, sql) in QUESTIONS {
            let started = Instant::now();
            ask(&engine, sql).await?;
            let private = started.elapsed().as_secs_f64() * 1e3;
            let started = Instant::now();
            let frame = plain.sql(sql).await.map_err(Failure::of)?;
            frame.collect().await.map_err(Failure::of)?;
            let exact = started.elapsed().as_secs_f64() * 1e3;
            rows.push((format!("question: {name}"), format!("{private:.1} ms (without privacy {exact:.1} ms)")));
        }
        Ok(rows)
    })
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
    let privacy = Some(PrivacyAsk::Rho("0.001".to_owned()));
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
