//! The ledger crate from outside, one file per behaviour.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod budget;
mod crash;
mod disk;
mod faults;
mod folder;
mod log;
mod mirror;
mod policies;
mod recovery;
mod series;
mod tamper;
mod tamper_table;
mod transactions;
mod tree_only;
mod verifiers;
mod workload;
