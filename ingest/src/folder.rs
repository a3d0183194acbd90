//! The data folder: where the ledger, the tables, the catalog and the keys lie.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::deidentify::PseudonymKey;

use crate::error::{IngestError, short};

/// Paths within one data folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`; nothing is read or made yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The data folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The ledger's log.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// The ledger's log while it is made: it gets its name when it is whole, so what a stop leaves is no ledger.
    #[must_use]
    pub fn new_ledger(&self) -> PathBuf {
        self.root.join("ledger.new")
    }

    /// That the folder has a whole ledger.
    ///
    /// # Errors
    /// It has none, or one that was not finished.
    pub(crate) fn require_ledger(&self) -> Result<(), IngestError> {
        if self.ledger().exists() {
            return Ok(());
        }
        let hint = if self.new_ledger().exists() {
            "the one that was being made was not finished: run the same `ledger simulate` or `ledger import` again"
        } else {
            "simulate or import a ledger into this data folder first"
        };
        Err(IngestError::Missing { file: "ledger".to_owned(), hint })
    }

    /// The Delta tables, one folder each.
    #[must_use]
    pub fn tables(&self) -> PathBuf {
        self.root.join("tables")
    }

    /// The public tables, one Parquet file each.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.root.join("public")
    }

    /// The snapshot manifests.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The file whose presence says that snapshots are not cut on schedule here.
    #[must_use]
    pub fn no_schedule(&self) -> PathBuf {
        self.root.join("no-schedule")
    }

    /// The keys, readable by their owner alone.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The note signing key of the ledger.
    #[must_use]
    pub fn ledger_key(&self) -> PathBuf {
        self.keys().join("ledger.key")
    }

    /// Makes the data folder and its key folders.
    ///
    /// # Errors
    /// The system refuses.
    pub fn create(&self) -> Result<(), IngestError> {
        fs::create_dir_all(&self.root).map_err(IngestError::io("make", &self.root))?;
        for dir in [self.keys(), self.keys().join("hospitals")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(IngestError::io("make", &dir))?;
        }
        Ok(())
    }

    /// Reads `catalog.json`.
    ///
    /// # Errors
    /// The file is missing or not a catalog.
    pub fn catalog(&self) -> Result<Catalog, IngestError> {
        let path = self.root.join("catalog.json");
        if !path.exists() {
            let hint = "simulate or import a ledger into this data folder first";
            return Err(IngestError::Missing { file: short(&path), hint });
        }
        let bytes = fs::read(&path).map_err(IngestError::io("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|e| IngestError::Damaged { file: short(&path), reason: e.to_string() })
    }

    /// Writes `catalog.json` anew.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write_catalog(&self, catalog: &Catalog) -> Result<(), IngestError> {
        let path = self.root.join("catalog.json");
        let text = serde_json::to_vec_pretty(catalog)
            .map_err(|e| IngestError::Damaged { file: short(&path), reason: e.to_string() })?;
        replace(&path, &text)
    }

    /// Reads `keys/pseudonym.key`.
    ///
    /// # Errors
    /// The file is missing or not a key.
    pub fn pseudonym_key(&self) -> Result<PseudonymKey, IngestError> {
        let path = self.keys().join("pseudonym.key");
        Ok(PseudonymKey::new(&read_seed(&path)?))
    }
}

/// Reads 32 bytes that a key file holds as hex.
pub(crate) fn read_seed(path: &Path) -> Result<[u8; 32], IngestError> {
    if !path.exists() {
        let hint = "it was made with the data folder: restore it from your copy of the keys";
        return Err(IngestError::Missing { file: short(path), hint });
    }
    if fs::metadata(path).map_err(IngestError::io("read", path))?.permissions().mode() & 0o077 != 0 {
        return Err(IngestError::OpenKeyFile(short(path)));
    }
    let text = fs::read_to_string(path).map_err(IngestError::io("read", path))?;
    let damaged = || IngestError::Damaged { file: short(path), reason: "not 64 hex digits".to_owned() };
    seed_from_hex(text.trim()).ok_or_else(damaged)
}

/// 32 bytes from 64 hex digits.
pub(crate) fn seed_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut seed = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(seed)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes a new secret file that only its owner reads.
pub(crate) fn write_secret(path: &Path, text: &[u8]) -> Result<(), IngestError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(IngestError::io("make", path))?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(IngestError::io("write", path))
}

/// Replaces a file as a whole: after a crash either the old or the new content is there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), IngestError> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(IngestError::io("make", &temporary))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(IngestError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(IngestError::io("rename", &temporary))?;
    sync_parent(path)
}

/// Writes a file that must not be there yet; `false` when it is.
pub(crate) fn put_if_absent(path: &Path, content: &[u8]) -> Result<bool, IngestError> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(IngestError::io("make", &temporary))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(IngestError::io("write", &temporary))?;
    // A hard link fails when the name is taken, unlike a rename: two writers can't both win.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(IngestError::io("remove", &temporary))?;
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(IngestError::io("publish", path)(e)),
    }
}

/// Makes a new or renamed name durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), IngestError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(IngestError::io("sync", parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_survives_its_hex() {
        let seed = [0xA5; 32];
        assert_eq!(seed_from_hex(&hex(&seed)), Some(seed));
        assert_eq!(seed_from_hex("zz"), None);
        assert_eq!(seed_from_hex(&"g".repeat(64)), None);
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pseudonym.key");
        write_secret(&path, hex(&[7; 32]).as_bytes()).unwrap();
        assert_eq!(read_seed(&path).unwrap(), [7; 32]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_seed(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn only_the_first_writer_puts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.json");
        assert!(put_if_absent(&path, b"a").unwrap());
        assert!(!put_if_absent(&path, b"b").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"a");
    }
}
