//! The files of a log's folder: none may be unknown, since its bytes would be nobody's.

use std::path::Path;

use super::{journal::JournalCheck, report::Fault};
use crate::{
    create::is_leftover,
    follow::{INCOMING, MARKER, is_staged},
    fs::StdFs,
    journal::segment_first,
    recover::read_head,
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

/// Whether a mirror was only begun: it has no head yet, and nothing that one could be of.
pub(crate) fn is_begun(dir: &Path) -> bool {
    let empty = |folder: &str| std::fs::read_dir(dir.join(folder)).is_ok_and(|mut items| items.next().is_none());
    !dir.join("checkpoint").exists() && (dir.join(INCOMING).is_dir() || empty("tile"))
}

/// Refuses unknown names anywhere in the folder but `blobs/`, which its own check lists. `size` is the newest size when
/// the audit began, `mirror` whether the folder is a mirror, and then whether it keeps blobs.
/// Bytes that a writer, or a mirror whose run has not ended, has not finished yet.
pub(crate) fn check_names(dir: &Path, size: u64, mirror: Option<bool>) -> Result<u64, Fault> {
    let mut unfinished = 0;
    for (name, is_dir) in list(dir, "")? {
        let known = match name.as_str() {
            "checkpoint" | "key" | "lock" => !is_dir,
            "tile" => is_dir,
            "blobs" => is_dir && mirror != Some(false),
            "journal" => is_dir && mirror.is_none(),
            MARKER => !is_dir && mirror.is_some(),
            INCOMING => is_dir && mirror.is_some(),
            _ => false,
        };
        if !known {
            return Err(unknown(&name));
        }
    }
    let mut wider = Vec::new();
    check_tiles(dir, "tile", size, &mut wider)?;
    if mirror.is_some() {
        let incoming = list(dir, INCOMING).unwrap_or_default();
        if !dir.join(INCOMING).is_dir() {
            return wider.first().map_or(Ok(0), |(path, _)| Err(unknown(path)));
        }
        for (name, is_dir) in incoming {
            let path = format!("{INCOMING}/{name}");
            if is_dir || !is_staged(&name) {
                return Err(unknown(&path));
            }
            unfinished += length(dir, &path);
        }
        return Ok(unfinished + wider.iter().map(|(path, _)| length(dir, path)).sum::<u64>());
    }
    for (name, is_dir) in list(dir, "journal")? {
        let path = format!("journal/{name}");
        if is_leftover(&name) && !is_dir {
            unfinished += length(dir, &path);
            continue;
        }
        if is_dir || segment_first(&name).is_none() {
            return Err(unknown(&path));
        }
    }
    // Tiles that a live writer has published since the audit began; in a log at rest there is nothing past its size.
    let now = if wider.is_empty() { size } else { newest_size(dir)?.max(size) };
    match wider.iter().find(|(_, tile)| is_past(*tile, now)) {
        Some((path, _)) => Err(unknown(path)),
        None => Ok(unfinished),
    }
}

/// Durable entries as the journal shows them now.
fn newest_size(dir: &Path) -> Result<u64, Fault> {
    let head = read_head(&StdFs, dir).map_err(|error| Fault::new("checkpoint", "checkpoint", error.to_string()))?;
    JournalCheck::open(dir, head.1.size, &head.0).map(|journal| journal.end)
}

/// Whether no tree of a size has a tile of this name or a wider one at its place.
fn is_past(tile: TilePath, size: u64) -> bool {
    TilePath::of_size(tile.kind, tile.index, size).is_none_or(|largest| tile.width > largest.width)
}

/// Bytes of a file that may be renamed or removed meanwhile.
fn length(dir: &Path, path: &str) -> u64 {
    dir.join(path).metadata().map_or(0, |data| data.len())
}

/// Collects tiles past a size into `wider`.
fn check_tiles(dir: &Path, folder: &str, size: u64, wider: &mut Vec<(String, TilePath)>) -> Result<(), Fault> {
    for (name, is_dir) in list(dir, folder)? {
        let path = format!("{folder}/{name}");
        if is_dir {
            // A folder of partial tiles goes when the full one is there.
            if dir.join(&path).exists() {
                check_tiles(dir, &path, size, wider)?;
            }
            continue;
        }
        let tile = TilePath::parse(&path).ok_or_else(|| unknown(&path))?;
        if is_past(tile, size) {
            wider.push((path, tile));
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
