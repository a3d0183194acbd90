//! `ingest`: the ledger's transactions into tables, a snapshot, and what the steward should know.

use std::time::{SystemTime, UNIX_EPOCH};

use epiledger_ingest::{
    Cut, Options, Pipeline, Progress,
    schedule::{cut_if_due, waived},
    snapshot::newest,
};
use serde_json::json;

use super::exit::Failure;
use super::ledger::summarized;
use super::{Context, progress};

/// What `ingest` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Cut a snapshot now, out of schedule; manifest and audit log say so.
    #[arg(long)]
    cut: bool,
}

/// Ingests when a cut is due (the first of a folder is at once), or was asked for. Consents hold as of the cut's day.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let data = &context.settings.data;
    let schedule = context.settings.schedule().map_err(|e| Failure::usage(e.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (bar, summary) = progress::with_bar(|step| {
        let watch = |progress: Progress| {
            step(progress);
            true
        };
        if args.cut {
            let options = Options { force: true, watch: &watch, ..Options::at(Cut::at(now)) };
            return Pipeline::run(data, options).map(Some).map_err(Failure::from);
        }
        cut_if_due(data, schedule, now, &watch).map_err(Failure::from)
    });
    bar.finish_and_clear();
    let Some(summary) = summary? else {
        let newest = newest(data)?.map(|n| (n.number, n.cut_at));
        let (snapshot, cut_at) = newest.unwrap_or_default();
        let next = (!waived(data)).then(|| schedule.next(now).to_string());
        let document = json!({ "snapshot": snapshot, "changed": false, "cut_at": cut_at, "next_cut": next });
        context.show(&document, |d| format!("no cut is due (--cut makes one now)\n{}", summarized(d)));
        return Ok(());
    };
    let summary = serde_json::to_value(summary).map_err(Failure::of)?;
    context.show(&summary, summarized);
    Ok(())
}
