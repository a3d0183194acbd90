//! The files of a log's folder: none may be unknown, since its bytes would be nobody's.

use std::path::Path;

use super::report::Fault;
use crate::{
    create::is_leftover,
    follow::{INCOMING, MARKER},
    journal::segment_first,
    tiles::TilePath,
};

/// What changes whenever a writer commits or publishes: the checkpoint, and the journal's names and lengths.
pub(crate) fn fingerprint(dir: &Path) -> (Option<Vec<u8>>, Vec<(String, u64)>) {
    let journal = std::fs::read_dir(dir.join("journal")).into_iter().flatten().flatten();
    let mut names: Vec<(String, u64)> = journal
        .map(|item| (item.file_name().to_string_lossy().into_owned(), item.metadata().map_or(0, |data| data.len())))
        .collect();
    names.sort();
    (std::fs::read(dir.join("checkpoint")).ok(), names)
}

/// Refuses unknown names anywhere in the folder but `blobs/`, which its own check lists. `size` is the newest size,
/// `mirror` whether the folder is a mirror, and then whether it keeps blobs.
/// Bytes of files that a writer has not given their names yet.
pub(crate) fn check_names(dir: &Path, size: u64, mirror: Option<bool>) -> Result<u64, Fault> {
    for (name, is_dir) in list(dir, "")? {
        let known = match name.as_str() {
            "checkpoint" | "key" | "lock" => !is_dir,
            "tile" => is_dir,
            "blobs" => is_dir && mirror != Some(false),
            "journal" => is_dir && mirror.is_none(),
            MARKER => !is_dir && mirror.is_some(),
            INCOMING if mirror.is_some() => {
                return Err(Fault::new(name, "files", "a stopped mirror left it: mirror again, then audit again"));
            }
            _ => false,
        };
        if !known {
            return Err(unknown(&name));
        }
    }
    if mirror.is_some() {
        return check_tiles(dir, "tile", size).map(|()| 0);
    }
    let mut unfinished = 0;
    for (name, is_dir) in list(dir, "journal")? {
        let path = format!("journal/{name}");
        if is_leftover(&name) && !is_dir {
            // A running writer may have given it its name meanwhile.
            unfinished += dir.join(&path).metadata().map_or(0, |data| data.len());
            continue;
        }
        if is_dir || segment_first(&name).is_none() {
            return Err(unknown(&path));
        }
    }
    check_tiles(dir, "tile", size)?;
    Ok(unfinished)
}

fn check_tiles(dir: &Path, folder: &str, size: u64) -> Result<(), Fault> {
    for (name, is_dir) in list(dir, folder)? {
        let path = format!("{folder}/{name}");
        if is_dir {
            check_tiles(dir, &path, size)?;
            continue;
        }
        let tile = TilePath::parse(&path);
        let largest = tile.and_then(|tile| TilePath::of_size(tile.kind, tile.index, size));
        if tile.zip(largest).is_none_or(|(tile, largest)| tile.width > largest.width) {
            return Err(unknown(&path));
        }
    }
    Ok(())
}

fn unknown(path: &str) -> Fault {
    Fault::new(path, "files", "no such file belongs to this log at its size")
}

fn list(dir: &Path, folder: &str) -> Result<Vec<(String, bool)>, Fault> {
    let failed = |error: std::io::Error| {
        Fault::new(if folder.is_empty() { "folder" } else { folder }, "files", error.to_string())
    };
    let mut names = Vec::new();
    for item in std::fs::read_dir(dir.join(folder)).map_err(failed)? {
        let item = item.map_err(failed)?;
        names.push((item.file_name().to_string_lossy().into_owned(), item.file_type().map_err(failed)?.is_dir()));
    }
    names.sort();
    Ok(names)
}
