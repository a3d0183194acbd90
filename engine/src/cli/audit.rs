//! `audit verify|search`: verify reads the files alone and trusts no server; search asks the server as the board.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use epiledger_ledger::verify::{self, AuditOptions, Fault, Report};
use serde_json::Value;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::{Context, render};
use crate::api::Role;

/// What to do with the audit log.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Re-hashes everything, replays every rule and the whole budget. Takes either log's folder.
    Verify {
        /// The log's folder (default: the data folder's audit log).
        dir: Option<PathBuf>,
    },
    /// Lists entries with the full text of their questions.
    Search {
        /// Only this type, for example query.intent.
        #[arg(long = "type")]
        kind: Option<String>,
        /// Only this principal.
        #[arg(long)]
        principal: Option<String>,
        /// Only this protocol.
        #[arg(long)]
        protocol: Option<String>,
        /// Only questions that hold this text.
        #[arg(long)]
        text: Option<String>,
        /// From this index on.
        #[arg(long)]
        from: Option<u64>,
        /// At most this many.
        #[arg(long)]
        limit: Option<u64>,
    },
}

/// Verifies or searches.
pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Verify { dir } => verify_and_show(context, &dir.unwrap_or_else(|| context.settings.data.join("audit"))),
        Verb::Search { kind, principal, protocol, text, from, limit } => {
            let client = Client::find(&context.settings, Role::Board)?;
            let mut query = String::new();
            let (from, limit) = (from.map(|n| n.to_string()), limit.map(|n| n.to_string()));
            let named = [
                ("type", kind),
                ("principal", principal),
                ("protocol", protocol),
                ("text", text),
                ("from", from),
                ("limit", limit),
            ];
            for (name, value) in named {
                let Some(value) = value else { continue };
                query.push(if query.is_empty() { '?' } else { '&' });
                query.push_str(&format!("{name}={}", escaped(&value)));
            }
            let document = client.get(&format!("/v1/audit{query}"))?;
            context.show(&document, |d| render::list(d, "entries").iter().map(line).collect::<Vec<_>>().join("\n"));
            Ok(())
        }
    }
}

/// Verifies a log's folder and prints what was checked; exit 6 when something is broken.
pub(super) fn verify_and_show(context: &Context, dir: &Path) -> Result<(), Failure> {
    let report = verify::audit(dir, AuditOptions::default());
    if context.json {
        // The report goes out even when it names a fault: that is what a script reads.
        let document = serde_json::to_value(&report).map_err(Failure::of)?;
        context.show(&document, Value::to_string);
        return report.fault.map_or(Ok(()), |fault| Err(broken(dir, &fault)));
    }
    context.say(&in_words(dir, &report)?);
    Ok(())
}

/// What was checked, in words.
///
/// # Errors
/// Exit 6 naming the entry, tile or file that is broken.
pub(super) fn verify_folder(dir: &Path) -> Result<String, Failure> {
    in_words(dir, &verify::audit(dir, AuditOptions::default()))
}

fn in_words(dir: &Path, report: &Report) -> Result<String, Failure> {
    report.fault.as_ref().map_or_else(|| Ok(report.to_string()), |fault| Err(broken(dir, fault)))
}

fn broken(dir: &Path, fault: &Fault) -> Failure {
    Failure::new(Exit::Broken, format!("{} is broken at {fault}", dir.display()))
}

/// An entry in one line, its question below.
fn line(entry: &Value) -> String {
    let body = |name: &str| entry.pointer(&format!("/body/{name}")).and_then(Value::as_str);
    let mut text = format!("{} {}", entry["index"], entry["type"].as_str().unwrap_or("?"));
    for name in ["principal", "protocol", "code", "outcome", "role", "route"] {
        if let Some(value) = body(name) {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    if let (Some(rho), Some(delta)) = (body("rho"), body("delta")) {
        text.push_str(&format!(" rho={rho} delta={delta}"));
    }
    if let Some(question) = entry["text"].as_str() {
        text.push_str(&format!("\n    {}", question.replace('\n', "\n    ")));
    }
    text
}

/// Percent-encodes all but unreserved characters (RFC 3986).
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_line_with_its_question_below() {
        let body = serde_json::json!({ "principal": "r", "rho": "0.1", "delta": "0" });
        let entry = serde_json::json!({ "index": 3, "type": "query.intent", "body": body, "text": "SELECT\n1" });
        assert_eq!(line(&entry), "3 query.intent principal=r rho=0.1 delta=0\n    SELECT\n    1");
    }

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escaped("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }
}
