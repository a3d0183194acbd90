//! What the accountant keeps of the log beside the budget: releases, and what became of each Idempotency-Key.

use std::{collections::BTreeMap, sync::Arc};

use epiledger_ledger::entry::AuditEntry;
use sha2::{Digest, Sha256};

use super::SALT;
use crate::{
    bound::hex,
    budget::{Budget, FoldError, paid},
    loss::PrivacyLoss,
    release::Release,
};

/// A release in the cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The noisy numbers.
    pub release: Arc<Release>,
    /// Log index of its outcome.
    pub index: u64,
    /// The protocol that paid.
    pub protocol: String,
    /// What it paid.
    pub loss: PrivacyLoss,
    /// Commitment to the text that it answered.
    pub sql_commit: String,
    /// Commitment to its numbers.
    pub result_commit: String,
}

/// What became of an Idempotency-Key.
#[derive(Clone, Debug)]
pub struct Known {
    /// The salt of its request's commitment; None when the text was redacted.
    salt: Option<[u8; SALT]>,
    sql_commit: String,
    commit: Option<String>,
    /// None while it is in flight; then its release, or None for a failure.
    pub ended: Option<Option<Cached>>,
}

impl Known {
    /// Was the key used for this request? One whose text was redacted is no other's.
    #[must_use]
    pub fn is(&self, request: &str) -> bool {
        let commit = self.salt.map(|salt| hex(&Sha256::digest([&salt[..], request.as_bytes()].concat())));
        commit.is_some() && commit == self.commit
    }
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) budget: Budget,
    pub(super) cache: BTreeMap<String, Cached>,
    pub(super) releases: BTreeMap<String, Cached>,
    pub(super) keys: BTreeMap<String, Known>,
    pub(super) snapshots: BTreeMap<u64, String>,
    asked: BTreeMap<String, Asked>,
}

/// What an outcome needs of its intent.
struct Asked {
    protocol: String,
    loss: PrivacyLoss,
    sql_commit: String,
    idempotency: Option<String>,
}

impl Inner {
    pub(super) fn apply(
        &mut self,
        index: u64,
        entry: &AuditEntry,
        release: Option<Arc<Release>>,
        salt: Option<[u8; SALT]>,
    ) -> Result<(), FoldError> {
        self.budget.apply(index, entry)?;
        match entry {
            AuditEntry::QueryIntent(intent) => {
                if let Some(key) = &intent.idempotency {
                    let known = Known {
                        salt,
                        sql_commit: intent.sql_commit.clone(),
                        commit: intent.request_commit.clone(),
                        ended: None,
                    };
                    self.keys.insert(key.clone(), known);
                }
                let asked = Asked {
                    protocol: intent.protocol.clone(),
                    loss: paid(intent).unwrap_or_default(),
                    sql_commit: intent.sql_commit.clone(),
                    idempotency: intent.idempotency.clone(),
                };
                self.asked.insert(intent.query_id.clone(), asked);
            }
            AuditEntry::Snapshot(pinned) => {
                self.snapshots.insert(pinned.number, pinned.cut_at.clone());
            }
            AuditEntry::QueryOutcome(outcome) => {
                let Some(asked) = self.asked.remove(&outcome.query_id) else {
                    return Ok(());
                };
                let Asked { protocol, loss, sql_commit, idempotency } = asked;
                let result_commit = outcome.result_commit.clone().unwrap_or_default();
                let cached =
                    release.map(|release| Cached { release, index, protocol, loss, sql_commit, result_commit });
                if let Some(known) = idempotency.and_then(|key| self.keys.get_mut(&key)) {
                    known.ended = Some(cached.clone());
                }
                if let Some(cached) = cached {
                    self.cache.insert(cached.release.cache_key().to_owned(), cached.clone());
                    self.releases.insert(outcome.query_id.clone(), cached);
                }
            }
            AuditEntry::Redaction(redaction) => self.forget(&redaction.sha256),
            _ => {}
        }
        Ok(())
    }

    /// Lets go of what is behind a commitment, so that this is what a fold over the log without it gives.
    fn forget(&mut self, commit: &str) {
        for known in self.keys.values_mut() {
            if known.sql_commit == commit {
                known.salt = None;
            }
            if known.ended.iter().flatten().any(|cached| cached.result_commit == commit) {
                known.ended = Some(None);
            }
        }
        self.releases.retain(|_, cached| cached.result_commit != commit);
        let gone: Vec<String> =
            self.cache.extract_if(.., |_, cached| cached.result_commit == commit).map(|(key, _)| key).collect();
        for key in gone {
            let same = self.releases.values().filter(|cached| cached.release.cache_key() == key);
            if let Some(held) = same.max_by_key(|cached| cached.index).cloned() {
                self.cache.insert(key, held);
            }
        }
    }
}
