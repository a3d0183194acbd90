//! Inclusion proofs as text (C2SP tlog-proof), and the tree they are taken from.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    checkpoint::Checkpoint,
    error::LogError,
    note::VerifierKey,
    tiles::TileReader,
    tree::{Hash, Nodes, check_inclusion, leaf_hash, node_hash},
};

/// First line of a tlog-proof.
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Published tiles, and the leaves after them that are durable in the journal alone.
pub(crate) struct Overlay {
    pub tiles: TileReader,
    pub leaves: Vec<Hash>,
}

impl Nodes for Overlay {
    type Error = LogError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, LogError> {
        let published = self.tiles.size();
        if (index + 1) << level <= published {
            return self.tiles.node(level, index);
        }
        let Some(below) = level.checked_sub(1) else {
            let leaf = usize::try_from(index - published).ok().and_then(|at| self.leaves.get(at));
            return leaf.copied().ok_or(LogError::OutOfRange { index, size: published + self.leaves.len() as u64 });
        };
        Ok(node_hash(&self.node(below, 2 * index)?, &self.node(below, 2 * index + 1)?))
    }
}

/// The text of a proof; the entry goes along as the extra line, so that the proof can be checked with the key alone.
pub(crate) fn proof_text(entry: &[u8], index: u64, path: &[Hash], head: &Checkpoint) -> String {
    let hashes: String = path.iter().map(|hash| BASE64_STANDARD.encode(hash) + "\n").collect();
    format!("{FIRST_LINE}\nextra {}\nindex {index}\n{hashes}\n{}", BASE64_STANDARD.encode(entry), head.note)
}

/// Most hashes of a proof: a tree that a u64 counts is at most 64 levels high.
const MAX_PATH: usize = 64;

/// What a receipt proves: that the log's key signed a tree with this entry in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// Its place.
    pub index: u64,
    /// The signed head.
    pub head: Checkpoint,
}

/// Why a receipt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// Not a tlog-proof.
    #[error("it is no tlog-proof (c2sp.org/tlog-proof@v1)")]
    Malformed,
    /// The proof does not carry its entry.
    #[error("it does not carry its entry, as receipts of this service do")]
    NoEntry,
    /// The checkpoint is of another log or key, or was changed.
    #[error("its checkpoint is not signed by the log's key: another log's, or changed")]
    Unsigned,
    /// The hashes do not lead from the entry to the signed root.
    #[error("its hashes do not lead from the entry to the signed root")]
    NotIncluded,
}

/// Verifies a receipt that carries its entry, with the log's key alone.
///
/// # Errors
/// It proves nothing, and why.
pub fn open_receipt(text: &str, key: &VerifierKey) -> Result<Receipt, ReceiptFault> {
    let parts = Parts::read(text).ok_or(ReceiptFault::Malformed)?;
    let head = Checkpoint::open_cosigned(parts.note, key).ok_or(ReceiptFault::Unsigned)?;
    let entry = parts.extra.ok_or(ReceiptFault::NoEntry)?;
    match check_inclusion(&parts.path, parts.index, head.size, &leaf_hash(&entry), &head.root) {
        true => Ok(Receipt { entry, index: parts.index, head }),
        false => Err(ReceiptFault::NotIncluded),
    }
}

/// A tlog-proof taken apart.
struct Parts<'a> {
    extra: Option<Vec<u8>>,
    index: u64,
    path: Vec<Hash>,
    note: &'a str,
}

impl<'a> Parts<'a> {
    /// Reads the one spelling of each line.
    fn read(text: &'a str) -> Option<Self> {
        let (proof, note) = text.split_once("\n\n")?;
        let mut lines = proof.split('\n').peekable();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let extra = lines.next_if(|line| line.starts_with("extra ")).map(|line| decode(line.strip_prefix("extra ")?));
        let extra = match extra {
            Some(extra) => Some(extra?),
            None => None,
        };
        let number = lines.next()?.strip_prefix("index ")?;
        let index: u64 = number.parse().ok().filter(|index: &u64| index.to_string() == number)?;
        let path: Vec<Hash> =
            lines.take(MAX_PATH + 1).map(|line| decode(line)?.try_into().ok()).collect::<Option<_>>()?;
        (path.len() <= MAX_PATH).then_some(Self { extra, index, path, note })
    }
}

/// Base64 in its one spelling.
fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok().filter(|bytes| BASE64_STANDARD.encode(bytes) == text)
}

/// Verifies a proof: that `entry` is in the log of `key`, at which index and under which head. `None` when any part
/// does not fit.
pub fn check_proof(text: &str, key: &VerifierKey, entry: &[u8]) -> Option<(u64, Checkpoint)> {
    let parts = Parts::read(text)?;
    let head = Checkpoint::open_cosigned(parts.note, key)?;
    check_inclusion(&parts.path, parts.index, head.size, &leaf_hash(entry), &head.root).then_some((parts.index, head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::NoteKey;

    fn key() -> NoteKey {
        NoteKey::from_seed("log.example/audit", &[3; 32]).unwrap_or_else(|_| unreachable!("a good name"))
    }

    fn text() -> String {
        let (entry, sibling) = (b"{}".as_slice(), [7; 32]);
        let head = Checkpoint::sign(&key(), 2, node_hash(&sibling, &leaf_hash(entry)));
        proof_text(entry, 1, &[sibling], &head)
    }

    #[test]
    fn a_receipt_opens_under_its_logs_key_alone() {
        let receipt = open_receipt(&text(), &key().verifier_key()).unwrap();
        assert_eq!((receipt.entry.as_slice(), receipt.index, receipt.head.size), (b"{}".as_slice(), 1, 2));
        assert_eq!(check_proof(&text(), &key().verifier_key(), b"{}"), Some((1, receipt.head)));
        let other = NoteKey::from_seed("log.example/audit", &[4; 32]).unwrap().verifier_key();
        assert_eq!(open_receipt(&text(), &other), Err(ReceiptFault::Unsigned));
        let bare: String = text().split_inclusive('\n').filter(|line| !line.starts_with("extra ")).collect();
        assert_eq!(open_receipt(&bare, &key().verifier_key()), Err(ReceiptFault::NoEntry));
        assert!(check_proof(&bare, &key().verifier_key(), b"{}").is_some());
    }

    #[test]
    fn the_form_of_the_specification() {
        // C2SP tlog-proof: the example's lines, with `index 0` and without hashes too; extra data is opaque.
        let hashes = [
            "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=",
            "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=",
            "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=",
            "RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=",
            "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=",
        ];
        let head = "example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n";
        let lines = |extra: &str, index: &str, hashes: &[&str]| {
            let hashes: String = hashes.iter().map(|hash| format!("{hash}\n")).collect();
            format!("c2sp.org/tlog-proof@v1\n{extra}{index}\n{hashes}\n{head}")
        };
        let whole = lines("extra YWdlLXYxLjIuMQ==\n", "index 73894", &hashes);
        let parts = Parts::read(&whole).unwrap();
        assert_eq!((parts.extra.as_deref(), parts.index, parts.path.len()), (Some(&b"age-v1.2.1"[..]), 73_894, 5));
        assert_eq!((parts.path[0][0], parts.path[4][31], parts.note), (0x81, 0xf9, head));
        let least = lines("", "index 0", &[]);
        let parts = Parts::read(&least).unwrap();
        assert_eq!((parts.extra, parts.index, parts.path.len()), (None, 0, 0));
        for wrong in [
            lines("", "index 00", &[]),
            lines("", "index", &[]),
            lines("extra\n", "index 0", &[]),
            lines("", "index 0", &["AAAA"]),
            lines("", "index 0", &["AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk"]),
            least.replacen("c2sp.org/", "", 1),
        ] {
            assert!(Parts::read(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_receipt_is_refused() {
        let (text, key) = (text(), key().verifier_key());
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(open_receipt(&changed, &key).is_err(), "bit {bit} of byte {at}");
            }
        }
        for cut in 0..text.len() {
            assert!(text.get(..cut).is_none_or(|cut| open_receipt(cut, &key).is_err()), "{cut} bytes");
        }
    }

    #[test]
    fn a_proof_of_any_length_is_only_refused() {
        let hash = BASE64_STANDARD.encode([7; 32]) + "\n";
        for count in [0, 2, 63, 64, 65, 5_000] {
            let long = text().replacen(&hash, &hash.repeat(count), 1);
            let fault = open_receipt(&long, &key().verifier_key()).unwrap_err();
            let expected = if count > MAX_PATH { ReceiptFault::Malformed } else { ReceiptFault::NotIncluded };
            assert_eq!(fault, expected, "{count}");
        }
        for (from, to) in [
            ("index 1", "index 01"),
            ("index 1", "index +1"),
            ("index 1", "index 18446744073709551616"),
            ("index 1", "extra e30=\nindex 1"),
            ("tlog-proof@v1", "tlog-proof@v2"),
        ] {
            let fault = open_receipt(&text().replacen(from, to, 1), &key().verifier_key()).unwrap_err();
            assert_eq!(fault, ReceiptFault::Malformed, "{to}");
        }
        let far = text().replacen("index 1", "index 18446744073709551615", 1);
        assert_eq!(open_receipt(&far, &key().verifier_key()), Err(ReceiptFault::NotIncluded));
    }
}
