//! `bench`: what this machine does, beside its own raw rates measured in the same run.
//!
//! Figures mean something in the release profile alone (`cargo run --release -- bench`).

mod commit;
mod memory;
mod questions;
mod rates;

use std::path::Path;
use std::time::Instant;

use epiledger_ingest::{Options, Pipeline, simulate};
use epiledger_ledger::verify::{AuditOptions, audit};
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::{Context, render};
use crate::open;

/// What `bench` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// People in the folder that is measured.
    #[arg(long, default_value_t = 20_000)]
    people: u64,
    /// Sizes at which ingest's peak memory is measured, each in processes of its own; again for more.
    #[arg(long = "memory-people", default_values_t = vec![10_000, 200_000])]
    memory_people: Vec<u64>,
}

/// Measures and prints.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        context.say("this is not the release profile: the figures below say little");
    }
    let scratch = Scratch::new()?;
    let data = scratch.0.join("data");
    let mut rows: Vec<Value> = Vec::new();
    let mut row = |what: String, figure: String| rows.push(json!({ "what": what, "figure": figure }));

    let started = Instant::now();
    let simulated = simulate::simulate(&data, args.people, 1, &|_| ()).map_err(Failure::of)?;
    let simulating = started.elapsed().as_secs_f64();
    row("simulate, sign and append".into(), rate(simulated.transactions, simulating, "transactions"));

    let started = Instant::now();
    let report = audit(&data.join("ledger"), AuditOptions::default());
    let auditing = started.elapsed().as_secs_f64();
    if let Some(fault) = report.fault {
        return Err(Failure::new(Exit::Broken, fault.to_string()));
    }
    row("verify the whole ledger".into(), rate(report.checked.entries, auditing, "entries"));

    let started = Instant::now();
    let summary = Pipeline::run(&data, Options::at(simulate::DATA_CUT)).map_err(Failure::of)?;
    let together = started.elapsed().as_secs_f64();
    row("ingest: read and verify".into(), rate(summary.transactions, summary.verify_seconds, "transactions"));
    row("ingest: rows and files".into(), rate(summary.transactions, summary.tables_seconds, "transactions"));
    row("ingest: commit and publish".into(), rate(summary.transactions, summary.commit_seconds, "transactions"));
    row("ingest: all together".into(), rate(summary.transactions, together, "transactions"));

    let mean = usize::try_from(report.checked.bytes / report.checked.entries.max(1)).unwrap_or(usize::MAX);
    for (what, figure) in rates::raw(mean) {
        row(what, figure);
    }
    for (what, figure) in commit::latencies(&scratch.0)? {
        row(what, figure);
    }
    for (what, figure) in questions::times(&data)? {
        row(what, figure);
    }
    for people in &args.memory_people {
        let peak = memory::of_ingest(&scratch.0.join(format!("memory-{people}")), *people)?;
        row(format!("peak memory of ingest, {people} people"), format!("{} MiB", peak / 1024));
    }
    context.show(&json!({ "people": args.people, "figures": rows }), |d| {
        render::objects(render::list(d, "figures"), &["/what", "/figure"])
    });
    Ok(())
}

fn rate(count: u64, seconds: f64, unit: &str) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts here are far under 2^53")]
    let per_second = count as f64 / seconds.max(1e-9);
    format!("{per_second:.0} {unit}/s ({count} in {seconds:.2} s)")
}

/// A folder that goes when the bench ends.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let name = format!("epiledger-bench-{}", open::hex(&rand::random::<[u8; 8]>()));
        let path = std::env::temp_dir().join(name);
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
