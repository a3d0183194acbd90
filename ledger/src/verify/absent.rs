//! Blobs that entries name and that are nowhere, and which later entries excuse that.
//!
//! A redaction of the audit log excuses every entry before it that names the blob; its two approvers are the budget's
//! question. On the ledger an `Erase` speaks for one patient: it excuses that patient's entries before it. A payload that
//! two patients share must stay until both have it erased, and nothing excuses an entry that comes after.
//!
//! A transaction that does not count gives its author no say: it is excused with the patient that it names, or with the
//! patient of a record that counts, since a stranger's entry must not keep a payload from being erased.

use std::collections::HashMap;

use super::report::Fault;
use crate::{
    entry::Transaction,
    hex,
    tree::{Hash, sha256},
};

/// SHA-256 of a patient's public id: short, however long the id.
type Patient = [u8; 32];

/// What an entry that names a blob says of whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    patient: Option<Patient>,
    counts: bool,
}

impl Claim {
    /// Of a ledger's transaction.
    pub(crate) fn of(transaction: &Transaction, counts: bool) -> Self {
        let patient = match transaction {
            Transaction::NewRecord(body) => Some(&body.patient),
            Transaction::ModifyRecord(body) => Some(&body.patient),
            Transaction::GrantAccess(body) => Some(&body.patient),
            _ => None,
        };
        Self { patient: patient.map(|patient| sha256(patient.as_bytes())), counts }
    }
}

/// An entry that names a missing blob.
struct Namer {
    index: u64,
    claim: Claim,
    excused: bool,
}

/// Missing blobs by address, each with the entries that name it.
#[derive(Default)]
pub(crate) struct Absent(HashMap<Hash, Vec<Namer>>);

impl Absent {
    /// An entry names a blob that is not there.
    pub(crate) fn named(&mut self, hash: Hash, index: u64, claim: Claim) {
        self.0.entry(hash).or_default().push(Namer { index, claim, excused: false });
    }

    /// A redaction: whoever named the blob before it is excused.
    pub(crate) fn redacted(&mut self, sha256_hex: &str) {
        self.excuse(sha256_hex, |_| true);
    }

    /// An erasure that counts, of one patient's payload.
    pub(crate) fn erased(&mut self, sha256_hex: &str, patient: &str) {
        let patient = Some(sha256(patient.as_bytes()));
        let namers = hex::decode::<32>(sha256_hex).and_then(|hash| self.0.get(&hash));
        let owns = namers.into_iter().flatten().any(|namer| namer.claim == Claim { patient, counts: true });
        self.excuse(sha256_hex, |claim| claim.patient == patient || (owns && !claim.counts));
    }

    fn excuse(&mut self, sha256_hex: &str, applies: impl Fn(Claim) -> bool) {
        let namers = hex::decode::<32>(sha256_hex).and_then(|hash| self.0.get_mut(&hash));
        namers.into_iter().flatten().for_each(|namer| namer.excused = namer.excused || applies(namer.claim));
    }

    /// How many blobs are gone, each excused wherever it is named.
    ///
    /// # Errors
    /// The first entry that names a missing blob and is not excused.
    pub(crate) fn finish(&self) -> Result<u64, Fault> {
        let all = self.0.iter().flat_map(|(hash, namers)| namers.iter().map(move |namer| (hash, namer)));
        match all.filter(|(_, namer)| !namer.excused).min_by_key(|(_, namer)| namer.index) {
            None => Ok(self.0.len() as u64),
            Some((hash, namer)) => {
                let message = format!(
                    "blob {} is missing, and no later entry of somebody entitled says that it was erased",
                    hex::encode(hash)
                );
                Err(Fault::entry(namer.index, "blob", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(patient: &str, counts: bool) -> Claim {
        Claim { patient: Some(sha256(patient.as_bytes())), counts }
    }

    fn first(absent: &Absent) -> Option<String> {
        absent.finish().err().map(|fault| fault.what)
    }

    #[test]
    fn an_erasure_excuses_its_patients_earlier_entries_alone() {
        let (hash, text) = ([7; 32], "07".repeat(32));
        let mut absent = Absent::default();
        absent.erased(&text, "p");
        absent.named(hash, 5, claim("p", true));
        absent.named(hash, 6, claim("q", true));
        assert_eq!(first(&absent).as_deref(), Some("entry 5"), "it came before");
        absent.erased(&text, "stranger");
        assert_eq!(first(&absent).as_deref(), Some("entry 5"));
        absent.erased(&text, "p");
        assert_eq!(first(&absent).as_deref(), Some("entry 6"), "the other patient's payload too");
        absent.erased(&text, "q");
        assert_eq!(absent.finish(), Ok(1));
        absent.named(hash, 9, claim("p", true));
        assert_eq!(first(&absent).as_deref(), Some("entry 9"), "named again later");
    }

    #[test]
    fn an_entry_that_does_not_count_has_no_say_and_needs_none() {
        let (hash, text) = ([7; 32], "07".repeat(32));
        let mut absent = Absent::default();
        absent.named(hash, 1, claim("p", true));
        absent.named(hash, 2, claim("thief", false));
        absent.named(hash, 3, Claim::default());
        absent.erased(&text, "thief");
        assert_eq!(first(&absent).as_deref(), Some("entry 1"));
        absent.erased(&text, "p");
        assert_eq!(absent.finish(), Ok(1));
    }

    #[test]
    fn a_redaction_excuses_what_came_before() {
        let mut absent = Absent::default();
        absent.redacted(&"07".repeat(32));
        absent.named([7; 32], 1, Claim::default());
        assert_eq!(first(&absent).as_deref(), Some("entry 1"));
        absent.redacted(&"07".repeat(32));
        assert_eq!(absent.finish(), Ok(1));
    }
}
