//! Peak memory of an ingest in a process of its own, as the kernel counts it (`VmHWM`).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Failure;

/// How often the kernel is asked. The mark only rises, so the last answer is near the truth.
const EVERY: Duration = Duration::from_millis(10);

/// KiB at the peak of ingesting `people` simulated people.
pub(super) fn of_ingest(data: &Path, people: u64) -> Result<u64, Failure> {
    let people = people.to_string();
    watch(start(data, &["ledger", "simulate", "--people", &people])?)?;
    let peak = watch(start(data, &["ingest"])?);
    // 200,000 people take a few hundred MiB; the next size needs the room.
    std::fs::remove_dir_all(data).map_err(Failure::of)?;
    peak
}

fn start(data: &Path, arguments: &[&str]) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(Failure::of)?;
    let mut command = Command::new(program);
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map_err(Failure::of)
}

fn watch(mut child: Child) -> Result<u64, Failure> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            peak = peak.max(high_water_mark(&text).unwrap_or(0));
        }
        match child.try_wait().map_err(Failure::of)? {
            None => std::thread::sleep(EVERY),
            Some(ended) if ended.success() => return Ok(peak),
            Some(ended) => return Err(Failure::of(format!("the measured process ended with {ended}"))),
        }
    }
}

/// KiB in a `/proc/<pid>/status` text.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_read_from_the_kernels_text() {
        assert_eq!(high_water_mark("VmPeak:\t  9 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 5 kB\n"), Some(1_234));
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(high_water_mark(&own).unwrap() > 1_000);
    }
}
