//! What both logs carry: canonical JSON entries, parsed from their stored bytes.
//!
//! | Log | Form of an entry |
//! |---|---|
//! | ledger | `{"body":{..},"key":hex,"signature":hex,"type":"NewRecord"}`, signed by a hospital, patient, .. |
//! | audit | `{"body":{..},"type":"query.intent"}`, vouched for by the log's own signed checkpoint |
//! | both | `{"body":{..},"type":"block"}`, the last leaf of each batch |
//!
//! An entry is hashed and its signature verified over the stored bytes. Parsing refuses bytes that are not
//! the canonical form of what was read: unknown or repeated fields, other orders or spellings.

mod audit;
mod blobs;
mod block;
mod canonical;
pub mod consent;
pub mod key;
pub mod protocol;
pub mod query;
mod reading;
pub mod record;
pub mod rotation;
mod series;
mod signed;
mod transaction;

pub use audit::{AuditEntry, AuditLogEntry, parse_audit_entry};
pub use blobs::{erased_blobs, mentioned_hashes, named_blobs};
pub use block::Block;
pub use canonical::{Canonical, EntryError, MAX_ENTRY};
pub use consent::{GrantAccess, RequestAccess, RevokeAccess};
pub use key::{Determination, KeyRegister, KeyRevoke, KeyRotate};
pub use protocol::{
    PolicyPropose, PolicySet, PolicyTerms, ProtocolApprove, ProtocolSuspend, Redaction, RoleChange, SnapshotPinned,
};
pub use query::{AccessDenied, QueryIntent, QueryOutcome, QueryRefused, QueryRepeated, RecordRead};
pub use reading::ReadRequest;
pub use record::{Erase, ModifyRecord, NewRecord};
pub use rotation::{LogClose, LogContinue};
pub use series::{Period, SeriesTerms, SeriesWindow};
pub use signed::SignedTransaction;
pub(crate) use signed::verify_stored;
pub use transaction::{LedgerEntry, Transaction, parse_ledger_entry};
