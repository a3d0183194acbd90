//! The composition root: one path of a query, the HTTP server, the pages and the command line.
//!
//! ```text
//! cli ──► server (gate ─► handler) ──► query::Engine ──► sql ─► privacy ─► exec ─► release ─► answer
//!                                          │
//!                                          └── ledger (the audit log is the budget's database)
//! ```
//! [`api`] holds what goes in and out, [`server::permission`] who may call what.

pub mod api;
pub mod chart;
pub mod cli;
pub mod config;
mod dummy;
pub mod exec;
mod odds;
pub mod open;
pub mod panel;
pub mod policy;
mod price;
pub mod query;
mod question;
mod reach;
mod review;
pub mod series;
pub mod server;
pub mod snapshots;
pub mod telemetry;
mod turn;
