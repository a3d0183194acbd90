//! One small demo folder for all tests of this binary, its server, and a key of each role.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use epiledger_engine::api::Role;
use epiledger_engine::open::{self, OpenOptions};
use epiledger_engine::query::Engine;
use epiledger_engine::server::handlers::keys::KeyRequest;
use epiledger_engine::server::keys::ApiKeys;
use epiledger_engine::server::{Server, router};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// People in the folder: enough for every county to have some.
const PEOPLE: u64 = 400;

/// The application under test.
pub struct App {
    /// The server behind the router.
    pub server: Arc<Server>,
    tokens: BTreeMap<Role, String>,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

/// A response, read whole.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request under construction.
pub struct Ask<'a> {
    app: &'a App,
    request: axum::http::request::Builder,
    body: Body,
}

impl App {
    pub fn get() -> &'static Self {
        static APP: OnceLock<App> = OnceLock::new();
        APP.get_or_init(|| Self::of(PEOPLE, 7))
    }

    /// An application of its own over so many people of this seed.
    pub fn of(people: u64, seed: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        open::create_demo(&data, people, seed, &mut |_| ()).unwrap();
        let options = OpenOptions { immediate: true, ..OpenOptions::default() };
        let engine = runtime.block_on(Engine::open(&data, options)).unwrap();
        let server = Server::new(engine, ApiKeys::open(&data).unwrap(), data, true);
        let tokens = Role::ALL.into_iter().map(|role| {
            let request = KeyRequest { principal: open::demo_principal(role).to_owned(), role, days: 1 };
            let made = server.create_key(&request, "test").unwrap();
            (role, made.token.expose_secret().to_owned())
        });
        let tokens = tokens.collect();
        Self { server, tokens, runtime, _folder: folder }
    }

    pub fn token(&self, role: Role) -> &str {
        &self.tokens[&role]
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { app: self, request: Request::builder().method(method).uri(path), body: Body::empty() }
    }

    pub fn read(&self, role: Role, path: &str) -> Reply {
        self.ask(Method::GET, path).role(role).send()
    }

    pub fn query(&self, body: &Value) -> Reply {
        self.ask(Method::POST, "/v1/statements").role(Role::Researcher).json(body).send()
    }

    /// Entries in the audit log.
    pub fn log_size(&self) -> u64 {
        self.server.engine.audit().size()
    }
}

impl Ask<'_> {
    pub fn role(self, role: Role) -> Self {
        let token = self.app.token(role).to_owned();
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: String) -> Self {
        self.body = Body::from(body);
        self
    }

    pub fn send(self) -> Reply {
        let request = self.request.body(self.body).unwrap();
        let app = router(Arc::clone(&self.app.server));
        self.app.run(async {
            let response = app.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            Reply { status: parts.status, headers: parts.headers, body }
        })
    }
}
