//! What an auditor remembers between audits: a log's key, and the newest head that verified under it.
//!
//! A log alone cannot show that its tail was cut off and signed again, or that a copy is old: who saw a later head can.
//! Without `--pin` the state lies in the user's state folder, one file for each key of a log: its name is not enough,
//! since every data folder's log may have the same one. A changed key is noticed by those who name the file or the key.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use epiledger_ledger::{Checkpoint, VerifierKey};

use super::exit::Failure;
use crate::config::environment;

/// The auditor's state of one log: a file with the verifier key in a line, and the checkpoint as it was signed.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    path: PathBuf,
}

/// What a pin holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pinned {
    /// The log's key.
    pub key: VerifierKey,
    /// The newest head that verified.
    pub head: Checkpoint,
}

impl Pin {
    /// A pin in a file that the user names.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The pin of a key in the user's state folder (XDG); `None` when the user has no home.
    pub(super) fn of(key: &VerifierKey) -> Option<Self> {
        let environment = environment();
        let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local").join("state")))?;
        // An origin may hold slashes and dots; the key's id tells apart what this makes equal.
        let text = key.to_string();
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '_' };
        let origin: String = key.name().chars().take(100).map(plain).collect();
        let id = text.get(key.name().len() + 1..key.name().len() + 9).unwrap_or_default().to_owned();
        Some(Self { path: state.join("epiledger").join("audit").join(format!("{origin}_{id}.pin")) })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; `None` before the first audit.
    ///
    /// # Errors
    /// It cannot be read, or is not as [`Self::write`] left it.
    pub(super) fn read(&self) -> Result<Option<Pinned>, Failure> {
        let shown = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(Failure::usage(format!("the pin {shown} can't be read: {error}"))),
        };
        let pinned = text.split_once('\n').and_then(|(key, note)| {
            let key = VerifierKey::parse(key).ok()?;
            let head = Checkpoint::open_cosigned(note, &key)?;
            Some(Pinned { key, head })
        });
        let damaged = format!(
            "the pin {shown} is not as an audit left it: restore it, or remove it if you can vouch for the log yourself"
        );
        pinned.map(Some).ok_or_else(|| Failure::usage(damaged))
    }

    /// Moves the pin on to a head that verified; never back. After a crash it holds the old head or the new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&self, key: &VerifierKey, head: &Checkpoint) -> Result<(), Failure> {
        if self.read()?.is_some_and(|pinned| pinned.head.size > head.size) {
            return Ok(());
        }
        let failed = |error: std::io::Error| {
            Failure::of(format!("the log verifies, but the pin {} can't be written: {error}", self.path.display()))
        };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let temporary = self.path.with_extension(format!("new{}", std::process::id()));
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(format!("{key}\n{}", head.note).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, &self.path).map_err(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}
