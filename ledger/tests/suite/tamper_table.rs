//! What can be done to the folder of a log of 200 entries, and which layer of the audit names it.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use epiledger_ledger::{
    Log, StdFs,
    entry::key::Party,
    verify::{AuditOptions, audit},
};

use crate::folder::{TestClock, copy, create, files, grant, key, record, register};

const ORIGIN: &str = "test.example/ledger";

/// Every so manieth byte of each file is flipped; 1 for a night.
fn stride() -> usize {
    std::env::var("EPILEDGER_TAMPER_STRIDE").map_or(1_499, |stride| stride.parse().unwrap())
}

/// 200 entries: keys, grants and records with payloads, blocks of twenty; `suffix` makes the last hundred other ones.
fn long_ledger(dir: &Path, suffix: &str) -> Log {
    let log = create(dir, ORIGIN, Arc::new(TestClock::default()));
    log.append(vec![
        register(Party::Registrar, "r", 1, 1),
        register(Party::Hospital, "h", 2, 1),
        register(Party::Patient, "p", 3, 2),
        grant("p", 3),
    ])
    .unwrap();
    log.flush().unwrap();
    while log.size() < 200 {
        let first = log.size();
        let kind = if first < 100 { "same" } else { suffix };
        let id = |n: u64| format!("{kind}{n}");
        let batch = (first..(first + 19).min(199)).map(|n| record(&id(n), "p", id(n).repeat(9).as_bytes(), 2));
        log.append(batch.collect()).unwrap();
        log.flush().unwrap();
    }
    assert_eq!(log.size(), 200);
    log
}

/// The layer that finds a fault; none when nothing is found.
fn layer(dir: &Path, heads: &[String]) -> Option<&'static str> {
    audit(dir, AuditOptions { pinned_heads: heads, ..AuditOptions::default() }).fault.map(|fault| fault.layer)
}

/// How often each act was found by each layer.
#[derive(Default)]
struct Table(BTreeMap<(String, &'static str), u64>);

impl Table {
    /// An act that must be found.
    fn found(&mut self, act: &str, dir: &Path, heads: &[String]) {
        let layer = layer(dir, heads);
        assert!(layer.is_some(), "{act} in {}: not found", dir.display());
        *self.0.entry((act.to_owned(), layer.unwrap_or_default())).or_default() += 1;
    }

    fn print(&self) {
        for ((act, layer), count) in &self.0 {
            println!("{act:<55} {layer:<12} {count}");
        }
    }
}

/// What a file is to the log, for the table.
fn role(dir: &Path, file: &Path) -> String {
    let name = file.strip_prefix(dir).unwrap().to_str().unwrap();
    ["tile/entries", "tile", "blobs", "journal"]
        .iter()
        .find(|kind| name.starts_with(*kind))
        .unwrap_or(&name)
        .to_string()
}

/// Swaps entries 120 and 121 wherever their bytes stand side by side, which keeps all lengths.
fn swap(bytes: &[u8], one: &[u8], other: &[u8]) -> Vec<u8> {
    let framed = |entry: &[u8]| [&u16::try_from(entry.len()).unwrap().to_be_bytes(), entry].concat();
    let (before, after) = ([framed(one), framed(other)].concat(), [framed(other), framed(one)].concat());
    let mut swapped = bytes.to_vec();
    if let Some(at) = bytes.windows(before.len()).position(|window| window == before) {
        swapped[at..at + before.len()].copy_from_slice(&after);
    }
    swapped
}

#[test]
fn every_act_on_a_log_of_200_entries_is_found_and_the_layer_named() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("log");
    let old = temporary.path().join("old");
    let log = long_ledger(&dir, "suffix");
    let (head, entries) = (log.checkpoint().note, [120, 121].map(|index| log.read(index).unwrap()));
    drop(log);
    assert_eq!(layer(&dir, &[]), None);
    let mut table = Table::default();
    let files: Vec<_> = files(&dir).into_iter().filter(|file| !file.ends_with("lock")).collect();
    for (number, file) in files.iter().enumerate() {
        let (bytes, role) = (fs::read(file).unwrap(), role(&dir, file));
        for at in (number % stride().min(bytes.len())..bytes.len()).step_by(stride()) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(file, changed).unwrap();
            table.found(&format!("a byte flipped in {role}"), &dir, &[]);
        }
        for length in [0, bytes.len() / 2, bytes.len() - 1] {
            fs::write(file, &bytes[..length]).unwrap();
            table.found(&format!("{role} cut"), &dir, &[]);
        }
        // A partial tile may go as soon as a wider one stands beside it: nothing refers to it any more.
        let wider = |other: &std::path::PathBuf| {
            let width = |path: &Path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().ok();
            other.parent() == file.parent() && width(other) > width(file)
        };
        let replaced = file.to_str().unwrap().contains(".p/") && files.iter().any(wider);
        fs::remove_file(file).unwrap();
        if !replaced {
            table.found(&format!("{role} deleted"), &dir, &[]);
        }
        if entries.iter().all(|entry| bytes.windows(entry.len()).any(|window| window == entry)) {
            fs::write(file, swap(&bytes, &entries[0], &entries[1])).unwrap();
            table.found(&format!("two entries swapped in {role}"), &dir, &[]);
        }
        fs::write(file, &bytes).unwrap();
    }
    assert_eq!(layer(&dir, &[]), None, "all was put back");

    // Swapped everywhere, as one who has no key can: the checkpoint's root remains.
    copy(&dir, &old);
    for file in &files {
        let bytes = fs::read(file).unwrap();
        fs::write(file, swap(&bytes, &entries[0], &entries[1])).unwrap();
    }
    table.found("two entries swapped in all files", &dir, &[]);

    // What has the right key's signature is found by what an auditor has seen before, and by nothing else.
    let pin = std::slice::from_ref(&head);
    assert_eq!(layer(&old, pin), None);
    let log = Log::open(Arc::new(StdFs), &old, key(ORIGIN)).unwrap();
    let newer = log.append(vec![grant("p", 3)]).unwrap().checkpoint.note;
    drop(log);
    let replayed = temporary.path().join("replayed");
    drop(long_ledger(&replayed, "suffix"));
    assert_eq!(layer(&replayed, &[]), None, "an old folder is right in itself");
    table.found("an old folder replayed, against a pinned head", &replayed, &[newer]);
    let rewritten = temporary.path().join("rewritten");
    drop(long_ledger(&rewritten, "other"));
    assert_eq!(layer(&rewritten, &[]), None, "a rewritten log is right in itself");
    table.found("a suffix rewritten and signed, against a pinned head", &rewritten, pin);
    table.print();
}
