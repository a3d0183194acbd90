//! Signed notes and note keys (C2SP signed-note): the form of a log's checkpoint.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::{TryRng, rngs::SysRng};

use crate::{
    error::{LogError, short},
    hex,
    tree::sha256,
};

/// Signature type Ed25519, in key ids, key files and verifier keys.
const ED25519: u8 = 1;

/// Most signatures that a note may carry; C2SP signed-note asks for at least 16.
const MAX_SIGNATURES: usize = 64;

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
    /// The file cannot be read, is no key, or others than its owner may read it.
    pub fn load(path: &Path) -> Result<Self, LogError> {
        let failed = |error: io::Error| LogError::io("read the signing key", path, &error);
        let mut text = String::new();
        let mut file = fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(LogError::OpenKeyFile(short(path)));
        }
        file.read_to_string(&mut text).map_err(failed)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let rest = text.strip_prefix("PRIVATE+KEY+").ok_or(LogError::MalformedKey("no `PRIVATE+KEY+`"))?;
        let (name, id, seed) = split_key(rest)?;
        let key = Self::from_seed(name, &seed)?;
        if key.verifier_key().id() != id {
            return Err(LogError::MalformedKey("the key id does not fit the key"));
        }
        Ok(key)
    }

    /// Writes the key to a new file that only its owner may read (mode 0600); after a stop it is whole or not there.
    ///
    /// # Errors
    /// The file exists already or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LogError> {
        let seed = BASE64_STANDARD.encode([&[ED25519], self.signing.as_bytes().as_slice()].concat());
        let id = hex::encode(&self.verifier_key().id());
        let line = format!("PRIVATE+KEY+{}+{id}+{seed}\n", self.name);
        write_new(path, line.as_bytes()).map_err(|error| LogError::io("write the signing key", path, &error))
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

/// A private file that is whole once it has its name, and takes no name that is taken.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let named = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    named?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
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

    /// The text of a note that this key signed, whoever else did too (C2SP signed-note): lines of unknown keys are not
    /// looked at, but a line under this key's name and id must verify.
    pub(crate) fn open_cosigned<'a>(&self, note: &'a str) -> Option<&'a str> {
        let (text, lines) = note.rsplit_once("\n\n")?;
        let text = note.get(..text.len() + 1)?;
        if note.contains(|letter: char| letter < ' ' && letter != '\n') {
            return None;
        }
        let lines: Vec<&str> = lines.strip_suffix('\n')?.split('\n').take(MAX_SIGNATURES + 1).collect();
        let mut signed = false;
        for line in &lines {
            let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            check_name(name).ok()?;
            let bytes = BASE64_STANDARD.decode(encoded).ok()?;
            let (id, signature) = bytes.split_first_chunk::<4>()?;
            if name == self.name && *id == self.id() {
                let signature = Signature::from_bytes(signature.try_into().ok()?);
                self.key.verify_strict(text.as_bytes(), &signature).ok()?;
                signed = true;
            }
        }
        (signed && lines.len() <= MAX_SIGNATURES).then_some(text)
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
    fn a_head_that_another_implementation_signed_in_earnest_opens() {
        // The head of Go's checksum database at 20,852,163 records; C2SP tlog-checkpoint shows it under made-up names.
        let key = VerifierKey::parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").unwrap();
        let text = "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let signature = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=";
        let note = format!("{text}\n\u{2014} sum.golang.org {signature}\n");
        assert_eq!((key.open(&note), key.open_cosigned(&note)), (Some(text), Some(text)));
        for (from, to) in [
            ("20852163", "20852164"),
            ("go.sum", "go.mod"),
            ("CsUY", "CsUZ"),
            ("Az3g", "Bz3g"),
            ("sum.golang.org A", "example.com/behind-the-sofa A"),
        ] {
            assert_eq!(key.open(&note.replacen(from, to, 1)), None, "{to}");
        }
    }

    #[test]
    fn cosigned_notes_open_under_each_signer_and_no_other_key() {
        let key = |name: &str, seed: u8| NoteKey::from_seed(name, &[seed; 32]).unwrap();
        let (log, witness) = (key("log.example", 3), key("witness.example", 4));
        let text = "log.example\n0\nroot\n";
        let line = |key: &NoteKey| key.sign(text).rsplit_once("\n\n").unwrap().1.to_owned();
        let note = format!("{text}\n{}{}", line(&witness), line(&log));
        for signer in [&log, &witness] {
            assert_eq!(signer.verifier_key().open_cosigned(&note), Some(text));
            assert_eq!(signer.verifier_key().open(&note), None, "the strict form has one signature");
        }
        let stranger = key("log.example", 5);
        assert_eq!(stranger.verifier_key().open_cosigned(&note), None);
        // A line under the known name and id must verify, whatever the other lines say.
        let other = key("log.example", 3).sign("log.example\n1\nroot\n");
        let forged = format!("{note}{}", other.rsplit_once("\n\n").unwrap().1);
        assert_eq!(log.verifier_key().open_cosigned(&forged), None);
        let many = |count: usize| format!("{text}\n{}{}", line(&witness).repeat(count), line(&log));
        assert!(log.verifier_key().open_cosigned(&many(63)).is_some());
        assert!(log.verifier_key().open_cosigned(&many(64)).is_none());
        for wrong in [
            note.replace("root", "ro\u{7}t"),
            note.replace("\u{2014} witness", "- witness"),
            note.trim_end().to_owned(),
            format!("{note}\n"),
            format!("{note}\u{2014} a b c\n"),
            format!("{note}\u{2014} name !\n"),
            text.to_owned(),
            String::new(),
        ] {
            assert_eq!(log.verifier_key().open_cosigned(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.key");
        NoteKey::generate("log.example/audit").unwrap().save(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = NoteKey::load(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains("audit.key"), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        NoteKey::load(&path).unwrap();
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
