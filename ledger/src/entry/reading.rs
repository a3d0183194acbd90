//! A party asks to read a patient's records: one line, signed by the party's own ledger key, for the `Authorization` header.
//!
//! `Epiledger-Ledger <party>/<owner> <key> <time> <signature>`, where the Ed25519 signature (RFC 8032) covers
//! `epiledger.read/v1\n<origin>\n<patient>\n<party>/<owner>\n<time>`; time is in Unix seconds.

use ed25519_dalek::{Signature, Signer, SigningKey};

use super::{EntryError, key::Party, signed::strict_key};
use crate::hex;

/// The scheme's name in the header.
const SCHEME: &str = "Epiledger-Ledger";

/// Who asks, and when; [`Self::verify`] says whether the key's owner did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// What the caller claims to be.
    pub party: Party,
    /// The caller's id.
    pub owner: String,
    /// Ed25519 public key, 64 lower-case hex digits.
    pub key: String,
    /// Unix seconds.
    pub time: u64,
    signature: [u8; 64],
}

impl ReadRequest {
    /// Signs a request to read `patient`'s records from the ledger of this origin; gives the header's value.
    pub fn sign(origin: &str, patient: &str, (party, owner): (Party, &str), time: u64, key: &SigningKey) -> String {
        let signature = key.sign(&message(origin, patient, party, owner, time));
        let (public, signature) = (hex::encode(key.verifying_key().as_bytes()), hex::encode(&signature.to_bytes()));
        format!("{SCHEME} {}/{owner} {public} {time} {signature}", party.as_str())
    }

    /// Reads a header's value; `None` when it is no such line. The signature is not verified.
    pub fn parse(header: &str) -> Option<Self> {
        let mut words = header.split(' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        let (scheme, who, key, time, signature) = (word()?, word()?, word()?, word()?, word()?);
        let (party, owner) = who.split_once('/')?;
        let found = Self {
            party: Party::named(party)?,
            owner: owner.to_owned(),
            key: hex::decode::<32>(key).map(|_| key.to_owned())?,
            time: time.parse().ok()?,
            signature: hex::decode(signature)?,
        };
        (scheme == SCHEME && words.next().is_none()).then_some(found)
    }

    /// Whether the key signed this request for this ledger and patient; whose key it is, is the registry's question.
    ///
    /// # Errors
    /// The key is weak or no key, or the signature does not fit.
    pub fn verify(&self, origin: &str, patient: &str) -> Result<(), EntryError> {
        let message = message(origin, patient, self.party, &self.owner, self.time);
        let signature = Signature::from_bytes(&self.signature);
        strict_key(&self.key)?.verify_strict(&message, &signature).map_err(|_| EntryError::BadSignature)
    }

    /// The caller's name in logs: `hospital/h-1`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.party.as_str(), self.owner)
    }
}

fn message(origin: &str, patient: &str, party: Party, owner: &str, time: u64) -> Vec<u8> {
    format!("epiledger.read/v1\n{origin}\n{patient}\n{}/{owner}\n{time}", party.as_str()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_for_its_ledger_patient_and_caller_alone() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let header = ReadRequest::sign("log.example", "p-1", (Party::Hospital, "h-1"), 1_800_000_000, &key);
        let request = ReadRequest::parse(&header).unwrap();
        assert_eq!((request.party, request.name().as_str()), (Party::Hospital, "hospital/h-1"));
        assert_eq!(request.verify("log.example", "p-1"), Ok(()));
        assert_eq!(request.verify("log.example", "p-2"), Err(EntryError::BadSignature));
        assert_eq!(request.verify("other.example", "p-1"), Err(EntryError::BadSignature));
        for (from, to) in [("hospital/", "patient/"), ("h-1", "h-2"), ("1800000000", "1800000001")] {
            let changed = ReadRequest::parse(&header.replace(from, to)).unwrap();
            assert_eq!(changed.verify("log.example", "p-1"), Err(EntryError::BadSignature), "{to}");
        }
    }

    #[test]
    fn other_lines_are_no_requests() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let header = ReadRequest::sign("o", "p", (Party::Patient, "p"), 1, &key);
        for other in
            ["", "Bearer epl_a_b", &header.replace("patient/", "owner/"), &format!("{header} x"), &header[..90]]
        {
            assert_eq!(ReadRequest::parse(other), None, "{other}");
        }
    }
}
