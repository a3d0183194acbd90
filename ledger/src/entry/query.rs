//! The audit log's entries about questions: intent before data is read, outcome before an answer leaves.
//!
//! Numbers that are not integers are decimal strings. Commitments are lower-case hex SHA-256 over
//! 32 bytes of salt and the text; salt and text are the entry's blob, `salt || text`.

use serde::{Deserialize, Serialize};

use super::series::SeriesWindow;

/// One noisy draw and its price. `charged rho * 2 * sigma^2 >= d_squared` holds exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primitive {
    /// `discrete_gaussian`, or `noisy_max` for the choice of a quantile.
    pub mechanism: String,
    /// Squared L2 sensitivity on the integer grid; of a noisy maximum G times the square of what one patient changes a
    /// score. A decimal integer string (it may pass 2^53).
    pub d_squared: String,
    /// Standard deviation on the integer grid, or a noisy maximum's scale, an exact decimal.
    pub sigma: String,
    /// Charged rho, a decimal with at most 12 places.
    pub rho: String,
    /// Standard deviation of this draw and the earlier ones of the same number combined by inverse variance, an exact
    /// decimal, rounded up; null where the draw stands alone.
    pub combined: Option<String>,
}

/// Contribution bounds a question is answered under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// R: rows of one patient that count in one group.
    pub rows: u64,
    /// G: groups that one patient may touch.
    pub groups: u64,
    /// M: rows of one patient that are read from a table, the largest over the tables read.
    pub scan_rows: u64,
    /// Fewest patients behind a released unknown key; null for public keys.
    pub k_min: Option<u64>,
}

/// Budget spent so far at the three levels, as the accountant read it when it reserved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountantState {
    /// Intents folded so far in this log.
    pub intents: u64,
    /// Rho spent over the id space, a decimal.
    pub rho: String,
    /// Delta spent over the id space, a decimal.
    pub delta: String,
}

/// A question is about to be asked, and is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryIntent {
    /// Random id of the statement, 32 hex digits.
    pub query_id: String,
    /// The asker's pseudonym.
    pub principal: String,
    /// The API key's id.
    pub key_id: String,
    /// The asker's role.
    pub role: String,
    /// The protocol asked under.
    pub protocol: String,
    /// The protocol's purpose.
    pub purpose: String,
    /// The id space (lifetime cap) that pays.
    pub id_space: String,
    /// Commitment to the SQL text; the blob is salt || SQL.
    pub sql_commit: String,
    /// Salted hash of the bounded plan: SHA-256(the same salt || canonical plan text).
    pub plan_commit: String,
    /// SHA-256 of the running build.
    pub build: String,
    /// Snapshot the question reads.
    pub snapshot: u64,
    /// `classes` or `immediate`.
    pub timing: String,
    /// The log's time, Unix seconds on the minute: what the rate window, the policy and the protocol's dates go by.
    pub time: u64,
    /// Log index of the answered outcome whose numbers are drawn once more, for the difference in price alone; null for
    /// a question of its own. The primitives are those of that outcome's intent, in its order.
    pub finer: Option<u64>,
    /// The periods that are released, where the question is one of a series; absent for every other. The opening of a
    /// series pays for all of it. A later window costs nothing: its primitives are the opening's, its rho and delta 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesWindow>,
    /// What is drawn.
    pub primitives: Vec<Primitive>,
    /// Sum of the primitives' rho, a decimal; 0 for a later window of a series.
    pub rho: String,
    /// Delta charged, a decimal with at most 18 places.
    pub delta: String,
    /// The state this reservation was made against.
    pub state: AccountantState,
    /// Contribution bounds.
    pub bounds: Bounds,
    /// Number of the policy in force.
    pub policy: u64,
    /// SHA-256 of (principal, protocol, Idempotency-Key), or null.
    pub idempotency: Option<String>,
    /// SHA-256(the salt of `sql_commit` || the whole request) where there is an Idempotency-Key, or null.
    pub request_commit: Option<String>,
}

/// How a paid question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// An answer was released.
    Answered,
    /// Nothing was released; no reason is given, since reasons depend on data.
    Failed,
    /// The process stopped between intent and outcome.
    Abandoned,
}

/// The end of a paid question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryOutcome {
    /// The intent's `query_id`.
    pub query_id: String,
    /// Log index of the intent.
    pub intent: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Commitment to the released values; null unless answered. The blob is salt || release JSON.
    pub result_commit: Option<String>,
}

/// A question the rules refuse; nothing was spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRefused {
    /// The asker's pseudonym.
    pub principal: String,
    /// The protocol asked under.
    pub protocol: String,
    /// Commitment to the SQL text; the blob is salt || SQL.
    pub sql_commit: String,
    /// The stable refusal code, or `BUDGET_EXHAUSTED`.
    pub code: String,
}

/// The same question again, answered from the cache, free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRepeated {
    /// The asker's pseudonym.
    pub principal: String,
    /// The protocol asked under.
    pub protocol: String,
    /// Commitment to the SQL text; the blob is salt || SQL.
    pub sql_commit: String,
    /// Log index of the outcome whose release was given again.
    pub cites: u64,
}

/// A party read a patient's records from the ledger, itself or by a grant that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordRead {
    /// The reader, `<party>/<id>`; a patient is `patient`.
    pub reader: String,
    /// Commitment to whose records and which; the blob is salt || JSON `{"patient", "records", "grants"}`.
    pub commit: String,
}

/// A known key was denied; at most one entry per principal, route and minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessDenied {
    /// The principal's pseudonym.
    pub principal: String,
    /// The route's template.
    pub route: String,
    /// Denials that this entry stands for.
    pub count: u64,
}
