//! The pipeline from outside: ledgers in, tables and manifests out.

#![expect(clippy::unwrap_used, reason = "a step that fails must fail its test")]

mod changes;
mod consent;
mod crash;
mod neighbour;
mod quarantine;
mod rerun;
mod support;
mod synthea;
