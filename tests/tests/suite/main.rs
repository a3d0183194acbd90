//! Everything that needs more than one crate, or the running binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]
#![expect(clippy::disallowed_methods, reason = "oracles compare with exact numbers of made-up and synthetic records")]

mod aggregates;
mod audit;
mod audit_http;
mod auditor;
mod bad_input;
mod broken;
mod budget;
mod concurrent;
mod coverage;
mod crash;
mod edges;
mod epsilon;
mod erasure;
mod first_light;
mod full_disk;
mod generated;
mod grouped_window;
mod holes;
mod hospital;
mod household;
mod in_lists;
mod library;
mod making;
mod memory;
mod oracle;
mod outer_join;
mod real_data;
mod receipts;
mod refusals;
mod restart;
mod rollback;
mod rotation;
mod series;
#[path = "../../../privacy/tests/suite/setup.rs"]
mod setup;
mod skips;
mod snapshots;
mod statistics;
mod study;
mod style;
mod suppressed;
mod tamper;
mod totality;
mod verifiers;
mod world;
