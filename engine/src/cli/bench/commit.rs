//! The audit log's commit latency and rate at several numbers of writers, beside a raw write and fdatasync of the same
//! size at the same place. The raw ones run before and after each log, when nothing of ours syncs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use epiledger_ledger::entry::AuditEntry;
use epiledger_ledger::entry::query::AccessDenied;
use epiledger_ledger::{Canonical, Log, NewEntry, NoteKey, StdFs};

use super::{Failure, Row, Scratch};

/// Writers that append at the same time, each one entry after the other.
const WRITERS: [usize; 4] = [1, 8, 64, 512];

/// How long each number of them writes.
const SPAN: Duration = Duration::from_secs(2);

/// Raw writes before and after each.
const RAW_WRITES: usize = 150;

/// Bytes of a frame with one small entry.
const FRAME: usize = 1_024;

/// What writers wait on at most, over the raw median, when there is one of them.
const MOST_OVER_RAW: f64 = 1.5;

/// What 512 writers reach at least: so many times the rate of one, or so many entries a second, whichever is less.
const LEAST_GAIN: f64 = 50.0;
const LEAST_RATE: f64 = 20_000.0;

/// Memory as a disk, where the system has it.
const TMPFS: &str = "/dev/shm";

/// Rows of the disk under `scratch`, and of memory.
pub(super) fn rows(scratch: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = at("disk", scratch)?;
    if Path::new(TMPFS).is_dir() {
        let memory = Scratch::under(Path::new(TMPFS))?;
        rows.extend(at("tmpfs", &memory.0)?);
    }
    Ok(rows)
}

fn at(place: &str, scratch: &Path) -> Result<Vec<Row>, Failure> {
    let mut raw = raw_writes(&scratch.join("raw-0"))?;
    let mut runs = Vec::new();
    for writers in WRITERS {
        runs.push((writers, write(&scratch.join(format!("commit-{writers}")), writers)?));
        raw.extend(raw_writes(&scratch.join(format!("raw-{writers}")))?);
    }
    raw.sort_unstable();
    let what = format!("{place}: raw write of {FRAME} bytes and fdatasync");
    let mut rows = vec![Row::new(what, format!("p50 {}, p99 {}", ms(part(&raw, 50)), ms(part(&raw, 99))))];
    let alone = runs.first().map_or(0.0, |(_, run)| run.rate());
    for (writers, run) in runs {
        let (median, rate) = (part(&run.waits, 50), run.rate());
        let over = median.as_secs_f64() / part(&raw, 50).as_secs_f64().max(1e-9);
        let mut figure =
            format!("p50 {}, p99 {}, {rate:.0} entries/s, p50 {over:.2} x raw", ms(median), ms(part(&run.waits, 99)));
        if writers == 1 {
            figure += &format!(" (at most {MOST_OVER_RAW})");
        }
        if Some(&writers) == WRITERS.last() {
            let wanted = LEAST_RATE.min(LEAST_GAIN * alone);
            figure += &format!(", {:.0} x one writer (at least {wanted:.0} entries/s)", rate / alone.max(1e-9));
        }
        rows.push(Row::new(format!("{place}: log, {writers} writing"), figure));
    }
    Ok(rows)
}

/// What some writers saw.
struct Run {
    /// Their waits, sorted.
    waits: Vec<Duration>,
    seconds: f64,
}

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "counts here are far under 2^53")]
    fn rate(&self) -> f64 {
        self.waits.len() as f64 / self.seconds.max(1e-9)
    }
}

/// Writes to a new log for [`SPAN`]; the log is published and closed when this returns.
fn write(dir: &Path, writers: usize) -> Result<Run, Failure> {
    let origin = "bench.invalid/audit";
    let key = NoteKey::generate(origin).map_err(Failure::of)?;
    let log = Log::create(Arc::new(StdFs), dir, origin, key).map_err(Failure::of)?;
    let body = AccessDenied { principal: "bench".into(), route: "/v1/bench".into(), count: 1 };
    let entry = Canonical::of(&AuditEntry::AccessDenied(body)).map_err(Failure::of)?;
    let started = Instant::now();
    let one = || -> Result<Vec<Duration>, epiledger_ledger::LogError> {
        let mut waits = Vec::new();
        while started.elapsed() < SPAN {
            let new = vec![NewEntry { entry: entry.clone(), blobs: Vec::new() }];
            let asked = Instant::now();
            log.append(new)?;
            waits.push(asked.elapsed());
        }
        Ok(waits)
    };
    let waits = std::thread::scope(|scope| -> Result<Vec<Duration>, Failure> {
        let mut threads = Vec::new();
        for _ in 0..writers {
            let thread = std::thread::Builder::new().stack_size(256 * 1024);
            threads.push(thread.spawn_scoped(scope, one).map_err(Failure::of)?);
        }
        let mut all = Vec::new();
        for thread in threads {
            let waits = thread.join().map_err(|_| Failure::of("a writer of the bench died"))?;
            all.append(&mut waits.map_err(Failure::of)?);
        }
        Ok(all)
    });
    let seconds = started.elapsed().as_secs_f64();
    let mut waits = waits?;
    waits.sort_unstable();
    log.flush().map_err(Failure::of)?;
    drop(log);
    std::fs::remove_dir_all(dir).map_err(Failure::of)?;
    Ok(Run { waits, seconds })
}

fn raw_writes(path: &PathBuf) -> Result<Vec<Duration>, Failure> {
    let mut file = File::create(path).map_err(Failure::of)?;
    (0..RAW_WRITES)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; FRAME]).and_then(|()| file.sync_data()).map_err(Failure::of)?;
            Ok(started.elapsed())
        })
        .collect()
}

/// The time at a percentage of sorted times.
fn part(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_of_the_sorted_times() {
        let times: Vec<_> = (0..100).map(Duration::from_millis).collect();
        assert_eq!((ms(part(&times, 50)), ms(part(&times, 99))), ("50.000 ms".to_owned(), "99.000 ms".to_owned()));
        assert_eq!(part(&[], 50), Duration::ZERO);
    }
}
