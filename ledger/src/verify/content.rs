//! What one entry says, examined on many threads: canonical form, type, signature.

use super::Kind;
use crate::{
    entry::{
        AuditEntry, AuditLogEntry, Block, Canonical, LedgerEntry, Transaction, mentioned_hashes, named_blobs,
        parse_audit_entry, parse_ledger_entry, verify_stored,
    },
    registry::KeyFault,
    tree::Hash,
};

/// Fewer entries than this are examined without starting threads.
const SHARED_ENTRIES: usize = 64;

/// An entry with all that it says without another entry.
pub(crate) struct Examined {
    pub index: u64,
    pub bytes: Vec<u8>,
    /// Blobs that must be stored, and all strings that may name one.
    pub named: Vec<Hash>,
    pub mentioned: Vec<Hash>,
    pub content: Content,
}

/// What an entry is.
pub(crate) enum Content {
    /// The end of a batch.
    Block(Block),
    /// A transaction whose signature verifies, and its key.
    Signed(Box<(Transaction, String)>),
    /// A transaction that does not count, whatever the others say; what it would be, where it can be read.
    Bad(KeyFault, Option<Box<Transaction>>),
    /// An entry of the audit log.
    Audit(Box<AuditEntry>),
    /// Bytes that this log's code never writes.
    Foreign(String),
}

/// Examines entries on all cores; `first` is the index of the first.
pub(crate) fn examine(kind: Kind, first: u64, entries: Vec<Vec<u8>>) -> Vec<Examined> {
    let cores =
        if entries.len() < SHARED_ENTRIES { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let share = entries.len().div_ceil(cores).max(1);
    let mut shares: Vec<(u64, Vec<Vec<u8>>)> = Vec::new();
    for (index, entry) in (first..).zip(entries) {
        match shares.last_mut() {
            Some((_, last)) if last.len() < share => last.push(entry),
            _ => shares.push((index, vec![entry])),
        }
    }
    let work = |(first, entries): (u64, Vec<Vec<u8>>)| -> Vec<Examined> {
        (first..).zip(entries).map(|(index, bytes)| one(kind, index, bytes)).collect()
    };
    if cores == 1 {
        return shares.into_iter().flat_map(work).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || work(share))).collect();
        // A thread that died leaves a gap, which the count of entries shows.
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

fn one(kind: Kind, index: u64, bytes: Vec<u8>) -> Examined {
    let content = match kind {
        Kind::Ledger => ledger(&bytes),
        Kind::Audit => match parse_audit_entry(&bytes) {
            Ok(AuditLogEntry::Block(block)) => Content::Block(block),
            Ok(AuditLogEntry::Entry(entry)) => Content::Audit(Box::new(entry)),
            Err(error) => Content::Foreign(error.to_string()),
        },
    };
    Examined { index, named: named_blobs(&bytes), mentioned: mentioned_hashes(&bytes), content, bytes }
}

fn ledger(bytes: &[u8]) -> Content {
    match parse_ledger_entry(bytes) {
        Ok(LedgerEntry::Block(block)) => Content::Block(block),
        Ok(LedgerEntry::Transaction(signed)) => match verify_stored(bytes) {
            Ok(()) => Content::Signed(Box::new((signed.transaction, signed.key))),
            Err(_) => Content::Bad(KeyFault::BadSignature, Some(Box::new(signed.transaction))),
        },
        // The ledger takes any canonical entry that a submitter sends, and nothing else.
        Err(_) => match Canonical::parse(bytes.to_vec()) {
            Ok(_) => Content::Bad(KeyFault::Malformed, None),
            Err(error) => Content::Foreign(error.to_string()),
        },
    }
}

/// Which log an entry belongs to; `None` for block leaves and foreign bytes.
pub(crate) fn kind_of(entry: &[u8]) -> Option<Kind> {
    match (parse_ledger_entry(entry), parse_audit_entry(entry)) {
        (Ok(LedgerEntry::Transaction(_)), _) => Some(Kind::Ledger),
        (_, Ok(AuditLogEntry::Entry(_))) => Some(Kind::Audit),
        _ => None,
    }
}
