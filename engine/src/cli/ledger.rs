//! `ledger simulate|import|determine|grant|revoke|erase|request|records|mirror|verify|show`: records, consents and keys on the chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Subcommand, ValueEnum};
use ed25519_dalek::SigningKey;
use epiledger_ingest::parties::{EXPERT, REGISTRAR, signing_key};
use epiledger_ingest::source::{ImportConsent, ImportOptions, import_synthea};
use epiledger_ingest::{Folder, simulate};
use epiledger_ledger::entry::ReadRequest;
use epiledger_ledger::entry::consent::{GrantAccess, RequestAccess, RevokeAccess, Scope};
use epiledger_ledger::entry::key::{Determination, Party};
use epiledger_ledger::{Log, LogReader, NewEntry, NoteKey, SignedTransaction, StdFs, Transaction, parse_ledger_entry};
use epiledger_privacy::catalog::Profile;
use epiledger_privacy::day::Day;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::session::offline;
use super::{Context, audit, erase, mirror, progress};
use crate::open;

/// Entries that `show` prints when none is named.
const SHOWN: u64 = 20;

/// What to do with the ledger.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Simulates people into an empty data folder.
    Simulate {
        /// How many people.
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        people: u64,
        /// Seed of everything.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Imports a folder of Synthea files, CSV or Parquet, into an empty data folder.
    Import {
        /// The folder.
        #[arg(long, value_name = "DIR")]
        synthea: PathBuf,
        /// Consent to write for every patient: all grants general research use, none leaves the default deny.
        #[arg(long)]
        consent: ConsentName,
        /// Day the data ends, YYYY-MM-DD: a constant of the catalog (default: today).
        #[arg(long)]
        data_cut: Option<String>,
        /// Upper limit of the number of patients, a constant of the catalog.
        #[arg(long, default_value_t = 100_000)]
        declared_patients: u64,
        /// How far dates and places are generalized; expert needs a determination (`ledger determine`).
        #[arg(long, default_value = "expert")]
        profile: ProfileName,
    },
    /// Appends an expert's determination, which county and day in the tables need.
    Determine {
        /// The method, in a few words.
        #[arg(long)]
        method: String,
        /// Day it was made, YYYY-MM-DD.
        #[arg(long)]
        date: String,
        /// Last day it holds, YYYY-MM-DD.
        #[arg(long)]
        expires: String,
        /// Largest risk found, a decimal.
        #[arg(long)]
        risk_max: String,
    },
    /// Appends a patient's grant.
    Grant {
        /// The patient's public id.
        patient: String,
        /// A protocol, or * for any approved research.
        #[arg(long, default_value = "*")]
        grantee: String,
        /// GRU, HMB or DS; again for more.
        #[arg(long = "purpose", default_values_t = vec![String::from("GRU")])]
        purposes: Vec<String>,
        /// A record category, or * for all; again for more.
        #[arg(long = "category", default_values_t = vec![String::from("*")])]
        categories: Vec<String>,
        /// First day in force, YYYY-MM-DD.
        #[arg(long)]
        valid_from: String,
        /// Last day in force (default: no end).
        #[arg(long)]
        valid_to: Option<String>,
    },
    /// Appends a patient's revocation: of everything, of one grant or of one purpose.
    Revoke {
        /// The patient's public id.
        patient: String,
        /// The grant's ledger index.
        #[arg(long, group = "scope")]
        grant: Option<u64>,
        /// The purpose.
        #[arg(long, group = "scope")]
        purpose: Option<String>,
    },
    /// Erases a record's payloads, signed by the patient or by the provider who wrote it; their rows go with the next cut.
    Erase(erase::Args),
    /// Appends a study's request for access, signed by the registrar's key of this folder.
    Request {
        /// The protocol that asks.
        protocol: String,
        /// GRU, HMB or DS; again for more.
        #[arg(long = "purpose", default_values_t = vec![String::from("HMB")])]
        purposes: Vec<String>,
        /// A record category, or * for all; again for more.
        #[arg(long = "category", default_values_t = vec![String::from("*")])]
        categories: Vec<String>,
    },
    /// Reads a patient's records from a running server, as a hospital whose key lies in this folder.
    Records {
        /// The patient's public id.
        patient: String,
        /// The hospital's id; the patient reads without.
        #[arg(long)]
        hospital: Option<String>,
    },
    /// Fetches, verifies and follows a log: a copy of one's own, which ingest and the auditor read.
    Mirror(mirror::Args),
    /// Re-hashes everything and checks every signature against the key registry.
    Verify(audit::verify::Args),
    /// Prints entries as they are stored.
    Show {
        /// An entry's index (default: the newest entries).
        index: Option<u64>,
    },
}

/// Consent that an import writes.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ConsentName {
    /// Every patient grants general research use.
    All,
    /// Nobody grants anything.
    None,
}

/// De-identification profile.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ProfileName {
    /// County and day.
    Expert,
    /// State and year.
    SafeHarbor,
}

/// Runs a verb.
pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    let data = &context.settings.data;
    match verb {
        Verb::Simulate { people, seed } => {
            let (bar, summary) =
                progress::with_bar(|step| simulate::simulate(data, people, seed, step).map_err(Failure::from));
            bar.finish_and_clear();
            let summary = serde_json::to_value(summary?).map_err(Failure::of)?;
            context.show(&summary, summarized);
            Ok(())
        }
        Verb::Import { synthea, consent, data_cut, declared_patients, profile } => {
            let consent = match consent {
                ConsentName::All => ImportConsent::All,
                ConsentName::None => ImportConsent::None,
            };
            let cut = data_cut.map_or(Ok(open::today()), |text| {
                Day::parse(&text).ok_or_else(|| Failure::usage(format!("--data-cut: `{text}` is no day YYYY-MM-DD")))
            })?;
            let profile = match profile {
                ProfileName::Expert => Profile::ExpertDetermination,
                ProfileName::SafeHarbor => Profile::SafeHarbor,
            };
            let options = ImportOptions { declared_patients, profile, ..ImportOptions::new(consent, cut) };
            let (bar, summary) =
                progress::with_bar(|step| import_synthea(data, &synthea, &options, step).map_err(Failure::from));
            bar.finish_and_clear();
            let summary = serde_json::to_value(summary?).map_err(Failure::of)?;
            context.show(&summary, summarized);
            Ok(())
        }
        Verb::Determine { method, date, expires, risk_max } => {
            let body = Determination { expert: EXPERT.to_owned(), method, date, expires, risk_max };
            append(context, Party::Expert, EXPERT, Transaction::Determination(body))
        }
        Verb::Grant { patient, grantee, purposes, categories, valid_from, valid_to } => {
            let body = GrantAccess {
                patient: patient.clone(),
                grantee,
                purposes,
                categories,
                data_period: None,
                valid_from,
                valid_to,
                wrap_sha256: None,
            };
            append(context, Party::Patient, &patient, Transaction::GrantAccess(body))
        }
        Verb::Revoke { patient, grant, purpose } => {
            let scope = match (&grant, &purpose) {
                (Some(_), _) => Scope::Grant,
                (None, Some(_)) => Scope::Purpose,
                (None, None) => Scope::All,
            };
            let body = RevokeAccess { patient: patient.clone(), scope, grant_index: grant, purpose };
            append(context, Party::Patient, &patient, Transaction::RevokeAccess(body))
        }
        Verb::Erase(args) => erase::run(context, &args),
        Verb::Request { protocol, purposes, categories } => {
            let body = RequestAccess { protocol, purposes, categories, period: None };
            append(context, Party::Registrar, REGISTRAR, Transaction::RequestAccess(body))
        }
        Verb::Records { patient, hospital } => records(context, &patient, hospital.as_deref()),
        Verb::Mirror(args) => mirror::run(context, &args),
        Verb::Verify(args) => audit::verify::run(context, "ledger", args),
        Verb::Show { index } => show(context, &data.join("ledger"), index),
    }
}

/// Signs with a key of the data folder and appends; the transaction is durable when this returns.
fn append(context: &Context, party: Party, owner: &str, transaction: Transaction) -> Result<(), Failure> {
    let data = &context.settings.data;
    let key = own_key(data, party, owner)?;
    let entry = SignedTransaction::sign(transaction, &key).map_err(Failure::of)?;
    let taken = |d: &Value| format!("ledger entry {}; it takes effect at the next ingest", d["index"]);
    if !offline(&context.settings) {
        let text = String::from_utf8_lossy(entry.as_bytes());
        let answer = Client::signed(&context.settings)?.post("/v1/ledger/transactions", &json!({ "entry": text }))?;
        context.show(&answer, taken);
        return Ok(());
    }
    let folder = Folder::new(data);
    let note = NoteKey::load(&folder.ledger_key())?;
    let log = Log::open(Arc::new(StdFs), &folder.ledger(), note)?;
    let appended = log.append(vec![NewEntry { entry, blobs: Vec::new() }])?;
    log.flush()?;
    context.show(&json!({ "index": appended.first }), taken);
    Ok(())
}

/// Signs a request to read with a key of the data folder, and sends it to the server.
fn records(context: &Context, patient: &str, hospital: Option<&str>) -> Result<(), Failure> {
    let data = &context.settings.data;
    let (party, owner) = hospital.map_or((Party::Patient, patient), |id| (Party::Hospital, id));
    let key = own_key(data, party, owner)?;
    let origin = LogReader::open(&data.join("ledger"))?.checkpoint().origin.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let line = ReadRequest::sign(&origin, patient, (party, owner), now, &key);
    let path = format!("/v1/ledger/patients/{patient}/records");
    let answer = Client::signed(&context.settings)?.authorized(&line).get(&path)?;
    context.show(&answer, |d| serde_json::to_string_pretty(d).unwrap_or_default());
    Ok(())
}

fn own_key(data: &Path, party: Party, owner: &str) -> Result<SigningKey, Failure> {
    signing_key(data, party, owner)?.ok_or_else(|| {
        let message = format!("no key of {owner} lies in {}/keys; the party signs with its own key", data.display());
        Failure::new(Exit::Auth, message)
    })
}

fn show(context: &Context, dir: &Path, index: Option<u64>) -> Result<(), Failure> {
    let reader = LogReader::open(dir)?;
    let range = match index {
        Some(index) => index..index.saturating_add(1),
        None => reader.size().saturating_sub(SHOWN)..reader.size(),
    };
    let mut entries = Vec::new();
    for index in range {
        let bytes = reader.read(index)?;
        let entry: Value = serde_json::from_slice(&bytes)
            .map_err(|_| Failure::new(Exit::Broken, format!("entry {index} is no JSON, which no log of ours takes")))?;
        let mut shown = json!({ "index": index, "entry": entry });
        // The ledger keeps whatever somebody submits; what is no transaction counts for nothing.
        if let (Err(error), Some(members)) = (parse_ledger_entry(&bytes), shown.as_object_mut()) {
            members.insert("malformed".into(), error.to_string().into());
        }
        entries.push(shown);
    }
    context.show(&Value::from(entries), |list| {
        let lines = list.as_array().map_or(&[][..], Vec::as_slice).iter();
        let line = |e: &Value| match e["malformed"].as_str() {
            Some(why) => format!("{} MALFORMED ({why}) {}", e["index"], e["entry"]),
            None => format!("{} {}", e["index"], e["entry"]),
        };
        lines.map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// A summary's plain members, one a line.
pub(super) fn summarized(summary: &Value) -> String {
    let Some(members) = summary.as_object() else {
        return summary.to_string();
    };
    let line = |(name, value): (&String, &Value)| match value {
        Value::Object(map) if map.len() > 12 => format!("{}: {} values", name.replace('_', " "), map.len()),
        Value::Array(list) if list.len() > 12 => format!("{}: {} values", name.replace('_', " "), list.len()),
        other => format!("{}: {other}", name.replace('_', " ")),
    };
    members.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_a_line_a_member_and_long_lists_are_counted() {
        let long: Vec<u64> = (0..53).collect();
        let text = summarized(&json!({ "people": 5, "weekly_cases": long }));
        assert_eq!(text, "people: 5\nweekly cases: 53 values");
    }
}
