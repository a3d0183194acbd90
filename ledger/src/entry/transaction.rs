//! The ledger's transactions, and reading one from its stored bytes.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    block::Block,
    canonical::{Canonical, EntryError, canonical_bytes, check_shape, parse_exact},
    consent::{GrantAccess, RequestAccess, RevokeAccess},
    key::{Determination, KeyRegister, KeyRevoke, KeyRotate},
    record::{Erase, ModifyRecord, NewRecord},
    signed::{SignedTransaction, split_signed},
};

/// What a hospital, patient, expert or registrar may sign; `{"body":{..},"type":".."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "body")]
pub enum Transaction {
    /// A new bundle of a patient's rows.
    NewRecord(NewRecord),
    /// A correction or retraction.
    ModifyRecord(ModifyRecord),
    /// A study asks for access.
    RequestAccess(RequestAccess),
    /// A patient consents.
    GrantAccess(GrantAccess),
    /// A patient takes consent back.
    RevokeAccess(RevokeAccess),
    /// A key begins.
    KeyRegister(KeyRegister),
    /// A key is replaced.
    KeyRotate(KeyRotate),
    /// A key ends.
    KeyRevoke(KeyRevoke),
    /// An expert's determination.
    Determination(Determination),
    /// A payload was erased.
    Erase(Erase),
}

impl Transaction {
    /// The `type` string, which also names the signature's domain.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::NewRecord(_) => "NewRecord",
            Self::ModifyRecord(_) => "ModifyRecord",
            Self::RequestAccess(_) => "RequestAccess",
            Self::GrantAccess(_) => "GrantAccess",
            Self::RevokeAccess(_) => "RevokeAccess",
            Self::KeyRegister(_) => "KeyRegister",
            Self::KeyRotate(_) => "KeyRotate",
            Self::KeyRevoke(_) => "KeyRevoke",
            Self::Determination(_) => "Determination",
            Self::Erase(_) => "Erase",
        }
    }

    /// Canonical bytes of the body alone, which the signature covers after the domain.
    pub(super) fn body_bytes(&self) -> Result<Vec<u8>, EntryError> {
        match self {
            Self::NewRecord(body) => canonical_bytes(body),
            Self::ModifyRecord(body) => canonical_bytes(body),
            Self::RequestAccess(body) => canonical_bytes(body),
            Self::GrantAccess(body) => canonical_bytes(body),
            Self::RevokeAccess(body) => canonical_bytes(body),
            Self::KeyRegister(body) => canonical_bytes(body),
            Self::KeyRotate(body) => canonical_bytes(body),
            Self::KeyRevoke(body) => canonical_bytes(body),
            Self::Determination(body) => canonical_bytes(body),
            Self::Erase(body) => canonical_bytes(body),
        }
    }

    /// A transaction of the named type from its body's canonical bytes.
    pub(super) fn parse_body(type_name: &str, body: &[u8]) -> Result<Self, EntryError> {
        fn read<T: Serialize + DeserializeOwned>(body: &[u8]) -> Result<T, EntryError> {
            parse_exact(body)
        }
        Ok(match type_name {
            "NewRecord" => Self::NewRecord(read(body)?),
            "ModifyRecord" => Self::ModifyRecord(read(body)?),
            "RequestAccess" => Self::RequestAccess(read(body)?),
            "GrantAccess" => Self::GrantAccess(read(body)?),
            "RevokeAccess" => Self::RevokeAccess(read(body)?),
            "KeyRegister" => Self::KeyRegister(read(body)?),
            "KeyRotate" => Self::KeyRotate(read(body)?),
            "KeyRevoke" => Self::KeyRevoke(read(body)?),
            "Determination" => Self::Determination(read(body)?),
            "Erase" => Self::Erase(read(body)?),
            _ => return Err(EntryError::UnknownType),
        })
    }
}

/// One leaf of the ledger.
#[expect(clippy::large_enum_variant, reason = "transactions are the common case, and are read one at a time")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEntry {
    /// What somebody signed; the signature is not verified yet.
    Transaction(SignedTransaction),
    /// The end of a batch.
    Block(Block),
}

/// Reads a ledger leaf from its stored bytes. The signature is not verified.
///
/// # Errors
/// The bytes are not the canonical form of a known type.
pub fn parse_ledger_entry(bytes: &[u8]) -> Result<LedgerEntry, EntryError> {
    check_shape(bytes)?;
    if let (body, "block") = split_type(bytes)? {
        return Ok(LedgerEntry::Block(parse_exact(body)?));
    }
    let parts = split_signed(bytes)?;
    Ok(LedgerEntry::Transaction(SignedTransaction {
        transaction: Transaction::parse_body(parts.type_name, parts.body)?,
        key: parts.key.to_owned(),
        signature: parts.signature.to_owned(),
    }))
}

/// Cuts `{"body":B,...,"type":"T"}` into B with whatever follows it before `,"type"`, and T: canonical order puts the
/// type last, so its bytes can be found without a parse. The caller proves B.
pub(super) fn split_type(bytes: &[u8]) -> Result<(&[u8], &str), EntryError> {
    let inner =
        bytes.strip_prefix(b"{\"body\":").and_then(|rest| rest.strip_suffix(b"\"}")).ok_or(EntryError::UnknownType)?;
    let start = inner.iter().rposition(|byte| *byte == b'"').ok_or(EntryError::UnknownType)? + 1;
    let (head, type_name) = inner.split_at_checked(start).ok_or(EntryError::UnknownType)?;
    let head = head.strip_suffix(b",\"type\":\"").ok_or(EntryError::UnknownType)?;
    let type_name = std::str::from_utf8(type_name).map_err(|_| EntryError::UnknownType)?;
    Ok((head, type_name))
}

/// Puts an unsigned entry together from its proven parts.
pub(super) fn join_type(body: &[u8], type_name: &str) -> Result<Canonical, EntryError> {
    Canonical::assembled([b"{\"body\":", body, b",\"type\":\"", type_name.as_bytes(), b"\"}"].concat())
}
