//! `ledger mirror`: a copy of a log that lies elsewhere, verified as it comes, kept up to date.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use epiledger_ledger::{Mirror, StdFs, Synced};
use serde_json::json;

use super::audit::verify::{Remote, api_key, verifier_key};
use super::exit::{Exit, Failure};
use super::place::Place;
use super::{Context, progress};

/// What `ledger mirror` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The http:// address of the log's tiles (`../v1/ledger`, `../v1/audit`), or its folder.
    #[arg(value_name = "URL")]
    place: String,
    /// The mirror's folder: empty or missing at first.
    dir: PathBuf,
    /// The log's verifier key, or a file that holds it (default: the one that the mirror has).
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// Go on following, looking for a new head this often.
    #[arg(long)]
    follow: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,
    #[command(flatten)]
    remote: Remote,
}

/// Mirrors once, or until something other than a temporary failure happens.
///
/// Blobs are fetched when an API key is named (`--key-file`): the operator's for the ledger, the board's for the audit log.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let place = Place::parse(&args.place)?;
    let key = match &args.key {
        Some(key) => verifier_key(key)?,
        None => {
            let text = std::fs::read_to_string(args.dir.join("key")).map_err(|_| {
                Failure::usage("name the log's verifier key with --key: an address does not vouch for its own")
            })?;
            verifier_key(text.trim())?
        }
    };
    let api_key = api_key(context)?;
    let source = place.source(api_key.as_ref(), args.remote.patience());
    let mut mirror = Mirror::open(Arc::new(StdFs), &args.dir, &key, api_key.is_some())?;
    loop {
        let (bar, synced) = progress::with_count("mirror", |step| mirror.sync(source.as_ref(), step));
        bar.finish_and_clear();
        match synced.map_err(Failure::from) {
            Ok(synced) => say(context, &mirror, synced, args.follow),
            // What is temporary is tried again; everything else ends the mirror, and leaves it as it was.
            Err(failure) if args.follow && failure.exit == Exit::Temporary => {
                tracing::warn!(place = %place, "{}", failure.message);
            }
            Err(failure) => return Err(failure),
        }
        if !args.follow {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(args.interval));
    }
}

fn say(context: &Context, mirror: &Mirror, synced: Synced, follow: bool) {
    if follow && synced.from == synced.to && synced.to > 0 {
        return;
    }
    let origin = mirror.head().map_or("", |head| head.origin.as_str());
    context.show(&json!({ "origin": origin, "from": synced.from, "to": synced.to, "blobs": synced.blobs }), |_| {
        format!(
            "{origin}: {} entries, {} of them new; {} blobs fetched",
            synced.to,
            synced.to - synced.from,
            synced.blobs
        )
    });
}
