//! Signed transactions: Ed25519 over a domain and the unchanged body.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{
    canonical::{Canonical, EntryError},
    transaction::{Transaction, split_type},
};
use crate::hex;

/// A transaction with the key that signed it: `{"body":{..},"key":hex,"signature":hex,"type":".."}`.
///
/// The signature is Ed25519 (RFC 8032) over `epiledger.<type>/v1\n` and the body's canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// What was signed.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// Ed25519 public key, 64 lower-case hex digits.
    pub key: String,
    /// Signature, 128 lower-case hex digits.
    pub signature: String,
}

impl SignedTransaction {
    /// Signs, and gives the entry to submit.
    ///
    /// # Errors
    /// The transaction is too long, or holds a number past 2^53 - 1.
    pub fn sign(transaction: Transaction, key: &SigningKey) -> Result<Canonical, EntryError> {
        let body = transaction.body_bytes()?;
        let type_name = transaction.type_name();
        let signature = key.sign(&message(type_name, &body));
        Canonical::assembled(
            [
                b"{\"body\":".as_slice(),
                &body,
                b",\"key\":\"",
                hex::encode(key.verifying_key().as_bytes()).as_bytes(),
                b"\",\"signature\":\"",
                hex::encode(&signature.to_bytes()).as_bytes(),
                b"\",\"type\":\"",
                type_name.as_bytes(),
                b"\"}",
            ]
            .concat(),
        )
    }

    /// Verifies the signature by `verify_strict`; whether the key may sign this is the registry's question.
    ///
    /// # Errors
    /// The key is weak or no key, or the signature does not fit.
    pub fn verify_signature(&self) -> Result<(), EntryError> {
        let body = self.transaction.body_bytes()?;
        verify(self.transaction.type_name(), &body, &self.key, &self.signature)
    }
}

/// The four parts of a stored transaction, as slices of its bytes.
pub(super) struct SignedParts<'a> {
    pub body: &'a [u8],
    pub key: &'a str,
    pub signature: &'a str,
    pub type_name: &'a str,
}

/// Cuts a stored transaction into its parts. Key and signature have fixed lengths, so their places are known.
pub(super) fn split_signed(bytes: &[u8]) -> Result<SignedParts<'_>, EntryError> {
    let (head, type_name) = split_type(bytes)?;
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| EntryError::NotCanonical);
    let tail = |bytes, field: &[u8], length: usize| -> Option<(_, _)> {
        let bytes: &[u8] = bytes;
        let bytes = bytes.strip_suffix(b"\"")?;
        let (rest, value) = bytes.split_at_checked(bytes.len().checked_sub(length)?)?;
        Some((rest.strip_suffix(field)?, value))
    };
    let (head, signature) = tail(head, b",\"signature\":\"", 128).ok_or(EntryError::Field("signature"))?;
    let (body, key) = tail(head, b",\"key\":\"", 64).ok_or(EntryError::Field("key"))?;
    let (key, signature) = (text(key)?, text(signature)?);
    hex::decode::<32>(key).ok_or(EntryError::Field("key"))?;
    hex::decode::<64>(signature).ok_or(EntryError::Field("signature"))?;
    Ok(SignedParts { body, key, signature, type_name })
}

/// Verifies the signature of a stored transaction over the stored bytes themselves.
pub(crate) fn verify_stored(bytes: &[u8]) -> Result<(), EntryError> {
    let parts = split_signed(bytes)?;
    verify(parts.type_name, parts.body, parts.key, parts.signature)
}

fn verify(type_name: &str, body: &[u8], key: &str, signature: &str) -> Result<(), EntryError> {
    let signature = hex::decode::<64>(signature).ok_or(EntryError::Field("signature"))?;
    strict_key(key)?
        .verify_strict(&message(type_name, body), &Signature::from_bytes(&signature))
        .map_err(|_| EntryError::BadSignature)
}

/// A public key that `verify_strict` takes.
pub(super) fn strict_key(key: &str) -> Result<VerifyingKey, EntryError> {
    let key = hex::decode::<32>(key).ok_or(EntryError::Field("key"))?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| EntryError::BadKey)?;
    if key.is_weak() { Err(EntryError::BadKey) } else { Ok(key) }
}

fn message(type_name: &str, body: &[u8]) -> Vec<u8> {
    [b"epiledger.", type_name.as_bytes(), b"/v1\n", body].concat()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            record::Erase,
            transaction::{LedgerEntry, parse_ledger_entry},
        },
        *,
    };

    fn erase() -> Transaction {
        Transaction::Erase(Erase { patient: "p".into(), payload_sha256: "0".repeat(64), basis: "withdrawal".into() })
    }

    fn parse(bytes: &[u8]) -> SignedTransaction {
        match parse_ledger_entry(bytes).unwrap() {
            LedgerEntry::Transaction(signed) => signed,
            LedgerEntry::Block(_) => panic!("a block"),
        }
    }

    #[test]
    fn rfc_8032_first_test_key() {
        // RFC 8032, section 7.1, TEST 1: secret and public key, signature of the empty message.
        let secret = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_bytes(&secret);
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(key.verifying_key().as_bytes()), public);
        assert_eq!(
            hex::encode(&key.sign(b"").to_bytes()),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }

    #[test]
    fn rfc_8032_second_and_third_test_keys() {
        // RFC 8032, section 7.1, TEST 2 and TEST 3: secret key, public key, message, signature.
        let tests = [
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                b"\x72".as_slice(),
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                b"\xaf\x82".as_slice(),
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ];
        for (secret, public, message, signature) in tests {
            let key = SigningKey::from_bytes(&hex::decode(secret).unwrap());
            assert_eq!(hex::encode(key.verifying_key().as_bytes()), public);
            assert_eq!(hex::encode(&key.sign(message).to_bytes()), signature);
            let right = ed25519_dalek::Signature::from_bytes(&hex::decode(signature).unwrap());
            key.verifying_key().verify_strict(message, &right).unwrap();
            assert!(key.verifying_key().verify_strict(b"\x73", &right).is_err());
        }
    }

    #[test]
    fn a_signed_transaction_is_canonical_and_reads_back() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let entry = SignedTransaction::sign(erase(), &key).unwrap();
        assert_eq!(Canonical::parse(entry.as_bytes().to_vec()).unwrap(), entry);
        let signed = parse(entry.as_bytes());
        assert_eq!(signed.transaction, erase());
        assert_eq!(Canonical::of(&signed).unwrap(), entry, "serde writes the same bytes");
        assert_eq!(serde_json::from_slice::<SignedTransaction>(entry.as_bytes()).unwrap(), signed);
        signed.verify_signature().unwrap();
        verify_stored(entry.as_bytes()).unwrap();
    }

    #[test]
    fn another_body_type_key_or_signature_does_not_verify() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = parse(SignedTransaction::sign(erase(), &key).unwrap().as_bytes());
        let mut other = signed.clone();
        other.transaction = Transaction::Erase(Erase {
            patient: "q".into(),
            payload_sha256: "0".repeat(64),
            basis: "withdrawal".into(),
        });
        assert_eq!(other.verify_signature(), Err(EntryError::BadSignature));
        let mut other = signed.clone();
        other.key = hex::encode(SigningKey::from_bytes(&[8; 32]).verifying_key().as_bytes());
        assert_eq!(other.verify_signature(), Err(EntryError::BadSignature));
        let mut other = signed.clone();
        other.key = signed.key.to_uppercase();
        assert_eq!(other.verify_signature(), Err(EntryError::Field("key")));
        // The neutral element signs everything when weak keys are taken.
        let mut weak = signed;
        weak.key = format!("01{}", "00".repeat(31));
        weak.signature = format!("01{}", "00".repeat(63));
        assert_eq!(weak.verify_signature(), Err(EntryError::BadKey));
    }

    #[test]
    fn unknown_fields_and_types_are_refused() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let text = String::from_utf8(SignedTransaction::sign(erase(), &key).unwrap().into_bytes()).unwrap();
        for (from, to) in [
            ("\"patient\":\"p\"", "\"patient\":\"p\",\"x\":1"),
            ("\"type\":\"Erase\"", "\"type\":\"Eraze\""),
            ("\"type\":\"Erase\"", "\"type\":\"Erase\",\"x\":1"),
            ("\"key\":", "\"kex\":1,\"key\":"),
            ("{\"body\":", "{ \"body\":"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert!(parse_ledger_entry(changed.as_bytes()).is_err(), "{changed}");
        }
    }
}
