//! What an audit found.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::Kind;
use crate::{checkpoint::Checkpoint, error::LogError};

/// The outcome of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which log it is; null when it has no entries, or when the audit did not get that far.
    pub kind: Option<Kind>,
    /// The log's name.
    pub origin: String,
    /// Entries under the newest head in the folder.
    pub size: u64,
    /// Root hash of that head, lower-case hex.
    pub root: String,
    /// Whether the tree alone was checked: notes, tiles and the entries' hashes, and nothing that the entries say.
    pub tree_only: bool,
    /// The log's verifier key.
    pub key: String,
    /// The published head that verified; an auditor pins it.
    #[serde(skip)]
    pub head: Option<Checkpoint>,
    /// What was checked, counted.
    pub checked: Checked,
    /// What a ledger's transactions say.
    pub ledger: Option<LedgerSummary>,
    /// What an audit log's entries add up to.
    pub audit: Option<AuditSummary>,
    /// The first fault; null when every byte is as the log wrote it.
    pub fault: Option<Fault>,
}

/// Counts of what was checked before the audit ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Entries hashed, parsed and followed, block leaves included.
    pub entries: u64,
    /// Blocks in the chain.
    pub blocks: u64,
    /// Hash tiles compared byte by byte, partial ones included.
    pub tiles: u64,
    /// Entry bundles compared byte by byte, partial ones included.
    pub bundles: u64,
    /// Blobs hashed.
    pub blobs: u64,
    /// Blobs that an entry names and that were erased as a later entry says.
    pub erased_blobs: u64,
    /// Blobs that an entry names and that were not there to be looked at: a mirror made without a key.
    pub unchecked_blobs: u64,
    /// Journal frames compared with the tree.
    pub frames: u64,
    /// Signed heads verified: the checkpoint, each frame's, each pinned one.
    pub heads: u64,
    /// Ed25519 signatures of transactions verified.
    pub signatures: u64,
    /// Bytes of all files read.
    pub bytes: u64,
    /// Bytes that a writer or a mirror has not finished, or had not when it stopped: the end of the journal or of a pack,
    /// files without a name yet, and what a mirror has fetched past its head. No signed head in the folder covers them,
    /// and the next start drops or finishes them.
    pub unfinished_bytes: u64,
}

/// A ledger's transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerSummary {
    /// Transactions, by type.
    pub transactions: BTreeMap<&'static str, u64>,
    /// Transactions that do not count, by reason code: bad signatures, unknown keys, ..
    pub bad_transactions: BTreeMap<&'static str, u64>,
    /// Keys registered.
    pub keys: u64,
}

/// An audit log's questions and budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditSummary {
    /// Questions paid for.
    pub intents: u64,
    /// Of them asked again with more accuracy, at the difference in price.
    pub finer: u64,
    /// Of them free, since the opening of their series had paid for them.
    pub windows: u64,
    /// Of them answered.
    pub answered: u64,
    /// Of them ended without an answer.
    pub failed: u64,
    /// Of them closed after a stop.
    pub abandoned: u64,
    /// Of them without an outcome yet.
    pub open: u64,
    /// Answers given again, free.
    pub repeated: u64,
    /// Questions refused.
    pub refused: u64,
    /// Protocols ever approved.
    pub protocols: u64,
    /// Draws whose price was recomputed from sensitivity and sigma.
    pub primitives: u64,
    /// Budget of each id space.
    pub budgets: Vec<IdSpaceBudget>,
    /// The closed log that this one continues.
    pub continues: Option<Continued>,
    /// The verifier key of the log that continues this one, when it is closed.
    pub closed: Option<String>,
}

/// The closed log before one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Continued {
    /// Its name.
    pub origin: String,
    /// Entries of it and of those before it.
    pub first: u64,
    /// Whether it was audited too, and the budget recomputed over both. Otherwise nothing is said about questions,
    /// prices and budget here.
    pub recomputed: bool,
}

/// Recomputed budget of one id space, decimals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IdSpaceBudget {
    /// The id space.
    pub id_space: String,
    /// Rho spent.
    pub rho: String,
    /// Its lifetime cap.
    pub rho_cap: String,
    /// Delta spent.
    pub delta: String,
    /// Its lifetime cap.
    pub delta_cap: String,
    /// What the draws are worth as a sum of Gaussians, half the square of its m; `None` where one was of another kind. With
    /// rho it is what an epsilon at `delta_rep` is found from.
    pub gaussian: Option<String>,
    /// Delta at which an epsilon is shown.
    pub delta_rep: String,
}

/// The first thing that is not as the log wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{what}: {message} ({layer})")]
pub struct Fault {
    /// The entry (`entry 17`), tile path or file.
    pub what: String,
    /// What kind of check failed: `files`, `key`, `checkpoint`, `journal`, `entry`, `tile`, `block`, `blob`, `budget`, ..
    pub layer: &'static str,
    /// What does not fit, and no content.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, layer: &'static str, message: impl Into<String>) -> Self {
        Self { what: what.into(), layer, message: message.into() }
    }

    /// The log could not be judged now.
    pub(crate) fn busy(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(what, "busy", message)
    }

    /// Whether the log changed too fast to be judged, or a copy of it is not whole yet: nothing is said against it, and
    /// a later audit may judge it.
    pub fn is_busy(&self) -> bool {
        self.layer == "busy"
    }

    pub(crate) fn entry(index: u64, layer: &'static str, message: impl Into<String>) -> Self {
        Self::new(format!("entry {index}"), layer, message)
    }
}

/// An error of the log's own code.
impl From<LogError> for Fault {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Corrupt { file, reason } => {
                let layer = if file == "key" || file == "checkpoint" { "checkpoint" } else { "files" };
                Self::new(file, layer, reason)
            }
            LogError::Io { path, action, reason, .. } => Self::new(path, "files", format!("cannot {action}: {reason}")),
            other => Self::new("folder", "files", other.to_string()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Some(Kind::Ledger) => "ledger",
            Some(Kind::Audit) => "audit log",
            None => "log",
        };
        writeln!(f, "{kind} {}: {} entries, root {}", self.origin, self.size, self.root)?;
        let checked = &self.checked;
        if self.tree_only {
            writeln!(
                f,
                "  tree alone: {} entries hashed, {} tiles and {} bundles compared ({} bytes), {} signed heads",
                checked.entries, checked.tiles, checked.bundles, checked.bytes, checked.heads
            )?;
            writeln!(f, "  not looked at: what the entries say, blocks, signatures, budget, blobs")?;
            return write_fault(self.fault.as_ref(), f);
        }
        writeln!(
            f,
            "  {} entries hashed and followed, {} blocks linked, {} signed heads",
            checked.entries, checked.blocks, checked.heads
        )?;
        writeln!(
            f,
            "  {} tiles, {} bundles, {} journal frames, {} blobs compared byte by byte ({} bytes)",
            checked.tiles, checked.bundles, checked.frames, checked.blobs, checked.bytes
        )?;
        if checked.unchecked_blobs > 0 {
            writeln!(
                f,
                "  {} blobs unchecked: they need the key of the board, or the operator",
                checked.unchecked_blobs
            )?;
        }
        if checked.unfinished_bytes > 0 {
            writeln!(
                f,
                "  {} bytes are unfinished, by a writer that is writing or was stopped: no head covers them",
                checked.unfinished_bytes
            )?;
        }
        if let Some(ledger) = &self.ledger {
            writeln!(f, "  {} signatures verified, {} keys", checked.signatures, ledger.keys)?;
            for (code, count) in &ledger.bad_transactions {
                writeln!(f, "  {count} transactions do not count: {code}")?;
            }
        }
        if let Some(log) = self.audit.as_ref().and_then(|audit| audit.continues.as_ref()) {
            let what = match log.recomputed {
                true => "which was audited first: what follows is of both",
                false => "NOT given: questions, prices and budget are unchecked; name its folder with --previous",
            };
            writeln!(f, "  it continues {} ({} entries), {what}", log.origin, log.first)?;
        }
        if let Some(key) = self.audit.as_ref().and_then(|audit| audit.closed.as_ref()) {
            writeln!(f, "  it is closed, and goes on as the log of the key {key}")?;
        }
        if let Some(audit) =
            self.audit.as_ref().filter(|audit| audit.continues.as_ref().is_none_or(|log| log.recomputed))
        {
            writeln!(
                f,
                "  {} questions paid ({} answered, {} failed, {} abandoned, {} open), {} repeated free, {} refused",
                audit.intents, audit.answered, audit.failed, audit.abandoned, audit.open, audit.repeated, audit.refused
            )?;
            if audit.windows > 0 {
                writeln!(f, "  {} of them are windows of a series that its opening paid for", audit.windows)?;
            }
            writeln!(f, "  {} prices recomputed from sensitivity and sigma", audit.primitives)?;
            for budget in &audit.budgets {
                writeln!(
                    f,
                    "  budget of {}: rho {} of {}, delta {} of {}",
                    budget.id_space, budget.rho, budget.rho_cap, budget.delta, budget.delta_cap
                )?;
            }
        }
        write_fault(self.fault.as_ref(), f)
    }
}

fn write_fault(fault: Option<&Fault>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match fault {
        None => write!(f, "  no fault"),
        Some(fault) => write!(f, "  FAULT {fault}"),
    }
}
