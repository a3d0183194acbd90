//! The tree of a log that anybody wrote: signed head, tiles, and each entry's hash; nothing that the entries say.

use super::report::{Checked, Fault, Report};
use crate::{
    checkpoint::Checkpoint,
    follow::{Edge, FollowError, Source, SourceError, Walk, fetch_head},
    hex,
    note::VerifierKey,
};

/// What the auditor of a tree knows beforehand.
#[derive(Clone, Copy)]
pub struct TreeOptions<'a> {
    /// The log's key; its name is the origin.
    pub key: &'a VerifierKey,
    /// Notes of checkpoints seen earlier, which the log must continue.
    pub pinned_heads: &'a [String],
    /// Called with entries done and entries in all.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
}

/// Audits the tree of any tlog-tiles log.
///
/// # Errors
/// The source cannot be read; a fault of the log stands in the report.
pub fn audit_tree(source: &dyn Source, options: TreeOptions<'_>) -> Result<Report, SourceError> {
    let (origin, key) = (options.key.name().to_owned(), options.key.to_string());
    let mut report = Report { tree_only: true, origin, key, ..Report::default() };
    match follow(source, options, &mut report) {
        Ok(head) => Ok(Report { head: Some(head), ..report }),
        Err(FollowError::Fault(fault)) => Ok(Report { fault: Some(fault), ..report }),
        Err(FollowError::Source(error)) => Err(error),
    }
}

fn follow(source: &dyn Source, options: TreeOptions<'_>, report: &mut Report) -> Result<Checkpoint, FollowError> {
    let head = fetch_head(source, options.key)?;
    (report.size, report.root, report.checked.heads) = (head.size, hex::encode(&head.root), 1);
    for note in options.pinned_heads {
        let unsigned = || Fault::new("checkpoint", "pinned", "a pinned head is not signed by this log's key");
        let known = Checkpoint::open_cosigned(note, options.key).ok_or_else(unsigned)?;
        Walk::start(source, &head, Some(&known), Edge::default())?;
        report.checked.heads += 1;
    }
    let mut walk = Walk::start(source, &head, None, Edge::default())?;
    let result = walk_all(&mut walk, head.size, options);
    report.checked = Checked {
        entries: walk.size(),
        tiles: walk.tiles,
        bundles: walk.bundles,
        bytes: walk.bytes + head.note.len() as u64,
        ..report.checked.clone()
    };
    result.map(|()| head)
}

fn walk_all(walk: &mut Walk<'_>, size: u64, options: TreeOptions<'_>) -> Result<(), FollowError> {
    while walk.next(&mut |_, _| Ok(()))?.is_some() {
        if let Some(progress) = options.progress {
            progress(walk.size(), size);
        }
    }
    Ok(())
}
