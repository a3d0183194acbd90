//! Which blobs an entry names, read from its stored bytes without a full parse.

use super::transaction::split_type;
use crate::hex;

/// SHA-256 of the blobs that must be stored with an entry, in the order in which they stand in it.
///
/// Exact for every entry that parses: a quoted field name with a colon after it can be nothing else in canonical JSON.
pub fn named_blobs(entry: &[u8]) -> Vec<[u8; 32]> {
    let Ok((_, type_name)) = split_type(entry) else {
        return Vec::new();
    };
    let field: &[u8] = match type_name {
        "NewRecord" | "ModifyRecord" => b"sha256",
        "GrantAccess" => b"wrap_sha256",
        "query.intent" | "query.refused" | "query.repeated" => b"sql_commit",
        "query.outcome" => b"result_commit",
        "snapshot" | "record.read" => b"commit",
        _ => return Vec::new(),
    };
    hashes(entry).filter(|(name, _)| *name == Some(field)).map(|(_, hash)| hash).collect()
}

/// SHA-256 of the blob that an entry says is erased: an `Erase` of the ledger, a `redaction` of the audit log.
pub fn erased_blobs(entry: &[u8]) -> Vec<[u8; 32]> {
    let field: &[u8] = match split_type(entry) {
        Ok((_, "Erase")) => b"payload_sha256",
        Ok((_, "redaction")) => b"sha256",
        _ => return Vec::new(),
    };
    hashes(entry).filter(|(name, _)| *name == Some(field)).map(|(_, hash)| hash).collect()
}

/// Every hash-like string of an entry: 64 lower-case hex digits in quotes. A blob that is stored with an entry
/// must be among them.
pub fn mentioned_hashes(entry: &[u8]) -> Vec<[u8; 32]> {
    hashes(entry).map(|(_, hash)| hash).collect()
}

/// Hash-like strings, each with the name of its field when it is a field's value.
///
/// Between quotes stand the names and values of canonical JSON, and what separates them; a part that ends with a
/// backslash ends at an escaped quote, which neither ends nor begins a string.
fn hashes(entry: &[u8]) -> impl Iterator<Item = (Option<&[u8]>, [u8; 32])> {
    let mut before: [&[u8]; 2] = [b"", b""];
    let mut escaped = true;
    entry.split(|byte| *byte == b'"').filter_map(move |part| {
        let [name, colon] = before;
        let ends_escaped = part.last() == Some(&b'\\');
        let text = if part.len() == 64 && !escaped { std::str::from_utf8(part).ok() } else { None };
        before = [colon, part];
        escaped = ends_escaped;
        let name = (colon == b":").then_some(name);
        text.and_then(hex::decode).map(|hash| (name, hash))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_named_and_keys_are_only_mentioned() {
        let (payload, key) = ("ab".repeat(32), "cd".repeat(32));
        let entry = format!(
            "{{\"body\":{{\"payload\":{{\"key_id\":null,\"sha256\":\"{payload}\"}}}},\"key\":\"{key}\",\"signature\":\"\",\"type\":\"NewRecord\"}}"
        );
        assert_eq!(named_blobs(entry.as_bytes()), vec![[0xab; 32]]);
        assert_eq!(mentioned_hashes(entry.as_bytes()), vec![[0xab; 32], [0xcd; 32]]);
        let redaction = entry.replace("NewRecord", "redaction");
        assert_eq!(named_blobs(redaction.as_bytes()), Vec::<[u8; 32]>::new());
        assert_eq!(erased_blobs(redaction.as_bytes()), vec![[0xab; 32]]);
        assert_eq!(erased_blobs(entry.as_bytes()), Vec::<[u8; 32]>::new());
        assert_eq!(mentioned_hashes(b"short"), Vec::<[u8; 32]>::new());
    }

    #[test]
    fn text_that_looks_like_a_field_names_nothing() {
        let entry =
            format!("{{\"body\":{{\"x\":\"\\\"sha256\\\":\\\"{}\\\"\"}},\"type\":\"NewRecord\"}}", "ab".repeat(32));
        assert_eq!(named_blobs(entry.as_bytes()), Vec::<[u8; 32]>::new());
        assert_eq!(mentioned_hashes(entry.as_bytes()), Vec::<[u8; 32]>::new());
    }
}
