//! `serve`: over an existing data folder, until a signal.

use serde_json::json;

use super::Context;
use super::exit::Failure;
use super::session::{Port, Session};

/// What `serve` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The port, on the address of the setting `listen`; 0 takes any free one.
    #[arg(long)]
    port: Option<u16>,
}

/// Serves.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let settings = &context.settings;
    let schedule = settings.schedule().map_err(|e| Failure::usage(e.to_string()))?;
    // Where strangers can reach it, a restored older folder must not answer as if nothing had been spent.
    if !settings.listen.ip().is_loopback() && settings.pinned_head.is_none() {
        let message = format!(
            "{} is not a loopback address: set `pinned_head` (or EPILEDGER_PINNED_HEAD) to a file outside the data folder, \
             better on another disk, or to the http:// address of a mirror of the audit log, so that a restored older \
             folder can't give its budget out a second time",
            settings.listen
        );
        return Err(Failure::usage(message));
    }
    let mut address = settings.listen;
    address.set_port(args.port.unwrap_or(address.port()));
    let port = Port::take(address)?;
    let session = Session::open(settings, settings.timing, false)?;
    let running = session.start(port, Some(schedule))?;
    context.say(&format!("serving at {}; Ctrl-C stops", running.url));
    if context.json {
        context.show(&json!({ "url": running.url, "data_dir": settings.data }), |_| String::new());
    }
    session.serve_until_signal(running)
}
