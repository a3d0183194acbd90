//! The one path of a query, top to bottom: parse, bind, bound, reserve, release, post-process, respond.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use epiledger_ledger::{
    Log,
    entry::{AccessDenied, AuditEntry, QueryRefused, QueryRepeated},
};
use epiledger_privacy::{
    accountant::{Accountant, Asker, Cached, ReserveError},
    bound::{BoundedPlan, bound},
    catalog::Catalog,
    clock::{Clock, MonotonicClock, Timing},
    consent::purpose_bit,
    params::{K_MIN, PrivacyParams},
    release::{Release, release},
    snapshot::Snapshot,
};
use sha2::{Digest, Sha256};

use crate::{
    api::{Answer, Price, Principal, QueryError, QueryRequest, Role, SnapshotRef},
    exec::{audit::AuditExecutor, local::LocalExecutor, post},
    open::{self, OpenError, OpenOptions, hex},
    price::{self, price},
    question::{Question, refused},
    receipt,
    redaction::Proposals,
    snapshots::Leases,
    turn::{InFlight, Turns},
};

/// An open data folder that answers questions.
pub struct Engine {
    pub(crate) catalog: Catalog,
    pub(crate) data: PathBuf,
    pub(crate) snapshot: RwLock<Arc<Snapshot>>,
    pub(crate) accountant: Arc<Accountant>,
    pub(crate) leases: Mutex<Leases>,
    pub(crate) redactions: Proposals,
    pub(crate) denials: Mutex<HashMap<(String, String), (u64, u64)>>,
    pub(crate) turns: Turns,
    pub(crate) executor: LocalExecutor,
    /// Tables of simulated people, once they were asked for.
    pub(crate) simulated: Mutex<Option<Arc<Snapshot>>>,
    pub(crate) audit_queries: AuditExecutor,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) timing: Timing,
    secret: [u8; 32],
    pub(crate) build: String,
}

/// A question's plan, and the snapshot that it reads.
pub(crate) struct Bounded {
    pub(crate) plan: BoundedPlan,
    snapshot: Arc<Snapshot>,
}

/// A release as it is given to one asker.
struct Given<'a> {
    release: &'a Release,
    /// Log index of its outcome, or of the entry that repeats it.
    index: u64,
    paid: Price,
    cached: bool,
}

impl Engine {
    /// Opens a data folder: the newest snapshot is pinned, the audit log is folded.
    ///
    /// # Errors
    /// Something is missing, damaged or in use.
    pub async fn open(data: &Path, options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let clock = MonotonicClock::new(Box::new(|time: Duration| Box::pin(tokio::time::sleep(time))));
        Self::open_with_clock(data, options, Box::new(clock)).await
    }

    /// As [`Self::open`], with a clock of the caller's (tests hold it still).
    ///
    /// # Errors
    /// As there.
    pub async fn open_with_clock(
        data: &Path,
        options: OpenOptions,
        clock: Box<dyn Clock>,
    ) -> Result<Arc<Self>, OpenError> {
        let folder = data.to_path_buf();
        let head = options.pinned_head;
        let opened = tokio::task::spawn_blocking(move || open::open(&folder, head.as_ref()))
            .await
            .map_err(|e| OpenError::Io("opening".into(), std::io::Error::other(e)))??;
        let timing = if options.immediate { Timing::Immediate } else { Timing::Classes };
        let snapshot = Arc::new(opened.snapshot);
        let leases = Mutex::new(vec![(Arc::downgrade(&snapshot), opened.lease)]);
        Ok(Arc::new(Self {
            catalog: opened.catalog,
            data: data.to_path_buf(),
            snapshot: RwLock::new(snapshot),
            accountant: opened.accountant,
            leases,
            redactions: Proposals::default(),
            denials: Mutex::default(),
            turns: Turns::default(),
            executor: LocalExecutor::new()?,
            simulated: Mutex::default(),
            audit_queries: AuditExecutor::new()?,
            clock,
            timing,
            secret: opened.secret,
            build: opened.build,
        }))
    }

    /// Answers a question. Drive it to its end: once the intent is logged, the price is spent.
    ///
    /// # Errors
    /// A refusal, a budget that does not cover it, a protocol that does not allow it; or [`QueryError::Failed`].
    pub async fn query(self: &Arc<Self>, who: &Principal, request: QueryRequest) -> Result<Answer, QueryError> {
        let asker = self.asker(who, &request)?;
        let purpose = self.accountant.permit(&asker).map_err(|e| self.not_reserved(e, None))?;
        let (replayed, _in_flight) = self.replayed(&asker)?;
        // Parse, bind, bound: from text and catalog alone. A refusal is logged before it is sent. The snapshot is pinned
        // here; a newer one changes nothing for this question.
        let bounded = {
            let (engine, request, asker, purpose) = (Arc::clone(self), request.clone(), asker.clone(), purpose.clone());
            blocking(move || {
                engine.bounded(&engine.priced(&engine.counted(&request, &asker, &purpose)?, &purpose)?, &purpose)
            })
            .await?
        };
        let bounded = match bounded {
            Ok(bounded) => bounded,
            Err(error) => {
                if let QueryError::Refused { code, .. } = &error {
                    self.log_refusal(&asker, code.clone()).await?;
                }
                return Err(error);
            }
        };
        let plan = &bounded.plan;
        if let Some(cached) = replayed {
            return self.repeated(&asker, &bounded, cached, request.row_limit).await;
        }
        // The same question twice at once: the second waits, and gets the first one's release from the cache.
        let turn = self.turns.question(plan.cache_key());
        let _turn = turn.lock().await;
        if let Some(cached) = self.accountant.cached(plan) {
            return self.repeated(&asker, &bounded, cached, request.row_limit).await;
        }
        // A place first, so that those who wait for one hold nothing that others need; nothing is spent meanwhile.
        let places = self.turns.protocol(&asker.protocol);
        let _place = places.acquire().await;
        let _runs = self.turns.running().acquire().await;
        // Memory of its own, so that no other question's data can fail this one.
        let _memory = self.executor.reserve(plan).await.ok_or_else(busy)?;
        // Reserve: within every level, the intent durable, before any row is read.
        let reserved = loop {
            let ended = self.turns.ended();
            let (accountant, plan, paying) = (Arc::clone(&self.accountant), plan.clone(), asker.clone());
            match blocking(move || accountant.reserve(plan, &paying)).await? {
                Ok(reserved) => break reserved,
                // Some of its questions failed before, so that fewer may run now.
                Err(ReserveError::UnderWay) => ended.await,
                Err(error) => {
                    let mut reachable = None;
                    if let ReserveError::Exhausted(level, _) = &error {
                        self.log_refusal(&asker, "BUDGET_EXHAUSTED".to_owned()).await?;
                        let (engine, request, asker, purpose) =
                            (Arc::clone(self), request.clone(), asker.clone(), purpose.clone());
                        let left = level.remaining();
                        reachable = blocking(move || engine.reachable(&request, &asker, &purpose, left)).await?;
                    }
                    return Err(self.not_reserved(error, reachable));
                }
            }
        };
        let paid = price(reserved.loss(), self.delta_rep());
        // Release: execute, add noise, outcome durable. Then post-process the released numbers alone.
        let released = release(reserved, &self.executor, self.clock.as_ref(), self.timing).await;
        self.turns.end();
        let (released, outcome) = released.map_err(|_| QueryError::Failed)?;
        let given = Given { release: &released, index: outcome.index, paid, cached: false };
        self.respond(&asker, &bounded, given, request.row_limit).await
    }

    /// A release again, by its statement's id: free, and not a new answer.
    ///
    /// # Errors
    /// There is none that the caller may read.
    pub fn release(&self, who: &Principal, statement_id: &str) -> Result<Answer, QueryError> {
        let missing = || QueryError::Forbidden("there is no such release, or your key may not read it".into());
        let cached = self.accountant.release(statement_id).ok_or_else(missing)?;
        if !may_read(who, &cached.protocol) {
            return Err(missing());
        }
        let text = self.accountant.text(&cached.sql_commit).map_err(stopped)?;
        let question =
            Question::read(&text.ok_or_else(|| QueryError::Forbidden("the question's text was redacted".into()))?);
        let request = QueryRequest { sql: question.sql, params: question.params, ..QueryRequest::default() };
        let budget = self.accountant.budget();
        let protocol = budget.protocols().get(&cached.protocol).ok_or_else(missing)?;
        let Bounded { plan, snapshot } = self.bounded(&request, &protocol.approval.purpose)?;
        let answered = futures::executor::block_on(post::answer(
            &self.executor,
            &plan,
            &cached.release,
            &snapshot.public,
            None,
        ))
        .map_err(|e| QueryError::Unavailable(format!("the release can't be shown under today's catalog: {e}")))?;
        let remaining = self.remaining(&cached.protocol, &who.name);
        let given = Given { release: &cached.release, index: cached.index, paid: price::nothing(), cached: true };
        self.built(given, answered, remaining)
    }

    /// The answer that an Idempotency-Key was used for, and the key's turn; nothing is spent.
    fn replayed(&self, asker: &Asker) -> Result<(Option<Cached>, Option<InFlight>), QueryError> {
        let Some(key) = &asker.idempotency else { return Ok((None, None)) };
        let turn = self.turns.take(key, &asker.request)?;
        let answer = match self.accountant.known(key) {
            None => None,
            Some(known) if !known.is(&asker.request) => return Err(QueryError::KeyReused),
            Some(known) => match known.ended {
                None => return Err(QueryError::Conflict),
                Some(None) => return Err(QueryError::Failed),
                Some(Some(cached)) => Some(cached),
            },
        };
        Ok((answer, Some(turn)))
    }

    /// From the text to a bounded plan over the newest snapshot.
    pub(crate) fn bounded(&self, request: &QueryRequest, purpose: &str) -> Result<Bounded, QueryError> {
        let params = self.params(request, purpose)?;
        let question = Question { sql: request.sql.clone(), params: request.params.clone() };
        let query = question.bind(&self.catalog)?;
        let snapshot = self.snapshot();
        let plan = bound(&query, &self.catalog, &snapshot, &params).map_err(|e| refused(&e))?;
        Ok(Bounded { plan, snapshot })
    }

    pub(crate) fn params(&self, request: &QueryRequest, purpose: &str) -> Result<PrivacyParams, QueryError> {
        let policy = self.accountant.policy().ok_or_else(no_policy)?;
        if policy.entry.terms.catalog != self.catalog.hash() {
            return Err(QueryError::Unavailable(
                "the catalog differs from the one in the policy: the steward and the board must set a policy for it"
                    .into(),
            ));
        }
        let asked = request.privacy.as_ref().map(price::asked).transpose()?;
        let bit = purpose_bit(purpose)
            .ok_or_else(|| QueryError::Forbidden("the protocol's purpose is not one that consents name".into()))?;
        Ok(PrivacyParams {
            rho: asked.unwrap_or(policy.query_rho),
            query_delta: policy.query_delta,
            k_min: K_MIN,
            id_space: policy.entry.terms.id_space,
            policy: policy.entry.policy,
            purpose_bit: bit,
            secret: self.secret,
        })
    }

    pub(crate) fn asker(&self, who: &Principal, request: &QueryRequest) -> Result<Asker, QueryError> {
        if who.role != Role::Researcher {
            return Err(QueryError::Forbidden("only a researcher's key may ask questions".into()));
        }
        let protocol = match (&request.protocol, who.protocols.as_slice()) {
            (Some(protocol), _) => protocol.clone(),
            (None, [only]) => only.clone(),
            (None, []) => {
                return Err(QueryError::Forbidden("no approved protocol names you: ask the ethics board".into()));
            }
            (None, _) => {
                return Err(QueryError::Forbidden("name the protocol: several approved ones name you".into()));
            }
        };
        let idempotency = request
            .idempotency_key
            .as_ref()
            .map(|key| hex(&Sha256::digest(serde_json::json!([who.name, protocol, key]).to_string())));
        let question = Question { sql: request.sql.clone(), params: request.params.clone() };
        Ok(Asker {
            principal: who.name.clone(),
            key_id: who.key_id.clone(),
            role: who.role.as_str().to_owned(),
            protocol,
            text: question.text(),
            request: request.text(),
            idempotency,
            build: self.build.clone(),
            timing: self.timing,
        })
    }

    async fn repeated(
        self: &Arc<Self>,
        asker: &Asker,
        bounded: &Bounded,
        cached: Cached,
        row_limit: Option<usize>,
    ) -> Result<Answer, QueryError> {
        let (sql_commit, blob) = commitment(&asker.text);
        let entry = AuditEntry::QueryRepeated(QueryRepeated {
            principal: asker.principal.clone(),
            protocol: asker.protocol.clone(),
            sql_commit,
            cites: cached.index,
        });
        // A frozen log takes no entry: the receipt is the first answer's.
        let index = match self.audit().frozen() {
            None => self.record(entry, vec![blob]).await?,
            Some(_) => cached.index,
        };
        let given = Given { release: &cached.release, index, paid: price::nothing(), cached: true };
        self.respond(asker, bounded, given, row_limit).await
    }

    async fn respond(
        &self,
        asker: &Asker,
        bounded: &Bounded,
        given: Given<'_>,
        row_limit: Option<usize>,
    ) -> Result<Answer, QueryError> {
        let Bounded { plan, snapshot } = bounded;
        let answered = post::answer(&self.executor, plan, given.release, &snapshot.public, row_limit).await;
        let answered = answered.map_err(|error| {
            tracing::error!(target: "epiledger::post", %error, "post-processing of a release failed");
            QueryError::Unavailable(
                "the release is made and paid, but this form of it can't be shown; fetch it by its id".into(),
            )
        })?;
        let remaining = self.remaining(&asker.protocol, &asker.principal);
        self.built(given, answered, remaining)
    }

    fn built(&self, given: Given<'_>, answered: post::Answered, remaining: Price) -> Result<Answer, QueryError> {
        let Given { release, index, paid, cached } = given;
        let receipt = receipt::of(self.audit(), index).map_err(stopped)?;
        let number = release.snapshot();
        // Every snapshot that was read has its entry.
        let cut_at = self.accountant.snapshots().remove(&number).unwrap_or_default();
        Ok(Answer {
            statement_id: release.query_id().to_owned(),
            columns: answered.columns,
            batch: answered.batch,
            price: paid,
            remaining,
            snapshot: SnapshotRef { number, cut_at },
            receipt,
            cached,
            dummy: false,
        })
    }

    pub(crate) async fn log_refusal(self: &Arc<Self>, asker: &Asker, code: String) -> Result<u64, QueryError> {
        let (sql_commit, blob) = commitment(&asker.text);
        let entry = AuditEntry::QueryRefused(QueryRefused {
            principal: asker.principal.clone(),
            protocol: asker.protocol.clone(),
            sql_commit,
            code,
        });
        self.record(entry, vec![blob]).await
    }

    pub(crate) async fn record(self: &Arc<Self>, entry: AuditEntry, blobs: Vec<Vec<u8>>) -> Result<u64, QueryError> {
        self.writable()?;
        let accountant = Arc::clone(&self.accountant);
        blocking(move || accountant.record(entry, blobs)).await?.map_err(stopped)
    }

    pub(crate) fn not_reserved(&self, error: ReserveError, reachable: Option<f64>) -> QueryError {
        match error {
            ReserveError::NoPolicy => no_policy(),
            ReserveError::Protocol(why) => QueryError::Forbidden(format!("protocol {why}")),
            ReserveError::Exhausted(level, required) => QueryError::Budget {
                required: Box::new(price(required, self.delta_rep())),
                remaining: Box::new(price(level.remaining(), self.delta_rep())),
                level: level.level.to_owned(),
                reachable,
            },
            ReserveError::KnownKey => QueryError::Conflict,
            ReserveError::Stale | ReserveError::UnderWay | ReserveError::Synthetic | ReserveError::Series(_) => {
                QueryError::Unavailable(error.to_string())
            }
            ReserveError::RolledBack(why) => QueryError::RolledBack(why),
            ReserveError::Accountant(e) => stopped(e),
        }
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &Log {
        self.accountant.log()
    }

    /// Nothing, while the audit log takes entries.
    ///
    /// # Errors
    /// [`QueryError::RolledBack`].
    pub fn writable(&self) -> Result<(), QueryError> {
        self.audit().frozen().map_or(Ok(()), |why| Err(QueryError::RolledBack(why.to_owned())))
    }

    /// What is public about the data.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Logs that a known key was denied, at most once per principal, route and minute, unless the log is frozen.
    ///
    /// # Errors
    /// The log stopped.
    pub fn denied(&self, who: &str, route: &str) -> Result<(), QueryError> {
        if self.audit().frozen().is_some() {
            return Ok(());
        }
        let minute =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60);
        let count = {
            let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = denials.entry((who.to_owned(), route.to_owned())).or_insert((u64::MAX, 0));
            seen.1 += 1;
            if seen.0 == minute {
                return Ok(());
            }
            seen.0 = minute;
            std::mem::take(&mut seen.1)
        };
        let entry = AccessDenied { principal: who.to_owned(), route: route.to_owned(), count };
        self.accountant.record(AuditEntry::AccessDenied(entry), Vec::new()).map_err(stopped)?;
        Ok(())
    }
}

/// Releases are read by the board and the epidemiologists, and by researchers under their own protocols.
pub(crate) fn may_read(who: &Principal, protocol: &str) -> bool {
    match who.role {
        Role::Board | Role::Epidemiologist => true,
        Role::Researcher => who.protocols.iter().any(|p| p == protocol),
        Role::Steward | Role::Operator => false,
    }
}

/// Runs what waits for the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, QueryError> {
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}

/// SHA-256(salt || text) in hex, and the blob behind it.
pub(crate) fn commitment(text: &str) -> (String, Vec<u8>) {
    let blob = [&rand::random::<[u8; 32]>()[..], text.as_bytes()].concat();
    (hex(&Sha256::digest(&blob)), blob)
}

pub(crate) fn busy() -> QueryError {
    QueryError::Unavailable("other questions hold all memory; nothing was spent: ask again in a minute".into())
}

fn no_policy() -> QueryError {
    QueryError::Unavailable("no policy is set: two approvers must set one first (`epiledger budget set`)".into())
}

pub(crate) fn stopped(error: impl std::fmt::Display) -> QueryError {
    tracing::error!(target: "epiledger::audit", %error, "the audit log stopped");
    QueryError::Unavailable("the audit log can't be written; the operator must restart the service".into())
}
