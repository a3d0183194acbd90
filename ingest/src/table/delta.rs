//! One table's Delta log: open, commit a state, list the files, forget what was before.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::DataType as ArrowType;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, DataType, PrimitiveType, StructField, Transaction};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::checkpoints::create_checkpoint;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, TableProperty, ensure_table_uri};
use epiledger_privacy::catalog;
use epiledger_privacy::catalog::UNIT;

use super::State;
use super::file::Written;
use crate::error::IngestError;
use crate::lease::DELTA_LOG;
use crate::snapshot::{FileManifest, TableManifest};

/// Name of this writer in the tables' `txn` actions.
const APP_ID: &str = "epiledger-ingest";

/// An open table.
pub struct Table {
    name: String,
    dir: PathBuf,
    inner: DeltaTable,
}

/// One file that the table's newest version consists of.
struct Active {
    path: String,
    size: u64,
    rows: u64,
}

impl Table {
    /// Opens the table of this name under `tables`, or makes it without rows.
    ///
    /// # Errors
    /// Its log can't be read, or its columns are not the catalog's.
    pub async fn open(tables: &Path, name: &str, definition: &catalog::Table) -> Result<Self, IngestError> {
        let dir = tables.join(name);
        fs::create_dir_all(&dir).map_err(IngestError::io("make", &dir))?;
        let failed = || IngestError::table(name, "opened");
        let place = dir.to_str().ok_or_else(|| failed()("its path is not Unicode".to_owned()))?;
        let columns = columns(definition).map_err(|e| IngestError::table(name, "opened")(e))?;
        let location = ensure_table_uri(place).map_err(|e| failed()(e.to_string()))?;
        let inner = CreateBuilder::new()
            .with_location(location)
            .with_table_name(name)
            .with_save_mode(SaveMode::Ignore)
            .with_columns(columns.clone())
            // Files that are gone leave no trace in a checkpoint.
            .with_configuration_property(TableProperty::DeletedFileRetentionDuration, Some("interval 0 seconds"))
            .await
            .map_err(|e| failed()(e.to_string()))?;
        let table = Self { name: name.to_owned(), dir, inner };
        let stored = table.inner.snapshot().map_err(|e| failed()(e.to_string()))?.schema();
        let same = stored.fields().map(|f| (f.name(), f.data_type(), f.is_nullable()));
        if !same.eq(columns.iter().map(|f| (f.name(), f.data_type(), f.is_nullable()))) {
            let reason = "its columns are not the catalog's; ingest into a new data folder";
            return Err(failed()(reason.to_owned()));
        }
        Ok(table)
    }

    /// Files of the newest version, by path.
    fn active(&self) -> Result<Vec<Active>, IngestError> {
        let failed = |reason: String| IngestError::table(&self.name, "read")(reason);
        let snapshot = self.inner.snapshot().map_err(|e| failed(e.to_string()))?;
        let mut files = snapshot
            .log_data()
            .iter()
            .map(|file| {
                let rows = file.num_records().ok_or_else(|| failed("a file has no row count".to_owned()))?;
                Ok(Active {
                    path: file.path().into_owned(),
                    size: u64::try_from(file.size()).unwrap_or(0),
                    rows: rows as u64,
                })
            })
            .collect::<Result<Vec<_>, IngestError>>()?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Does the newest version hold this state already?
    ///
    /// # Errors
    /// The log can't be read.
    pub fn reached(&self, state: &State) -> Result<bool, IngestError> {
        let wanted = (0..state.buckets).map(|bucket| state.file(bucket));
        Ok(self.active()?.into_iter().map(|file| file.path).eq(wanted))
    }

    /// Replaces the table's content by a state's files, in one atomic commit that carries the ledger size.
    ///
    /// # Errors
    /// The commit was not made; the table is as before.
    pub async fn commit(&mut self, state: &State, written: &[Written]) -> Result<(), IngestError> {
        let failed = || IngestError::table(&self.name, "committed");
        let cursor = i64::try_from(state.ledger_size).unwrap_or(i64::MAX);
        let snapshot = self.inner.snapshot().map_err(|e| failed()(e.to_string()))?;
        let mut actions: Vec<Action> =
            snapshot.log_data().iter().map(|file| Action::Remove(file.remove_action(true))).collect();
        for file in written {
            actions.push(Action::Add(self.add(state, file)?));
        }
        let properties = CommitProperties::default()
            .with_application_transaction(Transaction {
                app_id: APP_ID.to_owned(),
                version: cursor,
                last_updated: None,
            })
            // One writer: a version that somebody else wrote meanwhile is an error, not a race to win.
            .with_max_retries(0)
            .with_cleanup_expired_logs(Some(false));
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by: None, predicate: None };
        CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(snapshot), self.inner.log_store(), operation)
            .await
            .map_err(|e| failed()(e.to_string()))?;
        self.inner.update_state().await.map_err(|e| failed()(e.to_string()))
    }

    fn add(&self, state: &State, file: &Written) -> Result<Add, IngestError> {
        let path = state.file(file.bucket());
        let size = fs::metadata(self.dir.join(&path)).map_err(IngestError::io("read", &self.dir))?.len();
        let mut stats = serde_json::json!({"numRecords": file.rows(), "nullCount": {UNIT: 0}});
        if let Some((least, greatest)) = file.people() {
            stats["minValues"] = serde_json::json!({UNIT: least});
            stats["maxValues"] = serde_json::json!({UNIT: greatest});
        }
        Ok(Add {
            path,
            partition_values: std::collections::HashMap::new(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            // No clock: the same state is the same commit.
            modification_time: i64::from(state.cut_at.0) * 86_400_000,
            data_change: true,
            stats: Some(stats.to_string()),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }

    /// The newest version for a manifest. It must have reached the state.
    ///
    /// # Errors
    /// The log can't be read, or holds another state.
    pub fn snapshot(&self, state: &State) -> Result<TableManifest, IngestError> {
        if !self.reached(state)? {
            return Err(IngestError::table(&self.name, "read")("it does not hold the state that was committed"));
        }
        let version = self.inner.version().unwrap_or(0);
        let files = (0..state.buckets)
            .zip(self.active()?)
            .map(|(bucket, file)| {
                let (low, high) = state.range(bucket);
                let path = format!("tables/{}/{}", self.name, file.path);
                FileManifest { path, size: file.size, rows: file.rows, low, high }
            })
            .collect();
        Ok(TableManifest { version, files })
    }

    /// Forgets earlier versions: a checkpoint of the newest one takes the place of the log before it, which names files
    /// that are gone and the patients at their ends.
    ///
    /// # Errors
    /// The checkpoint can't be written, or the system refuses.
    pub async fn forget(&self) -> Result<(), IngestError> {
        let failed = |reason: String| IngestError::table(&self.name, "tidied")(reason);
        let dir = self.dir.join(DELTA_LOG);
        let version = self.inner.version().unwrap_or(0);
        let newest = format!("{version:020}");
        let kept = format!("{newest}.checkpoint.parquet");
        if !dir.join(&kept).exists() {
            create_checkpoint(&self.inner, None).await.map_err(|e| failed(e.to_string()))?;
        }
        for entry in fs::read_dir(&dir).map_err(IngestError::io("read", &dir))? {
            let entry = entry.map_err(IngestError::io("read", &dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Names begin with the version; a commit that a stop left half-written ends in `#` and a number.
            let old = name.get(..20).is_some_and(|of| of < newest.as_str() && of.bytes().all(|b| b.is_ascii_digit()));
            if (old || name.contains('#')) && dir.join(&kept).exists() {
                fs::remove_file(entry.path()).map_err(IngestError::io("delete", &entry.path()))?;
            }
        }
        Ok(())
    }
}

/// The stored columns in Delta's types.
fn columns(definition: &catalog::Table) -> Result<Vec<StructField>, String> {
    let schema = definition.stored_schema();
    schema
        .fields()
        .iter()
        .map(|field| {
            let kind = match field.data_type() {
                ArrowType::Int32 => DataType::Primitive(PrimitiveType::Integer),
                ArrowType::Int64 => DataType::Primitive(PrimitiveType::Long),
                ArrowType::Date32 => DataType::Primitive(PrimitiveType::Date),
                ArrowType::Utf8 => DataType::Primitive(PrimitiveType::String),
                ArrowType::Decimal128(precision, scale) => {
                    DataType::decimal(*precision, u8::try_from(*scale).unwrap_or(0)).map_err(|e| e.to_string())?
                }
                other => return Err(format!("the column {} has the type {other}", field.name())),
            };
            Ok(StructField::new(field.name(), kind, field.is_nullable()))
        })
        .collect()
}
