//! `audit verify|diff|receipt|export|redact|search|rotate`: the first four trust no server, redact and search ask it,
//! rotate needs the folder alone.

mod export;
mod fhir;
mod receipt;
mod redact;
mod rotate;
mod search;
pub(super) mod verify;

use std::path::PathBuf;

use clap::Subcommand;
use epiledger_ledger::verify::{Difference, diff};
use epiledger_ledger::{FollowError, VerifierKey};

use self::export::Form;
use super::Context;
use super::exit::{Exit, Failure};
use super::place::Place;
use verify::{Remote, api_key, read_key_of, verifier_key};

/// What to do with the audit log.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Re-hashes everything, replays every rule and the whole budget. Takes either log, as a folder or an address.
    Verify(verify::Args),
    /// Verifies two copies of a log, and finds the first entry in which they differ.
    Diff {
        /// A folder or an http:// address.
        #[arg(value_name = "DIR|URL")]
        one: String,
        /// Another.
        #[arg(value_name = "DIR|URL")]
        other: String,
        /// The log's verifier key, or a file that holds it (default: the one in a folder named here).
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Verifies a receipt without any server: an answer as JSON, or a tlog-proof text.
    Receipt {
        /// The file, or - for stdin.
        file: PathBuf,
        /// The log's verifier key, or a file that holds it (default: the data folder's audit log's).
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
    },
    /// Writes a log's entries to stdout.
    Export {
        /// The log's folder, or a mirror of it.
        dir: PathBuf,
        #[command(flatten)]
        form: Form,
    },
    /// Takes a text or a result out of the log's blobs, approved by two keys; the entries stay and the log still verifies.
    Redact(redact::Args),
    /// Lists entries with the full text of their questions, or asks about them in SQL.
    Search(search::Args),
    /// Closes the log, and goes on in a new one under a new key.
    Rotate(rotate::Args),
}

/// Runs a verb.
pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Verify(args) => verify::run(context, "audit", args),
        Verb::Diff { one, other, key, remote } => compare(context, [one, other], key.as_deref(), &remote),
        Verb::Receipt { file, key } => receipt::run(context, &file, key.as_deref()),
        Verb::Export { dir, form } => export::run(&dir, &form),
        Verb::Redact(args) => redact::run(context, &args),
        Verb::Search(args) => search::run(context, args),
        Verb::Rotate(args) => rotate::run(context, &args),
    }
}

fn compare(context: &Context, names: [String; 2], key: Option<&str>, remote: &Remote) -> Result<(), Failure> {
    let [one, other] = &names;
    let places = [Place::parse(one)?, Place::parse(other)?];
    let key = key_of(&places, key)?;
    let api_key = api_key(context)?;
    let [left, right] = places.each_ref().map(|place| place.source(api_key.as_ref(), remote.patience()));
    let found = diff([left.as_ref(), right.as_ref()], &key).map_err(|(which, error)| {
        let place = places.get(which).map_or_else(String::new, ToString::to_string);
        match error {
            FollowError::Fault(fault) => Failure::new(Exit::Broken, format!("{place} is broken at {fault}")),
            FollowError::Source(error) => error.into(),
        }
    })?;
    context.show(&serde_json::to_value(&found).map_err(Failure::of)?, |_| in_words(&names, &found));
    match found.fault() {
        None => Ok(()),
        Some(fault) => Err(Failure::new(Exit::Broken, format!("{fault}"))),
    }
}

fn in_words(names: &[String; 2], found: &Difference) -> String {
    let [one, other] = names;
    let [left, right] = found.sizes;
    let common = found.common;
    match (found.forked, left.cmp(&right)) {
        (true, _) => format!("the copies are the same up to entry {common}, and differ there"),
        (_, std::cmp::Ordering::Equal) => format!("the copies are the same: {common} entries, both trees verified"),
        (_, std::cmp::Ordering::Less) => {
            format!("{one} is a beginning of {other}: {common} entries are the same, {} follow", right - left)
        }
        (_, std::cmp::Ordering::Greater) => {
            format!("{other} is a beginning of {one}: {common} entries are the same, {} follow", left - right)
        }
    }
}

/// The key that the user names, else that of a folder among the places.
fn key_of(places: &[Place; 2], named: Option<&str>) -> Result<VerifierKey, Failure> {
    if let Some(named) = named {
        return verifier_key(named);
    }
    let folder = places.iter().find_map(|place| match place {
        Place::Folder(folder) => Some(folder),
        Place::Address(_) => None,
    });
    let unnamed = || Failure::usage("name the log's verifier key with --key: an address does not vouch for its own");
    read_key_of(folder.ok_or_else(unnamed)?)
}
