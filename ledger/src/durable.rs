//! Replacing files so that after a crash each holds its old bytes or its new ones.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::{error::LogError, fs::Fs};

/// Files held open at once while their bytes go to disk.
const OPEN_FILES: usize = 64;

/// Writes a file under a temporary name, makes it durable, and gives it its name.
///
/// # Errors
/// The system's; the file may then hold either.
pub(crate) fn replace_file(fs: &dyn Fs, path: &Path, temporary: &Path, bytes: &[u8]) -> Result<(), LogError> {
    replace_files(fs, temporary, &[(path.to_owned(), bytes.to_vec())])
}

/// Several files at once: all bytes first, then all names, then each folder once. `temporary` is a prefix of
/// names in the same file system that nothing else uses.
///
/// # Errors
/// The system's; each file may then hold either.
pub(crate) fn replace_files(fs: &dyn Fs, temporary: &Path, files: &[(PathBuf, Vec<u8>)]) -> Result<(), LogError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| LogError::io("write", &path, &error)
    };
    let mut folders = BTreeMap::new();
    let mut written = Vec::new();
    for group in files.chunks(OPEN_FILES) {
        let mut open = Vec::new();
        for (path, bytes) in group {
            if let Some(folder) = path.parent()
                && !folders.contains_key(folder)
            {
                // Held open from before the change, so that an error in between is not lost.
                folders.insert(folder.to_owned(), fs.open_dir(folder).map_err(failed(folder))?);
            }
            let mut name = temporary.as_os_str().to_owned();
            name.push(format!(".{}", written.len()));
            let temporary = PathBuf::from(name);
            let file = fs.create(&temporary).map_err(failed(path))?;
            file.write_all_at(bytes, 0).map_err(failed(path))?;
            written.push((path, temporary));
            open.push((path, file));
        }
        for (path, file) in open {
            file.sync_data().map_err(failed(path))?;
        }
    }
    for (path, temporary) in &written {
        fs.rename(temporary, path).map_err(failed(path))?;
    }
    for (folder, handle) in &folders {
        handle.sync_dir().map_err(failed(folder))?;
    }
    Ok(())
}

/// Makes the folders between `root` (which exists; empty is the working folder) and `dir`, each durable in its parent.
///
/// # Errors
/// The system's.
pub(crate) fn create_dirs(fs: &dyn Fs, root: &Path, dir: &Path) -> Result<(), LogError> {
    let mut parent = root.to_owned();
    let Ok(below) = dir.strip_prefix(root) else {
        return Ok(());
    };
    for part in below.components() {
        let child = parent.join(part);
        let failed = |error: io::Error| LogError::io("create the folder", &child, &error);
        let here = if parent.as_os_str().is_empty() { Path::new(".") } else { &parent };
        let handle = fs.open_dir(here).map_err(failed)?;
        fs.create_dir(&child).map_err(failed)?;
        handle.sync_dir().map_err(failed)?;
        parent = child;
    }
    Ok(())
}
