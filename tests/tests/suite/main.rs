//! Everything that needs more than one crate, or the running binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]
#![expect(clippy::disallowed_methods, reason = "oracles compare with exact numbers of made-up and synthetic records")]

mod aggregates;
mod audit;
mod auditor;
mod bad_input;
mod budget;
mod concurrent;
mod coverage;
mod crash;
mod edges;
mod first_light;
mod library;
mod oracle;
mod real_data;
mod refusals;
mod series;
#[path = "../../../privacy/tests/suite/setup.rs"]
mod setup;
mod snapshots;
mod statistics;
mod style;
mod tamper;
mod totality;
mod world;
