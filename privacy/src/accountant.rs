//! The accountant: the audit log and the fold over it, kept in step under one lock.
//!
//! Reserving is one append: within every level, or nothing is written. The entry is durable before
//! [`Reserved`] exists, so nothing can be read before it is paid and logged. Order under the lock is the
//! order of the log; the wait for the disk happens outside of it, so that a batch shares one fsync.
//!
//! A reservation is not made by hand, and not copied:
//! ```compile_fail,E0451
//! fn forge(a: epiledger_privacy::accountant::Reserved) -> epiledger_privacy::accountant::Reserved {
//!     epiledger_privacy::accountant::Reserved { query_id: String::new(), ..a }
//! }
//! ```
//! ```compile_fail,E0308
//! fn copy(a: &epiledger_privacy::accountant::Reserved) -> epiledger_privacy::accountant::Reserved { a.clone() }
//! ```
//! Its twin, which passes it on:
//! ```
//! fn pass(a: epiledger_privacy::accountant::Reserved) -> epiledger_privacy::accountant::Reserved { a }
//! ```

mod ending;
mod error;
mod memory;
mod policy;
mod series;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use epiledger_ledger::{
    Log, LogError, NewEntry, Ticket,
    entry::{
        AuditEntry, AuditLogEntry, QueryIntent, QueryOutcome, Redaction, SeriesWindow, parse_audit_entry,
        query::Outcome as Ending,
    },
    tree::{Frontier, leaf_hash},
};
use sha2::{Digest, Sha256};

pub use error::{AccountantError, ReserveError};
pub use memory::{Cached, Known};

use crate::{
    bound::{BoundedPlan, hex},
    budget::{Budget, Level, Policy},
    clock::Timing,
    finer::{Finer, as_fine},
    loss::PrivacyLoss,
    release::Release,
};
use memory::Inner;

/// Bytes of the salt before a committed text.
const SALT: usize = 32;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Pseudonym.
    pub principal: String,
    /// API key's id.
    pub key_id: String,
    /// Role.
    pub role: String,
    /// Protocol.
    pub protocol: String,
    /// Text of the question: SQL, then its parameters as comments.
    pub text: String,
    /// The whole request in one canonical text: what an Idempotency-Key stands for.
    pub request: String,
    /// SHA-256 of (principal, protocol, Idempotency-Key).
    pub idempotency: Option<String>,
    /// SHA-256 of the running build.
    pub build: String,
    /// How outcomes are timed.
    pub timing: Timing,
}

/// A question that is paid: its intent is durable. Consumed by the one release that it paid for.
pub struct Reserved {
    accountant: Arc<Accountant>,
    plan: BoundedPlan,
    finer: Option<Finer>,
    loss: PrivacyLoss,
    query_id: String,
    intent: u64,
    closed: bool,
    counting: Option<series::Counting>,
}

/// The budget, its log, and the releases that were paid for.
pub struct Accountant {
    log: Arc<Log>,
    inner: Mutex<Inner>,
}

impl Accountant {
    /// Folds the log, and closes as abandoned what was paid but has no outcome, unless the log is frozen.
    ///
    /// # Errors
    /// The log can't be read, or does not fold.
    pub fn open(log: Arc<Log>) -> Result<Arc<Self>, AccountantError> {
        let (mut inner, mut tree, head) = (Inner::default(), Frontier::default(), log.checkpoint());
        // Entries count on through closed logs, which their readers hold to their own heads.
        for index in 0..log.first() + head.size {
            let bytes = log.read(index)?;
            if index >= log.first() {
                tree.push(leaf_hash(&bytes));
            }
            match parse_audit_entry(&bytes).map_err(|_| AccountantError::Unreadable(index))? {
                AuditLogEntry::Block(_) => {}
                AuditLogEntry::Entry(entry) => {
                    let release = match &entry {
                        AuditEntry::QueryOutcome(QueryOutcome { result_commit: Some(commit), .. }) => {
                            opened(&log, commit)?.and_then(|text| Release::read(&text))
                        }
                        _ => None,
                    };
                    let salt = match &entry {
                        AuditEntry::QueryIntent(QueryIntent { idempotency: Some(_), sql_commit, .. }) => {
                            log.blob(sql_commit)?.and_then(|blob| blob.get(..SALT)?.try_into().ok())
                        }
                        _ => None,
                    };
                    inner.apply(index, &entry, release.map(Arc::new), salt)?;
                }
            }
        }
        // A cap or a price that was edited in the files would be free budget: what was folded is what the log signed.
        if tree.root() != head.root {
            let (file, reason) = ("tile/entries".into(), "the entries do not have the signed root".into());
            return Err(LogError::Corrupt { file, reason }.into());
        }
        let abandoned: Vec<(String, u64)> =
            inner.budget.open().iter().map(|(query_id, open)| (query_id.clone(), open.index)).collect();
        let accountant = Arc::new(Self { log, inner: Mutex::new(inner) });
        if accountant.log.frozen().is_some() {
            return Ok(accountant);
        }
        for (query_id, intent) in abandoned {
            let outcome = QueryOutcome { query_id, intent, outcome: Ending::Abandoned, result_commit: None };
            accountant.end(&AuditEntry::QueryOutcome(outcome), Vec::new(), None)?;
        }
        Ok(accountant)
    }

    /// The audit log.
    #[must_use]
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The budget as it stands.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.lock().budget.clone()
    }

    /// The policy in force now, by the log's time.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        let inner = self.lock();
        inner.budget.policy(self.log.time()).cloned()
    }

    /// Every level that binds this asker now, by the log's time.
    #[must_use]
    pub fn levels(&self, protocol: &str, principal: &str) -> Vec<Level> {
        let inner = self.lock();
        inner.budget.levels(protocol, principal, self.log.time())
    }

    /// The release of this cache key, if it is at least what `plan` would buy.
    #[must_use]
    pub fn cached(&self, plan: &BoundedPlan) -> Option<Cached> {
        self.lock().cache.get(plan.cache_key()).filter(|cached| as_fine(&cached.release, plan)).cloned()
    }

    /// A release by its statement's id.
    #[must_use]
    pub fn release(&self, query_id: &str) -> Option<Cached> {
        self.lock().releases.get(query_id).cloned()
    }

    /// Every release, by its statement's id.
    #[must_use]
    pub fn releases(&self) -> Vec<Cached> {
        self.lock().releases.values().cloned().collect()
    }

    /// Snapshots that the log says were read: number and the instant of the cut.
    #[must_use]
    pub fn snapshots(&self) -> BTreeMap<u64, String> {
        self.lock().snapshots.clone()
    }

    /// The protocol's purpose, if the asker may ask under it now. Nothing is written.
    ///
    /// # Errors
    /// [`ReserveError::Protocol`].
    pub fn permit(&self, asker: &Asker) -> Result<String, ReserveError> {
        usable(&self.lock().budget, asker, self.log.time())
    }

    /// The text behind a commitment, without its salt; None when it was redacted.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn text(&self, commit: &str) -> Result<Option<Vec<u8>>, AccountantError> {
        opened(&self.log, commit)
    }

    /// What became of an Idempotency-Key's hash.
    #[must_use]
    pub fn known(&self, idempotency: &str) -> Option<Known> {
        self.lock().keys.get(idempotency).cloned()
    }

    /// Appends an entry that is not an intent and folds it; durable when this returns its index.
    ///
    /// # Errors
    /// The entry can't follow the log (nothing is written), or the log failed.
    pub fn record(&self, entry: AuditEntry, blobs: Vec<Vec<u8>>) -> Result<u64, AccountantError> {
        let ticket = {
            let mut inner = self.lock();
            self.submit(&mut inner, &entry, blobs, None, None)?
        };
        let index = ticket.first_index();
        ticket.wait_pinned()?;
        Ok(index)
    }

    /// Redacts blobs: each redaction durable, its blob gone from the log and from here, when this returns their indices.
    ///
    /// # Errors
    /// A blob is not stored (nothing is written), or the log failed.
    pub fn redact(&self, redactions: Vec<Redaction>) -> Result<Vec<u64>, AccountantError> {
        let blobs: Vec<String> = redactions.iter().map(|redaction| redaction.sha256.clone()).collect();
        let record = |redaction| self.record(AuditEntry::Redaction(redaction), Vec::new());
        self.log.erase(&blobs, || redactions.into_iter().map(record).collect())
    }

    /// Pays for a plan: within every level, one durable append.
    ///
    /// # Errors
    /// Nothing was spent, but for a log failure, where the process must stop.
    pub fn reserve(self: &Arc<Self>, plan: BoundedPlan, asker: &Asker) -> Result<Reserved, ReserveError> {
        if plan.window().is_some() {
            return Err(ReserveError::Series("its windows are taken in order"));
        }
        self.pay(plan, asker, None, rand::random())
    }

    /// As [`Self::reserve`], for windows of a series too: one that was paid for by the opening at an index is free.
    fn pay(
        self: &Arc<Self>,
        plan: BoundedPlan,
        asker: &Asker,
        opened: Option<u64>,
        salt: [u8; SALT],
    ) -> Result<Reserved, ReserveError> {
        if plan.synthetic() {
            return Err(ReserveError::Synthetic);
        }
        if let Some(why) = self.log.frozen() {
            return Err(ReserveError::RolledBack(why.to_owned()));
        }
        let query_id = hex(&rand::random::<[u8; 16]>());
        let salted = |text: &str| hex(&Sha256::digest([&salt[..], text.as_bytes()].concat()));
        let (finer, loss);
        let ticket = {
            let mut inner = self.lock();
            let time = self.log.time();
            let policy = inner.budget.policy(time).ok_or(ReserveError::NoPolicy)?.entry.clone();
            if policy.policy != plan.policy() || policy.terms.id_space != plan.id_space() {
                return Err(ReserveError::Stale);
            }
            let purpose = usable(&inner.budget, asker, time)?;
            if asker.idempotency.as_ref().is_some_and(|key| inner.keys.contains_key(key)) {
                return Err(ReserveError::KnownKey);
            }
            let held = inner.cache.get(plan.cache_key()).filter(|_| plan.window().is_none());
            finer = held.and_then(|held| Finer::of(&plan, held));
            loss = match opened {
                Some(_) => PrivacyLoss::ZERO,
                None => finer.as_ref().map_or_else(|| plan.loss(), Finer::loss),
            };
            for level in inner.budget.levels(&asker.protocol, &asker.principal, time) {
                if !loss.within(level.remaining()) {
                    return Err(ReserveError::Exhausted(Box::new(level), loss));
                }
            }
            if inner.budget.protocols().get(&asker.protocol).is_some_and(crate::budget::Protocol::full) {
                return Err(ReserveError::UnderWay);
            }
            let intent = QueryIntent {
                query_id: query_id.clone(),
                principal: asker.principal.clone(),
                key_id: asker.key_id.clone(),
                role: asker.role.clone(),
                protocol: asker.protocol.clone(),
                purpose,
                id_space: plan.id_space().to_owned(),
                sql_commit: salted(&asker.text),
                plan_commit: salted(plan.text()),
                build: asker.build.clone(),
                snapshot: plan.snapshot(),
                timing: asker.timing.as_str().to_owned(),
                time,
                finer: finer.as_ref().map(Finer::cites),
                series: plan.window().map(|window| SeriesWindow {
                    opened,
                    plan: salted(plan.series_text()),
                    terms: window.terms.clone(),
                    from: window.from.clone(),
                    to: window.to.clone(),
                }),
                primitives: finer.as_ref().map_or_else(|| plan.primitives(), Finer::primitives),
                rho: loss.rho.to_string(),
                delta: loss.delta.to_string(),
                state: inner.budget.state(),
                bounds: plan.bounds().clone(),
                policy: policy.policy,
                idempotency: asker.idempotency.clone(),
                request_commit: asker.idempotency.as_ref().map(|_| salted(&asker.request)),
            };
            inner.budget.series().check(&intent).map_err(ReserveError::Series)?;
            // A later window names the opening's text, which the log holds.
            let blob = opened.is_none().then(|| [&salt[..], asker.text.as_bytes()].concat());
            self.submit(&mut inner, &AuditEntry::QueryIntent(intent), blob.into_iter().collect(), None, Some(salt))?
        };
        let intent = ticket.first_index();
        // A copy of the folder from before this moment shows as one: the price is not to be had a second time.
        ticket.wait_pinned().map_err(AccountantError::from)?;
        Ok(Reserved {
            accountant: Arc::clone(self),
            plan,
            finer,
            loss,
            query_id,
            intent,
            closed: false,
            counting: None,
        })
    }

    /// Hands an entry to the log and folds it at once: the order of the fold is the order of the log.
    fn submit(
        &self,
        inner: &mut Inner,
        entry: &AuditEntry,
        blobs: Vec<Vec<u8>>,
        release: Option<Arc<Release>>,
        salt: Option<[u8; SALT]>,
    ) -> Result<Ticket, AccountantError> {
        let canonical = entry.to_canonical()?;
        // Checked first, so that an entry that can't follow is not written.
        inner.budget.check(entry).map_err(|what| AccountantError::Refused { what })?;
        let ticket = self.log.submit(vec![NewEntry { entry: canonical, blobs }])?;
        inner.apply(ticket.first_index(), entry, release, salt)?;
        Ok(ticket)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves the fold at an entry boundary or one behind the log; the log's own
        // checks refuse an intent against a wrong state, so going on is safe.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The purpose of the protocol, if the asker may ask under it at this time.
fn usable(budget: &Budget, asker: &Asker, time: u64) -> Result<String, ReserveError> {
    let refuse = |why: &str| ReserveError::Protocol(format!("{} {why}", asker.protocol));
    let protocol =
        budget.protocols().get(&asker.protocol).ok_or_else(|| refuse("is not approved: ask the ethics board"))?;
    protocol.usable(&asker.principal, time).map_err(refuse)?;
    Ok(protocol.approval.purpose.clone())
}

/// The text behind a commitment, without its salt; None when it was redacted.
fn opened(log: &Log, commit: &str) -> Result<Option<Vec<u8>>, AccountantError> {
    Ok(log.blob(commit)?.and_then(|blob| blob.get(SALT..).map(<[u8]>::to_vec)))
}

impl Reserved {
    pub(crate) const fn plan(&self) -> &BoundedPlan {
        &self.plan
    }

    pub(crate) fn query_id(&self) -> &str {
        &self.query_id
    }

    /// What is drawn beside what is held, for the difference in price.
    pub(crate) const fn finer(&self) -> Option<&Finer> {
        self.finer.as_ref()
    }

    /// What was paid.
    #[must_use]
    pub const fn loss(&self) -> PrivacyLoss {
        self.loss
    }
}
