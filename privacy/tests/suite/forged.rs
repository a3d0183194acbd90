//! A budget is folded from what the log signed, not from what its files were made to say.

use std::{fs, path::Path, sync::Arc};

use epiledger_ledger::{
    Log, LogError, NewEntry, NoteKey, StdFs,
    entry::{AccessDenied, AuditEntry},
    tree::leaf_hash,
};
use epiledger_privacy::accountant::{Accountant, AccountantError};

use super::setup::rules;

fn open(dir: &Path) -> Result<Arc<Accountant>, AccountantError> {
    let key = NoteKey::from_seed("test/audit", &[1; 32]).unwrap();
    Accountant::open(Arc::new(Log::open(Arc::new(StdFs), dir, key).unwrap()))
}

#[test]
fn a_cap_that_was_raised_in_a_full_bundle_and_its_tile_opens_no_budget() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("audit");
    let key = NoteKey::from_seed("test/audit", &[1; 32]).unwrap();
    let log = Log::create(Arc::new(StdFs), &dir, "test/audit", key).unwrap();
    let accountant = Accountant::open(Arc::new(log)).unwrap();
    for entry in rules(["0.5"; 4], "1") {
        accountant.record(entry, Vec::new()).unwrap();
    }
    let denied = AuditEntry::AccessDenied(AccessDenied { principal: "ada".into(), route: "/v1".into(), count: 1 });
    let denied = || NewEntry { entry: denied.to_canonical().unwrap(), blobs: Vec::new() };
    accountant.log().append((0..300).map(|_| denied()).collect()).unwrap();
    accountant.log().flush().unwrap();
    drop(accountant);
    assert_eq!(open(&dir).unwrap().policy().unwrap().entry.terms.rho_cap, "0.5");

    let bundle = dir.join("tile/entries/000");
    let text = fs::read(&bundle).unwrap();
    let (from, to) = (b"\"rho_cap\":\"0.5\"", b"\"rho_cap\":\"9.5\"");
    let mut edited = text.clone();
    for at in (0..text.len() - from.len()).filter(|at| text[*at..].starts_with(from)) {
        edited[at..at + to.len()].copy_from_slice(to);
    }
    assert_ne!(edited, text);
    let (mut at, mut hashes) = (0, Vec::new());
    while at < edited.len() {
        let length = usize::from(u16::from_be_bytes([edited[at], edited[at + 1]]));
        hashes.extend(leaf_hash(&edited[at + 2..at + 2 + length]));
        at += 2 + length;
    }
    fs::write(&bundle, edited).unwrap();
    for tile_too in [false, true] {
        if tile_too {
            fs::write(dir.join("tile/0/000"), &hashes).unwrap();
        }
        let found = open(&dir).map(|_| ()).unwrap_err();
        assert!(matches!(found, AccountantError::Log(LogError::Corrupt { .. })), "{found}");
    }
}
