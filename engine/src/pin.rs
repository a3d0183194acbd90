//! A log's head, kept where the log's folder can't reach it: a log alone cannot show that its tail was cut off and
//! signed again, or that a copy is old; who kept a later head can.
//!
//! An auditor keeps one between audits ([`Pin`] in the user's state folder, or a file that the user names). A service
//! keeps one so that a restored older folder gives no budget back ([`PinnedHead`]).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use epiledger_ledger::{Checkpoint, HeadPin, Log, LogError, LogReader, VerifierKey};

use crate::config::environment;

/// Time for a head from an address.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest head that is read, bytes: a note of a few hundred, and room for cosignatures.
const MAX_NOTE: u64 = 64 * 1024;

/// Why a pinned head can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file can't be read.
    #[error("the pin {0} can't be read: {1}")]
    Unreadable(String, io::Error),
    /// The file holds something else.
    #[error("the pin {0} is not as an audit left it: restore it, or remove it if you can vouch for the log yourself")]
    Damaged(String),
    /// The file can't be written.
    #[error("the pin {0} can't be written: {1}")]
    Unwritable(String, io::Error),
    /// A pin that a restored folder would bring back with it.
    #[error(
        "pinned_head {0} lies inside the data folder, so that restoring the folder would restore it too: name a file on \
         another disk, or the http:// address of a mirror's or witness's copy of the log"
    )]
    Inside(String),
    /// The address is of another scheme.
    #[error("pinned_head {0}: name a file, or an http:// address below which `checkpoint` is served")]
    Scheme(String),
    /// The address gives no head.
    #[error("the pinned head at {0} can't be read, so the log can't be compared with it: {1}")]
    Address(String, String),
    /// The log is gone, and what it had spent is known to be more than nothing.
    #[error(
        "the audit log is gone, and {0} keeps a head of it: what was spent is unknown here. Restore the newest copy of the \
         data folder (`epiledger restore`); a new log would give the budget out a second time"
    )]
    Gone(String),
    /// The log can't be read to be compared.
    #[error("the audit log: {0}")]
    Log(#[from] LogError),
}

/// A file with the verifier key in a line, and the checkpoint as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    path: PathBuf,
}

/// What a pin holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The log's key.
    pub key: VerifierKey,
    /// The newest head that was seen.
    pub head: Checkpoint,
}

impl Pin {
    /// A pin in a file that the user names.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The auditor's pin of a key in the user's state folder (XDG), one file for each key: a log's name is not enough,
    /// since every data folder's log may have the same one. `None` when the user has no home.
    #[must_use]
    pub fn of(key: &VerifierKey) -> Option<Self> {
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
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; `None` before the first head.
    ///
    /// # Errors
    /// It cannot be read, or is not as [`Self::write`] left it.
    pub fn read(&self) -> Result<Option<Pinned>, PinError> {
        let shown = || self.path.display().to_string();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(PinError::Unreadable(shown(), error)),
        };
        let pinned = text.split_once('\n').and_then(|(key, note)| {
            let key = VerifierKey::parse(key).ok()?;
            let head = Checkpoint::open_cosigned(note, &key)?;
            Some(Pinned { key, head })
        });
        pinned.map(Some).ok_or_else(|| PinError::Damaged(shown()))
    }

    /// Moves the pin on to a head; never back under the same key. The caller has seen that the head continues the one
    /// that is there. After a crash it holds the old head or the new one, and its owner alone may read it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, key: &VerifierKey, head: &Checkpoint) -> Result<(), PinError> {
        if self.read()?.is_some_and(|pinned| pinned.key == *key && pinned.head.size >= head.size) {
            return Ok(());
        }
        let failed = |error: io::Error| PinError::Unwritable(self.path.display().to_string(), error);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let temporary = self.path.with_extension(format!("new{}", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        let mut file = file.map_err(failed)?;
        file.write_all(format!("{key}\n{}", head.note).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, &self.path).map_err(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// The service's pin of its own log.
struct Own {
    pin: Pin,
    key: VerifierKey,
}

impl HeadPin for Own {
    fn advance(&self, head: &Checkpoint) -> io::Result<()> {
        self.pin.write(&self.key, head).map_err(io::Error::other)
    }
}

/// The setting `pinned_head`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedHead {
    /// A file that the service moves on, before an answer leaves.
    File(Pin),
    /// Another's copy of the log, without its last slash: what that has seen is read when the service starts.
    Address(String),
}

impl std::fmt::Display for PinnedHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(pin) => write!(f, "{}", pin.path().display()),
            Self::Address(prefix) => f.write_str(prefix),
        }
    }
}

impl PinnedHead {
    /// Reads the setting.
    ///
    /// # Errors
    /// It is inside the data folder, or an address of another scheme.
    pub fn parse(text: &str, data: &Path) -> Result<Self, PinError> {
        if text.starts_with("http://") {
            return Ok(Self::Address(text.trim_end_matches('/').to_owned()));
        }
        if text.contains("://") {
            return Err(PinError::Scheme(text.to_owned()));
        }
        let path = Path::new(text);
        if resolved(path).starts_with(resolved(data)) {
            return Err(PinError::Inside(text.to_owned()));
        }
        Ok(Self::File(Pin::at(path)))
    }

    /// Refuses to go on without a log where one is known to have been.
    ///
    /// # Errors
    /// A head is kept, or whether one is can't be read.
    pub fn require_no_head(&self) -> Result<(), PinError> {
        let kept = match self {
            Self::File(pin) => pin.read()?.is_some(),
            Self::Address(prefix) => fetch(prefix).map(|_| true)?,
        };
        if kept { Err(PinError::Gone(self.to_string())) } else { Ok(()) }
    }

    /// Compares a log that was just opened with the head: one that does not continue it is frozen, another one's
    /// newest head is kept from now on. A file that is not there yet is made.
    ///
    /// # Errors
    /// The head, or what is compared with it, can't be read; or the file can't be written.
    pub fn guard(&self, log: &Log) -> Result<(), PinError> {
        let key = VerifierKey::parse(&log.verifier())?;
        let pinned = match self {
            Self::File(pin) => pin.read()?,
            Self::Address(prefix) => {
                let note = fetch(prefix)?;
                let keys = log.previous().iter().map(LogReader::verifier_key).chain([&key]);
                let mut signed = keys
                    .filter_map(|key| Some(Pinned { head: Checkpoint::open_cosigned(&note, key)?, key: key.clone() }));
                let Some(pinned) = signed.next() else {
                    log.freeze("the pinned head is not signed by this log's key: it is another log's");
                    return Ok(());
                };
                Some(pinned)
            }
        };
        if let Some(pinned) = &pinned
            && let Some(why) = departs(log, &key, pinned)?
        {
            log.freeze(&why);
            return Ok(());
        }
        match self {
            Self::File(pin) => {
                let own = Own { pin: pin.clone(), key };
                log.pin_heads(Arc::new(own)).map_err(|e| PinError::Unwritable(self.to_string(), e))
            }
            Self::Address(_) => Ok(()),
        }
    }
}

/// How a log departs from a head that was kept of it; `None` when it continues that head.
fn departs(log: &Log, key: &VerifierKey, pinned: &Pinned) -> Result<Option<String>, LogError> {
    let kept = pinned.head.size;
    // A log that was closed since is one of those before the log.
    let old = log.previous().iter().find(|old| *old.verifier_key() == pinned.key);
    let (size, root) = match old {
        None if *key != pinned.key => {
            return Ok(Some("the pinned head is of another log, or of another key of it".to_owned()));
        }
        None => (log.checkpoint().size, log.root_at(kept)),
        Some(old) => (old.size(), old.root_at(kept)),
    };
    if size < kept {
        return Ok(Some(format!("it has {size} entries, and a head of {kept} is pinned: this is an older copy")));
    }
    if root? != pinned.head.root {
        return Ok(Some(format!("its first {kept} entries are not those under the pinned head: the log was forked")));
    }
    Ok(None)
}

/// The path that a file has or would have, links followed as far as they lead.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for (folder, missing) in absolute.ancestors().map(|folder| (folder, absolute.strip_prefix(folder))) {
        if let (Ok(mut real), Ok(missing)) = (fs::canonicalize(folder), missing) {
            let mut turned = false;
            for part in missing.components() {
                turned |= part == Component::ParentDir;
                // What is missing is no link: its `..` is the folder above.
                match part {
                    Component::ParentDir => _ = real.pop(),
                    other => real.push(other),
                }
            }
            return if turned { resolved(&real) } else { real };
        }
    }
    absolute
}

/// The note at an address.
fn fetch(prefix: &str) -> Result<String, PinError> {
    let failed = |why: String| PinError::Address(prefix.to_owned(), why);
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build();
    let mut response =
        ureq::Agent::from(config).get(format!("{prefix}/checkpoint")).call().map_err(|e| failed(e.to_string()))?;
    let mut note = String::new();
    let mut body = response.body_mut().as_reader().take(MAX_NOTE);
    body.read_to_string(&mut note).map_err(|e| failed(e.to_string()))?;
    Ok(note)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use epiledger_ledger::{
        NewEntry, NoteKey, Setup, StdFs,
        entry::{AuditEntry, query::AccessDenied},
    };

    use super::*;

    fn key(origin: &str) -> NoteKey {
        NoteKey::from_seed(origin, &[9; 32]).unwrap()
    }

    fn create(dir: &Path) -> Log {
        Log::create(Arc::new(StdFs), dir, "test.example/audit", key("test.example/audit")).unwrap()
    }

    fn append(log: &Log, principal: &str) -> Pinned {
        let entry = AccessDenied { principal: principal.into(), route: "/".into(), count: 1 };
        let entry = AuditEntry::AccessDenied(entry).to_canonical().unwrap();
        let appended = log.append(vec![NewEntry::from(entry)]).unwrap();
        Pinned { key: VerifierKey::parse(&log.verifier()).unwrap(), head: appended.checkpoint }
    }

    #[test]
    fn a_log_that_does_not_continue_a_head_is_told_why() {
        let dir = tempfile::tempdir().unwrap();
        let [log, fork, short] = ["log", "fork", "short"].map(|name| create(&dir.path().join(name)));
        let heads: Vec<Pinned> = (0..5).map(|n| append(&log, &format!("p{n}"))).collect();
        append(&short, "p0");
        for n in 0..6 {
            append(&fork, if n == 3 { "other" } else { "same" });
        }
        let own = heads[0].key.clone();
        let told = |log: &Log, head: &Pinned| departs(log, &own, head).unwrap();
        for head in &heads {
            assert_eq!(told(&log, head), None, "as many entries, or more");
        }
        assert_eq!(told(&short, &heads[0]), None);
        for head in &heads[1..] {
            assert!(told(&short, head).unwrap().contains("older copy"));
        }
        for head in &heads {
            assert!(told(&fork, head).unwrap().contains("forked"), "{}", head.head.size);
        }
        let foreign = Pinned { key: key("test.example/other").verifier_key(), ..heads[0].clone() };
        assert!(told(&log, &foreign).unwrap().contains("another log"));
    }

    #[test]
    fn a_head_of_the_closed_log_before_is_continued_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let log = create(&dir.path().join("log"));
        let (early, late) = (append(&log, "a"), append(&log, "b"));
        let next = key("test.example/audit.2");
        log.close(&next.verifier_key(), ["one".into(), "two".into()]).unwrap();
        drop(log);
        let previous = || vec![LogReader::open(&dir.path().join("log")).unwrap()];
        let new = dir.path().join("new");
        let log = Log::succeed(Arc::new(StdFs), &new, next.clone(), previous(), Setup::default()).unwrap();
        for head in [&early, &late] {
            assert_eq!(departs(&log, &next.verifier_key(), head).unwrap(), None);
        }
        let pin = Pin::at(&dir.path().join("pin"));
        pin.write(&late.key, &late.head).unwrap();
        PinnedHead::File(pin.clone()).guard(&log).unwrap();
        assert_eq!((log.frozen(), pin.read().unwrap().unwrap().head), (None, log.checkpoint()));
        // The first log alone is behind now.
        drop(log);
        let log = Log::open(Arc::new(StdFs), &dir.path().join("log"), key("test.example/audit")).unwrap();
        let pinned = pin.read().unwrap().unwrap();
        assert!(departs(&log, &late.key, &pinned).unwrap().unwrap().contains("another log"));
    }

    #[test]
    fn a_pin_never_goes_back_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let log = create(&dir.path().join("log"));
        let (early, late) = (append(&log, "a"), append(&log, "b"));
        let pin = Pin::at(&dir.path().join("new/folder/pin"));
        assert_eq!(pin.read().unwrap(), None);
        for head in [&early, &late, &early] {
            pin.write(&head.key, &head.head).unwrap();
        }
        assert_eq!(pin.read().unwrap(), Some(late));
        assert_eq!(fs::metadata(pin.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(pin.path().parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_setting_is_a_file_elsewhere_or_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let parse = |text: &str| PinnedHead::parse(text, &data);
        let outside = dir.path().join("pin");
        assert_eq!(parse(outside.to_str().unwrap()).unwrap(), PinnedHead::File(Pin::at(&outside)));
        assert_eq!(parse("http://h/v1/audit/").unwrap(), PinnedHead::Address("http://h/v1/audit".into()));
        assert!(matches!(parse("https://h"), Err(PinError::Scheme(_))));
        std::os::unix::fs::symlink(&data, dir.path().join("link")).unwrap();
        for inside in ["data", "data/pin", "data/a/b/pin", "other/../data/pin", "link/pin", "link/a/pin"] {
            let inside = dir.path().join(inside);
            assert!(matches!(parse(inside.to_str().unwrap()), Err(PinError::Inside(_))), "{}", inside.display());
        }
    }
}
