//! What can go wrong with a log, whose fault it is, and what to do.

use std::{
    io,
    path::{Component, Path},
};

use crate::entry::EntryError;

/// A log's error. Paths are relative to the folder that holds the log's folder; content is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The system refused an operation on a file.
    #[error("cannot {action} `{path}`: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
        /// The system's kind of error.
        kind: io::ErrorKind,
    },
    /// `create` was given a folder with something in it.
    #[error("`{0}` is not empty: a new log takes an empty or missing folder")]
    NotEmpty(String),
    /// Another process, or another `Log` of this one, writes here.
    #[error("`{0}` is in use by another process: one writer at a time; stop it, or ask the running server")]
    Locked(String),
    /// The signing key is not the log's.
    #[error("the signing key is not the key of this log: take the key that created it")]
    WrongKey,
    /// A key file or verifier key that is not one.
    #[error("the note key is malformed: {0}")]
    MalformedKey(&'static str),
    /// A signing key that others than its owner may read.
    #[error(
        "the key file `{0}` is open to others than its owner: `chmod 600` it, and if somebody else may have read it, \
         take a new key"
    )]
    OpenKeyFile(String),
    /// A stored file is not what the log wrote.
    #[error("`{file}` is damaged: {reason}; restore it from a copy, nothing was changed")]
    Corrupt {
        /// The file, or the entry.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// The entry is refused; the caller's fault.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Somebody submitted what looks like the end of a batch, which the log alone writes.
    #[error("an entry of type `block` is written by the log alone")]
    BlockSubmitted,
    /// A blob was handed in that its entry does not name.
    #[error("a blob is not named in its entry by its SHA-256")]
    BlobNotNamed,
    /// An entry names a blob that was neither handed in nor is stored.
    #[error("the entry names blob {0}, which is neither with it nor stored")]
    BlobMissing(String),
    /// A blob is named that is not in the store.
    #[error("no blob {0} is stored here: it never was, or it is erased already")]
    BlobUnknown(String),
    /// An entry names a blob that is being erased.
    #[error("blob {0} is being erased: submit the entry again in a moment, with the blob")]
    BlobErasing(String),
    /// Blobs of one submission must fit into one journal frame.
    #[error("an entry's blobs have {0} bytes, more than a batch can hold")]
    BlobTooLong(usize),
    /// No such index, or a size past the end.
    #[error("index {index} is past the end of the log ({size} entries)")]
    OutOfRange {
        /// What was asked for.
        index: u64,
        /// Entries in the log.
        size: u64,
    },
    /// An earlier write failed, so what is durable is unknown until the log is opened again.
    #[error(
        "the log stopped after a failed write ({0}): entries in flight may or may not be stored; restart to recover"
    )]
    Poisoned(String),
    /// Nothing may be appended: the folder is not the log's newest copy, or the log was closed for good.
    #[error("the log takes no more entries: {0}")]
    Frozen(String),
    /// The log is being closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// Wraps a system error; the path is cut to its last three parts, which name the file and not the machine.
    pub(crate) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let advice = if full { "; the disk is full: free space, then run the same command again" } else { "" };
        Self::Io { action, path: short(path), reason: format!("{error}{advice}"), kind: error.kind() }
    }

    pub(crate) fn corrupt(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), reason: reason.into() }
    }
}

/// The last three parts of a path.
pub(crate) fn short(path: &Path) -> String {
    let named = path.components().filter(|part| !matches!(part, Component::RootDir));
    let parts: Vec<_> = named.map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.get(parts.len().saturating_sub(3)..).unwrap_or_default().join("/")
}
