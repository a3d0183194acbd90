//! `backup`: the data folder as one consistent copy, while a server may be running over it.
//!
//! Each log is copied as a mirror is made, every byte under its signed head. The audit log goes first, so that each
//! snapshot that it names is among those copied after it; the ledger goes last, so that it holds what those were cut of.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use epiledger_ingest::{Folder, IngestError, Pipeline, snapshot};
use epiledger_ledger::{
    Checkpoint, FollowError, Log, LogError, LogReader, Mirror, MirrorError, NoteKey, SourceError, StdFs, verify,
};
use serde_json::json;

use super::Context;
use super::exit::{Exit, Failure};
use crate::pin::{Pin, PinnedHead};
use crate::rotation::audit_folders;

/// The logs that are written to, by the names of their folders and keys: the newest audit log, and the ledger.
pub(super) fn logs(data: &Path) -> [String; 2] {
    let newest = audit_folders(data).pop().unwrap_or_default();
    [newest.file_name().unwrap_or_default().to_string_lossy().into_owned(), "ledger".to_owned()]
}

/// The head of the audit log at the time of the backup, a [`Pin`].
pub(super) const HEAD: &str = "pinned_head";

/// Of a running process, or made again by the next one.
const PASSING: [&str; 4] = ["server.json", "client.json", "lock", ".spill"];

/// Looks at a log that moves while it is copied, and the time between two.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(100);

/// What `backup` takes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The copy's folder: empty or missing. It holds the signing keys; keep it as you keep those.
    dir: PathBuf,
}

/// Copies, verifies, and says so.
pub(super) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let data = &context.settings.data;
    let pinned = match context.settings.pinned_head()? {
        Some(PinnedHead::File(pin)) => pin.read()?,
        _ => None,
    };
    let building = Building::start(&args.dir)?;
    if building.path.starts_with(data) || args.dir.starts_with(data) {
        return Err(Failure::usage(format!("{} lies inside the data folder", args.dir.display())));
    }
    let [audit, ledger] = logs(data);
    let key = super::audit::verify::read_key_of(&data.join(&audit))?;
    let at_least = pinned.filter(|pinned| pinned.key == key).map_or(0, |pinned| pinned.head.size);
    let head = copy_log(data, &audit, &building.path, at_least)?;
    let alone = Pipeline::keep_away(data).map_err(|error| match error {
        IngestError::Busy => Failure::new(Exit::Temporary, "an ingest is running: back up when it has ended"),
        other => Failure::of(other),
    })?;
    copy_tree(data, &building.path, &|name| name != audit && name != ledger)?;
    drop(alone);
    copy_log(data, &ledger, &building.path, 0)?;
    let notes = [head.note.clone()];
    let mut words = verified(&building.path.join(&audit), &notes)?;
    words.push_str(&verified(&building.path.join(&ledger), &[])?);
    require_tables(&building.path)?;
    Pin::at(&building.path.join(HEAD)).write(&key, &head)?;
    building.finish()?;
    let document = json!({ "dir": args.dir, "audit_size": head.size });
    context.show(&document, |_| {
        format!(
            "{words}backed up to {} with {} audit entries. Whoever is erased later is still in it: erase there too",
            args.dir.display(),
            head.size
        )
    });
    Ok(())
}

/// A folder under construction, which gets its name when it is whole.
pub(super) struct Building {
    /// Where it is built.
    pub path: PathBuf,
    target: PathBuf,
}

impl Building {
    /// Begins one for an empty or missing folder.
    pub(super) fn start(target: &Path) -> Result<Self, Failure> {
        let shown = target.display();
        match fs::read_dir(target).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(Failure::usage(format!("{shown} isn't empty: name an empty or a new folder"))),
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::usage(format!("{shown} can't be read: {e}")));
            }
            _ => {}
        }
        let name = target.file_name().ok_or_else(|| Failure::usage(format!("{shown} is no name of a folder")))?;
        let path = target.with_file_name(format!("{}.unfinished", name.to_string_lossy()));
        if path.exists() {
            let message = format!("{} was left by a copy that was stopped: remove it first", path.display());
            return Err(Failure::usage(message));
        }
        fs::create_dir_all(&path).map_err(|e| Failure::usage(format!("{} can't be made: {e}", path.display())))?;
        Ok(Self { path, target: target.to_owned() })
    }

    /// Makes every name durable and gives the folder its own.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let failed = |e: io::Error| Failure::of(format!("{} can't be written: {e}", self.target.display()));
        sync_folders(&self.path).map_err(failed)?;
        fs::rename(&self.path, &self.target).map_err(failed)?;
        let above = self.target.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above).and_then(|above| above.sync_all()).map_err(failed)
    }
}

impl Drop for Building {
    /// What failed leaves nothing that looks like a copy; a finished one has another name by now.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A log's mirror with at least what was committed when the copy began, and the entries of a pinned head.
fn copy_log(data: &Path, name: &str, to: &Path, pinned: u64) -> Result<Checkpoint, Failure> {
    let dir = data.join(name);
    settle(&dir, &Folder::new(data).keys().join(format!("{name}.key")))?;
    // A running server publishes behind its commits.
    let wanted = if dir.join("journal").exists() { committed(&dir)?.max(pinned) } else { pinned };
    for _ in 0..LOOKS {
        let reader = LogReader::open(&dir).map_err(Failure::of)?;
        if reader.size() >= wanted {
            let mut mirror = Mirror::open(Arc::new(StdFs), &to.join(name), reader.verifier_key(), true)?;
            match mirror.sync(&reader, &|_, _| ()) {
                Ok(_) => return Ok(reader.checkpoint().clone()),
                // The log grew over a file that its older head needs.
                Err(MirrorError::Follow(FollowError::Source(SourceError::Missing(_)))) => {}
                Err(error) => return Err(error.into()),
            }
        }
        std::thread::sleep(LOOK);
    }
    let message = format!(
        "{} does not get to publish the {wanted} entries that are committed, or pinned, so there is nothing whole to copy: \
         try again, and if that fails verify the log",
        dir.display()
    );
    Err(Failure::new(Exit::Temporary, message))
}

/// Entries that are committed; a segment of the journal may go while it is read, once it is published.
fn committed(dir: &Path) -> Result<u64, Failure> {
    let mut looked = verify::committed(dir);
    for _ in 1..LOOKS {
        if looked.is_ok() {
            break;
        }
        looked = verify::committed(dir);
    }
    looked.map_err(|fault| Failure::new(Exit::Broken, format!("{} is broken at {fault}", dir.display())))
}

/// Publishes what a stopped writer left in the journal; a running one does so by itself.
fn settle(dir: &Path, key: &Path) -> Result<(), Failure> {
    if !key.exists() || !dir.join("journal").exists() {
        return Ok(());
    }
    match Log::open(Arc::new(StdFs), dir, NoteKey::load(key).map_err(Failure::of)?) {
        Ok(log) => log.flush().map_err(Failure::of),
        Err(LogError::Locked(_)) => Ok(()),
        Err(error) => Err(Failure::of(error)),
    }
}

/// Copies the files below a folder with their permissions, but those of a running process; `wanted` is asked about the
/// names at the top.
pub(super) fn copy_tree(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::of(format!("{} can't be copied: {e}", from.display()));
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !wanted(&text) || PASSING.contains(&text.as_ref()) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().map_err(failed)?.is_dir() {
            fs::create_dir_all(&target).map_err(failed)?;
            let permissions = entry.metadata().map_err(failed)?.permissions();
            copy_tree(&entry.path(), &target, &|_| true)?;
            fs::set_permissions(&target, permissions).map_err(failed)?;
        } else {
            fs::copy(entry.path(), &target).map_err(failed)?;
            File::open(&target).and_then(|file| file.sync_all()).map_err(failed)?;
        }
    }
    Ok(())
}

fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

/// What the auditor says of a log's copy.
///
/// # Errors
/// Exit 6 with the fault.
pub(super) fn verified(dir: &Path, heads: &[String]) -> Result<String, Failure> {
    let previous = super::audit::verify::beside(dir);
    let options = verify::AuditOptions { pinned_heads: heads, previous: &previous, ..Default::default() };
    let report = verify::audit(dir, options);
    match &report.fault {
        None => Ok(format!("{}: {} entries, every byte verified\n", report.origin, report.size)),
        Some(fault) => Err(Failure::new(Exit::Broken, format!("the copy in {} is broken at {fault}", dir.display()))),
    }
}

/// That the newest snapshot's files are all there.
///
/// # Errors
/// One is missing, or has another length.
pub(super) fn require_tables(data: &Path) -> Result<(), Failure> {
    let Some(manifest) = snapshot::newest(data).map_err(Failure::of)? else { return Ok(()) };
    for file in manifest.tables.values().flat_map(|table| &table.files) {
        let length = fs::metadata(data.join(&file.path)).map(|found| found.len());
        if length.ok() != Some(file.size) {
            let message = format!("{} is missing, or not the file of snapshot {}", file.path, manifest.number);
            return Err(Failure::new(Exit::Broken, message));
        }
    }
    Ok(())
}
