//! The published files of both logs, as C2SP tlog-tiles names them: `checkpoint`, `tile/..`, `tile/entries/..`; and
//! their blobs, `blob/<sha256>`, for those who may read them.
//!
//! The checkpoint is the published file, not the newest in memory: every tile it covers is on disk already.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::super::Server;
use super::super::error::Problem;
use super::path;

/// `GET /v1/audit/checkpoint`.
///
/// # Errors
/// 404 while nothing is published.
pub async fn audit_checkpoint(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    checkpoint(server, "audit").await
}

/// `GET /v1/ledger/checkpoint`.
///
/// # Errors
/// 404 while nothing is published.
pub async fn ledger_checkpoint(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    checkpoint(server, "ledger").await
}

/// `GET /v1/audit/tile/{*path}`.
///
/// # Errors
/// 404 when there is no such tile.
pub async fn audit_tile(
    State(server): State<Arc<Server>>,
    tile: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    self::tile(server, "audit", &path(tile)?).await
}

/// `GET /v1/ledger/tile/{*path}`.
///
/// # Errors
/// 404 when there is no such tile.
pub async fn ledger_tile(
    State(server): State<Arc<Server>>,
    tile: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    self::tile(server, "ledger", &path(tile)?).await
}

/// `GET /v1/audit/blob/{sha256}`.
///
/// # Errors
/// 404 when there is no such blob, or it was redacted.
pub async fn audit_blob(
    State(server): State<Arc<Server>>,
    sha256: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let sha256 = path(sha256)?;
    let found = server.off_thread(move |s| s.engine.audit().blob(&sha256)).await?;
    blob(found.map_err(|e| Problem::internal(&e))?)
}

/// `GET /v1/ledger/blob/{sha256}`.
///
/// # Errors
/// 404 when there is no such blob, or it was erased.
pub async fn ledger_blob(
    State(server): State<Arc<Server>>,
    sha256: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let sha256 = path(sha256)?;
    let found = server.off_thread(move |s| s.ledger().and_then(|ledger| ledger.blob(&sha256))).await?;
    blob(found.map_err(|e| Problem::internal(&e))?)
}

fn blob(found: Option<Vec<u8>>) -> Result<Response, Problem> {
    let bytes = found.ok_or_else(|| Problem::not_found("the log has no such blob, or it was erased"))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

async fn checkpoint(server: Arc<Server>, log: &str) -> Result<Response, Problem> {
    let file = folder(&server, log).join("checkpoint");
    let bytes = read(&server, file, "the log has published nothing yet").await?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, bytes).into_response())
}

async fn tile(server: Arc<Server>, log: &str, tile: &str) -> Result<Response, Problem> {
    if !is_tile(tile) {
        return Err(Problem::not_found("this isn't the address of a tile (C2SP tlog-tiles)"));
    }
    let file = folder(&server, log).join("tile").join(tile);
    let bytes = read(&server, file, "the log has no such tile; a partial one goes when the full one is there").await?;
    let forever = "public, max-age=31536000, immutable";
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, forever)];
    Ok((headers, bytes).into_response())
}

/// The folder of the ledger, or of the audit log that is written to.
fn folder(server: &Server, log: &str) -> PathBuf {
    if log == "audit" { server.engine.audit().dir().to_owned() } else { server.data.join(log) }
}

async fn read(server: &Arc<Server>, file: PathBuf, missing: &str) -> Result<Vec<u8>, Problem> {
    match server.off_thread(move |_| std::fs::read(file)).await? {
        Ok(bytes) => Ok(bytes),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
            Err(Problem::not_found(missing))
        }
        Err(e) => Err(Problem::internal(&e)),
    }
}

/// `<L or entries>/<x001>/../<067>[.p/<W>]`: the only paths that reach the disk.
fn is_tile(path: &str) -> bool {
    let Some((level, rest)) = path.split_once('/') else {
        return false;
    };
    // As the specification writes it: no sign, no leading zero.
    let number_in = |text: &str, range: std::ops::Range<u16>| {
        text.parse::<u16>().is_ok_and(|n| range.contains(&n) && n.to_string() == text)
    };
    let level_is_good = level == "entries" || number_in(level, 0..64);
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, Some(width)),
        None => (rest, None),
    };
    let width_is_good = width.is_none_or(|w| number_in(w, 1..256));
    let three = |part: &str| part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = number.split('/').rev();
    let last_is_good = parts.next().is_some_and(three);
    level_is_good && width_is_good && last_is_good && parts.all(|p| p.strip_prefix('x').is_some_and(three))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tile_addresses_reach_the_disk() {
        for good in ["0/000", "0/x001/234", "1/x123/x456/789", "0/000.p/5", "entries/000.p/255", "63/x001/000.p/1"] {
            assert!(is_tile(good), "{good}");
        }
        let bad = [
            "",
            "0",
            "0/",
            "64/000",
            "0/00",
            "0/0000",
            "0/x000",
            "0/001/002",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/+1",
            "entries/../../../keys/api.json",
            "0/../000",
            "0/x../000",
            "data/000",
            "0/000.p",
            "0/000.p/1/2",
            "+1/000",
            "00/000",
            "0/000.p/01",
        ];
        for bad in bad {
            assert!(!is_tile(bad), "{bad}");
        }
    }
}
