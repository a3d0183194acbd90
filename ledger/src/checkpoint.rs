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
        Self::read(key.open(note)?, note, key).filter(|(_, extensions)| extensions.is_empty()).map(|(head, _)| head)
    }

    /// [`Self::open`] for a log of any implementation: others may have signed too, and extension lines may follow.
    pub fn open_cosigned(note: &str, key: &VerifierKey) -> Option<Self> {
        let (head, extensions) = Self::read(key.open_cosigned(note)?, note, key)?;
        extensions.split_terminator('\n').all(|line| !line.is_empty()).then_some(head)
    }

    /// The head in a signed text, and the lines after it.
    fn read<'a>(text: &'a str, note: &str, key: &VerifierKey) -> Option<(Self, &'a str)> {
        let mut lines = text.splitn(4, '\n');
        let (origin, size, root, extensions) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
        let (number, hash): (u64, Hash) = (size.parse().ok()?, BASE64_STANDARD.decode(root).ok()?.try_into().ok()?);
        // No sign, no leading zeros, one base64: what was read must print as what was signed.
        let exact = number.to_string() == size && BASE64_STANDARD.encode(hash) == root && origin == key.name();
        let head = Self { origin: origin.to_owned(), size: number, root: hash, note: note.to_owned() };
        exact.then_some((head, extensions))
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
    fn the_form_of_the_specification() {
        // C2SP tlog-checkpoint, "Note text": origin, size without leading zeros, root, and then opaque non-empty lines.
        let key = NoteKey::from_seed("example.com/behind-the-sofa", &[3; 32]).unwrap();
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let head = Checkpoint::open(&key.sign(text), &key.verifier_key()).unwrap();
        assert_eq!((head.origin.as_str(), head.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!((head.root[0], head.root[1], head.root[31]), (0x0a, 0xc5, 0x62));
        let extended = |lines: &str| {
            let note = key.sign(&format!("{text}{lines}"));
            Checkpoint::open_cosigned(&note, &key.verifier_key()).map(|head| head.size)
        };
        assert_eq!(extended("one\n \nthree: \u{e9}\n"), Some(20_852_163));
        assert_eq!((extended("\n"), extended("one\n\nthree\n")), (None, None));
    }

    #[test]
    fn signed_nonsense_is_no_checkpoint() {
        let key = NoteKey::from_seed("log.example/audit", &[3; 32]).unwrap();
        let root = BASE64_STANDARD.encode([0; 32]);
        for text in [
            format!("another.example/log\n1\n{root}\n"),
            format!("log.example/audit\n01\n{root}\n"),
            format!("log.example/audit\n+1\n{root}\n"),
            format!("log.example/audit\n-1\n{root}\n"),
            format!("log.example/audit\n18446744073709551616\n{root}\n"),
            format!("log.example/audit\n1\n{root}\n\nextension\n"),
            format!("log.example/audit\n1\n{}\n", root.replace('=', "")),
            "log.example/audit\n1\nAAAA\n".to_owned(),
            "log.example/audit\n1\n".to_owned(),
            "log.example/audit\n".to_owned(),
        ] {
            assert_eq!(Checkpoint::open(&key.sign(&text), &key.verifier_key()), None, "{text}");
            assert_eq!(Checkpoint::open_cosigned(&key.sign(&text), &key.verifier_key()), None, "{text}");
        }
        // Another implementation may write extension lines; ours never does.
        let extended = key.sign(&format!("log.example/audit\n1\n{root}\nextension\n"));
        assert_eq!(Checkpoint::open(&extended, &key.verifier_key()), None);
        assert_eq!(Checkpoint::open_cosigned(&extended, &key.verifier_key()).unwrap().size, 1);
    }
}
