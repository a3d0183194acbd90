//! `ingest`: the ledger's transactions into tables, a snapshot, and what the steward should know.

use epiledger_ingest::{Options, Pipeline, Progress};

use super::exit::Failure;
use super::ledger::summarized;
use super::{Context, progress};
use crate::open::today;

/// What `ingest` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Cut a snapshot now, out of schedule, although the ledger holds nothing new.
    #[arg(long)]
    cut: bool,
}

/// Ingests: consents hold as of today.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let (bar, summary) = progress::with_bar(|step| {
        let watch = |progress: Progress| {
            step(progress);
            true
        };
        let options = Options { force: args.cut, watch: &watch, ..Options::at(today()) };
        Pipeline::run(&context.settings.data, options).map_err(Failure::of)
    });
    bar.finish_and_clear();
    let summary = serde_json::to_value(summary?).map_err(Failure::of)?;
    context.show(&summary, summarized);
    Ok(())
}
