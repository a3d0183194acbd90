//! The command line's HTTP client: finds a running server by its data folder, and speaks as one role.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::api::Role;
use crate::config::Settings;

/// Longest answer that is read, bytes.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;

/// The last deadline class is 300 s; a little more for the way.
const PATIENCE: Duration = Duration::from_secs(330);

/// One token a role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKeys {
    /// Estimates and asks.
    pub researcher: String,
    /// Reads dashboards and releases.
    pub epidemiologist: String,
    /// Reads the audit log, approves and suspends.
    pub board: String,
    /// Reads schema and budget.
    pub steward: String,
    /// Reads the ledger, manages keys.
    pub operator: String,
}

impl RoleKeys {
    /// The token of a role.
    #[must_use]
    pub fn of(&self, role: Role) -> &str {
        match role {
            Role::Researcher => &self.researcher,
            Role::Epidemiologist => &self.epidemiologist,
            Role::Board => &self.board,
            Role::Steward => &self.steward,
            Role::Operator => &self.operator,
        }
    }
}

/// `DATA/client.json`, which a running demo writes (mode 0600), and what `demo --json` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientFile {
    /// Where it serves.
    pub url: String,
    /// Its data folder.
    pub data_dir: String,
    /// One key a role.
    pub keys: RoleKeys,
    /// The protocol its researcher asks under.
    pub protocol: String,
}

/// [`ServerFile`]'s name in the data folder.
pub(super) const SERVER_FILE: &str = "server.json";

/// `DATA/server.json`, which every running server writes (mode 0600).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerFile {
    /// Where it serves.
    pub url: String,
    /// Its process.
    pub pid: u32,
}

impl ServerFile {
    /// Says that this process is the server which the file names, until the lock is dropped or the process ends.
    ///
    /// # Errors
    /// The file can't be opened or locked.
    pub fn hold(data: &Path) -> io::Result<File> {
        let file = File::open(data.join(SERVER_FILE))?;
        file.lock()?;
        Ok(file)
    }

    /// The server that runs over a data folder. A file whose server was killed names nobody, whoever may have its port
    /// or its process id now.
    #[must_use]
    pub fn live(data: &Path) -> Option<Self> {
        let file = File::open(data.join(SERVER_FILE)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => serde_json::from_reader(file).ok(),
            _ => None,
        }
    }
}

/// A server and a key for it.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    /// The whole header's value.
    authorization: Option<SecretString>,
}

/// An error response.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The problem+json.
    pub problem: Value,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &str| self.problem.get(name).and_then(Value::as_str);
        let code = text("code").map_or_else(|| self.status.to_string(), str::to_owned);
        write!(f, "{code}: {}", text("detail").unwrap_or("the server says no more"))?;
        if let Some(position) = self.problem.get("position") {
            let at = |name: &str| position.get(name).and_then(Value::as_u64).unwrap_or(0);
            write!(f, " (line {}, column {}, length {})", at("line"), at("column"), at("length"))?;
        }
        if let Some(hint) = text("hint") {
            write!(f, "\nhint: {hint}")?;
        }
        for name in ["required", "remaining"] {
            if let Some(price) = self.problem.get(name) {
                write!(f, "\n{name}: {}", super::render::price(price))?;
            }
        }
        Ok(())
    }
}

impl Client {
    /// A client of `url` with a key.
    #[must_use]
    pub fn new(url: &str, key: Option<SecretString>) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let authorization = key.map(|key| SecretString::from(format!("Bearer {}", key.expose_secret())));
        Self { agent: config.into(), url: url.trim_end_matches('/').to_owned(), authorization }
    }

    /// The server that the settings name, or the one that runs over the data folder, with a key of `role`.
    ///
    /// # Errors
    /// When none runs, or no key is at hand.
    pub fn find(settings: &Settings, role: Role) -> Result<Self, Failure> {
        let own_key = settings.key_file.as_deref().map(read_key).transpose()?;
        let demo: Option<ClientFile> = read(&settings.data.join("client.json"));
        let running = ServerFile::live(&settings.data).map(|server| server.url);
        let url = settings.url.clone().or_else(|| running.clone()).ok_or_else(|| none_runs(settings))?;
        // A demo's keys go to that demo alone, while it runs.
        let demo_key = demo
            .filter(|d| d.url == url && running.as_deref() == Some(&url))
            .map(|d| SecretString::from(d.keys.of(role)));
        let Some(key) = own_key.or(demo_key) else {
            let message =
                format!("this needs a {} key: name its file with --key-file or EPILEDGER_KEY_FILE", role.as_str());
            return Err(Failure::new(Exit::Auth, message));
        };
        Ok(Self::new(&url, Some(key)))
    }

    /// The same server for requests that a ledger key signs, so without an API key.
    ///
    /// # Errors
    /// When none runs.
    pub fn signed(settings: &Settings) -> Result<Self, Failure> {
        let running = ServerFile::live(&settings.data).map(|server| server.url);
        let url = settings.url.clone().or(running).ok_or_else(|| none_runs(settings))?;
        Ok(Self::new(&url, None))
    }

    /// The same client, whose requests carry this `Authorization`.
    #[must_use]
    pub fn authorized(mut self, line: &str) -> Self {
        self.authorization = Some(SecretString::from(line));
        self
    }

    /// `GET` a JSON document.
    ///
    /// # Errors
    /// On an error response, or when the server can't be reached.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        parse(&self.send("GET", path, None, None)?)
    }

    /// `POST` a JSON document, answered by one.
    ///
    /// # Errors
    /// On an error response, or when the server can't be reached.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        parse(&self.send("POST", path, Some(body), None)?)
    }

    /// `DELETE`, answered by a JSON document.
    ///
    /// # Errors
    /// On an error response, or when the server can't be reached.
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        parse(&self.send("DELETE", path, None, None)?)
    }

    /// Any request; the answer's bytes.
    ///
    /// # Errors
    /// On an error response, or when the server can't be reached.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        accept: Option<&str>,
    ) -> Result<Vec<u8>, Failure> {
        let mut request = axum::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(line) = &self.authorization {
            request = request.header("authorization", line.expose_secret());
        }
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let unreachable = |e: ureq::Error| {
            let message = format!("no server answers at {} ({e}); is it running?", self.url);
            Failure::new(Exit::Temporary, message)
        };
        let sent = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.to_string());
                self.agent.run(request.map_err(Failure::of)?)
            }
            None => self.agent.run(request.body(()).map_err(Failure::of)?),
        };
        let mut response = sent.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(unreachable)?;
        if status.is_success() {
            return Ok(bytes);
        }
        let problem = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Err(Refusal { status: status.as_u16(), problem }.into())
    }
}

fn none_runs(settings: &Settings) -> Failure {
    let data = settings.data.display();
    let message = format!(
        "no server runs over {data}; start one with `epiledger demo` or `epiledger serve`, or name one with --url"
    );
    Failure::new(Exit::Temporary, message)
}

fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|e| Failure::of(format!("the server's answer isn't JSON: {e}")))
}

/// A small JSON file, when it is there and whole.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The API key in a file.
///
/// # Errors
/// When the file can't be read, or others than its owner may read it.
pub fn read_key(path: &Path) -> Result<SecretString, Failure> {
    let unreadable = |e: std::io::Error| Failure::usage(format!("the key file {} can't be read: {e}", path.display()));
    if std::fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
        let message = format!(
            "the key file {} is open to others than its owner: `chmod 600` it, and if somebody else may have read it, \
             have the key revoked",
            path.display()
        );
        return Err(Failure::usage(message));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(SecretString::from(text.trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_says_code_place_hint_and_prices() {
        let price = json!({"rho": "0.5", "delta": "0", "epsilon": 6.1});
        let problem = json!({
            "code": "UNIT_IN_OUTPUT", "detail": "d", "position": {"line": 1, "column": 8, "length": 9},
            "hint": "h", "required": price,
        });
        let text = Refusal { status: 422, problem }.to_string();
        assert!(text.starts_with("UNIT_IN_OUTPUT: d (line 1, column 8, length 9)\nhint: h\nrequired: "), "{text}");
        assert!(text.contains("rho 0.5"));
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        use secrecy::ExposeSecret;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "epl_a_b\n").unwrap();
        assert_eq!(read_key(file.path()).unwrap().expose_secret(), "epl_a_b");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let failure = read_key(file.path()).unwrap_err();
        assert!(failure.exit == Exit::Usage && failure.message.contains("chmod 600"), "{}", failure.message);
    }

    #[test]
    fn a_server_lives_as_long_as_it_holds_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let live = || ServerFile::live(dir.path()).map(|server| server.pid);
        assert_eq!(live(), None);
        let file = ServerFile { url: "http://127.0.0.1:1".into(), pid: std::process::id() };
        std::fs::write(dir.path().join(SERVER_FILE), serde_json::to_vec(&file).unwrap()).unwrap();
        assert_eq!(live(), None, "nobody holds it, though its process lives");
        let held = ServerFile::hold(dir.path()).unwrap();
        assert_eq!((live(), live()), (Some(file.pid), Some(file.pid)));
        drop(held);
        assert_eq!(live(), None);
    }

    #[test]
    fn without_a_server_the_failure_is_temporary_and_says_what_to_start() {
        let dir = tempfile::tempdir().unwrap();
        let variables = [("EPILEDGER_DATA".to_owned(), dir.path().to_string_lossy().into_owned())];
        let settings = Settings::load(None, &variables.into_iter().collect()).unwrap();
        let failure = Client::find(&settings, Role::Researcher).err().unwrap();
        assert_eq!(failure.exit, Exit::Temporary);
        assert!(failure.message.contains("epiledger demo"));
    }
}
