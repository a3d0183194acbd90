//! `keys list|create|revoke`: through the running server, or over the folder itself when none runs.
//! Either way each change goes on the chain.

use clap::{Subcommand, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::Failure;
use super::session::{Session, offline};
use super::{Context, render};
use crate::api::Role;
use crate::server::handlers::keys::{KeyRequest, Shown};

/// Who changes keys when no server runs: whoever owns the folder.
const OWNER: &str = "folder-owner";

/// What to do with API keys.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Lists them, without secrets.
    List,
    /// Creates one and prints its token, this once.
    Create {
        /// The principal's pseudonym.
        principal: String,
        /// What it may do.
        #[arg(long)]
        role: RoleName,
        /// Days it lives, 1 to 366.
        #[arg(long, default_value_t = 90)]
        days: u64,
    },
    /// Revokes one.
    Revoke {
        /// The key's id.
        id: String,
    },
}

/// A role's name on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleName {
    /// Estimates and asks.
    Researcher,
    /// Reads dashboards and releases.
    Epidemiologist,
    /// Reads the audit log, approves and suspends.
    Board,
    /// Reads schema and budget.
    Steward,
    /// Reads the ledger, manages keys.
    Operator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Researcher => Self::Researcher,
            RoleName::Epidemiologist => Self::Epidemiologist,
            RoleName::Board => Self::Board,
            RoleName::Steward => Self::Steward,
            RoleName::Operator => Self::Operator,
        }
    }
}

/// Lists, creates or revokes.
pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    let document = if offline(&context.settings) {
        here(context, &verb)?
    } else {
        there(&Client::find(&context.settings, Role::Operator)?, &verb)?
    };
    context.show(&document, |d| match &verb {
        Verb::List => {
            let members = ["/id", "/principal", "/role", "/expires", "/revoked"];
            render::objects(render::list(d, "keys"), &members)
        }
        Verb::Create { .. } => d["token"].as_str().unwrap_or_default().to_owned(),
        Verb::Revoke { id } => format!("revoked {id}"),
    });
    Ok(())
}

/// Through the server.
fn there(client: &Client, verb: &Verb) -> Result<Value, Failure> {
    match verb {
        Verb::List => client.get("/v1/keys"),
        Verb::Create { principal, role, days } => {
            let body = json!({ "principal": principal, "role": Role::from(*role), "days": days });
            client.post("/v1/keys", &body)
        }
        Verb::Revoke { id } => client.delete(&format!("/v1/keys/{}", super::segment(id)?)),
    }
}

/// Over the folder, under the log's lock.
fn here(context: &Context, verb: &Verb) -> Result<Value, Failure> {
    let session = Session::open(&context.settings, context.settings.timing, false)?;
    let server = &session.server;
    let document = match verb {
        Verb::List => {
            let keys: Vec<Shown> = server.keys.list().into_iter().map(Shown::from).collect();
            json!({ "keys": keys })
        }
        Verb::Create { principal, role, days } => {
            let request = KeyRequest { principal: principal.clone(), role: (*role).into(), days: *days };
            let made = server.create_key(&request, OWNER).map_err(|p| Failure::of(&p.detail))?;
            json!({ "token": made.token.expose_secret(), "key": Shown::from(made.key) })
        }
        Verb::Revoke { id } => {
            json!({ "key": Shown::from(server.revoke_key(id, OWNER).map_err(|p| Failure::of(&p.detail))?) })
        }
    };
    session.close()?;
    Ok(document)
}
