//! Checkpoints (C2SP tlog-checkpoint): the signed head of a log.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    note::{NoteKey, VerifierKey},
    tree::Hash,
};

/// A log's signed size and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Entries in the tree.
    pub size: u64,
    /// RFC 6962 root hash.
    pub root: Hash,
    /// The whole signed note, as stored and served.
    pub note: String,
}

impl Checkpoint {
    /// Signs a head.
    pub(crate) fn sign(key: &NoteKey, size: u64, root: Hash) -> Self {
        let origin = key.origin().to_owned();
        let note = key.sign(&format!("{origin}\n{size}\n{}\n", BASE64_STANDARD.encode(root)));
        Self { origin, size, root, note }
    }

    /// Verifies a note and reads the head from it; `None` when any byte is not as the key's holder signed it.
    pub fn open(note: &str, key: &VerifierKey) -> Option<Self> {
        let text = key.open(note)?;
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let (size, root): (u64, Hash) = (size.parse().ok()?, BASE64_STANDARD.decode(root).ok()?.try_into().ok()?);
        // No extension lines, no leading zeros: what was read must print as what was signed.
        let exact = format!("{origin}\n{size}\n{}\n", BASE64_STANDARD.encode(root)) == text;
        (exact && origin == key.name()).then(|| Self { origin: origin.to_owned(), size, root, note: note.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::sha256;

    #[test]
    fn a_checkpoint_opens_under_its_own_key_alone() {
        let key = NoteKey::from_seed("log.example/audit", &[3; 32]).unwrap();
        let checkpoint = Checkpoint::sign(&key, 0, sha256(b""));
        assert!(
            checkpoint
                .note
                .starts_with("log.example/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} ")
        );
        assert_eq!(Checkpoint::open(&checkpoint.note, &key.verifier_key()), Some(checkpoint.clone()));
        let other = NoteKey::from_seed("log.example/audit", &[4; 32]).unwrap();
        assert_eq!(Checkpoint::open(&checkpoint.note, &other.verifier_key()), None);
    }

    #[test]
    fn signed_nonsense_is_no_checkpoint() {
        let key = NoteKey::from_seed("log.example/audit", &[3; 32]).unwrap();
        let root = BASE64_STANDARD.encode([0; 32]);
        for text in [
            format!("another.example/log\n1\n{root}\n"),
            format!("log.example/audit\n01\n{root}\n"),
            format!("log.example/audit\n+1\n{root}\n"),
            format!("log.example/audit\n1\n{root}\nextension\n"),
            "log.example/audit\n1\nAAAA\n".to_owned(),
            "log.example/audit\n1\n".to_owned(),
        ] {
            assert_eq!(Checkpoint::open(&key.sign(&text), &key.verifier_key()), None, "{text}");
        }
    }
}
