//! Where a log's published files come from.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Files of one log by their C2SP names: `checkpoint`, `tile/..`, `tile/entries/..`; ours also `blob/<sha256>`.
///
/// What it gives is not trusted. It must give an error rather than wait for ever, and never read past `limit`.
pub trait Source: Send + Sync {
    /// A whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// It is not there, too long, or cannot be had now.
    fn fetch(&self, path: &str, limit: usize) -> Result<Vec<u8>, SourceError>;
}

/// Why a file was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is no such file.
    #[error("`{0}` is not there")]
    Missing(String),
    /// The file has more bytes than one of its name may have.
    #[error("`{0}` is longer than the {1} bytes that it may have")]
    TooLong(String, usize),
    /// The caller's key is missing or may not read it.
    #[error("{0}")]
    Denied(String),
    /// No answer in time, or one that says to come back.
    #[error("{0}")]
    Temporary(String),
    /// It cannot be read, and trying again will not help.
    #[error("{0}")]
    Failed(String),
}

/// A log's folder, ours or of any implementation that keeps tlog-tiles as files.
#[derive(Clone, Debug)]
pub struct FolderSource(PathBuf);

impl FolderSource {
    /// The files below a folder.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }
}

impl Source for FolderSource {
    fn fetch(&self, path: &str, limit: usize) -> Result<Vec<u8>, SourceError> {
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => SourceError::Missing(path.to_owned()),
            _ => SourceError::Failed(format!("`{path}` cannot be read: {error}")),
        };
        let mut bytes = Vec::new();
        let file = File::open(self.0.join(path)).map_err(failed)?;
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > limit {
            return Err(SourceError::TooLong(path.to_owned(), limit));
        }
        Ok(bytes)
    }
}
