//! Settings: defaults, then the file, then `EPILEDGER_*`, then flags. An unknown key is an error with a suggestion.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Map, Value};
use epiledger_ingest::Schedule;
use serde::{Deserialize, Serialize};

use crate::pin::{PinError, PinnedHead};

/// The default hour of the daily cut, UTC.
const CUT_HOUR: u8 = 3;

/// The default address of the server.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8642";

/// When answers leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// At the plan's time class, so that time says at most three bits.
    Classes,
    /// At once: for benchmarks, enclaves and trusted users; written into every intent.
    Immediate,
}

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The data folder.
    pub data: PathBuf,
    /// Address that `serve` listens on.
    pub listen: SocketAddr,
    /// When answers leave.
    pub timing: Timing,
    /// Hour of UTC at which a snapshot is cut, daily: by `serve`, and by `ingest` when it runs after that hour.
    pub cut_hour: u8,
    /// What the program says about itself on stderr, a tracing filter such as `info`.
    pub log: String,
    /// A head of the audit log that is kept outside the data folder, so that a restored older folder gives no budget
    /// back: a file, which the service moves on, or the http:// address of another's copy of the log.
    pub pinned_head: Option<String>,
    /// Server that `query` and the other client commands talk to; the data folder's own when absent.
    pub url: Option<String>,
    /// File that holds the API key for it.
    pub key_file: Option<PathBuf>,
}

/// Every key a file or the environment may set.
const KEYS: [&str; 8] = ["data", "listen", "timing", "cut_hour", "log", "pinned_head", "url", "key_file"];

/// `EPILEDGER_*` variables that other parts read: the settings file's place, and what tests require.
const ELSEWHERE: [&str; 2] = ["config", "require"];

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that nobody reads.
    #[error("unknown setting `{key}`; did you mean `{nearest}`? (settings: {})", KEYS.join(", "))]
    Unknown {
        /// The key.
        key: String,
        /// The nearest known one.
        nearest: &'static str,
    },
    /// A file that can't be read, or a value of the wrong kind.
    #[error("settings: {0}")]
    Bad(#[from] config::ConfigError),
    /// No hour.
    #[error("settings: cut_hour is an hour of the day, 0 to 23")]
    CutHour,
    /// No place for data.
    #[error("there is no home folder to keep data in; name one with --data or EPILEDGER_DATA")]
    NoHome,
}

impl Settings {
    /// Reads defaults, the file when one is named, and the environment.
    ///
    /// # Errors
    /// On an unknown key, a missing file or a value of the wrong kind.
    pub fn load(file: Option<&Path>, environment: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let home = data_home(environment);
        let variables: Map<String, String> = environment.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut builder = Config::builder()
            .set_default("listen", DEFAULT_LISTEN)?
            .set_default("timing", "classes")?
            .set_default("cut_hour", CUT_HOUR)?
            .set_default("log", "warn")?;
        if let Some(home) = &home {
            builder = builder.set_default("data", home.to_string_lossy().into_owned())?;
        }
        if let Some(file) = file {
            let file = File::from(file).format(FileFormat::Toml).required(true);
            // The file alone first: a key that only the environment may hold is unknown in a file.
            check(&Config::builder().add_source(file.clone()).build()?, &[])?;
            builder = builder.add_source(file);
        }
        let variables = Environment::with_prefix("EPILEDGER").source(Some(variables));
        check(&Config::builder().add_source(variables.clone()).build()?, &ELSEWHERE)?;
        let settings = builder.add_source(variables).build()?;
        if home.is_none() && settings.get_string("data").is_err() {
            return Err(ConfigError::NoHome);
        }
        Ok(settings.try_deserialize()?)
    }

    /// The head that the audit log must continue.
    ///
    /// # Errors
    /// It lies inside the data folder, or is no file or address.
    pub fn pinned_head(&self) -> Result<Option<PinnedHead>, PinError> {
        self.pinned_head.as_deref().map(|text| PinnedHead::parse(text, &self.data)).transpose()
    }

    /// When snapshots are cut.
    ///
    /// # Errors
    /// The hour is none.
    pub fn schedule(&self) -> Result<Schedule, ConfigError> {
        Schedule::daily(self.cut_hour).ok_or(ConfigError::CutHour)
    }
}

/// The process's environment, for [`Settings::load`]. Variables that are no Unicode are none of ours.
#[must_use]
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// `epiledger` in the user's data directory (XDG), never the working directory.
fn data_home(environment: &HashMap<String, String>) -> Option<PathBuf> {
    let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))
        .map(|home| home.join("epiledger"))
}

fn check(layer: &Config, also: &[&str]) -> Result<(), ConfigError> {
    let keys: BTreeMap<String, Value> = layer.clone().try_deserialize()?;
    for key in keys.into_keys() {
        if !KEYS.contains(&key.as_str()) && !also.contains(&key.as_str()) {
            let nearest = KEYS.into_iter().min_by_key(|known| distance(&key, known)).unwrap_or("data");
            return Err(ConfigError::Unknown { key, nearest });
        }
    }
    Ok(())
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((y, above), diagonal) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((above + 1).min(left + 1).min(diagonal + usize::from(x != *y)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let home = [("HOME", "/home/ada"), ("OTHER_DATA", "x")];
        home.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_environment_beats_the_file_and_the_file_beats_defaults() {
        let none = Settings::load(None, &env(&[])).unwrap();
        assert_eq!(none.data, PathBuf::from("/home/ada/.local/share/epiledger"));
        assert_eq!((none.listen.port(), none.timing), (8642, Timing::Classes));

        let file = file("listen = \"127.0.0.1:1\"\ntiming = \"immediate\"\n");
        let both = Settings::load(Some(file.path()), &env(&[("EPILEDGER_LISTEN", "127.0.0.1:2")])).unwrap();
        assert_eq!((both.listen.port(), both.timing), (2, Timing::Immediate));
        let data = Settings::load(None, &env(&[("EPILEDGER_DATA", "/srv/d"), ("EPILEDGER_KEY_FILE", "/k")])).unwrap();
        assert_eq!((data.data, data.key_file), (PathBuf::from("/srv/d"), Some(PathBuf::from("/k"))));
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest() {
        let file = file("listne = \"127.0.0.1:1\"\n");
        let error = Settings::load(Some(file.path()), &env(&[])).unwrap_err().to_string();
        assert!(error.contains("`listne`") && error.contains("`listen`"), "{error}");
        let error = Settings::load(None, &env(&[("EPILEDGER_TIMMING", "x")])).unwrap_err().to_string();
        assert!(error.contains("`timming`") && error.contains("`timing`"), "{error}");
        assert!(Settings::load(None, &env(&[("EPILEDGER_REQUIRE", "all")])).is_ok());
    }

    #[test]
    fn bad_values_and_missing_files_are_errors() {
        assert!(Settings::load(None, &env(&[("EPILEDGER_LISTEN", "nowhere")])).is_err());
        let hour = |hour| Settings::load(None, &env(&[("EPILEDGER_CUT_HOUR", hour)])).and_then(|s| s.schedule());
        assert_eq!(hour("23").unwrap(), Schedule::daily(23).unwrap());
        assert!(matches!(hour("24"), Err(ConfigError::CutHour)));
        assert!(Settings::load(Some(Path::new("/no/such.toml")), &env(&[])).is_err());
        assert!(matches!(Settings::load(None, &HashMap::new()), Err(ConfigError::NoHome)));
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
