//! Series for dashboards: opened once, taken further at each cut, read by all who may read releases.

pub mod files;
mod view;

use std::sync::Arc;

use datafusion::{
    common::tree_node::TreeNode,
    logical_expr::{Expr, LogicalPlan},
};
use epiledger_ledger::entry::{AuditEntry, QueryRepeated, SeriesTerms};
use epiledger_privacy::{
    accountant::{Asker, ReserveError},
    bound::{BoundedPlan, bound_window},
    refusal::{Code, PlanError},
    release::release,
    series::{Counted, Series, Window},
};

use crate::{
    api::{Principal, PrivacyAsk, QueryError, QueryRequest},
    query::{Engine, blocking, busy, commitment, stopped},
    question::{Question, refused},
};
use files::CountedFiles;
pub use view::{PeriodView, SeriesView};

/// A series to open.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRequest {
    /// The question, its protocol and the price of the whole series.
    pub question: QueryRequest,
    /// The periods.
    pub terms: SeriesTerms,
}

impl Engine {
    /// Opens a series: pays for it and releases the periods that are closed. The same one again is given as it stands,
    /// free.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn open_series(
        self: &Arc<Self>,
        who: &Principal,
        request: SeriesRequest,
    ) -> Result<SeriesView, QueryError> {
        let SeriesRequest { question, terms } = request;
        let asker = self.asker(who, &question)?;
        let purpose = self.accountant.permit(&asker).map_err(|e| self.not_reserved(e, None))?;
        let engine = Arc::clone(self);
        let plan = blocking(move || {
            let question = engine.priced(&question, &purpose)?;
            engine.next_window(&question, &purpose, &terms, &terms.from)
        });
        let plan = plan.await?;
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                if let QueryError::Refused { code, .. } = &error {
                    self.log_refusal(&asker, code.clone()).await?;
                }
                return Err(error);
            }
        };
        // One after the other, so that the same series twice at once is one series.
        let turn = self.turns.question(TURN);
        let _turn = turn.lock().await;
        let (engine, asked, wanted) = (Arc::clone(self), asker.clone(), plan.clone());
        if let Some((id, cites)) = blocking(move || engine.same(&asked, &wanted)).await? {
            let (sql_commit, blob) = commitment(&asker.text);
            let (principal, protocol) = (asker.principal, asker.protocol);
            let entry = AuditEntry::QueryRepeated(QueryRepeated { principal, protocol, sql_commit, cites });
            self.record(entry, vec![blob]).await?;
            return self.series(who, &id);
        }
        if let Err(error) = self.take(plan, asker.clone(), None).await {
            if let QueryError::Budget { .. } = &error {
                self.log_refusal(&asker, "BUDGET_EXHAUSTED".to_owned()).await?;
            }
            return Err(error);
        }
        let opened = self.accountant.budget().series().all().values().next_back().map(|s| s.opening.query_id.clone());
        self.series(who, &opened.unwrap_or_default())
    }

    /// Takes every series further whose next periods the newest snapshot has closed. What became of each, by its id.
    pub async fn refresh_series(self: &Arc<Self>) -> Vec<(String, Result<(), QueryError>)> {
        let turn = self.turns.question(TURN);
        let _turn = turn.lock().await;
        let cut_at = self.snapshot().cut_at.clone();
        let due = |series: &Series| {
            let terms = series.opening.series.as_ref().map(|window| &window.terms);
            let closed = terms.and_then(|terms| terms.closed(&cut_at));
            closed.is_some_and(|closed| series.next() < closed.as_str())
        };
        let mut ended = Vec::new();
        for (index, series) in self.accountant.budget().series().all() {
            let id = &series.opening.query_id;
            if due(series) {
                ended.push((id.clone(), self.further(*index, series).await));
            }
            self.forget_if_complete(id);
        }
        ended
    }

    /// Takes one series further.
    async fn further(self: &Arc<Self>, index: u64, series: &Series) -> Result<(), QueryError> {
        let opening = &series.opening;
        let text = self.accountant.text(&opening.sql_commit).map_err(stopped)?;
        let text =
            text.ok_or_else(|| QueryError::Unavailable("the series' text was redacted, which ends it".into()))?;
        let Question { sql, params } = Question::read(&text);
        let asker = Asker {
            principal: opening.principal.clone(),
            key_id: opening.key_id.clone(),
            role: opening.role.clone(),
            protocol: opening.protocol.clone(),
            text: String::from_utf8_lossy(&text).into_owned(),
            request: String::new(),
            idempotency: None,
            build: self.build.clone(),
            timing: self.timing,
        };
        let purpose = self.accountant.permit(&asker).map_err(|e| self.not_reserved(e, None))?;
        // Its noise is that of the price that was paid for its one draw.
        let privacy = Some(PrivacyAsk::Rho(opening.rho.clone()));
        let question = QueryRequest { sql, params, privacy, ..QueryRequest::default() };
        let terms = opening.series.as_ref().map(|window| window.terms.clone());
        let terms = terms.ok_or_else(|| QueryError::Unavailable("the series has no periods".into()))?;
        let (engine, from) = (Arc::clone(self), series.next().to_owned());
        let plan = blocking(move || engine.next_window(&question, &purpose, &terms, &from)).await??;
        self.take(plan, asker, Some(index)).await
    }

    /// The plan of a series' window from a day on, over the newest snapshot.
    fn next_window(
        &self,
        question: &QueryRequest,
        purpose: &str,
        terms: &SeriesTerms,
        from: &str,
    ) -> Result<BoundedPlan, QueryError> {
        let refuse = |code, words: &str| refused(&PlanError::new(code, words.to_owned()));
        let params = self.params(question, purpose)?;
        let query = Question { sql: question.sql.clone(), params: question.params.clone() }.bind(&self.catalog)?;
        let snapshot = self.snapshot();
        let window = Window::at(terms, from, &snapshot.cut_at);
        let window = window.ok_or_else(|| {
            let words =
                "the horizon is no whole periods (weeks begin on Monday), begins before 1970, or has more than 1000";
            refuse(Code::InvalidGrouping, words)
        })?;
        let plan = bound_window(&query, &self.catalog, &snapshot, &params, &window).map_err(|e| refused(&e))?;
        let counts =
            matches!(plan.draws(), [draw] if draw.mechanism() == "discrete_gaussian") && plan.aggregates() == 1;
        if !counts || !plain(plan.post()) {
            return Err(refuse(Code::AggUnsupported, "a series shows one count by its period, as it is"));
        }
        Ok(plan)
    }

    /// The series that this one would be, if it was opened and has an answer: its id, and where the log has the answer.
    fn same(&self, asker: &Asker, plan: &BoundedPlan) -> Option<(String, u64)> {
        let terms = plan.window().map(|window| &window.terms);
        let budget = self.accountant.budget();
        budget.series().all().values().find_map(|series| {
            let opening = &series.opening;
            let alike = opening.protocol == asker.protocol
                && opening.principal == asker.principal
                && opening.series.as_ref().map(|window| &window.terms) == terms
                && opening.primitives == plan.primitives();
            let text = || self.accountant.text(&opening.sql_commit).ok().flatten();
            let answer = self.accountant.release(&opening.query_id).filter(|_| alike)?;
            (text()? == asker.text.as_bytes()).then(|| (opening.query_id.clone(), answer.index))
        })
    }

    /// Pays for a window, or takes it from what its opening paid, and releases it.
    async fn take(self: &Arc<Self>, plan: BoundedPlan, asker: Asker, opened: Option<u64>) -> Result<(), QueryError> {
        let places = self.turns.protocol(&asker.protocol);
        let _place = places.acquire().await;
        let _runs = self.turns.running().acquire().await;
        let _memory = self.executor.reserve(&plan).await.ok_or_else(busy)?;
        let reserved = loop {
            let ended = self.turns.ended();
            let (accountant, plan, paying) = (Arc::clone(&self.accountant), plan.clone(), asker.clone());
            let store: Arc<dyn Counted> = Arc::new(CountedFiles::of(&self.data));
            match blocking(move || accountant.reserve_window(plan, &paying, opened, store)).await? {
                Ok(reserved) => break reserved,
                Err(ReserveError::UnderWay) => ended.await,
                Err(error) => return Err(self.not_reserved(error, None)),
            }
        };
        let released = release(reserved, &self.executor, self.clock.as_ref(), self.timing).await;
        self.turns.end();
        released.map(drop).map_err(|_| QueryError::Failed)
    }

    /// Whom a series counted is of no use after its last window.
    fn forget_if_complete(&self, id: &str) {
        let budget = self.accountant.budget();
        let complete = |series: &Series| {
            let end = series.opening.series.as_ref().map(|window| window.terms.to.as_str());
            series.opening.query_id == id
                && Some(series.next()) == end
                && series.windows.iter().all(|window| window.ended.is_some())
        };
        if budget.series().all().values().any(complete)
            && let Err(error) = CountedFiles::of(&self.data).forget(id)
        {
            tracing::error!(%error, "the list of a series that is complete can't be removed");
        }
    }
}

/// Series are opened and taken further one after the other.
const TURN: &str = "series";

/// Does the question show its columns and nothing made of them?
fn plain(post: &LogicalPlan) -> bool {
    let column = |expr: &Expr| matches!(expr.clone().unalias_nested().data, Expr::Column(_));
    let other = |node: &LogicalPlan| {
        Ok(match node {
            LogicalPlan::Projection(projection) => !projection.expr.iter().all(column),
            LogicalPlan::Sort(sort) => sort.fetch.is_some(),
            LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_) => false,
            _ => true,
        })
    };
    post.exists(other).is_ok_and(|found| !found)
}
