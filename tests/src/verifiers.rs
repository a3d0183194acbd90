//! The programs under `tests/verifiers`, in Python and Go, which share no line with ours. Where a language is missing, a
//! test says so and does without; with `EPILEDGER_REQUIRE=all` it fails.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

use crate::{fail, skip::skip};

/// Debian's place for Go packages.
const GO_PATH: &str = "/usr/share/gocode";

fn folder() -> &'static Path {
    Path::new("verifiers")
}

/// Runs a script of Python's standard library; `None` where Python is missing.
#[must_use]
pub fn python(script: &str, argument: &Path) -> Option<Output> {
    crate::python()?.arg(folder().join(script)).arg(argument).output().ok()
}

/// A Go program, compiled once; `None` where Go or its packages are missing.
#[must_use]
pub fn go(program: &str) -> Option<PathBuf> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let packages = Path::new(GO_PATH).join("src/golang.org/x/mod/sumdb/tlog").exists();
    let compiler = Command::new("go").arg("version").output().is_ok();
    if !packages || !compiler {
        skip("the programs in Go need Debian's golang and golang-golang-x-mod-dev");
        return None;
    }
    let temporary = std::env::temp_dir();
    let binary = temporary.join(format!("epiledger-{program}-{}", std::process::id()));
    if !binary.exists() {
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(folder().join(program).with_extension("go"))
            .envs([("GO111MODULE", "off"), ("GOPATH", GO_PATH), ("GOFLAGS", ""), ("CGO_ENABLED", "0")])
            .env("GOCACHE", temporary.join("epiledger-go-cache"))
            .output()
            .unwrap_or_else(|error| fail(&error.to_string()));
        if !built.status.success() {
            fail(&String::from_utf8_lossy(&built.stderr));
        }
    }
    Some(binary)
}

/// Each verifier that can run, and what it says of a log's folder.
#[must_use]
pub fn verify(dir: &Path) -> Vec<(&'static str, Output)> {
    let go = go("verify").and_then(|program| Command::new(program).arg(dir).output().ok());
    let python = python("verify.py", dir);
    [("python", python), ("go", go)].into_iter().filter_map(|(name, output)| Some((name, output?))).collect()
}
