//! The audit log's commit latency beside a raw write and fdatasync of the same size on the same disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use epiledger_ledger::entry::AuditEntry;
use epiledger_ledger::entry::query::AccessDenied;
use epiledger_ledger::{Canonical, Log, NewEntry, NoteKey, StdFs};

use super::Failure;

/// Commits that are timed.
const COMMITS: usize = 500;

/// Bytes of a frame with one small entry, for the raw write beside it.
const FRAME: usize = 1_024;

/// p50 and p99 of both.
pub(super) fn latencies(scratch: &Path) -> Result<[(String, String); 2], Failure> {
    let origin = "bench.invalid/audit";
    let key = NoteKey::generate(origin).map_err(Failure::of)?;
    let log = Log::create(Arc::new(StdFs), &scratch.join("commit"), origin, key).map_err(Failure::of)?;
    let mut commits = Vec::with_capacity(COMMITS);
    for count in 0..COMMITS as u64 {
        let body = AccessDenied { principal: "bench".into(), route: "/v1/bench".into(), count };
        let entry = Canonical::of(&AuditEntry::AccessDenied(body)).map_err(Failure::of)?;
        let started = Instant::now();
        log.append(vec![NewEntry { entry, blobs: Vec::new() }]).map_err(Failure::of)?;
        commits.push(started.elapsed());
    }
    let mut file = File::create(scratch.join("raw")).map_err(Failure::of)?;
    let mut raw = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let started = Instant::now();
        file.write_all(&[7; FRAME]).and_then(|()| file.sync_data()).map_err(Failure::of)?;
        raw.push(started.elapsed());
    }
    Ok([
        ("audit log commit, p50 / p99".to_owned(), percentiles(commits)),
        (format!("raw write of {FRAME} bytes and fdatasync, p50 / p99"), percentiles(raw)),
    ])
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    format!("{:.2} ms / {:.2} ms", at(50), at(99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (0..100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentiles(times), "50.00 ms / 99.00 ms");
    }
}
