//! `protocol list|approve|suspend`: the board's acts, through the running server, or over the folder when none runs.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::session::{Session, offline};
use super::{Context, render};
use crate::api::{QueryError, Role};
use crate::server::handlers::protocols::Approval;

/// What to do with protocols.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Lists them.
    List,
    /// Approves one.
    Approve(Approving),
    /// Suspends one.
    Suspend {
        /// The protocol's id.
        protocol: String,
    },
}

/// What `approve` takes.
#[derive(clap::Args)]
pub(super) struct Approving {
    /// The protocol's id.
    protocol: String,
    /// One line that says what it studies.
    #[arg(long)]
    title: String,
    /// GRU, HMB or DS.
    #[arg(long)]
    purpose: String,
    /// A principal who may ask under it; again for more.
    #[arg(long = "investigator", required = true)]
    investigators: Vec<String>,
    /// Lifetime rho.
    #[arg(long)]
    rho_cap: String,
    /// Lifetime delta.
    #[arg(long)]
    delta_cap: String,
    /// First day, YYYY-MM-DD.
    #[arg(long)]
    valid_from: String,
    /// Last day, YYYY-MM-DD.
    #[arg(long)]
    valid_to: String,
}

impl Approving {
    fn body(&self) -> Approval {
        Approval {
            protocol: self.protocol.clone(),
            title: self.title.clone(),
            purpose: self.purpose.clone(),
            investigators: self.investigators.clone(),
            rho_cap: self.rho_cap.clone(),
            delta_cap: self.delta_cap.clone(),
            valid_from: self.valid_from.clone(),
            valid_to: self.valid_to.clone(),
        }
    }
}

/// Lists, approves or suspends.
pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    let document = if offline(&context.settings) {
        here(context, &verb)?
    } else {
        there(&Client::find(&context.settings, Role::Board)?, &verb)?
    };
    context.show(&document, |d| match &verb {
        Verb::List => {
            let members =
                ["/protocol", "/title", "/purpose", "/status", "/valid_from", "/valid_to", "/spent/rho", "/cap/rho"];
            render::objects(render::list(d, "protocols"), &members)
        }
        Verb::Approve(_) => format!("approved: log entry {}", d["index"]),
        Verb::Suspend { .. } => format!("suspended: log entry {}", d["index"]),
    });
    Ok(())
}

/// Through the server.
fn there(client: &Client, verb: &Verb) -> Result<Value, Failure> {
    match verb {
        Verb::List => client.get("/v1/protocols"),
        Verb::Approve(approving) => {
            let body = serde_json::to_value(approving.body()).map_err(Failure::of)?;
            client.post("/v1/protocols", &body)
        }
        Verb::Suspend { protocol } => {
            client.post(&format!("/v1/protocols/{}/suspend", super::segment(protocol)?), &json!({}))
        }
    }
}

/// Over the folder, under the log's lock; an act needs a board key all the same.
fn here(context: &Context, verb: &Verb) -> Result<Value, Failure> {
    let settings = &context.settings;
    let session = Session::open(settings, settings.timing, false)?;
    let board = || {
        let file = settings.key_file.as_deref().ok_or_else(|| {
            Failure::new(Exit::Auth, "this needs a board key: name its file with --key-file or EPILEDGER_KEY_FILE")
        })?;
        let who = session.principal(file)?;
        match who.role {
            Role::Board => Ok(who),
            other => {
                Err(Failure::new(Exit::Auth, format!("a {} key may not do this; a board key may", other.as_str())))
            }
        }
    };
    let engine = &session.server.engine;
    let logged = |done: Result<u64, QueryError>| done.map(|index| json!({ "index": index })).map_err(Failure::from);
    let document = match verb {
        Verb::List => json!({ "protocols": engine.protocols() }),
        Verb::Approve(approving) => {
            let who = board()?;
            logged(engine.approve(&who, approving.body().by(&who.name)))?
        }
        Verb::Suspend { protocol } => logged(engine.suspend(&board()?, protocol))?,
    };
    session.close()?;
    Ok(document)
}
