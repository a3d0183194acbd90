//! The auditor: takes a log's folder and nothing else, re-hashes every byte of every file in it, and recomputes what the
//! entries claim. It shares the formats with the writer, and none of its state.
//!
//! A *fault* is something that the log's own code never writes: a changed, missing or foreign file, a broken chain, a
//! budget that does not add up. A *bad transaction* is something that a submitter wrote: the ledger keeps it, and the
//! report counts it by reason code.
//!
//! What a writer has not finished is no fault: the end of the journal or of the newest pack while it is being written, or
//! where a writer was stopped, and files that have no name yet. No head covers those bytes, nobody was told that they are
//! stored, and the next start drops or finishes them; the report counts them. Only what a stop can leave passes as that: a
//! first part of what was being written, or all of it with sectors that read as zeros. Anything else is a fault, so a
//! changed byte is named also in a frame that is acknowledged and not published yet.
//!
//! Heads of frames after the published checkpoint are checked too, but a live writer may not have synced the newest one:
//! a head to pin is the published one.
//!
//! What is held grows with what later entries must agree with, and not with the entries: keys and parties, records that
//! were corrected or do not count, questions without an outcome, half a hash of each question's id, 16 bytes for each
//! answer, blobs that are missing, and the index of the newest pack, which has no file yet.
//!
//! What a folder alone cannot show is a tail that was cut off and signed again with the log's own key: pin a head that
//! you saw earlier ([`AuditOptions::pinned_heads`]).

mod absent;
mod budget;
mod content;
pub(crate) mod day;
mod decimal;
mod diff;
mod files;
mod journal;
mod ledger;
mod packs;
mod pass;
mod policies;
mod price;
mod protocols;
mod report;
mod series;
mod tree;
mod tree_only;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use diff::{Difference, diff};
pub use report::{AuditSummary, Checked, Continued, Fault, IdSpaceBudget, LedgerSummary, Report};
pub use tree_only::{TreeOptions, audit_tree};

use crate::{
    checkpoint::Checkpoint,
    error::LogError,
    fs::{Fs, StdFs},
    recover::read_head,
    verify::pass::Pass,
};

/// Times that a folder is read again when a writer changed it meanwhile.
const LIVE_ATTEMPTS: u32 = 10;

/// Which of the two logs a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Signed transactions.
    Ledger,
    /// Protocols, questions, prices.
    Audit,
}

/// What the auditor knows beforehand.
#[derive(Clone, Copy, Default)]
pub struct AuditOptions<'a> {
    /// The kind of log; found out from the first entry when not given.
    pub kind: Option<Kind>,
    /// The verifier key that the log must have; the folder's own otherwise.
    pub pinned_key: Option<&'a str>,
    /// Notes of checkpoints seen earlier, which the log must continue.
    pub pinned_heads: &'a [String],
    /// Folders of the closed logs that an audit log continues, oldest first: they are audited too, and the budget is
    /// recomputed over all of them.
    pub previous: &'a [PathBuf],
    /// Called with entries done and entries in all.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
}

/// Audits a log's folder. A running writer does no harm: what it adds after the audit began is not judged, and when a
/// file was replaced under the auditor the folder is read again. A fault that is there twice is one.
pub fn audit(dir: &Path, options: AuditOptions<'_>) -> Report {
    let mut earlier = None;
    for _ in 0..LIVE_ATTEMPTS {
        let before = files::fingerprint(dir);
        let report = in_order(dir, &options);
        let written = files::fingerprint(dir) != before || in_use(dir);
        if report.fault.is_none() || !written || report.fault == earlier {
            return report;
        }
        earlier = report.fault;
        std::thread::sleep(Duration::from_millis(200));
    }
    let message = format!("it changed under each of {LIVE_ATTEMPTS} passes: try again, or audit a mirror of it");
    Report { fault: Some(Fault::busy("folder", message)), ..Report::default() }
}

/// Audits the logs before, then the log.
fn in_order(dir: &Path, options: &AuditOptions<'_>) -> Report {
    let (mut before, mut pinned_key, mut heads) = (None, options.pinned_key, options.pinned_heads.to_vec());
    for folder in options.previous {
        // A pinned key or head may be of a closed log: its closing entry vouches for the next key.
        let key = read_head(&StdFs, folder).map(|(key, _)| key).ok();
        pinned_key = pinned_key.filter(|pinned| key.as_ref().is_none_or(|key| key.to_string() != pinned.trim()));
        let of = |note: &String| key.as_ref().is_some_and(|key| Checkpoint::open(note, key).is_some());
        let (own, others): (Vec<String>, _) = heads.into_iter().partition(of);
        heads = others;
        let options = AuditOptions { pinned_heads: &own, ..AuditOptions::default() };
        let (report, ended) = Pass::run(folder, &options, before);
        if let Some(fault) = report.fault {
            let what = format!("{} of {}", fault.what, folder.display());
            return Report { fault: Some(Fault { what, ..fault }), audit: None, ..report };
        }
        before = ended;
    }
    Pass::run(dir, &AuditOptions { pinned_key, pinned_heads: &heads, ..*options }, before).0
}

/// Entries that are committed in a folder, published or not; a running writer may have added to them since.
///
/// # Errors
/// The journal is damaged, or a segment of it was published and removed meanwhile.
pub fn committed(dir: &Path) -> Result<u64, Fault> {
    let failed = |error: LogError| Fault::new("folder", "files", error.to_string());
    let (key, published) = read_head(&StdFs, dir).map_err(failed)?;
    Ok(journal::JournalCheck::open(dir, published.size, &key)?.end.max(published.size))
}

/// Whether a writer holds the folder's lock. Looks only at a lock file that is there: auditing writes nothing.
fn in_use(dir: &Path) -> bool {
    let lock = dir.join("lock");
    lock.is_file() && StdFs.lock(&lock).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
