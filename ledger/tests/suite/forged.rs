//! Bytes that were edited in every file that a shallow check compares: only the signed root tells.

use std::{fs, path::Path, sync::Arc};

use epiledger_ledger::{
    AuditEntry, Canonical, Log, LogError, LogReader, StdFs,
    entry::Redaction,
    tree::{Hash, leaf_hash, node_hash, sha256},
    verify::{AuditOptions, Kind, audit},
};

use crate::folder::{AuditWriter, TestClock, copy, create, hex, key, salted};

/// Replaces text of the same length in a file; how often it stood there.
fn edit(path: &Path, from: &str, to: &str) -> usize {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(path).unwrap();
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    places.iter().for_each(|at| bytes[*at..*at + to.len()].copy_from_slice(to.as_bytes()));
    fs::write(path, bytes).unwrap();
    places.len()
}

/// The leaf hashes of a full bundle.
fn leaves(bundle: &Path) -> Vec<Hash> {
    let (bytes, mut at, mut leaves) = (fs::read(bundle).unwrap(), 0, Vec::new());
    while at < bytes.len() {
        let length = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        leaves.push(leaf_hash(&bytes[at + 2..at + 2 + length]));
        at += 2 + length;
    }
    leaves
}

fn fold(mut row: Vec<Hash>) -> Hash {
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}

fn corrupt(error: LogError) -> String {
    let LogError::Corrupt { file, reason } = error else { unreachable!("{error}") };
    format!("{file}: {reason}")
}

#[test]
fn an_edited_bundle_is_not_read_whether_its_tile_was_edited_too_or_not() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let writer = AuditWriter::new(&dir, Arc::new(TestClock::default()));
    (0..300).for_each(|_| writer.refuse());
    drop(writer);
    for (whole, tile) in [(false, "tile/entries/000: an entry"), (true, "tile/0/000: its hashes do not lead")] {
        let copied = root.path().join(format!("copy-{whole}"));
        copy(&dir, &copied);
        assert_eq!(edit(&copied.join("tile/entries/000"), "\"rho_cap\":\"0.5\"", "\"rho_cap\":\"9.5\""), 2);
        if whole {
            fs::write(copied.join("tile/0/000"), leaves(&copied.join("tile/entries/000")).concat()).unwrap();
        }
        let log = Log::open(Arc::new(StdFs), &copied, key("test.example/audit")).unwrap();
        let found = corrupt(log.read(0).unwrap_err());
        assert!(found.starts_with(tile), "{found}");
        drop(log);
        let reader = LogReader::open(&copied).unwrap();
        assert!(corrupt(reader.read(0).unwrap_err()).starts_with(tile));
        assert!(corrupt(reader.entries(0).next().unwrap().unwrap_err()).starts_with(tile));
        fs::remove_file(copied.join("tile/entries/000")).unwrap();
        assert!(corrupt(reader.read(0).unwrap_err()).contains("missing"));
    }
}

#[test]
fn an_entry_edited_with_every_tile_but_the_last_is_not_ingested() {
    // Past 65,536 entries a tile of level 1 is full, and stands under the root by one of level 2 alone.
    const ENTRIES: u64 = 66_000;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let log = create(&dir, "test.example/ledger", Arc::new(TestClock::default()));
    for first in (0..ENTRIES).step_by(10_000) {
        let entry = |n: u64| Canonical::of(&serde_json::json!({ "n": n })).unwrap().into();
        drop(log.submit((first..(first + 10_000).min(ENTRIES)).map(entry).collect()).unwrap());
    }
    log.flush().unwrap();
    drop(log);
    assert_eq!(
        LogReader::open(&dir).unwrap().entries(0).filter(Result::is_ok).count() as u64,
        LogReader::open(&dir).unwrap().size()
    );
    assert_eq!(edit(&dir.join("tile/entries/000"), "{\"n\":7}", "{\"n\":8}"), 1);
    let hashes = leaves(&dir.join("tile/entries/000"));
    fs::write(dir.join("tile/0/000"), hashes.concat()).unwrap();
    let mut above = fs::read(dir.join("tile/1/000")).unwrap();
    assert_eq!(above.len(), 256 * 32);
    above[..32].copy_from_slice(&fold(hashes));
    fs::write(dir.join("tile/1/000"), above).unwrap();
    let reader = LogReader::open(&dir).unwrap();
    let found = corrupt(reader.entries(0).find_map(Result::err).unwrap());
    assert!(found.contains("do not lead to the signed root"), "{found}");
    assert!(corrupt(reader.read(7).unwrap_err()).contains("do not lead to the signed root"));
}

#[test]
fn a_redaction_excuses_what_stands_before_it_alone() {
    let fault = |late: bool| {
        let dir = tempfile::tempdir().unwrap();
        let writer = AuditWriter::new(dir.path(), Arc::new(TestClock::default()));
        let (sha256_hex, blob) = salted("SELECT *");
        let approvers = ["one".into(), "two".into()];
        let redact = || {
            let redaction =
                Redaction { sha256: sha256_hex.clone(), basis: "court".into(), approvers: approvers.clone() };
            writer.append(AuditEntry::Redaction(redaction), vec![]);
        };
        if !late {
            redact();
        }
        writer.refuse();
        if late {
            redact();
        }
        let size = writer.log.size();
        drop(writer);
        // The blob is cut out of the pack, and the journal is what a published log may have.
        let pack = dir.path().join("blobs/000000.pack");
        let record = [b"ELB1".as_slice(), &(blob.len() as u32).to_be_bytes(), &sha256(&blob), &blob].concat();
        let bytes = fs::read(&pack).unwrap();
        let at = bytes.windows(record.len()).position(|window| window == record).unwrap();
        fs::write(&pack, [&bytes[..at], &bytes[at + record.len()..]].concat()).unwrap();
        fs::remove_file(dir.path().join("journal/00000000000000000000.seg")).unwrap();
        fs::write(dir.path().join(format!("journal/{size:020}.seg")), b"").unwrap();
        assert_eq!(hex(&sha256(&blob)), sha256_hex);
        audit(dir.path(), AuditOptions::default()).fault.map(|fault| fault.layer)
    };
    assert_eq!(fault(true), None);
    assert_eq!(fault(false), Some("blob"));
}

#[test]
fn a_fork_is_named_before_anything_is_hashed_again() {
    let root = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| {
        let dir = root.path().join(name);
        let log = create(&dir, "test.example/ledger", Arc::new(TestClock::default()));
        for n in 0..9 {
            log.append(vec![Canonical::of(&serde_json::json!({ "n": format!("{name} {n}") })).unwrap().into()])
                .unwrap();
        }
        let note = log.checkpoint().note;
        log.append(vec![Canonical::of(&serde_json::json!({ "n": "last" })).unwrap().into()]).unwrap();
        log.flush().unwrap();
        (dir, note)
    });
    let plain = AuditOptions { kind: Some(Kind::Ledger), ..AuditOptions::default() };
    let options = AuditOptions { pinned_heads: std::slice::from_ref(&one.1), ..plain };
    assert_eq!((audit(&one.0, options).fault, audit(&other.0, plain).fault), (None, None));
    // An entry that was edited is found by hashing all of them, which comes after.
    let bundle = files_of(&other.0);
    assert_eq!(edit(&bundle, "other 3", "other 4"), 1);
    let fault = audit(&other.0, options).fault.unwrap();
    assert_eq!(fault.layer, "pinned", "{fault}");
    let fault = audit(&other.0, plain).fault.unwrap();
    assert!(fault.layer == "entry" && fault.message.contains("the hash that the log signed"), "{fault}");
    // A tile that was edited shows no fork: it is named itself.
    let tile = one.0.join("tile/0/000.p/20");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let fault = audit(&one.0, options).fault.unwrap();
    assert_eq!((fault.layer, fault.what.as_str()), ("tile", "tile/0/000.p/20"), "{fault}");
}

/// The newest bundle of a log of fewer than 256 entries.
fn files_of(dir: &Path) -> std::path::PathBuf {
    let folder = dir.join("tile/entries/000.p");
    let width = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    crate::folder::files(&folder).into_iter().max_by_key(width).unwrap()
}
