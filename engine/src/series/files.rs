//! Whom each series has counted, as files of the data folder: `series/<opening>/<window>`, for their owner alone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use epiledger_privacy::series::Counted;

/// The files below one folder.
pub struct CountedFiles {
    root: PathBuf,
}

impl CountedFiles {
    /// Those of a data folder.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { root: data.join("series") }
    }

    /// Forgets whom a series has counted: it can't go on.
    ///
    /// # Errors
    /// The disk's.
    pub fn forget(&self, series: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(checked(series)?)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, series: &str, window: &str) -> io::Result<PathBuf> {
        Ok(self.root.join(checked(series)?).join(checked(window)?))
    }
}

/// A statement's id, and so no path.
fn checked(name: &str) -> io::Result<&str> {
    let is_id = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(name).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the id of a statement"))
}

/// Makes a folder, durable in its parent, unless it is there.
fn folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()),
    }
}

impl Counted for CountedFiles {
    fn put(&self, series: &str, window: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(series, window)?;
        let dir = self.root.join(series);
        folder(&self.root)?;
        folder(&dir)?;
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&dir)?.sync_all()
    }

    fn get(&self, series: &str, window: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(series, window)?) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn has(&self, series: &str, window: &str) -> io::Result<bool> {
        self.path(series, window)?.try_exists()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_put_is_there_for_its_owner_alone_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let files = CountedFiles::of(dir.path());
        let (series, window) = ("a".repeat(32), "b".repeat(32));
        assert_eq!((files.get(&series, &window).unwrap(), files.has(&series, &window).unwrap()), (None, false));
        files.forget(&series).unwrap();
        files.put(&series, &window, b"one").unwrap();
        assert_eq!(files.get(&series, &window).unwrap().unwrap(), b"one");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let root = dir.path().join("series");
        let modes = [root.clone(), root.join(&series), root.join(&series).join(&window)].map(mode);
        assert_eq!(modes, [0o700, 0o700, 0o600]);
        assert_eq!(fs::read_dir(root.join(&series)).unwrap().count(), 1, "nothing else is left");
        files.forget(&series).unwrap();
        assert!(!files.has(&series, &window).unwrap());
        for wrong in ["..", "", "a/b", &"g".repeat(32)] {
            assert!(files.put(wrong, &window, b"").is_err() && files.put(&series, wrong, b"").is_err(), "{wrong}");
        }
    }
}
