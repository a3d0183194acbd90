//! The composition root: one path of a query, the HTTP server, the pages and the command line.
//!
//! ```text
//! cli ──► server (gate ─► handler) ──► query::Engine ──► sql ─► privacy ─► exec ─► release ─► answer
//!                                          │
//!                                          └── ledger (the audit log is the budget's database)
//! ```
//! [`api`] holds what goes in and out, [`server::permission`] who may call what.

mod accuracy;
pub mod api;
pub mod chain;
pub mod chart;
pub mod cli;
pub mod config;
mod counted;
mod dummy;
mod epsilon;
mod estimate;
pub mod exec;
mod odds;
pub mod open;
pub mod panel;
pub mod pin;
pub mod policy;
mod price;
pub mod query;
mod question;
mod reach;
pub mod receipt;
pub mod redaction;
mod review;
pub mod rotation;
pub mod series;
pub mod server;
pub mod snapshots;
pub mod telemetry;
mod turn;
