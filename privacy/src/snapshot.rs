//! What a question reads: the files of one cut, as the ingester's manifest names them.

use std::collections::BTreeMap;

use datafusion::arrow::record_batch::RecordBatch;

/// A Parquet file of a private table. Its rows are sorted by the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Path within the object store, no leading slash.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Least unit that the file may hold.
    pub low: i64,
    /// Greatest unit that the file may hold.
    pub high: i64,
}

/// One cut of the data: private tables as files, public tables in memory.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The cut's number.
    pub number: u64,
    /// The cut's instant, `YYYY-MM-DDTHH:MMZ`.
    pub cut_at: String,
    /// Files of each private table.
    pub private: BTreeMap<String, Vec<StoredFile>>,
    /// Do the private files hold simulated people alone? Then plans over them can be rehearsed
    /// ([`crate::release::rehearse`]), and can't be paid.
    pub synthetic: bool,
    /// Public tables.
    pub public: BTreeMap<String, PublicTable>,
}

/// A public table.
#[derive(Clone, Debug, Default)]
pub struct PublicTable {
    /// What tells its content from another's: the SHA-256 of its file, hex. It is part of the cache key of every
    /// question that reads the table, so an answer is never given again over other public rows.
    pub version: String,
    /// Its rows.
    pub rows: Vec<RecordBatch>,
}
