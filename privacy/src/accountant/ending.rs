//! How a paid question ends: its outcome durable before the release is given, and the suspension after three failures.

use std::sync::Arc;

use epiledger_ledger::entry::{AuditEntry, ProtocolSuspend, QueryOutcome, query::Outcome as Ending};
use sha2::{Digest, Sha256};

use super::{Accountant, AccountantError, Reserved, SALT};
use crate::{
    bound::hex,
    budget::FAILURES_ALLOWED,
    release::{Failed, Outcome, Release},
};

/// A reservation that is dropped, by a panic or a caller who went away, ends as failed.
impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.closed {
            let (accountant, entry) = (Arc::clone(&self.accountant), self.outcome(Ending::Failed, None));
            // A log that can't be written is poisoned, and the next start closes the intent as abandoned.
            std::thread::spawn(move || accountant.end(&entry, Vec::new(), None));
        }
    }
}

impl Reserved {
    /// Appends the outcome; only when it is durable the release is given.
    pub(crate) async fn close(mut self, noisy: Result<Release, Failed>) -> Result<(Arc<Release>, Outcome), Failed> {
        let release = noisy.map(Arc::new);
        let text = match &release {
            Ok(release) => serde_json::to_vec(release.as_ref()).map_err(|_| Failed),
            Err(Failed) => Err(Failed),
        };
        let (ending, commit, blobs) = match text {
            Ok(text) => {
                let blob = [&rand::random::<[u8; SALT]>()[..], &text].concat();
                (Ending::Answered, Some(hex(&Sha256::digest(&blob))), vec![blob])
            }
            Err(Failed) => (Ending::Failed, None, Vec::new()),
        };
        let answered = release.as_ref().ok().filter(|_| ending == Ending::Answered).cloned();
        let (accountant, entry) = (Arc::clone(&self.accountant), self.outcome(ending, commit));
        let (tell, told) = futures::channel::oneshot::channel();
        // The wait for the disk blocks, and the core brings no runtime: a thread of its own costs far less than an fsync.
        std::thread::spawn(move || {
            let ended = accountant.end(&entry, blobs, answered);
            // Whoever has the answer may close the log: this thread keeps it no longer than that.
            drop(accountant);
            let _ = tell.send(ended);
        });
        self.closed = true;
        let index = told.await.map_err(|_| Failed)?.map_err(|_| Failed)?;
        release.map(|release| (release, Outcome { index }))
    }

    fn outcome(&self, outcome: Ending, result_commit: Option<String>) -> AuditEntry {
        let (query_id, intent) = (self.query_id.clone(), self.intent);
        AuditEntry::QueryOutcome(QueryOutcome { query_id, intent, outcome, result_commit })
    }
}

impl Accountant {
    pub(super) fn end(
        &self,
        entry: &AuditEntry,
        blobs: Vec<Vec<u8>>,
        release: Option<Arc<Release>>,
    ) -> Result<u64, AccountantError> {
        let (ticket, suspend) = {
            let mut inner = self.lock();
            let ticket = self.submit(&mut inner, entry, blobs, release, None)?;
            let suspend: Vec<String> = inner
                .budget
                .protocols()
                .iter()
                .filter(|(_, protocol)| protocol.failures >= FAILURES_ALLOWED && !protocol.suspended)
                .map(|(id, _)| id.clone())
                .collect();
            (ticket, suspend)
        };
        let index = ticket.first_index();
        ticket.wait()?;
        for protocol in suspend {
            let entry = AuditEntry::ProtocolSuspend(ProtocolSuspend { protocol, by: "engine".into() });
            self.record(entry, Vec::new())?;
        }
        Ok(index)
    }
}
