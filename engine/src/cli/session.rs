//! An engine with its server, run by this process: opened, started on a socket, stopped in order.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use epiledger_ingest::Schedule;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{Refusal, SERVER_FILE, ServerFile, read_key};
use super::exit::{Exit, Failure};
use crate::api::Principal;
use crate::config::{Settings, Timing};
use crate::open::OpenOptions;
use crate::query::Engine;
use crate::server::keys::{ApiKeys, write_private};
use crate::server::{self, ServeError, Server};
use crate::snapshots::follow;

/// Stack of each thread, reserved and not used: a question at the limits on nesting is planned by recursion.
const STACK: usize = 64 << 20;

/// How often the log is asked whether it can still be written.
const LOG_CHECK: Duration = Duration::from_millis(500);

/// An open data folder.
pub(super) struct Session {
    runtime: Runtime,
    /// The engine, its keys and the router's state.
    pub server: Arc<Server>,
    data: PathBuf,
    stopping: Arc<AtomicBool>,
}

/// A server under way.
pub(super) struct Running {
    /// Where it serves.
    pub url: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
    /// Ctrl-C and termination, listened for from the start: a stop right after the first words is in order too.
    signals: [Signal; 2],
    /// The lock on `server.json`: it says that this server lives.
    _alive: File,
}

/// A port that is taken, so that it can be used or refused before any work is done.
pub(super) struct Port {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes it; 0 is any free one.
    pub fn take(address: SocketAddr) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_io().build().map_err(Failure::of)?;
        let (listener, address) = runtime.block_on(server::bind(address)).map_err(|e| match e {
            ServeError::InUse { .. } => Failure::usage(e.to_string()),
            other => Failure::of(other),
        })?;
        Ok(Self { listener: listener.into_std().map_err(Failure::of)?, address })
    }
}

impl Session {
    /// Opens the folder; takes the audit log's lock, and compares the log with the pinned head where one is set.
    pub fn open(settings: &Settings, timing: Timing, demo: bool) -> Result<Self, Failure> {
        let data = &settings.data;
        let runtime = Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build().map_err(Failure::of)?;
        let pinned_head = settings.pinned_head()?;
        let options = OpenOptions { immediate: timing == Timing::Immediate, pinned_head };
        let engine = runtime.block_on(Engine::open(data, options))?;
        if let Err(frozen) = engine.writable() {
            let _ = writeln!(std::io::stderr(), "epiledger: warning: {}", Refusal::from(frozen));
        }
        let keys = ApiKeys::open(data).map_err(Failure::of)?;
        let server = Server::new(engine, keys, data.to_path_buf(), demo);
        Ok(Self { runtime, server, data: data.to_path_buf(), stopping: Arc::default() })
    }

    /// Serves on the port in the background; writes `server.json`. Newer snapshots are taken up, and cut where a
    /// schedule is given.
    pub fn start(&self, port: Port, schedule: Option<Schedule>) -> Result<Running, Failure> {
        let url = format!("http://{}", port.address);
        // What a demo left that was killed leads nowhere now.
        self.remove("client.json")?;
        self.write(SERVER_FILE, &ServerFile { url: url.clone(), pid: std::process::id() })?;
        let alive = ServerFile::hold(&self.data).map_err(Failure::of)?;
        let listener = {
            let _inside = self.runtime.enter();
            TcpListener::from_std(port.listener).map_err(Failure::of)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let app = Arc::clone(&self.server);
        let task = self.runtime.spawn(server::run(listener, app, async {
            // A dropped sender stops the server too.
            let _ = stopped.await;
        }));
        self.runtime.spawn(follow(Arc::clone(&self.server.engine), schedule, Arc::clone(&self.stopping)));
        let signals = {
            let _inside = self.runtime.enter();
            [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?]
        };
        Ok(Running { url, stop, task, signals, _alive: alive })
    }

    /// Waits for Ctrl-C or a termination signal, then stops. Stops by itself when the audit log can't be written: what
    /// is durable shows when the next start recovers it.
    pub fn serve_until_signal(&self, mut running: Running) -> Result<(), Failure> {
        let [interrupt, terminate] = &mut running.signals;
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = log_failed(&self.server) => {}
            }
        });
        self.stop(running)
    }

    /// Finishes what is under way, brings the log to a commit point and takes the address files away.
    pub fn stop(&self, running: Running) -> Result<(), Failure> {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = running.stop.send(());
        let ended = self.runtime.block_on(running.task);
        self.remove(SERVER_FILE)?;
        self.remove("client.json")?;
        ended.map_err(Failure::of)?.map_err(Failure::of)
    }

    /// Brings the log to a commit point, when nothing was served.
    pub fn close(self) -> Result<(), Failure> {
        Ok(self.server.engine.audit().flush()?)
    }

    /// Who a key file's key stands for.
    pub fn principal(&self, key_file: &Path) -> Result<Principal, Failure> {
        let key = self.server.keys.find(&read_key(key_file)?);
        let key = key.ok_or_else(|| {
            let message = format!("the key in {} isn't known here, has expired or was revoked", key_file.display());
            Failure::new(Exit::Auth, message)
        })?;
        Ok(self.server.principal(&key))
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        match std::fs::remove_file(self.data.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Failure::of(e)),
            _ => Ok(()),
        }
    }

    /// Writes a small JSON file of the data folder that only its owner reads.
    pub fn write(&self, name: &str, document: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(document).map_err(Failure::of)?;
        let path = self.data.join(name);
        write_private(&path, &text)
            .map_err(|e| Failure::new(Exit::Failure, format!("{} can't be written: {e}", path.display())))
    }
}

/// Must a command that appends open the folder itself? Only when it names no server and none runs there.
#[must_use]
pub(super) fn offline(settings: &Settings) -> bool {
    settings.url.is_none() && ServerFile::live(&settings.data).is_none()
}

async fn log_failed(server: &Server) {
    while server.engine.audit().failure().is_none() {
        tokio::time::sleep(LOG_CHECK).await;
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(Failure::of)
}
