//! The trusted core: what may be asked of patients' records, what it costs, and the one way out.
//!
//! `Query -> BoundedPlan -> Reserved -> RawBatches -> Release`: each type names what was proved, and only
//! its maker can make it. A bug elsewhere may give a wrong or refused answer, never an unaccounted release.
//!
//! | Step | Module | What is proved |
//! |---|---|---|
//! | the question | [`query`] | one aggregate over catalog tables, and post-processing over its noisy result |
//! | bounding | [`bound`] | every rule of `bound.md`; contributions bounded; noise and price fixed |
//! | paying | [`accountant`] | within every budget level; the intent is durable in the audit log |
//! | noise | [`mechanism`], [`release`] | drawn once, on integers, outcome durable before anything leaves |
//! | more accuracy | [`finer`] | a second draw for the difference, combined with the first |
//! | series | [`series`] | each patient counted once over all windows, one price |
//! | records | [`consent`], [`deidentify`] | the only way out of a record |
//!
//! The crate has no I/O of its own: it reads through DataFusion, writes through the audit log, and sleeps on
//! the caller's [`clock`]. `THREAT_MODEL.md` says what is promised, against whom, and what is not.
//!
//! Two choices differ from the design document, for reasons seen in the code:
//! - sigma lies on a grid of 1/1024, so that OpenDP's float, the log's decimal and the auditor's integer are the
//!   same number; the charge carries one unit (1e-12) more, which covers the rounding of OpenDP's map;
//! - rows past the scan's cap M are chosen by a hash of the row *as read* (the projected columns), so a scan
//!   never reads columns that nobody asked for. The choice still depends on that patient alone.

pub mod accountant;
pub mod bound;
pub mod budget;
pub mod catalog;
pub mod clock;
pub mod consent;
pub mod day;
pub mod deidentify;
pub mod finer;
pub mod functions;
pub mod interval;
pub mod loss;
pub mod mechanism;
pub mod noisy_table;
pub mod params;
mod quantile;
pub mod query;
pub mod refusal;
pub mod release;
pub mod research;
pub mod series;
pub mod snapshot;
