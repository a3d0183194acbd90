//! What the tests share: a running server of the real binary, and the way to ask it.

mod python;
mod real_data;
pub mod skip;
pub mod verifiers;

use std::{
    io::{BufRead, BufReader, ErrorKind},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use serde_json::{Value, json};

pub use python::python;
pub use real_data::real_data;

/// The binary that the same build made.
///
/// # Panics
/// When it is missing: run `cargo test --workspace`, which builds it.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().ok();
    let found = test.as_deref().and_then(Path::parent).and_then(Path::parent).map(|dir| dir.join("epiledger"));
    match found {
        Some(path) if path.exists() => path,
        _ => fail("the binary is missing: run `cargo test --workspace`"),
    }
}

/// The binary in an environment without the tests' own knobs: it refuses an `EPILEDGER_` variable that it doesn't know.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EPILEDGER_")) {
        command.env_remove(name);
    }
    command
}

/// A server of the real binary over a data folder; stopped by its process id when dropped.
pub struct App {
    child: Child,
    /// Where it serves.
    pub url: String,
    /// API keys by role.
    pub keys: Value,
    /// Its data folder.
    pub data: PathBuf,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// Body.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| fail(&format!("not JSON: {:?}", self.text())))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl App {
    /// Its process, for what `/proc` says of it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `demo --json` with `people` persons over `data`, once it serves.
    #[must_use]
    pub fn demo(data: &Path, people: u64) -> Self {
        let people = people.to_string();
        Self::start(data, &["demo", "--json", "--port", "0", "--people", &people])
    }

    /// Any verb that prints one JSON object once it serves.
    #[must_use]
    pub fn start(data: &Path, args: &[&str]) -> Self {
        Self::start_with(data, args, Stdio::null())
    }

    /// The same, with a place for its words on stderr.
    #[must_use]
    pub fn start_with(data: &Path, args: &[&str], stderr: impl Into<Stdio>) -> Self {
        let mut child = command()
            .args(args)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|e| fail(&e.to_string()));
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let Ok(started) = serde_json::from_str::<Value>(&line) else {
            let _ = child.kill();
            fail(&format!("{args:?} did not say where it serves: {line:?}"))
        };
        let url = started["url"].as_str().unwrap_or_default().to_owned();
        Self { child, url, keys: started["keys"].clone(), data: data.to_owned() }
    }

    /// Sends a signal by its POSIX name, such as `TERM`. Every shell has `kill` built in; not every machine has the
    /// program.
    ///
    /// # Panics
    /// The process is gone.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no {name} for {}", self.child.id());
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop in order, and waits.
    #[must_use]
    pub fn stop(mut self) -> Option<ExitStatus> {
        self.signal("TERM");
        self.child.wait().ok()
    }

    /// Waits until it ends by itself.
    #[must_use]
    pub fn ended(mut self) -> Option<ExitStatus> {
        self.child.wait().ok()
    }

    /// `GET` with a role's key.
    #[must_use]
    pub fn get(&self, role: &str, path: &str) -> Reply {
        self.get_as(role, path, "application/json")
    }

    /// `GET` with a role's key and an `Accept`.
    #[must_use]
    pub fn get_as(&self, role: &str, path: &str, accept: &str) -> Reply {
        let request = agent().get(format!("{}{path}", self.url)).header("Accept", accept);
        let request = match self.keys[role].as_str() {
            Some(key) => request.header("Authorization", format!("Bearer {key}")),
            None => request,
        };
        reply(request.call())
    }

    /// `GET` without a key of ours, with these headers.
    #[must_use]
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = agent().get(format!("{}{path}", self.url));
        reply(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call())
    }

    /// `POST` of JSON with a role's key.
    #[must_use]
    pub fn post(&self, role: &str, path: &str, body: &Value) -> Reply {
        self.post_with(role, path, body, &[])
    }

    /// `POST` of JSON with a role's key and more headers.
    #[must_use]
    pub fn post_with(&self, role: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
        let mut request = agent().post(format!("{}{path}", self.url)).header("Content-Type", "application/json");
        if let Some(key) = self.keys[role].as_str() {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        reply(request.send(body.to_string()))
    }

    /// `POST` of any bytes as JSON with a role's key.
    #[must_use]
    pub fn post_bytes(&self, role: &str, path: &str, body: &[u8]) -> Reply {
        let mut request = agent().post(format!("{}{path}", self.url)).header("Content-Type", "application/json");
        if let Some(key) = self.keys[role].as_str() {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        reply(request.send(body))
    }

    /// A researcher's question at this rho.
    #[must_use]
    pub fn ask(&self, sql: &str, rho: &str) -> Reply {
        self.post("researcher", "/v1/statements", &json!({ "sql": sql, "privacy": { "rho": rho } }))
    }

    /// `GET /v1/budget` of the researcher.
    #[must_use]
    pub fn budget(&self) -> Value {
        self.get("researcher", "/v1/budget").json()
    }

    /// The audit rows, all of one page, as the board sees them.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        let found = self.get("board", "/v1/audit?limit=1000").json();
        found["entries"].as_array().cloned().unwrap_or_else(|| fail(&format!("no entries: {found}")))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary to its end over a data folder.
#[must_use]
pub fn run(data: &Path, args: &[&str]) -> Output {
    // What an audit remembers belongs to the test, not to the user.
    let state = data.with_file_name("state");
    let mut command = command();
    command.args(args).arg("--data").arg(data).env("XDG_STATE_HOME", state);
    command.output().unwrap_or_else(|e| fail(&e.to_string()))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn reply(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut response = match result {
        Ok(response) => response,
        // A server that refuses a large body answers and closes before the whole of it was sent.
        Err(ureq::Error::Io(e)) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            return Reply { status: 413, content_type: String::new(), bytes: Vec::new() };
        }
        Err(other) => fail(&other.to_string()),
    };
    let content_type =
        response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let bytes = response.body_mut().read_to_vec().unwrap_or_else(|e| fail(&e.to_string()));
    Reply { status: response.status().as_u16(), content_type, bytes }
}

/// Fails the test that runs.
#[expect(clippy::panic, reason = "this crate is tests alone; a failed step ends the test")]
pub fn fail(why: &str) -> ! {
    panic!("{why}")
}
