//! `audit receipt`: a C2SP tlog-proof, on its own or inside an answer, verified with the log's key and nothing else.

use std::io::Read;
use std::path::Path;

use epiledger_ledger::{AuditLogEntry, Receipt, open_receipt, parse_audit_entry};
use serde_json::{Value, json};

use super::super::Context;
use super::super::exit::{Exit, Failure};
use super::verify::{read_key_of, verifier_key};

/// Longest file that is read: an answer of many rows with its receipt.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Verifies a receipt and prints what it proves; exit 6 when it does not hold.
pub(super) fn run(context: &Context, file: &Path, key: Option<&str>) -> Result<(), Failure> {
    let key = match key {
        Some(key) => verifier_key(key)?,
        None => read_key_of(&context.settings.data.join("audit"))?,
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
    if let Some(answer) = &answer {
        belongs(answer, &receipt, &entry).map_err(|why| broken(&why))?;
    }
    let document = json!({
        "origin": receipt.head.origin,
        "index": receipt.index,
        "size": receipt.head.size,
        "entry": entry,
    });
    context.show(&document, |_| {
        format!(
            "the log {} has this as entry {} of {}, as its key signed:\n  {entry}",
            receipt.head.origin, receipt.index, receipt.head.size
        )
    });
    Ok(())
}

/// That a receipt is of the answer beside it: the same index, and the outcome of the same statement.
fn belongs(answer: &Value, receipt: &Receipt, entry: &Value) -> Result<(), String> {
    if answer.pointer("/receipt/index").and_then(Value::as_u64) != Some(receipt.index) {
        return Err("the answer names another log index".into());
    }
    match parse_audit_entry(&receipt.entry) {
        Ok(AuditLogEntry::Entry(known)) => {
            let id = entry.pointer("/body/query_id");
            // An answer from the cache cites an earlier outcome, and has no id of its own in the log.
            let same = id.is_none_or(|id| answer.get("statement_id") == Some(id));
            let answers = ["query.outcome", "query.repeated"].contains(&known.type_name());
            if same && answers { Ok(()) } else { Err("its entry is not the outcome of this statement".into()) }
        }
        _ => Err("its entry is none of an audit log".into()),
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
