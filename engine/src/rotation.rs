//! The audit logs of a data folder: `audit`, and after each rotation the one that goes on, `audit.2`, `audit.3`, ..
//!
//! A rotation saves the next key as `keys/audit.2.next.key`, closes the log, makes the next one, and gives the key its
//! name, `audit.2.key`. Only under a `next` key is a log made; a folder that is gone beside a key was taken away, and
//! with it what was spent.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use epiledger_ingest::Folder;
use epiledger_ledger::{Log, LogError, LogReader, NoteKey, Setup, StdFs};

use crate::{
    open::{AUDIT_ORIGIN, OpenError, io},
    query::Engine,
};

/// The name of the `number`-th audit log of a data folder, from 1.
fn name(number: usize) -> String {
    if number == 1 { "audit".to_owned() } else { format!("audit.{number}") }
}

fn key(data: &Path, number: usize, suffix: &str) -> PathBuf {
    Folder::new(data).keys().join(format!("{}{suffix}", name(number)))
}

/// The folders of a data folder's audit logs, oldest first; the last one is written to, the others are closed.
#[must_use]
pub fn audit_folders(data: &Path) -> Vec<PathBuf> {
    let there = |number: &usize| data.join(name(*number)).exists() || key(data, *number, ".key").exists();
    let later = (2..).take_while(there).map(|number| data.join(name(number)));
    std::iter::once(data.join(name(1))).chain(later).collect()
}

/// The folder's audit log, made when it is missing; a rotation that was stopped is finished.
///
/// # Errors
/// It is in use, damaged, or can't be made; or one of the logs before it is missing or another.
pub fn audit_log(data: &Path) -> Result<Log, OpenError> {
    let folders = audit_folders(data);
    let number = folders.len();
    let log = if number == 1 { first(data)? } else { later(data, number)? };
    let Some(closed) = log.closed()? else { return Ok(log) };
    let next = key(data, number + 1, ".next.key");
    if next.exists() && NoteKey::load(&next)?.verifier() == closed.key {
        log.flush()?;
        return begin(data, number + 1);
    }
    Ok(log)
}

/// The first log of a folder.
fn first(data: &Path) -> Result<Log, OpenError> {
    let (dir, key_path, disk) = (data.join(name(1)), key(data, 1, ".key"), Arc::new(StdFs));
    if key_path.exists() {
        let key = NoteKey::load(&key_path)?;
        // A stop while the log was made leaves its folder without a checkpoint. A folder that is gone altogether was
        // taken away, and with it what was spent: that is no new log.
        if dir.exists() && !dir.join("checkpoint").exists() {
            return Ok(Log::create(disk, &dir, AUDIT_ORIGIN, key)?);
        }
        return Ok(Log::open(disk, &dir, key)?);
    }
    fs::create_dir_all(&dir).map_err(io(&dir))?;
    let key = NoteKey::generate(AUDIT_ORIGIN)?;
    key.save(&key_path)?;
    Ok(Log::create(disk, &dir, AUDIT_ORIGIN, key)?)
}

/// A log after others.
fn later(data: &Path, number: usize) -> Result<Log, OpenError> {
    let path = key(data, number, ".key");
    if !path.exists() {
        return begin(data, number);
    }
    let dir = data.join(name(number));
    if !dir.join("checkpoint").exists() {
        let gone = std::io::Error::other("the audit log is gone, and with it what was spent: restore the newest copy");
        return Err(io(&dir)(gone));
    }
    Ok(Log::succeed(Arc::new(StdFs), &dir, NoteKey::load(&path)?, before(data, number)?, Setup::default())?)
}

/// Makes the log that goes on after a closed one, or finishes it, and gives its key its name.
fn begin(data: &Path, number: usize) -> Result<Log, OpenError> {
    let (next, path) = (key(data, number, ".next.key"), key(data, number, ".key"));
    let loaded = NoteKey::load(&next)?;
    let dir = data.join(name(number));
    let log = Log::succeed(Arc::new(StdFs), &dir, loaded, before(data, number)?, Setup::default())?;
    log.flush()?;
    let keys = Folder::new(data).keys();
    fs::rename(&next, &path).and_then(|()| File::open(&keys)?.sync_all()).map_err(io(&path))?;
    Ok(log)
}

/// The closed logs before one.
fn before(data: &Path, number: usize) -> Result<Vec<LogReader>, LogError> {
    (1..number).map(|earlier| LogReader::open(&data.join(name(earlier)))).collect()
}

impl Engine {
    /// Closes the audit log and begins the next, under a new key, with the budget as it is. The engine takes no entries
    /// afterwards: open the folder again. Gives the folder of the new log.
    ///
    /// # Errors
    /// The log is frozen, or can't be written; a rotation that was begun is finished when the folder is opened again.
    pub fn rotate(&self, approvers: [String; 2]) -> Result<PathBuf, OpenError> {
        if let Some(why) = self.audit().frozen() {
            return Err(LogError::Frozen(why.to_owned()).into());
        }
        let number = audit_folders(&self.data).len() + 1;
        let next = key(&self.data, number, ".next.key");
        if !next.exists() {
            NoteKey::generate(&format!("{AUDIT_ORIGIN}.{number}"))?.save(&next)?;
        }
        self.audit().close(&NoteKey::load(&next)?.verifier_key(), approvers)?;
        let log = begin(&self.data, number)?;
        Ok(log.dir().to_owned())
    }
}
