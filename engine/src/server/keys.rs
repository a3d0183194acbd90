//! API keys: `epl_<id>_<secret>`, kept as SHA-256 of the secret in `DATA/keys/api.json`.
//!
//! A secret is 32 random bytes, so a plain hash of it can't be guessed back. The file is replaced
//! whole (write, sync, rename) and only its owner can read it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::Role;

/// Most days a key may live.
pub const MAX_DAYS: u64 = 366;

/// Longest principal name, characters.
pub const MAX_NAME: usize = 64;

/// One stored key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Public id, 16 hex digits.
    pub id: String,
    /// Lower-case hex SHA-256 of the secret's text.
    pub secret_sha256: String,
    /// The principal's pseudonym.
    pub principal: String,
    /// What it may do.
    pub role: Role,
    /// Creation, Unix seconds.
    pub created: u64,
    /// First moment at which it no longer counts, Unix seconds.
    pub expires: u64,
    /// Taken away?
    pub revoked: bool,
}

/// Why a key can't be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read or written.
    #[error("{path}: {source}; check that this user owns the data folder")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The file isn't a list of keys.
    #[error("{path} isn't a key file ({source}); restore it from a backup, or remove it and create new keys")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A name that can't stand in the log.
    #[error("a principal's name has 1 to 64 letters, digits, `-`, `_` or `.`; this one doesn't")]
    BadName,
    /// A lifetime out of range.
    #[error("a key lives 1 to 366 days; {0} was asked")]
    BadLifetime(u64),
    /// No such key.
    #[error("no key has the id {0}; `epiledger keys list` shows them")]
    Unknown(String),
}

/// A new key, shown once.
pub struct NewKey {
    /// What is stored.
    pub key: ApiKey,
    /// The bearer token.
    pub token: SecretString,
}

/// The key file, read once and kept in step.
pub struct ApiKeys {
    path: PathBuf,
    keys: RwLock<Vec<ApiKey>>,
}

impl ApiKeys {
    /// Reads `DATA/keys/api.json`; no file is no keys.
    ///
    /// # Errors
    /// When the file can't be read or isn't a list of keys.
    pub fn open(data: &Path) -> Result<Self, KeyError> {
        let path = data.join("keys").join("api.json");
        let keys = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| KeyError::Broken { path: path.clone(), source })?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(KeyError::Io { path, source }),
        };
        Ok(Self { path, keys: RwLock::new(keys) })
    }

    /// Every key, newest last.
    #[must_use]
    pub fn list(&self) -> Vec<ApiKey> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a key and stores its hash.
    ///
    /// # Errors
    /// On a bad name or lifetime, or when the file can't be written; then no key exists.
    pub fn create(&self, principal: &str, role: Role, days: u64) -> Result<NewKey, KeyError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if principal.is_empty() || principal.len() > MAX_NAME || !principal.chars().all(fine) {
            return Err(KeyError::BadName);
        }
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(KeyError::BadLifetime(days));
        }
        let (id, secret) = (hex(&rand::random::<[u8; 8]>()), hex(&rand::random::<[u8; 32]>()));
        let created = now();
        let key = ApiKey {
            id: id.clone(),
            secret_sha256: hash(&secret),
            principal: principal.to_owned(),
            role,
            created,
            expires: created + days * 86_400,
            revoked: false,
        };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = keys.clone();
        next.push(key.clone());
        self.store(&next)?;
        *keys = next;
        Ok(NewKey { key, token: SecretString::from(format!("epl_{id}_{secret}")) })
    }

    /// Takes a key away; it stays in the list.
    ///
    /// # Errors
    /// When no key has the id, or the file can't be written.
    pub fn revoke(&self, id: &str) -> Result<ApiKey, KeyError> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = keys.clone();
        let Some(key) = next.iter_mut().find(|k| k.id == id) else {
            return Err(KeyError::Unknown(id.to_owned()));
        };
        key.revoked = true;
        let revoked = key.clone();
        self.store(&next)?;
        *keys = next;
        Ok(revoked)
    }

    /// The key behind a bearer token, when it is known, unexpired and not revoked.
    #[must_use]
    pub fn find(&self, token: &SecretString) -> Option<ApiKey> {
        self.find_at(token, now())
    }

    fn find_at(&self, token: &SecretString, now: u64) -> Option<ApiKey> {
        let (id, secret) = token.expose_secret().strip_prefix("epl_")?.split_once('_')?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|k| k.id == id)?;
        let good = same(hash(secret).as_bytes(), key.secret_sha256.as_bytes());
        (good && !key.revoked && now < key.expires).then(|| key.clone())
    }

    fn store(&self, keys: &[ApiKey]) -> Result<(), KeyError> {
        let io = |source| KeyError::Io { path: self.path.clone(), source };
        let text =
            serde_json::to_vec_pretty(keys).map_err(|source| KeyError::Broken { path: self.path.clone(), source })?;
        write_private(&self.path, &text).map_err(io)
    }
}

/// Replaces a file that only its owner may read: written beside, synced, renamed.
///
/// # Errors
/// When the folder or the file can't be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Compares without stopping at the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_found_until_it_expires_or_is_revoked_and_never_with_another_secret() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(dir.path()).unwrap();
        let new = keys.create("r-1", Role::Researcher, 30).unwrap();
        assert_eq!(keys.find(&new.token).unwrap().principal, "r-1");
        assert!(keys.find_at(&new.token, new.key.expires - 1).is_some());
        assert!(keys.find_at(&new.token, new.key.expires).is_none());

        let mut wrong = new.token.expose_secret().to_owned();
        let last = wrong.pop().unwrap();
        wrong.push(if last == '0' { '1' } else { '0' });
        assert!(keys.find(&SecretString::from(wrong)).is_none());
        assert!(keys.find(&SecretString::from("epl_")).is_none());

        keys.revoke(&new.key.id).unwrap();
        assert!(keys.find(&new.token).is_none());
        assert!(matches!(keys.revoke("nope"), Err(KeyError::Unknown(_))));
    }

    #[test]
    fn the_file_holds_no_secret_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(dir.path()).unwrap();
        let new = keys.create("r-1", Role::Researcher, 1).unwrap();
        let path = dir.path().join("keys/api.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let secret = new.token.expose_secret().rsplit('_').next().unwrap().to_owned();
        assert!(text.contains(&new.key.id) && !text.contains(&secret));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = ApiKeys::open(dir.path()).unwrap();
        assert_eq!(again.find(&new.token).unwrap(), new.key);
    }

    #[test]
    fn bad_names_and_lifetimes_make_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(dir.path()).unwrap();
        assert!(matches!(keys.create("a b", Role::Board, 1), Err(KeyError::BadName)));
        assert!(matches!(keys.create("", Role::Board, 1), Err(KeyError::BadName)));
        assert!(matches!(keys.create("a", Role::Board, 0), Err(KeyError::BadLifetime(0))));
        assert!(keys.list().is_empty());
    }
}
