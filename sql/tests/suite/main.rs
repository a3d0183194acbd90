//! The sql crate from outside, one file per behaviour.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod meaning;
mod refusals;
