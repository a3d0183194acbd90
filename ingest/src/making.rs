//! Making a data folder's ledger: whole, or not there.
//!
//! Keys, catalog and public tables are written in place, the ledger under another name; when all of it is durable it
//! gets its own. A stop before leaves no ledger, so nothing reads the rest, and the same command starts over.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::sync::Arc;

use epiledger_ledger::{Log, NoteKey, StdFs};

use crate::error::IngestError;
use crate::folder::{Folder, sync_parent};
use crate::parties::LEDGER_ORIGIN;

/// A data folder whose ledger is being made, by this process alone.
pub(crate) struct Making<'a> {
    folder: &'a Folder,
    _alone: File,
}

impl<'a> Making<'a> {
    /// Makes the folder, and clears what a stopped making left of a ledger.
    pub(crate) fn begin(folder: &'a Folder) -> Result<Self, IngestError> {
        folder.create()?;
        let keys = folder.keys();
        let alone = File::open(&keys).map_err(IngestError::io("open", &keys))?;
        match alone.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(IngestError::Making),
            Err(TryLockError::Error(error)) => return Err(IngestError::io("lock", &keys)(error)),
        }
        if folder.ledger().exists() {
            return Err(IngestError::NotEmpty);
        }
        let left = folder.new_ledger();
        match fs::remove_dir_all(&left) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(IngestError::io("remove", &left)(error)),
            _ => Ok(Self { folder, _alone: alone }),
        }
    }

    /// The ledger, to be filled and closed. Its note key is random, in a simulation too: the blocks' times and sizes are
    /// of this run, so two ledgers of one seed differ, and an auditor takes two logs under one key for one that was
    /// rewritten.
    pub(crate) fn ledger(&self) -> Result<Log, IngestError> {
        let note = NoteKey::generate(LEDGER_ORIGIN)?;
        let log = Log::create(Arc::new(StdFs), &self.folder.new_ledger(), LEDGER_ORIGIN, note.clone())?;
        // One that is there is of a ledger that was not finished.
        let path = self.folder.ledger_key();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(IngestError::io("remove", &path)(error)),
            _ => note.save(&path)?,
        }
        Ok(log)
    }

    /// Everything is written and closed: the ledger gets its name.
    pub(crate) fn finish(self) -> Result<(), IngestError> {
        for dir in [self.folder.keys().join("hospitals"), self.folder.keys(), self.folder.root().to_owned()] {
            File::open(&dir).and_then(|dir| dir.sync_all()).map_err(IngestError::io("sync", &dir))?;
        }
        let (new, ledger) = (self.folder.new_ledger(), self.folder.ledger());
        fs::rename(&new, &ledger).map_err(IngestError::io("rename", &new))?;
        sync_parent(&ledger)
    }
}
