//! Second pass, all patients: each bucket's patients are folded, admitted, de-identified and written, bucket by bucket
//! on as many threads as the machine has. What a worker holds does not depend on the ledger's size.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use epiledger_ledger::KeyRegistry;
use epiledger_privacy::catalog::Catalog;
use epiledger_privacy::deidentify::DeIdentifier;
use epiledger_privacy::research::PRIVATE_TABLES;
use serde::Serialize;

use super::fold::Patient;
use super::spill::{self, Frame};
use crate::bundle::Unpacker;
use crate::error::IngestError;
use crate::folder::Folder;
use crate::progress::{Progress, Stage};
use crate::quarantine::Quarantine;
use crate::risk::Classes;
use crate::table::{BucketFile, State, Written};

/// What the second pass works on.
pub(super) struct Work<'a> {
    pub(super) folder: &'a Folder,
    pub(super) spill: &'a Path,
    pub(super) state: &'a State,
    pub(super) catalog: &'a Catalog,
    pub(super) authorities: &'a KeyRegistry,
    pub(super) deidentifier: &'a DeIdentifier,
    /// Tables that have reached the state already: nothing is written for them.
    pub(super) reached: &'a [bool],
}

/// What it leaves.
#[derive(Default)]
pub(super) struct Made {
    /// Finished files by table name.
    pub(super) files: BTreeMap<&'static str, Vec<Written>>,
    /// Rows by table name, whether written now or before.
    pub(super) rows: BTreeMap<&'static str, u64>,
    pub(super) quarantine: Quarantine,
    pub(super) classes: Classes,
    /// Patients with a transaction on the ledger.
    pub(super) patients: u64,
    /// Patients in the tables.
    pub(super) admitted: u64,
    /// Records that consent keeps back.
    pub(super) denied_records: u64,
    /// Values moved to a declared bound or to null.
    pub(super) moved: u64,
    /// Rows outside of the declared days.
    pub(super) dropped: u64,
    pub(super) stages: Stages,
}

/// Time that all threads together spent in each stage of the second pass.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stages {
    consent: Duration,
    deidentify: Duration,
    write: Duration,
}

impl Stages {
    /// Name and seconds of each stage.
    #[must_use]
    pub fn seconds(&self) -> [(&'static str, f64); 3] {
        [("consent", self.consent), ("de-identify", self.deidentify), ("write tables", self.write)]
            .map(|(name, time)| (name, time.as_secs_f64()))
    }
}

/// Adds the time that some work takes.
fn timed<T>(stage: &mut Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *stage += started.elapsed();
    result
}

impl Made {
    fn merge(&mut self, other: Self) {
        for (table, mut files) in other.files {
            self.files.entry(table).or_default().append(&mut files);
        }
        for (table, rows) in other.rows {
            *self.rows.entry(table).or_default() += rows;
        }
        self.quarantine.merge(other.quarantine);
        self.classes.merge(other.classes);
        self.patients += other.patients;
        self.admitted += other.admitted;
        self.denied_records += other.denied_records;
        self.moved += other.moved;
        self.dropped += other.dropped;
        self.stages.consent += other.stages.consent;
        self.stages.deidentify += other.stages.deidentify;
        self.stages.write += other.stages.write;
    }
}

/// Makes every bucket's files.
pub(super) fn make(
    work: &Work<'_>,
    progress: &(dyn Fn(Progress) -> Result<(), IngestError> + Sync),
) -> Result<Made, IngestError> {
    let next = AtomicU32::new(0);
    let done = Mutex::new(0_u64);
    let buckets = work.state.buckets;
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let parts = std::thread::scope(|scope| {
        let run = || {
            let (mut made, mut bytes) = (Made::default(), Vec::new());
            loop {
                let bucket = next.fetch_add(1, Ordering::Relaxed);
                if bucket >= buckets {
                    return Ok(made);
                }
                let part = work.bucket(bucket, &mut bytes).inspect_err(|_| next.store(buckets, Ordering::Relaxed))?;
                made.merge(part);
                // The lock keeps the callback's numbers in order.
                let mut done = done.lock().map_err(|_| IngestError::Worker)?;
                *done += 1;
                progress(Progress { stage: Stage::Tables, done: *done, total: u64::from(buckets) })
                    .inspect_err(|_| next.store(buckets, Ordering::Relaxed))?;
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|t| t.join().unwrap_or(Err(IngestError::Worker))).collect::<Vec<_>>()
    });
    let mut made = Made::default();
    for part in parts {
        made.merge(part?);
    }
    for files in made.files.values_mut() {
        files.sort_by_key(Written::bucket);
    }
    Ok(made)
}

impl Work<'_> {
    fn bucket(&self, bucket: u32, bytes: &mut Vec<u8>) -> Result<Made, IngestError> {
        let mut files = self.files(bucket)?;
        let mut unpacker = Unpacker::new()?;
        let mut made = Made::default();
        for slice in spill::slices(bucket) {
            spill::read(self.spill, slice, bytes)?;
            for frames in spill::frames(bytes)?.chunk_by(|a, b| a.person == b.person) {
                self.patient(frames, &mut unpacker, &mut files, &mut made)?;
            }
        }
        for (table, file) in files {
            let written = timed(&mut made.stages.write, || file.finish())?;
            made.files.entry(table).or_default().push(written);
        }
        Ok(made)
    }

    /// One patient's frames to rows in the files.
    fn patient(
        &self,
        frames: &[Frame<'_>],
        unpacker: &mut Unpacker,
        files: &mut [(&'static str, BucketFile)],
        made: &mut Made,
    ) -> Result<(), IngestError> {
        let (patient, admitted) = timed(&mut made.stages.consent, || {
            let mut patient = Patient::fold(self.authorities, frames)?;
            let admitted = patient.admit(self.state.cut_at, unpacker);
            Ok::<_, IngestError>((patient, admitted))
        })?;
        made.patients += 1;
        made.denied_records += admitted.denied;
        for (index, reason) in patient.bad {
            made.quarantine.add(index, &reason);
        }
        if admitted.records.is_empty() {
            return Ok(());
        }
        let person = frames.first().map_or(0, |frame| frame.person);
        let deidentify = || self.deidentifier.patient(person, &admitted.records);
        let (rows, refused) = timed(&mut made.stages.deidentify, deidentify);
        for refusal in refused {
            made.quarantine.add(refusal.transaction, &refusal.fault.into());
        }
        let Some(rows) = rows else { return Ok(()) };
        made.admitted += 1;
        made.moved += rows.moved();
        made.dropped += rows.dropped();
        made.classes.add(&rows);
        for (table, of_table) in PRIVATE_TABLES.into_iter().zip(rows.tables()) {
            *made.rows.entry(table).or_default() += of_table.len() as u64;
        }
        let write = || files.iter_mut().try_for_each(|(_, file)| file.add(&rows));
        timed(&mut made.stages.write, write)
    }

    fn files(&self, bucket: u32) -> Result<Vec<(&'static str, BucketFile)>, IngestError> {
        let mut files = Vec::new();
        for (position, (table, reached)) in PRIVATE_TABLES.into_iter().zip(self.reached).enumerate() {
            let Some(definition) = self.catalog.table(table).filter(|_| !reached) else {
                continue;
            };
            let path = self.folder.tables().join(table).join(self.state.file(bucket));
            files.push((table, BucketFile::create(table, position, definition, &path, bucket)?));
        }
        Ok(files)
    }
}
