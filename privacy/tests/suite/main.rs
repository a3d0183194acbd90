//! The core from outside: its accountant against OpenDP's filter, and the time at which its outcomes leave.

#![expect(clippy::unwrap_used, reason = "a step that fails must fail its test")]

mod collusion;
mod filter;
mod finer;
mod forged;
mod policy;
mod setup;
mod timing;
mod traits;
