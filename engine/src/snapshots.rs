//! Which snapshot is read: the newest one, taken up while serving; and the daily cut.

use std::{
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use epiledger_ingest::{
    IngestError, Schedule, Watch,
    lease::{Lease, hold},
    schedule::cut_if_due,
    snapshot::newest_number,
};
use epiledger_privacy::snapshot::Snapshot;

use crate::{
    open::{OpenError, pin, pinned},
    query::Engine,
};

/// Snapshots that some question may read, the newest too, with their files.
pub(crate) type Leases = Vec<(Weak<Snapshot>, Lease)>;

/// Between two looks at the folder of snapshots.
const LOOK: Duration = Duration::from_secs(2);

impl Engine {
    /// The snapshot that questions are bound to from now on.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up a newer snapshot, if there is one: its audit entry is durable before any question reads it. Questions
    /// under way keep theirs. True when it took one up; a frozen log keeps to the snapshots that it has.
    ///
    /// # Errors
    /// The newest manifest can't be read or is of another catalog (that needs a restart), or the log stopped.
    pub fn refresh(&self) -> Result<bool, OpenError> {
        self.let_go();
        let read = self.snapshot().number;
        if self.audit().frozen().is_some() || newest_number(&self.data)?.is_none_or(|number| number <= read) {
            return Ok(false);
        }
        let Some((manifest, lease)) = hold(&self.data)? else { return Ok(false) };
        if manifest.catalog_hash != self.catalog.hash() {
            return Err(OpenError::OtherCatalog(manifest.number));
        }
        let snapshot = Arc::new(pinned(&self.data, &self.catalog, &manifest)?);
        // One at a time: the log holds each snapshot once, in rising order.
        let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        if current.number >= snapshot.number {
            return Ok(false);
        }
        pin(&self.accountant, &manifest, &snapshot)?;
        let leases = (Arc::downgrade(&snapshot), lease);
        *current = snapshot;
        drop(current);
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).push(leases);
        Ok(true)
    }

    /// Lets go of snapshots that no question reads any more: their files go when they were superseded.
    fn let_go(&self) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let free: Leases = leases.extract_if(.., |(snapshot, _)| snapshot.strong_count() == 0).collect();
        drop(leases);
        for (_, lease) in free {
            if let Err(error) = lease.let_go() {
                tracing::error!(%error, "files of an earlier snapshot can't be removed; the next cut tries again");
            }
        }
    }

    /// One look: cuts when the schedule says so, and takes up what is new. `now` is a Unix time in seconds; a cut
    /// under way ends, and is tried again later, when `watch` answers false.
    ///
    /// # Errors
    /// As [`Self::refresh`]; a cut that fails is the operator's to read and is tried again at the next look.
    pub fn look(&self, schedule: Option<Schedule>, now: u64, watch: Watch<'_>) -> Result<bool, OpenError> {
        if let Some(schedule) = schedule {
            match cut_if_due(&self.data, schedule, now, watch) {
                Ok(Some(cut)) => tracing::info!(snapshot = cut.snapshot, "cut on schedule"),
                // Another process ingests: its snapshot is taken up when it is there.
                Ok(None) | Err(IngestError::Busy | IngestError::Stopped) => {}
                Err(error) => tracing::error!(%error, "the scheduled cut failed"),
            }
        }
        self.refresh()
    }
}

/// Between two attempts to take series further.
const AGAIN: Duration = Duration::from_secs(60);

/// Series between one look and the next.
#[derive(Default)]
struct Standing {
    tried: Option<Instant>,
    said: Vec<String>,
}

impl Standing {
    /// Takes series further at a newer snapshot, and now and then where that failed.
    async fn further(&mut self, engine: &Arc<Engine>, newer: bool) {
        if !newer && self.tried.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        self.tried = Some(Instant::now());
        let ended = engine.refresh_series().await.into_iter();
        let failed: Vec<String> =
            ended.filter_map(|(id, ended)| ended.err().map(|error| format!("{id}: {error}"))).collect();
        for error in failed.iter().filter(|error| !self.said.contains(error)) {
            tracing::error!(%error, "a series was not taken further");
        }
        self.said = failed;
    }
}

/// Looks again and again until `stop` is set, cutting daily where a schedule is given.
pub async fn follow(engine: Arc<Engine>, schedule: Option<Schedule>, stop: Arc<AtomicBool>) {
    let mut said = String::new();
    let mut series = Standing::default();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (looking, stopping) = (Arc::clone(&engine), Arc::clone(&stop));
        let look = move || looking.look(schedule, now, &|_| !stopping.load(Ordering::Relaxed));
        let looked = tokio::task::spawn_blocking(look).await;
        let newer = matches!(looked, Ok(Ok(true)));
        series.further(&engine, newer).await;
        let error = match looked {
            Ok(Ok(_)) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // The same trouble is said once.
        if error != said && !error.is_empty() {
            tracing::error!(%error, "the newest snapshot is not taken up");
        }
        said = error;
    }
}
