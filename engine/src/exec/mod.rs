//! The only place where plans run: bounded plans over data, post plans over released numbers, and the board's over the
//! audit log.

pub mod audit;
mod intervals;
mod lineage;
pub mod local;
pub mod post;
mod region;
mod replay;
