//! The sql crate from outside, one file per behaviour.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the oracle is plain DataFusion over made-up rows")]

mod cases;
mod dialect;
mod dice;
mod hostile;
mod meaning;
mod names;
mod params;
mod refusals;
mod rows;
mod semantics;
mod small;
mod support;
