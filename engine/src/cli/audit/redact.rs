//! `audit redact`: a text or a result goes from the audit log, approved by two keys.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::Context;
use super::super::client::Client;
use super::super::exit::Failure;
use super::super::session::{Session, offline};
use crate::api::Role;
use crate::config::Settings;
use crate::redaction::RedactionRequest;

/// What `audit redact` takes.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The blob's SHA-256: a `sql_commit` or `result_commit` of an entry.
    #[arg(required_unless_present = "statement", conflicts_with = "statement")]
    sha256: Option<String>,
    /// All of a statement: its text, its result, and the texts of its repetitions.
    #[arg(long, value_name = "ID")]
    statement: Option<String>,
    /// The ground. It enters the public log: name nobody in it.
    #[arg(long)]
    reason: String,
    /// A file with an approver's key; twice: the board's and another of the board's or a steward's.
    #[arg(long = "approver", value_name = "KEYFILE", required = true, num_args = 1)]
    approvers: Vec<PathBuf>,
}

/// Proposes with the first key and confirms with the second, through the running server or over the folder itself.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let [proposer, confirmer] = args.approvers.as_slice() else {
        let message = "a redaction has two approvers: give --approver twice, the board's key file and another one";
        return Err(Failure::usage(message));
    };
    let settings = &context.settings;
    let request =
        RedactionRequest { sha256: args.sha256.clone(), statement: args.statement.clone(), basis: args.reason.clone() };
    let document = if offline(settings) {
        let session = Session::open(settings, settings.timing, false)?;
        let (one, two) = (session.principal(proposer)?, session.principal(confirmer)?);
        let engine = &session.server.engine;
        let proposal = engine.propose_redaction(&one, request)?;
        let redacted = engine.confirm_redaction(&two, proposal.id)?;
        session.close()?;
        serde_json::to_value(redacted).map_err(Failure::of)?
    } else {
        let request = serde_json::to_value(request).map_err(Failure::of)?;
        let proposal = as_key(settings, proposer)?.post("/v1/redactions", &request)?;
        let path = format!("/v1/redactions/{}/confirm", proposal["id"]);
        as_key(settings, confirmer)?.post(&path, &json!({}))?
    };
    context.show(&document, |d| {
        let blobs = d["blobs"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let line = |blob: &serde_json::Value| {
            format!("{} {} of entry {} is gone", blob["what"].as_str().unwrap_or("?"), blob["sha256"], blob["index"])
        };
        format!("{}\nlog entries {}", blobs.map(line).collect::<Vec<_>>().join("\n"), d["indices"])
    });
    Ok(())
}

/// The server's client with the key of a file.
fn as_key(settings: &Settings, file: &Path) -> Result<Client, Failure> {
    let settings = Settings { key_file: Some(file.to_path_buf()), ..settings.clone() };
    Client::find(&settings, Role::Board)
}
