//! The one path of a transaction: `Envelope -> Verified -> Record -> Consented -> DeIdentified -> Table::commit`.
//!
//! The tables are a function of (ledger up to a size, cut day, catalog, pseudonym key) and of nothing else. A run makes
//! them in two passes over the ledger, commits each table with its cursor, then publishes the manifest; readers see
//! only what a manifest names.
//!
//! | Stops | Left behind | Next run |
//! |---|---|---|
//! | in a pass | working space, files that no version names | makes them anew under the same names |
//! | between two tables' commits | some tables at the new state, the old manifest | skips those, commits the rest |
//! | before the manifest | all tables at the new state, the old manifest | writes the manifest |
//! | after it | files and log versions of earlier states | the next cut removes them |

mod fold;
mod rows;
mod spill;
mod verify;
pub mod withdrawal;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use epiledger_ledger::entry::key::Determination;
use epiledger_ledger::{Fs, LogReader, StdFs};
use epiledger_privacy::catalog::{Catalog, Profile};
use epiledger_privacy::day::Day;
use epiledger_privacy::deidentify::DeIdentifier;
use epiledger_privacy::research::PRIVATE_TABLES;
use serde::Serialize;

pub use self::rows::Stages;
use self::rows::{Made, Work};
use self::spill::Spill;
use crate::error::IngestError;
use crate::folder::{Folder, hex};
use crate::lease;
use crate::progress::{Progress, Stage};
use crate::public_tables;
use crate::regions::massachusetts;
use crate::risk::RiskReport;
use crate::schedule::Cut;
use crate::snapshot::{self, SnapshotManifest};
use crate::table::{State, Table, buckets_for};

/// A progress callback that stops the work when it answers `false`.
pub type Watch<'a> = &'a (dyn Fn(Progress) -> bool + Sync);

/// A lock that is held until it is dropped.
pub type Lock = Box<dyn Send + Sync>;

/// How an ingest runs.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The cut.
    pub cut: Cut,
    /// Cut although the ledger holds nothing new (`ingest --cut`, and the daily cut).
    pub force: bool,
    /// Called at each step.
    pub watch: Watch<'a>,
}

impl Options<'_> {
    /// This cut, if the ledger holds anything new.
    #[must_use]
    pub fn at(cut: impl Into<Cut>) -> Self {
        Self { cut: cut.into(), force: false, watch: &|_| true }
    }
}

/// What an ingest did: for the steward and the operator, on no researcher's route.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// The snapshot that holds now.
    pub snapshot: u64,
    /// Was it made by this run?
    pub changed: bool,
    /// Ledger entries that it covers, block leaves counted.
    pub ledger_size: u64,
    /// Transactions read.
    pub transactions: u64,
    /// Transactions put aside, by reason code.
    pub quarantined: BTreeMap<String, u64>,
    /// Patients on the ledger.
    pub patients: u64,
    /// Patients in the tables.
    pub admitted: u64,
    /// Records that consent keeps back.
    pub denied_records: u64,
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Values moved to a declared bound, or to null where the column has no value for them.
    pub moved_values: u64,
    /// Rows outside of the declared days, left out.
    pub dropped_rows: u64,
    /// How alone persons are.
    pub risk: RiskReport,
    /// Seconds of reading and verifying.
    pub verify_seconds: f64,
    /// Seconds of making rows and files.
    pub tables_seconds: f64,
    /// Of these, the time of each stage, all threads together.
    pub stages: Stages,
    /// Seconds of committing and publishing.
    pub commit_seconds: f64,
}

/// The ingester.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline;

impl Pipeline {
    /// Keeps every ingest away from a data folder until the lock is dropped: its tables and snapshots stand still.
    ///
    /// # Errors
    /// One is running ([`IngestError::Busy`]), or the system refuses.
    pub fn keep_away(data: &Path) -> Result<Lock, IngestError> {
        lock(&Folder::new(data))
    }

    /// Brings the tables of a data folder up to its ledger, and publishes a snapshot.
    ///
    /// Does nothing when the newest snapshot covers the same ledger and catalog, unless `force` is set. Do not call it
    /// on an async runtime's thread; it blocks.
    ///
    /// # Errors
    /// The ledger, the catalog or a key is missing or damaged, no determination is in force for the expert's profile,
    /// the storage refuses, or the watcher stopped it. What was published before stays as it was.
    pub fn run(data: &Path, options: Options<'_>) -> Result<Summary, IngestError> {
        let folder = Folder::new(data);
        folder.require_ledger()?;
        let _alone = lock(&folder)?;
        let reader = LogReader::open(&folder.ledger())?;
        let catalog = folder.catalog()?;
        let newest = snapshot::newest(data)?;
        let ledger_size = reader.size();
        let catalog_hash = catalog.hash();
        if let Some(newest) = &newest
            && !options.force
            && newest.ledger_size == ledger_size
            && newest.catalog_hash == catalog_hash
        {
            return Ok(unchanged(newest));
        }
        let state = State { ledger_size, cut_at: options.cut.day(), catalog_hash, buckets: buckets_for(ledger_size) };
        public_tables::write(&folder, &catalog, &massachusetts())?;
        let run = Run { folder: &folder, catalog: &catalog, state: &state, options };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(IngestError::io("start threads for", &folder.tables()))?;
        run.snapshot(reader, newest.map_or(1, |n| n.number + 1), &runtime)
    }
}

/// One ingest at a time: the lock is held until it is dropped.
pub(crate) fn lock(folder: &Folder) -> Result<Lock, IngestError> {
    let dir = folder.tables();
    fs::create_dir_all(&dir).map_err(IngestError::io("make", &dir))?;
    let path = dir.join("lock");
    StdFs.lock(&path).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => IngestError::Busy,
        _ => IngestError::io("lock", &path)(error),
    })
}

fn unchanged(newest: &SnapshotManifest) -> Summary {
    let rows = PRIVATE_TABLES
        .into_iter()
        .filter_map(|table| Some((table, newest.tables.get(table)?.files.iter().map(|f| f.rows).sum())))
        .collect();
    Summary { snapshot: newest.number, ledger_size: newest.ledger_size, rows, ..Summary::default() }
}

/// One run that has something to do.
struct Run<'a> {
    folder: &'a Folder,
    catalog: &'a Catalog,
    state: &'a State,
    options: Options<'a>,
}

impl Run<'_> {
    /// The working space.
    fn spill(&self) -> std::path::PathBuf {
        self.folder.tables().join(".spill")
    }

    fn progress(&self, progress: Progress) -> Result<(), IngestError> {
        if (self.options.watch)(progress) { Ok(()) } else { Err(IngestError::Stopped) }
    }

    fn snapshot(
        &self,
        reader: LogReader,
        number: u64,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Summary, IngestError> {
        let start = Instant::now();
        let key = self.folder.pseudonym_key()?;
        let mut spill = Spill::create(&self.spill(), self.state)?;
        let mut verified = verify::verify(&reader, self.state.ledger_size, &key, &mut spill, &|p| self.progress(p))?;
        spill.finish()?;
        if self.catalog.profile == Profile::ExpertDetermination {
            self.require_determination(&verified.determinations)?;
        }
        let ledger_root = hex(&reader.checkpoint().root);
        // What it keeps of the ledger goes before the tables need the room.
        drop(reader);
        let verify_seconds = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let mut tables = runtime.block_on(self.open())?;
        let reached = tables.iter().map(|table| table.reached(self.state)).collect::<Result<Vec<_>, _>>()?;
        let deidentifier = DeIdentifier::new(self.catalog, key)?;
        let work = Work {
            folder: self.folder,
            spill: &self.spill(),
            state: self.state,
            catalog: self.catalog,
            authorities: &verified.authorities,
            deidentifier: &deidentifier,
            reached: &reached,
        };
        let mut made = rows::make(&work, &|p| self.progress(p))?;
        verified.quarantine.merge(std::mem::take(&mut made.quarantine));
        spill::remove(&self.spill())?;
        let tables_seconds = start.elapsed().as_secs_f64();

        let start = Instant::now();
        runtime.block_on(self.commit(&mut tables, &reached, &made))?;
        verified.quarantine.write(self.folder)?;
        let manifest = self.publish(ledger_root, number, &tables)?;
        runtime.block_on(async {
            for table in &tables {
                table.forget().await?;
            }
            Ok::<(), IngestError>(())
        })?;
        lease::sweep(self.folder, &manifest)?;
        Ok(Summary {
            snapshot: number,
            changed: true,
            ledger_size: self.state.ledger_size,
            transactions: verified.transactions,
            quarantined: verified.quarantine.counts,
            patients: made.patients,
            admitted: made.admitted,
            denied_records: made.denied_records,
            rows: made.rows,
            moved_values: made.moved,
            dropped_rows: made.dropped,
            risk: made.classes.report(),
            verify_seconds,
            tables_seconds,
            stages: made.stages,
            commit_seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// Is a determination in force on the cut's day?
    fn require_determination(&self, determinations: &[Determination]) -> Result<(), IngestError> {
        let cut = self.state.cut_at;
        let in_force = |d: &Determination| {
            Day::parse(&d.date).is_some_and(|from| from <= cut) && Day::parse(&d.expires).is_some_and(|end| cut <= end)
        };
        match determinations.iter().any(in_force) {
            true => Ok(()),
            false => Err(IngestError::NoDetermination { cut: cut.to_string() }),
        }
    }

    async fn open(&self) -> Result<Vec<Table>, IngestError> {
        let mut tables = Vec::with_capacity(PRIVATE_TABLES.len());
        for name in PRIVATE_TABLES {
            let definition = self.catalog.table(name).ok_or_else(|| IngestError::table(name, "found")("no catalog"))?;
            tables.push(Table::open(&self.folder.tables(), name, definition).await?);
        }
        Ok(tables)
    }

    async fn commit(&self, tables: &mut [Table], reached: &[bool], made: &Made) -> Result<(), IngestError> {
        let total = PRIVATE_TABLES.len() as u64;
        for (done, ((name, table), reached)) in (1..).zip(PRIVATE_TABLES.into_iter().zip(tables).zip(reached)) {
            if !reached {
                table.commit(self.state, made.files.get(name).map_or(&[], Vec::as_slice)).await?;
            }
            self.progress(Progress { stage: Stage::Commit, done, total })?;
        }
        Ok(())
    }

    fn publish(&self, ledger_root: String, number: u64, tables: &[Table]) -> Result<SnapshotManifest, IngestError> {
        let tables = PRIVATE_TABLES
            .into_iter()
            .zip(tables)
            .map(|(name, table)| Ok((name.to_owned(), table.snapshot(self.state)?)))
            .collect::<Result<_, IngestError>>()?;
        let manifest = SnapshotManifest {
            number,
            cut_at: self.options.cut.to_string(),
            scheduled: self.options.cut.scheduled,
            ledger_size: self.state.ledger_size,
            ledger_root,
            tables,
            profile: self.catalog.profile,
            catalog_hash: self.state.catalog_hash.clone(),
        };
        if !snapshot::publish(self.folder, &manifest)? {
            return Err(IngestError::Busy);
        }
        self.progress(Progress { stage: Stage::Publish, done: 1, total: 1 })?;
        Ok(manifest)
    }
}
