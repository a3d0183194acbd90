//! The audit log's commit latency and rate at several numbers of writers, beside a raw write and fdatasync of the same
//! size at the same place.
//!
//! Raw writes run while the log has nothing left to sync, a few at a time between a few commits of one writer: a disk's
//! syncs slow down by ten times when somebody else syncs too, and then they must for both.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use epiledger_ledger::entry::AuditEntry;
use epiledger_ledger::entry::query::AccessDenied;
use epiledger_ledger::{Canonical, Log, NewEntry, NoteKey, StdFs};

use super::{Failure, Row, Scratch};

/// Writers that append at the same time, each one entry after the other; the first is alone.
const WRITERS: [usize; 4] = [1, 8, 64, 512];

/// How long many of them write.
const SPAN: Duration = Duration::from_secs(2);

/// Raw writes and commits of one writer in turn: so many times so many of each.
const TURNS: usize = 20;
const A_TURN: usize = 25;

/// Bytes of a frame with one small entry.
const FRAME: usize = 1_024;

/// What writers wait on at most, over the raw median, when there is one of them.
const MOST_OVER_RAW: f64 = 1.5;

/// What 512 writers reach at least: so many times the rate of one, or so many entries a second, whichever is less.
const LEAST_GAIN: f64 = 50.0;
const LEAST_RATE: f64 = 20_000.0;

/// Memory as a disk, where the system has it.
const TMPFS: &str = "/dev/shm";
const TMPFS_NAME: &str = "tmpfs";

/// Rows of the disk under `scratch`, and of memory.
pub(super) fn rows(scratch: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = at("disk", scratch)?;
    if Path::new(TMPFS).is_dir() {
        let memory = Scratch::under(Path::new(TMPFS))?;
        rows.extend(at(TMPFS_NAME, &memory.0)?);
    }
    Ok(rows)
}

fn at(place: &str, scratch: &Path) -> Result<Vec<Row>, Failure> {
    let (alone, raw) = in_turn(scratch)?;
    let what = format!("{place}: raw write of {FRAME} bytes and fdatasync");
    let mut rows = vec![Row::new(what, raw.to_string())];
    let over = part(&alone.waits, 50).as_secs_f64() / part(&raw.waits, 50).as_secs_f64().max(1e-9);
    // Memory needs no sync: there the ratio is that of signing and two threads to a copy of bytes.
    let wanted = if place == TMPFS_NAME { String::new() } else { format!(" (at most {MOST_OVER_RAW})") };
    rows.push(Row::new(format!("{place}: log, 1 writing"), format!("{alone}, p50 {over:.2} x raw{wanted}")));
    for writers in WRITERS.into_iter().skip(1) {
        let run = together(&scratch.join(format!("commit-{writers}")), writers)?;
        let mut figure = format!("{run}, {:.0} x one writer", run.rate() / alone.rate().max(1e-9));
        if Some(&writers) == WRITERS.last() {
            figure += &format!(" (at least {:.0}/s)", LEAST_RATE.min(LEAST_GAIN * alone.rate()));
        }
        rows.push(Row::new(format!("{place}: log, {writers} writing"), figure));
    }
    Ok(rows)
}

/// What some writers saw.
struct Run {
    /// Their waits, sorted.
    waits: Vec<Duration>,
    /// How long they wrote, all together.
    seconds: f64,
}

impl Run {
    fn new(mut waits: Vec<Duration>, seconds: f64) -> Self {
        waits.sort_unstable();
        Self { waits, seconds }
    }

    /// Of one writer, who does nothing but wait.
    fn of_one(waits: Vec<Duration>) -> Self {
        let seconds = waits.iter().sum::<Duration>().as_secs_f64();
        Self::new(waits, seconds)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts here are far under 2^53")]
    fn rate(&self) -> f64 {
        self.waits.len() as f64 / self.seconds.max(1e-9)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |percent| part(&self.waits, percent).as_secs_f64() * 1e3;
        write!(f, "p50 {:.3} ms, p99 {:.3} ms, {:.0}/s", ms(50), ms(99), self.rate())
    }
}

fn new_log(dir: &Path) -> Result<Log, Failure> {
    let origin = "bench.invalid/audit";
    let key = NoteKey::generate(origin).map_err(Failure::of)?;
    Log::create(Arc::new(StdFs), dir, origin, key).map_err(Failure::of)
}

fn new_entry() -> Result<NewEntry, Failure> {
    let body = AccessDenied { principal: "bench".into(), route: "/v1/bench".into(), count: 1 };
    let entry = Canonical::of(&AuditEntry::AccessDenied(body)).map_err(Failure::of)?;
    Ok(NewEntry { entry, blobs: Vec::new() })
}

/// One writer and raw writes in turn.
fn in_turn(scratch: &Path) -> Result<(Run, Run), Failure> {
    let dir = scratch.join("commit-1");
    let (log, entry) = (new_log(&dir)?, new_entry()?);
    let mut file = File::create(scratch.join("raw")).map_err(Failure::of)?;
    let (mut waits, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        for _ in 0..A_TURN {
            let started = Instant::now();
            file.write_all(&[7; FRAME]).and_then(|()| file.sync_data()).map_err(Failure::of)?;
            raw.push(started.elapsed());
        }
        for _ in 0..A_TURN {
            let new = vec![entry.clone()];
            let started = Instant::now();
            log.append(new).map_err(Failure::of)?;
            waits.push(started.elapsed());
        }
        log.flush().map_err(Failure::of)?;
    }
    drop(log);
    std::fs::remove_dir_all(dir).map_err(Failure::of)?;
    Ok((Run::of_one(waits), Run::of_one(raw)))
}

/// Many writers to a new log for [`SPAN`]; it is published and closed when this returns.
fn together(dir: &Path, writers: usize) -> Result<Run, Failure> {
    let (log, entry) = (new_log(dir)?, new_entry()?);
    let started = Instant::now();
    let one = || -> Result<Vec<Duration>, epiledger_ledger::LogError> {
        let mut waits = Vec::new();
        while started.elapsed() < SPAN {
            let new = vec![entry.clone()];
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
    })?;
    let seconds = started.elapsed().as_secs_f64();
    log.flush().map_err(Failure::of)?;
    drop(log);
    std::fs::remove_dir_all(dir).map_err(Failure::of)?;
    Ok(Run::new(waits, seconds))
}

/// The time at a percentage of sorted times.
fn part(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_of_the_sorted_times() {
        let run = Run::of_one((0..100).rev().map(Duration::from_millis).collect());
        assert_eq!(run.to_string(), "p50 50.000 ms, p99 99.000 ms, 20/s");
        assert_eq!(part(&[], 50), Duration::ZERO);
    }
}
