//! `audit receipt`: a C2SP tlog-proof, on its own or inside an answer, verified with the log's key and nothing else.
//!
//! Of an answer its numbers are bound too: see [`crate::receipt`]. What is not bound is said.

use std::io::Read;
use std::path::{Path, PathBuf};

use epiledger_ledger::entry::QueryOutcome;
use epiledger_ledger::{AuditEntry, AuditLogEntry, Receipt, VerifierKey, open_receipt, parse_audit_entry};
use serde_json::{Value, json};

use super::super::Context;
use super::super::exit::{Exit, Failure};
use super::verify::{read_key_of, verifier_key};
use crate::receipt::{Released, Source, check};
use crate::rotation::audit_folders;

/// Longest file that is read: an answer of many rows with its receipt.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Verifies a receipt and prints what it proves; exit 6 when it does not hold.
pub(super) fn run(context: &Context, file: &Path, key: Option<&str>) -> Result<(), Failure> {
    let key = match key {
        Some(key) => verifier_key(key)?,
        None => read_key_of(&newest(context))?,
    };
    let text = read(file)?;
    let answer: Option<Value> = serde_json::from_str(&text).ok();
    let proof = match &answer {
        None => text.as_str(),
        Some(answer) => answer
            .pointer("/receipt/proof")
            .and_then(Value::as_str)
            .ok_or_else(|| Failure::usage(format!("{} is JSON, and has no receipt.proof", file.display())))?,
    };
    let broken =
        |why: &str| Failure::new(Exit::Broken, format!("the receipt in {} does not hold: {why}", file.display()));
    let receipt = open_receipt(proof, &key).map_err(|fault| broken(&fault.to_string()))?;
    let entry: Value = serde_json::from_slice(&receipt.entry).map_err(|_| broken("its entry is no JSON"))?;
    let bound = answer.as_ref().map(|answer| bound(answer, &receipt, &key)).transpose();
    let bound = bound.map_err(|why| broken(&why))?;
    let document = json!({
        "origin": receipt.head.origin,
        "index": receipt.index,
        "size": receipt.head.size,
        "entry": entry,
        "cites": bound.as_ref().and_then(|bound| bound.cites),
        "bound": bound.as_ref().map(|bound| &bound.columns),
        "not_bound": bound.as_ref().map(|bound| &bound.others),
    });
    context.show(&document, |_| {
        let said = format!(
            "the log {} has this as entry {} of {}, as its key signed:\n  {entry}",
            receipt.head.origin, receipt.index, receipt.head.size
        );
        bound.map_or_else(|| said.clone(), |bound| format!("{said}\n{}", bound.in_words()))
    });
    Ok(())
}

/// The folder of the data folder's newest audit log.
pub(super) fn newest(context: &Context) -> PathBuf {
    audit_folders(&context.settings.data).pop().unwrap_or_default()
}

/// What of an answer the log commits to.
struct Bound {
    cites: Option<u64>,
    rows: usize,
    columns: Vec<String>,
    others: Vec<String>,
}

impl Bound {
    fn in_words(&self) -> String {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let cites = self.cites.map_or_else(String::new, |index| format!("it repeats the answer of entry {index}\n"));
        format!(
            "{cites}each of the {} rows is a cell of the release that the log committed to, in these columns: {}\n\
             computed from that release by the question, and not bound: {}",
            self.rows,
            list(&self.columns),
            list(&self.others)
        )
    }
}

/// Binds an answer to its receipt: the entry, the outcome that it is or cites, the release, the rows.
fn bound(answer: &Value, receipt: &Receipt, key: &VerifierKey) -> Result<Bound, String> {
    let member = |path: &str| answer.pointer(path).and_then(Value::as_u64);
    if member("/receipt/index") != Some(receipt.index) {
        return Err("the answer names another log index".into());
    }
    let (cites, outcome) = outcome(answer, receipt, key)?;
    if answer.get("statement_id").and_then(Value::as_str) != Some(outcome.query_id.as_str()) {
        return Err("its entry is not the outcome of this statement".into());
    }
    let missing = || "it does not carry the release (receipt.result), so nothing binds the answer's rows".to_owned();
    let result = answer.pointer("/receipt/result").and_then(Value::as_str).ok_or_else(missing)?;
    if outcome.result_commit.is_none() || Released::commit(result) != outcome.result_commit {
        return Err("its release is not the one that the log committed to".into());
    }
    let release = Released::open(result).ok_or("its release can't be read")?;
    if release.query_id != outcome.query_id || member("/snapshot/number") != Some(release.snapshot) {
        return Err("its release is of another statement or snapshot".into());
    }
    let malformed = |_| "the answer's columns, rows or receipt.bound are not as the service writes them".to_owned();
    let part = |path: &str| answer.pointer(path).cloned().unwrap_or_default();
    let columns: Vec<Value> = serde_json::from_value(part("/columns")).map_err(malformed)?;
    let rows: Vec<Vec<Value>> = serde_json::from_value(part("/rows")).map_err(malformed)?;
    let sources: Vec<Option<Source>> = serde_json::from_value(part("/receipt/bound")).map_err(malformed)?;
    let width = columns.len();
    if sources.len() != width || rows.iter().any(|row| row.len() != width) {
        return Err("the answer's columns, rows and receipt.bound do not fit together".into());
    }
    let name = |at: usize| columns.get(at).and_then(|c| c["name"].as_str()).unwrap_or_default().to_owned();
    check(&sources, &rows, &release).map_err(|(column, row)| {
        format!("row {} of the answer is no cell of the release, in column {}", row + 1, name(column))
    })?;
    let named = |bound: bool| -> Vec<String> {
        (0..width).filter(|at| sources.get(*at).is_some_and(Option::is_some) == bound).map(name).collect()
    };
    Ok(Bound { cites, rows: rows.len(), columns: named(true), others: named(false) })
}

/// The outcome that a receipt's entry is, or that it repeats and a second proof shows; then its index too.
fn outcome(answer: &Value, receipt: &Receipt, key: &VerifierKey) -> Result<(Option<u64>, QueryOutcome), String> {
    match parse_audit_entry(&receipt.entry) {
        Ok(AuditLogEntry::Entry(AuditEntry::QueryOutcome(outcome))) => Ok((None, outcome)),
        Ok(AuditLogEntry::Entry(AuditEntry::QueryRepeated(repeated))) => {
            let proof = answer.pointer("/receipt/cites/proof").and_then(Value::as_str);
            let proof = proof.ok_or("it repeats an earlier answer, and does not prove it (receipt.cites)")?;
            let cited = open_receipt(proof, key).map_err(|fault| format!("of the answer that it repeats: {fault}"))?;
            match parse_audit_entry(&cited.entry) {
                Ok(AuditLogEntry::Entry(AuditEntry::QueryOutcome(outcome))) if cited.index == repeated.cites => {
                    Ok((Some(cited.index), outcome))
                }
                _ => Err("what it cites is not the outcome that it repeats".into()),
            }
        }
        Ok(_) => Err("its entry is not the outcome of this statement".into()),
        Err(_) => Err("its entry is none of an audit log".into()),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("{} can't be read: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(file).map_err(failed)?.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}
