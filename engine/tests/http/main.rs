//! The HTTP interface in-process: the real router over a small simulated data folder, no socket.

mod app;
mod formats;
mod logs;
mod matrix;
mod pages;
mod statements;
