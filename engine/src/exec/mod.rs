//! The only place where plans run: bounded plans over data, and post plans over released numbers.

mod intervals;
mod lineage;
pub mod local;
pub mod post;
mod replay;
