//! What can stop an ingest, an import or a simulation: whose fault it is and what to do.

use std::path::Path;

use epiledger_ledger::LogError;
use epiledger_ledger::entry::EntryError;
use epiledger_privacy::deidentify::BadCatalog;

/// An error of this crate. It names files, columns and lines, never a patient and never a value.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The system refused an operation on a file.
    #[error("cannot {action} `{file}`: {source}{}", advice(.source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file's name within the data folder.
        file: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The ledger can't be read or written.
    #[error("the ledger: {0}")]
    Log(#[from] LogError),
    /// A transaction could not be made.
    #[error("a transaction could not be written: {0}")]
    Entry(#[from] EntryError),
    /// The data folder has no catalog, or not one of the research tables.
    #[error(transparent)]
    Catalog(#[from] BadCatalog),
    /// A file of the data folder is not what it should be.
    #[error("`{file}` is damaged or from another version ({reason}); restore it, or start with an empty data folder")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key file that others than its owner may read.
    #[error("the key file `{0}` is open to others than its owner: `chmod 600` it, and ask who may have read it")]
    OpenKeyFile(String),
    /// A file that must be there is not.
    #[error("`{file}` is missing; {hint}")]
    Missing {
        /// The file.
        file: String,
        /// How to make it.
        hint: &'static str,
    },
    /// The data folder already holds a ledger.
    #[error("this data folder already holds a ledger; take an empty or missing folder with --data")]
    NotEmpty,
    /// Another process makes the ledger of this data folder.
    #[error("another process makes this data folder's ledger; wait until it has finished")]
    Making,
    /// Another ingest works on this data folder.
    #[error("another ingest is at work on this data folder; wait until it has finished")]
    Busy,
    /// County and day need an expert.
    #[error(
        "the profile expert_determination needs an expert's determination in force on {cut}: \
         append one with `epiledger ledger determine`, or use the profile safe_harbor"
    )]
    NoDetermination {
        /// The cut's day.
        cut: String,
    },
    /// Two patients with one pseudonym.
    #[error("two patients have the same pseudonym; nothing was written. Replace keys/pseudonym.key and ingest anew")]
    Collision,
    /// The storage layer of the tables failed.
    #[error("the table `{table}` can't be {action}: {reason}")]
    Table {
        /// The table.
        table: String,
        /// What was tried.
        action: &'static str,
        /// The storage layer's reason.
        reason: String,
    },
    /// A source file can't be imported.
    #[error("`{file}` line {line}: {reason}")]
    Source {
        /// The file's name.
        file: String,
        /// Line or row, from 1; 0 when the whole file is meant.
        line: u64,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("stopped on request; what was published before stays, and the next run goes on from there")]
    Stopped,
    /// A worker thread died.
    #[error("a worker ended unexpectedly; nothing was published. Run again, and report it if it stays")]
    Worker,
}

impl IngestError {
    /// Makes a file's error; of a path only the last two parts are told.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let file = short(path);
        move |source| Self::Io { action, file, source }
    }

    /// Makes a table's error.
    pub(crate) fn table<E: std::fmt::Display>(table: &str, action: &'static str) -> impl FnOnce(E) -> Self {
        let table = table.to_owned();
        move |reason| Self::Table { table, action, reason: format!("{reason}{}", advice(&reason)) }
    }
}

/// What to do about a full disk, in whoever's words it is told.
fn advice(reason: &impl std::fmt::Display) -> &'static str {
    let full = ["No space left on device", "Disk quota exceeded", "StorageFull"];
    let reason = reason.to_string();
    if full.iter().any(|words| reason.contains(words)) {
        "; the disk is full: free space, then run the same command again"
    } else {
        ""
    }
}

/// The last two parts of a path: enough to find the file, without the machine's folders.
pub(crate) fn short(path: &Path) -> String {
    let mut parts: Vec<_> = path.iter().rev().take(2).map(|p| p.to_string_lossy().into_owned()).collect();
    parts.reverse();
    parts.join("/")
}
