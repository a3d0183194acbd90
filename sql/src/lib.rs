//! SQL text into the only shape of question that the trusted core understands.
//!
//! ```text
//! text --parse--> Parsed --bind--> epiledger_privacy::query::Query
//! ```
//! [`parse`] holds the text to its limits, takes one statement and looks at its syntax tree: what can be refused by
//! sight is refused with its place, and what may be refused later is noted with its place ([`suspects`]). [`bind`]
//! plans the statement by DataFusion's own SQL planner and type coercion against the catalog, ties sub-queries to the
//! patient ([`decorrelate`]), and splits the plan at the released aggregate ([`split`]). Nothing here is trusted: the
//! core repeats every rule on the plans, and its refusal is what counts. This crate gives it the place in the text.
//!
//! `DIALECT.md` shows an accepted and a refused example for every rule.

#[cfg(test)]
mod agreement;
mod bind;
mod context;
mod cross;
mod decorrelate;
mod distinct_on;
mod error;
mod limits;
mod names;
mod nearest;
mod params;
mod parse;
mod sight;
mod split;
mod stack;
mod suspects;

pub use bind::bind;
pub use error::SqlError;
pub use limits::{MAX_DEPTH, MAX_TABLES, MAX_TEXT_BYTES, MAX_TOKENS};
pub use params::Value;
pub use parse::{Parsed, parse};
pub use split::noisy_in_place_of;
