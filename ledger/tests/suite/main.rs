//! The ledger crate from outside, one file per behaviour.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod budget;
mod crash;
mod disk;
mod erasure;
mod faults;
mod folder;
mod forged;
mod guard;
mod live;
mod log;
mod mirror;
mod mirror_disk;
mod policies;
#[path = "../../../tests/src/python.rs"]
mod python;
mod recovery;
mod rotation;
mod series;
#[path = "../../../tests/src/skip.rs"]
mod skip;
mod tamper;
mod tamper_table;
mod transactions;
mod tree_only;
mod verifiers;
mod workload;
