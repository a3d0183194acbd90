//! A log that lies elsewhere: fetched, verified, and kept as a mirror.
//!
//! ```text
//! source   one file by its C2SP path, from a folder or an address, never more bytes than may be there
//! nodes    hash tiles of a source as the tree's perfect subtrees
//! walk     signed head -> consistency with an earlier one -> each tile and each entry under the signed root
//! mirror   what the walk verified, in a folder: staged, renamed, and `checkpoint` last
//! ```
//!
//! Invariants: a byte is used only after it was found under a root that the log's key signed; a mirror's `checkpoint`
//! moves only to a head that continues the one it had, and only when every file under it is durable.

mod mirror;
mod nodes;
mod source;
mod walk;

pub(crate) use mirror::{INCOMING, MARKER, is_staged, read_marker};
pub use mirror::{Mirror, MirrorError, Synced};
pub use source::{FolderSource, Source, SourceError};
pub(crate) use walk::{Edge, Walk, fetch_head};

use crate::verify::Fault;

/// Why a walk stopped: the log is at fault, or it could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// What was served is not what the log's key signed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A file could not be fetched; nothing is said about the log.
    #[error(transparent)]
    Source(#[from] SourceError),
}
