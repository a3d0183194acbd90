//! The key registry: a fold over the ledger that says who may sign what at which index.
//!
//! The ledger's first transaction (index 0) registers the registrar, signed by itself. The registrar registers hospitals
//! and experts, a hospital registers patients. A party has one key at a time, replaced by its old one; after a
//! revocation the one who registered the party may register it anew. Nobody else can take over a party's name.

use std::collections::{HashMap, HashSet};

use crate::{
    entry::{KeyRegister, ModifyRecord, Transaction, key::Party},
    hex,
    tree::sha256,
};

/// Why a transaction on the ledger does not count. It stays on the ledger; its code goes into quarantine counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum KeyFault {
    /// The bytes are no transaction of a known type.
    #[error("it is no transaction of a known type")]
    Malformed,
    /// The signature does not verify, or the key is weak.
    #[error("the signature does not verify")]
    BadSignature,
    /// The key was never registered.
    #[error("the signing key is not registered")]
    UnknownKey,
    /// The key's first index is still to come.
    #[error("the signing key is not valid yet at this index")]
    NotYetValid,
    /// The key was revoked or replaced.
    #[error("the signing key was revoked or replaced before this index")]
    Revoked,
    /// The key is valid, but its owner may not sign this.
    #[error("the signing key belongs to a party that may not sign this")]
    WrongSigner,
    /// A registration of something that is no Ed25519 public key in hex.
    #[error("the registered key is not 64 lower-case hex digits")]
    MalformedKey,
    /// The key was registered before, by anyone.
    #[error("the registered key is known already")]
    KeyTaken,
    /// The party has a key, or was registered by someone else.
    #[error("the party has a key already, or another party registered it")]
    OwnerTaken,
    /// `prev_index` is not the newest version of the record.
    #[error("prev_index is not the newest version of this record")]
    NotNewest,
}

impl KeyFault {
    /// The stable reason code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::NotYetValid => "KEY_NOT_YET_VALID",
            Self::Revoked => "KEY_REVOKED",
            Self::WrongSigner => "WRONG_SIGNER",
            Self::MalformedKey => "MALFORMED_KEY",
            Self::KeyTaken => "KEY_TAKEN",
            Self::OwnerTaken => "OWNER_TAKEN",
            Self::NotNewest => "PREV_NOT_NEWEST",
        }
    }
}

/// Half of a SHA-256: names keys, parties and questions by the million, and is still infeasible to collide.
pub(crate) type Short = [u8; 16];

pub(crate) fn short(parts: &[&[u8]]) -> Short {
    let digest = sha256(&parts.concat());
    let mut half = Short::default();
    half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    half
}

fn party_name(party: Party, owner: &str) -> Short {
    let party: &[u8] = match party {
        Party::Registrar => b"registrar\0",
        Party::Hospital => b"hospital\0",
        Party::Patient => b"patient\0",
        Party::Expert => b"expert\0",
    };
    short(&[party, owner.as_bytes()])
}

/// A key's name; `None` when the text is no key.
fn key_name(hex_key: &str) -> Option<Short> {
    hex::decode::<32>(hex_key).map(|key| short(&[&key]))
}

#[derive(Clone, Copy, Debug)]
struct Key {
    owner: Short,
    party: Party,
    /// First index at which it counts, and the first at which it does not any more.
    from: u64,
    until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    newest_key: Short,
    registered_by: Short,
}

/// Keys and parties as of some index of the ledger.
#[derive(Clone, Debug, Default)]
pub struct KeyRegistry {
    keys: HashMap<Short, Key>,
    owners: HashMap<Short, Owner>,
}

impl KeyRegistry {
    /// An empty registry, before index 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys ever registered.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key was registered yet.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether `key` (64 hex digits) is this party's at ledger index `index`.
    pub fn is_key_of(&self, party: Party, owner: &str, key: &str, index: u64) -> bool {
        let key = key_name(key).and_then(|name| self.valid(&name, index).ok());
        key.is_some_and(|key| key.party == party && key.owner == party_name(party, owner))
    }

    /// Whether `key` (64 hex digits) may sign this transaction at ledger index `index`. The signature itself is
    /// [`crate::SignedTransaction::verify_signature`]'s question, the newest version [`RecordChain`]'s.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_sign(&self, transaction: &Transaction, key: &str, index: u64) -> Result<(), KeyFault> {
        if let Transaction::KeyRegister(new) = transaction
            && new.party == Party::Registrar
        {
            let first = index == 0 && self.keys.is_empty() && new.public_key == key;
            return if first { self.may_register(new, Short::default()) } else { Err(KeyFault::WrongSigner) };
        }
        let name = key_name(key).ok_or(KeyFault::UnknownKey)?;
        let signer = self.valid(&name, index)?;
        let is = |party, owner: &str| signer.party == party && signer.owner == party_name(party, owner);
        let allowed = match transaction {
            Transaction::NewRecord(record) => is(Party::Hospital, &record.provider),
            Transaction::ModifyRecord(record) => is(Party::Hospital, &record.provider),
            Transaction::GrantAccess(grant) => is(Party::Patient, &grant.patient),
            Transaction::RevokeAccess(revoke) => is(Party::Patient, &revoke.patient),
            Transaction::RequestAccess(_) => true,
            Transaction::Determination(determination) => is(Party::Expert, &determination.expert),
            Transaction::Erase(erase) => {
                is(Party::Patient, &erase.patient)
                    || signer.party == Party::Registrar
                    || self.registered_by(party_name(Party::Patient, &erase.patient)) == Some(signer.owner)
            }
            Transaction::KeyRegister(new) => {
                let registers = match new.party {
                    Party::Hospital | Party::Expert => signer.party == Party::Registrar,
                    Party::Patient => signer.party == Party::Hospital,
                    Party::Registrar => false,
                };
                if registers {
                    self.may_register(new, signer.owner)?;
                }
                registers
            }
            Transaction::KeyRotate(rotate) => {
                let new = key_name(&rotate.new_key).ok_or(KeyFault::MalformedKey)?;
                if self.keys.contains_key(&new) {
                    return Err(KeyFault::KeyTaken);
                }
                rotate.old_key == key && signer.owner == party_name(signer.party, &rotate.owner)
            }
            Transaction::KeyRevoke(revoke) => {
                let ends =
                    key_name(&revoke.public_key).and_then(|name| self.keys.get(&name)).ok_or(KeyFault::UnknownKey)?;
                let named = ends.owner == party_name(ends.party, &revoke.owner);
                named && (ends.owner == signer.owner || self.registered_by(ends.owner) == Some(signer.owner))
            }
        };
        if allowed { Ok(()) } else { Err(KeyFault::WrongSigner) }
    }

    /// [`Self::may_sign`], and then takes in what the transaction says about keys. Call it for each transaction whose
    /// signature verifies, in the order of the ledger.
    ///
    /// # Errors
    /// Why it may not be signed so; nothing is taken in then.
    pub fn apply(&mut self, transaction: &Transaction, key: &str, index: u64) -> Result<(), KeyFault> {
        self.may_sign(transaction, key, index)?;
        let signer = key_name(key).ok_or(KeyFault::UnknownKey)?;
        let after = index.saturating_add(1);
        match transaction {
            Transaction::KeyRegister(new) => {
                let newest_key = key_name(&new.public_key).ok_or(KeyFault::MalformedKey)?;
                let owner = party_name(new.party, &new.owner);
                let registered_by = self.keys.get(&signer).map_or(owner, |signer| signer.owner);
                self.keys.insert(newest_key, Key { owner, party: new.party, from: new.from_height, until: u64::MAX });
                self.owners.insert(owner, Owner { newest_key, registered_by });
            }
            Transaction::KeyRotate(rotate) => {
                let newest_key = key_name(&rotate.new_key).ok_or(KeyFault::MalformedKey)?;
                let from = rotate.from_height.max(after);
                if let Some(old) = self.keys.get_mut(&signer) {
                    old.until = old.until.min(from);
                    let new = Key { from, until: u64::MAX, ..*old };
                    if let Some(owner) = self.owners.get_mut(&new.owner) {
                        owner.newest_key = newest_key;
                    }
                    self.keys.insert(newest_key, new);
                }
            }
            Transaction::KeyRevoke(revoke) => {
                if let Some(key) = key_name(&revoke.public_key).and_then(|name| self.keys.get_mut(&name)) {
                    key.until = key.until.min(revoke.from_height.max(after));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn valid(&self, name: &Short, index: u64) -> Result<Key, KeyFault> {
        let key = self.keys.get(name).ok_or(KeyFault::UnknownKey)?;
        match index {
            early if early < key.from => Err(KeyFault::NotYetValid),
            late if late >= key.until => Err(KeyFault::Revoked),
            _ => Ok(*key),
        }
    }

    fn registered_by(&self, owner: Short) -> Option<Short> {
        self.owners.get(&owner).map(|owner| owner.registered_by)
    }

    fn may_register(&self, new: &KeyRegister, signer: Short) -> Result<(), KeyFault> {
        let key = key_name(&new.public_key).ok_or(KeyFault::MalformedKey)?;
        if self.keys.contains_key(&key) {
            return Err(KeyFault::KeyTaken);
        }
        let Some(owner) = self.owners.get(&party_name(new.party, &new.owner)) else {
            return Ok(());
        };
        let ended = self.keys.get(&owner.newest_key).is_some_and(|key| key.until != u64::MAX);
        if ended && owner.registered_by == signer { Ok(()) } else { Err(KeyFault::OwnerTaken) }
    }
}

/// Which versions of records are the newest. Keeps the superseded and the refused only, so it grows with corrections
/// and not with the ledger.
#[derive(Clone, Debug, Default)]
pub struct RecordChain {
    superseded: HashSet<u64>,
    refused: HashSet<u64>,
}

impl RecordChain {
    /// [`Self::may_supersede`], and then takes the correction in.
    ///
    /// # Errors
    /// As there; nothing is taken in then.
    pub fn supersede(&mut self, modify: &ModifyRecord, previous: Option<&Transaction>) -> Result<(), KeyFault> {
        self.may_supersede(modify, previous)?;
        self.superseded.insert(modify.prev_index);
        Ok(())
    }

    /// Whether a correction or retraction counts; `previous` is the transaction at its `prev_index`, if one is there
    /// before the correction's own index.
    ///
    /// # Errors
    /// It does not continue the newest version of the same record of the same patient and provider.
    pub fn may_supersede(&self, modify: &ModifyRecord, previous: Option<&Transaction>) -> Result<(), KeyFault> {
        let name = (&modify.record_id, &modify.patient, &modify.provider);
        let same = match previous {
            Some(Transaction::NewRecord(old)) => name == (&old.record_id, &old.patient, &old.provider),
            Some(Transaction::ModifyRecord(old)) => name == (&old.record_id, &old.patient, &old.provider),
            _ => false,
        };
        let at = &modify.prev_index;
        if same && !self.refused.contains(at) && !self.superseded.contains(at) {
            Ok(())
        } else {
            Err(KeyFault::NotNewest)
        }
    }

    /// Notes a record transaction that does not count, so that no correction continues it.
    pub fn refuse(&mut self, index: u64) {
        self.refused.insert(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{GrantAccess, KeyRevoke, KeyRotate, record::Reason};

    fn key(n: u8) -> String {
        hex::encode(&[n; 32])
    }

    fn register(party: Party, owner: &str, n: u8, from_height: u64) -> Transaction {
        Transaction::KeyRegister(KeyRegister { owner: owner.into(), party, public_key: key(n), from_height })
    }

    fn grant(patient: &str) -> Transaction {
        Transaction::GrantAccess(GrantAccess {
            patient: patient.into(),
            grantee: "*".into(),
            purposes: vec![],
            categories: vec![],
            data_period: None,
            valid_from: "2020-01-01".into(),
            valid_to: None,
            wrap_sha256: None,
        })
    }

    fn rotate(owner: &str, old: u8, new: u8, from_height: u64) -> Transaction {
        Transaction::KeyRotate(KeyRotate { owner: owner.into(), old_key: key(old), new_key: key(new), from_height })
    }

    fn revoke(owner: &str, n: u8, from_height: u64) -> Transaction {
        Transaction::KeyRevoke(KeyRevoke { owner: owner.into(), public_key: key(n), from_height })
    }

    /// Registrar 0, hospitals h1 = 1 and h2 = 2, patient p = 3 of h1.
    fn registry() -> KeyRegistry {
        let mut registry = KeyRegistry::new();
        for (index, (transaction, signer)) in (0..).zip([
            (register(Party::Registrar, "r", 0, 0), 0),
            (register(Party::Hospital, "h1", 1, 0), 0),
            (register(Party::Hospital, "h2", 2, 0), 0),
            (register(Party::Patient, "p", 3, 0), 1),
        ]) {
            registry.apply(&transaction, &key(signer), index).unwrap();
        }
        registry
    }

    #[test]
    fn only_the_first_transaction_makes_a_registrar() {
        let first = register(Party::Registrar, "r", 0, 0);
        assert_eq!(KeyRegistry::new().may_sign(&first, &key(0), 1), Err(KeyFault::WrongSigner));
        assert_eq!(KeyRegistry::new().may_sign(&first, &key(1), 0), Err(KeyFault::WrongSigner));
        let second = register(Party::Registrar, "r2", 9, 0);
        assert_eq!(registry().may_sign(&second, &key(9), 4), Err(KeyFault::WrongSigner));
        assert_eq!(registry().may_sign(&second, &key(0), 4), Err(KeyFault::WrongSigner));
    }

    #[test]
    fn parties_are_registered_by_those_above_them() {
        let registry = registry();
        for (party, signer, expected) in [
            (Party::Hospital, 0, Ok(())),
            (Party::Expert, 0, Ok(())),
            (Party::Patient, 0, Err(KeyFault::WrongSigner)),
            (Party::Patient, 2, Ok(())),
            (Party::Hospital, 1, Err(KeyFault::WrongSigner)),
            (Party::Expert, 3, Err(KeyFault::WrongSigner)),
            (Party::Patient, 3, Err(KeyFault::WrongSigner)),
            (Party::Patient, 9, Err(KeyFault::UnknownKey)),
        ] {
            assert_eq!(
                registry.may_sign(&register(party, "new", 9, 0), &key(signer), 4),
                expected,
                "{party:?} by {signer}"
            );
        }
    }

    #[test]
    fn nobody_takes_over_a_patient() {
        let mut registry = registry();
        assert_eq!(registry.may_sign(&register(Party::Patient, "p", 9, 0), &key(2), 4), Err(KeyFault::OwnerTaken));
        assert_eq!(registry.may_sign(&register(Party::Patient, "q", 3, 0), &key(2), 4), Err(KeyFault::KeyTaken));
        assert_eq!(registry.may_sign(&rotate("p", 3, 9, 0), &key(2), 4), Err(KeyFault::WrongSigner));
        assert_eq!(registry.may_sign(&revoke("p", 3, 0), &key(2), 4), Err(KeyFault::WrongSigner));
        assert_eq!(registry.may_sign(&grant("p"), &key(2), 4), Err(KeyFault::WrongSigner));
        registry.apply(&revoke("p", 3, 0), &key(1), 4).unwrap();
        assert_eq!(registry.may_sign(&register(Party::Patient, "p", 9, 0), &key(2), 5), Err(KeyFault::OwnerTaken));
        registry.apply(&register(Party::Patient, "p", 9, 0), &key(1), 5).unwrap();
        assert_eq!(registry.may_sign(&grant("p"), &key(9), 6), Ok(()));
        assert_eq!(registry.may_sign(&grant("p"), &key(3), 6), Err(KeyFault::Revoked));
    }

    #[test]
    fn keys_count_from_their_height_until_they_end() {
        let mut registry = registry();
        registry.apply(&register(Party::Patient, "q", 4, 10), &key(1), 4).unwrap();
        assert_eq!(registry.may_sign(&grant("q"), &key(4), 9), Err(KeyFault::NotYetValid));
        assert_eq!(registry.may_sign(&grant("q"), &key(4), 10), Ok(()));
        registry.apply(&rotate("q", 4, 5, 20), &key(4), 11).unwrap();
        for (signer, index, expected) in
            [(4, 19, Ok(())), (5, 19, Err(KeyFault::NotYetValid)), (4, 20, Err(KeyFault::Revoked)), (5, 20, Ok(()))]
        {
            assert_eq!(registry.may_sign(&grant("q"), &key(signer), index), expected, "{signer} at {index}");
        }
        registry.apply(&revoke("q", 5, 0), &key(5), 25).unwrap();
        assert_eq!(registry.may_sign(&grant("q"), &key(5), 25), Ok(()), "a revocation never reaches back");
        assert_eq!(registry.may_sign(&grant("q"), &key(5), 26), Err(KeyFault::Revoked));
    }

    #[test]
    fn a_correction_continues_the_newest_version_of_its_record() {
        let modify = |record: &str, prev_index| ModifyRecord {
            record_id: record.into(),
            patient: "p".into(),
            provider: "h1".into(),
            prev_index,
            reason: Reason::Retract,
            payload: None,
        };
        let mut chain = RecordChain::default();
        let old = Transaction::ModifyRecord(modify("a", 0));
        assert_eq!(chain.supersede(&modify("a", 7), Some(&old)), Ok(()));
        assert_eq!(chain.supersede(&modify("a", 7), Some(&old)), Err(KeyFault::NotNewest));
        assert_eq!(chain.supersede(&modify("b", 8), Some(&old)), Err(KeyFault::NotNewest));
        assert_eq!(chain.supersede(&modify("a", 9), Some(&grant("p"))), Err(KeyFault::NotNewest));
        assert_eq!(chain.supersede(&modify("a", 9), None), Err(KeyFault::NotNewest));
        chain.refuse(9);
        assert_eq!(chain.supersede(&modify("a", 9), Some(&old)), Err(KeyFault::NotNewest));
        assert_eq!(chain.supersede(&modify("a", 10), Some(&old)), Ok(()));
    }
}
