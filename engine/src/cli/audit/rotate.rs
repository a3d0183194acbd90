//! `audit rotate`: the audit log is closed, and goes on in a new folder under a new key.

use std::path::PathBuf;

use serde_json::json;

use super::super::Context;
use super::super::exit::{Exit, Failure};
use super::super::session::{Session, offline};
use super::verify::read_key_of;
use crate::api::Role;

/// What `rotate` takes.
#[derive(clap::Args)]
pub(in super::super) struct Args {
    /// A file with an approver's key; twice: stewards' or the board's, of two principals.
    #[arg(long = "approver", value_name = "KEYFILE", required = true, num_args = 1)]
    approvers: Vec<PathBuf>,
}

/// Rotates.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let [one, other] = args.approvers.as_slice() else {
        return Err(Failure::usage("a rotation has two approvers: give --approver twice"));
    };
    let settings = &context.settings;
    if !offline(settings) {
        return Err(Failure::usage("stop the server first: a log is rotated by whoever holds its folder alone"));
    }
    let session = Session::open(settings, settings.timing, false)?;
    let (one, other) = (session.principal(one)?, session.principal(other)?);
    if one.name == other.name || [&one, &other].iter().any(|who| !matches!(who.role, Role::Steward | Role::Board)) {
        return Err(Failure::new(
            Exit::Auth,
            "a rotation has two approvers: stewards or the board, of different names",
        ));
    }
    let engine = &session.server.engine;
    engine.writable()?;
    let dir = engine.rotate([one.name, other.name]).map_err(Failure::of)?;
    session.close()?;
    let key = read_key_of(&dir)?.to_string();
    context.show(&json!({ "dir": dir, "key": key }), |_| {
        format!(
            "the audit log goes on in {} under a new key, which auditors must be told:\n  {key}\nkeep the closed logs: \
             the budget is in them",
            dir.display()
        )
    });
    Ok(())
}
