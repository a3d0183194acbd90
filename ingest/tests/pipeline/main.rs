//! The pipeline from outside: ledgers in, tables and manifests out.

#![expect(clippy::unwrap_used, reason = "a step that fails must fail its test")]
#![expect(clippy::disallowed_methods, reason = "exact counts of synthetic records check the tables")]

mod changes;
mod consent;
mod crash;
mod erasable;
mod leave;
mod making;
mod neighbour;
mod quarantine;
#[path = "../../../tests/src/real_data.rs"]
mod real_data;
mod rerun;
mod schedule;
#[path = "../../../tests/src/skip.rs"]
mod skip;
mod support;
mod synthea;
mod withdrawal;
