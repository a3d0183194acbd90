//! Peak memory of processes of their own, as the kernel counts it (`VmHWM`): ingest, and a log's auditor and writer.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use epiledger_ledger::entry::key::{KeyRegister, Party};
use epiledger_ledger::entry::record::{NewRecord, Payload, Period, Seal};
use epiledger_ledger::{Log, NewEntry, NoteKey, SignedTransaction, StdFs, Transaction, tree::sha256};

use super::Failure;
use crate::open::hex;

/// How often the kernel is asked. The mark only rises, so the last answer is near the truth.
const EVERY: Duration = Duration::from_millis(10);

/// The log that is measured.
const ORIGIN: &str = "bench.invalid/ledger";

/// Entries submitted together.
const BATCH: u64 = 500;

/// Bytes of each record's payload.
const PAYLOAD: usize = 500;

/// KiB at the peak of ingesting `people` simulated people.
pub(super) fn of_ingest(data: &Path, people: u64) -> Result<u64, Failure> {
    let people = people.to_string();
    watch(start(&["ledger", "simulate", "--people", &people, "--data"], data)?)?;
    let peak = watch(start(&["ingest", "--data"], data)?);
    // 200,000 people take a few hundred MiB; the next size needs the room.
    std::fs::remove_dir_all(data).map_err(Failure::of)?;
    peak
}

/// KiB at the peaks of auditing a ledger of so many records, and of opening it for writing.
pub(super) fn of_log(dir: &Path, entries: u64) -> Result<(u64, u64), Failure> {
    write_log(dir, entries)?;
    let pin = dir.with_extension("pin");
    let pin = pin.to_str().ok_or_else(|| Failure::of("the bench's folder is not Unicode"))?;
    let audited = watch(start(&["audit", "verify", "--pin", pin], dir)?)?;
    let opened = watch(start(&["bench", "--open-log"], dir)?)?;
    std::fs::remove_dir_all(dir).map_err(Failure::of)?;
    Ok((audited, opened))
}

fn key() -> Result<NoteKey, Failure> {
    NoteKey::from_seed(ORIGIN, &[7; 32]).map_err(Failure::of)
}

/// Opens the log that [`of_log`] wrote, as its writer would, and closes it.
pub(super) fn open_log(dir: &Path) -> Result<(), Failure> {
    Log::open(Arc::new(StdFs), dir, key()?).map(drop).map_err(Failure::of)
}

/// Records by one hospital: two keys, and then signatures alone.
fn write_log(dir: &Path, entries: u64) -> Result<(), Failure> {
    let log = Log::create(Arc::new(StdFs), dir, ORIGIN, key()?).map_err(Failure::of)?;
    let (registrar, signer) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[7; 32]));
    log.append(vec![
        register(Party::Registrar, "r", &registrar, &registrar)?,
        register(Party::Hospital, "h", &signer, &registrar)?,
    ])
    .map_err(Failure::of)?;
    let mut next = 0;
    while next < entries {
        let end = (next + BATCH).min(entries);
        let batch = (next..end).map(|n| record(n, &signer)).collect::<Result<Vec<_>, _>>()?;
        log.append(batch).map_err(Failure::of)?;
        next = end;
    }
    log.flush().map_err(Failure::of)
}

fn register(party: Party, owner: &str, key: &SigningKey, by: &SigningKey) -> Result<NewEntry, Failure> {
    let public_key = hex(key.verifying_key().as_bytes());
    let body = KeyRegister { owner: owner.into(), party, public_key, from_height: 0 };
    SignedTransaction::sign(Transaction::KeyRegister(body), by).map(Into::into).map_err(Failure::of)
}

fn record(n: u64, signer: &SigningKey) -> Result<NewEntry, Failure> {
    let blob: Vec<u8> = n.to_be_bytes().into_iter().cycle().take(PAYLOAD).collect();
    let day = || "2024-01-01".to_owned();
    let body = NewRecord {
        record_id: format!("r{n}"),
        patient: format!("p{}", n % 1_000),
        provider: "h".into(),
        category: "general".into(),
        effective_period: Period { start: day(), end: day() },
        payload: Payload { sha256: hex(&sha256(&blob)), size: blob.len() as u64, seal: Seal::None, key_id: None },
    };
    let signed = SignedTransaction::sign(Transaction::NewRecord(body), signer).map_err(Failure::of)?;
    Ok(NewEntry { blobs: vec![blob], ..signed.into() })
}

/// This program, with these words and a folder after them.
fn start(arguments: &[&str], folder: &Path) -> Result<Child, Failure> {
    let program: PathBuf = std::env::current_exe().map_err(Failure::of)?;
    let mut command = Command::new(program);
    command.args(arguments).arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
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
