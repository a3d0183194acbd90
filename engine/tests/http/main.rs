//! The HTTP interface in-process: the real router over a small simulated data folder, no socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "set-up and reading of replies: a failure here fails the test")]

mod app;
mod budget;
mod dummy;
mod formats;
mod logs;
mod matrix;
mod pages;
mod redactions;
mod series;
mod snapshots;
mod statements;
