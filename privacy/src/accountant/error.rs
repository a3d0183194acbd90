//! Why the accountant can't go on, and why it did not reserve.

use crate::{
    budget::{FoldError, Level},
    loss::PrivacyLoss,
};

/// The log failed, or is not one that this engine wrote.
#[derive(Debug, thiserror::Error)]
pub enum AccountantError {
    /// The log can't be read or written; the process must stop and recover by the normal path.
    #[error("the audit log: {0}")]
    Log(#[from] epiledger_ledger::LogError),
    /// An entry can't be read.
    #[error("audit entry {0} can't be read")]
    Unreadable(u64),
    /// An entry contradicts the ones before it.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// An entry can't follow the log; it was not written.
    #[error("{what}")]
    Refused {
        /// Why.
        what: &'static str,
    },
    /// An entry is too long to be logged.
    #[error("the entry can't be logged: {0}")]
    Entry(#[from] epiledger_ledger::entry::EntryError),
}

/// Why nothing was reserved, and so nothing spent.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// No policy yet.
    #[error("no policy is set: two approvers must set one first")]
    NoPolicy,
    /// Unknown, suspended, out of its dates, or not the asker's.
    #[error("protocol {0}")]
    Protocol(String),
    /// A level does not cover it.
    #[error("the {} budget does not cover this question", .0.level)]
    Exhausted(Box<Level>, PrivacyLoss),
    /// As many of the protocol's questions are under way as may still fail: wait until one of them has ended.
    #[error("as many questions of this protocol are under way as may still fail; ask again in a moment")]
    UnderWay,
    /// The policy or the snapshot changed since the question was bound; ask again.
    #[error("the policy changed while the question was prepared; ask again")]
    Stale,
    /// It reads simulated people, so there is nothing to pay.
    #[error("a question about simulated people is not paid")]
    Synthetic,
    /// The log takes no more entries: its folder is an older copy of it, or a fork.
    #[error("the audit log does not continue its pinned head: {0}")]
    RolledBack(String),
    /// It can't be the next window of its series.
    #[error("the series can't go on: {0}")]
    Series(&'static str),
    /// The same Idempotency-Key is known.
    #[error("the Idempotency-Key is known")]
    KnownKey,
    /// The log failed.
    #[error(transparent)]
    Accountant(#[from] AccountantError),
}
