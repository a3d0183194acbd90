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

mod error;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use epiledger_ledger::{
    Log, NewEntry, Ticket,
    entry::{
        AuditEntry, AuditLogEntry, ProtocolSuspend, QueryIntent, QueryOutcome, parse_audit_entry,
        query::Outcome as Ending,
    },
};
use sha2::{Digest, Sha256};

pub use error::{AccountantError, ReserveError};

use crate::{
    bound::{BoundedPlan, hex},
    budget::{Budget, FAILURES_ALLOWED, FoldError},
    clock::Timing,
    loss::PrivacyLoss,
    release::{Failed, Outcome, Release},
};

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
    /// SHA-256 of (principal, protocol, Idempotency-Key).
    pub idempotency: Option<String>,
    /// SHA-256 of the running build.
    pub build: String,
    /// Today, `YYYY-MM-DD`, for the protocol's dates.
    pub today: String,
    /// How outcomes are timed.
    pub timing: Timing,
}

/// A question that is paid: its intent is durable. Consumed by the one release that it paid for.
pub struct Reserved {
    accountant: Arc<Accountant>,
    plan: BoundedPlan,
    query_id: String,
    intent: u64,
    closed: bool,
}

/// A reservation that is dropped, by a panic or a caller who went away, ends as failed.
impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.closed {
            let (accountant, entry) = (Arc::clone(&self.accountant), self.outcome(Ending::Failed, None));
            // A log that can't be written is poisoned, and the next start closes the intent as abandoned.
            std::thread::spawn(move || accountant.end(&entry, Vec::new(), None));
        }
    }
}

/// A release in the cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The noisy numbers.
    pub release: Arc<Release>,
    /// Log index of its outcome.
    pub index: u64,
    /// The protocol that paid.
    pub protocol: String,
    /// Commitment to the text that it answered.
    pub sql_commit: String,
}

/// What became of an Idempotency-Key.
#[derive(Clone, Debug)]
pub struct Known {
    /// The question's text.
    pub text: String,
    /// None while it is in flight.
    pub ended: Option<Option<Cached>>,
}

#[derive(Default)]
struct Inner {
    budget: Budget,
    cache: BTreeMap<String, Cached>,
    releases: BTreeMap<String, Cached>,
    keys: BTreeMap<String, Known>,
    asked: BTreeMap<String, Asked>,
    snapshots: BTreeMap<u64, String>,
}

/// What an outcome needs of its intent.
struct Asked {
    protocol: String,
    sql_commit: String,
    idempotency: Option<String>,
}

/// The budget, its log, and the releases that were paid for.
pub struct Accountant {
    log: Arc<Log>,
    inner: Mutex<Inner>,
}

impl Accountant {
    /// Folds the log, and closes as abandoned what was paid but has no outcome.
    ///
    /// # Errors
    /// The log can't be read, or does not fold.
    pub fn open(log: Arc<Log>) -> Result<Arc<Self>, AccountantError> {
        let mut inner = Inner::default();
        for index in 0..log.size() {
            let bytes = log.read(index)?;
            match parse_audit_entry(&bytes).map_err(|_| AccountantError::Unreadable(index))? {
                AuditLogEntry::Block(_) => {}
                AuditLogEntry::Entry(entry) => {
                    let release = match &entry {
                        AuditEntry::QueryOutcome(QueryOutcome { result_commit: Some(commit), .. }) => {
                            opened(&log, commit)?.and_then(|text| Release::read(&text))
                        }
                        _ => None,
                    };
                    let text = match &entry {
                        AuditEntry::QueryIntent(QueryIntent { idempotency: Some(_), sql_commit, .. }) => {
                            opened(&log, sql_commit)?
                        }
                        _ => None,
                    };
                    inner.apply(index, &entry, release.map(Arc::new), text.as_deref())?;
                }
            }
        }
        let abandoned: Vec<(String, u64)> =
            inner.budget.open().iter().map(|(query_id, open)| (query_id.clone(), open.index)).collect();
        let accountant = Arc::new(Self { log, inner: Mutex::new(inner) });
        for (query_id, intent) in abandoned {
            let outcome = QueryOutcome { query_id, intent, outcome: Ending::Abandoned, result_commit: None };
            accountant.record(AuditEntry::QueryOutcome(outcome), Vec::new())?;
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

    /// The release of this cache key, if it is at least as accurate as `plan` asks.
    #[must_use]
    pub fn cached(&self, plan: &BoundedPlan) -> Option<Cached> {
        let inner = self.lock();
        let cached = inner.cache.get(plan.cache_key())?;
        let finer = cached
            .release
            .draws()
            .iter()
            .zip(plan.draws())
            .all(|(held, asked)| held.sigma.parse::<f64>().is_ok_and(|sigma| sigma <= asked.sigma()));
        (finer && cached.release.draws().len() == plan.draws().len()).then(|| cached.clone())
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

    /// The protocol's purpose, if the asker may ask under it today. Nothing is written.
    ///
    /// # Errors
    /// [`ReserveError::Protocol`].
    pub fn permit(&self, asker: &Asker) -> Result<String, ReserveError> {
        usable(&self.lock().budget, asker)
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
        ticket.wait()?;
        Ok(index)
    }

    /// Pays for a plan: within every level, one durable append.
    ///
    /// # Errors
    /// Nothing was spent, but for a log failure, where the process must stop.
    pub fn reserve(self: &Arc<Self>, plan: BoundedPlan, asker: &Asker) -> Result<Reserved, ReserveError> {
        let query_id = hex(&rand::random::<[u8; 16]>());
        let salt = rand::random::<[u8; 32]>();
        let blob = [&salt[..], asker.text.as_bytes()].concat();
        let plan_commit = hex(&Sha256::digest([&salt[..], plan.text().as_bytes()].concat()));
        let ticket = {
            let mut inner = self.lock();
            let policy = inner.budget.policy().ok_or(ReserveError::NoPolicy)?;
            if policy.entry.policy != plan.policy() || policy.entry.id_space != plan.id_space() {
                return Err(ReserveError::Stale);
            }
            let policy = policy.entry.policy;
            let purpose = usable(&inner.budget, asker)?;
            if asker.idempotency.as_ref().is_some_and(|key| inner.keys.contains_key(key)) {
                return Err(ReserveError::KnownKey);
            }
            for level in inner.budget.levels(&asker.protocol, &asker.principal) {
                if !plan.loss().within(level.remaining()) {
                    return Err(ReserveError::Exhausted(Box::new(level), plan.loss()));
                }
            }
            let intent = QueryIntent {
                query_id: query_id.clone(),
                principal: asker.principal.clone(),
                key_id: asker.key_id.clone(),
                role: asker.role.clone(),
                protocol: asker.protocol.clone(),
                purpose,
                id_space: plan.id_space().to_owned(),
                sql_commit: hex(&Sha256::digest(&blob)),
                plan_commit,
                build: asker.build.clone(),
                snapshot: plan.snapshot(),
                timing: asker.timing.as_str().to_owned(),
                primitives: plan.primitives(),
                rho: plan.loss().rho.to_string(),
                delta: plan.loss().delta.to_string(),
                state: inner.budget.state(),
                bounds: plan.bounds().clone(),
                policy,
                idempotency: asker.idempotency.clone(),
            };
            let entry = AuditEntry::QueryIntent(intent);
            self.submit(&mut inner, &entry, vec![blob], None, Some(asker.text.as_bytes()))?
        };
        let intent = ticket.first_index();
        ticket.wait().map_err(AccountantError::from)?;
        Ok(Reserved { accountant: Arc::clone(self), plan, query_id, intent, closed: false })
    }

    /// Hands an entry to the log and folds it at once: the order of the fold is the order of the log.
    fn submit(
        &self,
        inner: &mut Inner,
        entry: &AuditEntry,
        blobs: Vec<Vec<u8>>,
        release: Option<Arc<Release>>,
        text: Option<&[u8]>,
    ) -> Result<Ticket, AccountantError> {
        let canonical = entry.to_canonical()?;
        // Tried on a copy first, so that an entry that can't follow is not written.
        let mut trial = inner.budget.clone();
        trial.apply(self.log.size(), entry)?;
        let ticket = self.log.submit(vec![NewEntry { entry: canonical, blobs }])?;
        inner.apply(ticket.first_index(), entry, release, text)?;
        Ok(ticket)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves the fold at an entry boundary or one behind the log; the log's own
        // checks refuse an intent against a wrong state, so going on is safe.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The purpose of the protocol, if the asker may ask under it today.
fn usable(budget: &Budget, asker: &Asker) -> Result<String, ReserveError> {
    let refuse = |why: &str| Err(ReserveError::Protocol(format!("{} {why}", asker.protocol)));
    let Some(protocol) = budget.protocols().get(&asker.protocol) else {
        return refuse("is not approved: ask the ethics board");
    };
    let approval = &protocol.approval;
    if protocol.suspended || protocol.failures >= FAILURES_ALLOWED {
        return refuse("is suspended: ask the ethics board");
    }
    if asker.today < approval.valid_from || asker.today > approval.valid_to {
        return refuse("is not in its dates: ask the ethics board to renew it");
    }
    if !approval.investigators.contains(&asker.principal) {
        return refuse("does not name you as an investigator: ask the ethics board");
    }
    Ok(approval.purpose.clone())
}

/// The text behind a commitment, without its salt; None when it was redacted.
fn opened(log: &Log, commit: &str) -> Result<Option<Vec<u8>>, AccountantError> {
    Ok(log.blob(commit)?.and_then(|blob| blob.get(32..).map(<[u8]>::to_vec)))
}

impl Inner {
    fn apply(
        &mut self,
        index: u64,
        entry: &AuditEntry,
        release: Option<Arc<Release>>,
        text: Option<&[u8]>,
    ) -> Result<(), FoldError> {
        self.budget.apply(index, entry)?;
        match entry {
            AuditEntry::QueryIntent(intent) => {
                if let Some(key) = &intent.idempotency {
                    let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
                    self.keys.insert(key.clone(), Known { text, ended: None });
                }
                let asked = Asked {
                    protocol: intent.protocol.clone(),
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
                let Asked { protocol, sql_commit, idempotency } = asked;
                let cached = release.map(|release| Cached { release, index, protocol, sql_commit });
                if let Some(known) = idempotency.and_then(|key| self.keys.get_mut(&key)) {
                    known.ended = Some(cached.clone());
                }
                if let Some(cached) = cached {
                    self.cache.insert(cached.release.cache_key().to_owned(), cached.clone());
                    self.releases.insert(outcome.query_id.clone(), cached);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Reserved {
    pub(crate) const fn plan(&self) -> &BoundedPlan {
        &self.plan
    }

    pub(crate) fn query_id(&self) -> &str {
        &self.query_id
    }

    /// What was paid.
    #[must_use]
    pub const fn loss(&self) -> PrivacyLoss {
        self.plan.loss()
    }

    /// Appends the outcome; only when it is durable the release is given.
    pub(crate) async fn close(mut self, noisy: Result<Release, Failed>) -> Result<(Arc<Release>, Outcome), Failed> {
        let release = noisy.map(Arc::new);
        let text = match &release {
            Ok(release) => serde_json::to_vec(release.as_ref()).map_err(|_| Failed),
            Err(Failed) => Err(Failed),
        };
        let (ending, commit, blobs) = match text {
            Ok(text) => {
                let blob = [&rand::random::<[u8; 32]>()[..], &text].concat();
                (Ending::Answered, Some(hex(&Sha256::digest(&blob))), vec![blob])
            }
            Err(Failed) => (Ending::Failed, None, Vec::new()),
        };
        let answered = release.as_ref().ok().filter(|_| ending == Ending::Answered).cloned();
        let (accountant, entry) = (Arc::clone(&self.accountant), self.outcome(ending, commit));
        let (tell, told) = futures::channel::oneshot::channel();
        // The wait for the disk blocks, and the core brings no runtime: a thread of its own costs far less than an fsync.
        std::thread::spawn(move || {
            let _ = tell.send(accountant.end(&entry, blobs, answered));
        });
        self.closed = true;
        let index = told.await.map_err(|_| Failed)?.map_err(|_| Failed)?;
        release.map(|release| (release, Outcome { index }))
    }

    fn outcome(&self, outcome: Ending, result_commit: Option<String>) -> AuditEntry {
        let (query_id, intent) = (self.query_id.clone(), self.intent);
        AuditEntry::QueryOutcome(QueryOutcome { query_id, intent, outcome, result_commit })
    }
}

impl Accountant {
    fn end(
        &self,
        entry: &AuditEntry,
        blobs: Vec<Vec<u8>>,
        release: Option<Arc<Release>>,
    ) -> Result<u64, AccountantError> {
        let (ticket, suspend) = {
            let mut inner = self.lock();
            let ticket = self.submit(&mut inner, entry, blobs, release, None)?;
            let suspend: Vec<String> = inner
                .budget
                .protocols()
                .iter()
                .filter(|(_, protocol)| protocol.failures >= FAILURES_ALLOWED && !protocol.suspended)
                .map(|(id, _)| id.clone())
                .collect();
            (ticket, suspend)
        };
        let index = ticket.first_index();
        ticket.wait()?;
        for protocol in suspend {
            let entry = AuditEntry::ProtocolSuspend(ProtocolSuspend { protocol, by: "engine".into() });
            self.record(entry, Vec::new())?;
        }
        Ok(index)
    }
}
