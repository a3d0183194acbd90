//! Where a log lies: a folder, or the address below which its files are served (C2SP tlog-tiles).

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use epiledger_ledger::{FolderSource, Source, SourceError};
use secrecy::{ExposeSecret, SecretString};
use ureq::http::StatusCode;

use super::exit::{Exit, Failure};

/// Time for one file when the caller names none, seconds.
pub(super) const PATIENCE_SECONDS: u64 = 30;

/// Redirects followed for one file.
const REDIRECTS: u32 = 3;

/// A folder or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An address without its last slash.
    Address(String),
}

impl Place {
    /// Reads what a user typed.
    ///
    /// # Errors
    /// Usage: there is no such folder, or the address is of another scheme.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if text.starts_with("http://") {
            return Ok(Self::Address(text.trim_end_matches('/').to_owned()));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let message = format!("`{scheme}://` is not spoken here: name a folder, or an http:// address");
            return Err(Failure::usage(message));
        }
        let folder = PathBuf::from(text);
        match folder.is_dir() {
            true => Ok(Self::Folder(folder)),
            false => Err(Failure::usage(format!("`{text}` is no folder; an address begins with http://"))),
        }
    }

    /// Its files.
    pub(super) fn source(&self, key: Option<&SecretString>, patience: Duration) -> Box<dyn Source> {
        match self {
            Self::Folder(folder) => Box::new(FolderSource::new(folder)),
            Self::Address(prefix) => Box::new(HttpSource::new(prefix, key.cloned(), patience)),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Address(prefix) => f.write_str(prefix),
        }
    }
}

/// A log's files over HTTP; every fetch ends after `patience`, and reads no more than its limit.
struct HttpSource {
    agent: ureq::Agent,
    prefix: String,
    key: Option<SecretString>,
}

impl HttpSource {
    fn new(prefix: &str, key: Option<SecretString>, patience: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience))
            .max_redirects(REDIRECTS)
            .build();
        Self { agent: config.into(), prefix: prefix.to_owned(), key }
    }
}

impl Source for HttpSource {
    fn fetch(&self, path: &str, limit: usize) -> Result<Vec<u8>, SourceError> {
        let address = format!("{}/{path}", self.prefix);
        let failed = |error: ureq::Error| of_transport(&address, path, limit, error);
        let mut request = self.agent.get(&address);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.expose_secret()));
        }
        let mut response = request.call().map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            status => return Err(of_status(&address, path, status)),
        }
        // One byte more than allowed tells a long file from one that just fits.
        let read = response.body_mut().with_config().limit(limit as u64 + 1).read_to_vec();
        let bytes = read.map_err(failed)?;
        if bytes.len() > limit {
            return Err(SourceError::TooLong(path.to_owned(), limit));
        }
        Ok(bytes)
    }
}

fn of_status(address: &str, path: &str, status: StatusCode) -> SourceError {
    let code = status.as_u16();
    match code {
        404 | 410 => SourceError::Missing(path.to_owned()),
        401 | 403 => {
            let what = "the server wants the key of a role that may read it: name its file with --key-file";
            SourceError::Denied(format!("{address}: {what} ({code})"))
        }
        408 | 425 | 429 | 500..=599 => {
            SourceError::Temporary(format!("{address}: the server answers {code}; try again later"))
        }
        _ => SourceError::Failed(format!("{address}: the server answers {code}, which is no file")),
    }
}

fn of_transport(address: &str, path: &str, limit: usize, error: ureq::Error) -> SourceError {
    match error {
        ureq::Error::BodyExceedsLimit(_) => SourceError::TooLong(path.to_owned(), limit),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TlsRequired => {
            SourceError::Failed(format!("{address} is no address to read a file from: {error}"))
        }
        ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed | ureq::Error::Protocol(_) => {
            SourceError::Failed(format!("{address}: what answers there does not serve a log: {error}"))
        }
        ureq::Error::Io(ref cause) if cause.kind() == ErrorKind::InvalidData => {
            SourceError::Failed(format!("{address}: what answers there does not serve a log: {error}"))
        }
        _ => SourceError::Temporary(format!("{address}: no whole answer ({error}); try again later")),
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let exit = match error {
            SourceError::Denied(_) => Exit::Auth,
            SourceError::Temporary(_) => Exit::Temporary,
            SourceError::Missing(_) | SourceError::TooLong(..) | SourceError::Failed(_) => Exit::Failure,
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().to_str().unwrap();
        assert_eq!(Place::parse(text).unwrap(), Place::Folder(dir.path().to_owned()));
        assert_eq!(Place::parse("http://h:1/v1/audit/").unwrap(), Place::Address("http://h:1/v1/audit".into()));
        for wrong in ["no/such/folder", "ftp://h/log", "https://h/log", ""] {
            assert_eq!(Place::parse(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn statuses_and_broken_transport_have_their_exit_codes() {
        let exit = |status: u16| {
            Failure::from(of_status("http://h/checkpoint", "checkpoint", StatusCode::from_u16(status).unwrap())).exit
        };
        for (status, expected) in [
            (401, Exit::Auth),
            (403, Exit::Auth),
            (404, Exit::Failure),
            (204, Exit::Failure),
            (302, Exit::Failure),
            (429, Exit::Temporary),
            (500, Exit::Temporary),
            (503, Exit::Temporary),
        ] {
            assert_eq!(exit(status), expected, "{status}");
        }
        let exit = |error: ureq::Error| Failure::from(of_transport("http://h/x", "x", 9, error)).exit;
        assert_eq!(exit(ureq::Error::Timeout(ureq::Timeout::Global)), Exit::Temporary);
        assert_eq!(exit(ureq::Error::ConnectionFailed), Exit::Temporary);
        assert_eq!(exit(ureq::Error::Io(ErrorKind::UnexpectedEof.into())), Exit::Temporary);
        assert_eq!(exit(ureq::Error::BadUri("x".into())), Exit::Failure);
    }
}
