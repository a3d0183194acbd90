//! Rotation: a log that ends, and the log that goes on after it, under a key of its own.

use serde::{Deserialize, Serialize};

/// The last entry of a log: nothing follows it but its block leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogClose {
    /// The verifier key of the log that goes on; its name is that log's origin.
    pub key: String,
    /// Two different principals.
    pub approvers: [String; 2],
}

/// The first entry of a log that goes on after a closed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogContinue {
    /// The closed log's verifier key.
    pub key: String,
    /// Its last checkpoint, the whole signed note.
    pub checkpoint: String,
    /// Entries of all logs before this one, block leaves counted: where entries name others by index, they count on
    /// from there, so that this entry's own number is `first`.
    pub first: u64,
}
