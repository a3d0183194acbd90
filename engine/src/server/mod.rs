//! The HTTP server: one gate, thin handlers, and no way to data but [`Engine`].
//!
//! `router` walks the permission table, so what the table does not name does not exist.
//! Handlers parse, call the engine and format; no rule about privacy lives here.

pub mod auth;
pub mod error;
pub mod format;
pub mod handlers;
pub mod keys;
pub mod openapi;
pub mod pages;
pub mod permission;
mod router;
mod run;

use std::os::unix::fs::DirEntryExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use epiledger_ledger::{LogError, LogReader};
use tokio::sync::Semaphore;

pub use router::router;
pub use run::{ServeError, bind, run};

use crate::api::{Principal, Role};
use crate::chain::Chain;
use crate::query::Engine;
use error::Problem;
use keys::{ApiKey, ApiKeys};

/// Estimates that may be under way at once; more wait.
const CONCURRENT_ESTIMATES: usize = 16;

/// Largest request body, bytes. SQL is at most 64 KiB; a body of some more is read to its end all the same, since a
/// client that is still writing would not read what is wrong with it.
pub const MAX_BODY: usize = 2 * 1024 * 1024;

/// What every handler needs.
pub struct Server {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Who may call.
    pub keys: ApiKeys,
    /// The data folder, for the logs' published files.
    pub data: PathBuf,
    /// Does the start page show the county table without a login?
    pub demo: bool,
    /// The ledger, for those who sign on it.
    pub chain: Chain,
    estimates: Semaphore,
    /// The ledger as it was when last asked for; opened again when its head moved, or a pack was written anew.
    ledger: Mutex<Option<(Vec<u64>, Arc<LogReader>)>>,
}

impl Server {
    /// A server over an open engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>, keys: ApiKeys, data: PathBuf, demo: bool) -> Arc<Self> {
        let (estimates, ledger) = (Semaphore::new(CONCURRENT_ESTIMATES), Mutex::default());
        let chain = Chain::new(&data);
        Arc::new(Self { engine, keys, data, demo, chain, estimates, ledger })
    }

    /// The principal behind a key: its protocols are those in which the board names it.
    #[must_use]
    pub fn principal(&self, key: &ApiKey) -> Principal {
        let protocols = match key.role {
            Role::Researcher | Role::Epidemiologist => self
                .engine
                .protocols()
                .into_iter()
                .filter(|p| p.investigators.contains(&key.principal))
                .map(|p| p.protocol)
                .collect(),
            Role::Board | Role::Steward | Role::Operator => Vec::new(),
        };
        Principal { name: key.principal.clone(), key_id: key.id.clone(), role: key.role, protocols }
    }

    /// The ledger at its published head.
    ///
    /// # Errors
    /// Its folder can't be read.
    pub(crate) fn ledger(&self) -> Result<Arc<LogReader>, LogError> {
        let dir = self.data.join("ledger");
        let note = std::fs::read_to_string(dir.join("checkpoint")).unwrap_or_default();
        // Files that an erasure replaced are other files: those held open still have what is erased.
        let files = std::fs::read_dir(dir.join("blobs")).into_iter().flatten().flatten();
        let mut files: Vec<u64> = files.map(|file| file.ino()).collect();
        files.sort_unstable();
        let mut held = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref().filter(|(opened, reader)| *opened == files && reader.checkpoint().note == note) {
            Some((_, reader)) => Ok(Arc::clone(reader)),
            None => {
                let reader = Arc::new(LogReader::open(&dir)?);
                *held = Some((files, Arc::clone(&reader)));
                Ok(reader)
            }
        }
    }

    /// Runs work that waits for the disk away from the threads that answer requests.
    ///
    /// # Errors
    /// 500 when the work panicked.
    pub async fn off_thread<T, F>(self: &Arc<Self>, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> T + Send + 'static,
    {
        let server = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&server)).await.map_err(|e| Problem::internal(&e))
    }
}
