//! Snapshot manifests: which files each table consists of at one cut. Readers see only what the newest one names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use epiledger_privacy::catalog::Profile;
use serde::{Deserialize, Serialize};

use crate::error::{IngestError, short};
use crate::folder::{Folder, put_if_absent};

/// One cut of the tables, `DATA/snapshots/<number>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotManifest {
    /// 1 for the first, then one more each.
    pub number: u64,
    /// The cut's instant, `YYYY-MM-DDTHH:MMZ`: consents are those in force on its day.
    pub cut_at: String,
    /// Was it cut on schedule, whether the ledger had changed or not? False for the first of a folder and for those
    /// that someone asked for.
    pub scheduled: bool,
    /// Ledger entries read, block leaves counted.
    pub ledger_size: u64,
    /// The ledger's root at that size, lower-case hex.
    pub ledger_root: String,
    /// The private tables by name.
    pub tables: BTreeMap<String, TableManifest>,
    /// The de-identification profile.
    pub profile: Profile,
    /// SHA-256 of the catalog, lower-case hex.
    pub catalog_hash: String,
}

impl SnapshotManifest {
    /// The folder that holds its files in each table's; `None` when it names no files.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        // tables/<table>/<state>/<file>
        self.tables.values().flat_map(|table| &table.files).next()?.path.split('/').nth(2)
    }
}

/// One table of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableManifest {
    /// Version of the table's Delta log.
    pub version: u64,
    /// Its files by `person_id`; their ranges are equal and disjoint, and the same in every table.
    pub files: Vec<FileManifest>,
}

/// One Parquet file of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileManifest {
    /// Path relative to the data folder, with `/`.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Number of rows.
    pub rows: u64,
    /// Least `person_id` that the file may hold.
    pub low: i64,
    /// Greatest `person_id` that the file may hold.
    pub high: i64,
}

/// The newest snapshot of a data folder; `None` before the first.
///
/// # Errors
/// A manifest can't be read.
pub fn newest(data: &Path) -> Result<Option<SnapshotManifest>, IngestError> {
    newest_number(data)?.map(|number| read(data, number)).transpose()
}

/// The number of the newest snapshot; `None` before the first.
///
/// # Errors
/// The folder can't be read.
pub fn newest_number(data: &Path) -> Result<Option<u64>, IngestError> {
    let dir = Folder::new(data).snapshots();
    if !dir.exists() {
        return Ok(None);
    }
    let mut newest = None;
    for entry in fs::read_dir(&dir).map_err(IngestError::io("read", &dir))? {
        let path = entry.map_err(IngestError::io("read", &dir))?.path();
        let number = path.extension().is_some_and(|e| e == "json").then(|| path.file_stem()?.to_str()?.parse().ok());
        newest = newest.max(number.flatten());
    }
    Ok(newest)
}

/// The snapshot of this number.
///
/// # Errors
/// There is none, or it can't be read.
pub fn read(data: &Path, number: u64) -> Result<SnapshotManifest, IngestError> {
    let path = Folder::new(data).snapshots().join(format!("{number}.json"));
    let bytes = fs::read(&path).map_err(IngestError::io("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|e| IngestError::Damaged { file: short(&path), reason: e.to_string() })
}

/// Publishes a snapshot under its number; `false` when another one has it.
pub(crate) fn publish(folder: &Folder, manifest: &SnapshotManifest) -> Result<bool, IngestError> {
    let dir = folder.snapshots();
    fs::create_dir_all(&dir).map_err(IngestError::io("make", &dir))?;
    let path = dir.join(format!("{}.json", manifest.number));
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|e| IngestError::Damaged { file: short(&path), reason: e.to_string() })?;
    put_if_absent(&path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_the_highest_number_and_a_number_is_given_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(dir.path()).unwrap(), None);
        let folder = Folder::new(dir.path());
        let mut manifest = SnapshotManifest {
            number: 9,
            cut_at: "2026-01-01T03:00Z".into(),
            scheduled: true,
            ledger_size: 5,
            ledger_root: "00".into(),
            tables: BTreeMap::new(),
            profile: Profile::SafeHarbor,
            catalog_hash: "11".into(),
        };
        assert!(publish(&folder, &manifest).unwrap());
        manifest.number = 10;
        assert!(publish(&folder, &manifest).unwrap());
        assert!(!publish(&folder, &manifest).unwrap());
        assert_eq!(newest(dir.path()).unwrap().map(|m| m.number), Some(10));
    }
}
