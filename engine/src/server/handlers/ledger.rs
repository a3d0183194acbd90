//! A hospital's way to the ledger: transactions in, and the records that patients opened to it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use epiledger_ledger::entry::key::Party;
use epiledger_ledger::entry::{AuditEntry, ReadRequest, RecordRead};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Server;
use super::super::error::Problem;
use super::super::permission::Route;
use super::{body, path};
use crate::chain::{ChainError, OpenRecord, read_commitment};

/// Largest body of a transaction, bytes: a payload is at most 32 MiB unpacked, and far less packed.
pub const MAX_TRANSACTION: usize = 16 * 1024 * 1024;

/// The body of `POST /v1/ledger/transactions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The signed entry, canonical JSON as text.
    pub entry: String,
    /// The blobs that it names, base64.
    #[serde(default)]
    pub blobs: Vec<String>,
}

impl From<ChainError> for Problem {
    fn from(error: ChainError) -> Self {
        let unprocessable = |code: &str| Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, error.to_string());
        match &error {
            ChainError::Malformed(_) => Self::bad_request(error.to_string()),
            ChainError::Key(fault) => unprocessable(fault.code()),
            ChainError::Blobs(_) => unprocessable("BLOBS"),
            ChainError::Payload(_) => unprocessable("PAYLOAD"),
            ChainError::Erasure => unprocessable("ERASURE"),
            ChainError::Duplicate => Self::new(StatusCode::CONFLICT, "DUPLICATE_RECORD", error.to_string()),
            ChainError::Copy => Self::new(StatusCode::CONFLICT, "LEDGER_COPY", error.to_string()),
            ChainError::Unsigned => Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", error.to_string())
                .hint("sign each request with the party's ledger key, by a clock that is right within five minutes"),
            ChainError::Nothing => Self::not_found(error.to_string()),
            ChainError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error.to_string()),
            ChainError::Log(_) | ChainError::Ingest(_) => Self::internal(&error),
        }
    }
}

/// `POST /v1/ledger/transactions`: the transaction's own signature is its authority.
///
/// # Errors
/// 400 on a malformed body, 409 and 422 where the ledger would not count it, 503 while another process appends. Nothing
/// is on the ledger then.
pub async fn submit(
    State(server): State<Arc<Server>>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let submission = body::<Submission>(bytes)?;
    let blobs = submission.blobs.iter().map(|blob| BASE64_STANDARD.decode(blob)).collect::<Result<Vec<_>, _>>();
    let blobs = blobs.map_err(|e| Problem::bad_request(format!("a blob isn't base64: {e}")))?;
    let appended = server.off_thread(move |s| s.chain.append(submission.entry.into_bytes(), blobs)).await??;
    let body = json!({ "index": appended.index, "proof": appended.proof });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /v1/ledger/patients/{id}/records`: payloads and wrapped keys, to whom they are open; logged before they leave.
///
/// # Errors
/// 401 when the request isn't signed by a registered key, 404 when nothing is open to its owner.
pub async fn records(
    State(server): State<Arc<Server>>,
    patient: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let patient = path(patient)?;
    let line = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let request = line.and_then(ReadRequest::parse).ok_or(ChainError::Unsigned)?;
    server.off_thread(move |s| read(s, &patient, &request)).await?
}

fn read(server: &Server, patient: &str, request: &ReadRequest) -> Result<Response, Problem> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // A patient's id never stands on the audit log in the clear.
    let reader = if request.party == Party::Patient { "patient".to_owned() } else { request.name() };
    let log = |open: &[OpenRecord]| -> Result<(), Problem> {
        let (commit, blob) = read_commitment(patient, open);
        let entry = AuditEntry::RecordRead(RecordRead { reader: reader.clone(), commit });
        server.engine.act_with(entry, vec![blob])?;
        Ok(())
    };
    match server.chain.records::<Problem>(patient, request, now, log) {
        Ok(open) => Ok(Json(json!({ "patient": patient, "records": shown(&open) })).into_response()),
        Err(problem) => {
            if problem.status == StatusCode::NOT_FOUND.as_u16() {
                server.engine.denied(&reader, Route::PatientRecords.path())?;
            }
            Err(problem)
        }
    }
}

fn shown(open: &[OpenRecord]) -> Vec<Value> {
    let base64 = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes));
    let record = |r: &OpenRecord| {
        json!({
            "index": r.index, "record_id": r.record_id, "provider": r.provider, "category": r.category,
            "effective_period": r.effective_period, "payload": r.payload, "bytes": base64(&r.bytes),
            "grant": r.grant, "wrap": base64(&r.wrap),
        })
    };
    open.iter().map(record).collect()
}
