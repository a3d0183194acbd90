//! Proven canonical JSON (RFC 8785), the only bytes a log accepts.

use serde::{Serialize, de::DeserializeOwned};

/// Longest entry in bytes: 256 of them and their lengths stay far below what a reader must buffer.
pub const MAX_ENTRY: usize = 16 * 1024;

/// Largest absolute value of a number, 2^53 - 1 (RFC 7493): larger ones change in readers that use doubles.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why bytes are no entry, or no transaction that counts. Says what is wrong, never the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Too many bytes.
    #[error("the entry has {0} bytes, more than {MAX_ENTRY}: put long content into a blob")]
    TooLong(usize),
    /// Not JSON, or not of the type it claims to be.
    #[error("the entry is not valid: line {line}, column {column} of its JSON")]
    Malformed {
        /// Line, from 1 (0 when unknown).
        line: usize,
        /// Column, from 1 (0 when unknown).
        column: usize,
    },
    /// JSON, but not in the one spelling that RFC 8785 gives it.
    #[error("the entry is not canonical JSON (RFC 8785): unknown, repeated or unsorted fields, or another spelling")]
    NotCanonical,
    /// A fraction, an exponent, or an integer past 2^53 - 1.
    #[error("numbers in an entry are integers of at most 2^53 - 1; write others as decimal strings")]
    Number,
    /// No known `type` at the place where canonical order puts it.
    #[error("the entry's type is unknown or missing")]
    UnknownType,
    /// A field holds a value outside its form.
    #[error("the field `{0}` is not of the documented form")]
    Field(&'static str),
    /// The signature does not fit key and body.
    #[error("the signature does not verify under the entry's key")]
    BadSignature,
    /// The key has small order, or is not a point of the curve.
    #[error("the signing key is weak or not an Ed25519 public key")]
    BadKey,
}

impl From<serde_json::Error> for EntryError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed { line: error.line(), column: error.column() }
    }
}

/// Bytes proven to be one JSON object in canonical form, at most [`MAX_ENTRY`] long, all numbers integers
/// of at most 2^53 - 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical(Vec<u8>);

impl Canonical {
    /// The canonical form of a value.
    ///
    /// # Errors
    /// The value is no JSON object, has a number that is refused, or is too long.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, EntryError> {
        let bytes = canonical_bytes(value)?;
        check_shape(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that are canonical already.
    ///
    /// # Errors
    /// They are not: nothing is repaired.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, EntryError> {
        check_shape(&bytes)?;
        let value: serde_json::Value = serde_json::from_slice(&bytes)?;
        if canonical_bytes(&value)? != bytes {
            return Err(EntryError::NotCanonical);
        }
        Ok(Self(bytes))
    }

    /// Bytes that the caller just put together in canonical form.
    pub(super) fn assembled(bytes: Vec<u8>) -> Result<Self, EntryError> {
        check_shape(&bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes as the log stores and hashes them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, moved out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// RFC 8785 bytes of a value, unchecked for numbers and length.
pub(super) fn canonical_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, EntryError> {
    Ok(serde_json_canonicalizer::to_vec(value)?)
}

/// Reads a typed value from its canonical bytes, and refuses bytes that are not its canonical form.
pub(super) fn parse_exact<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, EntryError> {
    let value: T = serde_json::from_slice(bytes)?;
    if canonical_bytes(&value)? != bytes {
        return Err(EntryError::NotCanonical);
    }
    Ok(value)
}

/// Length, object, and the form of each number, without building a tree.
pub(super) fn check_shape(bytes: &[u8]) -> Result<(), EntryError> {
    if bytes.len() > MAX_ENTRY {
        return Err(EntryError::TooLong(bytes.len()));
    }
    if bytes.first() != Some(&b'{') {
        return Err(EntryError::Malformed { line: 1, column: 1 });
    }
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte == b'"' {
            while let Some(inner) = rest.next() {
                match inner {
                    b'"' => break,
                    b'\\' => drop(rest.next()),
                    _ => {}
                }
            }
        } else if byte == b'-' || byte.is_ascii_digit() {
            let mut value = u64::from(byte.wrapping_sub(b'0')) * u64::from(byte != b'-');
            while let Some(next) = rest.next_if(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
            {
                if !next.is_ascii_digit() {
                    return Err(EntryError::Number);
                }
                value = value.saturating_mul(10).saturating_add(u64::from(next - b'0'));
            }
            if value > MAX_INTEGER {
                return Err(EntryError::Number);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Canonical, EntryError> {
        Canonical::parse(text.as_bytes().to_vec())
    }

    #[test]
    fn properties_are_sorted_by_utf16_units() {
        // RFC 8785, section 3.2.3: the order of these names, the smiling face's surrogates before U+FB33.
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let text = String::from_utf8(Canonical::of(&value).unwrap().into_bytes()).unwrap();
        assert_eq!(text, "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}");
        assert_eq!(parse(&text).unwrap().as_bytes(), text.as_bytes());
    }

    #[test]
    fn strings_are_spelled_as_rfc_8785_says() {
        // RFC 8785, section 3.2.2.2.
        let value = json!({"s": "\u{20ac}$\u{0f}\nA'B\"\\\\\"/"});
        let bytes = Canonical::of(&value).unwrap().into_bytes();
        assert_eq!(String::from_utf8(bytes).unwrap(), "{\"s\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
    }

    #[test]
    fn one_spelling_is_taken_and_no_other() {
        assert!(parse(r#"{"a":1,"b":[true,null,"x"]}"#).is_ok());
        for wrong in
            [r#"{"b":1,"a":1}"#, r#"{"a":1,"a":1}"#, r#"{"a": 1}"#, "{\"a\":1}\n", r#"{"a":"\u0041"}"#, r#"{"a":"\/"}"#]
        {
            assert_eq!(parse(wrong), Err(EntryError::NotCanonical), "{wrong}");
        }
        for wrong in ["[1]", "1", "", "{\"a\":}", "{\"a\":\"", "{\"a\":01}", "{\"a\":\"\u{0}\"}"] {
            assert!(matches!(parse(wrong), Err(EntryError::Malformed { .. })), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_safe_integers() {
        for right in ["0", "-1", "9007199254740991", "-9007199254740991"] {
            assert!(parse(&format!("{{\"a\":{right}}}")).is_ok(), "{right}");
        }
        for wrong in ["0.5", "1e3", "9007199254740992", "-9007199254740992", "18446744073709551616", "1E400"] {
            assert_eq!(parse(&format!("{{\"a\":{wrong}}}")), Err(EntryError::Number), "{wrong}");
        }
        assert_eq!(parse("{\"a\":-0}"), Err(EntryError::NotCanonical));
        assert_eq!(Canonical::of(&json!({"a": 0.5})), Err(EntryError::Number));
        assert!(parse(r#"{"a":"1.5e9 and \" 2.5"}"#).is_ok(), "digits inside a string are text");
    }

    #[test]
    fn length_is_limited() {
        let text = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        assert!(parse(&text(MAX_ENTRY)).is_ok());
        assert_eq!(parse(&text(MAX_ENTRY + 1)), Err(EntryError::TooLong(MAX_ENTRY + 1)));
    }
}
