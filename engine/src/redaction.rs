//! Redactions: a text or a result goes from the audit log's blobs, by two principals, one of them of the board. The
//! entries that named it stay, and so do their prices; a release whose result goes is given to nobody any more.
//!
//! What the first one proposes is kept in memory: the log tells what was done, and a restart forgets what was not.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use epiledger_ledger::entry::{AuditEntry, AuditLogEntry, Redaction, parse_audit_entry};
use serde::{Deserialize, Serialize};

use crate::{
    api::{Principal, QueryError, Role},
    query::{Engine, stopped},
    review::{broken, not_written},
};

/// Proposals that may wait at once.
const WAITING: usize = 64;

/// Longest ground, characters: it is public.
const MAX_BASIS: usize = 200;

/// The body of `POST /v1/redactions`: exactly one of `sha256` and `statement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactionRequest {
    /// One blob: a text or a result, by its commitment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// All of a statement: its text, its result, and the texts of its repetitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The ground. It enters the public log.
    pub basis: String,
}

/// One blob of a redaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedactedBlob {
    /// Its commitment.
    pub sha256: String,
    /// `text` or `result`.
    pub what: &'static str,
    /// Log index of the entry that names it.
    pub index: u64,
}

/// A proposal that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedactionProposal {
    /// By which it is confirmed.
    pub id: u64,
    /// Who proposed.
    pub by: String,
    /// The ground.
    pub basis: String,
    /// What goes.
    pub blobs: Vec<RedactedBlob>,
    #[serde(skip)]
    role: Option<Role>,
}

/// What was redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redacted {
    /// Log indices of the redactions.
    pub indices: Vec<u64>,
    /// What is gone.
    pub blobs: Vec<RedactedBlob>,
}

/// What waits for a second principal.
#[derive(Default)]
pub(crate) struct Proposals(Mutex<(u64, BTreeMap<u64, RedactionProposal>)>);

impl Engine {
    /// Redactions that wait for a second principal.
    #[must_use]
    pub fn redactions(&self) -> Vec<RedactionProposal> {
        self.redactions.0.lock().unwrap_or_else(PoisonError::into_inner).1.values().cloned().collect()
    }

    /// Proposes a redaction. Nothing is written.
    ///
    /// # Errors
    /// It names nothing that is stored, or too many wait.
    pub fn propose_redaction(
        &self,
        who: &Principal,
        request: RedactionRequest,
    ) -> Result<RedactionProposal, QueryError> {
        approves(who)?;
        let basis = request.basis.trim().to_owned();
        if basis.is_empty() || basis.chars().count() > MAX_BASIS || basis.chars().any(char::is_control) {
            return Err(broken("basis", "the ground is 1 to 200 characters, and public: name nobody in it"));
        }
        let blobs = match (&request.sha256, &request.statement) {
            (Some(sha256), None) => self.redactable(|blob, _| blob.sha256 == *sha256)?,
            (None, Some(id)) => self.redactable(|_, statement| statement == Some(id))?,
            _ => return Err(broken("redaction", "name one of `sha256` and `statement`")),
        };
        if blobs.is_empty() {
            return Err(broken("redaction", "no text and no result of that name is stored: it never was, or is gone"));
        }
        let mut waiting = self.redactions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.1.len() >= WAITING {
            return Err(broken("redaction", "64 wait already: confirm those, or restart the service to forget them"));
        }
        waiting.0 += 1;
        let proposal = RedactionProposal { id: waiting.0, by: who.name.clone(), basis, blobs, role: Some(who.role) };
        waiting.1.insert(proposal.id, proposal.clone());
        Ok(proposal)
    }

    /// Confirms another principal's proposal, and redacts: durable, and gone from memory and disk, when this returns.
    ///
    /// # Errors
    /// No such proposal stands, it is the caller's own, nobody of the board is among the two, or the log stopped.
    pub fn confirm_redaction(&self, who: &Principal, id: u64) -> Result<Redacted, QueryError> {
        approves(who)?;
        let proposal = {
            let mut waiting = self.redactions.0.lock().unwrap_or_else(PoisonError::into_inner);
            let proposal = waiting.1.get(&id).ok_or_else(|| broken("redaction", "no such proposal stands"))?;
            if proposal.by == who.name {
                return Err(broken("redaction", "another principal than the one who proposed it confirms it"));
            }
            if who.role != Role::Board && proposal.role != Some(Role::Board) {
                return Err(broken("redaction", "one of the two is of the ethics board, whose log it is"));
            }
            waiting.1.remove(&id).ok_or_else(|| broken("redaction", "no such proposal stands"))?
        };
        let redaction = |blob: &RedactedBlob| Redaction {
            sha256: blob.sha256.clone(),
            basis: proposal.basis.clone(),
            approvers: [proposal.by.clone(), who.name.clone()],
        };
        let indices = self.accountant.redact(proposal.blobs.iter().map(redaction).collect()).map_err(not_written)?;
        Ok(Redacted { indices, blobs: proposal.blobs })
    }

    /// Texts and results that are stored and wanted; each is asked for with the statement that it belongs to.
    fn redactable(
        &self,
        wanted: impl Fn(&RedactedBlob, Option<&String>) -> bool,
    ) -> Result<Vec<RedactedBlob>, QueryError> {
        let log = self.audit();
        let mut outcomes: BTreeMap<u64, String> = BTreeMap::new();
        let mut found: Vec<RedactedBlob> = Vec::new();
        for index in 0..log.size() {
            let AuditLogEntry::Entry(entry) = parse_audit_entry(&log.read(index).map_err(stopped)?).map_err(stopped)?
            else {
                continue;
            };
            let (sha256, what, statement) = match entry {
                AuditEntry::QueryIntent(intent) => (intent.sql_commit, "text", Some(intent.query_id)),
                AuditEntry::QueryOutcome(outcome) => {
                    outcomes.insert(index, outcome.query_id.clone());
                    let Some(commit) = outcome.result_commit else { continue };
                    (commit, "result", Some(outcome.query_id))
                }
                AuditEntry::QueryRepeated(repeated) => {
                    (repeated.sql_commit, "text", outcomes.get(&repeated.cites).cloned())
                }
                AuditEntry::QueryRefused(refused) => (refused.sql_commit, "text", None),
                _ => continue,
            };
            let blob = RedactedBlob { sha256, what, index };
            if wanted(&blob, statement.as_ref())
                && found.iter().all(|other| other.sha256 != blob.sha256)
                && log.blob(&blob.sha256).map_err(stopped)?.is_some()
            {
                found.push(blob);
            }
        }
        Ok(found)
    }
}

fn approves(who: &Principal) -> Result<(), QueryError> {
    match who.role {
        Role::Board | Role::Steward => Ok(()),
        _ => Err(QueryError::Forbidden("a steward or the ethics board redacts, two of them together".into())),
    }
}
