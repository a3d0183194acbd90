//! What the engine takes and gives: requests, answers, prices and errors, free of HTTP.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

pub use crate::odds::GroupLoss;

/// What a key may do. Deny by default: `server/auth.rs` holds the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Estimates, and spends inside a protocol.
    Researcher,
    /// Reads dashboards and releases.
    Epidemiologist,
    /// Reads all audit and protocols, approves and suspends; can't query.
    Board,
    /// Schema, bounds, budgets; can't query.
    Steward,
    /// Health of the service; no answers.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Researcher, Self::Epidemiologist, Self::Board, Self::Steward, Self::Operator];

    /// Its name in JSON, logs and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Researcher => "researcher",
            Self::Epidemiologist => "epidemiologist",
            Self::Board => "board",
            Self::Steward => "steward",
            Self::Operator => "operator",
        }
    }
}

/// Who asks, as the API key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The pseudonym that the audit log shows.
    pub name: String,
    /// The key's public id.
    pub key_id: String,
    /// The key's role.
    pub role: Role,
    /// Protocols the key may ask under.
    pub protocols: Vec<String>,
}

/// How a question names its price. At most one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivacyAsk {
    /// An epsilon at the policy's `delta_rep`, a decimal.
    Epsilon(String),
    /// A rho of zCDP, a decimal.
    Rho(String),
    /// The wanted half-width of the 95 % interval of the first count or sum, in its own unit, a decimal; with a number
    /// of values that the asker assumes in a cell, or a count that was released, of the first mean.
    Accuracy(String, Option<u64>),
    /// Neither: none, several, or no decimal. It is refused when the question is, so that the log has it.
    #[serde(skip_deserializing)]
    Malformed,
}

/// One question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryRequest {
    /// The SQL text.
    pub sql: String,
    /// Values of `$name`.
    pub params: BTreeMap<String, serde_json::Value>,
    /// The protocol; the key's only one when absent.
    pub protocol: Option<String>,
    /// The price; the policy's default when absent.
    pub privacy: Option<PrivacyAsk>,
    /// `Idempotency-Key`, scoped to (principal, protocol).
    pub idempotency_key: Option<String>,
    /// Most rows in the answer.
    pub row_limit: Option<usize>,
}

impl QueryRequest {
    /// All of it but its Idempotency-Key and protocol, in one canonical text.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::json!([self.sql, self.params, self.privacy, self.row_limit]).to_string()
    }
}

/// What a column of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnRole {
    /// A key, exact.
    Key,
    /// A noisy value.
    Value,
    /// Low end of the value's 95 % interval (noise only).
    Low,
    /// High end of the value's 95 % interval (noise only).
    High,
    /// The value's standard deviation (noise only).
    Sigma,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerColumn {
    /// Its name.
    pub name: String,
    /// `string`, `integer`, `number`, `date`, `timestamp` or `boolean`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it is.
    pub role: ColumnRole,
}

/// A price, and any amount of budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// zCDP rho, a decimal string.
    pub rho: String,
    /// Delta, a decimal string.
    pub delta: String,
    /// Epsilon at `delta_rep`, rounded up: of a sum of Gaussians where all draws are, else of any draws.
    pub epsilon: f64,
}

/// Which snapshot was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// The cut's number.
    pub number: u64,
    /// The cut's instant, `YYYY-MM-DDTHH:MMZ`.
    pub cut_at: String,
}

/// Where the log holds the outcome, the proof of it, and what it committed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Index of the audit entry in the log whose checkpoint the proof carries: the outcome, or `query.repeated` for a
    /// cached answer.
    pub index: u64,
    /// A C2SP tlog-proof text.
    pub proof: String,
    /// Salt and release that the outcome's `result_commit` is the SHA-256 of, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The outcome that a `query.repeated` cites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cites: Option<Cited>,
}

/// An entry that another one cites, and the proof of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cited {
    /// Its index.
    pub index: u64,
    /// A C2SP tlog-proof text.
    pub proof: String,
}

/// An answer: noisy values with intervals, price and receipt.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The statement's id, 32 hex digits.
    pub statement_id: String,
    /// The columns of `batch`, in order.
    pub columns: Vec<AnswerColumn>,
    /// The rows, built from released scalars alone.
    pub batch: RecordBatch,
    /// What it cost (0 when cached).
    pub price: Price,
    /// What is left at the tightest level.
    pub remaining: Price,
    /// The snapshot that was read.
    pub snapshot: SnapshotRef,
    /// The log's receipt.
    pub receipt: Receipt,
    /// Was it given before, and so free?
    pub cached: bool,
    /// Is it about simulated people?
    pub dummy: bool,
}

/// A primitive of an estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EstimatedPrimitive {
    /// What is measured, for example `COUNT(*)`.
    pub what: String,
    /// Standard deviation in the value's own unit, a decimal.
    pub sigma: String,
    /// Half-width of the 95 % interval where it does not depend on data.
    pub half_width: Option<f64>,
}

/// What a question would cost, read from text and catalog alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Its price.
    pub price: Price,
    /// What would be measured.
    pub primitives: Vec<EstimatedPrimitive>,
    /// `public` or `unknown`.
    pub keys: String,
    /// Number of cells when keys are public.
    pub cells: Option<u64>,
    /// Fewest patients behind a released unknown key.
    pub k_min: Option<u64>,
    /// A noisy count at or under this is suppressed (unknown keys).
    pub threshold: Option<u64>,
    /// The n that the accuracy of a mean, variance or ratio was reckoned with: the asker's, or the least of the counts
    /// that the asker's protocol has released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed_n: Option<u64>,
    /// The deadline class, seconds.
    pub deadline_seconds: f64,
    /// What is left at the tightest level.
    pub remaining: Price,
    /// The price as odds, for one person and for four linked ones.
    pub groups: Vec<GroupLoss>,
}

/// Budget of one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelBudget {
    /// `id_space`, `window` (any 24 hours of the id space), `protocol` or `principal`.
    pub level: String,
    /// Which one, for example the protocol's id.
    pub name: String,
    /// Its cap.
    pub cap: Price,
    /// What is spent.
    pub spent: Price,
    /// What is left.
    pub remaining: Price,
}

/// All levels that bind the asker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// Every level that applies.
    pub levels: Vec<LevelBudget>,
    /// What is left at the tightest level.
    pub remaining: Price,
    /// Delta at which epsilon is shown.
    pub delta_rep: String,
    /// The id space's whole cap as odds, for one person and for four linked ones.
    pub groups: Vec<GroupLoss>,
}

/// A release, for lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseSummary {
    /// The statement's id.
    pub statement_id: String,
    /// Log index of the outcome.
    pub index: u64,
    /// The SQL it answered.
    pub sql: String,
    /// Its protocol.
    pub protocol: String,
    /// What it cost.
    pub price: Price,
    /// The snapshot it read.
    pub snapshot: u64,
}

/// A protocol as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProtocolView {
    /// Its id.
    pub protocol: String,
    /// What it studies.
    pub title: String,
    /// Its purpose.
    pub purpose: String,
    /// Who may ask under it.
    pub investigators: Vec<String>,
    /// First day.
    pub valid_from: String,
    /// Last day.
    pub valid_to: String,
    /// `approved` or `suspended`.
    pub status: String,
    /// Its cap.
    pub cap: Price,
    /// What is spent.
    pub spent: Price,
}

/// One row of the audit list: the entry as logged, and the text behind its commitment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Log index.
    pub index: u64,
    /// The entry's type, for example `query.intent`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The entry's body as logged.
    pub body: serde_json::Value,
    /// Minute of its block, Unix seconds.
    pub time: i64,
    /// SQL text opened from the blob store, where the entry commits to one.
    pub text: Option<String>,
}

/// Which audit rows to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AuditFilter {
    /// Only this type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Only this principal.
    pub principal: Option<String>,
    /// Only this protocol.
    pub protocol: Option<String>,
    /// Only rows whose SQL holds this text.
    pub text: Option<String>,
    /// From this index on, the oldest that fit.
    pub from: Option<u64>,
    /// Before this index (the log's end), the newest that fit unless `from` is given.
    pub before: Option<u64>,
    /// At most this many, newest last (100 by default, 1,000 at most).
    pub limit: Option<usize>,
}

/// Where a refusal points, counted from 1 in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
    /// Length.
    pub length: u64,
}

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// The rules refuse it; nothing was spent (422).
    #[error("{code}: {message}")]
    Refused {
        /// Stable code.
        code: String,
        /// What is wrong.
        message: String,
        /// Where.
        position: Option<Position>,
        /// The accepted form.
        hint: String,
    },
    /// A level's budget does not cover it; nothing was spent (429).
    #[error("the {level} budget does not cover this question: it needs rho {}, {} is left", required.rho, remaining.rho)]
    Budget {
        /// Its price.
        required: Box<Price>,
        /// What is left at that level.
        remaining: Box<Price>,
        /// Which level.
        level: String,
        /// The half-width that what is left would buy, where an accuracy was asked.
        reachable: Option<f64>,
    },
    /// The key may not do this, or not under this protocol (403).
    #[error("{0}")]
    Forbidden(String),
    /// The same Idempotency-Key is in flight (409).
    #[error("a question with this Idempotency-Key is being answered; ask for it again in a moment")]
    Conflict,
    /// The Idempotency-Key was used with another body (422).
    #[error("this Idempotency-Key was used with another question; take a new key")]
    KeyReused,
    /// It was paid and got no answer (504); the reason stays inside, since it may depend on data.
    #[error("no answer by the deadline; the price is spent, the question may be asked again")]
    Failed,
    /// The log's folder is an older copy, or a fork, of the one that spent, or was closed (503).
    #[error("nothing new is answered or logged from this folder: the audit log can't go on here, {0}")]
    RolledBack(String),
    /// The engine can't serve now (503).
    #[error("{0}")]
    Unavailable(String),
}
