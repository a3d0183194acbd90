//! Raw Ed25519 and SHA-256 on messages of the ledger's mean size, one thread: what verification can't beat.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use super::rate;

/// How long each is measured.
const SPAN: Duration = Duration::from_millis(1_000);

/// Operations a second on `bytes`-long messages.
pub(super) fn raw(bytes: usize) -> [(String, String); 2] {
    let bytes = bytes.clamp(1, 1 << 20);
    let message = vec![7_u8; bytes];
    let key = SigningKey::from_bytes(&[7; 32]);
    let signature = key.sign(&message);
    let verifying = key.verifying_key();
    let verified = repeat(|| black_box(verifying.verify_strict(black_box(&message), &signature)).is_ok());
    let hashed = repeat(|| black_box(Sha256::digest(black_box(&message))).len() == 32);
    [
        (format!("raw Ed25519 verify_strict, {bytes} bytes, one thread"), rate(verified.0, verified.1, "signatures")),
        (format!("raw SHA-256, {bytes} bytes, one thread"), rate(hashed.0, hashed.1, "hashes")),
    ]
}

/// Times that it ran, and the seconds it took.
fn repeat(mut work: impl FnMut() -> bool) -> (u64, f64) {
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < SPAN {
        for _ in 0..100 {
            count += u64::from(work());
        }
    }
    (count, started.elapsed().as_secs_f64())
}
