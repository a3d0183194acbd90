//! Records in: from the ledger to the research tables.
//!
//! ```text
//! source     real files (Synthea) -> signed transactions on the ledger         (a hospital's side)
//! simulate   people with known truth -> the same
//! pipeline   ledger -> verify -> consent -> de-identify -> Delta tables        (the dataset's side)
//! snapshot   the manifest: which files each table consists of at one cut
//! ```
//!
//! This crate alone knows the tables' format. Readers take [`lease::hold`] and read the Parquet files that its manifest
//! names, for as long as they hold it.
//!
//! Invariants: a row comes only from a signed, consented, de-identified record; a table is a function of its ledger,
//! cut, catalog and key; no row of one patient depends on another; a run that is killed and run again ends in the same
//! tables; a snapshot, once published, is never changed, and its files go when it is superseded and nobody reads it; a
//! ledger is there whole or not at all.

mod bundle;
pub mod erasable;
mod error;
mod folder;
pub mod lease;
mod ledger_writer;
mod making;
pub mod parties;
mod pipeline;
pub mod precheck;
mod progress;
mod public_tables;
pub mod quarantine;
mod regions;
mod risk;
pub mod schedule;
pub mod simulate;
pub mod snapshot;
pub mod source;
mod table;

pub use error::IngestError;
pub use folder::Folder;
pub use pipeline::withdrawal;
pub use pipeline::{Options, Pipeline, Stages, Summary, Watch};
pub use progress::{Progress, Stage};
pub use regions::{county_code, massachusetts, state_code};
pub use risk::RiskReport;
pub use schedule::{Cut, Schedule};
