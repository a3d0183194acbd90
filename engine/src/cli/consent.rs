//! `consent report`: what a patient's withdrawals removed, and which past releases were made before them and stay.
//!
//! For a steward of this data folder; it reads the folder alone, and nothing of it is written or logged anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use epiledger_ingest::withdrawal::{Of, Report, report};
use epiledger_ledger::entry::QueryIntent;
use epiledger_ledger::{AuditEntry, AuditLogEntry, LogReader, parse_audit_entry};
use epiledger_privacy::consent::purpose_bit;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::Context;
use super::client::{ClientFile, read, read_key};
use super::exit::{Exit, Failure};
use crate::api::Role;
use crate::rotation::audit_folders;
use crate::server::keys::ApiKeys;

/// What to ask about consents.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// What a patient's withdrawals removed, and which past releases stay. Needs a steward's key.
    Report {
        /// The patient's public id.
        #[arg(long, required_unless_present = "grant", conflicts_with = "grant")]
        patient: Option<String>,
        /// One grant, by its ledger index.
        #[arg(long, value_name = "INDEX")]
        grant: Option<u64>,
    },
}

/// Runs a verb.
pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    let Verb::Report { patient, grant } = verb;
    require_steward(context)?;
    let data = &context.settings.data;
    let of = match (patient, grant) {
        (Some(patient), _) => Of::Patient(patient),
        (None, Some(index)) => Of::Grant(index),
        (None, None) => return Err(Failure::usage("name a patient or a grant")),
    };
    let report = report(data, &of).map_err(Failure::of)?;
    let releases = releases(data, &report)?;
    let document = json!({ "consent": report, "releases_that_stay": releases });
    context.show(&document, words);
    Ok(())
}

/// Who asks must hold a steward's key of this folder.
fn require_steward(context: &Context) -> Result<(), Failure> {
    let settings = &context.settings;
    let demo: Option<ClientFile> = read(&settings.data.join("client.json"));
    let key = match &settings.key_file {
        Some(file) => Some(read_key(file)?),
        None => demo.map(|demo| SecretString::from(demo.keys.of(Role::Steward))),
    };
    let keys = ApiKeys::open(&settings.data).map_err(Failure::of)?;
    match key.and_then(|key| keys.find(&key)) {
        Some(key) if key.role == Role::Steward => Ok(()),
        _ => Err(Failure::new(Exit::Auth, "this needs a steward's key of the folder: name its file with --key-file")),
    }
}

/// Answered questions over cuts at which research could read the patient for their purpose.
fn releases(data: &Path, report: &Report) -> Result<Vec<Value>, Failure> {
    let held: BTreeMap<u64, i32> = report.held.iter().map(|held| (held.snapshot, held.purposes)).collect();
    let mut asked: BTreeMap<String, QueryIntent> = BTreeMap::new();
    let mut releases = Vec::new();
    let written = |dir: &PathBuf| dir.join("checkpoint").exists();
    let logs = audit_folders(data).into_iter().filter(written).map(|dir| LogReader::open(&dir));
    let logs = logs.collect::<Result<Vec<_>, _>>()?;
    // Entries are named by an index that counts on through all logs.
    for (index, stored) in (0_u64..).zip(logs.iter().flat_map(|log| log.entries(0))) {
        let (_, bytes, blobs) = stored?;
        match parse_audit_entry(&bytes).map_err(Failure::of)? {
            AuditLogEntry::Entry(AuditEntry::QueryIntent(intent)) => {
                asked.insert(intent.query_id.clone(), intent);
            }
            AuditLogEntry::Entry(AuditEntry::QueryOutcome(outcome)) => {
                let Some(intent) = asked.remove(&outcome.query_id) else { continue };
                let bits = held.get(&intent.snapshot).copied().unwrap_or(0);
                let read = purpose_bit(&intent.purpose).is_some_and(|bit| bits & bit != 0);
                if outcome.result_commit.is_some() && read {
                    releases.push(json!({
                        "statement_id": outcome.query_id, "index": index, "snapshot": intent.snapshot,
                        "protocol": intent.protocol, "purpose": intent.purpose, "redacted": blobs.is_empty(),
                    }));
                }
            }
            _ => {}
        }
    }
    Ok(releases)
}

fn words(document: &Value) -> String {
    let list = |pointer: &str| document.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let consent = &document["consent"];
    let mut lines = vec![format!("patient {}, ledger of {} entries", consent["patient"], consent["ledger_size"])];
    for grant in list("/consent/grants") {
        let until = grant["valid_to"].as_str().map_or(String::new(), |day| format!(" to {day}"));
        lines.push(format!(
            "grant {}: {} for {}, from {}{until}",
            grant["index"],
            grant["purposes"],
            grant["categories"],
            grant["valid_from"].as_str().unwrap_or("?")
        ));
    }
    for withdrawal in list("/consent/withdrawals") {
        let since = match withdrawal["from_snapshot"].as_u64() {
            Some(number) => format!("since snapshot {number} ({})", withdrawal["cut_at"].as_str().unwrap_or("?")),
            None => "from the next cut on".to_owned(),
        };
        lines.push(format!("{} {}, {since}:", withdrawal["kind"].as_str().unwrap_or("?"), withdrawal["index"]));
        let rows = withdrawal["rows"].as_object().cloned().unwrap_or_default();
        if rows.is_empty() && withdrawal["uncounted_records"] == 0 {
            lines.push("  no row".to_owned());
        }
        lines.extend(rows.iter().map(|(table, rows)| format!("  {rows} rows of {table}")));
        if withdrawal["uncounted_records"] != 0 {
            lines.push(format!(
                "  the rows of {} records, which can't be counted: their payloads are erased",
                withdrawal["uncounted_records"]
            ));
        }
        if let Some(payload) = withdrawal["payload"].as_str() {
            let gone = if withdrawal["gone"] == true { "is gone" } else { "stays: others hold the same" };
            lines.push(format!("  payload {payload} {gone}"));
        }
    }
    let releases = list("/releases_that_stay");
    lines.push(format!("{} past releases were made while it was in force, and stay", releases.len()));
    for release in releases {
        let redacted = if release["redacted"] == true { ", its result redacted" } else { "" };
        lines.push(format!(
            "  statement {} of snapshot {}, protocol {} ({}), log entry {}{redacted}",
            release["statement_id"].as_str().unwrap_or("?"),
            release["snapshot"],
            release["protocol"].as_str().unwrap_or("?"),
            release["purpose"].as_str().unwrap_or("?"),
            release["index"]
        ));
    }
    lines.join("\n")
}
