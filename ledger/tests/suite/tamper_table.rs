//! What can be done to the folder of a log of 200 entries, and which layer of the audit names it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use epiledger_ledger::{
    FolderSource, FollowError, Log, Mirror, MirrorError, StdFs,
    entry::key::Party,
    verify::{AuditOptions, audit},
};

use crate::{
    folder::{TestClock, copy, create, files, grant, key, record, register},
    verifiers,
};

const ORIGIN: &str = "test.example/ledger";

/// Every so manieth byte of each file is flipped; 1 for a night.
fn stride() -> usize {
    std::env::var("EPILEDGER_TAMPER_STRIDE").map_or(37, |stride| stride.parse().unwrap())
}

/// The verifiers are processes: they are asked about every so manieth byte.
const VERIFIER_STRIDE: usize = 1_499;

/// 200 entries: keys, a grant and records with payloads; `suffix` makes the last hundred other ones.
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
    let id = |n| format!("{}{n}", if n < 100 { "same" } else { suffix });
    log.append((log.size()..199).map(|n| record(&id(n), "p", id(n).as_bytes(), 2)).collect()).unwrap();
    log.flush().unwrap();
    assert_eq!(log.size(), 200);
    log
}

/// The layer that finds a fault; none when nothing is found.
fn layer(dir: &Path, heads: &[String]) -> Option<&'static str> {
    audit(dir, AuditOptions { pinned_heads: heads, ..AuditOptions::default() }).fault.map(|fault| fault.layer)
}

/// The layer at which a mirror that has followed `dir` so far refuses `other` in its place.
fn mirror_layer(mirror: &Path, dir: &Path, other: &Path) -> Option<&'static str> {
    let sync = |from: &Path| {
        let key = key(ORIGIN).verifier_key();
        Mirror::open(Arc::new(StdFs), mirror, &key, false).unwrap().sync(&FolderSource::new(from), &|_, _| {})
    };
    sync(dir).unwrap();
    match sync(other) {
        Err(MirrorError::Follow(FollowError::Fault(fault))) => Some(fault.layer),
        Err(other) => unreachable!("no fault of the log: {other}"),
        Ok(_) => None,
    }
}

/// How often an act was done, and how often each of the two independent verifiers was asked and refused.
#[derive(Default)]
struct Count {
    times: u64,
    python: u64,
    go: u64,
}

/// Acts by the layer that found them.
#[derive(Default)]
struct Table(BTreeMap<(String, &'static str), Count>);

impl Table {
    /// An act that must be found; gives its count.
    fn found(&mut self, act: &str, layer: Option<&'static str>) -> &mut Count {
        assert!(layer.is_some(), "{act}: not found");
        let count = self.0.entry((act.to_owned(), layer.unwrap_or_default())).or_default();
        count.times += 1;
        count
    }

    /// An act on a file, found by the auditor, and by the verifiers.
    fn on_file(&mut self, act: &str, dir: &Path, role: &str, with_python: bool) {
        let count = self.found(act, layer(dir, &[]));
        // Key, head and tree are theirs.
        if ["blobs", "journal"].contains(&role) {
            return;
        }
        for (name, output) in verifiers::verify(dir, with_python) {
            assert_eq!(output.status.code(), Some(1), "{name} takes it: {act}");
            *(if name == "python" { &mut count.python } else { &mut count.go }) += 1;
        }
    }

    /// One bit flipped of every byte of a file from `first` on, so many apart.
    fn flip(&mut self, dir: &Path, file: &Path, first: usize, apart: usize) {
        let (bytes, role) = (fs::read(file).unwrap(), role(dir, file));
        let (act, open) = (format!("a byte flipped in {role}"), File::options().write(true).open(file).unwrap());
        let mut asked = 0;
        for at in (first..bytes.len()).step_by(apart) {
            open.write_all_at(&[bytes[at] ^ (1 << (at % 8))], at as u64).unwrap();
            if at >= asked * VERIFIER_STRIDE {
                self.on_file(&act, dir, &role, asked == 0);
                asked += 1;
            } else {
                self.found(&act, layer(dir, &[]));
            }
            open.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }

    fn add(&mut self, other: Self) {
        for (act, Count { times, python, go }) in other.0 {
            let count = self.0.entry(act).or_default();
            (count.times, count.python, count.go) = (count.times + times, count.python + python, count.go + go);
        }
    }

    /// An act that nothing in the folder shows.
    fn not_found(&mut self, act: &str, layer: Option<&'static str>) {
        assert_eq!(layer, None, "{act}");
        self.0.entry((act.to_owned(), "not found")).or_default().times += 1;
    }

    fn print(&self) {
        println!("shown: {:<62} {:<12} {:>6} {:>6} {:>6}", "what was done", "found by", "times", "python", "go");
        for ((act, layer), Count { times, python, go }) in &self.0 {
            println!("shown: {act:<62} {layer:<12} {times:>6} {python:>6} {go:>6}");
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

/// Flips bytes of each file, on all cores, each in a copy of the folder of its own.
fn flip_bytes(dir: &Path) -> Table {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = |core: usize| {
        let (mut table, copied) = (Table::default(), dir.with_extension(core.to_string()));
        copy(dir, &copied);
        for (number, file) in log_files(&copied).iter().enumerate() {
            let first = number % stride().min(fs::read(file).unwrap().len());
            table.flip(&copied, file, first + core * stride(), cores * stride());
        }
        assert_eq!(layer(&copied, &[]), None, "all was put back");
        table
    };
    let mut table = Table::default();
    std::thread::scope(|scope| {
        let cores: Vec<_> = (0..cores).map(|core| scope.spawn(move || share(core))).collect();
        cores.into_iter().for_each(|core| table.add(core.join().unwrap()));
    });
    table
}

/// The files that hold the log: all but the lock.
fn log_files(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|file| !file.ends_with("lock")).collect()
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
    let [seen, later] = ["seen", "later"].map(|name| temporary.path().join(name));
    let log = long_ledger(&dir, "suffix");
    let (head, entries) = (log.checkpoint().note, [120, 121].map(|index| log.read(index).unwrap()));
    drop(log);
    assert_eq!(layer(&dir, &[]), None);
    let mut table = flip_bytes(&dir);
    let files = log_files(&dir);
    for file in &files {
        let (bytes, role) = (fs::read(file).unwrap(), role(&dir, file));
        for length in [0, bytes.len() / 2, bytes.len() - 1] {
            fs::write(file, &bytes[..length]).unwrap();
            table.on_file(&format!("{role} cut"), &dir, &role, length == 0);
        }
        // A partial tile may go as soon as a wider one stands beside it: nothing refers to it any more.
        let wider = |other: &PathBuf| {
            let width = |path: &Path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().ok();
            other.parent() == file.parent() && width(other) > width(file)
        };
        let replaced = file.to_str().unwrap().contains(".p/") && files.iter().any(wider);
        fs::remove_file(file).unwrap();
        if !replaced {
            table.on_file(&format!("{role} deleted"), &dir, &role, true);
        }
        if entries.iter().all(|entry| bytes.windows(entry.len()).any(|window| window == entry)) {
            fs::write(file, swap(&bytes, &entries[0], &entries[1])).unwrap();
            table.on_file(&format!("two entries swapped in {role}"), &dir, &role, true);
        }
        fs::write(file, &bytes).unwrap();
    }
    assert_eq!(layer(&dir, &[]), None, "all was put back");

    // Swapped everywhere, as one who has no key can: the checkpoint's root remains.
    copy(&dir, &seen);
    copy(&dir, &later);
    for file in &files {
        let bytes = fs::read(file).unwrap();
        fs::write(file, swap(&bytes, &entries[0], &entries[1])).unwrap();
    }
    table.on_file("two entries swapped in all files", &dir, "tile", true);

    // What has the right key's signature is found by what an auditor or a mirror has seen before, and by nothing else.
    let pin = std::slice::from_ref(&head);
    assert_eq!(layer(&seen, pin), None);
    let log = Log::open(Arc::new(StdFs), &later, key(ORIGIN)).unwrap();
    let newer = log.append(vec![grant("p", 3)]).unwrap().checkpoint.note;
    log.flush().unwrap();
    drop(log);
    for (act, suffix, followed, pin) in [
        ("an old folder replayed", "suffix", &later, newer),
        ("a suffix rewritten and signed with the right key", "other", &seen, head.clone()),
    ] {
        let at = |what: &str| temporary.path().join(format!("{what} {suffix}"));
        drop(long_ledger(&at("changed"), suffix));
        table.not_found(&format!("{act}: nothing pinned"), layer(&at("changed"), &[]));
        table.found(&format!("{act}: a head pinned"), layer(&at("changed"), &[pin]));
        table.found(&format!("{act}: before a mirror"), mirror_layer(&at("mirror"), followed, &at("changed")));
        for (name, output) in verifiers::verify(&at("changed"), true) {
            assert!(output.status.success(), "{name}: to them, too, the folder is right in itself");
        }
    }
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    println!(
        "shown: one byte in {} was flipped of a log's {bytes}; each byte of smaller logs is in tamper.rs",
        stride()
    );
    table.print();
}
