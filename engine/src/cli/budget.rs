//! `budget`: cap, spent and remaining at every level that binds the asker; `budget set` appends the first policy.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::session::{Session, offline};
use super::{Context, render};
use crate::api::Role;
use crate::open;
use epiledger_privacy::budget::Policy;

/// What `budget` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What else to do with the budget.
#[derive(Subcommand)]
enum Verb {
    /// Appends a folder's first policy with the default caps or lower ones; needs a steward's and a board's key.
    Set {
        /// A file with an approver's key; twice, one of the steward and one of the board.
        #[arg(long = "approver", value_name = "KEYFILE", required = true, num_args = 1)]
        approvers: Vec<PathBuf>,
        /// Lifetime rho of the dataset, and of one principal.
        #[arg(long)]
        rho_cap: Option<String>,
        /// Lifetime delta of the dataset, and of one principal.
        #[arg(long)]
        delta_cap: Option<String>,
    },
}

/// Shows or sets.
pub(super) fn run(context: &Context, args: Args) -> Result<(), Failure> {
    match args.verb {
        None => show(context),
        Some(Verb::Set { approvers, rho_cap, delta_cap }) => set(context, &approvers, rho_cap, delta_cap),
    }
}

fn show(context: &Context) -> Result<(), Failure> {
    let document = Client::find(&context.settings, Role::Researcher)?.get("/v1/budget")?;
    context.show(&document, |d| {
        let members = ["/level", "/name", "/spent/rho", "/cap/rho", "/remaining/rho", "/remaining/epsilon"];
        let levels = render::objects(render::list(d, "levels"), &members);
        let remaining = render::price(d.get("remaining").unwrap_or(&Value::Null));
        format!("{levels}\nremaining at the tightest level: {remaining}")
    });
    Ok(())
}

fn set(
    context: &Context,
    approvers: &[PathBuf],
    rho_cap: Option<String>,
    delta_cap: Option<String>,
) -> Result<(), Failure> {
    if !offline(&context.settings) {
        return Err(Failure::usage("a server runs over this folder; stop it, set the policy, start it again"));
    }
    let [one, two] = approvers else {
        return Err(Failure::usage(
            "a policy has two approvers: give --approver twice, a steward's and a board's key file",
        ));
    };
    let session = Session::open(&context.settings.data, context.settings.timing, false)?;
    let (one, two) = (session.principal(one)?, session.principal(two)?);
    let mut roles = [one.role, two.role];
    roles.sort_unstable();
    if roles != [Role::Board, Role::Steward] || one.name == two.name {
        let message = "one approver is the steward and the other the board, two different principals";
        return Err(Failure::new(Exit::Auth, message));
    }
    let mut policy = open::default_policy(session.server.engine.catalog(), [one.name, two.name]);
    if let Some(rho) = rho_cap {
        policy.principal_rho_cap.clone_from(&rho);
        policy.rho_cap = rho;
    }
    if let Some(delta) = delta_cap {
        policy.principal_delta_cap.clone_from(&delta);
        policy.delta_cap = delta;
    }
    let default = open::default_policy(session.server.engine.catalog(), policy.approvers.clone());
    let caps = Policy::read(&policy).ok_or_else(|| Failure::usage("a cap is not a decimal number such as 0.5"))?.cap;
    if !Policy::read(&default).is_some_and(|default| caps.within(default.cap)) {
        let message = format!("a cap is past the default: rho {}, delta {}", default.rho_cap, default.delta_cap);
        return Err(Failure::new(Exit::Policy, message));
    }
    let index = session.server.engine.set_policy(policy).map_err(Failure::of)?;
    session.close()?;
    context.show(&json!({ "index": index }), |d| format!("policy set: log entry {}", d["index"]));
    Ok(())
}
