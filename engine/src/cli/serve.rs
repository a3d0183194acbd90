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
    let mut address = settings.listen;
    address.set_port(args.port.unwrap_or(address.port()));
    let port = Port::take(address)?;
    let session = Session::open(&settings.data, settings.timing, false)?;
    let running = session.start(port, Some(schedule))?;
    context.say(&format!("serving at {}; Ctrl-C stops", running.url));
    if context.json {
        context.show(&json!({ "url": running.url, "data_dir": settings.data }), |_| String::new());
    }
    session.serve_until_signal(running)
}
