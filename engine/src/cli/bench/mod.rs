//! `bench`: what this machine does, beside its own raw rates measured in the same run.
//!
//! Figures mean something in the release profile alone (`cargo run --release -- bench`).

mod commit;
mod memory;
mod questions;
mod rates;

use std::path::{Path, PathBuf};
use std::time::Instant;

use epiledger_ingest::{Options, Pipeline, simulate};
use epiledger_ledger::verify::{AuditOptions, audit};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::{Context, render};
use crate::open;

/// Times that the ledger is audited and the raw rates are taken, in turn; the best of each counts.
const AUDITS: usize = 3;

/// An audit's rate is at least this much of the slower raw rate.
const LEAST_OF_RAW: f64 = 0.6;

/// What can be measured on its own.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The audit log's commits.
    Commit,
    /// Ingest's stages, the ledger's audit, questions.
    People,
    /// Peak memory.
    Memory,
}

/// What `bench` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// People in the folder that is measured.
    #[arg(long, default_value_t = 20_000)]
    people: u64,
    /// Sizes at which ingest's peak memory is measured, each in processes of its own; again for more.
    #[arg(long = "memory-people", default_values_t = vec![10_000, 200_000])]
    memory_people: Vec<u64>,
    /// Sizes at which the peak memory of a log's auditor and writer is measured; again for more.
    #[arg(long = "memory-entries", default_values_t = vec![100_000, 1_000_000])]
    memory_entries: Vec<u64>,
    /// Only this part; again for more.
    #[arg(long)]
    only: Vec<Part>,
    /// Opens a log of the bench's own and ends: what its memory is measured of.
    #[arg(long, hide = true, value_name = "DIR")]
    open_log: Option<PathBuf>,
}

/// One line of the figures.
struct Row {
    what: String,
    figure: String,
}

impl Row {
    fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into() }
    }
}

/// Measures and prints.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    if let Some(dir) = &args.open_log {
        return memory::open_log(dir);
    }
    if cfg!(debug_assertions) {
        context.say("this is not the release profile: the figures below say little");
    }
    let scratch = Scratch::under(&std::env::temp_dir())?;
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let mut rows = Vec::new();
    if wanted(Part::Commit) {
        rows.extend(commit::rows(&scratch.0)?);
    }
    if wanted(Part::People) {
        let data = scratch.0.join("data");
        rows.extend(people(&data, args.people)?);
        rows.extend(questions::rows(&data)?);
        std::fs::remove_dir_all(&data).map_err(Failure::of)?;
    }
    if wanted(Part::Memory) {
        for people in &args.memory_people {
            let peak = memory::of_ingest(&scratch.0.join(format!("memory-{people}")), *people)?;
            rows.push(Row::new(format!("peak memory of ingest, {people} people"), mib(peak)));
        }
        for entries in &args.memory_entries {
            let (audited, opened) = memory::of_log(&scratch.0.join(format!("log-{entries}")), *entries)?;
            rows.push(Row::new(format!("peak memory of an audit, {entries} records"), mib(audited)));
            rows.push(Row::new(format!("peak memory of opening for writing, {entries} records"), mib(opened)));
        }
    }
    let figures: Vec<_> = rows.iter().map(|row| json!({ "what": row.what, "figure": row.figure })).collect();
    context.show(&json!({ "people": args.people, "figures": figures }), |d| {
        render::objects(render::list(d, "figures"), &["/what", "/figure"])
    });
    Ok(())
}

/// Writes, audits and ingests a ledger of simulated people, beside raw rates over its bytes.
fn people(data: &Path, people: u64) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let started = Instant::now();
    let simulated = simulate::simulate(data, people, 1, &|_| ()).map_err(Failure::of)?;
    let seconds = started.elapsed().as_secs_f64();
    rows.push(Row::new("simulate, sign and append", rate(simulated.transactions, seconds, "transactions")));

    let ledger = data.join("ledger");
    let (mut raw, mut audited, mut entries) = (rates::raw(&ledger)?, f64::INFINITY, 0);
    for _ in 0..AUDITS {
        let started = Instant::now();
        let report = audit(&ledger, AuditOptions::default());
        audited = audited.min(started.elapsed().as_secs_f64());
        if let Some(fault) = report.fault {
            return Err(Failure::new(Exit::Broken, fault.to_string()));
        }
        entries = report.checked.entries;
        let again = rates::raw(&ledger)?;
        raw.ed25519 = raw.ed25519.min(again.ed25519);
        raw.sha256 = raw.sha256.min(again.sha256);
    }
    let threads = rates::threads();
    let on_threads = |what: &str| format!("raw {what} over the same bytes, {threads} threads");
    rows.push(Row::new(on_threads("Ed25519"), rate(raw.entries, raw.ed25519, "entries")));
    rows.push(Row::new(on_threads("SHA-256"), rate(raw.entries, raw.sha256, "entries")));
    let (slower, seconds) = raw.slower();
    let (part, least) = (100.0 * seconds / audited.max(1e-9), 100.0 * LEAST_OF_RAW);
    let figure = format!("{}, {part:.0} % of raw {slower} (at least {least:.0})", rate(entries, audited, "entries"));
    rows.push(Row::new("audit the whole ledger", figure));

    let started = Instant::now();
    let summary = Pipeline::run(data, Options::at(simulate::DATA_CUT)).map_err(Failure::of)?;
    let together = started.elapsed().as_secs_f64();
    let count = summary.transactions;
    let alone = |stage: &str| format!("ingest: {stage}, alone on {threads} threads");
    rows.push(Row::new(alone("verify signature"), rate(raw.entries, raw.signatures, "transactions")));
    for (stage, seconds) in summary.stages.seconds() {
        // Seconds of all threads: alone, a stage would have every one of them to itself.
        #[expect(clippy::cast_precision_loss, reason = "a machine has far fewer threads than 2^53")]
        let seconds = seconds / threads as f64;
        rows.push(Row::new(alone(stage), rate(count, seconds, "transactions")));
    }
    rows.push(Row::new("ingest: commit and publish", rate(count, summary.commit_seconds, "transactions")));
    rows.push(Row::new("ingest: all together", rate(count, together, "transactions")));
    Ok(rows)
}

fn mib(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

fn rate(count: u64, seconds: f64, unit: &str) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts here are far under 2^53")]
    let per_second = count as f64 / seconds.max(1e-9);
    format!("{per_second:.0} {unit}/s ({count} in {seconds:.2} s)")
}

/// A folder that goes when the bench ends.
struct Scratch(PathBuf);

impl Scratch {
    fn under(place: &Path) -> Result<Self, Failure> {
        let name = format!("epiledger-bench-{}", open::hex(&rand::random::<[u8; 8]>()));
        let path = place.join(name);
        std::fs::create_dir_all(&path).map_err(Failure::of)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        if let Err(error) = std::fs::remove_dir_all(path) {
            tracing::warn!(%error, path = %path.display(), "the bench's folder is left behind");
        }
    }
}
