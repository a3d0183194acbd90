//! The pipeline from outside: ledgers in, tables and manifests out.

mod changes;
mod consent;
mod crash;
mod neighbour;
mod quarantine;
mod rerun;
mod support;
mod synthea;
