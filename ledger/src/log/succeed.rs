//! Logs one after the other: a closed log names the key of the next, whose first entry holds the closed one's head.
//!
//! | Stops | Left behind | Next run |
//! |---|---|---|
//! | before the closing entry is durable | the log as it was | begins again |
//! | before the next log has its `checkpoint` | a part of its folder | [`Log::succeed`] finishes it |
//! | before its first entry is durable | an empty log | [`Log::succeed`] appends it |
//!
//! A log's indices count on from those of the logs before it, in everything that entries say and in the methods of
//! [`Log`]; tiles, checkpoints and proofs are each log's own.

use std::{path::Path, sync::Arc};

use super::{Log, Ticket};
use crate::{
    checkpoint::Checkpoint,
    entry::{AuditEntry, AuditLogEntry, LogClose, LogContinue, parse_audit_entry},
    error::LogError,
    fs::Fs,
    note::{NoteKey, VerifierKey},
    reader::LogReader,
    setup::Setup,
};

/// The closed logs before one, oldest first.
#[derive(Default)]
pub(crate) struct Previous {
    logs: Vec<LogReader>,
}

impl Previous {
    /// Entries of all of them.
    pub(crate) fn size(&self) -> u64 {
        self.logs.iter().map(LogReader::size).sum()
    }

    /// The log that holds an index, and the index within it.
    fn find(&self, mut index: u64) -> Option<(&LogReader, u64)> {
        self.logs.iter().find_map(|log| match index.checked_sub(log.size()) {
            None => Some((log, index)),
            Some(rest) => {
                index = rest;
                None
            }
        })
    }

    /// An entry of one of them.
    pub(crate) fn read(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let (log, index) = self.find(index).ok_or(LogError::OutOfRange { index, size: self.size() })?;
        log.read(index)
    }

    /// A receipt from the log that holds the entry.
    pub(crate) fn prove(&self, index: u64) -> Result<String, LogError> {
        let (log, index) = self.find(index).ok_or(LogError::OutOfRange { index, size: self.size() })?;
        log.prove_inclusion(index)
    }

    /// A blob of any of them.
    pub(crate) fn blob(&self, sha256_hex: &str) -> Result<Option<Vec<u8>>, LogError> {
        let found = self.logs.iter().rev().map(|log| log.blob(sha256_hex)).find(|found| !matches!(found, Ok(None)));
        found.unwrap_or(Ok(None))
    }
}

impl Log {
    /// Appends the closing entry, and takes nothing more. `next` is the key of the log that goes on.
    ///
    /// # Errors
    /// The log is frozen or has stopped.
    pub fn close(&self, next: &VerifierKey, approvers: [String; 2]) -> Result<(), LogError> {
        let entry = AuditEntry::LogClose(LogClose { key: next.to_string(), approvers });
        self.submit(vec![entry.to_canonical()?.into()]).and_then(Ticket::wait_pinned)?;
        self.freeze_closed()?;
        self.flush()
    }

    /// The closing entry, when the log has one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn closed(&self) -> Result<Option<LogClose>, LogError> {
        let last = closing(self.checkpoint().size);
        last.map_or(Ok(None), |last| self.read(self.first() + last).map(|entry| as_close(&entry)))
    }

    /// A log that is closed takes nothing more, whoever opens it.
    pub(super) fn freeze_closed(&self) -> Result<(), LogError> {
        if let Some(close) = self.closed()? {
            let next = close.key.split('+').next().unwrap_or_default();
            self.freeze(&format!("it was closed, and goes on as {next}"));
        }
        Ok(())
    }

    /// Makes or opens the log that goes on after closed ones, oldest first, the last of which names this log's key.
    ///
    /// # Errors
    /// One of them is not closed or does not go on as the next; or as [`Self::open_with`].
    pub fn succeed(
        fs: Arc<dyn Fs>,
        dir: &Path,
        key: NoteKey,
        previous: Vec<LogReader>,
        setup: Setup,
    ) -> Result<Self, LogError> {
        let Some(begins) = follow(&previous, &key.verifier_key())? else {
            return Self::open_with(fs, dir, key, setup);
        };
        let origin = key.origin().to_owned();
        let log = match fs.read(&dir.join("checkpoint")) {
            Ok(_) => Self::open_with(fs, dir, key, setup)?,
            Err(_) => Self::create_with(fs, dir, &origin, key, setup)?,
        };
        // Time does not go back from one log to the next either.
        if let Some(time) = previous.last().map(last_time).transpose()? {
            log.shared.state()?.tick(time);
        }
        if log.checkpoint().size == 0 {
            log.append(vec![AuditEntry::LogContinue(begins).to_canonical()?.into()])?;
        } else if log.read(0)? != AuditEntry::LogContinue(begins).to_canonical()?.into_bytes() {
            return Err(LogError::corrupt("entry 0", "it does not continue the log that is closed before it"));
        }
        // Never set before: the log was opened just now.
        let _ = log.shared.previous.set(Previous { logs: previous });
        Ok(log)
    }

    /// Entries of the logs before this one: the index of this one's first entry.
    pub fn first(&self) -> u64 {
        self.shared.first()
    }

    /// The index that an entry has within its own log, which its receipt names.
    pub fn place(&self, index: u64) -> u64 {
        let found = self.before(index).and_then(|previous| previous.find(index));
        found.map_or_else(|| index.saturating_sub(self.first()), |(_, place)| place)
    }

    /// The logs before this one, when one of them holds an index.
    pub(super) fn before(&self, index: u64) -> Option<&Previous> {
        self.shared.previous.get().filter(|previous| index < previous.size())
    }

    /// The closed logs before this one, oldest first.
    pub fn previous(&self) -> &[LogReader] {
        self.shared.previous.get().map_or(&[], |previous| &previous.logs)
    }
}

/// What the log of `key` begins with, after logs each of which goes on as the next; `None` where there are none.
fn follow(previous: &[LogReader], key: &VerifierKey) -> Result<Option<LogContinue>, LogError> {
    let mut begins: Option<LogContinue> = None;
    for (at, log) in previous.iter().enumerate() {
        let wrong = |what: &str| Err(LogError::corrupt(log.verifier_key().name(), what));
        if let Some(begins) = &begins
            && AuditEntry::LogContinue(begins.clone()).to_canonical()?.into_bytes() != log.read(0)?
        {
            return wrong("its first entry does not continue the log before it");
        }
        let next = previous.get(at + 1).map_or(key, LogReader::verifier_key);
        if log.closed()?.is_none_or(|close| close.key != next.to_string()) {
            return wrong("it is not closed, or does not go on as the log after it");
        }
        begins = Some(LogContinue {
            key: log.verifier_key().to_string(),
            checkpoint: log.checkpoint().note.clone(),
            first: begins.map_or(0, |begins| begins.first) + log.size(),
        });
    }
    Ok(begins)
}

/// Where a closing entry stands: the last leaf is its block.
fn closing(size: u64) -> Option<u64> {
    size.checked_sub(2)
}

/// The time of a log's last block.
fn last_time(log: &LogReader) -> Result<u64, LogError> {
    let last = log.size().checked_sub(1).map(|last| log.read(last)).transpose()?;
    Ok(match last.as_deref().map(parse_audit_entry) {
        Some(Ok(AuditLogEntry::Block(block))) => block.time,
        _ => 0,
    })
}

fn as_close(entry: &[u8]) -> Option<LogClose> {
    match parse_audit_entry(entry) {
        Ok(AuditLogEntry::Entry(AuditEntry::LogClose(close))) => Some(close),
        _ => None,
    }
}

impl LogReader {
    /// The closing entry, when the log has one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn closed(&self) -> Result<Option<LogClose>, LogError> {
        closing(self.size()).map_or(Ok(None), |last| self.read(last).map(|entry| as_close(&entry)))
    }

    /// [`Log::prove_inclusion`] under the pinned head.
    ///
    /// # Errors
    /// As there.
    pub fn prove_inclusion(&self, index: u64) -> Result<String, LogError> {
        let (entry, head): (Vec<u8>, &Checkpoint) = (self.read(index)?, self.checkpoint());
        let path = crate::tree::prove_inclusion(&self.tiles(), index, head.size)?;
        Ok(crate::proof::proof_text(&entry, index, &path, head))
    }

    /// Root of the tree of the first `size` entries.
    ///
    /// # Errors
    /// There are fewer, or a tile cannot be read.
    pub fn root_at(&self, size: u64) -> Result<crate::Hash, LogError> {
        if size > self.size() {
            return Err(LogError::OutOfRange { index: size, size: self.size() });
        }
        crate::tree::root(&self.tiles(), size)
    }
}
