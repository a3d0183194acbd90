//! Signed notes and note keys (C2SP signed-note): the form of a log's checkpoint.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::{TryRng, rngs::SysRng};

use crate::{error::LogError, hex, tree::sha256};

/// Signature type Ed25519, in key ids, key files and verifier keys.
const ED25519: u8 = 1;

/// A log's signing key, named by the log's origin.
#[derive(Clone)]
pub struct NoteKey {
    name: String,
    signing: SigningKey,
}

impl std::fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoteKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl NoteKey {
    /// A new key from the system's random source.
    ///
    /// # Errors
    /// The origin is no key name (empty, or with spaces or `+`), or the system gives no random bytes.
    pub fn generate(origin: &str) -> Result<Self, LogError> {
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(|_| LogError::MalformedKey("the system gave no random bytes"))?;
        Self::from_seed(origin, &seed)
    }

    /// The key of a seed; for tests and simulations that must be repeatable.
    ///
    /// # Errors
    /// The origin is no key name.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, LogError> {
        check_name(origin)?;
        Ok(Self { name: origin.to_owned(), signing: SigningKey::from_bytes(seed) })
    }

    /// Reads a key file: one line `PRIVATE+KEY+<name>+<id>+<base64>`, as Go's `note` package writes it.
    ///
    /// # Errors
    /// The file cannot be read or is no key.
    pub fn load(path: &Path) -> Result<Self, LogError> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|error| LogError::io("read the signing key", path, &error))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let rest = text.strip_prefix("PRIVATE+KEY+").ok_or(LogError::MalformedKey("no `PRIVATE+KEY+`"))?;
        let (name, id, seed) = split_key(rest)?;
        let key = Self::from_seed(name, &seed)?;
        if key.verifier_key().id() != id {
            return Err(LogError::MalformedKey("the key id does not fit the key"));
        }
        Ok(key)
    }

    /// Writes the key to a new file that only its owner may read (mode 0600).
    ///
    /// # Errors
    /// The file exists already or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LogError> {
        let seed = BASE64_STANDARD.encode([&[ED25519], self.signing.as_bytes().as_slice()].concat());
        let id = hex::encode(&self.verifier_key().id());
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| {
                file.write_all(format!("PRIVATE+KEY+{}+{id}+{seed}\n", self.name).as_bytes())?;
                file.sync_all()
            })
            .map_err(|error| LogError::io("write the signing key", path, &error))
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.name
    }

    /// The public half.
    pub fn verifier_key(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), key: self.signing.verifying_key() }
    }

    /// The public half as text, `<name>+<id>+<base64>`; what an auditor pins.
    pub fn verifier(&self) -> String {
        self.verifier_key().to_string()
    }

    /// Signs a note's text, which ends with a newline: text, empty line, one signature line.
    pub(crate) fn sign(&self, text: &str) -> String {
        let signature = self.signing.sign(text.as_bytes());
        self.verifier_key().note(text, &signature)
    }
}

/// A log's public key, which verifies its notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex::encode(&self.id()), BASE64_STANDARD.encode(self.typed_key()))
    }
}

impl VerifierKey {
    /// Reads `<name>+<id>+<base64>`; exactly what [`Self`] prints, no other spelling.
    ///
    /// # Errors
    /// It is no Ed25519 verifier key, or the key is weak.
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let (name, _, public) = split_key(text)?;
        check_name(name)?;
        let key = VerifyingKey::from_bytes(&public).map_err(|_| LogError::MalformedKey("no point of the curve"))?;
        let parsed = Self { name: name.to_owned(), key };
        if key.is_weak() || parsed.to_string() != text {
            return Err(LogError::MalformedKey("the id does not fit the key, or the key is weak"));
        }
        Ok(parsed)
    }

    /// The key's name, which is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note signed by this key and by nobody else; `None` when anything in it is not as signed.
    pub(crate) fn open<'a>(&self, note: &'a str) -> Option<&'a str> {
        let (text, line) = note.rsplit_once("\n\n")?;
        let text = note.get(..text.len() + 1)?;
        let encoded =
            line.strip_prefix("\u{2014} ")?.strip_suffix('\n')?.strip_prefix(&self.name)?.strip_prefix(' ')?;
        let bytes = BASE64_STANDARD.decode(encoded).ok()?;
        let signature = bytes.strip_prefix(&self.id())?;
        let signature = Signature::from_bytes(signature.try_into().ok()?);
        // One spelling alone, so that no byte of a stored note goes unchecked.
        if self.note(text, &signature) != note {
            return None;
        }
        self.key.verify_strict(text.as_bytes(), &signature).ok()?;
        Some(text)
    }

    /// Key id: the first four bytes of SHA-256(name || "\n" || 0x01 || public key).
    fn id(&self) -> [u8; 4] {
        let digest = sha256(&[self.name.as_bytes(), b"\n", &self.typed_key()].concat());
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    fn typed_key(&self) -> Vec<u8> {
        [&[ED25519], self.key.as_bytes().as_slice()].concat()
    }

    fn note(&self, text: &str, signature: &Signature) -> String {
        let signature = BASE64_STANDARD.encode([self.id().as_slice(), &signature.to_bytes()].concat());
        format!("{text}\n\u{2014} {} {signature}\n", self.name)
    }
}

/// Names may hold no Unicode spaces and no `+` (C2SP signed-note), and no control characters.
fn check_name(name: &str) -> Result<(), LogError> {
    let wrong = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '+';
    if name.is_empty() || name.len() > 255 || name.contains(wrong) {
        return Err(LogError::MalformedKey("a log's origin has 1 to 255 bytes, no spaces and no `+`"));
    }
    Ok(())
}

/// `<name>+<8 hex>+<base64 of 0x01 and 32 bytes>`; the base64 text may itself hold a `+`.
fn split_key(text: &str) -> Result<(&str, [u8; 4], [u8; 32]), LogError> {
    let malformed = LogError::MalformedKey("not `<name>+<id>+<base64 of an Ed25519 key>`");
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed);
    };
    let id = hex::decode(id).ok_or(malformed.clone())?;
    let key = BASE64_STANDARD.decode(key).map_err(|_| malformed.clone())?;
    let key = key.strip_prefix(&[ED25519]).and_then(|key| key.try_into().ok()).ok_or(malformed)?;
    Ok((name, id, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_specification_verifies_its_note() {
        // The example of C2SP signed-note and of Go's golang.org/x/mod/sumdb/note.
        let key = VerifierKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert!(key.open(note).unwrap().ends_with("your problem is.\n"));
        assert_eq!(key.open(&note.replace("think", "thank")), None);
    }

    #[test]
    fn a_note_has_one_spelling() {
        let key = NoteKey::from_seed("log.example/audit", &[3; 32]).unwrap();
        let note = key.sign("log.example/audit\n0\nroot\n");
        let verifier = VerifierKey::parse(&key.verifier()).unwrap();
        assert_eq!(verifier.open(&note), Some("log.example/audit\n0\nroot\n"));
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(
                String::from_utf8(bytes).ok().and_then(|note| verifier.open(&note).map(str::to_owned)).is_none(),
                "{at}"
            );
        }
        assert_eq!(verifier.open(&format!("{note}\n")), None);
        assert_eq!(verifier.open(&format!("{note}{}", note.lines().last().unwrap())), None);
    }

    #[test]
    fn a_verifier_key_has_one_spelling() {
        let text = NoteKey::from_seed("log.example/audit", &[3; 32]).unwrap().verifier();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(VerifierKey::parse(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn a_saved_key_loads_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.key");
        let key = NoteKey::generate("log.example/audit").unwrap();
        key.save(&path).unwrap();
        assert_eq!(NoteKey::load(&path).unwrap().verifier(), key.verifier());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(key.save(&path).is_err(), "a key is never overwritten");
        assert!(NoteKey::generate("two words").is_err());
        assert!(!format!("{key:?}").contains("signing"));
    }
}
