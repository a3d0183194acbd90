//! Raw Ed25519 and SHA-256 over a ledger's own bytes, on as many threads as the machine has: what verification can't beat.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use epiledger_ledger::{LedgerEntry, LogReader, parse_ledger_entry};
use sha2::{Digest, Sha256};

use super::Failure;

/// Seconds of raw work over one ledger.
pub(super) struct Raw {
    /// Entries.
    pub(super) entries: u64,
    /// One signature an entry: the key is read from its bytes, then `verify_strict`.
    pub(super) ed25519: f64,
    /// Each entry and each blob hashed once.
    pub(super) sha256: f64,
    /// Each entry parsed and its own signature verified, as ingest does.
    pub(super) signatures: f64,
}

impl Raw {
    /// Name and seconds of the slower one.
    pub(super) fn slower(&self) -> (&'static str, f64) {
        if self.ed25519 > self.sha256 { ("Ed25519", self.ed25519) } else { ("SHA-256", self.sha256) }
    }
}

/// Times both over all entries of a ledger's folder.
pub(super) fn raw(ledger: &Path) -> Result<Raw, Failure> {
    let reader = LogReader::open(ledger).map_err(Failure::of)?;
    let (mut signed, mut hashed) = (Vec::new(), Vec::new());
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = key.verifying_key().to_bytes();
    for stored in reader.entries(0) {
        let (_, entry, blobs) = stored.map_err(Failure::of)?;
        let signature: Signature = key.sign(&entry);
        hashed.extend(blobs);
        hashed.push(entry.clone());
        signed.push((entry, signature));
    }
    let verify = |(entry, signature): &(Vec<u8>, Signature)| {
        let key = VerifyingKey::from_bytes(black_box(&public));
        black_box(key.is_ok_and(|key| key.verify_strict(entry, signature).is_ok()));
    };
    let hash = |bytes: &Vec<u8>| {
        black_box(Sha256::digest(bytes));
    };
    let parsed = |(entry, _): &(Vec<u8>, Signature)| {
        black_box(match parse_ledger_entry(entry) {
            Ok(LedgerEntry::Transaction(transaction)) => transaction.verify_signature().is_ok(),
            Ok(LedgerEntry::Block(_)) | Err(_) => false,
        });
    };
    Ok(Raw {
        entries: signed.len() as u64,
        ed25519: shared(&signed, verify),
        sha256: shared(&hashed, hash),
        signatures: shared(&signed, parsed),
    })
}

/// Threads that work is shared by.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds of the work over all items.
fn shared<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for share in items.chunks(items.len().div_ceil(threads()).max(1)) {
            scope.spawn(|| share.iter().for_each(&work));
        }
    });
    started.elapsed().as_secs_f64()
}
