//! `audit verify`: a folder, a mirror or an address, against a pinned key and head.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use epiledger_ledger::verify::{self, AuditOptions, Fault, Report, TreeOptions, audit_tree};
use epiledger_ledger::{FollowError, Mirror, MirrorError, SourceError, StdFs, VerifierKey};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::super::client::read_key;
use super::super::exit::{Exit, Failure};
use super::super::place::{PATIENCE_SECONDS, Place};
use super::super::{Context, progress};
use super::receipt::newest;
use crate::pin::{Pin, Pinned};

/// What `verify` takes.
#[derive(clap::Args)]
pub(in super::super) struct Args {
    /// The log's folder, a mirror's, or the http:// address of its tiles (default: the data folder's own log).
    #[arg(value_name = "DIR|URL")]
    place: Option<String>,
    /// The verifier key that the log must have, or a file that holds it. An address needs it.
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// The auditor's own state: the key and the newest head verified (default: a file in the user's state folder).
    #[arg(long, value_name = "FILE")]
    pin: Option<PathBuf>,
    /// The folder of a closed audit log that this one continues; again for more, oldest first (default: for `audit.3`,
    /// the `audit` and `audit.2` beside it).
    #[arg(long, value_name = "DIR")]
    previous: Vec<PathBuf>,
    /// Check notes, tiles and hashes alone: for a tlog-tiles log of any implementation.
    #[arg(long)]
    tree_only: bool,
    #[command(flatten)]
    remote: Remote,
}

/// How an address is read.
#[derive(clap::Args)]
pub(in super::super) struct Remote {
    /// Seconds that one file may take from an address.
    #[arg(long, default_value_t = PATIENCE_SECONDS, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

impl Remote {
    /// Time for one file.
    pub(in super::super) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// The API key for a server, when one is named.
pub(in super::super) fn api_key(context: &Context) -> Result<Option<SecretString>, Failure> {
    context.settings.key_file.as_deref().map(read_key).transpose()
}

/// A verifier key as text, or the file that holds it.
pub(in super::super) fn verifier_key(text: &str) -> Result<VerifierKey, Failure> {
    let path = Path::new(text);
    let text = match path.is_file() {
        true => std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("{text} can't be read: {e}")))?,
        false => text.to_owned(),
    };
    VerifierKey::parse(text.trim()).map_err(|error| Failure::usage(format!("--key: {error}")))
}

/// The key in a log's folder.
pub(in super::super) fn read_key_of(folder: &Path) -> Result<VerifierKey, Failure> {
    let path = folder.join("key");
    let broken = |why: &str| Failure::new(Exit::Broken, format!("{} is broken at key: {why}", folder.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| {
        use std::io::ErrorKind::{InvalidData, NotFound};
        match error.kind() {
            NotFound if folder.join("checkpoint").exists() => return broken("it is not there"),
            InvalidData if folder.join("checkpoint").exists() => return broken("it is no text"),
            _ => {}
        }
        let message = format!("{} can't be read ({error}): name the log's verifier key with --key", path.display());
        Failure::usage(message)
    })?;
    VerifierKey::parse(text.trim_end_matches('\n')).map_err(|error| broken(&error.to_string()))
}

/// Verifies and prints what was checked; exit 6 when something is broken. `own` names the data folder's log.
pub(in super::super) fn run(context: &Context, own: &str, args: Args) -> Result<(), Failure> {
    let place = match &args.place {
        Some(text) => Place::parse(text)?,
        None if own == "audit" => Place::parse(&newest(context).to_string_lossy())?,
        None => Place::parse(&context.settings.data.join(own).to_string_lossy())?,
    };
    let named = args.key.as_deref().map(verifier_key).transpose()?;
    let file = args.pin.as_deref().map(Pin::at);
    let pinned = file.as_ref().map(Pin::read).transpose()?.flatten();
    if let (Some(named), Some(pinned)) = (&named, &pinned)
        && *named != pinned.key
    {
        return Err(Failure::usage("--key is not the key in --pin: one of them is of another log"));
    }
    let vouched = named.or_else(|| pinned.as_ref().map(|pinned| pinned.key.clone()));
    let key = match (&vouched, &place) {
        (Some(key), _) => key.clone(),
        (None, Place::Folder(folder)) => read_key_of(folder)?,
        (None, Place::Address(_)) => {
            let what = "name the log's verifier key with --key: an address does not vouch for its own";
            return Err(Failure::usage(format!("{what} (a log's folder has it in `key`)")));
        }
    };
    let pinned = match (pinned, &file) {
        (None, None) => Pin::of(&key).map(|pin| pin.read()).transpose()?.flatten(),
        (pinned, _) => pinned,
    };
    let previous = match (&place, args.previous.is_empty()) {
        (Place::Folder(folder), true) => beside(folder),
        _ => args.previous,
    };
    let vouched = vouched.is_some();
    let audit = Audit { context, place: &place, key: &key, vouched, pinned, previous, remote: &args.remote };
    let mut pin_kept = true;
    let report = if args.tree_only { audit.tree()? } else { audit.whole()? };
    // The key of a log that goes on after the vouched one's was verified with it.
    let newest = VerifierKey::parse(&report.key).unwrap_or_else(|_| key.clone());
    let pin = file.or_else(|| Pin::of(&newest));
    if report.fault.is_none()
        && let (Some(pin), Some(head)) = (&pin, &report.head)
    {
        match pin.write(&newest, head) {
            // Who named the file wants the head in it; of the default file nobody may know.
            Err(error) if args.pin.is_none() => {
                let _ = writeln!(std::io::stderr(), "epiledger: the log verifies, but {error}");
                pin_kept = false;
            }
            written => written.map_err(|error| Failure::of(format!("the log verifies, but {error}")))?,
        }
    }
    let pin = pin.filter(|_| pin_kept);
    let seen = audit.pinned.as_ref().map(|pinned| pinned.head.size);
    show(context, &place, &report, seen, pin.as_ref())
}

/// The closed logs beside a folder `NAME.n`: `NAME`, `NAME.2`, .., as a data folder has them; none if one is missing.
pub(in super::super) fn beside(folder: &Path) -> Vec<PathBuf> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let Some((stem, Ok(number))) = name.and_then(|name| name.rsplit_once('.')).map(|(s, n)| (s, n.parse::<u32>()))
    else {
        return Vec::new();
    };
    let later = (2..number).map(|earlier| folder.with_file_name(format!("{stem}.{earlier}")));
    let all: Vec<PathBuf> = std::iter::once(folder.with_file_name(stem)).chain(later).collect();
    if all.iter().all(|folder| folder.join("checkpoint").exists()) { all } else { Vec::new() }
}

/// One audit.
struct Audit<'a> {
    context: &'a Context,
    place: &'a Place,
    key: &'a VerifierKey,
    /// Did the user name the key, and not the folder itself?
    vouched: bool,
    pinned: Option<Pinned>,
    previous: Vec<PathBuf>,
    remote: &'a Remote,
}

impl Audit<'_> {
    fn heads(&self) -> Vec<String> {
        self.pinned.iter().map(|pinned| pinned.head.note.clone()).collect()
    }

    fn tree(&self) -> Result<Report, Failure> {
        let key = api_key(self.context)?;
        let source = self.place.source(key.as_ref(), self.remote.patience());
        let heads = self.heads();
        Ok(audit_tree(source.as_ref(), TreeOptions { key: self.key, pinned_heads: &heads, progress: None })?)
    }

    fn whole(&self) -> Result<Report, Failure> {
        match self.place {
            Place::Folder(folder) => Ok(self.folder(folder)),
            Place::Address(_) => self.address(),
        }
    }

    fn folder(&self, folder: &Path) -> Report {
        let (heads, key) = (self.heads(), self.key.to_string());
        let pinned_key = (self.vouched || self.pinned.is_some()).then_some(key.as_str());
        verify::audit(
            folder,
            AuditOptions { pinned_key, pinned_heads: &heads, previous: &self.previous, ..AuditOptions::default() },
        )
    }

    /// Fetches the log into a mirror of its own, verified on the way, and audits that.
    fn address(&self) -> Result<Report, Failure> {
        let key = api_key(self.context)?;
        match self.mirrored(key.as_ref(), key.is_some()) {
            // A key of another role reads the public files all the same, and the report says what stayed unchecked.
            Err(MirrorError::Follow(FollowError::Source(SourceError::Denied(_)))) if key.is_some() => {
                self.mirrored(None, false)
            }
            other => other,
        }
        .or_else(|error| match error {
            MirrorError::Follow(FollowError::Fault(fault)) => {
                Ok(Report { origin: self.key.name().to_owned(), fault: Some(fault), ..Report::default() })
            }
            other => Err(other.into()),
        })
    }

    fn mirrored(&self, key: Option<&SecretString>, blobs: bool) -> Result<Report, MirrorError> {
        let failed = |error: std::io::Error| {
            MirrorError::from(FollowError::from(SourceError::Failed(format!("no temporary folder: {error}"))))
        };
        let temporary = tempfile::tempdir().map_err(failed)?;
        let folder = temporary.path().join("mirror");
        let source = self.place.source(key, self.remote.patience());
        let mut mirror = Mirror::open(Arc::new(StdFs), &folder, self.key, blobs)?;
        let (bar, synced) = progress::with_count("fetching", |step| mirror.sync(source.as_ref(), step));
        bar.finish_and_clear();
        synced?;
        drop(mirror);
        Ok(self.folder(&folder))
    }
}

impl From<MirrorError> for Failure {
    fn from(error: MirrorError) -> Self {
        match error {
            MirrorError::Follow(FollowError::Fault(fault)) => Self::new(Exit::Broken, format!("broken at {fault}")),
            MirrorError::Follow(FollowError::Source(error)) => error.into(),
            MirrorError::NotThisMirror { .. } => Self::usage(error.to_string()),
            MirrorError::Folder(error) => error.into(),
        }
    }
}

fn show(
    context: &Context,
    place: &Place,
    report: &Report,
    seen: Option<u64>,
    pin: Option<&Pin>,
) -> Result<(), Failure> {
    let broken = |fault: &Fault| {
        let how = if fault.is_busy() { "can't be judged now" } else { "is broken" };
        Failure::new(fault.into(), format!("{place} {how} at {fault}"))
    };
    if context.json {
        // The report goes out even when it names a fault: that is what a script reads.
        let mut document = serde_json::to_value(report).map_err(Failure::of)?;
        let file = pin.map(|pin| pin.path().display().to_string());
        if let Some(members) = document.as_object_mut() {
            members.insert("pinned".into(), json!({ "size": seen, "file": file }));
        }
        context.show(&document, Value::to_string);
        return report.fault.as_ref().map_or(Ok(()), |fault| Err(broken(fault)));
    }
    if let Some(fault) = &report.fault {
        return Err(broken(fault));
    }
    let pinned = match (seen, pin) {
        (Some(size), _) => format!("\n  it continues the head of {size} entries that was pinned at an earlier audit"),
        (None, Some(_)) => format!(
            "\n  first audit of this key here: its head is pinned now. Compare the key with the board's:\n  {}",
            report.key
        ),
        (None, None) => "\n  nothing is pinned: no home folder can be written; name a file with --pin".to_owned(),
    };
    context.say(&format!("{report}{pinned}"));
    Ok(())
}

/// What was checked in a folder that this process made, in words; nothing is pinned.
///
/// # Errors
/// Exit 6 naming the entry, tile or file that is broken.
pub(in super::super) fn verify_folder(dir: &Path) -> Result<String, Failure> {
    let report = verify::audit(dir, AuditOptions { previous: &beside(dir), ..AuditOptions::default() });
    match &report.fault {
        None => Ok(report.to_string()),
        Some(fault) => Err(Failure::new(fault.into(), format!("{} is broken at {fault}", dir.display()))),
    }
}
