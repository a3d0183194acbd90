//! How far long work has come, for whoever draws a bar.

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Simulated people written to the ledger, counted in persons.
    Simulate,
    /// Source files written to the ledger, counted in persons.
    Import,
    /// Transactions read from the ledger and verified, counted in entries.
    Verify,
    /// Patients' rows made and written to files, counted in files' ranges.
    Tables,
    /// Tables committed, counted in tables.
    Commit,
    /// The manifest published.
    Publish,
}

/// A step of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
}
