//! The audit log's entries, and reading one from its stored bytes.

use serde::{Deserialize, Serialize};

use super::{
    block::Block,
    canonical::{Canonical, EntryError, canonical_bytes, check_shape, parse_exact},
    protocol::{PolicyPropose, PolicySet, ProtocolApprove, ProtocolSuspend, Redaction, RoleChange, SnapshotPinned},
    query::{AccessDenied, QueryIntent, QueryOutcome, QueryRefused, QueryRepeated, RecordRead},
    rotation::{LogClose, LogContinue},
    transaction::{join_type, split_type},
};

/// Who may ask, what was asked, what it cost; `{"body":{..},"type":"query.intent"}`.
#[expect(clippy::large_enum_variant, reason = "intents are the common case, and entries are read one at a time")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "body")]
pub enum AuditEntry {
    /// An ethics board approves a protocol.
    #[serde(rename = "protocol.approve")]
    ProtocolApprove(ProtocolApprove),
    /// A protocol may no longer be used.
    #[serde(rename = "protocol.suspend")]
    ProtocolSuspend(ProtocolSuspend),
    /// Caps and rules that one principal proposes.
    #[serde(rename = "policy.propose")]
    PolicyPropose(PolicyPropose),
    /// Caps and rules that another one confirms.
    #[serde(rename = "policy.set")]
    PolicySet(PolicySet),
    /// A question is about to be asked, and is paid.
    #[serde(rename = "query.intent")]
    QueryIntent(QueryIntent),
    /// How it ended.
    #[serde(rename = "query.outcome")]
    QueryOutcome(QueryOutcome),
    /// A question that the rules refuse.
    #[serde(rename = "query.refused")]
    QueryRefused(QueryRefused),
    /// An answer given again, free.
    #[serde(rename = "query.repeated")]
    QueryRepeated(QueryRepeated),
    /// A known key was denied.
    #[serde(rename = "access.denied")]
    AccessDenied(AccessDenied),
    /// A party read a patient's records.
    #[serde(rename = "record.read")]
    RecordRead(RecordRead),
    /// A role given or taken.
    #[serde(rename = "role.change")]
    RoleChange(RoleChange),
    /// A snapshot is read from now on.
    #[serde(rename = "snapshot")]
    Snapshot(SnapshotPinned),
    /// Text was erased.
    #[serde(rename = "redaction")]
    Redaction(Redaction),
    /// The log ends here.
    #[serde(rename = "log.close")]
    LogClose(LogClose),
    /// The log goes on after another.
    #[serde(rename = "log.continue")]
    LogContinue(LogContinue),
}

impl AuditEntry {
    /// The `type` string.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::ProtocolApprove(_) => "protocol.approve",
            Self::ProtocolSuspend(_) => "protocol.suspend",
            Self::PolicyPropose(_) => "policy.propose",
            Self::PolicySet(_) => "policy.set",
            Self::QueryIntent(_) => "query.intent",
            Self::QueryOutcome(_) => "query.outcome",
            Self::QueryRefused(_) => "query.refused",
            Self::QueryRepeated(_) => "query.repeated",
            Self::AccessDenied(_) => "access.denied",
            Self::RecordRead(_) => "record.read",
            Self::RoleChange(_) => "role.change",
            Self::Snapshot(_) => "snapshot",
            Self::Redaction(_) => "redaction",
            Self::LogClose(_) => "log.close",
            Self::LogContinue(_) => "log.continue",
        }
    }

    /// The entry to append.
    ///
    /// # Errors
    /// It is too long, or holds a number past 2^53 - 1.
    pub fn to_canonical(&self) -> Result<Canonical, EntryError> {
        let body = match self {
            Self::ProtocolApprove(body) => canonical_bytes(body),
            Self::ProtocolSuspend(body) => canonical_bytes(body),
            Self::PolicyPropose(body) => canonical_bytes(body),
            Self::PolicySet(body) => canonical_bytes(body),
            Self::QueryIntent(body) => canonical_bytes(body),
            Self::QueryOutcome(body) => canonical_bytes(body),
            Self::QueryRefused(body) => canonical_bytes(body),
            Self::QueryRepeated(body) => canonical_bytes(body),
            Self::AccessDenied(body) => canonical_bytes(body),
            Self::RecordRead(body) => canonical_bytes(body),
            Self::RoleChange(body) => canonical_bytes(body),
            Self::Snapshot(body) => canonical_bytes(body),
            Self::Redaction(body) => canonical_bytes(body),
            Self::LogClose(body) => canonical_bytes(body),
            Self::LogContinue(body) => canonical_bytes(body),
        }?;
        join_type(&body, self.type_name())
    }
}

/// One leaf of the audit log.
#[expect(clippy::large_enum_variant, reason = "entries are the common case, and are read one at a time")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditLogEntry {
    /// An act or a question.
    Entry(AuditEntry),
    /// The end of a batch.
    Block(Block),
}

/// Reads an audit leaf from its stored bytes.
///
/// # Errors
/// The bytes are not the canonical form of a known type.
pub fn parse_audit_entry(bytes: &[u8]) -> Result<AuditLogEntry, EntryError> {
    check_shape(bytes)?;
    let (body, type_name) = split_type(bytes)?;
    Ok(AuditLogEntry::Entry(match type_name {
        "block" => return Ok(AuditLogEntry::Block(parse_exact(body)?)),
        "protocol.approve" => AuditEntry::ProtocolApprove(parse_exact(body)?),
        "protocol.suspend" => AuditEntry::ProtocolSuspend(parse_exact(body)?),
        "policy.propose" => AuditEntry::PolicyPropose(parse_exact(body)?),
        "policy.set" => AuditEntry::PolicySet(parse_exact(body)?),
        "query.intent" => AuditEntry::QueryIntent(parse_exact(body)?),
        "query.outcome" => AuditEntry::QueryOutcome(parse_exact(body)?),
        "query.refused" => AuditEntry::QueryRefused(parse_exact(body)?),
        "query.repeated" => AuditEntry::QueryRepeated(parse_exact(body)?),
        "access.denied" => AuditEntry::AccessDenied(parse_exact(body)?),
        "record.read" => AuditEntry::RecordRead(parse_exact(body)?),
        "role.change" => AuditEntry::RoleChange(parse_exact(body)?),
        "snapshot" => AuditEntry::Snapshot(parse_exact(body)?),
        "redaction" => AuditEntry::Redaction(parse_exact(body)?),
        "log.close" => AuditEntry::LogClose(parse_exact(body)?),
        "log.continue" => AuditEntry::LogContinue(parse_exact(body)?),
        _ => return Err(EntryError::UnknownType),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_from_its_canonical_bytes() {
        let entry = AuditEntry::AccessDenied(AccessDenied {
            principal: "\"type\":\"block\"}".into(),
            route: "/v1/statements".into(),
            count: 3,
        });
        let bytes = entry.to_canonical().unwrap();
        assert_eq!(Canonical::of(&entry).unwrap(), bytes, "serde writes the same bytes");
        assert_eq!(Canonical::parse(bytes.as_bytes().to_vec()).unwrap(), bytes);
        assert_eq!(parse_audit_entry(bytes.as_bytes()).unwrap(), AuditLogEntry::Entry(entry));
        let text = String::from_utf8(bytes.into_bytes()).unwrap();
        for (from, to) in [("access.denied", "access.granted"), ("\"count\":3", "\"count\":3,\"x\":0"), ("3", "3.0")] {
            assert!(parse_audit_entry(text.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn a_block_reads_back() {
        let block = Block { height: 1, prev: "0".repeat(64), first: 2, count: 3, time: 60 };
        let bytes = block.to_canonical().unwrap();
        assert_eq!(parse_audit_entry(bytes.as_bytes()).unwrap(), AuditLogEntry::Block(block));
    }
}
