//! Making a log's folder; the same call finishes one that was stopped half-way.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    checkpoint::Checkpoint,
    durable::{create_dirs, replace_file},
    error::LogError,
    fs::Fs,
    journal::segment_name,
    log::folder_name,
    note::NoteKey,
    recover::take_lock,
    tree::sha256,
};

/// Prefix of the names that files have before they are whole; in `journal/`, so that one folder needs cleaning.
const TEMPORARY: &str = "tmp";

/// Where a log's files are written before they get their names.
pub(crate) fn temporary(dir: &Path) -> PathBuf {
    dir.join("journal").join(TEMPORARY)
}

/// Whether a name in `journal/` is of a file that was never finished.
pub(crate) fn is_leftover(name: &str) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(|rest| rest.starts_with('.'))
}

/// Makes the folder of a new log. `checkpoint` comes last: without it the folder is no log.
pub(crate) fn create(fs: &dyn Fs, dir: &Path, key: &NoteKey) -> Result<(), LogError> {
    if is_taken(fs, dir, key)? {
        return Err(LogError::NotEmpty(folder_name(dir)));
    }
    let parent = nearest(fs, dir)?;
    sync_name(fs, parent)?;
    create_dirs(fs, parent, dir)?;
    // Two processes that create the same log: the second finds it in use, or made.
    let _lock = take_lock(fs, dir)?;
    if is_taken(fs, dir, key)? {
        return Err(LogError::NotEmpty(folder_name(dir)));
    }
    for folder in ["tile/entries", "blobs", "journal"] {
        create_dirs(fs, dir, &dir.join(folder))?;
    }
    let write = |name: &str, text: &str| replace_file(fs, &dir.join(name), &temporary(dir), text.as_bytes());
    write(&format!("journal/{}", segment_name(0)), "")?;
    write("key", &verifier_line(key))?;
    write("checkpoint", &Checkpoint::sign(key, 0, sha256(b"")).note)
}

/// The folder itself or the nearest one above it that is there.
fn nearest<'a>(fs: &dyn Fs, dir: &'a Path) -> Result<&'a Path, LogError> {
    for folder in dir.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        match fs.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It is there for one who may not read it, too.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(LogError::io("list", folder, &error));
            }
            _ => return Ok(folder),
        }
    }
    Ok(Path::new(if dir.is_absolute() { "/" } else { "" }))
}

/// Makes the name of a folder durable that was found there: a stopped creation may have just made it.
fn sync_name(fs: &dyn Fs, folder: &Path) -> Result<(), LogError> {
    let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) else { return Ok(()) };
    match fs.open_dir(above).and_then(|handle| handle.sync_dir()) {
        // Who may not read the folder above did not make this one.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(|error| LogError::io("sync", above, &error)),
    }
}

fn verifier_line(key: &NoteKey) -> String {
    format!("{}\n", key.verifier())
}

/// Whether a folder holds anything but what a creation with this key leaves when it stops half-way.
fn is_taken(fs: &dyn Fs, dir: &Path, key: &NoteKey) -> Result<bool, LogError> {
    for (name, is_dir) in names(fs, dir)? {
        let free = match (name.as_str(), is_dir) {
            ("lock", false) => true,
            ("key", false) => fs
                .read(&dir.join("key"))
                .map(|text| text == verifier_line(key).as_bytes())
                .map_err(|error| LogError::io("read", &dir.join("key"), &error))?,
            ("blobs", true) => names(fs, &dir.join("blobs"))?.is_empty(),
            ("tile", true) => {
                let entries = names(fs, &dir.join("tile/entries"))?;
                entries.is_empty() && names(fs, &dir.join("tile"))?.iter().all(|(name, _)| name == "entries")
            }
            ("journal", true) => {
                let mut free = true;
                for (name, _) in names(fs, &dir.join("journal"))? {
                    free &=
                        is_leftover(&name) || (name == segment_name(0) && is_empty(fs, &dir.join("journal"), &name)?);
                }
                free
            }
            _ => false,
        };
        if !free {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_empty(fs: &dyn Fs, dir: &Path, name: &str) -> Result<bool, LogError> {
    let path = dir.join(name);
    let length = fs.open(&path).and_then(|file| file.length());
    Ok(length.map_err(|error| LogError::io("measure", &path, &error))? == 0)
}

/// Names in a folder; none when it is not there.
fn names(fs: &dyn Fs, dir: &Path) -> Result<Vec<(String, bool)>, LogError> {
    match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| LogError::io("list", dir, &error)),
    }
}
