//! `ledger erase`: payloads go from the ledger's blobs, signed by the patient or by the provider who wrote them.

use std::sync::Arc;

use epiledger_ingest::Folder;
use epiledger_ingest::erasable::{Erasable, NotErasable, Payload, Wanted};
use epiledger_ingest::parties::signing_key;
use epiledger_ledger::entry::key::Party;
use epiledger_ledger::{Log, LogError, LogReader, NewEntry, NoteKey, SignedTransaction, StdFs};
use serde_json::json;

use super::Context;
use super::exit::{Exit, Failure};
use crate::open::hex;

/// What `ledger erase` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A record's name: every version of it goes.
    #[arg(long, value_name = "ID", required_unless_present = "payload", conflicts_with = "payload")]
    record: Option<String>,
    /// A payload's SHA-256.
    #[arg(long, value_name = "SHA256")]
    payload: Option<String>,
    /// The patient, where several have it.
    #[arg(long)]
    patient: Option<String>,
    /// The provider who wrote all of it signs, not the patient.
    #[arg(long)]
    by_provider: bool,
    /// The ground, for example `withdrawal`.
    #[arg(long)]
    basis: String,
}

/// Appends an Erase for each payload, and takes its bytes away where no other patient's record holds the same.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let data = &context.settings.data;
    let folder = Folder::new(data);
    let wanted = match (&args.record, &args.payload) {
        (Some(record), _) => Wanted::Record { record_id: record.clone(), patient: args.patient.clone() },
        (None, Some(payload)) => Wanted::Payload { sha256: payload.clone(), patient: args.patient.clone() },
        (None, None) => return Err(Failure::usage("name a record or a payload")),
    };
    let note = NoteKey::load(&folder.ledger_key()).map_err(Failure::of)?;
    // The lock first: what is found stays as it is.
    let log = Log::open(Arc::new(StdFs), &folder.ledger(), note).map_err(Failure::of)?;
    log.flush().map_err(Failure::of)?;
    let reader = LogReader::open(&folder.ledger()).map_err(Failure::of)?;
    let found = Erasable::find(&reader, &wanted).map_err(|error| match error {
        NotErasable::Unknown | NotErasable::Ambiguous(_) => Failure::usage(error.to_string()),
        NotErasable::Ledger(error) => Failure::of(error),
    })?;
    let (party, signer) = signer(&found, args.by_provider)?;
    let key = signing_key(data, party, &signer).map_err(Failure::of)?.ok_or_else(|| {
        let message = format!("no key of {signer} lies in {}/keys; the party signs with its own key", data.display());
        Failure::new(Exit::Auth, message)
    })?;
    let public = hex(key.verifying_key().as_bytes());
    let mut entries: Vec<NewEntry> = Vec::new();
    for payload in &found.payloads {
        let entry = found.entry(payload, &args.basis);
        // One that did not count would leave a payload missing without a reason.
        found.may_sign(&entry, &public).map_err(|fault| {
            Failure::new(Exit::Auth, format!("the erasure would not count if {signer} signed it: {fault}"))
        })?;
        entries.push(SignedTransaction::sign(entry, &key).map_err(Failure::of)?.into());
    }
    let gone: Vec<String> =
        found.payloads.iter().filter(|payload| payload.others == 0).map(|payload| payload.sha256.clone()).collect();
    let appended = log.erase(&gone, || log.append(entries)).map_err(|error: LogError| Failure::of(error))?;
    log.flush().map_err(Failure::of)?;
    let payload = |payload: &Payload| {
        json!({
            "sha256": payload.sha256, "entries": payload.entries, "gone": payload.others == 0,
            "others": payload.others,
        })
    };
    let document = json!({
        "patient": found.patient, "signer": signer, "index": appended.first,
        "payloads": found.payloads.iter().map(payload).collect::<Vec<_>>(),
    });
    context.show(&document, |_| words(&found, appended.first));
    Ok(())
}

/// The patient, or the one provider.
fn signer(found: &Erasable, by_provider: bool) -> Result<(Party, String), Failure> {
    if !by_provider {
        return Ok((Party::Patient, found.patient.clone()));
    }
    let provider = found.provider().ok_or_else(|| {
        Failure::usage("more than one provider wrote it: the patient signs, or name one payload with --payload")
    })?;
    Ok((Party::Hospital, provider.to_owned()))
}

fn words(found: &Erasable, index: u64) -> String {
    let line = |payload: &Payload| match payload.others {
        0 => format!("payload {} of entries {:?} is gone", payload.sha256, payload.entries),
        others => format!(
            "payload {} of entries {:?} counts as erased; its bytes stay, since {others} entries about others hold the same",
            payload.sha256, payload.entries
        ),
    };
    let lines: Vec<String> = found.payloads.iter().map(line).collect();
    format!(
        "{}\nledger entry {index} and after; the rows go with the next cut, at most a day from now (`ingest --cut` makes one now)",
        lines.join("\n")
    )
}
