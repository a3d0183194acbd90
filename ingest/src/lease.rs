//! Which files of the tables may go: those of a state that the newest snapshot does not name and that nobody reads.
//!
//! A reader holds the folder of its snapshot's state locked, shared, for as long as it may open the files; the system
//! lets go of the lock when its process ends, however it ends. Each cut removes every state that it supersedes and
//! finds free, and a reader that lets go of one that was superseded meanwhile removes it itself. So rows that a
//! revocation took out of the newest snapshot leave the disk with the cut, or with the last question over the one
//! before; what a killed reader leaves goes with the next cut.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use epiledger_privacy::research::PRIVATE_TABLES;

use crate::error::IngestError;
use crate::folder::Folder;
use crate::pipeline::lock;
use crate::snapshot::{SnapshotManifest, newest, newest_number};

/// The table whose state folder is locked for all: it has rows of every patient.
const LOCKED: &str = "person";

/// Where Delta keeps a table's log.
pub(crate) const DELTA_LOG: &str = "_delta_log";

/// The files of one snapshot, held until this is dropped.
#[derive(Debug)]
pub struct Lease {
    folder: Folder,
    state: String,
    _held: File,
}

/// The newest snapshot, its files held; `None` before the first.
///
/// # Errors
/// The manifest or its files can't be read.
pub fn hold(data: &Path) -> Result<Option<(SnapshotManifest, Lease)>, IngestError> {
    loop {
        let Some(manifest) = newest(data)? else { return Ok(None) };
        let lease = Lease::of(data, &manifest);
        // Whatever is the newest after it was locked can't go any more; an older one may be half gone.
        if newest_number(data)? == Some(manifest.number) {
            return Ok(Some((manifest, lease?)));
        }
    }
}

impl Lease {
    fn of(data: &Path, manifest: &SnapshotManifest) -> Result<Self, IngestError> {
        let folder = Folder::new(data);
        let state = manifest.state().unwrap_or_default().to_owned();
        let path = folder.tables().join(LOCKED).join(&state);
        let held = File::open(&path).map_err(IngestError::io("open", &path))?;
        held.lock_shared().map_err(IngestError::io("lock", &path))?;
        Ok(Self { folder, state, _held: held })
    }

    /// Lets go of the files, and removes them when they are of no use to anyone else.
    ///
    /// # Errors
    /// The system refuses; the next cut removes them then.
    pub fn let_go(self) -> Result<(), IngestError> {
        let Self { folder, state, _held: held } = self;
        drop(held);
        let _alone = match lock(&folder) {
            // An ingest is at work: it removes what it finds free at its end, or the next one does.
            Err(IngestError::Busy) => return Ok(()),
            other => other?,
        };
        match newest(folder.root())? {
            Some(newest) if newest.state() != Some(&state) => remove(&folder, &state).map(|_| ()),
            _ => Ok(()),
        }
    }
}

/// Removes every state but the newest snapshot's and those that are held. Call it under the ingest's lock, once the
/// newest manifest is published and every table is at its state.
pub(crate) fn sweep(folder: &Folder, newest: &SnapshotManifest) -> Result<(), IngestError> {
    let mut states = BTreeSet::new();
    for table in PRIVATE_TABLES {
        let dir = folder.tables().join(table);
        for entry in fs::read_dir(&dir).map_err(IngestError::io("read", &dir))? {
            states.insert(entry.map_err(IngestError::io("read", &dir))?.file_name().to_string_lossy().into_owned());
        }
    }
    states.retain(|state| state != DELTA_LOG && newest.state() != Some(state));
    states.iter().try_for_each(|state| remove(folder, state).map(|_| ()))
}

/// Removes a state's files from every table; `false` while somebody holds them.
fn remove(folder: &Folder, state: &str) -> Result<bool, IngestError> {
    let path = folder.tables().join(LOCKED).join(state);
    let held = match File::open(&path) {
        Ok(file) => Some(file),
        // A stop while it was removed, or while it was made.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(IngestError::io("open", &path)(error)),
    };
    if let Some(file) = &held {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(IngestError::io("lock", &path)(error)),
        }
    }
    // The locked folder last: what is left after a stop is found again.
    for table in PRIVATE_TABLES.into_iter().rev() {
        let dir = folder.tables().join(table).join(state);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(IngestError::io("remove", &dir)(error)),
            _ => {}
        }
    }
    Ok(true)
}
