//! Keyed pseudonyms: numbers that no one without the key can tie to a patient or a visit.
//!
//! HMAC-SHA-256 (RFC 2104) over length-prefixed parts, low 63 bits. The key lies outside the tables.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The dataset's pseudonym key, 32 secret bytes. It has no `Debug` and can't be read back.
#[derive(Clone)]
pub struct PseudonymKey(Hmac<Sha256>);

impl PseudonymKey {
    /// The key made of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        // A block-sized or shorter key is always accepted; 32 bytes fit the 64-byte block.
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(bytes);
        Self(Hmac::<Sha256>::new(&block.into()))
    }

    /// The pseudonym of a patient's public id: 0 to 2^63-1.
    #[must_use]
    pub fn person(&self, patient: &str) -> i64 {
        self.number("person", &[patient.as_bytes()])
    }

    /// The surrogate id of a visit: it depends on its own patient, provider, record and number alone.
    #[must_use]
    pub fn visit(&self, person: i64, provider: &str, record: &str, number: i64) -> i64 {
        self.number("visit", &[&person.to_be_bytes(), provider.as_bytes(), record.as_bytes(), &number.to_be_bytes()])
    }

    /// Low 63 bits of the HMAC over the parts, each after its length, so that no two lists of parts agree.
    fn number(&self, domain: &str, parts: &[&[u8]]) -> i64 {
        let mut mac = self.0.clone();
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let low = tag[24..].iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        (low & (u64::MAX >> 1)).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_depends_on_key_patient_and_kind() {
        let key = PseudonymKey::new(&[1; 32]);
        let other = PseudonymKey::new(&[2; 32]);
        assert_eq!(key.person("p1"), key.person("p1"));
        assert!(key.person("p1") >= 0);
        assert_ne!(key.person("p1"), key.person("p2"));
        assert_ne!(key.person("p1"), other.person("p1"));
        // Lengths are part of the input: moving a byte between two parts changes the number.
        assert_ne!(key.visit(7, "ab", "c", 0), key.visit(7, "a", "bc", 0));
    }
}
