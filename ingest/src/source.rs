//! Real records become signed transactions: the hospital's side of the ledger.
//!
//! An importer drops direct identifiers before it signs, so the ledger never holds them.

mod synthea;

pub use synthea::{ImportConsent, ImportOptions, ImportSummary, import_synthea};
