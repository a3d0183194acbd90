//! Many transactions into a new ledger: batches as large as the log keeps together, a bounded number on their way.

use std::collections::VecDeque;

use epiledger_ledger::{Log, NewEntry, Ticket};

use crate::error::IngestError;

/// Most entries of one submission: the log keeps so many together.
const ENTRIES_A_SUBMISSION: usize = 512;

/// Submissions that may wait for the disk.
const SUBMISSIONS_WAITING: usize = 64;

/// Writes to one log.
pub(crate) struct LedgerWriter {
    log: Log,
    waiting: VecDeque<Ticket>,
    transactions: u64,
}

impl LedgerWriter {
    /// Writes to this log.
    pub(crate) fn new(log: Log) -> Self {
        Self { log, waiting: VecDeque::new(), transactions: 0 }
    }

    /// Hands entries to the log; the index of each.
    pub(crate) fn submit(&mut self, entries: Vec<NewEntry>) -> Result<Vec<u64>, IngestError> {
        self.transactions += entries.len() as u64;
        let mut indices = Vec::with_capacity(entries.len());
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let some: Vec<NewEntry> = entries.by_ref().take(ENTRIES_A_SUBMISSION).collect();
            let count = some.len() as u64;
            let ticket = self.log.submit(some)?;
            indices.extend((0..count).filter_map(|position| ticket.index(position)));
            self.waiting.push_back(ticket);
        }
        while self.waiting.len() > SUBMISSIONS_WAITING
            && let Some(ticket) = self.waiting.pop_front()
        {
            ticket.wait()?;
        }
        Ok(indices)
    }

    /// Waits until everything is durable and published; the number of transactions.
    pub(crate) fn finish(mut self) -> Result<u64, IngestError> {
        while let Some(ticket) = self.waiting.pop_front() {
            ticket.wait()?;
        }
        self.log.flush()?;
        Ok(self.transactions)
    }
}
