//! What the log shows to those who review it, and the acts of board and steward, which are log entries.

use std::sync::Arc;

use epiledger_ledger::LogError;
use epiledger_ledger::entry::{
    AuditEntry, AuditLogEntry, ProtocolApprove, ProtocolSuspend, RoleChange, parse_audit_entry,
};
use epiledger_privacy::accountant::AccountantError;

use crate::{
    api::{AuditFilter, AuditRow, Principal, QueryError, ReleaseSummary},
    exec::audit::{AuditAnswer, AuditQueryError},
    price::price,
    query::{Engine, may_read, stopped},
};

/// Rows of a list that names no limit.
const ROWS: usize = 100;

/// Most rows of a list.
const MOST_ROWS: usize = 1_000;

impl Engine {
    /// The releases that the caller may read, oldest first.
    #[must_use]
    pub fn releases(&self, who: &Principal) -> Vec<ReleaseSummary> {
        let delta_rep = self.delta_rep();
        let mut releases: Vec<ReleaseSummary> = self
            .accountant
            .releases()
            .into_iter()
            .filter(|cached| may_read(who, &cached.protocol))
            .map(|cached| {
                let text = self.accountant.text(&cached.sql_commit).ok().flatten();
                ReleaseSummary {
                    statement_id: cached.release.query_id().to_owned(),
                    index: cached.index,
                    sql: text.map_or_else(|| "(redacted)".into(), |text| String::from_utf8_lossy(&text).into_owned()),
                    protocol: cached.protocol,
                    price: price(cached.loss, delta_rep),
                    snapshot: cached.release.snapshot(),
                }
            })
            .collect();
        releases.sort_by_key(|release| release.index);
        releases
    }

    /// Audit entries with the text behind their commitments: for the board.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn audit_search(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, QueryError> {
        let limit = filter.limit.unwrap_or(ROWS).min(MOST_ROWS);
        let end = filter.before.map_or(self.audit().size(), |before| before.min(self.audit().size()));
        let mut rows = Vec::new();
        match filter.from {
            Some(from) => {
                for index in from..end {
                    rows.extend(self.row(index, filter)?);
                    if rows.len() >= limit {
                        break;
                    }
                }
            }
            None => {
                for index in (0..end).rev() {
                    rows.extend(self.row(index, filter)?);
                    if rows.len() >= limit {
                        break;
                    }
                }
                rows.reverse();
            }
        }
        self.date(&mut rows)?;
        Ok(rows)
    }

    /// Gives each row, in the log's order, the minute of the first block after it; 0 where none is closed yet.
    fn date(&self, rows: &mut [AuditRow]) -> Result<(), QueryError> {
        let mut block = (0, 0);
        for row in rows {
            if row.index >= block.0 {
                block = self.block_after(row.index)?;
            }
            row.time = block.1;
        }
        Ok(())
    }

    /// Index and Unix time of the first block at or after an index; the log's end and 0 when there is none.
    fn block_after(&self, index: u64) -> Result<(u64, i64), QueryError> {
        let end = self.audit().size();
        for index in index..end {
            let bytes = self.audit().read(index).map_err(stopped)?;
            if let AuditLogEntry::Block(block) = parse_audit_entry(&bytes).map_err(stopped)? {
                return Ok((index, i64::try_from(block.time).unwrap_or(i64::MAX)));
            }
        }
        Ok((end, 0))
    }

    /// The text behind a commitment, without its salt; `None` when it was redacted.
    ///
    /// # Errors
    /// The log can't be read.
    pub(crate) fn commitment_text(&self, commit: &str) -> Result<Option<String>, AccountantError> {
        let text = self.accountant.text(commit)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// The board's question over `audit.entries`, the one table of its context.
    ///
    /// # Errors
    /// As [`AuditExecutor::answer`](crate::exec::audit::AuditExecutor::answer).
    pub async fn audit_query(self: &Arc<Self>, sql: String) -> Result<AuditAnswer, AuditQueryError> {
        self.audit_queries.answer(self, sql).await
    }

    /// An entry as a row when it passes the filter; none of a block's leaf.
    fn row(&self, index: u64, filter: &AuditFilter) -> Result<Option<AuditRow>, QueryError> {
        let bytes = self.audit().read(index).map_err(stopped)?;
        let AuditLogEntry::Entry(entry) = parse_audit_entry(&bytes).map_err(stopped)? else { return Ok(None) };
        let json = serde_json::to_value(&entry).map_err(stopped)?;
        let body = json.get("body").cloned().unwrap_or_default();
        let is = |field: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| body.get(field).and_then(|v| v.as_str()) == Some(wanted))
        };
        let kind = entry.type_name();
        if filter.kind.as_ref().is_some_and(|wanted| wanted != kind)
            || !is("principal", &filter.principal)
            || !is("protocol", &filter.protocol)
        {
            return Ok(None);
        }
        let text = match body.get("sql_commit").and_then(|v| v.as_str()) {
            Some(commit) => self.commitment_text(commit).map_err(stopped)?,
            None => None,
        };
        if filter.text.as_ref().is_some_and(|wanted| !text.as_ref().is_some_and(|text| text.contains(wanted.as_str())))
        {
            return Ok(None);
        }
        Ok(Some(AuditRow { index, kind: kind.to_owned(), body, time: 0, text }))
    }

    /// Approves a protocol.
    ///
    /// # Errors
    /// The approval breaks a rule, or the log stopped.
    pub fn approve(&self, _who: &Principal, approval: ProtocolApprove) -> Result<u64, QueryError> {
        if epiledger_privacy::consent::purpose_bit(&approval.purpose).is_none() {
            return Err(broken("purpose", "it must be one of GRU, HMB, DS"));
        }
        if approval.valid_from > approval.valid_to {
            return Err(broken("valid_to", "it lies before valid_from"));
        }
        self.act(AuditEntry::ProtocolApprove(approval))
    }

    /// Suspends a protocol.
    ///
    /// # Errors
    /// There is none, or the log stopped.
    pub fn suspend(&self, who: &Principal, protocol: &str) -> Result<u64, QueryError> {
        self.act(AuditEntry::ProtocolSuspend(ProtocolSuspend { protocol: protocol.to_owned(), by: who.name.clone() }))
    }

    /// Logs a role that was given or taken.
    ///
    /// # Errors
    /// The log stopped.
    pub fn change_role(&self, change: RoleChange) -> Result<u64, QueryError> {
        self.act(AuditEntry::RoleChange(change))
    }

    /// Logs an act with the blobs that it names; durable when this returns.
    ///
    /// # Errors
    /// It breaks a rule, or the log stopped.
    pub(crate) fn act_with(&self, entry: AuditEntry, blobs: Vec<Vec<u8>>) -> Result<u64, QueryError> {
        self.writable()?;
        self.accountant.record(entry, blobs).map_err(not_written)
    }

    fn act(&self, entry: AuditEntry) -> Result<u64, QueryError> {
        self.act_with(entry, Vec::new())
    }
}

/// An act that breaks a rule, or a log that stopped.
pub(crate) fn not_written(error: AccountantError) -> QueryError {
    match error {
        AccountantError::Refused { what } => broken("entry", what),
        AccountantError::Entry(fault) => broken("entry", &fault.to_string()),
        AccountantError::Log(fault @ LogError::BlobUnknown(_)) => broken("blob", &fault.to_string()),
        other => stopped(other),
    }
}

pub(crate) fn broken(field: &str, why: &str) -> QueryError {
    QueryError::Refused {
        code: "INVALID_ACT".into(),
        message: format!("{field}: {why}"),
        position: None,
        hint: "correct it and send it again; nothing was written".into(),
    }
}
