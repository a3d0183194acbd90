//! `restore`: a data folder from a backup. It never moves a pinned head back, so a copy from before the newest paid
//! question serves what it released, and spends nothing.

use std::path::PathBuf;
use std::sync::Arc;

use epiledger_ingest::Folder;
use epiledger_ledger::{Mirror, NoteKey, StdFs};
use serde_json::json;

use super::Context;
use super::backup::{Building, HEAD, copy_tree, logs, require_tables, verified};
use super::exit::Failure;
use crate::pin::{Pin, PinnedHead};

/// What `restore` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A folder that `backup` made. The data folder must be empty or missing.
    dir: PathBuf,
}

/// Copies, verifies, and says what the folder may do.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let settings = &context.settings;
    let no_backup = || Failure::usage(format!("{} is no folder that `backup` made", args.dir.display()));
    let kept = Pin::at(&args.dir.join(HEAD)).read()?.ok_or_else(no_backup)?;
    let head = settings.pinned_head()?;
    let building = Building::start(&settings.data)?;
    copy_tree(&args.dir, &building.path, &|name| name != HEAD)?;
    let mut words = String::new();
    for name in logs(&building.path) {
        let (dir, key) = (building.path.join(&name), Folder::new(&building.path).keys().join(format!("{name}.key")));
        // Without its key the folder goes on as the mirror that it is.
        if key.exists() {
            let key = NoteKey::load(&key).map_err(Failure::of)?;
            Mirror::open(Arc::new(StdFs), &dir, &key.verifier_key(), true)?.adopt(&key)?;
        }
        let heads: &[String] = if name == "ledger" { &[] } else { std::slice::from_ref(&kept.head.note) };
        words.push_str(&verified(&dir, heads)?);
    }
    require_tables(&building.path)?;
    building.finish()?;
    let size = kept.head.size;
    let newest = match &head {
        Some(PinnedHead::File(pin)) => {
            if pin.read()?.is_none() {
                pin.write(&kept.key, &kept.head)?;
            }
            pin.read()?
        }
        _ => None,
    };
    let frozen = newest.as_ref().is_some_and(|newest| newest.key != kept.key || newest.head.size > size);
    let newest = newest.map(|pinned| pinned.head.size);
    let document = json!({ "data": settings.data, "audit_size": size, "pinned_size": newest, "frozen": frozen });
    context.show(&document, |_| {
        let what = match newest {
            Some(newest) if frozen => format!(
                "another head, of {newest} entries, is pinned, so this is an older copy: it serves what was released, and \
                 takes no question or act until a copy with those {newest} entries is restored"
            ),
            Some(_) => "it goes on where the pinned head is".to_owned(),
            None => "no head is pinned in a file here: if questions were paid after this backup, their price can be \
                     spent a second time (set `pinned_head`)"
                .to_owned(),
        };
        format!("{words}restored to {} with {size} audit entries; {what}", settings.data.display())
    });
    Ok(())
}
