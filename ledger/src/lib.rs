//! The chain: an append-only, signed, tiled Merkle log, and the transactions written on it.
//!
//! One engine, two logs: the ledger of what hospitals and patients signed, and the audit log of every question.
//! The path of an entry, in the order of the files:
//!
//! ```text
//! entry      a typed value -> canonical JSON bytes (RFC 8785), signed by its author
//! log        submit: checked, hashed, given its index, put into a batch      (batch, state)
//! writer     batch + block leaf + signed head -> one journal frame -> fdatasync: committed, by the caller that waits
//!            alone or else a thread                                             (journal)
//! projection frames read back -> packs, tiles, bundles -> `checkpoint`       (blob, tiles, durable)
//! proof      inclusion and consistency under any signed head                 (tree, checkpoint, note)
//! succeed    a log closed for good, and the one that goes on after it     (log::succeed)
//! create     the folder of a new log; the same call finishes a stopped one
//! recover    opening after any stop: the same projection over what is not published         (torn, blob::repair)
//! erasure    blobs taken out of journal and packs, by the entries that say so    (blob::erase)
//! reader     every entry with its blobs, without the lock, in flat memory
//! registry   who may sign what, by height
//! follow     a log that lies elsewhere: fetched, verified, mirrored
//! verify     the auditor: every byte of every file, and the budget recomputed
//! ```
//!
//! Invariants: an index, once given, keeps its bytes; a head leaves only when its frame is durable; a head is signed
//! only over hashes of the bytes being written; after a failed write nothing is committed until the log is reopened;
//! what recovery finds is made durable before anything is built on it, for it may have been read from memory alone.

mod batch;
mod blob;
mod checkpoint;
mod clock;
mod create;
mod durable;
pub mod entry;
mod erasure;
mod error;
mod follow;
mod fs;
mod hex;
mod journal;
mod log;
mod note;
mod projection;
mod proof;
mod reader;
mod recover;
mod registry;
mod setup;
mod state;
mod tiles;
mod torn;
pub mod tree;
pub mod verify;
mod writer;

pub use batch::NewEntry;
pub use checkpoint::Checkpoint;
pub use clock::{Clock, SystemClock};
pub use entry::{
    AuditEntry, AuditLogEntry, Block, Canonical, EntryError, LedgerEntry, MAX_ENTRY, SignedTransaction, Transaction,
    parse_audit_entry, parse_ledger_entry,
};
pub use error::LogError;
pub use follow::{FolderSource, FollowError, Mirror, MirrorError, Source, SourceError, Synced};
pub use fs::{Fs, FsDir, FsFile, StdFs};
pub use log::{Appended, HeadPin, Log, Ticket};
pub use note::{NoteKey, VerifierKey};
pub use proof::{Receipt, ReceiptFault, check_proof, open_receipt};
pub use reader::{LogReader, StoredEntry};
pub use registry::{KeyFault, KeyRegistry, RecordChain};
pub use setup::Setup;
pub use tiles::{TILE_WIDTH, TileKind, TilePath};
pub use tree::Hash;
